//! A server that speaks the REST API of Google Cloud's Secret Manager as it is published, with the
//! metadata server and the token endpoint that hand out access to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::fake_app::{FakeApp, Recorded};

/// The private key of the service account that the server knows. It opens nothing else.
pub const PRIVATE_KEY: &str = include_str!("service_account.pem");
/// The id of that key.
pub const KEY_ID: &str = "key-of-a-test";
/// Whose key it is.
pub const EMAIL: &str = "test@shop.iam.gserviceaccount.com";

/// The other half of the key, as a verifier wants it.
static PUBLIC_KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = PrivateKeyDer::from_pem_slice(PRIVATE_KEY.as_bytes()).unwrap();
    let key = crate::tls::provider().key_provider.load_private_key(key);
    let key = key.unwrap();
    let public = key.public_key().unwrap();
    let (_, public) = SubjectPublicKeyInfo::from_der(&public).unwrap();
    public.subject_public_key.data.into_owned()
});

/// Where a pod asks for the access token of its service account.
const METADATA_TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// The parameter of a list, and the most that the server gives.
const LARGEST_PAGE: usize = 25_000;

/// One version of a secret.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its bytes.
    pub value: Vec<u8>,
    /// `ENABLED`, `DISABLED` or `DESTROYED`.
    pub state: &'static str,
    /// The checksum that is sent, where it is not the right one.
    pub checksum: Option<u32>,
}

impl Version {
    /// One that can be read.
    pub fn enabled(value: impl AsRef<[u8]>) -> Self {
        Self {
            value: value.as_ref().to_vec(),
            state: "ENABLED",
            checksum: None,
        }
    }
}

/// What the server holds, and how it answers.
#[derive(Debug, Default)]
pub struct State {
    /// The versions of each secret, the first one at 0.
    pub secrets: BTreeMap<String, Vec<Version>>,
    /// The numbers of aliases of versions.
    pub aliases: BTreeMap<(String, String), usize>,
    /// Secrets that nobody may read.
    pub denied: BTreeSet<String>,
    /// Whether listing is not allowed.
    pub no_list: bool,
    /// Access tokens that are valid.
    pub tokens: BTreeSet<String>,
    /// Whether no assertion that a key signs is accepted.
    pub no_keys: bool,
    /// How the metadata server answers, where it does not hand out a token.
    pub metadata_status: Option<u16>,
    /// How many tokens were handed out.
    pub issued: usize,
}

/// A running server. It ends when it is dropped.
pub struct FakeSecretManager {
    app: FakeApp,
    state: Arc<Mutex<State>>,
}

impl FakeSecretManager {
    /// A server that holds secrets of one version each.
    pub async fn start(secrets: &[(&str, &str)]) -> Self {
        let secrets = secrets.iter().map(|(name, value)| {
            let versions = vec![Version::enabled(value)];
            ((*name).to_owned(), versions)
        });
        let state = Arc::new(Mutex::new(State {
            secrets: secrets.collect(),
            ..State::default()
        }));
        let of_app = Arc::clone(&state);
        let app = FakeApp::answering(move |request| {
            let mut state = of_app.lock().unwrap_or_else(PoisonError::into_inner);
            let (status, body) = match state.answer(request) {
                Ok(body) => (200, body),
                Err(refused) => (refused.0, refused.body()),
            };
            Response::builder()
                .status(status)
                .header("content-type", "application/json; charset=UTF-8")
                .header("metadata-flavor", "Google")
                .body(Full::new(Bytes::from(body.to_string())))
                .unwrap()
        });
        Self {
            app: app.await,
            state,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.app.address()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// What it holds, to be changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was asked.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.app.recorded()
    }
}

/// A status with the API's word for it and a message.
struct Refused(u16, &'static str, String);

impl Refused {
    fn body(&self) -> Value {
        json!({"error": {"code": self.0, "status": self.1, "message": self.2}})
    }
}

type Answer = Result<Value, Refused>;

fn not_found(what: &str) -> Refused {
    Refused(404, "NOT_FOUND", format!("{what} not found."))
}

fn bad(what: &str) -> Refused {
    Refused(400, "INVALID_ARGUMENT", what.to_owned())
}

impl State {
    fn answer(&mut self, request: &Recorded) -> Answer {
        let path = request.uri.path();
        match (&request.method, path) {
            (&Method::GET, METADATA_TOKEN) => return self.metadata_token(request),
            (&Method::POST, "/token") => return self.exchanged(request),
            _ => {}
        }
        self.authenticate(request)?;
        let (project, rest) = path
            .strip_prefix("/v1/projects/")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| not_found("method"))?;
        let rest = match rest.strip_prefix("locations/") {
            Some(rest) => rest.split_once('/').ok_or_else(|| not_found("method"))?.1,
            None => rest,
        };
        let segments: Vec<_> = rest.split('/').collect();
        match (&request.method, segments.as_slice()) {
            (&Method::GET, ["secrets"]) => self.list(project, request),
            (&Method::POST, ["secrets"]) => self.create(project, request),
            (&Method::POST, ["secrets", target]) => self.add(project, target, request),
            (&Method::GET, ["secrets", name, "versions", target]) => {
                self.access(project, name, target)
            }
            _ => Err(not_found("method")),
        }
    }

    fn metadata_token(&mut self, request: &Recorded) -> Answer {
        if request.header("metadata-flavor") != ["Google"] {
            return Err(Refused(403, "PERMISSION_DENIED", "no flavor".to_owned()));
        }
        match self.metadata_status {
            Some(status) => Err(Refused(status, "UNKNOWN", "hunter2".to_owned())),
            None => Ok(self.issue()),
        }
    }

    /// What a token endpoint of OAuth 2.0 makes of the tokens of users and of workloads elsewhere.
    fn exchanged(&mut self, request: &Recorded) -> Answer {
        let form: BTreeMap<_, _> = form_urlencoded::parse(&request.body).into_owned().collect();
        let json: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let field = |name: &str| {
            let of_json = json[name].as_str().map(str::to_owned);
            form.get(name).cloned().or(of_json).unwrap_or_default()
        };
        let is_right = match field("grant_type").as_str() {
            "refresh_token" => field("refresh_token") == "refresh-of-a-test",
            "urn:ietf:params:oauth:grant-type:token-exchange" => {
                field("subject_token") == "subject-of-a-test"
            }
            _ => false,
        };
        if is_right {
            let mut answer = self.issue();
            answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token".into();
            Ok(answer)
        } else {
            Err(bad("hunter2 is no grant"))
        }
    }

    fn issue(&mut self) -> Value {
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.tokens.insert(token.clone());
        json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})
    }

    fn authenticate(&self, request: &Recorded) -> Result<(), Refused> {
        let [header] = request.header("authorization")[..] else {
            return Err(Refused(401, "UNAUTHENTICATED", "no token".to_owned()));
        };
        let token = header.strip_prefix("Bearer ").unwrap_or_default();
        let is_known = self.tokens.contains(token);
        if is_known || (!self.no_keys && is_signed(token).is_some()) {
            Ok(())
        } else {
            let message = "Request had invalid authentication credentials.";
            Err(Refused(401, "UNAUTHENTICATED", message.to_owned()))
        }
    }

    fn list(&self, project: &str, request: &Recorded) -> Answer {
        if self.no_list {
            let message = "Permission 'secretmanager.secrets.list' denied.";
            return Err(Refused(403, "PERMISSION_DENIED", message.to_owned()));
        }
        let query = query(request);
        let number = |name: &str| match query.get(name) {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| bad(name)),
        };
        let size: usize = number("pageSize")?;
        let size = if size == 0 {
            LARGEST_PAGE
        } else {
            size.min(LARGEST_PAGE)
        };
        let start: usize = number("pageToken")?;
        let page = self.secrets.keys().skip(start).take(size);
        let is_masked = query.contains_key("fields");
        let page: Vec<_> = page
            .map(|name| described(project, name, is_masked))
            .collect();
        let mut answer = json!({});
        let end = start + page.len();
        if end < self.secrets.len() {
            answer["nextPageToken"] = end.to_string().into();
        }
        if !is_masked {
            answer["totalSize"] = self.secrets.len().into();
        }
        if !page.is_empty() {
            answer["secrets"] = page.into();
        }
        Ok(answer)
    }

    fn create(&mut self, project: &str, request: &Recorded) -> Answer {
        let name = query(request)
            .remove("secretId")
            .ok_or_else(|| bad("secretId"))?;
        if self.secrets.contains_key(&name) {
            return Err(Refused(409, "ALREADY_EXISTS", format!("{name} is there.")));
        }
        self.secrets.insert(name.clone(), Vec::new());
        Ok(described(project, &name, false))
    }

    fn add(&mut self, project: &str, target: &str, request: &Recorded) -> Answer {
        let name = target
            .strip_suffix(":addVersion")
            .ok_or_else(|| not_found("method"))?;
        let versions = self.secrets.get_mut(name).ok_or_else(|| not_found(name))?;
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| bad("body"))?;
        let data = body["payload"]["data"]
            .as_str()
            .ok_or_else(|| bad("data"))?;
        let value = STANDARD.decode(data).map_err(|_| bad("data"))?;
        versions.push(Version::enabled(value));
        let name = format!(
            "projects/{project}/secrets/{name}/versions/{}",
            versions.len()
        );
        Ok(json!({"name": name, "state": "ENABLED", "etag": "\"1\""}))
    }

    fn access(&self, project: &str, name: &str, target: &str) -> Answer {
        let version = target
            .strip_suffix(":access")
            .ok_or_else(|| not_found("method"))?;
        if self.denied.contains(name) {
            let message = "Permission 'secretmanager.versions.access' denied for hunter2.";
            return Err(Refused(403, "PERMISSION_DENIED", message.to_owned()));
        }
        let versions = self.secrets.get(name).ok_or_else(|| not_found(name))?;
        let alias = (name.to_owned(), version.to_owned());
        let number = match version {
            "latest" => versions.len(),
            version => match self.aliases.get(&alias) {
                Some(number) => *number,
                None => version.parse().map_err(|_| not_found(version))?,
            },
        };
        let held = number.checked_sub(1).and_then(|at| versions.get(at));
        let held = held.ok_or_else(|| not_found(version))?;
        let name = format!("projects/{project}/secrets/{name}/versions/{number}");
        if held.state != "ENABLED" {
            let message = format!("Secret Version [{name}] is in {} state.", held.state);
            return Err(Refused(400, "FAILED_PRECONDITION", message));
        }
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&held.value);
        let checksum = held.checksum.unwrap_or(crc).to_string();
        let mut payload = json!({"dataCrc32c": checksum});
        if !held.value.is_empty() {
            payload["data"] = STANDARD.encode(&held.value).into();
        }
        Ok(json!({"name": name, "payload": payload}))
    }
}

fn query(request: &Recorded) -> BTreeMap<String, String> {
    let query = request.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

fn described(project: &str, name: &str, is_masked: bool) -> Value {
    let name = format!("projects/{project}/secrets/{name}");
    if is_masked {
        json!({"name": name})
    } else {
        json!({"name": name, "etag": "\"1\"", "labels": {"a": "b"},
            "replication": {"automatic": {}}, "createTime": "2026-01-01T00:00:00Z"})
    }
}

/// Whether a token is an assertion that the known key signed, for all of Google Cloud, now.
fn is_signed(token: &str) -> Option<()> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let json = |part: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    };
    let (header, claims) = (json(header)?, json(claims)?);
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let (issued, ends) = (claims["iat"].as_u64()?, claims["exp"].as_u64()?);
    let is_right = header["alg"] == "RS256"
        && header["typ"] == "JWT"
        && header["kid"] == KEY_ID
        && claims["iss"] == EMAIL
        && claims["sub"] == EMAIL
        && claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        && issued <= now
        && now < ends
        && ends - issued <= 3700;
    if !is_right {
        return None;
    }
    let algorithms = crate::tls::provider()
        .signature_verification_algorithms
        .mapping;
    let is_scheme =
        |(scheme, _): &&(SignatureScheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256;
    let (_, algorithms) = algorithms.iter().find(is_scheme)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    algorithms[0]
        .verify_signature(&PUBLIC_KEY, signed.as_bytes(), &signature)
        .ok()
}
