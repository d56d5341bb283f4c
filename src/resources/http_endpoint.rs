//! HTTP endpoints: services without a sidecar that apps invoke by name, as written.

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use serde::Deserialize;
use serde_json::Value;

use super::decode::{Document, Text};
use super::property::{
    RawAuth, RawMetadata, RawProperty, RawValue, Source, UnknownFields, path_segment_problem,
};
use super::{Error, Origin};
use crate::base::http_url::HttpUrl;

/// The kind of endpoints.
pub const KIND: &str = "HTTPEndpoint";

/// Headers that are made anew for each connection, so that no resource can set them.
const OF_THE_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What `clientTLS` holds beside its documents.
const DOCUMENTS: [&str; 3] = ["rootCA", "certificate", "privateKey"];

/// An HTTP endpoint as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEndpoint {
    /// Where it stands.
    pub origin: Origin,
    /// Its name, a legal segment of a path.
    pub name: String,
    /// Its namespace, where the manifest has one.
    pub namespace: Option<String>,
    /// The store that its secret references are read from.
    pub secret_store: Option<String>,
    /// The apps that may use it; empty means all.
    pub scopes: Vec<String>,
    /// What it is, or why that cannot be used: it has a name all the same, so that calls to it
    /// fail for that reason and reach nothing else of the name.
    pub spec: Result<Spec, String>,
}

/// What an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its methods are below it.
    pub base_url: HttpUrl,
    /// Headers of every call, in the order of the manifest. Of two with one name the last counts,
    /// as in Dapr 1.18.
    pub headers: Vec<(HeaderName, Source)>,
    /// TLS of the calls.
    pub client_tls: ClientTls,
}

/// PEM texts for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The certificates that its server is trusted by, in place of those of the system.
    pub root_ca: Option<Source>,
    /// The certificate that the caller shows, with the chain of it. It comes with a key.
    pub certificate: Option<Source>,
    /// The key of that certificate.
    pub private_key: Option<Source>,
}

impl HttpEndpoint {
    /// Whether two endpoints say the same, wherever they stand.
    pub fn same_as(&self, other: &Self) -> bool {
        let moved = Self {
            origin: other.origin.clone(),
            ..self.clone()
        };
        moved == *other
    }

    /// Reads an endpoint. One whose name, scopes or store cannot be read is an error; whatever
    /// else is wrong with it stands in its [`HttpEndpoint::spec`].
    pub(crate) fn decode(document: Document) -> Result<Self, Error> {
        let origin = document.origin.clone();
        let identity: RawIdentity = document.clone().into_typed()?;
        let name = identity.metadata.name.0;
        if let Some(problem) = path_segment_problem(&name) {
            return Err(Error::Field {
                origin,
                field: "metadata.name".to_owned(),
                problem: format!("invalid name {name:?} for \"HTTPEndpoint\": {problem}"),
            });
        }
        Ok(Self {
            name,
            namespace: identity.metadata.namespace.map(|text| text.0),
            secret_store: identity.auth.secret_store.map(|text| text.0),
            scopes: identity.scopes.into_iter().map(|text| text.0).collect(),
            spec: Spec::decode(document).map_err(|error| error.to_string()),
            origin,
        })
    }
}

impl Spec {
    /// Every value, with the path of its field, in an order that does not change.
    pub fn values(&self) -> impl Iterator<Item = (String, &Source)> {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, source)| (format!("headers[{name}]"), source));
        let tls = &self.client_tls;
        let documents = [&tls.root_ca, &tls.certificate, &tls.private_key];
        let documents = documents.into_iter().zip(DOCUMENTS);
        headers.chain(documents.filter_map(|(source, name)| {
            let field = format!("clientTLS.{name}");
            source.as_ref().map(|source| (field, source))
        }))
    }

    fn decode(document: Document) -> Result<Self, Error> {
        let origin = document.origin.clone();
        let field = |field: &str, problem: String| Error::Field {
            origin: origin.clone(),
            field: field.to_owned(),
            problem,
        };
        // There they would limit nothing, silently.
        for name in ["auth", "scopes"] {
            if document.value["spec"].get(name).is_some() {
                let problem = format!("{name:?} belongs beside \"spec\", not under it");
                return Err(field(&format!("spec.{name}"), problem));
            }
        }
        let spec = document.into_typed::<Raw>()?.spec;
        let base_url = HttpUrl::parse(&spec.base_url.0);
        let base_url = base_url.map_err(|error| field("spec.baseUrl", error.to_string()))?;
        let mut headers = Vec::with_capacity(spec.headers.len());
        for (at, header) in spec.headers.into_iter().enumerate() {
            let path = format!("spec.headers[{at}]");
            let header = header
                .into_property()
                .map_err(|problem| field(&path, problem))?;
            let name = header_name(&header.name)
                .map_err(|problem| field(&format!("{path}.name"), problem))?;
            headers.retain(|(other, _)| *other != name);
            headers.push((name, header.source));
        }
        let client_tls = spec.client_tls.into_tls();
        let client_tls = client_tls.map_err(|(name, problem)| field(&name, problem))?;
        Ok(Self {
            base_url,
            headers,
            client_tls,
        })
    }
}

/// Warnings about what has no effect, though the user may think that it has.
pub(crate) fn warnings(document: &Document) -> Vec<String> {
    const TOP: [&str; 6] = ["apiVersion", "kind", "metadata", "spec", "auth", "scopes"];
    const TLS: [&str; 4] = ["rootCA", "certificate", "privateKey", "renegotiation"];
    let value = &document.value;
    let spec = &value["spec"];
    let tls = &spec["clientTLS"];
    let mut unknown = UnknownFields::of(document);
    unknown.check(value, "", &TOP);
    unknown.check(spec, "spec.", &["baseUrl", "headers", "clientTLS"]);
    unknown.check(&value["auth"], "auth.", &["secretStore"]);
    unknown.check_properties(&spec["headers"], "spec.headers");
    unknown.check(tls, "spec.clientTLS.", &TLS);
    for name in DOCUMENTS {
        let path = format!("spec.clientTLS.{name}.");
        unknown.check(&tls[name], &path, &["value", "secretKeyRef", "envRef"]);
        unknown.check_reference(&tls[name], &path);
    }
    let mut warnings = unknown.warnings();
    let origin = &document.origin;
    if Renegotiation::of(&tls["renegotiation"]) == Some(Renegotiation::Wanted) {
        warnings.push(format!(
            "{origin}: field spec.clientTLS.renegotiation has no effect: a server that \
             renegotiates TLS is not followed, and calls to it fail"
        ));
    }
    let url = spec["baseUrl"].as_str().map(HttpUrl::parse);
    if tls.is_object() && matches!(url, Some(Ok(url)) if !url.is_https()) {
        let text = "field spec.clientTLS has no effect: spec.baseUrl does not begin with https://";
        warnings.push(format!("{origin}: {text}"));
    }
    warnings
}

/// Whether a server may shake hands anew on a connection. TLS 1.3 has no such thing, and the TLS
/// of this program never does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renegotiation {
    Never,
    Wanted,
}

impl Renegotiation {
    /// Both spellings of Dapr: that of its kind, and that of its pages.
    fn of(value: &Value) -> Option<Self> {
        let text = value.as_str()?;
        match text.strip_prefix("Renegotiate").unwrap_or(text) {
            "Never" => Some(Self::Never),
            "OnceAsClient" | "FreelyAsClient" => Some(Self::Wanted),
            _ => None,
        }
    }
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text
        .parse()
        .map_err(|_| format!("{text:?} is not the name of a header"))?;
    if OF_THE_CONNECTION.contains(&name) {
        return Err(format!(
            "{text:?} is set by the sidecar for each connection, and cannot be configured"
        ));
    }
    Ok(name)
}

#[derive(Deserialize)]
struct RawIdentity {
    metadata: RawMetadata,
    #[serde(default)]
    auth: RawAuth,
    #[serde(default)]
    scopes: Vec<Text>,
}

#[derive(Deserialize)]
struct Raw {
    spec: RawSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    base_url: Text,
    #[serde(default)]
    headers: Vec<RawProperty>,
    #[serde(default, rename = "clientTLS")]
    client_tls: RawTls,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTls {
    #[serde(rename = "rootCA")]
    root_ca: Option<RawValue>,
    certificate: Option<RawValue>,
    private_key: Option<RawValue>,
    renegotiation: Option<Text>,
}

impl RawTls {
    /// The error is a field with what is wrong with it.
    fn into_tls(self) -> Result<ClientTls, (String, String)> {
        let path = |name: &str| format!("spec.clientTLS.{name}");
        if let Some(Text(text)) = self.renegotiation
            && Renegotiation::of(&Value::from(text.as_str())).is_none()
        {
            let problem = format!(
                "{text:?} is not known; accepted are \"Never\", \"OnceAsClient\" and \
                 \"FreelyAsClient\""
            );
            return Err((path("renegotiation"), problem));
        }
        let read = |name: &str, written: Option<RawValue>| {
            let Some(written) = written else {
                return Ok(None);
            };
            match written.into_source() {
                Ok(Some(source)) => Ok(Some(source)),
                Ok(None) => {
                    let problem = "holds nothing; accepted are value, secretKeyRef and envRef";
                    Err((path(name), problem.to_owned()))
                }
                Err(problem) => Err((path(name), problem)),
            }
        };
        let tls = ClientTls {
            root_ca: read("rootCA", self.root_ca)?,
            certificate: read("certificate", self.certificate)?,
            private_key: read("privateKey", self.private_key)?,
        };
        let missing = match (&tls.certificate, &tls.private_key) {
            (Some(_), None) => Some(("certificate", "privateKey")),
            (None, Some(_)) => Some(("privateKey", "certificate")),
            _ => None,
        };
        match missing {
            None => Ok(tls),
            Some((given, missing)) => Err((path(given), format!("is given without {missing:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::decode::Resources;
    use std::path::Path;

    fn read(rest: &str) -> Resources {
        let text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata:\n  name: e\n{rest}"
        );
        let mut resources = Resources::default();
        resources.add(Path::new("f.yaml"), &text);
        resources
    }

    fn decoded(rest: &str) -> HttpEndpoint {
        let mut resources = read(rest);
        assert!(resources.problems.is_empty(), "{:?}", resources.problems);
        resources.http_endpoints.remove(0)
    }

    #[test]
    fn reads_every_field() {
        let endpoint = decoded(
            "  namespace: ns\nspec:\n  baseUrl: https://a/v1/\n  headers:\n  - {name: X-A, value: \
             5}\n  - {name: authorization, secretKeyRef: {name: s, key: k}}\n  - {name: x-b, \
             envRef: E}\n  clientTLS:\n    rootCA: {value: ca}\n    certificate: {secretKeyRef: \
             {name: c}}\n    privateKey: {envRef: K}\n    renegotiation: RenegotiateNever\nauth:\n \
             \x20secretStore: store\nscopes: [a, 1]\n",
        );
        assert_eq!(endpoint.namespace.as_deref(), Some("ns"));
        assert_eq!(endpoint.secret_store.as_deref(), Some("store"));
        assert_eq!(endpoint.scopes, ["a", "1"]);
        let spec = endpoint.spec.unwrap();
        assert_eq!(spec.base_url.to_string(), "https://a/v1");
        let secret = |name: &str, key: &str| Source::Secret {
            name: name.to_owned(),
            key: key.to_owned(),
        };
        let values: Vec<_> = spec.values().collect();
        let expected = [
            ("headers[x-a]", Source::Literal("5".to_owned())),
            ("headers[authorization]", secret("s", "k")),
            ("headers[x-b]", Source::Env("E".to_owned())),
            ("clientTLS.rootCA", Source::Literal("ca".to_owned())),
            ("clientTLS.certificate", secret("c", "c")),
            ("clientTLS.privateKey", Source::Env("K".to_owned())),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(field, source)| ((*field).to_owned(), source))
            .collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn of_two_headers_with_one_name_the_last_counts() {
        let spec = "spec:\n  baseUrl: http://a\n  headers: [{name: X, value: a}, {name: x, value: \
                    b}]\n";
        let headers = decoded(spec).spec.unwrap().headers;
        let name = HeaderName::from_static("x");
        assert_eq!(headers, [(name, Source::Literal("b".to_owned()))]);
    }

    #[test]
    fn a_broken_spec_leaves_the_name_with_the_reason() {
        for (spec, expected) in [
            ("{}", "field \"spec\": missing field \"baseUrl\""),
            (
                "{baseUrl: a.example.com}",
                "field \"spec.baseUrl\": a URL begins with http:// or https://",
            ),
            (
                "{baseUrl: 'http://u:hunter2@a'}",
                "field \"spec.baseUrl\": a URL without user info is accepted: it holds \"@\" \
                 before its host",
            ),
            (
                "{baseUrl: 'http://a', headers: [{name: 'a b', value: hunter2}]}",
                "field \"spec.headers[0].name\": \"a b\" is not the name of a header",
            ),
            (
                "{baseUrl: 'http://a', headers: [{name: Host, value: b}]}",
                "field \"spec.headers[0].name\": \"Host\" is set by the sidecar for each \
                 connection, and cannot be configured",
            ),
            (
                "{baseUrl: 'http://a', headers: [{value: b}]}",
                "field \"spec.headers[0]\": missing field \"name\"",
            ),
            (
                "{baseUrl: 'http://a', clientTLS: {rootCA: {}}}",
                "field \"spec.clientTLS.rootCA\": holds nothing; accepted are value, secretKeyRef \
                 and envRef",
            ),
            (
                "{baseUrl: 'http://a', clientTLS: {certificate: {value: hunter2}}}",
                "field \"spec.clientTLS.certificate\": is given without \"privateKey\"",
            ),
            (
                "{baseUrl: 'http://a', clientTLS: {renegotiation: always}}",
                "field \"spec.clientTLS.renegotiation\": \"always\" is not known; accepted are \
                 \"Never\", \"OnceAsClient\" and \"FreelyAsClient\"",
            ),
            (
                "{baseUrl: 'http://a', scopes: [a]}",
                "field \"spec.scopes\": \"scopes\" belongs beside \"spec\", not under it",
            ),
        ] {
            let problem = decoded(&format!("spec: {spec}\n")).spec.unwrap_err();
            assert_eq!(
                problem,
                format!("file \"f.yaml\", document 1: {expected}"),
                "{spec}"
            );
        }
    }

    #[test]
    fn one_without_a_usable_name_or_scopes_is_a_problem_of_its_file() {
        let name = "field \"metadata.name\": invalid name \"a/b\" for \"HTTPEndpoint\": may not \
                    contain '/'";
        let scopes = "field \"scopes\": invalid type: string \"a\", expected a sequence";
        for (document, expected) in [
            ("metadata: {name: a/b}", name),
            ("metadata: {name: a}\nscopes: a", scopes),
        ] {
            let text = format!("apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\n{document}\n");
            let mut resources = Resources::default();
            resources.add(Path::new("f.yaml"), &text);
            let problem = resources.problems.remove(0).to_string();
            assert_eq!(problem, format!("file \"f.yaml\", document 1: {expected}"));
        }
    }

    #[test]
    fn warns_about_what_has_no_effect() {
        let warnings = |spec: &str| read(&format!("spec: {spec}\n")).warnings;
        let at = "file \"f.yaml\", document 1: ";
        for (spec, expected) in [
            (
                "{baseUrl: 'http://a', header: []}",
                "unknown field spec.header; did you mean \"headers\"?",
            ),
            (
                "{baseUrl: 'http://a', headers: [{name: x, secretKeyref: {}}]}",
                "unknown field spec.headers[0].secretKeyref; did you mean \"secretKeyRef\"?",
            ),
            (
                "{baseUrl: 'https://a', clientTLS: {rootCa: {value: x}}}",
                "unknown field spec.clientTLS.rootCa; did you mean \"rootCA\"?",
            ),
            (
                "{baseUrl: 'https://a', clientTLS: {renegotiation: FreelyAsClient}}",
                "field spec.clientTLS.renegotiation has no effect: a server that renegotiates TLS \
                 is not followed, and calls to it fail",
            ),
            (
                "{baseUrl: 'http://a', clientTLS: {rootCA: {value: x}}}",
                "field spec.clientTLS has no effect: spec.baseUrl does not begin with https://",
            ),
        ] {
            assert_eq!(warnings(spec), [format!("{at}{expected}")], "{spec}");
        }
        let fine = "{baseUrl: 'https://a', clientTLS: {renegotiation: Never}}";
        assert!(warnings(fine).is_empty());
    }

    #[test]
    fn debug_shows_no_value() {
        let rest = "spec: {baseUrl: 'http://a', headers: [{name: n, value: hunter2}]}\n";
        assert!(!format!("{:?}", decoded(rest)).contains("hunter2"));
    }
}
