//! What happens while a call runs: progress, silence, a cancel, the end of its connection.

use super::*;

#[tokio::test]
async fn progress_comes_in_order_and_before_the_end() {
    let connection = connected(|seen| async move {
        let (token, id) = (progress_token(&seen), seen.body["id"].clone());
        let reports = (0..500).map(move |at| progress(&token, at));
        let end = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } });
        let events = futures_util::stream::iter(reports.chain([end]));
        stream(events.then(|event| async {
            tokio::task::yield_now().await;
            event
        }))
    })
    .await;
    let calls: Vec<_> = (0..8)
        .map(|_| connection.call(a_call("echo", json!({}))))
        .collect();
    for call in calls {
        let events = events(call).await;
        assert_eq!(events[0], CallEvent::Accepted);
        assert_eq!(outcome(events.last().unwrap()), Outcome::Ok);
        let reports: Vec<f64> = events.iter().filter_map(reported).collect();
        assert!(reports.is_sorted(), "{reports:?}");
        assert_eq!(reports.last(), Some(&499.0));
        assert_eq!(reports.len() + 2, events.len());
    }
}

fn reported(event: &CallEvent) -> Option<f64> {
    let CallEvent::Progress { progress, .. } = event else {
        return None;
    };
    Some(*progress)
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nothing() {
    let connection = connected(|seen| async move {
        let token = progress_token(&seen);
        let id = seen.body["id"].clone();
        let end = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } });
        let reports = (0..2000).map(move |at| progress(&token, at));
        stream(futures_util::stream::iter(reports.chain([end])))
    })
    .await;
    let unread = connection.call(a_call("echo", json!({})));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let read = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(outcome(&read), Outcome::Ok);
    assert_eq!(outcome(&last(unread).await), Outcome::Ok);
}

/// A server whose calls never end, and how many cancels it was told of.
async fn endless() -> (Connection, Counter) {
    let cancels = Counter::default();
    let counted = cancels.clone();
    let url = serve(move |seen| {
        let cancels = counted.clone();
        async move {
            match seen.method() {
                "tools/call" => {
                    let event = progress(&progress_token(&seen), 1);
                    let once = futures_util::stream::once(async { event });
                    stream(once.chain(futures_util::stream::pending()))
                }
                "notifications/cancelled" => {
                    assert!(seen.body["params"]["requestId"].is_number());
                    cancels.next();
                    bare(202)
                }
                _ => seen.plain(),
            }
        }
    })
    .await;
    (connect(url).await, cancels)
}

#[tokio::test]
async fn cancel_tells_the_server_and_ends_the_call() {
    let (connection, cancels) = endless().await;
    let mut call = connection.call(a_call("echo", json!({})));
    assert_eq!(call.events.recv().await, Some(CallEvent::Accepted));
    call.cancel();
    assert_eq!(outcome(&last(call).await), Outcome::Cancelled);
    assert_eq!(cancels.count(), 1);

    drop(connection.call(a_call("echo", json!({}))));
    let call = connection.call(a_call("echo", json!({})));
    tokio::time::sleep(Duration::from_millis(200)).await;
    connection.close().await;
    let event = last(call).await;
    assert_eq!(outcome(&event), Outcome::Unknown);
    assert!(failure(&event).message.contains("was closed"), "{event:?}");

    let late = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(refusal(&late), Refusal::SessionGone);
}

#[tokio::test]
async fn a_call_that_waits_while_its_connection_is_closed_is_never_sent() {
    let calls = Counter::default();
    let counted = calls.clone();
    let url = serve(move |seen| {
        let calls = counted.clone();
        async move {
            match seen.method() {
                "initialize" => with(seen.plain(), "mcp-session-id", "s-1"),
                // The session's first requests wait for this stream, for a while.
                "GET" => std::future::pending().await,
                "tools/call" => {
                    calls.next();
                    seen.plain()
                }
                _ => seen.plain(),
            }
        }
    })
    .await;
    // The connection ends, and all that it sends with stays.
    let shutdown = CancellationToken::new();
    let options = ConnectOptions {
        shutdown: shutdown.clone(),
        ..options(url)
    };
    let connection = Connection::connect(options).await.unwrap();
    let call = connection.call(a_call("echo", json!({})));
    tokio::time::sleep(Duration::from_millis(50)).await;
    shutdown.cancel();
    assert_eq!(refusal(&last(call).await), Refusal::SessionGone);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(calls.count(), 0);
}

#[tokio::test]
async fn silence_and_length_have_limits() {
    let (connection, cancels) = endless().await;
    let mut silent = a_call("echo", json!({}));
    silent.idle = Duration::from_millis(300);
    let event = last(connection.call(silent)).await;
    assert_eq!(outcome(&event), Outcome::Timeout);
    assert!(failure(&event).message.contains("silent"), "{event:?}");
    let mut long = a_call("echo", json!({}));
    long.total = Duration::from_millis(300);
    let event = last(connection.call(long)).await;
    assert!(failure(&event).message.contains("longer"), "{event:?}");
    assert_eq!(cancels.count(), 2);
}

#[tokio::test]
async fn progress_restarts_the_clock_of_silence() {
    let connection = connected(|seen| async move {
        let (token, id) = (progress_token(&seen), seen.body["id"].clone());
        let reports = (0..6).map(move |at| progress(&token, at));
        let end = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } });
        stream(
            futures_util::stream::iter(reports.chain([end])).then(|event| async {
                tokio::time::sleep(Duration::from_millis(150)).await;
                event
            }),
        )
    })
    .await;
    let mut call = a_call("echo", json!({}));
    call.idle = Duration::from_millis(500);
    assert_eq!(outcome(&last(connection.call(call)).await), Outcome::Ok);
}

#[tokio::test]
async fn parallel_calls_run_side_by_side() {
    let connection = connected(|seen| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let argument = seen.body["params"]["arguments"]["n"].to_string();
        seen.result(&json!({ "content": [text(&argument)] }))
    })
    .await;
    let started = std::time::Instant::now();
    let calls: Vec<_> = (0..12)
        .map(|n| connection.call(a_call("echo", json!({ "n": n }))))
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        let CallEvent::Ended { raw, .. } = last(call).await else {
            panic!("refused")
        };
        assert_eq!(raw["content"][0]["text"], n.to_string());
    }
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}
