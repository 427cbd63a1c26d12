//! A turn's HTML as it grows, made once for all who read it.
//!
//! [`Painted`] is the HTML of one turn in pieces, each with the version that last changed it. It is
//! brought up to date from a [`View`], and tells a reader what it does not have yet. Only what
//! changed is cloned from the view and rendered.

mod item;
mod round;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat::{event::TurnStarted, ids::ConversationId, transcript};
use store::TurnRow;
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

use self::item::{Item, News};
use super::{
    foot::{self, Standing, Stuck},
    part::Part,
    patch::Patch,
    render,
    turn::{self, Heading, Placed, TURNS, Versions, Whole},
    visible,
};
use crate::{
    live::{Live, Touch, View},
    servers::{Known, UserServers},
};

/// The shortest time between two looks at a turn: no item changes more than 10 times a second.
const LOOKS_APART: Duration = Duration::from_millis(100);

/// A turn that runs, and its HTML, shared by its readers. Without readers nothing is rendered.
pub(super) struct Painter {
    live: Arc<Live>,
    servers: Arc<UserServers>,
    state: Mutex<State>,
}

struct State {
    painted: Painted,
    looked: Option<Instant>,
    /// What is known of the servers, since the cards show some of it.
    servers: watch::Receiver<u64>,
}

/// The HTML of a turn.
pub(super) struct Painted {
    placed: Placed,
    id: String,
    /// Counts the updates.
    version: u64,
    /// The view's change that was painted last.
    change: u64,
    /// The last committed event in it.
    seq: u64,
    message: String,
    conversation: Option<ConversationId>,
    head: Part,
    items: Vec<Item>,
    foot: Part,
    ended: bool,
}

/// How much of a turn a reader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Has {
    /// Nothing.
    Nothing,
    /// What was committed up to this event: what came after, and what is open, is sent whole.
    Committed(u64),
    /// All of this version.
    Version(u64),
}

/// What there is for a reader.
pub(super) struct Update {
    pub(super) patches: Vec<Patch>,
    /// What the reader has when it has these.
    pub(super) has: Has,
    /// The last committed event in it.
    pub(super) seq: u64,
    /// The turn has ended.
    pub(super) ended: bool,
    /// When to look again at the latest, if something was held back.
    pub(super) due: Option<Instant>,
}

impl Painter {
    pub(super) fn new(placed: Placed, live: Arc<Live>, servers: Arc<UserServers>) -> Self {
        Self {
            live,
            state: Mutex::new(State {
                painted: Painted::new(placed),
                looked: None,
                servers: servers.changes(),
            }),
            servers,
        }
    }

    pub(super) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Brings the HTML up to date, unless that was done a moment ago, and says what a reader
    /// misses.
    pub(super) fn update(&self, has: Has) -> Update {
        let now = Instant::now();
        let mut state = self.state();
        let next = state.looked.map(|looked| looked + LOOKS_APART);
        let mut due = next.filter(|next| *next > now);
        if due.is_none() {
            state.looked = Some(now);
            let servers = state.servers.has_changed().unwrap_or_default();
            state.servers.mark_unchanged();
            let news = self.live.look(|view| {
                let mut changes = state.painted.take(view);
                if servers {
                    changes.add_servers(view);
                }
                changes
            });
            due = state.painted.paint(news, || self.servers.all(), now);
        }
        let painted = &state.painted;
        Update {
            patches: painted.news(has),
            has: Has::Version(painted.version),
            seq: painted.seq,
            ended: painted.ended,
            due,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What changed in a turn since it was painted last.
struct Changes {
    change: u64,
    seq: u64,
    started: Option<TurnStarted>,
    head: Option<Heading>,
    items: Vec<(usize, Touch, News)>,
    standing: Standing,
    ended: bool,
}

impl Changes {
    /// Has the cards of all calls and the head painted again: what their servers offer, or how one
    /// is connected, has become known.
    fn add_servers(&mut self, view: &View) {
        self.head = Some(Heading::of(&view.transcript));
        let touched = view.touched.iter().zip(&view.transcript.items).enumerate();
        self.items = touched
            .filter_map(|(index, (touch, item))| match item {
                transcript::Item::Call(call) => {
                    Some((index, *touch, News::Call(Box::new(call.clone()))))
                }
                transcript::Item::Round(_) | transcript::Item::Notice { .. } => {
                    let known = self.items.iter().position(|(of, _, _)| *of == index)?;
                    Some(self.items.swap_remove(known))
                }
            })
            .collect();
    }
}

impl Painted {
    pub(super) fn new(placed: Placed) -> Self {
        Self {
            id: turn::element(&placed.turn),
            placed,
            version: 0,
            change: 0,
            seq: 0,
            message: String::new(),
            conversation: None,
            head: Part::default(),
            items: Vec::new(),
            foot: Part::default(),
            ended: false,
        }
    }

    /// A turn as its transcript has it.
    pub(super) fn whole(row: TurnRow, servers: &[Known]) -> Self {
        let transcript = row.transcript;
        let touch = Touch {
            change: 1,
            seq: transcript.seq,
        };
        let view = View {
            touched: vec![touch; transcript.items.len()],
            transcript,
            turn_touched: 1,
            change: 1,
            ..View::default()
        };
        let mut painted = Self::new(Placed {
            turn: row.turn,
            siblings: row.siblings,
        });
        let news = painted.take(&view);
        let _nothing_is_held_back_of_what_is_new =
            painted.paint(news, || servers.to_vec(), Instant::now());
        painted
    }

    /// The HTML of the turn.
    pub(super) fn html(&self) -> String {
        let items: String = self.items.iter().map(Item::html).collect();
        let conversation = self.conversation.as_ref();
        render(&Whole {
            id: &self.id,
            turn: &self.placed.turn,
            message: &self.message,
            is_long: turn::is_long(&self.message),
            versions: conversation.and_then(|id| Versions::of(&self.placed, id)),
            head: &self.head.html,
            items: &items,
            foot: &self.foot.html,
        })
    }

    /// Copies what changed in the view. Short: the turn's driver waits meanwhile.
    fn take(&self, view: &View) -> Changes {
        let transcript = &view.transcript;
        let stuck = if view.stuck { Stuck::Yes } else { Stuck::No };
        let first = self.version == 0;
        let touched = view.touched.iter().zip(&transcript.items).enumerate();
        let items = touched
            .filter(|(_, (touch, _))| first || touch.change > self.change)
            .map(|(index, (touch, item))| (index, *touch, News::of(item, self.items.get(index))))
            .collect();
        let started = transcript.started.as_ref().filter(|_| first);
        Changes {
            change: view.change,
            seq: transcript.seq,
            started: started.cloned(),
            head: (first || view.turn_touched > self.change).then(|| Heading::of(transcript)),
            items,
            standing: Standing::of(transcript, stuck),
            ended: transcript.end.is_some(),
        }
    }

    /// Renders what changed. Says when something that was held back is due.
    fn paint(
        &mut self,
        changes: Changes,
        servers: impl FnOnce() -> Vec<Known>,
        now: Instant,
    ) -> Option<Instant> {
        self.version += 1;
        let version = self.version;
        self.change = changes.change;
        self.seq = changes.seq;
        self.ended = changes.ended;
        if let Some(started) = changes.started {
            self.message = visible(&started.message);
            self.conversation = started.conversation;
        }
        let foot_id = format!("{}-foot", self.id);
        let foot = foot::foot(&foot_id, &self.placed.turn, &changes.standing);
        self.foot.set(foot, version);
        let has_calls = changes
            .items
            .iter()
            .any(|(_, _, news)| matches!(news, News::Call(_)));
        let has_servers = changes.head.as_ref().is_some_and(Heading::names_servers);
        let servers = if has_calls || has_servers {
            servers()
        } else {
            Vec::new()
        };
        if let Some(head) = changes.head {
            let html = head.html(&format!("{}-head", self.id), &servers);
            self.head.set(html, version);
        }
        for (index, touch, news) in changes.items {
            if index == self.items.len() {
                self.items.push(Item::new(&self.id, index, &news, version));
            }
            if let Some(item) = self.items.get_mut(index) {
                item.seq = touch.seq;
                item.paint(news, &self.placed.turn, &servers, version);
            }
        }
        let items = self.items.iter_mut();
        items.filter_map(|item| item.settle(version, now)).min()
    }

    /// What a reader misses.
    pub(super) fn news(&self, has: Has) -> Vec<Patch> {
        let items_id = format!("{}-items", self.id);
        let (head_id, foot_id) = (format!("{}-head", self.id), format!("{}-foot", self.id));
        match has {
            Has::Nothing => vec![Patch::append(TURNS, self.html())],
            Has::Committed(seq) => {
                let missed = self
                    .items
                    .iter()
                    .filter(|item| item.seq > seq || item.is_open());
                let mut patches = vec![Patch::replace(head_id, self.head.html.clone())];
                patches.extend(missed.map(|item| Patch::append(items_id.as_str(), item.html())));
                patches.push(Patch::replace(foot_id, self.foot.html.clone()));
                patches
            }
            Has::Version(seen) if seen == self.version => Vec::new(),
            Has::Version(seen) => {
                let mut patches: Vec<_> = self.head.news(&head_id, seen).into_iter().collect();
                for item in &self.items {
                    item.news(&items_id, seen, &mut patches);
                }
                patches.extend(self.foot.news(&foot_id, seen));
                patches
            }
        }
    }
}

#[cfg(test)]
mod tests;
