//! What is too large, too deep or too much.

use super::*;

#[tokio::test]
async fn large_results_arrive_and_larger_ones_are_a_limit() {
    for in_events in [false, true] {
        for (megabytes, expected) in [(5, Outcome::Ok), (17, Outcome::Limit)] {
            let event = called(move |seen| async move {
                let result = json!({ "content": [text(&"x".repeat(megabytes * 1024 * 1024))] });
                if !in_events {
                    return seen.result(&result);
                }
                let id = &seen.body["id"];
                let event = json!({ "jsonrpc": "2.0", "id": id, "result": result });
                stream(futures_util::stream::once(async { event }))
            })
            .await;
            assert_eq!(
                outcome(&event),
                expected,
                "{megabytes} MiB, in events: {in_events}"
            );
        }
    }
}

/// On a runtime with one thread: what is read on it holds up the ticks.
#[tokio::test]
async fn large_results_are_read_aside() {
    let numbers = "0.12345678901234567,".repeat(200_000) + "0";
    let begun = std::time::Instant::now();
    let read: Value = serde_json::from_str(&format!("[{numbers}]")).unwrap();
    let reading = begun.elapsed();
    drop(read);
    for in_events in [false, true] {
        let numbers = numbers.clone();
        let connection = connected(move |seen| {
            let id = &seen.body["id"];
            let message = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"structuredContent":[{numbers}]}}}}"#
            );
            async move {
                if in_events {
                    let event = format!("data: {message}\n\n");
                    return raw_stream(futures_util::stream::once(async { event }));
                }
                answer(200, "application/json", message)
            }
        })
        .await;
        let mut call = std::pin::pin!(last(connection.call(a_call("echo", json!({})))));
        let mut longest = Duration::ZERO;
        let mut tick = std::time::Instant::now();
        let event = loop {
            tokio::select! {
                event = &mut call => break event,
                () = tokio::time::sleep(Duration::from_millis(1)) => {
                    longest = longest.max(tick.elapsed());
                    tick = std::time::Instant::now();
                }
            }
        };
        longest = longest.max(tick.elapsed());
        assert_eq!(outcome(&event), Outcome::Ok);
        assert!(
            longest < reading / 2,
            "{longest:?} of {reading:?}, in events: {in_events}"
        );
    }
}

#[tokio::test]
async fn results_have_a_depth() {
    for (levels, expected) in [
        (60, Outcome::Ok),
        (65, Outcome::Limit),
        (120, Outcome::Limit),
        (1000, Outcome::Limit),
    ] {
        for in_events in [false, true] {
            let event = called(move |seen| async move {
                // By hand: `json!` can write no such depth.
                let (open, close) = ("[".repeat(levels), "]".repeat(levels));
                let id = &seen.body["id"];
                let message = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"structuredContent":{open}{close}}}}}"#
                );
                if in_events {
                    let event = format!("data: {message}\n\n");
                    return raw_stream(futures_util::stream::once(async { event }));
                }
                answer(200, "application/json", message)
            })
            .await;
            assert_eq!(
                outcome(&event),
                expected,
                "{levels}, in events: {in_events}"
            );
            if expected == Outcome::Limit {
                assert!(failure(&event).message.contains("too deeply"), "{event:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_server_says_besides_the_result_is_cut() {
    let connection = connected(|seen| async move {
        let long = "ü".repeat(1_000_000);
        let mut report = progress(&progress_token(&seen), 1);
        report["params"]["message"] = json!(long);
        let error = json!({ "code": -32000, "message": long });
        let end = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error });
        stream(futures_util::stream::iter([report, end]))
    })
    .await;
    let events = events(connection.call(a_call("echo", json!({})))).await;
    let message = events.iter().find_map(|event| match event {
        CallEvent::Progress { message, .. } => message.as_deref(),
        CallEvent::Accepted | CallEvent::Refused { .. } | CallEvent::Ended { .. } => None,
    });
    assert!(message.unwrap().len() <= chat::limits::PROGRESS_MESSAGE_BYTES);
    let end = events.last().unwrap();
    assert_eq!(outcome(end), Outcome::ToolError);
    let said = &failure(end).message;
    assert!(
        said.len() <= chat::limits::FAILURE_TEXT_BYTES,
        "{}",
        said.len()
    );
    assert!(said.contains("-32000"));

    let silent = serve(|seen| async move {
        match seen.method() {
            "tools/list" => seen.error(-32000, &"x".repeat(1_000_000)),
            _ => seen.plain(),
        }
    });
    let error = no_connection(silent.await).await;
    assert!(error.failure().message.len() <= chat::limits::FAILURE_TEXT_BYTES);
}
