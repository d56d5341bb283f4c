//! `bindings.redis`: values at keys, and the messages of a stream.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tracing::warn;

use super::{BindingAnswer, BindingFailure, BindingRequest, CREATE, Metadata, OutputBinding};
use crate::base::truthy::is_truthy;
use crate::components::metadata::Reader;
use crate::components::redis::{Client, Repeat, Settings};
use crate::components::{BackendError, Error, ResolvedComponent};
use crate::process::log_rate::LogRate;

const GET: &str = "get";
const DELETE: &str = "delete";
const INCREMENT: &str = "increment";

/// What the metadata of a request may say.
const KEY: &str = "key";
const TTL: &str = "ttlInSeconds";

/// Values at keys of a server.
pub struct RedisKeys {
    client: Arc<Client>,
    failures: LogRate,
}

impl RedisKeys {
    /// The server that the metadata of a component names. It has to be there.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, and a server that is away or lets nobody in.
    pub async fn start(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Error> {
        let client = Client::new(Settings::read(component, reader).await?);
        let client = client.reached().await?;
        Ok(Self {
            client: Arc::new(client),
            failures: LogRate::default(),
        })
    }

    async fn create(&self, request: &BindingRequest) -> Result<Option<Bytes>, BindingFailure> {
        let mut command = redis::cmd("SET");
        command.arg(key(request)?).arg(&*request.data);
        if let Some(seconds) = ttl(request)? {
            command.arg("EX").arg(seconds);
        }
        let set = self.client.ask::<()>(&command, Repeat::Allowed).await;
        set.map_err(|error| self.failure(&error))?;
        Ok(None)
    }

    async fn get(&self, request: &BindingRequest) -> Result<Option<Bytes>, BindingFailure> {
        let deletes = request.metadata.get(DELETE);
        let deletes = deletes.is_some_and(|text| is_truthy(text));
        // The answer of a second one would be that there is nothing.
        let (name, repeat) = if deletes {
            ("GETDEL", Repeat::Denied)
        } else {
            ("GET", Repeat::Allowed)
        };
        let mut command = redis::cmd(name);
        command.arg(key(request)?);
        let found: Result<Option<Vec<u8>>, _> = self.client.ask(&command, repeat).await;
        let found = found.map_err(|error| self.failure(&error))?;
        Ok(found.map(Bytes::from))
    }

    async fn delete(&self, request: &BindingRequest) -> Result<Option<Bytes>, BindingFailure> {
        let mut command = redis::cmd("DEL");
        command.arg(key(request)?);
        let deleted = self.client.ask::<()>(&command, Repeat::Allowed).await;
        deleted.map_err(|error| self.failure(&error))?;
        Ok(None)
    }

    async fn increment(&self, request: &BindingRequest) -> Result<Option<Bytes>, BindingFailure> {
        let (key, seconds) = (key(request)?, ttl(request)?);
        let mut command = redis::cmd("INCR");
        command.arg(key);
        let number: Result<i64, _> = self.client.ask(&command, Repeat::Denied).await;
        let number = number.map_err(|error| self.failure(&error))?;
        if let Some(seconds) = seconds {
            let mut command = redis::cmd("EXPIRE");
            command.arg(key).arg(seconds);
            let limited = self.client.ask::<()>(&command, Repeat::Allowed).await;
            limited.map_err(|error| self.failure(&error))?;
        }
        Ok(Some(number.to_string().into()))
    }

    /// The client hears that it failed, and the log why.
    fn failure(&self, error: &BackendError) -> BindingFailure {
        if let Some(left_out) = self.failures.pass() {
            warn!(%error, left_out, "A Redis binding failed");
        }
        let (text, may_heal) = match error {
            BackendError::Refused(_) => ("the server refused the operation", false),
            BackendError::Unavailable(_) => ("the server cannot do the operation now", true),
        };
        BindingFailure {
            text: text.to_owned(),
            metadata: Metadata::new(),
            may_heal,
        }
    }
}

#[async_trait]
impl OutputBinding for RedisKeys {
    fn operations(&self) -> Cow<'_, [&str]> {
        Cow::Borrowed(&[CREATE, GET, DELETE, INCREMENT])
    }

    async fn invoke(&self, request: BindingRequest) -> Result<BindingAnswer, BindingFailure> {
        let data = match request.operation.as_str() {
            CREATE => self.create(&request).await?,
            GET => self.get(&request).await?,
            DELETE => self.delete(&request).await?,
            INCREMENT => self.increment(&request).await?,
            other => return Err(refused(format!("operation {other:?} is not supported"))),
        };
        Ok(BindingAnswer {
            data,
            metadata: Metadata::new(),
        })
    }
}

fn key(request: &BindingRequest) -> Result<&str, BindingFailure> {
    let key = request.metadata.get(KEY).filter(|key| !key.is_empty());
    key.map(String::as_str)
        .ok_or_else(|| refused("redis binding: missing key in request metadata".to_owned()))
}

fn ttl(request: &BindingRequest) -> Result<Option<u32>, BindingFailure> {
    let Some(text) = request.metadata.get(TTL).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
    let invalid = || {
        refused(format!(
            "the value of \"{TTL}\" in the metadata of the request is not a whole number from 1 to \
             {}",
            u32::MAX
        ))
    };
    seconds.map(Some).ok_or_else(invalid)
}

fn refused(text: String) -> BindingFailure {
    BindingFailure {
        text,
        metadata: Metadata::new(),
        may_heal: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(metadata: &[(&str, &str)]) -> BindingRequest {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        BindingRequest {
            operation: CREATE.to_owned(),
            data: Bytes::new(),
            metadata: metadata.iter().map(owned).collect(),
        }
    }

    #[test]
    fn needs_a_key_and_a_whole_number_of_seconds() {
        assert_eq!(key(&request(&[("key", "k")])), Ok("k"));
        assert!(key(&request(&[("key", "")])).is_err());
        assert_eq!(ttl(&request(&[])), Ok(None));
        assert_eq!(ttl(&request(&[("ttlInSeconds", "60")])), Ok(Some(60)));
        for wrong in ["0", "-1", "1.5", "x"] {
            let failure = ttl(&request(&[("ttlInSeconds", wrong)])).unwrap_err();
            assert!(
                !failure.may_heal && failure.text.contains("from 1 to"),
                "{failure}"
            );
        }
    }
}
