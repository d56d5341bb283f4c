//! A folder that changes as a mounted Secret does.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A Secret as the kubelet mounts it: each key is a symlink through `..data`, and an update swaps
/// `..data` to a new folder in one rename (Kubernetes, `pkg/volume/util/atomic_writer.go`).
#[derive(Debug)]
pub struct MountedSecret {
    dir: tempfile::TempDir,
    generation: u32,
}

impl MountedSecret {
    /// Mounts a Secret with these keys and values.
    pub fn new(data: &[(&str, &str)]) -> Self {
        let mut secret = Self {
            dir: tempfile::tempdir().unwrap(),
            generation: 0,
        };
        secret.swap(data);
        secret
    }

    /// The folder of the mount.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file of one key.
    pub fn file(&self, key: &str) -> PathBuf {
        self.dir().join(key)
    }

    /// Updates the Secret: all keys change at once.
    pub fn swap(&mut self, data: &[(&str, &str)]) {
        self.generation += 1;
        let old = std::fs::read_link(self.file("..data")).ok();
        let new = format!("..generation_{}", self.generation);
        std::fs::create_dir(self.file(&new)).unwrap();
        for (key, value) in data {
            std::fs::write(self.file(&new).join(key), value).unwrap();
            let link = self.file(key);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(key), link).unwrap();
            }
        }
        symlink(&new, self.file("..data_tmp")).unwrap();
        std::fs::rename(self.file("..data_tmp"), self.file("..data")).unwrap();
        if let Some(old) = old {
            std::fs::remove_dir_all(self.dir().join(old)).unwrap();
        }
    }
}
