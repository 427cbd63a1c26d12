//! JSON for everything the pages do.

pub(crate) mod events;
pub(crate) mod servers;

use std::collections::HashMap;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chat::{
    event::Answer,
    ids::{CallId, ConversationId, QuestionId, TurnId},
    transcript::Transcript,
};
use serde::{Deserialize, Serialize};

use crate::{
    app::AppState,
    error::Problem,
    extract::{Body, Path, Query},
    gate::Caller,
    turns::{Post, Posted},
};

/// Conversations a list holds, the last used.
pub(crate) const CONVERSATIONS: u32 = 100;

/// Who the caller is, and how long their token has.
#[derive(Serialize)]
pub(crate) struct SessionBody {
    subject: String,
    name: String,
    email: Option<String>,
    /// Seconds that the newest token of the session has at most.
    token_seconds: Option<u64>,
}

/// `GET /api/session`. A 401 here, to a page whose stream ended, means: sign in again.
pub(crate) async fn session(State(app): State<AppState>, caller: Caller) -> Json<SessionBody> {
    // A session that needs no token has none that could run out.
    let token = caller.session.token();
    let age = token.and_then(|_| caller.session.age());
    Json(SessionBody {
        subject: caller.person.subject.0,
        name: caller.person.name,
        email: caller.person.email,
        token_seconds: age.map(|age| app.token_life.saturating_sub(age).as_secs()),
    })
}

/// A conversation in a list.
#[derive(Serialize)]
pub(crate) struct ConversationBody {
    id: ConversationId,
    title: String,
    created_at: i64,
    updated_at: i64,
    /// The turn that runs in it.
    running: Option<TurnId>,
}

impl From<store::ConversationRow> for ConversationBody {
    fn from(row: store::ConversationRow) -> Self {
        Self {
            id: row.id,
            title: row.title,
            created_at: row.created_at,
            updated_at: row.updated_at,
            running: row.open_turn,
        }
    }
}

/// `GET /api/conversations`: the caller's, those last used first.
pub(crate) async fn conversations(
    State(app): State<AppState>,
    caller: Caller,
) -> Result<Json<Vec<ConversationBody>>, Problem> {
    let store = &app.context.store;
    let rows = store
        .conversations(&caller.person.subject, None, CONVERSATIONS)
        .await?;
    Ok(Json(rows.into_iter().map(ConversationBody::from).collect()))
}

/// A conversation with its turns.
#[derive(Serialize)]
pub(crate) struct WholeConversation {
    #[serde(flatten)]
    conversation: ConversationBody,
    turns: Vec<TurnBody>,
}

/// A turn.
#[derive(Serialize)]
pub(crate) struct TurnBody {
    id: TurnId,
    transcript: Transcript,
}

/// `GET /api/conversations/{conversation}`: all of it, oldest turn first.
pub(crate) async fn conversation(
    State(app): State<AppState>,
    Path(id): Path<ConversationId>,
    caller: Caller,
) -> Result<Json<WholeConversation>, Problem> {
    let subject = &caller.person.subject;
    let row = app.context.store.conversation(subject, &id).await?;
    let row = row.ok_or_else(|| Problem::not_found("conversation"))?;
    let turns = app
        .context
        .store
        .turns(subject, &id)
        .await?
        .unwrap_or_default();
    Ok(Json(WholeConversation {
        conversation: row.into(),
        turns: turns
            .into_iter()
            .map(|row| TurnBody {
                id: row.turn,
                transcript: row.transcript,
            })
            .collect(),
    }))
}

/// A message to be posted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageBody {
    message_id: String,
    message: String,
    #[serde(default)]
    conversation: Option<ConversationId>,
}

/// `POST /api/messages`: begins a turn. The same `message_id` again finds the turn it began.
pub(crate) async fn post_message(
    State(app): State<AppState>,
    caller: Caller,
    Body(body): Body<MessageBody>,
) -> Result<(StatusCode, Json<Posted>), Problem> {
    let MessageBody {
        message_id,
        message,
        conversation,
    } = body;
    let post = Post {
        conversation,
        message_id,
        message,
    };
    let posted = app.turns.post(&caller.session, post).await?;
    Ok((StatusCode::ACCEPTED, Json(posted)))
}

/// `GET /api/turns/{turn}`: the turn as it is now.
pub(crate) async fn turn(
    State(app): State<AppState>,
    Path(id): Path<TurnId>,
    caller: Caller,
) -> Result<Json<TurnBody>, Problem> {
    let transcript = app
        .context
        .store
        .transcript(&caller.person.subject, &id)
        .await?;
    let transcript = transcript.ok_or_else(|| Problem::not_found("turn"))?;
    Ok(Json(TurnBody { id, transcript }))
}

/// `POST /api/turns/{turn}/cancel`: asks the turn to stop. The body is `{}`.
pub(crate) async fn cancel(
    State(app): State<AppState>,
    Path(id): Path<TurnId>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    running(&app, &caller, &id).await?.cancel().await?;
    Ok(StatusCode::ACCEPTED)
}

/// `POST /api/turns/{turn}/questions/{question}`: `{"kind": "approve"}`, or
/// `{"kind": "deny", "reason": "…"}`.
pub(crate) async fn answer(
    State(app): State<AppState>,
    Path((id, question)): Path<(TurnId, QuestionId)>,
    caller: Caller,
    Body(answer): Body<Answer>,
) -> Result<StatusCode, Problem> {
    let running = running(&app, &caller, &id).await?;
    running.answer(&caller.session, question, answer).await?;
    Ok(StatusCode::ACCEPTED)
}

/// `GET /api/turns/{turn}/calls/{call}/result`: the whole result, as its server gave it; with
/// `?download` as an attachment.
pub(crate) async fn call_result(
    State(app): State<AppState>,
    Path((id, call)): Path<(TurnId, CallId)>,
    Query(query): Query<HashMap<String, String>>,
    caller: Caller,
) -> Result<Response, Problem> {
    let finished = app
        .context
        .store
        .call_result(&caller.person.subject, &id, call)
        .await?;
    let finished = finished.ok_or_else(|| Problem::not_found("result"))?;
    let mut response = Json(finished.result.raw).into_response();
    if query.contains_key("download") {
        let name = format!("attachment; filename=\"result-{call}.json\"");
        if let Ok(value) = name.parse() {
            response.headers_mut().insert("content-disposition", value);
        }
    }
    Ok(response)
}

/// The answer to a method that a URL does not take.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}

/// The caller's running turn. One that has ended is a conflict, one that never was is not found.
async fn running(
    app: &AppState,
    caller: &Caller,
    id: &TurnId,
) -> Result<std::sync::Arc<crate::turns::Running>, Problem> {
    let subject = &caller.person.subject;
    if let Some(running) = app.turns.find(subject, id) {
        return Ok(running);
    }
    match app.context.store.transcript(subject, id).await? {
        Some(_) => Err(Problem::conflict("The answer is finished already.")),
        None => Err(Problem::not_found("turn")),
    }
}
