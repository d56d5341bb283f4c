//! Which servers are believed: files and texts that become a [`Trust`].

use std::path::{Path, PathBuf};

use crate::tls::client::Trust;

/// The largest file of certificates; the bundle of a whole system has some 200 KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where the CA certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// Those of the system.
    System,
    /// A text, PEM.
    Pem(String),
    /// A file, or a folder of files.
    Path(PathBuf),
}

/// Which servers are believed.
#[derive(Clone, Debug)]
pub(super) struct TrustFiles {
    pub(super) roots: Roots,
    pub(super) server_name: Option<String>,
    pub(super) skip_verification: bool,
}

impl TrustFiles {
    /// Reads the files as they are now.
    pub(super) async fn read(&self) -> Result<Trust, String> {
        let roots = match &self.roots {
            Roots::System => None,
            Roots::Pem(pem) => Some(pem.clone()),
            Roots::Path(path) => Some(read(path).await?),
        };
        Ok(Trust {
            roots,
            server_name: self.server_name.clone(),
            skip_verification: self.skip_verification,
            any_name: false,
        })
    }
}

/// A file, or all files of a folder, one after the other. What begins with a dot is none of them:
/// Kubernetes keeps the versions of a mounted volume there.
async fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read CA certificates {path:?}: {error}");
    if !tokio::fs::metadata(path).await.map_err(failed)?.is_dir() {
        return read_file(path).await;
    }
    let mut files = Vec::new();
    let mut entries = tokio::fs::read_dir(path).await.map_err(failed)?;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            files.push(entry.path());
        }
    }
    files.sort();
    let mut pem = String::new();
    for file in files {
        pem.push_str(&read_file(&file).await?);
        pem.push('\n');
    }
    Ok(pem)
}

async fn read_file(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read CA certificates {path:?}: {error}");
    let file = tokio::fs::metadata(path).await.map_err(failed)?;
    if !file.is_file() {
        return Ok(String::new());
    }
    if file.len() > MAX_FILE_BYTES {
        return Err(format!(
            "CA certificates {path:?} have more than {MAX_FILE_BYTES} bytes"
        ));
    }
    tokio::fs::read_to_string(path).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificates::Authority;

    #[tokio::test]
    async fn a_folder_is_all_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        let (one, other) = (
            Authority::new().certificate(),
            Authority::new().certificate(),
        );
        write("a.pem", one.trim_end());
        write("b.crt", &other);
        write(".hidden", "no certificate");
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let pem = read(folder.path()).await.unwrap();
        assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2, "{pem}");
        assert!(!pem.contains("no certificate"));
        let file = read(&folder.path().join("a.pem")).await.unwrap();
        assert_eq!(file, one.trim_end());
        let error = read(&folder.path().join("absent")).await.unwrap_err();
        assert!(error.starts_with("cannot read CA certificates"), "{error}");
    }
}
