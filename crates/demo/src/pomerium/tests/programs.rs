//! Programs with a token of their user's session, and what ends with a session.

use super::*;

const LOGIN: &str = "https://chat.example.test:8443/.pomerium/api/v1/login";
const APP: &str = "https://chat.example.test:8443/echo";

impl House {
    /// What a program gets for asking.
    async fn ask_for_login(&self, redirect: &str) -> Response<Incoming> {
        let mut url = Url::parse(LOGIN).unwrap();
        url.query_pairs_mut()
            .append_pair("pomerium_redirect_uri", redirect);
        self.send(Version::HTTP_2, get(url.as_str(), &[])).await
    }

    async fn status(&self, url: &str, headers: &[(&str, &str)]) -> StatusCode {
        let mut all = vec![("accept", "application/json")];
        all.extend(headers);
        self.send(Version::HTTP_2, get(url, &all)).await.status()
    }

    /// Follows one redirect.
    async fn follow(&self, url: &str, cookie: &str) -> String {
        let headers = [("accept", "text/html"), ("cookie", cookie)];
        let response = self.send(Version::HTTP_2, get(url, &headers)).await;
        assert_eq!(response.status(), StatusCode::FOUND, "{url}");
        header(response.headers(), "location").to_owned()
    }
}

#[tokio::test]
async fn a_link_brings_the_program_a_token_of_the_users_session() {
    let house = House::open().await;
    let redirect = "http://127.0.0.1:4711/path?x=1";
    let told = house.ask_for_login(redirect).await;
    assert_eq!(told.status(), StatusCode::OK);
    assert_eq!(
        header(told.headers(), "content-type"),
        "text/plain; charset=utf-8"
    );
    let link = text(told).await;
    assert!(link.starts_with("https://authenticate.example.test:8443/.pomerium/sign_in?"));

    // Whoever is not signed in is asked.
    let page = house
        .send(Version::HTTP_2, get(&link, &[("accept", "text/html")]))
        .await;
    assert!(text(page).await.contains("Sign in as Ana"));

    let callback = house.follow(&link, &house.ana.cookie).await;
    assert!(callback.starts_with("https://chat.example.test:8443/.pomerium/callback/?"));
    let back = Url::parse(&house.follow(&callback, "").await).unwrap();
    let pairs: Vec<(String, String)> = back.query_pairs().into_owned().collect();
    assert_eq!(
        back.as_str().split('?').next().unwrap(),
        "http://127.0.0.1:4711/path"
    );
    assert_eq!(pairs[1], ("x".to_owned(), "1".to_owned()));
    let (name, token) = &pairs[0];
    assert_eq!(name, "pomerium_jwt");

    let bearer = format!("Bearer Pomerium-{token}");
    assert_eq!(
        house.status(APP, &[("authorization", &*bearer)]).await,
        StatusCode::OK
    );
    let seen = house.upstream.last().headers;
    let te = header(&seen, "authorization")
        .strip_prefix("Bearer ")
        .unwrap();
    assert_eq!(house.initialize(te).await, StatusCode::OK);
    let assertion = header(&seen, "x-pomerium-jwt-assertion");
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(assertion).unwrap();
    assert_eq!(claims.claims["sid"], house.ana.sid.to_string());

    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap();
    assert_eq!(claims.header.alg, jsonwebtoken::Algorithm::HS256);
    let hosts = serde_json::json!(["authenticate.example.test", "chat.example.test"]);
    assert_eq!(claims.claims["aud"], hosts);
}

#[tokio::test]
async fn a_token_is_taken_in_three_forms_wherever_it_may_be() {
    let house = House::open().await;
    let sid = house.ana.sid;
    let token = house
        .standin
        .programmatic_token(sid, "chat.example.test")
        .unwrap();
    let with = |start: &str| format!("{start}{token}");
    let other = House::open().await;
    let foreign = other
        .standin
        .programmatic_token(other.ana.sid, "chat.example.test");
    let foreign = format!("Pomerium {}", foreign.unwrap());
    let (good, bad) = (StatusCode::OK, StatusCode::UNAUTHORIZED);
    for (name, value, expected) in [
        ("authorization", with("Bearer Pomerium-"), good),
        ("authorization", with("Pomerium "), good),
        ("x-pomerium-authorization", with(""), good),
        ("authorization", with("Bearer "), bad),
        ("authorization", foreign, bad),
        ("authorization", "Pomerium ".to_owned(), bad),
    ] {
        for url in [
            APP,
            "https://chat.example.test:8443/.pomerium/mcp/routes",
            "https://chat.example.test:8443/.pomerium/user",
            "https://db.example.test:8443/",
        ] {
            let status = house.status(url, &[(name, &*value)]).await;
            assert_eq!(status, expected, "{name}: {value} at {url}");
        }
    }
}

#[tokio::test]
async fn a_token_goes_no_further_where_pomerium_takes_it_out() {
    let house = House::open().await;
    let ben = house.standin.sign_in(DemoUser::Ben).unwrap();
    let token = house
        .standin
        .programmatic_token(ben.sid, "ben.example.test");
    let token = token.unwrap();
    let plain = "https://ben.example.test:8443/";
    for (name, value, passes) in [
        ("authorization", format!("Pomerium {token}"), false),
        ("x-pomerium-authorization", token.clone(), false),
        ("authorization", format!("Bearer Pomerium-{token}"), true),
    ] {
        for url in [plain, APP, "https://db.example.test:8443/"] {
            let status = house.status(url, &[(name, &*value)]).await;
            assert_eq!(status, StatusCode::OK);
            let seen = house.upstream.last().headers;
            let seen: Vec<_> = seen.values().map(|value| value.to_str().unwrap()).collect();
            let is_seen = seen.iter().any(|value| value.contains(&token));
            assert_eq!(is_seen, passes && url == plain, "{name} {value} {url}");
        }
    }
}

#[tokio::test]
async fn a_token_goes_to_loopback_only_unless_told_otherwise() {
    let config = CONFIG.replace(
        "routes:",
        "programmatic_redirect_domain_whitelist: [tools.example.test]\nroutes:",
    );
    let options = Options {
        config,
        ..Options::default()
    };
    let (house, told) = (House::open().await, House::with(options).await);
    for (redirect, by_default, when_told) in [
        ("http://127.0.0.1:1/x", true, false),
        ("http://localhost/x", true, false),
        ("http://[::1]:1/x", true, false),
        ("https://tools.example.test/x", false, true),
        ("https://chat.example.test/x", false, false),
        ("http://localhost.evil.test/", false, false),
        ("http://127.0.0.1@evil.test/", false, false),
        ("ftp://127.0.0.1/", false, false),
        ("127.0.0.1", false, false),
    ] {
        for (house, expected) in [(&house, by_default), (&told, when_told)] {
            let status = house.ask_for_login(redirect).await.status();
            assert_eq!(status == StatusCode::OK, expected, "{redirect}");
            assert_eq!(status == StatusCode::BAD_REQUEST, !expected, "{redirect}");
        }
    }
    assert_eq!(house.status(LOGIN, &[]).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_changed_link_signs_nobody_in() {
    let house = House::open().await;
    let link = text(house.ask_for_login("http://127.0.0.1:1/x").await).await;
    let changed = link.replace("127.0.0.1%3A1", "127.0.0.1%3A2");
    assert_ne!(changed, link);
    let cookie = [("cookie", &*house.ana.cookie)];
    assert_eq!(
        house.status(&changed, &cookie).await,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn everything_of_a_session_ends_with_it() {
    let session_lifetime = Duration::from_secs(3);
    let options = Options {
        session_lifetime,
        ..Options::default()
    };
    let house = House::with(options).await;
    house
        .standin
        .connect_upstream(DemoUser::Ana, "up.example.test", "any");
    let used = async |signed_in: &SignedIn| {
        let token = house
            .standin
            .programmatic_token(signed_in.sid, "chat.example.test");
        let bearer = format!("Bearer Pomerium-{}", token.unwrap());
        let te = house.standin.issue_te(signed_in.sid).unwrap();
        (signed_in.cookie.clone(), bearer, te)
    };
    let statuses = async |(cookie, bearer, te): &(String, String, String)| {
        [
            house.status(APP, &[("cookie", cookie)]).await,
            house.status(APP, &[("authorization", bearer)]).await,
            house.initialize(te).await,
        ]
    };
    let (ended, expired) = (
        used(&house.ana).await,
        used(&house.standin.sign_in(DemoUser::Ana).unwrap()).await,
    );
    assert_eq!(statuses(&ended).await, [StatusCode::OK; 3]);
    let sign_out = "https://chat.example.test:8443/.pomerium/sign_out";
    house.follow(sign_out, &ended.0).await;
    assert_eq!(statuses(&ended).await, [StatusCode::UNAUTHORIZED; 3]);
    assert_eq!(statuses(&expired).await, [StatusCode::OK; 3]);
    tokio::time::sleep(session_lifetime).await;
    assert_eq!(statuses(&expired).await, [StatusCode::UNAUTHORIZED; 3]);
    assert!(house.standin.is_connected(DemoUser::Ana, "up.example.test"));
}
