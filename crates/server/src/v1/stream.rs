//! The answer as it is said: `chat.completion.chunk` objects as server-sent events, without names
//! and ids, as OpenAI sends them.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse as _, Response,
    sse::{Event as Frame, KeepAlive, Sse},
};
use chat::failure::{Failure, Layer};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    answer::{created, finish_reason, id, problem, usage},
    request::StreamOptions,
    said::Said,
};
use crate::{error::Problem, live::View, turns::OwnedTurn};

/// How long a turn that says nothing may take to fail with a status of its own; then the stream
/// begins, and errors come in it.
const HEAD_WAIT: Duration = Duration::from_secs(10);

/// How often a silent stream says that it is alive: well under every proxy's patience.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The stream of one turn, and its owner: dropping it before its end cancels the turn. The turn is
/// looked at whenever the program has taken what there was, so one that reads slowly gets more at
/// once, and slows nothing.
pub(super) struct Chunks {
    turn: OwnedTurn,
    options: StreamOptions,
    changes: watch::Receiver<u64>,
    said: Said,
    ready: VecDeque<Frame>,
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
            turn,
            options,
            said: Said::default(),
            ready: VecDeque::new(),
            over: false,
        };
        let first = tokio::time::timeout(HEAD_WAIT, chunks.first()).await;
        let first = first.unwrap_or(News::More(String::new()));
        if let News::Last(_, ending) = &first
            && ending.is_err()
        {
            return Err(chunks.turn);
        }
        chunks.push_delta(&json!({ "role": "assistant", "content": "", "refusal": null }));
        chunks.take(first);
        Ok(chunks)
    }

    pub(super) fn into_response(self) -> Response {
        let frames = stream::unfold(self, |mut chunks| async move {
            let frame = chunks.next().await?;
            Some((Ok::<_, Infallible>(frame), chunks))
        });
        let alive = KeepAlive::new().interval(KEEP_ALIVE);
        Sse::new(frames).keep_alive(alive).into_response()
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.over {
                return None;
            }
            self.changes.mark_unchanged();
            let news = self.look();
            self.take(news);
            if self.ready.is_empty() && !self.over {
                // The sender lives as long as the turn that is looked at.
                self.changes.changed().await.ok()?;
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
            self.push_delta(&json!({ "content": text }));
        }
    }

    fn push_delta(&mut self, delta: &Value) {
        let choice = json!({
            "index": 0, "delta": delta, "logprobs": null, "finish_reason": null,
        });
        self.push_chunk(&json!([choice]), &Value::Null);
    }

    fn push_end(&mut self, ending: &Ending) {
        let choice = json!({
            "index": 0, "delta": {}, "logprobs": null, "finish_reason": ending.finish_reason,
        });
        self.push_chunk(&json!([choice]), &Value::Null);
        if self.options.include_usage
            && let Some(usage) = &ending.usage
        {
            self.push_chunk(&json!([]), usage);
        }
        self.ready.push_back(Frame::default().data("[DONE]"));
        self.over = true;
    }

    /// The stream ends with it, without `[DONE]`.
    fn push_error(&mut self, problem: &Problem) {
        let error = serde_json::to_string(&problem.openai_body()).unwrap_or_default();
        self.ready.push_back(Frame::default().data(error));
        self.over = true;
    }

    fn push_chunk(&mut self, choices: &Value, usage: &Value) {
        let mut chunk = json!({
            "id": id(&self.turn),
            "object": "chat.completion.chunk",
            "created": created(&self.turn),
            "model": self.turn.model,
            "choices": choices,
        });
        if let Some(chunk) = chunk.as_object_mut()
            && self.options.include_usage
        {
            chunk.insert("usage".to_owned(), usage.clone());
        }
        self.ready
            .push_back(Frame::default().data(chunk.to_string()));
    }
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
