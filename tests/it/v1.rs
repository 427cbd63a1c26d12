//! `/v1` as programs use it: answers whole and streamed, nothing that waits for a person, errors
//! in OpenAI's shape.

mod endings;
mod requests;

use std::time::Duration;

use chat::{
    event::{CancelBy, Event},
    ids::TurnId,
    outcome::{Outcome, TurnEnd},
    transcript::Transcript,
};
use demo::model::{Fault, Reply};
use harness::{Frame, Response, User, World};
use http::Method;
use serde_json::{Value, json};

use crate::look::{SALES, end, eventually, outcomes};

pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A request that asks this.
pub(crate) fn asking(text: &str) -> Value {
    json!({ "model": null, "messages": [{ "role": "user", "content": text }] })
}

/// The same request, streamed and with its tokens counted.
pub(crate) fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    body
}

pub(crate) fn turn_of(headers: &http::HeaderMap) -> TurnId {
    let turn = headers.get("x-toolgate-turn").expect("a turn is named");
    TurnId::from(turn.to_str().unwrap())
}

/// The text of a whole answer.
pub(crate) fn content(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.body);
    let completion: Value = response.json();
    let text = &completion["choices"][0]["message"]["content"];
    text.as_str().expect("a text").to_owned()
}

/// The error in a response, which has to have this status and OpenAI's shape; its `code`.
pub(crate) fn refusal(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{}", response.body);
    assert_eq!(response.headers["content-type"], "application/json");
    openai_error(&response.json())
}

pub(crate) fn openai_error(body: &Value) -> Value {
    let error = &body["error"];
    for key in ["message", "type", "code"] {
        let text = error[key].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{key} of {body}");
    }
    assert!(error.as_object().unwrap().contains_key("param"), "{body}");
    error.clone()
}

/// What the frames of a stream say; each is a chunk, but the last may be `[DONE]`.
pub(crate) struct Chunks {
    pub(crate) all: Vec<Value>,
    pub(crate) done: bool,
}

impl Chunks {
    pub(crate) fn of(frames: &[Frame]) -> Self {
        let mut all = Vec::new();
        let mut done = false;
        for frame in frames {
            assert!(!done, "nothing comes after [DONE]: {frame:?}");
            assert_eq!((frame.event.as_str(), &frame.id), ("message", &None));
            done = frame.data == "[DONE]";
            if !done {
                all.push(frame.json());
            }
        }
        Self { all, done }
    }

    /// The text in them, in all.
    pub(crate) fn text(&self) -> String {
        let deltas = self.all.iter().filter_map(|chunk| {
            let text = chunk["choices"][0]["delta"]["content"].as_str();
            text.map(str::to_owned)
        });
        deltas.collect()
    }
}

/// The log of the turn, by the names of its events.
pub(crate) async fn events(user: &User, turn: &TurnId) -> Vec<Event> {
    let log = user.log(turn).await;
    log.into_iter().map(|logged| logged.event).collect()
}

fn stopped_by(transcript: &Transcript) -> Option<CancelBy> {
    assert_eq!(end(transcript), TurnEnd::Cancelled, "{transcript:#?}");
    transcript.cancelling
}

#[tokio::test]
async fn the_sales_question_is_answered_whole() {
    let world = World::start().await;
    let ana = world.ana();
    let response = ana.post(CHAT, &asking(SALES)).await;
    let text = content(&response);
    assert!(text.contains("2023"), "{text}");
    let completion: Value = response.json();
    let turn = turn_of(&response.headers);
    assert_eq!(completion["object"], "chat.completion");
    assert_eq!(completion["id"], format!("chatcmpl-{turn}"));
    assert_eq!(completion["model"], world.model().first_model());
    assert_eq!(completion["choices"][0]["finish_reason"], "stop");
    assert_eq!(completion["choices"][0]["message"]["role"], "assistant");
    let usage = &completion["usage"];
    let tokens = |key: &str| usage[key].as_u64().unwrap();
    assert_eq!(
        tokens("total_tokens"),
        tokens("prompt_tokens") + tokens("completion_tokens")
    );

    // The turn is there for its user, in no conversation, and for nobody else.
    let transcript = ana.turn(&turn).await;
    assert_eq!(end(&transcript), TurnEnd::Answered);
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);
    assert_eq!(transcript.started.unwrap().message, SALES);
    assert!(matches!(
        events(&ana, &turn).await.last(),
        Some(Event::TurnFinished { .. })
    ));
    let listed: Vec<Value> = ana.get_json("/api/conversations").await;
    assert_eq!(listed, Vec::<Value>::new());
    let ben = world.ben();
    ben.get(&format!("/api/turns/{turn}")).await.expect(404);
    ben.get(&format!("/api/turns/{turn}/events"))
        .await
        .expect(404);
    world.finish().await;
}

#[tokio::test]
async fn a_stream_has_data_lines_and_nothing_else() {
    let world = World::start().await;
    let ana = world.ana();
    let stream = ana.post(CHAT, &streamed(asking(SALES))).await.expect(200);
    let mut lines = stream.body.lines().filter(|line| !line.is_empty());
    for line in lines.clone() {
        // A comment keeps the connection alive.
        assert!(
            line.starts_with("data: ") || line.starts_with(':'),
            "{line}"
        );
    }
    assert_eq!(lines.next_back(), Some("data: [DONE]"));
    world.finish().await;
}

#[tokio::test]
async fn the_sales_question_is_answered_as_it_is_said() {
    let world = World::start().await;
    let ana = world.ana();
    let whole = content(&ana.post(CHAT, &asking(SALES)).await);
    let request = ana
        .request(Method::POST, CHAT)
        .json(&streamed(asking(SALES)));
    let chunks = Chunks::of(&ana.stream_of(request).await.rest().await);
    assert!(chunks.done);
    assert_eq!(chunks.text(), whole);
    let first = &chunks.all[0];
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    for chunk in &chunks.all {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], first["id"]);
        assert_eq!(chunk["created"], first["created"]);
        assert!(chunk["choices"][0]["delta"]["tool_calls"].is_null());
    }
    let [.., last, usage] = &chunks.all[..] else {
        panic!("{:?}", chunks.all)
    };
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["total_tokens"].as_u64().unwrap() > 0);

    // Who did not ask for the tokens is not sent them.
    let mut body = asking(SALES);
    body["stream"] = json!(true);
    let request = ana.request(Method::POST, CHAT).json(&body);
    let chunks = Chunks::of(&ana.stream_of(request).await.rest().await);
    assert!(chunks.done && chunks.all.iter().all(|chunk| chunk["usage"].is_null()));
    world.finish().await;
}

#[tokio::test]
async fn two_people_are_answered_side_by_side() {
    let world = World::start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let (for_ana, for_ben) = (asking(SALES), asking("Who am I for the database?"));
    let (to_ana, to_ben) = tokio::join!(ana.post(CHAT, &for_ana), ben.post(CHAT, &for_ben));
    assert!(content(&to_ana).contains("2023"));
    assert!(!content(&to_ben).contains("ana@"), "{}", to_ben.body);
    world.finish().await;
}

#[tokio::test]
async fn a_program_that_goes_away_cancels_its_turn() {
    let world = World::start().await;
    let ana = world.ana();
    let reply = Reply::text("One two three four five.");
    world.model().queue(reply.with_fault(Fault::HangAfter(3)));
    let request = ana
        .request(Method::POST, CHAT)
        .json(&streamed(asking("Hi")));
    let response = ana.try_begin(request).await.unwrap();
    let turn = turn_of(response.headers());
    assert!(ana.turn(&turn).await.is_open());
    drop(response);
    let transcript = ana.wait_end(&turn).await;
    assert_eq!(stopped_by(&transcript), Some(CancelBy::Connection));

    // Also one that waits for a whole answer, of which it has seen nothing yet.
    world.model().queue(Reply::hang());
    let before = world.model().received();
    let body = asking("Hi");
    tokio::select! {
        answer = ana.post(CHAT, &body) => panic!("{answer:?}"),
        () = world.model().wait_received(before + 1) => {}
    }
    let transcript = ana.wait_end(&newest_turn(&world)).await;
    assert_eq!(stopped_by(&transcript), Some(CancelBy::Connection));
    world.finish().await;
}

/// The turn that began last, of all that are stored.
pub(crate) fn newest_turn(world: &World) -> TurnId {
    newest(world, "TRUE").expect("a turn")
}

/// The turn that began last, if this holds of it.
fn newest(world: &World, holds: &str) -> Option<TurnId> {
    let database = rusqlite::Connection::open(world.data().join("toolgate.db")).unwrap();
    let newest = format!("SELECT id, {holds} FROM turns ORDER BY started_at DESC, id DESC LIMIT 1");
    let (id, holds): (String, bool) = database
        .query_row(&newest, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    holds.then_some(TurnId(id))
}

#[tokio::test]
async fn who_reads_slowly_slows_only_themselves_and_gets_more_at_once() {
    let pace = Duration::from_millis(2);
    let world = World::build().model_delay(pace).start().await;
    let ana = world.ana();
    // Six bytes on the wire for each character: more than what sockets hold on the way.
    let long = "\u{1}".repeat(2048);
    let words = 800;
    let text = vec![long; words].join(" ");
    world.model().queue(Reply::text(text.as_str()));
    let request = ana
        .request(Method::POST, CHAT)
        .json(&streamed(asking("Hi")));
    let mut stream = ana.stream_of(request).await;
    stream.next().await.expect("a first chunk");
    // Nothing more is read until the turn is over.
    eventually("the turn has ended", || {
        newest(&world, "ended IS NOT NULL").is_some()
    })
    .await;
    let chunks = Chunks::of(&stream.rest().await);
    assert!(chunks.done);
    assert!(chunks.text() == text, "it is another text");
    assert!(chunks.all.len() < words, "{}", chunks.all.len());
    world.finish().await;
}
