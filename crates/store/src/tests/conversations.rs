//! Conversations renamed, found, deleted and restored, and what is switched off in them.

use chat::{
    event::Target,
    ids::{CallId, ConversationId, Subject},
    selection::Selection,
};

use super::{Db, ana, ben, call_finished, finished, following, new_turn};
use crate::{ConversationChange, ConversationRow, OpenTurnError, Window};

async fn titled(db: &Db, conversation: &str, title: &str, at: i64) {
    let mut new = new_turn("ana", conversation, &format!("turn of {conversation}"));
    (new.at, new.started.message) = (at, title.to_owned());
    db.store.open_turn(new).await.unwrap();
}

fn named(title: &str) -> ConversationChange {
    ConversationChange {
        title: Some(title.to_owned()),
        off: None,
    }
}

fn off() -> Selection {
    Selection {
        servers: ["Mail".to_owned()].into(),
        tools: [Target {
            server: "Database".to_owned(),
            tool: "write".to_owned(),
        }]
        .into(),
    }
}

async fn change(
    db: &Db,
    who: &Subject,
    id: &str,
    to: ConversationChange,
) -> Option<ConversationRow> {
    let changing = db.store.change_conversation(who, &id.into(), to).await;
    changing.unwrap()
}

async fn found(db: &Db, words: &str) -> Vec<String> {
    let rows = db.store.search(&ana(), words, None, 100).await.unwrap();
    rows.into_iter().map(|row| row.id.0).collect()
}

#[tokio::test]
async fn a_title_is_found_whatever_its_case_and_wildcards_stand_for_themselves() {
    let db = Db::new().await;
    titled(&db, "c1", "Umsätze nach Größe", 1).await;
    titled(&db, "c2", "100% of sales_by_year!", 2).await;
    titled(&db, "c3", "Продажи", 3).await;
    for (words, hits) in [
        ("", vec!["c3", "c2", "c1"]),
        ("UMSÄTZE", vec!["c1"]),
        ("GRÖSSE", vec!["c1"]),
        ("продаЖИ", vec!["c3"]),
        ("0% OF", vec!["c2"]),
        ("%", vec!["c2"]),
        ("_", vec!["c2"]),
        ("!", vec!["c2"]),
        ("S", vec!["c2", "c1"]),
        ("salesXby", vec![]),
        ("' OR 1=1 --", vec![]),
        ("\\", vec![]),
    ] {
        assert_eq!(found(&db, words).await, hits, "{words:?}");
    }
    let bens = db.store.search(&ben(), "", None, 100).await.unwrap();
    assert_eq!(bens, []);

    // What was found is paged as the list is.
    let first = db.store.search(&ana(), "s", None, 1).await.unwrap();
    let after = first[0].cursor();
    let rest = db.store.search(&ana(), "s", Some(&after), 9).await.unwrap();
    let rest: Vec<_> = rest.into_iter().map(|row| row.id.0).collect();
    assert_eq!((first[0].id.as_str(), rest), ("c2", vec!["c1".to_owned()]));
}

#[tokio::test]
async fn a_new_title_is_found_and_moves_nothing_in_the_list() {
    let db = Db::new().await;
    titled(&db, "c1", "Sales", 1).await;
    titled(&db, "c2", "Costs", 2).await;
    let c1: ConversationId = "c1".into();
    let before = db.store.conversation(&ana(), &c1).await.unwrap().unwrap();
    assert_eq!(change(&db, &ben(), "c1", named("Mine")).await, None);
    let row = change(&db, &ana(), "c1", named("Ärger")).await.unwrap();
    assert_eq!(row.title, "Ärger");
    assert_eq!(row.updated_at, before.updated_at);
    assert_eq!(found(&db, "").await, ["c2", "c1"]);
    assert_eq!(found(&db, "äRG").await, ["c1"]);
    assert_eq!(found(&db, "Sales").await, [] as [&str; 0]);

    // Nothing to change changes nothing.
    let same = change(&db, &ana(), "c1", ConversationChange::default()).await;
    assert_eq!(same, Some(row));
    assert_eq!(change(&db, &ana(), "c9", named("x")).await, None);
}

#[tokio::test]
async fn what_is_switched_off_is_kept_with_the_conversation() {
    let db = Db::new().await;
    let mut new = new_turn("ana", "c", "t");
    new.off = off();
    db.store.open_turn(new).await.unwrap();
    titled(&db, "plain", "Plain", 5).await;
    let id = "c".into();
    let off_in = async |id: &ConversationId| {
        let row = db.store.conversation(&ana(), id).await.unwrap();
        row.unwrap().off
    };
    assert_eq!(off_in(&id).await, off());
    assert_eq!(off_in(&"plain".into()).await, Selection::default());

    // A later turn changes nothing about it, a new title neither.
    db.append("t", 1, vec![finished()]).await.unwrap();
    db.store.open_turn(following("u", "t", 9)).await.unwrap();
    let renamed = change(&db, &ana(), "c", named("New")).await.unwrap();
    assert_eq!(renamed.off, off());

    let all_on = ConversationChange {
        title: None,
        off: Some(Selection::default()),
    };
    let row = change(&db, &ana(), "c", all_on).await.unwrap();
    assert_eq!((row.title.as_str(), row.off), ("New", Selection::default()));
}

#[tokio::test]
async fn a_deleted_conversation_is_nowhere_until_it_is_restored() {
    let db = Db::new().await;
    db.open_turn("t").await;
    db.append("t", 1, vec![call_finished(1, 50_000), finished()])
        .await
        .unwrap();
    db.store.open_turn(following("u", "t", 9)).await.unwrap();
    let (id, t): (ConversationId, _) = ("c".into(), "t".into());
    let store = &db.store;
    assert!(!store.delete_conversation(&ben(), &id, 100).await.unwrap());
    assert!(store.conversation(&ana(), &id).await.unwrap().is_some());

    assert!(store.delete_conversation(&ana(), &id, 100).await.unwrap());
    assert!(!store.delete_conversation(&ana(), &id, 200).await.unwrap());
    assert_eq!(found(&db, "").await, [] as [&str; 0]);
    assert_eq!(store.conversation(&ana(), &id).await.unwrap(), None);
    assert_eq!(db.turns(&ana(), "c").await, None);
    let path = store.branch(&ana(), &id, Window::To(&t), 10).await;
    assert_eq!(path.unwrap(), None);
    assert_eq!(store.transcript(&ana(), &t).await.unwrap(), None);
    assert_eq!(store.log(&ana(), &t, 0).await.unwrap(), None);
    let result = store.call_result(&ana(), &t, CallId(1)).await.unwrap();
    assert_eq!(result, None);
    assert_eq!(change(&db, &ana(), "c", named("x")).await, None);
    let error = store.open_turn(following("v", "u", 10)).await.unwrap_err();
    assert!(matches!(error, OpenTurnError::NotFound), "{error:?}");
    // Its turn is still somebody's to end.
    let open = store.open_turns().await.unwrap();
    assert!(open.len() == 1 && open[0].deleted, "{open:?}");
    db.store.take_over(&"u".into()).await.unwrap().unwrap();

    let late = store.restore_conversation(&ana(), &id, 100).await;
    assert_eq!(late.unwrap(), None);
    let bens = store.restore_conversation(&ben(), &id, 0).await;
    assert_eq!(bens.unwrap(), None);
    let row = store.restore_conversation(&ana(), &id, 99).await.unwrap();
    assert_eq!(row.unwrap().title, "What is t?");
    assert_eq!(db.turns(&ana(), "c").await.unwrap().len(), 2);
    assert!(store.transcript(&ana(), &t).await.unwrap().is_some());
    assert!(!store.open_turns().await.unwrap()[0].deleted);
    // Twice is once.
    let again = store.restore_conversation(&ana(), &id, 99).await.unwrap();
    assert!(again.is_some());
}
