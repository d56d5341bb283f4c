//! `sidegate demo`.

mod app;
mod pod;
mod stage;
mod story;

use std::process::ExitCode;

use http::{Method, StatusCode};
use serde_json::json;

use self::app::App;
use self::stage::{APP_ID, Sidecar, Stage};
use self::story::Story;
use super::loopback::new_token;
use super::paint::Paint;
use super::runtime::{RuntimeArgs, block_on};
use crate::base::environment::Environment;
use crate::base::secret::Secret;

/// Show the main job on this machine, step by step, on real sockets and without a cluster
///
/// A real webhook patches a pod, and a real sidecar stands before a small application: what it
/// refuses without the token, what the application gets, which secrets can be read, and what
/// happens when the token changes. The exit code is 1 when any step differs from what it should be.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show the logs of the webhook and of the sidecar too
    #[arg(long)]
    logs: bool,
}

/// Tells the story until its end or Ctrl-C.
pub(super) fn run(args: &Args, environment: &Environment) -> anyhow::Result<ExitCode> {
    let paint = Paint::of(&std::io::stdout(), environment);
    let stage = Stage::build(args.logs, environment)?;
    block_on(RuntimeArgs::default(), async {
        let mut story = Story::new(paint);
        tokio::select! {
            told = tell(&mut story, &stage) => told?,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
        }
        Ok(story.end())
    })?
}

async fn tell(story: &mut Story, stage: &Stage) -> anyhow::Result<()> {
    pod::patch(story, stage).await?;

    story.step("A sidecar stands before an app, and both tokens are set");
    let app = App::start().await?;
    let [first, second, app_token] = [new_token()?, new_token()?, new_token()?];
    let sidecar = stage.sidecar(app.port(), [&first, &app_token]).await?;
    story.say(&format!("app      http://127.0.0.1:{}", app.port()));
    story.say(&format!("sidecar  http://127.0.0.1:{}", sidecar.port));
    story.say(&format!("DAPR_API_TOKEN={}", shown(&first)));
    story.say(&format!("APP_API_TOKEN={}", shown(&app_token)));

    api_token(story, &sidecar, &first).await?;
    app_token_reaches_the_app(story, &sidecar, &app, [&first, &app_token]).await?;
    secrets(story, &sidecar, &first).await?;

    story.step("The API token is rotated: a restart with a new one");
    sidecar.stop().await;
    let sidecar = stage.sidecar(app.port(), [&second, &app_token]).await?;
    story.say(&format!("DAPR_API_TOKEN={}", shown(&second)));
    let read = (Method::GET, "/v1.0/metadata");
    let answer = story.ask(&sidecar, read.clone(), Some(&first)).await?;
    story.check(
        answer.status() == StatusCode::UNAUTHORIZED,
        "the old token is refused",
    );
    let answer = story.ask(&sidecar, read, Some(&second)).await?;
    story.check(
        answer.status() == StatusCode::OK,
        "the new token is accepted",
    );
    sidecar.stop().await;
    Ok(())
}

async fn api_token(story: &mut Story, sidecar: &Sidecar, token: &Secret) -> anyhow::Result<()> {
    story.step("The API needs the token");
    let read = (Method::GET, "/v1.0/metadata");
    let answer = story.ask(sidecar, read.clone(), None).await?;
    story.check(
        answer.status() == StatusCode::UNAUTHORIZED,
        "refused without the token",
    );
    let wrong = Secret::new("guessed");
    let answer = story.ask(sidecar, read.clone(), Some(&wrong)).await?;
    story.check(
        answer.status() == StatusCode::UNAUTHORIZED,
        "refused with a wrong token",
    );
    let answer = story.ask(sidecar, read, Some(token)).await?;
    story.check(answer.status() == StatusCode::OK, "accepted with the token");
    let health = (Method::GET, "/v1.0/healthz/outbound");
    let answer = story.ask(sidecar, health, None).await?;
    story.check(
        answer.status() == StatusCode::NO_CONTENT,
        "health needs none",
    );
    Ok(())
}

async fn app_token_reaches_the_app(
    story: &mut Story,
    sidecar: &Sidecar,
    app: &App,
    [api_token, app_token]: [&Secret; 2],
) -> anyhow::Result<()> {
    story.step("The app gets its own token, and never the API's");
    let path = format!("/v1.0/invoke/{APP_ID}/method/orders");
    let answer = story
        .ask(sidecar, (Method::POST, &path), Some(api_token))
        .await?;
    story.check(answer.status() == StatusCode::OK, "the app was invoked");
    let seen = app.last_call();
    story.check(seen.target == "POST /orders", "the app saw POST /orders");
    let tokens: Vec<&[u8]> = seen.tokens.iter().map(Vec::as_slice).collect();
    let is_own = matches!(tokens.as_slice(), [token] if app_token.matches(token));
    story.check(is_own, "its dapr-api-token was APP_API_TOKEN, once");
    Ok(())
}

async fn secrets(story: &mut Story, sidecar: &Sidecar, token: &Secret) -> anyhow::Result<()> {
    story.step("Secrets are read through the sidecar, as far as the scopes allow");
    let allowed = (Method::GET, "/v1.0/secrets/vault/db-password");
    let answer = story.ask(sidecar, allowed, Some(token)).await?;
    let body = serde_json::from_slice(answer.body()).unwrap_or(json!(null));
    story.check(
        answer.status() == StatusCode::OK && body == json!({"db-password": "hunter2"}),
        "an allowed secret is read",
    );
    let denied = (Method::GET, "/v1.0/secrets/vault/root-key");
    let answer = story.ask(sidecar, denied, Some(token)).await?;
    story.check(
        answer.status() == StatusCode::FORBIDDEN,
        "a denied secret is not",
    );
    let text = String::from_utf8_lossy(answer.body());
    story.check(
        !text.contains(stage::DENIED),
        "and nothing of it is in the answer",
    );
    Ok(())
}

/// The beginning of a token: enough to tell two of them apart.
fn shown(token: &Secret) -> String {
    // These tokens live as long as the demo.
    let text: String = token.expose().chars().take(6).collect();
    format!("{text}…")
}
