//! As much of Azure as a store meets: a vault, the token endpoint, the metadata service and `az`.
//! One server, since their paths differ.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sidegate::testing::fake_app::{FakeApp, Recorded};
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub(crate) const TENANT: &str = "11111111-2222-3333-4444-555555555555";
pub(crate) const CLIENT: &str = "66666666-7777-8888-9999-000000000000";
pub(crate) const SECRET: &str = "hunter2~of~the~client";
pub(crate) const CERTIFICATE: &str = include_str!("client.pem");
const RESOURCE: &str = "https://vault.azure.net";

type Answer = Response<Full<Bytes>>;

/// What the servers know; tests change it.
pub(crate) struct State {
    /// Secrets by name in lower case: versions, the newest last, each with its value.
    pub(crate) secrets: BTreeMap<String, Vec<(String, String)>>,
    pub(crate) disabled: BTreeSet<String>,
    /// Secrets that nobody may read, and whether nobody may list.
    pub(crate) forbidden: BTreeSet<String>,
    pub(crate) no_list: bool,
    /// In place of what else the next page would be.
    pub(crate) next_page: Option<String>,
    /// The resource that the vault asks tokens for.
    pub(crate) resource: String,
    /// Tokens that count, and how many were handed out.
    pub(crate) tokens: BTreeSet<String>,
    pub(crate) issued: usize,
    /// For how many seconds tokens count, as their endpoint says.
    pub(crate) lifetime: u64,
    /// The token of a service account that counts.
    pub(crate) service_account: String,
    /// The client ids of the machine's identities; the empty one is its own.
    pub(crate) identities: BTreeSet<String>,
    /// What the token endpoint answers in place of a token.
    pub(crate) token_answer: Option<(u16, Vec<u8>)>,
}

/// The servers.
pub(crate) struct Cloud {
    pub(crate) app: FakeApp,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Cloud {
    /// A vault that holds these secrets, one version each.
    pub(crate) async fn holding(secrets: &[(&str, &str)]) -> Self {
        let version = "0".repeat(32);
        let secrets = secrets.iter().map(|(name, value)| {
            let versions = vec![(version.clone(), (*value).to_owned())];
            (name.to_ascii_lowercase(), versions)
        });
        let state = Arc::new(Mutex::new(State {
            secrets: secrets.collect(),
            disabled: BTreeSet::new(),
            forbidden: BTreeSet::new(),
            no_list: false,
            next_page: None,
            resource: RESOURCE.to_owned(),
            tokens: BTreeSet::new(),
            issued: 0,
            lifetime: 3600,
            service_account: "of a pod".to_owned(),
            identities: BTreeSet::new(),
            token_answer: None,
        }));
        let shared = Arc::clone(&state);
        let app = FakeApp::answering(move |request| shared.lock().unwrap().answer(request)).await;
        Self { app, state }
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.app.address()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The paths of requests so far that begin so, with their queries.
    pub(crate) fn asked(&self, path: &str) -> Vec<String> {
        let asked = self.app.recorded().into_iter();
        let asked = asked.map(|request| request.uri.to_string());
        asked.filter(|uri| uri.starts_with(path)).collect()
    }
}

fn answer(status: u16, body: &Value) -> Answer {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap()
}

fn refusal(status: u16, code: &str, inner: &str) -> Answer {
    let inner = (status != 401).then(|| json!({"code": inner}));
    let message = if status == 401 {
        "AKV10000: no token, hunter2"
    } else {
        "hunter2"
    };
    let error = json!({"code": code, "message": message, "innererror": inner});
    answer(status, &json!({"error": error}))
}

fn query(request: &Recorded) -> BTreeMap<String, String> {
    let query = request.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

impl State {
    fn answer(&mut self, request: &Recorded) -> Answer {
        let path = request.uri.path().to_owned();
        if let Some(rest) = path.strip_prefix("/secrets") {
            return self.vault(rest.trim_matches('/'), request);
        }
        match path.as_str() {
            "/metadata/identity/oauth2/token" => self.machine(request),
            // That of App Service, which has a secret of its own.
            "/msi/token" if request.header("x-identity-header") == ["of-the-app"] => {
                self.machine(request)
            }
            path if path == format!("/{TENANT}/oauth2/v2.0/token") => self.entra(request),
            _ => answer(404, &json!({})),
        }
    }

    fn vault(&self, path: &str, request: &Recorded) -> Answer {
        assert_eq!(query(request)["api-version"].len(), "2025-07-01".len());
        let bearer = request.header("authorization").first().copied();
        let token = bearer.and_then(|bearer| bearer.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.tokens.contains(token)) {
            let authority = "https://login.microsoftonline.com/a-tenant";
            let mut response = refusal(401, "Unauthorized", "Unauthorized");
            let challenge = format!(
                "Bearer authorization=\"{authority}\", resource=\"{}\"",
                self.resource
            );
            let headers = response.headers_mut();
            headers.insert("www-authenticate", challenge.parse().unwrap());
            return response;
        }
        if path.is_empty() {
            return self.list(request);
        }
        let (name, version) = path.split_once('/').unwrap_or((path, ""));
        let name = name.to_ascii_lowercase();
        let versions = self.secrets.get(&name).into_iter().flatten();
        let mut wanted = versions.filter(|(own, _)| version.is_empty() || own == version);
        let Some((_, value)) = wanted.next_back() else {
            return refusal(404, "SecretNotFound", "SecretNotFound");
        };
        if self.disabled.contains(&name) {
            return refusal(403, "Forbidden", "SecretDisabled");
        }
        if self.forbidden.contains(&name) {
            return refusal(403, "Forbidden", "ForbiddenByRbac");
        }
        answer(
            200,
            &json!({"value": value, "id": "x", "attributes": {"enabled": true}}),
        )
    }

    fn list(&self, request: &Recorded) -> Answer {
        if self.no_list {
            return refusal(403, "Forbidden", "AccessDenied");
        }
        let query = query(request);
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
        let (from, size) = (
            number("$skiptoken").unwrap_or(0),
            number("maxresults").unwrap_or(25),
        );
        let host = request.header("host")[0];
        let page = self.secrets.keys().skip(from).take(size).map(|name| {
            let enabled = !self.disabled.contains(name);
            let id = format!("https://{host}/secrets/{name}");
            json!({"id": id, "attributes": {"enabled": enabled}})
        });
        let page: Vec<_> = page.collect();
        let is_last = from + size >= self.secrets.len();
        let next = format!(
            "https://{host}/secrets?api-version=7.6&$skiptoken={}&maxresults={size}",
            from + size
        );
        let next = self
            .next_page
            .clone()
            .or_else(|| (!is_last).then_some(next));
        answer(200, &json!({"value": page, "nextLink": next}))
    }

    fn token(&mut self) -> String {
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.tokens.insert(token.clone());
        token
    }

    fn machine(&mut self, request: &Recorded) -> Answer {
        let query = query(request);
        if request.header("metadata") != ["true"] {
            return answer(400, &json!({"error": "invalid_request"}));
        }
        assert_eq!(query["resource"], RESOURCE);
        let id = query.get("client_id").map_or("", String::as_str);
        if !self.identities.contains(id) {
            return answer(
                400,
                &json!({"error": "invalid_request", "error_description": "no"}),
            );
        }
        let token = self.token();
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        answer(
            200,
            &json!({"access_token": token, "expires_on": (now + self.lifetime).to_string(),
                "resource": RESOURCE, "token_type": "Bearer"}),
        )
    }

    fn entra(&mut self, request: &Recorded) -> Answer {
        if let Some((status, body)) = &self.token_answer {
            let body = Full::new(Bytes::from(body.clone()));
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::from_u16(*status).unwrap();
            return response;
        }
        let form: BTreeMap<String, String> =
            form_urlencoded::parse(&request.body).into_owned().collect();
        assert_eq!(form["grant_type"], "client_credentials");
        assert_eq!(form["scope"], format!("{RESOURCE}/.default"));
        assert_eq!(form["client_id"], CLIENT);
        let is_right = match form.get("client_secret") {
            Some(secret) => secret == SECRET,
            None => {
                let assertion = &form["client_assertion"];
                let endpoint = request.header("host")[0];
                assertion == &self.service_account || is_signed(assertion, endpoint)
            }
        };
        if !is_right {
            let text = "AADSTS7000215: Invalid client secret provided. Trace ID: 1 Time: \"now\"";
            let body = json!({"error": "invalid_client", "error_description": text,
                "error_codes": [7_000_215]});
            return answer(401, &body);
        }
        let token = self.token();
        answer(
            200,
            &json!({"token_type": "Bearer", "expires_in": self.lifetime,
                "ext_expires_in": self.lifetime, "access_token": token}),
        )
    }
}

/// Whether a token is signed by the key of the certificate, and for this endpoint.
fn is_signed(token: &str, host: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let &[header, claims, signature] = parts.as_slice() else {
        return false;
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    let claims: Value = serde_json::from_slice(&decode(claims)).unwrap();
    assert_eq!(header["alg"], "RS256");
    assert_eq!(claims["iss"], CLIENT);
    assert_eq!(claims["sub"], CLIENT);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
    assert_eq!(
        claims["aud"],
        format!("https://{host}/{TENANT}/oauth2/v2.0/token")
    );
    assert_eq!(
        claims["exp"].as_u64().unwrap(),
        claims["iat"].as_u64().unwrap() + 600
    );
    let der = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let key = &certificate.public_key().subject_public_key.data;
    let provider = rustls::crypto::ring::default_provider();
    let mapping = provider.signature_verification_algorithms.mapping;
    let (_, algorithms) = mapping
        .iter()
        .find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256)
        .unwrap();
    let message = token.rsplit_once('.').unwrap().0.as_bytes();
    let signature = decode(signature);
    algorithms
        .iter()
        .any(|algorithm| algorithm.verify_signature(key, message, &signature).is_ok())
}
