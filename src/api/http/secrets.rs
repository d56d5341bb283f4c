//! `GET /v1.0/secrets/{store}/{key}` and `GET /v1.0/secrets/{store}/bulk`.

use std::collections::{BTreeMap, HashMap};

use axum::body::{Body, HttpBody as _};
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};

use crate::base::secret::Secret;
use crate::blocks::error::{Error, Reason};
use crate::blocks::secrets::Secrets;
use crate::process::listener::Remote;

use super::answer::{self, Answer};
use super::query;

/// The parts of a call beside its path.
pub(super) struct Rest<'a> {
    pub(super) caller: Remote,
    pub(super) query: Option<&'a str>,
    pub(super) body: Body,
    /// The most bytes of the body.
    pub(super) max_body: usize,
}

/// 200 with the keys and values of one secret.
pub(super) async fn single(
    secrets: &Secrets,
    (store, key): (&str, &str),
    rest: Rest<'_>,
) -> Result<Answer, Error> {
    let caller = rest.caller;
    let parameters = rest.parameters().await?;
    let secret = secrets.get(caller, store, key, &parameters).await?;
    Ok(answer::json(&Exposed(&secret)))
}

/// 200 with every secret of a store that the scopes let the app read.
pub(super) async fn bulk(secrets: &Secrets, store: &str, rest: Rest<'_>) -> Result<Answer, Error> {
    let caller = rest.caller;
    let parameters = rest.parameters().await?;
    let secrets = secrets.bulk(caller, store, &parameters).await?;
    let exposed: BTreeMap<_, _> = secrets
        .iter()
        .map(|(name, secret)| (name, Exposed(secret)))
        .collect();
    Ok(answer::json(&exposed))
}

impl Rest<'_> {
    /// The parameters in the query. A body changes nothing, as in Dapr, but one that is no JSON
    /// object is refused.
    async fn parameters(self) -> Result<BTreeMap<String, String>, Error> {
        let parameters = query::parameters(self.query);
        if !self.body.is_end_stream() {
            let body = answer::read(self.body, self.max_body).await?;
            let is_object = serde_json::from_slice::<HashMap<String, IgnoredAny>>(&body).is_ok();
            if !is_object && !body.is_empty() {
                let text = "failed deserializing HTTP body: it is not a JSON object";
                return Err(Error::new(Reason::MalformedRequest, text));
            }
        }
        Ok(parameters)
    }
}

/// A secret on its way to the app that may read it.
struct Exposed<'a>(&'a BTreeMap<String, Secret>);

impl Serialize for Exposed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value.expose())))
    }
}
