//! Sockets that are not there, hang, or speak something else.

use std::os::unix::fs::symlink;

use sidegate::components::catalog::Backend;
use sidegate::components::pubsub::Outgoing;
use sidegate::testing::contract;
use sidegate::testing::fake_component::FakeComponent;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tonic::Code;

use super::World;

const CREATE: &str = "CREATE_COMPONENT_FAILURE";
const INIT: &str = "INIT_COMPONENT_FAILURE";

#[tokio::test]
async fn says_where_a_socket_was_looked_for() {
    let world = World::new();
    for (component_type, what) in [
        ("pubsub.own", "couldn't find pub/sub pubsub.own/v1"),
        ("bindings.own", "couldn't find binding bindings.own/v1"),
        (
            "secretstores.own",
            "couldn't find secret store secretstores.own/v1",
        ),
        ("state.own", "couldn't find state store state.own/v1"),
    ] {
        let (code, text) = world.refusal(component_type).await;
        assert_eq!(code, CREATE);
        assert!(text.starts_with(what), "{text}");
        let end = "; nor is there a pluggable component: there is no socket DIR/own.sock";
        assert!(text.ends_with(end), "{text}");
    }
}

#[tokio::test]
async fn other_versions_than_the_first_are_not_looked_for() {
    let world = World::new();
    let _component = world.start("own");
    let mut component = contract::component("pubsub.own", &[]);
    component.version = "v2".to_owned();
    let error = world.build(&component).await.err().unwrap();
    let text = "couldn't find pub/sub pubsub.own/v2; accepted are ";
    assert!(error.to_string().starts_with(text), "{error}");
    assert!(world.behaviour.callers("Init").is_empty());
}

#[tokio::test]
async fn a_socket_has_to_serve_the_category_of_the_type() {
    let world = World::new();
    let _component = world.start("own");
    world
        .behaviour
        .serves(&["dapr.proto.components.v1.PubSub", "odd\nservice"]);
    let (code, text) = world.refusal("secretstores.own").await;
    assert_eq!(code, CREATE);
    let end = "DIR/own.sock serves dapr.proto.components.v1.PubSub, odd\\nservice, and not \
               dapr.proto.components.v1.SecretStore";
    assert!(text.ends_with(end), "{text}");
}

#[tokio::test]
async fn types_of_the_build_cannot_be_taken_over() {
    let world = World::new();
    let _component = world.start("in-memory");
    let component = contract::component("pubsub.in-memory", &[]);
    let built = world.build(&component).await.ok().unwrap();
    let Backend::PubSub(pubsub) = built else {
        panic!("it is no pub/sub");
    };
    let message = Outgoing {
        data: "hello".into(),
        content_type: None,
        metadata: [].into(),
    };
    pubsub.broker.publish("t", message).await.unwrap();
    assert!(world.behaviour.published().is_empty());
    assert!(world.behaviour.inits().is_empty());
}

#[tokio::test]
async fn links_out_of_the_folder_and_files_are_no_sockets() {
    let (world, outside) = (World::new(), tempfile::tempdir().unwrap());
    let _component = FakeComponent::start(outside.path(), "own", &world.behaviour);
    let path = |name: &str| world.folder.path().join(name);
    symlink(outside.path().join("own.sock"), path("own.sock")).unwrap();
    std::fs::write(path("file.sock"), "").unwrap();
    for name in ["own", "file"] {
        let (code, text) = world.refusal(&format!("pubsub.{name}")).await;
        assert_eq!(code, INIT);
        let expected = format!(
            "pluggable component: DIR/{name}.sock is not a socket; links to sockets are not \
             followed"
        );
        assert_eq!(text, expected);
    }
    assert!(world.behaviour.inits().is_empty());
}

#[tokio::test]
async fn a_socket_that_hangs_or_speaks_rubbish_is_refused() {
    let world = World::new();
    let bind = |name: &str| UnixListener::bind(world.folder.path().join(name)).unwrap();
    let _nobody = bind("silent.sock");
    let rubbish = bind("rubbish.sock");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = rubbish.accept().await.unwrap();
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        }
    });
    let (code, text) = world.refusal("pubsub.silent").await;
    assert_eq!(code, INIT);
    let late = "pluggable component DIR/silent.sock: it did not say within 3s which services it \
                has";
    assert_eq!(text, late);
    let (code, text) = world.refusal("pubsub.rubbish").await;
    assert_eq!(code, INIT);
    let start = "pluggable component DIR/rubbish.sock: ";
    assert!(text.starts_with(start), "{text}");
}

#[tokio::test]
async fn why_a_component_does_not_start_is_told_without_its_settings() {
    let world = World::new();
    let _component = world.start("own");
    let text = "cannot log in with hunter2";
    world.behaviour.fails("Init", Code::Unauthenticated, text);
    for component_type in [
        "pubsub.own",
        "bindings.own",
        "secretstores.own",
        "state.own",
    ] {
        let (code, text) = world.refusal(component_type).await;
        assert_eq!(code, INIT);
        let expected = "pluggable component DIR/own.sock: cannot log in with *** (Unauthenticated)";
        assert_eq!(text, expected);
    }
}

#[tokio::test]
async fn one_component_serves_several_instances() {
    let world = World::new();
    let _component = world.start("own");
    let mut running = Vec::new();
    for name in ["one", "two"] {
        let mut component = contract::component("pubsub.own", &[("name", name)]);
        component.name = name.to_owned();
        let Ok(Backend::PubSub(pubsub)) = world.build(&component).await else {
            panic!("it starts");
        };
        running.push(pubsub);
    }
    for pubsub in &running {
        let message = Outgoing {
            data: "hello".into(),
            content_type: None,
            metadata: [].into(),
        };
        pubsub.broker.publish("t", message).await.unwrap();
    }
    assert_eq!(world.behaviour.callers("Publish"), ["one", "two"]);
    let names: Vec<_> = world
        .behaviour
        .inits()
        .iter()
        .map(|settings| settings["name"].clone())
        .collect();
    assert_eq!(names, ["one", "two"]);
}
