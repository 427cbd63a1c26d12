//! The HTTP+SSE transport of MCP 2024-11-05, which rmcp does not have: one stream for everything
//! the server says, and a URL, named by its first event, to post to.

use std::{future::Future, sync::Arc};

use futures_util::{StreamExt, stream::BoxStream};
use rmcp::{
    RoleClient,
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::{Transport, streamable_http_client::SseError},
};
use sse_stream::Sse;
use url::Url;

use super::{
    events::events,
    trouble::Trouble,
    wire::{Wire, WireError},
};

/// An open HTTP+SSE session.
pub(super) struct LegacySse {
    wire: Arc<Wire>,
    post_to: Url,
    events: BoxStream<'static, Result<Sse, SseError>>,
}

impl LegacySse {
    /// Opens the stream and waits for the URL to post to, which must be of the same origin:
    /// tokens go there.
    pub(super) async fn open(wire: &Arc<Wire>) -> Result<Self, Trouble> {
        let answer = wire.open_stream().await?;
        let mut events = events(wire, answer, None);
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| Trouble::protocol(error.to_string()))?;
            if event.event.as_deref() != Some("endpoint") {
                continue;
            }
            let base = &wire.link.server.url;
            let post_to = base.join(event.data.unwrap_or_default().trim());
            let post_to = post_to.ok().filter(|url| url.origin() == base.origin());
            let Some(post_to) = post_to else {
                let message = "the server names an endpoint that is not of its own origin";
                return Err(Trouble::protocol(message));
            };
            wire.mark_session();
            return Ok(Self {
                wire: wire.clone(),
                post_to,
                events,
            });
        }
        Err(Trouble::protocol(
            "the server's event stream ended without naming an endpoint",
        ))
    }
}

impl Transport<RoleClient> for LegacySse {
    type Error = WireError;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), WireError>> + Send + 'static {
        self.wire.clone().post_aside(self.post_to.clone(), message)
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let event = self.events.next().await?.ok()?;
            let Some(data) = event.data else { continue };
            match serde_json::from_str(&data) {
                Ok(message) => return Some(message),
                Err(error) => {
                    let server = &self.wire.link.server.name;
                    tracing::debug!(server, %error, "message not understood");
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), WireError> {
        self.events = futures_util::stream::empty().boxed();
        Ok(())
    }
}
