//! What several topics ask of the model, and look at afterwards.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use chat::{
    event::Logged,
    failure::Layer,
    ids::TurnId,
    outcome::{Outcome, TurnEnd},
    transcript::{CallState, Item, RoundItem, Transcript},
};
use demo::model::{Call, CapturedRequest, Model, Reply};
use harness::{PATIENCE, Posted, Response, User, World};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::json;

/// The function that reads.
pub(crate) const READ: &str = "Database__read_query";
/// The function that writes, which people are asked about.
pub(crate) const WRITE: &str = "Database__write_query";
/// A query that ends only when it is stopped.
pub(crate) const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
/// The pause between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A question that the scripted model answers with one query.
pub(crate) const SALES: &str = "What were our sales by year?";

/// An error as the API describes it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Problem {
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) layer: Layer,
    pub(crate) detail: String,
    #[serde(default)]
    pub(crate) advice: String,
    pub(crate) turn: Option<TurnId>,
}

/// The problem in a response, which has to have this status and code.
pub(crate) fn problem(response: &Response, status: u16, code: &str) -> Problem {
    let kind = response.headers.get("content-type");
    assert_eq!(
        (
            response.status.as_u16(),
            kind.and_then(|kind| kind.to_str().ok())
        ),
        (status, Some("application/problem+json")),
        "{}",
        response.body
    );
    let problem: Problem = response.json();
    assert_eq!(
        (problem.status, problem.code.as_str()),
        (status, code),
        "{problem:?}"
    );
    assert!(!problem.title.is_empty(), "{problem:?}");
    assert!(!problem.detail.is_empty(), "{problem:?}");
    problem
}

/// Fails unless what was asked for will be done.
pub(crate) fn accepted(response: &Response) {
    assert_eq!(response.status.as_u16(), 202, "{}", response.body);
}

/// A reply that is only calls of one function, one for each query.
pub(crate) fn queries(function: &str, sql: &[&str]) -> Reply {
    let call = |sql: &&str| Call::new(function, &json!({ "query": sql }));
    Reply::calls(sql.iter().map(call))
}

/// Asks something that the model does not answer.
pub(crate) async fn ask_in_vain(world: &World, user: &User, text: &str) -> Posted {
    let before = world.model().received();
    world.model().queue(Reply::hang());
    let posted = user.ask(text).await;
    world.model().wait_received(before + 1).await;
    posted
}

/// A turn's events for a reader that has those up to `last_id`.
pub(crate) fn events_after(user: &User, turn: &TurnId, last_id: &str) -> RequestBuilder {
    let accept = HeaderValue::from_static("text/event-stream");
    let last_id = HeaderValue::from_str(last_id).unwrap();
    let id = HeaderName::from_static("last-event-id");
    let headers = HeaderMap::from_iter([(header::ACCEPT, accept), (id, last_id)]);
    // These take the place of those that are there.
    user.request(Method::GET, &format!("/api/turns/{turn}/events"))
        .headers(headers)
}

/// The names of the events that are always there: all but what grows.
pub(crate) fn names(log: &[Logged]) -> Vec<&'static str> {
    let structural = log.iter().filter(|logged| logged.event.is_structural());
    structural.map(|logged| logged.event.name()).collect()
}

/// Fails unless the events are numbered from 1 without gaps, and in the order of time.
pub(crate) fn assert_numbered(log: &[Logged]) {
    let seqs: Vec<_> = log.iter().map(|logged| logged.seq).collect();
    assert_eq!(seqs, (1..).take(log.len()).collect::<Vec<_>>());
    assert!(log.is_sorted_by_key(|logged| logged.at), "{log:#?}");
}

/// How the turn ended.
pub(crate) fn end(transcript: &Transcript) -> TurnEnd {
    let end = transcript.end.as_ref();
    end.unwrap_or_else(|| panic!("it runs: {transcript:#?}"))
        .end
}

/// How its calls ended.
pub(crate) fn outcomes(transcript: &Transcript) -> Vec<Outcome> {
    let outcome = |state| match state {
        CallState::Finished { outcome } => outcome,
        CallState::Requested
        | CallState::Asking { .. }
        | CallState::Running
        | CallState::Parked { .. } => panic!("{state:?} in {transcript:#?}"),
    };
    transcript.calls().map(|call| outcome(call.state)).collect()
}

/// Its model rounds.
pub(crate) fn rounds(transcript: &Transcript) -> Vec<&RoundItem> {
    let rounds = transcript.items.iter().filter_map(|item| match item {
        Item::Round(round) => Some(round),
        Item::Call(_) | Item::Notice { .. } => None,
    });
    rounds.collect()
}

/// The text of its last round: the answer.
pub(crate) fn answer(transcript: &Transcript) -> &str {
    rounds(transcript)
        .last()
        .map_or("", |round| round.text.as_str())
}

/// What the model was sent as the results of calls, in one request.
pub(crate) fn results(request: &CapturedRequest) -> Vec<String> {
    let messages = request.messages().into_iter();
    messages
        .filter(|message| message["role"] == "tool")
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

/// The last request that the model got.
pub(crate) fn last_request(model: &Model) -> CapturedRequest {
    model.requests().pop().expect("a request")
}

/// Waits until `holds`, without asking Toolgate anything: a request would bring a token.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    found(async || holds().then_some(()).ok_or(what)).await;
}

/// Looks again and again until what is wanted is there; fails with what was there instead.
pub(crate) async fn found<T, I: Display>(mut look: impl AsyncFnMut() -> Result<T, I>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < until, "waited in vain: {instead}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
