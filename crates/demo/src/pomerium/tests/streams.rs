//! Streams pass as they come, end when either side ends them, and end at shutdown.

use futures_util::StreamExt as _;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::*;

const VERSIONS: [Version; 2] = [Version::HTTP_2, Version::HTTP_11];

/// A request for an endless answer, of the app and of a server.
fn endless(house: &House, path: &str) -> [Request<Full<Bytes>>; 2] {
    let bearer = format!("Bearer {}", house.te());
    let app = format!("https://chat.example.test:8443{path}");
    let server = format!("https://db.example.test:8443{path}");
    [
        get(&app, &[("cookie", &*house.ana.cookie)]),
        get(&server, &[("authorization", &*bearer)]),
    ]
}

#[tokio::test]
async fn an_event_arrives_at_once_and_giving_up_reaches_the_upstream() {
    for version in VERSIONS {
        for at in 0..2 {
            let house = House::open().await;
            let request = endless(&house, "/events")[at].clone();
            let mut response = house.send(version, request).await;
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let event = tokio::time::timeout(PATIENCE, response.body_mut().frame()).await;
            let event = event.unwrap().unwrap().unwrap();
            assert_eq!(event.into_data().unwrap(), "data: 1\n\n");
            drop(response);
            house.upstream.given_up().await;
        }
    }
}

#[tokio::test]
async fn giving_up_before_the_answer_reaches_the_upstream() {
    for version in VERSIONS {
        for at in 0..2 {
            let house = House::open().await;
            let request = endless(&house, "/hang")[at].clone();
            let asked = async {
                while house.upstream.count() == 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = house.send(version, request) => panic!("there is no answer"),
                () = asked => {}
            }
            house.upstream.given_up().await;
        }
    }
}

#[tokio::test]
async fn a_request_streams_up_while_its_answer_streams_down() {
    for version in VERSIONS {
        let house = House::open().await;
        let (sender, receiver) = mpsc::channel::<&'static str>(1);
        let frames = stream::unfold(receiver, |mut receiver| async move {
            let part = receiver.recv().await?;
            Some((Ok::<_, BodyError>(Frame::data(Bytes::from(part))), receiver))
        });
        let request = Request::post("https://chat.example.test:8443/duplex")
            .header("cookie", &house.ana.cookie)
            .body(StreamBody::new(frames.boxed()))
            .unwrap();
        sender.send("one").await.unwrap();
        let mut response = house.send(version, request).await;
        for (echoed, next) in [("one", Some("two")), ("two", None)] {
            let frame = tokio::time::timeout(PATIENCE, response.body_mut().frame()).await;
            assert_eq!(
                frame.unwrap().unwrap().unwrap().into_data().unwrap(),
                echoed
            );
            if let Some(next) = next {
                sender.send(next).await.unwrap();
            }
        }
        drop(sender);
        assert_eq!(text(response).await, "");
    }
}

#[tokio::test]
async fn everything_ends_at_shutdown() {
    let house = House::open().await;
    let [app, server] = endless(&house, "/events");
    let one = house.send(Version::HTTP_2, app).await;
    let two = house.send(Version::HTTP_11, server).await;
    house.tasks.shutdown.cancel();
    house.tasks.tracker.close();
    let ended = tokio::time::timeout(PATIENCE, house.tasks.tracker.wait()).await;
    assert!(
        ended.is_ok(),
        "{} tasks are left",
        house.tasks.tracker.len()
    );
    drop((one, two));
    let refused = TcpStream::connect(house.standin.tls_addr()).await;
    assert!(refused.is_err());
}
