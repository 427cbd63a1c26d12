//! Servers that say back what they were sent.

use super::*;

/// As Pomerium's tokens are: base64, with what JSON may escape.
const KEY: &str = "s3cret/key+of+the+operator==";

type Reply = fn(&Seen) -> Answer;

struct Key(Url);

impl CredentialSource for Key {
    fn credential(&self) -> Credential {
        Credential::Configured(crate::http::ServerKey::new(&self.0, Some(KEY.into())))
    }
}

/// What was sent as `Authorization`.
fn said(seen: &Seen) -> String {
    let said = seen.header("authorization").unwrap_or_default().to_owned();
    assert_eq!(said, format!("Bearer {KEY}"));
    said
}

/// A JSON text that escapes as PHP and .NET do.
fn escaped(message: &Value) -> String {
    message
        .to_string()
        .replace("key+of", "key\\u002Bof")
        .replace("s3cret/", "s3cret\\/")
}

/// Options for a server that gets the operator's key.
async fn keyed<F, A>(handler: F) -> ConnectOptions
where
    F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let url = serve(handler).await;
    ConnectOptions {
        credentials: Arc::new(Key(url.clone())),
        ..options(url)
    }
}

/// The events of a call that is answered by `reply`.
async fn called(reply: Reply) -> Vec<CallEvent> {
    let options = keyed(move |seen| async move {
        if seen.method() == "tools/call" {
            reply(&seen)
        } else {
            seen.plain()
        }
    });
    let connection = Connection::connect(options.await).await.unwrap();
    let events = events(connection.call(a_call("echo", json!({})))).await;
    let all = format!("{events:?}");
    assert!(
        !all.contains("s3cret") && !all.contains("operator"),
        "{all}"
    );
    events
}

/// A result with the key wherever text can stand.
fn telling(seen: &Seen) -> Value {
    let said = said(seen);
    json!({
        "content": [text(&format!("You sent {said}.")), { "type": "text", "text": "é" }],
        "structuredContent": { "headers": [{ "authorization": said }], said: { KEY: 1 } },
    })
}

fn told() -> Value {
    let said = "Bearer [redacted]";
    json!({
        "content": [text(&format!("You sent {said}.")), { "type": "text", "text": "é" }],
        "structuredContent": { "headers": [{ "authorization": said }], said: { "[redacted]": 1 } },
    })
}

fn raw(events: &[CallEvent]) -> &Value {
    let Some(CallEvent::Ended { raw, .. }) = events.last() else {
        panic!("{events:?}")
    };
    raw
}

#[tokio::test]
async fn a_result_does_not_hand_the_key_on() {
    let in_one = called(|seen| {
        let message = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "result": telling(seen) });
        answer(200, "application/json", escaped(&message))
    });
    assert_eq!(raw(&in_one.await), &told());

    let streamed = called(|seen| {
        let mut report = progress(&progress_token(seen), 1);
        report["params"]["message"] = said(seen).into();
        let result = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "result": telling(seen) });
        let chunks = [report, result].map(|event| format!("data: {}\n\n", escaped(&event)));
        raw_stream(futures_util::stream::iter(chunks))
    });
    let streamed = streamed.await;
    assert_eq!(raw(&streamed), &told());
    let reports = streamed.iter().filter_map(|event| {
        if let CallEvent::Progress { message, .. } = event {
            message.as_deref()
        } else {
            None
        }
    });
    assert_eq!(reports.collect::<Vec<_>>(), ["Bearer [redacted]"]);
}

#[tokio::test]
async fn an_error_does_not_hand_the_key_on() {
    let replies: [(Reply, &str); 8] = [
        (|seen| seen.error(-32000, &said(seen)), "Bearer [redacted]"),
        (|seen| seen.error(-32020, &said(seen)), "Bearer [redacted]"),
        (
            |seen| {
                let mut refused = seen.error(-32000, &said(seen));
                *refused.status_mut() = ::http::StatusCode::BAD_REQUEST;
                refused
            },
            "Bearer [redacted]",
        ),
        (
            |seen| answer(403, "text/plain", said(seen)),
            "Bearer [redacted]",
        ),
        (
            |seen| json_answer(500, &json!({ "detail": said(seen) })),
            "Bearer [redacted]",
        ),
        (
            |seen| answer(200, "text/plain", said(seen)),
            "Bearer [redacted]",
        ),
        (
            |seen| answer(200, "application/json", said(seen)),
            "Bearer [redacted]",
        ),
        (
            |seen| {
                with(
                    answer(500, "text/plain", "boom"),
                    "x-request-id",
                    &said(seen),
                )
            },
            "boom",
        ),
    ];
    for (reply, words) in replies {
        let events = called(reply).await;
        let end = events.last().unwrap();
        assert!(format!("{end:?}").contains(words), "{end:?}");
    }
}

#[tokio::test]
async fn a_list_of_tools_does_not_hand_the_key_on() {
    let options = keyed(|seen| async move {
        if seen.method() != "tools/list" {
            return seen.plain();
        }
        let mut told = tool("echo");
        told["description"] = said(&seen).into();
        told["inputSchema"]["properties"] = json!({ KEY: { "default": KEY } });
        let nameless = json!({ "name": KEY });
        seen.result(&json!({ "tools": [told, nameless] }))
    });
    let connection = Connection::connect(options.await).await.unwrap();
    let catalog = connection.catalog();
    let all = format!("{catalog:?}");
    assert!(!all.contains("s3cret"), "{all}");
    assert_eq!(
        catalog.tools[0].description.as_deref(),
        Some("Bearer [redacted]")
    );
    assert_eq!(catalog.broken[0].name, "[redacted]");
}

#[tokio::test]
async fn a_failed_connection_does_not_hand_the_key_on() {
    let options = keyed(|seen| async move { answer(401, "text/plain", said(&seen)) }).await;
    let error = Connection::connect(options).await.map(|_| ()).unwrap_err();
    let words = "(401: Bearer [redacted])";
    assert!(error.failure().message.contains(words), "{error:?}");
}

/// Another key whenever one is asked for.
struct EverNew(Url, Counter);

impl CredentialSource for EverNew {
    fn credential(&self) -> Credential {
        let key = format!("key-number-{}", self.1.next());
        Credential::Configured(crate::http::ServerKey::new(&self.0, Some(key.into())))
    }
}

#[tokio::test]
async fn a_long_stream_hands_no_older_and_no_newer_key_on() {
    let keys = Counter::default();
    let newest = keys.clone();
    let url = serve(move |seen| {
        let newest = newest.clone();
        async move {
            if seen.method() != "tools/call" {
                return seen.plain();
            }
            let said = seen.header("authorization").unwrap().to_owned();
            let (id, token) = (seen.body["id"].clone(), progress_token(&seen));
            stream(futures_util::stream::iter(0..31).map(move |at| {
                if at < 30 {
                    return progress(&token, at);
                }
                // The last that was asked for, by an event before or for this one.
                let newest = format!("key-number-{}", newest.count() - 1);
                let result = json!({ "content": [text(&said), text(&newest)] });
                json!({ "jsonrpc": "2.0", "id": id, "result": result })
            }))
        }
    })
    .await;
    let options = ConnectOptions {
        credentials: Arc::new(EverNew(url.clone(), keys)),
        ..options(url)
    };
    let connection = Connection::connect(options).await.unwrap();
    let events = events(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(
        raw(&events)["content"],
        json!([text("Bearer [redacted]"), text("[redacted]")])
    );
}
