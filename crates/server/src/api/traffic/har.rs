//! HTTP Archive 1.2: the format that browsers' network panels and many other tools read.

use serde::Serialize;
use serde_json::{Map, Value, json};
use store::traffic::{BodyRecord, ExchangeWhole};

use super::text_or_base64;
use crate::page::traffic::words::rfc3339;

/// An archive.
#[derive(Debug, Serialize)]
pub(super) struct Archive {
    log: Value,
}

/// An archive of these entries.
pub(super) fn archive(entries: &[Value]) -> Archive {
    Archive {
        log: json!({
            "version": "1.2",
            "creator": { "name": "Toolgate", "version": env!("CARGO_PKG_VERSION") },
            "entries": entries,
        }),
    }
}

/// An exchange.
pub(super) fn entry(whole: &ExchangeWhole) -> Value {
    let row = &whole.row;
    let waited = row
        .headers_after_us
        .or(row.ended_after_us)
        .unwrap_or_default();
    let lasted = row.ended_after_us.unwrap_or(waited).max(waited);
    let mut request = json!({
        "method": row.method, "url": row.url, "httpVersion": "HTTP",
        "headers": headers(&whole.request_headers),
        "queryString": [], "cookies": [], "headersSize": -1, "bodySize": row.bytes_out,
    });
    let posted = content(&whole.request, &whole.request_headers);
    if let (Value::Object(request), false) = (&mut request, whole.request.bytes.is_empty()) {
        request.insert("postData".to_owned(), Value::Object(posted));
    }
    let mut answer = content(&whole.response, &whole.response_headers);
    answer.insert("size".to_owned(), json!(row.bytes_in));
    json!({
        "startedDateTime": rfc3339(row.started_at),
        "time": ms(lasted),
        "request": request,
        "response": {
            "status": row.status.unwrap_or_default(), "statusText": "", "httpVersion": "HTTP",
            "headers": headers(&whole.response_headers),
            "cookies": [], "content": answer, "redirectURL": "",
            "headersSize": -1, "bodySize": row.bytes_in,
        },
        "cache": {},
        "timings": { "send": 0, "wait": ms(waited), "receive": ms(lasted - waited) },
        "_peer": row.peer.name(), "_server": row.server, "_round": row.round, "_call": row.call,
    })
}

fn headers(headers: &[(String, String)]) -> Value {
    let header = |(name, value): &(String, String)| json!({ "name": name, "value": value });
    headers.iter().map(header).collect()
}

fn content(record: &BodyRecord, headers: &[(String, String)]) -> Map<String, Value> {
    let (text, base64) = text_or_base64(record.bytes.clone());
    let mut content = Map::new();
    content.insert("mimeType".to_owned(), json!(media(headers)));
    if base64.is_some() {
        content.insert("encoding".to_owned(), json!("base64"));
    }
    content.insert("text".to_owned(), json!(text.or(base64)));
    content
}

fn media(headers: &[(String, String)]) -> &str {
    let found = headers.iter().find(|(name, _)| name == "content-type");
    found.map_or("", |(_, value)| value)
}

/// Microseconds as HAR has time: milliseconds with decimals.
fn ms(us: u64) -> Value {
    json!(std::time::Duration::from_micros(us).as_secs_f64() * 1000.0)
}
