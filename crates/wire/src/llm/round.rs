//! One model request and its answer, event by event.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_openai::error::OpenAIError;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, timeout_at};

use super::{
    Inner, Piece, RoundEvent,
    assembler::{Added, Answer, Assembler},
    chunk::Chunk,
    events::{BodyEnd, Events},
    fault::Fault,
    request::{Body, Reasoning, Request, UsageWanted},
    service::{self, Failed},
};
use crate::tap::Context;

/// How long an endpoint that has given its finish reason may take to end the answer: at most the
/// usage follows.
const AFTER_FINISH: Duration = Duration::from_secs(5);

/// Frames that are taken at once when they are there already: together they make one event.
const TOGETHER: usize = 64;

/// A running model request. Dropping it aborts the request.
pub struct Round {
    inner: Arc<Inner>,
    request: Option<Request>,
    context: Context,
    stage: Stage,
    assembler: Assembler,
    /// What the last chunk added and the caller has not taken: at most two pieces.
    ready: VecDeque<RoundEvent>,
    /// When the endpoint has been silent for too long, counted only while the caller waits.
    deadline: Option<(Instant, Duration)>,
    /// What was changed on a refusal, each at most once.
    adapted: Adapted,
}

/// What the request of a round was changed in.
#[derive(Debug, Default)]
struct Adapted {
    usage: bool,
    reasoning: bool,
}

enum Stage {
    Opening(BoxFuture<'static, Opened>),
    Reading(Events),
    Over,
}

type Opened = Result<Events, OpenAIError>;

/// What was read at once.
#[derive(Debug, Default)]
struct Heard {
    added: Added,
    /// Events, whatever they say.
    events: usize,
    /// After it nothing counts.
    fault: Option<Fault>,
}

impl Round {
    pub(super) fn start(
        inner: Arc<Inner>,
        request: Result<Request, Fault>,
        context: Context,
    ) -> Self {
        let mut round = Self {
            inner,
            request: None,
            context,
            stage: Stage::Over,
            assembler: Assembler::default(),
            ready: VecDeque::new(),
            deadline: None,
            adapted: Adapted::default(),
        };
        match request {
            Ok(request) => {
                round.request = Some(request);
                round.open();
            }
            Err(fault) => round.fail(fault),
        }
        round
    }

    /// The next event. The last one is [`RoundEvent::Ended`] or [`RoundEvent::Failed`], exactly
    /// one of them; after it this waits for ever. It may be dropped while it waits and called
    /// again: nothing is lost.
    pub async fn next(&mut self) -> RoundEvent {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.deadline = None;
                return event;
            }
            self.advance().await;
        }
    }

    /// Waits for one thing to happen.
    async fn advance(&mut self) {
        let (deadline, limit) = self.deadline();
        let (end, heard) = match &mut self.stage {
            Stage::Opening(opening) => {
                return match timeout_at(deadline, opening).await {
                    Ok(Ok(events)) => self.stage = Stage::Reading(events),
                    Ok(Err(error)) => self.refused(fault_of(error)),
                    Err(_) => self.fail(Fault::Silent(limit)),
                };
            }
            Stage::Reading(events) => {
                let mut heard = Heard::default();
                let mut take = |event: &str| heard.take(&mut self.assembler, event);
                let Ok(mut end) = timeout_at(deadline, events.read(&mut take)).await else {
                    return if self.assembler.is_finished() {
                        self.end(BodyEnd::Silent);
                    } else {
                        self.fail(Fault::Silent(limit));
                    };
                };
                for _ in 1..TOGETHER {
                    let ready = end.is_none().then(|| events.read(&mut take).now_or_never());
                    let Some(Some(next)) = ready else { break };
                    end = next;
                }
                (end, heard)
            }
            Stage::Over => return std::future::pending().await,
        };
        self.show(heard.added);
        if heard.events > 0 {
            self.deadline = None;
        }
        if let Some(fault) = heard.fault {
            self.fail(fault);
        } else if let Some(end) = end {
            self.end(end);
        }
    }

    fn show(&mut self, added: Added) {
        let reasoning = added.reasoning.map(|offset| {
            let text = self.assembler.reasoning_from(offset).to_owned();
            RoundEvent::Reasoning(Piece { offset, text })
        });
        let text = added.text.map(|offset| {
            let text = self.assembler.text_from(offset).to_owned();
            RoundEvent::Text(Piece { offset, text })
        });
        self.ready.extend(reasoning.into_iter().chain(text));
    }

    fn end(&mut self, body: BodyEnd) {
        let Context { turn, round, .. } = &self.context;
        let seed = format!("{turn:?} {round:?}");
        match std::mem::take(&mut self.assembler).end(body, &seed) {
            Ok(Answer {
                end,
                usage,
                message,
            }) => {
                self.stage = Stage::Over;
                self.ready.push_back(RoundEvent::Ended {
                    end,
                    usage,
                    message,
                });
            }
            Err(fault) => self.fail(fault),
        }
    }

    fn fail(&mut self, fault: Fault) {
        self.stage = Stage::Over;
        self.ready
            .push_back(RoundEvent::Failed(fault.describe(&self.inner.address)));
    }

    /// The endpoint did not take the request: adapts it if its words say how, once.
    fn refused(&mut self, fault: Fault) {
        let has_reasoning = self.request.as_ref().is_some_and(Request::has_reasoning);
        if fault.names("stream_options") && !self.adapted.usage {
            self.adapted.usage = true;
            self.inner.compat.set_usage(UsageWanted::No);
            self.open();
        } else if fault.names("reasoning_content") && has_reasoning && !self.adapted.reasoning {
            self.adapted.reasoning = true;
            self.inner
                .compat
                .set_reasoning(match self.inner.compat.reasoning() {
                    Reasoning::Omitted => Reasoning::Echoed,
                    Reasoning::Echoed => Reasoning::Omitted,
                });
            self.open();
        } else {
            self.fail(fault);
        }
    }

    /// Sends the request, again if it was sent before.
    fn open(&mut self) {
        let Some(request) = &self.request else { return };
        let body = Body {
            request,
            usage: self.inner.compat.usage(),
            reasoning: self.inner.compat.reasoning(),
        };
        let body = serde_json::value::to_raw_value(&body);
        let (client, body) = match (self.inner.client(), body) {
            (Ok(client), Ok(body)) => (client, body),
            (Err(fault), _) => return self.fail(fault),
            (_, Err(error)) => return self.fail(Fault::NoRequest(error.to_string())),
        };
        let http = self.inner.http.clone();
        let opening = service::open(client, http, self.context.clone(), body);
        self.stage = Stage::Opening(opening.boxed());
    }

    /// When to give up, and after how long. Until the model says something the first limit counts,
    /// whatever an endpoint sends to keep the connection open.
    fn deadline(&mut self) -> (Instant, Duration) {
        let timeouts = self.inner.timeouts;
        let limit = if self.assembler.is_finished() {
            AFTER_FINISH.min(timeouts.idle)
        } else if self.assembler.has_content() {
            timeouts.idle
        } else {
            timeouts.first_byte
        };
        *self
            .deadline
            .get_or_insert_with(|| (Instant::now() + limit, limit))
    }
}

impl Heard {
    /// Adds an event to the answer.
    fn take(&mut self, assembler: &mut Assembler, event: &str) {
        if self.fault.is_some() {
            return;
        }
        self.events += 1;
        match Chunk::of(event).map(|chunk| assembler.take(chunk)) {
            Some(Ok(more)) => self.added = self.added.and(more),
            Some(Err(fault)) => self.fault = Some(fault),
            None => assembler.take_broken(event),
        }
    }
}

fn fault_of(error: OpenAIError) -> Fault {
    if let OpenAIError::Boxed(error) = error {
        return match error.downcast::<Failed>() {
            Ok(failed) => failed.0,
            Err(error) => Fault::NoRequest(error.to_string()),
        };
    }
    if let OpenAIError::Reqwest(error) = error {
        return Fault::NoRequest(error.without_url().to_string());
    }
    Fault::NoRequest(error.to_string())
}
