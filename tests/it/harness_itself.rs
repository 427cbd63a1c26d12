//! The harness: both kinds of world start, are used and end.

use chat::outcome::{Outcome, TurnEnd};
use harness::{User, World};

const QUESTION: &str = "What were our sales by year?";

async fn asks_for_sales(user: &User) {
    let posted = user.ask(QUESTION).await;
    let transcript = user.wait_end(&posted.turn).await;
    assert_eq!(
        transcript.end.as_ref().map(|end| end.end),
        Some(TurnEnd::Answered)
    );
    let log = user.log(&posted.turn).await;
    let mut events = user.events(&posted.turn, 0).await;
    let ids: Vec<_> = events
        .rest()
        .await
        .into_iter()
        .filter_map(|frame| frame.id)
        .collect();
    assert_eq!(ids.last(), Some(&format!("{}.{}", posted.turn, log.len())));
    let conversation = user.conversation(&posted.conversation).await;
    assert_eq!(conversation.title, QUESTION);
}

#[tokio::test]
async fn a_world_in_this_process() {
    let world = World::start().await;
    asks_for_sales(&world.ana()).await;
    asks_for_sales(&world.ben()).await;
    let journal = world.journal();
    assert_eq!(journal.calls.len(), 2);
    assert!(
        journal
            .calls
            .iter()
            .all(|call| call.outcome.as_deref() == Some("ok"))
    );
    world.finish().await;
}

#[tokio::test]
async fn a_world_with_a_process() {
    let mut world = World::build().start_with_process().await;
    let ana = world.ana();
    let posted = ana.ask(QUESTION).await;
    let transcript = ana.wait_end(&posted.turn).await;
    let outcomes: Vec<_> = transcript.calls().map(|call| call.state).collect();
    let ok = chat::transcript::CallState::Finished {
        outcome: Outcome::Ok,
    };
    assert_eq!(outcomes, [ok]);
    world.toolgate().kill().await;
    assert_eq!(ana.get("/api/session").await.status, 503);
    world.toolgate().start().await;
    assert_eq!(ana.turn(&posted.turn).await, transcript);
    world.finish().await;
}
