//! One call, from the engine's wish to its end.

use std::{panic::AssertUnwindSafe, sync::Arc};

use chat::{
    event::{Answer, Event, JsonObject, Progress, Target},
    failure::{Failure, Layer},
    ids::CallId,
    input::{Input, Refusal},
    outcome::Outcome,
    shape::{self, CallResult},
    transcript::CallItem,
};
use futures_util::FutureExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::mcp::{CallContext, CallEvent, CallRequest, ConnectError, RunningCall};

use super::{Owned, Report};
use crate::{context::Context, servers::UserServers, tokens::Session};

/// Results larger than this are shaped away from the threads that serve everybody, bytes.
const SHAPED_ASIDE: usize = 256 * 1024;

/// A call that is out.
#[derive(Debug)]
pub(super) struct Running {
    /// Cancels it at its server.
    pub(super) cancel: CancellationToken,
    /// Which of the session's tokens it went out with.
    pub(super) token: u64,
}

/// Everything the task of a call needs.
pub(super) struct CallTask {
    pub(super) context: Arc<Context>,
    pub(super) owned: Owned,
    pub(super) session: Arc<Session>,
    pub(super) call: CallId,
    pub(super) target: Target,
    pub(super) arguments: JsonObject,
    pub(super) reports: mpsc::Sender<Report>,
}

impl CallTask {
    /// Sends the call on its way.
    pub(super) fn spawn(self, ended: &CancellationToken) -> Running {
        let running = Running {
            cancel: CancellationToken::new(),
            token: self.session.count(),
        };
        let (cancel, ended) = (running.cancel.clone(), ended.clone());
        let (call, reports) = (self.call, self.reports.clone());
        let tasks = self.context.tasks.clone();
        tasks.spawn(async move {
            let run = AssertUnwindSafe(self.run(cancel)).catch_unwind();
            if let Some(Err(_)) = ended.run_until_cancelled(Box::pin(run)).await {
                // A call has an outcome whatever happens, or its turn would wait for ever.
                let _gone = reports
                    .send(Report::Input(Box::new(ended_as(call, Outcome::Unknown))))
                    .await;
            }
        });
        running
    }

    async fn run(self, cancel: CancellationToken) {
        let scope = self.owned.scope();
        let connect = self
            .context
            .servers
            .connect(&self.session, &self.target.server, &scope);
        let connection = match cancel.run_until_cancelled(Box::pin(connect)).await {
            Some(Ok(connection)) => connection,
            Some(Err(error)) => return self.not_connected(error).await,
            None => return self.ended(Outcome::Cancelled, Value::Null, None).await,
        };
        let settings = &self.context.settings;
        let mut running = connection.call(CallRequest {
            tool: self.target.tool.clone(),
            arguments: self.arguments.clone(),
            context: CallContext {
                turn: self.owned.turn.clone(),
                call: self.call,
            },
            idle: settings.call_timeout,
            total: settings.call_max,
        });
        while let Some(event) = next(&mut running, &cancel).await {
            match event {
                CallEvent::Accepted => self.tell(Input::CallAccepted { call: self.call }).await,
                CallEvent::Progress {
                    progress,
                    total,
                    message,
                } => {
                    let progress = Progress {
                        call: self.call,
                        progress,
                        total,
                        message,
                    };
                    let _gone = self
                        .reports
                        .send(Report::Progress(Box::new(progress)))
                        .await;
                }
                CallEvent::Refused { refusal, failure } => {
                    if refusal == Refusal::NeedsConnect {
                        // Known before the call parks: that the server can be listed must not
                        // wake it.
                        let (subject, server) = (&self.owned.subject, &self.target.server);
                        let servers = &self.context.servers;
                        servers.account_wanted(subject, server, failure.clone());
                    }
                    return self.refused(refusal, failure).await;
                }
                CallEvent::Ended {
                    outcome,
                    raw,
                    failure,
                } => {
                    return self.ended(outcome, raw, failure).await;
                }
            }
        }
        // The connection went away under the call.
        self.ended(Outcome::Unknown, Value::Null, None).await;
    }

    /// There is no connection, so the call certainly did not run.
    async fn not_connected(&self, error: ConnectError) {
        match error {
            ConnectError::StaleToken(failure) => self.refused(Refusal::StaleToken, failure).await,
            ConnectError::NeedsConnect(failure) => {
                self.refused(Refusal::NeedsConnect, failure).await;
            }
            ConnectError::Forbidden(failure) => self.refused(Refusal::Denied, failure).await,
            ConnectError::Unavailable(failure) => {
                self.ended(Outcome::Unavailable, Value::Null, Some(failure))
                    .await;
            }
        }
    }

    async fn refused(&self, refusal: Refusal, failure: Failure) {
        self.tell(Input::CallRefused {
            call: self.call,
            refusal,
            failure,
        })
        .await;
    }

    async fn ended(&self, outcome: Outcome, raw: Value, failure: Option<Failure>) {
        let result = self.shaped(outcome, raw, failure.as_ref()).await;
        self.tell(Input::CallEnded {
            call: self.call,
            outcome,
            result,
            failure,
        })
        .await;
    }

    async fn shaped(&self, outcome: Outcome, raw: Value, failure: Option<&Failure>) -> CallResult {
        if raw.is_null() {
            let text = outcome.text_for_model();
            return CallResult::text(match failure {
                Some(failure) => format!("{text} ({})", failure.message),
                None => text.to_owned(),
            });
        }
        let limit = self.context.settings.result_shown_bytes;
        if !larger_than(&raw, SHAPED_ASIDE) {
            return shape::shape(raw, limit);
        }
        let shaping = self
            .context
            .tasks
            .spawn_blocking(move || shape::shape(raw, limit));
        shaping
            .await
            .unwrap_or_else(|_| CallResult::text(Outcome::Unknown.text_for_model()))
    }

    async fn tell(&self, input: Input) {
        let _gone = self.reports.send(Report::Input(Box::new(input))).await;
    }
}

/// The call that the event ends, and how.
pub(super) fn finished(event: &Event) -> Option<(CallId, Outcome)> {
    if let Event::CallFinished(finished) = event {
        Some((finished.call, finished.outcome))
    } else {
        None
    }
}

/// The end of a call that nothing came back from.
pub(super) fn ended_as(call: CallId, outcome: Outcome) -> Input {
    let result = CallResult::text(outcome.text_for_model());
    Input::CallEnded {
        call,
        outcome,
        result,
        failure: None,
    }
}

/// The call's next event; a cancel is passed on while waiting for it.
async fn next(running: &mut RunningCall, cancel: &CancellationToken) -> Option<CallEvent> {
    tokio::select! {
        event = running.events.recv() => event,
        () = cancel.cancelled() => {
            running.cancel();
            running.events.recv().await
        }
    }
}

/// Whether the JSON holds more than about `bytes` of text.
fn larger_than(value: &Value, bytes: usize) -> bool {
    fn weigh(value: &Value, left: &mut usize) {
        let own = match value {
            Value::String(text) => text.len(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => 4,
        };
        *left = left.saturating_sub(own);
        if *left == 0 {
            return;
        }
        match value {
            Value::Array(values) => values.iter().for_each(|value| weigh(value, left)),
            Value::Object(map) => map.values().for_each(|value| weigh(value, left)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut left = bytes;
    weigh(value, &mut left);
    left == 0
}

/// Keeps in mind which tools policy refuses the user, to be shown with their server.
pub(super) fn note_policy(user: &UserServers, call: &CallItem, outcome: Outcome) {
    let Some(target) = &call.target else { return };
    match outcome {
        Outcome::DeniedByPolicy => {
            let failure = call.failure.clone();
            let failure = failure.unwrap_or_else(|| {
                let message = "policy denies this";
                Failure::new(
                    Layer::Pomerium,
                    message,
                    "Ask whoever runs the route for access.",
                )
            });
            user.denied(&target.server, &target.tool, failure);
        }
        Outcome::Ok | Outcome::ToolError => user.allowed(&target.server, &target.tool),
        Outcome::InvalidArguments
        | Outcome::UnknownFunction
        | Outcome::DeniedByUser
        | Outcome::SwitchedOff
        | Outcome::ApprovalRequired
        | Outcome::Timeout
        | Outcome::Cancelled
        | Outcome::TokenExpired
        | Outcome::NeedsConnect
        | Outcome::Unavailable
        | Outcome::ProtocolError
        | Outcome::Limit
        | Outcome::Unknown => {}
    }
}

/// The structured log line of a call: who, what, how it ended; no arguments, results or tokens.
pub(super) fn account(owned: &Owned, call: &CallItem, outcome: Outcome) {
    let (server, tool) = call.target.as_ref().map_or(("", ""), |target| {
        (target.server.as_str(), target.tool.as_str())
    });
    let approval = match &call.answer {
        None => "not asked",
        Some(Answer::Approve) => "approved",
        Some(Answer::Deny { .. }) => "denied",
    };
    let failure = call.failure.as_ref();
    let ended = call.finished_at.unwrap_or_default();
    tracing::info!(
        target: "toolgate::call",
        subject = %owned.subject,
        turn = %owned.turn,
        call = %call.call,
        server,
        tool,
        approval,
        ?outcome,
        layer = failure.map(|failure| failure.layer).map(Layer::name),
        request_id = failure.and_then(|failure| failure.request_id.as_deref()),
        duration_ms = call.started_at.map(|started| ended - started),
        "call finished"
    );
}
