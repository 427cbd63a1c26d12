//! What went wrong with a request, judged by what came back.
//!
//! Pomerium's answers are told apart as its sources give them (v0.33, `check_response.go`,
//! `extproc/handler.go`): a stale token is a 401 with a JSON body, an account that is not
//! connected a 401 without a body, a denial by policy a JSON-RPC error on status 200.

use ::http::{HeaderMap, StatusCode, header};
use chat::{
    failure::{Failure, Layer},
    limits::JSON_DEPTH,
};
use serde_json::Value;

use crate::{
    http::{HttpError, Sent},
    pomerium::ROUTE_CUT,
};

/// Characters of a strange answer that are quoted.
const EXCERPT: usize = 160;

/// JSON-RPC: invalid params. Pomerium's denials carry it.
const INVALID_PARAMS: i64 = -32602;

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
        let advice = "Ask whoever runs the server to check it.";
        Self::new(Kind::Protocol, Failure::new(Layer::Server, message, advice))
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
        let advice = "Ask for less, for example with a filter or a limit.";
        Self::new(Kind::Limit, Failure::new(Layer::Server, message, advice))
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
                let advice = "Ask for less, for example with a filter or a limit.";
                Self::new(Kind::Limit, Failure::new(Layer::Server, message, advice))
            }
        }
    }

    /// What a JSON-RPC error says beside that the request failed, if it does.
    pub(super) fn of_rpc_error(error: &Value) -> Option<Self> {
        let code = error.get("code").and_then(Value::as_i64)?;
        let message = error
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let request_id = error.pointer("/data/request_id").and_then(Value::as_str);
        if let Some(request_id) = request_id
            && code == INVALID_PARAMS
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
const TRY_AGAIN: &str = "Try again.";
const CHECK_FIRST: &str = "The call may have had its effect: check before repeating it.";

/// An HTTP answer that is no success.
pub(super) struct Rejection<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// Whether the request named an MCP session.
    pub(super) in_session: bool,
    /// The request.
    pub(super) sent: Sent,
    /// Whose house the request led to: Pomerium's or the server's own.
    pub(super) led_to: Layer,
}

impl Rejection<'_> {
    /// What the answer means.
    pub(super) fn judge(&self) -> Trouble {
        let trouble = self.verdict();
        let cut = self.status == StatusCode::GATEWAY_TIMEOUT
            && self.led_to == Layer::Pomerium
            && ROUTE_CUT.contains(&self.sent.at.elapsed());
        if cut { trouble.cut_by_route() } else { trouble }
    }

    fn verdict(&self) -> Trouble {
        let (kind, layer, message, advice) = match self.status.as_u16() {
            401 => self.unauthorized(),
            403 => (
                Kind::Denied,
                self.layer(),
                self.says("access is refused"),
                ASK_POLICY,
            ),
            413 => self.too_large(),
            404 if self.in_session => (
                Kind::SessionGone,
                Layer::Server,
                "the server has forgotten the MCP session".to_owned(),
                TRY_AGAIN,
            ),
            // Servers of the TypeScript SDK's examples say it this way.
            400 if self.in_session && self.speaks_of_a_session() => (
                Kind::SessionGone,
                Layer::Server,
                "the server does not know the MCP session".to_owned(),
                TRY_AGAIN,
            ),
            300..400 => (
                Kind::Unreachable,
                self.led_to,
                self.redirect(),
                "Ask the operator to check the route: an MCP server must not redirect.",
            ),
            429 => (
                Kind::Unreachable,
                self.layer(),
                self.says("too many requests"),
                "Wait a little, then try again.",
            ),
            400..500 => (
                Kind::NoEndpoint,
                self.layer(),
                self.says("no MCP server takes the request at this URL"),
                "Ask the operator to check the server's URL.",
            ),
            _ => self.server_error(),
        };
        let failure = Failure::new(layer, message, advice).with_status(self.status.as_u16());
        Trouble::new(kind, failure.with_request_id(self.request_id()))
    }

    fn too_large(&self) -> Verdict {
        let bytes = self.sent.bytes;
        if self.led_to == Layer::Pomerium {
            return (
                Kind::TooLarge,
                Layer::Pomerium,
                format!("the request has {bytes} bytes, more than Pomerium lets pass (413)"),
                "Send less; or ask the operator to check `max_request_bytes` of the server's \
                 route, and that Toolgate reaches Pomerium over HTTP/2: over HTTP/1.1 Pomerium \
                 takes 32 KiB.",
            );
        }
        (
            Kind::TooLarge,
            Layer::Server,
            format!("the request has {bytes} bytes, more than the server takes (413)"),
            "Send less; or ask whoever runs the server to raise its limit.",
        )
    }

    fn unauthorized(&self) -> Verdict {
        if self.led_to != Layer::Pomerium {
            return (
                Kind::Denied,
                Layer::Server,
                self.says("the server wants other credentials"),
                "Ask the operator to check `bearer_token` of this server in [servers.NAME].",
            );
        }
        let challenged = self
            .headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .any(|value| String::from_utf8_lossy(value.as_bytes()).contains("resource_metadata"));
        if self.body.is_empty() && challenged {
            return (
                Kind::NeedsConnect,
                Layer::Pomerium,
                "the server wants you to connect an account first".to_owned(),
                "Connect your account to this server, then try again.",
            );
        }
        if self
            .json()
            .is_some_and(|body| body.get("error").is_some_and(Value::is_string))
        {
            return (
                Kind::StaleToken,
                Layer::Pomerium,
                "Pomerium does not take the session's token (any more)".to_owned(),
                "Come back to the page, or sign in again.",
            );
        }
        (
            Kind::Denied,
            self.layer(),
            self.says("the server wants credentials"),
            "Ask the operator how this server is to be reached.",
        )
    }

    fn server_error(&self) -> Verdict {
        let message = self.says("the server could not be reached");
        let advice = "Check that the server is up, then try again.";
        let text = String::from_utf8_lossy(self.body);
        let never_reached = [
            "remote_connection_failure",
            "no_healthy_upstream",
            "no healthy upstream",
        ];
        let refused = self.status == StatusCode::SERVICE_UNAVAILABLE
            && never_reached.iter().any(|reason| text.contains(reason));
        // The proxy's own 502: the server wants credentials and none could be found.
        let no_credentials = self.led_to == Layer::Pomerium
            && self.status == StatusCode::BAD_GATEWAY
            && self.body.is_empty()
            && self
                .headers
                .get(header::CACHE_CONTROL)
                .is_some_and(|value| value == "no-store");
        if refused || no_credentials {
            return (Kind::Unreachable, self.led_to, message, advice);
        }
        if matches!(self.status.as_u16(), 502..=504) {
            return (
                Kind::Lost,
                self.layer(),
                self.says("no answer from the server"),
                CHECK_FIRST,
            );
        }
        let advice = "Ask whoever runs the server to check it.";
        (
            Kind::Protocol,
            self.layer(),
            self.says("the server failed"),
            advice,
        )
    }

    /// `what`, the status, and the first words of the body.
    fn says(&self, what: &str) -> String {
        let status = self.status.as_u16();
        let envoys = self.json().and_then(|body| {
            body.get("statusText")
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        });
        let words = envoys.unwrap_or_else(|| excerpt(self.body));
        if words.is_empty() {
            return format!("{what} ({status})");
        }
        format!("{what} ({status}: {words})")
    }

    fn redirect(&self) -> String {
        let to = self
            .headers
            .get(header::LOCATION)
            .and_then(|to| to.to_str().ok());
        let host = to.and_then(|to| url::Url::parse(to).ok());
        let host = host
            .as_ref()
            .and_then(url::Url::host_str)
            .unwrap_or("somewhere else");
        format!("redirected to {host} ({})", self.status.as_u16())
    }

    /// Pomerium and its Envoy answer in JSON of their own.
    fn layer(&self) -> Layer {
        let pomeriums = self.json().is_some_and(|body| {
            body.get("statusText").is_some() || body.get("request_id").is_some()
        });
        if pomeriums {
            self.led_to
        } else {
            Layer::Server
        }
    }

    fn speaks_of_a_session(&self) -> bool {
        let message = self.json();
        let message = message
            .as_ref()
            .and_then(|body| body.pointer("/error/message")?.as_str());
        message.is_some_and(|text| text.to_ascii_lowercase().contains("session"))
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.body).ok()
    }

    fn request_id(&self) -> Option<String> {
        let id = self.headers.get("x-request-id")?;
        Some(id.to_str().ok()?.to_owned())
    }
}

/// Kind, layer, message, advice.
type Verdict = (Kind, Layer, String, &'static str);

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
