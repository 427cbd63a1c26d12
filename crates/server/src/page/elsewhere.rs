//! What a page says of a turn that runs in another branch of its conversation than the one it shows.

use askama::Template;
use chat::ids::{ConversationId, TurnId};
use store::TurnRow;

use super::render;

/// The id of the element that says it.
pub(super) const ELSEWHERE: &str = "elsewhere";

#[derive(Template)]
#[template(path = "elsewhere.html")]
struct Elsewhere<'a> {
    /// Where, and which turn.
    runs: Option<(&'a ConversationId, &'a TurnId)>,
}

/// The open turn of a conversation, if it is in another branch than these turns, which go to the
/// branch's end.
pub(super) fn turn<'a>(open: Option<&'a TurnId>, shown: &[TurnRow]) -> Option<&'a TurnId> {
    open.filter(|open| shown.iter().all(|row| row.turn != **open))
}

/// Says that `turn` runs in another branch; an element without words where there is none.
pub(super) fn html(conversation: Option<&ConversationId>, turn: Option<&TurnId>) -> String {
    render(&Elsewhere {
        runs: conversation.zip(turn),
    })
}
