//! The page with the quickstarts, as it is written, with Redis and the unchanged SDKs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sidegate::testing::quickstart;

use crate::servers::{installed, libraries};
use crate::sidecar::program;

/// The folder of an SDK, where `tests/sdk/install` could install it.
fn sdk(variable: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).filter(|folder| !folder.is_empty())?;
    Some(folder.into())
}

#[tokio::test]
async fn the_page_about_them_does_what_it_says() {
    let (Some(python), Some(javascript)) = (sdk("SDK_PYTHON"), sdk("SDK_JAVASCRIPT")) else {
        println!("skipped: no SDKs, which tests/sdk/install gets");
        return;
    };
    let sidegate = PathBuf::from(program());
    let folder = |path: &Path| path.parent().unwrap().to_owned();
    let programs = [folder(&sidegate), installed("usr/bin"), python.join("bin")];
    // The sidecars of the page shall find each other and no others of this machine.
    let runtime = tempfile::tempdir().unwrap();
    let text = |value: OsString| value.into_string().unwrap();
    let (modules, libraries) = (
        text(javascript.join("node_modules").into()),
        text(libraries()),
    );
    let variables = [
        ("XDG_RUNTIME_DIR", runtime.path().to_str().unwrap()),
        ("NODE_PATH", &modules),
        ("LD_LIBRARY_PATH", &libraries),
    ];
    quickstart::run("docs/quickstarts.md", &programs, &variables).await;
}
