//! What errors of the server and of the road to it mean.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::hosts::Host;
use crate::components::BackendError;

/// Errors that another try may heal, beside those that the client knows: no memory, no disk, not
/// enough replicas.
const PASSING: [&str; 4] = ["OOM", "MISCONF", "NOREPLICAS", "BUSY"];

/// Old servers repeat the arguments of a command that they do not know, messages with them.
const ARGUMENTS: &str = ", with args beginning with";

/// What is to be done where a cluster is spoken to as if it was one server.
const CLUSTER: &str = "; the server is one of a cluster, for which \"redisType\" is \"cluster\"";

/// The code of an error of the server, such as `NOGROUP`.
pub(in crate::components) fn code(error: &RedisError) -> &str {
    error.code().unwrap_or_default()
}

/// What an error means. Its text names the server.
pub(in crate::components) fn failure(error: &RedisError, server: &str) -> BackendError {
    let text = error.to_string();
    let text = text.split(ARGUMENTS).next().unwrap_or_default();
    let hint = match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved) => CLUSTER,
        _ => "",
    };
    let text = format!("{server}: {text}{hint}");
    if is_passing(error) {
        BackendError::Unavailable(text)
    } else {
        BackendError::Refused(text)
    }
}

/// A server to which there is no connection.
#[derive(Clone, Debug)]
pub(super) struct Unreached {
    host: Host,
    error: RedisError,
}

impl Unreached {
    pub(super) fn new(host: &Host, error: RedisError) -> Self {
        let host = host.clone();
        Self { host, error }
    }
}

impl From<Unreached> for BackendError {
    fn from(Unreached { host, error }: Unreached) -> Self {
        failure(&error, &host.to_string())
    }
}

/// Why a command has no answer that counts.
#[derive(Clone, Debug)]
pub(super) enum Miss {
    /// It was not sent.
    Unreached(Unreached),
    /// The server refused it, or the answer did not come.
    Failed {
        /// The server.
        host: Host,
        /// What it said, or what happened on the way.
        error: RedisError,
    },
    /// It is done, but not everywhere.
    Behind(Host),
}

impl Miss {
    /// Whether another try may heal it and cannot do twice what may be done once only.
    pub(super) fn may_repeat(&self, twice_is_fine: bool) -> bool {
        match self {
            // Others that wait for as long have had their share of time too.
            Self::Unreached(unreached) => {
                is_passing(&unreached.error) && !unreached.error.is_timeout()
            }
            // What a server refuses it did not do.
            Self::Failed { error, .. } => {
                is_passing(error) && (twice_is_fine || error.code().is_some())
            }
            Self::Behind(_) => false,
        }
    }

    /// Whether another server may have the key by now.
    pub(super) fn doubts_owner(&self) -> bool {
        let is_moved = |error: &RedisError| error.kind() == server_kind(ServerErrorKind::Moved);
        match self {
            Self::Unreached(_) => true,
            Self::Failed { error, .. } => is_of_connection(error) || is_moved(error),
            Self::Behind(_) => false,
        }
    }

    /// Whether the server does not know the script.
    pub(super) fn lacks_script(&self) -> bool {
        self.kind() == Some(server_kind(ServerErrorKind::NoScript))
    }

    /// The server that has the key, and whether it has it already.
    pub(super) fn redirection(&self) -> Option<(Host, bool)> {
        let Self::Failed { host, error } = self else {
            return None;
        };
        let (address, _) = error.redirect_node()?;
        let is_moved = error.kind() == server_kind(ServerErrorKind::Moved);
        Some((host.redirected(address)?, is_moved))
    }

    fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Failed { error, .. } => Some(error.kind()),
            Self::Unreached(_) | Self::Behind(_) => None,
        }
    }
}

impl From<Miss> for BackendError {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Unreached(unreached) => unreached.into(),
            Miss::Failed { host, error } => failure(&error, &host.to_string()),
            Miss::Behind(host) => Self::Unavailable(format!(
                "{host}: it is written, but not every replica had it in time"
            )),
        }
    }
}

fn server_kind(kind: ServerErrorKind) -> ErrorKind {
    ErrorKind::Server(kind)
}

/// Whether the connection cannot be used any more, or leads to a server that is not the primary.
pub(super) fn is_of_connection(error: &RedisError) -> bool {
    let is_unusable = error.is_io_error() || error.is_unrecoverable_error();
    is_unusable && error.kind() != ErrorKind::AuthenticationFailed || says(error, "READONLY")
}

/// Whether another try may heal it.
pub(super) fn is_passing(error: &RedisError) -> bool {
    let known = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
        )
    );
    known || is_of_connection(error) || PASSING.iter().any(|code| says(error, code))
}

/// Whether an error has a code. Servers before 7 put that of a command in a script into the text.
fn says(error: &RedisError, wanted: &str) -> bool {
    let inner = |text: &str| text.contains(&format!(": -{wanted} "));
    code(error) == wanted || error.detail().is_some_and(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(line: &'static str) -> RedisError {
        let value = redis::parse_redis_value(line.as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn tells_what_passes_from_what_stays() {
        for (line, is_unavailable) in [
            ("-LOADING Redis is loading the dataset in memory\r\n", true),
            (
                "-READONLY You can't write against a read only replica.\r\n",
                true,
            ),
            (
                "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
                true,
            ),
            (
                "-WRONGTYPE Operation against a key holding the wrong kind\r\n",
                false,
            ),
            (
                "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
                false,
            ),
            ("-NOAUTH Authentication required.\r\n", false),
            (
                "-NOPERM this user has no permissions to run 'xadd'\r\n",
                false,
            ),
        ] {
            let failed = failure(&server(line), "redis:6379");
            let found = matches!(failed, BackendError::Unavailable(_));
            assert_eq!(found, is_unavailable, "{line}");
            assert!(failed.to_string().starts_with("redis:6379: "), "{failed}");
        }
        let cut = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(is_of_connection(&cut) && is_passing(&cut));
    }

    #[test]
    fn repeats_what_was_not_done_or_may_be_done_twice() {
        let host = &Host::parse_all("redis", None).unwrap()[0];
        let failed = |error| Miss::Failed {
            host: host.clone(),
            error,
        };
        let cut = || failed(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into());
        assert!(cut().may_repeat(true) && !cut().may_repeat(false));
        assert!(cut().doubts_owner());
        for (line, repeats, doubts) in [
            ("-LOADING Redis is loading\r\n", true, false),
            ("-MOVED 42 10.0.0.1:7000\r\n", true, true),
            ("-READONLY You can't write\r\n", true, true),
            (
                "-ERR Error running script (call to f_1): @user_script:3: @user_script: 3: \
                 -READONLY You can't write\r\n",
                true,
                true,
            ),
            (
                "-ERR Error running script: @user_script: 3: no\r\n",
                false,
                false,
            ),
        ] {
            let miss = failed(server(line));
            assert_eq!(miss.may_repeat(false), repeats, "{line}");
            assert_eq!(miss.doubts_owner(), doubts, "{line}");
        }
        let ask = failed(server("-ASK 42 10.0.0.1:7000\r\n"));
        let (to, is_moved) = ask.redirection().unwrap();
        assert_eq!(
            (to.to_string(), is_moved),
            ("10.0.0.1:7000".to_owned(), false)
        );
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut).into();
        assert!(!Miss::Unreached(Unreached::new(host, late)).may_repeat(true));
        assert!(!Miss::Behind(host.clone()).may_repeat(true));
        assert!(failed(server("-NOSCRIPT No matching script.\r\n")).lacks_script());
    }

    #[test]
    fn shows_no_argument() {
        let line = "-ERR unknown command `XADD`, with args beginning with: `t`, `hunter2`, \r\n";
        let text = failure(&server(line), "redis:6379").to_string();
        assert!(
            text.contains("unknown command") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
