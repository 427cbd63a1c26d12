//! Pomerium as a client of an upstream's token endpoint (RFC 6749 sections 4.1.3 and 6).

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde::Deserialize;

use super::answer::{Body, whole};
use super::config::{Endpoint, Route, UpstreamOAuth};
use super::upstream::Upstream;
use super::upstream_tokens::{Consent, UpstreamToken};

/// How long a token endpoint may take, so that a request does not wait for ever on one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a token endpoint's answer, as Pomerium has it.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// The server refuses: asking again is of no use.
    #[error("the token endpoint refuses with status {0}")]
    Refused(StatusCode),
    /// Anything else.
    #[error("the token endpoint gave no token: {0}")]
    Unavailable(String),
}

/// What everything at an authorization server starts from.
#[derive(Clone, Copy)]
pub(super) struct OAuthClient<'a> {
    /// The client's name and secret.
    pub(super) oauth: &'a UpstreamOAuth,
    /// Where the server is.
    pub(super) endpoint: &'a Endpoint,
    /// The upstream that tokens are for.
    route: &'a Route,
}

impl<'a> OAuthClient<'a> {
    /// The OAuth client of a route, as far as it can be one without discovery and registration.
    pub(super) fn of(route: &'a Route) -> Option<Self> {
        let oauth = route.server()?.oauth.as_ref()?;
        let endpoint = oauth.endpoint.as_ref()?;
        (!oauth.client_id.is_empty()).then_some(Self {
            oauth,
            endpoint,
            route,
        })
    }

    /// The `resource` of RFC 8707: the upstream's origin.
    pub(super) fn resource(self) -> String {
        self.route.to.origin().ascii_serialization()
    }

    /// Turns an authorization code into a token.
    pub(super) async fn exchange(
        self,
        upstream: &Upstream,
        code: &str,
        consent: &Consent,
        redirect_uri: &str,
    ) -> Result<UpstreamToken, TokenError> {
        let own = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &consent.verifier),
        ];
        self.ask(upstream, &own).await
    }

    /// Turns a refresh token into a token. A server that gives no new refresh token goes on with
    /// the old one.
    pub(super) async fn refresh(
        self,
        upstream: &Upstream,
        refresh: &str,
    ) -> Result<UpstreamToken, TokenError> {
        let own = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        let mut token = self.ask(upstream, &own).await?;
        token.refresh.get_or_insert_with(|| refresh.to_owned());
        Ok(token)
    }

    async fn ask(
        self,
        upstream: &Upstream,
        own: &[(&str, &str)],
    ) -> Result<UpstreamToken, TokenError> {
        let request = self.request(own)?;
        let answered = tokio::time::timeout(PATIENCE, answer(upstream, request)).await;
        let (status, body) = answered.map_err(unavailable)??;
        if status.is_client_error() {
            return Err(TokenError::Refused(status));
        }
        if status != StatusCode::OK {
            return Err(unavailable(status));
        }
        read(&body, SystemTime::now())
    }

    fn request(self, own: &[(&str, &str)]) -> Result<Request<Body>, TokenError> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(own)
            .append_pair("client_id", &self.oauth.client_id)
            .append_pair("resource", &self.resource());
        if !self.oauth.client_secret.is_empty() {
            form.append_pair("client_secret", &self.oauth.client_secret);
        }
        let mut request = Request::new(whole(form.finish()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self
            .endpoint
            .token_url
            .as_str()
            .parse()
            .map_err(unavailable)?;
        let headers = request.headers_mut();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        Ok(request)
    }
}

async fn answer(
    upstream: &Upstream,
    request: Request<Body>,
) -> Result<(StatusCode, Bytes), TokenError> {
    let answer = upstream.send(request).await.map_err(unavailable)?;
    let (parts, mut body) = answer.into_parts();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(unavailable)?.into_data().unwrap_or_default();
        if read.len() + data.len() > MAX_ANSWER_BYTES {
            return Err(unavailable("its answer is too long"));
        }
        read.extend_from_slice(&data);
    }
    Ok((parts.status, read.freeze()))
}

fn read(body: &[u8], now: SystemTime) -> Result<UpstreamToken, TokenError> {
    #[derive(Deserialize)]
    struct Given {
        #[serde(default)]
        access_token: String,
        #[serde(default)]
        refresh_token: String,
        #[serde(default)]
        expires_in: u32,
    }
    let given: Given = serde_json::from_slice(body).map_err(unavailable)?;
    if given.access_token.is_empty() {
        return Err(unavailable("no access_token"));
    }
    let lifetime = Duration::from_secs(given.expires_in.into());
    Ok(UpstreamToken {
        access: given.access_token,
        refresh: Some(given.refresh_token).filter(|refresh| !refresh.is_empty()),
        ends: (!lifetime.is_zero()).then(|| now + lifetime),
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "so that it can be given to `map_err`"
)]
fn unavailable(error: impl ToString) -> TokenError {
    TokenError::Unavailable(error.to_string())
}
