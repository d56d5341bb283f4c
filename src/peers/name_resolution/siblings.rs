//! How the sidecars of one user on one machine find each other: a folder with one file each.
//!
//! It needs no multicast, which containers and build machines often lack, and sends nothing. The
//! owner of a file holds a lock on it, which the kernel lets go of when the process ends, however
//! it ends: a file without a lock is of a sidecar that is gone. Files appear by renaming, complete
//! and locked.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::address::PeerAddress;
use super::directory::{Directory, Look};
use super::{Error, Registration, ResolveError};
use crate::process::tasks::blocking;

/// The folder of the files, in that of the user's running programs.
const FOLDER: &str = "peers";
/// How the names of files end.
const SUFFIX: &str = ".json";
/// How the names of files end that are not complete yet.
const DRAFT: &str = ".draft";
/// How old a draft is that nobody is writing any more.
const ABANDONED: Duration = Duration::from_secs(60);
/// The largest file that is read: an app id and an address need a tenth.
const MAX_FILE_BYTES: u64 = 4 << 10;
/// The most files that are looked at.
const MAX_FILES: usize = 4096;

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Siblings {
    runtime_dir: PathBuf,
    dir: PathBuf,
    network: String,
}

/// What a file says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    app_id: String,
    namespace: String,
    address: String,
    /// The network that the address is in: containers may share the folder, and no network.
    network: String,
}

/// The file of this sidecar. It is there until this is dropped.
#[derive(Debug)]
pub(super) struct Announcement {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Siblings {
    /// Makes the folder where it is not there. It must belong to this user alone, since whoever
    /// writes there says where calls go.
    pub(super) fn open(runtime_dir: &Path) -> Result<Self, Error> {
        let dir = make(runtime_dir)?;
        // Where there is no such file, there are no networks beside each other.
        let network = fs::read_link("/proc/self/ns/net").unwrap_or_default();
        Ok(Self {
            runtime_dir: runtime_dir.to_owned(),
            dir,
            network: network.to_string_lossy().into_owned(),
        })
    }

    /// Writes the file of this sidecar, and makes the folder anew where it is gone.
    pub(super) fn announce(
        &self,
        registration: &Registration,
        address: &PeerAddress,
    ) -> Result<Announcement, Error> {
        make(&self.runtime_dir)?;
        let entry = Entry {
            app_id: registration.app_id.clone(),
            namespace: registration.namespace.clone(),
            address: address.to_string(),
            network: self.network.clone(),
        };
        let write = || {
            // Random, so that a name is never used again.
            let name = format!("{:032x}", fastrand::u128(..));
            let draft = self.dir.join(format!("{name}{DRAFT}"));
            let path = self.dir.join(format!("{name}{SUFFIX}"));
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&draft)?;
            file.lock()?;
            file.write_all(&serde_json::to_vec(&entry)?)?;
            fs::rename(&draft, &path)?;
            Ok(Announcement { path, _file: file })
        };
        write()
            .map_err(|error: io::Error| folder(&self.dir, format!("cannot be written to: {error}")))
    }

    /// All siblings that are alive, this sidecar among them. Files of those that are gone are
    /// removed.
    fn read(&self) -> io::Result<Directory> {
        let mut directory = Directory::default();
        let files = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(directory),
            files => files?,
        };
        for file in files.take(MAX_FILES) {
            let path = file?.path();
            let name = path.to_string_lossy();
            if name.ends_with(DRAFT) {
                remove_abandoned(&path);
            } else if name.ends_with(SUFFIX) {
                // One file that cannot be read hides no other one.
                match self.entry(&path) {
                    Ok(Some((entry, address))) => {
                        directory.add(entry.namespace, entry.app_id, address);
                    }
                    Ok(None) => {}
                    Err(error) => debug!(%error, file = %name, "Passed over a sibling's file"),
                }
            }
        }
        Ok(directory)
    }

    /// What the file of a sidecar says that is alive and in the same network.
    fn entry(&self, path: &Path) -> io::Result<Option<(Entry, PeerAddress)>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {
                remove(path);
                return Ok(None);
            }
        }
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
        let entry: Entry = serde_json::from_slice(&text)?;
        let address = PeerAddress::parse(&entry.address).map_err(io::Error::other)?;
        Ok((entry.network == self.network).then_some((entry, address)))
    }
}

#[async_trait]
impl Look for Siblings {
    async fn look(&self) -> Result<Directory, ResolveError> {
        let siblings = self.clone();
        let read = blocking(move || siblings.read()).await;
        read.map_err(|error| ResolveError::Failed {
            cause: error.into(),
        })
    }
}

impl Announcement {
    /// Whether the file is still there: something may tidy up old files, or the whole folder at the
    /// end of the user's session.
    pub(super) fn is_there(&self) -> bool {
        self.path.exists()
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Makes the folder of the files where it is not there, and hands it back.
fn make(runtime_dir: &Path) -> Result<PathBuf, Error> {
    let dir = runtime_dir.join(FOLDER);
    for path in [runtime_dir, &dir] {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(folder(path, format!("cannot be made: {error}")));
            }
            _ => check_owner(path)?,
        }
    }
    Ok(dir)
}

fn folder(path: &Path, problem: String) -> Error {
    Error::Folder {
        path: path.to_owned(),
        problem,
    }
}

fn check_owner(path: &Path) -> Result<(), Error> {
    let found = fs::symlink_metadata(path)
        .map_err(|error| folder(path, format!("cannot be looked at: {error}")))?;
    let user = rustix::process::geteuid().as_raw();
    let mode = found.mode() & 0o777;
    let problem = if !found.is_dir() {
        "is no folder, but something else".to_owned()
    } else if found.uid() != user {
        format!(
            "belongs to user {}; it has to belong to user {user}",
            found.uid()
        )
    } else if mode & 0o077 != 0 {
        format!("has mode {mode:03o}, which lets others in; accepted is 700")
    } else {
        return Ok(());
    };
    Err(folder(path, problem))
}

fn remove_abandoned(draft: &Path) {
    let age = fs::symlink_metadata(draft)
        .and_then(|found| found.modified())
        .map(|modified| {
            SystemTime::now()
                .duration_since(modified)
                .unwrap_or_default()
        });
    if age.is_ok_and(|age| age > ABANDONED) {
        remove(draft);
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(%error, file = %path.display(), "Cannot remove the file of a sidecar");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::name_resolution::Lookup;
    use std::os::unix::fs::PermissionsExt as _;

    const APP: Lookup<'static> = Lookup {
        app_id: "shop",
        namespace: "",
    };

    fn registration(port: u16) -> Registration {
        Registration {
            app_id: "shop".to_owned(),
            namespace: String::new(),
            host_address: [127, 0, 0, 1].into(),
            internal_port: port,
        }
    }

    fn announce(siblings: &Siblings, port: u16) -> Announcement {
        let registration = registration(port);
        let address = registration.address().unwrap();
        siblings.announce(&registration, &address).unwrap()
    }

    fn found(siblings: &Siblings) -> Vec<String> {
        siblings.read().unwrap().sorted(&APP)
    }

    fn files(siblings: &Siblings) -> usize {
        fs::read_dir(&siblings.dir).unwrap().count()
    }

    #[test]
    fn siblings_see_each_other_until_they_go() {
        let dir = tempfile::tempdir().unwrap();
        let runtime_dir = dir.path().join("sidegate");
        let one = Siblings::open(&runtime_dir).unwrap();
        let other = Siblings::open(&runtime_dir).unwrap();
        assert!(found(&other).is_empty());
        let first = announce(&one, 1);
        let second = announce(&other, 2);
        for siblings in [&one, &other] {
            assert_eq!(found(siblings), ["127.0.0.1:1", "127.0.0.1:2"]);
        }
        assert!(first.is_there());
        drop(first);
        assert_eq!(found(&other), ["127.0.0.1:2"]);
        drop(second);
        assert_eq!((found(&one).len(), files(&one)), (0, 0));
    }

    #[test]
    fn files_of_sidecars_that_were_killed_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let siblings = Siblings::open(&dir.path().join("s")).unwrap();
        let alive = announce(&siblings, 1);
        // What is left of a process that ended by a signal: the file, and no lock.
        let entry = fs::read(&alive.path).unwrap();
        let left = siblings.dir.join(format!("left{SUFFIX}"));
        fs::write(&left, entry).unwrap();
        assert_eq!(found(&siblings), ["127.0.0.1:1"]);
        assert!(!left.exists() && alive.is_there());
        let young = siblings.dir.join(format!("young{DRAFT}"));
        let old = siblings.dir.join(format!("old{DRAFT}"));
        fs::write(&young, "").unwrap();
        let file = File::create(&old).unwrap();
        file.set_modified(SystemTime::now() - 2 * ABANDONED)
            .unwrap();
        assert_eq!(found(&siblings), ["127.0.0.1:1"]);
        assert!(young.exists() && !old.exists());
    }

    #[test]
    fn files_that_make_no_sense_hide_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let siblings = Siblings::open(&dir.path().join("s")).unwrap();
        let _alive = announce(&siblings, 1);
        let elsewhere = Entry {
            app_id: "shop".to_owned(),
            namespace: String::new(),
            address: "127.0.0.1:2".to_owned(),
            network: "of another container".to_owned(),
        };
        let bad_address = Entry {
            address: "user@127.0.0.1:3".to_owned(),
            network: siblings.network.clone(),
            app_id: "shop".to_owned(),
            namespace: String::new(),
        };
        let json = |entry| serde_json::to_string(entry).unwrap();
        let mut held = Vec::new();
        for (name, text) in [
            ("a", json(&elsewhere)),
            ("b", json(&bad_address)),
            ("c", "{".to_owned()),
            ("d", " ".repeat(10_000)),
        ] {
            let path = siblings.dir.join(format!("{name}{SUFFIX}"));
            fs::write(&path, text).unwrap();
            let file = File::open(&path).unwrap();
            file.lock().unwrap();
            held.push(file);
        }
        assert_eq!(found(&siblings), ["127.0.0.1:1"]);
        assert_eq!(files(&siblings), 5);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let text = |path: &Path| Siblings::open(path).unwrap_err().to_string();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        mode(&open, 0o777);
        assert_eq!(
            text(&open),
            format!(
                "folder {open:?}, in which the sidecars of this machine find each other, has mode \
                 777, which lets others in; accepted is 700"
            )
        );
        mode(&open, 0o700);
        let siblings = Siblings::open(&open).unwrap();
        let made = fs::metadata(&siblings.dir).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o700);
        mode(&siblings.dir, 0o750);
        assert!(text(&open).contains("has mode 750"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&open, &link).unwrap();
        assert!(text(&link).ends_with("is no folder, but something else"));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(text(&file).ends_with("is no folder, but something else"));
        let deep = dir.path().join("missing/deep");
        assert!(text(&deep).contains("cannot be made: No such file"));
    }
}
