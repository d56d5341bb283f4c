//! A steady load: each request on a connection of its own, as a Service spreads connections.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::call::send;

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Requests a second
    #[arg(long, default_value_t = 150)]
    rate: u32,
    /// Requests to send at the least, also after the end of standard input
    #[arg(long, default_value_t = 0)]
    at_least: u32,
    url: Uri,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / args.rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut end = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    let mut has_ended = false;
    let mut sent = 0;
    let mut flying = JoinSet::new();
    let mut failures: BTreeMap<String, u32> = BTreeMap::new();
    while !has_ended || sent < args.at_least {
        tokio::select! {
            _ = ticks.tick() => {
                let request = Request::get(args.url.clone()).body(Full::default())?;
                flying.spawn(one(request));
                sent += 1;
            }
            Some(done) = flying.join_next() => count(done?, &mut failures),
            _ = &mut end, if !has_ended => has_ended = true,
        }
    }
    while let Some(done) = flying.join_next().await {
        count(done?, &mut failures);
    }
    let failed: u32 = failures.values().sum();
    let summary = serde_json::json!({ "sent": sent, "failed": failed, "failures": failures });
    println!("{summary}");
    Ok(())
}

async fn one(request: Request<Full<Bytes>>) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, send(request)).await {
        Ok(Ok(response)) if response.status() == 200 => Ok(()),
        Ok(Ok(response)) => {
            let text = String::from_utf8_lossy(response.body()).into_owned();
            Err(format!("{}: {text}", response.status()))
        }
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

fn count(outcome: Result<(), String>, failures: &mut BTreeMap<String, u32>) {
    if let Err(failure) = outcome {
        *failures.entry(failure).or_default() += 1;
    }
}
