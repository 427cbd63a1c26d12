//! Opening turns, appending, taking over.

use std::{sync::Arc, time::Duration};

use chat::{
    event::Event,
    ids::{RoundId, Sid},
    message::{AssistantMessage, ModelCall, RoundEnd, ToolChoice},
    transcript::Transcript,
};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use super::{
    Db, ana, append, call_finished, delta, finished, following, large_catalog, new_turn, notice,
    url,
};
use crate::{
    Append, AppendError, Follows, NewTurn, OpenTurnError, Opened, StoreError, Taken, body::NESTING,
};

#[tokio::test]
async fn a_log_is_read_as_it_was_written() {
    let db = Db::new().await;
    let opened = db.store.open_turn(new_turn("ana", "c", "t")).await.unwrap();
    assert_eq!(opened, Opened { epoch: 1, seq: 1 });
    let mut events = vec![
        large_catalog(),
        delta(0, "Sales were "),
        call_finished(1, 10),
        call_finished(2, 16_000),
        notice(&"large ".repeat(100_000)),
    ];
    // More than one statement adds.
    events.extend((0..20).map(|n| notice(&n.to_string())));
    assert_eq!(db.append("t", 1, events.clone()).await.unwrap(), 26);

    let log = db.store.log(&ana(), &"t".into(), 0).await.unwrap().unwrap();
    let expected = Event::TurnStarted(new_turn("ana", "c", "t").started);
    assert_eq!(
        (log[0].seq, log[0].at, &log[0].event),
        (1, 1_000, &expected)
    );
    let read: Vec<_> = log[1..]
        .iter()
        .map(|logged| (logged.seq, logged.at, &logged.event))
        .collect();
    let written: Vec<_> = (2..)
        .zip(&events)
        .map(|(seq, event)| (seq, 2_000, event))
        .collect();
    assert_eq!(read, written);

    let rest = db.store.log(&ana(), &"t".into(), 4).await.unwrap().unwrap();
    assert_eq!(rest, log[4..]);
    assert_eq!(
        db.store.log(&ana(), &"t".into(), 26).await.unwrap(),
        Some(Vec::new())
    );
}

#[tokio::test]
async fn an_append_of_an_older_epoch_writes_nothing() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.append("t", 1, vec![notice("before")]).await.unwrap();
    let taken = db.store.take_over(&"t".into()).await.unwrap();
    assert_eq!(taken, Some(Taken { epoch: 2, seq: 2 }));

    let late = db.append("t", 2, vec![notice("late")]).await;
    assert!(matches!(late, Err(AppendError::Lost)), "{late:?}");
    let late_end = db.append("t", 2, vec![finished()]).await;
    assert!(matches!(late_end, Err(AppendError::Lost)), "{late_end:?}");
    assert_eq!(db.names("t").await, ["turn.started", "notice"]);
    assert_eq!(db.count("SELECT COUNT(*) FROM transcripts").await, 0);

    let mut mine = append("t", 2, vec![notice("mine")]);
    mine.epoch = 2;
    assert_eq!(db.store.append(mine).await.unwrap(), 3);
}

#[tokio::test]
async fn an_append_behind_or_ahead_of_the_log_is_lost() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.append("t", 1, vec![notice("a"), notice("b")])
        .await
        .unwrap();
    for seq in [0, 1, 2, 4, u64::MAX] {
        for event in [notice("c"), finished()] {
            let lost = db.append("t", seq, vec![event]).await;
            assert!(matches!(lost, Err(AppendError::Lost)), "{seq}: {lost:?}");
        }
    }
    let elsewhere = db.append("nowhere", 0, vec![notice("c")]).await;
    assert!(matches!(elsewhere, Err(AppendError::Lost)), "{elsewhere:?}");
    assert_eq!(db.append("t", 3, vec![notice("c")]).await.unwrap(), 4);
}

#[tokio::test]
async fn nothing_follows_the_end() {
    let db = Db::new().await;
    db.open_turn("t").await;
    let beyond = db.append("t", 1, vec![finished(), notice("beyond")]).await;
    assert!(matches!(beyond, Err(AppendError::Failed(_))), "{beyond:?}");
    assert_eq!(db.append("t", 1, vec![finished()]).await.unwrap(), 2);
    let beyond = db.append("t", 2, vec![notice("beyond")]).await;
    assert!(matches!(beyond, Err(AppendError::Lost)), "{beyond:?}");
    assert_eq!(db.store.take_over(&"t".into()).await.unwrap(), None);
    assert_eq!(db.store.take_over(&"nowhere".into()).await.unwrap(), None);
    assert_eq!(db.names("t").await, ["turn.started", "turn.finished"]);
}

#[tokio::test]
async fn a_turn_ends_while_readers_hold_every_connection() {
    let db = Db::new().await;
    db.open_turn("t").await;
    let readers = &db.store.0.readers;
    let held = join_all((0..readers.options().get_max_connections()).map(|_| readers.acquire()));
    let held: Vec<_> = held.await.into_iter().map(Result::unwrap).collect();
    assert!(readers.try_acquire().is_none());
    let end = db
        .store
        .append(append("t", 1, vec![notice("last"), finished()]));
    let ended = tokio::time::timeout(Duration::from_secs(5), end).await;
    assert_eq!(ended.expect("it waits for readers").unwrap(), 3);
    drop(held);
    assert_eq!(db.store.open_turns().await.unwrap(), []);
}

#[tokio::test]
async fn only_the_end_comes_with_a_transcript_and_never_without() {
    let db = Db::new().await;
    db.open_turn("t").await;
    let good = append("t", 1, vec![notice("last"), finished()]);
    let other = |change: fn(&mut Append)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    let bad = [
        other(|append| append.transcript = None),
        other(|append| append.transcript.as_mut().unwrap().seq = 2),
        other(|append| append.transcript.as_mut().unwrap().seq = 4),
        other(|append| append.transcript.as_mut().unwrap().end = None),
        other(|append| append.events = vec![notice("no"), notice("end")].into()),
    ];
    for bad in bad {
        let refused = db.store.append(bad).await;
        let Err(AppendError::Failed(StoreError::Body { .. })) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(db.names("t").await, ["turn.started"]);
    }
    assert_eq!(db.store.append(good).await.unwrap(), 3);
}

/// The end of a round with one call, which nests so many containers within each other.
fn nested_round(nesting: usize) -> Event {
    // The event, its message, the calls, the call and its extras are five.
    let value = (5..nesting).fold(json!(1), |inner, _| json!([inner]));
    Event::RoundFinished {
        round: RoundId(1),
        end: RoundEnd::Calls,
        usage: None,
        message: AssistantMessage {
            calls: vec![ModelCall {
                extras: [("signature".to_owned(), value)].into_iter().collect(),
                ..ModelCall::default()
            }],
            ..AssistantMessage::default()
        },
    }
}

#[tokio::test]
async fn what_could_not_be_read_back_is_not_written() {
    let db = Db::new().await;
    db.open_turn("t").await;
    let deep_result = |bytes: usize| {
        let Event::CallFinished(mut finished) = call_finished(1, bytes) else {
            unreachable!()
        };
        for _ in 0..NESTING {
            finished.result.raw = json!([finished.result.raw]);
        }
        Event::CallFinished(finished)
    };
    for deep in [
        nested_round(NESTING + 1),
        deep_result(20),
        deep_result(50_000),
    ] {
        let refused = db.append("t", 1, vec![notice("first"), deep]).await;
        let Err(AppendError::Failed(StoreError::Body { .. })) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(db.names("t").await, ["turn.started"]);
    }
}

#[tokio::test]
async fn the_deepest_events_and_their_transcript_are_read_back() {
    let db = Db::new().await;
    db.open_turn("t").await;
    let started = Event::RoundStarted {
        round: RoundId(1),
        attempt: 1,
        tool_choice: ToolChoice::Auto,
        catalogs: Vec::new(),
    };
    let events = vec![started, nested_round(NESTING), finished()];
    db.append("t", 1, events.clone()).await.unwrap();
    let log = db.store.log(&ana(), &"t".into(), 0).await.unwrap().unwrap();
    assert_eq!(log[2].event, events[1]);
    let mut conn = SqliteConnection::connect(&url(&db.dir)).await.unwrap();
    let (body,): (String,) = sqlx::query_as("SELECT body FROM transcripts")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let stored: Transcript = serde_json::from_str(&body).unwrap();
    assert_eq!(stored, Transcript::fold(&log));
}

#[tokio::test]
async fn an_append_of_nothing_only_asks_whose_the_log_is() {
    let db = Db::new().await;
    db.open_turn("t").await;
    assert_eq!(db.append("t", 1, Vec::new()).await.unwrap(), 1);
    db.store.take_over(&"t".into()).await.unwrap();
    assert!(matches!(
        db.append("t", 1, Vec::new()).await,
        Err(AppendError::Lost)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_turns_append_at_once() {
    const TURNS: usize = 40;
    const APPENDS: u64 = 25;
    let db = Arc::new(Db::new().await);
    let turns = (0..TURNS).map(|n| {
        let db = Arc::clone(&db);
        async move {
            let turn = format!("t{n}");
            db.store
                .open_turn(new_turn("ana", &format!("c{n}"), &turn))
                .await
                .unwrap();
            for seq in 1..=APPENDS {
                let text = format!("{turn} {seq}");
                assert_eq!(
                    db.append(&turn, seq, vec![notice(&text)]).await.unwrap(),
                    seq + 1
                );
                // A second writer with the same number changes nothing.
                assert!(db.append(&turn, seq, vec![notice("twin")]).await.is_err());
            }
            turn
        }
    });
    for turn in join_all(turns).await {
        let log = db
            .store
            .log(&ana(), &turn.as_str().into(), 1)
            .await
            .unwrap()
            .unwrap();
        let expected: Vec<_> = (1..=APPENDS)
            .map(|seq| notice(&format!("{turn} {seq}")))
            .collect();
        let read: Vec<_> = log.into_iter().map(|logged| logged.event).collect();
        assert_eq!(read, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_posted_many_times_at_once_opens_one_turn() {
    let db = Db::new().await;
    let posts = (0..20).map(|n| {
        let mut new = new_turn("ana", &format!("c{n}"), &format!("t{n}"));
        new.message_id = "m".to_owned();
        db.store.open_turn(new)
    });
    let answers = join_all(posts).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let open = db.store.open_turns().await.unwrap();
    assert_eq!(open.len(), 1);
    for error in answers.into_iter().filter_map(Result::err) {
        let OpenTurnError::Duplicate { turn, conversation } = error else {
            panic!("{error:?}")
        };
        assert_eq!(
            (&turn, &conversation),
            (&open[0].turn, &open[0].conversation)
        );
    }
    assert_eq!(
        db.store
            .conversations(&ana(), None, 100)
            .await
            .unwrap()
            .len(),
        1
    );

    // Ids of messages are unique per user only.
    let mut of_ben = new_turn("ben", "c-ben", "t-ben");
    of_ben.message_id = "m".to_owned();
    db.store.open_turn(of_ben).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_runs_one_turn_at_a_time() {
    let db = Db::new().await;
    let names: Vec<_> = (0..20).map(|n| format!("t{n}")).collect();
    let posts = names
        .iter()
        .map(|turn| db.store.open_turn(new_turn("ana", "c", turn)));
    let answers = join_all(posts).await;
    let open = db.store.open_turns().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for error in answers.into_iter().filter_map(Result::err) {
        let OpenTurnError::Busy { turn } = error else {
            panic!("{error:?}")
        };
        assert_eq!(turn, open[0].turn);
    }

    db.append(open[0].turn.as_str(), 1, vec![finished()])
        .await
        .unwrap();
    db.store
        .open_turn(following("next", open[0].turn.as_str(), 3_000))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_happened_at_once_is_written_with_the_turn() {
    let db = Db::new().await;
    let mut new = new_turn("ana", "c", "t");
    new.then = vec![large_catalog(), notice("first")];
    let opened = db.store.open_turn(new.clone()).await.unwrap();
    assert_eq!(opened, Opened { epoch: 1, seq: 3 });
    assert_eq!(
        db.names("t").await,
        ["turn.started", "catalog.ready", "notice"]
    );
    assert_eq!(db.append("t", 3, vec![notice("next")]).await.unwrap(), 4);
    // All of it or nothing.
    let again = db.store.open_turn(new).await;
    assert!(
        matches!(again, Err(OpenTurnError::Duplicate { .. })),
        "{again:?}"
    );
    assert_eq!(db.names("t").await.len(), 4);
}

#[tokio::test]
async fn what_is_to_follow_the_newest_turn_follows_no_other() {
    let db = Db::new().await;
    let newest = |turn: &str, parent: &str| NewTurn {
        follows: Follows::Newest,
        ..following(turn, parent, 3_000)
    };
    let mut first = newest("t", "");
    first.started.parent = None;
    db.store.open_turn(first.clone()).await.unwrap();
    // Whatever it follows: one turn runs.
    let busy = db.store.open_turn(newest("u", "t")).await;
    assert!(matches!(busy, Err(OpenTurnError::Busy { .. })), "{busy:?}");
    db.append("t", 1, vec![finished()]).await.unwrap();
    db.store.open_turn(newest("u", "t")).await.unwrap();
    db.append("u", 1, vec![finished()]).await.unwrap();
    // Two looked at the conversation at once, and the other was quicker.
    (first.turn, first.message_id) = ("v".into(), "message of v".to_owned());
    for late in [newest("v", "t"), first] {
        let refused = db.store.open_turn(late).await;
        assert!(
            matches!(refused, Err(OpenTurnError::WrongParent)),
            "{refused:?}"
        );
    }
    let branch = following("v", "t", 3_000);
    db.store.open_turn(branch).await.unwrap();
}

#[tokio::test]
async fn a_parent_is_a_turn_of_the_conversation() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.append("t", 1, vec![finished()]).await.unwrap();
    let mut elsewhere = following("u", "t", 3_000);
    elsewhere.started.conversation = Some("d".into());
    for new in [
        following("u", "nowhere", 3_000),
        following("u", "u", 3_000),
        elsewhere,
    ] {
        let refused = db.store.open_turn(new).await;
        assert!(
            matches!(refused, Err(OpenTurnError::WrongParent)),
            "{refused:?}"
        );
    }
    // Nothing of it is there, and the message may be sent again.
    assert_eq!(
        db.store
            .conversations(&ana(), None, 100)
            .await
            .unwrap()
            .len(),
        1
    );
    db.store
        .open_turn(following("u", "t", 3_000))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_resumed_call_may_rebind_the_turn_to_another_session() {
    let db = Db::new().await;
    db.open_turn("t").await;
    let resumed = |sid: Option<&str>| Event::CallResumed {
        call: chat::ids::CallId(1),
        sid: sid.map(Sid::from),
    };
    db.append("t", 1, vec![resumed(Some("sid-2")), resumed(None)])
        .await
        .unwrap();
    assert_eq!(
        db.store.open_turns().await.unwrap()[0].sid,
        Sid::from("sid-2")
    );
    db.append("t", 3, vec![resumed(None)]).await.unwrap();
    assert_eq!(
        db.store.open_turns().await.unwrap()[0].sid,
        Sid::from("sid-2")
    );
}

#[tokio::test]
async fn a_large_body_is_stored_once() {
    let db = Db::new().await;
    for turn in ["t", "u"] {
        db.store
            .open_turn(new_turn("ana", turn, turn))
            .await
            .unwrap();
        db.append(turn, 1, vec![large_catalog(), call_finished(1, 100)])
            .await
            .unwrap();
    }
    assert_eq!(db.count("SELECT COUNT(*) FROM blobs").await, 1);
    assert_eq!(
        db.count("SELECT COUNT(*) FROM events WHERE blob_hash IS NOT NULL")
            .await,
        2
    );
    assert_eq!(
        db.count("SELECT COUNT(*) FROM events WHERE preview LIKE '{\"type\":\"catalog.ready\"%'")
            .await,
        2
    );
    let smaller = "SELECT COUNT(*) FROM blobs WHERE LENGTH(body) * 4 < size AND size > 16384";
    assert_eq!(db.count(smaller).await, 1);
}
