//! The turn log: what happened in a turn, in order. The names are public
//! (`GET /api/turns/{id}/events`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    failure::{Failure, RoundFailure},
    ids::{CallId, CatalogHash, ConversationId, QuestionId, RoundId, Sid, TurnId},
    message::{AssistantMessage, RoundEnd, ToolChoice, Usage},
    outcome::{Outcome, TurnEnd},
    policy::Policy,
    request::{ApiRequest, Owner},
    shape::CallResult,
    tool::Catalog,
};

/// An event in its place in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// Its number in the turn's log, from 1, without gaps.
    pub seq: u64,
    /// When it was written: milliseconds since 1970-01-01 UTC.
    pub at: i64,
    /// What happened.
    pub event: Event,
}

/// What can happen in a turn.
///
/// *Structural* events are committed before the effect that follows them is performed and before
/// any reader sees them. The others ([`Event::is_structural`]) are shown at once and committed
/// merged, soon after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Event {
    /// The first event of every log.
    #[serde(rename = "turn.started")]
    TurnStarted(TurnStarted),
    /// A server was reached or not. Written by the driver; replay ignores it.
    #[serde(rename = "server.state")]
    ServerState(ServerStateChanged),
    /// What the model can be offered from now on.
    #[serde(rename = "catalog.ready")]
    CatalogReady(CatalogReady),
    /// A model request is about to be sent.
    #[serde(rename = "round.started")]
    RoundStarted {
        /// Which round.
        round: RoundId,
        /// Which try of it, from 1.
        attempt: u32,
        /// Whether the model may call functions.
        tool_choice: ToolChoice,
        /// The catalogs whose functions it is offered.
        catalogs: Vec<CatalogHash>,
    },
    /// A model request failed and will be sent again.
    #[serde(rename = "round.retrying")]
    RoundRetrying {
        /// Which round.
        round: RoundId,
        /// Why.
        failure: RoundFailure,
        /// The wait before the next try, milliseconds.
        after_ms: u64,
    },
    /// What was shown of the round no longer counts: it is sent again from the start.
    #[serde(rename = "round.discarded")]
    RoundDiscarded {
        /// Which round.
        round: RoundId,
    },
    /// More of the model's reasoning.
    #[serde(rename = "reasoning.delta")]
    ReasoningDelta(Delta),
    /// More of the model's text.
    #[serde(rename = "text.delta")]
    TextDelta(Delta),
    /// A model round came to its end.
    #[serde(rename = "round.finished")]
    RoundFinished {
        /// Which round.
        round: RoundId,
        /// How.
        end: RoundEnd,
        /// Tokens, if the endpoint counted them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// All the model said in it.
        message: AssistantMessage,
    },
    /// The model asked for a call.
    #[serde(rename = "call.requested")]
    CallRequested(CallRequested),
    /// A person is asked whether a call may run.
    #[serde(rename = "question.asked")]
    QuestionAsked {
        /// Which question.
        question: QuestionId,
        /// The call that waits for it.
        call: CallId,
    },
    /// The person answered.
    #[serde(rename = "question.answered")]
    QuestionAnswered {
        /// Which question.
        question: QuestionId,
        /// What they said.
        answer: Answer,
    },
    /// The call is about to be sent to its server.
    #[serde(rename = "call.started")]
    CallStarted {
        /// Which call.
        call: CallId,
        /// Which try of it, from 1; a second one follows only on a certain refusal.
        attempt: u32,
    },
    /// The server reported progress (MCP `notifications/progress`).
    #[serde(rename = "call.progress")]
    CallProgress(Progress),
    /// The call was refused and waits for its owner.
    #[serde(rename = "call.parked")]
    CallParked {
        /// Which call.
        call: CallId,
        /// What it waits for.
        reason: ParkReason,
    },
    /// What a parked call waited for has come.
    #[serde(rename = "call.resumed")]
    CallResumed {
        /// Which call.
        call: CallId,
        /// The session whose token it goes on with, when that is another than before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sid: Option<Sid>,
    },
    /// The call has its outcome.
    #[serde(rename = "call.finished")]
    CallFinished(CallFinished),
    /// Something worth knowing that changes nothing.
    #[serde(rename = "notice")]
    Notice {
        /// The call it is about, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallId>,
        /// One sentence.
        text: String,
    },
    /// Somebody asked to stop. Recorded first, so that a restart goes on stopping.
    #[serde(rename = "turn.cancelling")]
    TurnCancelling {
        /// Who.
        by: CancelBy,
    },
    /// The last event of every log.
    #[serde(rename = "turn.finished")]
    TurnFinished {
        /// How it ended.
        end: TurnEnd,
        /// What went wrong, when it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
}

impl Event {
    /// Whether the event must be committed before anything follows from it.
    pub fn is_structural(&self) -> bool {
        !matches!(
            self,
            Self::ReasoningDelta(_) | Self::TextDelta(_) | Self::CallProgress(_)
        )
    }

    /// The public name of the event, as in its `type` field.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TurnStarted(_) => "turn.started",
            Self::ServerState(_) => "server.state",
            Self::CatalogReady(_) => "catalog.ready",
            Self::RoundStarted { .. } => "round.started",
            Self::RoundRetrying { .. } => "round.retrying",
            Self::RoundDiscarded { .. } => "round.discarded",
            Self::ReasoningDelta(_) => "reasoning.delta",
            Self::TextDelta(_) => "text.delta",
            Self::RoundFinished { .. } => "round.finished",
            Self::CallRequested(_) => "call.requested",
            Self::QuestionAsked { .. } => "question.asked",
            Self::QuestionAnswered { .. } => "question.answered",
            Self::CallStarted { .. } => "call.started",
            Self::CallProgress(_) => "call.progress",
            Self::CallParked { .. } => "call.parked",
            Self::CallResumed { .. } => "call.resumed",
            Self::CallFinished(_) => "call.finished",
            Self::Notice { .. } => "notice",
            Self::TurnCancelling { .. } => "turn.cancelling",
            Self::TurnFinished { .. } => "turn.finished",
        }
    }
}

/// How a turn began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnStarted {
    /// The conversation it belongs to; none for a turn of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// The turn it follows; none for the first of its conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TurnId>,
    /// What the user said.
    pub message: String,
    /// What a program asked for, if one began the turn. Shared: every copy of a transcript has it,
    /// and there may be images in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Arc<ApiRequest>>,
    /// The model that answers.
    pub model: String,
    /// The Pomerium session whose token its calls carry.
    pub sid: Sid,
}

impl TurnStarted {
    /// To whom the turn belongs.
    pub fn owner(&self) -> Owner {
        match self.request {
            Some(_) => Owner::Connection,
            None => Owner::Person,
        }
    }
}

/// A server's state, as one attempt to use it showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStateChanged {
    /// The server's name.
    pub server: String,
    /// Its state.
    pub state: ServerState,
    /// Why, when it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Whether a server can be used by a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// Being reached.
    Connecting,
    /// Its tools are listed.
    Ready,
    /// The user has to connect an account of theirs first.
    NeedsConnect,
    /// Pomerium's policy refuses the user.
    Forbidden,
    /// It cannot be reached, or what answers is no MCP server.
    Unavailable,
}

/// What the model can be offered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatalogReady {
    /// The catalogs, by server name.
    pub catalogs: Vec<Arc<Catalog>>,
    /// The functions made of them, by function name.
    pub functions: Vec<FunctionEntry>,
    /// Servers left out because the functions were too many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// Which tool a function stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionEntry {
    /// The name the model knows.
    pub name: String,
    /// The server.
    pub server: String,
    /// The tool on that server.
    pub tool: String,
    /// What happens to a call before it runs.
    pub policy: Policy,
}

/// A piece of a growing text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The round that says it.
    pub round: RoundId,
    /// Where it starts in the round's text: bytes of UTF-8. Applying a delta twice is harmless.
    pub offset: usize,
    /// The piece.
    pub text: String,
}

/// A call as the model asked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRequested {
    /// Its number in the turn.
    pub call: CallId,
    /// The round that asked.
    pub round: RoundId,
    /// The model's own id for it.
    pub model_id: String,
    /// The function as the model named it.
    pub function: String,
    /// The server and tool it stands for; none when there is no such function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The arguments as the model wrote them.
    pub arguments: String,
}

/// A tool on a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// The server's name.
    pub server: String,
    /// The tool's name on it.
    pub tool: String,
}

/// What a person said to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// Run it, this once.
    Approve,
    /// Do not run it.
    Deny {
        /// Why; told to the model; may be empty. At most 4 KiB of it are kept.
        #[serde(default)]
        reason: String,
    },
}

/// How far a call is (MCP `ProgressNotificationParams`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Which call.
    pub call: CallId,
    /// How much is done, in the server's own unit; grows.
    pub progress: f64,
    /// How much there is to do, if the server knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a parked call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// A newer token of its session: the page coming back brings one.
    StaleToken,
    /// The person connecting their account to the server.
    NeedsConnect,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallFinished {
    /// Which call.
    pub call: CallId,
    /// How.
    pub outcome: Outcome,
    /// The result as the server gave it, and as the model gets it.
    pub result: CallResult,
    /// What went wrong and what to do, for the person; none when all went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Who stopped a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelBy {
    /// Its user.
    User,
    /// Its owner was the connection of a program, which went away.
    Connection,
    /// Recovery: nobody came back after a restart.
    Recovery,
}

/// A JSON object, as arguments are.
pub type JsonObject = Map<String, Value>;
