//! The keys that people use on the page.

/// A key that does something else than write a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Sends, presses, or breaks a line.
    Enter,
    /// To the next control.
    Tab,
    /// Stops, closes.
    Escape,
    /// Presses a button.
    Space,
    /// Renames.
    F2,
    /// Deletes.
    Delete,
}

/// What is held down with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum With {
    Nothing,
    Shift,
    Control,
}

impl Key {
    /// The names of the key in events: `key`, `code`, the old key code, and what it writes.
    pub(super) const fn names(self) -> (&'static str, &'static str, u8, &'static str) {
        match self {
            Self::Enter => ("Enter", "Enter", 13, "\r"),
            Self::Tab => ("Tab", "Tab", 9, ""),
            Self::Escape => ("Escape", "Escape", 27, ""),
            Self::Space => (" ", "Space", 32, " "),
            Self::F2 => ("F2", "F2", 113, ""),
            Self::Delete => ("Delete", "Delete", 46, ""),
        }
    }
}

impl With {
    /// The bits of the protocol's `modifiers`.
    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Control => 2,
            Self::Shift => 8,
        }
    }
}
