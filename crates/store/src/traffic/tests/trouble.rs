//! Files that were left open, cannot be opened or written, or are of another kind; and more than
//! can be written.

use super::{super::queue::Entry, *};

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
