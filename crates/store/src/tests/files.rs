//! Files: new, old, foreign, broken, and after a kill.

use std::fs;

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::{Db, ana, append, call_finished, finished, large_catalog, new_turn, notice, url};
use crate::{AppendError, OpenError, Store, StoreError, open::connect_writer};

async fn refused(dir: &TempDir) -> OpenError {
    match Store::open(&url(dir), &TaskTracker::new()).await {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn only_a_file_is_a_database() {
    let urls = [
        "",
        "toolgate.db",
        "sqlite:",
        "sqlite://",
        "sqlite::memory:",
        "sqlite://toolgate.db?mode=ro",
        "postgres://toolgate:secret@localhost/toolgate",
    ];
    for url in urls {
        let error = Store::open(url, &TaskTracker::new()).await.err();
        assert!(matches!(error, Some(OpenError::Url)), "{url}: {error:?}");
        assert!(!format!("{error:?}").contains("secret"));
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is() {
    for garbage in ["x".repeat(3), "hello, this is no database\n".repeat(1000)] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("toolgate.db");
        fs::write(&file, &garbage).unwrap();
        let error = refused(&dir).await;
        assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("{} is not an SQLite database", file.display())
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), garbage);
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let error = Store::open("sqlite:///nowhere/at/all.db", &TaskTracker::new())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::Failed { .. }), "{error:?}");
    assert_eq!(error.to_string(), "/nowhere/at/all.db cannot be opened");
}

#[tokio::test]
async fn the_database_of_another_program_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("toolgate.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE customers (id TEXT)")
        .execute(&mut conn)
        .await
        .unwrap();
    conn.close().await.unwrap();
    let before = fs::read(&file).unwrap();
    let error = refused(&dir).await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_newer_database_is_refused_by_name() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.store.close().await;
    db.sql("INSERT INTO schema_version (version) VALUES (7)")
        .await;
    let error = refused(&db.dir).await;
    assert!(
        matches!(error, OpenError::Newer { found: 7, .. }),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("toolgate.db was written by a newer Toolgate"),
        "{error}"
    );
    db.sql("DELETE FROM schema_version WHERE version = 7").await;
    let again = Store::open(&url(&db.dir), &TaskTracker::new())
        .await
        .unwrap();
    assert!(again.log(&ana(), &"t".into(), 0).await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.append(
        "t",
        1,
        vec![large_catalog(), call_finished(1, 50_000), finished()],
    )
    .await
    .unwrap();
    db.store.open_turn(new_turn("ana", "d", "u")).await.unwrap();
    let taken = db.store.take_over(&"u".into()).await.unwrap().unwrap();

    // What a process that is killed now leaves behind.
    let left = tempfile::tempdir().unwrap();
    for name in ["toolgate.db", "toolgate.db-wal"] {
        fs::copy(db.dir.path().join(name), left.path().join(name)).unwrap();
    }
    let store = Store::open(&url(&left), &TaskTracker::new()).await.unwrap();
    for turn in ["t", "u"] {
        let turn = turn.into();
        let (before, after) = (
            db.store.log(&ana(), &turn, 0).await,
            store.log(&ana(), &turn, 0).await,
        );
        assert_eq!(after.unwrap(), before.unwrap());
        let (before, after) = (
            db.store.transcript(&ana(), &turn).await,
            store.transcript(&ana(), &turn).await,
        );
        assert_eq!(after.unwrap(), before.unwrap());
    }
    assert_eq!(
        store.open_turns().await.unwrap(),
        db.store.open_turns().await.unwrap()
    );
    let mut next = append("u", taken.seq, vec![notice("on")]);
    next.epoch = taken.epoch;
    assert_eq!(store.append(next).await.unwrap(), 2);
}

#[tokio::test]
async fn a_commit_is_on_disk_before_it_is_answered() {
    let db = Db::new().await;
    let file = db.dir.path().join("toolgate.db");
    let mut conn = connect_writer(&file).await.unwrap();
    let synchronous: (i64,) = sqlx::query_as("PRAGMA synchronous")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let journal: (String,) = sqlx::query_as("PRAGMA journal_mode")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!((synchronous.0, journal.0.as_str()), (2, "wal"));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskTracker::new();
    let store = Store::open(&url(&dir), &tasks).await.unwrap();
    store.open_turn(new_turn("ana", "c", "t")).await.unwrap();
    drop(store);
    tasks.close();
    tasks.wait().await;
    let store = Store::open(&url(&dir), &TaskTracker::new()).await.unwrap();
    assert_eq!(store.open_turns().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_commits_what_waits_and_refuses_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = TaskTracker::new();
    let store = Store::open(&url(&dir), &tasks).await.unwrap();
    let names: Vec<_> = (0..30).map(|n| format!("t{n}")).collect();
    let posts = names
        .iter()
        .map(|turn| store.open_turn(new_turn("ana", turn, turn)));
    let (answers, ()) = tokio::join!(futures_util::future::join_all(posts), store.close());
    let opened = answers.iter().filter(|answer| answer.is_ok()).count();

    let late = store.append(append("t0", 1, vec![notice("late")])).await;
    assert!(
        matches!(late, Err(AppendError::Failed(StoreError::Closed))),
        "{late:?}"
    );
    let late = store.log(&ana(), &"t0".into(), 0).await;
    assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
    store.close().await;
    tasks.close();
    tasks.wait().await;
    assert!(
        !dir.path().join("toolgate.db-wal").exists(),
        "the file is not whole"
    );

    let again = Store::open(&url(&dir), &TaskTracker::new()).await.unwrap();
    assert_eq!(again.open_turns().await.unwrap().len(), opened);
}
