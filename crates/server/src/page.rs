//! The page: rendered here whole at first, then kept up to date by its stream.
//!
//! One template for each kind of thing a transcript holds, the same for what is over and for what
//! is still happening. Everything that comes from a model, a server or a person is escaped by the
//! template; only Markdown that `crate::markdown` rendered goes in as it is.

pub(crate) mod connected;
pub(crate) mod result;
pub(crate) mod stream;
pub(crate) mod traffic;

mod elsewhere;
mod needs;
mod paint;
mod part;
mod patch;
mod shared;
mod sidebar;

mod history;

mod call;
mod foot;
mod json;
mod round;
mod turn;
mod waited;
mod words;

mod greeting;
mod models;

mod answer;
pub(crate) mod assets;
pub(crate) mod compress;
pub(crate) mod theme;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::{Html, IntoResponse, Response},
};
use chat::ids::{ConversationId, TurnId};
use sha2::{Digest as _, Sha256};
use store::{ConversationRow, TurnRow};

use self::{
    paint::Painted,
    sidebar::{Mark, Wanted},
};
use crate::{
    app::{App, AppState},
    error::Problem,
    gate::Caller,
    identity::{Authority, Person},
    servers::Known,
};

pub(crate) use history::conversation;

pub(crate) use answer::{headers, not_found, problem, wants_html};
pub use shared::Shared;

#[derive(Template)]
#[template(path = "chat.html")]
struct Chat<'a> {
    version: &'static str,
    person: &'a Person,
    /// Toolgate stands alone: there is nothing to sign out of.
    alone: bool,
    /// Names the user in the browser's storage, without saying who it is.
    user: String,
    greeting: String,
    models: String,
    /// What of the list is shown.
    wanted: &'a Wanted,
    conversation: Option<&'a ConversationId>,
    title: String,
    /// The last event that is on the page: `turn.seq`.
    after: String,
    /// The branch that is shown goes through this turn; none for the newest.
    through: Option<TurnId>,
    /// The way to what came before.
    earlier: String,
    /// The way to what came after.
    later: String,
    conversations: String,
    servers: String,
    turns: String,
    /// That a turn runs in another branch.
    elsewhere: String,
    message_bytes: usize,
    title_chars: usize,
    needs: String,
    /// How long a call that waits for an account or a token does.
    parked_minutes: u64,
    /// How long a question waits.
    question_hours: u64,
}

/// `GET /`: a conversation that is yet to begin.
pub(crate) async fn new_chat(
    State(app): State<AppState>,
    Query(wanted): Query<Wanted>,
    caller: Caller,
) -> Response {
    let answer = page(&app, &caller, None, &wanted).await;
    answer.map_or_else(|failed| problem(&failed), IntoResponse::into_response)
}

async fn page(
    app: &App,
    caller: &Caller,
    open: Option<Open>,
    wanted: &Wanted,
) -> Result<Html<String>, Problem> {
    let subject = &caller.person.subject;
    let listed = wanted.read(&app.context.store, subject).await?;
    let rows = listed.rows.as_slice();
    let marked: Vec<_> = rows
        .iter()
        .map(|row| (row, mark(app, caller, row)))
        .collect();
    let servers = app.context.servers.of(subject);
    let (conversation, shown) = open.map(|open| (open.row, open.shown)).unzip();
    let Shown {
        turns,
        earlier,
        later,
        through,
        is_cut,
    } = shown.unwrap_or_default();
    let after = turns
        .last()
        .map(|last| position(&last.turn, last.transcript.seq));
    let id = conversation.as_ref().map(|row| &row.id);
    let off = conversation.as_ref().map(|row| row.off.clone());
    let off = off.unwrap_or_default();
    // Where newer turns are left out, they may be the ones.
    let open = conversation.as_ref().filter(|_| !is_cut);
    let open = open.and_then(|row| row.open_turn.as_ref());
    let html = render(&Chat {
        version: assets::version(),
        person: &caller.person,
        alone: matches!(app.authority, Authority::Local),
        user: fingerprint(subject.as_str()),
        models: models::html(app, turns.last()).await,
        greeting: greeting::html(app, &caller.person, &servers.all(), turns.len()),
        conversation: id,
        title: conversation
            .as_ref()
            .map(|row| visible(&row.title))
            .unwrap_or_default(),
        after: after.unwrap_or_default(),
        through,
        earlier,
        later,
        conversations: sidebar::conversations(&marked, id, wanted, listed.rest),
        wanted,
        servers: sidebar::servers_of(app, subject, &servers, &off),
        elsewhere: elsewhere::html(id, elsewhere::turn(open, &turns), None),
        turns: turns_html(app, turns, servers.all()).await?,
        message_bytes: chat::limits::MESSAGE_BYTES,
        title_chars: chat::limits::TITLE_CHARS,
        parked_minutes: chat::limits::PARKED.as_secs() / 60,
        question_hours: chat::limits::QUESTION.as_secs() / 3600,
        needs: needs::html(app, subject, |id| {
            let row = rows.iter().find(|row| row.id == *id);
            row.map(|row| row.title.clone())
        }),
    });
    Ok(Html(html))
}

/// A conversation that a page shows.
struct Open {
    row: ConversationRow,
    shown: Shown,
}

/// The turns of a conversation that a page shows.
#[derive(Default)]
struct Shown {
    turns: Vec<TurnRow>,
    earlier: String,
    later: String,
    through: Option<TurnId>,
    /// Newer turns of the branch are left out.
    is_cut: bool,
}

/// A short name of something that can be an element's id, and that nobody can read.
fn fingerprint(name: &str) -> String {
    let hash = format!("{:x}", Sha256::digest(name));
    hash.chars().take(16).collect()
}

fn mark(app: &App, caller: &Caller, row: &ConversationRow) -> Mark {
    let Some(turn) = &row.open_turn else {
        return Mark::None;
    };
    match app.turns.find(&caller.person.subject, turn) {
        Some(running) => running.live.look(|view| Mark::of(&view.transcript)),
        None => Mark::Running,
    }
}

/// All turns, rendered away from the threads that serve everybody: there can be many.
async fn turns_html(
    app: &App,
    turns: Vec<TurnRow>,
    servers: Vec<Known>,
) -> Result<String, Problem> {
    let rendering = app.context.tasks.spawn_blocking(move || {
        let turns = turns.into_iter();
        turns
            .map(|row| Painted::whole(row, &servers).html())
            .collect()
    });
    rendering.await.map_err(|error| Problem::internal(&error))
}

/// A place in a conversation, as its stream's ids name it.
fn position(turn: &TurnId, seq: u64) -> String {
    format!("{turn}.{seq}")
}

/// The HTML of a template. It is written to a string, which cannot fail.
fn render(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}

/// Text with the invisible characters spelled out that make other text look like something else
/// (Unicode TR 36, bidirectional overrides and isolates). In JSON it stays the same string.
fn visible(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            spelled.push_str("\\u");
            spelled.extend(c.escape_unicode().filter(char::is_ascii_hexdigit));
        } else {
            spelled.push(c);
        }
    }
    spelled
}

#[cfg(test)]
mod tests;
