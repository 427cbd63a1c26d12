//! Things kept for a time under names that nobody can guess.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aws_lc_rs::{error::Unspecified, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Things of one kind kept at once; the one that ends first makes room.
const MAX_KEPT: usize = 1024;

/// Bytes of a name, as many as a 256-bit key has.
const NAME_BYTES: usize = 32;

/// Values that end, each under a random name.
pub(super) struct Expiring<T>(HashMap<String, (Instant, T)>);

impl<T> Default for Expiring<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Expiring<T> {
    /// Keeps a value for `life`, and tells its name.
    pub(super) fn keep(&mut self, value: T, life: Duration) -> Result<String, Unspecified> {
        let name = random_name()?;
        let now = Instant::now();
        self.0.retain(|_, (ends, _)| *ends > now);
        if self.0.len() >= MAX_KEPT {
            let first = self.0.iter().min_by_key(|(_, (ends, _))| *ends);
            let first = first.map(|(name, _)| name.clone());
            first.map(|name| self.0.remove(&name));
        }
        self.0.insert(name.clone(), (now + life, value));
        Ok(name)
    }

    /// The value, unless it has ended.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        let (ends, value) = self.0.get(name)?;
        (*ends > Instant::now()).then_some(value)
    }

    /// The value, unless it has ended; it can be taken once.
    pub(super) fn take(&mut self, name: &str) -> Option<T> {
        let (ends, value) = self.0.remove(name)?;
        (ends > Instant::now()).then_some(value)
    }

    /// Ends everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A name that cannot be guessed.
pub(crate) fn random_name() -> Result<String, Unspecified> {
    let mut bytes = [0; NAME_BYTES];
    rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn what_has_ended_was_taken_or_never_was_is_not_found() {
        let mut kept = Expiring::default();
        let ended = kept.keep(1, Duration::ZERO).unwrap();
        let taken = kept.keep(2, LONG).unwrap();
        assert_eq!((kept.get(&ended), kept.get("")), (None, None));
        assert_eq!((kept.take(&taken), kept.take(&taken)), (Some(2), None));
        assert_ne!(ended, taken);
    }

    #[test]
    fn the_one_that_ends_first_makes_room() {
        let mut kept = Expiring::default();
        let first = kept.keep(0, LONG).unwrap();
        let last = kept.keep(1, 2 * LONG).unwrap();
        for _ in 1..MAX_KEPT {
            kept.keep(2, 2 * LONG).unwrap();
        }
        assert_eq!((kept.get(&first), kept.get(&last)), (None, Some(&1)));
        assert_eq!(kept.0.len(), MAX_KEPT);
    }
}
