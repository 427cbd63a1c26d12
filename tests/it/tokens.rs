//! External Tokens: they expire in the middle of turns, belong to one session, and stay secret.

use std::{
    future::ready,
    sync::Arc,
    time::{Duration, Instant},
};

use chat::{
    event::{Answer, Event, Logged, ParkReason},
    ids::Sid,
    outcome::{Outcome, TurnEnd},
    transcript::{CallState, Transcript},
};
use demo::model::{Call, ChatRequest, Reply};
use harness::{Ended, Events, Frame, Posted, User, World};
use serde_json::json;

use crate::{
    fake::{Fake, tool},
    look::eventually,
    servers::{build, outcome, turn},
};

/// A pace at which a model never says a word.
const NEVER: Duration = Duration::from_hours(1);

/// Lets the model make a read of northwind that can be found in its journal.
fn queue_read(world: &World, mark: &str) {
    let sql = json!({ "query": format!("SELECT '{mark}' AS mark") });
    world
        .model()
        .queue(Reply::calls([Call::new("Database__read_query", &sql)]));
}

/// Asks, and waits until the model was asked: it answers when its pace is set.
async fn ask_and_hold(world: &World, user: &User) -> (Posted, Events) {
    let posted = user.ask("Look").await;
    let mut log = user.events(&posted.turn, 0).await;
    log.until(|frame| frame.event == "round.started").await;
    world.model().wait_received(1).await;
    (posted, log)
}

fn event(frame: &Frame) -> Event {
    let logged: Logged = serde_json::from_str(&frame.data).unwrap();
    logged.event
}

fn is_parked(event: &Event) -> bool {
    let reason = ParkReason::StaleToken;
    matches!(event, Event::CallParked { reason: why, .. } if *why == reason)
}

fn parkings(log: &[Logged]) -> usize {
    log.iter().filter(|logged| is_parked(&logged.event)).count()
}

/// The sessions that resumed calls name.
fn resumed(log: &[Logged]) -> Vec<Option<Sid>> {
    let resumed = log.iter().filter_map(|logged| {
        let Event::CallResumed { sid, .. } = &logged.event else {
            return None;
        };
        Some(sid.clone())
    });
    resumed.collect()
}

fn answered(transcript: &Transcript) -> bool {
    transcript.end.as_ref().map(|end| end.end) == Some(TurnEnd::Answered)
}

#[tokio::test]
async fn a_call_with_a_stale_token_waits_until_the_page_comes_back() {
    let world = World::build().model_delay(NEVER).start().await;
    let ana = world.ana();
    queue_read(&world, "parked-once");
    world.model().queue(Reply::text("Done."));
    let (posted, mut log) = ask_and_hold(&world, &ana).await;
    let mut page = ana.page_stream(&posted.conversation).await;
    world.standin().recall_tes(ana.sid);
    world.model().set_delay(Duration::ZERO);
    let seen = log.until(|frame| frame.event == "call.parked").await;
    assert!(is_parked(&event(seen.last().unwrap())));

    let begun = Instant::now();
    page.rest().await;
    assert_eq!(page.ended, Some(Ended::Properly));
    // Far less than the two minutes that a stream lasts.
    assert!(begun.elapsed() < Duration::from_secs(30), "not at once");
    assert_eq!(world.journal().with("parked-once").len(), 0);

    let page = ana.page_stream(&posted.conversation).await;
    let rest = log.rest().await;
    let names: Vec<_> = rest.iter().map(|frame| frame.event.as_str()).collect();
    assert_eq!(
        names[..3],
        ["call.resumed", "call.started", "call.finished"]
    );
    let transcript = ana.turn(&posted.turn).await;
    assert!(answered(&transcript), "{transcript:#?}");
    let log = ana.log(&posted.turn).await;
    assert_eq!(resumed(&log), [None], "it is the same session");
    let ran = world.journal();
    let ran = ran.with("parked-once");
    assert_eq!(ran.len(), 1, "{ran:?}");
    drop(page);
    world.finish().await;
}

#[tokio::test]
async fn a_turn_that_outlives_its_token_waits_for_the_next() {
    let life = Duration::from_secs(1);
    let world = World::build().model_delay(NEVER).start().await;
    let ana = world.ana();
    queue_read(&world, "outlived");
    world.model().queue(Reply::text("Done."));
    let posted = ana.ask("Look").await;
    world.model().wait_received(1).await;
    // The newest token is one that ends soon, and nobody is there while it does.
    world.standin().set_te_lifetime(life);
    ana.get("/api/session").await.expect(200);
    tokio::time::sleep(life).await;
    world.standin().set_te_lifetime(Duration::from_mins(5));
    let before = world.standin().requests("db.localhost");
    world.model().set_delay(Duration::ZERO);
    let refused = || world.standin().requests("db.localhost") > before;
    eventually("a stale token is refused", refused).await;
    let transcript = ana.wait_end(&posted.turn).await;
    assert!(answered(&transcript), "{transcript:#?}");
    let log = ana.log(&posted.turn).await;
    assert_eq!((parkings(&log), resumed(&log)), (1, vec![None]));
    assert_eq!(world.journal().with("outlived").len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_page_that_stays_open_keeps_a_long_turn_going() {
    let life = Duration::from_secs(4);
    let world = World::build()
        .token_life(life)
        .model_delay(Duration::from_millis(160))
        .start()
        .await;
    let ana = world.ana();
    for round in 0..8 {
        queue_read(&world, &format!("kept-{round}"));
    }
    world.model().queue(Reply::text("Done."));
    let begun = Instant::now();
    let posted = ana.ask("Look").await;
    let page = async {
        loop {
            ana.page_stream(&posted.conversation).await.rest().await;
        }
    };
    tokio::select! {
        () = page => {}
        () = world.model().wait_received(9) => {}
    }
    let took = begun.elapsed();
    let transcript = ana.wait_end(&posted.turn).await;
    assert!(answered(&transcript), "{transcript:#?}");
    assert!(
        took > life,
        "the turn was too short to show anything: {took:?}"
    );
    let log = ana.log(&posted.turn).await;
    assert_eq!(
        parkings(&log),
        0,
        "the page's reconnects bring tokens in time"
    );
    world.finish().await;
}

#[tokio::test]
async fn a_server_that_takes_no_token_is_not_asked_for_ever() {
    let fake = Fake::plain(&[tool("work")]).await;
    let world = build().server("Strict", fake.url()).start().await;
    world.standin().refuse_tes("strict.localhost", "work");
    let ana = world.ana();
    let told = turn(&world, &ana, &[("Strict__work", json!({}))]).await;
    let call = told.call();
    assert_eq!(outcome(call), Outcome::TokenExpired);
    assert_eq!((parkings(&told.log), told.starts()), (2, 3));
    let failure = call.failure.as_ref().unwrap();
    assert_eq!(failure.layer, chat::failure::Layer::Pomerium);
    assert!(!failure.advice.is_empty());
    assert!(call.shown.contains("token expired"), "{}", call.shown);
    world.finish().await;
    fake.end().await;
}

/// Calls `Fake__work` with the question until that was done three times.
fn three_calls(request: &ChatRequest) -> Reply {
    let messages = request.messages();
    let results = messages.iter().filter(|message| message["role"] == "tool");
    if results.count() == 3 {
        return Reply::text("Done.");
    }
    let question = messages.iter().find(|message| message["role"] == "user");
    let from = question.expect("a question")["content"].clone();
    let call = Call::new("Fake__work", &json!({ "from": from }));
    Reply::calls([call])
}

#[tokio::test]
async fn two_sessions_of_one_person_never_mix() {
    let fake = Fake::plain(&[tool("work")]).await;
    let world = build()
        .server("Fake", fake.url())
        .script(Arc::new(three_calls))
        .model_delay(Duration::from_millis(5))
        .start()
        .await;
    let (laptop, phone, ben) = (world.ana(), world.ana(), world.ben());
    let users = [("laptop", &laptop), ("phone", &phone), ("ben", &ben)];
    let mut turns = Vec::new();
    for (from, user) in users {
        turns.push(user.ask(from).await.turn);
    }
    // Whoever looks brings newer tokens of their own session meanwhile.
    for (turn, looker) in turns.iter().zip([&phone, &laptop, &ben]) {
        assert!(answered(&looker.wait_end(turn).await));
    }
    let calls = fake.calls();
    assert_eq!(calls.len(), 9);
    for seen in calls {
        let from = seen.body["params"]["arguments"]["from"].as_str().unwrap();
        let (_, user) = users.iter().find(|(name, _)| *name == from).unwrap();
        assert_eq!(seen.claim("sid"), user.sid.to_string(), "{from}");
        assert_eq!(seen.claim("sub"), user.who.subject(), "{from}");
    }
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn a_parked_turn_goes_on_with_the_session_in_which_its_owner_opens_it() {
    let fake = Fake::plain(&[tool("work")]).await;
    let world = build()
        .server("Fake", fake.url())
        .model_delay(NEVER)
        .start()
        .await;
    let (laptop, phone, ben) = (world.ana(), world.ana(), world.ben());
    let call = Call::new("Fake__work", &json!({}));
    world.model().queue(Reply::calls([call]));
    world.model().queue(Reply::text("Done."));
    let (posted, laptops) = ask_and_hold(&world, &laptop).await;
    drop(laptops);
    let mut log = phone.events(&posted.turn, 0).await;
    world.standin().end_session(laptop.sid);
    world.model().set_delay(Duration::ZERO);
    log.until(|frame| frame.event == "call.parked").await;

    // Other requests of the other session, and other people, are not meant.
    phone.get("/api/session").await;
    let bens = ben.page_stream(&posted.conversation).await;
    let state = phone.turn(&posted.turn).await.calls().next().unwrap().state;
    assert!(matches!(state, CallState::Parked { .. }), "{state:?}");
    assert_eq!(fake.calls().len(), 0);

    let page = phone.page_stream(&posted.conversation).await;
    log.rest().await;
    let transcript = phone.turn(&posted.turn).await;
    assert!(answered(&transcript), "{transcript:#?}");
    let sid = Sid(phone.sid.to_string());
    assert_eq!(resumed(&phone.log(&posted.turn).await), [Some(sid)]);
    let calls = fake.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].claim("sid"), phone.sid.to_string());
    drop((bens, page));
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn a_question_answered_elsewhere_runs_with_a_token_from_there() {
    let world = World::start().await;
    let (laptop, phone) = (world.ana(), world.ana());
    let sql =
        json!({ "query": "UPDATE Products SET UnitPrice = UnitPrice WHERE 'elsewhere' = ''" });
    world
        .model()
        .queue(Reply::calls([Call::new("Database__write_query", &sql)]));
    world.model().queue(Reply::text("Done."));
    let posted = laptop.ask("Change it").await;
    let (question, _) = laptop.wait_question(&posted.turn).await;
    world.standin().end_session(laptop.sid);
    let answered_with = phone.answer(&posted.turn, question, &Answer::Approve).await;
    assert_eq!(answered_with.status, 202, "{}", answered_with.body);
    // The phone shows the conversation, as it must have to answer in it.
    let mut stream = phone.page_stream(&posted.conversation).await;
    let page = stream.rest();
    let ended = phone.wait_end(&posted.turn);
    let transcript = tokio::select! {
        _ = page => panic!("the phone's page was ended"),
        transcript = ended => transcript,
    };
    assert!(answered(&transcript), "{transcript:#?}");
    assert_eq!(world.journal().with("elsewhere").len(), 1);
    // What of it is unread would keep its connection.
    drop(stream);
    world.finish().await;
}

/// Every value of a header or a token that must not be seen again.
const SECRETS: [&str; 3] = ["pom_mat_", "eyJ0eXAiOiJKV1Qi", "_pomerium="];

fn assert_clean(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for secret in SECRETS {
        let at = text.find(secret);
        let shown = at.and_then(|at| text.get(at.saturating_sub(200)..at + 40));
        assert_eq!(at, None, "{secret} is in {what}: {shown:?}");
    }
}

#[tokio::test]
async fn tokens_and_assertions_are_never_written_down_or_handed_on() {
    let fake = Fake::start(|seen| {
        ready(match (seen.method(), seen.tool()) {
            ("tools/call", "broken") => crate::fake::bare(500),
            _ => seen.plain(&["work", "strict", "broken"].map(tool)),
        })
    })
    .await;
    let mut world = build()
        .server("Fake", fake.url())
        .options(|options| "pom_mat_".clone_into(&mut options.pomerium.te_prefix))
        .setting(
            "RUST_LOG",
            "info,toolgate=trace,server=trace,wire=trace,store=trace,rmcp=trace,async_openai=trace",
        )
        .start_with_process()
        .await;
    world.standin().refuse_tes("fake.localhost", "strict");
    let ana = world.ana();
    let te = world.standin().issue_te(ana.sid).unwrap();
    let assertion = world
        .standin()
        .assertion(ana.sid, "chat.localhost")
        .unwrap();
    assert!(te.starts_with(SECRETS[0]) && assertion.starts_with(SECRETS[1]));
    let calls = ["Fake__work", "Fake__strict", "Fake__broken"].map(|name| (name, json!({})));
    let told = turn(&world, &ana, &calls).await;
    let outcomes = [Outcome::Ok, Outcome::TokenExpired, Outcome::ProtocolError];
    assert_eq!(told.outcomes(), outcomes);
    let started = told.transcript.started.as_ref().unwrap();
    let conversation = started.conversation.as_ref().unwrap();
    for path in [
        "/",
        &format!("/c/{conversation}"),
        "/api/servers",
        "/api/session",
        "/api/conversations",
        &format!("/api/turns/{}/events", told.turn),
    ] {
        let response = ana.get(path).await;
        assert_clean(path, response.body.as_bytes());
        assert_clean(path, format!("{:?}", response.headers).as_bytes());
    }
    for request in world.model().requests() {
        assert_clean("a model request", &request.body);
        assert_clean(
            "a model request",
            format!("{:?}", request.headers).as_bytes(),
        );
    }
    for seen in fake.seen() {
        assert_eq!(seen.header("authorization"), None);
        assert_clean("a call", seen.body.to_string().as_bytes());
    }
    world.toolgate().terminate().await;
    let log = world.toolgate().log();
    assert!(
        log.contains("toolgate::exchange"),
        "the log is not that detailed: {log}"
    );
    assert_clean("the log", log.as_bytes());
    for file in std::fs::read_dir(world.data()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            assert_clean(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
    world.finish().await;
    fake.end().await;
}
