//! What a purge removes, and what it leaves.

use std::sync::Arc;

use chat::{
    ids::{CallId, ConversationId},
    message::ToolChoice,
    request::ApiRequest,
};
use serde_json::Map;

use super::{Db, ana, append, call_finished, finished, following, large_catalog, new_turn, notice};
use crate::{Expired, NewTurn, Removed};

const ALL: Expired = Expired {
    deleted_until: i64::MAX,
    api_ended_until: i64::MAX,
};
const NOTHING: Expired = Expired {
    deleted_until: 0,
    api_ended_until: 0,
};

/// Purges all of it; the number of steps.
async fn purge(db: &Db, expired: Expired) -> usize {
    let mut steps = 0;
    while db.store.purge_some(expired).await.unwrap() != Removed::Nothing {
        steps += 1;
        assert!(steps < 100, "it never ends");
    }
    steps
}

async fn rows(db: &Db) -> [i64; 6] {
    [
        db.count("SELECT COUNT(*) FROM conversations").await,
        db.count("SELECT COUNT(*) FROM turns").await,
        db.count("SELECT COUNT(*) FROM events").await,
        db.count("SELECT COUNT(*) FROM results").await,
        db.count("SELECT COUNT(*) FROM transcripts").await,
        db.count("SELECT COUNT(*) FROM blobs").await,
    ]
}

fn of_api(turn: &str) -> NewTurn {
    let mut new = new_turn("ana", "", turn);
    new.started.conversation = None;
    new.started.request = Some(Arc::new(ApiRequest {
        messages: Vec::new(),
        parameters: Map::new(),
        tool_choice: ToolChoice::Auto,
    }));
    new
}

#[tokio::test]
async fn a_deleted_conversation_goes_with_all_that_only_it_named() {
    let db = Db::new().await;
    // Both have the same catalog and one result in common.
    for (conversation, turn, own) in [("gone", "g1", 40_000), ("kept", "k1", 60_000)] {
        let new = new_turn("ana", conversation, turn);
        db.store.open_turn(new).await.unwrap();
        let events = vec![
            large_catalog(),
            call_finished(1, 50_000),
            call_finished(2, own),
            finished(),
        ];
        db.append(turn, 1, events).await.unwrap();
    }
    let kept = rows(&db).await;
    let mut edited = following("g2", "g1", 2_000);
    edited.started.conversation = Some("gone".into());
    edited.started.message = "long ".repeat(20_000);
    db.store.open_turn(edited).await.unwrap();
    db.append("g2", 1, vec![notice("more"); 300]).await.unwrap();
    db.append("g2", 301, vec![finished()]).await.unwrap();
    assert_eq!(kept, [2, 2, 10, 4, 2, 4]);

    assert_eq!(purge(&db, ALL).await, 0, "nothing was deleted");
    let gone: ConversationId = "gone".into();
    db.store
        .delete_conversation(&ana(), &gone, 50)
        .await
        .unwrap();
    assert_eq!(purge(&db, NOTHING).await, 0, "it can be restored still");
    let before = Expired {
        deleted_until: 49,
        ..ALL
    };
    assert_eq!(purge(&db, before).await, 0);

    // One step, and there is no way back.
    assert_eq!(db.store.purge_some(ALL).await.unwrap(), Removed::Part);
    let back = db.store.restore_conversation(&ana(), &gone, 0).await;
    assert_eq!(back.unwrap(), None);
    assert!(purge(&db, NOTHING).await > 2, "it was done in small steps");
    assert_eq!(rows(&db).await, [1, 1, 5, 2, 1, 3]);
    let left = db.store.call_result(&ana(), &"k1".into(), CallId(1)).await;
    let left = left.unwrap().unwrap().result.raw;
    assert!(left.to_string().len() > 50_000, "a shared blob was removed");
    assert_eq!(purge(&db, ALL).await, 0);
}

#[tokio::test]
async fn a_turn_that_runs_keeps_its_deleted_conversation() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.store
        .delete_conversation(&ana(), &"c".into(), 50)
        .await
        .unwrap();
    assert_eq!(purge(&db, ALL).await, 0);
    db.append("t", 1, vec![notice("on")]).await.unwrap();
    let mut end = append("t", 2, vec![finished()]);
    end.at = 60;
    db.store.append(end).await.unwrap();
    assert!(purge(&db, ALL).await > 0);
    assert_eq!(rows(&db).await, [0; 6]);
}

#[tokio::test]
async fn turns_of_the_api_go_by_their_age() {
    let db = Db::new().await;
    for (turn, ended) in [("old", 100), ("new", 200)] {
        db.store.open_turn(of_api(turn)).await.unwrap();
        let events = vec![call_finished(1, 50_000), finished()];
        let mut end = append(turn, 1, events);
        end.at = ended;
        db.store.append(end).await.unwrap();
    }
    db.store.open_turn(of_api("open")).await.unwrap();
    db.open_turn("of a person").await;
    let expired = Expired {
        deleted_until: 0,
        api_ended_until: 100,
    };
    assert_eq!(purge(&db, expired).await, 1);
    assert!(
        db.store
            .log(&ana(), &"old".into(), 0)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(db.names("new").await.len(), 3);
    // They had the result's blob in common.
    assert_eq!(db.count("SELECT COUNT(*) FROM blobs").await, 1);
    assert_eq!(purge(&db, ALL).await, 1);
    assert_eq!(rows(&db).await, [1, 2, 2, 0, 0, 0]);
}
