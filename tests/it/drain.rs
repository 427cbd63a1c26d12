//! The time between SIGTERM and the end.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use chat::{
    event::Answer,
    outcome::{Outcome, TurnEnd},
};
use demo::model::{Frame, Reply};
use harness::{World, free_port};
use serde_json::{Value, json};

use crate::{
    admin::ask,
    look::{WRITE, answer, ask_in_vain, end, eventually, found, outcomes, problem, queries},
};

/// Longer than a test waits for anything.
const LONG: &str = "10m";

/// What ends without a drain is gone by then, on a slow machine too.
const SOON: Duration = Duration::from_secs(20);

async fn world(drain: &str) -> (World, SocketAddr) {
    let admin = free_port();
    let world = World::build()
        .setting("TOOLGATE_DRAIN", drain)
        .setting("TOOLGATE_ADMIN_LISTEN", admin.to_string())
        .start_with_process()
        .await;
    (world, admin)
}

/// A pace at which a model never says another word.
const NEVER: Duration = Duration::from_hours(1);

/// A reply whose end comes when the model has a pace again.
fn held(text: &str) -> Reply {
    let chunk = |delta: Value, reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        let chunk = json!({
            "id": "x", "object": "chat.completion.chunk", "created": 0, "model": "x",
            "choices": [choice],
        });
        Frame::bytes(format!("data: {chunk}\n\n"))
    };
    Reply::stream([
        chunk(json!({ "role": "assistant", "content": text }), json!(null)),
        Frame::Pace,
        chunk(json!({ "content": " and the rest" }), json!(null)),
        chunk(json!({}), json!("stop")),
        Frame::bytes("data: [DONE]\n\n"),
    ])
}

async fn unready(admin: SocketAddr) {
    let body = found(async || {
        let (status, body) = ask(admin, "/readyz").await.expect("it listens");
        if status == 503 { Ok(body) } else { Err(body) }
    });
    let body: Value = serde_json::from_str(&body.await).unwrap();
    assert_eq!(body, json!({ "ready": false, "reasons": ["draining"] }));
    assert_eq!(ask(admin, "/livez").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_running_turn_goes_on_to_its_end_and_no_new_one_begins() {
    let (mut world, admin) = world(LONG).await;
    let ana = world.ana();
    world.model().set_delay(NEVER);
    world.model().queue(held("The beginning"));
    let posted = ana.ask("Take your time").await;
    ana.wait_until(&posted.turn, |turn| answer(turn).starts_with("The"))
        .await;

    world.toolgate().signal().await;
    unready(admin).await;
    let message = json!({ "message_id": "m-2", "message": "One more" });
    let refused = ana.post("/api/messages", &message).await;
    problem(&refused, 503, "restarting");
    assert_eq!(refused.headers["retry-after"], "5");
    // Pages go on: what runs is shown to its end.
    let mut events = ana.events(&posted.turn, 0).await;
    world.model().set_delay(Duration::ZERO);
    events.until(|frame| frame.event == "turn.finished").await;

    assert_eq!(world.toolgate().ended().await.code(), Some(0));
    world.toolgate().start().await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    assert_eq!(answer(&transcript), "The beginning and the rest");
    assert_eq!(world.model().received(), 1, "it was asked once");
    world.finish().await;
}

#[tokio::test]
async fn what_does_not_end_in_time_is_put_down_and_taken_up_again() {
    let (mut world, _) = world("300ms").await;
    let ana = world.ana();
    let posted = ask_in_vain(&world, &ana, "Think").await;
    let begun = Instant::now();
    assert_eq!(world.toolgate().terminate().await.code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());

    world.model().queue(Reply::text("Here it is."));
    world.toolgate().start().await;
    let page = ana.page_stream(&posted.conversation).await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(answer(&transcript), "Here it is.");
    drop(page);
    world.finish().await;
}

#[tokio::test]
async fn a_turn_that_waits_for_a_person_holds_up_nothing() {
    let (mut world, _) = world(LONG).await;
    let ana = world.ana();
    let sql = "DELETE FROM products WHERE 1 = 0";
    world.model().queue(queries(WRITE, &[sql]));
    let posted = ana.ask("Delete nothing").await;
    ana.wait_question(&posted.turn).await;
    let begun = Instant::now();
    assert_eq!(world.toolgate().terminate().await.code(), Some(0));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());

    world.toolgate().start().await;
    let (question, _) = ana.wait_question(&posted.turn).await;
    world.model().queue(Reply::text("Done."));
    let answered = ana.answer(&posted.turn, question, &Answer::Approve).await;
    answered.expect(202);
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);
    world.finish().await;
}

#[tokio::test]
async fn people_are_heard_meanwhile_and_a_second_signal_ends_it() {
    let (mut world, admin) = world(LONG).await;
    let (ana, ben) = (world.ana(), world.ben());
    let sql = "DELETE FROM products WHERE 1 = 0";
    world.model().queue(queries(WRITE, &[sql]));
    let asks = ana.ask("Delete nothing").await;
    let (question, _) = ana.wait_question(&asks.turn).await;
    let hangs = ask_in_vain(&world, &ben, "Think").await;

    world.toolgate().signal().await;
    unready(admin).await;
    world.model().queue(Reply::text("Done."));
    let answered = ana.answer(&asks.turn, question, &Answer::Approve).await;
    answered.expect(202);
    let transcript = ana.wait_end(&asks.turn).await;
    assert_eq!(answer(&transcript), "Done.");

    let begun = Instant::now();
    world.toolgate().signal().await;
    assert_eq!(world.toolgate().ended().await.code(), Some(0));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let log = world.toolgate().log();
    eventually("it said so", || log.contains("stopping at once")).await;
    drop(hangs);
    world.finish().await;
}
