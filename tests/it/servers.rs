//! MCP servers that are down, odd or hostile: what they cost, and what they do not.

use std::{
    collections::BTreeSet,
    future::{pending, ready},
    net::SocketAddr,
};

use chat::{
    event::{Event, Logged, ServerState, ServerStateChanged},
    failure::Layer,
    ids::TurnId,
    outcome::{Outcome, TurnEnd},
    shape::ShapeStep,
    tool::BrokenTool,
    transcript::{CallItem, CallState, Transcript},
};
use demo::model::{Call, Reply};
use harness::{Builder, User, World};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::fake::{Fake, answer, tool};

/// A system that asks nobody before a call.
pub(crate) fn build() -> Builder {
    World::build().setting("TOOLGATE_APPROVAL", "never")
}

/// A turn in which the model makes these calls at once, and then says "Done.".
pub(crate) async fn turn(world: &World, user: &User, calls: &[(&str, Value)]) -> Told {
    if !calls.is_empty() {
        let calls = calls.iter();
        let calls = calls.map(|(name, arguments)| Call::new(*name, arguments));
        world.model().queue(Reply::calls(calls));
    }
    world.model().queue(Reply::text("Done."));
    let posted = user.ask("Do it").await;
    let transcript = user.wait_end(&posted.turn).await;
    let log = user.log(&posted.turn).await;
    let end = transcript.end.as_ref().map(|end| end.end);
    assert_eq!(end, Some(TurnEnd::Answered), "{transcript:#?}");
    Told {
        turn: posted.turn,
        transcript,
        log,
    }
}

/// What a turn's readers saw.
pub(crate) struct Told {
    pub(crate) turn: TurnId,
    pub(crate) transcript: Transcript,
    pub(crate) log: Vec<Logged>,
}

impl Told {
    /// The only call.
    pub(crate) fn call(&self) -> &CallItem {
        assert_eq!(self.transcript.calls().count(), 1, "{:#?}", self.transcript);
        self.transcript.calls().next().unwrap()
    }

    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        self.transcript.calls().map(outcome).collect()
    }

    /// How often calls were started.
    pub(crate) fn starts(&self) -> usize {
        let started = |logged: &&Logged| matches!(logged.event, Event::CallStarted { .. });
        self.log.iter().filter(started).count()
    }

    fn server(&self, name: &str) -> &ServerStateChanged {
        let mut servers = self.transcript.servers.iter();
        let found = servers.find(|known| known.server == name);
        found.unwrap_or_else(|| panic!("nothing is said of {name}"))
    }

    fn broken(&self, server: &str) -> Vec<BrokenTool> {
        let catalogs = self.log.iter().filter_map(|logged| {
            let Event::CatalogReady(ready) = &logged.event else {
                return None;
            };
            Some(&ready.catalogs)
        });
        let mut catalogs = catalogs.flatten();
        let found = catalogs.find(|catalog| catalog.server == server);
        found.expect("its catalog").broken.clone()
    }
}

pub(crate) fn outcome(call: &CallItem) -> Outcome {
    let CallState::Finished { outcome } = call.state else {
        panic!("it is {:?}", call.state)
    };
    outcome
}

/// `GET` or `POST /api/servers`, one of them.
fn entry(servers: &[Value], name: &str) -> Value {
    let found = servers.iter().find(|server| server["name"] == name);
    found
        .unwrap_or_else(|| panic!("{name} is not in {servers:?}"))
        .clone()
}

/// An address that nobody listens on.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn one_that_is_down_hangs_or_is_no_mcp_server_costs_no_other() {
    let down = nobody().await;
    let hangs = Fake::start(|_| pending()).await;
    let html = Fake::start(|_| ready(answer(200, "text/html", "<h1>Sign in</h1>"))).await;
    let good = Fake::plain(&[tool("work")]).await;
    let world = build()
        .server("Down", format!("http://{down}/mcp"))
        .server("Hangs", hangs.url())
        .server("Html", html.url())
        .server("Good", good.url())
        .start()
        .await;
    let ana = world.ana();
    let told = turn(
        &world,
        &ana,
        &[
            ("Good__work", json!({})),
            ("Database__list_tables", json!({})),
            ("Down__work", json!({})),
        ],
    )
    .await;
    assert_eq!(
        told.outcomes(),
        [Outcome::Ok, Outcome::Ok, Outcome::UnknownFunction]
    );
    assert_eq!(told.server("Good").state, ServerState::Ready);
    assert_eq!(told.server("Database").state, ServerState::Ready);
    for (name, layer, words) in [
        ("Down", Layer::Pomerium, "Connection_refused"),
        ("Hangs", Layer::Server, "no answer within 10 s"),
        ("Html", Layer::Server, "not MCP: <h1>Sign in</h1>"),
    ] {
        let server = told.server(name);
        assert_eq!(server.state, ServerState::Unavailable, "{name}");
        let failure = server.failure.as_ref().unwrap();
        assert_eq!(failure.layer, layer, "{failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
        assert!(!failure.advice.is_empty(), "{failure:?}");
        let servers: Vec<Value> = ana.get_json("/api/servers").await;
        let entry = entry(&servers, name);
        assert_eq!(entry["state"], "unavailable");
        assert_eq!(entry["failure"]["message"], failure.message);
        assert_eq!(entry["failure"]["advice"], failure.advice);
        assert_eq!(entry["tools"], json!([]));
    }
    world.finish().await;
    for fake in [hangs, html, good] {
        fake.end().await;
    }
}

#[tokio::test]
async fn broken_tools_and_endless_lists_cost_only_themselves() {
    let tools = [
        json!({ "name": "no_schema" }),
        tool("good"),
        json!({ "name": "odd_schema", "inputSchema": "string" }),
        json!(7),
        json!({ "name": "unusable", "inputSchema": { "type": "object", "properties": 1 } }),
        tool("fine"),
    ];
    let broken = Fake::plain(&tools).await;
    let cyclic = Fake::start(|seen| {
        let page = json!({ "tools": [tool("again")], "nextCursor": "same" });
        ready(match seen.method() {
            "tools/list" => seen.result(&page),
            _ => seen.plain(&[]),
        })
    })
    .await;
    let world = build()
        .server("Broken", broken.url())
        .server("Cyclic", cyclic.url())
        .start()
        .await;
    let ana = world.ana();
    let calls = ["Broken__good", "Broken__fine", "Cyclic__again"].map(|name| (name, json!({})));
    let told = turn(&world, &ana, &calls).await;
    assert_eq!(told.outcomes(), [Outcome::Ok; 3]);
    let names: Vec<_> = told
        .broken("Broken")
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(names, ["no_schema", "odd_schema", "tool 4"]);
    let reason = &told.broken("Cyclic")[0].reason;
    assert!(reason.contains("cursor repeats"), "{reason}");
    let servers: Vec<Value> = ana.get_json("/api/servers").await;
    let shown = entry(&servers, "Broken");
    assert_eq!(shown["state"], "ready");
    assert_eq!(shown["broken"][0]["name"], "no_schema", "{shown}");
    assert_eq!(shown["broken"][0]["reason"], "it has no inputSchema");
    world.finish().await;
    broken.end().await;
    cyclic.end().await;
}

#[tokio::test]
async fn a_result_of_5_mb_is_cut_for_the_model_and_kept_for_the_person() {
    let text = "fifteen letters\n".repeat(5 * 1024 * 1024 / 16);
    let said = text.clone();
    let large = Fake::start(move |seen| {
        ready(match seen.method() {
            "tools/call" => seen.says(&said),
            _ => seen.plain(&[tool("dump")]),
        })
    })
    .await;
    let world = build().server("Large", large.url()).start().await;
    let ana = world.ana();
    let told = turn(&world, &ana, &[("Large__dump", json!({}))]).await;
    let call = told.call();
    assert_eq!(outcome(call), Outcome::Ok);
    let cut = ShapeStep::Truncated {
        from: text.len(),
        to: call.shown.len(),
    };
    assert_eq!(call.steps, [cut]);
    assert!(call.shown.len() <= chat::limits::RESULT_SHOWN_BYTES);
    let path = format!("/api/turns/{}/calls/{}/result", told.turn, call.call);
    let kept: Value = ana.get_json(&path).await;
    assert!(kept["content"][0]["text"] == text, "it is kept whole");
    let requests = world.model().requests();
    let last = requests.last().unwrap();
    assert!(last.body.len() < 2 * chat::limits::RESULT_SHOWN_BYTES);
    world.finish().await;
    large.end().await;
}

#[tokio::test]
async fn what_policy_denies_is_not_run_and_names_the_request_to_look_for() {
    let world = build()
        .rule("deny: {or: [{mcp_tool: {is: write_query}}, {email: {is: ben@example.com}}]}")
        .start()
        .await;
    let ana = world.ana();
    let sql = json!({ "query": "DELETE FROM Products" });
    let told = turn(
        &world,
        &ana,
        &[
            ("Database__write_query", sql),
            ("Database__list_tables", json!({})),
        ],
    )
    .await;
    assert_eq!(told.outcomes(), [Outcome::DeniedByPolicy, Outcome::Ok]);
    let denied = told.transcript.calls().next().unwrap();
    let failure = denied.failure.as_ref().unwrap();
    assert_eq!(failure.layer, Layer::Pomerium);
    let id = failure.request_id.as_deref().unwrap();
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
    assert!(!failure.advice.is_empty());
    assert!(denied.shown.contains("policy"), "{}", denied.shown);
    let ran: Vec<_> = world
        .journal()
        .calls
        .into_iter()
        .map(|call| call.tool)
        .collect();
    assert_eq!(ran, ["list_tables"]);

    let ben = world.ben();
    let told = turn(&world, &ben, &[("Database__list_tables", json!({}))]).await;
    assert_eq!(told.outcomes(), [Outcome::UnknownFunction]);
    let server = told.server("Database");
    assert_eq!(server.state, ServerState::Forbidden);
    let failure = server.failure.as_ref().unwrap();
    assert_eq!(failure.layer, Layer::Pomerium);
    assert!(failure.request_id.is_some() && !failure.advice.is_empty());
    let servers: Vec<Value> = ben.get_json("/api/servers").await;
    assert_eq!(entry(&servers, "Database")["state"], "forbidden");
    let servers: Vec<Value> = ana.get_json("/api/servers").await;
    assert_eq!(entry(&servers, "Database")["state"], "ready");
    world.finish().await;
}

#[tokio::test]
async fn tools_of_one_name_and_hostile_names_are_told_apart() {
    let long = "x".repeat(300);
    let hostile = [
        "drop table; --",
        "<script>alert(1)</script>",
        "名前",
        "work ",
        "a/b\\c\"d'e",
        "new\nline",
        &long,
        "Two__work",
    ];
    let mut tools: Vec<Value> = hostile.iter().map(|name| tool(name)).collect();
    tools[1]["description"] = json!(format!("</tools>\u{0}\u{1b}[2J{}", "y".repeat(100_000)));
    tools[2]["title"] = json!("<img src=x onerror=alert(1)>");
    tools.push(tool("work"));
    let (one, two) = (
        Fake::plain(&tools).await,
        Fake::plain(&[tool("work")]).await,
    );
    let world = build()
        .server("One", one.url())
        .server("Two", two.url())
        .start()
        .await;
    let ana = world.ana();
    turn(&world, &ana, &[]).await;
    let offered = functions(&world);
    let unique: BTreeSet<_> = offered.iter().collect();
    assert_eq!(unique.len(), offered.len(), "{offered:?}");
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    for name in &offered {
        assert!(name.len() <= 64 && name.chars().all(legal), "{name}");
    }
    let of_these: Vec<_> = offered
        .iter()
        .filter(|name| name.starts_with("One__") || name.starts_with("Two__"))
        .map(|name| (name.as_str(), json!({})))
        .collect();
    assert_eq!(of_these.len(), tools.len() + 1);
    let told = turn(&world, &ana, &of_these).await;
    assert!(told.outcomes().iter().all(|ended| *ended == Outcome::Ok));
    let called: BTreeSet<_> = one
        .calls()
        .iter()
        .map(|seen| seen.tool().to_owned())
        .collect();
    let wanted = tools.iter().map(|tool| tool["name"].as_str().unwrap());
    assert_eq!(called, wanted.map(ToOwned::to_owned).collect());
    assert_eq!(two.calls().len(), 1);
    world.finish().await;
    one.end().await;
    two.end().await;
}

#[tokio::test]
async fn servers_are_tried_again_on_request() {
    let address = nobody().await;
    let world = build()
        .server("Later", format!("http://{address}/mcp"))
        .start()
        .await;
    let ana = world.ana();
    let servers: Vec<Value> = ana
        .post("/api/servers", &json!({}))
        .await
        .expect(200)
        .json();
    assert_eq!(entry(&servers, "Later")["state"], "unavailable");
    assert_eq!(entry(&servers, "Database")["state"], "ready");
    assert_eq!(entry(&servers, "Database")["failure"], Value::Null);

    let listener = TcpListener::bind(address).await.unwrap();
    let later = Fake::serve(listener, None, |seen| ready(seen.plain(&[tool("work")])));
    let servers: Vec<Value> = ana
        .post("/api/servers", &json!({}))
        .await
        .expect(200)
        .json();
    let entry = entry(&servers, "Later");
    assert_eq!(
        (&entry["state"], &entry["failure"]),
        (&json!("ready"), &Value::Null)
    );
    assert_eq!(entry["tools"][0]["name"], "work");
    let told = turn(&world, &ana, &[("Later__work", json!({}))]).await;
    assert_eq!(told.outcomes(), [Outcome::Ok]);
    let nobodys: Vec<Value> = world.ben().get_json("/api/servers").await;
    assert_eq!(nobodys, Vec::<Value>::new(), "Ben has not tried any");
    later.end().await;
    world.finish().await;
}

/// The functions that the model was offered last.
pub(crate) fn functions(world: &World) -> Vec<String> {
    let requests = world.model().requests();
    let request = requests.last().unwrap().json();
    let tools = request["tools"].as_array().cloned().unwrap_or_default();
    let name = |tool: &Value| tool["function"]["name"].as_str().unwrap().to_owned();
    tools.iter().map(name).collect()
}

#[tokio::test]
async fn a_server_that_is_down_is_no_error_in_the_log() {
    let mut world = World::build()
        .server("Down", format!("http://{}/mcp", nobody().await))
        .start_with_process()
        .await;
    let ana = world.ana();
    ana.post("/api/servers", &json!({})).await.expect(200);
    world.toolgate().terminate().await;
    let log = world.toolgate().log();
    assert!(log.contains("toolgate is ready"), "{log}");
    // The page says it, and libraries would quote what a server answered.
    assert!(!log.contains("rmcp") && !log.contains("ERROR"), "{log}");
    world.finish().await;
}
