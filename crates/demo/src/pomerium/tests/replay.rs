//! Exchanges recorded with a real Pomerium, put to the stand-in: status, meaningful headers and
//! body must be the same.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::*;

const CAPTURES: &str = include_str!("../testdata/pomerium-captures.jsonl");

/// What the stand-in does not do, each by its name and with the reason.
const LEFT_OUT: [(&str, &str); 4] = [
    (
        "server: OPTIONS preflight",
        "no page of another origin calls a server here",
    ),
    (
        "protected resource metadata",
        "no MCP client signs in by OAuth here",
    ),
    (
        "authorization server metadata",
        "no MCP client signs in by OAuth here",
    ),
    (
        "dynamic registration, off by default",
        "no MCP client signs in by OAuth here",
    ),
];

/// Headers that every answer has, or that belong to the transport.
const UNTOLD: [&str; 7] = [
    "content-length",
    "date",
    "server",
    "strict-transport-security",
    "vary",
    "x-frame-options",
    "x-xss-protection",
];

/// Answers that are not the same over the other version of HTTP.
const OF_ONE_VERSION: [&str; 2] = ["tool: denied tool, 100 kB", "tool: denied tool, 1.1 MB"];

#[derive(Deserialize)]
struct Capture {
    case: String,
    http: Option<String>,
    request: Option<Asked>,
    response: Option<Answered>,
    hops: Option<Vec<Hop>>,
    headers: Option<Vec<(String, String)>>,
    assertion: Option<(Value, Value)>,
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Answered {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: String,
}

/// One step of a browser.
#[derive(Debug, Deserialize, PartialEq)]
struct Hop {
    get: String,
    status: u16,
    location: Option<String>,
    body: Option<String>,
}

#[tokio::test]
async fn the_stand_in_answers_as_pomerium_did() {
    let options = Options {
        redirect_urls: RedirectUrls::HttpsOnly,
        ..Options::default()
    };
    let house = House::with(options).await;
    let authenticate = "authenticate.example.test".to_owned();
    let app = "chat.example.test".to_owned();
    let cookie = &house.ana.cookie;
    let mut jar = BTreeMap::from([(authenticate, cookie.clone()), (app, cookie.clone())]);
    let (mut left_out, mut replayed, mut wrong) = (Vec::new(), 0, Vec::new());
    for line in CAPTURES.lines() {
        let capture: Capture = serde_json::from_str(line).unwrap();
        let case = capture.case.clone();
        if LEFT_OUT.iter().any(|(name, _)| *name == case) {
            left_out.push(case);
            continue;
        }
        house.prepare(&case);
        let told = if let Some(hops) = &capture.hops {
            follow(&house, &mut jar, hops).await
        } else if capture.headers.is_some() {
            received(&house, &capture).await
        } else {
            answers(&house, capture).await
        };
        wrong.extend(told.map(|told| format!("{case}:\n{told}")));
        replayed += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(replayed, 65);
    assert_eq!(left_out, LEFT_OUT.map(|(name, _)| name));
}

impl House {
    /// Ana's account at the guarded server was connected and disconnected between the captures.
    fn prepare(&self, case: &str) {
        let host = "up.example.test";
        match case {
            "routes: TE" | "routes: TE, on a server host" | "disconnect" => {
                self.standin.connect_upstream(DemoUser::Ana, host, "any");
            }
            "upstream OAuth, not connected" => {
                self.standin.disconnect_upstream(DemoUser::Ana, host);
            }
            _ => {}
        }
    }

    /// The addresses that the captured upstream had: one for MCP, one for OAuth.
    fn with_captured_addresses(&self, text: &str) -> String {
        let address = self.guarded.address.to_string();
        let oauth = format!("http://{address}/authorize");
        let resource = format!("http://{address}")
            .replace(':', "%3A")
            .replace('/', "%2F");
        text.replace(&oauth, "http://127.0.0.1:9100/authorize")
            .replace(&resource, "http%3A%2F%2F127.0.0.1%3A8082")
    }
}

/// Puts a captured request to the stand-in. What is wrong with the answers.
async fn answers(house: &House, capture: Capture) -> Option<String> {
    let expected = |version| {
        let mut expected = Answered {
            headers: BTreeMap::clone(&capture.response.as_ref()?.headers),
            body: capture.response.as_ref()?.body.clone(),
            status: capture.response.as_ref()?.status,
        };
        // The header belongs to HTTP/1.1.
        if version == Version::HTTP_2 {
            expected.headers.remove("connection");
        }
        normalise(&mut expected, None);
        Some(expected)
    };
    let captured = match capture.http.as_deref() {
        Some("HTTP/1.1") => Version::HTTP_11,
        _ => Version::HTTP_2,
    };
    let is_of_one = OF_ONE_VERSION
        .iter()
        .any(|start| capture.case.starts_with(start));
    for version in [Version::HTTP_2, Version::HTTP_11] {
        if is_of_one && version != captured {
            continue;
        }
        house.prepare(&capture.case);
        let answered = put(house, &capture, version).await;
        let expected = expected(version).unwrap();
        if answered != expected {
            return Some(format!("  {version:?}\n  {expected:?}\n  {answered:?}"));
        }
    }
    None
}

/// Puts the request of a capture to the stand-in and masks the answer as the captures are masked.
async fn put(house: &House, capture: &Capture, version: Version) -> Answered {
    let Some(asked) = &capture.request else {
        assert_eq!(capture.case, "user: with session cookie");
        let cookie = [("cookie", &*house.ana.cookie)];
        let request = get("https://chat.example.test:8443/.pomerium/user", &cookie);
        let response = house.send(version, request).await;
        let mut answered = read(response).await;
        answered.headers.clear();
        let sid = house.ana.sid.to_string();
        answered.body = answered.body.replace(&sid, "<uuid>");
        return answered;
    };
    let many = match &capture.case {
        case if case.contains("5 kB") => 5_000,
        case if case.contains("100 kB") => 100_000,
        case if case.contains("1.1 MB") => 1_100_000,
        _ => 0,
    };
    let url = asked.url.replace(".test/", ".test:8443/");
    let mut request = Request::builder().method(&*asked.method).uri(url);
    for (name, value) in &asked.headers {
        request = request.header(name, value.replace("<TE>", &house.te()));
    }
    let body = asked.body.replace("<many y>", &"y".repeat(many));
    let request = request.body(Full::from(body)).unwrap();
    let mut answered = read(house.send(version, request).await).await;
    let id = answered.headers.get("x-request-id").cloned();
    normalise(&mut answered, id.as_deref());
    answered
}

/// Follows the redirects as the captured browser did, signed in at the authenticate host and at
/// the hosts it has been to. What is wrong.
async fn follow(house: &House, jar: &mut BTreeMap<String, String>, hops: &[Hop]) -> Option<String> {
    let start = hops[0].get.replace(".test/", ".test:8443/");
    let mut next = Some(start);
    for expected in hops {
        let url = next.take().unwrap();
        let here = Url::parse(&url).unwrap();
        let response = if here.host_str() == Some("127.0.0.1") {
            let is_denied = hops.last().unwrap().status == 400;
            house.guarded.with(|state| state.denies = is_denied);
            let stream = TcpStream::connect(house.guarded.address).await.unwrap();
            let request = get(&url, &[]);
            house
                .exchange(Version::HTTP_11, TokioIo::new(stream), request)
                .await
        } else {
            let host = here.host_str().unwrap().to_owned();
            let mut headers = vec![("accept", "text/html")];
            headers.extend(jar.get(&host).map(|cookie| ("cookie", &**cookie)));
            let response = house.send(Version::HTTP_2, get(&url, &headers)).await;
            if let Some(cookie) = response.headers().get("set-cookie") {
                let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
                jar.insert(host, cookie.to_owned());
            }
            response
        };
        let id = header(response.headers(), "x-request-id").to_owned();
        let mask = |text: &str| {
            let text = house.with_captured_addresses(text);
            let text = text.replace(".test:8443", ".test");
            let text = text.replace(&house.ana.sid.to_string(), "<uuid>");
            if id.is_empty() {
                text
            } else {
                text.replace(&id, "<uuid>")
            }
        };
        next = response.headers().get("location").map(|location| {
            let location = location.to_str().unwrap();
            location.to_owned()
        });
        let status = response.status().as_u16();
        let body = text(response).await;
        let told = Hop {
            // How a client writes the first address is its own business.
            get: if expected == &hops[0] {
                expected.get.clone()
            } else {
                masked(&mask(&url))
            },
            status,
            location: next.as_deref().map(|location| masked(&mask(location))),
            body: next.is_none().then(|| mask(&body)),
        };
        let expected = Hop {
            get: if expected == &hops[0] {
                expected.get.clone()
            } else {
                masked(&expected.get)
            },
            status: expected.status,
            location: expected.location.as_deref().map(masked),
            body: expected.body.clone(),
        };
        if told != expected {
            return Some(format!("  {expected:?}\n  {told:?}"));
        }
    }
    None
}

/// What the app gets. What is wrong.
async fn received(house: &House, capture: &Capture) -> Option<String> {
    let headers = [
        ("accept-encoding", "gzip, deflate"),
        ("user-agent", "python-httpx/0.28.1"),
        ("accept", "text/html"),
        ("cookie", &*house.ana.cookie),
    ];
    let url = "https://chat.example.test:8443/echo";
    house.send(Version::HTTP_2, get(url, &headers)).await;
    let seen = house.upstream.last().headers;
    let assertion = header(&seen, "x-pomerium-jwt-assertion");
    let te = header(&seen, "authorization").strip_prefix("Bearer ");
    assert_eq!(house.initialize(te.unwrap()).await, StatusCode::OK);
    let told: BTreeMap<String, String> = seen
        .iter()
        .map(|(name, value)| {
            let value = value.to_str().unwrap();
            let is_uuid = value.parse::<Uuid>().is_ok();
            let value = match name.as_str() {
                "authorization" => "Bearer <TE>",
                "x-pomerium-jwt-assertion" => "<assertion>",
                "x-request-id" if is_uuid => "<uuid>",
                "host" => value.trim_end_matches(":8443"),
                // The captured client was on another machine.
                "x-forwarded-for" => "192.0.2.2",
                _ => value,
            };
            (name.to_string(), value.to_owned())
        })
        .collect();
    let expected: BTreeMap<String, String> = capture
        .headers
        .iter()
        .flatten()
        .map(|(name, value)| (name.to_lowercase(), value.clone()))
        .collect();
    if told != expected {
        return Some(format!("  {expected:?}\n  {told:?}"));
    }
    let parts: Vec<Value> = assertion
        .split('.')
        .take(2)
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    let (mut header, mut claims) = (parts[0].clone(), parts[1].clone());
    let issued = claims["iat"].as_u64().unwrap();
    assert_eq!(claims["exp"], issued + 300);
    assert_eq!(header["kid"].as_str().unwrap().len(), 64);
    header["kid"] = "<sha256 hex thumbprint>".into();
    for (name, mask) in [
        ("exp", "<unix+300>"),
        ("iat", "<unix>"),
        ("jti", "<uuid>"),
        ("sid", "<uuid>"),
    ] {
        claims[name] = mask.into();
    }
    let told = Some((header, claims));
    (told != capture.assertion).then(|| format!("  {:?}\n  {told:?}", capture.assertion))
}

async fn read(response: Response<Incoming>) -> Answered {
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .filter(|(name, _)| !UNTOLD.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let body = text(response).await;
    Answered {
        status,
        headers,
        body,
    }
}

/// Masks what differs from run to run: `id` is this answer's request id.
fn normalise(answer: &mut Answered, id: Option<&str>) {
    if let Some(id) = id {
        assert!(id.parse::<Uuid>().is_ok(), "{id}");
        for text in answer.headers.values_mut().chain([&mut answer.body]) {
            *text = text.replace(id, "<uuid>").replace(".test:8443", ".test");
        }
    }
    if let Some(location) = answer.headers.get_mut("location") {
        *location = masked(location);
    }
    let kind = answer.headers.get("content-type");
    if kind.is_some_and(|kind| kind.starts_with("text/html")) {
        assert!(answer.body.starts_with('<'), "{}", answer.body);
        "<html page>".clone_into(&mut answer.body);
    }
    if answer.body.starts_with(r#"{"servers":["#) {
        answer.body = in_order(&answer.body);
    }
    if answer.body.starts_with(r#"{"keys":["#) {
        answer.body = without_key(&answer.body);
    }
}

fn masked(location: &str) -> String {
    let Some((endpoint, query)) = location.split_once('?') else {
        return location.to_owned();
    };
    let pairs = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        let value = match name {
            "pomerium_expiry" | "pomerium_issued" => "<unix>",
            "pomerium_idp_id" => "<idp>",
            "pomerium_session_encrypted" => "<session>",
            "pomerium_signature" => "<sig>",
            "code_challenge" => "<challenge>",
            "state" => "<state>",
            "pomerium_traceparent" => "<traceparent>",
            _ => value,
        };
        format!("{name}={value}")
    });
    format!("{endpoint}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// The servers come in any order.
fn in_order(body: &str) -> String {
    let list = body.strip_prefix(r#"{"servers":[{"#).unwrap();
    let list = list.strip_suffix("}]}\n").unwrap();
    let mut servers: Vec<&str> = list.split("},{").collect();
    servers.sort_unstable();
    servers.join("\n")
}

fn without_key(body: &str) -> String {
    let set: Value = serde_json::from_str(body).unwrap();
    let key = &set["keys"][0];
    assert_eq!(key["kid"].as_str().unwrap().len(), 64);
    ["kid", "x", "y"]
        .iter()
        .fold(body.to_owned(), |body, name| {
            body.replace(key[name].as_str().unwrap(), name)
        })
}
