//! A server that wants an account connected: the way through its consent page, and what a server
//! learns about its callers.

use std::time::Duration;

use chat::{
    event::{ParkReason, ServerState},
    outcome::{Outcome, TurnEnd},
    transcript::{CallState, Transcript},
};
use demo::{
    notes::{Account, Listing, Options},
    pomerium::DemoUser,
};
use harness::{Builder, Response, User, World};
use http::header;
use serde_json::{Value, json};
use tokio::time::sleep;
use url::{Url, form_urlencoded::Serializer};

const HOST: &str = "notes.localhost";
const ASK: &str = "What notes do I have?";

pub(crate) fn build(notes: Options) -> Builder {
    World::build()
        .setting("TOOLGATE_APPROVAL", "never")
        .options(|options| options.notes = Some(notes))
}

/// Somebody's browser, away from the page.
pub(crate) struct Browser {
    user: User,
    client: reqwest::Client,
    port: u16,
}

impl Browser {
    pub(crate) fn of(world: &World, user: &User) -> Self {
        let address = world.standin().http_addr();
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_idle_timeout(None)
            .redirect(reqwest::redirect::Policy::none())
            .resolve(HOST, address)
            .build()
            .unwrap();
        Self {
            user: user.clone(),
            client,
            port: address.port(),
        }
    }

    /// A page, with the person's cookie.
    pub(crate) async fn open(&self, url: &str) -> Response {
        let request = self.client.get(url);
        let request = request.header(header::COOKIE, &self.user.cookie);
        self.user.send(request).await
    }

    /// Where the person wants to be sent back to.
    fn back(&self) -> String {
        format!("{}/connected?server=Notes", self.user.origin)
    }

    async fn connect(&self) -> Response {
        let query = form(&[("redirect_url", &self.back())]);
        let path = "/.pomerium/mcp/connect";
        self.open(&format!("http://{HOST}:{}{path}?{query}", self.port))
            .await
    }

    /// Presses a button of the consent page, for this account.
    pub(crate) async fn consent(&self, account: &str, decision: &str) -> Response {
        let there = location(&self.connect().await);
        let page = self.open(&there).await.expect(200);
        let (_, rest) = page.body.split_once("name=\"ticket\" value=\"").unwrap();
        let (ticket, _) = rest.split_once('"').unwrap();
        let pressed = form(&[
            ("ticket", ticket),
            ("account", account),
            ("decision", decision),
        ]);
        let mut action = Url::parse(&there).unwrap();
        action.set_query(None);
        let request = self
            .client
            .post(action)
            .body(pressed)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let sent_back = self.user.send(request).await.expect(303);
        self.open(&location(&sent_back)).await
    }

    /// Connects the account, as somebody who agrees.
    pub(crate) async fn agree(&self, account: &str) {
        let done = self.consent(account, "allow").await.expect(302);
        assert_eq!(location(&done), self.back());
    }

    async fn disconnect(&self) {
        let path = "/.pomerium/mcp/routes/disconnect";
        let url = format!("http://{HOST}:{}", self.port);
        let told = self.user.post(path, &json!({ "routes": [url] })).await;
        let routes: Value = told.expect(200).json();
        let servers = routes["servers"].as_array().unwrap();
        let notes = servers.iter().find(|server| server["name"] == "Notes");
        assert_eq!(notes.unwrap()["connected"], false);
    }

    /// A call of `list_notes` with a TE of the person's, as Toolgate makes it.
    async fn call(&self, world: &World) -> Response {
        let te = world.standin().issue_te(self.user.sid).unwrap();
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "list_notes", "arguments": {} },
        });
        let request = self
            .client
            .post(format!("http://{HOST}:{}/", self.port))
            .header(header::AUTHORIZATION, format!("Bearer {te}"))
            .header(header::ACCEPT, "application/json, text/event-stream")
            .json(&message);
        self.user.send(request).await
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn location(response: &Response) -> String {
    let location = response.headers.get(header::LOCATION);
    let location = location.unwrap_or_else(|| panic!("{} {}", response.status, response.body));
    location.to_str().unwrap().to_owned()
}

/// The empty 401 of an upstream that wants an account (not that of a stale TE).
fn assert_unconnected(response: &Response) {
    let told = (response.status.as_u16(), response.body.as_str());
    assert_eq!(told, (401, ""));
    assert_eq!(response.headers[header::CACHE_CONTROL], "no-store");
}

/// What the only call came to, and the model's last words.
fn told(transcript: &Transcript) -> (Outcome, String) {
    assert_eq!(
        transcript.end.as_ref().map(|end| end.end),
        Some(TurnEnd::Answered),
        "{transcript:#?}"
    );
    let call = transcript.calls().next().expect("a call");
    let CallState::Finished { outcome, .. } = &call.state else {
        panic!("{call:#?}");
    };
    (*outcome, serde_json::to_string(transcript).unwrap())
}

#[tokio::test]
async fn a_call_is_refused_until_the_caller_connects_and_after_they_disconnect() {
    let world = build(Options::default()).start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let (hers, his) = (Browser::of(&world, &ana), Browser::of(&world, &ben));
    assert_unconnected(&hers.call(&world).await);

    // Who denies is left with Pomerium's page, and nothing is connected.
    let denied = hers.consent("Ana", "deny").await;
    assert_eq!(
        (denied.status.as_u16(), denied.body.as_str()),
        (400, "Authorization failed\n")
    );
    assert_unconnected(&hers.call(&world).await);

    hers.agree("Ana").await;
    let listed = hers.call(&world).await.expect(200);
    assert!(listed.body.contains("Board meeting"), "{}", listed.body);
    // Nothing is asked twice.
    assert_eq!(location(&hers.connect().await), hers.back());

    // The account is hers alone, in every session of hers.
    assert_unconnected(&his.call(&world).await);
    his.agree("Ben").await;
    let listed = his.call(&world).await.expect(200);
    assert!(!listed.body.contains("Board meeting"), "{}", listed.body);
    let again = Browser::of(&world, &world.ana());
    again.call(&world).await.expect(200);

    hers.disconnect().await;
    assert_unconnected(&hers.call(&world).await);
    assert_unconnected(&again.call(&world).await);
    his.call(&world).await.expect(200);
    world.finish().await;
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_unseen_and_one_that_was_revoked_is_not() {
    const LIFE: Duration = Duration::from_secs(1);
    let world = build(Options {
        access_token_life: LIFE,
        ..Options::default()
    })
    .start()
    .await;
    let ana = world.ana();
    let browser = Browser::of(&world, &ana);
    browser.agree("Ana").await;
    browser.call(&world).await.expect(200);
    sleep(LIFE).await;
    browser.call(&world).await.expect(200);

    world.notes().revoke_all();
    sleep(LIFE).await;
    assert_unconnected(&browser.call(&world).await);
    assert!(!world.standin().is_connected(DemoUser::Ana, HOST));
    world.finish().await;
}

#[tokio::test]
async fn a_turn_waits_for_the_account_and_goes_on() {
    let world = build(Options::default()).start().await;
    let ana = world.ana();
    let posted = ana.ask(ASK).await;
    ana.wait_until(&posted.turn, |transcript| {
        transcript.calls().any(|call| {
            matches!(&call.state, CallState::Parked { reason, .. } if *reason == ParkReason::NeedsConnect)
        })
    })
    .await;
    let browser = Browser::of(&world, &ana);
    browser.agree("Ana").await;
    // What the page does when its reader comes back from connecting.
    ana.get("/connected?server=Notes").await;
    ana.post("/api/servers", &json!({})).await;
    let (outcome, words) = told(&ana.wait_end(&posted.turn).await);
    assert_eq!(outcome, Outcome::Ok);
    assert!(words.contains("Board meeting on Thursday"), "{words}");

    // What is written goes into the account that consented.
    let posted = ana.ask("Note that Bob called").await;
    assert_eq!(told(&ana.wait_end(&posted.turn).await).0, Outcome::Ok);
    assert_eq!(
        world.notes().notes_of(Account::Ana).last().unwrap(),
        "Bob called"
    );
    assert_eq!(world.notes().notes_of(Account::Ben).len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_closed_server_needs_connecting_before_anything() {
    let world = build(Options {
        listing: Listing::Closed,
        ..Options::default()
    })
    .start()
    .await;
    let ana = world.ana();
    let posted = ana.ask("Compare customers, products and suppliers").await;
    let transcript = ana.wait_end(&posted.turn).await;
    let mut servers = transcript.servers.iter();
    let notes = servers.find(|server| server.server == "Notes").unwrap();
    assert_eq!(notes.state, ServerState::NeedsConnect, "{notes:?}");
    world.finish().await;
}

#[tokio::test]
async fn the_database_learns_who_asks_from_each_request() {
    let world = World::build()
        .setting("TOOLGATE_APPROVAL", "never")
        .start()
        .await;
    for (user, name) in [(world.ana(), "Ana"), (world.ben(), "Ben")] {
        let posted = user.ask("Who am I for the database?").await;
        let (outcome, words) = told(&user.wait_end(&posted.turn).await);
        assert_eq!(outcome, Outcome::Ok);
        assert!(
            words.contains(&format!("you are **{name}** ({}", user.who.email())),
            "{words}"
        );
    }
    world.finish().await;
}
