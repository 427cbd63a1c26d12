//! A YAML document as a tree that knows its lines.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Its line in the file, from 1: that of its first character.
    pub(super) line: u64,
    /// What it is.
    pub(super) value: Value,
}

/// A YAML value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The line of the key.
    pub(super) line: u64,
    pub(super) node: Node,
}

/// Why a text is no YAML: the parser's words on one line, with the place if it is known.
pub(super) struct Unreadable {
    pub(super) line: Option<u64>,
    pub(super) problem: String,
}

impl Node {
    /// The document.
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        serde_saphyr::from_str(text).map_err(|error| {
            let rendered = error.without_snippet().to_string();
            let problem = rendered.lines().next().unwrap_or_default().to_owned();
            let line = error.location().map(|location| location.line());
            Unreadable { line, problem }
        })
    }

    /// The entry of a mapping.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of an entry; one that is null counts as absent, as in Pomerium.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let node = &self.entry(key)?.node;
        (node.value != Value::Null).then_some(node)
    }

    /// The entries of a mapping; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_) => &[],
        }
    }

    /// The items of a list; a single value counts as a list of it, as in Pomerium.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Null => &[],
            Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Map(_) => std::slice::from_ref(self),
        }
    }

    /// A text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Map(_) => None,
        }
    }

    /// Whether it is true, also as Pomerium reads texts and numbers (Go's `strconv.ParseBool`).
    pub(super) fn is_true(&self) -> bool {
        match &self.value {
            Value::Bool(value) => *value,
            Value::Integer(number) => *number != 0,
            Value::Text(text) => {
                matches!(text.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")
            }
            Value::Null | Value::Float(_) | Value::List(_) | Value::Map(_) => false,
        }
    }

    /// Whether the value of this key is true.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(Self::is_true)
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) => false,
        }
    }

    /// Whether a key of this name is anywhere below.
    pub(super) fn mentions(&self, key: &str) -> bool {
        match &self.value {
            Value::List(items) => items.iter().any(|item| item.mentions(key)),
            Value::Map(entries) => entries
                .iter()
                .any(|entry| entry.key == key || entry.node.mentions(key)),
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {
                false
            }
        }
    }
}

/// In YAML's flow style, on one line, to be pasted. A secret stands as `…`.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number}"),
            Value::Text(text) if is_plain(text) => f.write_str(text),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Value::Map(entries) => {
                f.write_str("{")?;
                for (index, Entry { key, node, .. }) in entries.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    if key.contains("secret") {
                        write!(f, "{key}: …")?;
                    } else {
                        write!(f, "{key}: {node}")?;
                    }
                }
                f.write_str("}")
            }
        }
    }
}

/// Whether a text can stand in flow style without quotes and stays a text.
fn is_plain(text: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:?=&%+".contains(c);
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let other = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    word && text.chars().all(safe)
        && !text.ends_with(':')
        && !other.contains(&text.to_ascii_lowercase().as_str())
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            line: spanned.referenced.line(),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        let integer = i64::try_from(number).map(Value::Integer);
        Ok(integer.unwrap_or_else(|_| Value::Text(number.to_string())))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            entries.push(Entry {
                line: key.referenced.line(),
                key: key.value,
                node: map.next_value()?,
            });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        let Err(unreadable) = Node::parse("routes:\n  - from: [unclosed\n    to: x\n") else {
            panic!("it was read");
        };
        assert!(unreadable.line.is_some_and(|line| line >= 2));
        assert!(!unreadable.problem.is_empty());
        assert!(!unreadable.problem.contains('\n'));
    }

    #[test]
    fn every_key_and_value_knows_its_line() {
        let text = "# a comment\nroutes:\n  - from: https://a\n\n    timeout: 0s\n    mcp:\n      \
                    server:\n        path: /mcp\n";
        let document = Node::parse(text).unwrap_or_else(|e| panic!("{}", e.problem));
        let routes = document.entry("routes").unwrap();
        assert_eq!(routes.line, 2);
        let route = &routes.node.items()[0];
        assert_eq!(route.line, 3);
        assert_eq!(route.entry("timeout").unwrap().line, 5);
        let server = route.get("mcp").unwrap().entry("server").unwrap();
        assert_eq!((server.line, server.node.line), (7, 8));
    }

    #[test]
    fn an_alias_and_a_merge_are_read_as_what_they_stand_for() {
        let text = "base: &b {timeout: 0s}\nroutes:\n  - <<: *b\n    from: https://a\n";
        let document = Node::parse(text).unwrap_or_else(|e| panic!("{}", e.problem));
        let route = &document.get("routes").unwrap().items()[0];
        assert_eq!(route.get("timeout").and_then(Node::text), Some("0s"));
    }

    #[test]
    fn what_is_to_be_pasted_is_yaml_again_and_holds_no_secret() {
        let text = "client_id: abc\nclient_secret: very-secret\nscopes: ['read:user', 'a b']\n\
                    endpoint: {auth_url: 'https://h/a?x=1', ok: 'true'}\n";
        let node = Node::parse(text).unwrap_or_else(|e| panic!("{}", e.problem));
        let pasted = node.to_string();
        assert_eq!(
            pasted,
            "{client_id: abc, client_secret: …, scopes: [read:user, \"a b\"], endpoint: \
             {auth_url: https://h/a?x=1, ok: \"true\"}}"
        );
        assert!(Node::parse(&pasted).is_ok());
    }
}
