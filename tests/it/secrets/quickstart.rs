//! The page about the stores that ask no server, as it is written.

use std::path::Path;

use sidegate::testing::quickstart;

#[tokio::test]
async fn the_page_about_local_stores_does_what_it_says() {
    let programs = Path::new(env!("CARGO_BIN_EXE_sidegate")).parent().unwrap();
    quickstart::run("docs/secrets/local.md", &[programs.to_owned()], &[]).await;
}
