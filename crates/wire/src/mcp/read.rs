//! One resource, read from the server that a link of its leads to (MCP `resources/read`).
//!
//! To read changes nothing: a read is made again where that helps, and whoever stops waiting for it
//! has stopped it.

use std::{sync::Arc, time::Duration};

use chat::failure::{Failure, Layer};
use rmcp::{RoleClient, model::RequestId, service::RequestHandle};
use serde_json::Value;
use thiserror::Error;

use super::{
    CallContext, ConnectError, Shared,
    ending::{gone, is_complete},
    inbox::{Cut, Purpose, Reply, Sending, Slot},
    session::{self, METHOD_NOT_FOUND, Session},
    trouble::{ASK_SERVER, INVALID_PARAMS, Kind, Trouble},
};

/// Bytes of a URI: longer than what browsers and servers take of one. From 2026-07-28 on it is a
/// header of the request too.
const URI_BYTES: usize = 8 * 1024;

/// JSON-RPC, up to MCP 2025-11-25: there is no such resource. Later it is [`INVALID_PARAMS`].
const RESOURCE_NOT_FOUND: i64 = -32002;

const NEW_LINK: &str = "It may be gone by now: have the tool called again, for a new link.";

/// A resource to be read.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// Its URI, exactly as the server's link has it.
    pub uri: String,
    /// The call whose result has the link.
    pub context: CallContext,
    /// The longest time in all.
    pub timeout: Duration,
}

/// Why a resource cannot be had.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ReadError {
    /// Pomerium does not take the token: a newer one may work.
    #[error("{}", .0.message)]
    StaleToken(Failure),
    /// The user has to connect an account first.
    #[error("{}", .0.message)]
    NeedsConnect(Failure),
    /// Pomerium's policy refuses the user.
    #[error("{}", .0.message)]
    Forbidden(Failure),
    /// The server does not know the resource, or offers none at all.
    #[error("{}", .0.message)]
    NotFound(Failure),
    /// The server cannot be reached, or what it answers is of no use.
    #[error("{}", .0.message)]
    Failed(Failure),
}

impl ReadError {
    /// What a person is told.
    pub fn failure(&self) -> &Failure {
        match self {
            Self::StaleToken(failure)
            | Self::NeedsConnect(failure)
            | Self::Forbidden(failure)
            | Self::NotFound(failure)
            | Self::Failed(failure) => failure,
        }
    }
}

impl From<ConnectError> for ReadError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::StaleToken(failure) => Self::StaleToken(failure),
            ConnectError::NeedsConnect(failure) => Self::NeedsConnect(failure),
            ConnectError::Forbidden(failure) => Self::Forbidden(failure),
            ConnectError::Unavailable(failure) => Self::Failed(failure),
        }
    }
}

impl From<Trouble> for ReadError {
    fn from(trouble: Trouble) -> Self {
        let Trouble { kind, failure } = trouble.of_a_read();
        match kind {
            Kind::StaleToken => Self::StaleToken(failure),
            Kind::NeedsConnect => Self::NeedsConnect(failure),
            Kind::Denied => Self::Forbidden(failure),
            // There is no filter that would make it smaller.
            Kind::Limit => Self::Failed(Failure {
                advice: ASK_SERVER.to_owned(),
                ..failure
            }),
            Kind::TooLarge
            | Kind::SessionGone
            | Kind::HeaderMismatch
            | Kind::Unreachable
            | Kind::NoEndpoint
            | Kind::Lost
            | Kind::Protocol => Self::Failed(failure),
        }
    }
}

/// Reads a resource; dropping the future cancels that at the server.
pub(super) async fn read(shared: &Arc<Shared>, request: ReadRequest) -> Result<Value, ReadError> {
    let length = request.uri.len();
    if length > URI_BYTES {
        let message = format!("its address has {length} bytes, more than {URI_BYTES}");
        let failure = Failure::new(Layer::Server, message, ASK_SERVER);
        return Err(ReadError::Failed(failure));
    }
    let asking = tokio::time::timeout(request.timeout, ask(shared, &request));
    match asking.await {
        Ok(Ok(reply)) => content(reply, &request.uri),
        Ok(Err(trouble)) => Err(trouble.into()),
        Err(_) => {
            let seconds = request.timeout.as_secs_f64();
            Err(Trouble::lost(format!("no answer within {seconds} s")).into())
        }
    }
}

/// What the server replies, in a session that it knows.
async fn ask(shared: &Arc<Shared>, request: &ReadRequest) -> Result<Reply, Trouble> {
    if shared.closed.is_cancelled() {
        return Err(gone());
    }
    let session = shared.live_session().await?;
    match ask_in(shared, &session, request).await {
        Err(trouble) if trouble.kind == Kind::SessionGone && !shared.closed.is_cancelled() => {
            let session = shared.replace(&session).await?;
            ask_in(shared, &session, request).await
        }
        replied => replied,
    }
}

async fn ask_in(
    shared: &Shared,
    session: &Arc<Session>,
    request: &ReadRequest,
) -> Result<Reply, Trouble> {
    if !session.offers_resources() {
        return Ok(no_such_method());
    }
    let slot = Slot::new(Purpose::Read(request.context.clone()));
    let handle = session.read(request.uri.clone(), &slot).await;
    let Ok(mut handle) = handle else {
        // rmcp's queue is closed: the request went nowhere.
        return Err(gone());
    };
    let mut sent = Sent {
        shared,
        session,
        slot: &slot,
        id: Some(handle.id.clone()),
    };
    let reply = reply(shared, &slot, &mut handle).await;
    sent.id = None;
    match reply {
        Ok(Reply::Trouble(trouble)) => Err(trouble),
        replied => replied,
    }
}

async fn reply(
    shared: &Shared,
    slot: &Slot,
    handle: &mut RequestHandle<RoleClient>,
) -> Result<Reply, Trouble> {
    loop {
        let resolved = tokio::select! {
            biased;
            () = slot.changed() => None,
            () = shared.closed.cancelled() => {
                return Err(Trouble::lost("the connection was closed meanwhile"));
            }
            resolved = &mut handle.rx => Some(resolved),
        };
        let known = slot.take();
        if let Some(reply) = known.reply {
            return Ok(reply);
        }
        let Some(resolved) = resolved else { continue };
        if slot.withdraw() == Sending::Never {
            return Err(gone());
        }
        let lost = session::lost(resolved.ok().and_then(Result::err).as_ref());
        return Err(match known.cut {
            Some(Cut) => lost.cut_by_route(),
            None => lost,
        });
    }
}

/// A request at the server. Dropped before it has its end, it is cancelled there.
struct Sent<'a> {
    shared: &'a Shared,
    session: &'a Arc<Session>,
    slot: &'a Slot,
    id: Option<RequestId>,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.session.wire.inbox.forget(self.slot);
        let Some(id) = self.id.take() else { return };
        self.slot.withdraw();
        let session = Arc::clone(self.session);
        // It takes 2 s at most.
        self.shared.link.tasks.spawn(async move {
            session.cancel(id, "nobody waits for it any more").await;
        });
    }
}

/// What the reply holds for the URI.
fn content(reply: Reply, uri: &str) -> Result<Value, ReadError> {
    match reply {
        Reply::Result(result) => of_result(result, uri),
        Reply::Trouble(trouble) => Err(trouble.into()),
        Reply::Error {
            code: METHOD_NOT_FOUND,
            ..
        } => {
            let message = "the server does not offer what its links lead to";
            let failure = Failure::new(Layer::Server, message, ASK_SERVER);
            Err(ReadError::NotFound(failure))
        }
        Reply::Error {
            code: RESOURCE_NOT_FOUND | INVALID_PARAMS,
            message,
        } => {
            let message = format!("the server does not know it: {message}");
            let failure = Failure::new(Layer::Server, message, NEW_LINK);
            Err(ReadError::NotFound(failure))
        }
        Reply::Error { code, message } => {
            let message = format!("JSON-RPC error {code}: {message}");
            let failure = Failure::new(Layer::Server, message, "Try again.");
            Err(ReadError::Failed(failure))
        }
    }
}

/// The one of the contents that has the URI, else the first: a server may answer with more than
/// what was asked for, a directory's files for example.
fn of_result(mut result: Value, uri: &str) -> Result<Value, ReadError> {
    if !is_complete(&result) {
        let message = "the server asks for something that Toolgate cannot give yet";
        let failure = Failure::new(Layer::Server, message, ASK_SERVER);
        return Err(ReadError::Failed(failure));
    }
    let contents = result.get_mut("contents").and_then(Value::as_array_mut);
    let Some(contents) = contents.filter(|contents| !contents.is_empty()) else {
        return Err(Trouble::protocol("the server's answer has no contents").into());
    };
    let has_uri = |content: &Value| content.get("uri").and_then(Value::as_str) == Some(uri);
    let place = contents.iter().position(has_uri);
    Ok(contents.swap_remove(place.unwrap_or_default()))
}

fn no_such_method() -> Reply {
    Reply::Error {
        code: METHOD_NOT_FOUND,
        message: String::new(),
    }
}
