//! A running turn as its readers see it.
//!
//! One [`Live`] per running turn: the fold of its log so far and of what is not yet committed.
//! The driver writes; readers look whenever they like and are told by a counter that there is
//! something new. So a slow reader gets what happened meanwhile in one piece, and can never slow
//! the turn.

use std::sync::{Mutex, PoisonError};

use chat::{
    event::{Event, Logged},
    transcript::{Item, Touched, Transcript},
};
use tokio::sync::watch;

/// What readers share of a running turn.
#[derive(Debug)]
pub struct Live {
    state: Mutex<View>,
    changes: watch::Sender<u64>,
}

/// The turn at one moment, and when its parts last changed.
#[derive(Debug, Default)]
pub struct View {
    /// The fold of the log and of the deltas shown since.
    pub transcript: Transcript,
    /// For each item of the transcript, the change that last touched it.
    pub touched: Vec<Touch>,
    /// The change that last touched the turn itself (its servers, its end).
    pub turn_touched: u64,
    /// Counts changes.
    pub change: u64,
    /// The driver has let go of the turn: nothing will change any more.
    pub closed: bool,
    /// Why the turn stands still although it has not ended: its log could not be written.
    pub stuck: bool,
}

/// When an item last changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// The change, counted as [`View::change`].
    pub change: u64,
    /// The number of the last committed event that touched it.
    pub seq: u64,
}

impl Live {
    /// A turn whose log so far is `log`.
    pub fn new(log: &[Logged]) -> Self {
        let mut view = View::default();
        for logged in log {
            view.apply(logged);
        }
        Self {
            state: Mutex::new(view),
            changes: watch::Sender::new(0),
        }
    }

    /// Looks at the turn. The look must be short: the driver waits for it.
    pub fn look<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes whenever there is something new to look at.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until the turn has ended, or its driver has let go of it.
    pub async fn ended(&self) {
        let mut changes = self.changes();
        while self.look(|view| view.transcript.is_open() && !view.closed) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Shows events that were committed.
    pub(crate) fn committed(&self, events: &[Logged]) {
        self.change(|view| {
            for logged in events {
                view.apply(logged);
            }
        });
    }

    /// Shows a delta or progress before it is committed.
    pub(crate) fn uncommitted(&self, event: &Event) {
        self.change(|view| view.apply_uncommitted(event));
    }

    /// Says that the log can no longer be written for now.
    pub(crate) fn stuck(&self) {
        self.change(|view| {
            view.stuck = true;
            view.turn_touched = view.change;
        });
    }

    /// Says that nobody drives the turn any more, although it has not ended.
    pub(crate) fn let_go_of(&self) {
        self.stuck();
        self.close();
    }

    /// Says that nothing will change any more.
    pub(crate) fn close(&self) {
        self.change(|view| view.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut View)) {
        {
            let mut view = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            view.change += 1;
            change(&mut view);
        }
        self.changes.send_modify(|count| *count += 1);
    }
}

impl View {
    fn apply(&mut self, logged: &Logged) {
        let touched = self.transcript.apply(logged);
        self.touch(touched, logged.seq);
    }

    fn apply_uncommitted(&mut self, event: &Event) {
        let touched = self.transcript.preview(event);
        let seq = self.transcript.seq;
        self.touch(touched, seq);
    }

    fn touch(&mut self, touched: Touched, seq: u64) {
        let touch = Touch {
            change: self.change,
            seq,
        };
        self.touched.resize(self.transcript.items.len(), touch);
        match touched {
            Touched::Nothing => {}
            Touched::Turn => {
                self.turn_touched = self.change;
                // The end of a turn closes the round that was open in it.
                if self.transcript.end.is_some() {
                    let rounds = self.transcript.items.iter();
                    let last = rounds.rev().position(|item| matches!(item, Item::Round(_)));
                    if let Some(item) = last.and_then(|n| self.touched.iter_mut().rev().nth(n)) {
                        *item = touch;
                    }
                }
            }
            Touched::Item(index) => {
                if let Some(item) = self.touched.get_mut(index) {
                    *item = touch;
                }
            }
        }
    }
}
