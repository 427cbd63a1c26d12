//! What Notes remembers: the notes, and who was given which token.

use std::{collections::HashMap, time::Duration};

use aws_lc_rs::error::Unspecified;

use super::expiring::Expiring;

/// How long somebody may look at the consent page.
const CONSENT_LIFE: Duration = Duration::from_mins(10);

/// How long a code may be on its way (RFC 6749 section 4.1.2: at most ten minutes).
const CODE_LIFE: Duration = Duration::from_mins(1);

/// How long a refresh token is good for.
const REFRESH_LIFE: Duration = Duration::from_hours(30 * 24);

/// Notes of one account.
const MAX_NOTES: usize = 200;

/// An account at Notes. They have nothing to do with who somebody is for Pomerium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// Ana's.
    Ana,
    /// Ben's.
    Ben,
}

impl Account {
    /// All of them, in the order of the consent page.
    pub const ALL: [Self; 2] = [Self::Ana, Self::Ben];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ana => "Ana",
            Self::Ben => "Ben",
        }
    }

    /// What is written in it at first.
    const fn first_notes(self) -> &'static [&'static str] {
        match self {
            Self::Ana => &[
                "Ask Exotic Liquids why the last delivery was late.",
                "Board meeting on Thursday: bring the sales by year.",
            ],
            Self::Ben => &["Order coffee for the warehouse."],
        }
    }
}

/// A request for authorization that was found right (RFC 6749 section 4.1.1, RFC 7636).
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) code_challenge: String,
}

/// What a code stands for.
#[derive(Debug)]
pub(super) struct Consent {
    pub(super) wish: Wish,
    pub(super) account: Account,
}

/// Everything there is.
pub(super) struct Ledger {
    notes: HashMap<Account, Vec<String>>,
    wishes: Expiring<Wish>,
    consents: Expiring<Consent>,
    access_tokens: Expiring<Account>,
    refresh_tokens: Expiring<Account>,
}

impl Default for Ledger {
    fn default() -> Self {
        let first = |account: Account| {
            let notes = account.first_notes().iter();
            (account, notes.map(|note| (*note).to_owned()).collect())
        };
        Self {
            notes: Account::ALL.into_iter().map(first).collect(),
            wishes: Expiring::default(),
            consents: Expiring::default(),
            access_tokens: Expiring::default(),
            refresh_tokens: Expiring::default(),
        }
    }
}

impl Ledger {
    pub(super) fn notes(&self, account: Account) -> &[String] {
        self.notes.get(&account).map_or(&[], Vec::as_slice)
    }

    /// Writes a note, and tells how many there are now; none if there are too many already.
    pub(super) fn add(&mut self, account: Account, note: String) -> Option<usize> {
        let notes = self.notes.entry(account).or_default();
        if notes.len() >= MAX_NOTES {
            return None;
        }
        notes.push(note);
        Some(notes.len())
    }

    /// The ticket of a consent page.
    pub(super) fn wish(&mut self, wish: Wish) -> Result<String, Unspecified> {
        self.wishes.keep(wish, CONSENT_LIFE)
    }

    /// What a ticket was for.
    pub(super) fn wished(&mut self, ticket: &str) -> Option<Wish> {
        self.wishes.take(ticket)
    }

    /// A code.
    pub(super) fn consent(&mut self, consent: Consent) -> Result<String, Unspecified> {
        self.consents.keep(consent, CODE_LIFE)
    }

    /// What a code was for. Asked once: a second time there is nothing.
    pub(super) fn consented(&mut self, code: &str) -> Option<Consent> {
        self.consents.take(code)
    }

    pub(super) fn access_token(
        &mut self,
        account: Account,
        life: Duration,
    ) -> Result<String, Unspecified> {
        self.access_tokens.keep(account, life)
    }

    pub(super) fn refresh_token(&mut self, account: Account) -> Result<String, Unspecified> {
        self.refresh_tokens.keep(account, REFRESH_LIFE)
    }

    /// Whose access token this is.
    pub(super) fn of_access_token(&self, token: &str) -> Option<Account> {
        self.access_tokens.get(token).copied()
    }

    /// Whose refresh token this is.
    pub(super) fn of_refresh_token(&self, token: &str) -> Option<Account> {
        self.refresh_tokens.get(token).copied()
    }

    /// Forgets every code and token.
    pub(super) fn revoke_all(&mut self) {
        self.consents.clear();
        self.access_tokens.clear();
        self.refresh_tokens.clear();
    }
}
