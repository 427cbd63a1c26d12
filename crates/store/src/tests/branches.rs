//! The tree of a conversation: branches, their siblings, paths.

use chat::ids::{ConversationId, TurnId};

use super::{Db, ana, ben, finished, following, new_turn};
use crate::{Branch, Window};

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

fn names(branch: &Branch) -> String {
    branch.turns.iter().map(|row| row.turn.as_str()).collect()
}

impl Db {
    async fn seen(
        &self,
        conversation: &ConversationId,
        window: Window<'_>,
        limit: u32,
    ) -> Option<Branch> {
        let ana = ana();
        let seen = self.store.branch(&ana, conversation, window, limit);
        seen.await.unwrap()
    }
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
        let window = through.as_ref().map_or(Window::Newest, Window::Through);
        let seen = db.seen(&conversation, window, 10).await.unwrap();
        assert_eq!(names(&seen), branch, "{through:?}");
        assert!(!seen.goes_on, "{through:?}");
    }
}

#[tokio::test]
async fn each_turn_knows_what_else_follows_the_same_one() {
    let db = tree().await;
    let through = TurnId::from("e");
    let window = Window::Through(&through);
    let seen = db.seen(&"c".into(), window, 10).await.unwrap();
    let siblings: Vec<_> = seen
        .turns
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
async fn a_window_shows_a_part_of_a_branch() {
    let db = tree().await;
    let (conversation, turn) = ("c".into(), TurnId::from);
    let of = ["a", "b", "c", "d", "e", "g", "nowhere"].map(turn);
    let [first, fork, older, newer, last, edited, nowhere] = &of;
    for (window, limit, shown, ends) in [
        (Window::Newest, 10, "g", "g"),
        (Window::Through(newer), 2, "de", "e"),
        (Window::Through(newer), 100_000, "abde", "e"),
        (Window::To(newer), 10, "abd", "d"),
        (Window::To(newer), 1, "d", "d"),
        (Window::To(first), 10, "a", "a"),
        (Window::Before(last), 2, "bd", "e"),
        (Window::Before(older), 10, "ab", "c"),
        (Window::Before(edited), 2, "", "g"),
        (Window::After(fork), 1, "d", "e"),
        (Window::After(fork), 10, "de", "e"),
        (Window::After(last), 10, "", "e"),
        (Window::Around(fork), 10, "abde", "e"),
        (Window::Around(newer), 2, "de", "e"),
        (Window::Around(fork), 2, "bd", "e"),
        (Window::Around(fork), 3, "bde", "e"),
        (Window::Around(fork), 1, "b", "e"),
    ] {
        let seen = db.seen(&conversation, window, limit).await.unwrap();
        assert_eq!(names(&seen), shown, "{window:?} {limit}");
        assert_eq!(seen.last, turn(ends), "{window:?} {limit}");
        // After the last turn is nothing, also not that turn.
        let goes_on = !shown.ends_with(ends) && window != Window::After(last);
        assert_eq!(seen.goes_on, goes_on, "{window:?} {limit}");
    }
    for window in [
        Window::Through(nowhere),
        Window::To(nowhere),
        Window::Before(nowhere),
        Window::After(nowhere),
        Window::Around(nowhere),
    ] {
        assert_eq!(db.seen(&conversation, window, 2).await, None, "{window:?}");
    }
}

#[tokio::test]
async fn nobody_elses_branch_is_read_and_none_of_another_conversation() {
    let db = tree().await;
    let other = new_turn("ana", "other", "o");
    db.store.open_turn(other).await.unwrap();
    let (conversation, b, o) = ("c".into(), TurnId::from("b"), TurnId::from("o"));
    for (subject, window) in [
        (ben(), Window::Newest),
        (ben(), Window::Through(&b)),
        (ben(), Window::To(&b)),
        (ana(), Window::Through(&o)),
        (ana(), Window::To(&o)),
    ] {
        let seen = db.store.branch(&subject, &conversation, window, 10).await;
        assert_eq!(seen.unwrap(), None, "{window:?}");
    }
}
