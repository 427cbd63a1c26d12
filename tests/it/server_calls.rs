//! Calls to servers that lose sessions, connections or their minds: each has one end, and none runs
//! twice that may have run.

use std::{
    future::ready,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use chat::{
    event::{Event, Logged},
    failure::Layer,
    outcome::Outcome,
};
use demo::model::{Call, Reply};
use futures_util::stream;
use harness::User;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    fake::{Answer, Fake, Seen, bare, events, tool, with},
    look::found,
    servers::{build, functions, outcome, turn},
};

/// A server of 2025-11-25 that keeps sessions: it numbers them, and knows one from `initialize` on
/// until `forgets` says otherwise of a request.
pub(crate) async fn with_sessions(
    forgets: impl Fn(&Seen) -> bool + Clone + Send + Sync + 'static,
) -> Fake {
    let issued = Arc::new(AtomicUsize::new(0));
    Fake::start(move |seen| {
        let answer = if seen.method() == "initialize" {
            let id = format!("session-{}", issued.fetch_add(1, Ordering::SeqCst) + 1);
            with(seen.plain(&[]), "mcp-session-id", &id)
        } else if forgets(&seen) {
            bare(404)
        } else {
            match seen.method() {
                "tools/call" => seen.says(seen.header("mcp-session-id").unwrap_or("none")),
                "DELETE" => bare(200),
                _ => seen.plain(&[tool("work")]),
            }
        };
        ready(answer)
    })
    .await
}

#[tokio::test]
async fn a_forgotten_session_is_made_anew_and_the_call_started_once_more() {
    let fake = with_sessions(|seen| {
        seen.method() == "tools/call" && seen.header("mcp-session-id") == Some("session-1")
    })
    .await;
    let world = build().server("Old", fake.url()).start().await;
    let ana = world.ana();
    let told = turn(&world, &ana, &[("Old__work", json!({}))]).await;
    assert_eq!(outcome(told.call()), Outcome::Ok);
    assert_eq!(told.call().shown, "session-2");
    assert_eq!(told.starts(), 2);
    assert_eq!(fake.calls().len(), 2, "one of them was refused");
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn a_server_that_forgets_every_session_is_not_asked_for_ever() {
    let fake = with_sessions(|seen| seen.method() == "tools/call").await;
    let world = build().server("Old", fake.url()).start().await;
    let ana = world.ana();
    let told = turn(&world, &ana, &[("Old__work", json!({}))]).await;
    assert_eq!(outcome(told.call()), Outcome::Unavailable);
    assert_eq!((told.starts(), fake.calls().len()), (2, 2));
    let failure = told.call().failure.as_ref().unwrap();
    assert!(failure.message.contains("forgotten"), "{failure:?}");
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn conversations_do_not_share_a_session_and_a_conversation_keeps_its_own() {
    let fake = with_sessions(|_| false).await;
    let world = build().server("Old", fake.url()).start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let call = [("Old__work", json!({}))];
    let first = turn(&world, &ana, &call).await;
    let other = turn(&world, &ana, &call).await;
    let bens = turn(&world, &ben, &call).await;
    let sessions = [&first, &other, &bens].map(|told| told.call().shown.clone());
    assert!(
        sessions[0] != sessions[1] && sessions[1] != sessions[2] && sessions[0] != sessions[2],
        "{sessions:?}"
    );
    let started = first.transcript.started.as_ref().unwrap();
    let conversation = started.conversation.as_ref().unwrap();
    world
        .model()
        .queue(Reply::calls([Call::new("Old__work", &json!({}))]));
    world.model().queue(Reply::text("Done."));
    let posted = ana.ask_in(conversation, "Again").await;
    let again = ana.wait_end(&posted.turn).await;
    assert_eq!(again.calls().next().unwrap().shown, sessions[0]);
    world.finish().await;
    let deleted = fake.seen().into_iter();
    let deleted = deleted
        .filter(|seen| seen.http.method == Method::DELETE)
        .count();
    assert!(deleted <= 3, "each session is ended at most once");
    fake.end().await;
}

/// A server whose calls are answered by `reply`, and how the only call of a turn ended.
async fn lost_call(reply: impl Fn(&Seen) -> Option<Answer> + Clone + Send + Sync + 'static) {
    let fake = Fake::start(move |seen| {
        let reply = reply.clone();
        async move {
            match seen.method() {
                "tools/call" => match reply(&seen) {
                    Some(answer) => answer,
                    // The connection dies with the handler.
                    None => panic!("as this test wants it"),
                },
                _ => seen.plain(&[tool("work")]),
            }
        }
    })
    .await;
    let world = build().server("Weak", fake.url()).start().await;
    let ana = world.ana();
    let told = turn(&world, &ana, &[("Weak__work", json!({}))]).await;
    let call = told.call();
    assert_eq!(outcome(call), Outcome::Unknown, "{call:#?}");
    assert!(call.shown.contains("may or may not"), "{}", call.shown);
    let failure = call.failure.as_ref().unwrap();
    assert!(matches!(failure.layer, Layer::Server | Layer::Pomerium));
    assert!(failure.advice.contains("check"), "{failure:?}");
    assert_eq!((told.starts(), fake.calls().len()), (1, 1), "run once");
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn a_call_whose_connection_dies_may_have_run_and_is_not_run_again() {
    // After the server took it, and said so.
    lost_call(|seen| {
        let token = &seen.body["params"]["_meta"]["progressToken"];
        let params = json!({ "progressToken": token, "progress": 1, "total": 2 });
        let progress = json!({
            "jsonrpc": "2.0", "method": "notifications/progress", "params": params,
        });
        let cut = io::Error::other("cut");
        Some(events(stream::iter([Ok(progress), Err(cut)])))
    })
    .await;
    // Before it said a word.
    lost_call(|_| None).await;
}

#[tokio::test]
async fn answers_that_are_no_results_end_as_what_they_are() {
    let fake = Fake::start(|seen| {
        let odd = match (seen.method(), seen.tool()) {
            ("tools/call", "html") => crate::fake::answer(200, "text/html", "<p>hello"),
            ("tools/call", "error") => seen.error(-32000, "disk full"),
            ("tools/call", "empty") => seen.result(&json!({})),
            ("tools/call", "fails") => crate::fake::answer(500, "text/plain", "oh no"),
            ("tools/call", "tool_error") => seen.result(&json!({
                "content": [{ "type": "text", "text": "no such thing" }], "isError": true,
            })),
            _ => {
                let tools = ["html", "error", "empty", "fails", "tool_error"];
                seen.plain(&tools.map(tool))
            }
        };
        ready(odd)
    })
    .await;
    let world = build().server("Odd", fake.url()).start().await;
    let ana = world.ana();
    for (name, ended, words) in [
        ("Odd__html", Outcome::ProtocolError, "not MCP"),
        ("Odd__error", Outcome::ToolError, "disk full"),
        ("Odd__empty", Outcome::ProtocolError, "no content"),
        ("Odd__fails", Outcome::ProtocolError, "not MCP"),
        ("Odd__tool_error", Outcome::ToolError, "no such thing"),
    ] {
        let told = turn(&world, &ana, &[(name, json!({}))]).await;
        let call = told.call();
        assert_eq!(outcome(call), ended, "{name}: {call:#?}");
        assert!(call.shown.contains(words), "{name}: {}", call.shown);
        assert_eq!(told.starts(), 1);
    }
    assert_eq!(fake.calls().len(), 5);
    world.finish().await;
    fake.end().await;
}

/// Waits until Toolgate knows a server's tool.
async fn wait_tool(user: &User, server: &str, tool: &str) {
    found(async || {
        let servers: Vec<Value> = user.get_json("/api/servers").await;
        let named = |value: &Value, name: &str| value["name"] == name;
        let entry = servers.iter().find(|entry| named(entry, server));
        let tools = entry.and_then(|entry| entry["tools"].as_array());
        let known = tools.is_some_and(|tools| tools.iter().any(|entry| named(entry, tool)));
        known.then_some(()).ok_or(format!("{servers:?}"))
    })
    .await;
}

#[tokio::test]
async fn tools_that_change_in_the_middle_of_a_turn_are_offered_in_the_next_round() {
    let (grow, grown) = watch::channel(false);
    let (done, wait_done) = watch::channel(false);
    let grow = Arc::new(grow);
    let fake = Fake::start(move |seen| {
        let (grow, grown, wait_done) = (grow.clone(), grown.clone(), wait_done.clone());
        async move {
            if seen.method() != "tools/call" {
                let tools = [tool("work"), tool("more")];
                let offered = if *grown.borrow() { &tools } else { &tools[..1] };
                return seen.plain(offered);
            }
            grow.send_replace(true);
            let changed = json!({
                "jsonrpc": "2.0", "method": "notifications/tools/list_changed",
            });
            let result = json!({
                "jsonrpc": "2.0", "id": seen.body["id"],
                "result": { "content": [{ "type": "text", "text": "grown" }] },
            });
            events(stream::unfold(0, move |at| {
                let message = [changed.clone(), result.clone()].into_iter().nth(at);
                let mut wait_done = wait_done.clone();
                async move {
                    if at == 1 {
                        wait_done.wait_for(|done| *done).await.ok()?;
                    }
                    message.map(|message| (Ok(message), at + 1))
                }
            }))
        }
    })
    .await;
    let world = build().server("Grows", fake.url()).start().await;
    let ana = world.ana();
    world
        .model()
        .queue(Reply::calls([Call::new("Grows__work", &json!({}))]));
    world.model().queue(Reply::text("Done."));
    let posted = ana.ask("Grow").await;
    world.model().wait_received(1).await;
    assert!(!functions(&world).contains(&"Grows__more".to_owned()));
    wait_tool(&ana, "Grows", "more").await;
    done.send_replace(true);
    ana.wait_end(&posted.turn).await;
    assert!(functions(&world).contains(&"Grows__more".to_owned()));
    let log = ana.log(&posted.turn).await;
    let rounds: Vec<_> = log.iter().filter_map(catalogs_of_round).collect();
    assert_eq!(rounds.len(), 2);
    assert_ne!(
        rounds[0], rounds[1],
        "the second round names the new catalog"
    );
    world.finish().await;
    fake.end().await;
}

fn catalogs_of_round(logged: &Logged) -> Option<String> {
    let Event::RoundStarted { catalogs, .. } = &logged.event else {
        return None;
    };
    Some(format!("{catalogs:?}"))
}
