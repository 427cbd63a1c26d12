//! One model request and its answer, event by event.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_openai::{error::OpenAIError, types::stream::StreamResponse};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tokio::time::{Instant, timeout_at};

use super::{
    Inner, Piece, RoundEvent,
    assembler::{Added, Answer, Assembler},
    chunk::Chunk,
    fault::Fault,
    link::{BodyEnd, Link},
    request::{Body, Reasoning, Request, UsageWanted},
    service::{Failed, service},
};
use crate::tap::Context;

/// How long an endpoint that has given its finish reason may take to end the answer: at most the
/// usage follows.
const AFTER_FINISH: Duration = Duration::from_secs(5);

/// Chunks that are taken at once when they are there already: together they make one event.
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
    Opening(BoxFuture<'static, Opened>, Arc<Link>),
    Reading(StreamResponse<Chunk>, Arc<Link>),
    Over,
}

type Opened = Result<StreamResponse<Chunk>, OpenAIError>;

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
        match &mut self.stage {
            Stage::Opening(opening, link) => match timeout_at(deadline, opening).await {
                Ok(Ok(stream)) => self.stage = Stage::Reading(stream, Arc::clone(link)),
                Ok(Err(error)) => self.refused(fault_of(error)),
                Err(_) => self.fail(Fault::Silent(limit)),
            },
            Stage::Reading(stream, _) => match timeout_at(deadline, stream.next()).await {
                Ok(item) => self.take_ready(item),
                Err(_) if self.assembler.is_finished() => self.end(BodyEnd::Silent),
                Err(_) => self.fail(Fault::Silent(limit)),
            },
            Stage::Over => std::future::pending().await,
        }
    }

    /// Takes an item, and those behind it that are there already.
    fn take_ready(&mut self, first: Option<Result<Chunk, OpenAIError>>) {
        self.deadline = None;
        let mut added = Added::default();
        let mut ready = Some(first);
        let mut room = TOGETHER;
        while let Some(item) = ready
            && let Stage::Reading(stream, link) = &mut self.stage
        {
            let Some(item) = item else {
                // Without a word its reader was dropped by async-openai: it panicked.
                let cut = || BodyEnd::Cut("the reader failed".to_owned());
                let end = link.body_end().unwrap_or_else(cut);
                self.show(added);
                return self.end(end);
            };
            link.settle();
            match take(&mut self.assembler, item) {
                Ok(more) => added = added.and(more),
                Err(fault) => {
                    self.show(added);
                    return self.fail(fault);
                }
            }
            room -= 1;
            ready = if room > 0 {
                stream.next().now_or_never()
            } else {
                None
            };
        }
        self.show(added);
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
        let link = Link::new();
        let http = self.inner.http.clone();
        let client =
            client.with_http_service(service(http, self.context.clone(), Arc::clone(&link)));
        let opening = async move { client.chat().create_stream_byot(&body).await };
        self.stage = Stage::Opening(opening.boxed(), link);
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

/// Adds an item of the stream to the answer.
fn take(assembler: &mut Assembler, item: Result<Chunk, OpenAIError>) -> Result<Added, Fault> {
    match item {
        Ok(chunk) => assembler.take(chunk),
        Err(OpenAIError::JSONDeserialize(_, text)) => {
            assembler.take_broken(&text);
            Ok(Added::default())
        }
        Err(error) => Err(fault_of(error)),
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
