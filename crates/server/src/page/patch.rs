//! What a page's stream sends: HTML, placed by id.

use axum::response::sse::Event as Frame;
use serde::Serialize;

/// A change of the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Patch {
    op: Op,
    target: String,
    html: String,
}

/// What is done with the HTML of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Op {
    /// It goes to the end of the target; an element whose id the page has already takes that
    /// one's place.
    Append,
    /// It takes the target's place.
    Replace,
}

impl Patch {
    /// Puts `html` at the end of the element `target`, or in the place of what has its id.
    pub(crate) fn append(target: impl Into<String>, html: String) -> Self {
        let target = target.into();
        Self {
            op: Op::Append,
            target,
            html,
        }
    }

    /// Puts `html` in the place of the element `target`, whose id it has.
    pub(crate) fn replace(target: impl Into<String>, html: String) -> Self {
        let target = target.into();
        Self {
            op: Op::Replace,
            target,
            html,
        }
    }

    #[cfg(test)]
    pub(crate) fn op(&self) -> Op {
        self.op
    }

    #[cfg(test)]
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    #[cfg(test)]
    pub(crate) fn html(&self) -> &str {
        &self.html
    }

    /// The patch with other HTML.
    pub(crate) fn with_html(self, html: String) -> Self {
        Self { html, ..self }
    }

    /// The patch as a frame of the stream.
    pub(crate) fn frame(&self) -> Frame {
        self.named("patch")
    }

    /// The patch as a frame that says: what the page shows is too old to be brought up to date.
    pub(crate) fn reset_frame(&self) -> Frame {
        self.named("reset")
    }

    fn named(&self, event: &str) -> Frame {
        // A patch is strings: serializing it cannot fail.
        let json = serde_json::to_string(self).unwrap_or_default();
        Frame::default().event(event).data(json)
    }
}
