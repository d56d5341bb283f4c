//! The pages about stores, as they are written.

use std::path::PathBuf;

use crate::servers::program;

/// The folders of the programs that a page may call: the sidecar, and those of the stores.
pub(crate) fn programs() -> Vec<PathBuf> {
    let sidegate = std::env::var_os("SIDEGATE").expect("run with tests/stores.sh");
    let folder = |path: PathBuf| path.parent().unwrap().to_owned();
    vec![folder(PathBuf::from(sidegate)), folder(program("bao"))]
}
