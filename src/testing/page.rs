//! Pages of documentation that are made from tables in the code.

use std::path::Path;

/// Asserts that `path`, from the root of the tree, holds `text`. With `UPDATE_DOCS` in the
/// environment (`make docs`) it is written instead.
#[expect(
    clippy::disallowed_methods,
    reason = "the switch of a test, not of the program"
)]
pub fn expect_fresh(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var("UPDATE_DOCS").is_ok() {
        std::fs::write(&file, text).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == text,
        "{path} differs from what the code says: `make docs` writes it anew"
    );
}
