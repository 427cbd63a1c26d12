//! A content block of a result as a file; of a link the file that it leads to, which is then read
//! from the server that gave the link.

use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use chat::{
    event::Target,
    failure::{Failure, Layer},
    ids::{CallId, ConversationId, TurnId},
};
use serde_json::Value;
use wire::mcp::{CallContext, ReadError, ReadRequest};

use super::{
    super::{problem, visible, wants_html, words::beginning},
    blocks::{self, LINE_CHARS},
    file::File,
    raw,
};
use crate::{
    app::{App, AppState},
    error::Problem,
    extract::Path,
    gate::{self, Caller},
    servers::Linked,
};

/// A content block, as its URL names it.
struct Place {
    turn: TurnId,
    call: CallId,
    /// Which of the result's, from 0.
    number: usize,
}

/// `GET /api/turns/{turn}/calls/{call}/content/{block}`: a content block as a file, counted from 0.
/// A browser that goes there is told in a page why there is none.
pub(crate) async fn content(
    State(app): State<AppState>,
    Path((turn, call, number)): Path<(TurnId, CallId, usize)>,
    caller: Caller,
    headers: HeaderMap,
) -> Response {
    let place = Place { turn, call, number };
    match answer(&app, &caller, &headers, place).await {
        Ok(response) => response,
        Err(failed) if wants_html(&headers) => problem(&failed),
        Err(failed) => failed.into_response(),
    }
}

async fn answer(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    place: Place,
) -> Result<Response, Problem> {
    let mut raw = raw(app, caller, &place.turn, place.call).await?;
    let blocks = raw.get_mut("content").and_then(Value::as_array_mut);
    let block = blocks.and_then(|blocks| blocks.get_mut(place.number));
    let block = block.ok_or_else(no_file)?.take();
    let Some(uri) = blocks::linked_uri(&block).map(str::to_owned) else {
        let made = made(app, move || {
            Some(File::of(&block, place.number)?.response())
        });
        return made.await?.ok_or_else(no_file);
    };
    // To read it makes the server do something, which no other site may bring about.
    if !gate::is_from_here(app, headers) {
        return Err(Problem::cross_site().advise("Open it from the result in Toolgate."));
    }
    read(app, caller, place, Link { block, uri }).await
}

/// A link in a result (MCP `ResourceLink`).
struct Link {
    block: Value,
    uri: String,
}

/// What the server that gave the link has for its URI.
async fn read(
    app: &App,
    caller: &Caller,
    Place { turn, call, number }: Place,
    Link { block, uri }: Link,
) -> Result<Response, Problem> {
    let subject = &caller.person.subject;
    let transcript = app.context.store.transcript(subject, &turn).await?;
    let transcript = transcript.unwrap_or_default();
    let target = transcript.call(call).and_then(|item| item.target.clone());
    let Target { server, .. } = target.ok_or_else(no_file)?;
    let conversation = transcript.started.and_then(|started| started.conversation);
    let linked = Linked {
        server: server.clone(),
        // That of the turn.
        scope: conversation.unwrap_or_else(|| ConversationId(turn.0.clone())),
        request: ReadRequest {
            uri,
            context: CallContext {
                turn: turn.clone(),
                call,
            },
            timeout: app.context.settings.call_timeout,
        },
    };
    let result = app.context.servers.read(&caller.session, linked).await;
    let failure = result.as_ref().err().map(ReadError::failure);
    tracing::info!(
        target: "toolgate::resource",
        %subject,
        %turn,
        %call,
        server,
        failure = failure.map(|failure| failure.message.as_str()),
        pomerium_request_id = failure.and_then(|failure| failure.request_id.as_deref()),
        "resource read"
    );
    let name = beginning(blocks::link_name(&block), LINE_CHARS);
    let unread = |error: &ReadError| Problem::unread(&name, &visible(&server), error);
    let contents = result.map_err(|error| unread(&error))?;
    let file = made(app, move || {
        Some(File::linked(&block, &contents, number)?.saved())
    });
    file.await?.ok_or_else(|| {
        let message = "it holds neither text nor valid base64";
        let failure = Failure::new(Layer::Server, message, "Ask whoever runs the server.");
        unread(&ReadError::Failed(failure))
    })
}

/// Makes an answer away from the threads that serve everybody: it can be of megabytes.
async fn made(
    app: &App,
    make: impl FnOnce() -> Option<Response> + Send + 'static,
) -> Result<Option<Response>, Problem> {
    let making = app.context.tasks.spawn_blocking(make);
    making.await.map_err(|error| Problem::internal(&error))
}

fn no_file() -> Problem {
    Problem::not_found("file")
}
