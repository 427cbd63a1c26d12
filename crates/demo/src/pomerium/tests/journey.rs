//! Signing in and out, with a browser's eyes.

use super::*;

const CONFIG: &str = "
authenticate_service_url: http://authenticate.localhost:8000
routes:
  - from: http://chat.localhost:8000
    to: http://UPSTREAM
    mcp: {client: {}}
    pass_identity_headers: true
    policy: [{allow: {or: [{domain: {is: example.com}}]}}]
  - from: http://db.localhost:8000
    to: http://UPSTREAM
    mcp: {server: {}}
    policy: [{allow: {or: [{domain: {is: example.com}}]}}]
";

/// A browser that keeps a cookie for each host and looks at every redirect.
struct Browser {
    house: House,
    jar: Vec<(String, String)>,
}

impl Browser {
    async fn new() -> Self {
        let options = Options {
            config: CONFIG.to_owned(),
            ..Options::default()
        };
        Self {
            house: House::with(options).await,
            jar: Vec::new(),
        }
    }

    async fn get(&mut self, url: &str) -> Response<Incoming> {
        self.visit(url, Request::get(url), "").await
    }

    async fn post(&mut self, url: &str, form: &'static str) -> Response<Incoming> {
        self.visit(url, Request::post(url), form).await
    }

    async fn visit(
        &mut self,
        url: &str,
        request: http::request::Builder,
        body: &'static str,
    ) -> Response<Incoming> {
        let host = Url::parse(url).unwrap().host_str().unwrap().to_owned();
        let mut request = request.header("accept", "text/html");
        if let Some((_, cookie)) = self.jar.iter().find(|(of, _)| *of == host) {
            request = request.header("cookie", cookie);
        }
        let request = request.body(Full::from(body)).unwrap();
        let response = self.house.browse(request).await;
        if let Some(cookie) = response.headers().get("set-cookie") {
            let (pair, terms) = cookie.to_str().unwrap().split_once("; ").unwrap();
            self.jar.retain(|(of, _)| *of != host);
            if !terms.contains("Max-Age=0") {
                assert!(terms.contains("HttpOnly; SameSite=Lax") && !terms.contains("Secure"));
                self.jar.push((host, pair.to_owned()));
            }
        }
        response
    }

    /// Asks for an address and is sent elsewhere.
    async fn sent_on(&mut self, url: &str) -> String {
        let response = self.get(url).await;
        assert_eq!(response.status(), StatusCode::FOUND, "{url}");
        header(response.headers(), "location").to_owned()
    }

    /// From the app to the sign-in page and back.
    async fn sign_in(&mut self, form: &'static str) {
        let page = self.sent_on("http://chat.localhost:8000/c/1?x=a%20b").await;
        let asked = self.get(&page).await;
        assert_eq!(asked.status(), StatusCode::OK);
        assert!(text(asked).await.contains("Sign in as Ana"));
        let chosen = self.post(&page, form).await;
        assert_eq!(chosen.status(), StatusCode::SEE_OTHER);
        let back = header(chosen.headers(), "location").to_owned();
        let start = "http://chat.localhost:8000/.pomerium/callback/?pomerium_additional_hosts=&";
        assert!(back.starts_with(start), "{back}");
        let home = self.sent_on(&back).await;
        assert_eq!(home, "http://chat.localhost:8000/c/1?x=a+b");
        assert_eq!(text(self.get(&home).await).await, "app");
    }

    async fn sid_at(&mut self, host: &str) -> String {
        let user = self
            .get(&format!("http://{host}:8000/.pomerium/user"))
            .await;
        json(user).await["sid"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn one_sign_in_serves_every_host_and_one_sign_out_ends_it() {
    let mut browser = Browser::new().await;
    browser.sign_in("user=ana%40example.com").await;

    // The second host asks nobody anything.
    let user = "http://db.localhost:8000/.pomerium/user";
    let onward = browser.sent_on(user).await;
    let back = browser.sent_on(&onward).await;
    assert_eq!(browser.sent_on(&back).await, user);
    let sid = browser.sid_at("db.localhost").await;
    assert_eq!(sid, browser.sid_at("chat.localhost").await);

    let te = browser
        .house
        .standin
        .issue_te(sid.parse().unwrap())
        .unwrap();
    let mcp = || post("http://db.localhost:8000/", &te, INITIALIZE);
    assert_eq!(browser.house.browse(mcp()).await.status(), StatusCode::OK);

    let onward = browser
        .sent_on("http://chat.localhost:8000/.pomerium/sign_out")
        .await;
    assert_eq!(
        browser.house.browse(mcp()).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let last = browser.get(&onward).await;
    assert_eq!(last.status(), StatusCode::OK);
    let page = text(last).await;
    assert!(page.contains("Signed out") && page.contains(r#"href="http://chat.localhost:8000/""#));
    // The second host still has its cookie, which is worth nothing now.
    let onward = browser.sent_on(user).await;
    assert_eq!(browser.get(&onward).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn each_sign_in_is_a_session_of_its_own() {
    let mut browser = Browser::new().await;
    browser.sign_in("user=ana%40example.com").await;
    let first = browser.sid_at("chat.localhost").await;
    browser.jar.clear();
    browser.sign_in("user=ben%40example.com").await;
    assert_ne!(browser.sid_at("chat.localhost").await, first);
    assert!(
        browser
            .house
            .standin
            .issue_te(first.parse().unwrap())
            .is_ok()
    );
}

#[tokio::test]
async fn the_sign_in_page_does_without_a_link() {
    let mut browser = Browser::new().await;
    let page = "http://authenticate.localhost:8000/.pomerium/sign_in";
    assert_eq!(browser.get(page).await.status(), StatusCode::OK);
    let chosen = browser.post(page, "user=ben%40example.com").await;
    let back = header(chosen.headers(), "location").to_owned();
    assert_eq!(browser.sent_on(&back).await, "http://chat.localhost:8000/");
}

#[tokio::test]
async fn what_was_not_signed_here_signs_nobody_in() {
    let mut browser = Browser::new().await;
    let page = browser.sent_on("http://chat.localhost:8000/").await;
    let elsewhere = page.replace("chat.localhost", "evil.localhost");
    let unknown = browser.post(&page, "user=eve%40example.com").await;
    assert_eq!(unknown.status(), StatusCode::BAD_REQUEST);
    let changed = browser.post(&elsewhere, "user=ana%40example.com").await;
    assert_eq!(changed.status(), StatusCode::BAD_REQUEST);
    let callback = "http://chat.localhost:8000/.pomerium/callback/?pomerium_session_encrypted=x";
    assert_eq!(
        browser.get(callback).await.status(),
        StatusCode::BAD_REQUEST
    );
    assert!(browser.jar.is_empty());
}
