//! Puts the calls of an answer together from their pieces.
//!
//! The index that `OpenAI` gives each call is missing, null or always 0 at some endpoints, and ids
//! are missing, empty, repeated, new with each piece, or the same for all calls at others. What
//! holds everywhere: only a piece with a name opens a call (or the very first piece of one).

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use chat::message::ModelCall;
use serde_json::Value;

use super::delta::{Arguments, CallDelta};

/// Calls of one answer: what is beyond is a model that repeats itself without end. (The engine
/// refuses calls beyond its own, lower limit one by one.)
pub(super) const CALLS: usize = 256;

/// Length of the ids that we make: what Mistral demands, and valid everywhere.
const ID_CHARS: usize = 9;

/// The calls so far, in the order in which they were opened.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

#[derive(Debug, Default)]
struct Slot {
    index: Option<u64>,
    call: ModelCall,
}

/// There are more than [`CALLS`] calls.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Slots {
    /// Whether there is no call yet (an empty object is none).
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Slot::is_blank)
    }

    /// Adds a piece to the call that it belongs to.
    pub(super) fn add(&mut self, piece: CallDelta) -> Result<(), TooMany> {
        let place = match self.place(&piece) {
            Some(place) => place,
            None if self.0.len() == CALLS => return Err(TooMany),
            None => {
                self.0.push(Slot {
                    index: piece.index,
                    call: ModelCall::default(),
                });
                self.0.len() - 1
            }
        };
        if let Some(slot) = self.0.get_mut(place) {
            slot.add(piece);
        }
        Ok(())
    }

    /// The calls with normal arguments and an id each, unique among them. `seed` names the round,
    /// so that ids made by us differ from round to round.
    pub(super) fn finish(self, seed: &str) -> Vec<ModelCall> {
        let mut ids = HashSet::new();
        let mut calls = Vec::with_capacity(self.0.len());
        for Slot { mut call, .. } in self.0.into_iter().filter(|slot| !slot.is_blank()) {
            let mut salt = 0;
            while call.id.is_empty() || ids.contains(&call.id) {
                call.id = made_id(&(seed, calls.len(), salt));
                salt += 1;
            }
            ids.insert(call.id.clone());
            call.arguments = normal(call.arguments);
            calls.push(call);
        }
        calls
    }

    /// Where a piece belongs; none when it opens a call.
    fn place(&self, piece: &CallDelta) -> Option<usize> {
        let last_where = |matches: &dyn Fn(&Slot) -> bool| self.0.iter().rposition(matches);
        let by_index = || last_where(&|slot| slot.index == piece.index);
        let by_id = || last_where(&|slot| piece.id.as_ref() == Some(&slot.call.id));
        let last = self.0.len().checked_sub(1);
        let place = match (piece.index, &piece.id, &piece.name) {
            (Some(_), _, _) => by_index()?,
            (None, Some(_), Some(_)) => by_id()?,
            (None, Some(_), None) => by_id().or(last)?,
            (None, None, _) => last?,
        };
        self.0
            .get(place)
            .filter(|slot| !slot.is_closed_to(piece))
            .map(|_| place)
    }
}

impl Slot {
    fn is_blank(&self) -> bool {
        self.call.name.is_empty() && self.call.arguments.is_empty()
    }

    /// Whether `piece`, which points here, must be the start of another call.
    fn is_closed_to(&self, piece: &CallDelta) -> bool {
        let Some(name) = &piece.name else {
            return false;
        };
        if self.call.name.is_empty() {
            return false;
        }
        match &piece.id {
            Some(id) if !self.call.id.is_empty() && *id != self.call.id => return true,
            _ => {}
        }
        if *name != self.call.name {
            return true;
        }
        // The same name again: a repetition, unless it comes with arguments of its own.
        match &piece.arguments {
            Arguments::None => false,
            Arguments::More(text) | Arguments::Whole(text) => {
                is_object(text) && is_object(&self.call.arguments) && *text != self.call.arguments
                    || piece.id.is_none() && is_object(text) && *text == self.call.arguments
            }
        }
    }

    fn add(&mut self, piece: CallDelta) {
        if self.call.id.is_empty() {
            self.call.id = piece.id.unwrap_or_default();
        }
        let named_again = piece.name.is_some() && !self.call.name.is_empty();
        if self.call.name.is_empty() {
            self.call.name = piece.name.unwrap_or_default();
        }
        match piece.arguments {
            Arguments::None => {}
            // The whole call, said again.
            Arguments::More(text) | Arguments::Whole(text)
                if named_again && text == self.call.arguments && is_object(&text) => {}
            Arguments::More(text) => self.call.arguments.push_str(&text),
            Arguments::Whole(text) => self.call.arguments = text,
        }
        self.call.extras.extend(piece.extras);
    }
}

/// Arguments as they should have been written: no arguments are `{}`, and JSON in a JSON string is
/// taken out of it. What is still no object is left as it is, for the model to be told.
fn normal(arguments: String) -> String {
    match arguments.trim() {
        "" | "null" | "\"\"" | "\"null\"" => "{}".to_owned(),
        text if text.starts_with('"') => match serde_json::from_str::<String>(text) {
            Ok(inner) if is_object(&inner) => inner,
            _ => arguments,
        },
        _ => arguments,
    }
}

fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<Value>(text).is_ok()
}

fn made_id(of: &impl Hash) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    let mut rest = hasher.finish();
    let mut id = String::with_capacity(ID_CHARS);
    for _ in 0..ID_CHARS {
        let digit = usize::try_from(rest % 62)
            .ok()
            .and_then(|digit| DIGITS.get(digit));
        id.push(char::from(*digit.unwrap_or(&b'0')));
        rest /= 62;
    }
    id
}
