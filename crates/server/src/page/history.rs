//! Which turns of a conversation a page shows: the newest of one branch, and on demand what came
//! before them.

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::{Html, IntoResponse, Response},
};
use chat::ids::{ConversationId, TurnId};
use serde::Deserialize;
use store::{Branch, PATH_TURNS, TurnRow, Window};

use super::{Open, Shown, page, problem, render, sidebar::Wanted, turns_html};
use crate::{app::AppState, error::Problem, gate::Caller};

/// Turns that a page begins with, and that each look at what came before brings: more than fills
/// a window, few enough to be read, rendered and laid out at once.
pub(super) const PAGE_TURNS: u32 = 30;

/// The element above the turns.
pub(super) const EARLIER: &str = "earlier";

/// What of a conversation is asked for.
#[derive(Default, Deserialize)]
pub(crate) struct Asked {
    /// The branch that goes through this turn; else the newest.
    turn: Option<TurnId>,
    /// Only what came before this turn.
    before: Option<TurnId>,
    /// Not the whole page, only the turns.
    part: Option<String>,
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
    let window = match &asked {
        Asked {
            before: Some(turn), ..
        } => Window::Before(turn),
        Asked {
            turn: Some(turn), ..
        } => Window::Through(turn),
        Asked { .. } => Window::Newest,
    };
    let found = async {
        let row = store.conversation(subject, &id).await?;
        let row = row.ok_or_else(|| Problem::not_found("conversation"))?;
        let branch = store.branch(subject, &id, window, PAGE_TURNS).await?;
        let turns = branch.ok_or_else(|| Problem::not_found("turn"))?.turns;
        let turns = match asked.turn.as_ref().filter(|_| asked.before.is_none()) {
            Some(turn) if turns.iter().all(|row| row.turn != *turn) => {
                from(turn, store.branch(subject, &id, window, PATH_TURNS).await?)
            }
            Some(_) | None => turns,
        };
        let is_cut = asked.before.is_some();
        let after = if is_cut { After::Newer } else { After::Nothing };
        let earlier = earlier(&id, &turns, after);
        if asked.part.is_some() {
            let servers = app.context.servers.of(subject);
            let turns = turns_html(&app, turns, servers.all()).await?;
            return Ok(Html(earlier + &turns));
        }
        let shown = Shown {
            turns,
            earlier,
            through: asked.turn.clone(),
            is_cut,
        };
        page(&app, &caller, Some(Open { row, shown }), &wanted).await
    };
    let answer: Result<_, Problem> = found.await;
    answer.map_or_else(|failed| problem(&failed), IntoResponse::into_response)
}

/// The turns from this one on.
fn from(turn: &TurnId, branch: Option<Branch>) -> Vec<TurnRow> {
    let mut branch = branch.map_or_else(Vec::new, |branch| branch.turns);
    let before = branch.iter().position(|row| row.turn == *turn);
    branch.drain(..before.unwrap_or_default());
    branch
}

/// What comes after the turns that a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing: they are the newest.
    Nothing,
    /// Newer turns, which it does not show.
    Newer,
}

/// The way to what came before these turns, and back.
pub(super) fn earlier(conversation: &ConversationId, turns: &[TurnRow], after: After) -> String {
    let first = turns.first().filter(|first| first.parent.is_some());
    render(&Earlier {
        conversation,
        first: first.map(|first| &first.turn),
        is_cut: after == After::Newer,
    })
}
