//! The connection of one component: made anew when it breaks, and started each time.

use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use tracing::{info, warn};

use super::line::{Broken, Instance, Line, MAX_MESSAGE, Wire, is_broken, is_unknown_method};
use super::scrub::Scrubber;
use super::service::Service;
use super::socket::Socket;
use crate::base::back_off::BackOff;
use crate::base::secret::Secret;
use crate::proto::components::common::{InitRequest, MetadataRequest};

/// How long a component may take, and how often it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From one Ping to the next.
    pub(super) ping_every: Duration,
    /// For the answer to a Ping. After it the connection is given up.
    pub(super) ping: Duration,
    /// For one call.
    pub(super) call: Duration,
    /// A call waits so long for a connection that is being made anew.
    pub(super) wait: Duration,
    /// To connect again and for the answer to Init. The first Init has the time that the component
    /// gives it.
    pub(super) init: Duration,
    /// The first and the longest pause before another try to connect.
    pub(super) pauses: [Duration; 2],
}

impl Default for Times {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(10),
            ping: Duration::from_secs(20),
            call: Duration::from_secs(30),
            wait: Duration::from_secs(3),
            init: Duration::from_secs(30),
            pauses: [Duration::from_millis(100), Duration::from_secs(5)],
        }
    }
}

/// A call that failed. The texts hold no setting of the component.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Failure {
    /// The component said no. The details are an encoded `google.rpc.Status`, or empty.
    #[error("{text} ({code:?})")]
    Status {
        code: Code,
        text: String,
        details: Vec<u8>,
    },
    /// It cannot be reached, or did not answer in time.
    #[error("{0}")]
    Unreachable(String),
}

impl From<Broken> for Failure {
    fn from(Broken(text): Broken) -> Self {
        Self::Unreachable(text)
    }
}

impl Failure {
    /// Whether the component would refuse again.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Status {
                code: Code::InvalidArgument
                    | Code::NotFound
                    | Code::AlreadyExists
                    | Code::PermissionDenied
                    | Code::FailedPrecondition
                    | Code::OutOfRange
                    | Code::Unimplemented
                    | Code::Unauthenticated,
                ..
            }
        )
    }
}

/// What is on the other side.
pub(super) struct Target {
    pub(super) service: Service,
    socket: Socket,
    /// The name of the component.
    pub(super) component: String,
    instance: Instance,
    properties: Vec<(String, Secret)>,
    scrubber: Scrubber,
    times: Times,
    up: Gauge,
}

impl Target {
    /// A service behind a socket, for the component of a name with its settings.
    pub(super) fn new(
        socket: Socket,
        service: Service,
        component: &str,
        properties: Vec<(String, Secret)>,
    ) -> Result<Self, Failure> {
        let instance = component.parse().map_err(|_| {
            Failure::Unreachable("the name of the component can be no metadata of gRPC".to_owned())
        })?;
        let up = metrics::gauge!("sidegate_pluggable_component_up",
            "component" => component.to_owned(), "service" => service.name());
        Ok(Self {
            service,
            socket,
            component: component.to_owned(),
            instance,
            scrubber: Scrubber::new(properties.iter().map(|(_, value)| value)),
            properties,
            times: Times::default(),
            up,
        })
    }

    #[cfg(test)]
    pub(super) fn with_times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// What a status means.
    pub(super) fn failure(&self, status: &Status) -> Failure {
        let text = self.scrubber.clean(status.message());
        if is_broken(status) {
            let path = self.socket.path.display();
            return Failure::Unreachable(format!("the connection to {path} broke: {text}"));
        }
        Failure::Status {
            code: status.code(),
            text,
            details: status.details().to_vec(),
        }
    }

    /// What is told of a text that the component sent.
    pub(super) fn clean(&self, text: &str) -> String {
        self.scrubber.clean(text)
    }

    /// A new connection, over which the component was started.
    async fn line(&self) -> Result<Line, Failure> {
        let checked = self.socket.check().await;
        checked.map_err(|error| Failure::Unreachable(error.to_string()))?;
        let mut line = Line::connect(&self.socket.path, Some(self.instance.clone())).await?;
        let wire = line.wire.clone();
        let properties = self.properties.iter();
        let request = InitRequest {
            metadata: Some(MetadataRequest {
                // Exposed to the component, whose settings they are.
                properties: properties
                    .map(|(name, value)| (name.clone(), value.expose().to_owned()))
                    .collect(),
            }),
        };
        let starting = async {
            let path = self.service.path("Init");
            let answer = wire.unary::<_, ()>(path, request, MAX_MESSAGE).await;
            answer.map_err(|status| self.failure(&status))
        };
        line.during(starting).await?;
        Ok(line)
    }

    /// Connects until it succeeds.
    async fn reconnect(&self) -> Line {
        let mut back_off = BackOff::new(self.times.pauses);
        let mut told = String::new();
        loop {
            sleep(back_off.another()).await;
            let time = self.times.init;
            let problem = match timeout(time, self.line()).await {
                Ok(Ok(line)) => return line,
                Ok(Err(failure)) => failure.to_string(),
                Err(_) => format!("it did not start within {time:?}"),
            };
            if problem != told {
                let (component, socket) = (&self.component, self.socket.path.display());
                warn!(component, %socket, error = problem, "A pluggable component is not back yet");
                told = problem;
            }
        }
    }

    /// Keeps a connection going until it is of no use any more, and tells why.
    async fn keep(&self, line: &mut Line) -> String {
        let wire = line.wire.clone();
        tokio::select! {
            Broken(why) = line.ended() => why,
            () = self.pings(&wire) => {
                format!("it did not answer a Ping within {:?}", self.times.ping)
            }
        }
    }

    /// Asks now and then until there is no answer.
    async fn pings(&self, wire: &Wire) {
        let mut was_well = true;
        loop {
            sleep(self.times.ping_every).await;
            let asking = wire.unary::<(), ()>(self.service.path("Ping"), (), MAX_MESSAGE);
            let Ok(answer) = timeout(self.times.ping, asking).await else {
                return;
            };
            // One that has no Ping is there all the same.
            let problem = answer.err().filter(|status| !is_unknown_method(status));
            let is_well = problem.is_none();
            let component = &self.component;
            if let Some(status) = problem.filter(|_| was_well) {
                let error = self.failure(&status);
                warn!(component, %error, "A pluggable component says that it is not well");
            } else if is_well && !was_well {
                info!(component, "A pluggable component is well again");
            }
            self.up.set(if is_well { 1.0 } else { 0.0 });
            was_well = is_well;
        }
    }
}

/// A connection that lasts. It ends when it is dropped.
pub(super) struct Connection {
    pub(super) target: Arc<Target>,
    wires: watch::Receiver<Option<Wire>>,
    _keeper: JoinSet<()>,
}

impl Connection {
    /// Connects and starts the component. Setting a limit on the time is the caller's.
    pub(super) async fn open(target: Target) -> Result<Self, Failure> {
        let line = target.line().await?;
        let target = Arc::new(target);
        let (changes, wires) = watch::channel(Some(line.wire.clone()));
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(Arc::clone(&target), line, changes));
        Ok(Self {
            target,
            wires,
            _keeper: keeper,
        })
    }

    /// The connection as it is now; where it is being made anew, after a while.
    pub(super) async fn wire(&self) -> Result<Wire, Failure> {
        let mut wires = self.wires.clone();
        let waiting = wires.wait_for(Option::is_some);
        let found = timeout(self.target.times.wait, waiting).await;
        let wire = found.ok().and_then(|found| found.ok()?.clone());
        wire.ok_or_else(|| {
            let path = self.target.socket.path.display();
            Failure::Unreachable(format!("the component at {path} is not there"))
        })
    }

    /// A call with one message each way, that of the answer of `most` bytes. It has no limit on
    /// the time.
    pub(super) async fn call_untimed<Q, A>(
        &self,
        method: &str,
        message: Q,
        most: usize,
    ) -> Result<A, Failure>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let wire = self.wire().await?;
        let path = self.target.service.path(method);
        let answer = wire.unary(path, message, most).await;
        answer.map_err(|status| self.target.failure(&status))
    }

    /// The same with the limits of every call.
    pub(super) async fn call<Q, A>(&self, method: &str, message: Q) -> Result<A, Failure>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let time = self.target.times.call;
        let calling = self.call_untimed(method, message, MAX_MESSAGE);
        match timeout(time, calling).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Unreachable(format!(
                "the component did not answer {method} within {time:?}"
            ))),
        }
    }
}

/// Has a connection at all times that there can be one.
async fn keep(target: Arc<Target>, mut line: Line, changes: watch::Sender<Option<Wire>>) {
    let (component, service) = (&target.component, target.service.name());
    loop {
        target.up.set(1.0);
        let error = target.keep(&mut line).await;
        target.up.set(0.0);
        changes.send_replace(None);
        // Before the next, so that the component never has two.
        drop(line);
        warn!(
            component,
            service, error, "A pluggable component is gone; connecting again"
        );
        line = target.reconnect().await;
        changes.send_replace(Some(line.wire.clone()));
        info!(component, service, "A pluggable component is back");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::eventually::eventually;
    use crate::testing::fake_component::{Behaviour, FakeComponent};

    fn target(folder: &Path, times: Times) -> Target {
        let socket = Socket {
            name: "own".to_owned(),
            path: folder.join("own.sock"),
        };
        let properties = vec![("password".to_owned(), Secret::new("hunter2"))];
        let target = Target::new(socket, Service::PubSub, "c", properties).unwrap();
        target.with_times(times)
    }

    fn hasty() -> Times {
        Times {
            ping_every: Duration::from_millis(10),
            ping: Duration::from_millis(300),
            call: Duration::from_millis(300),
            wait: Duration::from_secs(60),
            init: Duration::from_secs(60),
            pauses: [Duration::from_millis(10); 2],
        }
    }

    #[tokio::test]
    async fn a_component_that_answers_no_ping_is_given_up_and_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let behaviour = Arc::<Behaviour>::default();
        let _component = FakeComponent::start(folder.path(), "own", &behaviour);
        let open = Connection::open(target(folder.path(), hasty()));
        let _connection = open.await.unwrap();
        eventually("it is asked", async || {
            (behaviour.callers("Ping").len() > 2).then_some(())
        })
        .await;
        assert_eq!(behaviour.inits().len(), 1);
        behaviour.hangs("Ping", true);
        eventually("it is started again", async || {
            (behaviour.inits().len() > 2).then_some(())
        })
        .await;
        behaviour.hangs("Ping", false);
        let inits = behaviour.inits();
        assert!(
            inits
                .iter()
                .all(|settings| settings["password"] == "hunter2")
        );
    }

    #[tokio::test]
    async fn a_component_without_a_ping_or_not_well_keeps_its_connection() {
        let folder = tempfile::tempdir().unwrap();
        let behaviour = Arc::<Behaviour>::default();
        let _component = FakeComponent::start(folder.path(), "own", &behaviour);
        let open = Connection::open(target(folder.path(), hasty()));
        let connection = open.await.unwrap();
        for code in [Code::Unimplemented, Code::Internal] {
            behaviour.fails("Ping", code, "no");
            let before = behaviour.callers("Ping").len();
            eventually("it is asked on", async || {
                (behaviour.callers("Ping").len() > before + 3).then_some(())
            })
            .await;
        }
        assert_eq!(connection.call::<(), ()>("Publish", ()).await, Ok(()));
        assert_eq!(behaviour.inits().len(), 1);
    }

    #[tokio::test]
    async fn a_call_that_hangs_or_fails_ends_and_shows_no_setting() {
        let folder = tempfile::tempdir().unwrap();
        let behaviour = Arc::<Behaviour>::default();
        let component = FakeComponent::start(folder.path(), "own", &behaviour);
        let times = Times {
            wait: Duration::from_millis(50),
            ..hasty()
        };
        let open = Connection::open(target(folder.path(), times));
        let connection = open.await.unwrap();
        let call = async || connection.call::<(), ()>("Publish", ()).await;
        behaviour.hangs("Publish", true);
        let text = "the component did not answer Publish within 300ms";
        assert_eq!(call().await, Err(Failure::Unreachable(text.to_owned())));
        behaviour.hangs("Publish", false);
        behaviour.fails("Publish", Code::InvalidArgument, "\"hunter2\" is\nwrong");
        let failure = call().await.unwrap_err();
        assert_eq!(failure.to_string(), "\"***\" is wrong (InvalidArgument)");
        assert!(failure.is_final());
        drop(component);
        let path = folder.path().join("own.sock");
        let text = format!("the component at {} is not there", path.display());
        eventually("it is missed", async || {
            (call().await == Err(Failure::Unreachable(text.clone()))).then_some(())
        })
        .await;
    }
}
