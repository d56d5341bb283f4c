//! The page about the store, as it is written.

use sidegate::testing::quickstart;

use crate::api_server::ApiServer;

#[tokio::test]
async fn the_page_about_secrets_of_kubernetes_does_what_it_says() {
    let server = ApiServer::shared().await;
    let sidegate = std::path::Path::new(env!("CARGO_BIN_EXE_sidegate"));
    let programs = [
        sidegate.parent().unwrap().to_owned(),
        server.programs().to_owned(),
    ];
    let kubeconfig = server.kubeconfig();
    let variables = [("KUBECONFIG", kubeconfig.to_str().unwrap())];
    quickstart::run("docs/secrets/kubernetes.md", &programs, &variables).await;
}
