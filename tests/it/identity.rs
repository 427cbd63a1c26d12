//! Who the caller is: only what Pomerium signed says so. Toolgate is asked directly here, as
//! somebody would who found a way around the proxy.

mod alone;
mod authority;

use std::time::{Duration, Instant};

use harness::{PATIENCE, World};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use alone::{ASSERTION, Alone};
use authority::{Authority, HOST, Key, claims};

#[tokio::test]
async fn an_assertion_says_who_it_is() {
    let authority = Authority::start().await;
    let toolgate = Alone::start(authority.address(), &authority.ca_pem).await;
    let (status, ana) = toolgate.with(&authority.key().sign(&claims())).await;
    assert_eq!(status, 200, "{ana}");
    assert_eq!(ana["subject"], "sub-ana");
    assert_eq!(ana["name"], "Ana");
    assert_eq!(ana["email"], "ana@example.com");
    // Without a token there is none to count.
    assert_eq!(ana["token_seconds"], Value::Null);

    let odd = json!({ "name": "", "iss": format!("https://{HOST}/"), "aud": [HOST, "other"] });
    let (status, ana) = toolgate
        .with(&authority.key().sign(&merged(claims(), &odd)))
        .await;
    assert_eq!(
        (status, &ana["name"]),
        (StatusCode::OK, &json!("ana@example.com"))
    );
    assert_eq!(authority.fetches(), 1, "one fetch serves all");
    toolgate.end().await;
    authority.end().await;
}

#[tokio::test]
async fn what_is_no_assertion_of_pomeriums_is_refused() {
    let authority = Authority::start().await;
    let toolgate = Alone::start(authority.address(), &authority.ca_pem).await;
    let key = authority.key();
    let good = key.sign(&claims());

    for garbage in ["x", "a.b.c", "Bearer x", "..", "eyJhbGciOiJFUzI1NiJ9.e30."] {
        toolgate.refused(garbage, "").await;
    }
    for (change, words) in [
        (json!({ "exp": ago(70) }), "it has expired"),
        (json!({ "exp": null }), "claim is missing"),
        (
            json!({ "aud": "other.example.com" }),
            "it was made for another host",
        ),
        (
            json!({ "aud": "chat.example.com.evil.com" }),
            "another host",
        ),
        (json!({ "iss": "other.example.com" }), "another host issued"),
        (json!({ "sub": "" }), "it names nobody"),
        (json!({ "sid": "" }), "it names nobody"),
    ] {
        let assertion = key.sign(&merged(claims(), &change));
        toolgate.refused(&assertion, words).await;
    }
    for missing in ["exp", "aud", "iss", "sub"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        toolgate.refused(&key.sign(&claims), "").await;
    }
    // Signed by somebody else who names the published key; signed by nobody; and with the
    // published key as if it were a secret.
    let forged = Key::generate().named(&key.kid).sign(&claims());
    toolgate.refused(&forged, "its signature is wrong").await;
    toolgate.refused(&key.unsigned(&claims()), "").await;
    let confused = key.as_secret(&claims());
    toolgate.refused(&confused, "algorithm").await;
    let (head, rest) = good.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let other = key.sign(&merged(claims(), &json!({ "sub": "sub-ben" })));
    let body = other.split('.').nth(1).unwrap();
    let swapped = format!("{head}.{body}.{signature}");
    toolgate.refused(&swapped, "its signature is wrong").await;

    // Clocks differ a little.
    let just = key.sign(&merged(claims(), &json!({ "exp": ago(30) })));
    assert_eq!(toolgate.with(&just).await.0, 200);
    toolgate.end().await;
    authority.end().await;
}

#[tokio::test]
async fn without_an_assertion_nothing_is_shown_and_lookalikes_are_none() {
    let authority = Authority::start().await;
    let toolgate = Alone::start(authority.address(), &authority.ca_pem).await;
    let ben = merged(
        claims(),
        &json!({ "sub": "sub-ben", "email": "ben@example.com", "name": "Ben" }),
    );
    let ben = authority.key().sign(&ben);
    let bearer = format!("Bearer {ben}");
    let lookalikes = [
        ("x-pomerium-claim-email", "ben@example.com"),
        ("x-pomerium-claim-sub", "sub-ben"),
        ("x-pomerium-jwt-assertion-for", ben.as_str()),
        ("x-pomerium-assertion", ben.as_str()),
        ("x-forwarded-user", "ben"),
        ("x-forwarded-email", "ben@example.com"),
        ("authorization", bearer.as_str()),
        ("cookie", "_pomerium=x"),
    ];
    let (status, problem) = toolgate.session(&lookalikes).await;
    assert_eq!(status, 401, "{problem}");
    assert_eq!(problem["code"], "no_assertion");
    assert!(
        problem["advice"]
            .as_str()
            .unwrap()
            .contains("pass_identity_headers")
    );

    let ana = authority.key().sign(&claims());
    let mut headers = vec![(ASSERTION, ana.as_str())];
    headers.extend(lookalikes);
    let (status, session) = toolgate.session(&headers).await;
    assert_eq!((status, &session["name"]), (StatusCode::OK, &json!("Ana")));
    assert!(!session.to_string().to_lowercase().contains("ben"));

    for path in [
        "/",
        "/c/018f",
        "/static/v/app.js",
        "/api/events",
        "/api/servers",
        "/api/conversations",
        "/api/turns/018f/events",
        "/nowhere",
    ] {
        let (status, ..) = toolgate.ask(Method::GET, path, &[]).await;
        assert_eq!(status, 401, "GET {path}");
    }
    for path in [
        "/api/messages",
        "/api/servers",
        "/api/turns/018f/cancel",
        "/nowhere",
    ] {
        let (status, ..) = toolgate.ask(Method::POST, path, &[]).await;
        assert_eq!(status, 401, "POST {path}");
    }
    let page = toolgate
        .ask(Method::GET, "/", &[("accept", "text/html")])
        .await;
    assert_eq!(page.0, 401);
    assert!(page.1.starts_with("text/html"), "{}", page.1);
    assert!(page.2.contains("did not come through Pomerium"));
    toolgate.end().await;
    authority.end().await;
}

#[tokio::test]
async fn a_new_key_is_fetched_and_the_old_one_forgotten() {
    let authority = Authority::start().await;
    let toolgate = Alone::start(authority.address(), &authority.ca_pem).await;
    let old = authority.key();
    assert_eq!(toolgate.with(&old.sign(&claims())).await.0, 200);
    authority.publish(Key::generate());
    let new = authority.key().sign(&claims());
    // The set was fetched a moment ago, and forged names must not make Toolgate fetch again at
    // once: the new key is known some seconds later.
    let until = Instant::now() + PATIENCE;
    while toolgate.with(&new).await.0 != 200 {
        assert!(Instant::now() < until, "the new key is never fetched");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    toolgate.refused(&old.sign(&claims()), "unknown").await;
    assert_eq!(authority.fetches(), 2);
    toolgate.end().await;
    authority.end().await;
}

#[tokio::test]
async fn invented_keys_do_not_make_it_flood_pomerium() {
    let authority = Authority::start().await;
    let toolgate = Alone::start(authority.address(), &authority.ca_pem).await;
    let begun = Instant::now();
    for round in 0..5 {
        let flood = (0..20).map(|number| {
            let forged = Key::generate().named(&format!("kid-{round}-{number}"));
            let assertion = forged.sign(&claims());
            let toolgate = &toolgate;
            async move { toolgate.refused(&assertion, "its key is unknown").await }
        });
        futures_util::future::join_all(flood).await;
        // Who is known already is not kept out.
        let ana = authority.key().sign(&claims());
        assert_eq!(toolgate.with(&ana).await.0, 200);
    }
    let allowed = 1 + begun.elapsed().as_secs() / 5;
    assert!(authority.fetches() as u64 <= allowed);
    toolgate.end().await;
    authority.end().await;
}

#[tokio::test]
async fn whoever_is_not_known_keeps_no_connection() {
    let authority = Authority::start().await;
    let toolgate = Alone::start(authority.address(), &authority.ca_pem).await;
    let ana = authority.key().sign(&claims());
    for (assertion, kept) in [("a.b.c", false), (ana.as_str(), true)] {
        for path in ["/", "/api/session", "/v1/models"] {
            let mut stream = TcpStream::connect(toolgate.address).await.unwrap();
            let head =
                format!("GET {path} HTTP/1.1\r\nhost: x\r\n{ASSERTION}: {assertion}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let whole = stream.read_to_end(&mut answer);
            let wait = if kept {
                Duration::from_millis(300)
            } else {
                PATIENCE
            };
            let closed = tokio::time::timeout(wait, whole).await.is_ok();
            let answer = String::from_utf8_lossy(&answer);
            assert_eq!(closed, !kept, "{path}: {answer}");
            let refused = answer.starts_with("HTTP/1.1 401");
            assert_eq!(refused, !kept, "{path}: {answer}");
        }
    }
    toolgate.end().await;
    authority.end().await;
}

#[tokio::test]
async fn without_pomeriums_keys_it_says_that_and_goes_on_when_they_are_there() {
    let authority = Authority::start().await;
    let (address, ca_pem) = (authority.address(), authority.ca_pem.clone());
    let ana = authority.key().sign(&claims());
    let down = authority.stop().await;
    let toolgate = Alone::start(address, &ca_pem).await;
    let (status, problem) = toolgate.with(&ana).await;
    assert_eq!(status, 503, "{problem}");
    assert_eq!(problem["layer"], "pomerium");
    assert_eq!(problem["code"], "no_keys");
    assert!(problem["detail"].as_str().is_some_and(|it| it.len() > 10));
    assert!(problem["advice"].as_str().is_some_and(|it| !it.is_empty()));

    // One try serves all who ask within some seconds; then it is made again.
    let authority = down.start_again().await;
    authority.answer_with(Some((500, "out of order")));
    wait_fetch(&authority, &toolgate, &ana, 503).await;
    authority.answer_with(Some((200, "<html>not keys</html>")));
    wait_fetch(&authority, &toolgate, &ana, 503).await;
    authority.answer_with(None);
    wait_fetch(&authority, &toolgate, &ana, 200).await;
    toolgate.end().await;
    authority.end().await;
}

/// Asks until the key set is fetched once more, and the answer has this status.
async fn wait_fetch(authority: &Authority, toolgate: &Alone, assertion: &str, status: u16) {
    let (before, until) = (authority.fetches(), Instant::now() + PATIENCE);
    loop {
        let (answered, body) = toolgate.with(assertion).await;
        if authority.fetches() > before {
            assert_eq!(answered, status, "{body}");
            return;
        }
        assert_eq!(answered, 503, "{body}");
        assert!(Instant::now() < until, "the keys are never fetched again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_key_set_without_keys_verifies_nobody() {
    let authority = Authority::start().await;
    let toolgate = Alone::start(authority.address(), &authority.ca_pem).await;
    authority.answer_with(Some((200, r#"{"keys":null}"#)));
    let ana = authority.key().sign(&claims());
    toolgate.refused(&ana, "its key is unknown").await;
    toolgate.end().await;
    authority.end().await;
}

#[tokio::test]
async fn behind_pomerium_a_client_cannot_say_who_it_is() {
    let world = World::start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let of_ben = world
        .standin()
        .assertion(ben.sid, "chat.localhost")
        .unwrap();
    let request = ana
        .request(Method::GET, "/api/session")
        .header(ASSERTION, &of_ben)
        .header("x-pomerium-jwt-assertion-for", &of_ben)
        .header("x-pomerium-claim-email", "ben@example.com")
        .bearer_auth("Pomerium-nonsense");
    let session: Value = ana.send(request).await.expect(200).json();
    assert_eq!(session["email"], "ana@example.com");
    assert!(session["token_seconds"].as_u64().is_some_and(|it| it > 250));

    let nobody = ana.request(Method::GET, "/api/session");
    let nobody = nobody.headers(
        [(http::header::COOKIE, "x=y".parse().unwrap())]
            .into_iter()
            .collect(),
    );
    assert_eq!(ana.send(nobody).await.status, 401);
    world.standin().end_session(ana.sid);
    assert_eq!(ana.get("/api/session").await.status, 401);
    assert_eq!(ben.get("/api/session").await.status, 200);
    world.finish().await;
}

/// `claims` with the members of `change` put over them.
fn merged(mut claims: Value, change: &Value) -> Value {
    let all = claims.as_object_mut().unwrap();
    for (key, value) in change.as_object().unwrap() {
        all.insert(key.clone(), value.clone());
    }
    claims
}

/// So many seconds before now, as claims count.
fn ago(seconds: u64) -> u64 {
    authority::now() - seconds
}
