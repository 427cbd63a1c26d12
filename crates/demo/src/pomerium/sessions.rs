//! The people who can sign in, and their sessions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

/// Sessions kept at once; the one that ends first makes room. A demonstration has a handful.
const MAX_SESSIONS: usize = 1024;

/// A person of the demonstration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DemoUser {
    /// ana@example.com
    Ana,
    /// ben@example.com
    Ben,
}

impl DemoUser {
    /// Everybody, in the order of the sign-in page.
    pub const ALL: [Self; 2] = [Self::Ana, Self::Ben];

    /// The name shown to people, and the assertion's `name`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ana => "Ana",
            Self::Ben => "Ben",
        }
    }

    /// The address that policies judge, and the assertion's `email`.
    pub const fn email(self) -> &'static str {
        match self {
            Self::Ana => "ana@example.com",
            Self::Ben => "ben@example.com",
        }
    }

    /// The assertion's `sub`.
    pub const fn subject(self) -> &'static str {
        match self {
            Self::Ana => "sub-ana@example.com",
            Self::Ben => "sub-ben@example.com",
        }
    }

    /// The person with this address.
    pub fn with_email(email: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|user| user.email() == email)
    }
}

/// One sign-in, shared by every host that it reaches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    /// The assertion's `sid`.
    pub(super) sid: Uuid,
    /// Who signed in.
    pub(super) user: DemoUser,
    ends: SystemTime,
    /// TEs with a smaller serial number were called back.
    te_floor: u64,
}

/// All sessions that have not ended.
#[derive(Debug)]
pub(super) struct Sessions {
    lifetime: Duration,
    open: Mutex<HashMap<Uuid, Session>>,
    te_serial: AtomicU64,
}

impl Sessions {
    /// No sessions yet; each will live for `lifetime`.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            open: Mutex::default(),
            te_serial: AtomicU64::new(0),
        }
    }

    /// How long a session lives.
    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A person signs in.
    pub(super) fn begin(&self, user: DemoUser, now: SystemTime) -> Session {
        let session = Session {
            sid: Uuid::new_v4(),
            user,
            ends: now + self.lifetime,
            te_floor: 0,
        };
        self.with(|open| {
            open.retain(|_, other| other.ends > now);
            if open.len() >= MAX_SESSIONS {
                let first = open.values().min_by_key(|other| other.ends).map(|s| s.sid);
                first.map(|sid| open.remove(&sid));
            }
            open.insert(session.sid, session);
        });
        session
    }

    /// The session, unless it has ended.
    pub(super) fn find(&self, sid: Uuid, now: SystemTime) -> Option<Session> {
        self.with(|open| open.get(&sid).copied())
            .filter(|session| session.ends > now)
    }

    /// The session of a TE, unless either has ended or the TE was called back.
    pub(super) fn of_te(&self, te: Te, now: SystemTime) -> Option<Session> {
        self.find(te.sid, now)
            .filter(|session| te.ends > now && te.serial >= session.te_floor)
    }

    /// Ends a session: its cookies and TEs are worth nothing from now on.
    pub(super) fn end(&self, sid: Uuid) {
        self.with(|open| open.remove(&sid));
    }

    /// What a TE of this session says when it is issued now.
    pub(super) fn te(&self, session: &Session, lifetime: Duration, now: SystemTime) -> Te {
        Te {
            sid: session.sid,
            ends: now + lifetime,
            serial: self.te_serial.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Calls back every TE that this session was issued so far; its cookies stay good.
    pub(super) fn recall_tes(&self, sid: Uuid) {
        let floor = self.te_serial.load(Ordering::Relaxed);
        self.with(|open| {
            if let Some(session) = open.get_mut(&sid) {
                session.te_floor = floor;
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<Uuid, Session>) -> T) -> T {
        change(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is sealed into an External Token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Te {
    /// The session that it stands for.
    pub(super) sid: Uuid,
    /// When it ends.
    pub(super) ends: SystemTime,
    /// Grows with each TE.
    pub(super) serial: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TE_LIFE: Duration = Duration::from_mins(5);

    fn sessions() -> (Sessions, SystemTime) {
        (Sessions::new(Duration::from_hours(1)), SystemTime::now())
    }

    #[test]
    fn a_te_ends_by_its_own_clock() {
        let (sessions, now) = sessions();
        let session = sessions.begin(DemoUser::Ana, now);
        let te = sessions.te(&session, TE_LIFE, now);

        let just_before = now + TE_LIFE - Duration::from_millis(1);
        assert_eq!(sessions.of_te(te, just_before).unwrap().sid, session.sid);
        assert!(sessions.of_te(te, now + TE_LIFE).is_none());
        assert!(sessions.find(session.sid, now + TE_LIFE).is_some());
    }

    #[test]
    fn a_te_ends_with_its_session() {
        let (sessions, now) = sessions();
        let session = sessions.begin(DemoUser::Ana, now);
        let other = sessions.begin(DemoUser::Ana, now);
        let te = sessions.te(&session, TE_LIFE, now);
        let te_of_other = sessions.te(&other, TE_LIFE, now);

        sessions.end(session.sid);
        assert!(sessions.of_te(te, now).is_none());
        assert!(sessions.of_te(te_of_other, now).is_some());
    }

    #[test]
    fn recalled_tes_are_refused_and_newer_ones_are_not() {
        let (sessions, now) = sessions();
        let session = sessions.begin(DemoUser::Ben, now);
        let old = sessions.te(&session, TE_LIFE, now);
        sessions.recall_tes(session.sid);
        let new = sessions.te(&session, TE_LIFE, now);

        assert!(sessions.of_te(old, now).is_none());
        assert_eq!(sessions.of_te(new, now).unwrap().user, DemoUser::Ben);
    }

    #[test]
    fn a_session_ends_by_its_lifetime() {
        let (sessions, now) = sessions();
        let session = sessions.begin(DemoUser::Ana, now);
        let end = now + Duration::from_hours(1);
        assert!(sessions.find(session.sid, end).is_none());
    }

    #[test]
    fn sessions_are_bounded() {
        let (sessions, now) = sessions();
        let first = sessions.begin(DemoUser::Ana, now);
        for later in 1..=MAX_SESSIONS as u64 {
            sessions.begin(DemoUser::Ben, now + Duration::from_millis(later));
        }
        assert!(sessions.find(first.sid, now).is_none());
        assert_eq!(sessions.with(|open| open.len()), MAX_SESSIONS);
    }
}
