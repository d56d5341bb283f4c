//! The kinds of `charts/sidegate/crds`, in the API server of the tests.

use tokio::sync::OnceCell;

use crate::api_server::ApiServer;

/// Makes them, once a process, and waits until they can be used.
pub(crate) async fn install(server: &ApiServer) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_init(|| async { install_on(server) }).await;
}

/// The same in a server of a test's own.
pub(crate) fn install_on(server: &ApiServer) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sidegate/crds");
    server.kubectl(&["apply", "--server-side", "--filename", folder]);
    let established = "--for=condition=Established";
    server.kubectl(&["wait", established, "--timeout=60s", "--filename", folder]);
}
