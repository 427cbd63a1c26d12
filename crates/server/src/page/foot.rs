//! How a turn stands, below its answer.

use askama::Template;
use chat::{
    event::ParkReason,
    failure::Failure,
    ids::TurnId,
    message::{RoundEnd, Usage},
    outcome::TurnEnd,
    transcript::{CallState, End, Item, RoundState, Transcript},
};

use super::{render, visible, waited, words};

/// What a call that waits for an account does not say itself.
const GOES_ON: &str = "It goes on by itself once your account is connected";

/// A round that the endpoint's token limit cut.
const CUT: RoundState = RoundState::Finished {
    end: RoundEnd::Length,
};

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
    Ended(Box<Told>),
}

/// What is told of a turn that has ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    end: TurnEnd,
    /// The endpoint's token limit cut the last answer, as a notice says.
    is_cut: bool,
    failure: Option<Failure>,
    /// The model that answered, by its id.
    model: String,
    /// What the endpoint counted, of the rounds it counted; none when it never did.
    tokens: Option<Tokens>,
    /// From the question to the end.
    took: String,
    /// How long of that it waited for its user.
    waited: Option<String>,
    /// There is text that can be copied.
    has_text: bool,
}

/// Tokens in words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tokens {
    prompt: String,
    completion: String,
}

impl Standing {
    /// How the turn stands; `stuck` when its log cannot be written.
    pub(super) fn of(transcript: &Transcript, stuck: Stuck) -> Self {
        if let Some(end) = &transcript.end {
            return Self::Ended(Box::new(Told::of(transcript, end)));
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
                } => waits = waits.or(Some(GOES_ON)),
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
            Self::Ended(told) => match told.end {
                TurnEnd::Answered => "answered",
                TurnEnd::Cancelled => "cancelled",
                TurnEnd::Limit => "limit",
                TurnEnd::Failed => "failed",
                TurnEnd::Interrupted => "interrupted",
            },
        }
    }
}

impl Told {
    fn of(transcript: &Transcript, end: &End) -> Self {
        let rounds = || {
            transcript.items.iter().filter_map(|item| match item {
                Item::Round(round) => Some(round),
                Item::Call(_) | Item::Notice { .. } => None,
            })
        };
        let usage = rounds()
            .filter_map(|round| round.usage)
            .reduce(|sum, usage| Usage {
                prompt_tokens: sum.prompt_tokens.saturating_add(usage.prompt_tokens),
                completion_tokens: sum
                    .completion_tokens
                    .saturating_add(usage.completion_tokens),
            });
        let took = end.at.saturating_sub(transcript.started_at);
        let model = transcript.started.as_ref().map(|started| &*started.model);
        Self {
            end: end.end,
            is_cut: rounds().next_back().is_some_and(|last| last.state == CUT),
            failure: end.failure.clone().map(|failure| Failure {
                message: visible(&failure.message),
                ..failure
            }),
            model: visible(model.unwrap_or_default()),
            tokens: usage.map(|usage| Tokens {
                prompt: grouped(usage.prompt_tokens),
                completion: grouped(usage.completion_tokens),
            }),
            waited: waited::words(waited::in_all(transcript)),
            took: words::millis(u64::try_from(took).unwrap_or_default()),
            has_text: rounds().any(|round| !round.text.is_empty()),
        }
    }

    /// The question is to be asked again as it was: there is no proper answer yet.
    fn is_tried_again(&self) -> bool {
        match self.end {
            TurnEnd::Answered | TurnEnd::Cancelled => false,
            TurnEnd::Limit | TurnEnd::Failed | TurnEnd::Interrupted => true,
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

/// How the turn stands, below its answer.
pub(super) fn foot(id: &str, turn: &TurnId, standing: &Standing) -> String {
    render(&Foot { id, turn, standing })
}

/// A count with its thousands apart.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let counts = [0, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(counts, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
