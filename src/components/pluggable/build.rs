//! Makes the back ends of pluggable components.

use std::sync::Arc;

use tracing::warn;

use super::binding::{PluggableInput, PluggableOutput};
use super::connection::{Connection, Failure, Target};
use super::discovery::{Found, find};
use super::pubsub::PluggablePubSub;
use super::secret_store::PluggableStore;
use super::service::Service;
use super::state::PluggableState;
use crate::base::secret::Secret;
use crate::components::binding::{BindingComponent, BindingSettings, InputBinding, OutputBinding};
use crate::components::catalog::Host;
use crate::components::metadata::Reader;
use crate::components::pubsub::PubSubComponent;
use crate::components::pubsub::scopes::TopicScopes;
use crate::components::secret_store::SecretStore;
use crate::components::secret_store::guarded::Guarded;
use crate::components::secret_store::settings::Settings;
use crate::components::state::StateComponent;
use crate::components::state::key_prefix::KeyPrefix;
use crate::components::{Error, ResolvedComponent};

/// How many messages of one subscription are dealt with at once where the component may send them
/// in any order.
const PARALLEL: usize = 64;
/// The setting that consumers of one group have in common. Without it, it is the id of the app
/// (Dapr 1.18).
const CONSUMER_ID: &str = "consumerID";

/// Makes pub/sub of a type that this build does not have, as `unknown` says.
pub(in crate::components) async fn pubsub(
    component: &ResolvedComponent,
    host: Host<'_>,
    unknown: Error,
) -> Result<PubSubComponent, Error> {
    let found = find(component, host, &[Service::PubSub], unknown).await?;
    let mut reader = Reader::new(component)?;
    let scopes = Arc::new(TopicScopes::read(&mut reader)?);
    let consumer = reader.text(&[CONSUMER_ID])?.unwrap_or_default();
    let is_parallel = reader
        .text(&["concurrencyMode"])?
        .is_some_and(|mode| mode.eq_ignore_ascii_case("parallel"));
    let mut properties = properties(component);
    if consumer.trim().is_empty() {
        properties.retain(|(name, _)| !name.eq_ignore_ascii_case(CONSUMER_ID));
        properties.push((CONSUMER_ID.to_owned(), Secret::new(host.app_id)));
    }
    let connection = found.open(Service::PubSub, component, properties).await?;
    let broker = PluggablePubSub::start(connection, if is_parallel { PARALLEL } else { 1 });
    Ok(PubSubComponent {
        broker: Arc::new(broker.await.map_err(|failure| found.failed(&failure))?),
        scopes,
    })
}

/// Makes a binding of a type that this build does not have: one way or both.
pub(in crate::components) async fn binding(
    component: &ResolvedComponent,
    host: Host<'_>,
    unknown: Error,
) -> Result<BindingComponent, Error> {
    let ways = [Service::InputBinding, Service::OutputBinding];
    let found = find(component, host, &ways, unknown).await?;
    let mut reader = Reader::new(component)?;
    let settings = BindingSettings::read(&mut reader)?;
    let mut input: Option<Arc<dyn InputBinding>> = None;
    let mut output: Option<Arc<dyn OutputBinding>> = None;
    for &service in &found.services {
        let open = found.open(service, component, properties(component));
        match service {
            Service::InputBinding => {
                input = Some(Arc::new(PluggableInput::new(open.await?)));
            }
            Service::OutputBinding => {
                let started = PluggableOutput::start(open.await?).await;
                let started = started.map_err(|failure| found.failed(&failure))?;
                output = Some(Arc::new(started));
            }
            Service::PubSub | Service::SecretStore | Service::StateStore => {}
        }
    }
    Ok(BindingComponent::new(input, output, settings))
}

/// Makes a secret store of a type that this build does not have.
pub(in crate::components) async fn secret_store(
    component: &ResolvedComponent,
    host: Host<'_>,
    unknown: Error,
) -> Result<Arc<dyn SecretStore>, Error> {
    let found = find(component, host, &[Service::SecretStore], unknown).await?;
    // The names may mean something else to the component, whose settings they are.
    let settings = Settings::read(&mut Reader::new(component)?).unwrap_or_else(|problem| {
        let component = &component.name;
        warn!(component, %problem, "Limits of a pluggable secret store are the usual ones");
        Settings::default()
    });
    let open = found.open(Service::SecretStore, component, properties(component));
    let store = PluggableStore::start(open.await?, settings).await;
    let store = store.map_err(|failure| found.failed(&failure))?;
    Ok(Arc::new(Guarded::new(
        Box::new(store),
        &component.name,
        settings,
    )))
}

/// Makes a state store of a type that this build does not have.
pub(in crate::components) async fn state(
    component: &ResolvedComponent,
    host: Host<'_>,
    unknown: Error,
) -> Result<StateComponent, Error> {
    let found = find(component, host, &[Service::StateStore], unknown).await?;
    let key_prefix = KeyPrefix::read(&mut Reader::new(component)?)?;
    let open = found.open(Service::StateStore, component, properties(component));
    let store = PluggableState::start(open.await?).await;
    let store = store.map_err(|failure| found.failed(&failure))?;
    Ok(StateComponent {
        store: Arc::new(store),
        key_prefix,
    })
}

/// All settings as written.
fn properties(component: &ResolvedComponent) -> Vec<(String, Secret)> {
    let properties = component.properties.iter();
    properties
        .map(|property| (property.name.clone(), property.value.clone()))
        .collect()
}

impl Found {
    /// Starts one of its services for a component.
    async fn open(
        &self,
        service: Service,
        component: &ResolvedComponent,
        properties: Vec<(String, Secret)>,
    ) -> Result<Connection, Error> {
        let target = Target::new(self.socket.clone(), service, &component.name, properties);
        let target = target.map_err(|failure| self.failed(&failure))?;
        let connection = Connection::open(target).await;
        connection.map_err(|failure| self.failed(&failure))
    }

    fn failed(&self, failure: &Failure) -> Error {
        let path = self.socket.path.display();
        Error::Init(format!("pluggable component {path}: {failure}"))
    }
}
