//! Who may do what over MCP: access tokens as MCP's authorization section and RFC 6750 have them.

use std::sync::Arc;

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Listing, MCP_PATH, SCOPE, Shared};

/// Where the metadata of the protected resource are (RFC 9728 section 3.1).
pub(super) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource/mcp";

/// The largest request, bytes. A note has at most some kilobytes.
pub(super) const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// What is answered without a token where the tools are listed for anybody.
const OPEN_METHODS: [&str; 5] = [
    "initialize",
    "notifications/initialized",
    "ping",
    "server/discover",
    "tools/list",
];

/// What came for a token.
enum Token<'a> {
    None,
    /// Something else than one bearer token.
    Odd,
    Bearer(&'a str),
}

/// Lets requests with a good token through, with its account in their extensions, and without one
/// only those that list.
pub(super) async fn admit(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let account = match token(request.headers()) {
        Token::None => None,
        Token::Odd => return refuse(&shared, ", error=\"invalid_request\""),
        Token::Bearer(token) => {
            let account = shared.ledger().of_access_token(token);
            if account.is_none() {
                return refuse(&shared, ", error=\"invalid_token\"");
            }
            account
        }
    };
    if let Some(account) = account {
        request.extensions_mut().insert(account);
        return next.run(request).await;
    }
    match shared.options.listing {
        Listing::Closed => refuse(&shared, ""),
        Listing::Open if request.method() != Method::POST => refuse(&shared, ""),
        Listing::Open => {
            let (parts, body) = request.into_parts();
            let Ok(body) = to_bytes(body, MAX_REQUEST_BYTES).await else {
                return StatusCode::PAYLOAD_TOO_LARGE.into_response();
            };
            if !is_open(&body) {
                return refuse(&shared, "");
            }
            next.run(Request::from_parts(parts, Body::from(body))).await
        }
    }
}

/// The metadata of the protected resource (RFC 9728 section 2).
pub(super) async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "resource": shared.url(MCP_PATH),
        "resource_name": "Notes",
        "authorization_servers": [shared.url("")],
        "bearer_methods_supported": ["header"],
        "scopes_supported": [SCOPE],
    }))
}

fn token(headers: &HeaderMap) -> Token<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Token::None,
        (Some(value), None) => value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or(Token::Odd, |(_, token)| Token::Bearer(token.trim())),
        (Some(_), Some(_)) => Token::Odd,
    }
}

/// Whether the body is one message that only lists.
fn is_open(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Message {
        method: String,
    }
    serde_json::from_slice(body)
        .is_ok_and(|message: Message| OPEN_METHODS.contains(&message.method.as_str()))
}

/// The 401 that says where a token is to be had.
fn refuse(shared: &Shared, error: &str) -> Response {
    let challenge = format!(
        "Bearer resource_metadata=\"{}\", scope=\"{SCOPE}\"{error}",
        shared.url(METADATA_PATH)
    );
    let mut response = (
        StatusCode::UNAUTHORIZED,
        Json(json!({ "error": "unauthorized", "message": "Connect an account of Notes first." })),
    )
        .into_response();
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
