//! What an endpoint says about an error: found in the shapes that endpoints use, and cleaned.

use serde_json::{Map, Value};

/// Characters of an endpoint's text that are kept.
const KEPT_CHARS: usize = 4096;

/// Characters of a message that are shown.
const SHOWN_CHARS: usize = 500;

/// An error as an endpoint words it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// What it says; empty when it says nothing that can be read.
    pub(super) text: String,
    /// Its code or type, lower case: `insufficient_quota`, `tool_use_failed`.
    pub(super) code: String,
    /// The HTTP status that it names.
    pub(super) status: Option<u16>,
}

impl Words {
    /// The words of an answer's body.
    pub(super) fn of_body(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        match serde_json::from_str(&text) {
            Ok(value) => Self::of_document(&value),
            Err(_) if is_page(&text) => Self {
                text: page_title(&text),
                ..Self::default()
            },
            Err(_) => Self {
                text: clean(&text),
                ..Self::default()
            },
        }
    }

    /// The words of a document that is known to be an error, whatever its shape.
    pub(super) fn of_document(document: &Value) -> Self {
        match document {
            Value::Array(items) => items.first().map(Self::of_document).unwrap_or_default(),
            Value::Object(map) => match map.get("error") {
                Some(error @ Value::Object(_)) => Self::of_error(error).or_status_of(map),
                Some(error @ Value::String(_)) if map.get("message").is_none() => {
                    Self::of_error(error).or_status_of(map)
                }
                _ => Self::of_error(document),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Self::of_error(document)
            }
        }
    }

    /// The error that a document with status 200 reports instead of an answer, if it does.
    pub(super) fn reported(map: &Map<String, Value>) -> Option<Self> {
        let is_error = |key: &str| map.get(key).and_then(Value::as_str) == Some("error");
        match map.get("error") {
            Some(Value::Object(error)) if !error.is_empty() => {}
            Some(Value::String(error)) if !error.is_empty() => {}
            Some(Value::Bool(true) | Value::Array(_)) => {}
            _ if is_error("object") || is_error("type") => {}
            _ if map.contains_key("detail") && !map.contains_key("choices") => {}
            _ => return None,
        }
        Some(Self::of_document(&Value::Object(map.clone())))
    }

    fn of_error(error: &Value) -> Self {
        let Value::Object(map) = error else {
            return Self {
                text: clean(&plain(error)),
                ..Self::default()
            };
        };
        let texts = ["message", "detail", "error", "msg", "title", "description"];
        let text = texts
            .iter()
            .filter_map(|key| map.get(*key))
            .map(plain)
            .find(|t| !t.is_empty());
        let codes = ["code", "type", "status"]
            .into_iter()
            .filter_map(|key| map.get(key)?.as_str());
        let code = codes
            .filter(|code| code.parse::<u16>().is_err())
            .collect::<Vec<_>>()
            .join(" ");
        let text = clean(&text.unwrap_or_else(|| error.to_string()));
        Self {
            text,
            code: clean(&code).to_lowercase(),
            status: None,
        }
        .or_status_of(map)
    }

    fn or_status_of(mut self, map: &Map<String, Value>) -> Self {
        let status = ["code", "status", "status_code"].iter().find_map(|key| {
            let value = map.get(*key)?;
            let status = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
            u16::try_from(status)
                .ok()
                .filter(|status| (400..600).contains(status))
        });
        self.status = self.status.or(status);
        self
    }
}

/// `text` fit to be shown in one line: no control characters, no runs of white space, bounded.
pub(super) fn clean(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut clean = String::new();
    for (shown, word) in text.split_whitespace().enumerate() {
        if shown > 0 {
            clean.push(' ');
        }
        clean.push_str(word);
        if clean.len() > KEPT_CHARS * char::MAX_LEN_UTF8 {
            break;
        }
    }
    cut(clean, KEPT_CHARS)
}

/// A message as long as it is shown. To be cut last: what has to be hidden in it must be whole.
pub(super) fn shown(message: String) -> String {
    cut(message, SHOWN_CHARS)
}

fn cut(text: String, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// What a web page calls itself.
pub(super) fn page_title(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|tag| {
        let start = tag + lower.get(tag..)?.find('>')? + 1;
        let end = start + lower.get(start..)?.find('<')?;
        page.get(start..end)
    });
    match title.map(clean) {
        Some(title) if !title.is_empty() => format!("a web page, “{title}”"),
        _ => "a web page".to_owned(),
    }
}

fn is_page(text: &str) -> bool {
    text.trim_start_matches('\u{FEFF}')
        .trim_start()
        .starts_with('<')
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_every_shape() {
        let table: &[(&str, &str, &str, Option<u16>)] = &[
            (
                r#"{"error":{"message":"no","type":"invalid_request_error","code":null}}"#,
                "no",
                "invalid_request_error",
                None,
            ),
            (
                r#"{"error":{"message":"no","type":"t","code":"insufficient_quota"}}"#,
                "no",
                "insufficient_quota t",
                None,
            ),
            (
                r#"{"error":{"message":"no","code":502}}"#,
                "no",
                "",
                Some(502),
            ),
            (
                r#"{"error":{"message":"no","code":"502"}}"#,
                "no",
                "",
                Some(502),
            ),
            (r#"{"error":"no"}"#, "no", "", None),
            (
                r#"{"error":"Not Found","message":"no","status":404}"#,
                "no",
                "",
                Some(404),
            ),
            (
                r#"{"object":"error","message":"no","type":"BadRequestError","code":400}"#,
                "no",
                "badrequesterror",
                Some(400),
            ),
            (r#"{"detail":"no"}"#, "no", "", None),
            (
                r#"{"detail":[{"loc":["body"],"msg":"bad"}]}"#,
                r#"[{"loc":["body"],"msg":"bad"}]"#,
                "",
                None,
            ),
            (
                r#"[{"error":{"message":"no","status":"INVALID_ARGUMENT","code":400}}]"#,
                "no",
                "invalid_argument",
                Some(400),
            ),
            (r#"{"error":{}}"#, "{}", "", None),
            (r#"{"x":1}"#, r#"{"x":1}"#, "", None),
            ("no\r\n  way\u{0}", "no way", "", None),
            ("", "", "", None),
            (
                "<html><TITLE>502 Bad\nGateway</TITLE>",
                "a web page, “502 Bad Gateway”",
                "",
                None,
            ),
            ("<html>", "a web page", "", None),
        ];
        for (body, text, code, status) in table {
            let words = Words::of_body(body.as_bytes());
            assert_eq!(
                (words.text.as_str(), words.code.as_str(), words.status),
                (*text, *code, *status),
                "{body}"
            );
        }
    }

    #[test]
    fn long_words_are_cut() {
        let words = Words::of_body("€".repeat(100_000).as_bytes());
        assert_eq!(words.text.chars().count(), KEPT_CHARS + 1);
        assert_eq!(shown(words.text).chars().count(), SHOWN_CHARS + 1);
    }

    #[test]
    fn an_answer_is_no_error() {
        for answer in [
            r#"{"choices":[],"error":null}"#,
            r#"{"choices":[],"error":{}}"#,
            r#"{"choices":[],"error":""}"#,
            r#"{"choices":[],"detail":"x"}"#,
            r#"{"type":"ping"}"#,
            "{}",
        ] {
            let Value::Object(map) = serde_json::from_str(answer).unwrap() else {
                panic!()
            };
            assert_eq!(Words::reported(&map), None, "{answer}");
        }
    }
}
