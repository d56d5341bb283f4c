//! Components in processes of their own, over Unix sockets.

use std::sync::Arc;

use sidegate::base::environment::Environment;
use sidegate::components::catalog::{Backend, Host, build};
use sidegate::components::message::Delivery;
use sidegate::components::message::Settlement::{Done, Failed};
use sidegate::components::{Error, ResolvedComponent};
use sidegate::process::kubernetes::Access;
use sidegate::testing::contract;
use sidegate::testing::fake_component::{Behaviour, FakeComponent};
use tempfile::TempDir;

mod bindings;
mod faults;
mod loading;
mod pubsub;
mod secret_store;
mod state;

/// A folder of sockets and one of resources, and how the component behind them behaves.
struct World {
    folder: TempDir,
    resources: TempDir,
    behaviour: Arc<Behaviour>,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            resources: tempfile::tempdir().unwrap(),
            behaviour: Arc::default(),
        }
    }

    fn start(&self, name: &str) -> FakeComponent {
        FakeComponent::start(self.folder.path(), name, &self.behaviour)
    }

    fn environment(&self) -> Environment {
        let folder = self.folder.path().to_str().unwrap();
        Environment::from_iter([("DAPR_COMPONENTS_SOCKETS_FOLDER", folder)])
    }

    async fn build(&self, component: &ResolvedComponent) -> Result<Backend, Error> {
        let host = Host {
            environment: &self.environment(),
            cluster: &Access::InCluster,
            app_id: "app",
        };
        build(component, host).await
    }

    /// Why a component of a type is not built, with the folder left out.
    async fn refusal(&self, component_type: &str) -> (&'static str, String) {
        let properties = [("password", "hunter2")];
        let component = contract::component(component_type, &properties);
        let error = self.build(&component).await.err().expect("it is refused");
        let folder = self.folder.path().to_str().unwrap();
        (error.code(), error.to_string().replace(folder, "DIR"))
    }
}

async fn done(delivery: Delivery) {
    delivery.acknowledge.settle(Done(None)).await.unwrap();
}

async fn failed(delivery: Delivery, text: &str) {
    let settlement = Failed(text.to_owned());
    delivery.acknowledge.settle(settlement).await.unwrap();
}
