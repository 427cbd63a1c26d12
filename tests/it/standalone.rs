//! Toolgate without Pomerium, and servers from the configuration beside Pomerium's.

use std::{net::SocketAddr, path::Path};

use chat::{
    outcome::{Outcome, TurnEnd},
    transcript::{CallState, Transcript},
};
use demo::model::{self, Call, Model, Reply};
use harness::{PATIENCE, Posted, World};
use http::Method;
use serde_json::{Value, json};
use server::{
    Listeners, Shutdown,
    config::{Config, Layered},
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{complaint, run},
    fake::{Fake, tool},
    look::{end, outcomes},
};

/// A Toolgate that stands alone, and its model.
struct Alone {
    address: SocketAddr,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// What outlives a start of it.
struct Place {
    directory: TempDir,
    model: Model,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Place {
    async fn new() -> Self {
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = model::Options::default();
        let model = Model::start(options, listener, &tasks, shutdown.clone()).unwrap();
        Self {
            directory: tempfile::tempdir().unwrap(),
            model,
            tasks,
            shutdown,
        }
    }

    /// Starts a Toolgate with these lines in its file.
    async fn start(&self, tables: &str) -> Alone {
        let file = self.write(tables);
        let config = Config::read(&Layered::load(Some(&file)).unwrap()).unwrap();
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alone = Alone {
            address: public.local_addr().unwrap(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let listeners = Listeners {
            public,
            admin: None,
        };
        let shutdown = Shutdown::at_once(alone.shutdown.clone());
        let serving = server::serve(config, listeners, shutdown);
        alone.tasks.spawn(async move { serving.await.unwrap() });
        alone
    }

    fn write(&self, tables: &str) -> std::path::PathBuf {
        let file = self.directory.path().join("toolgate.toml");
        let database = self.directory.path().join("toolgate.db");
        let settings = format!(
            "openai_base_url = '{}'\nmodel = '{}'\ndatabase_url = 'sqlite://{}'\n{tables}",
            self.model.base_url(),
            self.model.first_model(),
            database.display(),
        );
        std::fs::write(&file, settings).unwrap();
        file
    }

    async fn end(self) {
        assert!(self.model.rejected().is_empty(), "requests were refused");
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Alone {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests are other people's programs, not Toolgate"
    )]
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> (u16, String) {
        wire::http::install_crypto();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.request(method, format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.timeout(PATIENCE).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, &[], None).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Posts a message, as a page with a bearer of its own would.
    async fn ask(&self, text: &str) -> Posted {
        let message = json!({ "message_id": uuid(), "message": text });
        let origin = format!("http://{}", self.address);
        let headers = [
            ("origin", origin.as_str()),
            ("authorization", "Bearer caller-secret"),
        ];
        let (status, body) = self
            .send(Method::POST, "/api/messages", &headers, Some(&message))
            .await;
        assert!((200..300).contains(&status), "{body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn wait_until(
        &self,
        posted: &Posted,
        wanted: impl Fn(&Transcript) -> bool,
    ) -> Transcript {
        let path = format!("/api/turns/{}", posted.turn);
        let looking = async {
            loop {
                let turn: Transcript =
                    serde_json::from_value(self.get(&path).await["transcript"].take()).unwrap();
                if wanted(&turn) {
                    return turn;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let looked = tokio::time::timeout(PATIENCE, looking).await;
        looked.expect("the turn does not come that far")
    }

    async fn wait_end(&self, posted: &Posted) -> Transcript {
        self.wait_until(posted, |turn| turn.end.is_some()).await
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn asking(turn: &Transcript) -> bool {
    let asks = |state: &CallState| matches!(state, CallState::Asking { .. });
    turn.calls().any(|call| asks(&call.state))
}

/// What the server was sent as `Authorization`, each once.
fn credentials(fake: &Fake) -> Vec<Option<String>> {
    let seen = fake.seen();
    let mut all: Vec<_> = seen
        .iter()
        .map(|seen| seen.header("authorization").map(ToOwned::to_owned))
        .collect();
    all.sort();
    all.dedup();
    all
}

#[tokio::test]
async fn it_serves_one_person_with_the_servers_of_its_file() {
    let place = Place::new().await;
    let (trusted, other) = (
        Fake::plain(&[tool("look")]).await,
        Fake::plain(&[tool("look")]).await,
    );
    let tables = format!(
        "mcp_servers = 'Other={}'\n[servers.Trusted]\nurl = '{}'\nbearer_token = 'key-1'\n\
         trust_hints = true",
        other.url(),
        trusted.url()
    );
    let alone = place.start(&tables).await;
    let session = alone.get("/api/session").await;
    assert_eq!(session["subject"], "local");
    assert_eq!(session["token_seconds"], Value::Null);

    // Hints count for the one the operator trusts; of the other a person is asked.
    let look = |name: &str| Reply::calls([Call::new(format!("{name}__look"), &json!({}))]);
    place.model.queue(look("Trusted"));
    place.model.queue(Reply::text("Seen."));
    let posted = alone.ask("Look").await;
    let turn = alone.wait_end(&posted).await;
    assert_eq!(outcomes(&turn), [Outcome::Ok], "{turn:#?}");
    place.model.queue(look("Other"));
    let posted = alone.ask("Look there").await;
    alone.wait_until(&posted, asking).await;

    assert_eq!(credentials(&trusted), [Some("Bearer key-1".to_owned())]);
    assert_eq!(credentials(&other), [None]);
    let servers = alone.get("/api/servers").await;
    let names: Vec<_> = servers
        .as_array()
        .unwrap()
        .iter()
        .map(|server| (server["name"].clone(), server["state"].clone()))
        .collect();
    assert_eq!(
        names,
        [
            (json!("Other"), json!("ready")),
            (json!("Trusted"), json!("ready"))
        ]
    );
    alone.end().await;
    place.end().await;
    trusted.end().await;
    other.end().await;
}

#[tokio::test]
async fn what_is_not_from_here_is_refused() {
    let place = Place::new().await;
    let alone = place.start("").await;
    for (header, value, status) in [
        ("host", "evil.example", 421),
        ("host", "localhost.evil.example:3000", 421),
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("x-pomerium-jwt-assertion", "e30.e30.e30", 403),
        ("x-forwarded-for", "10.0.0.1", 403),
    ] {
        for path in ["/", "/api/session", "/v1/models"] {
            let (got, body) = alone
                .send(Method::GET, path, &[(header, value)], None)
                .await;
            assert_eq!(got, status, "{header}: {value} {path}: {body}");
        }
        let message = json!({ "message_id": uuid(), "message": "x" });
        let (path, headers) = ("/api/messages", [(header, value)]);
        let posting = alone.send(Method::POST, path, &headers, Some(&message));
        assert_eq!(posting.await.0, status, "{header}: {value}");
    }
    assert_eq!(place.model.received(), 0);
    let html = [("accept", "text/html")];
    let (status, page) = alone.send(Method::GET, "/", &html, None).await;
    assert_eq!(status, 200);
    assert!(!page.contains("Sign out"), "{page}");
    alone.end().await;
    place.end().await;
}

#[tokio::test]
async fn a_turn_goes_on_after_a_restart_by_itself() {
    let place = Place::new().await;
    let alone = place.start("").await;
    place.model.queue(Reply::hang());
    let posted = alone.ask("Think").await;
    place.model.wait_received(1).await;
    alone.end().await;

    place.model.queue(Reply::text("Here it is."));
    let alone = place.start("").await;
    // Nobody brings a token: there is none to wait for.
    place.model.wait_received(2).await;
    let turn = alone.wait_end(&posted).await;
    assert_eq!(end(&turn), TurnEnd::Answered);
    alone.end().await;
    place.end().await;
}

#[tokio::test]
async fn a_server_that_wants_credentials_is_told_so_and_nothing_waits_for_a_token() {
    let place = Place::new().await;
    let locked = Fake::start(|_| async {
        let body = json!({ "error": "Unauthenticated", "request_id": "r" });
        crate::fake::json_answer(401, &body)
    })
    .await;
    let alone = place
        .start(&format!("mcp_servers = 'Locked={}'", locked.url()))
        .await;
    place.model.queue(Reply::text("Without tools, then."));
    let posted = alone.ask("Look").await;
    let turn = alone.wait_end(&posted).await;
    assert_eq!(end(&turn), TurnEnd::Answered);
    let servers = alone.get("/api/servers").await;
    let server = &servers[0];
    assert_eq!(server["state"], "forbidden", "{server:#}");
    let advice = server["failure"]["advice"].as_str().unwrap();
    assert!(advice.contains("bearer_token"), "{advice}");
    alone.end().await;
    place.end().await;
    locked.end().await;
}

#[tokio::test]
async fn beside_pomerium_a_server_of_the_file_keeps_to_itself() {
    let own = Fake::plain(&[tool("look")]).await;
    let list = format!("Database={},Own={}", own.url(), own.url());
    let world = World::build()
        .setting("TOOLGATE_MCP_SERVERS", list)
        .start()
        .await;
    let ana = world.ana();
    world.model().queue(Reply::calls([Call::new(
        "Database__read_query",
        &json!({ "query": "SELECT 1" }),
    )]));
    world.model().queue(Reply::text("One."));
    let posted = ana.ask("Count").await;
    let turn = ana.wait_end(&posted.turn).await;
    assert_eq!(outcomes(&turn), [Outcome::Ok], "Pomerium's keeps its name");

    let servers: Value = ana.get_json("/api/servers").await;
    let names: Vec<_> = servers
        .as_array()
        .unwrap()
        .iter()
        .map(|server| server["name"].as_str().unwrap().to_owned())
        .collect();
    for name in ["Database", "Database (config)", "Own"] {
        assert!(names.contains(&name.to_owned()), "{name}: {names:?}");
    }
    assert_eq!(credentials(&own), [None], "no token of anybody's");
    world.finish().await;
    own.end().await;
}

#[tokio::test]
async fn it_does_not_start_where_others_could_reach_it() {
    let listen = [
        ("TOOLGATE_LISTEN", "0.0.0.0:0"),
        ("TOOLGATE_ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    let ended = run(&[], &listen).await;
    assert_eq!(ended.status.code(), Some(78), "{ended:?}");
    let complaint = complaint(&ended);
    assert!(
        complaint.starts_with("toolgate: TOOLGATE_LISTEN: 0.0.0.0:0"),
        "{complaint}"
    );
    assert!(complaint.contains("TOOLGATE_PUBLIC_URL"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");

    let missing = Path::new("/nowhere/toolgate.toml").display().to_string();
    let ended = run(&["--config", &missing, "serve"], &listen).await;
    assert_eq!(ended.status.code(), Some(78), "{ended:?}");
}

#[tokio::test]
async fn a_misspelt_variable_is_named_at_the_start() {
    let mut world = World::build()
        .setting("TOOLGATE_MODLE", "gpt")
        .start_with_process()
        .await;
    let log = world.toolgate().log();
    assert!(log.contains("TOOLGATE_MODLE"), "{log}");
    world.finish().await;
}
