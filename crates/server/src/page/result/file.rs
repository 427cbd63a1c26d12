//! A content block as a file that can do no harm.
//!
//! What a server sends is anybody's. Only pictures and sounds whose first bytes say that they are
//! what the browser itself decodes are shown; everything else is an attachment, and nothing is ever
//! a document with rights on this origin.

use std::fmt::Write as _;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;
use url::Url;

/// Characters of a file's name.
const NAME_CHARS: usize = 80;

/// Base64 characters that are decoded to see what something is: a multiple of 4.
const SNIFFED_CHARS: usize = 64;

/// Nothing that comes of it runs, loads or has an origin.
const POLICY: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'");

/// Some servers leave the padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a browser shows by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Image(&'static str),
    Sound(&'static str),
}

/// The bytes of a content block, and what they are called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    name: String,
    bytes: Vec<u8>,
    is_text: bool,
}

impl File {
    /// The file in a content block; none if there is none in it.
    pub(super) fn of(block: &Value, number: usize) -> Option<Self> {
        let holder = block.get("resource").unwrap_or(block);
        let mut file = Self::unnamed(holder)?;
        file.name = name(string(holder, "uri"))
            .unwrap_or_else(|| format!("content-{}.{}", number + 1, file.extension(holder)));
        Some(file)
    }

    /// What a link (MCP `ResourceLink`) leads to, from what the server says it holds (MCP
    /// `ResourceContents`); none if there is nothing in that. It is called as the end of the URI
    /// if that looks like a file's name, else as the link is.
    pub(super) fn linked(link: &Value, contents: &Value, number: usize) -> Option<Self> {
        let mut file = Self::unnamed(contents)?;
        let (at_end, named) = (name(string(link, "uri")), safe(string(link, "name")));
        let like_a_file = |name: &&String| name.contains('.');
        let whole = at_end.as_ref().filter(like_a_file);
        let whole = whole.or(named.as_ref().filter(like_a_file)).cloned();
        file.name = whole.unwrap_or_else(|| {
            let stem = named.or(at_end);
            let stem = stem.unwrap_or_else(|| format!("content-{}", number + 1));
            format!("{stem}.{}", file.extension(contents))
        });
        Some(file)
    }

    fn unnamed(holder: &Value) -> Option<Self> {
        let (bytes, is_text) = match holder.get("text").and_then(Value::as_str) {
            Some(text) => (text.as_bytes().to_vec(), true),
            None => (decode(encoded(holder)?)?, false),
        };
        Some(Self {
            name: String::new(),
            bytes,
            is_text,
        })
    }

    /// What its name ends in, if that must be made.
    fn extension(&self, holder: &Value) -> &'static str {
        let shown = self.shown().map(Shown::mime);
        match extension(shown.unwrap_or(string(holder, "mimeType"))) {
            "bin" if self.is_text => "txt",
            known => known,
        }
    }

    /// The file as an answer: shown by the browser if that is safe.
    pub(super) fn response(self) -> Response {
        let is_shown = self.shown().is_some();
        let mut response = self.saved();
        if is_shown {
            response.headers_mut().remove(header::CONTENT_DISPOSITION);
        }
        response
    }

    /// The file as an answer that is saved, whatever it is.
    pub(super) fn saved(self) -> Response {
        let mime = match self.shown() {
            Some(shown) => shown.mime(),
            None if self.is_text => "text/plain; charset=utf-8",
            None => "application/octet-stream",
        };
        attachment(mime, &self.name, self.bytes)
    }

    fn shown(&self) -> Option<Shown> {
        sniff(&self.bytes).filter(|_| !self.is_text)
    }
}

/// An answer that is saved as a file of this name, whatever is in it.
pub(crate) fn attachment(mime: &'static str, name: &str, bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    let nothing = HeaderValue::from_static("attachment");
    let disposition = HeaderValue::try_from(disposition(name)).unwrap_or(nothing);
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    response
}

/// What the base64 text is that a block holds, as far as its beginning says it.
pub(super) fn sniff_base64(text: &str) -> Option<Shown> {
    let plain = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let beginning: Vec<u8> = plain.take(SNIFFED_CHARS).collect();
    sniff(&BASE64.decode(beginning).ok()?)
}

/// Whether there are bytes in what holds a file: valid base64.
pub(super) fn is_readable(holder: &Value) -> bool {
    encoded(holder).is_some_and(|text| decode(text).is_some())
}

/// The bytes that base64 text stands for, about.
pub(super) fn size_of_base64(text: &str) -> usize {
    text.trim_end_matches('=').len().saturating_mul(3) / 4
}

/// A text in an object; empty if there is none.
pub(super) fn string<'a>(holder: &'a Value, field: &str) -> &'a str {
    let field = holder.get(field).and_then(Value::as_str);
    field.unwrap_or_default()
}

/// The last part of a URI as a file's name; none if it has none.
pub(super) fn name(uri: &str) -> Option<String> {
    let path = match Url::parse(uri) {
        Ok(url) => url.path().to_owned(),
        Err(_) => uri.to_owned(),
    };
    let last = path.rsplit(['/', '\\', ':']).next()?;
    safe(&percent_decoded(last))
}

/// The text as a file's name; none if nothing is left of it.
fn safe(text: &str) -> Option<String> {
    let safe = |c: char| match c {
        _ if c.is_alphanumeric() => c,
        '.' | '-' | '_' | ' ' | '(' | ')' => c,
        _ => '_',
    };
    let name: String = text.chars().map(safe).collect();
    // No hidden files, and no names that Windows takes for something else.
    let name = name.trim_matches(['.', ' ']);
    let chars = name.chars().count();
    let name: String = name
        .chars()
        .skip(chars.saturating_sub(NAME_CHARS))
        .collect();
    (!name.is_empty()).then_some(name)
}

impl Shown {
    pub(super) fn mime(self) -> &'static str {
        match self {
            Self::Image(mime) | Self::Sound(mime) => mime,
        }
    }
}

/// What the bytes are, by the signatures of the WHATWG's MIME Sniffing Standard.
fn sniff(bytes: &[u8]) -> Option<Shown> {
    let at = |from: usize, with: &[u8]| bytes.get(from..).is_some_and(|it| it.starts_with(with));
    Some(match bytes {
        _ if at(0, b"\x89PNG\r\n\x1a\n") => Shown::Image("image/png"),
        _ if at(0, b"\xff\xd8\xff") => Shown::Image("image/jpeg"),
        _ if at(0, b"GIF87a") || at(0, b"GIF89a") => Shown::Image("image/gif"),
        _ if at(0, b"RIFF") && at(8, b"WEBPVP") => Shown::Image("image/webp"),
        _ if at(0, b"RIFF") && at(8, b"WAVE") => Shown::Sound("audio/wav"),
        _ if at(0, b"OggS\0") => Shown::Sound("audio/ogg"),
        _ if at(0, b"ID3") || at(0, b"\xff\xfb") => Shown::Sound("audio/mpeg"),
        _ if at(0, b"fLaC") => Shown::Sound("audio/flac"),
        _ => return None,
    })
}

fn encoded(holder: &Value) -> Option<&str> {
    holder.get("data").or(holder.get("blob"))?.as_str()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let plain = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let plain: Vec<u8> = plain.collect();
    BASE64.decode(plain).ok()
}

/// The name for programs that know only ASCII, and as it is (RFC 6266, RFC 8187).
fn disposition(name: &str) -> String {
    let ascii: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' => '_',
            _ if c.is_ascii() && !c.is_ascii_control() => c,
            _ => '_',
        })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(encoded, "%{byte:02X}").ok();
        }
    }
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let escaped = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
        let escaped = escaped.filter(|_| *byte == b'%');
        bytes.push(escaped.unwrap_or(*byte));
        rest = match escaped {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The usual end of the names of such files. `bin` for all that a computer might run.
fn extension(mime: &str) -> &'static str {
    match mime.split(';').next().unwrap_or_default().trim() {
        "text/plain" => "txt",
        "text/csv" => "csv",
        "text/markdown" => "md",
        "application/json" => "json",
        "application/pdf" => "pdf",
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/svg+xml" => "svg",
        "audio/wav" => "wav",
        "audio/ogg" => "ogg",
        "audio/mpeg" => "mp3",
        "audio/flac" => "flac",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    fn header(block: &Value, name: &str) -> String {
        let response = File::of(block, 0).unwrap().response();
        let value = response.headers().get(name);
        value.map_or(String::new(), |it| it.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_says_it_is_a_picture_and_is_none_is_saved() {
        for data in ["<svg onload=alert(1)>", "<html>", "", "\u{89}PNG", "GIF88a"] {
            for kind in ["image/png", "image/svg+xml", "text/html"] {
                let data = STANDARD.encode(data);
                let block = json!({ "type": "image", "data": data, "mimeType": kind });
                assert_eq!(sniff_base64(&data), None);
                assert_eq!(header(&block, "content-type"), "application/octet-stream");
                assert!(header(&block, "content-disposition").starts_with("attachment"));
                assert_eq!(header(&block, "content-security-policy"), POLICY);
            }
        }
    }

    #[test]
    fn pictures_are_what_their_bytes_say() {
        let gif = STANDARD.encode(b"GIF89a\x01\0\x01\0");
        let block = json!({ "type": "image", "data": gif, "mimeType": "text/html" });
        assert_eq!(header(&block, "content-type"), "image/gif");
        assert_eq!(header(&block, "content-disposition"), "");
        assert_eq!(header(&block, "content-security-policy"), POLICY);
        assert_eq!(
            header(&block, "cross-origin-resource-policy"),
            "same-origin"
        );
        let broken = gif
            .trim_end_matches('=')
            .chars()
            .map(|c| format!("{c}\r\n"));
        let broken: String = broken.collect();
        assert_eq!(sniff_base64(&broken), Some(Shown::Image("image/gif")));
    }

    #[test]
    fn text_is_never_a_page() {
        let resource = json!({ "uri": "a:b", "mimeType": "text/html", "text": "GIF89a<script>" });
        let block = json!({ "type": "resource", "resource": resource });
        assert_eq!(header(&block, "content-type"), "text/plain; charset=utf-8");
        assert!(header(&block, "content-disposition").starts_with("attachment"));
        for block in [
            json!({}),
            json!({ "data": "not base64!" }),
            json!({ "resource": 1 }),
        ] {
            assert_eq!(File::of(&block, 0), None, "{block}");
        }
    }

    #[test]
    fn what_a_link_leads_to_is_saved_whatever_it_is() {
        let link = |uri, name| json!({ "type": "resource_link", "uri": uri, "name": name });
        let text = json!({ "uri": "a:b", "mimeType": "text/html", "text": "<script>" });
        for (uri, name, contents, expected) in [
            ("notes://ana/2/minutes.md", "Minutes", &text, "minutes.md"),
            ("notes://ana/2", "Minutes.md", &text, "Minutes.md"),
            ("notes://ana/2", "First note", &text, "First note.txt"),
            ("notes://ana/2", "a/b\\c\r\n", &text, "a_b_c__.txt"),
            ("notes://ana/2", "..", &text, "2.txt"),
            ("https://docs.example.com/", "", &text, "content-4.txt"),
        ] {
            let file = File::linked(&link(uri, name), contents, 3).unwrap();
            assert_eq!(file.name, expected, "{uri} {name}");
        }
        let gif = json!({ "mimeType": "text/html", "blob": STANDARD.encode(b"GIF89a\x01\0") });
        let file = File::linked(&link("a:b", "Sign"), &gif, 0).unwrap();
        assert_eq!(file.name, "Sign.gif");
        let response = file.saved();
        assert_eq!(response.headers()["content-type"], "image/gif");
        let disposition = response.headers()["content-disposition"].to_str().unwrap();
        assert!(disposition.starts_with("attachment"), "{disposition}");
        assert_eq!(response.headers()["content-security-policy"], POLICY);
        for nothing in [json!({}), json!({ "blob": "no base64!" }), json!(7)] {
            assert_eq!(File::linked(&link("a:b", "x"), &nothing, 0), None);
        }
    }

    #[test]
    fn names_lead_nowhere_else() {
        for (uri, expected) in [
            ("file:///home/ana/report.pdf", Some("report.pdf")),
            (
                "https://a.example/x/%2e%2e%2f..%5cevil%22.exe?a=b#c",
                Some("_.._evil_.exe"),
            ),
            ("notes://ana/b%C3%A9b%C3%A9.txt", Some("bébé.txt")),
            ("C:\\Users\\ana\\a.doc", Some("a.doc")),
            ("urn:isbn:12", Some("12")),
            ("https://a.example/", None),
            ("file:///...", None),
            ("a\r\nSet-Cookie: x=1", Some("x_1")),
            ("", None),
        ] {
            assert_eq!(name(uri).as_deref(), expected, "{uri}");
        }
        assert_eq!(
            disposition("bébé \"1\".txt"),
            "attachment; filename=\"b_b_ _1_.txt\"; filename*=UTF-8''b%C3%A9b%C3%A9%20%221%22.txt"
        );
    }
}
