//! Conversations: listed, searched, read, renamed, their tools switched off and on, deleted,
//! restored.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chat::{
    ids::{ConversationId, TurnId},
    limits::TITLE_CHARS,
    selection::Selection,
    transcript::Transcript,
};
use serde::{Deserialize, Serialize};
use store::{ConversationChange, ConversationRow, Cursor, PATH_TURNS, Window};
use url::form_urlencoded;

use crate::{
    app::AppState,
    error::Problem,
    extract::{Body, Path, Query},
    gate::Caller,
    turns::selection_refused,
};

/// Conversations a list holds, at most, and if nobody says how many.
pub(crate) const CONVERSATIONS: u32 = 100;

/// Characters that can be searched for: as many as a title has.
const SEARCH_CHARS: usize = TITLE_CHARS;

/// A conversation.
///
/// `{"id": "0199…", "title": "Sales by year", "created_at": 1760000000000,
/// "updated_at": 1760000060000, "running": null}`, and but for lists
/// `"off": {"servers": [], "tools": []}`. Times are milliseconds since 1970.
#[derive(Serialize)]
pub(crate) struct ConversationBody {
    id: ConversationId,
    title: String,
    created_at: i64,
    updated_at: i64,
    /// The turn that runs in it.
    running: Option<TurnId>,
    /// What is switched off in it; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    off: Option<Selection>,
}

impl ConversationBody {
    /// As a list has it.
    fn listed(row: ConversationRow) -> Self {
        Self {
            off: None,
            ..row.into()
        }
    }
}

impl From<ConversationRow> for ConversationBody {
    fn from(row: ConversationRow) -> Self {
        Self {
            id: row.id,
            title: row.title,
            created_at: row.created_at,
            updated_at: row.updated_at,
            running: row.open_turn,
            off: Some(row.off),
        }
    }
}

/// Which conversations are wanted.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    /// Those whose title holds this, whatever the case of its letters; all if empty.
    #[serde(default)]
    search: String,
    /// Those after this place: what the `Link` of the page before says.
    before: Option<String>,
    /// So many at most; 100 if absent or more.
    limit: Option<u32>,
}

/// `GET /api/conversations?search=&before=&limit=`: the caller's, those last used first. If there
/// are more, the header `Link` leads to them: `</api/conversations?before=…>; rel="next"`
/// (RFC 8288).
pub(crate) async fn list(
    State(app): State<AppState>,
    Query(wanted): Query<Wanted>,
    caller: Caller,
) -> Result<Response, Problem> {
    let search = wanted.search.trim();
    if search.chars().count() > SEARCH_CHARS {
        let message = format!("`search` has at most {SEARCH_CHARS} characters.");
        return Err(Problem::bad_request(message).of_param("search"));
    }
    let before = wanted.before.as_deref().map(cursor).transpose()?;
    let limit = wanted.limit.unwrap_or(CONVERSATIONS);
    let limit = limit.clamp(1, CONVERSATIONS);
    let (subject, store) = (&caller.person.subject, &app.context.store);
    // One more shows whether there are more.
    let found = store.search(subject, search, before.as_ref(), limit + 1);
    let mut rows = found.await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|last| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("before", &cursor_text(&last.cursor()));
        query.append_pair("limit", &limit.to_string());
        if !search.is_empty() {
            query.append_pair("search", search);
        }
        format!("</api/conversations?{}>; rel=\"next\"", query.finish())
    });
    let bodies: Vec<_> = rows.into_iter().map(ConversationBody::listed).collect();
    let mut response = Json(bodies).into_response();
    if let Some(Ok(next)) = next.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::LINK, next);
    }
    Ok(response)
}

/// A place in the list as a URL has it.
fn cursor_text(cursor: &Cursor) -> String {
    format!("{}.{}", cursor.updated_at, cursor.id)
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    let parts = text.split_once('.');
    let place = parts.and_then(|(at, id)| {
        Some(Cursor {
            updated_at: at.parse().ok()?,
            id: id.into(),
        })
    });
    place
        .ok_or_else(|| Problem::bad_request("`before` is no place in the list.").of_param("before"))
}

/// A conversation with its turns: the members of a [`ConversationBody`], and `turns`.
#[derive(Serialize)]
pub(crate) struct WholeConversation {
    #[serde(flatten)]
    conversation: ConversationBody,
    turns: Vec<BranchTurn>,
}

/// A turn of a branch: `{"id": "…", "parent": "…", "siblings": ["…"], "transcript": {…}}`.
#[derive(Serialize)]
pub(crate) struct BranchTurn {
    id: TurnId,
    /// The turn it follows.
    parent: Option<TurnId>,
    /// All turns that follow that one, this one among them, oldest first.
    siblings: Vec<TurnId>,
    transcript: Transcript,
}

/// Which branch is wanted.
#[derive(Deserialize)]
pub(crate) struct Branch {
    /// The newest that goes through this turn; the newest of all if absent.
    turn: Option<TurnId>,
}

/// `GET /api/conversations/{conversation}?turn=`: a branch of it, oldest turn first.
pub(crate) async fn whole(
    State(app): State<AppState>,
    Path(id): Path<ConversationId>,
    Query(branch): Query<Branch>,
    caller: Caller,
) -> Result<Json<WholeConversation>, Problem> {
    let (subject, store) = (&caller.person.subject, &app.context.store);
    let row = store.conversation(subject, &id).await?;
    let row = row.ok_or_else(|| Problem::not_found("conversation"))?;
    let window = branch.turn.as_ref().map_or(Window::Newest, Window::Through);
    let branch = store.branch(subject, &id, window, PATH_TURNS).await?;
    let branch = branch.ok_or_else(|| Problem::not_found("turn"))?;
    let turns = branch.turns.into_iter().map(|row| BranchTurn {
        id: row.turn,
        parent: row.parent,
        siblings: row.siblings,
        transcript: row.transcript,
    });
    Ok(Json(WholeConversation {
        conversation: row.into(),
        turns: turns.collect(),
    }))
}

/// What is to become different: `{"title": "…"}`, `{"off": {…}}`, or both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// 1 to 200 characters, without white space around it.
    #[serde(default)]
    title: Option<String>,
    /// All that is to be off: what it does not name is on.
    #[serde(default)]
    off: Option<Selection>,
}

/// `PATCH /api/conversations/{conversation}`: its title, what is switched off in it. The list's
/// order stays. What is switched off counts from the next round of the turn that runs.
pub(crate) async fn change(
    State(app): State<AppState>,
    Path(id): Path<ConversationId>,
    caller: Caller,
    Body(body): Body<ChangeBody>,
) -> Result<Json<ConversationBody>, Problem> {
    let title = body.title.as_deref().map(title).transpose()?;
    let off = body.off;
    if let Some(off) = &off {
        off.check().map_err(selection_refused)?;
    }
    let change = ConversationChange { title, off };
    let row = app.turns.change(&caller.person.subject, &id, change);
    Ok(Json(row.await?.into()))
}

/// `DELETE /api/conversations/{conversation}`: it is gone at once from every list and URL, and the
/// turn that runs in it is stopped. For an hour it can be restored; then it is removed for good.
pub(crate) async fn delete(
    State(app): State<AppState>,
    Path(id): Path<ConversationId>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    app.turns.delete(&caller.person.subject, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/conversations/{conversation}/restore`: undoes the deletion. The body is `{}`.
pub(crate) async fn restore(
    State(app): State<AppState>,
    Path(id): Path<ConversationId>,
    caller: Caller,
) -> Result<Json<ConversationBody>, Problem> {
    let row = app.turns.restore(&caller.person.subject, &id).await?;
    Ok(Json(row.into()))
}

/// A title as it is kept: one line, without control characters.
fn title(given: &str) -> Result<String, Problem> {
    let words = given.split_whitespace();
    let words: Vec<String> = words
        .map(|word| word.chars().filter(|c| !c.is_control()).collect())
        .collect();
    let title = words.join(" ");
    let title = title.trim();
    if title.chars().all(shows_nothing) || title.chars().count() > TITLE_CHARS {
        let message = format!("A title has 1 to {TITLE_CHARS} characters, some of them visible.");
        return Err(Problem::bad_request(message)
            .of_param("title")
            .advise("Choose another title."));
    }
    Ok(title.to_owned())
}

/// Whether a character leaves no mark: white space, and what fonts are told to draw as nothing
/// (Unicode's `Default_Ignorable_Code_Point`, and the blank pattern of Braille).
fn shows_nothing(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_of_bounded_length() {
        let long = "x".repeat(TITLE_CHARS + 1);
        for wrong in [
            "",
            " \n\t",
            "\u{0}\u{7}",
            "\u{200b} \u{2060}\u{3164}",
            &long,
        ] {
            assert_eq!(title(wrong).unwrap_err().param, Some("title"), "{wrong:?}");
        }
        for (given, kept) in [
            (" Sales\n by\tyear ", "Sales by year"),
            ("a\u{0}b \u{1b} c", "ab  c"),
            // Invisible ones have their uses between others: families, Persian.
            ("👩\u{200d}👧 \u{202b}x", "👩\u{200d}👧 \u{202b}x"),
        ] {
            assert_eq!(title(given).unwrap(), kept);
        }
        let longest = "ü".repeat(TITLE_CHARS);
        assert_eq!(title(&longest).unwrap(), longest);
    }

    #[test]
    fn a_place_in_the_list_is_read_as_it_was_written() {
        let place = Cursor {
            updated_at: 1_760_000_000_000,
            id: "0199-a.b".into(),
        };
        assert_eq!(cursor(&cursor_text(&place)).unwrap(), place);
        for wrong in ["", "1", "x.c", "1e3.c", "99999999999999999999.c"] {
            assert_eq!(cursor(wrong).unwrap_err().param, Some("before"), "{wrong}");
        }
    }
}
