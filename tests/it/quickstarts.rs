//! The pages about calls, as they are written.

use std::path::Path;

use sidegate::testing::quickstart;

async fn run(page: &str) {
    let programs = Path::new(env!("CARGO_BIN_EXE_sidegate")).parent().unwrap();
    // The sidecars of the page shall find each other and no others of this machine.
    let runtime = tempfile::tempdir().unwrap();
    let variables = [("XDG_RUNTIME_DIR", runtime.path().to_str().unwrap())];
    quickstart::run(page, &[programs.to_owned()], &variables).await;
}

#[tokio::test]
async fn the_page_about_invocation_does_what_it_says() {
    run("docs/invocation.md").await;
}

#[tokio::test]
async fn the_page_about_http_endpoints_does_what_it_says() {
    run("docs/http-endpoints.md").await;
}

#[cfg(feature = "remote")]
#[tokio::test]
async fn the_page_about_bindings_does_what_it_says() {
    run("docs/bindings.md").await;
}

#[tokio::test]
async fn the_page_about_state_does_what_it_says() {
    run("docs/state.md").await;
}

#[tokio::test]
async fn the_page_about_messages_does_what_it_says() {
    run("docs/pubsub.md").await;
}
