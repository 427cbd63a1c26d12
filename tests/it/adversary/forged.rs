//! Who makes up who they are, at Toolgate's own port and through Pomerium. What an assertion must
//! be in itself is in `identity.rs`; here everything else around it is real, and wrong.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use demo::model::{Call, Reply};
use harness::{User, World};
use http::{HeaderName, HeaderValue, Method};
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use super::{ASSERTION, CHAT_HOST, Direct};
use crate::{
    fake::{Fake, json_answer, tool},
    servers::build,
    v1::{CHAT, asking, openai_error},
};

/// Where somebody is asked who they are, in each of the ways that there are.
const ASKED: [(&str, &str); 6] = [
    ("GET", "/"),
    ("GET", "/api/session"),
    ("GET", "/api/events"),
    ("GET", "/v1/models"),
    ("POST", "/api/messages"),
    ("POST", CHAT),
];

/// A request of somebody who would be let in, but for who they are.
fn ask(direct: &Direct, (method, path): (&str, &str), query: &str) -> reqwest::RequestBuilder {
    let request = direct.request(method.parse().unwrap(), &format!("{path}{query}"));
    match path {
        "/api/messages" => request
            .json(&json!({ "message_id": uuid::Uuid::now_v7(), "message": "I am somebody else" })),
        CHAT => request.json(&asking("I am somebody else")),
        _ => request,
    }
}

/// Fails unless nobody is let in with this.
async fn assert_nobody(direct: &Direct, user: &User, headers: &[(&str, String)], query: &str) {
    for asked in ASKED {
        let mut request = ask(direct, asked, query);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let told = user.send(request).await;
        let what = format!("{asked:?} {query} {headers:?}: {}", told.body);
        assert_eq!(told.status, 401, "{what}");
        if asked.1.starts_with("/v1/") {
            openai_error(&told.json());
        }
        for (_, value) in headers {
            // Its own host it may name.
            assert!(value.len() < 40 || !told.body.contains(value), "{what}");
        }
        assert!(!told.body.contains(user.who.email()), "{what}");
    }
}

#[tokio::test]
async fn what_is_no_assertion_lets_nobody_in_around_pomerium() {
    let mut world = World::build().start_with_process().await;
    let direct = Direct::to(&mut world);
    let ana = world.ana();
    let standin = world.standin();
    let assertion = standin.assertion(ana.sid, CHAT_HOST).unwrap();
    let te = standin.issue_te(ana.sid).unwrap();
    let token = standin.programmatic_token(ana.sid, CHAT_HOST).unwrap();
    let bearer = |token: &str| format!("Bearer {token}");
    let words = [
        // Everything of hers but the assertion in its own header.
        ("cookie", ana.cookie.clone()),
        (
            "cookie",
            format!("_pomerium={assertion}; {ASSERTION}={assertion}"),
        ),
        ("authorization", bearer(&te)),
        ("authorization", bearer(&assertion)),
        ("authorization", bearer(&format!("Pomerium-{token}"))),
        ("authorization", format!("Pomerium {token}")),
        ("x-pomerium-authorization", token),
        ("x-pomerium-jwt-assertion-for", assertion.clone()),
        ("x-pomerium-assertion", assertion.clone()),
        ("proxy-authorization", bearer(&assertion)),
        // What proxies say of people.
        ("x-pomerium-claim-sub", ana.who.subject().to_owned()),
        ("x-pomerium-claim-email", ana.who.email().to_owned()),
        ("x-pomerium-claim-sid", ana.sid.to_string()),
        ("x-forwarded-user", ana.who.subject().to_owned()),
        ("x-forwarded-email", ana.who.email().to_owned()),
        ("x-auth-request-user", ana.who.subject().to_owned()),
        ("remote-user", ana.who.subject().to_owned()),
        ("x-remote-user", ana.who.subject().to_owned()),
        // Where a request comes from is no reason to believe it.
        ("x-forwarded-for", "127.0.0.1".to_owned()),
        ("x-forwarded-host", CHAT_HOST.to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
        ("x-real-ip", "127.0.0.1".to_owned()),
        ("x-envoy-internal", "true".to_owned()),
        ("forwarded", "for=127.0.0.1;host=chat.localhost".to_owned()),
        ("x-original-url", "/livez".to_owned()),
    ];
    for word in &words {
        assert_nobody(&direct, &ana, std::slice::from_ref(word), "").await;
    }
    let mut all = words.to_vec();
    // Two of a kind would be one header with two values: the first of each is enough.
    all.dedup_by(|a, b| a.0 == b.0);
    assert_nobody(&direct, &ana, &all, "").await;
    for query in [
        format!("?{ASSERTION}={assertion}"),
        format!("?jwt={assertion}&access_token={te}"),
        format!("?authorization=Bearer%20{assertion}&pomerium_jwt={assertion}"),
    ] {
        assert_nobody(&direct, &ana, &[], &query).await;
        assert_nobody(&direct, &ana, &all, &query).await;
    }
    nothing_began(&world, &ana).await;
    let good = ask(&direct, ASKED[1], "").header(ASSERTION, &assertion);
    ana.send(good).await.expect(200);
    world.finish().await;
}

/// Nothing was posted for anybody, and no model was asked.
async fn nothing_began(world: &World, ana: &User) {
    let listed: Vec<Value> = ana.get_json("/api/conversations").await;
    assert_eq!(listed, Vec::<Value>::new());
    assert_eq!(world.model().received(), 0);
    let database = rusqlite::Connection::open(world.data().join("toolgate.db")).unwrap();
    let turns = "SELECT count(*) FROM turns";
    let turns: i64 = database.query_row(turns, [], |row| row.get(0)).unwrap();
    assert_eq!(turns, 0);
}

/// A key of the forger's own.
struct Key {
    secret: EncodingKey,
    jwk: Value,
}

impl Key {
    fn generate(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        // An uncompressed point: 0x04, x, y.
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        Self {
            secret: EncodingKey::from_ec_der(pair.serialized_der()),
            jwk: json!({
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
                "x": x, "y": y,
            }),
        }
    }
}

/// What a forger has: assertions of both people that are good, the published key, and a key of
/// their own that is published at `url`.
struct Forger {
    good: String,
    of_ben: String,
    published: Value,
    own: Key,
    url: String,
}

impl Forger {
    fn kid(&self) -> &str {
        self.published["kid"].as_str().unwrap()
    }

    fn claims(&self) -> &str {
        self.good.split('.').nth(1).unwrap()
    }

    /// Signed with the forger's own key.
    fn es256(&self, kid: &str, more: &Value) -> String {
        let mut header = json!({ "alg": "ES256", "typ": "JWT", "kid": kid });
        let more = more.as_object().unwrap().clone();
        header.as_object_mut().unwrap().extend(more);
        signed(&header, self.claims(), &self.own.secret, Algorithm::ES256)
    }

    /// Signed with this as if it were a shared secret.
    fn hs256(&self, secret: &[u8]) -> String {
        let header = json!({ "alg": "HS256", "typ": "JWT", "kid": self.kid() });
        let secret = EncodingKey::from_secret(secret);
        signed(&header, self.claims(), &secret, Algorithm::HS256)
    }

    /// Not signed.
    fn bare(&self, alg: &str) -> String {
        let header = json!({ "alg": alg, "typ": "JWT", "kid": self.kid() });
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        format!("{header}.{}.", self.claims())
    }

    /// With a key that the assertion brings or names itself.
    fn own_keys(&self) -> Vec<String> {
        let Self { own, url, .. } = self;
        let long = "k".repeat(8 * 1024);
        let kid = self.kid();
        [
            ("forgers", json!({ "jwk": own.jwk })),
            (kid, json!({ "jwk": own.jwk })),
            ("forgers", json!({ "jku": url })),
            (kid, json!({ "jku": url })),
            (kid, json!({ "x5u": url })),
            (url, json!({})),
            ("", json!({})),
            ("../../../../dev/null", json!({})),
            ("' OR 1 = 1 --", json!({})),
            (&long, json!({})),
            (kid, json!({ "crit": ["exp"], "exp": 1 })),
        ]
        .map(|(kid, more)| self.es256(kid, &more))
        .into()
    }

    /// Without a signature, or with the published key for a secret.
    fn other_algorithms(&self) -> Vec<String> {
        let x = self.published["x"].as_str().unwrap();
        let set = self.published.to_string();
        let decoded = URL_SAFE_NO_PAD.decode(x).unwrap();
        let mut forged: Vec<_> = ["none", "None", "NONE", "ES384", ""]
            .map(|alg| self.bare(alg))
            .into();
        let secrets: [&[u8]; 4] = [&decoded, x.as_bytes(), set.as_bytes(), b""];
        forged.extend(secrets.map(|secret| self.hs256(secret)));
        forged
    }

    /// Good ones, with something changed.
    fn changed(&self) -> Vec<String> {
        let Self { good, of_ben, .. } = self;
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (head, claims) = message.split_once('.').unwrap();
        let (bens, bens_signature) = of_ben.rsplit_once('.').unwrap();
        let (_, bens_claims) = bens.split_once('.').unwrap();
        vec![
            format!("{message}."),
            message.to_owned(),
            format!("{head}.{bens_claims}.{signature}"),
            format!("{head}.{claims}.{bens_signature}"),
            format!("{good}.{signature}"),
            format!("Bearer {good}"),
            format!("{good},{of_ben}"),
        ]
    }
}

/// A JWT with this header, whatever it says, and claims as they came.
fn signed(header: &Value, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let message = format!("{header}.{claims}");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

#[tokio::test]
async fn a_forged_or_borrowed_assertion_lets_nobody_in() {
    let mut world = World::build().start_with_process().await;
    let direct = Direct::to(&mut world);
    let (ana, ben) = (world.ana(), world.ben());
    let standin = world.standin();
    let set: Value = ana.get_json("/.well-known/pomerium/jwks.json").await;
    let own = Key::generate("forgers");
    let key_set = json!({ "keys": [own.jwk] });
    let trap = Fake::start(move |_| std::future::ready(json_answer(200, &key_set))).await;
    let forger = Forger {
        good: standin.assertion(ana.sid, CHAT_HOST).unwrap(),
        of_ben: standin.assertion(ben.sid, CHAT_HOST).unwrap(),
        published: set["keys"][0].clone(),
        own,
        url: format!("http://{}/.well-known/jwks.json", trap.address),
    };
    let mut tried = forger.own_keys();
    tried.extend(forger.other_algorithms());
    tried.extend(forger.changed());
    tried.push(standin.forged_assertion(ana.sid, CHAT_HOST).unwrap());
    // Pomerium signed these, for a server that she asked, or for another of its hosts.
    let elsewhere = [
        "db.localhost",
        "authenticate.localhost",
        "localhost",
        "chat.localhost.evil.example",
        "CHAT.LOCALHOST",
        "",
    ];
    tried.extend(elsewhere.map(|host| standin.assertion(ana.sid, host).unwrap()));
    for assertion in tried {
        let bearer = format!("Bearer {}", standin.issue_te(ana.sid).unwrap());
        let headers = [(ASSERTION, assertion), ("authorization", bearer)];
        assert_nobody(&direct, &ana, &headers, "").await;
    }
    assert!(trap.seen().is_empty(), "{:?}", trap.seen());
    // Hers is good, and none of the tokens that came with a forgery was kept for her.
    let request = direct.request(Method::GET, "/api/session");
    let session = ana.send(request.header(ASSERTION, &forger.good)).await;
    let session: Value = session.expect(200).json();
    assert_eq!(session["email"], ana.who.email());
    assert_eq!(session["token_seconds"], Value::Null);
    nothing_began(&world, &ana).await;
    trap.end().await;
    world.finish().await;
}

#[tokio::test]
async fn of_two_that_come_at_once_nothing_is_mixed() {
    let mut world = World::build().start_with_process().await;
    let direct = Direct::to(&mut world);
    let (ana, ben) = (world.ana(), world.ben());
    let standin = world.standin();
    let [hers, his] = [&ana, &ben].map(|user| standin.assertion(user.sid, CHAT_HOST).unwrap());
    let forged = standin.forged_assertion(ben.sid, CHAT_HOST).unwrap();
    for (first, second, who) in [
        (&hers, &his, Some(&ana)),
        (&his, &hers, Some(&ben)),
        (&hers, &forged, Some(&ana)),
        (&forged, &hers, None),
    ] {
        let request = direct
            .request(Method::GET, "/api/session")
            .header(ASSERTION, first)
            .header(ASSERTION, second);
        let told = ana.send(request).await;
        match who {
            // Either of the two could be refused as well, but not joined.
            Some(who) if told.status == 200 => {
                let session: Value = told.json();
                assert_eq!(session["subject"], who.who.subject());
                assert_eq!(session["email"], who.who.email());
                assert_eq!(session["name"], who.who.name());
            }
            Some(_) | None => assert_eq!(told.status, 401, "{}", told.body),
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn through_pomerium_forged_headers_change_neither_who_nor_with_which_token() {
    let fake = Fake::plain(&[tool("work")]).await;
    let world = build().server("Fake", fake.url()).start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let standin = world.standin();
    let of_ben = standin.assertion(ben.sid, CHAT_HOST).unwrap();
    let te_of_ben = standin.issue_te(ben.sid).unwrap();
    let token_of_ben = standin.programmatic_token(ben.sid, CHAT_HOST).unwrap();
    world
        .model()
        .queue(Reply::calls([Call::new("Fake__work", &json!({}))]));
    world.model().queue(Reply::text("Done."));
    let mut request = ana
        .request(Method::POST, CHAT)
        .json(&asking("Who am I?"))
        .header(ASSERTION, &of_ben)
        .header(ASSERTION, &of_ben);
    for (name, value) in [
        ("x-pomerium-jwt-assertion-for", of_ben.as_str()),
        ("x-pomerium-claim-sub", ben.who.subject()),
        ("x-pomerium-claim-email", ben.who.email()),
        ("x-pomerium-authorization", token_of_ben.as_str()),
        ("x-forwarded-user", ben.who.subject()),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("x-request-id", "forged"),
        ("mcp-session-id", "forged"),
    ] {
        request = request.header(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let request = request.bearer_auth(&te_of_ben);
    ana.send(request).await.expect(200);
    let calls = fake.calls();
    assert_eq!(calls.len(), 1);
    for seen in fake.seen() {
        assert_eq!(seen.claim("sub"), ana.who.subject());
        assert_eq!(seen.claim("sid"), ana.sid.to_string());
        for forged in [
            "x-pomerium-claim-sub",
            "x-pomerium-claim-email",
            "x-pomerium-authorization",
            "x-forwarded-user",
            "x-real-ip",
            "authorization",
        ] {
            assert_eq!(seen.header(forged), None, "{seen:?}");
        }
        assert_ne!(seen.header("mcp-session-id"), Some("forged"));
    }
    world.finish().await;
    fake.end().await;
}
