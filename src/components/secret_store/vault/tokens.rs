//! The token of a store: had when it is first needed, kept alive, and had anew when it died.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::credentials::{Credentials, Login};
use super::server::{Call, Server};
use super::wire::{Granted, LookedUp};
use crate::base::secret::Secret;
use crate::components::secret_store::StoreError;

/// How much of a lease goes by before it is renewed, at least and at most: not all sidecars that
/// started together come at the same time.
const RENEWED_AFTER: (f64, f64) = (0.6, 0.7);
/// How long one renewal may take.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest pause before a renewal that failed is tried again.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// For how long a token that may not look itself up counts as alive after it was handed out. A
/// denied secret then leads to a login now and then, and not to one for each read.
const SURELY_ALIVE: Duration = Duration::from_secs(60);

/// A token with what is known of it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) token: Secret,
    lease: Option<Lease>,
    /// Whether the server tells, of this token, a denied secret from a dead token.
    can_look_up: bool,
    opened: Instant,
    /// Whether the server accepted it for something.
    was_accepted: AtomicBool,
}

/// How long a token is good.
#[derive(Clone, Copy, Debug)]
struct Lease {
    /// As it was when the token was handed out; each renewal may give less, up to the longest life
    /// of a token.
    full: Duration,
    ends: Instant,
    /// When something is to be done about it, where something can be done.
    due: Option<Instant>,
    renewable: bool,
}

impl Lease {
    fn new(length: Duration, full: Duration, renewable: bool) -> Self {
        let (least, most) = RENEWED_AFTER;
        let part = least + (most - least) * fastrand::f64();
        let now = Instant::now();
        Self {
            full,
            ends: now + length,
            due: Some(now + length.mul_f64(part)),
            renewable,
        }
    }
}

impl Session {
    fn new(token: Secret, lease: Option<Lease>, can_look_up: bool) -> Self {
        Self {
            token,
            lease,
            can_look_up,
            opened: Instant::now(),
            was_accepted: AtomicBool::new(false),
        }
    }

    /// The same token with another lease.
    fn with_lease(&self, lease: Lease) -> Self {
        Self {
            token: self.token.clone(),
            lease: Some(lease),
            can_look_up: self.can_look_up,
            opened: self.opened,
            was_accepted: AtomicBool::new(self.was_accepted.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn accepted(&self) {
        self.was_accepted.store(true, Ordering::Relaxed);
    }

    fn has_token_of(&self, other: &Self) -> bool {
        self.token == other.token
    }

    fn is_over(&self) -> bool {
        self.lease.is_some_and(|lease| lease.ends <= Instant::now())
    }
}

/// The token of a store.
pub(super) struct Tokens {
    server: Arc<Server>,
    credentials: Credentials,
    component: String,
    current: watch::Sender<Option<Arc<Session>>>,
    /// One at a time gets a new token, and all who wait share it.
    turn: Semaphore,
    /// How the last attempt failed, and when.
    failed: Mutex<Option<(Instant, StoreError)>>,
}

impl Tokens {
    pub(super) fn new(server: Arc<Server>, credentials: Credentials, component: &str) -> Self {
        Self {
            server,
            credentials,
            component: component.to_owned(),
            current: watch::Sender::new(None),
            turn: Semaphore::new(1),
            failed: Mutex::default(),
        }
    }

    /// The token to read with.
    pub(super) async fn session(&self) -> Result<Arc<Session>, StoreError> {
        let current = self.current();
        if let Some(session) = &current {
            let is_usable = match &self.credentials {
                Credentials::Token(_) => true,
                Credentials::File(file) => !file.has_other(&session.token).await,
                Credentials::Login(_) => !session.is_over(),
            };
            if is_usable {
                return Ok(Arc::clone(session));
            }
        }
        self.replace(current.as_deref()).await
    }

    /// What to read with after the server refused a read with 403: another token, or nothing where
    /// this one is alive, so that its policy denies the read.
    pub(super) async fn after_refusal(
        &self,
        session: &Session,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        if let Some(current) = self.current().filter(|now| !now.has_token_of(session)) {
            return Ok(Some(current));
        }
        if self.look_up(&session.token).await?.is_some() {
            return Ok(None);
        }
        let was_accepted = session.was_accepted.load(Ordering::Relaxed);
        match &self.credentials {
            Credentials::Login(_) => {
                let may_be_dead = session.can_look_up || session.opened.elapsed() > SURELY_ALIVE;
                if !may_be_dead {
                    return Ok(None);
                }
            }
            Credentials::File(file) if file.has_other_now(&session.token).await => {}
            Credentials::File(_) | Credentials::Token(_) => {
                // It may lack the right to look itself up, and be alive.
                if was_accepted && !session.can_look_up {
                    return Ok(None);
                }
                return Err(StoreError::Unauthenticated(
                    "the server does not accept the token: it is wrong, expired or revoked"
                        .to_owned(),
                ));
            }
        }
        self.replace(Some(session)).await.map(Some)
    }

    /// Keeps the token alive, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut sessions = self.current.subscribe();
        loop {
            let session = sessions.borrow_and_update().clone();
            let lease = session.as_ref().and_then(|session| session.lease);
            let due = async {
                match lease.and_then(|lease| lease.due) {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Its sender is in `self`.
                _ = sessions.changed() => {}
                () = due => {
                    if let (Some(session), Some(lease)) = (session, lease) {
                        self.extend(&session, lease).await;
                    }
                }
            }
        }
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.current.borrow().clone()
    }

    /// A new token in place of `old`, unless somebody else was faster.
    async fn replace(&self, old: Option<&Session>) -> Result<Arc<Session>, StoreError> {
        let asked = Instant::now();
        // It is never closed.
        let _turn = self.turn.acquire().await;
        if let Some(current) = self.current()
            && old.is_none_or(|old| !current.has_token_of(old))
        {
            return Ok(current);
        }
        if let Some((when, error)) = &*self.failed()
            && *when > asked
        {
            return Err(error.clone());
        }
        match self.open().await {
            Ok(session) => {
                let session = Arc::new(session);
                self.current.send_replace(Some(Arc::clone(&session)));
                Ok(session)
            }
            Err(error) => {
                *self.failed() = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Option<(Instant, StoreError)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<Session, StoreError> {
        let token = match &self.credentials {
            Credentials::Login(login) => return self.log_in(login).await,
            Credentials::Token(token) => token.clone(),
            Credentials::File(file) => file.read().await?,
        };
        let found = self.look_up(&token).await?;
        let lease = found.as_ref().and_then(|found| {
            let length = found.lease()?;
            Some(Lease::new(length, length, found.renewable))
        });
        Ok(Session::new(token, lease, found.is_some()))
    }

    async fn log_in(&self, login: &Login) -> Result<Session, StoreError> {
        let path = format!("auth/{}/login", login.path);
        let call = Call {
            method: Method::POST,
            path: &path,
            token: None,
            body: login.body().await?,
        };
        let answer = self.server.send(&call).await?;
        if answer.status() != StatusCode::OK {
            return Err(StoreError::Unauthenticated(format!(
                "the server does not accept {login} ({})",
                answer.status()
            )));
        }
        let granted = granted(&answer)?;
        let lease = granted.lease();
        let lease = lease.map(|length| Lease::new(length, length, granted.renewable));
        let can_look_up = granted.can_look_up();
        Ok(Session::new(granted.into_token(), lease, can_look_up))
    }

    /// What the server says of a token; `None` where it refuses it.
    async fn look_up(&self, token: &Secret) -> Result<Option<LookedUp>, StoreError> {
        let call = Call::get("auth/token/lookup-self", token);
        let answer = self.server.send(&call).await?;
        match answer.status() {
            StatusCode::OK => LookedUp::read(answer.body())
                .map(Some)
                .map_err(|_| not_understood()),
            StatusCode::FORBIDDEN => Ok(None),
            status => Err(StoreError::Failed(format!(
                "the server answered {status} when it was asked about the token"
            ))),
        }
    }

    /// Renews a lease that is due; where that cannot be, logs in anew.
    async fn extend(&self, session: &Session, lease: Lease) {
        let component = &self.component;
        let renewal = async {
            match self.renewed(session, lease).await? {
                Some(lease) => Ok::<_, StoreError>(Some(session.with_lease(lease))),
                None if matches!(self.credentials, Credentials::Login(_)) => {
                    self.replace(Some(session)).await?;
                    info!(component, "Logged in to a secret store anew");
                    Ok(None)
                }
                None => {
                    warn!(
                        component,
                        seconds_left = seconds_left(lease),
                        "The token of a secret store ends, and cannot be renewed"
                    );
                    Ok(Some(session.with_lease(Lease { due: None, ..lease })))
                }
            }
        };
        let renewed = timeout(RENEWAL_TIMEOUT, renewal).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                text: format!("it did not answer within {RENEWAL_TIMEOUT:?}"),
                retry_after: None,
            })
        });
        let renewed = renewed.unwrap_or_else(|error| {
            let seconds_left = seconds_left(lease);
            warn!(component, %error, seconds_left, "Could not renew the token of a secret store");
            Some(session.with_lease(Lease {
                due: tried_again(lease),
                ..lease
            }))
        });
        let Some(renewed) = renewed.map(Arc::new) else {
            return;
        };
        self.current.send_if_modified(|current| {
            let is_same = current
                .as_ref()
                .is_some_and(|now| now.has_token_of(session));
            if is_same {
                *current = Some(renewed);
            }
            is_same
        });
    }

    /// The lease after its renewal; `None` where there is none that is worth it.
    async fn renewed(&self, session: &Session, lease: Lease) -> Result<Option<Lease>, StoreError> {
        if !lease.renewable {
            return Ok(None);
        }
        let call = Call {
            method: Method::POST,
            path: "auth/token/renew-self",
            token: Some(&session.token),
            body: Bytes::from_static(b"{}"),
        };
        let answer = self.server.send(&call).await?;
        if answer.status() != StatusCode::OK {
            return Ok(None);
        }
        let granted = granted(&answer)?;
        let length = granted.lease().unwrap_or(Duration::ZERO);
        // Near the longest life of a token each renewal gives less than the one before.
        let is_worth_it = length >= lease.full / 2;
        Ok(is_worth_it.then(|| Lease::new(length, lease.full, granted.renewable)))
    }
}

/// When a renewal is tried again, where there is time.
fn tried_again(lease: Lease) -> Option<Instant> {
    let now = Instant::now();
    let left = lease.ends.saturating_duration_since(now);
    let again = now + (left / 4).max(SHORTEST_PAUSE);
    (again < lease.ends).then_some(again)
}

fn seconds_left(lease: Lease) -> u64 {
    let left = lease.ends.saturating_duration_since(Instant::now());
    left.as_secs()
}

fn granted(answer: &Response<Bytes>) -> Result<Granted, StoreError> {
    Granted::read(answer.body()).map_err(|_| not_understood())
}

fn not_understood() -> StoreError {
    StoreError::Failed("the server's answer about the token is not understood".to_owned())
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use http_body_util::Full;
    use tokio::sync::OnceCell;

    use super::*;
    use crate::components::secret_store::vault::credentials::Method as LoginMethod;
    use crate::components::secret_store::vault::server::Address;
    use crate::components::secret_store::vault::trust::{Roots, TrustFiles};
    use crate::testing::eventually::eventually;
    use crate::testing::fake_app::{FakeApp, Recorded};

    async fn tokens<A>(credentials: Credentials, answer: A) -> (FakeApp, Arc<Tokens>)
    where
        A: Fn(&Recorded) -> (u16, &'static str) + Send + Sync + 'static,
    {
        let app = FakeApp::answering(move |request| {
            let (status, body) = answer(request);
            let response = Response::builder().status(status);
            response.body(Full::new(Bytes::from(body))).unwrap()
        })
        .await;
        let server = Server {
            address: Address::parse(&format!("http://{}", app.address())).unwrap(),
            namespace: None,
            trust: TrustFiles {
                roots: Roots::System,
                server_name: None,
                skip_verification: true,
            },
            max_answer_bytes: 1000,
            client: OnceCell::new(),
        };
        let tokens = Tokens::new(Arc::new(server), credentials, "c");
        (app, Arc::new(tokens))
    }

    fn approle() -> Credentials {
        Credentials::Login(Login {
            path: "approle".to_owned(),
            method: LoginMethod::AppRole {
                role_id: Secret::new("r"),
                secret_id: None,
            },
        })
    }

    #[tokio::test]
    async fn readers_that_wait_for_one_login_share_how_it_ends() {
        for (status, body) in [
            (400, r#"{"errors": ["hunter2"]}"#),
            (503, ""),
            (200, r#"{"auth": {"hunter2": "hunter2"}}"#),
            (
                200,
                r#"{"auth": {"client_token": "t", "lease_duration": 60}}"#,
            ),
        ] {
            let (app, tokens) = tokens(approle(), move |_| (status, body)).await;
            let sessions = join_all((0..20).map(|_| tokens.session())).await;
            assert_eq!(app.recorded().len(), 1, "{status} {body}");
            for session in sessions {
                match session {
                    Ok(session) => assert_eq!(session.token.expose(), "t"),
                    Err(error) => assert!(!error.to_string().contains("hunter2"), "{error}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_reader_that_leaves_holds_up_no_other() {
        let body = r#"{"auth": {"client_token": "t", "lease_duration": 60}}"#;
        let (_app, tokens) = tokens(approle(), move |_| (200, body)).await;
        let mut leaves = Box::pin(tokens.session());
        // It sends its request, and goes.
        assert!(futures_util::poll!(&mut leaves).is_pending());
        drop(leaves);
        assert!(tokens.session().await.is_ok());
    }

    #[tokio::test]
    async fn a_denied_secret_makes_no_login_where_the_token_is_young() {
        let answer = |request: &Recorded| match request.uri.path() {
            "/v1/auth/approle/login" => (200, r#"{"auth": {"client_token": "t"}}"#),
            _ => (403, ""),
        };
        let (app, tokens) = tokens(approle(), answer).await;
        let session = tokens.session().await.unwrap();
        for _ in 0..5 {
            assert!(tokens.after_refusal(&session).await.unwrap().is_none());
        }
        // One login, and what it asked about the token.
        assert_eq!(app.recorded().len(), 6);
    }

    #[tokio::test]
    async fn a_lease_that_may_not_be_renewed_is_followed_by_a_login() {
        let answer = |request: &Recorded| match request.uri.path() {
            "/v1/auth/approle/login" => (
                200,
                r#"{"auth": {"client_token": "t", "lease_duration": 1, "renewable": true}}"#,
            ),
            _ => (403, ""),
        };
        let (app, tokens) = tokens(approle(), answer).await;
        let mut task = tokio::task::JoinSet::new();
        task.spawn(Arc::clone(&tokens).keep());
        tokens.session().await.unwrap();
        eventually("it logs in again", async || {
            let asked = app.recorded();
            let logins = asked.iter().filter(|one| one.uri.path().ends_with("login"));
            (logins.count() >= 2).then_some(())
        })
        .await;
    }

    #[test]
    fn a_renewal_is_tried_again_while_there_is_time() {
        let lease = |seconds| Lease::new(Duration::from_secs(seconds), Duration::ZERO, true);
        assert!(tried_again(lease(60)).is_some_and(|again| again > Instant::now()));
        assert!(tried_again(lease(0)).is_none());
        let lease = lease(100);
        let due = lease.due.unwrap().saturating_duration_since(Instant::now());
        assert!((55..=70).contains(&due.as_secs()), "{due:?}");
    }
}
