//! What a user reads, and what another user does not.

use chat::{
    event::Event, ids::CallId, outcome::TurnEnd, selection::Selection, shape::CallResult,
    transcript::Transcript,
};
use serde_json::Value;

use super::{Db, ana, append, ben, call_finished, delta, finished, following, new_turn};
use crate::{AppendError, ConversationRow, OpenTurnError, StoreError};

/// The fold of a turn's log as it is read.
async fn folded(db: &Db, turn: &str) -> Transcript {
    Transcript::fold(
        &db.store
            .log(&ana(), &turn.into(), 0)
            .await
            .unwrap()
            .unwrap(),
    )
}

#[tokio::test]
async fn a_transcript_is_the_fold_of_the_log() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.append("t", 1, vec![delta(0, "Sales "), call_finished(1, 50_000)])
        .await
        .unwrap();
    let open = db
        .store
        .transcript(&ana(), &"t".into())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(open, folded(&db, "t").await);
    assert_eq!((open.seq, &open.end), (3, &None));

    db.append("t", 3, vec![delta(6, "rose."), finished()])
        .await
        .unwrap();
    assert_eq!(db.count("SELECT COUNT(*) FROM transcripts").await, 1);
    let done = db
        .store
        .transcript(&ana(), &"t".into())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(done, folded(&db, "t").await);
    assert_eq!(done.end.unwrap().end, TurnEnd::Answered);
    assert_eq!(
        db.count("SELECT COUNT(*) FROM turns WHERE ended = 'answered'")
            .await,
        1
    );

    // A stored transcript that cannot be read is folded anew.
    db.sql("UPDATE transcripts SET body = '{}', blob_hash = NULL")
        .await;
    assert_eq!(
        db.store
            .transcript(&ana(), &"t".into())
            .await
            .unwrap()
            .unwrap(),
        folded(&db, "t").await
    );
}

#[tokio::test]
async fn turns_have_heads_for_their_owner_as_long_as_they_can_be_read() {
    let db = Db::new().await;
    db.open_turn("t").await;
    let mut long = new_turn("ana", "d", "u");
    long.started.message = "long ".repeat(20_000);
    db.store.open_turn(long).await.unwrap();
    db.append("u", 1, vec![finished()]).await.unwrap();
    let ids = ["t", "u", "none"].map(chat::ids::TurnId::from);
    let heads = async |subject| {
        let mut heads = db.store.turn_heads(&subject, &ids).await.unwrap();
        heads.sort_by(|a, b| a.turn.cmp(&b.turn));
        heads
    };
    let found = heads(ana()).await;
    let ends: Vec<_> = found
        .iter()
        .map(|head| (head.turn.as_str(), head.end))
        .collect();
    assert_eq!(ends, [("t", None), ("u", Some(TurnEnd::Answered))]);
    let started = found[1].started.as_ref().unwrap();
    assert_eq!(started.message.len(), 100_000);
    assert!(heads(ben()).await.is_empty());
    db.sql("UPDATE events SET body = '{}' WHERE turn_id = 't' AND seq = 1")
        .await;
    assert!(heads(ana()).await[0].started.is_none());
    db.sql("UPDATE conversations SET deleted_at = 5 WHERE id = 'd'")
        .await;
    assert_eq!(heads(ana()).await.len(), 1);
}

#[tokio::test]
async fn a_large_transcript_is_read_as_it_was_written() {
    let db = Db::new().await;
    let mut new = new_turn("ana", "c", "t");
    new.started.message = "long ".repeat(20_000);
    db.store.open_turn(new).await.unwrap();
    db.append("t", 1, vec![finished()]).await.unwrap();
    assert_eq!(
        db.count("SELECT COUNT(*) FROM transcripts WHERE blob_hash IS NOT NULL")
            .await,
        1
    );
    let transcript = db
        .store
        .transcript(&ana(), &"t".into())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(transcript, folded(&db, "t").await);
}

#[tokio::test]
async fn conversations_come_last_used_first_in_pages() {
    let db = Db::new().await;
    for (n, at) in [(1, 10), (2, 30), (3, 20), (4, 30), (5, 5)] {
        let mut new = new_turn("ana", &format!("c{n}"), &format!("t{n}"));
        new.at = at;
        db.store.open_turn(new).await.unwrap();
    }
    // The end of a turn is activity.
    let mut end = append("t5", 1, vec![finished()]);
    end.at = 40;
    db.store.append(end).await.unwrap();

    let mut seen: Vec<ConversationRow> = Vec::new();
    loop {
        let before = seen.last().map(ConversationRow::cursor);
        let page = db
            .store
            .conversations(&ana(), before.as_ref(), 2)
            .await
            .unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let order: Vec<_> = seen.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(order, ["c5", "c4", "c2", "c3", "c1"]);
    assert_eq!(
        seen[0],
        ConversationRow {
            id: "c5".into(),
            title: "What is t5?".to_owned(),
            created_at: 5,
            updated_at: 40,
            open_turn: None,
            off: Selection::default(),
        }
    );
    assert_eq!(seen[1].open_turn, Some("t4".into()));
    assert_eq!(
        db.store
            .conversation(&ana(), &"c4".into())
            .await
            .unwrap()
            .as_ref(),
        Some(&seen[1])
    );
}

#[tokio::test]
async fn the_turns_of_a_conversation_are_the_path_to_the_newest() {
    let db = Db::new().await;
    db.open_turn("root").await;
    db.append("root", 1, vec![finished()]).await.unwrap();
    for (turn, parent, at) in [("left", "root", 3_000), ("right", "root", 4_000)] {
        db.store
            .open_turn(following(turn, parent, at))
            .await
            .unwrap();
        db.append(turn, 1, vec![finished()]).await.unwrap();
    }
    db.store
        .open_turn(following("leaf", "left", 5_000))
        .await
        .unwrap();
    db.append("leaf", 1, vec![call_finished(1, 20)])
        .await
        .unwrap();

    let turns = db.turns(&ana(), "c").await.unwrap();
    let path: Vec<_> = turns
        .iter()
        .map(|row| {
            (
                row.turn.as_str(),
                row.parent.as_ref().map(chat::ids::TurnId::as_str),
            )
        })
        .collect();
    assert_eq!(
        path,
        [
            ("root", None),
            ("left", Some("root")),
            ("leaf", Some("left"))
        ]
    );
    for row in &turns {
        assert_eq!(row.transcript, folded(&db, row.turn.as_str()).await);
    }
}

#[tokio::test]
async fn the_newest_turn_is_the_last_one_opened_whatever_the_clock_says() {
    let db = Db::new().await;
    db.open_turn("root").await;
    db.append("root", 1, vec![finished()]).await.unwrap();
    let opened = [
        ("ahead", "root", 9_000_000),
        ("back", "ahead", 500),
        ("sibling", "root", 400),
        ("same", "sibling", 400),
    ];
    for (turn, parent, at) in opened {
        db.store
            .open_turn(following(turn, parent, at))
            .await
            .unwrap();
        db.append(turn, 1, vec![finished()]).await.unwrap();
        let path = db.turns(&ana(), "c").await.unwrap();
        let newest = path.last().unwrap();
        assert_eq!(newest.turn.as_str(), turn);
        // What is shown is what the clock said.
        assert_eq!(newest.transcript.started_at, at);
    }
}

#[tokio::test]
async fn the_whole_result_of_a_call_is_kept() {
    let db = Db::new().await;
    db.open_turn("t").await;
    let sizes = [(1, 300_000), (2, 20), (3, 300_000), (4, 17_000)];
    let events = sizes.map(|(call, bytes)| call_finished(call, bytes));
    db.append("t", 1, events.to_vec()).await.unwrap();
    for (call, bytes) in sizes {
        let Event::CallFinished(expected) = call_finished(call, bytes) else {
            unreachable!()
        };
        let result = db
            .store
            .call_result(&ana(), &"t".into(), CallId(call))
            .await
            .unwrap();
        assert_eq!(result, Some(expected));
    }
    assert_eq!(
        db.store
            .call_result(&ana(), &"t".into(), CallId(5))
            .await
            .unwrap(),
        None
    );
    // Two of the results are the same.
    assert_eq!(db.count("SELECT COUNT(*) FROM results").await, 3);
    assert_eq!(db.count("SELECT COUNT(*) FROM blobs").await, 2);
}

#[tokio::test]
async fn a_log_is_read_without_the_large_results_of_its_calls() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.append("t", 1, vec![call_finished(1, 3_000_000)])
        .await
        .unwrap();
    // Neither the log nor what is folded of it misses them.
    db.sql("PRAGMA foreign_keys = OFF; DELETE FROM blobs").await;
    let log = db.store.log(&ana(), &"t".into(), 1).await.unwrap().unwrap();
    let Event::CallFinished(finished) = &log[0].event else {
        panic!("{log:?}")
    };
    let Event::CallFinished(whole) = call_finished(1, 3_000_000) else {
        unreachable!()
    };
    let size = whole.result.raw.to_string().len() as u64;
    let expected = CallResult {
        raw: Value::Null,
        raw_bytes: Some(size),
        ..whole.result
    };
    assert_eq!(finished.result, expected);
    db.append("t", 2, vec![super::finished()]).await.unwrap();
    assert!(db.turns(&ana(), "c").await.is_some());
    let lost = db.store.call_result(&ana(), &"t".into(), CallId(1)).await;
    assert!(matches!(lost, Err(StoreError::Body { .. })), "{lost:?}");
}

#[tokio::test]
async fn another_user_finds_nothing() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.append("t", 1, vec![call_finished(1, 20)]).await.unwrap();
    let (turn, conversation) = ("t".into(), "c".into());
    // Open, then finished.
    for _ in 0..2 {
        assert_eq!(db.store.log(&ben(), &turn, 0).await.unwrap(), None);
        assert_eq!(db.store.transcript(&ben(), &turn).await.unwrap(), None);
        assert_eq!(
            db.store
                .call_result(&ben(), &turn, CallId(1))
                .await
                .unwrap(),
            None
        );
        assert_eq!(
            db.store.conversation(&ben(), &conversation).await.unwrap(),
            None
        );
        assert_eq!(db.turns(&ben(), "c").await, None);
        assert_eq!(db.store.conversations(&ben(), None, 100).await.unwrap(), []);
        let mut post = following("u", "t", 3_000);
        post.subject = ben();
        let refused = db.store.open_turn(post).await;
        assert!(
            matches!(refused, Err(OpenTurnError::NotFound)),
            "{refused:?}"
        );
        // A parent in another user's conversation, too.
        let mut post = following("u", "t", 3_000);
        post.subject = ben();
        post.started.conversation = Some("c-ben".into());
        let refused = db.store.open_turn(post).await;
        assert!(
            matches!(refused, Err(OpenTurnError::WrongParent)),
            "{refused:?}"
        );
        match db.append("t", 2, vec![finished()]).await {
            Ok(_) | Err(AppendError::Lost) => {}
            Err(AppendError::Failed(error)) => panic!("{error:?}"),
        }
    }
    assert!(
        db.store
            .call_result(&ana(), &turn, CallId(1))
            .await
            .unwrap()
            .is_some()
    );
}
