//! Programs: how they sign in, and the forwarder of `toolgate connect`.

mod gateway;
mod system;
mod terminal;

use std::io;

use harness::{Events, PATIENCE};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    fake::{Fake, answer},
    look::eventually,
    said::Said,
};

use self::{
    gateway::{Gateway, TOKEN, redirect_of},
    terminal::{Running, Terminal, mode},
};

/// Where a sign-in page would be.
const SIGN_IN: &str = "/.pomerium/sign_in?";

fn client() -> reqwest::Client {
    wire::http::install_crypto();
    let client = reqwest::Client::builder()
        .no_proxy()
        // No task of a connection is to outlive its answer.
        .pool_max_idle_per_host(0)
        .pool_idle_timeout(None);
    client
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// Sends a request of another program's and returns its status and body.
async fn send(request: reqwest::RequestBuilder) -> (StatusCode, String) {
    let response = begin(request.timeout(PATIENCE)).await;
    (response.status(), response.text().await.unwrap())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests are other people's programs, not Toolgate"
)]
async fn begin(request: reqwest::RequestBuilder) -> reqwest::Response {
    request.send().await.unwrap()
}

/// Signs in to the played Pomerium.
async fn sign_in(terminal: &Terminal, gateway: &Gateway) -> Said {
    let mut login = terminal.start(&["login", &gateway.url(), "--no-browser"]);
    let address = login.line(SIGN_IN).await;
    let mut back = redirect_of(&address);
    back.query_pairs_mut().append_pair("pomerium_jwt", TOKEN);
    let (status, page) = send(client().get(back)).await;
    assert_eq!(status, 200);
    assert!(page.contains("You can close this tab"), "{page}");
    login.end().await.succeeded()
}

/// A forwarder that is ready, and its base URL.
async fn connect(terminal: &Terminal, url: &str, more: &[&str]) -> (Running, String) {
    let arguments = [&["connect", url, "--listen", "127.0.0.1:0"], more].concat();
    let mut forwarder = terminal.start(&arguments);
    let line = forwarder.line("export OPENAI_BASE_URL=").await;
    let base = line.strip_prefix("export OPENAI_BASE_URL=").unwrap();
    (forwarder, base.to_owned())
}

fn error(body: &str) -> Value {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert_eq!(body["error"]["param"], Value::Null, "{body}");
    body["error"].clone()
}

#[tokio::test]
async fn a_login_takes_a_token_only_where_nobody_can_guess() {
    let gateway = Gateway::start().await;
    let terminal = Terminal::new();
    let mut login = terminal.start(&["login", &gateway.url(), "--no-browser"]);
    let back = redirect_of(&login.line(SIGN_IN).await);
    assert_eq!(back.host_str(), Some("127.0.0.1"));
    assert!(back.path().len() > 30, "{back} can be guessed");

    let query = format!("pomerium_jwt={TOKEN}");
    let mut elsewhere = back.clone();
    elsewhere.set_path("/");
    elsewhere.set_query(Some(&query));
    assert_eq!(send(client().get(elsewhere)).await.0, 404);
    for garbage in [
        "",
        "pomerium_jwt=",
        "pomerium_jwt=x",
        "pomerium_jwt=a.b.c%0Ad",
    ] {
        let mut wrong = back.clone();
        wrong.set_query(Some(garbage));
        assert_eq!(send(client().get(wrong)).await.0, 400, "{garbage}");
    }
    let mut right = back;
    right.set_query(Some(&query));
    assert_eq!(send(client().get(right)).await.0, 200);
    let said = login.end().await.succeeded();
    assert!(said.stdout.contains("as Ana (ana@example.com)"), "{said:?}");
    assert!(!said.stdout.contains(TOKEN), "{said:?}");
    gateway.end().await;
}

#[tokio::test]
async fn a_login_is_kept_for_its_owner_printed_for_sdks_and_forgotten() {
    let gateway = Gateway::start().await;
    let terminal = Terminal::new();
    let login = format!("run: toolgate login {}", gateway.url());
    terminal
        .run(&["token"])
        .await
        .failed_with("run: toolgate login URL");
    terminal
        .run(&["token", &gateway.url()])
        .await
        .failed_with(&login);

    sign_in(&terminal, &gateway).await;
    assert_eq!(mode(&terminal.logins()), 0o600);
    assert_eq!(mode(terminal.logins().parent().unwrap()), 0o700);
    for arguments in [&["token"][..], &["token", &gateway.url()]] {
        let said = terminal.run(arguments).await.succeeded();
        assert_eq!(said.stdout, format!("Pomerium-{TOKEN}\n"));
        assert_eq!(said.stderr, "");
    }

    gateway.sign_out();
    terminal.run(&["token"]).await.failed_with(&login);
    terminal.run(&["logout", &gateway.url()]).await.succeeded();
    let kept = std::fs::read_to_string(terminal.logins()).unwrap();
    assert!(!kept.contains(TOKEN), "{kept}");
    terminal
        .run(&["logout", &gateway.url()])
        .await
        .failed_with("not signed in");
    gateway.end().await;
}

#[tokio::test]
async fn a_login_of_another_person_is_told_before_it_takes_the_place_of_the_one_before() {
    let gateway = Gateway::start().await;
    let terminal = Terminal::new();
    for _ in 0..2 {
        let said = sign_in(&terminal, &gateway).await;
        assert!(!said.stderr.contains("as Ana"), "{said:?}");
    }
    gateway.give_to_ben();
    let said = sign_in(&terminal, &gateway).await;
    for words in [
        "You were signed in to",
        "as Ana. Now Ben (ben@example.com) signed in",
        "Warning: the login of Ana is replaced",
    ] {
        assert!(said.stderr.contains(words), "no {words:?} in {said:?}");
    }
    assert!(said.stdout.contains("as Ben (ben@example.com)"), "{said:?}");
    gateway.end().await;
}

#[tokio::test]
async fn what_is_no_pomerium_is_named() {
    let terminal = Terminal::new();
    for (status, kind, body, words) in [
        (404, "text/plain", "not found", "Check the address"),
        (
            400,
            "text/plain",
            "bad",
            "programmatic_redirect_domain_whitelist",
        ),
        (401, "application/json", "{}", "address of an MCP server"),
        (503, "text/html", "<h1>", "Pomerium failed"),
        (200, "text/html", "<h1>Welcome", "other than Pomerium"),
        (
            200,
            "text/plain",
            "file:///etc/passwd",
            "other than Pomerium",
        ),
        (404, "application/problem+json", "{}", "Toolgate itself"),
    ] {
        let other = Fake::start(move |_| std::future::ready(answer(status, kind, body))).await;
        let url = format!("http://{}", other.address);
        let said = terminal.run(&["login", &url, "--no-browser"]).await;
        said.failed_with(words);
        other.end().await;
    }
    let said = terminal
        .run(&["login", "http://127.0.0.1:1", "--no-browser"])
        .await;
    said.failed_with("cannot be asked");
    let said = terminal.run(&["login", "http://chat.example.com"]).await;
    said.failed_with("only over TLS");
}

#[tokio::test]
async fn the_forwarder_serves_this_machine_only_and_no_web_page() {
    let gateway = Gateway::start().await;
    let terminal = Terminal::new();
    let anywhere = ["connect", &gateway.url(), "--listen", "0.0.0.0:0"];
    terminal.run(&anywhere).await.failed_with("loopback");
    terminal
        .run(&["connect", &gateway.url()])
        .await
        .failed_with("run: toolgate login");
    sign_in(&terminal, &gateway).await;
    // A secret among the arguments could be read by everybody on the machine.
    let argument = ["connect", &gateway.url(), "--key", "sk-local"];
    assert_eq!(terminal.run(&argument).await.code, Some(2));
    terminal
        .run(&["connect", &gateway.url(), "--key-file", "-"])
        .await
        .failed_with("--key-file -: it is empty");
    let key = terminal.write("key", "sk-local\n");
    let (forwarder, base) = connect(&terminal, &gateway.url(), &["--key-file", &key]).await;

    let models = || client().get(format!("{base}/models"));
    let with_key = || models().bearer_auth("sk-local");
    for foreign in [
        with_key().header("host", "evil.example"),
        with_key().header("origin", "https://evil.example"),
        with_key().header("sec-fetch-site", "cross-site"),
    ] {
        let (status, body) = send(foreign).await;
        assert_eq!(status, 403, "{body}");
        assert_eq!(error(&body)["code"], "not_from_here");
    }
    for keyless in [models(), models().bearer_auth("sk-other")] {
        let (status, body) = send(keyless).await;
        assert_eq!(
            (status, error(&body)["type"].clone()),
            (StatusCode::UNAUTHORIZED, json!("authentication_error"))
        );
    }
    assert_eq!(gateway.seen("/v1/models").len(), 0);
    let root = base.strip_suffix("/v1").unwrap();
    for path in [
        "/",
        "/c/1",
        "/.pomerium/",
        "/v1",
        "/v1/%2e%2e/.pomerium/user",
    ] {
        let request = client()
            .get(format!("{root}{path}"))
            .bearer_auth("sk-local");
        let (status, body) = send(request).await;
        assert_eq!(status, 404, "{path}: {body}");
        assert_eq!(gateway.seen("/.pomerium/user").len(), 0);
    }

    let theirs = with_key().header("cookie", "a=b");
    let response = begin(theirs).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-toolgate-turn"], "turn-1");
    assert!(!response.headers().contains_key("set-cookie"));
    let seen = gateway.seen("/v1/models");
    let bearer = format!("Bearer Pomerium-{TOKEN}");
    assert_eq!(seen[0].header("authorization"), Some(bearer.as_str()));
    assert_eq!(seen[0].header("cookie"), None);
    assert_eq!(forwarder.interrupt().await.code, Some(0));
    gateway.end().await;
}

#[tokio::test]
async fn the_forwarder_streams_and_keeps_the_session_fresh_while_it_does() {
    let gateway = Gateway::start().await;
    let terminal = Terminal::new();
    sign_in(&terminal, &gateway).await;
    let (_forwarder, base) = connect(&terminal, &gateway.url(), &[]).await;
    let before = gateway.refreshes();
    // Longer than until it would be asked again: to see that it is not.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(gateway.refreshes(), before, "nothing is open");

    let chat = client()
        .post(format!("{base}/chat/completions"))
        .json(&json!({ "stream": true }));
    let pieces = gateway.stream();
    let mut events = Events::of(begin(chat.try_clone().unwrap()).await);
    pieces.send(Ok("data: 1\n\ndata: ")).unwrap();
    assert_eq!(events.next().await.unwrap().data, "1");
    pieces.send(Ok("2\n\n")).unwrap();
    assert_eq!(events.next().await.unwrap().data, "2");
    eventually("the session is kept fresh", || gateway.refreshes() > before).await;
    pieces.send(Ok("data: [DONE]\n\n")).unwrap();
    drop(pieces);
    assert_eq!(events.rest().await.last().unwrap().data, "[DONE]");
    assert_eq!(gateway.seen("/v1/chat/completions")[0].body["stream"], true);
    assert!(!gateway.is_left());

    // One that breaks off ends with an error that SDKs show.
    let pieces = gateway.stream();
    let mut events = Events::of(begin(chat.try_clone().unwrap()).await);
    pieces.send(Ok("data: 1\n\ndata: {\"half")).unwrap();
    assert_eq!(events.next().await.unwrap().data, "1");
    pieces.send(Err(io::Error::other("cut"))).unwrap();
    let last = events.rest().await;
    assert_eq!(last.len(), 1, "{last:?}");
    assert!(
        error(&last[0].data)["message"]
            .as_str()
            .unwrap()
            .contains("broke off")
    );

    gateway.end().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_is_gone_for_toolgate_too() {
    let terminal = Terminal::new();
    // In the middle of a stream.
    let gateway = Gateway::start().await;
    sign_in(&terminal, &gateway).await;
    let (_forwarder, base) = connect(&terminal, &gateway.url(), &[]).await;
    let chat = client().post(format!("{base}/chat/completions"));
    let pieces = gateway.stream();
    let mut events = Events::of(begin(chat.json(&json!({}))).await);
    pieces.send(Ok("data: 1\n\n")).unwrap();
    assert_eq!(events.next().await.unwrap().data, "1");
    assert!(!gateway.is_left());
    drop(events);
    eventually("the stream is cancelled", || gateway.is_left()).await;
    gateway.end().await;

    // Before there is an answer.
    let gateway = Gateway::start().await;
    sign_in(&terminal, &gateway).await;
    let (_forwarder, base) = connect(&terminal, &gateway.url(), &[]).await;
    let waiting = begin(client().get(format!("{base}/waits")));
    let arrived = eventually("it waits", || gateway.seen("/v1/waits").len() == 1);
    tokio::select! {
        _ = waiting => panic!("there is no answer"),
        () = arrived => assert!(!gateway.is_left()),
    }
    eventually("the request is cancelled", || gateway.is_left()).await;
    gateway.end().await;
}

#[tokio::test]
async fn what_pomerium_says_is_said_as_openai_says_it() {
    let gateway = Gateway::start().await;
    let terminal = Terminal::new();
    sign_in(&terminal, &gateway).await;
    let (_forwarder, base) = connect(&terminal, &gateway.url(), &[]).await;
    let ask = |path: &str| send(client().get(format!("{base}{path}")));
    let command = format!("run: toolgate login {}", gateway.url());
    for (path, status, words) in [
        ("/refused", 403, "policy"),
        ("/device", 450, "device or client certificate"),
        ("/slow", 504, "`timeout: 0s`"),
        ("/moved", 401, command.as_str()),
        ("/nowhere", 404, "no such route"),
    ] {
        let (found, body) = ask(path).await;
        assert_eq!(found, status, "{path}: {body}");
        let message = error(&body)["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{path}: {message}");
    }
    // Toolgate's own errors pass as they are.
    let (status, body) = ask("/wrong").await;
    assert_eq!(
        (status.as_u16(), body.as_str()),
        (400, r#"{"error":{"message":"no messages"}}"#)
    );

    gateway.sign_out();
    let (status, body) = ask("/models").await;
    assert_eq!(status, 401);
    assert!(error(&body)["message"].as_str().unwrap().contains(&command));
    // A login that was forgotten is not used any more.
    terminal.run(&["logout", &gateway.url()]).await.succeeded();
    let asked = gateway.seen("/v1/models").len();
    let (status, body) = ask("/models").await;
    assert_eq!(
        (status, gateway.seen("/v1/models").len()),
        (StatusCode::UNAUTHORIZED, asked),
        "{body}"
    );
    gateway.end().await;
    let (status, body) = ask("/models").await;
    assert_eq!(status, 401, "{body}");
}
