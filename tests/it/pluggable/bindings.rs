//! Bindings, both ways.

use bytes::Bytes;
use sidegate::components::binding::{BindingComponent, BindingRequest};
use sidegate::components::catalog::Backend;
use sidegate::components::message::{Metadata, Settlement};
use sidegate::testing::contract;
use sidegate::testing::eventually::eventually;
use tonic::Code;

use super::{World, failed};

async fn binding(world: &World, properties: &[(&str, &str)]) -> BindingComponent {
    let component = contract::component("bindings.own", properties);
    match world.build(&component).await {
        Ok(Backend::Binding(binding)) => binding,
        Ok(_) => panic!("it is no binding"),
        Err(error) => panic!("{error}"),
    }
}

fn request(operation: &str) -> BindingRequest {
    BindingRequest {
        operation: operation.to_owned(),
        data: "hello".into(),
        metadata: Metadata::new(),
    }
}

#[tokio::test]
async fn does_operations() {
    let world = World::new();
    let _component = world.start("own");
    let binding = binding(&world, &[("password", "hunter2")]).await;
    let output = binding.output.unwrap();
    assert_eq!(*output.operations(), ["create", "shout"]);
    let answer = output.invoke(request("shout")).await.unwrap();
    assert_eq!(answer.data, Some(Bytes::from("HELLO")));
    assert_eq!(answer.metadata["operation"], "shout");
    for (code, may_heal) in [(Code::InvalidArgument, false), (Code::Unknown, true)] {
        world
            .behaviour
            .fails("Invoke", code, "hunter2 is refused by the server");
        let failure = output.invoke(request("shout")).await.unwrap_err();
        let text = format!("*** is refused by the server ({code:?})");
        assert_eq!(failure.text, text);
        assert_eq!(failure.may_heal, may_heal);
    }
}

#[tokio::test]
async fn takes_events_and_gives_back_what_the_app_answered() {
    let world = World::new();
    let _component = world.start("own");
    let settings = [("direction", "input"), ("route", "/events")];
    let binding = binding(&world, &settings).await;
    assert!(
        binding
            .settings
            .direction
            .is_some_and(|way| way.input && !way.output)
    );
    assert_eq!(binding.settings.route.as_deref(), Some("/events"));
    let mut intake = binding.input.unwrap().read().await.unwrap();
    assert!(intake.concurrency() > 1);
    world.behaviour.events.push("one");
    failed(intake.next().await.unwrap(), "not now").await;
    let delivery = intake.next().await.unwrap();
    assert_eq!((&*delivery.topic, &*delivery.data), ("store", &b"one"[..]));
    assert_eq!(delivery.content_type, None);
    let answer = Settlement::Done(Some("thanks".into()));
    delivery.acknowledge.settle(answer).await.unwrap();
    eventually("it is done", async || {
        let done = world.behaviour.events.done();
        (done == [(1, Bytes::from("thanks"))]).then_some(())
    })
    .await;
    assert_eq!(world.behaviour.events.failures(), ["not now"]);
}

#[tokio::test]
async fn has_the_ways_that_the_component_serves() {
    let world = World::new();
    let _component = world.start("own");
    world
        .behaviour
        .serves(&["dapr.proto.components.v1.InputBinding"]);
    let one = binding(&world, &[]).await;
    assert!(one.input.is_some() && one.output.is_none());
    world
        .behaviour
        .serves(&["dapr.proto.components.v1.OutputBinding", "other"]);
    let other = binding(&world, &[]).await;
    assert!(other.input.is_none() && other.output.is_some());
    assert_eq!(world.behaviour.inits().len(), 2);
}
