//! How series are told apart: by colour, and without.

/// How a series is drawn: the number of its colour, from 1.
#[derive(Clone, Copy)]
pub(super) struct Ink(pub(super) usize);

impl Ink {
    /// Its colour in a file; a page has its own, for light and dark.
    pub(super) fn colour(self) -> &'static str {
        match self.0 {
            1 => "#2b6a59",
            2 => "#a94a0c",
            3 => "#3d5fa8",
            _ => "#8a3d7d",
        }
    }

    /// Lines are told apart by more than their colour; the first is unbroken.
    pub(super) fn dashes(self) -> &'static str {
        match self.0 {
            1 => "none",
            2 => "8 3",
            3 => "2 3",
            _ => "12 3 2 3",
        }
    }

    /// The form of its dots around 0, 0: round, square, a triangle, a diamond.
    pub(super) fn dot(self) -> &'static str {
        match self.0 {
            1 => "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
            2 => "M-3.2-3.2h6.4v6.4h-6.4z",
            3 => "M0-4.2l4.2 7.4h-8.4z",
            _ => "M0-4.8l4.8 4.8-4.8 4.8-4.8-4.8z",
        }
    }

    /// The lines across its bars, in a square of 6 by 6; none on the first.
    pub(super) fn hatch(self) -> &'static str {
        match self.0 {
            1 => "",
            2 => "M-1 1l2-2M0 6l6-6M5 7l2-2",
            3 => "M0 3h6",
            _ => "M3 0v6",
        }
    }
}
