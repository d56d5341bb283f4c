//! Which sockets there are, and what they serve.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::future::join_all;
use tracing::{info, warn};

use super::reflection::services;
use super::service::Service;
use super::socket::{Folder, Socket, SocketError};
use crate::base::environment::Environment;
use crate::components::catalog::{self, Host};
use crate::components::{Error, ResolvedComponent};

/// A socket that serves a type.
pub(super) struct Found {
    pub(super) socket: Socket,
    pub(super) services: BTreeSet<Service>,
}

/// Looks for the type of a component, which this build does not have, as `unknown` says. It has to
/// serve one of these.
pub(super) async fn find(
    component: &ResolvedComponent,
    host: Host<'_>,
    wanted: &[Service],
    unknown: Error,
) -> Result<Found, Error> {
    let folder = Folder::of(host.environment);
    let name = wanted
        .first()
        .and_then(|service| component.component_type.strip_prefix(service.category()))
        .unwrap_or_default();
    if !catalog::is_first(&component.version) {
        return Err(unknown);
    }
    let not_plugged = |why: String| Error::NotPlugged {
        unknown: Box::new(unknown),
        why,
    };
    let socket = match folder.find(name).await {
        Ok(socket) => socket,
        Err(error @ SocketError::Missing(_)) => return Err(not_plugged(error.to_string())),
        Err(error) => return Err(Error::Init(format!("pluggable component: {error}"))),
    };
    let answer = services(&socket).await;
    let answer = answer.map_err(|problem| {
        let path = socket.path.display();
        Error::Init(format!("pluggable component {path}: {problem}"))
    })?;
    if !wanted.iter().any(|service| answer.known.contains(service)) {
        let accepted: Vec<_> = wanted.iter().map(|service| service.name()).collect();
        return Err(not_plugged(format!(
            "{} serves {}, and not {}",
            socket.path.display(),
            listed(&answer.names),
            accepted.join(" or ")
        )));
    }
    Ok(Found {
        socket,
        services: answer.known,
    })
}

/// The folder in which pluggable components are looked for.
pub fn folder(environment: &Environment) -> PathBuf {
    Folder::of(environment).path().to_owned()
}

/// Tells the log which pluggable components there are now. What does not answer is warned about.
/// Components ask again when they are loaded.
pub async fn report(environment: &Environment) {
    let folder = Folder::of(environment);
    let sockets = match folder.sockets().await {
        Ok(sockets) => sockets,
        Err(error) => {
            warn!(%error, "Pluggable components cannot be looked for");
            return;
        }
    };
    if sockets.is_empty() {
        return;
    }
    folder.warn_of_strangers().await;
    join_all(sockets.iter().map(tell)).await;
}

async fn tell(socket: &Socket) {
    let path = socket.path.display();
    let services = match services(socket).await {
        Ok(services) => services,
        Err(error) => {
            warn!(socket = %path, %error, "A socket is no pluggable component that can be used");
            return;
        }
    };
    if services.known.is_empty() {
        let names = listed(&services.names);
        warn!(socket = %path, services = names, "A socket serves no pluggable component");
    }
    for service in services.known {
        let component_type = format!("{}{}", service.category(), socket.name.to_lowercase());
        if catalog::has_type(&component_type) {
            warn!(
                socket = %path,
                "{component_type} is built in, and no pluggable component can take its place"
            );
        } else {
            let service = service.name();
            info!("Pluggable component {component_type} was found for {service}");
        }
    }
}

fn listed(names: &[String]) -> String {
    /// The most that are told.
    const MOST: usize = 16;
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let names: Vec<_> = names
        .iter()
        .take(MOST)
        .map(|name| name.escape_debug().to_string())
        .collect();
    names.join(", ")
}
