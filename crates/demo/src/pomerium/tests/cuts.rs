//! Answers that take too long for their route.

use std::time::Instant;

use http_body_util::StreamBody;
use hyper::body::Frame;

use super::*;

const CONFIG: &str = "
authenticate_service_url: https://authenticate.example.test:8443
default_upstream_timeout: 400ms
routes:
  - {from: 'https://short.example.test', to: 'http://UPSTREAM', policy: [{allow: {or: [{accept: true}]}}]}
  - {from: 'https://long.example.test', to: 'http://UPSTREAM', timeout: 0s, policy: [{allow: {or: [{accept: true}]}}]}
  - {from: 'https://idle.example.test', to: 'http://UPSTREAM', timeout: 0s, idle_timeout: 400ms, policy: [{allow: {or: [{accept: true}]}}]}
  - {from: 'https://server.example.test', to: 'http://UPSTREAM', mcp: {server: {}}, policy: [{allow: {or: [{accept: true}]}}]}
";
const VERSIONS: [Version; 2] = [Version::HTTP_2, Version::HTTP_11];
const LENGTH: Duration = Duration::from_millis(400);
const LONGER: Duration = Duration::from_millis(900);

async fn house() -> House {
    let config = CONFIG.to_owned();
    House::with(Options {
        config,
        ..Options::default()
    })
    .await
}

/// Reads until the body breaks off or `limit` is over. How long it took, if it broke off.
async fn broken_after(body: &mut Incoming, limit: Duration) -> Option<Duration> {
    let begun = Instant::now();
    let read = async {
        loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return begun.elapsed(),
                None => panic!("the body has an end"),
            }
        }
    };
    tokio::time::timeout(limit, read).await.ok()
}

#[tokio::test]
async fn an_answer_that_did_not_begin_is_a_504() {
    for version in VERSIONS {
        let house = house().await;
        for host in ["short", "idle"] {
            let url = format!("https://{host}.example.test/hang");
            let begun = Instant::now();
            let request = get(&url, &[("accept", "application/json")]);
            let response = house.send(version, request).await;
            assert!(begun.elapsed() >= LENGTH);
            assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
            let said = json(response).await;
            let expected = match host {
                "short" => "response_timeout",
                _ => "stream_idle_timeout",
            };
            assert_eq!(said["statusText"], expected);
            house.upstream.given_up().await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_began_breaks_off() {
    for version in VERSIONS {
        let house = house().await;
        for (host, path, is_cut) in [
            ("short", "/events", true),
            // Also while it flows.
            ("short", "/ticks", true),
            ("idle", "/events", true),
            ("idle", "/ticks", false),
            ("long", "/events", false),
            ("server", "/events", false),
        ] {
            let url = format!("https://{host}.example.test{path}");
            let mut response = house.send(version, get(&url, &[])).await;
            assert_eq!(response.status(), StatusCode::OK);
            let broken = broken_after(response.body_mut(), LONGER).await;
            assert_eq!(broken.is_some(), is_cut, "{host}{path} {version:?}");
            assert!(broken.is_none_or(|after| after > LENGTH / 2), "{broken:?}");
        }
    }
}

#[tokio::test]
async fn the_time_begins_when_the_request_has_ended() {
    let house = house().await;
    let frames = futures_util::stream::unfold(0_u32, |sent| async move {
        tokio::time::sleep(LENGTH / 4).await;
        let frame = Ok::<_, BodyError>(Frame::data(Bytes::from("a")));
        (sent < 8).then_some((frame, sent + 1))
    });
    let request = Request::post("https://short.example.test/duplex")
        .body(StreamBody::new(Box::pin(frames)))
        .unwrap();
    let response = house.send(Version::HTTP_2, request).await;
    assert_eq!(text(response).await, "aaaaaaaa");
}
