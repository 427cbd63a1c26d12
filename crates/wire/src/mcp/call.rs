//! One tool call, from its start to its one end.

use std::{sync::Arc, time::Duration};

use chat::{
    failure::{Failure, Layer},
    ids::{CallId, TurnId},
    input::Refusal,
    outcome::Outcome,
};
use rmcp::{
    RoleClient,
    model::{JsonObject, RequestId},
    service::{RequestHandle, ServiceError},
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    deadline::{Deadline, Limits},
    ending::{after_acceptance, closed, ended, gone, judge, not_connected, of_error, of_result},
    inbox::{Cut, Progress, Purpose, Reply, Sending, Slot},
    session::{self, Session},
    trouble::{HEADER_MISMATCH, Kind, Trouble},
};

/// Events of a call that wait for their reader. Progress is merged when it is full.
const EVENTS: usize = 16;

/// A tool call to make.
#[derive(Clone, Debug)]
pub struct CallRequest {
    /// The server's name for the tool.
    pub tool: String,
    /// The arguments.
    pub arguments: JsonObject,
    /// What it belongs to.
    pub context: CallContext,
    /// The longest silence, from the sending on.
    pub idle: Duration,
    /// The longest time in all.
    pub total: Duration,
}

/// What a call belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallContext {
    /// The turn.
    pub turn: TurnId,
    /// The call of that turn.
    pub call: CallId,
}

/// A call being made. Dropping it cancels the call.
#[derive(Debug)]
pub struct RunningCall {
    /// What happens to it; exactly one [`CallEvent::Refused`] or [`CallEvent::Ended`] is the last.
    pub events: mpsc::Receiver<CallEvent>,
    cancel: CancellationToken,
}

impl RunningCall {
    /// Asks the server to stop it. It ends [`Outcome::Cancelled`], if it has not ended before.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum CallEvent {
    /// The server has it. Not told of calls whose answer comes in one piece.
    Accepted,
    /// It is under way (MCP `notifications/progress`): the newest report, older ones may be left
    /// out, none comes late.
    Progress {
        /// How far, in the server's unit.
        progress: f64,
        /// Where it ends, in the same unit.
        total: Option<f64>,
        /// What it is at.
        message: Option<String>,
    },
    /// It certainly was not executed. Never told after [`CallEvent::Accepted`].
    Refused {
        /// Why.
        refusal: Refusal,
        /// What a person is told.
        failure: Failure,
    },
    /// It ended.
    Ended {
        /// How.
        outcome: Outcome,
        /// MCP's `CallToolResult` as the server sent it, but for secrets that it was sent
        /// (`[redacted]`); made of the error's text for a JSON-RPC
        /// error; null if there was no answer.
        raw: Value,
        /// What a person is told, if it went wrong.
        failure: Option<Failure>,
    },
}

/// Starts a call.
pub(super) fn start(shared: &Arc<Shared>, request: CallRequest) -> RunningCall {
    let (events, receiver) = mpsc::channel(EVENTS);
    let cancel = CancellationToken::new();
    let call = Call {
        shared: shared.clone(),
        events,
        cancel: cancel.clone(),
    };
    shared.link.tasks.spawn(call.run(request));
    RunningCall {
        events: receiver,
        cancel,
    }
}

struct Call {
    shared: Arc<Shared>,
    events: mpsc::Sender<CallEvent>,
    cancel: CancellationToken,
}

/// How a call ends.
enum End {
    Reply(Reply),
    /// rmcp gave it up, and the wire saw no answer.
    GivenUp(Option<ServiceError>),
    /// The same, after a route's timeout had cut the answer.
    CutOff(Option<ServiceError>),
    /// Nobody wants it any more.
    Cancelled,
    /// The connection was closed.
    Closed,
    TimedOut(String),
}

/// How a call ended, and whether it was told before that the server has it.
struct Followed {
    end: End,
    accepted: bool,
}

impl Call {
    async fn run(self, request: CallRequest) {
        let last = self.last_event(request).await;
        // Nobody listens any more: then nobody needs to know.
        self.events.send(last).await.ok();
    }

    async fn last_event(&self, request: CallRequest) -> CallEvent {
        let session = tokio::select! {
            biased;
            () = self.given_up() => return ended(Outcome::Cancelled, None),
            () = self.shared.closed.cancelled() => return judge(gone()),
            session = self.shared.live_session() => session,
        };
        let session = match session {
            Ok(session) => session,
            Err(trouble) => return not_connected(trouble),
        };
        let slot = Slot::new(Purpose::Call(request.context));
        let sent = session.call(request.tool, request.arguments, &slot).await;
        let Ok(mut handle) = sent else {
            // rmcp's queue is closed: the call went nowhere.
            return self.session_gone(&session, gone()).await;
        };
        let limits = Limits {
            idle: request.idle,
            total: request.total,
        };
        let Followed { end, accepted } = self.follow(&slot, &mut handle, limits).await;
        session.wire.inbox.forget(&slot);
        let last = self
            .conclude(&session, handle.id, end, slot.withdraw())
            .await;
        if accepted {
            after_acceptance(last)
        } else {
            last
        }
    }

    /// What the end means, and what has to be done about it.
    async fn conclude(
        &self,
        session: &Arc<Session>,
        id: RequestId,
        end: End,
        sending: Sending,
    ) -> CallEvent {
        match (end, sending) {
            (End::Reply(Reply::Result(result)), _) => of_result(result),
            (End::Reply(Reply::Error { code, message }), _) => {
                if code == HEADER_MISMATCH {
                    self.shared.relist(session).await;
                }
                of_error(code, &message)
            }
            (End::Reply(Reply::Trouble(trouble)), _) => self.troubled(session, id, trouble).await,
            (End::GivenUp(_), Sending::Never) => self.session_gone(session, gone()).await,
            (End::GivenUp(error), Sending::Begun) => judge(session::lost(error.as_ref())),
            (End::CutOff(error), _) => judge(session::lost(error.as_ref()).cut_by_route()),
            (End::Cancelled, _) => {
                session.cancel(id, "cancelled by the user").await;
                ended(Outcome::Cancelled, None)
            }
            (End::Closed, Sending::Never) => judge(gone()),
            (End::Closed, Sending::Begun) => {
                session.cancel(id, "the connection is closed").await;
                judge(closed())
            }
            (End::TimedOut(message), _) => {
                session.cancel(id, &message).await;
                let advice = "The call may have had its effect: check before repeating it.";
                ended(
                    Outcome::Timeout,
                    Some(Failure::new(Layer::Server, message, advice)),
                )
            }
        }
    }

    async fn troubled(&self, session: &Arc<Session>, id: RequestId, trouble: Trouble) -> CallEvent {
        match trouble.kind {
            Kind::SessionGone => return self.session_gone(session, trouble).await,
            // rmcp learns the tool's headers from the list.
            Kind::HeaderMismatch => self.shared.relist(session).await,
            Kind::Limit | Kind::Protocol => {
                session.cancel(id, "the answer is of no use").await;
            }
            Kind::StaleToken
            | Kind::NeedsConnect
            | Kind::Denied
            | Kind::TooLarge
            | Kind::Unreachable
            | Kind::NoEndpoint
            | Kind::Lost => {}
        }
        judge(trouble)
    }

    /// Hands on what happens until the call has its end.
    async fn follow(
        &self,
        slot: &Slot,
        handle: &mut RequestHandle<RoleClient>,
        limits: Limits,
    ) -> Followed {
        let mut accepted = false;
        let mut progress: Option<Progress> = None;
        let mut deadline = Deadline::start(limits);
        let end = loop {
            let resolved = tokio::select! {
                biased;
                () = slot.changed() => None,
                permit = self.events.reserve(), if progress.is_some() => {
                    if let (Ok(permit), Some(progress)) = (permit, progress.take()) {
                        permit.send(progress.into());
                    }
                    continue;
                }
                () = self.given_up() => break End::Cancelled,
                () = self.shared.closed.cancelled() => break End::Closed,
                resolved = &mut handle.rx => Some(resolved),
                () = deadline.passed() => break End::TimedOut(deadline.message()),
            };
            let known = slot.take();
            if let Some(heard) = known.last_heard {
                deadline.heard(heard);
            }
            if known.accepted && !accepted {
                accepted = true;
                self.events.send(CallEvent::Accepted).await.ok();
            }
            progress = known.progress.or(progress);
            if let Some(reply) = known.reply {
                self.flush(progress).await;
                break End::Reply(reply);
            }
            if let Some(resolved) = resolved {
                let error = resolved.ok().and_then(Result::err);
                break match known.cut {
                    Some(Cut) => End::CutOff(error),
                    None => End::GivenUp(error),
                };
            }
        };
        Followed { end, accepted }
    }

    /// The last report goes out before the end does.
    async fn flush(&self, progress: Option<Progress>) {
        if let Some(progress) = progress {
            self.events.send(progress.into()).await.ok();
        }
    }

    /// Waits until nobody wants the call any more.
    async fn given_up(&self) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.events.closed() => {}
        }
    }

    /// Makes a new session, so that the call can be started again.
    async fn session_gone(&self, session: &Arc<Session>, trouble: Trouble) -> CallEvent {
        if self.shared.closed.is_cancelled() {
            return judge(trouble);
        }
        match self.shared.replace(session).await {
            Ok(_) => judge(trouble),
            Err(reconnecting) => not_connected(reconnecting),
        }
    }
}

impl From<Progress> for CallEvent {
    fn from(
        Progress {
            done: progress,
            total,
            message,
        }: Progress,
    ) -> Self {
        Self::Progress {
            progress,
            total,
            message,
        }
    }
}
