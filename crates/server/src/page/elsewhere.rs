//! What a page says of a turn that runs in its conversation, but in another branch than the one it
//! shows, or after the turns it shows.

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
    /// The turn that the branch ends with, where the page does not show that.
    last: Option<&'a TurnId>,
}

/// The open turn of a conversation, if it is none of these.
pub(super) fn turn<'a>(open: Option<&'a TurnId>, shown: &[TurnRow]) -> Option<&'a TurnId> {
    open.filter(|open| shown.iter().all(|row| row.turn != **open))
}

/// Says that `turn` runs elsewhere; an element without words where there is none. `last` is the end
/// of a branch that the page shows a part of.
pub(super) fn html(
    conversation: Option<&ConversationId>,
    turn: Option<&TurnId>,
    last: Option<&TurnId>,
) -> String {
    render(&Elsewhere {
        runs: conversation.zip(turn),
        last,
    })
}
