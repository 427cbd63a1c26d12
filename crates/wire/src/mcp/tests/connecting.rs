//! Connecting and listing.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_plain_server_is_connected_and_listed() {
    let connection = connect(serve(|seen| async move { seen.plain() }).await).await;
    assert_eq!(names(&connection.catalog()), ["echo"]);
    assert!(!connection.has_session());
    assert!(!connection.is_closed());
    connection.close().await;
    assert!(connection.is_closed());
}

#[tokio::test]
async fn answers_that_are_no_mcp_are_named() {
    for (reply, words) in [
        (
            answer(200, "text/html", "<h1>Hello  there</h1>"),
            "not MCP: <h1>Hello there</h1>",
        ),
        (
            answer(500, "text/plain", "boom"),
            "the server failed (500: boom)",
        ),
        (
            answer(200, "application/json", "{}"),
            "the answer is not MCP",
        ),
        (answer(200, "application/json", "[1,"), "not MCP: [1,"),
        (
            with(bare(302), "location", "https://login.example.com/x"),
            "login.example.com",
        ),
        (answer(404, "text/plain", "no"), "at this URL (404: no)"),
    ] {
        let (status, headers) = (reply.status(), reply.headers().clone());
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let url = serve(move |_| {
            let mut reply = answer(status.as_u16(), "x/y", body.clone());
            *reply.headers_mut() = headers.clone();
            async move { reply }
        })
        .await;
        let error = no_connection(url).await;
        assert!(matches!(error, ConnectError::Unavailable(_)), "{error:?}");
        let failure = error.failure();
        assert!(failure.message.contains(words), "{failure:?}");
        assert!(!failure.advice.is_empty());
    }
}

#[tokio::test]
async fn pomeriums_refusals_are_told_apart() {
    let stale = |_| async { with(stale(), "www-authenticate", CHALLENGE) };
    let error = no_connection(serve(stale).await).await;
    assert!(
        matches!(&error, ConnectError::StaleToken(f) if f.request_id.as_deref() == Some("r-1"))
    );

    let error = no_connection(serve(|_| async { unconnected() }).await).await;
    assert_eq!(error.state(), ServerState::NeedsConnect);

    let denied = |seen: Seen| async move { seen.denied() };
    let error = no_connection(serve(denied).await).await;
    assert!(matches!(&error, ConnectError::Forbidden(f) if f.request_id.as_deref() == Some("r-2")));
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_at_once() {
    let started = Instant::now();
    let error = no_connection("http://127.0.0.1:1/mcp".parse().unwrap()).await;
    assert!(matches!(error, ConnectError::Unavailable(_)));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_server_that_hangs_on_the_probe_is_reached_by_the_handshake_and_remembered() {
    let probes = Counter::default();
    let counted = probes.clone();
    let url = serve(move |seen| {
        let probes = counted.clone();
        async move {
            if seen.method() == "server/discover" {
                probes.next();
                std::future::pending::<()>().await;
            }
            seen.plain()
        }
    })
    .await;
    let eras = EraMemory::default();
    for _ in 0..2 {
        let options = ConnectOptions {
            eras: eras.clone(),
            ..options(url.clone())
        };
        let connection = Connection::connect(options).await.unwrap();
        assert_eq!(names(&connection.catalog()), ["echo"]);
    }
    assert_eq!(probes.count(), 1);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let url = serve(|_| std::future::pending::<Answer>()).await;
    let started = Instant::now();
    let error = no_connection(url).await;
    assert!(error.failure().message.contains("10 s"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(12));
}

#[tokio::test]
async fn one_broken_tool_costs_no_other() {
    let url = serve(|seen| async move {
        if seen.method() == "tools/list" {
            let odd =
                json!({ "name": "odd", "inputSchema": {}, "outputSchema": false, "icons": 7 });
            return seen.result(&json!({ "tools": [{ "name": "bare" }, tool("good"), odd] }));
        }
        seen.plain()
    })
    .await;
    let catalog = connect(url).await.catalog();
    assert_eq!(names(&catalog), ["good", "odd"]);
    assert_eq!(catalog.broken[0].name, "bare");
}

#[tokio::test]
async fn pages_are_followed_and_a_repeating_cursor_ends_the_list() {
    let url = serve(|seen| async move {
        if seen.method() != "tools/list" {
            return seen.plain();
        }
        let page = match seen.body["params"]["cursor"].as_str() {
            None => json!({ "tools": [tool("a")], "nextCursor": "2" }),
            Some("2") => json!({ "tools": [tool("b")], "nextCursor": "3" }),
            _ => json!({ "tools": [tool("c")], "nextCursor": "2" }),
        };
        seen.result(&page)
    })
    .await;
    let catalog = connect(url).await.catalog();
    assert_eq!(names(&catalog), ["a", "b", "c"]);
    assert!(
        catalog
            .broken
            .iter()
            .any(|tool| tool.reason.contains("repeats")),
        "{catalog:?}"
    );
}

#[tokio::test]
async fn a_server_without_tools_has_an_empty_catalog() {
    let url = serve(|seen| async move {
        match seen.method() {
            "tools/list" => seen.error(-32601, "Method not found"),
            _ => seen.plain(),
        }
    })
    .await;
    assert!(connect(url).await.catalog().tools.is_empty());
}

#[tokio::test]
async fn a_session_is_kept_listened_to_and_deleted() {
    let deleted = Counter::default();
    let counted = deleted.clone();
    let lists = Counter::default();
    let url = serve(move |seen| {
        let (deleted, lists) = (counted.clone(), lists.clone());
        async move {
            match seen.method() {
                "initialize" => with(seen.plain(), "mcp-session-id", "s-1"),
                "GET" => {
                    assert_eq!(seen.header("mcp-session-id"), Some("s-1"));
                    let method = "notifications/tools/list_changed";
                    let changed = json!({ "jsonrpc": "2.0", "method": method });
                    let once = futures_util::stream::once(async { changed });
                    stream(once.chain(futures_util::stream::pending()))
                }
                "tools/list" if lists.next() > 0 => {
                    seen.result(&json!({ "tools": [tool("echo"), tool("new")] }))
                }
                "DELETE" => {
                    assert_eq!(seen.header("mcp-session-id"), Some("s-1"));
                    deleted.next();
                    bare(200)
                }
                _ => seen.plain(),
            }
        }
    })
    .await;
    let connection = connect(url).await;
    assert!(connection.has_session());
    let mut changes = connection.catalog_changes();
    changes
        .wait_for(|catalog| names(catalog) == ["echo", "new"])
        .await
        .unwrap();
    connection.close().await;
    assert_eq!(deleted.count(), 1);
}

#[tokio::test]
async fn a_standing_stream_that_always_ends_at_once_is_given_up() {
    let opened = Counter::default();
    let counted = opened.clone();
    let url = serve(move |seen| {
        let opened = counted.clone();
        async move {
            match seen.method() {
                "initialize" => with(seen.plain(), "mcp-session-id", "s-1"),
                "GET" => {
                    opened.next();
                    stream(futures_util::stream::empty())
                }
                _ => seen.plain(),
            }
        }
    })
    .await;
    let connection = connect(url).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(opened.count(), 3);
    assert!(!connection.is_closed());
    assert_eq!(
        outcome(&last(connection.call(a_call("echo", json!({})))).await),
        Outcome::Ok
    );
}

/// A server of MCP 2024-11-05: a stream, and a URL to post to.
async fn legacy_server() -> Url {
    let (sender, _) = tokio::sync::broadcast::channel::<String>(64);
    serve(move |seen| {
        let sender = sender.clone();
        async move {
            let path = seen.http.uri.path().to_owned();
            match (seen.http.method.as_str(), path.as_str()) {
                ("GET", "/mcp") => {
                    let first = "event: endpoint\ndata: /messages?session=7\n\n".to_owned();
                    let rest = tokio_stream::wrappers::BroadcastStream::new(sender.subscribe());
                    let rest = rest.filter_map(|event| async { event.ok() });
                    raw_stream(futures_util::stream::once(async { first }).chain(rest))
                }
                ("POST", "/messages") => {
                    assert_eq!(seen.http.uri.query(), Some("session=7"));
                    let answer = seen.plain();
                    let body = answer.into_body().collect().await.unwrap().to_bytes();
                    if seen.method() == "tools/call" {
                        let event = progress(&progress_token(&seen), 1);
                        sender
                            .send(format!("event: message\ndata: {event}\n\n"))
                            .unwrap();
                    }
                    if !body.is_empty() {
                        let body = String::from_utf8_lossy(&body);
                        sender
                            .send(format!("event: message\ndata: {body}\n\n"))
                            .unwrap();
                    }
                    bare(202)
                }
                _ => bare(405),
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_http_sse_server_is_reached_and_called() {
    let connection = connect(legacy_server().await).await;
    assert_eq!(names(&connection.catalog()), ["echo"]);
    assert!(connection.has_session());
    let events = events(connection.call(a_call("echo", json!({})))).await;
    assert!(matches!(
        events.last(),
        Some(CallEvent::Ended {
            outcome: Outcome::Ok,
            ..
        })
    ));
    let reports = |event: &&CallEvent| matches!(event, CallEvent::Progress { .. });
    assert_eq!(events.iter().filter(reports).count(), 1, "{events:?}");
}

#[tokio::test]
async fn an_endpoint_of_another_origin_is_refused() {
    let url = serve(|seen| async move {
        if seen.method() != "GET" {
            return bare(405);
        }
        let event = "event: endpoint\ndata: http://evil.example.com/messages\n\n".to_owned();
        raw_stream(futures_util::stream::once(async { event }))
    })
    .await;
    assert!(matches!(
        no_connection(url).await,
        ConnectError::Unavailable(_)
    ));
}
