//! What the injector asks at its start.

use sidegate::injector::kubernetes::Version;
use sidegate::process::kubernetes::{Access, Cluster};

use crate::api_server::ApiServer;

#[tokio::test]
async fn tells_whether_every_node_has_native_sidecars() {
    let server = ApiServer::shared().await;
    let access = Access::Kubeconfig(server.kubeconfig());
    let cluster = Cluster::connect(&access).await.unwrap();
    let version = Version::of_api_server(&cluster).await.unwrap();
    assert!(version.has_native_sidecars(), "{version}");
}
