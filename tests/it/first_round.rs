//! The first round of a turn, which begins with the turn where nobody has to be asked first.

use chat::{
    event::{Event, Logged},
    ids::ConversationId,
    outcome::TurnEnd,
};
use demo::model::Reply;
use harness::{Posted, User, World};
use serde_json::json;

use crate::look::{SALES, accepted, answer, assert_numbered, end, names};

/// A conversation whose servers are connected.
async fn connected(user: &User) -> Posted {
    user.ask_to_end(SALES).await
}

/// Asks what the model never answers: the log as it is when the message was taken.
async fn taken(world: &World, user: &User, conversation: &ConversationId) -> Vec<Logged> {
    world.model().queue(Reply::hang());
    let posted = user.ask_in(conversation, "And now?").await;
    let log = user.log(&posted.turn).await;
    assert_numbered(&log);
    accepted(&user.cancel(&posted.turn).await);
    user.wait_end(&posted.turn).await;
    log
}

/// The tools that a turn's first round was offered.
fn offered(log: &[Logged]) -> Vec<String> {
    let ready = log.iter().find_map(|logged| {
        let Event::CatalogReady(ready) = &logged.event else {
            return None;
        };
        Some(ready)
    });
    let functions = ready.unwrap().functions.iter();
    functions.map(|function| function.tool.clone()).collect()
}

#[tokio::test]
async fn what_is_at_hand_is_recorded_with_the_turn() {
    let world = World::start().await;
    let ana = world.ana();
    let first = connected(&ana).await;
    let before = ana.log(&first.turn).await;
    let log = taken(&world, &ana, &first.conversation).await;
    assert_eq!(offered(&log), offered(&before));
    let log = names(&log);
    let (begins, round) = (log.first(), &log[log.len() - 2..]);
    assert_eq!(begins, Some(&"turn.started"), "{log:?}");
    assert_eq!(round, ["catalog.ready", "round.started"], "{log:?}");
    assert!(log.contains(&"server.state"), "{log:?}");

    // What was switched off is not offered.
    let path = format!("/api/conversations/{}", first.conversation);
    let tool = json!({ "server": "Database", "tool": "write_query" });
    let off = json!({ "off": { "servers": [], "tools": [tool] } });
    ana.patch(&path, &off).await.expect(200);
    let log = taken(&world, &ana, &first.conversation).await;
    let mut expected = offered(&before);
    expected.retain(|tool| tool != "write_query");
    assert_eq!(offered(&log), expected);
    world.finish().await;
}

#[tokio::test]
async fn a_first_round_that_was_killed_is_sent_again() {
    let mut world = World::build().start_with_process().await;
    let ana = world.ana();
    let first = connected(&ana).await;
    let asked = world.model().received();
    world.model().queue(Reply::hang());
    let posted = ana.ask_in(&first.conversation, "And now?").await;
    world.model().wait_received(asked + 1).await;
    world.toolgate().kill().await;
    world.model().queue(Reply::text("Still here."));
    world.toolgate().start().await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered, "{transcript:#?}");
    assert_eq!(answer(&transcript), "Still here.");
    let log = ana.log(&posted.turn).await;
    assert_numbered(&log);
    let started = names(&log).into_iter();
    let started = started.filter(|name| *name == "round.started").count();
    assert_eq!(started, 2, "{:?}", names(&log));
    world.finish().await;
}
