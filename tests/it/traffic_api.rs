//! Traffic as its owner finds it, over `/api/traffic` and on the pages: what was said in a turn,
//! without secrets, and nothing of anybody else's.

use std::{collections::BTreeSet, future::ready};

use chat::ids::TurnId;
use demo::model::{Call, Reply};
use harness::{Response, User, World};
use http::{HeaderValue, Method, header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    fake::{Fake, tool},
    look::{SALES, found},
    v1::{CHAT, asking, turn_of},
};

/// The exchanges of a turn that has ended, as soon as all of them are recorded to their ends.
pub(crate) async fn exchanges(user: &User, turn: &TurnId) -> Vec<Value> {
    found(async || {
        let body: Value = user.get_json(&format!("/api/traffic/{turn}")).await;
        let all = body["exchanges"].as_array().unwrap();
        let models = all.iter().filter(|it| it["peer"] == "model").count();
        let whole = models > 0 && all.iter().all(|it| it["end"] != Value::Null);
        whole.then(|| all.clone()).ok_or(format!("{body:#}"))
    })
    .await
}

async fn page(user: &User, path: &str) -> Response {
    let html = HeaderValue::from_static("text/html");
    let request = user.request(Method::GET, path);
    let headers = [(header::ACCEPT, html)].into_iter().collect();
    user.send(request.headers(headers)).await
}

fn labels(all: &[Value]) -> Vec<String> {
    let label = |it: &Value| {
        let of = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", of("peer"), of("label"), it["status"])
    };
    all.iter().map(label).collect()
}

#[tokio::test]
async fn a_turn_is_recorded_with_what_caused_each_request() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ana.ask(SALES).await;
    ana.wait_end(&posted.turn).await;
    let all = exchanges(&ana, &posted.turn).await;
    let seen = labels(&all);
    assert!(
        seen.contains(&"mcp tools/call read_query 200".to_owned()),
        "{seen:?}"
    );
    let rounds: Vec<_> = all
        .iter()
        .filter(|it| it["peer"] == "model")
        .map(|it| it["round"].clone())
        .collect();
    assert_eq!(rounds, [json!(1), json!(2)]);
    let call = all.iter().find(|it| it["call"] == 1).unwrap();
    assert_eq!(call["server"], "Database");
    assert!(call["request_id"].is_string(), "{call:#}");

    // Each of them whole: what was sent and what came, and no token.
    let mut bodies = String::new();
    for it in &all {
        let id = it["id"].as_str().unwrap();
        let path = format!("/api/traffic/{}/{id}", posted.turn);
        let response = ana.get(&path).await.expect(200);
        let whole: Value = response.json();
        assert_eq!(whole["id"], it["id"]);
        for side in ["request", "response"] {
            let body = ana.get(&format!("{path}/{side}")).await.expect(200);
            assert_eq!(body.body, whole[side]["text"].as_str().unwrap());
            assert_eq!(body.headers["content-type"], "application/octet-stream");
            assert_eq!(body.headers["x-content-type-options"], "nosniff");
            let disposition = body.headers["content-disposition"].to_str().unwrap();
            assert!(disposition.starts_with("attachment"), "{disposition}");
        }
        let headers = whole["request"]["headers"].as_array().unwrap();
        let secret = headers.iter().find(|header| header[0] == "authorization");
        assert!(
            secret.is_none_or(|header| header[1] == "[redacted]"),
            "{headers:?}"
        );
        bodies.push_str(&response.body);
    }
    assert!(bodies.contains("What were our sales by year?"));
    assert!(bodies.contains("chat.completion.chunk"));
    assert!(bodies.contains("structuredContent"));

    let har = ana
        .get(&format!("/api/traffic/{}/har", posted.turn))
        .await
        .expect(200);
    let har: Value = har.json();
    let entries = har["log"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), all.len());
    assert!(
        entries
            .iter()
            .all(|entry| entry["time"].as_f64().unwrap() > 0.0)
    );

    let list: Value = ana.get_json("/api/traffic").await;
    assert_eq!(list["turns"][0]["turn"], json!(posted.turn));
    assert_eq!(list["turns"][0]["exchanges"], json!(all.len()));
    assert_eq!(list["dropped"]["paused"], Value::Null);
    world.finish().await;
}

#[tokio::test]
async fn what_is_somebody_elses_is_not_there() {
    let world = World::start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let hers = ana.ask(SALES).await;
    ana.wait_end(&hers.turn).await;
    let his = ben.ask("Hello").await;
    ben.wait_end(&his.turn).await;
    let mut ids: BTreeSet<_> = exchanges(&ana, &hers.turn)
        .await
        .iter()
        .map(|it| it["id"].as_str().unwrap().to_owned())
        .collect();
    let outside: Value = ana.get_json("/api/traffic/outside").await;
    let outside = outside["exchanges"].as_array().unwrap();
    ids.extend(
        outside
            .iter()
            .map(|it| it["id"].as_str().unwrap().to_owned()),
    );
    assert!(ids.len() > 3, "{ids:?}");
    let never = Uuid::now_v7().to_string();
    for turn in [hers.turn.as_str(), his.turn.as_str(), "outside", &never] {
        for id in &ids {
            let exchange = format!("{turn}/{id}");
            for path in [
                format!("/api/traffic/{exchange}"),
                format!("/api/traffic/{exchange}/request"),
                format!("/api/traffic/{exchange}/response"),
                format!("/traffic/{exchange}"),
                format!("/traffic/{exchange}?part"),
            ] {
                ben.get(&path).await.expect(404);
            }
        }
    }
    for path in [
        "/api/traffic/T",
        "/api/traffic/T/har",
        "/traffic/T",
        "/traffic/T/calls/1",
    ] {
        ben.get(&path.replace('T', hers.turn.as_str()))
            .await
            .expect(404);
    }
    // Under another turn of one's own it is not there either.
    let again = ana.ask("Hello").await;
    ana.wait_end(&again.turn).await;
    for id in &ids {
        ana.get(&format!("/api/traffic/{}/{id}", again.turn))
            .await
            .expect(404);
        ana.get(&format!("/traffic/{}/{id}", again.turn))
            .await
            .expect(404);
    }
    for path in [
        "/api/traffic",
        "/api/traffic/outside",
        "/traffic",
        "/traffic/outside",
    ] {
        let body = ben.get(path).await.expect(200).body;
        assert!(
            !body.contains(hers.turn.as_str()) && !body.contains("sales"),
            "{path}"
        );
        assert!(!ids.iter().any(|id| body.contains(id.as_str())), "{path}");
    }
    world.finish().await;
}

#[tokio::test]
async fn the_turns_of_programs_are_there_and_lists_can_be_narrowed() {
    let world = World::start().await;
    let ana = world.ana();
    let response = ana
        .post(CHAT, &asking("Count the <ships>"))
        .await
        .expect(200);
    let program = turn_of(&response.headers);
    let posted = ana.ask(SALES).await;
    ana.wait_end(&posted.turn).await;
    world.model().queue(Reply::error(400, "bad_request", "No."));
    let failed = ana.ask("This fails").await;
    ana.wait_end(&failed.turn).await;
    for turn in [&program, &posted.turn, &failed.turn] {
        exchanges(&ana, turn).await;
    }
    let listed = async |query: &str| {
        let body = page(&ana, &format!("/traffic{query}"))
            .await
            .expect(200)
            .body;
        [&program, &posted.turn, &failed.turn]
            .map(|turn| body.contains(&format!("href=\"/traffic/{turn}\"")))
    };
    assert_eq!(listed("").await, [true, true, true]);
    assert_eq!(listed("?search=%3CSHIPS%3E").await, [true, false, false]);
    assert_eq!(listed("?errors=on").await, [false, false, true]);
    assert_eq!(
        listed("?search=sales&errors=on").await,
        [false, false, false]
    );
    assert_eq!(
        listed(&format!("?before={}", posted.turn)).await,
        [true, false, false]
    );
    let all = page(&ana, "/traffic").await.body;
    assert!(
        all.contains("Count the &#60;ships&#62;") && all.contains(">API<"),
        "{all}"
    );
    page(&ana, &format!("/traffic/{program}")).await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn what_a_server_says_went_wrong_is_an_error_everywhere() {
    let fake = Fake::start(|seen| {
        ready(match (seen.method(), seen.tool()) {
            ("tools/call", "fails") => seen.result(&json!({
                "content": [{ "type": "text", "text": "The pump is off." }], "isError": true,
            })),
            ("tools/call", "errs") => seen.error(-32602, "No such valve"),
            _ => seen.plain(&[tool("fails"), tool("errs"), tool("works")]),
        })
    })
    .await;
    let world = World::build().server("Pumps", fake.url()).start().await;
    let ana = world.ana();
    let call = |name| Call::new(name, &json!({}));
    let calls = ["Pumps__fails", "Pumps__errs", "Pumps__works"].map(call);
    world.model().queue(Reply::calls(calls));
    world.model().queue(Reply::text("One of three."));
    let posted = ana.ask_to_end("Look at the pumps").await;
    let all = exchanges(&ana, &posted.turn).await;
    let of = |tool: &str| {
        let label = format!("tools/call {tool}");
        let found = all.iter().find(|it| it["label"] == label).unwrap();
        let [id, status, said, code] =
            ["id", "status", "is_error", "rpc_error"].map(|name| found[name].clone());
        (id.as_str().unwrap().to_owned(), [status, said, code])
    };
    let (fails, errs, works) = (of("fails"), of("errs"), of("works"));
    // What HTTP says stays what it is.
    assert_eq!(fails.1, [json!(200), json!(true), Value::Null]);
    assert_eq!(errs.1, [json!(200), json!(false), json!(-32602)]);
    assert_eq!(works.1, [json!(200), json!(false), Value::Null]);

    let list: Value = ana.get_json("/api/traffic").await;
    let said = |it: &&Value| it["is_error"] == true || it["rpc_error"] != Value::Null;
    let refused = |it: &&Value| it["status"].as_u64().is_none_or(|status| status >= 400);
    let failed = all.iter().filter(|it| said(it) || refused(it)).count();
    assert_eq!(list["turns"][0]["errors"], json!(failed));
    assert!(failed >= 2, "{failed}");
    let turn = page(&ana, &format!("/traffic/{}", posted.turn)).await.body;
    for words in [
        "200, the tool failed",
        "200, error -32602",
        &format!("<dt>Errors</dt><dd>{failed}</dd>"),
    ] {
        assert!(turn.contains(words), "no {words} in {turn}");
    }
    let listed = page(&ana, "/traffic?errors=on").await.body;
    assert!(listed.contains(&format!("{failed} errors")), "{listed}");
    for (id, words) in [
        (&fails.0, "says that the tool failed"),
        (&errs.0, "JSON-RPC error: -32602"),
    ] {
        let opened = page(&ana, &format!("/traffic/{}/{id}", posted.turn)).await;
        assert!(opened.body.contains(words), "{}", opened.body);
    }
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn hostile_words_are_shown_and_not_obeyed() {
    const HOSTILE: &str =
        "</code></pre><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}";
    let fake = Fake::start(|seen| {
        ready(match seen.method() {
            "tools/call" => seen.says(HOSTILE),
            _ => seen.plain(&[tool("work")]),
        })
    })
    .await;
    let world = World::build().server("Odd", fake.url()).start().await;
    let ana = world.ana();
    let arguments = json!({ HOSTILE: HOSTILE });
    world
        .model()
        .queue(Reply::calls([Call::new("Odd__work", &arguments)]));
    world.model().queue(Reply::text(HOSTILE));
    let posted = ana.ask(HOSTILE).await;
    ana.wait_end(&posted.turn).await;
    let all = exchanges(&ana, &posted.turn).await;
    let mut paths = vec![
        "/traffic".to_owned(),
        format!("/traffic/{}", posted.turn),
        format!("/traffic/{}?part", posted.turn),
        format!("/traffic/{}/calls/1", posted.turn),
        format!("/traffic/{}/calls/1?part", posted.turn),
    ];
    for it in &all {
        let id = it["id"].as_str().unwrap();
        paths.push(format!("/traffic/{}/{id}", posted.turn));
        paths.push(format!("/traffic/{}/{id}?part&skip=0", posted.turn));
    }
    let mut shown = 0;
    for path in &paths {
        let response = page(&ana, path).await.expect(200);
        let body = &response.body;
        assert!(
            !body.contains("<script>alert") && !body.contains("<img src=x"),
            "{path}"
        );
        // In the command it has to stand as it is.
        let without_curl: String = body
            .split("-curl\"><code>")
            .enumerate()
            .map(|(index, part)| match index {
                0 => part,
                _ => part.split_once("</pre>").unwrap().1,
            })
            .collect();
        assert!(!without_curl.contains('\u{202e}'), "{path}");
        shown += usize::from(body.contains("\\u202e"));
        assert!(response.headers.contains_key("content-security-policy"));
    }
    assert!(shown >= 6, "{shown} of {}", paths.len());
    world.finish().await;
    fake.end().await;
}
