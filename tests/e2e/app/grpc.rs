//! The secrets API over gRPC.

use dapr::dapr::proto::runtime::v1::GetSecretRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, default_value = "http://127.0.0.1:50001")]
    sidecar: String,
    #[arg(long)]
    token: Option<String>,
    store: String,
    secret: String,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut client = DaprClient::connect(args.sidecar).await?;
    let mut request = tonic::Request::new(GetSecretRequest {
        store_name: args.store,
        key: args.secret,
        ..GetSecretRequest::default()
    });
    if let Some(token) = args.token {
        request
            .metadata_mut()
            .insert("dapr-api-token", token.parse()?);
    }
    match client.get_secret(request).await {
        Ok(answer) => println!("{}", serde_json::to_string(&answer.into_inner().data)?),
        Err(status) => println!("{:?}: {}", status.code(), status.message()),
    }
    Ok(())
}
