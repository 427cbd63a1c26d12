//! JSON as HTML whose objects and arrays fold. It is shown as it was written: names in their order,
//! numbers and strings with every character.

use std::fmt::{self, Write as _};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{markdown::escape, page::visible};

/// Values that are shown one by one: a browser stays quick, and the raw text has them all.
const VALUES: usize = 2000;

/// Nested values that are shown one inside another; deeper ones are one line of JSON.
const DEPTH: usize = 24;

/// How deep what folds is open at first.
const OPEN_DEPTH: usize = 2;

/// Members up to which what folds is open at first.
const OPEN_MEMBERS: usize = 20;

/// Characters of one string.
const STRING_CHARS: usize = 4000;

/// JSON text as nested, foldable HTML; none when it is no JSON.
pub(super) fn html(json: &str) -> Option<String> {
    let value = serde_json::from_str(json).ok()?;
    let mut folded = Folded {
        html: String::from("<div class=\"json\">"),
        left: VALUES,
    };
    folded.value("", value, 0);
    folded.html.push_str("</div>");
    Some(folded.html)
}

struct Folded {
    html: String,
    left: usize,
}

impl Folded {
    /// A value after `before`, which is its name in HTML.
    fn value(&mut self, before: &str, value: &RawValue, depth: usize) {
        let text = value.get();
        let members: Vec<(String, &RawValue)> = match text.as_bytes().first() {
            Some(b'{') if depth < DEPTH => {
                let Members(members) = serde_json::from_str(text).unwrap_or_default();
                let name = |name: &str| format!("<span class=\"name\">{}</span>: ", shown(name));
                let named = members.into_iter();
                named.map(|(raw, value)| (name(raw.get()), value)).collect()
            }
            Some(b'[') if depth < DEPTH => {
                let elements: Vec<_> = serde_json::from_str(text).unwrap_or_default();
                let elements = elements.into_iter();
                elements.map(|value| (String::new(), value)).collect()
            }
            _ => Vec::new(),
        };
        if members.is_empty() {
            self.plain(before, text);
        } else {
            let is_array = text.starts_with('[');
            let brackets = if is_array { "[]" } else { "{}" };
            self.nest(&format!("{before}{brackets}"), members, depth);
        }
    }

    fn nest(&mut self, head: &str, members: Vec<(String, &RawValue)>, depth: usize) {
        let count = members.len();
        let open = if depth < OPEN_DEPTH && count <= OPEN_MEMBERS {
            " open"
        } else {
            ""
        };
        self.write(format_args!(
            "<details{open}><summary>{head} <span class=\"count\">{count}</span></summary>\
             <div class=\"members\">"
        ));
        for (shown, (name, value)) in members.into_iter().enumerate() {
            if self.left == 0 {
                let more = count - shown;
                self.write(format_args!(
                    "<p class=\"more\">… {more} more, in the raw text</p>"
                ));
                break;
            }
            self.left -= 1;
            self.value(&name, value, depth + 1);
        }
        self.html.push_str("</div></details>");
    }

    fn plain(&mut self, before: &str, text: &str) {
        let kind = match text.as_bytes().first() {
            Some(b'"') => "string",
            Some(b'-' | b'0'..=b'9') => "number",
            _ => "word",
        };
        let text = match text.char_indices().nth(STRING_CHARS) {
            Some((end, _)) => {
                let start = text.get(..end).unwrap_or_default();
                format!("{}… ({} bytes)", shown(start), text.len())
            }
            None => shown(text),
        };
        self.write(format_args!(
            "<div>{before}<span class=\"{kind}\">{text}</span></div>"
        ));
    }

    /// Writing to a string cannot fail.
    fn write(&mut self, html: fmt::Arguments<'_>) {
        let _written = self.html.write_fmt(html);
    }
}

fn shown(text: &str) -> String {
    escape(&visible(text))
}

/// An object's members in the order they were written, twice named ones too.
#[derive(Default)]
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a person reads.
    fn read(json: &str) -> String {
        let html = html(json).unwrap();
        let mut text = String::new();
        let mut inside = false;
        for c in html.chars() {
            match c {
                '<' => inside = true,
                '>' => {
                    inside = false;
                    text.push(' ');
                }
                c if !inside => text.push(c),
                _ => {}
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn it_is_shown_as_it_was_written() {
        let json = r#"{"z": 1.50, "a": [1e400, "\u00fc"], "z": null, "e": {}}"#;
        assert_eq!(
            read(json),
            "{} 4 &quot;z&quot; : 1.50 &quot;a&quot; : [] 2 1e400 &quot;\\u00fc&quot; \
             &quot;z&quot; : null &quot;e&quot; : {}"
        );
        assert_eq!(html("{\"a\": "), None);
        assert_eq!(html("data: 1"), None);
    }

    #[test]
    fn nothing_in_it_is_markup() {
        let html = html("{\"<b>\": \"</div><script>\u{202e}\"}").unwrap();
        assert!(
            !html.contains("<b>") && !html.contains("<script>"),
            "{html}"
        );
        assert!(html.contains("\\u202e"), "{html}");
    }

    #[test]
    fn it_ends() {
        let many = format!("[{}0]", "0,".repeat(100_000));
        let shown = html(&many).unwrap();
        assert!(shown.len() < 200_000, "{}", shown.len());
        assert!(shown.contains("98001 more"), "{shown}");
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(html(&deep).unwrap().matches("<details").count(), DEPTH);
        let long = format!("\"{}\"", "x".repeat(1_000_000));
        assert!(html(&long).unwrap().len() < 5000);
    }
}
