//! What stands for a session in a request: a TE, the cookie, or a program's token.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use uuid::Uuid;

use super::Error;
use super::gate::Gate;
use super::sessions::Session;
use super::vault::Purpose;

/// Pomerium's session cookie, one on each host.
pub(super) const COOKIE_NAME: &str = "_pomerium";

/// The header for a program's token alone.
pub(super) const PROGRAM_TOKEN_HEADER: &str = "x-pomerium-authorization";

/// What may stand for a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Only what signing in gives: a TE is none on an app route.
    SignIn,
    /// A TE, or else what signing in gives.
    TeOrSignIn,
}

impl Gate {
    /// The session that a request belongs to. A TE that is none leaves the word to the cookie and
    /// that to a program's token; the first that was made here decides, also when its session has
    /// ended.
    pub(super) fn session(&self, headers: &HeaderMap, allowed: Credentials) -> Option<Session> {
        let now = SystemTime::now();
        let by_te = || {
            let text = bearer(headers)?;
            let te = self.vault.open_te(text.strip_prefix(&self.tes.prefix)?)?;
            self.sessions.of_te(te, now)
        };
        let by_sign_in = || {
            let sid = self.cookie_sid(headers).or_else(|| {
                let token = program_token(headers)?;
                self.vault.open_program_token(token)
            })?;
            self.sessions.find(sid, now)
        };
        match allowed {
            Credentials::SignIn => by_sign_in(),
            Credentials::TeOrSignIn => by_te().or_else(by_sign_in),
        }
    }

    /// A new TE of a session.
    pub(super) fn issue_te(&self, session: &Session) -> Result<String, Error> {
        let lifetime = self.tes.lifetime();
        let te = self.sessions.te(session, lifetime, SystemTime::now());
        Ok(format!("{}{}", self.tes.prefix, self.vault.seal_te(te)?))
    }

    fn cookie_sid(&self, headers: &HeaderMap) -> Option<Uuid> {
        cookies(headers)
            .filter(|(name, _)| *name == COOKIE_NAME)
            .find_map(|(_, value)| self.vault.open_session(Purpose::Cookie, value))
    }
}

/// The pairs of all `Cookie` headers.
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(str::trim_start)
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// A program's token, in one of the three forms that Pomerium takes
/// (`internal/sessions/header`).
fn program_token(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name)?.to_str().ok();
    text(PROGRAM_TOKEN_HEADER).or_else(|| {
        let value = text(AUTHORIZATION.as_str())?;
        value
            .strip_prefix("Pomerium ")
            .or_else(|| value.strip_prefix("Bearer Pomerium-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_token_has_three_forms() {
        for (name, value, expected) in [
            ("x-pomerium-authorization", "a.b.c", Some("a.b.c")),
            ("authorization", "Pomerium a.b.c", Some("a.b.c")),
            ("authorization", "Bearer Pomerium-a.b.c", Some("a.b.c")),
            ("authorization", "Bearer a.b.c", None),
            ("authorization", "pomerium a.b.c", None),
            ("authorization", "Basic Pomerium-a.b.c", None),
            ("x-authorization", "Pomerium a.b.c", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(program_token(&headers), expected, "{name}: {value}");
        }
    }
}
