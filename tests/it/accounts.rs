//! Accounts at servers: wanted, connected, disconnected; and what policy denies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chat::{
    event::ParkReason,
    ids::TurnId,
    outcome::Outcome,
    transcript::{CallState, Transcript},
};
use demo::notes::{Listing, Options};
use harness::{User, World};
use http::header;
use serde_json::{Value, json};

use crate::{
    fake::{Fake, bare, tool},
    notes::{self, Browser},
    servers::{outcome, turn},
};

const ASK: &str = "What notes do I have?";

/// A question whose only call waits for the account.
async fn ask(user: &User) -> TurnId {
    let posted = user.ask(ASK).await;
    user.wait_until(&posted.turn, waits).await;
    posted.turn
}

fn waits(transcript: &Transcript) -> bool {
    let parked = CallState::Parked {
        reason: ParkReason::NeedsConnect,
    };
    transcript.calls().any(|call| call.state == parked)
}

async fn still_waits(user: &User, turn: &TurnId) -> bool {
    waits(&user.turn(turn).await)
}

/// One of the servers, as the API has it.
async fn server(user: &User, name: &str) -> Value {
    let servers: Vec<Value> = user.get_json("/api/servers").await;
    let found = servers.iter().find(|server| server["name"] == name);
    found.unwrap_or_else(|| panic!("{servers:?}")).clone()
}

async fn look(user: &User, name: &str) -> Value {
    let body = json!({ "server": name });
    user.post("/api/servers/look", &body)
        .await
        .expect(200)
        .json()
}

/// `/connected`, as a browser asks for it.
async fn connected(user: &User, query: &str) -> String {
    let path = format!("/connected?{query}");
    let request = user
        .request(http::Method::GET, &path)
        .header(header::ACCEPT, "text/html");
    user.send(request).await.expect(200).body
}

#[tokio::test]
async fn that_a_server_can_be_listed_wakes_no_call_that_waits_for_an_account() {
    let world = notes::build(Options::default()).start().await;
    let ana = world.ana();
    // It lists its tools to everybody, and nobody knows better before a call.
    let before = look(&ana, "Notes").await;
    assert_eq!(before["state"], "ready");
    assert_eq!(before["connect_url"], Value::Null);
    let turn = ask(&ana).await;
    for _ in 0..2 {
        ana.post("/api/servers", &json!({})).await.expect(200);
        look(&ana, "Notes").await;
    }
    assert!(still_waits(&ana, &turn).await);
    let notes = server(&ana, "Notes").await;
    assert_eq!(notes["state"], "needs_connect");
    assert_eq!(notes["connected"], false);
    assert_eq!(notes["tools"].as_array().unwrap().len(), 3);
    assert!(notes["failure"]["request_id"].is_string(), "{notes}");
    let port = world.standin().http_addr().port();
    let back = format!("http%3A%2F%2Fchat.localhost%3A{port}%2Fconnected%3Fserver%3DNotes");
    let url = format!("http://notes.localhost:{port}/.pomerium/mcp/connect?redirect_url={back}");
    assert_eq!(notes["connect_url"], url);

    Browser::of(&world, &ana).agree("Ana").await;
    assert!(still_waits(&ana, &turn).await, "nobody has told Toolgate");
    // As the page does when its user comes back to it.
    ana.post("/api/servers", &json!({})).await.expect(200);
    let ended = ana.wait_end(&turn).await;
    assert_eq!(
        ended.calls().map(outcome).collect::<Vec<_>>(),
        [Outcome::Ok]
    );
    let notes = server(&ana, "Notes").await;
    assert_eq!(notes["state"], "ready");
    assert_eq!(notes["connected"], true);
    world.finish().await;
}

#[tokio::test]
async fn a_person_at_the_consent_page_is_left_alone() {
    let closed = Options {
        listing: Listing::Closed,
        ..Options::default()
    };
    let world = notes::build(closed).start().await;
    let ana = world.ana();
    ana.post("/api/servers", &json!({})).await.expect(200);
    assert_eq!(server(&ana, "Notes").await["state"], "needs_connect");
    // A request that Notes refuses would make Pomerium forget what the consent is asked for.
    let asked = world.standin().requests("notes.localhost");
    ana.post("/api/servers", &json!({})).await.expect(200);
    ana.ask_to_end("What were our sales by year?").await;
    assert_eq!(world.standin().requests("notes.localhost"), asked);

    Browser::of(&world, &ana).agree("Ana").await;
    ana.post("/api/servers", &json!({})).await.expect(200);
    assert_eq!(server(&ana, "Notes").await["state"], "ready");
    world.finish().await;
}

#[tokio::test]
async fn the_way_back_says_how_it_went_by_looking() {
    let closed = Options {
        listing: Listing::Closed,
        ..Options::default()
    };
    let world = notes::build(closed).start().await;
    let ana = world.ana();
    let page = connected(&ana, "server=Notes").await;
    assert!(
        page.contains("<h1 dir=\"auto\">Notes was not connected</h1>"),
        "{page}"
    );
    assert!(page.contains("data-outcome=\"needs_connect\""), "{page}");
    assert!(
        page.contains("/.pomerium/mcp/connect?redirect_url="),
        "{page}"
    );

    let hostile = "server=Notes&connect_error=%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let page = connected(&ana, hostile).await;
    assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
    assert!(!page.contains("<script>"), "{page}");

    Browser::of(&world, &ana).agree("Ana").await;
    let page = connected(&ana, hostile).await;
    assert!(page.contains("Notes is connected"), "{page}");
    assert!(page.contains("data-outcome=\"ready\""), "{page}");
    assert_eq!(server(&ana, "Notes").await["state"], "ready");

    let page = connected(&ana, "server=%3Cb%3E").await;
    assert!(page.contains("There is no server of that name"), "{page}");
    let page = connected(&ana, "server=Database").await;
    assert!(page.contains("Database can be used"), "{page}");
    world.finish().await;
}

#[tokio::test]
async fn an_account_is_disconnected_for_its_user_alone() {
    let world = notes::build(Options::default()).start().await;
    let (ana, ben) = (world.ana(), world.ben());
    Browser::of(&world, &ana).agree("Ana").await;
    Browser::of(&world, &ben).agree("Ben").await;
    for user in [&ana, &ben] {
        assert_eq!(look(user, "Notes").await["connected"], true);
        let told = turn(&world, user, &[("Notes__list_notes", json!({}))]).await;
        assert_eq!(told.outcomes(), [Outcome::Ok]);
    }
    let notes = json!({ "server": "Notes" });
    let after: Value = ana
        .post("/api/servers/disconnect", &notes)
        .await
        .expect(200)
        .json();
    assert_eq!(after["connected"], false);
    assert_eq!(after["state"], "ready", "it lists its tools to everybody");
    let waiting = ask(&ana).await;
    assert!(still_waits(&ana, &waiting).await);
    let told = turn(&world, &ben, &[("Notes__list_notes", json!({}))]).await;
    assert_eq!(told.outcomes(), [Outcome::Ok]);
    assert_eq!(look(&ben, "Notes").await["connected"], true);

    // What has no account stays as it is, and what is not there is not found.
    let database = json!({ "server": "Database" });
    let kept = ana.post("/api/servers/disconnect", &database).await;
    assert_eq!(kept.expect(200).json::<Value>()["state"], "ready");
    for path in ["/api/servers/disconnect", "/api/servers/look"] {
        let missing = json!({ "server": "No/such%server" });
        ana.post(path, &missing).await.expect(404);
    }
    ana.cancel(&waiting).await.expect(202);
    ana.wait_end(&waiting).await;
    world.finish().await;
}

#[tokio::test]
async fn a_call_waits_for_its_account_through_a_restart() {
    let mut world = notes::build(Options::default()).start_with_process().await;
    let ana = world.ana();
    let posted = ana.ask(ASK).await;
    ana.wait_until(&posted.turn, waits).await;
    world.toolgate().kill().await;
    world.toolgate().start().await;
    // The page comes back, and its servers are looked at.
    let stream = ana.page_stream(&posted.conversation).await;
    ana.post("/api/servers", &json!({})).await.expect(200);
    assert!(still_waits(&ana, &posted.turn).await);
    assert_eq!(server(&ana, "Notes").await["state"], "needs_connect");
    Browser::of(&world, &ana).agree("Ana").await;
    let page = connected(&ana, "server=Notes").await;
    assert!(page.contains("Notes is connected"), "{page}");
    let ended = ana.wait_end(&posted.turn).await;
    assert_eq!(
        ended.calls().map(outcome).collect::<Vec<_>>(),
        [Outcome::Ok]
    );
    drop(stream);
    world.finish().await;
}

#[tokio::test]
async fn a_tool_that_policy_denied_is_shown_as_denied_to_whom_it_was() {
    let world = World::build()
        .setting("TOOLGATE_APPROVAL", "never")
        .rule("deny: {or: [{mcp_tool: {is: list_tables}}]}")
        .start()
        .await;
    let (ana, ben) = (world.ana(), world.ben());
    let denied = async |user: &User| -> Vec<Value> {
        look(user, "Database").await;
        let database = server(user, "Database").await;
        assert_eq!(database["state"], "ready");
        let tools = database["tools"].as_array().unwrap().iter();
        tools
            .filter(|tool| !tool["denied"].is_null())
            .cloned()
            .collect()
    };
    assert!(denied(&ana).await.is_empty());
    let told = turn(&world, &ana, &[("Database__list_tables", json!({}))]).await;
    assert_eq!(told.outcomes(), [Outcome::DeniedByPolicy]);
    let tools = denied(&ana).await;
    assert_eq!(tools.len(), 1, "{tools:?}");
    assert_eq!(tools[0]["name"], "list_tables");
    let failure = told.call().failure.as_ref().unwrap();
    assert_eq!(tools[0]["denied"]["request_id"], json!(failure.request_id));
    assert!(failure.request_id.is_some());
    assert!(denied(&ben).await.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn who_looks_at_a_server_gives_it_the_time_it_needs() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let fake = Fake::start(move |seen| {
        let answer = if is_up.load(Ordering::Relaxed) {
            seen.plain(&[tool("work")])
        } else {
            bare(503)
        };
        async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            answer
        }
    })
    .await;
    let world = World::build().server("Slow", fake.url()).start().await;
    let ana = world.ana();
    assert_eq!(look(&ana, "Slow").await["state"], "unavailable");
    up.store(true, Ordering::Relaxed);
    // A turn would go on without one that has just failed; a person wants to know.
    assert_eq!(look(&ana, "Slow").await["state"], "ready");
    world.finish().await;
}
