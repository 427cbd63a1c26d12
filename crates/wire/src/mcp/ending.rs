//! How a call ends, by what came of it.

use chat::{
    failure::{Failure, Layer},
    input::Refusal,
    outcome::Outcome,
};
use serde_json::{Value, json};

use super::{
    CallEvent, ConnectError,
    trouble::{ASK_SERVER, Kind, Trouble},
};

pub(super) fn gone() -> Trouble {
    let failure = Failure::new(Layer::Server, "the connection had ended", "Try again.");
    Trouble::new(Kind::SessionGone, failure)
}

/// The connection was closed while the call ran.
pub(super) fn closed() -> Trouble {
    Trouble::lost("the connection was closed while the call ran")
}

/// What a refusal is worth that comes after the server took the call: the call has ended, and
/// nobody knows how far it came.
pub(super) fn after_acceptance(event: CallEvent) -> CallEvent {
    match event {
        CallEvent::Refused { failure, .. } => ended(Outcome::ProtocolError, Some(failure)),
        CallEvent::Accepted | CallEvent::Progress { .. } | CallEvent::Ended { .. } => event,
    }
}

/// What trouble means for a call.
pub(super) fn judge(trouble: Trouble) -> CallEvent {
    let Trouble { kind, failure } = trouble;
    let refusal = match kind {
        Kind::StaleToken => Refusal::StaleToken,
        Kind::NeedsConnect => Refusal::NeedsConnect,
        Kind::Denied => Refusal::Denied,
        Kind::TooLarge => Refusal::TooLarge,
        Kind::SessionGone => Refusal::SessionGone,
        Kind::HeaderMismatch => Refusal::HeaderMismatch,
        Kind::Unreachable | Kind::NoEndpoint => return ended(Outcome::Unavailable, Some(failure)),
        Kind::Lost => return ended(Outcome::Unknown, Some(failure)),
        Kind::Protocol => return ended(Outcome::ProtocolError, Some(failure)),
        Kind::Limit => return ended(Outcome::Limit, Some(failure)),
    };
    CallEvent::Refused { refusal, failure }
}

/// What it means for a call that there was no session to send it in: it certainly did not run.
pub(super) fn not_connected(trouble: Trouble) -> CallEvent {
    let (refusal, failure) = match ConnectError::from(trouble) {
        ConnectError::StaleToken(failure) => (Refusal::StaleToken, failure),
        ConnectError::NeedsConnect(failure) => (Refusal::NeedsConnect, failure),
        ConnectError::Forbidden(failure) => (Refusal::Denied, failure),
        ConnectError::Unavailable(failure) => {
            return ended(Outcome::Unavailable, Some(failure));
        }
    };
    CallEvent::Refused { refusal, failure }
}

pub(super) fn ended(outcome: Outcome, failure: Option<Failure>) -> CallEvent {
    CallEvent::Ended {
        outcome,
        raw: Value::Null,
        failure,
    }
}

/// MCP's `CallToolResult`, if it is one.
pub(super) fn of_result(raw: Value) -> CallEvent {
    let asks = !is_complete(&raw);
    let has_content =
        raw.get("content").is_some_and(Value::is_array) || raw.get("structuredContent").is_some();
    if asks || !has_content {
        let message = if asks {
            "the tool asks for something that Toolgate cannot give yet"
        } else {
            "the tool's result has no content"
        };
        let failure = Failure::new(Layer::Server, message, ASK_SERVER);
        return CallEvent::Ended {
            outcome: Outcome::ProtocolError,
            raw,
            failure: Some(failure),
        };
    }
    let failed = raw
        .get("isError")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    let outcome = if failed {
        Outcome::ToolError
    } else {
        Outcome::Ok
    };
    CallEvent::Ended {
        outcome,
        raw,
        failure: None,
    }
}

/// Whether a result is the end: from MCP 2026-07-28 on one can ask for more first
/// (`InputRequiredResult`).
pub(super) fn is_complete(result: &Value) -> bool {
    let kind = result.get("resultType").and_then(Value::as_str);
    kind.is_none_or(|kind| kind == "complete")
}

/// A JSON-RPC error, in the shape of a result that is one.
pub(super) fn of_error(code: i64, message: &str) -> CallEvent {
    let raw = json!({ "content": [{ "type": "text", "text": message }], "isError": true });
    let text = format!("JSON-RPC error {code}: {message}");
    let failure = Failure::new(Layer::Server, text, "");
    CallEvent::Ended {
        outcome: Outcome::ToolError,
        raw,
        failure: Some(failure),
    }
}
