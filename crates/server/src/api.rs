//! JSON for everything the pages do.

pub(crate) mod conversations;
pub(crate) mod events;
pub(crate) mod openapi;
pub(crate) mod servers;
pub(crate) mod traffic;

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
    selection::Selection,
    transcript::Transcript,
};
use serde::{Deserialize, Serialize};

pub(crate) use conversations::CONVERSATIONS;

use crate::{
    app::AppState,
    error::Problem,
    extract::{Body, Path, Query},
    gate::Caller,
    turns::{Choices, Place, Post, Posted},
};

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

/// A turn.
#[derive(Serialize)]
pub(crate) struct TurnBody {
    id: TurnId,
    transcript: Transcript,
}

/// A message to be posted:
/// `{"message_id": "0199…", "message": "What were our sales?", "conversation": "0199…"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageBody {
    /// Made by the caller, unique per user, 1 to 64 ASCII characters: posting it twice is harmless.
    message_id: String,
    /// At most `limits::MESSAGE_BYTES`.
    message: String,
    /// Where it goes; a new conversation if absent.
    #[serde(default)]
    conversation: Option<ConversationId>,
    /// The turn whose place it takes: it follows the same one, and that branch stays. To edit a
    /// question, to ask it again.
    #[serde(default)]
    edits: Option<TurnId>,
    /// The turn it follows, if that is not the newest. Not with `edits`.
    #[serde(default)]
    after: Option<TurnId>,
    /// The model that is to answer, of `GET /api/models`. If absent that of the turn it follows, or
    /// the default.
    #[serde(default)]
    model: Option<String>,
    /// What is switched off; only for a new conversation.
    #[serde(default)]
    off: Option<Selection>,
}

/// `POST /api/messages`: begins a turn: 202 `{"conversation": "0199…", "turn": "0199…"}`. The same
/// `message_id` again finds the turn it began; with another message it is a conflict.
pub(crate) async fn post_message(
    State(app): State<AppState>,
    caller: Caller,
    Body(body): Body<MessageBody>,
) -> Result<(StatusCode, Json<Posted>), Problem> {
    let posted = app.turns.post(&caller.session, body.read()?).await?;
    Ok((StatusCode::ACCEPTED, Json(posted)))
}

impl MessageBody {
    /// Refuses what does not go together.
    fn read(self) -> Result<Post, Problem> {
        let nowhere = |param| {
            let message = format!("`{param}` names a turn of a conversation, and there is none.");
            Err(Problem::bad_request(message).of_param(param))
        };
        let place = match (self.edits, self.after, &self.conversation) {
            (None, None, _) => Place::Newest,
            (Some(_), Some(_), _) => {
                let message = "A message has `edits` or `after`, not both.";
                return Err(Problem::bad_request(message).of_param("after"));
            }
            (Some(_), None, None) => return nowhere("edits"),
            (None, Some(_), None) => return nowhere("after"),
            (Some(edited), None, Some(_)) => Place::InsteadOf(edited),
            (None, Some(after), Some(_)) => Place::After(after),
        };
        if self.off.is_some() && self.conversation.is_some() {
            let message = "`off` is for a new conversation; change the one there is.";
            return Err(Problem::bad_request(message).of_param("off"));
        }
        Ok(Post {
            conversation: self.conversation,
            message_id: self.message_id,
            message: self.message,
            place,
            model: self.model,
            off: self.off.unwrap_or_default(),
        })
    }
}

/// `GET /api/models`: `{"models": ["gpt-4.1", "gpt-4.1-mini"], "default": "gpt-4.1"}`.
pub(crate) async fn models(State(app): State<AppState>) -> Result<Json<Choices>, Problem> {
    Ok(Json(app.turns.choices().await?))
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
