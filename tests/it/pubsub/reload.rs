//! Subscriptions and brokers that change while messages are on their way.

use sidegate::testing::eventually::eventually;

use super::{Files, Running, TestApp, in_memory, in_memory_with, subscription};

#[tokio::test]
async fn subscriptions_are_added_changed_renamed_and_deleted() {
    let files = Files::new();
    files.write("p.yaml", &in_memory("p"));
    let app = TestApp::start().await;
    let running = Running::start(&files, Some(app.channel())).await;
    files.write("s.yaml", &subscription("s", "t", "/first"));
    running.reaches(&app, "t", "/first").await;
    files.write("s.yaml", &subscription("s", "t", "/second"));
    running.reaches(&app, "t", "/second").await;
    files.write("s.yaml", &subscription("renamed", "u", "/third"));
    running.reaches(&app, "u", "/third").await;
    running.subscribed(&["u"]).await;
    files.remove("s.yaml");
    running.subscribed(&[]).await;
}

#[tokio::test]
async fn a_message_in_flight_is_finished_by_the_subscription_that_took_it() {
    let (files, app, running) = Running::at("/old").await;
    let before = app.arrived("/old").len();
    app.answers(false);
    running.publish("t", &["in flight"]).await.unwrap();
    eventually("it is in flight", async || {
        (app.arrived("/old").len() > before).then_some(())
    })
    .await;
    files.write("s.yaml", &subscription("s", "t", "/new"));
    eventually("the change is there", async || {
        let views = running.current.views();
        (views[0].rules[0].1 == "/new").then_some(())
    })
    .await;
    running.publish("t", &["after"]).await.unwrap();
    app.answers(true);
    app.has_answered("/new", &["after"]).await;
    let old = app.arrived("/old");
    let times = old.iter().filter(|id| *id == "in flight").count();
    assert_eq!(times, 1, "{old:?}");
}

#[tokio::test]
async fn a_bad_change_leaves_the_running_subscription() {
    let (files, app, running) = Running::at("/t").await;
    let bad = subscription("s", "t", "/t").replace("route: /t", "routes: {}");
    files
        .write("s.yaml", &bad)
        .write("other.yaml", &subscription("other", "u", "/u"));
    // The other one shows that the change was seen.
    running.reaches(&app, "u", "/u").await;
    running.publish("t", &["last"]).await.unwrap();
    eventually("it still runs", async || {
        app.arrived("/t").contains(&"last".to_owned()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_subscription_took_is_not_lost_while_it_changes() {
    let (files, app, running) = Running::at("/a").await;
    let ids: Vec<_> = (0..300).map(|number| format!("m{number:03}")).collect();
    for (at, chunk) in ids.chunks(50).enumerate() {
        let route = if at % 2 == 0 { "/b" } else { "/a" };
        files.write("s.yaml", &subscription("s", "t", route));
        for id in chunk {
            running.publish("t", &[id]).await.unwrap();
        }
        eventually("the change is there", async || {
            let views = running.current.views();
            (views[0].rules[0].1 == route).then_some(())
        })
        .await;
    }
    let got = eventually("all have come", async || {
        let mut got: Vec<_> = [app.arrived("/a"), app.arrived("/b")].concat();
        got.retain(|id| id.starts_with('m'));
        (got.len() >= ids.len()).then_some(got)
    })
    .await;
    let mut sorted = got.clone();
    sorted.sort();
    assert_eq!(sorted, ids, "each came once");
}

#[tokio::test]
async fn a_broker_that_goes_and_comes_takes_its_subscriptions_along() {
    let (files, app, running) = Running::at("/t").await;
    files.remove("p.yaml");
    running.subscribed(&[]).await;
    let before = app.arrived("/t").len();
    let changed = "[{name: allowedTopics, value: t}]";
    files.write("p.yaml", &in_memory_with("p", changed));
    running.subscribed(&["t"]).await;
    eventually("messages come again", async || {
        running.publish("t", &["t again"]).await.unwrap();
        (app.arrived("/t").len() > before).then_some(())
    })
    .await;
}
