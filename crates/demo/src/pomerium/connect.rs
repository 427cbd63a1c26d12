//! `/.pomerium/mcp/connect` and its way back, and `/.pomerium/mcp/routes/disconnect`: people let
//! Pomerium act for them at an upstream, or no longer.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::answer::{self, Answer};
use super::config::{Kind, Route, host_of};
use super::gate::{Gate, Visit, authority, without_port};
use super::sessions::Session;
use super::sign_in::at;
use super::token_endpoint::OAuthClient;
use super::upstream_tokens::{Answered, Consent, Holder};
use super::{Error, RedirectUrls};

/// Where an upstream's authorization server sends the browser back to.
pub(super) const CALLBACK_PATH: &str = "/.pomerium/mcp/client/oauth/callback";

/// Bytes of a request to disconnect: a list of routes.
const MAX_DISCONNECT_BYTES: usize = 64 * 1024;

impl Gate {
    /// Sees to it that the person's account at the route's upstream is connected, and sends the
    /// browser to `redirect_url`.
    pub(super) async fn connect(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        session: &Session,
    ) -> Result<Answer, Error> {
        let redirect_url = parameter(visit.query(), "redirect_url").unwrap_or_default();
        if !self.may_redirect(&redirect_url, without_port(authority(visit.parts))) {
            let refused = "invalid request\n";
            return Ok(answer::handler_error(StatusCode::BAD_REQUEST, refused));
        }
        let done = || answer::redirect(StatusCode::FOUND, &redirect_url);
        match route.kind {
            Kind::Plain | Kind::Client => return Ok(done()),
            Kind::Server(_) => {}
        }
        match self.upstream_token(session.user, route).await {
            Ok(Some(_)) => return Ok(done()),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(request_id = %visit.id, %error, "a token was not refreshed");
                return Ok(answer::internal_error());
            }
        }
        let Some(client) = OAuthClient::of(route) else {
            let told = with_connect_error(&redirect_url, visit);
            return Ok(answer::redirect(StatusCode::FOUND, &told));
        };
        let holder = Holder::of(session.user, route);
        let now = SystemTime::now();
        let consent = self.upstream_tokens.ask(holder, &redirect_url, now)?;
        let there = authorization_url(client, route, &consent);
        Ok(answer::redirect(StatusCode::FOUND, there.as_str()))
    }

    /// The way back from an upstream's authorization server. The `state` alone says whose it is.
    pub(super) async fn consented(&self, visit: &Visit<'_>) -> Answer {
        let given = match self.consent_given(visit.query()) {
            Ok(given) => given,
            Err(said) => return answer::handler_error(StatusCode::BAD_REQUEST, said),
        };
        let callback = at(&given.route.from, CALLBACK_PATH);
        let exchanged = given
            .client
            .exchange(
                &self.upstream,
                &given.code,
                &given.consent,
                callback.as_str(),
            )
            .await;
        self.upstream_tokens.close(&given.holder);
        match exchanged {
            Ok(token) => {
                self.upstream_tokens.put(given.holder, token);
                let there = given.consent.redirect_url.as_deref();
                let there = there.unwrap_or(given.route.from.as_str());
                answer::redirect(StatusCode::FOUND, there)
            }
            Err(error) => {
                tracing::warn!(request_id = %visit.id, %error, "a code was not exchanged");
                let failed = "Token exchange failed\n";
                answer::handler_error(StatusCode::BAD_GATEWAY, failed)
            }
        }
    }

    /// What the authorization server's answer is good for, or what to say if it is not.
    fn consent_given(&self, query: &str) -> Result<Given<'_>, &'static str> {
        let told = |name| parameter(query, name).filter(|value| !value.is_empty());
        let (Some(code), Some(state)) = (told("code"), told("state")) else {
            return Err(match told("error") {
                Some(_) => "Authorization failed\n",
                None => "Invalid callback: missing code or state\n",
            });
        };
        let (holder, consent) = match self.upstream_tokens.answered(&state, SystemTime::now()) {
            Answered::InTime(holder, consent) => (holder, consent),
            Answered::TooLate => return Err("Authorization state expired, please retry\n"),
            Answered::Unknown => return Err("Invalid or expired state\n"),
        };
        let mut routes = self.config.routes.iter();
        let route = routes.find(|route| route.host == holder.host);
        let given = route.and_then(|route| {
            Some(Given {
                client: OAuthClient::of(route)?,
                route,
                holder,
                consent,
                code,
            })
        });
        given.ok_or("Invalid or expired state\n")
    }

    /// Forgets the person's tokens for the routes that the body names, by their hosts.
    pub(super) async fn disconnect(&self, session: Option<&Session>, body: Incoming) -> Answer {
        #[derive(Deserialize)]
        struct Named {
            #[serde(default)]
            routes: Option<Vec<String>>,
        }
        let Some(session) = session else {
            return answer::internal_error();
        };
        let refused = |said| answer::handler_error(StatusCode::BAD_REQUEST, said);
        let body = Limited::new(body, MAX_DISCONNECT_BYTES).collect().await;
        let named = body.ok().and_then(|body| {
            // Whatever follows the first value is not looked at.
            let bytes = body.to_bytes();
            let mut values = serde_json::Deserializer::from_slice(&bytes).into_iter::<Named>();
            values.next()?.ok()
        });
        let Some(named) = named else {
            return refused("invalid request body\n");
        };
        let routes = named.routes.unwrap_or_default();
        if routes.is_empty() {
            return refused("no routes provided\n");
        }
        let hosts = routes
            .iter()
            .filter_map(|route| host_of(&Url::parse(route).ok()?));
        for host in hosts {
            let user = session.user;
            self.upstream_tokens.remove(&Holder { user, host });
        }
        self.listing(session.user)
    }

    /// Whether `/connect` on `host` may lead to this URL.
    fn may_redirect(&self, redirect_url: &str, host: &str) -> bool {
        let Ok(url) = Url::parse(redirect_url) else {
            return false;
        };
        let Some(there) = host_of(&url) else {
            return false;
        };
        let is_app = |route: &Route| route.kind == Kind::Client && route.host == there;
        self.may_redirect_by(&url)
            && (there.eq_ignore_ascii_case(host) || self.config.routes.iter().any(is_app))
    }

    fn may_redirect_by(&self, url: &Url) -> bool {
        match (url.scheme(), self.redirect_urls) {
            ("https", _) => true,
            ("http", RedirectUrls::HttpOnLocalhost) => {
                host_of(url).is_some_and(|host| host.ends_with(".localhost"))
            }
            (_, RedirectUrls::HttpsOnly | RedirectUrls::HttpOnLocalhost) => false,
        }
    }
}

/// A consent that was given, and what turns it into a token.
struct Given<'a> {
    client: OAuthClient<'a>,
    route: &'a Route,
    holder: Holder,
    consent: Consent,
    code: String,
}

/// Where the person is asked for consent (RFC 6749 section 4.1.1, RFC 7636, RFC 8707), the
/// parameters in the order of their names.
fn authorization_url(client: OAuthClient<'_>, route: &Route, consent: &Consent) -> Url {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&consent.verifier));
    let mut pairs: Vec<(String, String)> = [
        ("client_id", client.oauth.client_id.clone()),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256".to_owned()),
        ("redirect_uri", at(&route.from, CALLBACK_PATH).into()),
        ("resource", client.resource()),
        ("response_type", "code".to_owned()),
        ("scope", client.oauth.scopes.join(" ")),
        ("state", consent.state.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    for (name, value) in &client.oauth.authorization_params {
        // The parameters of the standards are not to be overruled.
        if pairs.iter().all(|(known, _)| known != name) {
            pairs.push((name.clone(), value.clone()));
        }
    }
    pairs.retain(|(name, value)| name != "scope" || !value.is_empty());
    pairs.sort();
    let mut url = client.endpoint.auth_url.clone();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url
}

/// The URL with `connect_error`, its parameters in the order of their names.
fn with_connect_error(redirect_url: &str, visit: &Visit<'_>) -> String {
    let Ok(mut url) = Url::parse(redirect_url) else {
        return redirect_url.to_owned();
    };
    let said = format!(
        "MCP connection failed. Ask your administrator to check logs for request ID: {}",
        visit.id
    );
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    pairs.retain(|(name, _)| name != "connect_error");
    pairs.push(("connect_error".to_owned(), said));
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

/// The first parameter of this name.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::config::Config;
    use super::super::upstream_tokens::UpstreamTokens;
    use super::*;

    #[test]
    fn parameters_of_the_route_are_added_and_overrule_nothing() {
        let config = Config::read(
            "
authenticate_service_url: https://authenticate.example.test
routes:
  - from: https://drive.example.test
    to: http://127.0.0.1:1/mcp
    mcp:
      server:
        upstream_oauth2:
          client_id: id
          authorization_url_params: {access_type: offline, prompt: consent, state: mine}
          endpoint: {auth_url: 'https://as.example.test/auth', token_url: 'https://as.example.test/token'}
",
        )
        .unwrap();
        let route = &config.routes[0];
        let tokens = UpstreamTokens::new(Duration::from_mins(5));
        let holder = Holder::of(super::super::DemoUser::Ana, route);
        let consent = tokens.ask(holder, "https://a", SystemTime::now()).unwrap();
        let client = OAuthClient::of(route).unwrap();
        let url = authorization_url(client, route, &consent);
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let names: Vec<&str> = pairs.iter().map(|(name, _)| &**name).collect();
        let expected = [
            "access_type",
            "client_id",
            "code_challenge",
            "code_challenge_method",
            "prompt",
            "redirect_uri",
            "resource",
            "response_type",
            "state",
        ];
        assert_eq!(
            names, expected,
            "in order, and no scope where there is none"
        );
        assert_eq!(pairs[8].1, consent.state);
        assert_eq!(pairs[6].1, "http://127.0.0.1:1");
    }
}
