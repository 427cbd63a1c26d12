//! What upstreams are told, and what TEs are good for.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::json as object;

use super::*;

const CHAT: &str = "https://chat.example.test:8443/echo";
const ROUTES: &str = "https://chat.example.test:8443/.pomerium/mcp/routes";

/// Verifies an assertion as a backend does and gives its claims.
async fn verify(house: &House, token: &str) -> Result<Value, jsonwebtoken::errors::Error> {
    let url = "https://chat.example.test:8443/.well-known/pomerium/jwks.json";
    let set = json(house.send(Version::HTTP_2, get(url, &[])).await).await;
    let key = &set["keys"][0];
    let header = decode_header(token)?;
    assert_eq!(header.typ.as_deref(), Some("JWT"));
    assert_eq!(header.kid.as_deref(), key["kid"].as_str());
    let part = |name: &str| key[name].as_str().unwrap();
    let key = DecodingKey::from_ec_components(part("x"), part("y"))?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["chat.example.test"]);
    validation.set_issuer(&["chat.example.test"]);
    decode(token, &key, &validation).map(|data| data.claims)
}

#[tokio::test]
async fn the_app_is_told_who_asks_and_cannot_be_lied_to() {
    let house = House::open().await;
    let cookie = format!("a=b=c; {}; d=e", house.ana.cookie);
    let lies = [
        ("cookie", &*cookie),
        ("authorization", "Bearer mine"),
        ("x-pomerium-jwt-assertion", "mine"),
        ("x-request-id", "mine"),
        ("x-pomerium-jwt-assertion-for", "lie"),
        ("x-pomerium-claim-email", "lie"),
        ("x-forwarded-host", "lie"),
        ("x-forwarded-for", "192.0.2.9"),
        ("connection", "x-hop"),
        ("x-hop", "lie"),
    ];
    let response = house.send(Version::HTTP_11, get(CHAT, &lies)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let seen = house.upstream.last().headers;

    assert_eq!(header(&seen, "host"), "chat.example.test:8443");
    assert_eq!(header(&seen, "cookie"), "a=b=c; d=e");
    assert_eq!(header(&seen, "x-pomerium-jwt-assertion-for"), "lie");
    assert_eq!(header(&seen, "x-pomerium-claim-email"), "lie");
    assert_eq!(header(&seen, "x-forwarded-host"), "lie");
    assert_eq!(header(&seen, "x-forwarded-for"), "192.0.2.9,127.0.0.1");
    assert_eq!(header(&seen, "x-forwarded-proto"), "https");
    assert!(!seen.contains_key("x-hop") && !seen.contains_key("x-envoy-internal"));
    let id = header(response.headers(), "x-request-id");
    assert_eq!(header(&seen, "x-request-id"), id);

    let te = header(&seen, "authorization")
        .strip_prefix("Bearer ")
        .unwrap();
    assert_eq!(house.initialize(te).await, StatusCode::OK);

    let claims = verify(&house, header(&seen, "x-pomerium-jwt-assertion"))
        .await
        .unwrap();
    let issued = claims["iat"].as_u64().unwrap();
    assert!(claims["jti"].as_str().unwrap().parse::<Uuid>().is_ok());
    let expected = object!({
        "aud": "chat.example.test",
        "email": "ana@example.com",
        "exp": issued + 300,
        "groups": [],
        "iat": issued,
        "iss": "chat.example.test",
        "jti": claims["jti"],
        "name": "Ana",
        "sid": house.ana.sid.to_string(),
        "sub": "sub-ana@example.com",
        "user": "sub-ana@example.com",
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn the_app_gets_the_headers_of_the_capture() {
    let house = House::open().await;
    let headers = [
        ("accept-encoding", "gzip, deflate"),
        ("user-agent", "python-httpx/0.28.1"),
        ("accept", "text/html"),
        ("cookie", &*house.ana.cookie),
    ];
    house.send(Version::HTTP_2, get(CHAT, &headers)).await;
    let seen = house.upstream.last().headers;
    let mut names: Vec<&str> = seen.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "accept-encoding",
        "authorization",
        "cookie",
        "host",
        "user-agent",
        "x-envoy-internal",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-pomerium-jwt-assertion",
        "x-request-id",
    ];
    assert_eq!(names, expected);
    assert_eq!(seen["cookie"], "");

    let first = seen["authorization"].clone();
    house.send(Version::HTTP_2, get(CHAT, &headers)).await;
    assert_ne!(house.upstream.last().headers["authorization"], first);
}

#[tokio::test]
async fn a_server_gets_the_identity_and_never_the_te() {
    let house = House::open().await;
    assert_eq!(house.initialize(&house.te()).await, StatusCode::OK);
    let seen = house.upstream.last().headers;
    assert!(!seen.contains_key("authorization"));
    assert_eq!(header(&seen, "host"), house.upstream.address.to_string());
    assert_eq!(header(&seen, "x-forwarded-host"), "db.example.test:8443");
    assert!(seen.contains_key("x-pomerium-jwt-assertion"));

    let mut request = post("https://slow.example.test:8443/", &house.te(), INITIALIZE);
    for name in ["x-pomerium-jwt-assertion", "x-pomerium-jwt-assertion-for"] {
        request.headers_mut().insert(name, "lie".parse().unwrap());
    }
    house.send(Version::HTTP_2, request).await;
    let withheld = house.upstream.last().headers;
    assert!(
        !withheld
            .keys()
            .any(|name| name.as_str().contains("assertion"))
    );
}

#[tokio::test]
async fn a_te_expires_by_itself_and_what_it_started_goes_on() {
    let te_lifetime = Duration::from_millis(1500);
    let options = Options {
        te_lifetime,
        te_prefix: "pom_mat_".to_owned(),
        ..Options::default()
    };
    let house = House::with(options).await;
    let te = house.te();
    assert!(te.starts_with("pom_mat_"));
    let bearer = format!("Bearer {te}");
    let credentials = [("authorization", &*bearer), ("accept", "application/json")];
    let events = get("https://db.example.test:8443/events", &credentials);
    let mut open = house.send(Version::HTTP_2, events).await;
    assert_eq!(open.status(), StatusCode::OK);
    let event = open.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(event.into_data().unwrap(), "data: 1\n\n");

    tokio::time::sleep(te_lifetime).await;
    assert_eq!(house.initialize(&te).await, StatusCode::UNAUTHORIZED);
    let listed = house.send(Version::HTTP_2, get(ROUTES, &credentials)).await;
    assert_eq!(listed.status(), StatusCode::UNAUTHORIZED);
    let cut = tokio::time::timeout(Duration::from_millis(100), open.body_mut().frame()).await;
    assert!(cut.is_err(), "an open stream is not cut");

    assert_eq!(house.initialize(&house.te()).await, StatusCode::OK);
}

#[tokio::test]
async fn tes_end_with_their_session_and_on_recall() {
    let house = House::open().await;
    let ben = house.standin.sign_in(DemoUser::Ben).unwrap();
    let te_of_ben = house.standin.issue_te(ben.sid).unwrap();
    let te = house.te();

    house.standin.recall_tes(house.ana.sid);
    assert_eq!(house.initialize(&te).await, StatusCode::UNAUTHORIZED);
    let newer = house.te();
    assert_eq!(house.initialize(&newer).await, StatusCode::OK);

    house.standin.end_session(house.ana.sid);
    assert_eq!(house.initialize(&newer).await, StatusCode::UNAUTHORIZED);
    assert_eq!(house.initialize(&te_of_ben).await, StatusCode::OK);
    assert!(house.standin.issue_te(house.ana.sid).is_err());
    assert_eq!(house.standin.requests("db.example.test"), 4);
    assert_eq!(house.upstream.count(), 2);
}

#[tokio::test]
async fn a_cookie_serves_where_a_te_is_none() {
    let house = House::open().await;
    let garbage = [
        ("authorization", "Bearer xx"),
        ("cookie", &*house.ana.cookie),
    ];
    let listed = house.send(Version::HTTP_2, get(ROUTES, &garbage)).await;
    assert_eq!(listed.status(), StatusCode::OK);
}

#[tokio::test]
async fn no_server_is_null() {
    let config = "authenticate_service_url: http://authenticate.localhost:8000
routes:
  - {from: 'http://chat.localhost:8000', to: 'http://UPSTREAM', mcp: {client: {}}}";
    let options = Options {
        config: config.to_owned(),
        ..Options::default()
    };
    let house = House::with(options).await;
    let cookie = [("cookie", &*house.ana.cookie)];
    let url = "http://chat.localhost:8000/.pomerium/mcp/routes";
    let listed = house.browse(get(url, &cookie)).await;
    assert_eq!(text(listed).await, "{\"servers\":null}\n");
    // No `policy`: nobody may pass, and nobody is asked to sign in for it.
    let refused = house.browse(get("http://chat.localhost:8000/", &[])).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn policy_refuses_a_person_with_a_page_and_a_program_with_json() {
    let house = House::open().await;
    let url = "https://ben.example.test:8443/x?y";
    for (accept, expected) in [
        ("text/html", "text/html; charset=UTF-8"),
        ("application/json", "application/json"),
    ] {
        let headers = [("cookie", &*house.ana.cookie), ("accept", accept)];
        let response = house.send(Version::HTTP_2, get(url, &headers)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(header(response.headers(), "content-type"), expected);
    }
    assert_eq!(house.upstream.count(), 0);

    let ben = house.standin.sign_in(DemoUser::Ben).unwrap();
    let headers = [("cookie", &*ben.cookie), ("authorization", "Basic mine")];
    house.send(Version::HTTP_2, get(url, &headers)).await;
    let seen = house.upstream.last();
    // `to` has the path `/mcp`, which takes the place of the first slash.
    assert_eq!(seen.uri, "/mcpx?y");
    assert_eq!(header(&seen.headers, "authorization"), "Basic mine");
}

#[tokio::test]
async fn a_public_route_names_nobody() {
    let house = House::open().await;
    let request = get("https://open.example.test:8443/", &[]);
    assert_eq!(
        house.send(Version::HTTP_2, request).await.status(),
        StatusCode::OK
    );
    let seen = house.upstream.last().headers;
    assert!(!seen.contains_key("authorization"));
    let assertion = header(&seen, "x-pomerium-jwt-assertion");
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(assertion)
        .unwrap()
        .claims;
    assert_eq!(
        (&claims["sub"], &claims["sid"]),
        (&object!(""), &object!(""))
    );
}

#[tokio::test]
async fn only_the_published_key_verifies() {
    let house = House::open().await;
    let (standin, sid) = (&house.standin, house.ana.sid);
    let forged = standin.forged_assertion(sid, "chat.example.test").unwrap();
    assert!(verify(&house, &forged).await.is_err());
    let before = standin.assertion(sid, "chat.example.test").unwrap();
    assert!(verify(&house, &before).await.is_ok());

    standin.rotate_key().unwrap();
    let after = standin.assertion(sid, "chat.example.test").unwrap();
    assert!(verify(&house, &after).await.is_ok());
    let kid = |token| decode_header(token).unwrap().kid;
    assert_ne!(kid(&before), kid(&after));
}
