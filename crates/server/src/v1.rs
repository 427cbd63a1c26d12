//! OpenAI's API for programs: `/v1/chat/completions` and `/v1/models`.
//!
//! A request is a turn of the same engine that answers the page, and its rounds and calls are run
//! to their end before the answer is: a program sees text, never a call. The connection that asks
//! owns the turn: when it goes away, the turn is cancelled. Nothing here waits for a person.
//!
//! One way of going away is not noticed: over HTTP/1.1, that of a caller who waits for a whole answer
//! and has sent more than their request, if only a byte of the next one (pipelining). The end of the
//! connection stands behind those bytes, and they are not read before the answer is sent. Such a
//! turn ends by its own limits. No client library pipelines; a stream notices when it is written to.

mod intake;
mod request;

mod answer;
mod said;
mod stream;

mod models;

use std::{any::Any, io::Error};

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use chat::event::Event;

use self::{
    answer::{Outcome, outcome},
    intake::Received,
    request::ChatRequest,
    stream::Chunks,
};
use crate::{
    app::{App, AppState},
    error::{Problem, TURN_HEADER},
    gate::Caller,
    turns::OwnedTurn,
};

pub(crate) use intake::Intake;
pub(crate) use models::{model, models};

/// Tells the official SDKs whether they may send a request again by themselves.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// What a program that is refused for now should wait, seconds: a turn takes about as long.
const RETRY_AFTER: u64 = 5;

/// `POST /v1/chat/completions`.
pub(crate) async fn chat_completions(
    State(app): State<AppState>,
    caller: Caller,
    Extension(intake): Extension<Intake>,
    request: Request,
) -> Response {
    let completed = complete(&app, &caller, &intake, request).await;
    completed.unwrap_or_else(|problem| refused(&problem))
}

/// A path under `/v1` that there is not.
pub(crate) async fn not_found() -> Response {
    let problem = Problem::not_found(
        "address under /v1; there are /v1/chat/completions, /v1/models and /v1/models/{model}",
    )
    .advise("");
    refused(&problem)
}

/// A method that an address under `/v1` does not take.
pub(crate) async fn method_not_allowed() -> Response {
    refused(&Problem::method_not_allowed())
}

/// What is answered in place of a handler that panicked.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    refused(&Problem::internal(&Error::other(
        "a handler of /v1 panicked",
    )))
}

async fn complete(
    app: &App,
    caller: &Caller,
    intake: &Intake,
    request: Request,
) -> Result<Response, Problem> {
    // Before it is read: what cannot be answered now need not be held.
    let subject = &caller.session.subject;
    let (admitted, place) = match (app.turns.room_for(subject), intake.place(subject)) {
        (Ok(()), Ok(place)) => (Ok(()), Some(place)),
        (Err(problem), _) | (Ok(()), Err(problem)) => (Err(problem), None),
    };
    let Received { bytes, room } = intake.read(request.into_body(), admitted).await?;
    let ChatRequest { post, streaming } = request::parsed(bytes, &app.context.tasks).await?;
    let turn = app.turns.post_api(&caller.session, post).await?;
    drop((room, place));
    let id = turn.running.turn.clone();
    let answered = match streaming {
        Some(options) => match Chunks::begin(turn, options).await {
            Ok(chunks) => Ok(chunks.into_response()),
            Err(turn) => whole(app, &turn).await,
        },
        None => whole(app, &turn).await,
    };
    let mut response = answered?;
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(TURN_HEADER, id);
    }
    Ok(response)
}

/// Waits for the end of the turn; the answer is all that was said in it.
async fn whole(app: &App, turn: &OwnedTurn) -> Result<Response, Problem> {
    turn.running.live.ended().await;
    let (outcome, ran) = turn.running.live.look(|view| {
        let ran = view
            .transcript
            .calls()
            .any(|call| call.started_at.is_some());
        (outcome(turn, view), ran)
    });
    let problem = match outcome {
        Outcome::Answered(completion) => return Ok(Json(completion).into_response()),
        Outcome::Failed(problem) => problem,
    };
    let mut response = refused(&problem);
    if problem.status == 429
        && let Some(wait) = asked_wait(app, turn).await
    {
        let seconds = wait.div_ceil(1000);
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    if ran {
        // What was called has had its effect: a second turn would have it again.
        let no = HeaderValue::from_static("false");
        response.headers_mut().insert(SHOULD_RETRY, no);
    }
    Ok(response)
}

/// How long the model endpoint asked to wait the last time it refused a round, milliseconds.
async fn asked_wait(app: &App, turn: &OwnedTurn) -> Option<u64> {
    let running = &turn.running;
    let log = app.context.store.log(&running.subject, &running.turn, 0);
    let log = log.await.ok()??;
    log.iter().rev().find_map(|logged| {
        if let Event::RoundRetrying { failure, .. } = &logged.event {
            failure.retry.asked_wait()
        } else {
            None
        }
    })
}

/// The problem in OpenAI's shape, with what an SDK goes by.
fn refused(problem: &Problem) -> Response {
    let mut response = problem.openai();
    if matches!(problem.status.as_u16(), 429 | 503) {
        let headers = response.headers_mut();
        headers
            .entry(header::RETRY_AFTER)
            .or_insert(RETRY_AFTER.into());
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use tower::ServiceExt as _;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    #[tokio::test]
    async fn also_a_panic_is_told_in_openai_s_shape() {
        let broken = get(|| async { panic!("broken") as &'static str });
        let router = Router::new().route("/", broken);
        let router = router.layer(CatchPanicLayer::custom(panicked));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), 500);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await;
        let body: serde_json::Value = serde_json::from_slice(&body.unwrap()).unwrap();
        assert_eq!(body["error"]["type"], "server_error");
        assert!(!body.to_string().contains("broken"), "{body}");
    }
}
