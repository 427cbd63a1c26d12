//! Resources: what comes back, what a person is told when nothing does, and that a read which
//! nobody waits for is cancelled.

use super::*;

/// A connection to a server with resources, whose `resources/read` is answered by `reply`.
async fn connected<F, A>(reply: F) -> Connection
where
    F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let methods = &["resources/read", "notifications/cancelled"];
    answered(methods, with_resources, reply).await
}

/// What a plain server answers that has resources, too.
fn with_resources(seen: &Seen) -> Answer {
    match seen.method() {
        "initialize" => seen.result(&json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {}, "resources": {} },
            "serverInfo": { "name": "fake", "version": "1" },
        })),
        _ => seen.plain(),
    }
}

fn request(uri: &str) -> ReadRequest {
    ReadRequest {
        uri: uri.to_owned(),
        context: CallContext {
            turn: TurnId::from("turn-1"),
            call: CallId(1),
        },
        timeout: Duration::from_secs(20),
    }
}

/// What a read comes to that is answered by `reply`.
async fn read<F, A>(reply: F) -> Result<Value, ReadError>
where
    F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    connected(reply).await.read(request("x://y")).await
}

#[tokio::test]
async fn what_has_the_uri_is_taken_else_the_first() {
    for (uris, expected) in [
        (["x://z", "x://y"], 1),
        (["x://y", "x://z"], 0),
        (["x://a", "x://b"], 0),
    ] {
        let contents = uris.map(|uri| json!({ "uri": uri, "text": uri, "odd": [1] }));
        let result = json!({ "contents": contents });
        let content = read(move |seen| {
            assert_eq!(seen.body["params"]["uri"], "x://y");
            let answer = seen.result(&result);
            async move { answer }
        });
        assert_eq!(content.await.unwrap(), contents[expected]);
    }
}

#[tokio::test]
async fn what_the_server_does_not_know_is_told_from_what_it_does_not_offer() {
    for code in [-32002, -32602] {
        let error = read(move |seen| async move { seen.error(code, "Resource gone") }).await;
        let Err(ReadError::NotFound(failure)) = error else {
            panic!("{error:?}")
        };
        assert!(failure.message.contains("Resource gone"), "{failure:?}");
        assert!(failure.advice.contains("new link"), "{failure:?}");
    }
    let error = read(|seen| async move { seen.error(-32601, "No") }).await;
    let Err(ReadError::NotFound(unoffered)) = error else {
        panic!("{error:?}")
    };
    // One that did not say that it has any is not even asked.
    let asked = Counter::default();
    let counter = asked.clone();
    let url = serve(move |seen| {
        if seen.method() == "resources/read" {
            counter.next();
        }
        let answer = seen.plain();
        async move { answer }
    });
    let connection = connect(url.await).await;
    let error = connection.read(request("x://y")).await;
    assert_eq!(error, Err(ReadError::NotFound(unoffered)));
    assert_eq!(asked.count(), 0);
}

#[tokio::test]
async fn what_is_no_resource_is_no_file() {
    let input = json!({ "resultType": "input_required", "contents": [{ "text": "x" }] });
    for result in [json!({}), json!({ "contents": [] }), json!(7), input] {
        let error = read(move |seen| {
            let answer = seen.result(&result);
            async move { answer }
        });
        let error = error.await;
        assert!(matches!(error, Err(ReadError::Failed(_))), "{error:?}");
    }
    let error = read(|seen| async move { seen.error(-32000, "disk full") }).await;
    let Err(ReadError::Failed(failure)) = error else {
        panic!("{error:?}")
    };
    assert_eq!(failure.message, "JSON-RPC error -32000: disk full");
    let long = request(&format!("x://{}", "y".repeat(9000)));
    let error = connected(|_| async { panic!("asked") })
        .await
        .read(long)
        .await;
    assert!(matches!(error, Err(ReadError::Failed(_))), "{error:?}");
}

#[tokio::test]
async fn pomeriums_refusals_are_what_they_are() {
    let stale = read(|_| async { stale() }).await;
    assert!(matches!(stale, Err(ReadError::StaleToken(_))), "{stale:?}");
    let unconnected = read(|_| async { unconnected() }).await;
    assert!(
        matches!(unconnected, Err(ReadError::NeedsConnect(_))),
        "{unconnected:?}"
    );
    let denied = read(|seen| async move { seen.denied() }).await;
    assert!(matches!(denied, Err(ReadError::Forbidden(_))), "{denied:?}");
}

#[tokio::test]
async fn a_lost_answer_can_be_asked_for_again() {
    let lost = read(|_| async { cut_stream(futures_util::stream::iter([])) }).await;
    let Err(ReadError::Failed(failure)) = lost else {
        panic!("{lost:?}")
    };
    // Nothing can have happened.
    assert!(!failure.advice.contains("effect"), "{failure:?}");
    assert!(failure.advice.contains("try again"), "{failure:?}");
}

#[tokio::test]
async fn nobody_waiting_cancels_it_at_the_server() {
    let (asked, cancelled) = (Arc::new(tokio::sync::Notify::new()), Counter::default());
    let (asking, counter) = (asked.clone(), cancelled.clone());
    let connection = connected(move |seen| {
        let (asking, counter) = (asking.clone(), counter.clone());
        async move {
            if seen.method() == "notifications/cancelled" {
                counter.next();
                return bare(202);
            }
            asking.notify_one();
            std::future::pending().await
        }
    })
    .await;
    tokio::select! {
        read = connection.read(request("x://y")) => panic!("{read:?}"),
        () = asked.notified() => {}
    }
    let waiting = async {
        while cancelled.count() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .expect("a cancel");

    let timeout = Duration::from_millis(50);
    let slow = ReadRequest {
        timeout,
        ..request("x://y")
    };
    let error = connection.read(slow).await.unwrap_err();
    assert_eq!(error.failure().message, "no answer within 0.05 s");
}

#[tokio::test]
async fn a_session_that_is_gone_is_made_anew_once() {
    let reads = Counter::default();
    let counter = reads.clone();
    let url = serve(move |seen| {
        let counter = counter.clone();
        async move {
            match seen.method() {
                "initialize" => with(with_resources(&seen), "mcp-session-id", "s-1"),
                "resources/read" if counter.next() == 0 => bare(404),
                "resources/read" => {
                    seen.result(&json!({ "contents": [{ "uri": "x://y", "text": "There" }] }))
                }
                _ => seen.plain(),
            }
        }
    });
    let connection = connect(url.await).await;
    let content = connection.read(request("x://y")).await.unwrap();
    assert_eq!(content["text"], "There");
    assert_eq!(reads.count(), 2);
}
