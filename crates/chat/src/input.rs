//! Everything that can happen to the engine.

use std::sync::Arc;

use crate::{
    event::{Answer, CancelBy, ParkReason, TurnStarted},
    failure::{Failure, RoundFailure},
    ids::{CallId, QuestionId, RoundId, Sid},
    message::{AssistantMessage, RoundEnd, Usage},
    outcome::Outcome,
    shape::CallResult,
    toolbox::Toolbox,
};

/// An input of [`crate::turn::Turn::on`].
#[derive(Clone, Debug)]
pub enum Input {
    /// The turn begins. Its `turn.started` is already in the log (it was written together with
    /// the turn itself), so the engine does not record it again.
    Start(TurnStarted),
    /// The catalogs are there, or have changed: they count from the next round.
    CatalogReady(Arc<Toolbox>),
    /// A model round came to its end.
    RoundEnded {
        /// Which round.
        round: RoundId,
        /// How.
        end: RoundEnd,
        /// Tokens.
        usage: Option<Usage>,
        /// All the model said.
        message: AssistantMessage,
    },
    /// A model round failed, or was aborted.
    RoundFailed {
        /// Which round.
        round: RoundId,
        /// Why.
        failure: RoundFailure,
        /// What a reader has seen of it.
        partial: Partial,
    },
    /// The server has the call: from now on it is never started again.
    CallAccepted {
        /// Which call.
        call: CallId,
    },
    /// The call certainly was not executed; nothing more comes of it. After `CallAccepted` that is
    /// no longer certain, and the call ends `protocol_error`.
    CallRefused {
        /// Which call.
        call: CallId,
        /// Why.
        refusal: Refusal,
        /// What a person is told if this ends the call.
        failure: Failure,
    },
    /// The call ended.
    CallEnded {
        /// Which call.
        call: CallId,
        /// How.
        outcome: Outcome,
        /// What came back, shaped for the model.
        result: CallResult,
        /// What a person is told, if it went wrong.
        failure: Option<Failure>,
    },
    /// What parked calls wait for has come.
    Unparked {
        /// What.
        reason: ParkReason,
        /// For which server; all servers if none.
        server: Option<String>,
        /// The session the turn is bound to from now on, when that is another than before.
        sid: Option<Sid>,
    },
    /// A person answered a question.
    Answered {
        /// Which.
        question: QuestionId,
        /// What.
        answer: Answer,
    },
    /// A timer of the engine's ran out.
    Timer(TimerId),
    /// Somebody wants the turn to stop.
    Cancel(CancelBy),
    /// The log is no longer ours to write: another epoch owns the turn, or the append failed.
    LogLost,
}

/// What a reader has seen of a failed round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partial {
    /// Nothing.
    Nothing,
    /// Some text or reasoning.
    Shown,
}

/// Why a call was refused before it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Pomerium does not take the token (any more).
    StaleToken,
    /// The server's upstream account is not connected.
    NeedsConnect,
    /// Policy denies the tool or the server.
    Denied,
    /// The request is larger than Toolgate or Pomerium lets pass.
    TooLarge,
    /// The server has forgotten the MCP session (404).
    SessionGone,
    /// The server's idea of the tool's headers changed (`-32020`).
    HeaderMismatch,
}

/// A timer the engine set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerId {
    /// The wait before a round is sent again.
    Retry(RoundId),
    /// The time running calls have to end after a cancel.
    CancelGrace,
    /// The time a parked call waits.
    Parked(CallId),
    /// The time a question waits.
    Question(QuestionId),
}
