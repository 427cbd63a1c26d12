//! Puts an answer together: owns its text, and decides at its end what it was.

use chat::message::{AssistantMessage, RoundEnd, Usage};
use serde_json::{Map, Value};

use super::{
    chunk::Chunk,
    delta::{self, Arguments, Delta, Event, Scope},
    events::BodyEnd,
    fault::Fault,
    shaper::Unreadable,
    slots::Slots,
    words::{Words, clean},
};

/// Bytes of one answer, text, reasoning and calls together: far beyond any model's longest.
pub(super) const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// One answer in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    text: String,
    reasoning: String,
    calls: Slots,
    extras: Map<String, Value>,
    finish: Option<String>,
    usage: Option<Usage>,
    /// Bytes of calls and extras.
    other_bytes: usize,
    /// Whether any event belonged to a chat completion.
    began: bool,
    /// An event could not be read: a part of the answer may be missing.
    broken: bool,
    /// The first event that belonged to no chat completion, cut.
    stray: Option<String>,
}

/// The bytes that an event added to the answer's texts: where they start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) text: Option<usize>,
    pub(super) reasoning: Option<usize>,
}

impl Added {
    /// What the next event added, with it.
    pub(super) fn and(self, next: Self) -> Self {
        Self {
            text: self.text.or(next.text),
            reasoning: self.reasoning.or(next.reasoning),
        }
    }
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) end: RoundEnd,
    pub(super) usage: Option<Usage>,
    pub(super) message: AssistantMessage,
}

impl Assembler {
    /// Adds an event.
    pub(super) fn take(&mut self, chunk: Chunk) -> Result<Added, Fault> {
        match chunk {
            Chunk::Piece(piece) => self.add(piece.into()),
            Chunk::Other(event) => match delta::read(event) {
                Event::Delta(delta) => self.add(delta),
                Event::Error(words) => Err(Fault::Reported(words)),
                Event::Stray(shown) => {
                    self.stray.get_or_insert(shown);
                    Ok(Added::default())
                }
            },
        }
    }

    /// Notes an event that is no JSON.
    pub(super) fn take_broken(&mut self, text: &str) {
        self.broken = true;
        self.stray.get_or_insert_with(|| clean(text));
    }

    /// The round's text so far, from this byte on.
    pub(super) fn text_from(&self, offset: usize) -> &str {
        self.text.get(offset..).unwrap_or_default()
    }

    /// The round's reasoning so far, from this byte on.
    pub(super) fn reasoning_from(&self, offset: usize) -> &str {
        self.reasoning.get(offset..).unwrap_or_default()
    }

    /// Whether the model has said anything yet.
    pub(super) fn has_content(&self) -> bool {
        !self.text.is_empty() || !self.reasoning.is_empty() || !self.calls.is_empty()
    }

    /// Whether the endpoint has given a reason for the end: what follows is at most the usage.
    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Ends the answer. `seed` names the round.
    pub(super) fn end(self, body: BodyEnd, seed: &str) -> Result<Answer, Fault> {
        match body {
            BodyEnd::Done => {}
            _ if self.is_finished() => {}
            BodyEnd::Silent if self.began => return Err(Fault::Truncated),
            BodyEnd::Silent => {}
            BodyEnd::Cut(why) => return Err(Fault::Cut(why)),
            BodyEnd::Unreadable(Unreadable::Page(page)) => return Err(Fault::Page(page)),
            BodyEnd::Unreadable(Unreadable::EventTooLarge | Unreadable::BodyTooLarge) => {
                return Err(Fault::TooLarge);
            }
        }
        let calls = !self.calls.is_empty();
        if self.broken && (calls || !self.began) {
            return Err(Fault::Broken(self.stray.unwrap_or_default()));
        }
        if !self.began {
            return Err(self.stray.map_or(Fault::Empty, Fault::NoCompletion));
        }
        // The calls decide, not the reason: many endpoints say `stop` with calls.
        let end = match self.finish.as_deref() {
            Some("error") => {
                let text = "it ended the answer with finish_reason “error”".to_owned();
                return Err(Fault::Reported(Words {
                    text,
                    ..Words::default()
                }));
            }
            Some("length" | "max_tokens" | "model_length") => RoundEnd::Length,
            Some("content_filter") => RoundEnd::Filtered,
            _ if calls => RoundEnd::Calls,
            _ => RoundEnd::Stop,
        };
        let Self {
            text,
            reasoning,
            calls,
            extras,
            usage,
            ..
        } = self;
        // Calls of an answer that was cut may be cut too: they are not run, so they are not said.
        let calls = if end == RoundEnd::Calls {
            calls.finish(seed)
        } else {
            Vec::new()
        };
        Ok(Answer {
            end,
            usage,
            message: AssistantMessage {
                text,
                reasoning,
                calls,
                extras,
            },
        })
    }

    fn add(&mut self, delta: Delta) -> Result<Added, Fault> {
        let Delta {
            text,
            reasoning,
            calls,
            extras,
            finish,
            usage,
            scope,
        } = delta;
        self.began = true;
        self.finish = finish.or_else(|| self.finish.take());
        self.usage = usage.or(self.usage);
        let added = Added {
            text: append(&mut self.text, &text, scope),
            reasoning: append(&mut self.reasoning, &reasoning, scope),
        };
        if scope == Scope::Addition || self.calls.is_empty() {
            for call in calls {
                self.other_bytes += match &call.arguments {
                    Arguments::None => 0,
                    Arguments::More(text) | Arguments::Whole(text) => text.len(),
                };
                self.other_bytes += size(&call.extras);
                self.calls.add(call).map_err(|_| Fault::TooLarge)?;
            }
        }
        self.other_bytes += size(&extras);
        self.extras.extend(extras);
        if self.text.len() + self.reasoning.len() + self.other_bytes > ANSWER_BYTES {
            return Err(Fault::TooLarge);
        }
        Ok(added)
    }
}

/// Appends what is new in `more`, and says where it starts.
fn append(text: &mut String, more: &str, scope: Scope) -> Option<usize> {
    let more = match more.strip_prefix(text.as_str()) {
        Some(rest) if scope == Scope::Whole => rest,
        _ => more,
    };
    let offset = text.len();
    text.push_str(more);
    (!more.is_empty()).then_some(offset)
}

fn size(extras: &Map<String, Value>) -> usize {
    extras
        .iter()
        .map(|(key, value)| key.len() + value.to_string().len())
        .sum()
}

#[cfg(test)]
mod tests;
