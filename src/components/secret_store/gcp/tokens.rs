//! Access tokens: from the library that gets them, and new ones where it would give up.
//!
//! The library gets a token when it is made and renews it by itself. It has no limit on the time
//! of that, hands out a failure for ten seconds, and one that it takes for permanent for ever. A
//! right that was granted late would then count only after a restart. So credentials that failed
//! are thrown away, and the next read makes new ones.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use google_cloud_auth::credentials::{CacheableResource, Credentials};
use google_cloud_auth::errors::CredentialsError;
use google_cloud_gax::error::Error as CallError;
use http::{Extensions, HeaderMap};
use tokio::time::{Instant, timeout};

use super::super::StoreError;
use crate::components::http_client::told_by_library;

/// Makes credentials, which begin at once to get a token.
pub(super) type Make = Box<dyn Fn() -> Result<Credentials, StoreError> + Send + Sync>;

/// For how long credentials whose token does not come are waited for. Those that replace them open
/// a connection of their own while the old one still hangs, so that it must not be short.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// The access tokens of one component.
pub(super) struct Tokens {
    make: Make,
    /// How long one read waits.
    wait: Duration,
    current: Mutex<State>,
}

#[derive(Default)]
struct State {
    credentials: Option<Credentials>,
    /// Tells these credentials from those before them.
    number: u64,
    since: Option<Instant>,
}

/// What authorises one request.
pub(super) struct Authorization {
    pub(super) headers: HeaderMap,
    number: u64,
    /// Whether no other credentials could be younger.
    pub(super) is_new: bool,
}

impl Tokens {
    /// A token is waited for most of the time that a read has: what is left is for its use, and to
    /// tell the reason where none comes.
    pub(super) fn new(make: Make, request_timeout: Duration) -> Self {
        Self {
            make,
            wait: request_timeout / 4 * 3,
            current: Mutex::default(),
        }
    }

    /// The headers of a request, with a token that is valid as far as anybody knows.
    pub(super) async fn authorization(&self) -> Result<Authorization, StoreError> {
        let (credentials, number, is_new) = self.credentials()?;
        let Ok(headers) = timeout(self.wait, credentials.headers(Extensions::new())).await else {
            let text = format!("no access token came within {:?}", self.wait);
            self.give_up(number);
            // Another wait would end with the read, whose reason would then be its time only.
            return Err(StoreError::Unavailable {
                text,
                retry_after: Some(self.wait),
            });
        };
        match headers {
            Ok(CacheableResource::New { data, .. }) => Ok(Authorization {
                headers: data,
                number,
                is_new,
            }),
            Ok(CacheableResource::NotModified) => {
                let text = "no access token came though one was asked for";
                Err(StoreError::Failed(text.to_owned()))
            }
            Err(error) => {
                self.forget(number);
                Err(failure(&error))
            }
        }
    }

    /// Takes note that the server refused these headers.
    pub(super) fn refused(&self, authorization: &Authorization) {
        self.forget(authorization.number);
    }

    fn credentials(&self) -> Result<(Credentials, u64, bool), StoreError> {
        let mut state = self.lock();
        if let Some(credentials) = &state.credentials {
            return Ok((credentials.clone(), state.number, false));
        }
        let credentials = (self.make)()?;
        state.credentials = Some(credentials.clone());
        state.number += 1;
        state.since = Some(Instant::now());
        Ok((credentials, state.number, true))
    }

    fn forget(&self, number: u64) {
        let mut state = self.lock();
        if state.number == number {
            state.credentials = None;
        }
    }

    fn give_up(&self, number: u64) {
        let mut state = self.lock();
        let is_old = state
            .since
            .is_some_and(|since| since.elapsed() >= GIVE_UP_AFTER);
        if state.number == number && is_old {
            state.credentials = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a token that does not come. The library's own text holds the whole answer of the
/// server, which is left out.
fn failure(error: &CredentialsError) -> StoreError {
    let text = format!("no access token: {}", cause(error));
    if error.is_transient() {
        StoreError::Unavailable {
            text,
            retry_after: None,
        }
    } else {
        StoreError::Unauthenticated(text)
    }
}

fn cause(error: &CredentialsError) -> String {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(told) = told_by_library(error) {
            return told;
        }
        let call: Option<&CallError> = error.downcast_ref();
        if let Some(status) = call.and_then(CallError::http_status_code) {
            return format!("the server answered {status}");
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.to_string();
        }
        next = error.source();
    }
    "the server or the file that it comes from cannot be used".to_owned()
}

#[cfg(test)]
mod tests {
    use google_cloud_auth::credentials::mds;

    use super::*;
    use crate::testing::eventually::eventually;
    use crate::testing::fake_secret_manager::FakeSecretManager;
    use crate::testing::faulty_road::{Fault, FaultyRoad};

    /// Tokens of the metadata server at the end of a road.
    async fn tokens(wait: Duration) -> (Tokens, FakeSecretManager, FaultyRoad) {
        crate::tls::install_provider();
        let server = FakeSecretManager::start(&[]).await;
        let road = FaultyRoad::to(server.address()).await;
        let url = road.url();
        let make: Make = Box::new(move || {
            let credentials = mds::Builder::default().with_endpoint(&url).build();
            Ok(credentials.unwrap())
        });
        (Tokens::new(make, wait / 3 * 4), server, road)
    }

    const LONG: Duration = Duration::from_secs(60);

    async fn token(tokens: &Tokens) -> Result<String, StoreError> {
        let authorization = tokens.authorization().await?;
        let header = &authorization.headers[http::header::AUTHORIZATION];
        assert!(header.is_sensitive());
        Ok(header.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn one_token_serves_until_it_is_refused() {
        let (tokens, server, _road) = tokens(LONG).await;
        let first = tokens.authorization().await.unwrap();
        assert!(first.is_new);
        assert!(!tokens.authorization().await.unwrap().is_new);
        assert_eq!(token(&tokens).await.unwrap(), "Bearer token-1");
        assert_eq!(server.state().issued, 1);
        tokens.refused(&first);
        assert_eq!(token(&tokens).await.unwrap(), "Bearer token-2");
        // Another read that was refused with the first token ends the second one not.
        tokens.refused(&first);
        assert_eq!(token(&tokens).await.unwrap(), "Bearer token-2");
    }

    #[tokio::test]
    async fn a_failure_is_told_apart_and_not_remembered() {
        let (tokens, _server, road) = tokens(LONG).await;
        let of_server = |status| format!("no access token: the server answered {status}");
        for (fault, is_passing, text) in [
            (Fault::Status(503, None), true, of_server(503)),
            (Fault::Status(429, None), true, of_server(429)),
            (Fault::Status(403, None), false, of_server(403)),
            (Fault::Status(404, None), false, of_server(404)),
            (
                Fault::Body(b"hunter2"),
                false,
                "no access token: the answer is not understood".to_owned(),
            ),
        ] {
            road.next([fault.clone()]);
            let error = token(&tokens).await.unwrap_err();
            assert_eq!(error.to_string(), text);
            let is_unavailable = matches!(error, StoreError::Unavailable { .. });
            let is_refused = matches!(error, StoreError::Unauthenticated(_));
            assert_eq!(
                (is_unavailable, is_refused),
                (is_passing, !is_passing),
                "{fault:?}"
            );
            let token = token(&tokens).await.unwrap();
            assert!(token.starts_with("Bearer token-"));
            let number = tokens.lock().number;
            tokens.forget(number);
        }
    }

    #[tokio::test]
    async fn nobody_there_is_unavailable_with_the_reason() {
        crate::tls::install_provider();
        let make: Make = Box::new(|| {
            let credentials = mds::Builder::default()
                .with_endpoint("http://127.0.0.1:1")
                .build();
            Ok(credentials.unwrap())
        });
        let error = token(&Tokens::new(make, LONG)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        let text = "no access token: Connection refused (os error 111)";
        assert_eq!(error.to_string(), text);
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_given_up_after_a_while() {
        let (tokens, _server, road) = tokens(Duration::from_millis(60)).await;
        road.always(Fault::Hang);
        for _ in 0..3 {
            let error = token(&tokens).await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
            assert_eq!(error.to_string(), "no access token came within 60ms");
        }
        assert_eq!(road.requests(), 1, "reads that wait open no connections");
        road.next([]);
        tokens.lock().since = Instant::now().checked_sub(GIVE_UP_AFTER);
        eventually("a token comes", async || token(&tokens).await.ok()).await;
        assert_eq!(road.requests(), 2);
    }
}
