//! `toolgate doctor`: what it says of a system that works, and of each way in which one does not.

mod clinic;

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use demo::model::{Answer, Call, Reply};
use harness::World;
use serde_json::{Value, json};
use url::Url;

use self::clinic::{Clinic, Place};
use crate::fake::{Fake, answer, json_answer, tool};

#[tokio::test]
async fn a_system_that_works_has_nothing_to_mend() {
    let world = World::start().await;
    let clinic = Clinic::of(&world).signed_in(&world);
    let said = clinic.run(&[]).await.exit(0);
    for line in [
        "ok       behind Pomerium, as http://chat.localhost",
        "its certificate is good",
        "key(s) to verify assertions with",
        "clocks agree",
        "MCP is on, and asks for a token",
        "Toolgate answers behind its route, to Ana",
        "MCP server(s): Database",
        "Database: ready, ",
        "model(s) listed",
        "answers, in a stream",
        "counts tokens in a stream",
        "calls functions, with proper arguments",
        "takes the results of calls",
    ] {
        assert!(said.stdout.contains(line), "no {line:?} in {}", said.stdout);
    }
    assert!(!said.stdout.contains("FAIL"), "{}", said.stdout);
    assert!(!said.stdout.contains('\u{1b}'), "colours in a pipe");
    world.finish().await;
}

#[tokio::test]
async fn programs_get_a_json_object_a_line_and_no_secret() {
    let world = World::start().await;
    let clinic = Clinic::of(&world)
        .signed_in(&world)
        .set("OPENAI_API_KEY", "sk-very-secret");
    let said = clinic.run(&["--json"]).await.exit(0);
    let lines: Vec<Value> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (summary, checks) = lines.split_last().unwrap();
    assert_eq!(summary["summary"]["fail"], 0);
    assert!(checks.iter().all(|check| check["id"].is_string()));
    let server = checks.iter().find(|check| check["id"] == "servers.server");
    assert_eq!(server.unwrap()["verdict"], "ok");
    for secret in ["sk-very-secret", clinic.token()] {
        assert!(!format!("{}{}", said.stdout, said.stderr).contains(secret));
    }
    world.finish().await;
}

#[tokio::test]
async fn without_a_login_the_rest_is_still_looked_at() {
    let world = World::start().await;
    let said = Clinic::of(&world).run(&[]).await.exit(0);
    said.hints("skipped", "toolgate login http://chat.localhost");
    assert!(said.stdout.contains("MCP is on"), "{}", said.stdout);
    assert!(said.stdout.contains("in a stream"), "{}", said.stdout);
    world.finish().await;
}

#[tokio::test]
async fn each_break_on_the_way_to_pomerium_is_named() {
    let world = World::start().await;
    let clinic = |key: &str, value: &str| Clinic::of(&world).signed_in(&world).set(key, value);
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let refused = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let plain = world.standin().http_addr().to_string();
    for (key, value, mend) in [
        ("TOOLGATE_CA_FILE", "", "set TOOLGATE_CA_FILE to a PEM file"),
        (
            "TOOLGATE_CA_FILE",
            "/nowhere/ca.pem",
            "set TOOLGATE_CA_FILE to a readable file",
        ),
        (
            "TOOLGATE_POMERIUM_ADDR",
            &refused,
            "start Pomerium, or correct TOOLGATE_POMERIUM_ADDR",
        ),
        ("TOOLGATE_POMERIUM_ADDR", &plain, "does not speak TLS"),
        (
            "TOOLGATE_PUBLIC_URL",
            "https://elsewhere.example",
            "give Pomerium a certificate for elsewhere.example",
        ),
    ] {
        let said = clinic(key, value).run(&[]).await.exit(1);
        said.mends("FAIL", mend);
    }
    world.finish().await;
}

#[tokio::test]
async fn a_login_that_has_ended_is_told_with_the_command() {
    let world = World::start().await;
    let ana = world.ana();
    let clinic = Clinic::of(&world).with_login_of(&world, ana.sid);
    world.standin().end_session(ana.sid);
    let said = clinic.run(&[]).await.exit(1);
    said.mends(
        "the login has ended",
        "run `toolgate login http://chat.localhost",
    );
    world.finish().await;
}

#[tokio::test]
async fn each_flaw_of_toolgates_route_shows_through_pomerium() {
    for (line, other, what, mend) in [
        (
            "pass_identity_headers: true",
            "pass_identity_headers: false",
            "is not told who asks",
            "set `pass_identity_headers: true`",
        ),
        (
            "mcp: {client: {}}",
            "description: Chat",
            "no token",
            "set `mcp: {client: {}}`",
        ),
        (
            "policy: [{allow: {or: [{domain: {is: example.com}}]}}]",
            "policy: [{allow: {or: [{domain: {is: example.org}}]}}]",
            "does not let you in",
            "by the `policy`",
        ),
        (
            "to: http://TOOLGATE",
            "to: http://127.0.0.1:1",
            "cannot reach Toolgate",
            "set `to`",
        ),
    ] {
        let place = Place::start(|routes| {
            assert!(routes.contains(line), "{line}");
            routes.replace(line, other)
        })
        .await;
        let said = place.clinic().run(&[]).await.exit(1);
        said.mends(what, mend);
        place.end().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_measured_when_asked_for() {
    let place = Place::start(|routes| routes.replace("    timeout: 0s", "    timeout: 2s")).await;
    let clinic = place.clinic();
    let said = clinic.run(&["--long"]).await.exit(1);
    said.mends(
        "answers through Pomerium are cut after 2 s",
        "`timeout: 0s`",
    );
    assert!(!clinic.run(&[]).await.stdout.contains("cut after"));
    place.end().await;
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_named_and_the_others_are_used() {
    let odd = json!({ "name": "", "inputSchema": { "type": "object" } });
    let half = Fake::plain(&[tool("look"), odd]).await;
    let page = Fake::start(|_| async { answer(200, "text/html", "<html>") }).await;
    let world = World::build()
        .server("Half", half.url())
        .server("Page", page.url())
        .server("Down", "http://127.0.0.1:1/mcp")
        .start()
        .await;
    let said = Clinic::of(&world).signed_in(&world).run(&[]).await.exit(1);
    assert!(
        said.stdout.contains("ok       Database: ready"),
        "{}",
        said.stdout
    );
    assert!(
        said.stdout.contains("ok       Half: ready, 1 tool(s)"),
        "{}",
        said.stdout
    );
    said.mends("Half: the tool ", "have Half describe the tool");
    said.mends("FAIL     Down: ", "");
    said.mends("FAIL     Page: ", "");
    world.finish().await;
    half.end().await;
    page.end().await;
}

#[tokio::test]
async fn a_toolgate_that_stands_alone_is_checked_with_its_own_servers() {
    let world = World::start().await;
    let server = Fake::plain(&[tool("look")]).await;
    let servers = format!("Notes={}", server.url());
    let clinic = Clinic::of(&world)
        .set("TOOLGATE_PUBLIC_URL", "")
        .set("TOOLGATE_POMERIUM_ADDR", "")
        .set("TOOLGATE_MCP_SERVERS", &servers);
    let said = clinic.run(&[]).await.exit(0);
    assert!(said.stdout.contains("standalone"), "{}", said.stdout);
    assert!(
        said.stdout.contains("ok       Notes: ready, 1 tool(s)"),
        "{}",
        said.stdout
    );
    assert!(!said.stdout.contains("\nPomerium\n"), "{}", said.stdout);
    server.end().await;
    world.finish().await;
}

#[tokio::test]
async fn what_the_model_cannot_do_is_told_with_what_toolgate_does_about_it() {
    let world = World::start().await;
    let clinic = || Clinic::of(&world);
    let counts = || Reply::text("1 2 3 4 5 6 7 8");
    let model = world.model();

    model.queue(counts());
    model.queue(Reply::text("<tool_call>{\"name\": \"add\"}</tool_call>"));
    let said = clinic().run(&[]).await.exit(1);
    said.mends("it answers in words", "llama.cpp `--jinja`");

    model.queue(counts());
    model.queue(Reply::error(
        400,
        "invalid_request_error",
        "tools are not supported",
    ));
    let said = clinic().run(&[]).await.exit(1);
    said.mends("functions are refused", "TOOLGATE_MODEL");

    let call = |a: u8| Call::new("doctor__add", &json!({ "a": a, "b": 3 }));
    model.queue(counts());
    model.queue(Reply::answer(Answer::calls([call(1), call(2)])));
    model.queue(Reply::error(
        400,
        "invalid_request_error",
        "no tool messages",
    ));
    let said = clinic().run(&[]).await.exit(1);
    assert!(
        said.stdout.contains("calls several at once (2)"),
        "{}",
        said.stdout
    );
    said.mends("refuses the results of calls", "TOOLGATE_MODEL");
    world.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_is_no_endpoint_is_told_with_its_setting() {
    let world = World::start().await;
    let page = Fake::start(|_| async { answer(404, "text/html", "<html>") }).await;
    let locked = Fake::start(|_| async {
        let body = json!({"error": {"message": "bad key", "type": "authentication_error"}});
        answer(401, "application/json", body.to_string())
    })
    .await;
    for (url, mend) in [
        (
            "http://127.0.0.1:1/v1".to_owned(),
            "correct OPENAI_BASE_URL, or start",
        ),
        (page.url(), "correct OPENAI_BASE_URL"),
        (locked.url(), "set OPENAI_API_KEY"),
    ] {
        let said = Clinic::of(&world)
            .set("OPENAI_BASE_URL", &url)
            .set("TOOLGATE_MODEL", "")
            .run(&[])
            .await
            .exit(1);
        said.mends("FAIL     http://127.0.0.1", mend);
    }
    let other = Fake::start(|seen| async move {
        if seen.http.uri.path().ends_with("/models") {
            return json_answer(200, &json!({ "data": [{ "id": "here-1" }] }));
        }
        json_answer(404, &json!({ "error": { "message": "no such model" } }))
    })
    .await;
    let clinic = Clinic::of(&world).set("OPENAI_BASE_URL", &other.url());
    let said = clinic
        .set("TOOLGATE_MODEL", "gone-1")
        .run(&[])
        .await
        .exit(1);
    said.mends(
        "TOOLGATE_MODEL=gone-1 is not in the endpoint's list",
        "here-1",
    );
    said.mends("gone-1 does not answer", "TOOLGATE_MODEL");
    other.end().await;
    page.end().await;
    locked.end().await;
    world.finish().await;
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_told_apart_from_what_fails() {
    let world = World::start().await;
    let said = Clinic::of(&world)
        .set("TOOLGATE_LISTEN", "3000")
        .run(&[])
        .await
        .exit(78);
    said.mends("FAIL     TOOLGATE_LISTEN: ", "set TOOLGATE_LISTEN");
    let said = Clinic::of(&world)
        .set("TOOLGATE_LISTN", "x")
        .run(&[])
        .await
        .exit(0);
    said.mends("TOOLGATE_LISTN is no setting", "take TOOLGATE_LISTN out");

    let stranger = Fake::start(|_| async { answer(200, "text/plain", "hello") }).await;
    let url: Url = stranger.url().parse().unwrap();
    let address = format!("127.0.0.1:{}", url.port().unwrap());
    let crowded = Clinic::of(&world).set("TOOLGATE_LISTEN", &address);
    let said = crowded.run(&[]).await.exit(1);
    said.mends("another program has", "set TOOLGATE_LISTEN");
    stranger.end().await;

    let notes = world.data().join("notes.txt");
    std::fs::write(&notes, "not a database at all").unwrap();
    let database = format!("sqlite://{}", notes.display());
    let said = Clinic::of(&world)
        .set("TOOLGATE_DATABASE_URL", &database)
        .run(&[])
        .await
        .exit(1);
    said.mends("no SQLite database", "set TOOLGATE_DATABASE_URL");
    assert_eq!(
        std::fs::read_to_string(&notes).unwrap(),
        "not a database at all"
    );
    world.finish().await;
}

#[tokio::test]
async fn the_routes_file_needs_no_other_setting() {
    let clinic = Clinic::empty();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../pomerium-config.yaml");
    let said = clinic.run(&["--pomerium-config", file]).await.exit(0);
    assert!(
        said.stdout.contains("only the routes are looked at"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("MCP client route"), "{}", said.stdout);
    assert!(!said.stdout.contains("\nModel\n"), "{}", said.stdout);

    let broken = clinic.write(
        "config.yaml",
        "routes:\n- from: https://chat.example.com\n  to: http://toolgate:3000\n  mcp: {}\n",
    );
    let said = clinic.run(&["--pomerium-config", &broken]).await.exit(1);
    said.mends(
        "config.yaml:4: ",
        "`mcp: {server: {max_request_bytes: 1048576}}`",
    );

    let bad = clinic.set("TOOLGATE_LISTEN", "3000");
    let said = bad.run(&["--pomerium-config", file]).await.exit(0);
    said.mends("warn     TOOLGATE_LISTEN: ", "set TOOLGATE_LISTEN");
    let said = bad
        .run(&["--pomerium-config", "/nowhere/config.yaml"])
        .await
        .exit(1);
    said.mends("cannot be read", "--pomerium-config");
}

#[tokio::test]
async fn each_line_comes_as_soon_as_its_check_is_done() {
    let silent = Fake::start(|_| async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        answer(200, "text/plain", "late")
    })
    .await;
    let clinic = Clinic::empty().set("OPENAI_BASE_URL", &silent.url());
    let first = clinic.first_line(&[]).await;
    assert_eq!(first, "Settings");
    silent.end().await;
}
