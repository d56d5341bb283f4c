//! What the metadata of a component says of the project, the server and the credentials.

use google_cloud_auth::build_errors;
use google_cloud_auth::credentials::{Builder, Credentials, service_account};
use http::Uri;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tracing::warn;

use super::super::StoreError;
use super::tokens::Make;
use crate::base::secret::Secret;
use crate::components::Error;
use crate::components::http_client::path_segment;
use crate::components::metadata::{self, Reader};

/// The one kind of key file that has a private key.
const KEY_TYPE: &str = "service_account";

/// Whose secrets are read, where, and as whom.
pub(super) struct Account {
    /// `https://secretmanager.googleapis.com`.
    pub(super) endpoint: String,
    /// `projects/PROJECT`, or `projects/PROJECT/locations/LOCATION`.
    pub(super) parent: String,
    pub(super) credentials: Make,
}

impl Account {
    /// Reads it. Nothing is sent, and no file is opened.
    pub(super) fn read(component: &str, reader: &mut Reader<'_>) -> Result<Self, Error> {
        let missing = "missing project_id in metadata";
        let project = reader.required(&["project_id", "projectID"], missing)?;
        // The domain of an organisation may stand before a project: `example.com:shop`.
        let segment = path_segment(project).filter(|_| is_one_segment(project, b"-_.:"));
        let Some(project_segment) = segment else {
            return Err(invalid("project_id", "the id or the number of a project"));
        };
        let location = given(reader, &["location"])?;
        if location.is_some_and(|location| !is_one_segment(location, b"-")) {
            return Err(invalid("location", "a region, such as \"europe-west3\""));
        }
        let endpoint = match (given(reader, &["endpoint"])?, location) {
            (Some(endpoint), _) => server(component, endpoint)?,
            (None, None) => "https://secretmanager.googleapis.com".to_owned(),
            (None, Some(region)) => format!("https://secretmanager.{region}.rep.googleapis.com"),
        };
        let location = location.map(|location| format!("/locations/{location}"));
        Ok(Self {
            endpoint,
            parent: format!("projects/{project_segment}{}", location.unwrap_or_default()),
            credentials: match Key::read(reader, project)? {
                Some(key) => Box::new(move || key.credentials()),
                None => Box::new(|| {
                    let built = Builder::default().build();
                    built.map_err(|error| StoreError::Unauthenticated(unusable(&error)))
                }),
            },
        })
    }
}

/// The text of a setting that is not empty.
fn given<'a>(
    reader: &mut Reader<'a>,
    names: &[&'static str],
) -> Result<Option<&'a str>, metadata::Error> {
    Ok(reader.text(names)?.filter(|text| !text.is_empty()))
}

fn invalid(name: &'static str, accepted: &'static str) -> Error {
    metadata::Error::Invalid { name, accepted }.into()
}

/// Whether a text can be one segment of a path, with these characters beside letters and digits.
fn is_one_segment(text: &str, others: &[u8]) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
    text.bytes().all(known) && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// The address of a server, without a path.
fn server(component: &str, endpoint: &str) -> Result<String, Error> {
    let uri: Option<Uri> = endpoint.parse().ok();
    let usable = uri.as_ref().and_then(|uri| {
        let authority = uri.authority()?;
        let is_bare = uri.path() == "/" && uri.query().is_none();
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        (is_http && is_bare && !authority.as_str().contains('@')).then_some(uri)
    });
    let Some(uri) = usable else {
        let accepted = "a URL such as \"https://secretmanager.googleapis.com\", without a path";
        return Err(invalid("endpoint", accepted));
    };
    if uri.scheme_str() == Some("http") && !is_loopback(uri.host().unwrap_or_default()) {
        warn!(
            component,
            endpoint, "Access tokens and secrets go over the network in the clear"
        );
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address: Result<std::net::IpAddr, _> = address.parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A key of a service account.
struct Key {
    id: String,
    private: Secret,
    email: String,
    project: String,
}

impl Key {
    /// The key in the metadata, where there is one.
    fn read(reader: &mut Reader<'_>, project: &str) -> Result<Option<Self>, Error> {
        let key_type = given(reader, &["type"])?;
        let id = given(reader, &["private_key_id", "privateKeyID"])?;
        let private = given(reader, &["private_key", "privateKey"])?;
        let email = given(reader, &["client_email", "clientEmail"])?;
        // In every key file, so that they are given too; nothing is asked at these addresses,
        // since the key itself signs the access tokens.
        for names in [
            &["client_id", "clientID"],
            &["auth_uri", "authURI"],
            &["token_uri", "tokenURI"],
            &["auth_provider_x509_cert_url", "authProviderX509CertURL"],
            &["client_x509_cert_url", "clientX509CertURL"],
        ] {
            reader.text(names)?;
        }
        if id.is_none() && private.is_none() {
            return Ok(None);
        }
        let (Some(key_type), Some(id), Some(private), Some(email)) = (key_type, id, private, email)
        else {
            let fields = [
                ("type", key_type),
                ("private_key_id", id),
                ("private_key", private),
                ("client_email", email),
            ];
            let missing = fields.iter().filter(|(_, given)| given.is_none());
            let missing: Vec<_> = missing.map(|(name, _)| *name).collect();
            return Err(Error::Init(format!(
                "missing {} in metadata, which the key of a service account has; without \
                 private_key_id and private_key the application default credentials count",
                missing.join(", ")
            )));
        };
        if key_type != KEY_TYPE {
            return Err(invalid("type", "\"service_account\""));
        }
        // As the key stands in its JSON file.
        let private = Secret::new(private.replace("\\n", "\n"));
        if !can_sign(&private) {
            let accepted = "an RSA key of 2048 bits or more in PEM form (BEGIN PRIVATE KEY)";
            return Err(invalid("private_key", accepted));
        }
        Ok(Some(Self {
            id: id.to_owned(),
            private,
            email: email.to_owned(),
            project: project.to_owned(),
        }))
    }

    fn credentials(&self) -> Result<Credentials, StoreError> {
        let file = serde_json::json!({
            "type": KEY_TYPE,
            "project_id": self.project,
            "private_key_id": self.id,
            // Exposed to the library that signs with it.
            "private_key": self.private.expose(),
            "client_email": self.email,
        });
        let built = service_account::Builder::new(file).build();
        built.map_err(|error| StoreError::Unauthenticated(unusable(&error)))
    }
}

/// Whether tokens can be signed with a key. The same is asked when the first one is, which would
/// be too late to tell.
fn can_sign(key: &Secret) -> bool {
    let Ok(key @ PrivateKeyDer::Pkcs8(_)) = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
    else {
        return false;
    };
    let key = crate::tls::provider().key_provider.load_private_key(key);
    let schemes = [SignatureScheme::RSA_PKCS1_SHA256];
    key.is_ok_and(|key| key.choose_scheme(&schemes).is_some())
}

/// Why there are no credentials. The library's own words may hold a piece of the file.
fn unusable(error: &build_errors::Error) -> String {
    let why = if error.is_loading() {
        "the file that GOOGLE_APPLICATION_CREDENTIALS or gcloud names cannot be read"
    } else if error.is_parsing() || error.is_missing_field() {
        "the file with them is not understood"
    } else {
        "the file with them has a \"type\" that cannot be used"
    };
    format!("no application default credentials: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contract::component;
    use crate::testing::fake_secret_manager::PRIVATE_KEY;

    fn read(properties: &[(&str, &str)]) -> Result<(String, String), String> {
        let component = component("secretstores.gcp.secretmanager", properties);
        let mut reader = Reader::new(&component).unwrap();
        let account = Account::read("c", &mut reader);
        account
            .map(|account| (account.endpoint, account.parent))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn finds_the_server_and_the_project() {
        let public = "https://secretmanager.googleapis.com";
        for (properties, endpoint, parent) in [
            (&[("project_id", "p")][..], public, "projects/p"),
            (&[("projectId", "42")], public, "projects/42"),
            (
                &[("projectID", "example.com:shop")],
                public,
                "projects/example.com%3Ashop",
            ),
            (
                &[("project_id", "p"), ("location", "europe-west3")],
                "https://secretmanager.europe-west3.rep.googleapis.com",
                "projects/p/locations/europe-west3",
            ),
            (
                &[("project_id", "p"), ("endpoint", "http://[::1]:8080/")],
                "http://[::1]:8080",
                "projects/p",
            ),
        ] {
            let expected = (endpoint.to_owned(), parent.to_owned());
            assert_eq!(read(properties), Ok(expected), "{properties:?}");
        }
    }

    #[test]
    fn names_what_is_wrong_or_missing() {
        let key_fields = |private_key| {
            [
                ("project_id", "p"),
                ("type", "service_account"),
                ("privateKeyID", "i"),
                ("privateKey", private_key),
                ("clientEmail", "e@p.iam.gserviceaccount.com"),
                ("token_uri", "https://oauth2.googleapis.com/token"),
            ]
        };
        let escaped = PRIVATE_KEY.replace('\n', "\\n");
        for key in [PRIVATE_KEY, &escaped] {
            assert!(read(&key_fields(key)).is_ok());
        }
        let mut other = key_fields(PRIVATE_KEY);
        other[1].1 = "authorized_user";
        let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let no_key = "the value of \"private_key\" is not an RSA key of 2048 bits or more in PEM \
                      form (BEGIN PRIVATE KEY)";
        let no_url = "the value of \"endpoint\" is not a URL such as \
                      \"https://secretmanager.googleapis.com\", without a path";
        let no_project = "the value of \"project_id\" is not the id or the number of a project";
        let of_key = "in metadata, which the key of a service account has; without private_key_id \
                      and private_key the application default credentials count";
        for (properties, expected) in [
            (&[][..], "missing project_id in metadata"),
            (&[("project_id", "")], "missing project_id in metadata"),
            (&[("project_id", "p/secrets/x")], no_project),
            (&[("project_id", "..")], no_project),
            (&[("project_id", "p?x")], no_project),
            (
                &[("project_id", "p"), ("location", "a/b")],
                "the value of \"location\" is not a region, such as \"europe-west3\"",
            ),
            (
                &[("project_id", "p"), ("endpoint", "sm.example.com")],
                no_url,
            ),
            (&[("project_id", "p"), ("endpoint", "ftp://h")], no_url),
            (
                &[("project_id", "p"), ("endpoint", "https://u:p@h")],
                no_url,
            ),
            (&[("project_id", "p"), ("endpoint", "https://h/v1")], no_url),
            (&[("project_id", "p"), ("endpoint", "https://h?a")], no_url),
            (
                &[("project_id", "p"), ("private_key_id", "i")],
                &format!("missing type, private_key, client_email {of_key}"),
            ),
            (
                &[
                    ("project_id", "p"),
                    ("type", "service_account"),
                    ("private_key", "k"),
                ],
                &format!("missing private_key_id, client_email {of_key}"),
            ),
            (&key_fields("hunter2"), no_key),
            (&key_fields(&elliptic), no_key),
            (&other, "the value of \"type\" is not \"service_account\""),
        ] {
            assert_eq!(read(properties), Err(expected.to_owned()), "{properties:?}");
        }
    }
}
