//! When SQLite itself fails: the log and its projections stay as they were, and the next write
//! works.

use super::{Db, append, finished, new_turn, notice};
use crate::{AppendError, OpenTurnError, StoreError};

/// Fails one statement: what a full disk does to an insert.
const ABORT: &str = "CREATE TRIGGER fault BEFORE INSERT ON events WHEN NEW.body LIKE '%poison%' \
                     BEGIN SELECT RAISE(ABORT, 'no space'); END";

/// Rolls back the whole transaction: what SQLite does by itself on some IO errors.
const ROLLBACK: &str = "CREATE TRIGGER fault BEFORE INSERT ON events \
                        WHEN NEW.body LIKE '%poison%' \
                        BEGIN SELECT RAISE(ROLLBACK, 'disk I/O error'); END";

/// Fails the commit: a deferred constraint is only looked at then.
const COMMIT: &str = "CREATE TABLE debts (turn_id TEXT REFERENCES turns (id) DEFERRABLE INITIALLY DEFERRED); \
     CREATE TRIGGER fault BEFORE INSERT ON events WHEN NEW.body LIKE '%poison%' \
     BEGIN INSERT INTO debts VALUES ('nobody'); END";

/// Fails the storing of the transcript.
const TRANSCRIPT: &str = "CREATE TRIGGER fault BEFORE INSERT ON transcripts \
                          BEGIN SELECT RAISE(ABORT, 'no space'); END";

fn assert_failed(answer: &Result<u64, AppendError>) {
    assert!(
        matches!(answer, Err(AppendError::Failed(StoreError::Database(_)))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_failed_append_leaves_the_log_and_the_next_one_works() {
    for fault in [ABORT, ROLLBACK, COMMIT] {
        let db = Db::new().await;
        db.open_turn("t").await;
        db.sql(fault).await;
        let poisoned = vec![notice("first"), notice("poison"), finished()];
        assert_failed(&db.append("t", 1, poisoned).await);
        assert_eq!(db.names("t").await, ["turn.started"], "{fault}");
        assert_eq!(db.count("SELECT COUNT(*) FROM transcripts").await, 0);
        assert_eq!(db.store.open_turns().await.unwrap().len(), 1);

        let mut poisoned = new_turn("ana", "d", "u");
        poisoned.started.message = "poison".to_owned();
        let refused = db.store.open_turn(poisoned).await;
        assert!(
            matches!(refused, Err(OpenTurnError::Failed(_))),
            "{fault}: {refused:?}"
        );
        assert_eq!(db.count("SELECT COUNT(*) FROM conversations").await, 1);

        assert_eq!(
            db.append("t", 1, vec![notice("first")]).await.unwrap(),
            2,
            "{fault}"
        );
        assert_eq!(
            db.append("t", 2, vec![finished()]).await.unwrap(),
            3,
            "{fault}"
        );
        assert_eq!(
            db.names("t").await,
            ["turn.started", "notice", "turn.finished"]
        );
    }
}

#[tokio::test]
async fn a_projection_that_fails_fails_its_append() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.sql(TRANSCRIPT).await;
    assert_failed(&db.append("t", 1, vec![notice("last"), finished()]).await);
    assert_eq!(db.names("t").await, ["turn.started"]);
    assert_eq!(db.store.open_turns().await.unwrap().len(), 1);
    db.sql("DROP TRIGGER fault").await;
    db.append("t", 1, vec![notice("last"), finished()])
        .await
        .unwrap();
    assert_eq!(db.store.open_turns().await.unwrap(), []);
}

#[tokio::test]
async fn one_of_a_group_fails_alone() {
    let db = Db::new().await;
    let turns: Vec<_> = (0..30).map(|n| format!("t{n}")).collect();
    for turn in &turns {
        db.store
            .open_turn(new_turn("ana", turn, turn))
            .await
            .unwrap();
    }
    db.sql(ABORT).await;
    let appends = turns.iter().enumerate().map(|(n, turn)| {
        let text = if n % 3 == 0 { "poison" } else { "fine" };
        db.store
            .append(append(turn, 1, vec![notice("first"), notice(text)]))
    });
    let answers = futures_util::future::join_all(appends).await;
    for (n, (turn, answer)) in turns.iter().zip(answers).enumerate() {
        if n % 3 == 0 {
            assert_failed(&answer);
            assert_eq!(db.names(turn).await, ["turn.started"]);
        } else {
            assert_eq!(answer.unwrap(), 3);
            assert_eq!(db.names(turn).await, ["turn.started", "notice", "notice"]);
        }
    }
}

#[tokio::test]
async fn a_commit_that_fails_fails_every_write_of_its_group() {
    for fault in [ROLLBACK, COMMIT] {
        let db = Db::new().await;
        let turns: Vec<_> = (0..30).map(|n| format!("t{n}")).collect();
        for turn in &turns {
            db.store
                .open_turn(new_turn("ana", turn, turn))
                .await
                .unwrap();
        }
        db.sql(fault).await;
        let appends = turns.iter().enumerate().map(|(n, turn)| {
            let text = if n == 10 { "poison" } else { "fine" };
            db.store.append(append(turn, 1, vec![notice(text)]))
        });
        // On one thread all of them are handed in before the writer runs: one group.
        let answers = futures_util::future::join_all(appends).await;
        for (turn, answer) in turns.iter().zip(answers) {
            assert_failed(&answer);
            assert_eq!(db.names(turn).await, ["turn.started"], "{fault}");
        }
    }
}
