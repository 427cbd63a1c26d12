//! The pieces a turn's HTML is made of, each with the version in which it last changed.

use super::patch::Patch;

/// A piece that is replaced whole.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) html: String,
    changed: u64,
}

/// A text that only grows: readers are sent what they do not have.
#[derive(Debug, Default)]
pub(super) struct Grown {
    text: String,
    created: u64,
    /// How long the text was in each version that made it longer.
    marks: Vec<(u64, usize)>,
}

impl Part {
    pub(super) fn new(html: String, version: u64) -> Self {
        Self {
            html,
            changed: version,
        }
    }

    /// The piece now is `html`.
    pub(super) fn set(&mut self, html: String, version: u64) {
        if self.html != html {
            self.html = html;
            self.changed = version;
        }
    }

    /// Replaces the element `id` for a reader of version `seen`, if it changed since.
    pub(super) fn news(&self, id: &str, seen: u64) -> Option<Patch> {
        (self.changed > seen).then(|| Patch::replace(id, self.html.clone()))
    }
}

impl Grown {
    pub(super) fn new(text: String, version: u64) -> Self {
        let marks = vec![(version, text.len())];
        Self {
            text,
            created: version,
            marks,
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a reader of version `seen` has nothing of it yet.
    pub(super) fn is_new(&self, seen: u64) -> bool {
        self.created > seen
    }

    pub(super) fn grow(&mut self, more: &str, version: u64) {
        if more.is_empty() {
            return;
        }
        self.text.push_str(more);
        match self.marks.last_mut() {
            Some(last) if last.0 == version => last.1 = self.text.len(),
            _ => self.marks.push((version, self.text.len())),
        }
    }

    /// What a reader of version `seen` does not have.
    pub(super) fn since(&self, seen: u64) -> &str {
        let known = self.marks.partition_point(|(version, _)| *version <= seen);
        let (_, from) = known
            .checked_sub(1)
            .and_then(|last| self.marks.get(last))
            .copied()
            .unwrap_or_default();
        self.text.get(from..).unwrap_or_default()
    }
}
