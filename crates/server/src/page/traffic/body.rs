//! A recorded body as people read it: JSON that folds, a stream's events with their times, bytes.

use store::traffic::{BodyRecord, Kept, NotKept};
use wire::tap::ARRIVALS_KEPT;

use super::{
    assembled::Assembled,
    frames::{Frame, frames},
    words,
};
use crate::page::{json::folded, visible};

/// Bytes of a body shown as they are: a browser stays quick; the download has all.
const RAW_BYTES: usize = 64 * 1024;

/// Bytes of JSON that are looked into: of more, only the start is shown.
const FORMATTED_BYTES: usize = 4 * 1024 * 1024;

/// Events on a page.
const EVENTS: usize = 200;

/// Bytes of events on a page that are formatted one by one; the others are text.
const EVENTS_FORMATTED: usize = 64 * 1024;

/// Bytes of an event that is shown as text.
const EVENT_BYTES: usize = 4 * 1024;

/// Characters of an event on its line.
const PREVIEW_CHARS: usize = 120;

/// Bytes of a binary body that are shown.
const HEX_BYTES: usize = 256;

/// A pause in a stream that is worth a look: microseconds.
const SLOW_US: u64 = 1_000_000;

/// A body on a page.
pub(super) struct Body {
    pub(super) size: String,
    /// What it says, in a few words.
    pub(super) about: Option<String>,
    /// What of it is missing.
    pub(super) note: Option<String>,
    pub(super) formatted: Formatted,
    pub(super) raw: Option<String>,
    pub(super) download: Option<String>,
}

/// A body in a form that suits it.
pub(super) enum Formatted {
    Nothing,
    /// HTML.
    Json(String),
    Events(Box<Events>),
    Binary(String),
}

/// A page of a stream's events.
pub(super) struct Events {
    pub(super) title: String,
    /// The number of the first on this page.
    pub(super) first: usize,
    pub(super) list: Vec<Event>,
    pub(super) assembled: Option<Assembled>,
    /// Where later ones are.
    pub(super) next: Option<String>,
}

/// An event on its line, and whole.
pub(super) struct Event {
    pub(super) at: String,
    pub(super) gap: String,
    pub(super) slow: bool,
    pub(super) name: String,
    pub(super) preview: String,
    pub(super) html: String,
    pub(super) data: String,
}

/// What a body is shown with.
pub(super) struct Shown<'a> {
    pub(super) record: &'a BodyRecord,
    pub(super) headers: &'a [(String, String)],
    /// Bytes that passed.
    pub(super) passed: u64,
    /// The page of the exchange.
    pub(super) href: &'a str,
    /// Where the body can be downloaded.
    pub(super) download: String,
    /// Events that are left out at the start.
    pub(super) skip: usize,
}

impl Body {
    pub(super) fn new(shown: &Shown<'_>) -> Self {
        let bytes = &shown.record.bytes;
        let text = str::from_utf8(bytes).ok().or_else(|| cut_text(bytes));
        let (formatted, about) = match text {
            _ if bytes.is_empty() => (Formatted::Nothing, None),
            None => (Formatted::Binary(hex(bytes)), None),
            Some(_) if is_stream(shown.headers) => {
                (Formatted::Events(Box::new(events(shown))), None)
            }
            Some(text) => json(text),
        };
        let is_text = !bytes.is_empty() && !matches!(formatted, Formatted::Binary(_));
        Self {
            size: match shown.passed {
                0 => "No body".to_owned(),
                bytes => words::size(bytes),
            },
            about,
            note: note(shown),
            formatted,
            raw: is_text.then(|| raw(text.unwrap_or_default())),
            download: (!bytes.is_empty()).then(|| shown.download.clone()),
        }
    }
}

/// The text, as far as a page shows it.
pub(super) fn raw(text: &str) -> String {
    let end = text.floor_char_boundary(RAW_BYTES);
    let mut raw = visible(text.get(..end).unwrap_or_default());
    if end < text.len() {
        let more = words::size((text.len() - end) as u64);
        raw = format!("{raw}\n… {more} more in the download");
    }
    raw
}

/// The text of a body whose last character was cut in two.
fn cut_text(bytes: &[u8]) -> Option<&str> {
    let error = str::from_utf8(bytes).err()?;
    let whole = bytes.get(..error.valid_up_to())?;
    let cut = error.error_len().is_none() && !whole.is_empty();
    cut.then(|| str::from_utf8(whole).ok()).flatten()
}

fn is_stream(headers: &[(String, String)]) -> bool {
    let mut types = headers.iter().filter(|(name, _)| name == "content-type");
    types.any(|(_, value)| value.to_ascii_lowercase().starts_with("text/event-stream"))
}

fn json(text: &str) -> (Formatted, Option<String>) {
    if text.len() > FORMATTED_BYTES {
        return (Formatted::Nothing, None);
    }
    match folded(text) {
        Some(html) => (Formatted::Json(html), about(text)),
        None => (Formatted::Nothing, None),
    }
}

/// What a JSON-RPC message or a model request says, in a few words.
fn about(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    if value.get("jsonrpc").is_some() {
        let what = match (value.get("method"), value.get("error")) {
            (Some(method), _) => method.as_str().unwrap_or_default(),
            (None, Some(_)) => "error",
            (None, None) => "result",
        };
        let id = value.get("id").map(|id| format!(", id {id}"));
        let about = format!("JSON-RPC {what}{}", id.unwrap_or_default());
        return Some(preview(&about));
    }
    let messages = value.get("messages")?.as_array()?.len();
    let tools = value.get("tools").and_then(serde_json::Value::as_array);
    let messages = words::count(messages as u64, "message", "messages");
    let functions = words::count(tools.map_or(0, Vec::len) as u64, "function", "functions");
    Some(format!("{messages}, {functions}"))
}

fn note(shown: &Shown<'_>) -> Option<String> {
    let kept = words::size(shown.record.bytes.len() as u64);
    let times = shown.record.arrivals.len();
    match shown.record.kept {
        Kept::All | Kept::Cut { .. } if times >= ARRIVALS_KEPT => Some(format!(
            "It came in more pieces than times are kept of ({ARRIVALS_KEPT}): those of its end are \
             rough. {kept} of it were recorded."
        )),
        Kept::All => None,
        Kept::Cut { of } => Some(format!(
            "Only the first {kept} of {} were recorded.",
            words::size(of)
        )),
        Kept::Not(NotKept::Metadata) => {
            Some("Bodies are not recorded here (TOOLGATE_TRAFFIC).".to_owned())
        }
        Kept::Not(NotKept::Dropped) => {
            Some("The body was not recorded: there was no room for it.".to_owned())
        }
    }
}

fn events(shown: &Shown<'_>) -> Events {
    let mut assembled = Assembled::default();
    let (mut list, mut total) = (Vec::new(), 0);
    let (mut before, mut budget) = (None, EVENTS_FORMATTED);
    for frame in frames(&shown.record.bytes, &shown.record.arrivals) {
        assembled.take(&frame);
        if (shown.skip..shown.skip.saturating_add(EVENTS)).contains(&total) {
            list.push(event(&frame, before, &mut budget));
        }
        before = frame.at_us.or(before);
        total += 1;
    }
    let skipped = shown.skip.min(total);
    let to = skipped + list.len();
    Events {
        title: match (list.len() == total, list.is_empty()) {
            (true, _) => words::count(total as u64, "event", "events"),
            (false, true) => format!("No such events: there are {total}"),
            (false, false) => format!("Events {} to {to} of {total}", skipped + 1),
        },
        first: skipped + 1,
        list,
        assembled: Some(assembled.shown(raw)).filter(|assembled| !assembled.is_empty()),
        next: (to < total).then(|| format!("{}?skip={to}", shown.href)),
    }
}

fn event(frame: &Frame, before: Option<u64>, budget: &mut usize) -> Event {
    let gap = frame.at_us.map(|at| at - before.unwrap_or(0).min(at));
    let formatted = *budget >= frame.data.len();
    let html = formatted.then(|| folded(&frame.data)).flatten();
    if html.is_some() {
        *budget -= frame.data.len();
    }
    let end = frame.data.floor_char_boundary(EVENT_BYTES);
    let mut data = visible(frame.data.get(..end).unwrap_or_default());
    if end < frame.data.len() {
        data.push('…');
    }
    let text = match (frame.data.is_empty(), frame.comment.is_empty()) {
        (true, false) => format!(": {}", frame.comment),
        _ => frame.data.clone(),
    };
    let mut name = frame.event.as_deref().map(preview).unwrap_or_default();
    if let Some(id) = &frame.id {
        name = format!("{name} #{}", preview(id));
    }
    if frame.broken {
        name.push_str(" (unfinished)");
    }
    Event {
        at: frame
            .at_us
            .map_or_else(|| "–".to_owned(), |at| format!("+{}", words::duration(at))),
        gap: gap.map(words::duration).unwrap_or_default(),
        slow: before.is_some() && gap.is_some_and(|gap| gap >= SLOW_US),
        name,
        preview: preview(&text),
        html: html.unwrap_or_default(),
        data,
    }
}

fn preview(text: &str) -> String {
    words::beginning(text, PREVIEW_CHARS).replace(['\n', '\r'], " ")
}

/// The first bytes, 16 on a line, as numbers and as the characters they may be.
fn hex(bytes: &[u8]) -> String {
    let head = bytes.get(..HEX_BYTES).unwrap_or(bytes);
    let line = |(number, row): (usize, &[u8])| {
        let numbers: Vec<_> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let printed = |byte: &u8| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        };
        let letters: String = row.iter().map(printed).collect();
        let numbers = numbers.join(" ");
        format!("{:08x}  {numbers:<47}  {letters}", number * 16)
    };
    let lines: Vec<_> = head.chunks(16).enumerate().map(line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: &[u8]) -> BodyRecord {
        BodyRecord {
            bytes: bytes.to_vec(),
            kept: Kept::All,
            arrivals: vec![(bytes.len() as u64, 5000)],
        }
    }

    fn shown<'a>(record: &'a BodyRecord, headers: &'a [(String, String)]) -> Shown<'a> {
        Shown {
            record,
            headers,
            passed: record.bytes.len() as u64,
            href: "/traffic/t/x",
            download: "/download".to_owned(),
            skip: 0,
        }
    }

    fn stream() -> [(String, String); 1] {
        [(
            "content-type".to_owned(),
            "text/event-stream; charset=utf-8".to_owned(),
        )]
    }

    #[test]
    fn a_body_is_shown_as_what_it_is() {
        let of = |bytes: &[u8]| Body::new(&shown(&record(bytes), &[]));
        let json = of(br#"{"jsonrpc":"2.0","id":3,"method":"tools/call"}"#);
        assert!(matches!(json.formatted, Formatted::Json(_)));
        assert_eq!(json.about.as_deref(), Some("JSON-RPC tools/call, id 3"));
        let text = of("<h1>Bad gateway \u{202e}</h1>".as_bytes());
        assert!(matches!(text.formatted, Formatted::Nothing));
        assert_eq!(text.raw.as_deref(), Some("<h1>Bad gateway \\u202e</h1>"));
        let binary = of(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and more");
        let Formatted::Binary(hex) = binary.formatted else {
            panic!("no hex");
        };
        assert!(hex.starts_with("00000000  89 50 4e 47 0d 0a 1a 0a 00 00 00 0d 49 48 44 52  .PNG........IHDR\n00000010  20 61"), "{hex}");
        assert!(binary.raw.is_none() && binary.download.is_some());
        let nothing = of(b"");
        assert_eq!((nothing.size.as_str(), nothing.note), ("No body", None));
        assert!(nothing.download.is_none());
        // Cut in the middle of a character.
        assert_eq!(of(b"caf\xc3").raw.as_deref(), Some("caf"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let headers = [];
        let note = |kept| {
            let record = BodyRecord {
                kept,
                ..record(b"half")
            };
            Body::new(&shown(&record, &headers)).note.unwrap()
        };
        assert_eq!(
            note(Kept::Cut { of: 5000 }),
            "Only the first 4 B of 4.8 KiB were recorded."
        );
        let record = BodyRecord {
            arrivals: vec![(4, 1); ARRIVALS_KEPT],
            ..record(b"half")
        };
        let rough = Body::new(&shown(&record, &headers)).note.unwrap();
        assert!(rough.contains("rough"), "{rough}");
        assert!(note(Kept::Not(NotKept::Metadata)).contains("TOOLGATE_TRAFFIC"));
        assert!(note(Kept::Not(NotKept::Dropped)).contains("no room"));
    }

    #[test]
    fn a_long_stream_comes_in_pages() {
        let events: Vec<_> = (0..450)
            .map(|n| format!("data: {{\"n\":{n}}}\n\n"))
            .collect();
        let record = record(events.concat().as_bytes());
        let headers = stream();
        let page = |skip| {
            let shown = Shown {
                skip,
                ..shown(&record, &headers)
            };
            let Formatted::Events(events) = Body::new(&shown).formatted else {
                panic!("no events");
            };
            (events.title.clone(), events.list.len(), events.next.clone())
        };
        assert_eq!(
            page(0),
            (
                "Events 1 to 200 of 450".to_owned(),
                200,
                Some("/traffic/t/x?skip=200".to_owned())
            )
        );
        assert_eq!(page(400), ("Events 401 to 450 of 450".to_owned(), 50, None));
        assert_eq!(page(usize::MAX).1, 0);
    }

    #[test]
    fn pauses_in_a_stream_stand_out() {
        let bytes = b"data: a\n\ndata: b\n\n: still here\n\ndata: c";
        let record = BodyRecord {
            bytes: bytes.to_vec(),
            kept: Kept::All,
            arrivals: vec![
                (9, 1_500_000),
                (18, 1_501_000),
                (32, 4_000_000),
                (39, 4_000_100),
            ],
        };
        let headers = stream();
        let Formatted::Events(events) = Body::new(&shown(&record, &headers)).formatted else {
            panic!("no events");
        };
        let seen: Vec<_> = events
            .list
            .iter()
            .map(|event| (event.at.as_str(), event.slow, event.preview.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("+1.5 s", false, "a"),
                ("+1.5 s", false, "b"),
                ("+4 s", true, ": still here"),
                ("+4 s", false, "c"),
            ]
        );
        assert_eq!(events.list.last().unwrap().name, " (unfinished)");
    }

    #[test]
    fn a_large_body_makes_a_small_page() {
        let text = "x".repeat(10_000_000);
        let raw = Body::new(&shown(&record(text.as_bytes()), &[]))
            .raw
            .unwrap();
        assert!(raw.len() < RAW_BYTES + 100);
        assert!(
            raw.ends_with("more in the download"),
            "{}",
            &raw[RAW_BYTES..]
        );
    }
}
