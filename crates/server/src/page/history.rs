//! Which turns of a conversation a page shows: the newest of one branch or those around one of its
//! turns, and on demand what came before and after them.

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::{Html, IntoResponse, Response},
};
use chat::ids::{ConversationId, TurnId};
use serde::Deserialize;
use store::{Branch, TurnRow, Window};

use super::{Open, Shown, page, position, problem, render, sidebar::Wanted, turns_html};
use crate::{app::AppState, error::Problem, gate::Caller};

/// Turns that a page begins with, and that each look at what came before brings: more than fills
/// a window, few enough to be read, rendered and laid out at once.
pub(super) const PAGE_TURNS: u32 = 30;

/// The element above the turns.
pub(super) const EARLIER: &str = "earlier";

/// The element below them.
pub(super) const LATER: &str = "later";

/// What of a conversation is asked for.
#[derive(Default, Deserialize)]
pub(crate) struct Asked {
    /// The branch that goes through this turn; else the newest.
    turn: Option<TurnId>,
    /// Only what came before this turn.
    before: Option<TurnId>,
    /// Only what came after this turn.
    after: Option<TurnId>,
    /// Not the whole page, only the turns.
    part: Option<String>,
}

impl Asked {
    fn window(&self) -> Window<'_> {
        let before = self.before.as_ref().map(Window::Before);
        let after = self.after.as_ref().map(Window::After);
        let around = self.turn.as_ref().map(Window::Around);
        before.or(after).or(around).unwrap_or_default()
    }

    /// The turn that the branch goes through.
    fn through(&self) -> Option<&TurnId> {
        let part = self.before.as_ref().or(self.after.as_ref());
        part.or(self.turn.as_ref())
    }
}

/// The way to what came before the turns that a page shows.
#[derive(Template)]
#[template(path = "earlier.html")]
struct Earlier<'a> {
    conversation: &'a ConversationId,
    /// The first turn that is shown, if others came before it.
    first: Option<&'a TurnId>,
    /// Newer turns are not shown.
    is_cut: bool,
}

/// The way to what came after them.
#[derive(Template)]
#[template(path = "later.html")]
struct Later<'a> {
    conversation: &'a ConversationId,
    /// The last turn that is shown, and the last of the branch, if that is another.
    goes_on: Option<(&'a TurnId, &'a TurnId)>,
    /// The last event that is shown, where the branch ends.
    after: String,
}

/// `GET /c/{conversation}`: a conversation.
pub(crate) async fn conversation(
    State(app): State<AppState>,
    Path(id): Path<ConversationId>,
    Query(asked): Query<Asked>,
    Query(wanted): Query<Wanted>,
    caller: Caller,
) -> Response {
    let subject = &caller.person.subject;
    let store = &app.context.store;
    let found = async {
        let row = store.conversation(subject, &id).await?;
        let row = row.ok_or_else(|| Problem::not_found("conversation"))?;
        let branch = store.branch(subject, &id, asked.window(), PAGE_TURNS);
        let branch = branch.await?.ok_or_else(|| Problem::not_found("turn"))?;
        let (turns, after) = (&branch.turns, After::of(&branch));
        let (earlier, later) = (earlier(&id, turns, after), later(&id, turns, after));
        if asked.part.is_some() {
            let servers = app.context.servers.of(subject);
            let turns = turns_html(&app, branch.turns, servers.all()).await?;
            // What a page has already stays in its place.
            let is_below = asked.before.is_none() && asked.after.is_some();
            return Ok(Html(if is_below {
                turns + &later
            } else {
                earlier + &turns
            }));
        }
        let shown = Shown {
            turns: branch.turns,
            earlier,
            later,
            through: asked.through().cloned(),
            is_cut: branch.goes_on,
        };
        page(&app, &caller, Some(Open { row, shown }), &wanted).await
    };
    let answer: Result<_, Problem> = found.await;
    answer.map_or_else(|failed| problem(&failed), IntoResponse::into_response)
}

/// What comes after the turns that a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After<'a> {
    /// Nothing: the branch ends with them.
    Nothing,
    /// Newer turns up to this one, which it does not show.
    Newer(&'a TurnId),
}

impl<'a> After<'a> {
    fn of(branch: &'a Branch) -> Self {
        if branch.goes_on {
            Self::Newer(&branch.last)
        } else {
            Self::Nothing
        }
    }
}

/// The way to what came before these turns, and back.
pub(super) fn earlier(
    conversation: &ConversationId,
    turns: &[TurnRow],
    after: After<'_>,
) -> String {
    let first = turns.first().filter(|first| first.parent.is_some());
    render(&Earlier {
        conversation,
        first: first.map(|first| &first.turn),
        is_cut: after != After::Nothing,
    })
}

/// The way to what came after these turns.
pub(super) fn later(conversation: &ConversationId, turns: &[TurnRow], after: After<'_>) -> String {
    let shown = turns.last();
    let end = shown.map(|last| position(&last.turn, last.transcript.seq));
    let last = match after {
        After::Newer(last) => Some(last),
        After::Nothing => None,
    };
    render(&Later {
        conversation,
        goes_on: shown.map(|shown| &shown.turn).zip(last),
        after: end.unwrap_or_default(),
    })
}
