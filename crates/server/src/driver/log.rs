//! The turn's log as its driver writes it.

use std::{
    future::pending,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use chat::{
    event::{Delta, Event, Logged},
    ids::TurnId,
    transcript::Transcript,
};
use futures_util::future::BoxFuture;
use store::{Append, AppendError, Store};
use tokio::time::Sleep;

use super::Begin;
use crate::{clock, context::Context, live::Live};

/// The longest a shown delta waits before its commit begins: what a kill can lose.
const DELTAS_WAIT: Duration = Duration::from_millis(250);

/// The most text that stays uncommitted, bytes.
const DELTAS_BYTES: usize = 8 * 1024;

/// Deltas are committed at moments of the clock that are so far apart, milliseconds, so that those
/// of all turns share commits: each is a sync of the disk.
const TOGETHER_MS: u64 = 50;

/// Appends to one turn's log and shows readers what was appended.
pub(super) struct Log {
    store: Store,
    live: Arc<Live>,
    turn: TurnId,
    epoch: u64,
    seq: u64,
    /// Deltas that readers see already, merged.
    pending: Vec<Event>,
    pending_bytes: usize,
    /// When they are to be committed; none while there are none.
    due: Option<Instant>,
    /// Sleeps until then; kept, since setting up a sleep costs more than a delta.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Deltas that are being committed, while the driver goes on.
    committing: Option<Committing>,
}

/// An append that is under way.
struct Committing {
    at: i64,
    events: Arc<Vec<Event>>,
    append: BoxFuture<'static, Result<u64, AppendError>>,
}

impl Log {
    pub(super) fn new(context: &Context, begin: &Begin) -> Self {
        Self {
            store: context.store.clone(),
            live: Arc::clone(&begin.live),
            turn: begin.owned.turn.clone(),
            epoch: begin.epoch,
            seq: begin.seq,
            pending: Vec::new(),
            pending_bytes: 0,
            due: None,
            sleep: None,
            committing: None,
        }
    }

    /// Commits these events, and before them the deltas that wait.
    pub(super) async fn record(&mut self, events: Vec<Event>) -> Result<(), AppendError> {
        self.committed().await?;
        self.begin(events);
        self.committed().await
    }

    /// Shows a delta or progress now, and commits it soon.
    pub(super) fn uncommitted(&mut self, event: Event) {
        self.live.uncommitted(&event);
        self.due.get_or_insert_with(deltas_due);
        self.pending_bytes += size(&event);
        if let Some(event) = merge(&mut self.pending, event) {
            self.pending.push(event);
        }
    }

    /// Commits deltas when it is time to; for ever waiting when there are none. It may be dropped
    /// while it waits and called again: what is under way goes on.
    pub(super) async fn keep_up(&mut self) -> Result<(), AppendError> {
        if self.committing.is_none() {
            self.until_due().await;
            self.begin(Vec::new());
        }
        self.committed().await
    }

    /// Commits the deltas that wait.
    pub(super) async fn flush(&mut self) -> Result<(), AppendError> {
        self.record(Vec::new()).await
    }

    /// Waits until the deltas must be committed; for ever when there are none.
    async fn until_due(&mut self) {
        match self.due {
            Some(_) if self.pending_bytes >= DELTAS_BYTES => {}
            Some(due) => {
                let due = due.into();
                let sleep = self
                    .sleep
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
                if sleep.deadline() != due {
                    sleep.as_mut().reset(due);
                }
                sleep.await;
            }
            None => pending().await,
        }
    }

    /// Begins to commit the deltas that wait and these events; nothing may be under way.
    fn begin(&mut self, events: Vec<Event>) {
        let mut all = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        self.due = None;
        all.extend(events);
        if all.is_empty() {
            return;
        }
        let at = clock::now();
        let transcript = self.finished(at, &all);
        let events = Arc::new(all);
        let append = Append {
            turn: self.turn.clone(),
            epoch: self.epoch,
            expected_seq: self.seq,
            at,
            events: Arc::clone(&events),
            transcript,
        };
        let store = self.store.clone();
        self.committing = Some(Committing {
            at,
            events,
            append: Box::pin(async move { store.append(append).await }),
        });
    }

    /// Waits until nothing is under way, and shows what was committed.
    async fn committed(&mut self) -> Result<(), AppendError> {
        let Some(committing) = &mut self.committing else {
            return Ok(());
        };
        let appended = committing.append.as_mut().await;
        let Some(Committing { at, events, .. }) = self.committing.take() else {
            return Ok(());
        };
        let before = std::mem::replace(&mut self.seq, appended?);
        // The store has let go of them by now; a copy is made only if it had not.
        let events = Arc::try_unwrap(events).unwrap_or_else(|events| events.to_vec());
        let logged: Vec<Logged> = (before + 1..)
            .zip(events)
            .map(|(seq, event)| Logged { seq, at, event })
            .collect();
        self.live.committed(&logged);
        // Of progress the last word counts, and it may have come meanwhile.
        for event in &self.pending {
            if let Event::CallProgress(_) = event {
                self.live.uncommitted(event);
            }
        }
        Ok(())
    }

    /// The transcript as it is after these events, if they finish the turn.
    fn finished(&self, at: i64, events: &[Event]) -> Option<Transcript> {
        let Some(Event::TurnFinished { .. }) = events.last() else {
            return None;
        };
        // What readers see already, the deltas that wait included, is found done by `apply`.
        let mut transcript = self.live.look(|view| view.transcript.clone());
        for (seq, event) in (self.seq + 1..).zip(events.iter().cloned()) {
            transcript.apply(&Logged { seq, at, event });
        }
        Some(transcript)
    }
}

/// When deltas that come now are to be committed: the last of the moments for it within
/// [`DELTAS_WAIT`].
fn deltas_due() -> Instant {
    let then = u64::try_from(clock::now())
        .unwrap_or_default()
        .wrapping_add(u64::try_from(DELTAS_WAIT.as_millis()).unwrap_or_default());
    let early = Duration::from_millis(then % TOGETHER_MS);
    Instant::now() + DELTAS_WAIT.saturating_sub(early)
}

/// Joins the event to one that waits already, or gives it back.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "nothing else is shown before it is committed"
)]
fn merge(pending: &mut [Event], event: Event) -> Option<Event> {
    match event {
        Event::TextDelta(delta) => match pending.last_mut() {
            Some(Event::TextDelta(last)) => join(last, delta).map(Event::TextDelta),
            _ => Some(Event::TextDelta(delta)),
        },
        Event::ReasoningDelta(delta) => match pending.last_mut() {
            Some(Event::ReasoningDelta(last)) => join(last, delta).map(Event::ReasoningDelta),
            _ => Some(Event::ReasoningDelta(delta)),
        },
        Event::CallProgress(progress) => {
            for waiting in pending {
                if let Event::CallProgress(before) = waiting
                    && before.call == progress.call
                {
                    *before = progress;
                    return None;
                }
            }
            Some(Event::CallProgress(progress))
        }
        other => Some(other),
    }
}

fn join(last: &mut Delta, delta: Delta) -> Option<Delta> {
    if last.round == delta.round && last.offset + last.text.len() == delta.offset {
        last.text.push_str(&delta.text);
        None
    } else {
        Some(delta)
    }
}

/// The text in an event, bytes.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else grows")]
fn size(event: &Event) -> usize {
    match event {
        Event::TextDelta(delta) | Event::ReasoningDelta(delta) => delta.text.len(),
        _ => 0,
    }
}
