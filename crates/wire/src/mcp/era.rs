//! How to reach a server: the protocol's eras, tried in turn.
//!
//! MCP 2026-07-28 has no handshake, the versions before it begin with `initialize`, the first had
//! another transport. The specification ("Backward compatibility") says to try in this order.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use rmcp::{
    model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion},
    service::{
        ClientCacheConfig, ClientInitializeError, ClientLifecycleMode, ClientServiceExt,
        RunningService,
    },
    transport::{
        common::client_side_sse::ExponentialBackoff,
        streamable_http_client::{
            StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
        },
    },
};

use super::{
    Link,
    client::Client,
    legacy::LegacySse,
    session::{ListensFor, Session},
    trouble::{Kind, Trouble},
    wire::Wire,
};

/// How long a server may think about `server/discover`: old ones can hang on what they do not
/// know, and then there must be time for the handshake.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a standing stream is opened again in a row.
const STREAM_RETRIES: usize = 10;

/// The longest wait before it is.
const STREAM_RETRY_DELAY: Duration = Duration::from_secs(30);

/// How a server was last reached, by its URL: so that the next connection need not try.
#[derive(Clone, Debug, Default)]
pub struct EraMemory(Arc<DashMap<String, Era>>);

#[cfg(test)]
impl EraMemory {
    pub(super) fn remember_handshake(&self, url: &url::Url) {
        self.0.insert(url.as_str().to_owned(), Era::Handshake);
    }
}

/// An era of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Era {
    /// 2026-07-28: no handshake, no session.
    Modern,
    /// 2025-03-26 to 2025-11-25: `initialize` over streamable HTTP.
    Handshake,
    /// 2024-11-05: HTTP+SSE.
    LegacySse,
}

/// Reaches the server, in the era that worked last time or in the first that works.
pub(super) async fn establish(link: &Arc<Link>, memory: &EraMemory) -> Result<Session, Trouble> {
    let url = link.server.url.as_str();
    let remembered = memory.0.get(url).map(|era| *era);
    if let Some(era) = remembered {
        match attempt(link, era).await {
            Err(trouble) if !is_final(&trouble) => memory.0.remove(url),
            done => return done,
        };
    }
    let mut last = None;
    for era in [Era::Modern, Era::Handshake, Era::LegacySse] {
        if era == Era::LegacySse && !last.as_ref().is_some_and(may_be_sse) {
            break;
        }
        match attempt(link, era).await {
            Ok(session) => {
                memory.0.insert(url.to_owned(), era);
                return Ok(session);
            }
            Err(trouble) if is_final(&trouble) => return Err(trouble),
            // What the handshake met says more than that there is no event stream either.
            Err(trouble) if era == Era::LegacySse => {
                tracing::debug!(url, failure = trouble.failure.message, "no HTTP+SSE either");
            }
            Err(trouble) => last = Some(trouble),
        }
    }
    Err(last.unwrap_or_else(|| Trouble::protocol("the server speaks no MCP")))
}

/// Whether no other era could change it.
fn is_final(trouble: &Trouble) -> bool {
    match trouble.kind {
        Kind::StaleToken | Kind::NeedsConnect | Kind::Denied | Kind::Unreachable => true,
        Kind::TooLarge
        | Kind::SessionGone
        | Kind::HeaderMismatch
        | Kind::NoEndpoint
        | Kind::Lost
        | Kind::Protocol
        | Kind::Limit => false,
    }
}

/// URLs of HTTP+SSE servers answer a POST with 404 or 405.
fn may_be_sse(trouble: &Trouble) -> bool {
    trouble.kind == Kind::NoEndpoint
}

async fn attempt(link: &Arc<Link>, era: Era) -> Result<Session, Trouble> {
    let wire = Wire::new(link.clone());
    // Ends what is in flight when the attempt is given up.
    let guard = wire.ended.clone().drop_guard();
    let started = match era {
        Era::Modern => {
            let versions = vec![ProtocolVersion::V_2026_07_28];
            let lifecycle = ClientLifecycleMode::Discover {
                preferred_versions: versions,
            };
            let serving = config().serve_with_lifecycle(streamable(&wire), lifecycle);
            let discovered = tokio::time::timeout(DISCOVER_TIMEOUT, serving).await;
            discovered.map_err(|_| Trouble::lost("no answer to server/discover"))?
        }
        Era::Handshake => {
            let lifecycle = ClientLifecycleMode::Initialize;
            config()
                .serve_with_lifecycle(streamable(&wire), lifecycle)
                .await
        }
        Era::LegacySse => {
            let transport = LegacySse::open(&wire).await?;
            config()
                .serve_with_lifecycle(transport, ClientLifecycleMode::Initialize)
                .await
        }
    };
    let service: RunningService<_, _> = started.map_err(|error| trouble_of(&wire, &error))?;
    service
        .peer()
        .set_response_cache_config(ClientCacheConfig::disabled())
        .await;
    let listens_for = match era {
        Era::Modern => ListensFor::Subscription,
        Era::Handshake | Era::LegacySse => ListensFor::Notification,
    };
    Ok(Session::new(service, wire, guard, listens_for))
}

/// Why the connection did not come about: what the wire met, else what rmcp says.
fn trouble_of(wire: &Wire, error: &ClientInitializeError) -> Trouble {
    wire.take_trouble().unwrap_or_else(|| {
        Trouble::protocol(format!("the server does not begin as MCP does: {error}"))
    })
}

fn config() -> ClientConfig {
    let this = Implementation::new("toolgate", env!("CARGO_PKG_VERSION"));
    let mut config = ClientConfig::new(ClientCapabilities::default(), this);
    // rmcp's default is a version that knows no `initialize`.
    config.protocol_version = ProtocolVersion::V_2025_11_25;
    config
}

fn streamable(wire: &Arc<Wire>) -> StreamableHttpClientTransport<Client> {
    let mut retry = ExponentialBackoff::default();
    retry.max_times = Some(STREAM_RETRIES);
    retry.max_delay = Some(STREAM_RETRY_DELAY);
    let url = wire.link.server.url.as_str();
    let mut config = StreamableHttpClientTransportConfig::with_uri(url)
        // It would send a tool call again by itself.
        .reinit_on_expired_session(false);
    config.retry_config = Arc::new(retry);
    StreamableHttpClientTransport::with_client(Client(wire.clone()), config)
}
