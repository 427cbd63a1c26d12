//! The tree of a conversation: branches, their siblings, paths.

use chat::ids::TurnId;

use super::{Db, ana, ben, finished, following, new_turn};
use crate::{TurnRow, Window};

/// A conversation:
///
/// ```text
/// a ── b ── c
///  │    └── d ── e
///  └── f
/// g (a, edited)
/// ```
async fn tree() -> Db {
    let db = Db::new().await;
    for (turn, parent) in [
        ("a", None),
        ("b", Some("a")),
        ("c", Some("b")),
        ("d", Some("b")),
        ("e", Some("d")),
        ("f", Some("a")),
        ("g", None),
    ] {
        // The clock stands still: the order is that in which they were opened.
        let new = parent.map_or_else(
            || new_turn("ana", "c", turn),
            |parent| following(turn, parent, 1_000),
        );
        db.store.open_turn(new).await.unwrap();
        db.append(turn, 1, vec![finished()]).await.unwrap();
    }
    db
}

fn names(rows: &[TurnRow]) -> String {
    rows.iter().map(|row| row.turn.as_str()).collect()
}

#[tokio::test]
async fn a_branch_goes_through_a_turn_to_the_newest_that_came_of_it() {
    let db = tree().await;
    let conversation = "c".into();
    for (through, branch) in [
        (None, "g"),
        (Some("a"), "af"),
        (Some("b"), "abde"),
        (Some("c"), "abc"),
        (Some("d"), "abde"),
        (Some("e"), "abde"),
        (Some("g"), "g"),
    ] {
        let through = through.map(TurnId::from);
        let rows = db
            .store
            .branch(&ana(), &conversation, through.as_ref())
            .await;
        assert_eq!(names(&rows.unwrap().unwrap()), branch, "{through:?}");
    }
    let newest = db.store.turns(&ana(), &conversation).await.unwrap();
    assert_eq!(names(&newest.unwrap()), "g");
}

#[tokio::test]
async fn each_turn_knows_what_else_follows_the_same_one() {
    let db = tree().await;
    let through = TurnId::from("e");
    let rows = db.store.branch(&ana(), &"c".into(), Some(&through)).await;
    let siblings: Vec<_> = rows
        .unwrap()
        .unwrap()
        .into_iter()
        .map(|row| {
            let names = row.siblings.iter().map(TurnId::as_str);
            (row.turn.0.clone(), names.collect::<String>())
        })
        .collect();
    let expected = [("a", "ag"), ("b", "bf"), ("d", "cd"), ("e", "e")];
    assert_eq!(
        siblings,
        expected.map(|(turn, all)| (turn.to_owned(), all.to_owned()))
    );
}

#[tokio::test]
async fn a_path_ends_with_its_turn_and_a_window_is_its_end() {
    let db = tree().await;
    let conversation = "c".into();
    let path = async |last: &str| {
        let path = db.store.path(&ana(), &conversation, &last.into()).await;
        path.unwrap().map(|rows| names(&rows))
    };
    assert_eq!(path("d").await.as_deref(), Some("abd"));
    assert_eq!(path("a").await.as_deref(), Some("a"));
    assert_eq!(path("nowhere").await, None);

    let (d, e, nowhere) = (
        TurnId::from("d"),
        TurnId::from("e"),
        TurnId::from("nowhere"),
    );
    for (window, limit, shown) in [
        (Window::Newest, 10, Some("g")),
        (Window::Through(&d), 2, Some("de")),
        (Window::Through(&d), 100_000, Some("abde")),
        (Window::Before(&e), 2, Some("bd")),
        (Window::Before(&TurnId::from("g")), 2, Some("")),
        (Window::Before(&nowhere), 2, None),
        (Window::Through(&nowhere), 2, None),
    ] {
        let rows = db.store.window(&ana(), &conversation, window, limit).await;
        let rows = rows.unwrap().map(|rows| names(&rows));
        assert_eq!(rows.as_deref(), shown, "{window:?} {limit}");
    }
}

#[tokio::test]
async fn nobody_elses_branch_is_read_and_none_of_another_conversation() {
    let db = tree().await;
    let other = new_turn("ana", "other", "o");
    db.store.open_turn(other).await.unwrap();
    let (conversation, b, o) = ("c".into(), TurnId::from("b"), TurnId::from("o"));
    let store = &db.store;
    for (subject, through) in [(ben(), &b), (ana(), &o)] {
        let branch = store.branch(&subject, &conversation, Some(through)).await;
        assert_eq!(branch.unwrap(), None);
        let path = store.path(&subject, &conversation, through).await;
        assert_eq!(path.unwrap(), None);
    }
    assert_eq!(store.turns(&ben(), &conversation).await.unwrap(), None);
}
