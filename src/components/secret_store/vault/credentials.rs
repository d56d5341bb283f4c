//! How the store comes to its token.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;

use crate::base::secret::Secret;
use crate::components::secret_store::StoreError;

/// The largest file of a credential. A token of a service account has some 2 KiB.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// How often, at most, a token file is read to see whether it changed.
const RECHECK: Duration = Duration::from_secs(1);

/// What the store has that gets it a token.
#[derive(Debug)]
pub(super) enum Credentials {
    /// The token itself.
    Token(Secret),
    /// A file with the token.
    File(TokenFile),
    /// What logs it in.
    Login(Login),
}

/// A way to log in.
#[derive(Debug)]
pub(super) struct Login {
    /// The path of the method below `auth`, escaped.
    pub(super) path: String,
    pub(super) method: Method,
}

/// A method of authentication.
#[derive(Debug)]
pub(super) enum Method {
    /// `approle`.
    AppRole {
        role_id: Secret,
        /// A role may be made that needs none.
        secret_id: Option<Kept>,
    },
    /// `kubernetes` and `jwt`.
    Jwt {
        /// A `jwt` method may have a default one.
        role: Option<String>,
        jwt: PathBuf,
    },
}

/// A credential, and where it is.
#[derive(Debug)]
pub(super) enum Kept {
    Here(Secret),
    File(PathBuf),
}

impl Login {
    /// The body of the request, of files as they are now.
    pub(super) async fn body(&self) -> Result<Bytes, StoreError> {
        let body = match &self.method {
            Method::AppRole { role_id, secret_id } => {
                let secret_id = match secret_id {
                    Some(Kept::Here(secret_id)) => Some(secret_id.clone()),
                    Some(Kept::File(path)) => Some(read(path).await?),
                    None => None,
                };
                let mut body = json!({"role_id": role_id.expose()});
                if let Some(secret_id) = secret_id {
                    body["secret_id"] = secret_id.expose().into();
                }
                body
            }
            Method::Jwt { role, jwt } => {
                let jwt = read(jwt).await?;
                let mut body = json!({"jwt": jwt.expose()});
                if let Some(role) = role {
                    body["role"] = role.as_str().into();
                }
                body
            }
        };
        Ok(Bytes::from(body.to_string()))
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = match &self.method {
            Method::AppRole { .. } => "\"roleId\" and \"secretId\"",
            Method::Jwt { .. } => "\"role\" and \"jwtPath\"",
        };
        let path = &self.path;
        write!(f, "{fields} at \"auth/{path}/login\"")
    }
}

/// A file with a token that somebody else keeps, as Vault's agent does.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    looked: Mutex<Option<Instant>>,
    is_told: AtomicBool,
}

impl TokenFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            looked: Mutex::default(),
            is_told: AtomicBool::new(false),
        }
    }

    /// The token as it is now.
    pub(super) async fn read(&self) -> Result<Secret, StoreError> {
        read(&self.path).await
    }

    /// Whether the file now has another token than this one; looked up once in a while.
    pub(super) async fn has_other(&self, token: &Secret) -> bool {
        let is_due = {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = looked.is_none_or(|looked| looked.elapsed() >= RECHECK);
            if is_due {
                *looked = Some(Instant::now());
            }
            is_due
        };
        is_due && self.has_other_now(token).await
    }

    /// The same without regard to when it was last looked at. A file that cannot be read is no
    /// other token: the last one stays.
    pub(super) async fn has_other_now(&self, token: &Secret) -> bool {
        match self.read().await {
            Ok(now) => {
                self.is_told.store(false, Ordering::Relaxed);
                !now.matches(token.expose().as_bytes())
            }
            Err(error) => {
                if !self.is_told.swap(true, Ordering::Relaxed) {
                    warn!(%error, "Kept the last good token");
                }
                false
            }
        }
    }
}

/// A credential in a file, without the spaces around it.
async fn read(path: &Path) -> Result<Secret, StoreError> {
    let failed = |problem: &dyn fmt::Display| {
        StoreError::Unauthenticated(format!("cannot read credential file {path:?}: {problem}"))
    };
    let file = tokio::fs::metadata(path)
        .await
        .map_err(|error| failed(&error))?;
    if !file.is_file() {
        return Err(failed(&"it is not a regular file"));
    }
    if file.len() > MAX_FILE_BYTES {
        return Err(failed(&format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    let text = tokio::fs::read_to_string(path).await;
    // Wiped when dropped.
    let text = Secret::new(text.map_err(|error| failed(&error))?);
    match text.expose().trim() {
        "" => Err(failed(&"it is empty")),
        trimmed => Ok(Secret::new(trimmed)),
    }
}
