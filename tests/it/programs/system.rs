//! The same with the whole system: sign-in by redirects, answers of the model, sessions that end.

use std::time::Duration;

use chat::outcome::TurnEnd;
use demo::model::{Call, Reply};
use harness::{Events, User, World};
use http::{StatusCode, header};
use serde_json::{Value, json};
use url::Url;

use super::{
    begin, connect, error, send,
    terminal::{Running, Terminal},
};

/// A pace at which a model never says a word.
const NEVER: Duration = Duration::from_hours(1);

/// Redirects from the address to sign in at to the program that waits.
const MOST_REDIRECTS: usize = 10;

/// Opens the address in the browser of `user`, who is signed in there, and follows it to its end;
/// the page there.
async fn browse(world: &World, user: &User, address: &str) -> String {
    wire::http::install_crypto();
    let here = world.standin().http_addr();
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .pool_idle_timeout(None)
        .redirect(reqwest::redirect::Policy::none())
        .resolve("chat.localhost", here)
        .resolve("authenticate.localhost", here)
        .build()
        .unwrap();
    let mut url = Url::parse(address.trim()).unwrap();
    for _ in 0..MOST_REDIRECTS {
        let mut request = client.get(url.clone()).header(header::ACCEPT, "text/html");
        if url.host_str().unwrap().ends_with(".localhost") {
            request = request.header(header::COOKIE, &user.cookie);
        }
        let response = begin(request).await;
        let Some(location) = response.headers().get(header::LOCATION) else {
            assert_eq!(response.status(), 200, "{url}");
            return response.text().await.unwrap();
        };
        url = url.join(location.to_str().unwrap()).unwrap();
    }
    panic!("redirected without end, last to {url}")
}

/// A terminal of somebody who signed in there with the session of their browser.
async fn signed_in(world: &World, user: &User) -> Terminal {
    let terminal = Terminal::new();
    let mut login = terminal.start(&["login", world.url(), "--no-browser"]);
    let address = login.line("/.pomerium/").await;
    let page = browse(world, user, &address).await;
    assert!(page.contains("You can close this tab"), "{page}");
    let said = login.end().await.succeeded();
    let name = format!("Signed in to {} as", world.url());
    assert!(said.stdout.contains(&name), "{said:?}");
    terminal
}

async fn forwarder(world: &World, terminal: &Terminal) -> (Running, Program) {
    let (forwarder, base) = connect(terminal, world.url(), &[]).await;
    let client = super::client();
    (forwarder, Program { client, base })
}

/// A program that knows nothing but a base URL.
struct Program {
    client: reqwest::Client,
    base: String,
}

impl Program {
    fn completion(&self, message: &str, stream: &Value) -> reqwest::RequestBuilder {
        let body = json!({
            "messages": [{ "role": "user", "content": message }],
            "stream": stream,
        });
        let url = format!("{}/chat/completions", self.base);
        self.client.post(url).bearer_auth("none-needed").json(&body)
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        let root = self.base.strip_suffix("/v1").unwrap();
        self.client.get(format!("{root}{path}"))
    }
}

#[tokio::test]
async fn whoever_signed_in_in_a_browser_has_a_key_until_they_sign_out() {
    let world = World::start().await;
    let ana = world.ana();
    let terminal = signed_in(&world, &ana).await;
    let key = terminal.run(&["token"]).await.succeeded().stdout;
    let asked = ana.get("/api/session").await.expect(200).body;
    let as_program = |accept: &str| {
        let url = format!("http://{}/api/session", world.standin().http_addr());
        let request = super::client().get(url);
        let host = world.url().strip_prefix("http://").unwrap().to_owned();
        let request = request.header(header::HOST, host);
        request
            .bearer_auth(key.trim())
            .header(header::ACCEPT, accept)
    };
    let (status, body) = send(as_program("application/json")).await;
    assert_eq!(status, 200, "{body}");
    let name = |body: &str| serde_json::from_str::<Value>(body).unwrap()["subject"].clone();
    assert_eq!(name(&body), name(&asked));

    world.standin().end_session(ana.sid);
    assert_eq!(send(as_program("application/json")).await.0, 401);
    let said = terminal.run(&["token"]).await;
    said.failed_with(&format!("run: toolgate login {}", world.url()));
    world.finish().await;
}

#[tokio::test]
async fn a_program_behind_the_forwarder_gets_answers_and_sees_nobody_elses() {
    let world = World::start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let (at_anas, at_bens) = (signed_in(&world, &ana).await, signed_in(&world, &ben).await);
    let (_anas, program) = forwarder(&world, &at_anas).await;
    let (_bens, other) = forwarder(&world, &at_bens).await;

    let question = "What were our sales by year?";
    let response = begin(program.completion(question, &json!(true))).await;
    assert_eq!(response.status(), 200);
    let turn = response.headers()["x-toolgate-turn"].to_str().unwrap();
    let turn = format!("/api/turns/{turn}");
    let mut events = Events::of(response);
    let mut text = String::new();
    let last = loop {
        let frame = events.next().await.expect("[DONE]");
        if frame.data == "[DONE]" {
            break events.next().await;
        }
        let delta = &frame.json()["choices"][0]["delta"]["content"];
        text.push_str(delta.as_str().unwrap_or_default());
    };
    assert_eq!(last, None);
    assert!(text.contains("20"), "no year is named: {text}");
    let (status, whole) = send(program.completion(question, &json!(false))).await;
    assert_eq!(status, 200, "{whole}");

    assert_eq!(send(program.get(&turn)).await.0, 200);
    assert_eq!(ana.get(&turn).await.status, 200);
    assert_eq!(send(other.get(&turn)).await.0, 404);
    world.finish().await;
}

#[tokio::test]
async fn a_turn_that_takes_longer_than_a_token_lives_goes_on_with_a_newer_one() {
    let life = Duration::from_secs(4);
    let world = World::build()
        .token_life(life)
        .model_delay(NEVER)
        .start()
        .await;
    let ana = world.ana();
    let terminal = signed_in(&world, &ana).await;
    let (_forwarder, program) = forwarder(&world, &terminal).await;
    let sql = json!({ "query": "SELECT 'late' AS mark" });
    let call = Call::new("Database__read_query", &sql);
    world.model().queue(Reply::calls([call]));
    world.model().queue(Reply::text("Done."));
    let hold = async {
        world.model().wait_received(1).await;
        // No token lives that long.
        tokio::time::sleep(life + Duration::from_secs(1)).await;
        world.model().set_delay(Duration::ZERO);
    };
    let asked = send(program.completion("Look", &json!(false)));
    let ((status, body), ()) = tokio::join!(asked, hold);
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "Done.");
    assert_eq!(world.journal().with("late").len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_program_that_goes_away_cancels_its_turn_and_one_whose_session_ends_is_told() {
    let pace = Duration::from_millis(100);
    let world = World::build().model_delay(pace).start().await;
    let ana = world.ana();
    let terminal = signed_in(&world, &ana).await;
    let (_forwarder, program) = forwarder(&world, &terminal).await;
    let response = begin(program.completion("Tell a story", &json!(true))).await;
    let turn = response.headers()["x-toolgate-turn"].to_str().unwrap();
    let turn = turn.into();
    assert!(ana.turn(&turn).await.is_open());
    drop(response);
    let ended = ana.wait_end(&turn).await;
    assert_eq!(ended.end.unwrap().end, TurnEnd::Cancelled);

    world.standin().end_session(ana.sid);
    let (status, body) = send(program.completion("Look", &json!(true))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
    let message = error(&body)["message"].as_str().unwrap().to_owned();
    let command = format!("run: toolgate login {}", world.url());
    assert!(message.contains(&command), "{message}");
    // A new login is picked up without a new start.
    let again = world.ana();
    let mut login = terminal.start(&["login", world.url(), "--no-browser"]);
    let address = login.line("/.pomerium/").await;
    browse(&world, &again, &address).await;
    login.end().await.succeeded();
    let answered = send(program.get("/api/session"));
    assert_eq!(answered.await.0, 200);
    world.finish().await;
}

#[tokio::test]
async fn whoever_finds_a_way_around_pomerium_is_told_how_to_sign_in() {
    let mut world = World::build().start_with_process().await;
    let log = world.toolgate().log();
    let ready = log.lines().find(|line| line.contains("toolgate is ready"));
    let ready: Value = serde_json::from_str(ready.expect("it is ready")).unwrap();
    let root = format!("http://{}", ready["address"].as_str().unwrap());
    let command = format!("`toolgate login {}`", world.url());
    let client = super::client();
    for request in [
        client.get(format!("{root}/v1/models")),
        client.get(format!("{root}/v1/models")).bearer_auth("sk-1"),
        client
            .get(format!("{root}/v1/models"))
            .header("x-pomerium-jwt-assertion", "a.b.c"),
        client
            .post(format!("{root}/v1/chat/completions"))
            .header(header::ACCEPT, "text/html")
            .json(&json!({ "messages": [{ "role": "user", "content": "Look" }] })),
    ] {
        let (status, body) = send(request).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
        let error = error(&body);
        assert_eq!(error["type"], "authentication_error");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&command), "{message}");
    }
    world.finish().await;
}
