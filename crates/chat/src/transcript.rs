//! The fold of a turn's log: everything that a person or a model sees of the turn.

mod fold;

use serde::{Deserialize, Serialize};

use crate::{
    event::{Answer, CancelBy, ParkReason, Progress, ServerStateChanged, Target, TurnStarted},
    failure::{Failure, RoundFailure},
    ids::{CallId, QuestionId, RoundId},
    message::{ModelCall, RoundEnd, Usage},
    outcome::{Outcome, TurnEnd},
    shape::{ShapeStep, facts::Facts},
};

/// A turn as its log tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// How it began; none only while nothing has been applied.
    pub started: Option<TurnStarted>,
    /// When it began, milliseconds since 1970.
    pub started_at: i64,
    /// What happened in it, in the order it is shown.
    pub items: Vec<Item>,
    /// The last word on each server, in the order they were first named.
    pub servers: Vec<ServerStateChanged>,
    /// Servers left out of the model's functions because there were too many.
    pub left_out: Vec<String>,
    /// Somebody asked to stop it.
    pub cancelling: Option<CancelBy>,
    /// How it ended; none while it runs.
    pub end: Option<End>,
    /// The number of the last event applied.
    pub seq: u64,
}

/// What an event changed in a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Nothing a reader sees.
    Nothing,
    /// The turn as a whole: its beginning, its servers, its end. With its end an open round, which
    /// can only be the last one, became [`RoundState::Broken`].
    Turn,
    /// The item at this index of [`Transcript::items`], which may be new.
    Item(usize),
}

impl Transcript {
    /// Whether the turn runs: it has not ended.
    pub fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// The call's place in [`Self::items`].
    pub fn item_index(&self, call: &CallId) -> Option<usize> {
        self.items
            .iter()
            .rposition(|item| matches!(item, Item::Call(item) if item.call == *call))
    }

    /// The call of this number.
    pub fn call(&self, call: CallId) -> Option<&CallItem> {
        self.calls().find(|item| item.call == call)
    }

    /// All calls, in the order the model asked for them.
    pub fn calls(&self) -> impl Iterator<Item = &CallItem> {
        self.items.iter().filter_map(|item| match item {
            Item::Call(call) => Some(call),
            Item::Round(_) | Item::Notice { .. } => None,
        })
    }
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub end: TurnEnd,
    /// What went wrong, when it failed.
    pub failure: Option<Failure>,
    /// When, milliseconds since 1970.
    pub at: i64,
}

/// One item of a transcript.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "where there are many items, most are calls"
)]
pub enum Item {
    /// A model round: its reasoning and text.
    Round(RoundItem),
    /// A call.
    Call(CallItem),
    /// Something worth knowing.
    Notice {
        /// The call it is about, if any.
        call: Option<CallId>,
        /// One sentence.
        text: String,
    },
}

/// A model round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundItem {
    /// Which.
    pub round: RoundId,
    /// Which try of it this is, from 1: what an earlier one said does not count.
    #[serde(default)]
    pub attempt: u32,
    /// How far it is.
    pub state: RoundState,
    /// The reasoning so far.
    pub reasoning: String,
    /// The text so far, Markdown.
    pub text: String,
    /// Fields the endpoint wants back with the message.
    pub extras: serde_json::Map<String, serde_json::Value>,
    /// The calls of the finished message that have no item yet (`call.requested` makes one).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ModelCall>,
    /// Tokens.
    pub usage: Option<Usage>,
    /// When its (last) request was begun, milliseconds since 1970.
    pub started_at: i64,
    /// When the first of its reasoning was in the log; none without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_at: Option<i64>,
    /// When the first of its text was in the log: its reasoning was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_at: Option<i64>,
    /// When it finished.
    pub finished_at: Option<i64>,
    /// Since when it waits to be begun again, after a restart: milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_since: Option<i64>,
    /// How long it waited for the turn's owner to come back, in all: milliseconds.
    #[serde(default)]
    pub waited_ms: u64,
}

/// How far a round is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RoundState {
    /// The request is out.
    Open,
    /// It failed and will be sent again.
    Retrying {
        /// Why.
        failure: RoundFailure,
        /// After how many milliseconds.
        after_ms: u64,
    },
    /// It came to its end.
    Finished {
        /// How.
        end: RoundEnd,
    },
    /// The turn ended while it was open: what text there is stands.
    Broken,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallItem {
    /// Which.
    pub call: CallId,
    /// The round that asked for it.
    pub round: RoundId,
    /// The model's own id for it.
    pub model_id: String,
    /// The function as the model named it.
    pub function: String,
    /// The server and tool; none when there is no such function.
    pub target: Option<Target>,
    /// The arguments as the model wrote them.
    pub arguments: String,
    /// Fields of the model's call that the endpoint wants back.
    pub extras: serde_json::Map<String, serde_json::Value>,
    /// How far it is.
    pub state: CallState,
    /// What the person said, if they were asked.
    pub answer: Option<Answer>,
    /// The last progress the server reported.
    pub progress: Option<Progress>,
    /// What the model is shown of the result; empty until it is finished.
    pub shown: String,
    /// The steps from the server's result to `shown`.
    pub steps: Vec<ShapeStep>,
    /// What the server's result holds.
    #[serde(default, skip_serializing_if = "Facts::is_empty")]
    pub facts: Facts,
    /// What went wrong and what to do.
    pub failure: Option<Failure>,
    /// When the model asked, was it (last) started and did it finish: milliseconds since 1970.
    pub requested_at: i64,
    /// See `requested_at`.
    pub started_at: Option<i64>,
    /// See `requested_at`.
    pub finished_at: Option<i64>,
    /// Since when it waits for its owner (an answer, an account, a token); none while it does
    /// not. Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_since: Option<i64>,
    /// How long it waited for its owner, in all: milliseconds.
    #[serde(default)]
    pub waited_ms: u64,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CallState {
    /// Asked for, not begun.
    Requested,
    /// Waiting for a person to approve it.
    Asking {
        /// The question.
        question: QuestionId,
    },
    /// With its server.
    Running,
    /// Waiting for its owner.
    Parked {
        /// For what.
        reason: ParkReason,
    },
    /// Done.
    Finished {
        /// How.
        outcome: Outcome,
    },
}
