//! One item of a turn in pieces.

use chat::{
    event::{Answer, Progress},
    ids::TurnId,
    transcript::{self, CallItem, CallState},
};
use tokio::time::Instant;

use super::{
    super::{
        call::{self, Notice},
        part::Part,
        patch::Patch,
        render, visible,
    },
    round::{Round, RoundNews},
};
use crate::servers::Known;

/// An item that was painted.
pub(super) struct Item {
    id: String,
    /// The last committed event that touched it.
    pub(super) seq: u64,
    /// Readers of an older version are sent all of it.
    whole: u64,
    kind: Kind,
}

enum Kind {
    Round(Box<Round>),
    Call(Call),
    Notice(String),
}

/// A call's card.
#[derive(Default)]
struct Call {
    card: Part,
    progress: Part,
    /// What the card shows but for the progress; none before it is painted.
    shows: Option<Shows>,
}

/// What of a call can change, but for its progress.
#[derive(Clone, Debug, PartialEq)]
struct Shows {
    state: CallState,
    started_at: Option<i64>,
    answer: Option<Answer>,
}

/// What is new about an item.
pub(super) enum News {
    Round(RoundNews),
    Call(Box<CallItem>),
    /// Nothing but the progress of the call.
    Progress(CallState, Option<Progress>),
    Notice(String),
}

impl News {
    /// What is new about the item for one that was `painted` so.
    pub(super) fn of(item: &transcript::Item, painted: Option<&Item>) -> Self {
        match item {
            transcript::Item::Round(round) => {
                Self::Round(RoundNews::of(round, painted.and_then(Item::round)))
            }
            transcript::Item::Call(call) => {
                let shows = painted.and_then(Item::shows);
                if shows == Some(&Shows::of(call)) {
                    Self::Progress(call.state, call.progress.clone())
                } else {
                    Self::Call(Box::new(call.clone()))
                }
            }
            transcript::Item::Notice { text, .. } => Self::Notice(text.clone()),
        }
    }
}

impl Shows {
    fn of(call: &CallItem) -> Self {
        Self {
            state: call.state,
            started_at: call.started_at,
            answer: call.answer.clone(),
        }
    }
}

impl Item {
    /// The item at `index` of a turn, still empty.
    pub(super) fn new(turn: &str, index: usize, news: &News, version: u64) -> Self {
        let (id, kind) = match news {
            News::Round(round) => {
                let id = format!("{turn}-r{}", round.round);
                let round = Box::new(Round::new(&id));
                (id, Kind::Round(round))
            }
            News::Call(call) => {
                let id = format!("{turn}-c{}", call.call);
                (id, Kind::Call(Call::default()))
            }
            News::Progress(..) | News::Notice(_) => {
                (format!("{turn}-n{index}"), Kind::Notice(String::new()))
            }
        };
        Self {
            id,
            seq: 0,
            whole: version,
            kind,
        }
    }

    fn round(&self) -> Option<&Round> {
        match &self.kind {
            Kind::Round(round) => Some(round),
            Kind::Call(_) | Kind::Notice(_) => None,
        }
    }

    fn shows(&self) -> Option<&Shows> {
        match &self.kind {
            Kind::Call(call) => call.shows.as_ref(),
            Kind::Round(_) | Kind::Notice(_) => None,
        }
    }

    /// Whether it can still change.
    pub(super) fn is_open(&self) -> bool {
        match &self.kind {
            Kind::Round(round) => round.is_open(),
            Kind::Call(call) => call
                .shows
                .as_ref()
                .is_some_and(|shows| !matches!(shows.state, CallState::Finished { .. })),
            Kind::Notice(_) => false,
        }
    }

    /// Takes up what is new.
    pub(super) fn paint(&mut self, news: News, turn: &TurnId, servers: &[Known], version: u64) {
        match (&mut self.kind, news) {
            (Kind::Round(round), News::Round(news)) => {
                if news.is_from_the_start {
                    self.whole = version;
                }
                round.take(news, version);
            }
            (Kind::Call(call), News::Call(item)) => {
                let card = call::card(&self.id, turn, &item, servers);
                call.card.set(card, version);
                call.progress = Part::default();
                call.progress.html = call::progress(&self.id, item.state, item.progress.as_ref());
                call.shows = Some(Shows::of(&item));
            }
            (Kind::Call(call), News::Progress(state, progress)) => {
                let bar = call::progress(&self.id, state, progress.as_ref());
                // Readers who are yet to come get it with the card.
                call.card.html = call.card.html.replacen(&call.progress.html, &bar, 1);
                call.progress.set(bar, version);
            }
            (Kind::Notice(html), News::Notice(text)) => {
                let text = visible(&text);
                *html = render(&Notice {
                    id: &self.id,
                    text: &text,
                });
            }
            // An item never becomes one of another kind.
            (Kind::Round(_) | Kind::Call(_) | Kind::Notice(_), _) => {}
        }
    }

    /// Renders what was held back and is due; says when the rest is.
    pub(super) fn settle(&mut self, version: u64, now: Instant) -> Option<Instant> {
        match &mut self.kind {
            Kind::Round(round) => round.settle(version, now),
            Kind::Call(_) | Kind::Notice(_) => None,
        }
    }

    pub(super) fn html(&self) -> String {
        match &self.kind {
            Kind::Round(round) => round.html(),
            Kind::Call(call) => call.card.html.clone(),
            Kind::Notice(html) => html.clone(),
        }
    }

    /// What a reader of version `seen` misses.
    pub(super) fn news(&self, items: &str, seen: u64, patches: &mut Vec<Patch>) {
        if self.whole > seen {
            patches.push(Patch::append(items, self.html()));
            return;
        }
        match &self.kind {
            Kind::Round(round) => round.news(seen, patches),
            Kind::Call(call) => {
                let card = call.card.news(&self.id, seen);
                let bar = || call.progress.news(&call::progress_element(&self.id), seen);
                patches.extend(card.or_else(bar));
            }
            Kind::Notice(_) => {}
        }
    }
}
