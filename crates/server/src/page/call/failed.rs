//! What went wrong with a call, for its user.

use chat::{
    failure::{Failure, Layer},
    outcome::Outcome,
    transcript::{CallItem, CallState},
};

use super::super::words::beginning;

/// Characters of a failure on the card: its details have it whole.
const FAILURE_CHARS: usize = 400;

/// What went wrong with a call, in words for its user.
pub(super) fn failure(item: &CallItem) -> Option<Failure> {
    let CallState::Finished { outcome } = item.state else {
        return None;
    };
    let (layer, advice) = match outcome {
        Outcome::Ok | Outcome::DeniedByUser | Outcome::SwitchedOff | Outcome::Cancelled => {
            return None;
        }
        Outcome::ToolError | Outcome::ProtocolError => (
            Layer::Server,
            "Nothing to do: the model was told, and can try another way.",
        ),
        Outcome::InvalidArguments | Outcome::UnknownFunction => (
            Layer::Model,
            "Nothing to do: the model was told, and can correct itself.",
        ),
        Outcome::DeniedByPolicy | Outcome::TokenExpired => (Layer::Pomerium, ""),
        Outcome::NeedsConnect | Outcome::Timeout | Outcome::Unavailable => (Layer::Server, ""),
        Outcome::Limit | Outcome::ApprovalRequired => (Layer::Toolgate, ""),
        Outcome::Unknown => (
            Layer::Toolgate,
            "Check whether it had its effect before you run it again.",
        ),
    };
    let known = item.failure.clone();
    let mut failure = known.unwrap_or_else(|| Failure::new(layer, item.shown.as_str(), ""));
    if failure.advice.is_empty() {
        advice.clone_into(&mut failure.advice);
    }
    failure.message = beginning(&failure.message, FAILURE_CHARS);
    Some(failure)
}
