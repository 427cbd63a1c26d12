//! Stop: whatever the turn is doing, it ends, and so does what it had begun with others.

use std::time::Duration;

use chat::{
    outcome::{Outcome, TurnEnd},
    transcript::{CallState, RoundState, Transcript},
};
use demo::model::{Delivery, Fault, Reply};
use harness::{JournalCall, Posted, User, World};

use crate::look::{
    ENDLESS, READ, SALES, WRITE, accepted, answer, assert_numbered, end, eventually, names,
    outcomes, problem, queries, rounds,
};

/// A pace at which a model never says a word.
const NEVER: Duration = Duration::from_hours(1);

/// Stops the turn and waits for its end, which is soon.
async fn stop(user: &User, posted: &Posted) -> Transcript {
    accepted(&user.cancel(&posted.turn).await);
    let transcript = user.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Cancelled, "{transcript:#?}");
    let log = user.log(&posted.turn).await;
    assert_numbered(&log);
    let names = names(&log);
    let cancelling = names.iter().filter(|name| **name == "turn.cancelling");
    assert_eq!(cancelling.count(), 1, "{names:?}");
    transcript
}

/// The conversation goes on as if nothing had been.
async fn goes_on(world: &World, user: &User, posted: &Posted) {
    let next = user.ask_in(&posted.conversation, SALES).await;
    let transcript = user.wait_end(&next.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered, "{transcript:#?}");
    assert_eq!(world.model().rejected().len(), 0);
}

/// The model's first request was given up, not read to its end.
async fn request_was_ended(world: &World) {
    let request = world.model().requests().remove(0);
    eventually("the model request is ended", || {
        request.delivery() == Delivery::Dropped
    })
    .await;
}

#[tokio::test]
async fn while_the_model_thinks() {
    let world = World::start().await;
    let ana = world.ana();
    world.model().queue(Reply::hang());
    let posted = ana.ask("Hello").await;
    world.model().wait_received(1).await;
    let transcript = stop(&ana, &posted).await;
    assert_eq!(answer(&transcript), "");
    request_was_ended(&world).await;
    goes_on(&world, &ana, &posted).await;

    // Stopping again changes nothing.
    problem(&ana.cancel(&posted.turn).await, 409, "conflict");
    world.finish().await;
}

#[tokio::test]
async fn while_the_model_streams() {
    let world = World::start().await;
    let ana = world.ana();
    world
        .model()
        .queue(Reply::text("One two three four").with_fault(Fault::HangAfter(4)));
    let posted = ana.ask("Hello").await;
    let seen = |turn: &Transcript| answer(turn).starts_with("One two");
    ana.wait_until(&posted.turn, seen).await;
    let transcript = stop(&ana, &posted).await;
    assert!(seen(&transcript), "what was said stands: {transcript:#?}");
    assert_eq!(rounds(&transcript)[0].state, RoundState::Broken);
    request_was_ended(&world).await;
    goes_on(&world, &ana, &posted).await;
    world.finish().await;
}

#[tokio::test]
async fn while_the_model_is_about_to_be_asked_again() {
    let world = World::start().await;
    let ana = world.ana();
    world.model().queue(Reply::rate_limited(20));
    let posted = ana.ask("Hello").await;
    ana.wait_until(&posted.turn, |turn| {
        let waits = |state: &RoundState| matches!(state, RoundState::Retrying { .. });
        rounds(turn).iter().any(|round| waits(&round.state))
    })
    .await;
    stop(&ana, &posted).await;
    assert_eq!(world.model().received(), 1);
    goes_on(&world, &ana, &posted).await;
    world.finish().await;
}

#[tokio::test]
async fn while_calls_run() {
    let world = World::start().await;
    let ana = world.ana();
    world.model().queue(queries(READ, &[ENDLESS, ENDLESS]));
    let posted = ana.ask("Count for ever").await;
    eventually("both run", || world.journal().calls.len() == 2).await;
    let (one, two) = tokio::join!(ana.cancel(&posted.turn), ana.cancel(&posted.turn));
    for stopped in [one, two] {
        // The second may find that the turn has ended already.
        assert!(matches!(stopped.status.as_u16(), 202 | 409), "{stopped:?}");
    }
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Cancelled);
    assert_eq!(outcomes(&transcript), [Outcome::Cancelled; 2]);
    let cancelled = |call: &JournalCall| call.outcome.as_deref() == Some("cancelled");
    eventually("northwind has stopped them", || {
        world.journal().calls.iter().all(cancelled)
    })
    .await;
    goes_on(&world, &ana, &posted).await;
    world.finish().await;
}

#[tokio::test]
async fn while_a_question_waits() {
    let world = World::start().await;
    let ana = world.ana();
    world
        .model()
        .queue(queries(WRITE, &["DELETE FROM products"]));
    let posted = ana.ask("Delete everything").await;
    let (question, _) = ana.wait_question(&posted.turn).await;
    let transcript = stop(&ana, &posted).await;
    assert_eq!(outcomes(&transcript), [Outcome::Cancelled]);
    let late = ana
        .answer(&posted.turn, question, &chat::event::Answer::Approve)
        .await;
    problem(&late, 409, "conflict");
    assert_eq!(world.journal().calls.len(), 0);
    goes_on(&world, &ana, &posted).await;
    world.finish().await;
}

/// Ana's token ends while the model takes its time, so that her call waits for a newer one.
async fn parked(world: &World, user: &User, elsewhere: &User) -> Posted {
    world.model().set_delay(NEVER);
    world.model().queue(queries(READ, &["SELECT 'late'"]));
    let posted = user.ask("Take your time").await;
    world.model().wait_received(1).await;
    world.standin().recall_tes(user.sid);
    world.model().set_delay(Duration::ZERO);
    // Each look brings a token: this one that of another session.
    elsewhere
        .wait_until(&posted.turn, |turn| {
            let parked = |state| matches!(state, CallState::Parked { .. });
            turn.calls().any(|call| parked(call.state))
        })
        .await;
    posted
}

#[tokio::test]
async fn while_a_call_waits_for_a_token() {
    let world = World::start().await;
    let (ana, elsewhere) = (world.ana(), world.ana());
    let posted = parked(&world, &ana, &elsewhere).await;
    // From another session, which brings this turn no token.
    accepted(&elsewhere.cancel(&posted.turn).await);
    let transcript = elsewhere.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Cancelled);
    assert_eq!(outcomes(&transcript), [Outcome::Cancelled]);
    assert_eq!(world.journal().calls.len(), 0);
    goes_on(&world, &ana, &posted).await;
    world.finish().await;
}

#[tokio::test]
async fn a_call_that_waits_for_a_token_goes_on_with_the_next_one() {
    let world = World::start().await;
    let (ana, elsewhere) = (world.ana(), world.ana());
    let posted = parked(&world, &ana, &elsewhere).await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);
    let call = transcript.calls().next().unwrap();
    assert_eq!(
        call.state,
        CallState::Finished {
            outcome: Outcome::Ok
        }
    );
    assert_eq!(world.journal().with("late").len(), 1);
    world.finish().await;
}
