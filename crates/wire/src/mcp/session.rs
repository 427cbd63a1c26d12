//! One MCP session, or one connection to a server that has none.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chat::tool::{BrokenTool, Catalog};
use rmcp::{
    Peer, RoleClient,
    model::{
        CallToolRequest, CallToolRequestParams, CancelledNotificationParam, ClientConfig,
        ClientRequest, JsonObject, ListToolsRequest, PaginatedRequestParams, ReadResourceRequest,
        ReadResourceRequestParams, RequestId, ServerResult, SubscriptionFilter,
    },
    service::{PeerRequestOptions, RequestHandle, RunningService, ServiceError},
};
use tokio_util::sync::DropGuard;

use super::{
    catalog::{self, BAD_HEADERS, Page},
    inbox::{Purpose, Reply, Slot},
    trouble::{Kind, Trouble},
    wire::Wire,
};

/// Pages of a list: a server that has more has lost count.
const PAGES: usize = 64;

/// Tools of a server: far more than any model can be offered.
const TOOLS: usize = 4096;

/// How long the end of a session may take, its DELETE included.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the word of a cancel may take to leave.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// The first wait before a subscription is tried again; doubled each time.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(5);

/// How often a subscription is tried again in a row.
const RESUBSCRIPTIONS: u32 = 6;

/// JSON-RPC: there is no such method.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;

/// How a server tells that its tools changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListensFor {
    /// By a notification on any stream.
    Notification,
    /// Through `subscriptions/listen` (2026-07-28).
    Subscription,
}

/// A live session. Dropping it ends it too, later and without waiting.
pub(super) struct Session {
    peer: Peer<RoleClient>,
    pub(super) wire: Arc<Wire>,
    service: Mutex<Option<RunningService<RoleClient, ClientConfig>>>,
    listens_for: ListensFor,
    _ended: DropGuard,
}

impl Session {
    pub(super) fn new(
        service: RunningService<RoleClient, ClientConfig>,
        wire: Arc<Wire>,
        ended: DropGuard,
        listens_for: ListensFor,
    ) -> Self {
        let peer = service.peer().clone();
        Self {
            peer,
            wire,
            service: Mutex::new(Some(service)),
            listens_for,
            _ended: ended,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.peer.is_transport_closed()
    }

    /// Every page of the list of tools, as a catalog.
    pub(super) async fn list(&self) -> Result<Catalog, Trouble> {
        let (mut tools, mut broken) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES {
            let page = self
                .list_page(cursor.take(), tools.len() + broken.len())
                .await?;
            tools.extend(page.tools);
            broken.extend(page.broken);
            match page.next {
                Some(next) if tools.len() < TOOLS => {
                    if !seen.insert(next.clone()) {
                        broken.push(cut("the list of tools begins again: its cursor repeats"));
                        break;
                    }
                    cursor = Some(next);
                }
                Some(_) | None => break,
            }
        }
        if cursor.is_some() || tools.len() >= TOOLS {
            broken.push(cut("the list of tools is too long: the rest was not read"));
        }
        tools.truncate(TOOLS);
        Ok(Catalog::new(
            self.wire.link.server.name.clone(),
            tools,
            broken,
        ))
    }

    async fn list_page(&self, cursor: Option<String>, before: usize) -> Result<Page, Trouble> {
        let slot = Slot::new(Purpose::List);
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let mut request = ListToolsRequest {
            params: Some(params),
            ..Default::default()
        };
        request.extensions.insert(slot.clone());
        let request = ClientRequest::ListToolsRequest(request);
        let options = PeerRequestOptions::no_options();
        let answered = match self.peer.send_cancellable_request(request, options).await {
            Ok(handle) => handle.await_response().await,
            Err(error) => Err(error),
        };
        self.wire.inbox.forget(&slot);
        match slot.take().reply {
            Some(Reply::Result(result)) => {
                let mut page = catalog::page(&result, before)
                    .ok_or_else(|| Trouble::protocol("the list of tools is no list"))?;
                if let Ok(ServerResult::ListToolsResult(kept)) = &answered {
                    drop_bad_headers(&mut page, kept);
                }
                Ok(page)
            }
            Some(Reply::Error {
                code: METHOD_NOT_FOUND,
                ..
            }) => Ok(Page::default()),
            Some(Reply::Error { code, message }) => Err(Trouble::protocol(format!(
                "tools/list failed: {message} ({code})"
            ))),
            Some(Reply::Trouble(trouble)) => Err(trouble),
            None => Err(lost(answered.err().as_ref())),
        }
    }

    /// Sends a call. What comes of it is told through `slot`; the handle tells when rmcp knows no
    /// more.
    pub(super) async fn call(
        &self,
        tool: String,
        arguments: JsonObject,
        slot: &Slot,
    ) -> Result<RequestHandle<RoleClient>, ServiceError> {
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        let mut request = CallToolRequest::new(params);
        request.extensions.insert(slot.clone());
        let request = ClientRequest::CallToolRequest(request);
        self.peer
            .send_cancellable_request(request, PeerRequestOptions::no_options())
            .await
    }

    /// Asks for a resource. What comes of it is told as of a call.
    pub(super) async fn read(
        &self,
        uri: String,
        slot: &Slot,
    ) -> Result<RequestHandle<RoleClient>, ServiceError> {
        let params = ReadResourceRequestParams::new(uri);
        let mut request = ReadResourceRequest::new(params);
        request.extensions.insert(slot.clone());
        let request = ClientRequest::ReadResourceRequest(request);
        self.peer
            .send_cancellable_request(request, PeerRequestOptions::no_options())
            .await
    }

    /// Whether the server said that it has resources: others must not be asked (MCP, "Lifecycle").
    pub(super) fn offers_resources(&self) -> bool {
        let info = self.peer.peer_info();
        info.is_some_and(|info| info.capabilities.resources.is_some())
    }

    /// Tells the server to stop a request: by `notifications/cancelled`, or by closing its
    /// stream where that is the way.
    pub(super) async fn cancel(&self, id: RequestId, reason: &str) {
        let params = CancelledNotificationParam::new(Some(id), Some(reason.to_owned()));
        let told = tokio::time::timeout(CANCEL_TIMEOUT, self.peer.notify_cancelled(params)).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!(server = self.wire.link.server.name, "cancel not delivered");
        }
    }

    /// Whether changes of the list have to be asked for.
    pub(super) fn must_subscribe(&self) -> bool {
        let info = self.peer.peer_info();
        let tools = info
            .as_ref()
            .and_then(|info| info.capabilities.tools.as_ref());
        self.listens_for == ListensFor::Subscription
            && tools.is_some_and(|tools| tools.list_changed == Some(true))
    }

    pub(super) fn subscription(&self) -> Subscription {
        Subscription {
            peer: self.peer.clone(),
            server: self.wire.link.server.name.clone(),
        }
    }

    /// Ends the session, with a DELETE if it has an id.
    pub(super) async fn close(&self) {
        let service = self
            .service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut service) = service else { return };
        if let Err(error) = service.close_with_timeout(CLOSE_TIMEOUT).await {
            tracing::debug!(server = self.wire.link.server.name, %error, "session not closed");
        }
        self.wire.ended.cancel();
    }
}

/// A standing request to be told of changes of the list. It does not keep the session alive.
pub(super) struct Subscription {
    peer: Peer<RoleClient>,
    server: String,
}

impl Subscription {
    /// Keeps it as long as that makes sense. The changes themselves are seen by the inbox.
    pub(super) async fn keep(self) {
        let mut wait = RESUBSCRIBE_AFTER;
        for _ in 0..RESUBSCRIPTIONS {
            match self.listen().await {
                Ok(()) => wait = RESUBSCRIBE_AFTER,
                Err(error) => {
                    let server = &self.server;
                    tracing::debug!(server, %error, "no subscription to changes of the tools");
                    if matches!(&error, ServiceError::McpError(error) if i64::from(error.code.0) == METHOD_NOT_FOUND)
                    {
                        return;
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    async fn listen(&self) -> Result<(), ServiceError> {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let mut subscription = self.peer.listen(filter).await?;
        while subscription.next().await?.is_some() {}
        Ok(())
    }
}

fn drop_bad_headers(page: &mut Page, kept: &rmcp::model::ListToolsResult) {
    let kept: HashSet<&str> = kept.tools.iter().map(|tool| tool.name.as_ref()).collect();
    page.tools.retain(|tool| {
        let keep = kept.contains(tool.name.as_str());
        if !keep {
            let reason = BAD_HEADERS.to_owned();
            page.broken.push(BrokenTool {
                name: tool.name.clone(),
                reason,
            });
        }
        keep
    });
}

fn cut(reason: &str) -> BrokenTool {
    BrokenTool {
        name: "(more)".to_owned(),
        reason: reason.to_owned(),
    }
}

/// What is left to say when rmcp gave up a request and the wire saw nothing.
pub(super) fn lost(error: Option<&ServiceError>) -> Trouble {
    match error {
        Some(ServiceError::TransportClosed) | None => {
            Trouble::lost("the connection ended without an answer")
        }
        Some(error) => Trouble {
            kind: Kind::Lost,
            ..Trouble::lost(error.to_string())
        },
    }
}
