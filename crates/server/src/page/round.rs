//! A model round as HTML.

use askama::Template;
use chat::{failure::Failure, message::RoundEnd, transcript::RoundState};

use super::render;

/// A whole round.
#[derive(Template)]
#[template(path = "round.html")]
pub(super) struct Round<'a> {
    pub(super) id: &'a str,
    /// The reasoning with its element, or nothing.
    pub(super) thoughts: &'a str,
    pub(super) blocks: &'a str,
    pub(super) note: &'a str,
}

/// The reasoning of a round.
#[derive(Template)]
#[template(path = "round_thoughts.html")]
pub(super) struct Thoughts<'a> {
    pub(super) id: &'a str,
    pub(super) text: &'a str,
}

/// What is to be said about a round beside its text.
#[derive(Template)]
#[template(path = "round_note.html")]
struct Note<'a> {
    id: &'a str,
    words: &'static str,
    retry: Option<&'a Failure>,
    seconds: String,
}

/// The note of a round in this state, which said `text`.
pub(super) fn note(id: &str, state: &RoundState, text: &str) -> String {
    let (words, retry, after_ms) = match state {
        RoundState::Open
        | RoundState::Finished {
            end: RoundEnd::Stop | RoundEnd::Calls,
        } => ("", None, 0),
        RoundState::Finished {
            end: RoundEnd::Length,
        } => ("The answer was cut at the model's length limit.", None, 0),
        RoundState::Finished {
            end: RoundEnd::Filtered,
        } => ("The answer was cut by the model's content filter.", None, 0),
        RoundState::Broken if text.is_empty() => ("", None, 0),
        RoundState::Broken => ("The answer breaks off here.", None, 0),
        RoundState::Retrying { failure, after_ms } => ("", Some(&failure.failure), *after_ms),
    };
    render(&Note {
        id,
        words,
        retry,
        seconds: seconds(after_ms),
    })
}

/// Milliseconds as seconds, with one decimal under ten.
pub(super) fn seconds(ms: u64) -> String {
    if ms < 10_000 {
        format!("{}.{}", ms / 1000, ms % 1000 / 100)
    } else {
        (ms / 1000).to_string()
    }
}
