//! What is done to entries before they are written: hashing, compressing, taking apart. It takes
//! its time, so it runs aside.

use std::collections::{BTreeMap, HashMap};

use chat::exchange::Peer;
use sha2::{Digest, Sha256};

use super::{
    Bodies, ExchangeHead, ExchangeState, Piece, Repeats, Reported, Side,
    pack::{self, Packer},
    queue::Entry,
    reported::Reader,
};

/// Parts of bodies that are remembered as stored: those of some dozens of long conversations. Each
/// costs about 60 bytes.
const SEEN: usize = 32 * 1024;

/// Answers that are read at once for what they say went wrong: some thousand open exchanges. Of
/// more, those that began first are read no further (their ends may never come). Each costs about
/// 100 bytes.
const READ_AT_ONCE: usize = 4 * 1024;

pub(super) type Hash = [u8; 32];

/// Prepares entries, and remembers which parts are in the file.
pub(super) struct Preparer {
    packer: Packer,
    seen: HashMap<Hash, i64>,
    readers: BTreeMap<i64, Reader>,
}

/// An entry as it is written.
pub(super) enum Prepared {
    /// A new exchange with everything that is known of it.
    Exchange(i64, Box<NewExchange>),
    /// A piece of a body.
    Piece(PreparedPiece),
    /// What the exchange is about.
    Label(i64, String),
    /// How far it is.
    State(i64, Box<ExchangeState>),
    /// What its answer says went wrong, after its end.
    Reported(i64, Reported),
}

pub(super) struct NewExchange {
    pub(super) head: ExchangeHead,
    pub(super) label: Option<String>,
    pub(super) state: Option<ExchangeState>,
}

pub(super) struct PreparedPiece {
    pub(super) exchange: i64,
    pub(super) side: Side,
    pub(super) start: u64,
    pub(super) size: usize,
    pub(super) frames: u64,
    pub(super) arrivals: Option<Vec<u8>>,
    pub(super) body: Packed,
}

/// The bytes of a piece.
pub(super) enum Packed {
    /// In its row.
    Inline(Vec<u8>),
    /// As parts, each stored once.
    Parts(Vec<Part>),
}

pub(super) enum Part {
    /// The blob of this number.
    Stored(i64),
    /// One that is probably not in the file.
    New {
        hash: Hash,
        size: usize,
        packed: Vec<u8>,
    },
}

impl Preparer {
    pub(super) fn new() -> Self {
        Self {
            packer: Packer::new(),
            seen: HashMap::new(),
            readers: BTreeMap::new(),
        }
    }

    /// Remembers a part that is in the file.
    pub(super) fn remember(&mut self, hash: Hash, blob: i64) {
        if self.seen.len() >= SEEN {
            self.forget();
        }
        self.seen.insert(hash, blob);
    }

    /// Remembers nothing any more: what is in the file may have changed.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }

    /// Prepares a group, in which an exchange that begins takes up what comes after it.
    pub(super) fn prepare(&mut self, group: Vec<Entry>) -> Vec<Prepared> {
        let mut prepared = Vec::with_capacity(group.len());
        let mut begun: HashMap<i64, Box<NewExchange>> = HashMap::new();
        let mut order = Vec::new();
        for entry in group {
            match entry {
                Entry::Begun(number, head) => {
                    order.push(number);
                    self.begin(number, &head);
                    let new = NewExchange {
                        head: *head,
                        label: None,
                        state: None,
                    };
                    begun.insert(number, Box::new(new));
                }
                Entry::Piece(number, piece) => {
                    if piece.side == Side::Request && piece.start == 0 {
                        label(number, &piece.bytes, &mut begun, &mut prepared);
                    }
                    if let (Side::Response, Some(reader)) =
                        (piece.side, self.readers.get_mut(&number))
                    {
                        reader.read(piece.start, &piece.bytes);
                    }
                    prepared.push(Prepared::Piece(self.piece(number, piece)));
                }
                Entry::Label(number, body) => label(number, &body, &mut begun, &mut prepared),
                Entry::State(number, state) => {
                    let reported = state.end.as_ref().and_then(|_| self.end(number));
                    match begun.get_mut(&number) {
                        Some(new) => new.state = Some(*state),
                        None => prepared.push(Prepared::State(number, state)),
                    }
                    prepared.extend(reported.map(|said| Prepared::Reported(number, said)));
                }
                Entry::Forget(..) | Entry::Purge(..) | Entry::Flush(_) => {}
            }
        }
        let mut whole: Vec<_> = order
            .into_iter()
            .filter_map(|number| Some(Prepared::Exchange(number, begun.remove(&number)?)))
            .collect();
        whole.append(&mut prepared);
        whole
    }

    /// An exchange begins: an MCP server's answer is read for what it says went wrong.
    fn begin(&mut self, number: i64, head: &ExchangeHead) {
        match head.peer {
            Peer::Mcp => {}
            Peer::Model | Peer::Pomerium => return,
        }
        self.readers.insert(number, Reader::default());
        if self.readers.len() > READ_AT_ONCE {
            self.readers.pop_first();
        }
    }

    /// An exchange ends: what its answer says went wrong.
    fn end(&mut self, number: i64) -> Option<Reported> {
        self.readers.remove(&number)?.found()
    }

    fn piece(&mut self, exchange: i64, piece: Piece) -> PreparedPiece {
        let Piece {
            side,
            start,
            bytes,
            frames,
            arrivals,
            repeats,
        } = piece;
        let body = match repeats {
            Repeats::Seldom => Packed::Inline(self.packer.pack(&bytes)),
            Repeats::Often => {
                let parts = pack::parts(&bytes).into_iter();
                Packed::Parts(parts.map(|part| self.part(part)).collect())
            }
        };
        PreparedPiece {
            exchange,
            side,
            start,
            size: bytes.len(),
            frames,
            arrivals: (!arrivals.is_empty()).then(|| pack::pack_arrivals(start, &arrivals)),
            body,
        }
    }

    fn part(&mut self, plain: &[u8]) -> Part {
        let hash: Hash = Sha256::digest(plain).into();
        match self.seen.get(&hash) {
            Some(&blob) => Part::Stored(blob),
            None => Part::New {
                hash,
                size: plain.len(),
                packed: self.packer.pack(plain),
            },
        }
    }
}

fn label(
    number: i64,
    body: &[u8],
    begun: &mut HashMap<i64, Box<NewExchange>>,
    prepared: &mut Vec<Prepared>,
) {
    let Some(label) = pack::label(body) else {
        return;
    };
    match begun.get_mut(&number) {
        Some(new) => new.label = Some(label),
        None => prepared.push(Prepared::Label(number, label)),
    }
}

impl Bodies {
    /// Its number in the file.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Kept => 1,
            Self::Left => 0,
        }
    }
}
