//! Calls of a gRPC app's own services, which pass through as they are.

use http::header::{HeaderMap, HeaderValue, TE};
use http::{Request, Response};

use super::headers::{self, Identity};
use super::local;
use super::{Failure, Invoke, Target};
use crate::app_channel::AppChannel;
use crate::base::grpc_method::GrpcMethod;
use crate::base::spiffe_id::SpiffeId;
use crate::blocks::error::{Error, Reason};
use crate::process::body::{Body, boxed};

impl Invoke {
    /// Passes a call on to an app, named as `app` or `app.namespace`, with messages of any kind
    /// and number both ways. Dropping the future, or the body of the answer, breaks it off.
    pub async fn proxy(
        &self,
        target: &str,
        method: &GrpcMethod,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let answer = self.route_proxied(target, method, request).await;
        answer.map_err(|failure| failure.of_target(target))
    }

    async fn route_proxied(
        &self,
        target: &str,
        method: &GrpcMethod,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        refuse_dapr(method)?;
        match self.resolve(target)? {
            Target::Own => {
                let identity = self.own_identity(&self.app_id);
                self.proxy_to_app(request, &identity).await
            }
            Target::Peer(remote, app) => {
                let identity = self.own_identity(app.app_id);
                to_next(request.headers_mut(), &identity);
                let path = method.as_str();
                let policy = self.registry.peek().resiliency.app(target, path);
                let mut answer = remote.proxy(&app, request, &policy).await?;
                headers::proxied_response(answer.headers_mut());
                Ok(answer)
            }
            Target::Outside(_) => {
                let text = "gRPC calls pass through to apps only";
                Err(Failure::new(Reason::ProxyRefused, text))
            }
        }
    }

    /// Passes a call of another sidecar on to the own app, where `caller` is as in
    /// [`Invoke::serve`]. It never goes on from there.
    pub async fn serve_proxied(
        &self,
        caller: Option<&SpiffeId>,
        method: &GrpcMethod,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        refuse_dapr(method)
            .and_then(|()| self.admit_proxied(caller, method))
            .map_err(Failure::of_own_app)?;
        let identity = self.peer_identity(caller, request.headers());
        let answer = self.proxy_to_app(request, &identity).await;
        answer.map_err(Failure::of_own_app)
    }

    async fn proxy_to_app(
        &self,
        mut request: Request<Body>,
        identity: &Identity,
    ) -> Result<Response<Body>, Failure> {
        let Some(app) = &self.app else {
            let text = "app channel is not initialized";
            return Err(Failure::new(Reason::AppChannelMissing, text));
        };
        speaks_grpc(app)?;
        to_next(request.headers_mut(), identity);
        let answer = app.proxy_grpc(request).await;
        let mut answer = answer.map_err(local::failure)?;
        headers::proxied_response(answer.headers_mut());
        Ok(answer.map(boxed))
    }
}

/// A caller that reached these methods of an app would speak as its sidecar does: deliver events,
/// for example.
fn refuse_dapr(method: &GrpcMethod) -> Result<(), Failure> {
    if method.is_dapr() {
        let text = format!("method {method} belongs to Dapr itself and is not proxied");
        return Err(Failure::new(Reason::ProxyRefused, text));
    }
    Ok(())
}

fn speaks_grpc(app: &AppChannel) -> Result<(), Failure> {
    let protocol = app.config().protocol;
    if protocol.is_grpc() {
        return Ok(());
    }
    let text = format!(
        "the app speaks {protocol}: gRPC calls reach apps whose protocol is \"grpc\" or \"grpcs\" \
         (flag --app-protocol, annotation dapr.io/app-protocol)"
    );
    Err(Failure::new(Reason::AppSpeaksHttp, text))
}

/// The metadata of a call for whoever gets it next.
fn to_next(metadata: &mut HeaderMap, identity: &Identity) {
    headers::proxied_request(metadata, identity);
    // Some servers of gRPC take no call without it.
    metadata.insert(TE, HeaderValue::from_static("trailers"));
}
