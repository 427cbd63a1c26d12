//! What went wrong, and in whose house.

use serde::{Deserialize, Serialize};

use crate::limits::{FAILURE_TEXT_BYTES, REQUEST_ID_BYTES, clip};

/// Which of the parties a failure belongs to. Shown with every error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The model endpoint.
    Model,
    /// This program.
    Toolgate,
    /// The proxy in front of Toolgate and of the MCP servers.
    Pomerium,
    /// An MCP server.
    Server,
}

impl Layer {
    /// The word shown to a person.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Toolgate => "Toolgate",
            Self::Pomerium => "Pomerium",
            Self::Server => "server",
        }
    }
}

/// A failure as a person needs it: where, what, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose failure it is.
    pub layer: Layer,
    /// What happened, one sentence.
    pub message: String,
    /// What the reader can do about it, one sentence; empty when there is nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub advice: String,
    /// The HTTP status that carried it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Pomerium's `x-request-id` (equal to `request-id` in its authorization log), or for a failure
    /// of the model's layer the endpoint's own, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Nobody said anything for too long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
}

impl Failure {
    /// A failure of `layer` that happened without an HTTP answer. Others' words may be in the
    /// message: it is cut to 1 KiB.
    pub fn new(layer: Layer, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            layer,
            message: clip(message.into(), FAILURE_TEXT_BYTES),
            advice: advice.into(),
            status: None,
            request_id: None,
            timed_out: false,
        }
    }

    /// What its request id is called, for people: it says in whose log to look for it.
    pub fn request_id_name(&self) -> &'static str {
        match self.layer {
            Layer::Model => "The endpoint’s request id",
            Layer::Toolgate | Layer::Pomerium | Layer::Server => "Pomerium request id",
        }
    }

    /// The same failure, which is that nobody said anything for too long.
    #[must_use]
    pub fn after_silence(mut self) -> Self {
        self.timed_out = true;
        self
    }

    /// The same failure, carried by an HTTP answer of this status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The same failure with the request id that its layer gave it, cut to 128 bytes.
    #[must_use]
    pub fn with_request_id(mut self, id: Option<String>) -> Self {
        self.request_id = id.map(|id| clip(id, REQUEST_ID_BYTES));
        self
    }
}

/// A model round that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundFailure {
    /// What a person is told.
    pub failure: Failure,
    /// Whether asking again may help.
    pub retry: Retry,
}

/// Whether a failed model round may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The same request would fail the same way (4xx, a refused request).
    Never,
    /// A passing fault (connect error, 408, 429, 502, 503, 504, a cut stream); after this many
    /// milliseconds if the endpoint said so (`Retry-After`, capped by the caller).
    After(Option<u64>),
    /// We ended the round ourselves (`AbortRound`).
    Aborted,
}

impl Retry {
    /// How long the endpoint asked to wait, milliseconds.
    pub fn asked_wait(self) -> Option<u64> {
        match self {
            Self::After(wait) => wait,
            Self::Never | Self::Aborted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_cut() {
        let failure = Failure::new(Layer::Server, "ä".repeat(1_000_000), "")
            .with_request_id(Some("x".repeat(1_000_000)));
        assert!(failure.message.len() <= FAILURE_TEXT_BYTES);
        assert!(failure.message.ends_with("ä…"));
        assert!(
            failure
                .request_id
                .is_some_and(|id| id.len() <= REQUEST_ID_BYTES)
        );
    }
}
