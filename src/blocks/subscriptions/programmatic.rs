//! The subscriptions that the app itself lists: `GET /dapr/subscribe` of HTTP apps and
//! `ListTopicSubscriptions` of gRPC apps.

use std::time::Duration;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{
    ListTopicSubscriptionsResponse, TopicRoutes, TopicSubscription,
};
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::app_channel::{AppChannel, Road};
use crate::base::back_off::BackOff;
use crate::resources::subscription::{Bulk, Routes, Spec};

/// How long the app may take for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// From the first to the longest pause between two questions.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];
/// The method of gRPC apps.
const LIST: &str = "/dapr.proto.runtime.v1.AppCallback/ListTopicSubscriptions";
/// The code of gRPC for a method that an app does not have.
const UNIMPLEMENTED: i32 = 12;
/// The names of an entry's fields.
const FIELDS: [&str; 14] = [
    "bulkSubscribe",
    "deadLetterTopic",
    "default",
    "enabled",
    "match",
    "maxAwaitDurationMs",
    "maxMessagesCount",
    "metadata",
    "path",
    "pubsubname",
    "route",
    "routes",
    "rules",
    "topic",
];

/// Asks the app what it subscribes to, again and again until it answers: an app that fails has not
/// said that it wants nothing.
pub(super) async fn discover(channel: &AppChannel) -> Vec<Spec> {
    let mut back_off = BackOff::new(PAUSES);
    loop {
        let asked = timeout(PATIENCE, ask(channel)).await;
        let problem = match asked {
            Ok(Ok(specs)) => {
                info!(count = specs.len(), "The app told what it subscribes to");
                return specs;
            }
            Ok(Err(problem)) => problem,
            Err(_) => "no answer in time".to_owned(),
        };
        warn!(
            problem,
            "The app did not tell what it subscribes to; asking again"
        );
        sleep(back_off.another()).await;
    }
}

async fn ask(channel: &AppChannel) -> Result<Vec<Spec>, String> {
    let specs = if channel.config().protocol.is_grpc() {
        over_grpc(channel).await?
    } else {
        over_http(channel).await?
    };
    let (with_routes, without): (Vec<_>, Vec<_>) =
        specs.into_iter().partition(|spec| !spec.routes.is_empty());
    for Spec { topic, .. } in without {
        // Dapr's words: people look for them.
        warn!("topic {topic} has an empty routes. removing from subscriptions list");
    }
    Ok(with_routes)
}

async fn over_http(channel: &AppChannel) -> Result<Vec<Spec>, String> {
    let request = Request::get("/dapr/subscribe")
        .header("content-type", "application/json")
        .header("dapr-app-id", &channel.config().app_id)
        .body(Bytes::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = channel.call_http(Road::SubscribeDiscovery, request).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status() {
        StatusCode::NOT_FOUND => Ok(Vec::new()),
        status if status.is_success() => list(answer.body()),
        status => Err(format!("status code {}", status.as_u16())),
    }
}

/// The entries of an answer. One that cannot be read does not hide the others.
fn list(body: &[u8]) -> Result<Vec<Spec>, String> {
    if body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let entries: Option<Vec<Value>> = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is not a list in JSON: {error}"))?;
    let read = entries.unwrap_or_default().into_iter().filter_map(|entry| {
        let read = Spec::from_json(named(entry));
        read.inspect_err(|problem| warn!("A subscription of the app cannot be used: {problem}"))
            .ok()
    });
    Ok(read.collect())
}

/// An entry with the names as they are documented, and without what is null. Dapr takes a name in
/// any case, and SDKs of Java and .NET write `pubsubName`.
fn named(value: Value) -> Value {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Array(values) => return values.into_iter().map(named).collect(),
        other => return other,
    };
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    let fields = fields.map(|(name, value)| {
        let known = FIELDS
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(&name));
        match known {
            Some("metadata") => ("metadata".to_owned(), value),
            Some(known) => (known.to_owned(), named(value)),
            None => (name, value),
        }
    });
    fields.collect()
}

async fn over_grpc(channel: &AppChannel) -> Result<Vec<Spec>, String> {
    let (road, metadata) = (Road::ListTopicSubscriptions, HeaderMap::new());
    let answer = channel.callback(road, LIST, metadata, ()).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let list: ListTopicSubscriptionsResponse = match answer {
        Ok(list) => list,
        Err(failure) if failure.code == UNIMPLEMENTED => return Ok(Vec::new()),
        Err(failure) => return Err(format!("gRPC code {}: {}", failure.code, failure.message)),
    };
    let read = list.subscriptions.into_iter().filter_map(|entry| {
        let topic = entry.topic.clone();
        let read = from_grpc(entry);
        read.inspect_err(|problem| {
            warn!("The subscription of the app to {topic:?} cannot be used: {problem}");
        })
        .ok()
    });
    Ok(read.collect())
}

fn from_grpc(entry: TopicSubscription) -> Result<Spec, String> {
    if entry.topic.is_empty() || entry.pubsub_name.is_empty() {
        return Err("it names no topic, or no pub/sub".to_owned());
    }
    let bulk = entry.bulk_subscribe.filter(|bulk| bulk.enabled);
    let bulk = bulk.map(|bulk| {
        let most = i64::from(bulk.max_messages_count);
        Bulk::new(Some(most), Some(bulk.max_await_duration_ms.into()))
    });
    let bulk = bulk.transpose();
    let routes = routes(entry.routes.unwrap_or_default());
    let told = |(field, problem): (String, String)| format!("field {field:?} {problem}");
    routes.check().map_err(told)?;
    Ok(Spec {
        pubsub: entry.pubsub_name,
        topic: entry.topic,
        routes,
        metadata: entry.metadata.into_iter().collect(),
        dead_letter_topic: Some(entry.dead_letter_topic).filter(|topic| !topic.is_empty()),
        bulk: bulk.map_err(told)?,
    })
}

/// A gRPC app has one method for all its messages, so that one without routes gets them with the
/// empty path (Dapr 1.18).
fn routes(written: TopicRoutes) -> Routes {
    let mut routes = Routes::default();
    for rule in &written.rules {
        routes.push(&rule.r#match, &rule.path);
    }
    if !written.default.is_empty() || routes.is_empty() {
        routes.push("", &written.default);
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use dapr::dapr::proto::runtime::v1::TopicRule;

    #[test]
    fn a_list_may_be_empty_and_one_bad_entry_hides_no_other() {
        for empty in ["", " \n", "null", "[]"] {
            assert_eq!(list(empty.as_bytes()), Ok(Vec::new()), "{empty:?}");
        }
        for broken in ["{}", "[", "no"] {
            assert!(list(broken.as_bytes()).is_err(), "{broken:?}");
        }
        let text = r#"[
            {"pubsubname": "p", "topic": "a", "route": "a"},
            {"topic": 1},
            {"pubsubname": "p", "topic": "b", "routes": {"default": "/b"}, "more": 1}
        ]"#;
        let read = list(text.as_bytes()).unwrap();
        let topics: Vec<_> = read.iter().map(|spec| spec.topic.as_str()).collect();
        assert_eq!(topics, ["a", "b"]);
    }

    #[test]
    fn the_case_of_names_does_not_matter_and_null_is_nothing() {
        let text = r#"[{
            "pubsubName": "p", "Topic": "t", "route": null, "deadlettertopic": "d",
            "routes": {"Rules": [{"Match": "event.type == 'a'", "Path": "/a"}], "default": null},
            "metadata": {"Topic": "x"},
            "bulkSubscribe": {"Enabled": true, "maxMessagesCount": 5, "maxAwaitDurationMs": null}
        }]"#;
        let [spec] = list(text.as_bytes()).unwrap().try_into().unwrap();
        assert_eq!((spec.pubsub.as_str(), spec.topic.as_str()), ("p", "t"));
        assert_eq!(spec.dead_letter_topic.as_deref(), Some("d"));
        assert_eq!(spec.routes.rules[0].path, "/a");
        assert_eq!(spec.routes.default, None);
        assert_eq!(spec.metadata["Topic"], "x");
        assert_eq!(spec.bulk.unwrap(), Bulk::new(Some(5), None).unwrap());
    }

    #[test]
    fn a_grpc_app_without_routes_gets_all_with_the_empty_path() {
        let rule = TopicRule {
            r#match: "event.type == 'a'".to_owned(),
            path: "a".to_owned(),
        };
        let default = |rules, default: &str| {
            let default = default.to_owned();
            routes(TopicRoutes { rules, default }).default
        };
        assert_eq!(default(Vec::new(), "").as_deref(), Some(""));
        assert_eq!(default(vec![rule.clone()], ""), None);
        assert_eq!(default(vec![rule], "b").as_deref(), Some("b"));
    }
}
