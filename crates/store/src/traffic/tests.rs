mod retention;
mod trouble;

use std::path::PathBuf;

use chat::{
    exchange::{End, Peer},
    ids::{CallId, RoundId, Subject, TurnId},
};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::*;

/// A directory with a traffic file.
struct File {
    directory: TempDir,
    tasks: TaskTracker,
}

impl File {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            tasks: TaskTracker::new(),
        }
    }

    fn url(&self) -> String {
        format!("sqlite://{}/t.db", self.directory.path().display())
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("t-traffic.db")
    }

    async fn open(&self) -> TrafficStore {
        self.open_within(u64::MAX).await.unwrap()
    }

    /// With so many bytes for the file.
    async fn open_within(&self, max_bytes: u64) -> Result<TrafficStore, OpenError> {
        TrafficStore::open(&self.url(), max_bytes, &self.tasks).await
    }

    async fn connect(&self) -> SqliteConnection {
        connect_writer(&self.path(), Bound(u64::MAX)).await.unwrap()
    }
}

fn ana() -> Subject {
    Subject::from("ana")
}

fn head(id: &str, turn: Option<&str>) -> ExchangeHead {
    ExchangeHead {
        id: ExchangeId(id.to_owned()),
        subject: ana(),
        turn: turn.map(TurnId::from),
        round: Some(RoundId(1)),
        call: Some(CallId(2)),
        peer: Peer::Mcp,
        server: Some("northwind".to_owned()),
        method: "POST".to_owned(),
        url: "https://db.example.com/mcp".to_owned(),
        request_headers: vec![("accept".to_owned(), "application/json".to_owned())],
        started_at: 1_000,
        bodies: Bodies::Kept,
    }
}

fn request(bytes: &[u8]) -> Piece {
    Piece {
        side: Side::Request,
        start: 0,
        bytes: bytes.to_vec(),
        frames: 0,
        arrivals: Vec::new(),
        repeats: Repeats::Often,
    }
}

fn frame(start: u64, bytes: &[u8], after_us: u64) -> Piece {
    Piece {
        side: Side::Response,
        start,
        bytes: bytes.to_vec(),
        frames: 1,
        arrivals: vec![(start + bytes.len() as u64, after_us)],
        repeats: Repeats::Seldom,
    }
}

fn ended(bytes_out: u64, bytes_in: u64) -> ExchangeState {
    ExchangeState {
        status: Some(200),
        request_id: Some("r-1".to_owned()),
        response_headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        headers_after_us: Some(10),
        ended_after_us: Some(2_000_000),
        bytes_out,
        bytes_in,
        frames_in: 2,
        end: Some(End::Complete),
    }
}

/// Records an exchange whose request has this body, and whose response has none.
fn record(store: &TrafficStore, head: ExchangeHead, body: &[u8]) {
    let exchange = store.begin(head).unwrap();
    exchange.piece(request(body));
    exchange.state(ended(body.len() as u64, 0));
}

#[tokio::test]
async fn an_exchange_comes_back_as_it_was_to_its_person_only() {
    let file = File::new();
    let store = file.open().await;
    let turn = TurnId::from("turn-1");
    let exchange = store.begin(head("x-1", Some("turn-1"))).unwrap();
    let asked = br#"{"method":"tools/call","params":{"name":"query"}}"#;
    exchange.piece(request(asked));
    exchange.piece(frame(0, b"hel", 5));
    store.flush().await.unwrap();
    let open = &store.exchanges(&ana(), Some(&turn), 10).await.unwrap()[0];
    assert_eq!((open.bytes_in, open.frames_in, &open.end), (3, 1, &None));

    exchange.piece(frame(3, b"lo", 900));
    exchange.state(ended(asked.len() as u64, 5));
    store.flush().await.unwrap();
    let whole = store.exchange(&ana(), &open.id).await.unwrap().unwrap();
    assert_eq!(whole.row.label.as_deref(), Some("tools/call query"));
    assert_eq!(whole.row.end, Some(End::Complete));
    assert_eq!(
        (whole.row.turn, whole.row.round, whole.row.call),
        (Some(turn.clone()), Some(RoundId(1)), Some(CallId(2)))
    );
    assert_eq!(
        (whole.row.status, whole.row.request_id.as_deref()),
        (Some(200), Some("r-1"))
    );
    assert_eq!(
        (whole.row.headers_after_us, whole.row.ended_after_us),
        (Some(10), Some(2_000_000))
    );
    assert_eq!(whole.request.bytes, asked);
    assert_eq!(
        (whole.request.kept, whole.response.kept),
        (Kept::All, Kept::All)
    );
    assert_eq!(whole.response.bytes, b"hello");
    assert_eq!(whole.response.arrivals, [(3, 5), (5, 900)]);
    assert_eq!(whole.request_headers[0].0, "accept");
    assert_eq!(whole.response_headers[0].1, "text/plain");
    let turns = store.turns(&ana(), None, 10).await.unwrap();
    assert_eq!(
        turns,
        [TrafficTurn {
            turn: turn.clone(),
            started_at: 1_000,
            ended_at: Some(3_000),
            exchanges: 1,
            errors: 0,
            bytes_in: 5,
            bytes_out: asked.len() as u64,
        }]
    );

    let ben = Subject::from("ben");
    assert!(store.exchange(&ben, &open.id).await.unwrap().is_none());
    assert_eq!(store.exchanges(&ben, Some(&turn), 10).await.unwrap(), []);
    assert_eq!(store.turns(&ben, None, 10).await.unwrap(), []);
    assert_eq!(store.dropped(), Dropped::default());
    store.close().await;
}

#[tokio::test]
async fn what_was_not_kept_says_so() {
    let file = File::new();
    let store = file.open().await;
    let kept = async |id: &str| {
        store.flush().await.unwrap();
        let id = ExchangeId(id.to_owned());
        let whole = store.exchange(&ana(), &id).await.unwrap().unwrap();
        (whole.request.kept, whole.response.kept)
    };
    let cut = store.begin(head("cut", None)).unwrap();
    cut.piece(frame(0, b"hello", 1));
    cut.piece(frame(9, b"after a gap", 2));
    cut.state(ended(7, 20));
    assert_eq!(
        kept("cut").await,
        (Kept::Not(NotKept::Dropped), Kept::Cut { of: 20 })
    );
    let metadata = store.begin(ExchangeHead {
        bodies: Bodies::Left,
        ..head("metadata", None)
    });
    let metadata = metadata.unwrap();
    metadata.label(br#"{"model":"m"}"#.to_vec());
    metadata.state(ended(7, 20));
    let not = Kept::Not(NotKept::Metadata);
    assert_eq!(kept("metadata").await, (not, not));
    let outside = store.exchanges(&ana(), None, 10).await.unwrap();
    let labels: Vec<_> = outside
        .iter()
        .map(|row| (row.id.as_str(), row.label.as_deref()))
        .collect();
    assert_eq!(labels, [("metadata", Some("m")), ("cut", None)]);
    store.close().await;
}

#[tokio::test]
async fn history_is_stored_once_however_often_it_is_sent() {
    let file = File::new();
    let store = file.open().await;
    let mut sizes = Vec::new();
    let mut messages = Vec::new();
    let mut bodies = Vec::new();
    for round in 0..20 {
        // Not compressible, so that only references save anything.
        let noise = noise(round, 1_000);
        messages.push(format!(r#"{{"role":"user","content":"{round} {noise}"}}"#));
        let body = format!(
            r#"{{"model":"m","tools":[{{"x":"{}"}}],"messages":[{}]}}"#,
            "t".repeat(500),
            messages.join(",")
        );
        record(&store, head(&format!("x-{round}"), None), body.as_bytes());
        bodies.push(body);
        store.flush().await.unwrap();
        sizes.push(stored_bytes(&file).await);
    }
    for (round, body) in bodies.iter().enumerate() {
        let id = ExchangeId(format!("x-{round}"));
        let whole = store.exchange(&ana(), &id).await.unwrap().unwrap();
        assert_eq!(whole.request.bytes, body.as_bytes());
    }
    // As many bytes for the last ten rounds as for the ten before, not three times as many.
    let (first, last) = (sizes[9] - sizes[0], sizes[19] - sizes[9]);
    assert!(last < first * 3 / 2, "{sizes:?}");
    store.close().await;
}

/// Text that does not compress to less than half.
fn noise(seed: u32, bytes: usize) -> String {
    use sha2::{Digest, Sha256};
    let hash = |n: usize| format!("{:x}", Sha256::digest(format!("{seed} {n}")));
    let text: String = (0..=bytes / 64).map(hash).collect();
    text[..bytes].to_owned()
}

/// Bytes of parts in the file, with what refers to them.
async fn stored_bytes(file: &File) -> i64 {
    let mut conn = file.connect().await;
    let (bytes,): (i64,) = sqlx::query_as(
        "SELECT (SELECT SUM(LENGTH(body)) FROM bodies) + (SELECT SUM(LENGTH(blobs)) FROM pieces)",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
    bytes
}

#[tokio::test]
async fn errors_are_counted_as_a_row_says_it_failed() {
    let file = File::new();
    let store = file.open().await;
    let turn = TurnId::from("turn");
    let ends = [
        None,
        Some(End::Complete),
        Some(End::Dropped),
        Some(End::Failed("broke".to_owned())),
        Some(End::Interrupted),
    ];
    for (number, end) in ends.iter().enumerate() {
        for status in [None, Some(200), Some(502)] {
            let id = format!("{number} {status:?}");
            let exchange = store.begin(head(&id, Some("turn"))).unwrap();
            exchange.state(ExchangeState {
                status,
                end: end.clone(),
                ..ended(0, 0)
            });
        }
    }
    store.flush().await.unwrap();
    let rows = store.exchanges(&ana(), Some(&turn), 100).await.unwrap();
    let failed = rows.iter().filter(|row| row.failed()).count();
    assert_eq!((rows.len(), failed), (15, 6));
    let turns = store.turns(&ana(), None, 10).await.unwrap();
    assert_eq!(turns[0].errors, failed as u64);
    store.close().await;
}

#[tokio::test]
async fn what_an_answer_says_went_wrong_is_an_error() {
    let file = File::new();
    let store = file.open().await;
    let (before, after) = (
        br#"{"id":1,"result":{"content":[],"#,
        br#""isError":true}}"#,
    );
    let size = (before.len() + after.len()) as u64;
    let exchange = store.begin(head("tool", Some("turn-1"))).unwrap();
    exchange.piece(frame(0, before, 1));
    // Its end comes with another group than its beginning.
    store.flush().await.unwrap();
    exchange.piece(frame(before.len() as u64, after, 2));
    exchange.state(ended(0, size));
    let error = br#"{"id":2,"error":{"code":-32602,"message":"No such tool"}}"#;
    for (id, peer) in [("rpc", Peer::Mcp), ("model", Peer::Model)] {
        let head = ExchangeHead {
            peer,
            ..head(id, Some("turn-1"))
        };
        let exchange = store.begin(head).unwrap();
        exchange.piece(frame(0, error, 1));
        exchange.state(ended(0, error.len() as u64));
    }
    store.flush().await.unwrap();
    let turn = TurnId::from("turn-1");
    let rows = store.exchanges(&ana(), Some(&turn), 10).await.unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.reported, row.failed()))
        .collect();
    let (tool, rpc) = (Some(Reported::Tool), Some(Reported::Rpc(-32602)));
    assert_eq!(seen, [(tool, true), (rpc, true), (None, false)]);
    assert!(rows.iter().all(|row| row.end == Some(End::Complete)));
    let turns = store.turns(&ana(), None, 10).await.unwrap();
    assert_eq!(turns[0].errors, 2);
    store.close().await;
}
