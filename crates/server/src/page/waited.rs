//! How long a turn waited for its user.

use std::collections::BTreeMap;

use chat::transcript::{Item, Transcript};

use super::words;

/// What is shorter is not worth a word: a page that brings a token takes a moment. Milliseconds.
const WORTH_A_WORD: u64 = 5_000;

/// A wait as people say it; none for a moment.
pub(super) fn words(ms: u64) -> Option<String> {
    (ms >= WORTH_A_WORD).then(|| words::millis(ms))
}

/// How long a turn waited, in all: milliseconds. The calls of a round wait side by side.
pub(super) fn in_all(transcript: &Transcript) -> u64 {
    let mut calls = BTreeMap::new();
    let mut rounds = 0_u64;
    for item in &transcript.items {
        match item {
            Item::Round(round) => rounds = rounds.saturating_add(round.waited_ms),
            Item::Call(call) => {
                let longest = calls.entry(call.round.0).or_insert(0);
                *longest = call.waited_ms.max(*longest);
            }
            Item::Notice { .. } => {}
        }
    }
    calls
        .values()
        .fold(rounds, |sum, ms| sum.saturating_add(*ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_read_as_people_say_them() {
        let said = [0, 4_999, 5_000, 120_000].map(words);
        let said = said.map(Option::unwrap_or_default);
        assert_eq!(said, ["", "", "5 s", "2 min"]);
    }
}
