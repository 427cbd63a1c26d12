//! When the database cannot be written: nothing is half recorded, what runs is stopped, and what
//! was begun goes on by itself when it can be written again.

use chat::{
    event::Event,
    failure::Layer,
    outcome::{Outcome, TurnEnd},
};
use demo::model::{Fault, Reply};
use harness::{PATIENCE, Posted, World};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::look::{
    ENDLESS, READ, SALES, WRITE, accepted, answer, ask_in_vain, assert_numbered, end, events_after,
    eventually, names, outcomes, problem, queries,
};

/// Toolgate's database, from a second connection.
struct Disk(Connection);

impl Disk {
    fn of(world: &World) -> Self {
        let connection = Connection::open(world.data().join("toolgate.db")).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        Self(connection)
    }

    /// From now on it has no space for events such as these.
    fn fill(&self, events: &str) {
        self.sql(&format!(
            "CREATE TRIGGER full BEFORE INSERT ON events WHEN {events} \
             BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        ));
    }

    fn empty(&self) {
        self.sql("DROP TRIGGER full");
    }

    fn sql(&self, sql: &str) {
        self.0.execute_batch(sql).unwrap();
    }
}

#[tokio::test]
async fn a_running_call_is_stopped_and_the_turn_goes_on_when_it_can_be_written() {
    let world = World::start().await;
    let (ana, disk) = (world.ana(), Disk::of(&world));
    world.model().queue(queries(READ, &[ENDLESS]));
    let posted = ana.ask("Count for ever").await;
    let mut events = ana.events(&posted.turn, 0).await;
    let mut seen = events.until(|frame| frame.event == "call.started").await;
    eventually("the call is out", || world.journal().calls.len() == 1).await;

    disk.fill("TRUE");
    // The call's progress is the next thing to be written.
    seen.extend(events.rest().await);
    assert!(seen.iter().all(|frame| frame.event != "turn.finished"));
    eventually("the call is stopped", || {
        world
            .journal()
            .calls
            .iter()
            .all(|call| call.outcome.is_some())
    })
    .await;
    assert_eq!(
        world.journal().calls[0].outcome.as_deref(),
        Some("cancelled")
    );
    let stuck = ana.log(&posted.turn).await;
    assert_numbered(&stuck);
    assert_eq!(names(&stuck).last(), Some(&"call.started"));
    assert!(ana.turn(&posted.turn).await.is_open());

    disk.empty();
    let transcript = ana.wait_end(&posted.turn).await;
    // It was with its server, so nobody knows what it did.
    assert_eq!(outcomes(&transcript), [Outcome::Unknown]);
    assert_eq!(end(&transcript), TurnEnd::Answered);
    assert_eq!(world.journal().calls.len(), 1, "it was run again");
    let log = ana.log(&posted.turn).await;
    assert_numbered(&log);
    assert_eq!(log[..stuck.len()], stuck);
    // A reader that was sent away goes on where it was.
    let last_id = seen
        .iter()
        .rev()
        .find_map(|frame| frame.id.clone())
        .unwrap();
    let request = events_after(&ana, &posted.turn, &last_id);
    let rest = ana.stream_of(request).await.rest().await;
    let next = format!("{}.{}", posted.turn, stuck.len() + 1);
    assert_eq!(rest[0].id.as_ref(), Some(&next));
    assert_eq!(rest.last().unwrap().event, "turn.finished");
    world.finish().await;
}

#[tokio::test]
async fn a_stop_that_cannot_be_written_is_not_forgotten() {
    let world = World::start().await;
    let (ana, disk) = (world.ana(), Disk::of(&world));
    // The first finds the turn at work, the second finds nobody.
    for stops in [1, 2] {
        let posted = ask_in_vain(&world, &ana, "Hello").await;
        disk.fill("TRUE");
        let mut events = ana.events(&posted.turn, 0).await;
        for _ in 0..stops {
            accepted(&ana.cancel(&posted.turn).await);
            events.rest().await;
        }
        disk.empty();
        let transcript = ana.wait_end(&posted.turn).await;
        assert_eq!(end(&transcript), TurnEnd::Cancelled, "{transcript:#?}");
    }
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_is_asked_for_again() {
    let world = World::start().await;
    let (ana, disk) = (world.ana(), Disk::of(&world));
    disk.fill("NEW.type = 'round.finished'");
    world.model().queue(Reply::text("This cannot be kept."));
    world.model().queue(Reply::text("This can."));
    let posted = ana.ask("Hello").await;
    let mut events = ana.events(&posted.turn, 0).await;
    events.rest().await;
    let log = ana.log(&posted.turn).await;
    assert_eq!(names(&log).last(), Some(&"round.started"));
    disk.empty();
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    assert_eq!(answer(&transcript), "This can.");
    assert_numbered(&ana.log(&posted.turn).await);
    world.finish().await;
}

#[tokio::test]
async fn an_approval_that_cannot_be_written_runs_nothing() {
    let world = World::start().await;
    let (ana, disk) = (world.ana(), Disk::of(&world));
    world
        .model()
        .queue(queries(WRITE, &["UPDATE products SET unit_price = 1"]));
    let posted = ana.ask("Make everything cheap").await;
    let (question, _) = ana.wait_question(&posted.turn).await;
    disk.fill("TRUE");
    let mut events = ana.events(&posted.turn, 0).await;
    let approve = chat::event::Answer::Approve;
    let refused = ana.answer(&posted.turn, question, &approve).await;
    problem(&refused, 503, "not_saved");
    events.rest().await;
    assert_eq!(world.journal().calls.len(), 0);
    disk.empty();

    // The question is asked again as soon as the turn has been taken up.
    let until = tokio::time::Instant::now() + harness::PATIENCE;
    loop {
        let answered = ana.answer(&posted.turn, question, &approve).await;
        if answered.status == 202 {
            break;
        }
        problem(&answered, 503, "not_saved");
        assert!(tokio::time::Instant::now() < until, "it is not taken up");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);
    assert_eq!(world.journal().calls.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn text_that_cannot_be_written_stops_the_model_too() {
    let world = World::start().await;
    let (ana, disk) = (world.ana(), Disk::of(&world));
    let hanging = Reply::text("One two three four").with_fault(Fault::HangAfter(4));
    disk.fill("NEW.type = 'text.delta'");
    world.model().queue(hanging);
    let posted = ana.ask("Hello").await;
    let mut events = ana.events(&posted.turn, 0).await;
    events.rest().await;
    let first = &world.model().requests()[0];
    eventually("the request is ended", || {
        first.delivery() == demo::model::Delivery::Dropped
    })
    .await;
    disk.empty();
    assert_eq!(end(&ana.wait_end(&posted.turn).await), TurnEnd::Answered);
    world.finish().await;
}

#[tokio::test]
async fn a_message_that_cannot_be_written_can_be_sent_again() {
    let world = World::start().await;
    let (ana, disk) = (world.ana(), Disk::of(&world));
    disk.fill("TRUE");
    let message = json!({ "message_id": "one", "message": SALES });
    for _ in 0..3 {
        let refused = problem(&ana.post("/api/messages", &message).await, 503, "not_saved");
        assert_eq!(refused.layer, Layer::Toolgate);
        assert!(refused.advice.contains("send it again"), "{refused:?}");
        // What the database says is for the log.
        assert!(!refused.detail.contains("disk"), "{refused:?}");
    }
    assert_eq!(
        ana.get_json::<Vec<Value>>("/api/conversations").await,
        [] as [Value; 0]
    );
    assert_eq!(world.model().received(), 0);
    disk.empty();
    let posted: Posted = ana.post("/api/messages", &message).await.expect(202).json();
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    let log = ana.log(&posted.turn).await;
    assert!(matches!(log[0].event, Event::TurnStarted(_)));
    assert_numbered(&log);
    world.finish().await;
}
