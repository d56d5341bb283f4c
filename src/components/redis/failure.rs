//! What errors of the server and of the road to it mean.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::components::message::BrokerError;

/// Errors that another try may heal, beside those that the client knows: no memory, no disk, not
/// enough replicas.
const PASSING: [&str; 4] = ["OOM", "MISCONF", "NOREPLICAS", "BUSY"];

/// Old servers repeat the arguments of a command that they do not know, messages with them.
const ARGUMENTS: &str = ", with args beginning with";

/// The code of an error of the server, such as `NOGROUP`.
pub(in crate::components) fn code(error: &RedisError) -> &str {
    error.code().unwrap_or_default()
}

/// What an error means. Its text names the server.
pub(in crate::components) fn failure(error: &RedisError, server: &str) -> BrokerError {
    let text = error.to_string();
    let text = text.split(ARGUMENTS).next().unwrap_or_default();
    let text = format!("{server}: {text}");
    if is_passing(error) {
        BrokerError::Unavailable(text)
    } else {
        BrokerError::Refused(text)
    }
}

/// Whether the connection cannot be used any more, or leads to a server that is not the primary.
pub(super) fn is_of_connection(error: &RedisError) -> bool {
    let is_replica = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
    error.is_io_error() || error.is_unrecoverable_error() || is_replica
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
        )
    );
    known || is_of_connection(error) || PASSING.contains(&code(error))
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
            let found = matches!(failed, BrokerError::Unavailable(_));
            assert_eq!(found, is_unavailable, "{line}");
            assert!(failed.to_string().starts_with("redis:6379: "), "{failed}");
        }
        let cut = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(is_of_connection(&cut) && is_passing(&cut));
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
