//! Turns of the API, which belong to no conversation.

use std::sync::Arc;

use chat::{message::ToolChoice, request::ApiRequest};
use serde_json::json;

use super::{Db, ana, ben, finished, new_turn, notice};
use crate::{NewTurn, OpenTurnError};

/// A turn of the API with so many bytes in its request.
fn api_turn(turn: &str, bytes: usize) -> NewTurn {
    let mut new = new_turn("ana", "none", turn);
    new.message_id = turn.to_owned();
    new.started.conversation = None;
    let messages = json!([{ "role": "user", "content": "x".repeat(bytes) }]);
    new.started.request = Some(Arc::new(ApiRequest {
        messages: serde_json::from_value(messages).unwrap(),
        parameters: serde_json::Map::new(),
        tool_choice: ToolChoice::Auto,
    }));
    new
}

#[tokio::test]
async fn many_run_at_once_and_no_list_of_conversations_has_them() {
    let db = Db::new().await;
    for turn in ["t1", "t2", "t3"] {
        db.store.open_turn(api_turn(turn, 10)).await.unwrap();
    }
    let open = db.store.open_turns().await.unwrap();
    assert_eq!(open.len(), 3);
    assert!(open.iter().all(|open| open.conversation.is_none()));
    let listed = db.store.conversations(&ana(), None, 10).await.unwrap();
    assert_eq!(listed, []);
    let events = vec![notice("so far"), finished()];
    db.append("t2", 1, events).await.unwrap();
    assert_eq!(db.store.open_turns().await.unwrap().len(), 2);
}

#[tokio::test]
async fn its_user_finds_it_and_nobody_else() {
    let db = Db::new().await;
    // Larger than a row: it is kept as a blob.
    let new = api_turn("t", 100_000);
    let started = new.started.clone();
    db.store.open_turn(new).await.unwrap();
    db.append("t", 1, vec![finished()]).await.unwrap();
    let turn = "t".into();
    let transcript = db.store.transcript(&ana(), &turn).await.unwrap().unwrap();
    assert_eq!(transcript.started, Some(started));
    assert_eq!(db.names("t").await, ["turn.started", "turn.finished"]);
    assert_eq!(db.store.transcript(&ben(), &turn).await.unwrap(), None);
    assert_eq!(db.store.log(&ben(), &turn, 0).await.unwrap(), None);
}

#[tokio::test]
async fn a_message_cannot_take_its_id() {
    let db = Db::new().await;
    db.store.open_turn(api_turn("t", 10)).await.unwrap();
    let posted = db.store.posted(&ana(), "t").await.unwrap();
    assert_eq!(posted, Some(("t".into(), None)));
    let mut message = new_turn("ana", "c", "u");
    message.message_id = "t".to_owned();
    let error = db.store.open_turn(message).await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenTurnError::Duplicate {
                conversation: None,
                ..
            }
        ),
        "{error:?}"
    );
}
