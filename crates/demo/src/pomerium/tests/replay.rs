//! Exchanges recorded with a real Pomerium, put to the stand-in: status, meaningful headers and
//! body must be the same.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

const CAPTURES: &str = include_str!("../testdata/pomerium-captures.jsonl");

/// Captures of what the stand-in does not do (yet), by the start of their names.
const SKIPPED: [&str; 11] = [
    "server: OPTIONS preflight",
    "tool: denied tool, 100 kB, max_request_bytes 1 MiB, HTTP/1.1",
    "upstream OAuth, not connected",
    "upstream OAuth, connected",
    "upstream answers 401, no OAuth to be found",
    "disconnect",
    "protected resource metadata",
    "authorization server metadata",
    "dynamic registration, off by default",
    "connect: ",
    // Compared in `tokens`.
    "app request as the backend receives it",
];

/// Headers that every answer has, or that belong to the transport.
const LEFT_OUT: [&str; 7] = [
    "content-length",
    "date",
    "server",
    "strict-transport-security",
    "vary",
    "x-frame-options",
    "x-xss-protection",
];

#[derive(Deserialize)]
struct Capture {
    case: String,
    http: Option<String>,
    request: Option<Asked>,
    response: Option<Answered>,
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

#[tokio::test]
async fn the_stand_in_answers_as_pomerium_did() {
    let house = House::open().await;
    let (mut skipped, mut replayed, mut wrong) = ([0; SKIPPED.len()], 0, Vec::new());
    for line in CAPTURES.lines() {
        let capture: Capture = serde_json::from_str(line).unwrap();
        if let Some(at) = SKIPPED
            .iter()
            .position(|start| capture.case.starts_with(start))
        {
            skipped[at] += 1;
            continue;
        }
        let answered = put(&house, &capture).await;
        let mut expected = capture.response.unwrap();
        normalise(&mut expected, None);
        if answered != expected {
            wrong.push(format!("{}:\n  {expected:?}\n  {answered:?}", capture.case));
        }
        replayed += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(replayed, 43);
    assert!(skipped.iter().all(|count| *count > 0), "{skipped:?}");
}

/// Puts the request of a capture to the stand-in and masks the answer as the captures are masked.
async fn put(house: &House, capture: &Capture) -> Answered {
    let Some(asked) = &capture.request else {
        assert_eq!(capture.case, "user: with session cookie");
        let cookie = [("cookie", &*house.ana.cookie)];
        let request = get("https://chat.example.test:8443/.pomerium/user", &cookie);
        let response = house.send(Version::HTTP_2, request).await;
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
    let version = if capture.http.as_deref() == Some("HTTP/2") {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    let request = request.body(Full::from(body)).unwrap();
    let mut answered = read(house.send(version, request).await).await;
    let id = answered.headers.get("x-request-id").cloned();
    normalise(&mut answered, id.as_deref());
    answered
}

async fn read(response: Response<Incoming>) -> Answered {
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
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
    let (endpoint, query) = location.split_once('?').unwrap();
    let pairs = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        let value = match name {
            "pomerium_expiry" | "pomerium_issued" => "<unix>",
            "pomerium_idp_id" => "<idp>",
            "pomerium_signature" => "<sig>",
            "pomerium_traceparent" => "<traceparent>",
            _ => value,
        };
        format!("{name}={value}")
    });
    format!("{endpoint}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// The servers come in any order; and one of the captured had an upstream token.
fn in_order(body: &str) -> String {
    let body = body.replace(r#""connected":true"#, r#""connected":false"#);
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
