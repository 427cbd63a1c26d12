//! Turns whatever bytes an endpoint answers into events that cannot hurt what reads them.
//!
//! In: server-sent events as endpoints write them (WHATWG HTML, section 9.2, and its violations),
//! or one JSON document, or a web page. Out: the data of each event that may be a chunk: valid
//! UTF-8, one line, of bounded size, no byte order mark, no comment, no keep-alive, the last one
//! whole even when its blank line never came.

use memchr::memchr2;
use serde_json::{Value, json};

/// Bytes of one event: a whole answer in one event (an endpoint that does not stream) fits.
pub(super) const EVENT_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of one answer: some 400,000 deltas of one token with 300 bytes of frame around each.
pub(super) const BODY_BYTES: usize = 128 * 1024 * 1024;

/// Bytes of a web page that are kept to find its title in.
const PAGE_BYTES: usize = 4 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why an answer is not read further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A web page: a login page, a captive portal, a wrong address.
    Page(String),
    /// One event is larger than [`EVENT_BYTES`].
    EventTooLarge,
    /// The answer is larger than [`BODY_BYTES`].
    BodyTooLarge,
}

/// The state of one answer.
#[derive(Debug, Default)]
pub(super) struct Shaper {
    form: Form,
    /// The line, document or page that is not at its end yet.
    open: Vec<u8>,
    /// The `data` of the event that is not at its end yet, its lines joined by spaces (a line
    /// break in JSON is white space).
    data: Vec<u8>,
    /// The event's name, if it is `error`.
    names_error: bool,
    /// The last byte was a carriage return: a line feed after it ends no further line.
    after_return: bool,
    /// Bytes so far.
    received: usize,
}

/// What the answer turned out to be, told by its first byte: content types are too often wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Undecided,
    Events,
    Document,
    Page,
    /// It has said that it is at its end.
    Done,
}

impl Shaper {
    /// Takes the next bytes, hands the events that they complete to `take`.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        take: &mut impl FnMut(&str),
    ) -> Result<(), Unreadable> {
        self.received = self.received.saturating_add(bytes.len());
        if self.received > BODY_BYTES {
            return Err(Unreadable::BodyTooLarge);
        }
        match self.form {
            Form::Events => self.push_lines(bytes, take),
            Form::Undecided => {
                self.open.extend_from_slice(bytes);
                if !self.decide() {
                    return self.bounded();
                }
                let start = std::mem::take(&mut self.open);
                self.received -= start.len();
                self.push(&start, take)
            }
            Form::Done => Ok(()),
            Form::Document => {
                self.open.extend_from_slice(bytes);
                self.bounded()
            }
            Form::Page => {
                self.open.extend_from_slice(bytes);
                if self.open.len() < PAGE_BYTES {
                    Ok(())
                } else {
                    Err(self.page())
                }
            }
        }
    }

    /// Whether the answer has said that it is at its end (`[DONE]`).
    pub(super) fn is_done(&self) -> bool {
        self.form == Form::Done
    }

    /// Takes the end of the body, hands the last event to `take`. A document that is at its
    /// end counts as done.
    pub(super) fn finish(&mut self, take: &mut impl FnMut(&str)) -> Result<(), Unreadable> {
        match self.form {
            Form::Undecided | Form::Done => Ok(()),
            Form::Events => {
                self.end_line(take);
                self.end_event(take);
                Ok(())
            }
            Form::Document => {
                self.data = std::mem::take(&mut self.open);
                // White space, or within a text, where JSON allows none.
                for byte in &mut self.data {
                    if matches!(byte, b'\n' | b'\r') {
                        *byte = b' ';
                    }
                }
                self.end_event(take);
                self.form = Form::Done;
                Ok(())
            }
            Form::Page => Err(self.page()),
        }
    }

    /// Looks at the first byte that is neither mark nor white space; false when there is none yet.
    fn decide(&mut self) -> bool {
        if self.open.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.open) {
            return false;
        }
        if self.open.starts_with(BYTE_ORDER_MARK) {
            self.open.drain(..BYTE_ORDER_MARK.len());
        }
        let Some(first) = self.open.iter().find(|byte| !byte.is_ascii_whitespace()) else {
            return false;
        };
        self.form = match first {
            b'{' | b'[' => Form::Document,
            b'<' => Form::Page,
            _ => Form::Events,
        };
        true
    }

    fn push_lines(
        &mut self,
        mut bytes: &[u8],
        take: &mut impl FnMut(&str),
    ) -> Result<(), Unreadable> {
        while self.form == Form::Events {
            if std::mem::take(&mut self.after_return)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
            }
            let end = memchr2(b'\n', b'\r', bytes);
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.open.extend_from_slice(line);
            self.bounded()?;
            let Some((end, rest)) = rest.split_first() else {
                break;
            };
            self.after_return = *end == b'\r';
            self.end_line(take);
            bytes = rest;
            if bytes.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, take: &mut impl FnMut(&str)) {
        let line = std::mem::take(&mut self.open);
        if line.is_empty() {
            self.end_event(take);
        } else if let Some(value) = line.strip_prefix(b"data:") {
            self.add_data(value);
        } else if line.starts_with(b"{") {
            // A bare document between events: some endpoints report their errors so.
            self.add_data(&line);
        } else if let Some(value) = line.strip_prefix(b"event:") {
            self.names_error = value.trim_ascii() == b"error";
        }
        // The line's memory serves the next line.
        self.open = line;
        self.open.clear();
    }

    fn add_data(&mut self, value: &[u8]) {
        if !self.data.is_empty() {
            self.data.push(b' ');
        }
        self.data
            .extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
    }

    fn end_event(&mut self, take: &mut impl FnMut(&str)) {
        let names_error = std::mem::take(&mut self.names_error);
        let data = String::from_utf8_lossy(&self.data);
        let data = data.trim();
        if data == "[DONE]" {
            self.form = Form::Done;
        } else if names_error && !data.is_empty() {
            take(&as_error(data));
        } else if data.starts_with(['{', '[']) {
            take(data);
        }
        self.data.clear();
    }

    fn bounded(&self) -> Result<(), Unreadable> {
        if self.open.len() + self.data.len() > EVENT_BYTES {
            return Err(Unreadable::EventTooLarge);
        }
        Ok(())
    }

    fn page(&self) -> Unreadable {
        Unreadable::Page(String::from_utf8_lossy(&self.open).into_owned())
    }
}

/// The data of an `event: error` as the one shape of error that the reader of chunks knows.
fn as_error(data: &str) -> String {
    let error = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data));
    if error.get("error").is_some() {
        error.to_string()
    } else {
        json!({ "error": error }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(bytes: &[u8], piece: usize) -> (Vec<String>, bool, Result<(), Unreadable>) {
        let mut shaper = Shaper::default();
        let mut events = Vec::new();
        let mut take = |event: &str| {
            assert!(!event.contains(['\n', '\r']), "one line");
            events.push(event.to_owned());
        };
        let mut end = Ok(());
        for piece in bytes.chunks(piece) {
            end = shaper.push(piece, &mut take);
            if end.is_err() {
                break;
            }
        }
        if end.is_ok() {
            end = shaper.finish(&mut take);
        }
        (events, shaper.is_done(), end)
    }

    /// Name, bytes, the data of the events they become, whether they say that they are done.
    const TABLE: &[(&str, &[u8], &[&str], bool)] = &[
        (
            "plain",
            b"data: {\"a\":1}\n\ndata: [DONE]\n\n",
            &["{\"a\":1}"],
            true,
        ),
        (
            "CRLF",
            b"data: {\"a\":1}\r\n\r\ndata: {}\r\n\r\n",
            &["{\"a\":1}", "{}"],
            false,
        ),
        (
            "CR",
            b"data: {\"a\":1}\r\rdata: {}\r\r",
            &["{\"a\":1}", "{}"],
            false,
        ),
        ("no space after the colon", b"data:{}\n\n", &["{}"], false),
        (
            "byte order mark",
            b"\xEF\xBB\xBFdata: {}\n\n",
            &["{}"],
            false,
        ),
        (
            "bad UTF-8",
            b"data: {\"a\":\"x\xFFy\"}\n\n",
            &["{\"a\":\"x\u{FFFD}y\"}"],
            false,
        ),
        (
            "split UTF-8",
            "data: {\"a\":\"ä€😀\"}\n\n".as_bytes(),
            &["{\"a\":\"ä€😀\"}"],
            false,
        ),
        (
            "no final blank line",
            b"data: {}\n\ndata: {\"a\":1}",
            &["{}", "{\"a\":1}"],
            false,
        ),
        (
            "[DONE] with a space",
            b"data: {}\n\ndata: [DONE] \n\n",
            &["{}"],
            true,
        ),
        ("[DONE] without a blank line", b"data: [DONE]", &[], true),
        (
            "events after [DONE]",
            b"data: [DONE]\n\ndata: {}\n\n",
            &[],
            true,
        ),
        (
            "comments",
            b": OPENROUTER PROCESSING\n\n: x\ndata: {}\n\n",
            &["{}"],
            false,
        ),
        (
            "keep-alives",
            b"event: ping\ndata: ping\n\ndata:\n\ndata: {}\n\n",
            &["{}"],
            false,
        ),
        (
            "ids and retry",
            b"id: 1\nretry: 5\ndata: {}\n\n",
            &["{}"],
            false,
        ),
        (
            "data over lines",
            b"data: {\"a\":\ndata: 1}\n\n",
            &["{\"a\": 1}"],
            false,
        ),
        ("leading blank lines", b"\n\n\ndata: {}\n\n", &["{}"], false),
        (
            "error event with text",
            b"event: error\ndata: no\n\n",
            &["{\"error\":\"no\"}"],
            false,
        ),
        (
            "error event with an object",
            b"event: error\ndata: {\"message\":\"no\"}\n\n",
            &["{\"error\":{\"message\":\"no\"}}"],
            false,
        ),
        (
            "error event that says error",
            b"event: error\ndata: {\"error\":{\"message\":\"no\"}}\n\n",
            &["{\"error\":{\"message\":\"no\"}}"],
            false,
        ),
        (
            "bare document between events",
            b"data: {}\n\n{\"error\":\"no\"}\n\n",
            &["{}", "{\"error\":\"no\"}"],
            false,
        ),
        (
            "document",
            b"{\n  \"a\": 1\n}\n",
            &["{    \"a\": 1  }"],
            true,
        ),
        (
            "document of an array",
            b" [{\"error\":1}]",
            &["[{\"error\":1}]"],
            true,
        ),
        ("nothing", b"", &[], false),
        ("white space", b"\n \n", &[], false),
    ];

    #[test]
    fn odd_bytes_become_clean_events_however_they_are_cut() {
        for (name, bytes, events, done) in TABLE {
            for piece in [1, 2, 3, 7, 4096] {
                let shaped = shape(bytes, piece);
                // Line breaks of a document are blanked, not counted.
                let found: Vec<_> = shaped.0.iter().map(String::as_str).collect();
                let squeezed = |list: &[&str]| -> Vec<String> {
                    list.iter()
                        .map(|text| text.split_whitespace().collect())
                        .collect()
                };
                if *name == "document" {
                    assert_eq!(squeezed(&found), squeezed(events), "{name} in {piece}s");
                } else {
                    assert_eq!(&found, events, "{name} in {piece}s");
                }
                assert_eq!(shaped.1, *done, "{name} in {piece}s");
                assert_eq!(shaped.2, Ok(()), "{name} in {piece}s");
            }
        }
    }

    #[test]
    fn pages_and_floods_are_refused() {
        let page = shape(b"<!DOCTYPE html><title>Sign in</title>", 5);
        assert!(matches!(page.2, Err(Unreadable::Page(text)) if text.contains("Sign in")));

        let endless = vec![b'x'; EVENT_BYTES + 1];
        assert_eq!(shape(&endless, 65536).2, Err(Unreadable::EventTooLarge));
        let mut document = vec![b'{'];
        document.extend_from_slice(&endless);
        assert_eq!(shape(&document, 65536).2, Err(Unreadable::EventTooLarge));

        let mut shaper = Shaper {
            received: BODY_BYTES - 4,
            ..Shaper::default()
        };
        assert_eq!(shaper.push(b": x\n", &mut |_: &str| {}), Ok(()));
        assert_eq!(
            shaper.push(b"\n", &mut |_: &str| {}),
            Err(Unreadable::BodyTooLarge)
        );
    }
}
