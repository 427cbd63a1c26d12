//! External Tokens, in memory only: the newest of each Pomerium session.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chat::ids::{Sid, Subject};
use dashmap::DashMap;
use secrecy::SecretString;
use tokio::sync::watch;
use wire::{http::Credential, mcp::CredentialSource};

/// The sessions of all users, by (`sub`, `sid`).
#[derive(Debug, Default)]
pub struct Sessions {
    lasting: bool,
    sessions: DashMap<(Subject, Sid), Arc<Session>>,
}

/// One Pomerium session of one user, and its newest token.
#[derive(Debug)]
pub struct Session {
    /// Whose it is.
    pub subject: Subject,
    /// Which of theirs.
    pub sid: Sid,
    /// It needs no token, and never ends.
    lasting: bool,
    newest: Mutex<Option<Token>>,
    /// Counts the tokens that came.
    count: watch::Sender<u64>,
    /// Counts how often the page streams of this session were asked to come back.
    recalls: watch::Sender<u64>,
}

#[derive(Debug)]
struct Token {
    secret: SecretString,
    received: Instant,
}

impl Sessions {
    /// No sessions yet, of a Toolgate that stands alone: they need no tokens and never end.
    pub fn lasting() -> Self {
        Self {
            lasting: true,
            ..Self::default()
        }
    }

    /// The session, with the token that came with a request of it.
    pub fn receive(
        &self,
        subject: &Subject,
        sid: &Sid,
        token: Option<SecretString>,
    ) -> Arc<Session> {
        let session = self.get(subject, sid);
        if let Some(token) = token {
            session.receive(token);
        }
        session
    }

    /// The session, known or not yet.
    pub fn get(&self, subject: &Subject, sid: &Sid) -> Arc<Session> {
        let key = (subject.clone(), sid.clone());
        Arc::clone(&self.sessions.entry(key).or_insert_with(|| {
            Arc::new(Session {
                subject: subject.clone(),
                sid: sid.clone(),
                lasting: self.lasting,
                newest: Mutex::default(),
                count: watch::Sender::new(0),
                recalls: watch::Sender::new(0),
            })
        }))
    }

    /// Whether the user has any session.
    pub fn any_of(&self, subject: &Subject) -> bool {
        self.sessions.iter().any(|entry| entry.key().0 == *subject)
    }

    /// The sessions whose newest token is older than `age`.
    pub fn older_than(&self, age: Duration) -> Vec<Arc<Session>> {
        self.sessions
            .iter()
            .filter(|entry| entry.value().age().is_none_or(|found| found > age))
            .map(|entry| Arc::clone(entry.value()))
            .collect()
    }

    /// Forgets the session and its token.
    pub fn forget(&self, session: &Session) {
        self.sessions
            .remove(&(session.subject.clone(), session.sid.clone()));
    }
}

impl Session {
    fn receive(&self, secret: SecretString) {
        let token = Token {
            secret,
            received: Instant::now(),
        };
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        self.count.send_modify(|count| *count += 1);
    }

    /// The newest token; none before the first.
    pub fn token(&self) -> Option<SecretString> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().map(|token| token.secret.clone())
    }

    /// How long ago the newest token came; none before the first. A session that needs none is as
    /// good as one whose token came just now.
    pub fn age(&self) -> Option<Duration> {
        if self.lasting {
            return Some(Duration::ZERO);
        }
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().map(|token| token.received.elapsed())
    }

    /// How many tokens have come: a call remembers which one it went out with.
    pub fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// Changes with each token that comes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// Makes the page streams of this session end, so that they come back with a fresh token.
    pub fn recall_streams(&self) {
        self.recalls.send_modify(|count| *count += 1);
    }

    /// Changes when the streams of this session are to end.
    pub fn recalls(&self) -> watch::Receiver<u64> {
        self.recalls.subscribe()
    }
}

impl CredentialSource for Session {
    fn credential(&self) -> Credential {
        self.token()
            .map_or(Credential::None, Credential::ExternalToken)
    }

    fn subject(&self) -> Option<Subject> {
        Some(self.subject.clone())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn token(session: &Session) -> Option<String> {
        session
            .token()
            .map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn two_sessions_of_a_person_and_two_persons_never_mix() {
        let sessions = Sessions::default();
        let (ana, ben) = (Subject::from("ana"), Subject::from("ben"));
        let (laptop, phone) = (Sid::from("laptop"), Sid::from("phone"));
        let a = sessions.receive(&ana, &laptop, Some("a".into()));
        let b = sessions.receive(&ana, &phone, Some("b".into()));
        let c = sessions.receive(&ben, &laptop, Some("c".into()));
        assert_eq!(token(&a).as_deref(), Some("a"));
        assert_eq!(token(&b).as_deref(), Some("b"));
        assert_eq!(token(&c).as_deref(), Some("c"));
    }

    #[test]
    fn a_session_that_needs_no_token_never_ages() {
        let sessions = Sessions::lasting();
        let session = sessions.receive(&Subject::from("local"), &Sid::from("local"), None);
        assert_eq!(session.age(), Some(Duration::ZERO));
        assert_eq!(token(&session), None);
        assert!(sessions.older_than(Duration::ZERO).is_empty());
    }

    #[test]
    fn the_newest_token_counts_and_is_announced() {
        let sessions = Sessions::default();
        let (ana, sid) = (Subject::from("ana"), Sid::from("s"));
        let session = sessions.receive(&ana, &sid, Some("old".into()));
        let watch = session.watch();
        sessions.receive(&ana, &sid, None);
        assert!(
            !watch.has_changed().unwrap(),
            "a request without a token brings none"
        );
        sessions.receive(&ana, &sid, Some("new".into()));
        assert!(watch.has_changed().unwrap());
        assert_eq!(token(&session).as_deref(), Some("new"));
    }
}
