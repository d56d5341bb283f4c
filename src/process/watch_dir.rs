//! Tells when something in a folder changes.
//!
//! The folder is watched and not the file, since Kubernetes changes a mounted Secret by swapping
//! the symlink `..data` beside it: a watch on the file itself misses every swap but the first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How long a folder has to be quiet before a change is told, so that a writer can finish.
const QUIET: Duration = Duration::from_millis(50);

/// A folder that cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch folder {path:?}")]
pub struct WatchError {
    path: PathBuf,
    #[source]
    cause: notify::Error,
}

/// Watches one folder, not those below it.
#[derive(Debug)]
pub struct DirWatch {
    changes: mpsc::Receiver<()>,
    // Dropping it ends the watch.
    _watcher: notify::RecommendedWatcher,
}

impl DirWatch {
    /// Starts to watch the folder that holds `file`.
    pub fn of_file(file: &Path) -> Result<Self, WatchError> {
        match file.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => Self::of_dir(dir),
            _ => Self::of_dir(Path::new(".")),
        }
    }

    /// Starts to watch a folder.
    pub fn of_dir(dir: &Path) -> Result<Self, WatchError> {
        let fail = |cause| WatchError {
            path: dir.to_owned(),
            cause,
        };
        // One place is enough: a full queue already tells that something changed.
        let (sender, changes) = mpsc::channel(1);
        let tell = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(tell).map_err(fail)?;
        watcher
            .watch(dir, RecursiveMode::NonRecursive)
            .map_err(fail)?;
        Ok(Self {
            changes,
            _watcher: watcher,
        })
    }

    /// Waits for a change, and then until the folder has been quiet for a moment. False when the
    /// watch itself has ended.
    pub async fn changed(&mut self) -> bool {
        if self.changes.recv().await.is_none() {
            return false;
        }
        while let Ok(Some(())) = tokio::time::timeout(QUIET, self.changes.recv()).await {}
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[tokio::test]
    async fn sees_every_swap_of_a_mounted_secret() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let swap = |generation: u32| {
            let name = format!("..gen{generation}");
            std::fs::create_dir(root.join(&name)).unwrap();
            std::fs::write(root.join(&name).join("token"), generation.to_string()).unwrap();
            symlink(&name, root.join("..tmp")).unwrap();
            std::fs::rename(root.join("..tmp"), root.join("..data")).unwrap();
        };
        swap(0);
        symlink("..data/token", root.join("token")).unwrap();
        let mut watch = DirWatch::of_file(&root.join("token")).unwrap();
        for generation in 1..=3 {
            swap(generation);
            assert!(watch.changed().await);
            let seen = std::fs::read_to_string(root.join("token")).unwrap();
            assert_eq!(seen, generation.to_string());
        }
    }
}
