//! Lists and watches the objects of one kind.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::Status;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use tokio::time::timeout;

use super::{Change, Kind, Objects, Problem};
use crate::process::kubernetes::Cluster;
use crate::process::tasks::with_causes;
use crate::resources::decode::Document;

/// How long changes are gathered, since they often come several at once.
const GATHER: Duration = Duration::from_millis(50);
/// How the API server names the account in a refusal.
const USER: &str = "User \"";

/// The objects that a watch is about.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// Their namespace.
    pub namespace: Arc<str>,
    /// Objects with scopes that do not name this app are left out.
    pub app_id: &'a str,
    /// The one object, where it is one only.
    pub name: Option<&'a str>,
}

/// The objects of one kind, kept as they are in the cluster for as long as somebody waits for
/// [`Watch::changed`]. It goes on by itself after failures, with growing pauses.
pub struct Watch {
    kind: &'static Kind,
    namespace: Arc<str>,
    events: BoxStream<'static, watcher::Result<Event<DynamicObject>>>,
    objects: Objects,
    problem: Option<Problem>,
}

impl Watch {
    /// Nothing is asked for yet.
    pub fn new(cluster: &Cluster, kind: &'static Kind, selection: &Selection<'_>) -> Self {
        let api = api(cluster, kind, &selection.namespace);
        let config = watcher::Config::default();
        let config = match selection.name {
            Some(name) => config.fields(&format!("metadata.name={name}")),
            None => config,
        };
        Self {
            kind,
            namespace: Arc::clone(&selection.namespace),
            events: watch(api, config).default_backoff().boxed(),
            objects: Objects::new(selection.app_id),
            problem: None,
        }
    }

    /// Waits until the objects are listed, or until it is known that they cannot be.
    ///
    /// # Errors
    ///
    /// What is in the way, also where it may be over soon and `patience` ended.
    pub async fn listed(&mut self, patience: Duration) -> Result<(), Problem> {
        let settled = async {
            while !self.objects.are_listed()
                && !self.problem.as_ref().is_some_and(Problem::is_lasting)
            {
                self.step().await;
            }
        };
        let in_time = timeout(patience, settled).await.is_ok();
        if self.objects.are_listed() {
            return Ok(());
        }
        if !in_time && self.problem.is_none() {
            self.problem = Some(self.failed("list", "no answer".to_owned()));
        }
        self.problem.clone().map_or(Ok(()), Err)
    }

    /// Waits until something is other than before: an object, or what is in the way.
    pub async fn changed(&mut self) {
        while !self.step().await {}
        let _ = timeout(GATHER, async {
            loop {
                self.step().await;
            }
        })
        .await;
    }

    /// The objects as they are now, or were when they could last be read.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &Document> {
        self.objects.iter()
    }

    /// What is in the way of reading them now.
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// Takes the next event over; whether anything is other than before.
    async fn step(&mut self) -> bool {
        match self.events.next().await {
            Some(Ok(event)) => {
                let change = self.change(event);
                // That a list begins says nothing yet.
                let has_answered = !matches!(change, Change::Begin);
                let was_in_the_way = has_answered && self.problem.take().is_some();
                self.objects.apply(change) || was_in_the_way
            }
            Some(Err(error)) => self.fail(&error),
            // It never ends.
            None => std::future::pending().await,
        }
    }

    fn change(&self, event: Event<DynamicObject>) -> Change {
        let named = |object: DynamicObject| {
            let name = object.metadata.name.unwrap_or_default();
            let document = self.kind.document(&self.namespace, &name, object.data);
            (name, document)
        };
        match event {
            Event::Init => Change::Begin,
            Event::InitApply(object) => {
                let (name, document) = named(object);
                Change::Listed(name, document)
            }
            Event::InitDone => Change::Complete,
            Event::Apply(object) => {
                let (name, document) = named(object);
                Change::Put(name, document)
            }
            Event::Delete(object) => Change::Gone(object.metadata.name.unwrap_or_default()),
        }
    }

    fn fail(&mut self, error: &watcher::Error) -> bool {
        // The server forgot where the watch was (410): it begins anew, and nothing is lost.
        if status(error).is_some_and(|status| status.code == 410) {
            return false;
        }
        metrics::counter!("sidegate_resource_watch_failures_total", "kind" => self.kind.kind)
            .increment(1);
        let problem = Some(self.problem_of(error));
        let is_new = self.problem != problem;
        self.problem = problem;
        is_new
    }

    fn problem_of(&self, error: &watcher::Error) -> Problem {
        let Kind {
            group,
            api_version,
            kind,
            plural,
            ..
        } = *self.kind;
        let verb = match error {
            watcher::Error::InitialListFailed(_) => "list",
            _ => "watch",
        };
        match status(error) {
            Some(status) if status.code == 403 => Problem::Forbidden {
                account: account(&status.message),
                verb,
                plural,
                group,
                namespace: Arc::clone(&self.namespace),
            },
            Some(status) if status.code == 404 => Problem::NoSuchKind {
                kind,
                api_version,
                plural,
                group,
            },
            Some(status) if status.code == 401 => Problem::Unauthorized,
            Some(status) => self.failed(verb, status.message.clone()),
            None => self.failed(verb, with_causes(error)),
        }
    }

    fn failed(&self, verb: &'static str, cause: String) -> Problem {
        Problem::Failed {
            verb,
            plural: self.kind.plural,
            group: self.kind.group,
            namespace: Arc::clone(&self.namespace),
            cause,
        }
    }
}

fn api(cluster: &Cluster, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version.to_owned(),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    };
    Api::namespaced_with(cluster.client.clone(), namespace, &resource)
}

/// What the API server answered, where it did.
fn status(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

/// The account that the API server names in a refusal.
fn account(message: &str) -> String {
    let named = message
        .split_once(USER)
        .and_then(|(_, rest)| rest.split_once('"'));
    match named {
        Some((user, _)) => match user.strip_prefix("system:serviceaccount:") {
            Some(account) => format!("service account {:?}", account.replacen(':', "/", 1)),
            None => format!("user {user:?}"),
        },
        None => "the sidecar's service account".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_account_of_a_refusal() {
        for (message, expected) in [
            (
                "x is forbidden: User \"system:serviceaccount:ns:app\" cannot list",
                "service account \"ns/app\"",
            ),
            ("x: User \"admin\" cannot", "user \"admin\""),
            ("no", "the sidecar's service account"),
        ] {
            assert_eq!(account(message), expected);
        }
    }
}
