//! How a tab is looked at: on what, and in which light.

/// What the page is looked at on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A window on a desk.
    Desk,
    /// A large window on a desk.
    Wide,
    /// A phone, held upright, 360 px wide.
    Phone,
    /// The narrowest that has to do (WCAG 2.2, 1.4.10): 320 px, as a window of 1280 px at 400 %.
    Narrow,
}

/// `prefers-color-scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl View {
    /// Width and height in CSS pixels.
    pub(super) const fn size(self) -> (u32, u32) {
        match self {
            Self::Desk => (1280, 900),
            Self::Wide => (1440, 900),
            Self::Phone => (360, 740),
            Self::Narrow => (320, 256),
        }
    }

    /// Whether it is held in a hand.
    pub(super) const fn is_phone(self) -> bool {
        matches!(self, Self::Phone)
    }
}

impl Scheme {
    /// Its name in style sheets.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}
