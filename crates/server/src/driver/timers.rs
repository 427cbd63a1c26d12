//! The timers of one turn.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use chat::input::TimerId;

/// How long a turn that a restart interrupted waits for its owner.
const OWNER_AWAITED: Duration = Duration::from_mins(10);

/// The few timers of a turn: a list is quicker than anything clever.
#[derive(Debug, Default)]
pub(super) struct Timers {
    engine: Vec<(Instant, TimerId)>,
    owner: Option<Instant>,
}

/// A timer that ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// One of the engine's.
    Engine(TimerId),
    /// The owner did not come back after a restart.
    OwnerStayedAway,
}

impl Timers {
    pub(super) fn set(&mut self, id: TimerId, after: Duration) {
        self.clear(id);
        self.engine.push((Instant::now() + after, id));
    }

    pub(super) fn clear(&mut self, id: TimerId) {
        self.engine.retain(|(_, set)| *set != id);
    }

    pub(super) fn owner_awaited(&mut self) {
        self.owner = Some(Instant::now() + OWNER_AWAITED);
    }

    pub(super) fn owner_came(&mut self) {
        self.owner = None;
    }

    /// Waits until the first of them runs out; for ever when none is set.
    pub(super) async fn ring(&self) {
        let engine = self.engine.iter().map(|(at, _)| *at);
        match engine.chain(self.owner).min() {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => pending().await,
        }
    }

    /// Takes one that has run out.
    pub(super) fn take_rung(&mut self) -> Option<Rung> {
        let now = Instant::now();
        if let Some(index) = self.engine.iter().position(|(at, _)| *at <= now) {
            return Some(Rung::Engine(self.engine.swap_remove(index).1));
        }
        self.owner
            .take_if(|at| *at <= now)
            .map(|_| Rung::OwnerStayedAway)
    }
}
