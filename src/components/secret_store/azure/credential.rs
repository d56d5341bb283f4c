//! Tokens for a vault, from the ways that its component has.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientMethodOptions, ClientOptions, Url};
use azure_core::time::OffsetDateTime;
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::certificate::{Certificate, CertificateError};
use super::command_line::{self, CommandLine, Failure};
use super::config::Config;
use super::transport::{Destination, NotThere, Road, cause, denied};
use super::ways::{Application, CertificateSource, Way};
use crate::base::environment::Environment;
use crate::base::secret::Secret;
use crate::components::http_client::HttpClient;
use crate::components::secret_store::StoreError;
use crate::process::tasks::with_causes;
use crate::tls::client::Trust;

/// The most bytes of an answer with a token, which has one to four KiB.
const MAX_TOKEN_BYTES: usize = 256 << 10;
/// The largest file with a certificate or a token.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// How long it takes at most to see that the machine has no identity (Dapr 1.18).
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a new token is waited for while the last one still counts, and how long after that it
/// is asked for again: a token endpoint that hangs must not hold up reads.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);
const REFRESH_PAUSE: Duration = Duration::from_secs(30);
/// How long a token has to count still, for a request to be made with it.
const LEAST_LIFETIME: Duration = Duration::from_secs(30);
/// Where it is asked. Without the header `Metadata` every answer is a refusal, and fast.
const METADATA_SERVICE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// The ways to a token, each tried where those before it are not there. One that is refused is not
/// passed over.
///
/// The vault's client keeps the token. A credential of the SDK, which would keep it too, is made
/// anew for each: so a token that a vault refuses is not handed out again, and files are read
/// again.
pub(super) struct Credentials {
    config: Config,
    environment: Environment,
    client: HttpClient,
    /// For the identity of the machine. Made once that was seen to be there.
    machine: OnceCell<HttpClient>,
    held: Mutex<Option<Held>>,
}

/// The last token.
#[derive(Clone)]
struct Held {
    scope: String,
    token: AccessToken,
    /// Until then no other is asked for.
    enough_until: Instant,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    pub(super) fn new(config: Config, environment: Environment, client: HttpClient) -> Self {
        Self {
            config,
            environment,
            client,
            machine: OnceCell::new(),
            held: Mutex::new(None),
        }
    }

    /// Whether a vault may ask for a token of this scope. Tokens of other resources must not get
    /// to it: they open more than vaults.
    fn is_for_vaults(&self, scope: &str) -> bool {
        let Some(resource) = scope.strip_suffix("/.default") else {
            return false;
        };
        let Ok(url) = Url::parse(resource) else {
            return false;
        };
        let host = url.host_str().unwrap_or_default();
        url.scheme() == "https"
            && (host == self.config.resource
                || (self.config.is_emulated && host == self.config.vault.host()))
    }

    async fn first(&self, scope: &str) -> azure_core::Result<AccessToken> {
        let mut absent = Vec::new();
        for way in &self.config.ways {
            match self.token(way, scope).await {
                Err(error) => match cause::<NotThere>(&error) {
                    Some(NotThere(text)) => absent.push(text.clone()),
                    None => return Err(error),
                },
                token => return token,
            }
        }
        Err(denied(StoreError::Unauthenticated(format!(
            "there is no credential for the vault: {}",
            absent.join("; ")
        ))))
    }

    async fn token(&self, way: &Way, scope: &str) -> azure_core::Result<AccessToken> {
        let scopes = &[scope];
        match way {
            Way::Secret(application, secret) => {
                let options = ClientSecretCredentialOptions {
                    client_options: self.entra(),
                };
                // Exposed to the SDK, which sends it to the token endpoint.
                let secret = secret.expose().to_owned().into();
                let (tenant, id) = (&application.tenant, application.id.clone());
                let credential = ClientSecretCredential::new(tenant, id, secret, Some(options))?;
                credential.get_token(scopes, None).await
            }
            Way::Certificate {
                application,
                source,
                password,
            } => {
                let certificate = load(source, password).await.map_err(denied)?;
                let endpoint = self.token_endpoint(application);
                let signed = certificate.assertion(&application.id, &endpoint, SystemTime::now());
                let signed = signed.map_err(|error| failed(&error))?;
                self.asserted(application, signed, scopes).await
            }
            Way::Workload(application, file) => {
                let token = read(file).await.map_err(denied)?;
                let token = std::str::from_utf8(&token).map_err(|error| failed(&error))?;
                let token = Secret::new(token.trim());
                self.asserted(application, token, scopes).await
            }
            Way::ManagedIdentity(id) => self.of_machine(id.clone(), scopes).await,
            Way::CommandLine(tenant) => self.of_command_line(tenant.clone(), scopes).await,
            Way::None => Ok(AccessToken::new(
                "none",
                OffsetDateTime::now_utc() + Duration::from_secs(3600),
            )),
        }
    }

    /// The token for an application that shows a token of another issuer, or of its own.
    async fn asserted(
        &self,
        application: &Application,
        assertion: Secret,
        scopes: &[&str],
    ) -> azure_core::Result<AccessToken> {
        let options = ClientAssertionCredentialOptions {
            client_options: self.entra(),
        };
        let Application { tenant, id } = application.clone();
        let assertion = Assertion(assertion);
        let credential = ClientAssertionCredential::new(tenant, id, assertion, Some(options))?;
        credential.get_token(scopes, None).await
    }

    async fn of_machine(
        &self,
        id: Option<String>,
        scopes: &[&str],
    ) -> azure_core::Result<AccessToken> {
        let machine = self.machine.get_or_try_init(|| self.find_machine()).await?;
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: id.map(UserAssignedId::ClientId),
            client_options: self.road_to_machine(machine).options(),
        };
        let credential = ManagedIdentityCredential::new(Some(options));
        // Azure Arc and others whose identities the SDK does not know.
        let credential = credential.map_err(|_| {
            not_there("the kind of managed identity of this machine is not supported")
        })?;
        credential.get_token(scopes, None).await
    }

    /// A client for the metadata service, which is there only on machines of Azure.
    async fn find_machine(&self) -> azure_core::Result<HttpClient> {
        let client = HttpClient::direct(&Trust::default()).map_err(|error| failed(&error))?;
        // Where these are set, the SDK asks the server that they name.
        let named = ["IDENTITY_ENDPOINT", "MSI_ENDPOINT"];
        if named
            .iter()
            .any(|name| self.environment.value(name).is_some())
        {
            return Ok(client);
        }
        let url = Url::parse(METADATA_SERVICE)?;
        let road = self.road_to_machine(&client);
        match timeout(PROBE_TIMEOUT, road.is_there(&url)).await {
            Ok(true) => Ok(client),
            _ => Err(not_there(
                "no managed identity (nobody answers at 169.254.169.254)",
            )),
        }
    }

    fn road_to_machine(&self, client: &HttpClient) -> Road {
        Road {
            client: client.clone(),
            limit: MAX_TOKEN_BYTES,
            to: Destination::Identity(self.config.pod_identity.clone()),
        }
    }

    async fn of_command_line(
        &self,
        tenant: Option<String>,
        scopes: &[&str],
    ) -> azure_core::Result<AccessToken> {
        let options = AzureCliCredentialOptions {
            tenant_id: tenant,
            executor: Some(Arc::new(CommandLine(self.environment.clone()))),
            ..AzureCliCredentialOptions::default()
        };
        let credential = AzureCliCredential::new(Some(options))?;
        let token = credential.get_token(scopes, None).await;
        token.map_err(|error| match command_line::failure(&error) {
            Failure::NotThere => not_there("no program \"az\" (the command line of Azure)"),
            Failure::Late => denied(unavailable("\"az\" did not answer".to_owned())),
            Failure::Refused => denied(StoreError::Unauthenticated(
                "\"az\" gave no token; \"az login\" logs it in".to_owned(),
            )),
        })
    }

    fn entra(&self) -> ClientOptions {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.config.authority.for_sdk().into();
        let road = Road {
            client: self.client.clone(),
            limit: MAX_TOKEN_BYTES,
            to: Destination::Entra(self.config.authority.clone()),
        };
        ClientOptions {
            cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
            ..road.options()
        }
    }

    fn token_endpoint(&self, application: &Application) -> String {
        let authority = self.config.authority.for_sdk();
        format!("{authority}{}/oauth2/v2.0/token", application.tenant)
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, scope: &str, token: &AccessToken, enough_until: Instant) {
        *self.held() = Some(Held {
            scope: scope.to_owned(),
            token: token.clone(),
            enough_until,
        });
    }
}

#[async_trait]
impl TokenCredential for Credentials {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let &[scope] = scopes else {
            return Err(denied(StoreError::Failed("no scope of a token".to_owned())));
        };
        if !self.is_for_vaults(scope) {
            return Err(denied(StoreError::Failed(format!(
                "the vault asks for a token of another resource than {}",
                self.config.resource
            ))));
        }
        let held = self.held().clone().filter(|held| {
            held.scope == scope
                && held.token.expires_on > OffsetDateTime::now_utc() + LEAST_LIFETIME
        });
        let Some(held) = held else {
            let token = self.first(scope).await.map_err(typed)?;
            self.hold(scope, &token, Instant::now());
            return Ok(token);
        };
        if Instant::now() < held.enough_until {
            return Ok(held.token);
        }
        let late = || unavailable("the token endpoint does not answer".to_owned());
        let fresh = timeout(REFRESH_TIMEOUT, self.first(scope)).await;
        match fresh.unwrap_or_else(|_| Err(denied(late()))).map_err(typed) {
            Ok(token) => {
                self.hold(scope, &token, Instant::now());
                Ok(token)
            }
            Err(error) if matches!(cause(&error), Some(StoreError::Unavailable { .. })) => {
                self.hold(scope, &held.token, Instant::now() + REFRESH_PAUSE);
                Ok(held.token)
            }
            Err(error) => Err(error),
        }
    }
}

#[derive(Debug)]
struct Assertion(Secret);

#[async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        // Exposed to the SDK, which sends it to the token endpoint.
        Ok(self.0.expose().to_owned())
    }
}

/// Reads and checks a certificate.
pub(super) async fn load(
    source: &CertificateSource,
    password: &Secret,
) -> Result<Certificate, StoreError> {
    let unusable = |error: CertificateError| StoreError::Unauthenticated(error.to_string());
    // Exposed to the parsers.
    let password = password.expose();
    match source {
        CertificateSource::Text(text) => {
            Certificate::parse(text.expose().as_bytes(), password).map_err(unusable)
        }
        CertificateSource::File(path) => {
            Certificate::parse(&read(path).await?, password).map_err(unusable)
        }
    }
}

async fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let unreadable = |error: std::io::Error| unavailable(format!("cannot read {path:?}: {error}"));
    let file = File::open(path).await.map_err(unreadable)?;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).await;
    if read.map_err(unreadable)? as u64 > MAX_FILE_BYTES {
        let text = format!("{path:?} has more than {MAX_FILE_BYTES} bytes");
        return Err(StoreError::Failed(text));
    }
    Ok(bytes)
}

/// An error that is one of ours already, else what the SDK could not read: without its words, which
/// may hold a piece of an answer.
fn typed(error: azure_core::Error) -> azure_core::Error {
    match cause::<StoreError>(&error) {
        Some(own) => denied(own.clone()),
        None => denied(StoreError::Failed(
            "the answer of the token endpoint is no token".to_owned(),
        )),
    }
}

fn unavailable(text: String) -> StoreError {
    StoreError::Unavailable {
        text,
        retry_after: None,
    }
}

fn failed(error: &dyn std::error::Error) -> azure_core::Error {
    denied(StoreError::Failed(with_causes(error)))
}

fn not_there(text: &str) -> azure_core::Error {
    azure_core::Error::new(ErrorKind::Other, NotThere(text.to_owned()))
}
