//! What links in results lead to: read from the server that gave them, for the person whose turn it
//! is, and saved as files that can do no harm.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use demo::notes::Options;
use harness::{Response, User, World};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    fake::{Answer, Fake, Seen, bare, tool, with},
    look::eventually,
    notes::{self, Browser},
    servers::{build, turn},
    traffic_api::exchanges,
};

/// Counts the MCP sessions, so that each has an id of its own.
static SESSIONS: AtomicUsize = AtomicUsize::new(1);

/// A server whose tool `show` answers with these blocks, and that answers `resources/read` so.
pub(crate) async fn linking(
    blocks: Vec<Value>,
    read: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> Fake {
    let (blocks, read) = (Arc::new(json!({ "content": blocks })), Arc::new(read));
    Fake::start(move |seen| {
        let (blocks, read) = (blocks.clone(), read.clone());
        async move {
            match seen.method() {
                "initialize" => begun(&seen),
                "tools/call" => seen.result(&blocks),
                "resources/read" if uri(&seen) == "x://slow" => pending().await,
                "resources/read" => read(&seen),
                _ => seen.plain(&[tool("show")]),
            }
        }
    })
    .await
}

/// The beginning of a session with a server that has resources.
fn begun(seen: &Seen) -> Answer {
    let answer = seen.result(&json!({
        "protocolVersion": "2025-11-25",
        "capabilities": { "tools": {}, "resources": {} },
        "serverInfo": { "name": "fake", "version": "1" },
    }));
    let session = SESSIONS.fetch_add(1, Ordering::Relaxed).to_string();
    with(answer, "mcp-session-id", &session)
}

pub(crate) fn uri(seen: &Seen) -> &str {
    seen.body["params"]["uri"].as_str().unwrap_or_default()
}

pub(crate) fn link(uri: &str, name: &str) -> Value {
    json!({ "type": "resource_link", "uri": uri, "name": name })
}

fn reads(fake: &Fake) -> Vec<Seen> {
    let mut seen = fake.seen();
    seen.retain(|seen| seen.method() == "resources/read");
    seen
}

/// The paths of the blocks of the one call that somebody asks for.
async fn files(world: &World, user: &User) -> impl Fn(usize) -> String + use<> {
    let told = turn(world, user, &[("Fake__show", json!({}))]).await;
    let (turn, call) = (told.turn, told.transcript.calls().next().unwrap().call);
    move |number| format!("/api/turns/{turn}/calls/{call}/content/{number}")
}

/// `GET` with these headers in the place of those that a program sends.
async fn get_as(user: &User, path: &str, headers: &[(&'static str, &'static str)]) -> Response {
    let headers = headers.iter().map(|(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    });
    let request = user.request(Method::GET, path);
    user.send(request.headers(headers.collect::<HeaderMap>()))
        .await
}

fn header_of<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

fn code(response: &Response) -> (StatusCode, String, String) {
    let body: Value = response.json();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (response.status, text("code"), text("layer"))
}

/// Contents that are not what they are said to be, behind those of another resource.
fn odd_contents(seen: &Seen) -> Answer {
    let uri = uri(seen);
    let other = json!({ "uri": "x://other", "text": "Another" });
    let content = match uri {
        "https://elsewhere.example/p" => {
            json!({ "uri": uri, "mimeType": "text/html", "blob": crate::results::PNG })
        }
        "file:///etc/x.svg" => {
            let svg = STANDARD.encode("<svg onload='alert(1)'/>");
            json!({ "uri": uri, "mimeType": "image/svg+xml", "blob": svg })
        }
        _ => json!({ "uri": uri, "mimeType": "text/html", "text": "<b>bold</b>" }),
    };
    seen.result(&json!({ "contents": [other, content] }))
}

#[tokio::test]
async fn a_link_is_read_from_its_server_and_saved() {
    const ODD: &str = "javascript:alert(1)//a%2F..%2F\"b\".html?q=<é>";
    let blocks = vec![
        link("notes://ana/1", "First note"),
        link(ODD, "\r\nSet-Cookie: a=b"),
        link("file:///etc/x.svg", "x"),
        link("https://elsewhere.example/p", "picture"),
    ];
    let fake = linking(blocks, odd_contents).await;
    let world = build().server("Fake", fake.url()).start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let file = files(&world, &ana).await;

    let text = "text/plain; charset=utf-8";
    for (number, kind, attached) in [
        (0, text, "attachment; filename=\"First note.txt\"; "),
        (1, text, "attachment; filename=\"a_..__b_.html\"; "),
        (
            2,
            "application/octet-stream",
            "attachment; filename=\"x.svg\"; ",
        ),
        (3, "image/png", "attachment; filename=\"picture.png\"; "),
    ] {
        let response = ana.try_begin(ana.request(Method::GET, &file(number))).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200, "{number}");
        let headers = response.headers().clone();
        let said = |name: &str| headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(said("content-type"), kind, "{number}");
        let disposition = said("content-disposition");
        assert!(disposition.starts_with(attached), "{disposition}");
        assert_eq!(said("x-content-type-options"), "nosniff");
        assert_eq!(
            said("content-security-policy"),
            "sandbox; default-src 'none'"
        );
        assert_eq!(said("cross-origin-resource-policy"), "same-origin");
        assert_eq!(headers.get("set-cookie"), None);
        if number == 0 {
            assert_eq!(response.text().await.unwrap(), "<b>bold</b>");
        }
    }
    let seen = reads(&fake);
    assert_eq!(uri(&seen[1]), ODD, "exactly what the link has");
    // In the MCP session that gave the link.
    let call = fake.calls().remove(0);
    let session = call.header("mcp-session-id");
    assert!(session.is_some());
    assert_eq!(seen[0].header("mcp-session-id"), session);

    // It is hers alone, and nobody else's page can have it read.
    ben.get(&file(0)).await.expect(404);
    ana.get(&file(4)).await.expect(404);
    for headers in [
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
        [("origin", "https://evil.example")],
    ] {
        let refused = get_as(&ana, &file(0), &headers).await.expect(403);
        assert_eq!(code(&refused).1, "cross_site");
    }
    assert_eq!(reads(&fake).len(), 4);
    get_as(&ana, &file(0), &[("sec-fetch-site", "same-origin")])
        .await
        .expect(200);

    // In the traffic it stands with its call.
    let turn = file(0).split('/').nth(3).unwrap().into();
    let all = exchanges(&ana, &turn).await;
    let read = all.iter().filter(|it| it["label"] == "resources/read");
    let calls: Vec<_> = read.map(|it| it["call"].clone()).collect();
    assert_eq!(calls, vec![json!(1); 5]);
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn what_cannot_be_had_says_whose_failure_it_is() {
    let names = ["gone", "denied", "none", "strange", "broken", "failed"];
    let uris = names.map(|name| format!("x://{name}"));
    let blocks = uris.iter().map(|uri| link(uri, "Report")).collect();
    let fake = linking(blocks, |seen| match uri(seen) {
        "x://gone" => seen.error(-32002, "Resource not found"),
        "x://denied" => bare(403),
        "x://none" => seen.error(-32601, "Method not found"),
        "x://strange" => seen.result(&json!({ "contents": [] })),
        "x://broken" => seen.result(&json!({ "contents": [{ "uri": "x:", "blob": "no!" }] })),
        _ => bare(500),
    })
    .await;
    let world = build().server("Fake", fake.url()).start().await;
    let ana = world.ana();
    let file = files(&world, &ana).await;
    for (number, status, named) in [
        (0, 404, "resource_not_found"),
        (1, 403, "denied"),
        (2, 404, "resource_not_found"),
        (3, 502, "upstream"),
        (4, 502, "upstream"),
        (5, 502, "upstream"),
    ] {
        let response = ana.get(&file(number)).await.expect(status);
        let (_, code, layer) = code(&response);
        assert_eq!((code.as_str(), layer.as_str()), (named, "server"));
        assert_eq!(
            header_of(&response, "content-type"),
            "application/problem+json"
        );
    }
    let page = get_as(&ana, &file(0), &[("accept", "text/html,*/*")]).await;
    let page = page.expect(404);
    assert!(header_of(&page, "content-type").starts_with("text/html"));
    for words in [
        "<span class=\"layer\">",
        "“Report” could not be read from Fake: the server does not know it: Resource not found.",
        "for a new link",
    ] {
        assert!(page.body.contains(words), "{words} is not in {}", page.body);
    }
    fake.end().await;
    let response = ana.get(&file(0)).await.expect(502);
    assert_eq!(code(&response).1, "upstream");
    assert!(response.body.contains("from Fake"), "{}", response.body);
    world.finish().await;
}

#[tokio::test]
async fn who_goes_away_stops_it() {
    let fake = linking(vec![link("x://slow", "Slow")], |_| bare(500)).await;
    let world = build().server("Fake", fake.url()).start().await;
    let ana = world.ana();
    let file = files(&world, &ana).await;
    let path = file(0);
    tokio::select! {
        response = ana.get(&path) => panic!("{response:?}"),
        () = eventually("it is read", || !reads(&fake).is_empty()) => {}
    }
    let asked = reads(&fake)[0].body["id"].clone();
    let cancels = |seen: &Seen| {
        seen.method() == "notifications/cancelled" && seen.body["params"]["requestId"] == asked
    };
    eventually("it is cancelled", || fake.seen().iter().any(cancels)).await;
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn notes_have_minutes_for_whoever_is_connected() {
    let world = notes::build(Options::default()).start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let hers = Browser::of(&world, &ana);
    hers.agree("Ana").await;
    Browser::of(&world, &ben).agree("Ben").await;
    let told = turn(&world, &ana, &[("Notes__show_attachments", json!({}))]).await;
    let file = format!("/api/turns/{}/calls/1/content/3", told.turn);
    let minutes = ana.get(&file).await.expect(200);
    assert!(
        minutes.body.starts_with("# Board meeting"),
        "{}",
        minutes.body
    );
    let disposition = header_of(&minutes, "content-disposition");
    assert!(disposition.contains("minutes.md"), "{disposition}");
    ben.get(&file).await.expect(404);

    // In every session of hers, and only as long as Pomerium has her account.
    world.ana().get(&file).await.expect(200);
    let named = json!({ "server": "Notes" });
    ana.post("/api/servers/disconnect", &named)
        .await
        .expect(200);
    let refused = ana.get(&file).await.expect(409);
    let (_, named, layer) = code(&refused);
    assert_eq!(
        (named.as_str(), layer.as_str()),
        ("needs_connect", "pomerium")
    );
    world.finish().await;
}
