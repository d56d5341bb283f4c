//! `sidegate demo`, as a newcomer runs it.

use tokio::process::Command;

#[tokio::test]
async fn every_step_is_as_it_should_be() {
    let output = Command::new(env!("CARGO_BIN_EXE_sidegate"))
        .arg("demo")
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for step in [
        "both containers have DAPR_API_TOKEN from Secret \"api-token\", by reference",
        "refused without the token",
        "accepted with the token",
        "its dapr-api-token was APP_API_TOKEN, once",
        "an allowed secret is read",
        "a denied secret is not",
        "the old token is refused",
        "the new token is accepted",
    ] {
        assert!(text.contains(&format!("✓ {step}\n")), "{step:?} in {text}");
    }
    assert!(text.ends_with(" checks passed, 0 failed\n"), "{text}");
    assert!(!text.contains('✗') && !text.contains('\u{1b}'), "{text}");
}
