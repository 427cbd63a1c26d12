//! A person's token on the way to the upstream, and what becomes of an upstream that wants one.

use std::time::SystemTime;

use http::header::{InvalidHeaderValue, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::Error;
use super::answer::{self, Answer};
use super::config::Route;
use super::gate::{Gate, Visit, authority};
use super::sessions::{DemoUser, Session};
use super::token_endpoint::{OAuthClient, TokenError};
use super::upstream_tokens::{Holder, UpstreamToken};

impl Gate {
    /// The person's token for the route's upstream, refreshed if it has ended. A token that cannot
    /// be refreshed any more is forgotten.
    ///
    /// Fails when the authorization server does not answer; the token is kept.
    pub(super) async fn upstream_token(
        &self,
        user: DemoUser,
        route: &Route,
    ) -> Result<Option<String>, TokenError> {
        let holder = Holder::of(user, route);
        let Some(token) = self.upstream_tokens.find(&holder) else {
            return Ok(None);
        };
        if !token.has_ended(SystemTime::now()) {
            return Ok(Some(token.access));
        }
        let _one_at_a_time = self.upstream_tokens.refreshing.lock().await;
        let Some(token) = self.upstream_tokens.find(&holder) else {
            return Ok(None);
        };
        if !token.has_ended(SystemTime::now()) {
            return Ok(Some(token.access));
        }
        let refreshed = self.refresh(route, &token).await;
        match refreshed {
            Ok(Some(newer)) => {
                self.upstream_tokens.put(holder, newer.clone());
                Ok(Some(newer.access))
            }
            Ok(None) | Err(TokenError::Refused(_)) => {
                self.upstream_tokens.remove_token(&holder, &token);
                Ok(None)
            }
            Err(error @ TokenError::Unavailable(_)) => Err(error),
        }
    }

    /// What becomes of the upstream's answer. One that wants a (better) token is replaced: by a
    /// challenge of Pomerium's own if a consent can be asked for, by a 502 if not.
    pub(super) fn answer_challenge(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        session: Option<&Session>,
        answer: Answer,
    ) -> Result<Answer, Error> {
        let Some(session) = session.filter(|_| wants_token(&answer)) else {
            return Ok(answer);
        };
        if OAuthClient::of(route).is_none() {
            return Ok(answer::no_store(StatusCode::BAD_GATEWAY));
        }
        let holder = Holder::of(session.user, route);
        self.upstream_tokens.ask_anew(holder, SystemTime::now())?;
        let mut answer = answer::no_store(StatusCode::UNAUTHORIZED);
        let challenge = answer::challenge(authority(visit.parts), visit.path())?;
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Ok(answer)
    }

    async fn refresh(
        &self,
        route: &Route,
        token: &UpstreamToken,
    ) -> Result<Option<UpstreamToken>, TokenError> {
        match (OAuthClient::of(route), &token.refresh) {
            (Some(client), Some(refresh)) => {
                client.refresh(&self.upstream, refresh).await.map(Some)
            }
            (None, _) | (_, None) => Ok(None),
        }
    }
}

impl Holder {
    /// A person at a route.
    pub(super) fn of(user: DemoUser, route: &Route) -> Self {
        let host = route.host.clone();
        Self { user, host }
    }
}

/// A token as the `Authorization` of RFC 6750.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::try_from(format!("Bearer {token}"))
}

/// A 401, or a 403 for want of a scope (RFC 6750 section 3.1).
fn wants_token(answer: &Answer) -> bool {
    let challenges = answer.headers().get_all(WWW_AUTHENTICATE);
    let lacks_scope = || {
        challenges
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.contains(r#"error="insufficient_scope""#))
    };
    match answer.status() {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::FORBIDDEN => lacks_scope(),
        _ => false,
    }
}
