//! With answers that break off, over real sockets.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{
    http::{Http, HttpOptions},
    tap::TraceTap,
};

use super::*;
use crate::programs::site::{Asked, Site};

#[test]
fn only_toolgates_own_errors_are_passed_on() {
    for not in [
        "",
        "<html>",
        "{}",
        r#"{"error":"Unauthenticated","request_id":"x"}"#,
        r#"{"error":{"code":1}}"#,
        r#"{"error":{"message":1}}"#,
    ] {
        assert!(!is_openai(not.as_bytes()), "{not}");
    }
    assert!(is_openai(
        br#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#
    ));
}

#[test]
fn only_whole_lines_are_passed_on() {
    let mut lines = Lines::default();
    assert_eq!(lines.whole(b"data: {\"a\":"), "");
    assert_eq!(lines.whole(b"1}\n\ndata: {"), "data: {\"a\":1}\n\n");
    assert_eq!(lines.whole(b"}\n"), "data: {}\n");
    assert_eq!(lines.whole(b"\n: x"), "\n");
    assert_eq!(lines.rest(), ": x");
    let long = vec![b'x'; LINE_BYTES + 1];
    assert_eq!(lines.whole(&long).len(), long.len());
}

#[tokio::test]
async fn a_stream_that_ends_after_30_s_names_the_settings_and_any_other_does_not() {
    let cut = event_after(Duration::from_secs(30)).await;
    assert_eq!(cut["error"]["code"], "cut_off");
    let message = cut["error"]["message"].as_str().unwrap();
    assert!(message.contains("`timeout: 0s`") && message.contains("`idle_timeout: 0s`"));
    for other in [0, 10, 28, 32, 300] {
        let broken = event_after(Duration::from_secs(other)).await;
        assert_eq!(broken["error"]["code"], "upstream", "{other} s");
        assert!(!broken.to_string().contains("timeout: 0s"), "{other} s");
    }
}

#[tokio::test]
async fn a_504_names_the_settings_unless_toolgate_said_it() {
    let plain = "HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 7\r\n\r\ntimeout";
    let problem = answer(plain, Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(problem.status, 504);
    assert!(problem.failure.advice.contains("`timeout: 0s`"));
    let own = "HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 31\r\n\r\n\
               {\"error\":{\"message\":\"the end\"}}";
    let response = answer(own, Duration::from_secs(30)).await.unwrap();
    assert_eq!(response.status(), 504);
}

/// The last event of a stream that breaks off in the middle of a line, this long after it was
/// asked for.
async fn event_after(age: Duration) -> serde_json::Value {
    let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                  transfer-encoding: chunked\r\n\r\n\
                  14\r\ndata: {\"a\":1}\n\ndata:\r\n";
    let response = answer(stream, age).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 100_000).await;
    let body = String::from_utf8(body.unwrap().into()).unwrap();
    let error = body.strip_prefix("data: {\"a\":1}\n\n\n\ndata: ").unwrap();
    serde_json::from_str(error.strip_suffix("\n\n").unwrap()).unwrap()
}

/// What becomes of this answer, to a request that was sent so long ago.
async fn answer(raw: &'static str, age: Duration) -> Result<Response, Problem> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tasks = TaskTracker::new();
    tasks.spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        // Whoever closes with the request unread cuts off the answer too.
        let mut request = [0; 4096];
        assert_ne!(tcp.read(&mut request).await.unwrap(), 0);
        tcp.write_all(raw.as_bytes()).await.unwrap();
    });
    let http = Http::new(HttpOptions {
        pomerium_addr: None,
        ca_pem: None,
        tap: Arc::new(TraceTap),
        tasks,
        shutdown: CancellationToken::new(),
    });
    let origin: Origin = url.parse().unwrap();
    let site = Site::new(http.unwrap(), origin.clone());
    let sent = Sent {
        at: Instant::now().checked_sub(age).unwrap(),
        lane: site.lane(),
        _open: Open::alone(),
    };
    let asked = Asked {
        method: axum::http::Method::GET,
        url: origin.at("/v1/x").unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let incoming = site.send(&sent.lane, asked, None).await.unwrap();
    let origin = &origin;
    Answer { origin, sent }.of(incoming).await
}
