//! Databases of earlier versions, with what people said in them.

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::{ana, append, finished, following, notice, turns_of, url};
use crate::{OpenError, Store};

const VERSION_1: &str = include_str!("../../migrations/0001_conversations_and_turns.sql");

/// A conversation of two turns, the second of which runs; its result is a blob.
const DATA: &str = r#"
INSERT INTO schema_version (version) VALUES (1);
INSERT INTO conversations (id, subject, title, created_at, updated_at)
VALUES ('c', 'ana', 'Sales über alles', 1, 2);
INSERT INTO turns (id, conversation_id, subject, parent_id, message_id, sid, started_at, epoch,
                   last_seq, ended, ended_at)
VALUES ('t', 'c', 'ana', NULL, 'm1', 'sid', 1, 1, 2, 'answered', 2),
       ('u', 'c', 'ana', 't', 'm2', 'sid', 3, 1, 1, NULL, NULL);
INSERT INTO events (turn_id, seq, at, type, call_id, size, body)
VALUES ('t', 1, 1, 'turn.started', NULL, 90,
        '{"type":"turn.started","conversation":"c","message":"Sales?","model":"m","sid":"sid"}'),
       ('t', 2, 2, 'turn.finished', NULL, 40, '{"type":"turn.finished","end":"answered"}'),
       ('u', 1, 3, 'turn.started', NULL, 100,
        '{"type":"turn.started","conversation":"c","parent":"t","message":"And?","model":"m",'
        || '"sid":"sid"}');
INSERT INTO blobs (hash, size, body) VALUES ('h', 1, x'00');
INSERT INTO results (turn_id, seq, blob_hash) VALUES ('t', 2, 'h');
INSERT INTO transcripts (turn_id, size, body) VALUES ('t', 2, '{}');
"#;

async fn database(dir: &TempDir, sql: &[&'static str]) {
    let options = SqliteConnectOptions::new()
        .filename(dir.path().join("toolgate.db"))
        .create_if_missing(true)
        .foreign_keys(false);
    let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
    for sql in sql {
        sqlx::raw_sql(*sql).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
}

async fn open(dir: &TempDir) -> Result<Store, OpenError> {
    Store::open(&url(dir), &TaskTracker::new()).await
}

#[tokio::test]
async fn a_database_of_version_1_keeps_all_it_has_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    database(&dir, &[VERSION_1, DATA]).await;
    let store = open(&dir).await.unwrap();

    let turns = turns_of(&store, &ana(), "c").await.unwrap();
    let said: Vec<_> = turns
        .iter()
        .map(|row| row.transcript.started.as_ref().unwrap().message.as_str())
        .collect();
    assert_eq!(said, ["Sales?", "And?"]);
    assert_eq!(turns[1].parent, Some("t".into()));
    let open_turns = store.open_turns().await.unwrap();
    assert_eq!(open_turns[0].conversation, Some("c".into()));
    assert!(!open_turns[0].deleted);
    let found = store.search(&ana(), "ÜBER", None, 10).await.unwrap();
    assert_eq!(found[0].title, "Sales über alles");

    // What refers to turns still does, and is still held to it.
    store
        .append(append("u", 1, vec![notice("on"), finished()]))
        .await
        .unwrap();
    store.open_turn(following("v", "u", 10)).await.unwrap();
    store.close().await;
    let mut conn = SqliteConnection::connect(&url(&dir)).await.unwrap();
    let orphan = "INSERT INTO transcripts (turn_id, size, body) VALUES ('nobody', 2, '{}')";
    assert!(sqlx::raw_sql(orphan).execute(&mut conn).await.is_err());
    let (results,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM results")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(results, 1);
    conn.close().await.unwrap();

    // Once is enough.
    assert!(open(&dir).await.is_ok());
}

#[tokio::test]
async fn one_that_names_what_is_not_there_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let broken = "INSERT INTO transcripts (turn_id, size, body) VALUES ('nobody', 2, '{}')";
    database(&dir, &[VERSION_1, DATA, broken]).await;
    let error = open(&dir).await.err();
    assert!(matches!(error, Some(OpenError::Failed { .. })), "{error:?}");
    let mut conn = SqliteConnection::connect(&url(&dir)).await.unwrap();
    let (version,): (i64,) = sqlx::query_as("SELECT MAX(version) FROM schema_version")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(version, 1);
    conn.close().await.unwrap();
}
