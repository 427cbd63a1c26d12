//! Calls: how each ends, and whether it can have run.

mod bounds;
mod running;
mod sessions;

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
