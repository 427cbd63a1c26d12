//! What Pomerium's policy sees of an MCP request: its body up to the route's
//! `max_request_bytes`. A larger one goes on unseen, and so does one that is no JSON-RPC request.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Version};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::answer::{Body, BodyError, whole};
use super::policy::Asked;

/// Bytes of a request that Pomerium's proxy holds for a connection
/// (`per_connection_buffer_limit_bytes`). Over HTTP/1.1 a body that policy is to see may not be
/// larger, whatever the route allows; over HTTP/2 it may.
const CONNECTION_BUFFER: usize = 32 * 1024;

/// What is read of a body that is refused, so that its sender gets to read why.
const MAX_DRAINED_BYTES: usize = 32 * 1024 * 1024;
const MAX_DRAIN_TIME: Duration = Duration::from_secs(1);

/// What became of a request body when its beginning was looked at.
pub(super) enum Peeked {
    /// It may go on.
    Seen(Seen),
    /// It is too large to be looked at, and too large to go on.
    TooLarge,
}

/// A request body after its beginning was looked at.
pub(super) struct Seen {
    /// All of it, when it was not larger than the limit.
    pub(super) whole: Option<Bytes>,
    /// The body to forward, nothing missing.
    pub(super) body: Body,
}

/// A JSON-RPC request or notification.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The `id` as it was written.
    pub(super) id: Option<String>,
    /// The `method`.
    pub(super) method: String,
    /// The tool of a `tools/call`.
    pub(super) tool: Option<ToolCall>,
}

/// Arguments that are no object make the whole unreadable, and so the tool unknown.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct ToolCall {
    /// The tool's name.
    #[serde(default)]
    pub(super) name: String,
    /// What it is called with.
    #[serde(default)]
    pub(super) arguments: Option<Map<String, Value>>,
}

impl Call {
    /// What the policy looks at.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            tool: self.tool.as_ref().map(|tool| &*tool.name),
        }
    }
}

/// Reads a body until it ends or grows beyond `limit` bytes.
pub(super) async fn peek(
    mut body: Incoming,
    limit: usize,
    version: Version,
) -> Result<Peeked, hyper::Error> {
    let is_held = version <= Version::HTTP_11 && limit > CONNECTION_BUFFER;
    let mut read = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await.transpose()? {
        match frame.into_data() {
            Ok(data) => read.extend_from_slice(&data),
            Err(frame) => trailers = Some(frame),
        }
        if is_held && read.len() > CONNECTION_BUFFER {
            drain(body).await;
            return Ok(Peeked::TooLarge);
        }
        if read.len() > limit {
            return Ok(Peeked::Seen(Seen {
                whole: None,
                body: resumed(read.freeze(), body),
            }));
        }
    }
    let read = read.freeze();
    let body = match trailers {
        None => whole(read.clone()),
        Some(trailers) => {
            let frames = [Frame::data(read.clone()), trailers].map(Ok::<_, BodyError>);
            StreamBody::new(stream::iter(frames)).boxed_unsync()
        }
    };
    Ok(Peeked::Seen(Seen {
        whole: Some(read),
        body,
    }))
}

/// Understands a body, as far as Pomerium does (`RequestMCPFromCheckRequest`).
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Option<Call> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return None;
    }
    let request: Request = serde_json::from_slice(body).ok()?;
    if request.jsonrpc != "2.0" || request.method.is_empty() {
        return None;
    }
    let id = request.id.map(RawValue::get);
    if id.is_some_and(|id| {
        !id.starts_with(['"', '-']) && !id.starts_with(|c: char| c.is_ascii_digit())
    }) {
        return None;
    }
    let tool = match &*request.method {
        "tools/call" => request
            .params
            .and_then(|params| serde_json::from_str(params.get()).ok()),
        _ => None,
    };
    Some(Call {
        id: id.map(str::to_owned),
        method: request.method,
        tool,
    })
}

#[derive(Deserialize)]
struct Request<'a> {
    jsonrpc: String,
    method: String,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// Reads on for a while. What is left then is lost, and perhaps the answer with it.
async fn drain(mut body: Incoming) {
    let drained = async {
        let mut left = MAX_DRAINED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else {
                return;
            };
            left = rest;
        }
    };
    let _in_time = tokio::time::timeout(MAX_DRAIN_TIME, drained).await;
}

fn resumed(read: Bytes, rest: Incoming) -> Body {
    let first = stream::iter([Ok(Frame::data(read))]);
    let rest = BodyStream::new(rest).map(|frame| frame.map_err(BodyError::from));
    StreamBody::new(first.chain(rest)).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &str, body: &str) -> Option<Call> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        read(&headers, body.as_bytes())
    }

    fn json(body: &str) -> Option<Call> {
        of("application/json", body)
    }

    #[test]
    fn what_pomerium_cannot_read_is_no_call() {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop"}}"#;
        assert!(json(call).is_some());
        assert_eq!(of("text/plain", call), None);
        for body in [
            "",
            "hello",
            r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"tools/list"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"tools/list"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"#,
        ] {
            assert_eq!(json(body), None, "{body}");
        }
    }

    #[test]
    fn id_and_tool_come_as_they_were_written() {
        let seen = |call: Option<Call>| {
            let call = call.unwrap();
            (call.id, call.method, call.tool.map(|tool| tool.name))
        };
        let call = |id: Option<&str>, method: &str, tool: Option<&str>| {
            let owned = |text: &str| text.to_owned();
            (id.map(owned), owned(method), tool.map(owned))
        };
        let named = r#"{"jsonrpc":"2.0","id":"abc","method":"tools/call","params":{"name":"a","arguments":{}}}"#;
        let expected = call(Some(r#""abc""#), "tools/call", Some("a"));
        assert_eq!(seen(json(named)), expected);
        let charset = of("Application/JSON; charset=utf-8", named);
        assert_eq!(seen(charset), expected);
        let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let expected = call(None, "notifications/initialized", None);
        assert_eq!(seen(json(notification)), expected);
        let odd = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":[]}}"#;
        assert_eq!(seen(json(odd)), call(Some("7"), "tools/call", None));
    }
}
