//! `/v1.0/state/{store}`: reads, writes and transactions.

use axum::body::Body;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::{self, Answer};
use super::query;
use crate::api::routes::{Match, RouteId};
use crate::blocks::error::Error;
use crate::blocks::state::{
    Concurrency, Item, Metadata, Options, Read, Removal, State, Store, consistency, written,
};

/// The parameters that say how a call is done.
const CONCURRENCY: &str = "concurrency";
const CONSISTENCY: &str = "consistency";

/// What is told of a value that a list in JSON cannot hold.
const NOT_JSON: &str = "the value is not JSON; read this key alone, or over gRPC";

/// Answers a call of one of the routes of state. The store is looked for before the body is read,
/// as in Dapr 1.18.
pub(super) async fn handle(
    state: &State,
    found: &Match,
    head: &Parts,
    body: Body,
    max_body: usize,
) -> Result<Answer, Error> {
    let path = head.uri.path();
    let (Ok(name), Ok(key)) = (found.param(0, path), found.param(1, path)) else {
        return Ok(answer::bad_path());
    };
    let store = state.store(&name)?;
    match found.route().id {
        RouteId::GetState => get(&store, &key, head.uri.query()).await,
        RouteId::DeleteState => delete(&store, &key, head).await,
        RouteId::QueryState => Err(store.query_unsupported()),
        id => {
            if id == RouteId::StateTransaction {
                store.check_transactional()?;
            }
            let body = answer::read(body, max_body).await?;
            let metadata = query::parameters(head.uri.query());
            match id {
                RouteId::BulkGetState => get_all(&store, &body, metadata).await,
                RouteId::StateTransaction => transact(&store, &body, &metadata).await,
                _ => save(&store, &body, &metadata).await,
            }
        }
    }
}

/// 200 with the value as it is in the store, or 204 where there is none.
async fn get(store: &Store<'_>, key: &str, query: Option<&str>) -> Result<Answer, Error> {
    let consistency = consistency(&parameter(query, CONSISTENCY))?;
    let item = store
        .get(key, consistency, query::parameters(query))
        .await?;
    let Some(item) = item else {
        return Ok(answer::no_content());
    };
    let mut answer = Answer::new(Body::from(item.value));
    let headers = answer.headers_mut();
    headers.extend(answer::metadata_headers(item.metadata));
    // Whatever it is, as in Dapr 1.18: its SDKs look at it.
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json);
    let etag = item.etag.map(|etag| HeaderValue::try_from(etag.as_str()));
    if let Some(Ok(etag)) = etag {
        headers.insert(ETAG, etag);
    }
    Ok(answer)
}

/// 204 once the value is gone.
async fn delete(store: &Store<'_>, key: &str, head: &Parts) -> Result<Answer, Error> {
    let query = head.uri.query();
    let removal = Removal {
        key: key.to_owned(),
        etag: wanted_etag(&head.headers),
        options: Options {
            concurrency: Concurrency::parse(&parameter(query, CONCURRENCY))?,
            consistency: consistency(&parameter(query, CONSISTENCY))?,
        },
        metadata: query::parameters(query),
    };
    store.delete(removal).await?;
    Ok(answer::no_content())
}

/// 200 with what is known of each key.
async fn get_all(store: &Store<'_>, body: &[u8], metadata: Metadata) -> Result<Answer, Error> {
    let written::Keys {
        keys,
        at_once,
        metadata,
    } = written::keys(body, metadata)?;
    let reads = store.get_all(keys, at_once, &metadata).await?;
    let entries: Vec<_> = reads.iter().map(Entry::of).collect();
    Ok(answer::json(&entries))
}

/// 204 once all values are saved.
async fn save(store: &Store<'_>, body: &[u8], metadata: &Metadata) -> Result<Answer, Error> {
    store.save(written::values(body, metadata)?).await?;
    Ok(answer::no_content())
}

/// 204 once all of it is done.
async fn transact(store: &Store<'_>, body: &[u8], metadata: &Metadata) -> Result<Answer, Error> {
    let changes = written::transaction(store, body, metadata)?;
    store.transact(changes).await?;
    Ok(answer::no_content())
}

fn parameter(query: Option<&str>, name: &str) -> String {
    query::first(query, name).unwrap_or_default().into_owned()
}

/// The ETag of `If-Match`. Dapr has it without the quotes of HTTP. They are taken off a number,
/// which the ETags of this build's own stores are; those of others may have quotes of their own.
fn wanted_etag(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(IF_MATCH)?;
    let text = String::from_utf8_lossy(text.as_bytes()).trim().to_owned();
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let is_number = |inner: &&str| !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_digit());
    match inner.filter(is_number) {
        Some(number) => Some(number.to_owned()),
        None => Some(text),
    }
}

/// What is known of a key. Of one without a value nothing else is told.
#[derive(Default, Serialize)]
struct Entry<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn of(read: &'a Read) -> Self {
        let Read { key, outcome } = read;
        match outcome {
            Ok(None) => Self {
                key,
                ..Self::default()
            },
            Ok(Some(item)) => Self::with(key, item),
            Err(error) => Self {
                key,
                error: Some(error),
                ..Self::default()
            },
        }
    }

    fn with(key: &'a str, item: &'a Item) -> Self {
        let data = match &item.value[..] {
            [] => Ok(None),
            value => serde_json::from_slice(value).map(Some),
        };
        Self {
            key,
            etag: item.etag.as_ref().map(|etag| etag.as_str()),
            metadata: (!item.metadata.is_empty()).then_some(&item.metadata),
            error: data.is_err().then_some(NOT_JSON),
            data: data.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quotes_of_http_are_taken_off_numbers_only() {
        for (value, expected) in [
            ("7", "7"),
            (" 7 ", "7"),
            ("\"7\"", "7"),
            ("\"a\"", "\"a\""),
            ("\"\"", "\"\""),
            ("\"", "\""),
            ("W/\"7\"", "W/\"7\""),
            ("*", "*"),
            ("", ""),
        ] {
            let value = HeaderValue::from_static(value);
            let headers = [(IF_MATCH, value)].into_iter().collect();
            assert_eq!(wanted_etag(&headers).unwrap(), expected);
        }
        assert_eq!(wanted_etag(&HeaderMap::new()), None);
    }
}
