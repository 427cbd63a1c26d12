//! Against servers of this file, over real sockets.

use std::{convert::Infallible, sync::Mutex, time::Duration};

use ::http::{Request, Response};
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming as Received};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tap::{Exchange, Part, Peer, Piece, Record, TraceTap, Wants};

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn text(status: u16, body: &str) -> Answer {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed_unsync();
    Response::builder().status(status).body(body).unwrap()
}

/// Serves `answer` on a free port, with TLS if a certificate is given.
async fn serve(
    tls: Option<TlsAcceptor>,
    answer: impl Fn(Request<Received>) -> Answer + Clone + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (tls, answer) = (tls.clone(), answer.clone());
            tasks.spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                if let Some(tls) = tls {
                    let Ok(io) = tls.accept(tcp).await else {
                        return;
                    };
                    server
                        .serve_connection(TokioIo::new(io), service)
                        .await
                        .ok();
                } else {
                    server
                        .serve_connection(TokioIo::new(tcp), service)
                        .await
                        .ok();
                }
            });
        }
    });
    port
}

/// An acceptor for a self-signed certificate of that name, and the certificate.
pub(crate) fn certificate(name: &str) -> (TlsAcceptor, Vec<u8>) {
    install_crypto();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), cert.pem().into_bytes())
}

fn http_with(pomerium_addr: Option<String>, ca_pem: Option<Vec<u8>>, tap: Arc<dyn Tap>) -> Http {
    let tasks = TaskTracker::new();
    let shutdown = CancellationToken::new();
    Http::new(HttpOptions {
        pomerium_addr,
        ca_pem,
        tap,
        tasks,
        shutdown,
    })
    .unwrap()
}

fn plain() -> Http {
    http_with(None, None, Arc::new(TraceTap))
}

fn get(url: &str) -> Outgoing {
    Outgoing {
        method: Method::GET,
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        credential: Credential::None,
        context: Context {
            peer: Peer::Mcp,
            ..Context::default()
        },
    }
}

async fn send(http: &Http, outgoing: Outgoing) -> Result<Incoming, HttpError> {
    let lane = http.lane(&outgoing.url);
    http.send(&lane, outgoing).await
}

#[tokio::test]
async fn a_token_goes_only_to_pomeriums_hosts_and_only_over_tls() {
    let port = serve(None, |_| text(200, "reached")).await;
    let http = plain();
    let mut to_stranger = get(&format!("http://127.0.0.1:{port}/"));
    to_stranger.credential = Credential::ExternalToken("TE".into());
    let error = send(&http, to_stranger).await.unwrap_err();
    assert!(
        matches!(error, HttpError::Refused(why) if why.contains("only to hosts")),
        "{error}"
    );

    http.trust_pomerium_host("chat.example.com");
    let mut in_clear = get("http://chat.example.com/");
    in_clear.credential = Credential::ExternalToken("TE".into());
    let error = send(&http, in_clear).await.unwrap_err();
    assert!(error.never_sent());
    assert!(
        error.to_string().contains("TOOLGATE_POMERIUM_ADDR"),
        "{error}"
    );
}

#[tokio::test]
async fn on_this_machine_a_token_needs_no_tls_and_a_name_under_localhost_no_dns() {
    let port = serve(None, |request| {
        let bearer = request.headers()[AUTHORIZATION].to_str().unwrap();
        text(200, bearer)
    })
    .await;
    let http = plain();
    for host in ["chat.localhost", "localhost", "127.0.0.1"] {
        http.trust_pomerium_host(host);
        let mut outgoing = get(&format!("http://{host}:{port}/"));
        outgoing.credential = Credential::ExternalToken("TE".into());
        let answer = send(&http, outgoing).await.unwrap();
        assert_eq!(answer.body.whole(100).await.unwrap(), "Bearer TE", "{host}");
    }
}

fn configured(for_url: &str, to: &str) -> Outgoing {
    let key = ServerKey::new(&for_url.parse().unwrap(), Some("key-1".into()));
    Outgoing {
        credential: Credential::Configured(key),
        ..get(to)
    }
}

#[tokio::test]
async fn what_was_configured_for_a_server_goes_only_to_that_server() {
    let echo = |request: Request<Received>| {
        let bearer = &request.headers()[AUTHORIZATION];
        text(200, bearer.to_str().unwrap())
    };
    let (port, other) = (serve(None, echo).await, serve(None, echo).await);
    let (url, other) = (
        format!("http://127.0.0.1:{port}/mcp"),
        format!("http://127.0.0.1:{other}/mcp"),
    );
    let http = plain();
    for stranger in [other.as_str(), "http://localhost:1/mcp"] {
        let error = send(&http, configured(&url, stranger)).await.unwrap_err();
        assert!(
            matches!(error, HttpError::Refused(why) if why.contains("only to that server")),
            "{error}"
        );
    }
    let sent = send(&http, configured(&url, &url)).await.unwrap();
    assert_eq!(sent.body.whole(100).await.unwrap(), "Bearer key-1");
    assert!(!format!("{:?}", configured(&url, &url)).contains("key-1"));
}

#[tokio::test]
async fn a_host_is_pomeriums_or_the_operators_whoever_named_it_first() {
    let http = plain();
    http.name_configured_host("tools.example.com");
    http.trust_pomerium_host("TOOLS.example.com");
    let mut token = get("https://tools.example.com/");
    token.credential = Credential::ExternalToken("TE".into());
    let error = send(&http, token).await.unwrap_err();
    assert!(
        error.to_string().contains("from the configuration"),
        "{error}"
    );

    http.trust_pomerium_host("db.example.com");
    http.name_configured_host("db.example.com");
    let url = "https://db.example.com/mcp";
    let error = send(&http, configured(url, url)).await.unwrap_err();
    assert!(error.to_string().contains("one of Pomerium's"), "{error}");
}

#[tokio::test]
async fn pomeriums_hosts_are_dialled_at_its_address_with_tls_and_keep_their_authority() {
    let (tls, ca) = certificate("db.localhost");
    let port = serve(Some(tls), |request| {
        let authority = request.uri().authority().map(ToString::to_string);
        let bearer = request.headers()[AUTHORIZATION].to_str().unwrap();
        text(
            200,
            &format!("{:?} {authority:?} {bearer}", request.version()),
        )
    })
    .await;
    let http = http_with(
        Some(format!("127.0.0.1:{port}")),
        Some(ca),
        Arc::new(TraceTap),
    );
    http.trust_pomerium_host("DB.localhost");
    let mut outgoing = get("http://db.localhost:8000/mcp");
    outgoing.credential = Credential::ExternalToken("TE".into());
    let answer = send(&http, outgoing)
        .await
        .unwrap()
        .body
        .whole(1000)
        .await
        .unwrap();
    assert_eq!(answer, r#"HTTP/2.0 Some("db.localhost:8000") Bearer TE"#);
}

#[tokio::test]
async fn an_unknown_authority_and_a_closed_port_are_connect_errors() {
    let (tls, _) = certificate("db.localhost");
    let port = serve(Some(tls), |_| text(200, "")).await;
    let error = send(&plain(), get(&format!("https://localhost:{port}/")))
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::Connect(_)), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let error = send(&plain(), get("http://127.0.0.1:1/"))
        .await
        .unwrap_err();
    assert!(error.never_sent(), "{error}");
}

#[tokio::test]
async fn redirects_are_answers() {
    let port = serve(None, |_| text(302, "")).await;
    let answer = send(&plain(), get(&format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::FOUND);
}

/// A server whose stream is a chunk of 64 KiB again and again.
async fn flood() -> u16 {
    serve(None, |_| {
        let chunks = futures_util::stream::repeat_with(|| {
            Ok(Frame::data(Bytes::from(vec![b'x'; 64 * 1024])))
        });
        let body = StreamBody::new(chunks.take(1000)).boxed_unsync();
        Response::builder()
            .header(CONTENT_TYPE, "text/event-stream")
            .body(body)
            .unwrap()
    })
    .await
}

#[tokio::test]
async fn a_reader_that_lags_loses_the_stream_and_one_that_reads_gets_all() {
    let port = flood().await;
    let lazy = send(&plain(), get(&format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let error = lazy.body.whole(usize::MAX).await.unwrap_err();
    assert!(
        matches!(
            error,
            HttpError::Lagged {
                limit: STREAM_BUFFER_BYTES
            }
        ),
        "{error}"
    );

    let port = serve(None, |_| text(200, &"x".repeat(5_000_000))).await;
    let eager = send(&plain(), get(&format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap();
    assert_eq!(eager.body.whole(BODY_BYTES).await.unwrap().len(), 5_000_000);
    let greedy = send(&plain(), get(&format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap();
    let error = greedy.body.whole(1000).await.unwrap_err();
    assert!(
        matches!(error, HttpError::TooLarge { limit: 1000 }),
        "{error}"
    );
}

#[tokio::test]
async fn a_reader_that_never_catches_up_holds_the_connection_for_a_second_in_all() {
    let port = flood().await;
    let mut slow = send(&plain(), get(&format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap()
        .body;
    let begun = std::time::Instant::now();
    let error = loop {
        // It makes room again and again, long before a second has passed.
        tokio::time::sleep(Duration::from_millis(20)).await;
        match slow.next().await {
            Some(Ok(_)) => assert!(begun.elapsed() < Duration::from_secs(10), "still held"),
            Some(Err(error)) => break error,
            None => panic!("all was read"),
        }
    };
    assert!(matches!(error, HttpError::Lagged { .. }), "{error}");
}

#[tokio::test]
async fn lanes_have_a_bounded_number_of_places() {
    let http = plain();
    let url: Url = "http://a.test/".parse().unwrap();
    let places: Vec<_> = (0..17).map(|_| http.lane(&url)).collect();
    let count = |http: &Http| http.0.lanes.count();
    assert_eq!(count(&http), 3);
    let other = http.lane(&"http://b.test/".parse().unwrap());
    assert_eq!(count(&http), 3);
    drop((places, other));
    let _one = http.lane(&url);
    assert_eq!(count(&http), 1);
}

/// Status, bytes out, bytes in, end.
type Ended = (Option<u16>, u64, u64, End);

/// Remembers what it saw.
#[derive(Default)]
struct Memory {
    ends: Mutex<Vec<Ended>>,
    pieces: Arc<Mutex<Vec<Piece>>>,
}

/// Remembers the pieces of an exchange.
struct Pieces(Arc<Mutex<Vec<Piece>>>);

impl Record for Pieces {
    fn wants(&self) -> Wants {
        Wants::Bodies
    }

    fn piece(&mut self, piece: Piece) {
        self.0.lock().unwrap().push(piece);
    }

    fn answered(&mut self, exchange: &Exchange) {
        assert!(exchange.is_stream());
    }

    fn finished(&mut self, _: &Exchange) {}
}

impl Tap for Memory {
    fn begin(&self, _: &Exchange) -> Option<Box<dyn Record>> {
        Some(Box::new(Pieces(self.pieces.clone())))
    }

    fn finished(&self, exchange: &Exchange) {
        assert!(exchange.ended_after.is_some());
        assert!(
            !format!("{exchange:?}").contains("TE-42"),
            "a token was recorded"
        );
        let status = exchange.status.map(|status| status.as_u16());
        let end = (
            status,
            exchange.bytes_out,
            exchange.bytes_in,
            exchange.end.clone(),
        );
        self.ends.lock().unwrap().push(end);
    }
}

#[tokio::test]
async fn an_exchange_completes_at_the_end_on_an_error_and_on_drop() {
    let memory = Arc::new(Memory::default());
    let http = http_with(None, None, memory.clone());
    let port = serve(None, |_| text(200, "hello")).await;
    let mut whole = get(&format!("http://127.0.0.1:{port}/"));
    whole.method = Method::POST;
    whole.body = Bytes::from_static(b"ab");
    whole
        .headers
        .insert(AUTHORIZATION, "TE-42".parse().unwrap());
    send(&http, whole)
        .await
        .unwrap()
        .body
        .whole(100)
        .await
        .unwrap();
    send(&http, get("http://127.0.0.1:1/")).await.unwrap_err();
    let stream = flood().await;
    drop(
        send(&http, get(&format!("http://127.0.0.1:{stream}/")))
            .await
            .unwrap(),
    );
    tokio::time::sleep(Duration::from_millis(200)).await;

    let ends = memory.ends.lock().unwrap().clone();
    assert_eq!(ends[0], (Some(200), 2, 5, End::Complete));
    assert!(matches!(&ends[1], (None, 0, 0, End::Failed(_))), "{ends:?}");
    assert!(
        matches!(&ends[2], (Some(200), 0, _, End::Dropped)),
        "{ends:?}"
    );
    assert_eq!(ends.len(), 3);
    let pieces = memory.pieces.lock().unwrap();
    assert_eq!(
        (pieces[0].part, &pieces[0].bytes[..]),
        (Part::Request, &b"ab"[..])
    );
    assert_eq!(
        (pieces[1].part, &pieces[1].bytes[..]),
        (Part::Answer, &b"hello"[..])
    );
    assert_eq!(pieces[1].arrivals.len(), 1);
}

#[tokio::test]
async fn a_model_request_is_recorded_and_its_body_passes() {
    let memory = Arc::new(Memory::default());
    let http = http_with(None, None, memory.clone());
    let port = serve(None, |_| text(200, "data: [DONE]\n\n")).await;
    let url = format!("http://127.0.0.1:{port}/v1/chat/completions")
        .parse()
        .unwrap();
    let mut request = reqwest::Request::new(Method::POST, url);
    request
        .headers_mut()
        .insert(AUTHORIZATION, "Bearer TE-42".parse().unwrap());
    *request.body_mut() = Some("{}".into());
    let answer = http.send_model(request, Context::default()).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "data: [DONE]\n\n");
    let ends = memory.ends.lock().unwrap().clone();
    assert_eq!(ends, [(Some(200), 2, 14, End::Complete)]);
}
