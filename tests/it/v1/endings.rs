//! What a person would have to do, and what goes wrong on the way to an answer.

use std::time::Duration;

use chat::{
    event::{CancelBy, Event, ParkReason},
    outcome::{Outcome, TurnEnd},
};
use demo::{
    model::{Call, Fault, Reply},
    notes,
};
use harness::World;
use http::Method;
use serde_json::json;

use super::{
    CHAT, Chunks, asking, content, events, openai_error, refusal, stopped_by, streamed, turn_of,
};
use crate::{
    look::{READ, WRITE, end, eventually, last_request, outcomes, queries, results},
    server_calls::with_sessions,
};

/// A pace at which a model never says a word.
const NEVER: Duration = Duration::from_hours(1);

#[tokio::test]
async fn what_a_person_would_have_to_approve_is_not_run() {
    let world = World::start().await;
    let ana = world.ana();
    world
        .model()
        .queue(queries(WRITE, &["UPDATE products SET unit_price = 0"]));
    world.model().queue(Reply::text("I may not."));
    let response = ana.post(CHAT, &asking("Make it all free")).await;
    assert_eq!(content(&response), "I may not.");
    let turn = turn_of(&response.headers);
    assert_eq!(
        outcomes(&ana.turn(&turn).await),
        [Outcome::ApprovalRequired]
    );
    let asked = |event: &Event| matches!(event, Event::QuestionAsked { .. });
    assert!(!events(&ana, &turn).await.iter().any(asked));
    let told = results(&last_request(world.model()));
    assert!(told[0].contains("approve this call"), "{told:?}");
    assert_eq!(world.journal().with("UPDATE").len(), 0);
    world.finish().await;
}

#[tokio::test]
async fn an_account_that_is_missing_is_told_with_where_to_connect_it() {
    let world = World::build()
        .options(|options| options.notes = Some(notes::Options::default()))
        .start()
        .await;
    let ana = world.ana();
    let call = Call::new("Notes__list_notes", &json!({}));
    world.model().queue(Reply::calls([call]));
    world.model().queue(Reply::text("Please connect it."));
    let response = ana.post(CHAT, &asking("My notes?")).await;
    assert_eq!(content(&response), "Please connect it.");
    let turn = turn_of(&response.headers);
    let transcript = ana.turn(&turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::NeedsConnect]);
    let told = results(&last_request(world.model()));
    assert!(
        told[0].contains("/.pomerium/mcp/connect?redirect_url="),
        "{told:?}"
    );
    world.finish().await;
}

#[tokio::test]
async fn the_model_knows_of_servers_that_it_has_no_functions_of() {
    let closed = notes::Options {
        listing: notes::Listing::Closed,
        ..notes::Options::default()
    };
    let world = World::build()
        .options(|options| options.notes = Some(closed))
        .start()
        .await;
    let ana = world.ana();
    world.model().queue(queries(READ, &["SELECT 1"]));
    world.model().queue(Reply::text("Connect Notes first."));
    ana.post(CHAT, &asking("My notes?")).await.expect(200);
    let requests = world.model().requests();
    let [first, second] = &requests[..] else {
        panic!("{requests:?}")
    };
    let system = first.messages()[0].clone();
    let text = system["content"].as_str().unwrap();
    assert!(text.contains("Notes (the user has to connect"), "{text}");
    assert!(text.contains("/.pomerium/mcp/connect?redirect"), "{text}");
    assert_eq!(second.messages()[0], system, "a prefix stays as it is");

    // A caller's own instructions get it at their end.
    let mut body = asking("My notes?");
    let own = json!({ "role": "system", "content": "Be brief." });
    body["messages"].as_array_mut().unwrap().insert(0, own);
    world.model().queue(Reply::text("Connect Notes."));
    ana.post(CHAT, &body).await.expect(200);
    let sent = last_request(world.model()).messages();
    assert_eq!(sent.len(), 2);
    let text = sent[0]["content"].as_str().unwrap();
    assert!(text.starts_with("Be brief.\n\nServers that"), "{text}");

    // On the page it is told of the button.
    world.model().queue(Reply::text("Connect Notes."));
    ana.ask_to_end("My notes?").await;
    let sent = last_request(world.model()).messages();
    let text = sent[0]["content"].as_str().unwrap();
    assert!(text.contains("has a Connect button"), "{text}");
    world.finish().await;
}

#[tokio::test]
async fn a_stale_token_is_not_waited_for_as_long_as_a_page_is() {
    // Half of the second that a call is parked then.
    let world = World::build()
        .token_life(Duration::from_secs(30))
        .model_delay(NEVER)
        .start()
        .await;
    let ana = world.ana();
    world
        .model()
        .queue(queries(READ, &["SELECT 'parked' AS mark"]));
    world.model().queue(Reply::text("It expired."));
    let body = asking("Look");
    let stale = async {
        world.model().wait_received(1).await;
        world.standin().recall_tes(ana.sid);
        world.model().set_delay(Duration::ZERO);
    };
    let (response, ()) = tokio::join!(ana.post(CHAT, &body), stale);
    assert_eq!(content(&response), "It expired.");
    let turn = turn_of(&response.headers);
    let events = events(&ana, &turn).await;
    let parked = |event: &Event| {
        let reason = ParkReason::StaleToken;
        matches!(event, Event::CallParked { reason: why, .. } if *why == reason)
    };
    assert_eq!(events.iter().filter(|event| parked(event)).count(), 1);
    assert_eq!(outcomes(&ana.turn(&turn).await), [Outcome::TokenExpired]);
    assert_eq!(world.journal().with("parked").len(), 0);
    world.finish().await;
}

#[tokio::test]
async fn a_newer_token_of_the_session_lets_a_call_go_on() {
    let world = World::build().model_delay(NEVER).start().await;
    let ana = world.ana();
    world
        .model()
        .queue(queries(READ, &["SELECT 'resumed' AS mark"]));
    world.model().queue(Reply::text("Done."));
    let body = streamed(asking("Look"));
    let mut log = None;
    let stale = async {
        world.model().wait_received(1).await;
        let turn = super::newest_turn(&world);
        let mut events = ana.events(&turn, 0).await;
        world.standin().recall_tes(ana.sid);
        world.model().set_delay(Duration::ZERO);
        events.until(|frame| frame.event == "call.parked").await;
        // Whatever it asks, another request of the program's brings a token.
        ana.get("/v1/models").await.expect(200);
        log = Some(events);
    };
    let request = ana.request(Method::POST, CHAT).json(&body);
    let mut stream = None;
    let read = async { stream = Some(ana.stream_of(request).await.rest().await) };
    tokio::join!(read, stale);
    let chunks = Chunks::of(&stream.unwrap());
    assert_eq!((chunks.text().as_str(), chunks.done), ("Done.", true));
    assert_eq!(world.journal().with("resumed").len(), 1);
    drop(log);
    world.finish().await;
}

#[tokio::test]
async fn a_model_that_refuses_is_an_error_with_its_turn() {
    let world = World::start().await;
    let ana = world.ana();
    let refused = Reply::error(401, "invalid_request_error", "Incorrect API key provided.");
    let too_long = Reply::error(400, "invalid_request_error", "maximum context length");
    for (reply, status, kind) in [
        (refused, 502, "server_error"),
        (too_long, 400, "invalid_request_error"),
    ] {
        for body in [asking("Hi"), streamed(asking("Hi"))] {
            world.model().queue(reply.clone());
            let response = ana.post(CHAT, &body).await;
            let error = refusal(&response, status);
            assert_eq!(error["type"], kind);
            assert!(error["message"].as_str().unwrap().starts_with("model: "));
            let turn = turn_of(&response.headers);
            assert_eq!(end(&ana.turn(&turn).await), TurnEnd::Failed);
            // Nothing was called: an SDK may try again where that makes sense.
            assert!(!response.headers.contains_key("x-should-retry"));
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn what_was_called_is_not_called_again_by_a_retry() {
    let world = World::start().await;
    let ana = world.ana();
    world.model().queue(queries(READ, &["SELECT 1"]));
    world.model().queue(Reply::html());
    let response = ana.post(CHAT, &asking("Look")).await;
    refusal(&response, 502);
    assert_eq!(response.headers["x-should-retry"], "false");
    world.finish().await;
}

#[tokio::test]
async fn a_rate_limit_is_passed_on_with_its_wait() {
    let world = World::start().await;
    let ana = world.ana();
    for _ in 0..3 {
        world.model().queue(Reply::rate_limited(1));
    }
    let response = ana.post(CHAT, &asking("Hi")).await;
    let error = refusal(&response, 429);
    assert_eq!(error["type"], "rate_limit_error");
    assert_eq!(response.headers["retry-after"], "1");
    world.finish().await;
}

#[tokio::test]
async fn what_was_said_of_an_answer_that_breaks_off_is_not_said_twice() {
    let world = World::start().await;
    let ana = world.ana();
    let reply = Reply::text("One two three four five six.");
    world
        .model()
        .queue(reply.clone().with_fault(Fault::CutAfter(4)));
    let request = ana
        .request(Method::POST, CHAT)
        .json(&streamed(asking("Hi")));
    let mut stream = ana.stream_of(request).await;
    let frames = stream.rest().await;
    let chunks = Chunks::of(&frames);
    assert!(!chunks.done);
    assert!("One two three four five six.".starts_with(&chunks.text()));
    assert!(!chunks.text().is_empty());
    let error = openai_error(chunks.all.last().unwrap());
    assert_eq!(error["type"], "server_error");
    let transcript = ana.wait_end(&super::newest_turn(&world)).await;
    assert_eq!(stopped_by(&transcript), Some(CancelBy::Connection));

    // A whole answer has not been sent yet: it is asked for again.
    world
        .model()
        .queue(reply.clone().with_fault(Fault::CutAfter(4)));
    world.model().queue(reply);
    let response = ana.post(CHAT, &asking("Hi")).await;
    assert_eq!(content(&response), "One two three four five six.");
    world.finish().await;
}

#[tokio::test]
async fn a_turn_that_is_stopped_elsewhere_ends_with_an_error() {
    let world = World::start().await;
    let ana = world.ana();
    world.model().queue(Reply::hang());
    let body = asking("Hi");
    let stop = async {
        world.model().wait_received(1).await;
        let turn = super::newest_turn(&world);
        ana.cancel(&turn).await.expect(202);
    };
    let (response, ()) = tokio::join!(ana.post(CHAT, &body), stop);
    assert_eq!(refusal(&response, 400)["code"], "cancelled");
    let transcript = ana.turn(&turn_of(&response.headers)).await;
    assert_eq!(stopped_by(&transcript), Some(CancelBy::User));
    world.finish().await;
}

#[tokio::test]
async fn a_kill_interrupts_the_turn_and_the_next_start_says_so() {
    let mut world = World::build().start_with_process().await;
    let ana = world.ana();
    world.model().queue(Reply::hang());
    let body = asking("Hi");
    let killed = async {
        world.model().wait_received(1).await;
    };
    tokio::select! {
        answer = ana.try_send(ana.request(Method::POST, CHAT).json(&body)) => panic!("{answer:?}"),
        () = killed => {}
    }
    let turn = super::newest_turn(&world);
    world.toolgate().kill().await;
    world.toolgate().start().await;
    let transcript = ana.wait_end(&turn).await;
    assert_eq!(end(&transcript), TurnEnd::Interrupted);
    world.finish().await;
}

#[tokio::test]
async fn each_turn_has_its_own_mcp_session_which_ends_with_it() {
    let fake = with_sessions(|_| false).await;
    let world = World::build().server("Old", fake.url()).start().await;
    let ana = world.ana();
    for session in ["session-1", "session-2"] {
        let call = Call::new("Old__work", &json!({}));
        world.model().queue(Reply::calls([call]));
        world.model().queue(Reply::text("Done."));
        ana.post(CHAT, &asking("Work")).await.expect(200);
        let told = results(&last_request(world.model()));
        assert_eq!(told, [session]);
        eventually("the session is ended", || {
            fake.seen().iter().any(|seen| {
                seen.method() == "DELETE" && seen.header("mcp-session-id") == Some(session)
            })
        })
        .await;
    }
    world.finish().await;
    fake.end().await;
}
