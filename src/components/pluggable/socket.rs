//! The folder of sockets, and what is in it.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::base::environment::Environment;
use crate::process::tasks::blocking;

/// The folder without a variable (Dapr 1.18).
const DEFAULT_FOLDER: &str = "/tmp/dapr-components-sockets";
/// Dapr's sidecar reads the first; its injector writes the second.
const VARIABLES: [&str; 2] = [
    "DAPR_COMPONENTS_SOCKETS_FOLDER",
    "DAPR_COMPONENT_SOCKETS_FOLDER",
];
/// What the names of sockets end with.
const EXTENSION: &str = ".sock";
/// The most sockets of a folder that are looked at.
const MOST: usize = 256;

/// The folder of sockets.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// A socket in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    /// Its name without `.sock`: that of its types behind their category.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// A socket that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    #[error("there is no socket {}", .0.display())]
    Missing(PathBuf),
    #[error("{} is not a socket; links to sockets are not followed", .0.display())]
    NoSocket(PathBuf),
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
}

impl Folder {
    /// The folder that the environment names.
    pub(super) fn of(environment: &Environment) -> Self {
        let named = VARIABLES
            .iter()
            .find_map(|name| environment.non_empty(name));
        Self(PathBuf::from(named.unwrap_or(DEFAULT_FOLDER)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The socket of a name, in whatever case.
    pub(super) async fn find(&self, name: &str) -> Result<Socket, SocketError> {
        let wanted = name.to_lowercase();
        let sockets = self.sockets().await?;
        let mut found: Vec<_> = sockets
            .into_iter()
            .filter(|socket| socket.name.to_lowercase() == wanted)
            .collect();
        let exact = found.iter().position(|socket| socket.name == name);
        let socket = match exact {
            Some(at) => found.swap_remove(at),
            None => match found.into_iter().next() {
                Some(socket) => socket,
                None => {
                    let path = format!("{self}/{wanted}{EXTENSION}");
                    return Err(SocketError::Missing(path.into()));
                }
            },
        };
        socket.check().await?;
        Ok(socket)
    }

    /// All that are named as sockets, in the order of their names. No folder is an empty one.
    pub(super) async fn sockets(&self) -> Result<Vec<Socket>, SocketError> {
        let folder = self.0.clone();
        match blocking(move || list(&folder)).await {
            Ok(sockets) => Ok(sockets),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(cause) => Err(SocketError::Unreadable {
                path: self.0.clone(),
                cause,
            }),
        }
    }

    /// Warns where a stranger made the folder: whoever may write to it is a component.
    pub(super) async fn warn_of_strangers(&self) {
        let Ok(metadata) = tokio::fs::metadata(&self.0).await else {
            return;
        };
        let owner = metadata.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            warn!(
                folder = %self,
                owner,
                "The folder of component sockets belongs to another user, who can put components \
                 there and read their metadata"
            );
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Socket {
    /// Looks whether it is there, and a socket itself: a link could lead out of the folder.
    pub(super) async fn check(&self) -> Result<(), SocketError> {
        let path = self.path.clone();
        match tokio::fs::symlink_metadata(&path).await {
            Ok(metadata) if metadata.file_type().is_socket() => Ok(()),
            Ok(_) => Err(SocketError::NoSocket(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SocketError::Missing(path))
            }
            Err(cause) => Err(SocketError::Unreadable { path, cause }),
        }
    }
}

fn list(folder: &Path) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(MOST) {
        let entry = entry?;
        let file = entry.file_name();
        let name = file.to_str().and_then(|name| name.strip_suffix(EXTENSION));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            sockets.push(Socket {
                name: name.to_owned(),
                path: entry.path(),
            });
        }
    }
    sockets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn folder(environment: &[(&str, &str)]) -> String {
        Folder::of(&environment.iter().copied().collect()).to_string()
    }

    #[test]
    fn reads_the_variable_of_the_sidecar_before_that_of_the_injector() {
        let (own, injector) = ((VARIABLES[0], "/own"), (VARIABLES[1], "/injector"));
        assert_eq!(folder(&[]), DEFAULT_FOLDER);
        assert_eq!(folder(&[injector]), "/injector");
        assert_eq!(folder(&[own, injector]), "/own");
        assert_eq!(folder(&[(VARIABLES[0], ""), injector]), "/injector");
    }

    #[tokio::test]
    async fn finds_sockets_by_name_and_follows_no_links() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| inside.path().join(name);
        let _one = UnixListener::bind(path("My.Broker.sock")).unwrap();
        let _other = UnixListener::bind(outside.path().join("x.sock")).unwrap();
        symlink(outside.path().join("x.sock"), path("link.sock")).unwrap();
        std::fs::write(path("file.sock"), "").unwrap();
        let folder = Folder(inside.path().to_owned());
        for name in ["My.Broker", "my.broker", "MY.BROKER"] {
            let found = folder.find(name).await.unwrap();
            assert_eq!(found.path, path("My.Broker.sock"));
        }
        for name in ["link", "file"] {
            let error = folder.find(name).await.unwrap_err();
            assert!(matches!(error, SocketError::NoSocket(_)), "{error}");
        }
        for name in ["", "broker", "../x", "My.Broker.sock"] {
            let error = folder.find(name).await.unwrap_err();
            assert!(matches!(error, SocketError::Missing(_)), "{error}");
        }
        let none = Folder(inside.path().join("none"));
        assert_eq!(none.sockets().await.unwrap(), []);
        let error = none.find("Kafka").await.unwrap_err().to_string();
        let expected = path("none/kafka.sock");
        assert_eq!(error, format!("there is no socket {}", expected.display()));
    }
}
