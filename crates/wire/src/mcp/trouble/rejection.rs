//! An HTTP answer that is no success, judged.

use ::http::{HeaderMap, StatusCode, header};
use chat::failure::{Failure, Layer};
use serde_json::Value;

use super::{
    ASK_FOR_ACCESS, ASK_POLICY, ASK_TO_CHECK, CHECK_FIRST, CHECK_SERVER, Kind, TRY_AGAIN, Trouble,
    excerpt,
};
use crate::{
    http::Sent,
    pomerium::{ROUTE_CUT, wants_certificate},
};

/// An HTTP answer that is no success.
pub(in crate::mcp) struct Rejection<'a> {
    pub(in crate::mcp) status: StatusCode,
    pub(in crate::mcp) headers: &'a HeaderMap,
    pub(in crate::mcp) body: &'a [u8],
    /// Whether the request named an MCP session.
    pub(in crate::mcp) in_session: bool,
    /// The request.
    pub(in crate::mcp) sent: Sent,
    /// Whose house the request led to: Pomerium's or the server's own.
    pub(in crate::mcp) led_to: Layer,
}

impl Rejection<'_> {
    /// What the answer means.
    pub(in crate::mcp) fn judge(&self) -> Trouble {
        let trouble = self.verdict();
        let cut = self.status == StatusCode::GATEWAY_TIMEOUT
            && self.led_to == Layer::Pomerium
            && ROUTE_CUT.contains(&self.sent.at.elapsed());
        if cut { trouble.cut_by_route() } else { trouble }
    }

    fn verdict(&self) -> Trouble {
        // Only Pomerium's own answer means that; another server's is a status like any other.
        let certificate = wants_certificate(self.status);
        if let Some(failure) = certificate.filter(|_| self.led_to == Layer::Pomerium) {
            return Trouble::new(Kind::Denied, failure.with_request_id(self.request_id()));
        }
        let (kind, layer, message, advice) = match self.status.as_u16() {
            401 => self.unauthorized(),
            403 => self.forbidden(),
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

    fn forbidden(&self) -> Verdict {
        let layer = self.layer();
        let (what, advice) = if layer == Layer::Pomerium {
            ("policy denies this", ASK_POLICY)
        } else {
            ("the server refuses this", ASK_FOR_ACCESS)
        };
        (Kind::Denied, layer, self.says(what), advice)
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
        // A challenge for Pomerium's own metadata with a page for people: a GET that it refuses.
        let layer = if challenged {
            self.led_to
        } else {
            self.layer()
        };
        (
            Kind::Denied,
            layer,
            self.says("the server wants credentials"),
            "Ask the operator how this server is to be reached.",
        )
    }

    fn server_error(&self) -> Verdict {
        let text = String::from_utf8_lossy(self.body);
        let never_reached = [
            "remote_connection_failure",
            "no_healthy_upstream",
            "no healthy upstream",
        ];
        let refused = self.status == StatusCode::SERVICE_UNAVAILABLE
            && never_reached.iter().any(|reason| text.contains(reason));
        if refused {
            return (
                Kind::Unreachable,
                self.led_to,
                self.says("the server could not be reached"),
                CHECK_SERVER,
            );
        }
        // Pomerium's own 502 (v0.33, `extproc/server.go`).
        let no_credentials = self.led_to == Layer::Pomerium
            && self.status == StatusCode::BAD_GATEWAY
            && self.body.is_empty()
            && self
                .headers
                .get(header::CACHE_CONTROL)
                .is_some_and(|value| value == "no-store");
        if no_credentials {
            let message = "the server refused the request for want of credentials, and Pomerium \
                           had none to give";
            return (
                Kind::Unreachable,
                Layer::Pomerium,
                self.says(message),
                NO_CREDENTIALS,
            );
        }
        if matches!(self.status.as_u16(), 502..=504) {
            return (
                Kind::Lost,
                self.layer(),
                self.says("no answer from the server"),
                CHECK_FIRST,
            );
        }
        (
            Kind::Protocol,
            self.layer(),
            self.says("the server failed"),
            ASK_TO_CHECK,
        )
    }

    /// `what`, the status, and the reason that the body gives, or its first words.
    fn says(&self, what: &str) -> String {
        let status = self.status.as_u16();
        let body = self.json();
        let reason = body.as_ref().and_then(|body| {
            let texts = REASONS.iter().filter_map(|at| body.pointer(at)?.as_str());
            texts.map(str::trim).find(|text| !text.is_empty())
        });
        let words = excerpt(reason.map_or(self.body, str::as_bytes));
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

/// Where a body in JSON says why: Envoy's, JSON-RPC's, OAuth's (RFC 6750), problem details'
/// (RFC 9457), and what most frameworks write.
const REASONS: [&str; 5] = [
    "/statusText",
    "/error/message",
    "/error_description",
    "/detail",
    "/message",
];

const NO_CREDENTIALS: &str = "If the server wants an account, ask the operator for \
                              `mcp.server.upstream_oauth2` (or `authorization_server_url`) on its \
                              route; if it verifies Pomerium's assertion, for \
                              `pass_identity_headers: true`. Otherwise try again in a moment: \
                              Pomerium answers the same when it cannot read its tokens.";

/// Kind, layer, message, advice.
type Verdict = (Kind, Layer, String, &'static str);
