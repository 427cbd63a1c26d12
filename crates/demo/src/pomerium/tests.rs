//! The stand-in over real sockets.

mod accounts;
mod audit;
mod cuts;
mod fake;
mod guarded;
mod journey;
mod limits;
mod paths;
mod programs;
mod replay;
mod streams;
mod tokens;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Incoming};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use url::Url;

use super::answer::BodyError;
use super::*;
use fake::Fake;
use guarded::Guarded;

/// Long enough for a slow machine, short enough to wait for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Routes like those that the captures were made with.
const CONFIG: &str = "
authenticate_service_url: https://authenticate.example.test:8443
routes:
  - from: https://chat.example.test:8443
    to: http://UPSTREAM
    name: Chat
    mcp: {client: {}}
    pass_identity_headers: true
    preserve_host_header: true
    timeout: 0s
    idle_timeout: 0s
    policy: [{allow: {or: [{domain: {is: example.com}}]}}]
  - from: https://db.example.test:8443
    to: http://UPSTREAM
    name: Database
    description: demo DB
    mcp: {server: {max_request_bytes: 1048576}}
    pass_identity_headers: true
    policy:
      - allow: {and: [{domain: {is: example.com}}]}
        deny: {or: [{mcp_tool: {starts_with: admin_}}]}
  - from: https://slow.example.test:8443
    to: http://UPSTREAM
    name: DefaultBytes
    mcp: {server: {}}
    policy:
      - allow: {and: [{domain: {is: example.com}}]}
        deny: {or: [{mcp_tool: {starts_with: admin_}}]}
  - from: https://path.example.test:8443
    to: http://UPSTREAM
    name: WithPath
    mcp: {server: {path: /mcp}}
    policy: [{allow: {and: [{domain: {is: example.com}}]}}]
  - from: https://deny.example.test:8443
    to: http://UPSTREAM
    name: Denied
    mcp: {server: {}}
    policy: [{allow: {and: [{email: {is: nobody@example.com}}]}}]
  - from: https://up.example.test:8443
    to: http://GUARDED
    name: Upstream
    mcp:
      server:
        upstream_oauth2:
          client_id: upid
          client_secret: upsecret
          scopes: [read]
          endpoint: {auth_url: http://GUARDED/authorize, token_url: http://GUARDED/token}
    policy: [{allow: {and: [{domain: {is: example.com}}]}}]
  - from: https://dcr.example.test:8443
    to: http://GUARDED
    name: Plain401
    mcp: {server: {}}
    policy: [{allow: {and: [{domain: {is: example.com}}]}}]
  - from: https://down.example.test:8443
    to: http://CLOSED
    name: Down
    mcp: {server: {}}
    policy: [{allow: {and: [{domain: {is: example.com}}]}}]
  - from: https://ben.example.test:8443
    to: http://UPSTREAM/mcp
    policy: [{allow: {and: [{email: {is: ben@example.com}}]}}]
  - from: https://open.example.test:8443
    to: http://UPSTREAM
    mcp: {client: {}}
    pass_identity_headers: true
    policy: [{allow: {or: [{accept: true}]}}]
";

/// A stand-in with its upstream, and Ana signed in.
struct House {
    standin: Standin,
    upstream: Fake,
    guarded: Guarded,
    ana: SignedIn,
    tasks: Tracked,
}

impl House {
    async fn open() -> Self {
        Self::with(Options::default()).await
    }

    /// The options' own `config` is replaced by `CONFIG` when it is empty.
    async fn with(mut options: Options) -> Self {
        let tasks = Tracked {
            tracker: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        };
        let upstream = Fake::start(&tasks).await;
        let guarded = Guarded::start(&tasks).await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if options.config.is_empty() {
            CONFIG.clone_into(&mut options.config);
        }
        options.config = options
            .config
            .replace("UPSTREAM", &upstream.address.to_string())
            .replace("GUARDED", &guarded.address.to_string())
            .replace("CLOSED", &closed.local_addr().unwrap().to_string());
        drop(closed);
        let listeners = Listeners {
            http: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            tls: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        };
        let standin = Standin::start(options, listeners, &tasks.tracker, &tasks.shutdown).unwrap();
        let ana = standin.sign_in(DemoUser::Ana).unwrap();
        Self {
            standin,
            upstream,
            guarded,
            ana,
            tasks,
        }
    }

    /// Sends a request over a connection of its own: TLS with HTTP/2 or HTTP/1.1.
    async fn send<B>(&self, version: Version, request: Request<B>) -> Response<Incoming>
    where
        B: HttpBody<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static,
    {
        let url = Url::parse(&request.uri().to_string()).unwrap();
        let stream = TcpStream::connect(self.standin.tls_addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let connector = self.connector(version);
        let name = ServerName::try_from(url.host_str().unwrap().to_owned()).unwrap();
        let stream = TokioIo::new(connector.connect(name, stream).await.unwrap());
        self.exchange(version, stream, request).await
    }

    /// Sends a request as a browser does: to the plain listener.
    async fn browse(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = TcpStream::connect(self.standin.http_addr()).await.unwrap();
        let stream = TokioIo::new(stream);
        self.exchange(Version::HTTP_11, stream, request).await
    }

    async fn exchange<B>(
        &self,
        version: Version,
        stream: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
        mut request: Request<B>,
    ) -> Response<Incoming>
    where
        B: HttpBody<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static,
    {
        use hyper::client::conn::{http1, http2};
        use hyper::rt::Executor as _;

        let exchanged = async {
            if version == Version::HTTP_2 {
                let tasks = self.tasks.clone();
                let (mut sender, connection) = http2::handshake(tasks, stream).await.unwrap();
                self.tasks.execute(connection);
                sender.send_request(request).await.unwrap()
            } else {
                let (mut sender, connection) = http1::handshake(stream).await.unwrap();
                self.tasks.execute(connection);
                let host = request.uri().authority().unwrap().to_string();
                let path = request.uri().path_and_query().unwrap().to_string();
                request.headers_mut().insert("host", host.parse().unwrap());
                *request.uri_mut() = path.parse().unwrap();
                sender.send_request(request).await.unwrap()
            }
        };
        tokio::time::timeout(PATIENCE, exchanged).await.unwrap()
    }

    fn connector(&self, version: Version) -> TlsConnector {
        let root = CertificateDer::from_pem_slice(self.standin.ca_pem().as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = if version == Version::HTTP_2 {
            vec![b"h2".to_vec()]
        } else {
            vec![b"http/1.1".to_vec()]
        };
        TlsConnector::from(Arc::new(config))
    }

    /// A TE of Ana's.
    fn te(&self) -> String {
        self.standin.issue_te(self.ana.sid).unwrap()
    }

    /// The status of an `initialize` at the database with this TE.
    async fn initialize(&self, te: &str) -> StatusCode {
        let request = post("https://db.example.test:8443/", te, INITIALIZE);
        self.send(Version::HTTP_2, request).await.status()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.tasks.shutdown.cancel();
    }
}

const INITIALIZE: &str = r#"{"jsonrpc": "2.0", "method": "initialize", "id": 1, "params": {}}"#;

fn get(url: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let request = headers
        .iter()
        .fold(Request::get(url), |request, (name, value)| {
            request.header(*name, *value)
        });
    request.body(Full::default()).unwrap()
}

/// An MCP request.
fn post(url: &str, te: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post(url)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {te}"))
        .body(Full::from(body.to_owned()))
        .unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn json(response: Response<Incoming>) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}
