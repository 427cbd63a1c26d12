//! The only place that sends requests. The tap sits here, and the rule where tokens may go.

mod body;
mod connect;
mod credential;
mod direct;
mod error;
mod lane;
mod loopback;
mod tls;

use std::{fmt, sync::Arc, time::Instant};

use ::http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri, Version,
    header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
    uri::Scheme,
};
use bytes::Bytes;
use http_body_util::{BodyDataStream, Full};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

pub use self::{
    body::Body,
    credential::{Credential, ServerKey},
    error::{HttpError, SetupError},
    lane::Lane,
    loopback::is_loopback,
    tls::install_crypto,
};
use self::{
    connect::{CONNECT_TIMEOUT, Dialer, Hosts, Owner},
    direct::Direct,
    lane::Lanes,
};
use crate::tap::{Context, End, RequestHead, Tap, Tapping};

/// Bytes of a stream (`text/event-stream`) that may wait for their reader.
pub const STREAM_BUFFER_BYTES: usize = 1024 * 1024;

/// Bytes of any other body: more than any answer we take (a tool result has 16 MiB).
pub const BODY_BYTES: usize = 32 * 1024 * 1024;

/// KiB of bodies that are made into JSON trees at once: a tree takes several times its text.
const PARSED_KIB: usize = 64 * 1024;

/// How this program names itself to others.
const AGENT: &str = concat!("toolgate/", env!("CARGO_PKG_VERSION"));

/// What [`Http`] needs.
pub struct HttpOptions {
    /// `host:port` to dial, with TLS, for Pomerium's hosts; none when DNS leads to Pomerium.
    pub pomerium_addr: Option<String>,
    /// More root certificates, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Sees every exchange.
    pub tap: Arc<dyn Tap>,
    /// Owns the tasks of connections and bodies.
    pub tasks: TaskTracker,
    /// Ends them all. To be cancelled last: nothing can be sent afterwards.
    pub shutdown: CancellationToken,
}

/// A request to Pomerium or to an MCP server.
#[derive(Debug)]
pub struct Outgoing {
    /// Its method.
    pub method: Method,
    /// Its URL.
    pub url: Url,
    /// Its headers, without credentials.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What proves for whom it is.
    pub credential: Credential,
    /// What caused it.
    pub context: Context,
}

/// An answer whose head has arrived.
#[derive(Debug)]
pub struct Incoming {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, being read.
    pub body: Body,
    /// The request that it answers.
    pub sent: Sent,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When.
    pub at: Instant,
    /// How large its body was, bytes.
    pub bytes: usize,
}

impl Incoming {
    /// Pomerium's id of the request.
    pub fn request_id(&self) -> Option<String> {
        let id = self.headers.get("x-request-id")?;
        Some(id.to_str().ok()?.to_owned())
    }

    /// Whether the content type is `essence` (like `text/event-stream`), whatever its parameters.
    pub fn is_type(&self, essence: &str) -> bool {
        is_type(&self.headers, essence)
    }
}

fn is_type(headers: &HeaderMap, essence: &str) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let found = value.split(';').next().unwrap_or_default().trim();
    found.eq_ignore_ascii_case(essence)
}

/// Sends requests.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

struct Inner {
    hosts: Arc<Hosts>,
    lanes: Lanes,
    model: reqwest::Client,
    tap: Tapping,
    /// Room for bodies that are being parsed, KiB.
    parsing: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Http {
    /// Sets up TLS and the clients; sends nothing.
    pub fn new(options: HttpOptions) -> Result<Self, SetupError> {
        let HttpOptions {
            pomerium_addr,
            ca_pem,
            tap,
            tasks,
            shutdown,
        } = options;
        install_crypto();
        let tls = tls::client_config(ca_pem.as_deref())?;
        let model = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(AGENT)
            .build()?;
        let hosts = Arc::new(Hosts::new(pomerium_addr));
        let dialer = Dialer {
            tls: TlsConnector::from(Arc::new(tls)),
            hosts: hosts.clone(),
        };
        let lanes = Lanes::new(dialer, tasks.clone(), shutdown.clone());
        Ok(Self(Arc::new(Inner {
            hosts,
            lanes,
            model,
            tap: Tapping::new(tap),
            parsing: Arc::new(Semaphore::new(PARSED_KIB)),
            tasks,
            shutdown,
        })))
    }

    /// Names a host as one of Pomerium's: from now on it is dialled as such and may get tokens,
    /// unless it is known as one that the operator configured.
    /// To be called with the public URL's host and with what Pomerium's routes name, nothing else.
    pub fn trust_pomerium_host(&self, host: &str) {
        self.0.hosts.name(host, Owner::Pomerium);
    }

    /// Names a host as one that the operator configured: from now on it gets no token of
    /// Pomerium's, whoever lists it, and is dialled by its own address.
    pub fn name_configured_host(&self, host: &str) {
        self.0.hosts.name(host, Owner::Operator);
    }

    /// Whether the URL's host is one of Pomerium's.
    pub fn is_pomeriums(&self, url: &Url) -> bool {
        self.owner(url) == Some(Owner::Pomerium)
    }

    /// Waits until there is room to parse a large body; the room is given back when dropped. All
    /// connections share it.
    pub(crate) async fn room_to_parse(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = bytes.div_ceil(1024).min(PARSED_KIB);
        let kib = u32::try_from(kib).ok()?;
        Arc::clone(&self.0.parsing)
            .acquire_many_owned(kib)
            .await
            .ok()
    }

    /// A place in a lane to the URL's host. It is given back when dropped.
    pub fn lane(&self, url: &Url) -> Lane {
        self.0.lanes.place(url)
    }

    /// Sends a request and returns its answer's head. Redirects are not followed. No deadline:
    /// that is the caller's.
    ///
    /// Refused, and not sent: an External Token to a host that is not Pomerium's or without TLS,
    /// and what the operator configured for a server to any other origin.
    pub async fn send(&self, lane: &Lane, outgoing: Outgoing) -> Result<Incoming, HttpError> {
        let Outgoing {
            method,
            url,
            mut headers,
            body,
            credential,
            context,
        } = outgoing;
        let uri = self.admit(&url, &credential)?;
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(bearer) = credential.header()? {
            headers.insert(AUTHORIZATION, bearer);
        }
        let head = RequestHead {
            method: &method,
            url: &url,
            headers: &headers,
            secret: credential.secret(),
        };
        let mut recording = self.0.tap.start(context, head);
        let streams = lane.streams().acquire_owned().await;
        let permit = streams.map_err(|_| HttpError::Shutdown)?;

        recording.sent(&body);
        let sent = Sent {
            at: Instant::now(),
            bytes: body.len(),
        };
        let mut request = ::http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let answered = tokio::select! {
            () = self.0.shutdown.cancelled() => Err(HttpError::Shutdown),
            answered = lane.client().request(request) => answered.map_err(HttpError::of_client),
        };
        let (head, frames) = match answered {
            Ok(response) => response.into_parts(),
            Err(error) => {
                recording.end(End::Failed(error.to_string()));
                return Err(error);
            }
        };
        recording.answered(head.status, &head.headers);
        let limit = buffer_for(&head.headers);
        let bounds = self.bounds(Some(permit));
        let body = Body::read(BodyDataStream::new(frames), limit, recording, bounds);
        Ok(Incoming {
            status: head.status,
            headers: head.headers,
            body,
            sent,
        })
    }

    /// Sends a request to a model endpoint: through the environment's proxy if there is one,
    /// never with a token of Pomerium's. Redirects are not followed. Over HTTP/2 the answer's
    /// body is read as it arrives, and a reader that lags more than [`STREAM_BUFFER_BYTES`] behind
    /// loses the stream; over HTTP/1.1 it has its connection for itself and is read when wanted.
    pub async fn send_model(
        &self,
        request: reqwest::Request,
        context: Context,
    ) -> Result<reqwest::Response, HttpError> {
        let head = RequestHead {
            method: request.method(),
            url: request.url(),
            headers: request.headers(),
            secret: None,
        };
        let mut recording = self.0.tap.start(context, head);
        recording.sent(
            request
                .body()
                .and_then(reqwest::Body::as_bytes)
                .unwrap_or_default(),
        );
        let answered = tokio::select! {
            () = self.0.shutdown.cancelled() => Err(HttpError::Shutdown),
            answered = self.0.model.execute(request) => answered.map_err(HttpError::of_model),
        };
        let response = match answered {
            Ok(response) => ::http::Response::<reqwest::Body>::from(response),
            Err(error) => {
                recording.end(End::Failed(error.to_string()));
                return Err(error);
            }
        };
        let (head, frames) = response.into_parts();
        recording.answered(head.status, &head.headers);
        let frames = BodyDataStream::new(frames);
        let body = if head.version < Version::HTTP_2 {
            let shutdown = self.0.shutdown.clone();
            reqwest::Body::wrap_stream(Direct::new(frames, recording, shutdown))
        } else {
            let limit = buffer_for(&head.headers);
            let bounds = self.bounds(None);
            reqwest::Body::wrap_stream(Body::read(frames, limit, recording, bounds))
        };
        Ok(reqwest::Response::from(::http::Response::from_parts(
            head, body,
        )))
    }

    /// The URI to ask for, if the request may go there.
    fn admit(&self, url: &Url, credential: &Credential) -> Result<Uri, HttpError> {
        let owner = self.owner(url);
        let pomeriums = owner == Some(Owner::Pomerium);
        let broken = match credential {
            Credential::ExternalToken(_) if owner == Some(Owner::Operator) => Some(
                "not sent: the host is that of a server from the configuration, which gets no \
                 token of Pomerium's",
            ),
            Credential::ExternalToken(_) if !pomeriums => {
                Some("not sent: a token of Pomerium's goes only to hosts that Pomerium names")
            }
            Credential::Configured(_) if pomeriums => Some(
                "not sent: the host is one of Pomerium's; a server behind Pomerium needs no \
                 entry in the configuration",
            ),
            Credential::Configured(key) if !key.fits(url) => {
                Some("not sent: what was configured for a server goes only to that server")
            }
            Credential::None | Credential::ExternalToken(_) | Credential::Configured(_) => None,
        };
        if let Some(rule) = broken {
            return Err(HttpError::Refused(rule));
        }
        let in_clear = url.scheme() != "https" && !self.0.hosts.has_address();
        // What never leaves this machine is read by nobody on the way.
        let here = url.host_str().is_some_and(is_loopback);
        if pomeriums && in_clear && !here {
            return Err(HttpError::Refused(
                "not sent: Pomerium's URL is http, and tokens go only over TLS; set \
                 TOOLGATE_POMERIUM_ADDR to an address of Pomerium's that speaks TLS",
            ));
        }
        let uri: Uri = url.as_str().parse().map_err(HttpError::refused_url)?;
        if !pomeriums || in_clear {
            return Ok(uri);
        }
        // The authority stays as the URL has it, with its port: it names the route.
        let mut parts = uri.into_parts();
        parts.scheme = Some(Scheme::HTTPS);
        Uri::from_parts(parts).map_err(HttpError::refused_url)
    }

    fn owner(&self, url: &Url) -> Option<Owner> {
        url.host_str().and_then(|host| self.0.hosts.owner(host))
    }

    fn bounds(&self, permit: Option<OwnedSemaphorePermit>) -> Bounds {
        let tasks = self.0.tasks.clone();
        Bounds {
            tasks,
            shutdown: self.0.shutdown.clone(),
            _stream: permit,
        }
    }
}

/// What a body's reader lives by: its task's owner, its end, and its place among the lane's
/// streams.
struct Bounds {
    tasks: TaskTracker,
    shutdown: CancellationToken,
    _stream: Option<OwnedSemaphorePermit>,
}

fn buffer_for(headers: &HeaderMap) -> usize {
    if is_type(headers, "text/event-stream") {
        STREAM_BUFFER_BYTES
    } else {
        BODY_BYTES
    }
}

#[cfg(test)]
pub(crate) mod tests;
