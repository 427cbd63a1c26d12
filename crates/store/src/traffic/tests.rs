use std::path::PathBuf;

use chat::{
    exchange::{End, Peer},
    ids::{CallId, RoundId, Subject, TurnId},
};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::{queue::Entry, *};

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
async fn what_was_open_at_a_kill_is_interrupted_and_new_numbers_do_not_clash() {
    let file = File::new();
    let store = file.open().await;
    let exchange = store.begin(head("open", None)).unwrap();
    exchange.piece(frame(0, b"hel", 5));
    store.flush().await.unwrap();
    // A kill: nobody closes anything.
    let again = file.open().await;
    let id = ExchangeId("open".to_owned());
    let whole = again.exchange(&ana(), &id).await.unwrap().unwrap();
    assert_eq!(whole.row.end, Some(End::Interrupted));
    assert_eq!((whole.row.bytes_in, whole.row.frames_in), (3, 1));
    let next = again.begin(head("next", None)).unwrap();
    next.state(ended(0, 0));
    again.flush().await.unwrap();
    assert_eq!(again.exchanges(&ana(), None, 10).await.unwrap().len(), 2);
    again.close().await;
    store.close().await;
}

#[tokio::test]
async fn retention_takes_the_oldest_with_what_only_they_used_and_gives_the_room_back() {
    let file = File::new();
    let store = file.open().await;
    let shared = vec![b's'; 5_000];
    for number in 0..250_u32 {
        let head = ExchangeHead {
            started_at: i64::from(number),
            ..head(&format!("x-{number}"), None)
        };
        let exchange = store.begin(head).unwrap();
        exchange.piece(request(&shared));
        let own: Vec<u8> = (0..8_192_u32)
            .flat_map(|n| ((n * n) ^ (number * 77 + n)).to_le_bytes())
            .collect();
        exchange.piece(Piece {
            repeats: Repeats::Often,
            ..frame(0, &own, 1)
        });
        exchange.state(ended(5_000, own.len() as u64));
    }
    store.flush().await.unwrap();
    let full = std::fs::metadata(file.path()).unwrap().len();
    let purged = store.purge(200).await.unwrap();
    assert_eq!(purged.exchanges, 200);
    let left = store.exchanges(&ana(), None, 1000).await.unwrap();
    assert_eq!(left.len(), 50);
    let whole = store.exchange(&ana(), &left[49].id).await.unwrap().unwrap();
    assert_eq!(
        (whole.request.bytes, whole.request.kept),
        (shared, Kept::All)
    );
    assert_eq!(whole.response.kept, Kept::All);

    let half = stored_bytes(&file).await / 2;
    store.close().await;
    let half = u64::try_from(half).unwrap();
    let store = file.open_within(half).await.unwrap();
    let purged = store.purge(0).await.unwrap();
    assert!((1..=50).contains(&purged.exchanges), "{purged:?}");
    assert!(!store.purge(i64::MAX).await.unwrap().more);
    assert_eq!(store.exchanges(&ana(), None, 10).await.unwrap(), []);
    let path = file.path();
    store.close().await;
    let empty = std::fs::metadata(path).unwrap().len();
    assert!(empty * 10 < full, "{empty} of {full} bytes are left");
}

#[tokio::test]
async fn no_more_is_taken_away_than_is_too_much() {
    let file = File::new();
    let store = file.open().await;
    for number in 0..20 {
        let body = noise(number, 200_000);
        record(&store, head(&format!("x-{number}"), None), body.as_bytes());
    }
    store.flush().await.unwrap();
    let stored = u64::try_from(stored_bytes(&file).await).unwrap();
    assert_eq!(store.purge(0).await.unwrap().exchanges, 0);
    store.close().await;
    let store = file.open_within(stored / 2).await.unwrap();
    let purged = store.purge(0).await.unwrap();
    assert!((10..=13).contains(&purged.exchanges), "{purged:?}");
    let left = store.exchanges(&ana(), None, 100).await.unwrap();
    assert_eq!(left.first().unwrap().id.as_str(), "x-19");
    let again = store.purge(0).await.unwrap();
    assert_eq!(again.exchanges, 0);
    store.close().await;
}

#[tokio::test]
async fn a_file_keeps_within_its_bound_without_being_looked_at() {
    const BOUND: u64 = 2 * 1024 * 1024;
    let file = File::new();
    let store = file.open_within(BOUND).await.unwrap();
    for number in 0..40 {
        let body = noise(number, 400_000);
        record(&store, head(&format!("x-{number}"), None), body.as_bytes());
        store.flush().await.unwrap();
    }
    let wal = file.directory.path().join("t-traffic.db-wal");
    let sizes = [file.path(), wal].map(|path| std::fs::metadata(path).unwrap().len());
    assert!(sizes.iter().sum::<u64>() <= BOUND * 3 / 2, "{sizes:?}");
    let left = store.exchanges(&ana(), None, 100).await.unwrap();
    assert!((4..12).contains(&left.len()), "{} are left", left.len());
    assert_eq!(left[0].id.as_str(), "x-39");
    store.close().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_keeps_nobody_from_starting() {
    let file = File::new();
    // What SQLite cannot open either.
    std::fs::create_dir(file.path()).unwrap();
    let store = file.open().await;
    assert_eq!(store.dropped().paused, Some(Paused::Failing));
    assert!(store.begin(head("refused", None)).is_none());
    assert_eq!(store.dropped().exchanges, 1);
    assert_eq!(store.turns(&ana(), None, 10).await.unwrap(), []);
    assert_eq!(store.exchanges(&ana(), None, 10).await.unwrap(), []);
    let id = ExchangeId("refused".to_owned());
    assert!(store.exchange(&ana(), &id).await.unwrap().is_none());
    assert!(store.exchange_head(&ana(), &id).await.unwrap().is_none());
    assert!(store.purge(0).await.is_err());

    std::fs::remove_dir(file.path()).unwrap();
    recorded_again(&store).await;
    record(&store, head("kept", None), b"hello");
    store.flush().await.unwrap();
    assert_eq!(store.exchanges(&ana(), None, 10).await.unwrap().len(), 1);
    store.close().await;
}

/// Waits until it is recorded again.
async fn recorded_again(store: &TrafficStore) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while store.dropped().paused.is_some() {
        assert!(std::time::Instant::now() < until, "it does not go on");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_turn_can_be_forgotten_and_others_keep_their_bodies() {
    let file = File::new();
    let store = file.open().await;
    let shared = noise(1, 5_000);
    for (id, turn) in [("a", "kept"), ("b", "gone"), ("c", "gone")] {
        record(&store, head(id, Some(turn)), shared.as_bytes());
    }
    store.forget(&TurnId::from("gone")).await.unwrap();
    let turns = store.turns(&ana(), None, 10).await.unwrap();
    assert_eq!(turns.len(), 1);
    let whole = async |id: &str| store.exchange(&ana(), &ExchangeId(id.to_owned())).await;
    assert!(whole("b").await.unwrap().is_none());
    let kept = whole("a").await.unwrap().unwrap();
    assert_eq!(kept.request.bytes, shared.as_bytes());
    store.close().await;
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
async fn a_file_that_cannot_be_written_at_the_start_is_tried_again() {
    let file = File::new();
    let store = file.open().await;
    store.begin(head("open", None)).unwrap();
    store.flush().await.unwrap();
    let mut conn = file.connect().await;
    let break_it = "CREATE TRIGGER broken BEFORE UPDATE ON exchanges \
                    BEGIN SELECT RAISE(ABORT, 'broken'); END";
    sqlx::query(break_it).execute(&mut conn).await.unwrap();
    // A kill: nobody closes anything.
    let again = file.open().await;
    assert_eq!(again.dropped().paused, Some(Paused::Failing));
    assert!(again.begin(head("refused", None)).is_none());
    let mend = sqlx::query("DROP TRIGGER broken").execute(&mut conn);
    mend.await.unwrap();
    conn.close().await.unwrap();
    recorded_again(&again).await;
    let rows = again.exchanges(&ana(), None, 10).await.unwrap();
    assert_eq!(rows[0].end, Some(End::Interrupted));
    again.close().await;
    store.close().await;
}

#[tokio::test]
async fn under_pressure_bodies_are_dropped_first_and_everything_is_counted() {
    let file = File::new();
    let store = file.open().await;
    // Nobody takes anything out of this one.
    let (queue, waiting) = Queue::new();
    queue.open(1);
    let pressed = TrafficStore(Arc::new(Inner {
        queue,
        readers: store.0.readers.clone(),
        tasks: file.tasks.clone(),
        closing: CancellationToken::new(),
        ended: CancellationToken::new(),
    }));
    let first = pressed.begin(head("first", None)).unwrap();
    let mib = vec![0; 1024 * 1024];
    for _ in 0..70 {
        first.piece(request(&mib));
    }
    let dropped = pressed.dropped();
    assert_eq!(dropped.exchanges, 0);
    assert!((6..=8).contains(&dropped.pieces), "{dropped:?}");
    let mut begun = Vec::new();
    while let Some(exchange) = pressed.begin(head("more", None)) {
        begun.push(exchange);
    }
    assert_eq!(pressed.dropped().exchanges, 1);
    // What has begun can still end, and headers count as bodies do.
    let before = waiting.len();
    let heavy = ExchangeState {
        response_headers: vec![("x".to_owned(), "x".repeat(1 << 20))],
        ..ended(0, 0)
    };
    let weight = |entry| Entry::State(1, Box::new(entry)).weight();
    assert!(weight(heavy.clone()) > (1 << 20) && weight(ended(0, 0)) < 2_000);
    first.state(heavy);
    assert_eq!(waiting.len(), before + 1);
    store.close().await;
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused_by_name() {
    let file = File::new();
    std::fs::write(
        file.path(),
        "these are notes, not a database, and they are long enough",
    )
    .unwrap();
    let refused = file.open_within(u64::MAX).await.err().unwrap();
    assert!(
        matches!(&refused, OpenError::NotADatabase { path } if *path == file.path()),
        "{refused}"
    );

    std::fs::remove_file(file.path()).unwrap();
    let store = file.open().await;
    let newer = "INSERT INTO traffic_schema_version (version) VALUES (9)";
    let mut conn = file.connect().await;
    sqlx::query(newer).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    store.close().await;
    let refused = file.open_within(u64::MAX).await.err().unwrap();
    assert!(
        matches!(
            refused,
            OpenError::Newer {
                found: 9,
                known: 1,
                ..
            }
        ),
        "{refused}"
    );

    // The one is not taken for the other.
    std::fs::copy(file.path(), file.directory.path().join("t.db")).unwrap();
    let refused = crate::Store::open(&file.url(), &file.tasks)
        .await
        .err()
        .unwrap();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_pauses_and_goes_on_by_itself() {
    let file = File::new();
    let store = file.open().await;
    let mut conn = file.connect().await;
    let break_it = "CREATE TRIGGER broken BEFORE INSERT ON exchanges \
                    BEGIN SELECT RAISE(ABORT, 'broken'); END";
    sqlx::query(break_it).execute(&mut conn).await.unwrap();
    store.begin(head("lost", None)).unwrap();
    store.flush().await.unwrap();
    let dropped = store.dropped();
    assert_eq!(
        (dropped.exchanges, dropped.paused),
        (1, Some(Paused::Failing))
    );
    assert!(store.begin(head("refused", None)).is_none());
    assert_eq!(store.dropped().exchanges, 2);
    sqlx::query("DROP TRIGGER broken")
        .execute(&mut conn)
        .await
        .unwrap();
    conn.close().await.unwrap();
    recorded_again(&store).await;
    record(&store, head("kept", None), b"hello");
    store.flush().await.unwrap();
    assert_eq!(store.exchanges(&ana(), None, 10).await.unwrap().len(), 1);
    store.close().await;
}
