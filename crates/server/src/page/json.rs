//! JSON as a tree that opens: the same on every page, and bounded.
//!
//! What was received is shown as it was written, names in their order, numbers and strings with
//! every character. What is known only as a value is shown as that.

use askama::Template;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use super::{
    render,
    words::{beginning, count},
};

/// Characters of a text in the tree.
const TEXT_CHARS: usize = 2000;

/// Characters of what a message says, beside it while it is folded.
const SAID_CHARS: usize = 80;

/// Fields among which those of a message are looked for.
const MESSAGE_FIELDS: usize = 8;

/// Characters of a key.
const KEY_CHARS: usize = 200;

/// How deep what has few entries is open at first.
const OPEN_DEPTH: usize = 2;

/// Entries up to which it is.
const OPEN_ENTRIES: usize = 20;

/// What of a text a page shows: its rest is in the raw text, which is beside it.
const TEXT: Bounds<'_> = Bounds {
    depth: 24,
    entries: 2000,
    nodes: 2000,
    link: None,
};

/// The link to the entries of what a JSON pointer (RFC 6901) leads to, from this one on.
pub(super) type Link<'a> = &'a dyn Fn(&str, usize) -> String;

/// How much of it is sent at once.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// Containers within each other.
    pub(super) depth: usize,
    /// Entries of one container.
    pub(super) entries: usize,
    /// Entries of all.
    pub(super) nodes: usize,
    /// None where no link leads to the rest.
    pub(super) link: Option<Link<'a>>,
}

/// Entries of JSON.
#[derive(Template)]
#[template(path = "json.html")]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// A step on the way through the tree.
enum Node {
    /// A container begins.
    Open {
        key: Option<String>,
        size: String,
        /// Of a message to a model who speaks, and how that begins.
        said: Option<String>,
        open: bool,
    },
    /// The last container ends.
    Close,
    Leaf {
        key: Option<String>,
        /// What it is: a class of the style sheet.
        kind: &'static str,
        text: String,
    },
    /// What is not here, and the link to it.
    More {
        key: Option<String>,
        words: String,
        link: Option<String>,
    },
}

/// A place in JSON.
#[derive(Clone, Copy)]
enum Json<'a> {
    Known(&'a Value),
    Written(&'a RawValue),
}

enum Container<'a> {
    KnownList(&'a [Value]),
    KnownFields(&'a Map<String, Value>),
    List(Vec<&'a RawValue>),
    Fields(Members<'a>),
}

struct Walk<'a> {
    bounds: Bounds<'a>,
    nodes: Vec<Node>,
    left: usize,
}

/// JSON text as HTML, as it was written; none when it is no JSON.
pub(super) fn folded(text: &str) -> Option<String> {
    let value = serde_json::from_str(text).ok()?;
    let mut walk = Walk::new(TEXT);
    walk.value((None, ""), Json::Written(value), 0);
    let tree = render(&Tree { nodes: walk.nodes });
    Some(format!(
        "<div class=\"tree-scroll\" tabindex=\"0\" role=\"group\" aria-label=\"JSON\">\
         <ul class=\"tree\">{tree}</ul></div>"
    ))
}

impl Tree {
    /// The value itself, its first level open.
    pub(super) fn whole(value: &Value, bounds: Bounds<'_>) -> Self {
        let mut walk = Walk::new(bounds);
        walk.value((None, ""), Json::Known(value), 0);
        Self { nodes: walk.nodes }
    }

    /// The entries of what the JSON pointer leads to, from this one on; none if it leads nowhere.
    pub(super) fn entries(
        value: &Value,
        (path, from): (&str, usize),
        bounds: Bounds<'_>,
    ) -> Option<Self> {
        let value = Json::Known(value.pointer(path)?);
        let mut walk = Walk::new(bounds);
        match value.container() {
            Some(container) => walk.entries(path, &container, (from, 0)),
            None => walk.value((None, path), value, 0),
        }
        Some(Self { nodes: walk.nodes })
    }
}

impl<'a> Walk<'a> {
    fn new(bounds: Bounds<'a>) -> Self {
        Self {
            bounds,
            nodes: Vec::new(),
            left: bounds.nodes,
        }
    }

    /// `key` is none for the root, which begins open.
    fn value(&mut self, (key, path): (Option<String>, &str), value: Json<'_>, depth: usize) {
        self.left = self.left.saturating_sub(1);
        let Some(container) = value.container() else {
            let (kind, text) = value.leaf();
            self.nodes.push(Node::Leaf { key, kind, text });
            return;
        };
        let size = container.len();
        if size == 0 {
            let text = if container.is_list() { "[]" } else { "{}" };
            let text = text.to_owned();
            let kind = "none";
            self.nodes.push(Node::Leaf { key, kind, text });
            return;
        }
        if depth >= self.bounds.depth || self.left == 0 {
            let link = self.bounds.link.map(|link| link(path, 0));
            let words = container.size();
            self.nodes.push(Node::More { key, words, link });
            return;
        }
        self.nodes.push(Node::Open {
            open: key.is_none() || depth < OPEN_DEPTH && size <= OPEN_ENTRIES,
            key,
            size: container.size(),
            said: said(&container),
        });
        self.entries(path, &container, (0, depth + 1));
        self.nodes.push(Node::Close);
    }

    fn entries(&mut self, path: &str, container: &Container<'_>, (from, depth): (usize, usize)) {
        let mut next = from;
        for (key, value) in container.members(from, self.bounds.entries) {
            if self.left == 0 {
                break;
            }
            next += 1;
            let below = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            let key = Some(beginning(&key, KEY_CHARS));
            self.value((key, &below), value, depth);
        }
        if next < container.len() {
            let words = format!("{} more", container.len() - next);
            let link = self.bounds.link.map(|link| link(path, next));
            let key = None;
            self.nodes.push(Node::More { key, words, link });
        }
    }
}

impl<'a> Json<'a> {
    /// None for what has no entries by its kind.
    fn container(self) -> Option<Container<'a>> {
        match self {
            Self::Known(Value::Array(list)) => Some(Container::KnownList(list)),
            Self::Known(Value::Object(fields)) => Some(Container::KnownFields(fields)),
            Self::Known(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => None,
            Self::Written(raw) => match raw.get().as_bytes().first() {
                Some(b'[') => serde_json::from_str(raw.get()).ok().map(Container::List),
                Some(b'{') => serde_json::from_str(raw.get()).ok().map(Container::Fields),
                Some(_) | None => None,
            },
        }
    }

    /// None for what is no text.
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Known(value) => value.as_str(),
            Self::Written(raw) if raw.get().starts_with('"') => Some(inside(raw)),
            Self::Written(_) => None,
        }
    }

    /// An entry of what has few.
    fn member(self, key: &str) -> Option<Self> {
        self.container()?.member(key)
    }

    /// What it is, as a class of the style sheet, and its text.
    fn leaf(self) -> (&'static str, String) {
        match self {
            Self::Known(Value::String(text)) => ("text", beginning(text, TEXT_CHARS)),
            Self::Known(Value::Null) => ("none", "null".to_owned()),
            Self::Known(
                value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)),
            ) => ("number", beginning(&value.to_string(), TEXT_CHARS)),
            Self::Written(raw) => {
                let kind = match raw.get().as_bytes().first() {
                    Some(b'"') => "text",
                    Some(b'n') | None => "none",
                    Some(_) => "number",
                };
                (kind, beginning(inside(raw), TEXT_CHARS))
            }
        }
    }
}

impl<'a> Container<'a> {
    fn len(&self) -> usize {
        match self {
            Self::KnownList(list) => list.len(),
            Self::KnownFields(fields) => fields.len(),
            Self::List(list) => list.len(),
            Self::Fields(Members(fields)) => fields.len(),
        }
    }

    fn is_list(&self) -> bool {
        match self {
            Self::KnownList(_) | Self::List(_) => true,
            Self::KnownFields(_) | Self::Fields(_) => false,
        }
    }

    /// How many entries it has, in words.
    fn size(&self) -> String {
        let (one, more) = if self.is_list() {
            ("entry", "entries")
        } else {
            ("field", "fields")
        };
        count(self.len() as u64, one, more)
    }

    /// An entry, if it is among the first few.
    fn member(&self, key: &str) -> Option<Json<'a>> {
        let members = self.members(0, MESSAGE_FIELDS).into_iter();
        let mut found = members.filter(|(name, _)| name == key);
        found.next().map(|(_, value)| value)
    }

    /// So many of its entries.
    fn members(&self, from: usize, most: usize) -> Vec<(String, Json<'a>)> {
        let number = |(index, value): (usize, Json<'a>)| (index.to_string(), value);
        match self {
            Self::KnownList(list) => {
                let list = list.iter().map(Json::Known).enumerate();
                list.skip(from).take(most).map(number).collect()
            }
            Self::List(list) => {
                let list = list.iter().map(|it| Json::Written(it)).enumerate();
                list.skip(from).take(most).map(number).collect()
            }
            Self::KnownFields(fields) => {
                let fields = fields.iter().skip(from).take(most);
                fields
                    .map(|(key, value)| (key.clone(), Json::Known(value)))
                    .collect()
            }
            Self::Fields(Members(fields)) => {
                let fields = fields.iter().skip(from).take(most);
                fields
                    .map(|(key, value)| (inside(key).to_owned(), Json::Written(value)))
                    .collect()
            }
        }
    }
}

/// Of a message to a model, or of one of its own, who speaks and how that begins: `user: What…`.
fn said(message: &Container<'_>) -> Option<String> {
    if message.is_list() {
        return None;
    }
    let role = beginning(message.member("role")?.text()?, SAID_CHARS);
    let content = message.member("content").and_then(|content| {
        let part = || content.member("0")?.member("text")?.text();
        content.text().or_else(part)
    });
    let function = || {
        let call = message.member("tool_calls")?.member("0")?;
        call.member("function")?.member("name")?.text()
    };
    let words = match (content.filter(|text| !text.is_empty()), function()) {
        (Some(text), _) => beginning(text, SAID_CHARS),
        (None, Some(function)) => format!("calls {}", beginning(function, SAID_CHARS)),
        (None, None) => return Some(role),
    };
    Some(format!("{role}: {words}"))
}

/// A string as it was written, without its quotation marks; anything else as it is.
fn inside(raw: &RawValue) -> &str {
    let text = raw.get();
    let inner = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inner.unwrap_or(text)
}

/// An object's members in the order they were written, twice named ones too.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        let html = folded(json).unwrap();
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
    fn text_is_shown_as_it_was_written() {
        let json = r#"{"z": 1.50, "a": [1e400, "\u00fc"], "z": null, "e": {}}"#;
        assert_eq!(
            read(json),
            "4 fields z 1.50 a 2 entries 0 1e400 1 \\u00fc z null e {}"
        );
        assert_eq!(folded("{\"a\": "), None);
        assert_eq!(folded("data: 1"), None);
    }

    #[test]
    fn a_message_says_who_speaks() {
        let shown = |message: &str| read(&format!(r"[{message}]"));
        let says = |message: &str, said: &str| {
            let text = shown(message);
            assert!(text.contains(&format!("fields {said} role")), "{text}");
        };
        says(
            r#"{"role":"user","content":"What were…"}"#,
            "user: What were…",
        );
        let parts = r#"{"role":"user","content":[{"type":"text","text":"Look"}]}"#;
        says(parts, "user: Look");
        let calls = r#"{"role":"assistant","content":null,
            "tool_calls":[{"id":"1","function":{"name":"Database__read"}}]}"#;
        says(calls, "assistant: calls Database__read");
        says(r#"{"role":"assistant","content":""}"#, "assistant");
        let long = format!(r#"{{"role":"tool","content":"{}"}}"#, "x".repeat(100_000));
        says(&long, &format!("tool: {}…", "x".repeat(SAID_CHARS)));
        let hostile = folded(r#"{"role":"<b>","content":"<i>"}"#).unwrap();
        assert!(
            !hostile.contains("<b>") && !hostile.contains("<i>"),
            "{hostile}"
        );
        // What is no message says nothing.
        for other in [r#"{"role":{"a":1}}"#, r#"{"content":"x"}"#, r#"["role"]"#] {
            assert!(!shown(other).contains(':'), "{other}");
        }
    }

    #[test]
    fn nothing_in_it_is_markup() {
        let html = folded("{\"<b>\": \"</div><script>\u{202e}\"}").unwrap();
        assert!(
            !html.contains("<b>") && !html.contains("<script>"),
            "{html}"
        );
        assert!(html.contains("\\u202e"), "{html}");
    }

    #[test]
    fn it_ends() {
        let many = format!("[{}0]", "0,".repeat(100_000));
        let shown = folded(&many).unwrap();
        assert!(shown.len() < 200_000, "{}", shown.len());
        assert!(shown.contains("98002 more, in the raw text"), "{shown}");
        let deep = "[".repeat(100) + "1" + &"]".repeat(100);
        let html = folded(&deep).unwrap();
        assert_eq!(html.matches("<details").count(), TEXT.depth);
        assert!(html.contains("1 entry, in the raw text"), "{html}");
        let long = format!("\"{}\"", "x".repeat(1_000_000));
        assert!(folded(&long).unwrap().len() < 5000);
    }
}
