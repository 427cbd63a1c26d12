//! A turn as HTML: the question, what came of the servers, and how it stands.

use askama::Template;
use chat::{
    event::{ParkReason, ServerState, ServerStateChanged},
    failure::Failure,
    ids::TurnId,
    outcome::TurnEnd,
    transcript::{CallState, Item, RoundState, Transcript},
};

use super::{render, visible};

/// The element that holds the turns of a conversation.
pub(super) const TURNS: &str = "turns";

/// The id of a turn's element; those inside it add to it.
pub(super) fn element(turn: &TurnId) -> String {
    format!("t-{turn}")
}

/// A whole turn.
#[derive(Template)]
#[template(path = "turn.html")]
pub(super) struct Whole<'a> {
    pub(super) id: &'a str,
    pub(super) message: &'a str,
    pub(super) head: &'a str,
    pub(super) items: &'a str,
    pub(super) foot: &'a str,
}

/// What the question met: servers that were not there, or too many of them.
#[derive(Template)]
#[template(path = "turn_head.html")]
struct Head<'a> {
    id: &'a str,
    troubles: Vec<Trouble<'a>>,
    left_out: String,
}

struct Trouble<'a> {
    server: String,
    words: &'static str,
    failure: Option<&'a Failure>,
}

/// How a turn stands.
#[derive(Template)]
#[template(path = "turn_foot.html")]
struct Foot<'a> {
    id: &'a str,
    turn: &'a TurnId,
    standing: &'a Standing,
}

/// How a turn stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing {
    /// It runs, and this is what it does.
    Runs(&'static str),
    /// It waits for its user, and this is what for.
    Waits(&'static str),
    /// It has ended.
    Ended(TurnEnd, Option<Failure>),
}

impl Standing {
    /// How the turn stands; `stuck` when its log cannot be written.
    pub(super) fn of(transcript: &Transcript, stuck: Stuck) -> Self {
        if let Some(end) = &transcript.end {
            return Self::Ended(end.end, end.failure.clone());
        }
        if stuck == Stuck::Yes {
            return Self::Runs(
                "Toolgate cannot save the answer at the moment; it goes on when it can",
            );
        }
        if transcript.cancelling.is_some() {
            return Self::Runs("Stopping");
        }
        let mut runs = false;
        let mut waits = None;
        for call in transcript.calls() {
            match call.state {
                CallState::Asking { .. } => waits = Some("Waiting for your approval"),
                CallState::Parked {
                    reason: ParkReason::StaleToken,
                } => waits = waits.or(Some("Waiting for a fresh token of your session")),
                CallState::Parked {
                    reason: ParkReason::NeedsConnect,
                } => waits = waits.or(Some("Waiting until you have connected your account")),
                CallState::Requested | CallState::Running => runs = true,
                CallState::Finished { .. } => {}
            }
        }
        match waits {
            Some(waits) => Self::Waits(waits),
            None if runs => Self::Runs("Calling tools"),
            None => Self::Runs(what_the_model_does(transcript)),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Runs(_) => "runs",
            Self::Waits(_) => "waits",
            Self::Ended(TurnEnd::Answered, _) => "answered",
            Self::Ended(TurnEnd::Cancelled, _) => "cancelled",
            Self::Ended(TurnEnd::Limit, _) => "limit",
            Self::Ended(TurnEnd::Failed, _) => "failed",
            Self::Ended(TurnEnd::Interrupted, _) => "interrupted",
        }
    }
}

/// Whether a turn stands still because its log cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// It does.
    Yes,
    /// It does not.
    No,
}

fn what_the_model_does(transcript: &Transcript) -> &'static str {
    let rounds = transcript.items.iter().rev();
    let last = rounds.into_iter().find_map(|item| match item {
        Item::Round(round) => Some(round),
        Item::Call(_) | Item::Notice { .. } => None,
    });
    match last {
        None => "Looking at your servers",
        Some(round) if matches!(round.state, RoundState::Retrying { .. }) => "Waiting to try again",
        Some(round) if round.text.is_empty() => "Thinking",
        Some(_) => "Writing",
    }
}

/// What stands between the question and the answer.
pub(super) fn head(id: &str, servers: &[ServerStateChanged], left_out: &[String]) -> String {
    let troubles = servers
        .iter()
        .filter_map(|server| {
            Some(Trouble {
                words: trouble(server.state)?,
                server: visible(&server.server),
                failure: server.failure.as_ref(),
            })
        })
        .collect();
    let left_out: Vec<_> = left_out.iter().map(|name| visible(name)).collect();
    render(&Head {
        id,
        troubles,
        left_out: left_out.join(", "),
    })
}

/// How the turn stands, below its answer.
pub(super) fn foot(id: &str, turn: &TurnId, standing: &Standing) -> String {
    render(&Foot { id, turn, standing })
}

fn trouble(state: ServerState) -> Option<&'static str> {
    match state {
        ServerState::Connecting | ServerState::Ready => None,
        ServerState::NeedsConnect => Some("wants you to connect your account"),
        ServerState::Forbidden => Some("is denied to you by policy"),
        ServerState::Unavailable => Some("is not available"),
    }
}
