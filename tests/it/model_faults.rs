//! Everything that goes wrong with model endpoints: what the person is told, what is tried again,
//! and that the conversation goes on afterwards.

use std::net::TcpListener;

use chat::{
    event::Event,
    failure::{Failure, Layer, Retry},
    ids::ConversationId,
    outcome::{Outcome, TurnEnd},
    transcript::{RoundState, Transcript},
};
use demo::model::{Call, Fault, Reply};
use harness::{User, World};
use serde_json::{Value, json};

use crate::look::{
    READ, SALES, answer, assert_numbered, end, last_request, names, outcomes, problem, queries,
    results, rounds,
};

/// What the log of a turn holds after its beginning.
const ANSWERED: [&str; 3] = ["round.started", "round.finished", "turn.finished"];
/// A round that is sent again because nothing of it was shown.
const AGAIN: [&str; 2] = ["round.started", "round.retrying"];
/// A round that is sent again although some of it was shown.
const DISCARDED: [&str; 3] = ["round.started", "round.discarded", "round.retrying"];
/// A round that fails for good.
const FAILED: [&str; 2] = ["round.started", "turn.finished"];

/// Asks, with these replies queued, and waits for the end.
struct Asked {
    conversation: ConversationId,
    transcript: Transcript,
    /// The names of the events from the first round on.
    names: Vec<&'static str>,
    events: Vec<Event>,
}

async fn ask(world: &World, user: &User, replies: impl IntoIterator<Item = Reply>) -> Asked {
    replies
        .into_iter()
        .for_each(|reply| world.model().queue(reply));
    let posted = user.ask("Hello").await;
    let transcript = user.wait_end(&posted.turn).await;
    let log = user.log(&posted.turn).await;
    assert_numbered(&log);
    let names: Vec<_> = names(&log);
    let begun = names
        .iter()
        .position(|name| *name == "catalog.ready")
        .unwrap();
    Asked {
        conversation: posted.conversation,
        transcript,
        names: names[begun + 1..].to_vec(),
        events: log.into_iter().map(|logged| logged.event).collect(),
    }
}

/// The failure that ended the turn.
fn failure(transcript: &Transcript) -> &Failure {
    assert_eq!(end(transcript), TurnEnd::Failed, "{transcript:#?}");
    let failure = transcript.end.as_ref().and_then(|end| end.failure.as_ref());
    let failure = failure.expect("a failed turn says why");
    assert_eq!(failure.layer, Layer::Model, "{failure:?}");
    assert!(!failure.advice.is_empty(), "{failure:?}");
    failure
}

/// The next question in the conversation is answered, and no request was one that endpoints refuse.
async fn goes_on(world: &World, user: &User, conversation: &ConversationId) {
    let posted = user.ask_in(conversation, SALES).await;
    let transcript = user.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered, "{transcript:#?}");
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);
    assert_eq!(world.model().rejected().len(), 0);
    // The question that was not answered is still part of the conversation.
    let all = user.conversation(conversation).await;
    assert_eq!((all.turns.len(), all.running), (2, None));
}

#[tokio::test]
async fn refusals_fail_the_turn_at_once() {
    let world = World::start().await;
    let ana = world.ana();
    let unauthorized = Reply::error(401, "invalid_request_error", "Incorrect API key provided.");
    let too_long = Reply::error(
        400,
        "invalid_request_error",
        "This model's maximum context length is 8192 tokens.",
    );
    for (reply, status, message, advice) in [
        (
            unauthorized,
            Some(401),
            "Incorrect API key",
            "OPENAI_API_KEY",
        ),
        (too_long, Some(400), "maximum context length", "new chat"),
        (Reply::html(), None, "Welcome", "OPENAI_BASE_URL"),
    ] {
        let before = world.model().received();
        let asked = ask(&world, &ana, [reply]).await;
        let failure = failure(&asked.transcript);
        assert_eq!(failure.status, status, "{failure:?}");
        assert!(failure.message.contains(message), "{failure:?}");
        assert!(failure.advice.contains(advice), "{failure:?}");
        assert_eq!(asked.names, FAILED);
        assert_eq!(world.model().received(), before + 1);
        goes_on(&world, &ana, &asked.conversation).await;
    }
    world.finish().await;
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_as_long_as_it_says() {
    let world = World::start().await;
    let ana = world.ana();
    let asked = ask(&world, &ana, [Reply::rate_limited(1)]).await;
    assert_eq!(end(&asked.transcript), TurnEnd::Answered);
    assert_eq!(asked.names, [&AGAIN[..], &ANSWERED].concat());
    let waited = asked.events.iter().find_map(|event| {
        let Event::RoundRetrying {
            failure, after_ms, ..
        } = event
        else {
            return None;
        };
        Some((failure.retry, *after_ms))
    });
    assert_eq!(waited, Some((Retry::After(Some(1000)), 1000)));

    let for_ever = std::iter::repeat_with(|| Reply::rate_limited(0)).take(3);
    let asked = ask(&world, &ana, for_ever).await;
    assert_eq!(asked.names, [&AGAIN[..], &AGAIN, &FAILED].concat());
    let failure = failure(&asked.transcript);
    assert_eq!(failure.status, Some(429));
    assert!(failure.advice.contains("try again"), "{failure:?}");
    goes_on(&world, &ana, &asked.conversation).await;
    world.finish().await;
}

#[tokio::test]
async fn an_error_of_the_endpoints_own_is_tried_again_and_then_told() {
    let world = World::start().await;
    let ana = world.ana();
    let error = || Reply::error(500, "server_error", "The server had an error.");
    let asked = ask(&world, &ana, [error()]).await;
    assert_eq!(end(&asked.transcript), TurnEnd::Answered);
    let asked = ask(&world, &ana, [error(), error(), error()]).await;
    assert_eq!(asked.names, [&AGAIN[..], &AGAIN, &FAILED].concat());
    let failure = failure(&asked.transcript);
    assert_eq!(failure.status, Some(500));
    assert!(
        failure.message.contains("The server had an error."),
        "{failure:?}"
    );
    goes_on(&world, &ana, &asked.conversation).await;
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_breaks_before_any_text_is_asked_for_again() {
    let world = World::start().await;
    let ana = world.ana();
    let whole = "All of the answer.";
    for broken in [
        Reply::disconnect(),
        Reply::text(whole).with_fault(Fault::CutAfter(1)),
        Reply::text(whole).with_fault(Fault::EndAfter(1)),
    ] {
        let asked = ask(&world, &ana, [broken, Reply::text(whole)]).await;
        assert_eq!(asked.names, [&AGAIN[..], &ANSWERED].concat());
        assert_eq!(answer(&asked.transcript), whole);
    }
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_breaks_after_text_is_discarded_once_and_then_kept() {
    let world = World::start().await;
    let ana = world.ana();
    let whole = "All of the answer.";
    let cut = |fault| Reply::text(format!("Half {whole}")).with_fault(fault);
    // Without a word that it is at its end an answer may be half of one.
    for fault in [Fault::CutAfter(3), Fault::EndAfter(3)] {
        let asked = ask(&world, &ana, [cut(fault), Reply::text(whole)]).await;
        assert_eq!(asked.names, [&DISCARDED[..], &ANSWERED].concat());
        assert_eq!(answer(&asked.transcript), whole);
        assert_eq!(rounds(&asked.transcript).len(), 1);
    }
    // Only `[DONE]` is missing: the endpoint has said how the answer ended.
    let asked = ask(&world, &ana, [Reply::text(whole).with_fault(Fault::NoDone)]).await;
    assert_eq!(
        (asked.names, answer(&asked.transcript)),
        (ANSWERED.to_vec(), whole)
    );

    let twice = [cut(Fault::CutAfter(3)), cut(Fault::CutAfter(4))];
    let asked = ask(&world, &ana, twice).await;
    assert_eq!(asked.names, [&DISCARDED[..], &FAILED].concat());
    failure(&asked.transcript);
    let rounds = rounds(&asked.transcript);
    assert_eq!((rounds.len(), &rounds[0].state), (1, &RoundState::Broken));
    assert!(rounds[0].text.starts_with("Half"), "{rounds:?}");
    goes_on(&world, &ana, &asked.conversation).await;
    world.finish().await;
}

#[tokio::test]
async fn calls_of_an_answer_that_breaks_off_are_not_run() {
    let world = World::start().await;
    let ana = world.ana();
    let cut = queries(READ, &["SELECT 'from a cut answer'"]).with_fault(Fault::CutAfter(4));
    let asked = ask(&world, &ana, [cut, Reply::text("Well.")]).await;
    assert_eq!(end(&asked.transcript), TurnEnd::Answered);
    assert_eq!(asked.transcript.calls().count(), 0);
    assert_eq!(world.journal().calls.len(), 0);
    world.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_given_up_and_asked_again() {
    let world = World::build()
        .setting("TOOLGATE_ROUND_FIRST_BYTE", "1s")
        .setting("TOOLGATE_ROUND_IDLE", "1s")
        .start()
        .await;
    let ana = world.ana();
    let asked = ask(&world, &ana, [Reply::hang(), Reply::text("Well.")]).await;
    assert_eq!(asked.names, [&AGAIN[..], &ANSWERED].concat());

    let hanging = || Reply::text("One two three four").with_fault(Fault::HangAfter(3));
    let asked = ask(&world, &ana, [hanging(), hanging()]).await;
    assert_eq!(asked.names, [&DISCARDED[..], &FAILED].concat());
    let failure = failure(&asked.transcript);
    assert!(failure.message.contains("silent for 1 s"), "{failure:?}");
    assert!(answer(&asked.transcript).starts_with("One"));
    goes_on(&world, &ana, &asked.conversation).await;
    world.finish().await;
}

#[tokio::test]
async fn calls_that_cannot_be_run_are_told_to_the_model_which_goes_on() {
    let world = World::start().await;
    let ana = world.ana();
    let raw = |name: &str, arguments: &str| Call {
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let calls = Reply::calls([
        raw(READ, r#"{"query": "SELECT 'cut"#),
        raw(READ, r#"["SELECT 'a list'"]"#),
        Call::new(READ, &json!({ "query": 42, "colour": "blue" })),
        Call::new("Database__drop_everything", &json!({})),
        Call::new(READ, &json!({ "query": "SELECT 'proper'" })),
    ]);
    let asked = ask(&world, &ana, [calls, Reply::text("I see.")]).await;
    assert_eq!(end(&asked.transcript), TurnEnd::Answered);
    let invalid = Outcome::InvalidArguments;
    assert_eq!(
        outcomes(&asked.transcript),
        [
            invalid,
            invalid,
            invalid,
            Outcome::UnknownFunction,
            Outcome::Ok
        ]
    );
    let told = results(&last_request(world.model()));
    assert_eq!(told.len(), 5);
    for (told, word) in told
        .iter()
        .zip(["JSON", "object", "query", "function", "proper"])
    {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(told[2].contains("colour"), "{}", told[2]);
    // Nothing but the proper call reached the server.
    assert_eq!(world.journal().calls.len(), 1);
    // As the model wrote it, also what is no JSON: its own words go back to it.
    let shown: Vec<_> = asked
        .transcript
        .calls()
        .map(|call| call.arguments.as_str())
        .collect();
    assert_eq!(shown[0], r#"{"query": "SELECT 'cut"#);
    goes_on(&world, &ana, &asked.conversation).await;
    world.finish().await;
}

#[tokio::test]
async fn the_scripts_own_trouble_is_repaired() {
    let world = World::start().await;
    let ana = world.ana();
    let (bad, ok) = (Outcome::InvalidArguments, Outcome::Ok);
    for (question, expected) in [
        ("Send arguments that are not JSON", [bad, ok]),
        ("Send arguments that do not fit", [bad, ok]),
        ("Run a broken query", [Outcome::ToolError, ok]),
        (
            "Call a function that does not exist",
            [Outcome::UnknownFunction, ok],
        ),
    ] {
        let posted = ana.ask(question).await;
        let transcript = ana.wait_end(&posted.turn).await;
        assert_eq!(end(&transcript), TurnEnd::Answered, "{question}");
        assert_eq!(outcomes(&transcript), expected, "{question}");
    }
    world.finish().await;
}

/// An address where nobody listens.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

#[tokio::test]
async fn an_endpoint_that_is_down_fails_the_turn_and_nothing_else() {
    let world = World::build()
        .setting("OPENAI_BASE_URL", closed())
        .setting("TOOLGATE_MODEL", "some-model")
        .start()
        .await;
    let ana = world.ana();
    let posted = ana.ask("Hello").await;
    let transcript = ana.wait_end(&posted.turn).await;
    let down = failure(&transcript);
    assert!(down.message.contains("cannot be reached"), "{down:?}");
    assert!(down.advice.contains("OPENAI_BASE_URL"), "{down:?}");
    let names = names(&ana.log(&posted.turn).await);
    assert!(
        names.ends_with(&[&AGAIN[..], &AGAIN, &FAILED].concat()),
        "{names:?}"
    );
    let again = ana.ask_in(&posted.conversation, "And now?").await;
    failure(&ana.wait_end(&again.turn).await);
    world.finish().await;
}

#[tokio::test]
async fn without_a_model_nothing_is_begun() {
    let world = World::build()
        .setting("OPENAI_BASE_URL", closed())
        .start()
        .await;
    let ana = world.ana();
    let message = json!({ "message_id": "one", "message": "Hello" });
    for _ in 0..2 {
        let refused = ana.post("/api/messages", &message).await;
        let refused = problem(&refused, 502, "upstream");
        assert_eq!(refused.layer, Layer::Model);
        assert!(refused.advice.contains("OPENAI_BASE_URL"), "{refused:?}");
    }
    assert_eq!(
        ana.get_json::<Vec<Value>>("/api/conversations").await,
        [] as [Value; 0]
    );
    world.finish().await;
}
