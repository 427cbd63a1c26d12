//! Calls: how each ends, and whether it can have run.

use super::*;

/// A connection to a plain server whose `tools/call` is answered by `reply`.
async fn connected<F, A>(reply: F) -> Connection
where
    F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    answered(&["tools/call"], Seen::plain, reply).await
}

/// The last event of a call that is answered by `reply`.
async fn called<F, A>(reply: F) -> CallEvent
where
    F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    last(
        connected(reply)
            .await
            .call(a_call("echo", json!({ "a": 1 }))),
    )
    .await
}

#[tokio::test]
async fn a_result_arrives_verbatim_however_odd_it_is() {
    let odd = json!({
        "content": [
            { "type": "hologram", "depth": 3 },
            { "type": "resource_link", "uri": "x://y" },
        ],
        "structuredContent": [1, 2],
        "vendor": { "z": null },
    });
    let sent = odd.clone();
    let event = called(move |seen| {
        let result = sent.clone();
        async move { seen.result(&result) }
    })
    .await;
    assert_eq!(
        event,
        CallEvent::Ended {
            outcome: Outcome::Ok,
            raw: odd,
            failure: None
        }
    );
}

#[tokio::test]
async fn errors_of_the_tool_are_tool_errors() {
    let failed = json!({ "content": [text("no such table")], "isError": true });
    let event = called(move |seen| {
        let result = failed.clone();
        async move { seen.result(&result) }
    })
    .await;
    assert_eq!(outcome(&event), Outcome::ToolError);

    for status in [200, 400, 500] {
        let event = called(move |seen| async move {
            let mut answer = seen.error(-32000, "disk full");
            *answer.status_mut() = ::http::StatusCode::from_u16(status).unwrap();
            answer
        })
        .await;
        let CallEvent::Ended {
            outcome,
            raw,
            failure,
        } = event
        else {
            panic!("{event:?}")
        };
        assert_eq!(outcome, Outcome::ToolError);
        assert_eq!(
            raw,
            json!({ "content": [text("disk full")], "isError": true })
        );
        assert!(failure.unwrap().message.contains("-32000"));
    }
}

#[tokio::test]
async fn what_pomerium_refuses_was_not_run() {
    let stale = called(|_| async { stale() }).await;
    assert_eq!(refusal(&stale), Refusal::StaleToken);
    assert_eq!(failure(&stale).request_id.as_deref(), Some("r-1"));

    let unconnected = called(|_| async { unconnected() }).await;
    assert_eq!(refusal(&unconnected), Refusal::NeedsConnect);

    let denied = called(|seen| async move { seen.denied() }).await;
    assert_eq!(refusal(&denied), Refusal::Denied);
    assert_eq!(failure(&denied).request_id.as_deref(), Some("r-2"));

    let large = called(|_| async { answer(413, "text/plain", "Payload Too Large") }).await;
    assert_eq!(refusal(&large), Refusal::TooLarge);
}

#[tokio::test]
async fn a_request_over_the_limit_is_not_sent() {
    let calls = Counter::default();
    let counted = calls.clone();
    let connection = connected(move |seen| {
        counted.next();
        async move { seen.plain() }
    })
    .await;
    let big = "x".repeat(1024 * 1024);
    let event = last(connection.call(a_call("echo", json!({ "big": big })))).await;
    assert_eq!(refusal(&event), Refusal::TooLarge);
    assert!(failure(&event).message.contains("1048576"), "{event:?}");
    assert_eq!(calls.count(), 0);
}

#[tokio::test]
async fn failures_on_the_way_say_whether_the_call_can_have_run() {
    let refused = "upstream_reset_before_response_started{remote_connection_failure|\
                   delayed_connect_error:_Connection_refused}";
    let cases = [
        (
            503,
            json!({ "requestId": "r", "status": "503", "statusText": refused }),
            Outcome::Unavailable,
        ),
        (
            503,
            json!({ "statusText": "upstream_reset_before_response_started{connection_termination}" }),
            Outcome::Unknown,
        ),
        (
            504,
            json!({ "statusText": "response_timeout" }),
            Outcome::Unknown,
        ),
        (
            404,
            json!({ "requestId": "r", "statusText": "route_not_found" }),
            Outcome::Unavailable,
        ),
        (500, json!({ "oh": "no" }), Outcome::ProtocolError),
    ];
    for (status, body, expected) in cases {
        let sent = body.clone();
        let event = called(move |_| {
            let body = sent.clone();
            async move { json_answer(status, &body) }
        })
        .await;
        assert_eq!(outcome(&event), expected, "{status} {body}");
        assert_eq!(failure(&event).status, Some(status));
    }
    let empty = called(|_| async { with(bare(502), "cache-control", "no-store") }).await;
    assert_eq!(outcome(&empty), Outcome::Unavailable);
}

#[tokio::test]
async fn answers_that_are_no_mcp_are_protocol_errors() {
    let html = called(|_| async { answer(200, "text/html", "<p>hi</p>") }).await;
    assert_eq!(outcome(&html), Outcome::ProtocolError);
    assert!(failure(&html).message.contains("<p>hi</p>"));
    let event = called(|_| async {
        let chunk = "data: <p>hi</p>\n\n".to_owned();
        raw_stream(
            futures_util::stream::once(async { chunk }).chain(futures_util::stream::pending()),
        )
    })
    .await;
    assert_eq!(outcome(&event), Outcome::ProtocolError);
    let empty = called(|seen| async move { seen.result(&json!({})) }).await;
    assert_eq!(outcome(&empty), Outcome::ProtocolError);
    let asks = called(|seen| async move {
        seen.result(&json!({ "resultType": "input_required", "inputRequests": {} }))
    })
    .await;
    assert_eq!(outcome(&asks), Outcome::ProtocolError);
}

#[tokio::test]
async fn an_answer_cut_in_the_middle_is_unknown_and_costs_no_other_call() {
    let connection = connected(|seen| async move {
        if seen.body["params"]["arguments"]["cut"] == true {
            let event = progress(&progress_token(&seen), 1);
            return stream(futures_util::stream::once(async { event }));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        seen.plain()
    })
    .await;
    let cut = connection.call(a_call("echo", json!({ "cut": true })));
    let whole = connection.call(a_call("echo", json!({})));
    assert_eq!(outcome(&last(cut).await), Outcome::Unknown);
    assert_eq!(outcome(&last(whole).await), Outcome::Ok);
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_is_unknown() {
    for kind in ["text/event-stream", "application/json"] {
        let event = called(move |_| async move {
            let chunks = [Ok("{".to_owned()), Err(io::Error::other("cut"))];
            let slow = futures_util::stream::iter(chunks).then(|chunk| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                chunk
            });
            with(cut_stream(slow), "content-type", kind)
        })
        .await;
        assert_eq!(outcome(&event), Outcome::Unknown, "{kind}");
        assert!(!failure(&event).advice.is_empty());
    }
}

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
async fn an_error_after_the_acceptance_is_no_refusal() {
    let errors = [
        json!({ "code": -32020, "message": "Mcp-Param-Region missing" }),
        json!({ "code": -32602, "message": "access denied, please see the log",
                "data": { "request_id": "r-2" } }),
    ];
    for error in errors {
        let sent = error.clone();
        let connection = connected(move |seen| {
            let error = sent.clone();
            async move {
                let report = progress(&progress_token(&seen), 1);
                let end = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error });
                stream(
                    futures_util::stream::iter([report, end]).then(|event| async {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        event
                    }),
                )
            }
        })
        .await;
        let events = events(connection.call(a_call("echo", json!({})))).await;
        assert_eq!(events[0], CallEvent::Accepted);
        let end = events.last().unwrap();
        assert_eq!(outcome(end), Outcome::ToolError, "{error}");
        let said = error["message"].as_str().unwrap();
        assert!(failure(end).message.contains(said), "{end:?}");
    }
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
async fn a_forgotten_session_is_made_anew_and_the_call_left_to_its_caller() {
    let sessions = Counter::default();
    let calls = Counter::default();
    let counted = calls.clone();
    let url = serve(move |seen| {
        let (sessions, calls) = (sessions.clone(), counted.clone());
        async move {
            match seen.method() {
                "initialize" => {
                    let session = format!("s-{}", sessions.next());
                    with(seen.plain(), "mcp-session-id", &session)
                }
                "tools/call" if seen.header("mcp-session-id") == Some("s-0") => bare(404),
                "tools/call" => {
                    calls.next();
                    seen.plain()
                }
                _ => seen.plain(),
            }
        }
    })
    .await;
    let connection = connect(url).await;
    let event = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(refusal(&event), Refusal::SessionGone);
    assert_eq!(calls.count(), 0);
    let event = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(outcome(&event), Outcome::Ok);
}

#[tokio::test]
async fn a_call_that_finds_no_new_session_was_not_run() {
    let sessions = Counter::default();
    let url = serve(move |seen| {
        let sessions = sessions.clone();
        async move {
            match seen.method() {
                "initialize" if sessions.next() > 0 => answer(500, "text/plain", "starting"),
                "initialize" => with(seen.plain(), "mcp-session-id", "s-1"),
                "tools/call" => bare(404),
                _ => seen.plain(),
            }
        }
    })
    .await;
    let event = last(connect(url).await.call(a_call("echo", json!({})))).await;
    assert_eq!(outcome(&event), Outcome::Unavailable);
}

#[tokio::test]
async fn a_server_that_wants_other_headers_is_listed_again() {
    let lists = Counter::default();
    let counted = lists.clone();
    let url = serve(move |seen| {
        let lists = counted.clone();
        async move {
            match seen.method() {
                "tools/list" => {
                    lists.next();
                    seen.plain()
                }
                "tools/call" if lists.count() < 2 => {
                    let mut answer = seen.error(-32020, "Mcp-Param-Region missing");
                    *answer.status_mut() = ::http::StatusCode::BAD_REQUEST;
                    answer
                }
                _ => seen.plain(),
            }
        }
    })
    .await;
    let connection = connect(url).await;
    let event = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(refusal(&event), Refusal::HeaderMismatch);
    assert_eq!(lists.count(), 2);
    let event = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(outcome(&event), Outcome::Ok);
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
