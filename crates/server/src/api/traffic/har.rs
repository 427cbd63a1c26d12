//! HTTP Archive 1.2: the format that browsers' network panels and many other tools read.

use axum::BoxError;
use chat::{exchange::End, ids::Subject};
use futures_util::{Stream, stream};
use serde_json::{Map, Value, json};
use store::{
    StoreError,
    traffic::{Bodies, BodyRecord, ExchangeRow, ExchangeWhole, Kept},
};
use url::Url;

use super::text_or_base64;
use crate::{app::AppState, clock::rfc3339, context::Context};

/// Bytes of bodies in one archive: what is over it comes without its bodies.
const BODY_BYTES: u64 = 64 * 1024 * 1024;

/// An archive of these exchanges of a person's, in pieces: one exchange is in memory at a time.
pub(super) fn stream(
    app: AppState,
    subject: Subject,
    rows: Vec<ExchangeRow>,
) -> impl Stream<Item = Result<Vec<u8>, BoxError>> + Send {
    let archive = Archive {
        app,
        subject,
        rows: rows.into_iter(),
        next: Next::Head,
        room: BODY_BYTES,
    };
    stream::try_unfold(archive, async |mut archive| {
        let piece = archive.piece().await?;
        Ok(piece.map(|piece| (piece, archive)))
    })
}

/// An archive in the making.
struct Archive {
    app: AppState,
    subject: Subject,
    rows: std::vec::IntoIter<ExchangeRow>,
    next: Next,
    /// Bytes of bodies that may follow.
    room: u64,
}

/// What comes next.
enum Next {
    Head,
    First,
    More,
    Nothing,
}

impl Archive {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        let before: &[u8] = match self.next {
            Next::Head => {
                self.next = Next::First;
                return Ok(Some(head().into_bytes()));
            }
            Next::First => b"",
            Next::More => b",",
            Next::Nothing => return Ok(None),
        };
        while let Some(row) = self.rows.next() {
            if let Some(whole) = self.read(&row).await? {
                self.next = Next::More;
                let mut piece = before.to_vec();
                let Context { traffic, tasks, .. } = &*self.app.context;
                let packing = traffic.pack(tasks, move || {
                    serde_json::to_writer(&mut piece, &entry(whole)).map(|()| piece)
                });
                return Ok(Some(packing.await??));
            }
        }
        self.next = Next::Nothing;
        Ok(Some(b"]}}".to_vec()))
    }

    /// An exchange, with its bodies if there is room for them. None if it went meanwhile.
    async fn read(&mut self, row: &ExchangeRow) -> Result<Option<ExchangeWhole>, StoreError> {
        let bytes = row.bytes_out.saturating_add(row.bytes_in);
        let bodies = match self.room.checked_sub(bytes) {
            Some(room) => {
                self.room = room;
                Bodies::Kept
            }
            None => Bodies::Left,
        };
        let traffic = &self.app.context.traffic;
        traffic.listed(&self.subject, &row.id, bodies).await
    }
}

/// What stands before the entries.
fn head() -> String {
    let creator = json!({ "name": "Toolgate", "version": env!("CARGO_PKG_VERSION") });
    format!(r#"{{"log":{{"version":"1.2","creator":{creator},"entries":["#)
}

/// An exchange.
fn entry(whole: ExchangeWhole) -> Value {
    let ExchangeWhole {
        row,
        request_headers,
        response_headers,
        request: sent,
        response: came,
    } = whole;
    let waited = row
        .headers_after_us
        .or(row.ended_after_us)
        .unwrap_or_default();
    let lasted = row.ended_after_us.unwrap_or(waited).max(waited);
    let mut request = json!({
        "method": row.method, "url": row.url, "httpVersion": "HTTP",
        "headers": headers(&request_headers),
        "queryString": query(&row.url), "cookies": [], "headersSize": -1, "bodySize": row.bytes_out,
    });
    let has_body = !sent.bytes.is_empty();
    let mut posted = content(sent, &request_headers);
    // Only a response's content has an encoding in HAR.
    if let Some(encoding) = posted.remove("encoding") {
        posted.insert("_encoding".to_owned(), encoding);
    }
    if let (Value::Object(request), true) = (&mut request, has_body) {
        request.insert("postData".to_owned(), Value::Object(posted));
    }
    let location = header(&response_headers, "location").unwrap_or_default();
    let mut answer = content(came, &response_headers);
    answer.insert("size".to_owned(), json!(row.bytes_in));
    json!({
        "startedDateTime": rfc3339(row.started_at),
        "time": ms(lasted),
        "request": request,
        "response": {
            "status": row.status.unwrap_or_default(), "statusText": "", "httpVersion": "HTTP",
            "headers": headers(&response_headers),
            "cookies": [], "content": answer, "redirectURL": location,
            "headersSize": -1, "bodySize": row.bytes_in,
        },
        "cache": {},
        "timings": { "send": 0, "wait": ms(waited), "receive": ms(lasted - waited) },
        "_peer": row.peer.name(), "_server": row.server, "_round": row.round, "_call": row.call,
        "_error": row.end.as_ref().and_then(End::failure),
    })
}

/// The parameters of a URL's query.
fn query(url: &str) -> Value {
    let url = url.parse::<Url>().ok();
    let pairs = url.iter().flat_map(Url::query_pairs);
    let pair = |(name, value)| json!({ "name": name, "value": value });
    pairs.map(pair).collect()
}

fn headers(headers: &[(String, String)]) -> Value {
    let header = |(name, value): &(String, String)| json!({ "name": name, "value": value });
    headers.iter().map(header).collect()
}

fn content(record: BodyRecord, headers: &[(String, String)]) -> Map<String, Value> {
    let missing = match record.kept {
        Kept::All => None,
        Kept::Cut { .. } => Some("Only its start was recorded."),
        Kept::Not(_) => Some("It was not recorded."),
    };
    let (text, base64) = text_or_base64(record.bytes);
    let mut content = Map::new();
    let media = header(headers, "content-type").unwrap_or_default();
    content.insert("mimeType".to_owned(), json!(media));
    content.extend(missing.map(|why| ("comment".to_owned(), json!(why))));
    if base64.is_some() {
        content.insert("encoding".to_owned(), json!("base64"));
    }
    content.insert("text".to_owned(), json!(text.or(base64)));
    content
}

/// The first header of this name.
fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// Microseconds as HAR has time: milliseconds with decimals.
fn ms(us: u64) -> Value {
    json!(std::time::Duration::from_micros(us).as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use chat::exchange::Peer;
    use store::traffic::{ExchangeId, NotKept};

    use super::*;

    fn record(bytes: &[u8], kept: Kept) -> BodyRecord {
        BodyRecord {
            bytes: bytes.to_vec(),
            kept,
            arrivals: Vec::new(),
        }
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    fn whole(end: End, request: BodyRecord, response: BodyRecord) -> ExchangeWhole {
        ExchangeWhole {
            row: ExchangeRow {
                id: ExchangeId("x".to_owned()),
                turn: None,
                round: None,
                call: None,
                peer: Peer::Mcp,
                server: None,
                method: "POST".to_owned(),
                url: "https://db.example.com/mcp?a=1&b=%20".to_owned(),
                status: None,
                request_id: None,
                started_at: 0,
                headers_after_us: None,
                ended_after_us: Some(1500),
                bytes_out: 3,
                bytes_in: 9,
                frames_in: 1,
                end: Some(end),
                reported: None,
                label: None,
            },
            request_headers: vec![pair("content-type", "application/json")],
            response_headers: vec![pair("location", "/elsewhere")],
            request,
            response,
        }
    }

    #[test]
    fn what_broke_off_says_why_and_what_is_missing() {
        let failed = End::Failed("connection reset".to_owned());
        let sent = record(b"", Kept::Not(NotKept::Metadata));
        let found = entry(whole(failed, sent, record(b"half", Kept::Cut { of: 9 })));
        assert_eq!(found["_error"], "connection reset");
        assert_eq!(found["response"]["status"], 0);
        assert_eq!(found["response"]["redirectURL"], "/elsewhere");
        let content = &found["response"]["content"];
        assert_eq!(content["comment"], "Only its start was recorded.");
        assert_eq!(
            [&content["size"], &content["text"]],
            [&json!(9), &json!("half")]
        );
        assert_eq!(found["request"].get("postData"), None);
        assert_eq!(found["request"]["queryString"][1]["value"], " ");
    }

    #[test]
    fn bytes_are_told_from_text() {
        let binary = || record(b"\xff\xfe\xfd", Kept::All);
        let found = entry(whole(End::Complete, binary(), binary()));
        let content = &found["response"]["content"];
        assert_eq!([&content["encoding"], &content["text"]], ["base64", "//79"]);
        // HAR has no encoding of what is posted.
        let posted = &found["request"]["postData"];
        assert_eq!(posted.get("encoding"), None);
        assert_eq!([&posted["_encoding"], &posted["text"]], ["base64", "//79"]);
        assert_eq!(posted["mimeType"], "application/json");
        assert_eq!(found["_error"], Value::Null);
        let timings = ["send", "wait", "receive"].map(|name| found["timings"][name].as_f64());
        assert_eq!(timings, [Some(0.0), Some(1.5), Some(0.0)]);
        assert_eq!(found["time"], 1.5);
    }
}
