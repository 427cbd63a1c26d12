//! Logs with an event that cannot be read.

use chat::{event::Event, ids::CallId, outcome::TurnEnd, transcript::Item};

use super::{Db, ana, append, call_finished, finished, following, notice};
use crate::{AppendError, StoreError};

/// A turn of four events, one of which cannot be read.
async fn broken(sql: &'static str) -> Db {
    let db = Db::new().await;
    db.open_turn("t").await;
    let events = vec![notice("first"), call_finished(7, 20), notice("last")];
    db.append("t", 1, events).await.unwrap();
    db.sql(sql).await;
    db
}

const CALL: &str = "UPDATE events SET body = '{\"type\":' WHERE seq = 3";
const BEGINNING: &str = "UPDATE events SET body = '{\"type\":\"turn.exploded\"}' WHERE seq = 1";

#[tokio::test]
async fn readers_see_what_can_be_read() {
    let db = broken(CALL).await;
    let turn = "t".into();
    let log = db.store.log(&ana(), &turn, 0).await.unwrap().unwrap();
    let Event::Notice { call, text } = &log[2].event else {
        panic!("{log:?}")
    };
    assert_eq!((log[2].seq, log[2].at, *call), (3, 2_000, Some(CallId(7))));
    assert_eq!(log[3].event, notice("last"));

    let transcript = db.store.transcript(&ana(), &turn).await.unwrap().unwrap();
    assert_eq!(transcript.seq, 4);
    assert!(transcript.started.is_some());
    let texts: Vec<_> = transcript
        .items
        .iter()
        .map(|item| match item {
            Item::Notice { text, .. } => text.as_str(),
            Item::Round(_) | Item::Call(_) => panic!("{item:?}"),
        })
        .collect();
    assert_eq!(texts, ["first", text, "last"]);
    let path = db.turns(&ana(), "c").await.unwrap();
    assert_eq!(path[0].transcript, transcript);
}

#[tokio::test]
async fn nothing_is_replayed_from_a_log_with_a_hole() {
    let whole = broken("SELECT 1").await;
    let log = whole.store.log_to_replay(&"t".into()).await.unwrap();
    assert_eq!(
        Some(log),
        whole.store.log(&ana(), &"t".into(), 0).await.unwrap()
    );
    for fault in [CALL, BEGINNING] {
        let db = broken(fault).await;
        let log = db.store.log_to_replay(&"t".into()).await;
        assert!(matches!(log, Err(StoreError::Body { .. })), "{log:?}");
    }
}

#[tokio::test]
async fn a_conversation_goes_on_after_an_unreadable_turn() {
    for (fault, message) in [(CALL, Some("What is t?")), (BEGINNING, None)] {
        let db = broken(fault).await;
        db.store
            .finish_unreadable(&"t".into(), 3_000)
            .await
            .unwrap();
        assert_eq!(db.store.open_turns().await.unwrap(), []);
        for late in [notice("late"), finished()] {
            let late = db.store.append(append("t", 4, vec![late])).await;
            assert!(matches!(late, Err(AppendError::Lost)), "{late:?}");
        }

        let turn = "t".into();
        let log = db.store.log(&ana(), &turn, 4).await.unwrap().unwrap();
        let [last] = log.as_slice() else {
            panic!("{log:?}")
        };
        assert_eq!((last.seq, last.event.name()), (5, "turn.finished"));
        let transcript = db.store.transcript(&ana(), &turn).await.unwrap().unwrap();
        let said = transcript.started.map(|started| started.message);
        assert_eq!((said.as_deref(), transcript.seq), (message, 5));
        assert!(transcript.items.is_empty());
        let end = transcript.end.unwrap();
        assert_eq!((end.end, end.at), (TurnEnd::Failed, 3_000));
        assert!(end.failure.unwrap().message.contains("cannot be read"));

        db.store
            .open_turn(following("u", "t", 4_000))
            .await
            .unwrap();
        db.append("u", 1, vec![finished()]).await.unwrap();
        let path = db.turns(&ana(), "c").await.unwrap();
        assert_eq!(path.len(), 2);
    }
}

#[tokio::test]
async fn a_finished_turn_is_not_finished_again() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.append("t", 1, vec![finished()]).await.unwrap();
    let before = db.store.transcript(&ana(), &"t".into()).await.unwrap();
    for turn in ["t", "nowhere"] {
        db.store
            .finish_unreadable(&turn.into(), 3_000)
            .await
            .unwrap();
    }
    assert_eq!(db.names("t").await, ["turn.started", "turn.finished"]);
    assert_eq!(
        db.store.transcript(&ana(), &"t".into()).await.unwrap(),
        before
    );
}
