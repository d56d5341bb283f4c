//! Asks sentinels which server is the primary.

use redis::RedisError;

use super::client::{Purpose, connect};
use super::hosts::Host;
use super::settings::{Sentinel, Settings};

/// The primary, as the first sentinel says that knows it.
pub(super) async fn primary(
    settings: &Settings,
    sentinel: &Sentinel,
) -> Result<Host, (Host, RedisError)> {
    let mut last = None;
    for host in &settings.hosts {
        match ask(settings, sentinel, host).await {
            Ok(primary) => return Ok(primary),
            Err(error) => last = Some((host.clone(), error)),
        }
    }
    Err(last.expect("there is at least one host"))
}

async fn ask(settings: &Settings, sentinel: &Sentinel, host: &Host) -> Result<Host, RedisError> {
    let purpose = Purpose {
        login: &sentinel.login,
        database: 0,
        limit: settings.answer_timeout,
        pushes: None,
    };
    let mut connection = connect(settings, host, purpose).await?;
    let found: Option<(String, u16)> = redis::cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(&sentinel.primary)
        .query_async(connection.commands())
        .await?;
    let (name, port) = found.ok_or_else(|| {
        // As another sentinel may know it, or this one later, like an error of the road.
        std::io::Error::other(format!("no primary is named {:?} here", sentinel.primary))
    })?;
    Ok(Host { name, port })
}
