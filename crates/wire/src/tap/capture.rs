//! The bodies of an exchange on their way to its record: gathered into pieces, without secrets.

use std::mem;

use super::{
    Exchange, Part, Piece, Record, Wants,
    redact::{Secret, mask, undecided},
};

/// Bytes of a body that are kept, at most: the largest result there is.
pub const BODY_KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a stream that are gathered into one piece: some dozens of events, little enough for
/// hundreds of streams at once. Room for as many is made at once: pieces that grow while others do
/// leave holes between them.
const STREAM_PIECE_BYTES: usize = 8 * 1024;

/// Bytes of any other body that are gathered into one piece.
const PIECE_BYTES: usize = 256 * 1024;

/// Times of arrival in a piece, however little came at each.
const PIECE_ARRIVALS: usize = 1024;

/// Times of arrival that are kept of a body: 2 MiB. What comes later has one time a piece.
pub const ARRIVALS_KEPT: usize = 128 * 1024;

/// Frames that come within so many microseconds count as having come together: at the time of the
/// last of them. A flood of tiny ones would otherwise be mostly times.
const TOGETHER_US: u64 = 1000;

/// Bytes of a request that are enough to see what it is about.
const BEGINNING_BYTES: usize = 4 * 1024;

/// How old the last piece of a stream may be when something comes, microseconds: an open stream
/// can be looked at. What comes after a pause is handed on at once.
const PIECE_AGE_US: u64 = 5_000_000;

/// Gathers what passes.
pub(super) struct Capture {
    record: Box<dyn Record>,
    part: Part,
    /// Where in the body the buffer begins.
    start: u64,
    buffer: Vec<u8>,
    /// Frames in the buffer.
    frames: u64,
    arrivals: Vec<(u64, u64)>,
    /// When the first frame of the last of these came, microseconds after the start.
    together_since: u64,
    /// How many there were of the body so far.
    times: usize,
    /// When the last piece was handed on, microseconds after the start of the exchange.
    handed_on: u64,
}

impl Capture {
    pub(super) fn new(record: Box<dyn Record>) -> Self {
        Self {
            record,
            part: Part::Answer,
            start: 0,
            buffer: Vec::new(),
            frames: 0,
            arrivals: Vec::new(),
            together_since: 0,
            times: 0,
            handed_on: 0,
        }
    }

    /// The body of the request, whole.
    pub(super) fn sent(&mut self, body: &[u8], secrets: &[Secret]) {
        let most = match self.record.wants() {
            Wants::Bodies => BODY_KEPT_BYTES,
            Wants::Beginning => BEGINNING_BYTES,
        };
        let mut bytes = body.get(..most).unwrap_or(body).to_vec();
        mask(&mut bytes, secrets);
        if body.len() > most {
            bytes.truncate(bytes.len() - undecided(&bytes, secrets));
        }
        self.record.piece(Piece {
            part: Part::Request,
            start: 0,
            bytes,
            frames: 0,
            arrivals: Vec::new(),
        });
    }

    /// The head of the answer.
    pub(super) fn answered(&mut self, exchange: &Exchange) {
        if exchange.is_stream() {
            self.part = Part::Stream;
            self.record.answered(exchange);
        }
    }

    /// A frame of the answer's body. This is the path of every byte: it copies, and no more.
    pub(super) fn received(&mut self, exchange: &Exchange, bytes: &[u8], secrets: &[Secret]) {
        if self.record.wants() == Wants::Beginning {
            return;
        }
        let end = self.start + self.buffer.len() as u64;
        let room = usize::try_from((BODY_KEPT_BYTES as u64).saturating_sub(end)).unwrap_or(0);
        if room == 0 {
            return;
        }
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let after = micros(exchange.started.elapsed());
        if self.part == Part::Stream {
            if self.buffer.len() + bytes.len() > STREAM_PIECE_BYTES {
                self.hand_on(Rest::Follows, after, secrets);
            }
            let room = STREAM_PIECE_BYTES.saturating_sub(self.buffer.len());
            self.buffer.reserve_exact(room);
        }
        self.buffer.extend_from_slice(bytes);
        self.frames += 1;
        self.arrived(self.start + self.buffer.len() as u64, after);
        let (most, old) = match self.part {
            Part::Stream => (STREAM_PIECE_BYTES, after - self.handed_on > PIECE_AGE_US),
            Part::Request | Part::Answer => (PIECE_BYTES, false),
        };
        if self.buffer.len() >= most || self.arrivals.len() >= PIECE_ARRIVALS || old {
            self.hand_on(Rest::Follows, after, secrets);
        }
    }

    /// The body up to `end` is there, `after` so many microseconds.
    fn arrived(&mut self, end: u64, after: u64) {
        let together = after.saturating_sub(self.together_since) < TOGETHER_US;
        match self.arrivals.last_mut() {
            Some(last) if together || self.times >= ARRIVALS_KEPT => *last = (end, after),
            Some(_) | None => {
                self.arrivals.push((end, after));
                self.together_since = after;
                self.times += 1;
            }
        }
    }

    /// The exchange is over.
    pub(super) fn finished(&mut self, exchange: &Exchange, secrets: &[Secret]) {
        let after = exchange.ended_after.map_or(0, micros);
        self.hand_on(Rest::None, after, secrets);
        self.record.finished(exchange);
    }

    /// Hands on what was gathered, but for what may turn out to be the start of a secret.
    fn hand_on(&mut self, rest: Rest, after: u64, secrets: &[Secret]) {
        mask(&mut self.buffer, secrets);
        // What is cut off may have been the rest of one, too.
        let is_cut = self.start + self.buffer.len() as u64 == BODY_KEPT_BYTES as u64;
        let held = match rest {
            Rest::None if !is_cut => 0,
            Rest::None | Rest::Follows => undecided(&self.buffer, secrets),
        };
        let ready = self.buffer.len() - held;
        if ready == 0 {
            return;
        }
        let rest = self.buffer.split_off(ready);
        let bytes = mem::replace(&mut self.buffer, rest);
        let end = self.start + bytes.len() as u64;
        let early = self.arrivals.partition_point(|(place, _)| *place <= end);
        let rest = self.arrivals.split_off(early);
        let piece = Piece {
            part: self.part,
            start: self.start,
            bytes,
            frames: mem::take(&mut self.frames),
            arrivals: mem::replace(&mut self.arrivals, rest),
        };
        self.record.piece(piece);
        self.start = end;
        self.handed_on = after;
    }
}

/// Whether more of a body may follow.
#[derive(Clone, Copy)]
enum Rest {
    Follows,
    None,
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use ::http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
    use secrecy::SecretString;

    use super::*;
    use crate::tap::{Context, End, Recording, RequestHead, Tap, Tapping};

    /// Remembers pieces.
    #[derive(Clone)]
    struct Memory(Arc<Mutex<Vec<Piece>>>, Wants);

    impl Record for Memory {
        fn wants(&self) -> Wants {
            self.1
        }

        fn piece(&mut self, piece: Piece) {
            self.0.lock().unwrap().push(piece);
        }

        fn answered(&mut self, _: &Exchange) {}

        fn finished(&mut self, _: &Exchange) {}
    }

    impl Tap for Memory {
        fn begin(&self, _: &Exchange) -> Option<Box<dyn Record>> {
            Some(Box::new(self.clone()))
        }

        fn finished(&self, _: &Exchange) {}
    }

    /// An exchange with a secret, and what is recorded of it.
    fn recording(wants: Wants, kind: &'static str) -> (Recording, Memory) {
        let memory = Memory(Arc::default(), wants);
        let tapping = Tapping::new(Arc::new(memory.clone()));
        let (url, headers) = ("http://127.0.0.1/".parse().unwrap(), HeaderMap::new());
        let secret = SecretString::from("TE-0123456789");
        let head = RequestHead {
            method: &Method::POST,
            url: &url,
            headers: &headers,
            secret: Some(&secret),
        };
        let mut recording = tapping.start(Context::default(), head);
        recording.sent(b"asks with TE-0123456789");
        let answer = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        recording.answered(StatusCode::OK, &answer);
        (recording, memory)
    }

    const STREAM: &str = "text/event-stream; charset=utf-8";

    #[test]
    fn a_secret_is_found_wherever_frames_and_pieces_end() {
        for split in 1..40 {
            let (mut recording, memory) = recording(Wants::Bodies, STREAM);
            let filler = vec![b'.'; STREAM_PIECE_BYTES - 20];
            let body = [&filler[..], b"says TE-0123456789, twice: TE-0123456789."].concat();
            for frame in [&body[..filler.len() + split], &body[filler.len() + split..]] {
                recording.received(frame);
            }
            recording.end(End::Complete);
            let pieces = memory.0.lock().unwrap();
            assert_eq!(pieces[0].bytes, b"asks with [redacted]***");
            let answer: Vec<u8> = pieces[1..].iter().flat_map(|p| p.bytes.clone()).collect();
            assert_eq!(answer.len(), body.len());
            assert!(
                answer.ends_with(b"says [redacted]***, twice: [redacted]***."),
                "split at {split}"
            );
            let ends: Vec<_> = pieces[1..]
                .iter()
                .flat_map(|piece| piece.arrivals.iter().map(|(end, _)| *end))
                .collect();
            assert_eq!(ends.last(), Some(&(body.len() as u64)));
            let frames: u64 = pieces.iter().map(|piece| piece.frames).sum();
            assert_eq!(frames, 2);
        }
    }

    #[test]
    fn a_token_that_is_sent_later_is_not_recorded_either() {
        let memory = Memory(Arc::default(), Wants::Bodies);
        let tapping = Tapping::new(Arc::new(memory.clone()));
        let (url, headers) = ("http://127.0.0.1/".parse().unwrap(), HeaderMap::new());
        let start = |secret: &str| {
            let secret = SecretString::from(secret);
            let head = RequestHead {
                method: &Method::GET,
                url: &url,
                headers: &headers,
                secret: Some(&secret),
            };
            tapping.start(Context::default(), head)
        };
        let mut standing = start("TE-0123456789");
        let later = start("TE-9876543210");
        standing.received(b"both: TE-0123456789 TE-9876543210");
        standing.end(End::Complete);
        let pieces = memory.0.lock().unwrap();
        assert_eq!(pieces[0].bytes, b"both: [redacted]*** [redacted]***");
        drop((pieces, later));
    }

    #[test]
    fn a_stream_is_handed_on_in_small_pieces_and_any_other_body_in_large_ones() {
        for (kind, most) in [
            (STREAM, STREAM_PIECE_BYTES),
            ("application/json", PIECE_BYTES),
        ] {
            let (mut recording, memory) = recording(Wants::Bodies, kind);
            for _ in 0..PIECE_BYTES / 100 * 3 {
                recording.received(&[b'x'; 1000]);
            }
            recording.end(End::Dropped);
            let pieces = memory.0.lock().unwrap();
            let mut place = 0;
            for piece in &pieces[1..] {
                assert_eq!(piece.start, place);
                place += piece.bytes.len() as u64;
                assert!(piece.bytes.len() <= most + 1000);
                assert!(piece.arrivals.is_sorted());
            }
            assert_eq!(place, (PIECE_BYTES / 100 * 3 * 1000) as u64);
        }
    }

    #[test]
    fn no_more_is_kept_than_may_be_and_a_flood_of_tiny_frames_is_bounded() {
        let (mut recording, memory) = recording(Wants::Bodies, STREAM);
        let frame = vec![b'x'; 100_000];
        for _ in 0..BODY_KEPT_BYTES / frame.len() + 5 {
            recording.received(&frame);
        }
        recording.end(End::Complete);
        let kept: usize = memory.0.lock().unwrap()[1..]
            .iter()
            .map(|p| p.bytes.len())
            .sum();
        assert_eq!(kept, BODY_KEPT_BYTES);

        let (mut recording, memory) = self::recording(Wants::Bodies, STREAM);
        recording.received(&[vec![b'x'; BODY_KEPT_BYTES - 5], b"TE-0123456789".to_vec()].concat());
        recording.end(End::Complete);
        let pieces = memory.0.lock().unwrap();
        assert!(pieces.last().unwrap().bytes.ends_with(b"xxx"));
        drop(pieces);

        let (mut recording, memory) = self::recording(Wants::Bodies, STREAM);
        for _ in 0..100_000 {
            recording.received(b"x");
        }
        recording.end(End::Complete);
        let pieces = memory.0.lock().unwrap();
        let times: usize = pieces.iter().map(|piece| piece.arrivals.len()).sum();
        assert!(times < 20_000, "{times} times of 100,000 bytes");
        let frames: u64 = pieces.iter().map(|piece| piece.frames).sum();
        assert_eq!(frames, 100_000);
        assert_eq!(pieces.last().unwrap().arrivals.last().unwrap().0, 100_000);
    }

    #[test]
    fn of_a_body_that_takes_for_ever_not_all_times_are_kept() {
        let memory = Memory(Arc::default(), Wants::Bodies);
        let mut capture = Capture::new(Box::new(memory));
        let last = ARRIVALS_KEPT as u64 + 1000;
        for n in 1..=last {
            capture.arrived(n, n * TOGETHER_US);
        }
        assert_eq!(capture.arrivals.len(), ARRIVALS_KEPT);
        assert_eq!(capture.arrivals[1], (2, 2 * TOGETHER_US));
        let at_end = (last, last * TOGETHER_US);
        assert_eq!(capture.arrivals.last(), Some(&at_end));
    }

    #[test]
    fn without_bodies_only_the_beginning_of_the_request_is_looked_at() {
        let (mut recording, memory) = recording(Wants::Beginning, STREAM);
        recording.sent(&[vec![b'x'; BEGINNING_BYTES - 5], b"TE-0123456789".to_vec()].concat());
        recording.received(b"hello");
        recording.end(End::Complete);
        let pieces = memory.0.lock().unwrap();
        assert_eq!(pieces.len(), 2);
        assert!(pieces.iter().all(|piece| piece.part == Part::Request));
        // Nothing of the secret that the cut goes through.
        assert_eq!(pieces[1].bytes, vec![b'x'; BEGINNING_BYTES - 5]);
    }
}
