//! A model round as HTML.

use askama::Template;
use chat::{
    failure::Failure,
    message::RoundEnd,
    transcript::{RoundItem, RoundState},
};

use super::{render, words};

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
    /// The line that opens it.
    pub(super) summary: &'a str,
    pub(super) text: &'a str,
}

/// For how long a round has reasoned.
#[derive(Template)]
#[template(path = "round_reasoned.html")]
struct Reasoned<'a> {
    id: &'a str,
    words: &'a str,
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

/// The line that opens the reasoning of a round, whose element has the `id`.
pub(super) fn reasoned(id: &str, words: &str) -> String {
    render(&Reasoned { id, words })
}

/// What is said of a round's reasoning.
pub(super) fn reasoned_words(round: &RoundItem) -> String {
    let is_open = matches!(round.state, RoundState::Open | RoundState::Retrying { .. });
    if is_open && round.text_at.is_none() {
        return "Reasoning…".to_owned();
    }
    let done = round.text_at.or(round.finished_at);
    let took = done
        .zip(round.reasoning_at)
        .map(|(done, began)| done.saturating_sub(began));
    match took.and_then(|took| u64::try_from(took).ok()) {
        Some(ms) => format!("Reasoned for {}", words::millis(ms)),
        None => "Reasoned".to_owned(),
    }
}

/// The note of a round in this state, which said `text`.
pub(super) fn note(id: &str, state: &RoundState, text: &str) -> String {
    let (words, retry, after_ms) = match state {
        RoundState::Open
        // A notice of the turn says what cut it.
        | RoundState::Finished {
            end: RoundEnd::Stop | RoundEnd::Calls | RoundEnd::Length | RoundEnd::Filtered,
        } => ("", None, 0),
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
fn seconds(ms: u64) -> String {
    if ms < 10_000 {
        format!("{}.{}", ms / 1000, ms % 1000 / 100)
    } else {
        (ms / 1000).to_string()
    }
}
