//! The turn's log as its driver writes it.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use chat::{
    event::{Delta, Event, Logged},
    ids::TurnId,
    transcript::Transcript,
};
use store::{Append, AppendError, Store};

use super::Begin;
use crate::{clock, context::Context, live::Live};

/// The longest a shown delta stays uncommitted: what a kill can lose.
const DELTAS_WAIT: Duration = Duration::from_millis(250);

/// The most text that stays uncommitted, bytes.
const DELTAS_BYTES: usize = 8 * 1024;

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
    pending_since: Option<Instant>,
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
            pending_since: None,
        }
    }

    /// Commits these events, and before them the deltas that wait.
    pub(super) async fn record(&mut self, events: Vec<Event>) -> Result<(), AppendError> {
        let mut all = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        self.pending_since = None;
        all.extend(events);
        if all.is_empty() {
            return Ok(());
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
        let before = std::mem::replace(&mut self.seq, self.store.append(append).await?);
        // The store has let go of them by now; a copy is made only if it had not.
        let events = Arc::try_unwrap(events).unwrap_or_else(|events| events.to_vec());
        let logged: Vec<Logged> = (before + 1..)
            .zip(events)
            .map(|(seq, event)| Logged { seq, at, event })
            .collect();
        self.live.committed(&logged);
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

    /// Shows a delta or progress now, and commits it soon.
    pub(super) fn uncommitted(&mut self, event: Event) {
        self.live.uncommitted(&event);
        self.pending_since.get_or_insert_with(Instant::now);
        self.pending_bytes += size(&event);
        if let Some(event) = merge(&mut self.pending, event) {
            self.pending.push(event);
        }
    }

    /// Waits until the deltas must be committed; for ever when there are none.
    pub(super) async fn due(&self) {
        match self.pending_since {
            Some(_) if self.pending_bytes >= DELTAS_BYTES => {}
            Some(since) => tokio::time::sleep_until((since + DELTAS_WAIT).into()).await,
            None => pending().await,
        }
    }

    /// Commits the deltas that wait.
    pub(super) async fn flush(&mut self) -> Result<(), AppendError> {
        self.record(Vec::new()).await
    }
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
