//! What people let Pomerium do for them at upstreams: a token for each of a person and a route,
//! and consents that were asked for and not given yet.
//!
//! A token belongs to the person and not to a session, so it survives signing out and in again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::error::Unspecified;

use super::sessions::DemoUser;
use super::vault::random_text;

/// A person and the host of a route. There are few of both, so what is kept by it is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    /// Who consented.
    pub(super) user: DemoUser,
    /// The host of the route.
    pub(super) host: String,
}

/// A token of an upstream's authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UpstreamToken {
    /// What the upstream gets.
    pub(super) access: String,
    /// What gets a new one, if the server gave it.
    pub(super) refresh: Option<String>,
    /// When it ends, if the server said so.
    pub(super) ends: Option<SystemTime>,
}

/// A consent that somebody was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Consent {
    /// The `state` of the authorization request.
    pub(super) state: String,
    /// The `code_verifier` (RFC 7636).
    pub(super) verifier: String,
    /// Where the browser goes afterwards; `None` until somebody has asked to connect.
    pub(super) redirect_url: Option<String>,
    ends: SystemTime,
}

/// The consent that an authorization server's answer is about.
pub(super) enum Answered {
    /// It was asked for not too long ago.
    InTime(Holder, Consent),
    /// It was, and is forgotten now.
    TooLate,
    /// Nobody asked for it.
    Unknown,
}

/// All tokens and open consents.
pub(super) struct UpstreamTokens {
    consent_lifetime: Duration,
    held: Mutex<Held>,
    /// Held while a token is refreshed, so that a refresh token is used once.
    pub(super) refreshing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    tokens: HashMap<Holder, UpstreamToken>,
    consents: HashMap<Holder, Consent>,
}

impl UpstreamTokens {
    /// None yet; a consent has to be given within `consent_lifetime`.
    pub(super) fn new(consent_lifetime: Duration) -> Self {
        Self {
            consent_lifetime,
            held: Mutex::default(),
            refreshing: tokio::sync::Mutex::new(()),
        }
    }

    /// The token, whether it has ended or not.
    pub(super) fn find(&self, holder: &Holder) -> Option<UpstreamToken> {
        self.with(|held| held.tokens.get(holder).cloned())
    }

    /// Keeps a token in the place of an older one.
    pub(super) fn put(&self, holder: Holder, token: UpstreamToken) {
        self.with(|held| held.tokens.insert(holder, token));
    }

    /// Forgets a token and an open consent.
    pub(super) fn remove(&self, holder: &Holder) {
        self.with(|held| {
            held.tokens.remove(holder);
            held.consents.remove(holder);
        });
    }

    /// Forgets a token, unless it was replaced meanwhile.
    pub(super) fn remove_token(&self, holder: &Holder, token: &UpstreamToken) {
        self.with(|held| {
            if held.tokens.get(holder) == Some(token) {
                held.tokens.remove(holder);
            }
        });
    }

    /// Asks for a consent anew. What was asked before is void, also for somebody who is looking
    /// at the question right now: Pomerium keeps one for each person and route.
    pub(super) fn ask_anew(&self, holder: Holder, now: SystemTime) -> Result<(), Unspecified> {
        let consent = self.new_consent(now)?;
        self.with(|held| held.consents.insert(holder, consent));
        Ok(())
    }

    /// Asks for a consent that leads back to `redirect_url`. One that is still open is asked for
    /// again, with the end that it has.
    pub(super) fn ask(
        &self,
        holder: Holder,
        redirect_url: &str,
        now: SystemTime,
    ) -> Result<Consent, Unspecified> {
        let new = self.new_consent(now)?;
        Ok(self.with(|held| {
            let open = held.consents.entry(holder).or_insert_with(|| new.clone());
            if open.ends <= now {
                *open = new;
            }
            open.redirect_url = Some(redirect_url.to_owned());
            open.clone()
        }))
    }

    /// The consent with this `state`. One that is too old is forgotten.
    pub(super) fn answered(&self, state: &str, now: SystemTime) -> Answered {
        self.with(|held| {
            let mut consents = held.consents.iter();
            let Some((holder, consent)) = consents.find(|(_, consent)| consent.state == state)
            else {
                return Answered::Unknown;
            };
            let (holder, consent) = (holder.clone(), consent.clone());
            if consent.ends > now {
                return Answered::InTime(holder, consent);
            }
            held.consents.remove(&holder);
            Answered::TooLate
        })
    }

    /// Forgets a consent: it was used.
    pub(super) fn close(&self, holder: &Holder) {
        self.with(|held| held.consents.remove(holder));
    }

    fn new_consent(&self, now: SystemTime) -> Result<Consent, Unspecified> {
        Ok(Consent {
            state: random_text()?,
            verifier: random_text()?,
            redirect_url: None,
            ends: now + self.consent_lifetime,
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl UpstreamToken {
    /// Whether the server said that it would be over by `now`.
    pub(super) fn has_ended(&self, now: SystemTime) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSENT_LIFE: Duration = Duration::from_mins(5);

    fn holder(user: DemoUser) -> Holder {
        let host = "notes.localhost".to_owned();
        Holder { user, host }
    }

    #[test]
    fn an_open_consent_keeps_its_end_and_a_stale_one_does_not() {
        let (tokens, now) = (UpstreamTokens::new(CONSENT_LIFE), SystemTime::now());
        let first = tokens
            .ask(holder(DemoUser::Ana), "https://a/1", now)
            .unwrap();
        let other = tokens.ask(holder(DemoUser::Ben), "https://b", now).unwrap();
        assert_ne!(first.state, other.state);

        let later = now + CONSENT_LIFE - Duration::from_secs(1);
        let again = tokens
            .ask(holder(DemoUser::Ana), "https://a/2", later)
            .unwrap();
        assert_eq!((&again.state, again.ends), (&first.state, first.ends));
        assert_eq!(again.redirect_url.unwrap(), "https://a/2");

        let end = now + CONSENT_LIFE;
        let fresh = tokens
            .ask(holder(DemoUser::Ana), "https://a/3", end)
            .unwrap();
        assert_ne!(fresh.state, first.state);
        assert!(matches!(
            tokens.answered(&first.state, end),
            Answered::Unknown
        ));
        assert!(matches!(
            tokens.answered(&other.state, end),
            Answered::TooLate
        ));
        assert!(matches!(
            tokens.answered(&other.state, end),
            Answered::Unknown
        ));
    }

    #[test]
    fn a_token_is_one_persons_and_one_routes() {
        let tokens = UpstreamTokens::new(CONSENT_LIFE);
        let token = UpstreamToken {
            access: "one".to_owned(),
            refresh: None,
            ends: None,
        };
        tokens.put(holder(DemoUser::Ana), token.clone());
        assert_eq!(tokens.find(&holder(DemoUser::Ben)), None);
        let elsewhere = Holder {
            host: "db.localhost".to_owned(),
            ..holder(DemoUser::Ana)
        };
        assert_eq!(tokens.find(&elsewhere), None);

        let newer = UpstreamToken {
            access: "two".to_owned(),
            ..token.clone()
        };
        tokens.put(holder(DemoUser::Ana), newer.clone());
        tokens.remove_token(&holder(DemoUser::Ana), &token);
        assert_eq!(tokens.find(&holder(DemoUser::Ana)), Some(newer));
        tokens.remove(&holder(DemoUser::Ana));
        assert_eq!(tokens.find(&holder(DemoUser::Ana)), None);
    }
}
