//! What went wrong with a request, judged by what came back.
//!
//! Pomerium's answers are told apart as its sources give them (v0.33, `check_response.go`,
//! `extproc/handler.go`): a stale token is a 401 with a JSON body, an account that is not
//! connected a 401 without a body, a denial by policy a JSON-RPC error on status 200.

mod rejection;

use chat::{
    failure::{Failure, Layer},
    limits::JSON_DEPTH,
};
use serde_json::Value;

pub(super) use self::rejection::Rejection;
use crate::http::HttpError;

/// Characters of a strange answer that are quoted.
const EXCERPT: usize = 160;

/// JSON-RPC: invalid params. Pomerium's denials carry it.
pub(super) const INVALID_PARAMS: i64 = -32602;

/// MCP 2026-07-28: the request's headers do not match its body.
pub(super) const HEADER_MISMATCH: i64 = -32020;

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) failure: Failure,
}

/// What it means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not executed: Pomerium does not take the token.
    StaleToken,
    /// Not executed: an account has to be connected.
    NeedsConnect,
    /// Not executed: policy says no.
    Denied,
    /// Not executed: the request is too large.
    TooLarge,
    /// Not executed: the server does not know the MCP session.
    SessionGone,
    /// Not executed: the server wants other headers.
    HeaderMismatch,
    /// Not executed: nobody could be reached, or nobody who would listen.
    Unreachable,
    /// Not executed: what answers does not take such a request at this URL.
    NoEndpoint,
    /// Perhaps executed: the answer never came.
    Lost,
    /// Perhaps executed: the answer is not MCP.
    Protocol,
    /// Perhaps executed: the answer is too large.
    Limit,
}

impl Trouble {
    pub(super) fn new(kind: Kind, failure: Failure) -> Self {
        Self { kind, failure }
    }

    /// What is not MCP.
    pub(super) fn protocol(message: impl Into<String>) -> Self {
        let failure = Failure::new(Layer::Server, message, ASK_TO_CHECK);
        Self::new(Kind::Protocol, failure)
    }

    /// Text that cannot be read as JSON.
    pub(super) fn unreadable(error: &serde_json::Error, text: &[u8]) -> Self {
        // `serde_json` has no kind for its own bound on depth.
        if error.to_string().starts_with("recursion limit") {
            return Self::too_deep();
        }
        Self::protocol(format!("the answer is not MCP: {}", excerpt(text)))
    }

    /// An answer with more containers within each other than we take.
    pub(super) fn too_deep() -> Self {
        let message = format!("the answer is nested too deeply: more than {JSON_DEPTH} levels");
        let advice = "Ask for less, or ask whoever runs the server to flatten its results.";
        Self::new(Kind::Limit, Failure::new(Layer::Server, message, advice))
    }

    /// An answer of more values than we take.
    pub(super) fn too_many_values(most: usize) -> Self {
        let message = format!("the answer has too many values: more than {most}");
        let failure = Failure::new(Layer::Server, message, ASK_FOR_LESS);
        Self::new(Kind::Limit, failure)
    }

    /// An answer that never came.
    pub(super) fn lost(message: impl Into<String>) -> Self {
        Self::new(
            Kind::Lost,
            Failure::new(Layer::Server, message, CHECK_FIRST),
        )
    }

    pub(super) fn with_request_id(mut self, id: Option<String>) -> Self {
        self.failure = self.failure.with_request_id(id);
        self
    }

    /// The same, of an answer that a route's `timeout` cut: what there is to mend.
    #[must_use]
    pub(super) fn cut_by_route(mut self) -> Self {
        self.failure.layer = Layer::Pomerium;
        self.failure.advice = format!("{CUT_BY_ROUTE} {}", self.failure.advice);
        self
    }

    /// The same, of a request that changes nothing: it can simply be made again.
    #[must_use]
    pub(super) fn of_a_read(mut self) -> Self {
        if let Some(before) = self.failure.advice.strip_suffix(CHECK_FIRST) {
            self.failure.advice = format!("{before}{CHECK_SERVER}");
        }
        self
    }

    /// A request without an answer, or an answer without an end; `layer` is whose house the
    /// connection leads to.
    pub(super) fn of_error(error: &HttpError, layer: Layer) -> Self {
        let message = error.to_string();
        match error {
            HttpError::Refused(_) => {
                let advice = "Ask the operator to check Toolgate's configuration.";
                Self::new(
                    Kind::Unreachable,
                    Failure::new(Layer::Toolgate, message, advice),
                )
            }
            HttpError::Connect(_) => {
                let advice = "Check that the server and the way to it are up, then try again.";
                Self::new(Kind::Unreachable, Failure::new(layer, message, advice))
            }
            HttpError::Broken(_) | HttpError::Shutdown => {
                let lost = Self::lost(message);
                Self {
                    failure: Failure {
                        layer,
                        ..lost.failure
                    },
                    ..lost
                }
            }
            HttpError::Lagged { .. } | HttpError::TooLarge { .. } => {
                let failure = Failure::new(Layer::Server, message, ASK_FOR_LESS);
                Self::new(Kind::Limit, failure)
            }
        }
    }

    /// What a JSON-RPC error says beside that the request failed, if it does; `led_to` is whose
    /// house it comes from: only Pomerium denies by policy.
    pub(super) fn of_rpc_error(error: &Value, led_to: Layer) -> Option<Self> {
        let code = error.get("code").and_then(Value::as_i64)?;
        let message = error
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let request_id = error.pointer("/data/request_id").and_then(Value::as_str);
        if let Some(request_id) = request_id
            && code == INVALID_PARAMS
            && led_to == Layer::Pomerium
            && message.starts_with("access denied")
        {
            let failure = Failure::new(Layer::Pomerium, "policy denies this", ASK_POLICY);
            let failure = failure.with_request_id(Some(request_id.to_owned()));
            return Some(Self::new(Kind::Denied, failure));
        }
        (code == HEADER_MISMATCH).then(|| {
            let message = format!("the server expects other headers: {message}");
            Self::new(
                Kind::HeaderMismatch,
                Failure::new(Layer::Server, message, TRY_AGAIN),
            )
        })
    }
}

const CUT_BY_ROUTE: &str = "Pomerium cuts this server's answers after 30 seconds: ask the operator \
                            to set `timeout: 0s` on the server's route, which Pomerium needs up to \
                            0.32.";
const ASK_POLICY: &str =
    "Ask whoever runs the route for access; the request id leads them to the decision.";
const ASK_FOR_ACCESS: &str = "Ask whoever runs the server for access.";
const ASK_TO_CHECK: &str = "Ask whoever runs the server to check it.";
pub(super) const ASK_FOR_LESS: &str = "Ask for less, for example with a filter or a limit.";
pub(super) const ASK_SERVER: &str = "Ask whoever runs the server.";
pub(super) const CHECK_SERVER: &str = "Check that the server is up, then try again.";
const TRY_AGAIN: &str = "Try again.";
const CHECK_FIRST: &str = "The call may have had its effect: check before repeating it.";

/// The first words of a body, in one line.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() > EXCERPT {
            line.push('…');
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

#[cfg(test)]
mod tests;
