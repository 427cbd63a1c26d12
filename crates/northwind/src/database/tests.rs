use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::{
    failure::Failure,
    journal::Outcome,
    rows::{self, Query, RowSet},
    schema,
};

fn file(dir: &Path) -> PathBuf {
    let path = dir.join("test.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT UNIQUE);
             INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL);
             CREATE VIEW v AS SELECT b FROM t;",
        )
        .unwrap();
    path
}

async fn open(dir: &Path, time_limit: Duration) -> Database {
    Database::open(file(dir), time_limit, TaskTracker::new())
        .await
        .unwrap()
}

fn query(sql: &str, params: &[serde_json::Value]) -> Query {
    Query {
        sql: sql.to_owned(),
        params: params.to_vec(),
        limit: 200,
        meter: Meter::default(),
    }
}

async fn read(database: &Database, sql: &str) -> Result<RowSet, Failure> {
    let query = query(sql, &[]);
    let never = CancellationToken::new();
    database
        .run(Access::Read, &never, move |link| rows::read(link, &query))
        .await
}

async fn write(database: &Database, sql: &str) -> Result<(u64, RowSet), Failure> {
    let query = query(sql, &[]);
    let never = CancellationToken::new();
    database
        .run(Access::Write, &never, move |link| rows::write(link, &query))
        .await
}

const MINUTE: Duration = Duration::from_mins(1);

/// Counts for hours.
const FOR_EVER: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

#[tokio::test]
async fn a_reader_changes_nothing_whatever_the_text_says() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), MINUTE).await;
    let outside = dir.path().join("outside.db");
    let before = std::fs::read(dir.path().join("test.db")).unwrap();
    for sql in [
        "INSERT INTO t VALUES (4, 'four')".to_owned(),
        "INSERT INTO t VALUES (4, 'four') RETURNING a".to_owned(),
        "WITH x AS (SELECT 1) DELETE FROM t".to_owned(),
        "/* SELECT */ UPDATE t SET b = 'x'".to_owned(),
        "DROP TABLE t".to_owned(),
        "CREATE TABLE u (a)".to_owned(),
        "CREATE TEMP TABLE u (a)".to_owned(),
        "REPLACE INTO t VALUES (1, 'x')".to_owned(),
        "BEGIN".to_owned(),
        "SAVEPOINT s".to_owned(),
        "PRAGMA query_only = 0".to_owned(),
        "PRAGMA writable_schema = 1".to_owned(),
        "PRAGMA user_version = 7".to_owned(),
        "PRAGMA journal_mode = DELETE".to_owned(),
        "PRAGMA wal_checkpoint".to_owned(),
        "SELECT load_extension('x')".to_owned(),
        "SELECT * FROM pragma_query_only(0)".to_owned(),
        "VACUUM".to_owned(),
        "ANALYZE".to_owned(),
        "REINDEX".to_owned(),
        format!("ATTACH '{}' AS o", outside.display()),
        format!("VACUUM INTO '{}'", outside.display()),
        "SELECT 1; DELETE FROM t".to_owned(),
    ] {
        let failed = read(&database, &sql).await.unwrap_err();
        assert_eq!(failed.outcome, Outcome::Error, "{sql}");
    }
    assert!(!outside.exists());
    assert_eq!(std::fs::read(dir.path().join("test.db")).unwrap(), before);
    assert_eq!(
        read(&database, "SELECT * FROM t").await.unwrap().row_count,
        3
    );
}

#[tokio::test]
async fn a_writer_keeps_to_its_file_and_to_one_statement() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), MINUTE).await;
    let outside = dir.path().join("outside.db");
    for sql in [
        format!("ATTACH '{}' AS o", outside.display()),
        format!("VACUUM INTO '{}'", outside.display()),
        "BEGIN".to_owned(),
        "SAVEPOINT s".to_owned(),
        "PRAGMA journal_mode = OFF".to_owned(),
        "PRAGMA writable_schema = 1".to_owned(),
        "UPDATE sqlite_schema SET sql = 'x'".to_owned(),
        "CREATE TEMP TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END".to_owned(),
        "CREATE VIRTUAL TABLE d USING dbstat".to_owned(),
        "SELECT load_extension('x')".to_owned(),
        "DELETE FROM t; DELETE FROM t".to_owned(),
        String::new(),
        "-- nothing".to_owned(),
    ] {
        assert!(write(&database, &sql).await.is_err(), "{sql}");
    }
    assert!(!outside.exists());
    assert_eq!(
        read(&database, "SELECT * FROM t").await.unwrap().row_count,
        3
    );
}

#[tokio::test]
async fn a_writer_counts_what_it_changed_and_returns_rows() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), MINUTE).await;
    let (changes, rows) = write(&database, "UPDATE t SET b = a || '!' RETURNING a, b")
        .await
        .unwrap();
    assert_eq!((changes, rows.row_count), (3, 3));
    let (changes, rows) = write(&database, "CREATE TABLE u (x)").await.unwrap();
    assert_eq!((changes, rows.columns.len()), (0, 0));
    write(&database, "CREATE VIRTUAL TABLE f USING fts5(x)")
        .await
        .unwrap();
    write(&database, "INSERT INTO f VALUES ('hello world')")
        .await
        .unwrap();
    let found = read(&database, "SELECT * FROM f WHERE f MATCH 'world'")
        .await
        .unwrap();
    assert_eq!(found.row_count, 1);
    let failed = write(&database, "INSERT INTO t VALUES (9, '1!')")
        .await
        .unwrap_err();
    assert!(
        failed.text.contains("UNIQUE constraint failed: t.b"),
        "{}",
        failed.text
    );
}

#[tokio::test]
async fn mistakes_are_told_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), MINUTE).await;
    for (sql, told) in [
        (
            "SELECT *\nFORM t",
            "line 2, column 1 (offset 9): near \"FORM\": syntax error",
        ),
        (
            "SELECT c FROM t",
            "line 1, column 8 (offset 7): no such column: c",
        ),
        (
            "SELECT a FROM",
            "line 1, column 14 (offset 13): incomplete input",
        ),
        ("SELECT a FROM x", "Tables: t, v."),
        ("SELECT 1; SELECT 2", "One statement per call"),
        ("SELECT 1; SELEC 2", "One statement per call"),
        ("SELECT ?", "1 parameter(s), but params holds 0"),
        ("DELETE FROM t", "Use write_query"),
        ("", "no statement"),
        (" -- nothing\n", "no statement"),
        (
            "SELECT zeroblob(900000000)",
            "larger than this server allows",
        ),
        ("SELECT 'a\0'", "unrecognized token"),
    ] {
        let failed = read(&database, sql).await.unwrap_err();
        assert!(failed.text.contains(told), "{sql:?}: {}", failed.text);
    }
    let trailing = read(&database, "SELECT 1; -- that is all\n;")
        .await
        .unwrap();
    assert_eq!(trailing.row_count, 1);
}

#[tokio::test]
async fn values_survive_the_way_to_json() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), MINUTE).await;
    let set = read(
        &database,
        "SELECT 9007199254740991, 9007199254740993, -9223372036854775808, 0.1, 9e999, NULL,
           'é|', x'00ff', CAST(x'ff' AS TEXT), 1 AS same, 2 AS same",
    )
    .await
    .unwrap();
    let row = serde_json::Value::from(set.rows[0].clone());
    assert_eq!(
        row,
        json!([
            9_007_199_254_740_991_i64,
            "9007199254740993",
            "-9223372036854775808",
            0.1,
            "Infinity",
            null,
            "é|",
            { "blob_bytes": 2, "hex": "00ff" },
            "\u{fffd}",
            1,
            2
        ])
    );
    assert!(!set.truncated);
}

#[tokio::test]
async fn answers_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), MINUTE).await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let set = read(&database, many).await.unwrap();
    assert_eq!((set.row_count, set.truncated), (200, true));
    let exact = read(&database, &format!("{many} LIMIT 200")).await.unwrap();
    assert_eq!((exact.row_count, exact.truncated), (200, false));
    let wide = read(&database, "SELECT hex(zeroblob(1000000))")
        .await
        .unwrap();
    assert!(wide.truncated);
    assert!(
        wide.rows[0][0]
            .as_str()
            .unwrap()
            .ends_with("[cut: 2000000 bytes in all]")
    );
    let heavy = format!("SELECT hex(zeroblob(15000)) FROM ({many} LIMIT 200)");
    let heavy = read(&database, &heavy).await.unwrap();
    assert!(
        heavy.truncated && heavy.row_count < 100,
        "{}",
        heavy.row_count
    );
}

#[tokio::test]
async fn parameters_are_bound_by_place() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), MINUTE).await;
    let never = CancellationToken::new();
    let bound = query(
        "SELECT ?, ?, ?, ?",
        &[json!(1), json!("a'b"), json!(null), json!(true)],
    );
    let set = database
        .run(Access::Read, &never, move |link| rows::read(link, &bound))
        .await
        .unwrap();
    assert_eq!(
        serde_json::Value::from(set.rows[0].clone()),
        json!([1, "a'b", null, 1])
    );
    for bad in [json!([1]), json!({}), json!(u64::MAX)] {
        let bound = query("SELECT ?", &[bad]);
        let job = move |link: &_| rows::read(link, &bound);
        let failed = database.run(Access::Read, &never, job).await.unwrap_err();
        assert!(
            failed.text.starts_with("params: value 1"),
            "{}",
            failed.text
        );
    }
}

#[tokio::test]
async fn a_query_without_end_ends_at_the_time_limit() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), Duration::from_millis(200)).await;
    let started = Instant::now();
    let failed = read(&database, FOR_EVER).await.unwrap_err();
    assert_eq!(failed.outcome, Outcome::Timeout);
    assert!(
        failed.text.contains("time limit of 0.2 s"),
        "{}",
        failed.text
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    // The connection is as good as new.
    assert_eq!(read(&database, "SELECT 1").await.unwrap().row_count, 1);
}

#[tokio::test]
async fn a_cancelled_write_is_stopped_and_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), MINUTE).await;
    let cancel = CancellationToken::new();
    let endless = query(
        "INSERT INTO t (b) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
         SELECT 'n' || i FROM n",
        &[],
    );
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    };
    let job = move |link: &_| rows::write(link, &endless);
    let (ended, ()) = tokio::join!(database.run(Access::Write, &cancel, job), stop);
    assert_eq!(ended.unwrap_err().outcome, Outcome::Cancelled);
    assert_eq!(
        read(&database, "SELECT * FROM t").await.unwrap().row_count,
        3
    );
    assert_eq!(write(&database, "DELETE FROM t").await.unwrap().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_reads_do_not_hold_up_short_ones_and_the_queue_is_timed() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), Duration::from_secs(2)).await;
    let tracker = TaskTracker::new();
    let long = || {
        let database = database.clone();
        tracker.spawn(async move { read(&database, FOR_EVER).await.unwrap_err().outcome })
    };
    let mut running: Vec<_> = (1..READERS).map(|_| long()).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    assert_eq!(read(&database, "SELECT 1").await.unwrap().row_count, 1);
    assert_eq!(
        write(&database, "DELETE FROM t WHERE a = 1")
            .await
            .unwrap()
            .0,
        1
    );
    assert!(started.elapsed() < Duration::from_millis(1500));
    running.extend([long(), long()]);
    for task in running {
        assert_eq!(task.await.unwrap(), Outcome::Timeout);
    }
}

#[tokio::test]
async fn tables_are_described() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), MINUTE).await;
    let never = CancellationToken::new();
    write(
        &database,
        "CREATE TABLE \"o'dd \"\"name\" (x REFERENCES t(a), y TEXT NOT NULL DEFAULT 'z')",
    )
    .await
    .unwrap();
    let listed = database
        .run(Access::Read, &never, schema::list)
        .await
        .unwrap();
    let names: Vec<_> = listed
        .tables
        .iter()
        .map(|t| (t.name.as_str(), t.kind.as_str()))
        .collect();
    assert_eq!(
        names,
        [("o'dd \"name", "table"), ("t", "table"), ("v", "view")]
    );
    let describe = |name: &'static str| {
        database.run(Access::Read, &never, move |link| {
            schema::describe(link, name)
        })
    };
    let odd = describe("O'DD \"NAME").await.unwrap();
    assert_eq!(odd.row_count, Some(0));
    assert_eq!(odd.foreign_keys[0].table, "t");
    assert_eq!(odd.columns[1].default.as_deref(), Some("'z'"));
    assert!(!odd.columns[1].nullable);
    let t = describe("t").await.unwrap();
    assert_eq!((t.row_count, t.columns[0].primary_key), (Some(3), 1));
    assert!(t.indexes[0].unique);
    assert_eq!(describe("v").await.unwrap().row_count, None);
    assert!(
        describe("nope")
            .await
            .unwrap_err()
            .text
            .contains("Tables: o'dd \"name, t, v.")
    );
}

#[tokio::test]
async fn a_file_that_is_missing_or_no_database_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(
        &text,
        "not a database, and long enough to have a header".repeat(99),
    )
    .unwrap();
    for path in [text, dir.path().join("missing.db"), dir.path().to_owned()] {
        let opened = Database::open(path.clone(), MINUTE, TaskTracker::new()).await;
        assert!(
            matches!(opened, Err(Error::Database { .. })),
            "{}",
            path.display()
        );
    }
    assert!(!dir.path().join("missing.db").exists());
}
