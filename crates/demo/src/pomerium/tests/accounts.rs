//! Accounts at upstreams: connecting, using, refreshing and disconnecting them.

use super::*;

const UP: &str = "https://up.example.test:8443/";
const LIST: &str = r#"{"jsonrpc": "2.0", "method": "tools/list", "id": 1, "params": {}}"#;
const DONE: &str = "https://chat.example.test:8443/connected?server=Upstream";

impl House {
    /// Asks the guarded server for its tools.
    async fn list(&self, te: &str) -> Response<Incoming> {
        self.send(Version::HTTP_2, post(UP, te, LIST)).await
    }

    async fn see(&self, url: &str, cookie: &str) -> Response<Incoming> {
        let headers = [("cookie", cookie), ("accept", "text/html")];
        self.send(Version::HTTP_2, get(url, &headers)).await
    }

    /// Where `/connect` sends the browser.
    async fn connect(&self, cookie: &str) -> String {
        let response = self.see(&connect_url(DONE), cookie).await;
        assert_eq!(response.status(), StatusCode::FOUND);
        header(response.headers(), "location").to_owned()
    }

    /// The guarded server's answer to a browser: back to where it says.
    async fn consent(&self, there: &str) -> String {
        assert!(there.starts_with(&format!("http://{}/authorize?", self.guarded.address)));
        let stream = TcpStream::connect(self.guarded.address).await.unwrap();
        let response = self
            .exchange(Version::HTTP_11, TokioIo::new(stream), get(there, &[]))
            .await;
        header(response.headers(), "location").to_owned()
    }

    /// All of it.
    async fn connected(&self, cookie: &str) {
        let there = self.connect(cookie).await;
        let back = self.consent(&there).await;
        let done = self.see(&back, cookie).await;
        assert_eq!(done.status(), StatusCode::FOUND);
        assert_eq!(header(done.headers(), "location"), DONE);
    }

    async fn is_listed_as_connected(&self, te: &str) -> bool {
        let bearer = format!("Bearer {te}");
        let headers = [("authorization", &*bearer), ("accept", "application/json")];
        let url = "https://chat.example.test:8443/.pomerium/mcp/routes";
        let listed = json(self.send(Version::HTTP_2, get(url, &headers)).await).await;
        let servers = listed["servers"].as_array().unwrap();
        let up = servers.iter().find(|server| server["name"] == "Upstream");
        up.unwrap()["connected"].as_bool().unwrap()
    }
}

fn connect_url(redirect_url: &str) -> String {
    let mut url = Url::parse("https://up.example.test:8443/.pomerium/mcp/connect").unwrap();
    url.query_pairs_mut()
        .append_pair("redirect_url", redirect_url);
    url.into()
}

/// The empty 401 that asks for consent.
async fn assert_wants_consent(response: Response<Incoming>) {
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let headers = response.headers();
    assert_eq!(header(headers, "cache-control"), "no-store");
    assert_eq!(
        header(headers, "www-authenticate"),
        r#"Bearer resource_metadata="https://up.example.test:8443/.well-known/oauth-protected-resource""#
    );
    assert!(!headers.contains_key("access-control-allow-origin"));
    assert!(!headers.contains_key("content-type"));
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn an_account_is_one_persons_and_outlives_the_session() {
    let house = House::open().await;
    let ben = house.standin.sign_in(DemoUser::Ben).unwrap();
    let te_of_ben = house.standin.issue_te(ben.sid).unwrap();
    assert_wants_consent(house.list(&house.te()).await).await;
    assert!(!house.is_listed_as_connected(&house.te()).await);

    house.connected(&house.ana.cookie).await;
    assert_eq!(house.list(&house.te()).await.status(), StatusCode::OK);
    assert!(house.is_listed_as_connected(&house.te()).await);
    assert!(house.standin.is_connected(DemoUser::Ana, "up.example.test"));
    assert_wants_consent(house.list(&te_of_ben).await).await;
    assert!(!house.is_listed_as_connected(&te_of_ben).await);
    // Whoever is connected already goes straight on.
    assert_eq!(house.connect(&house.ana.cookie).await, DONE);

    house.standin.end_session(house.ana.sid);
    let again = house.standin.sign_in(DemoUser::Ana).unwrap();
    let te = house.standin.issue_te(again.sid).unwrap();
    assert_eq!(house.list(&te).await.status(), StatusCode::OK);

    // The upstream got the token or nothing, and never a TE.
    let none = None;
    let token = Some("Bearer token-1".to_owned());
    let seen = house.guarded.with(|state| state.bearers.clone());
    assert_eq!(seen, [none.clone(), token.clone(), none, token]);
}

#[tokio::test]
async fn a_code_is_exchanged_with_all_that_proves_it() {
    let house = House::open().await;
    house.connected(&house.ana.cookie).await;
    let form = house.guarded.with(|state| state.forms.remove(0));
    let get = |name: &str| form.get(name).map_or("", String::as_str);
    assert_eq!(get("grant_type"), "authorization_code");
    assert_eq!(get("client_id"), "upid");
    assert_eq!(get("client_secret"), "upsecret");
    assert_eq!(get("resource"), format!("http://{}", house.guarded.address));
    assert_eq!(
        get("redirect_uri"),
        "https://up.example.test:8443/.pomerium/mcp/client/oauth/callback"
    );
}

#[tokio::test]
async fn a_token_that_ended_is_refreshed_or_forgotten() {
    let house = House::open().await;
    let connect_with = |refresh| {
        house.guarded.with(|state| {
            state.refresh = refresh;
            state.expires_in = Some(1);
        });
        house
            .standin
            .disconnect_upstream(DemoUser::Ana, "up.example.test");
        house.connected(&house.ana.cookie)
    };
    let wait = || tokio::time::sleep(Duration::from_millis(1100));

    connect_with(Some("again")).await;
    wait().await;
    assert_eq!(house.list(&house.te()).await.status(), StatusCode::OK);
    let newest = house
        .guarded
        .with(|state| state.forms.last().unwrap().clone());
    assert_eq!(newest["grant_type"], "refresh_token");
    assert_eq!(newest["client_secret"], "upsecret");

    // A token endpoint out of order is nobody's fault: nothing is forgotten.
    wait().await;
    let fails = |status| house.guarded.with(|state| state.token_status = status);
    fails(StatusCode::INTERNAL_SERVER_ERROR);
    let failed = house.list(&house.te()).await;
    assert_eq!(failed.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(header(failed.headers(), "cache-control"), "no-store");
    let connecting = house.see(&connect_url(DONE), &house.ana.cookie).await;
    assert_eq!(connecting.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(text(connecting).await, "internal server error\n");
    assert!(house.is_listed_as_connected(&house.te()).await);

    // A refusal is for good.
    fails(StatusCode::BAD_REQUEST);
    assert_wants_consent(house.list(&house.te()).await).await;
    assert!(!house.is_listed_as_connected(&house.te()).await);

    fails(StatusCode::OK);
    connect_with(None).await;
    wait().await;
    assert!(house.is_listed_as_connected(&house.te()).await);
    assert_wants_consent(house.list(&house.te()).await).await;
    assert!(!house.is_listed_as_connected(&house.te()).await);
}

#[tokio::test]
async fn a_token_that_the_upstream_refuses_asks_for_consent_and_stays() {
    let house = House::open().await;
    house
        .standin
        .connect_upstream(DemoUser::Ana, "up.example.test", "revoked");
    assert_wants_consent(house.list(&house.te()).await).await;
    house
        .guarded
        .with(|state| state.refusal = StatusCode::FORBIDDEN);
    assert_wants_consent(house.list(&house.te()).await).await;
    let seen = house.guarded.with(|state| state.bearers.clone());
    assert_eq!(seen, vec![Some("Bearer revoked".to_owned()); 2]);
    // As in Pomerium, connecting again is of no use before disconnecting.
    assert_eq!(house.connect(&house.ana.cookie).await, DONE);
    house
        .standin
        .disconnect_upstream(DemoUser::Ana, "up.example.test");
    house.connected(&house.ana.cookie).await;
    assert_eq!(house.list(&house.te()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn dead_ends_say_why_and_connect_nothing() {
    let options = Options {
        consent_lifetime: Duration::from_millis(1500),
        ..Options::default()
    };
    let house = House::with(options).await;
    let cookie = &house.ana.cookie;
    let dead_end = async |back: &str| {
        let response = house.see(back, cookie).await;
        let status = response.status();
        assert_eq!(
            header(response.headers(), "x-content-type-options"),
            "nosniff"
        );
        (status, text(response).await)
    };

    house.guarded.with(|state| state.denies = true);
    let back = house.consent(&house.connect(cookie).await).await;
    let expected = (StatusCode::BAD_REQUEST, "Authorization failed\n".to_owned());
    assert_eq!(dead_end(&back).await, expected);
    house.guarded.with(|state| state.denies = false);

    let back = house.consent(&house.connect(cookie).await).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let expected = "Authorization state expired, please retry\n".to_owned();
    assert_eq!(dead_end(&back).await, (StatusCode::BAD_REQUEST, expected));
    let expected = (
        StatusCode::BAD_REQUEST,
        "Invalid or expired state\n".to_owned(),
    );
    assert_eq!(dead_end(&back).await, expected);

    house
        .guarded
        .with(|state| state.token_status = StatusCode::BAD_REQUEST);
    let back = house.consent(&house.connect(cookie).await).await;
    let expected = (
        StatusCode::BAD_GATEWAY,
        "Token exchange failed\n".to_owned(),
    );
    assert_eq!(dead_end(&back).await, expected);

    let bare = "https://up.example.test:8443/.pomerium/mcp/client/oauth/callback?code=abc";
    let expected = "Invalid callback: missing code or state\n".to_owned();
    assert_eq!(dead_end(bare).await, (StatusCode::BAD_REQUEST, expected));
    assert!(!house.standin.is_connected(DemoUser::Ana, "up.example.test"));
}

#[tokio::test]
async fn a_call_in_the_middle_of_a_consent_voids_it() {
    let house = House::open().await;
    let back = house.consent(&house.connect(&house.ana.cookie).await).await;
    assert_wants_consent(house.list(&house.te()).await).await;
    let void = house.see(&back, &house.ana.cookie).await;
    assert_eq!(void.status(), StatusCode::BAD_REQUEST);
    assert_eq!(text(void).await, "Invalid or expired state\n");
    // Two visits to `/connect` are one consent.
    let (first, second) = (
        house.connect(&house.ana.cookie).await,
        house.connect(&house.ana.cookie).await,
    );
    assert_eq!(first, second);
}

#[tokio::test]
async fn the_way_back_is_checked() {
    let house = House::open().await;
    let allowed = async |url: &str| {
        let response = house.see(&connect_url(url), &house.ana.cookie).await;
        response.status() == StatusCode::FOUND
    };
    for (url, expected) in [
        (DONE, true),
        ("https://CHAT.example.test/", true),
        ("https://up.example.test:1/x", true),
        ("http://chat.example.test/x", false),
        ("https://chat.example.test.evil.test/", false),
        ("https://chat.example.test@evil.test/", false),
        ("//chat.example.test/", false),
        ("/x", false),
        ("javascript:1", false),
        ("http://chat.localhost/", false),
        ("", false),
    ] {
        assert_eq!(allowed(url).await, expected, "{url}");
    }
}

#[tokio::test]
async fn plain_http_back_is_for_localhost_and_by_choice() {
    let config = "authenticate_service_url: http://authenticate.localhost:8000
routes:
  - {from: 'http://chat.localhost:8000', to: 'http://UPSTREAM', mcp: {client: {}}}
  - {from: 'http://chat.test:8000', to: 'http://UPSTREAM', mcp: {client: {}}}
  - {from: 'http://db.localhost:8000', to: 'http://UPSTREAM', mcp: {server: {}}}";
    for (redirect_urls, expected) in [
        (RedirectUrls::HttpOnLocalhost, [true, false, false]),
        (RedirectUrls::HttpsOnly, [false, false, false]),
    ] {
        let options = Options {
            config: config.to_owned(),
            redirect_urls,
            ..Options::default()
        };
        let house = House::with(options).await;
        let headers = [("cookie", &*house.ana.cookie)];
        for (back, expected) in [
            "http://chat.localhost:8000/x",
            "http://chat.test:8000/x",
            "http://evil.localhost/",
        ]
        .into_iter()
        .zip(expected)
        {
            let url = format!("http://db.localhost:8000/.pomerium/mcp/connect?redirect_url={back}");
            let response = house.browse(get(&url, &headers)).await;
            assert_eq!(response.status() == StatusCode::FOUND, expected, "{back}");
        }
    }
}

#[tokio::test]
async fn disconnecting_is_for_ones_own_account() {
    let house = House::open().await;
    let ben = house.standin.sign_in(DemoUser::Ben).unwrap();
    for user in DemoUser::ALL {
        house.standin.connect_upstream(user, "up.example.test", "t");
    }
    let url = "https://db.example.test:8443/.pomerium/mcp/routes/disconnect";
    let body = r#"{"routes": ["https://up.example.test:8443/any/path", "no url"]}"#;
    let te = house.standin.issue_te(ben.sid).unwrap();
    let response = house.send(Version::HTTP_2, post(url, &te, body)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(json(response).await["servers"].is_array());
    assert!(!house.standin.is_connected(DemoUser::Ben, "up.example.test"));
    assert!(house.standin.is_connected(DemoUser::Ana, "up.example.test"));
    let wrong = house.send(Version::HTTP_2, get(url, &[])).await;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
}
