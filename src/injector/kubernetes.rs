//! What the injector asks the API server, once, at its start.

use std::time::Duration;

use crate::process::kubernetes::Cluster;

/// How long the API server may take to tell its version.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The oldest API server whose nodes all have restartable init containers: kubelets have them by
/// default since 1.29, and may be three minor versions older than the API server.
/// <https://kubernetes.io/releases/version-skew-policy/>
const NATIVE_SIDECARS: (u32, u32) = (1, 32);

/// Why the version is not known.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The API server did not answer, or not with a version.
    #[error("the API server does not tell its version")]
    Request(#[from] kube::Error),
    /// The API server did not answer in time.
    #[error("the API server does not answer within {} seconds", TIMEOUT.as_secs())]
    Timeout,
    /// It answered with something else than two numbers.
    #[error("the API server's version {major:?}.{minor:?} is not understood")]
    Version {
        /// The major version as told.
        major: String,
        /// The minor version as told.
        minor: String,
    },
}

/// The version of an API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// Asks the API server.
    pub async fn of_api_server(cluster: &Cluster) -> Result<Self, VersionError> {
        let info = tokio::time::timeout(TIMEOUT, cluster.client.apiserver_version())
            .await
            .map_err(|_| VersionError::Timeout)??;
        Self::parse(&info.major, &info.minor)
    }

    /// Reads the two numbers; managed clusters write minors such as `32+`.
    fn parse(major: &str, minor: &str) -> Result<Self, VersionError> {
        let number = |text: &str| text.trim_end_matches('+').parse().ok();
        match (number(major), number(minor)) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(VersionError::Version {
                major: major.to_owned(),
                minor: minor.to_owned(),
            }),
        }
    }

    /// Whether every node has restartable init containers.
    pub fn has_native_sidecars(self) -> bool {
        (self.major, self.minor) >= NATIVE_SIDECARS
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_sidecars_need_1_32() {
        for (major, minor, wanted) in [
            ("1", "31", false),
            ("1", "32", true),
            ("1", "32+", true),
            ("1", "100", true),
            ("2", "0", true),
        ] {
            let version = Version::parse(major, minor).unwrap();
            assert_eq!(version.has_native_sidecars(), wanted, "{version}");
        }
    }

    #[test]
    fn says_what_is_not_understood() {
        let error = Version::parse("1", "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the API server's version \"1\".\"x\" is not understood"
        );
    }
}
