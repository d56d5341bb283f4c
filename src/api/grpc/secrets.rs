//! `GetSecret` and `GetBulkSecret`.

use std::collections::{BTreeMap, HashMap};

use dapr::dapr::proto::runtime::v1 as proto;
use tonic::{Request, Response, Status};

use crate::base::secret::Secret;
use crate::blocks::secrets::Secrets;
use crate::process::listener::Remote;

use super::status;

/// The keys and values of one secret.
pub(super) async fn get(
    secrets: &Secrets,
    request: Request<proto::GetSecretRequest>,
) -> Result<Response<proto::GetSecretResponse>, Status> {
    let caller = caller(&request);
    let request = request.into_inner();
    let parameters = request.metadata.into_iter().collect();
    let secret = secrets
        .get(caller, &request.store_name, &request.key, &parameters)
        .await
        .map_err(|error| status::failure(&error))?;
    Ok(Response::new(proto::GetSecretResponse {
        data: exposed(&secret),
    }))
}

/// Every secret of a store that the scopes let the app read.
pub(super) async fn bulk(
    secrets: &Secrets,
    request: Request<proto::GetBulkSecretRequest>,
) -> Result<Response<proto::GetBulkSecretResponse>, Status> {
    let caller = caller(&request);
    let request = request.into_inner();
    let parameters = request.metadata.into_iter().collect();
    let secrets = secrets
        .bulk(caller, &request.store_name, &parameters)
        .await
        .map_err(|error| status::failure(&error))?;
    let data = secrets
        .into_iter()
        .map(|(name, secret)| {
            let secrets = exposed(&secret);
            (name, proto::SecretResponse { secrets })
        })
        .collect();
    Ok(Response::new(proto::GetBulkSecretResponse { data }))
}

fn caller<M>(request: &Request<M>) -> Remote {
    let caller = request.extensions().get().copied();
    caller.unwrap_or(Remote::Unix)
}

/// A secret on its way to the app that may read it.
fn exposed(secret: &BTreeMap<String, Secret>) -> HashMap<String, String> {
    secret
        .iter()
        .map(|(key, value)| (key.clone(), value.expose().to_owned()))
        .collect()
}
