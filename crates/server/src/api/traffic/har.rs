//! HTTP Archive 1.2: the format that browsers' network panels and many other tools read.

use axum::BoxError;
use chat::ids::Subject;
use futures_util::{Stream, stream};
use serde_json::{Map, Value, json};
use store::{
    StoreError,
    traffic::{Bodies, BodyRecord, ExchangeRow, ExchangeWhole},
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
    let posted = content(sent, &request_headers);
    if let (Value::Object(request), true) = (&mut request, has_body) {
        request.insert("postData".to_owned(), Value::Object(posted));
    }
    let mut answer = content(came, &response_headers);
    answer.insert("size".to_owned(), json!(row.bytes_in));
    json!({
        "startedDateTime": rfc3339(row.started_at),
        "time": ms(lasted),
        "request": request,
        "response": {
            "status": row.status.unwrap_or_default(), "statusText": "", "httpVersion": "HTTP",
            "headers": headers(&response_headers),
            "cookies": [], "content": answer, "redirectURL": "",
            "headersSize": -1, "bodySize": row.bytes_in,
        },
        "cache": {},
        "timings": { "send": 0, "wait": ms(waited), "receive": ms(lasted - waited) },
        "_peer": row.peer.name(), "_server": row.server, "_round": row.round, "_call": row.call,
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
    let (text, base64) = text_or_base64(record.bytes);
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
