//! Ana's browser, which another site makes send what it can: with her cookie, to every URL that
//! changes something.

use chat::transcript::CallState;
use demo::{model::Reply, notes::Options, pomerium::DemoUser};
use harness::{Response, User, World};
use http::Method;
use serde_json::Value;

use super::routes::{self, Ids, Route};
use crate::{
    look::{WRITE, queries},
    notes::Browser,
    v1::openai_error,
};

const JSON: (&str, &str) = ("content-type", "application/json");

/// What a browser sends for another site: forms and what `fetch` may send without asking first,
/// what it would send if it asked and were let, and what old ones leave out.
fn foreign(origin: &str) -> Vec<Vec<(&str, &str)>> {
    vec![
        vec![("content-type", "text/plain")],
        vec![("content-type", "text/plain;charset=application/json")],
        vec![("content-type", "application/x-www-form-urlencoded")],
        vec![("content-type", "multipart/form-data; boundary=x")],
        vec![],
        vec![("content-type", "text/plain"), JSON],
        vec![JSON, ("origin", "null")],
        vec![JSON, ("origin", "https://evil.example")],
        vec![JSON, ("origin", "http://notes.localhost")],
        vec![JSON, ("sec-fetch-site", "cross-site")],
        vec![JSON, ("sec-fetch-site", "same-site")],
        vec![JSON, ("sec-fetch-site", "")],
        vec![JSON, ("origin", origin), ("sec-fetch-site", "cross-site")],
        vec![JSON, ("origin", "null"), ("origin", origin)],
        vec![
            ("content-type", "text/plain"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("x-http-method-override", "POST"),
            ("x-requested-with", "XMLHttpRequest"),
        ],
    ]
}

async fn send(
    user: &User,
    (method, path): (Method, &str),
    headers: &[(&str, &str)],
    body: &Value,
) -> Response {
    let mut request = user.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    user.send(request.body(body.to_string())).await
}

/// Its code, in the shape of the API that was asked.
fn code(route: &Route, response: &Response) -> String {
    let body: Value = response.json();
    let code = if is_openais(route) {
        openai_error(&body)["code"].clone()
    } else {
        body["code"].clone()
    };
    code.as_str().unwrap_or_default().to_owned()
}

fn is_openais(route: &Route) -> bool {
    route.template.starts_with("/v1/")
}

#[tokio::test]
async fn another_site_changes_nothing_at_any_url() {
    let world = World::build()
        .options(|options| options.notes = Some(Options::default()))
        .start()
        .await;
    let ana = world.ana();
    Browser::of(&world, &ana).agree("Ana").await;
    world
        .model()
        .queue(queries(WRITE, &["DELETE FROM Products WHERE 1 = 0"]));
    world.model().queue(Reply::text("Deleted."));
    let posted = ana.ask("Delete everything").await;
    let (question, call) = ana.wait_question(&posted.turn).await;
    let ids = Ids {
        conversation: posted.conversation.clone(),
        turn: posted.turn.clone(),
        question,
        call,
    };
    let log = ana.log(&posted.turn).await;
    let (asked, servers) = (
        world.model().received(),
        world.standin().requests("db.localhost"),
    );

    let all = routes::all();
    let (safe, changing): (Vec<_>, Vec<_>) =
        all.iter().partition(|route| route.method() == Method::GET);
    assert!(changing.len() > 6, "{changing:?}");
    for route in &changing {
        let path = route.path(&ids);
        for headers in foreign(&ana.origin) {
            let told = send(&ana, (route.method(), &path), &headers, &route.body(&ids)).await;
            let says_where = |(name, _): &(&str, &str)| ["origin", "sec-fetch-site"].contains(name);
            let (status, named) = if headers.iter().any(says_where) || !is_openais(route) {
                (403, "cross_site")
            } else {
                // A program may have sent it.
                (415, "unsupported_media_type")
            };
            assert_eq!(told.status, status, "{}: {headers:?}", route.name());
            let code = code(route, &told);
            assert_eq!(code, named, "{}: {headers:?}", route.name());
        }
    }
    // Nor by another method at the same URL, or at one that is only read.
    for route in &all {
        let path = route.path(&ids);
        for method in ["PUT", "PATCH", "DELETE"] {
            let method: Method = method.parse().unwrap();
            let takes = |it: &Route| it.template == route.template && it.method() == method;
            if all.iter().any(takes) {
                continue;
            }
            let told = send(&ana, (method.clone(), &path), &[JSON], &Value::Null).await;
            assert_eq!(told.status, 405, "{method} {path}: {}", told.body);
        }
    }
    for route in &changing {
        let reads = safe.iter().any(|safe| safe.template == route.template);
        let overridden = [("x-http-method-override", "POST"), JSON];
        let path = route.path(&ids);
        let told = send(&ana, (Method::GET, &path), &overridden, &route.body(&ids)).await;
        let expected = if reads { 200 } else { 405 };
        assert_eq!(told.status, expected, "{}: {}", route.name(), told.body);
    }
    assert_eq!(ana.log(&posted.turn).await, log);
    let transcript = ana.turn(&posted.turn).await;
    let state = transcript.calls().next().unwrap().state;
    assert_eq!(state, CallState::Asking { question });
    let listed: Vec<Value> = ana.get_json("/api/conversations").await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    let standin = world.standin();
    assert!(standin.is_connected(DemoUser::Ana, "notes.localhost"));
    assert_eq!(world.model().received(), asked);
    assert_eq!(standin.requests("db.localhost"), servers);

    what_her_own_page_sends_is_done(&ana, &changing, &ids).await;
    ana.wait_end(&posted.turn).await;
    assert!(!standin.is_connected(DemoUser::Ana, "notes.localhost"));
    world.finish().await;
}

/// The very same bodies are good when they come from her own page: it was not they that were
/// refused.
async fn what_her_own_page_sends_is_done(ana: &User, changing: &[&Route], ids: &Ids) {
    let origin = ana.origin.clone();
    let own = [
        JSON,
        ("origin", origin.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    // An answer that is stopped takes no more, and a conversation that is deleted neither.
    let mut in_order = changing.to_vec();
    in_order.sort_by_key(|route| {
        let restores = route.template.ends_with("/restore");
        let stops = route.template.ends_with("/cancel");
        (restores, route.method() == Method::DELETE, stops)
    });
    for route in in_order {
        let told = send(
            ana,
            (route.method(), &route.path(ids)),
            &own,
            &route.body(ids),
        )
        .await;
        let expected = match route.template.as_str() {
            "/api/turns/{turn}/questions/{question}" => [202, 202],
            // A turn runs in the conversation; the one to be stopped may have ended by itself.
            "/api/messages" => [409, 409],
            "/api/turns/{turn}/cancel" => [202, 409],
            _ if route.method() == Method::DELETE => [204, 204],
            _ => [200, 200],
        };
        let status = told.status.as_u16();
        assert!(
            expected.contains(&status),
            "{}: {status} {}",
            route.name(),
            told.body
        );
    }
}
