//! What a turn has said, as one growing text.

use chat::transcript::{Item, RoundState, Transcript};

/// What stands between the texts of two rounds.
const BETWEEN: &str = "\n\n";

/// How far the text of a turn was taken.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The item that is being said.
    item: usize,
    /// The try of that round whose text was taken.
    attempt: u32,
    /// How much of it was taken, bytes.
    taken: usize,
    /// Something was said in a round before it.
    before: bool,
}

/// The round was discarded after some of its text was taken: it is said anew, and what was sent of
/// it cannot be unsent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TakenBack;

impl Said {
    /// What was said since it was last taken: the texts of the rounds, with a blank line between
    /// them. What is taken at several times is in all what it is at once.
    pub(super) fn take(&mut self, transcript: &Transcript) -> Result<String, TakenBack> {
        let mut more = String::new();
        while let Some(item) = transcript.items.get(self.item) {
            let Item::Round(round) = item else {
                self.item += 1;
                continue;
            };
            let anew = round.attempt != self.attempt || round.text.len() < self.taken;
            if self.taken > 0 && anew {
                return Err(TakenBack);
            }
            self.attempt = round.attempt;
            let new = round.text.get(self.taken..).unwrap_or_default();
            if !new.is_empty() && self.taken == 0 && self.before {
                more.push_str(BETWEEN);
            }
            more.push_str(new);
            self.taken = round.text.len();
            match round.state {
                RoundState::Open | RoundState::Retrying { .. } => break,
                RoundState::Finished { .. } | RoundState::Broken => {
                    self.before |= self.taken > 0;
                    self.item += 1;
                    self.taken = 0;
                }
            }
        }
        Ok(more)
    }
}

/// All that was said.
pub(super) fn all(transcript: &Transcript) -> String {
    Said::default().take(transcript).unwrap_or_default()
}

#[cfg(test)]
mod tests;
