//! Where traffic is handed in: never waits, drops what does not fit, and counts it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

use chat::{exchange::End, ids::TurnId};
use tokio::sync::{mpsc, oneshot};

use super::{Dropped, ExchangeHead, ExchangeState, Paused, Piece, TrafficStore};
use crate::error::StoreError;

/// Bytes that may wait to be written, of all exchanges together: some seconds of a disk's work.
pub const WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Entries that may wait to be written, however small.
const ENTRIES: usize = 8192;

/// Of these entries the last eighth is for the ends of exchanges that were begun, the eighth
/// before it for beginnings: bodies are dropped first.
const FOR_ENDS: usize = ENTRIES / 8;

/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD: usize = 256;

/// Something to write.
#[derive(Debug)]
pub(super) enum Entry {
    /// An exchange began.
    Begun(i64, Box<ExchangeHead>),
    /// A piece of a body of it.
    Piece(i64, Piece),
    /// The body of its request, which is not kept: it gives the label.
    Label(i64, Vec<u8>),
    /// How far it is.
    State(i64, Box<ExchangeState>),
    /// The exchanges of this turn go.
    Forget(TurnId, oneshot::Sender<Result<(), StoreError>>),
    /// What began before this time goes, and the oldest until the file is within its bound: a
    /// batch of it.
    Purge(i64, oneshot::Sender<Result<super::Purged, StoreError>>),
    /// Answered when what came before is written.
    Flush(oneshot::Sender<()>),
}

impl Entry {
    /// What it counts towards [`WAITING_BYTES`].
    pub(super) fn weight(&self) -> usize {
        let bytes = match self {
            Self::Piece(_, piece) => {
                piece.bytes.capacity() + size_of_val(piece.arrivals.as_slice())
            }
            Self::Label(_, body) => body.len(),
            Self::Begun(_, head) => head.url.len() + size(&head.request_headers),
            Self::State(_, state) => {
                let failure = state.end.as_ref().and_then(End::failure);
                size(&state.response_headers) + failure.map_or(0, str::len)
            }
            Self::Forget(..) | Self::Purge(..) | Self::Flush(_) => 0,
        };
        bytes + ENTRY_OVERHEAD
    }
}

/// Bytes of headers, about.
fn size(headers: &[(String, String)]) -> usize {
    let header = |(name, value): &(String, String)| name.len() + value.len();
    size_of_val(headers) + headers.iter().map(header).sum::<usize>()
}

/// The queue, and what was dropped of it.
#[derive(Debug)]
pub(super) struct Queue {
    entries: mpsc::Sender<Entry>,
    waiting: AtomicUsize,
    /// The number of the next exchange; none has 0, which says that the file was never opened.
    next: AtomicI64,
    exchanges: AtomicU64,
    pieces: AtomicU64,
    paused: AtomicU8,
}

impl Queue {
    /// A queue, and where its entries come out. It takes none before [`open`](Self::open).
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Entry>) {
        let (entries, waiting) = mpsc::channel(ENTRIES);
        let queue = Self {
            entries,
            waiting: AtomicUsize::default(),
            next: AtomicI64::default(),
            exchanges: AtomicU64::default(),
            pieces: AtomicU64::default(),
            paused: AtomicU8::default(),
        };
        (Arc::new(queue), waiting)
    }

    /// The file is open, and its next exchange has the number `next`.
    pub(super) fn open(&self, next: i64) {
        self.next.store(next, Ordering::Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        self.next.load(Ordering::Relaxed) > 0
    }

    /// The number of an exchange that begins.
    fn number(&self) -> Option<i64> {
        let next = |next: i64| (next > 0).then(|| next.saturating_add(1));
        let (ok, order) = (Ordering::Relaxed, Ordering::Relaxed);
        self.next.fetch_update(ok, order, next).ok()
    }

    pub(super) fn dropped(&self) -> Dropped {
        Dropped {
            exchanges: self.exchanges.load(Ordering::Relaxed),
            pieces: self.pieces.load(Ordering::Relaxed),
            paused: match self.paused.load(Ordering::Relaxed) {
                0 => None,
                1 => Some(Paused::DiskFull),
                _ => Some(Paused::Failing),
            },
        }
    }

    pub(super) fn pause(&self, paused: Option<Paused>) {
        let number = match paused {
            None => 0,
            Some(Paused::DiskFull) => 1,
            Some(Paused::Failing) => 2,
        };
        self.paused.store(number, Ordering::Relaxed);
    }

    /// Entries of this weight were taken out and written, or given up.
    pub(super) fn written(&self, weight: usize) {
        self.waiting.fetch_sub(weight, Ordering::Relaxed);
    }

    /// Nothing is kept of an exchange.
    pub(super) fn lost_exchange(&self) {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    /// So much is not kept.
    pub(super) fn lost(&self, exchanges: usize, pieces: usize) {
        self.exchanges
            .fetch_add(exchanges as u64, Ordering::Relaxed);
        self.pieces.fetch_add(pieces as u64, Ordering::Relaxed);
    }

    /// A piece of a body is not kept.
    pub(super) fn lost_piece(&self) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }

    /// Hands an entry in, if so many places would be left free and nothing is paused.
    fn offer(&self, entry: Entry, reserve: usize) -> bool {
        let paused = self.paused.load(Ordering::Relaxed) != 0;
        if reserve > 0 && (paused || self.entries.capacity() <= reserve) {
            return false;
        }
        let weight = entry.weight();
        let waiting = self.waiting.fetch_add(weight, Ordering::Relaxed);
        let fits = waiting.saturating_add(weight) <= WAITING_BYTES || reserve == 0;
        if fits && self.entries.try_send(entry).is_ok() {
            return true;
        }
        self.written(weight);
        false
    }

    /// Hands an entry in, waiting for a place: for what is no traffic.
    async fn send(&self, entry: Entry) -> Result<(), StoreError> {
        let weight = entry.weight();
        self.waiting.fetch_add(weight, Ordering::Relaxed);
        self.entries.send(entry).await.map_err(|_| {
            self.written(weight);
            StoreError::Closed
        })
    }

    pub(super) async fn purge(&self, before: i64) -> Result<super::Purged, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Entry::Purge(before, reply)).await?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    pub(super) async fn forget(&self, turn: TurnId) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Entry::Forget(turn, reply)).await?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Entry::Flush(reply)).await?;
        answer.await.map_err(|_| StoreError::Closed)
    }
}

/// An exchange that is being recorded. Nothing here waits or fails.
#[derive(Debug)]
pub struct OpenExchange {
    queue: Arc<Queue>,
    number: i64,
}

impl TrafficStore {
    /// Begins to record an exchange. `None` when there is no room for it, which is counted.
    pub fn begin(&self, head: ExchangeHead) -> Option<OpenExchange> {
        let queue = &self.0.queue;
        if let Some(number) = queue.number()
            && queue.offer(Entry::Begun(number, Box::new(head)), FOR_ENDS)
        {
            let queue = Arc::clone(queue);
            return Some(OpenExchange { queue, number });
        }
        queue.lost_exchange();
        None
    }
}

impl OpenExchange {
    /// Keeps a piece of a body. What comes after a piece for which there was no room is not shown.
    pub fn piece(&self, piece: Piece) {
        if !self
            .queue
            .offer(Entry::Piece(self.number, piece), 2 * FOR_ENDS)
        {
            self.queue.lost_piece();
        }
    }

    /// Takes the label from the request's body, which is not kept.
    pub fn label(&self, body: Vec<u8>) {
        self.queue
            .offer(Entry::Label(self.number, body), 2 * FOR_ENDS);
    }

    /// Says how far the exchange is. What says that it ended is the last that is said. It is always
    /// let in; when there is no room for more bytes, without what has many.
    pub fn state(&self, mut state: ExchangeState) {
        if self.queue.waiting.load(Ordering::Relaxed) > WAITING_BYTES {
            state.response_headers.clear();
            if let Some(End::Failed(why)) = &mut state.end {
                why.clear();
            }
        }
        let state = Entry::State(self.number, Box::new(state));
        self.queue.offer(state, 0);
    }
}
