//! Secrets Manager and Parameter Store of AWS, through AWS's own SDK.
//!
//! ```text
//! store → client of the SDK → connector → HttpClient
//!              └ credentials ─┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::sync::OnceCell;
use tracing::warn;

use self::connector::Connector;
use self::refusal::{Refusal, denied};
use super::settings::Settings;
use super::{Secrets, StoreError};
use crate::base::secret::Secret;
use crate::components::Error;
use crate::components::metadata::{self, Reader};

mod connector;
pub mod parameter_store;
mod refusal;
pub mod secrets_manager;

/// The name under which the SDK shows these credentials.
const STATIC: &str = "component";
/// The name of the sessions of `assumeRoleArn`.
const SESSION_NAME: &str = "sidegate";

/// Whose secrets are read, and where.
struct Account {
    region: Option<String>,
    endpoint: Option<String>,
    keys: Option<Keys>,
    role: Option<String>,
    settings: Settings,
}

/// The credentials of the component itself.
struct Keys {
    access: String,
    secret: Secret,
    session: Option<Secret>,
}

impl Account {
    /// Reads the settings that both stores have. Nothing is sent.
    fn read(reader: &mut Reader<'_>, settings: Settings) -> Result<Self, Error> {
        let account = Self {
            region: region(reader)?,
            endpoint: endpoint(reader)?,
            keys: keys(reader)?,
            role: role(reader)?,
            settings,
        };
        Ok(account)
    }

    /// What a client of the SDK needs, with credentials and region from where the SDK looks for
    /// them, unless they are given.
    async fn config(&self, connector: Connector) -> Result<SdkConfig, StoreError> {
        let cache = IdentityCache::lazy()
            // A read that waits for credentials has no more time than that.
            .load_timeout(self.settings.request_timeout)
            .build();
        let mut loader = ConfigLoader::default()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(connector)
            // Time and tries are limited once, for all stores alike.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .identity_cache(cache);
        if let Ok(name) = AppName::new("sidegate") {
            loader = loader.app_name(name);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(keys) = &self.keys {
            loader = loader.credentials_provider(keys.credentials());
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(StoreError::Failed(
                "no region is known; set \"region\", or AWS_REGION in the environment".to_owned(),
            ));
        }
        let Some(role) = &self.role else {
            return Ok(config);
        };
        let assumed = AssumeRoleProvider::builder(role)
            .session_name(SESSION_NAME)
            .configure(&config)
            .build()
            .await;
        let assumed = SharedCredentialsProvider::new(assumed);
        Ok(config.into_builder().credentials_provider(assumed).build())
    }
}

impl Keys {
    fn credentials(&self) -> Credentials {
        // Exposed to the SDK, which signs with them and shows them nowhere.
        let session = self.session.as_ref().map(|token| token.expose().to_owned());
        Credentials::new(&self.access, self.secret.expose(), session, None, STATIC)
    }
}

fn text<'a>(
    reader: &mut Reader<'a>,
    names: &[&'static str],
) -> Result<Option<&'a str>, metadata::Error> {
    Ok(reader.text(names)?.filter(|text| !text.is_empty()))
}

fn region(reader: &mut Reader<'_>) -> Result<Option<String>, metadata::Error> {
    let Some(region) = text(reader, &["region", "awsRegion"])? else {
        return Ok(None);
    };
    // It becomes a part of the server's name.
    let is_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if region.len() > 63 || !region.bytes().all(is_label) {
        return Err(metadata::Error::Invalid {
            name: "region",
            accepted: "a region, such as \"eu-west-1\"",
        });
    }
    Ok(Some(region.to_owned()))
}

fn endpoint(reader: &mut Reader<'_>) -> Result<Option<String>, metadata::Error> {
    let Some(endpoint) = text(reader, &["endpoint"])? else {
        return Ok(None);
    };
    let uri: Option<http::Uri> = endpoint.parse().ok();
    let is_usable = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|host| !host.as_str().contains('@'))
            && uri.query().is_none()
    });
    if !is_usable {
        return Err(metadata::Error::Invalid {
            name: "endpoint",
            accepted: "a URL, such as \"http://localhost:4566\"",
        });
    }
    Ok(Some(endpoint.to_owned()))
}

fn keys(reader: &mut Reader<'_>) -> Result<Option<Keys>, metadata::Error> {
    let access = text(reader, &["accessKey", "awsAccessKey"])?;
    let secret = text(reader, &["secretKey", "awsSecretKey"])?;
    let session = text(reader, &["sessionToken", "awsSessionToken"])?;
    match (access, secret) {
        (Some(access), Some(secret)) => Ok(Some(Keys {
            access: access.to_owned(),
            secret: Secret::new(secret),
            session: session.map(Secret::new),
        })),
        (None, None) if session.is_none() => Ok(None),
        _ => Err(metadata::Error::Missing(
            "\"accessKey\" and \"secretKey\" have to be given together, and \"sessionToken\" only \
             with them",
        )),
    }
}

fn role(reader: &mut Reader<'_>) -> Result<Option<String>, metadata::Error> {
    let anchor = text(reader, &["trustAnchorArn"])?;
    let profile = text(reader, &["trustProfileArn"])?;
    if anchor.or(profile).is_some() {
        return Err(metadata::Error::Missing(
            "IAM Roles Anywhere (\"trustAnchorArn\", \"trustProfileArn\") is not supported; \
             \"assumeRoleArn\" alone is a role that is assumed with the credentials of the sidecar",
        ));
    }
    let Some(role) = text(reader, &["assumeRoleArn"])? else {
        return Ok(None);
    };
    if !(role.starts_with("arn:") && role.contains(":role/")) {
        return Err(metadata::Error::Invalid {
            name: "assumeRoleArn",
            accepted: "the ARN of a role, such as \"arn:aws:iam::123456789012:role/reader\"",
        });
    }
    Ok(Some(role.to_owned()))
}

/// A client of the SDK, made at the first read.
struct Client<C> {
    component: String,
    account: Account,
    connector: OnceCell<Connector>,
    made: ArcSwap<Made<C>>,
    /// Whether the log tells already that secrets are left out.
    is_told: AtomicBool,
    make: fn(&SdkConfig, Option<&str>) -> C,
}

struct Made<C> {
    client: OnceCell<C>,
    /// Whether its credentials were accepted once.
    is_accepted: AtomicBool,
}

impl<C> Default for Made<C> {
    fn default() -> Self {
        Self {
            client: OnceCell::new(),
            is_accepted: AtomicBool::new(false),
        }
    }
}

impl<C: Clone> Client<C> {
    fn new(component: &str, account: Account, make: fn(&SdkConfig, Option<&str>) -> C) -> Self {
        Self {
            component: component.to_owned(),
            account,
            connector: OnceCell::new(),
            made: ArcSwap::default(),
            is_told: AtomicBool::new(false),
            make,
        }
    }

    fn settings(&self) -> &Settings {
        &self.account.settings
    }

    async fn get(&self) -> Result<C, StoreError> {
        let made = self.made.load_full();
        let make = async || {
            let connect = async || Connector::new(self.settings().max_answer_bytes);
            let connector = self.connector.get_or_try_init(connect).await?;
            let config = self.account.config(connector.clone()).await?;
            Ok((self.make)(&config, self.account.endpoint.as_deref()))
        };
        made.client.get_or_try_init(make).await.cloned()
    }

    /// The answer. Where the credentials are not accepted, the next read begins with new ones,
    /// since the SDK reads files once only and keeps what it was given until it ends. Where they
    /// were accepted before, that read comes at once.
    fn told<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        match answer {
            Ok(found) => {
                self.made.load().is_accepted.store(true, Ordering::Relaxed);
                Ok(found)
            }
            Err(StoreError::Unauthenticated(text)) => {
                let made = self.made.swap(Arc::default());
                if !made.is_accepted.load(Ordering::Relaxed) {
                    return Err(StoreError::Unauthenticated(text));
                }
                Err(StoreError::Unavailable {
                    text,
                    retry_after: None,
                })
            }
            error => error,
        }
    }

    /// What a bulk read found. Where the credentials may read nothing at all, that is an error.
    fn found(
        &self,
        secrets: Secrets,
        left_out: &LeftOut,
        action: &str,
    ) -> Result<Secrets, StoreError> {
        let count = left_out.0.load(Ordering::Relaxed);
        if count > 0 && secrets.is_empty() {
            return Err(denied(action));
        }
        if count > 0 && !self.is_told.swap(true, Ordering::Relaxed) {
            warn!(
                component = self.component,
                count,
                permission = action,
                "Left secrets out of a bulk read that the credentials may not read"
            );
        }
        Ok(secrets)
    }
}

/// How many secrets a bulk read leaves out since the credentials may not read them. IAM shows all
/// names of an account or none, so that most lists hold secrets of others.
#[derive(Default)]
struct LeftOut(AtomicUsize);

impl LeftOut {
    /// What can be read; `None` also where that is denied.
    fn readable<T>(&self, answer: Result<Option<T>, Refusal>) -> Result<Option<T>, StoreError> {
        match answer {
            Ok(found) => Ok(found),
            Err(Refusal::Missing) => Ok(None),
            Err(Refusal::Denied) => {
                self.0.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
            Err(Refusal::Other(error)) => Err(error),
        }
    }
}
