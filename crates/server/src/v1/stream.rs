//! The answer as it is said: `chat.completion.chunk` objects as server-sent events, without names
//! and ids, as OpenAI sends them.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use chat::failure::{Failure, Layer};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{
    answer::{created, finish_reason, id, problem, usage},
    request::StreamOptions,
    said::Said,
};
use crate::{error::Problem, live::View, turns::OwnedTurn};

/// How long a turn that says nothing may take to fail with a status of its own; then the stream
/// begins, and errors come in it.
const HEAD_WAIT: Duration = Duration::from_secs(10);

/// How often a silent stream is looked at; one that was silent since the last look says that it is
/// alive: well under every proxy's patience.
const KEEP_ALIVE: Duration = Duration::from_millis(7500);

/// What says that a stream is alive: a comment (WHATWG HTML, section 9.2.6).
const ALIVE: &[u8] = b":\n\n";

/// The stream of one turn, and its owner: dropping it before its end cancels the turn. The turn is
/// looked at whenever the program has taken what there was, so one that reads slowly gets more at
/// once, and slows nothing.
pub(super) struct Chunks {
    turn: OwnedTurn,
    options: StreamOptions,
    changes: watch::Receiver<u64>,
    said: Said,
    /// What every chunk has before its choices, as it is sent.
    head: String,
    /// What is to be sent, as it is.
    ready: Vec<u8>,
    over: bool,
}

/// What there is to send.
enum News {
    /// More text, perhaps none.
    More(String),
    /// The last of the text, and what comes after it.
    Last(String, Box<Result<Ending, Problem>>),
    /// Text that was sent does not count any more.
    TakenBack,
}

/// What comes after the text.
struct Ending {
    finish_reason: &'static str,
    usage: Option<Value>,
}

impl Chunks {
    /// The stream of a turn that has begun to say something, or has had the time to. One that has
    /// failed before it said anything is given back.
    pub(super) async fn begin(turn: OwnedTurn, options: StreamOptions) -> Result<Self, OwnedTurn> {
        let mut chunks = Self {
            changes: turn.running.live.changes(),
            head: head(&turn),
            turn,
            options,
            said: Said::default(),
            ready: Vec::new(),
            over: false,
        };
        let first = tokio::time::timeout(HEAD_WAIT, chunks.first()).await;
        let first = first.unwrap_or(News::More(String::new()));
        if let News::Last(_, ending) = &first
            && ending.is_err()
        {
            return Err(chunks.turn);
        }
        chunks.push_delta(r#"{"role":"assistant","content":"","refusal":null}"#);
        chunks.take(first);
        Ok(chunks)
    }

    pub(super) fn into_response(self) -> Response {
        let mut alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        // One that was busy is not silent.
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sent = stream::unfold((self, alive), |(mut chunks, mut alive)| async move {
            let bytes = chunks.next(&mut alive).await?;
            Some((Ok::<_, Infallible>(bytes), (chunks, alive)))
        });
        let mut response = Response::new(Body::from_stream(sent));
        let headers = response.headers_mut();
        let events = HeaderValue::from_static("text/event-stream");
        headers.insert(header::CONTENT_TYPE, events);
        let no_cache = HeaderValue::from_static("no-cache");
        headers.insert(header::CACHE_CONTROL, no_cache);
        response
    }

    /// The next bytes: all that there is to send.
    async fn next(&mut self, alive: &mut Interval) -> Option<Bytes> {
        let mut looks = 0;
        loop {
            if !self.ready.is_empty() {
                return Some(std::mem::take(&mut self.ready).into());
            }
            if self.over {
                return None;
            }
            self.changes.mark_unchanged();
            let news = self.look();
            self.take(news);
            if self.ready.is_empty() && !self.over {
                tokio::select! {
                    biased;
                    // The sender lives as long as the turn that is looked at.
                    changed = self.changes.changed() => changed.ok()?,
                    _ = alive.tick() => looks += 1,
                }
                if looks > 1 {
                    return Some(Bytes::from_static(ALIVE));
                }
            }
        }
    }

    /// The first that is worth sending.
    async fn first(&mut self) -> News {
        loop {
            self.changes.mark_unchanged();
            let news = self.look();
            match &news {
                News::More(text) if text.is_empty() => {}
                News::More(_) | News::Last(..) | News::TakenBack => return news,
            }
            if self.changes.changed().await.is_err() {
                return news;
            }
        }
    }

    fn look(&mut self) -> News {
        let (turn, said) = (&self.turn, &mut self.said);
        turn.running.live.look(|view| {
            let Ok(text) = said.take(&view.transcript) else {
                return News::TakenBack;
            };
            if view.transcript.is_open() && !view.closed {
                News::More(text)
            } else {
                News::Last(text, Box::new(ending(turn, view)))
            }
        })
    }

    fn take(&mut self, news: News) {
        match news {
            News::More(text) => self.push_text(&text),
            News::Last(text, ending) => {
                self.push_text(&text);
                match *ending {
                    Ok(ending) => self.push_end(&ending),
                    Err(problem) => self.push_error(&problem),
                }
            }
            News::TakenBack => {
                let turn = Some(self.turn.running.turn.clone());
                let problem = taken_back();
                self.push_error(&Problem { turn, ..problem });
            }
        }
    }

    fn push_text(&mut self, text: &str) {
        if !text.is_empty() {
            // Text can always be written as JSON.
            let text = serde_json::to_string(text).unwrap_or_default();
            self.push_delta(&format!(r#"{{"content":{text}}}"#));
        }
    }

    fn push_delta(&mut self, delta: &str) {
        self.push_choice(delta, "null");
    }

    fn push_end(&mut self, ending: &Ending) {
        self.push_choice("{}", &format!("\"{}\"", ending.finish_reason));
        if self.options.include_usage
            && let Some(usage) = &ending.usage
        {
            self.push_chunk(&[], &usage.to_string());
        }
        self.push_data(&["[DONE]"]);
        self.over = true;
    }

    /// The stream ends with it, without `[DONE]`.
    fn push_error(&mut self, problem: &Problem) {
        let error = serde_json::to_string(&problem.openai_body()).unwrap_or_default();
        self.push_data(&[&error]);
        self.over = true;
    }

    fn push_choice(&mut self, delta: &str, finish_reason: &str) {
        let choice = [
            r#"{"index":0,"delta":"#,
            delta,
            r#","logprobs":null,"finish_reason":"#,
            finish_reason,
            "}",
        ];
        self.push_chunk(&choice, "null");
    }

    /// A chunk with these parts of its one choice; with none without a choice.
    fn push_chunk(&mut self, choice: &[&str], usage: &str) {
        let head = std::mem::take(&mut self.head);
        let mut parts = vec![head.as_str()];
        parts.extend(choice);
        parts.push("]");
        if self.options.include_usage {
            parts.extend([r#","usage":"#, usage]);
        }
        parts.push("}");
        self.push_data(&parts);
        self.head = head;
    }

    /// An event (WHATWG HTML, section 9.2): JSON has no line breaks.
    fn push_data(&mut self, parts: &[&str]) {
        self.ready.extend_from_slice(b"data: ");
        for part in parts {
            self.ready.extend_from_slice(part.as_bytes());
        }
        self.ready.extend_from_slice(b"\n\n");
    }
}

/// What every chunk of the turn has before its choices.
fn head(turn: &OwnedTurn) -> String {
    let head = json!({
        "id": id(turn),
        "object": "chat.completion.chunk",
        "created": created(turn),
        "model": turn.model,
    });
    let head = head.to_string();
    let open = head.strip_suffix('}').unwrap_or(&head);
    format!(r#"{open},"choices":["#)
}

fn ending(turn: &OwnedTurn, view: &View) -> Result<Ending, Problem> {
    match problem(turn, view) {
        Some(problem) => Err(problem),
        None => Ok(Ending {
            finish_reason: finish_reason(&view.transcript),
            usage: usage(&view.transcript),
        }),
    }
}

/// The model's answer broke off and would be said anew.
fn taken_back() -> Problem {
    let failure = Failure::new(
        Layer::Model,
        "The model's answer broke off after some of it was sent.",
        "Ask again.",
    );
    Problem {
        code: "model_failed",
        ..Problem::upstream(failure)
    }
}
