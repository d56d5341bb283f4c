//! Configuration in a table of PostgreSQL (`configuration.postgresql`).

mod row;

use async_trait::async_trait;
use tokio_postgres::types::Type;

use super::{Changes, ConfigurationStore, Items};
use crate::components::message::Metadata;
use crate::components::metadata::{self, Reader};
use crate::components::postgres::{
    Database, Failure, Listener, Repeat, Settings, TABLE_ACCEPTED, Table, exists,
};
use crate::components::{BackendError, Error, ResolvedComponent};
use row::Told;

/// The field of a request with the channel.
const CHANNEL: &str = "pgNotifyChannel";

/// A table of items. It is made by its owner, as the trigger is that tells of its changes.
pub struct Postgres {
    database: Database,
    table: Table,
    /// The channel, whatever a request says.
    channel: Option<String>,
}

impl Postgres {
    /// Connects, and looks for the table.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, a server that cannot be reached or refuses, no table.
    pub async fn start(
        component: &ResolvedComponent,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Error> {
        let missing = "\"table\" is missing: the table with the items";
        let table = reader.required(&["table", "configTable"], missing)?;
        let table = Table::parse(table).ok_or(metadata::Error::Invalid {
            name: "table",
            accepted: TABLE_ACCEPTED,
        })?;
        let channel = reader.text(&["notifyChannel"])?;
        let channel = channel.filter(|name| !name.is_empty()).map(str::to_owned);
        let database = Database::new(Settings::read(component, reader).await?);
        let store = Self {
            database,
            table,
            channel,
        };
        match store.has_table().await {
            Ok(true) => Ok(store),
            Ok(false) => Err(Error::Init(format!(
                "the table {} is not there, or not for this user; it is made by its owner",
                store.table
            ))),
            Err(failure) => Err(Error::Init(failure.to_string())),
        }
    }

    async fn has_table(&self) -> Result<bool, Failure> {
        exists(&self.database.connection().await?, &self.table).await
    }

    async fn try_get(&self, keys: &[String]) -> Result<Items, Failure> {
        let connection = self.database.connection().await?;
        let all = format!(
            "SELECT key::text, value::text, version::text, metadata::text FROM {}",
            self.table
        );
        let rows = if keys.is_empty() {
            connection.rows(&all, &[]).await?
        } else {
            let some = format!("{all} WHERE key = ANY($1)");
            connection.rows(&some, &[(&keys, Type::TEXT_ARRAY)]).await?
        };
        Ok(row::latest(rows.iter().map(row::item)))
    }

    /// The channels that a request means. A statement of Dapr's would have the name in small
    /// letters, `pg_notify` has it as it is.
    fn channels(&self, metadata: &Metadata) -> Result<Vec<String>, BackendError> {
        let mut asked = metadata.iter();
        let asked = asked.find(|(name, _)| name.eq_ignore_ascii_case(CHANNEL));
        let asked = asked
            .map(|(_, value)| value)
            .filter(|name| !name.is_empty());
        let Some(name) = self.channel.as_ref().or(asked) else {
            return Err(BackendError::Refused(format!(
                "{CHANNEL:?} is missing in the metadata of the request: the channel that the \
                 trigger of the table notifies"
            )));
        };
        let small = name.to_ascii_lowercase();
        let mut channels = vec![name.clone()];
        if small != *name {
            channels.push(small);
        }
        Ok(channels)
    }
}

#[async_trait]
impl ConfigurationStore for Postgres {
    async fn get(&self, keys: &[String], _: &Metadata) -> Result<Items, BackendError> {
        let mut tries = Database::tries(Repeat::Allowed);
        loop {
            match self.try_get(keys).await {
                Err(failure) if tries.again(&failure).await => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    async fn subscribe(
        &self,
        keys: &[String],
        metadata: &Metadata,
    ) -> Result<Box<dyn Changes>, BackendError> {
        let channels = self.channels(metadata)?;
        Ok(Box::new(Following {
            listener: Listener::open(self.database.settings(), &channels).await?,
            keys: keys.to_vec(),
            table: self.table.name().to_owned(),
        }))
    }
}

/// What a trigger tells.
struct Following {
    listener: Listener,
    keys: Vec<String>,
    table: String,
}

#[async_trait]
impl Changes for Following {
    async fn next(&mut self) -> Result<Items, BackendError> {
        loop {
            let said = self.listener.next().await?;
            let Some(Told { table, key, item }) = row::told(&said) else {
                // What is in it may be a secret.
                tracing::warn!(
                    table = self.table,
                    "Ignored a notification that is no object with a row in \"data\""
                );
                continue;
            };
            let is_ours = table.is_none_or(|table| table == self.table);
            if is_ours && (self.keys.is_empty() || self.keys.contains(&key)) {
                return Ok(Items::from([(key, item)]));
            }
        }
    }
}
