//! `GET /v1.0/configuration/{store}`, and subscriptions to changes of its items.

use http::request::Parts;
use serde::Serialize;

use super::answer::{self, Answer};
use super::query;
use crate::api::routes::{Match, RouteId};
use crate::blocks::configuration::{Configurations, Metadata};
use crate::blocks::error::Error;

/// What the query calls the keys.
const KEY: &str = "key";

#[derive(Serialize)]
struct Subscribed {
    id: String,
}

#[derive(Serialize)]
struct Unsubscribed {
    ok: bool,
}

/// Answers a call of the routes of configuration.
pub(super) async fn serve(
    configurations: &Configurations,
    found: &Match,
    head: &Parts,
) -> Result<Answer, Error> {
    let path = head.uri.path();
    let (Ok(store), Ok(id)) = (found.param(0, path), found.param(1, path)) else {
        return Ok(answer::bad_path());
    };
    match found.route().id {
        RouteId::SubscribeConfiguration => subscribe(configurations, &store, head).await,
        RouteId::UnsubscribeConfiguration => unsubscribe(configurations, (&store, &id)),
        _ => get(configurations, &store, head).await,
    }
}

/// 200 with the items by key, or 204 where there are none.
async fn get(configurations: &Configurations, store: &str, head: &Parts) -> Result<Answer, Error> {
    let (keys, metadata) = wanted(head);
    let items = configurations.get(store, keys, metadata).await?;
    if items.is_empty() {
        return Ok(answer::no_content());
    }
    Ok(answer::json(&items))
}

/// 200 with the id of a subscription, of whose changes the app is told.
async fn subscribe(
    configurations: &Configurations,
    store: &str,
    head: &Parts,
) -> Result<Answer, Error> {
    let (keys, metadata) = wanted(head);
    let id = configurations.subscribe(store, keys, metadata).await?;
    Ok(answer::json(&Subscribed { id }))
}

/// 200 once a subscription has ended.
fn unsubscribe(
    configurations: &Configurations,
    (store, id): (&str, &str),
) -> Result<Answer, Error> {
    configurations.unsubscribe(store, id)?;
    Ok(answer::json(&Unsubscribed { ok: true }))
}

fn wanted(head: &Parts) -> (Vec<String>, Metadata) {
    let query = head.uri.query();
    let keys = query::pairs(query).filter(|(name, _)| name == KEY);
    let keys = keys.map(|(_, key)| key.into_owned()).collect();
    (keys, query::parameters(query))
}
