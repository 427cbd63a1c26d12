//! JSON as a tree that opens: bounded, the rest is asked for.

use askama::Template;
use serde_json::Value;

use super::{
    super::words::beginning,
    asked::{Asked, Of},
};

/// Containers within each other that are sent at once.
const DEPTH: usize = 4;

/// Entries of one container that are sent at once.
const ENTRIES: usize = 50;

/// Entries that are sent at once.
const NODES: usize = 400;

/// Characters of a text in the tree.
const TEXT_CHARS: usize = 2000;

/// Characters of a key.
const KEY_CHARS: usize = 200;

/// Entries of JSON.
#[derive(Template)]
#[template(path = "result_tree.html")]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// A step on the way through the tree.
enum Node {
    /// A container begins.
    Open {
        key: Option<String>,
        size: String,
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
    /// The link to what is not here.
    More {
        key: Option<String>,
        words: String,
        link: String,
    },
}

struct Walk<'a> {
    of: Of<'a>,
    nodes: Vec<Node>,
    left: usize,
}

impl Tree {
    /// The value itself, its first level open.
    pub(super) fn whole(of: Of<'_>, value: &Value) -> Self {
        let mut walk = Walk::new(of);
        walk.value((None, ""), value, DEPTH);
        Self { nodes: walk.nodes }
    }

    /// The entries of what the JSON pointer leads to, from this one on; none if it leads nowhere.
    pub(super) fn entries(of: Of<'_>, value: &Value, path: &str, from: usize) -> Option<Self> {
        let value = value.pointer(path)?;
        let mut walk = Walk::new(of);
        if size_of(value).is_some() {
            walk.entries(path, value, (from, DEPTH));
        } else {
            walk.value((None, path), value, DEPTH);
        }
        Some(Self { nodes: walk.nodes })
    }
}

impl<'a> Walk<'a> {
    fn new(of: Of<'a>) -> Self {
        Self {
            of,
            nodes: Vec::new(),
            left: NODES,
        }
    }

    /// `key` is none for the root, which begins open.
    fn value(&mut self, (key, path): (Option<String>, &str), value: &Value, depth: usize) {
        self.left = self.left.saturating_sub(1);
        let Some((count, words)) = size_of(value) else {
            self.leaf(key, value);
            return;
        };
        if count == 0 {
            let text = if value.is_array() { "[]" } else { "{}" };
            let text = text.to_owned();
            let kind = "none";
            self.nodes.push(Node::Leaf { key, kind, text });
            return;
        }
        if depth == 0 || self.left == 0 {
            let link = self.link(path, 0);
            self.nodes.push(Node::More { key, words, link });
            return;
        }
        self.nodes.push(Node::Open {
            open: key.is_none(),
            key,
            size: words,
        });
        self.entries(path, value, (0, depth - 1));
        self.nodes.push(Node::Close);
    }

    fn entries(&mut self, path: &str, value: &Value, (from, depth): (usize, usize)) {
        let entries: Vec<(String, &Value)> = match value {
            Value::Array(entries) => {
                let entries = entries.iter().enumerate().skip(from).take(ENTRIES);
                entries.map(|(index, it)| (index.to_string(), it)).collect()
            }
            Value::Object(entries) => {
                let entries = entries.iter().skip(from).take(ENTRIES);
                entries.map(|(key, it)| (key.clone(), it)).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
        };
        let mut next = from;
        for (key, value) in entries {
            if self.left == 0 {
                break;
            }
            next += 1;
            let below = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            let key = Some(beginning(&key, KEY_CHARS));
            self.value((key, &below), value, depth);
        }
        let (count, _) = size_of(value).unwrap_or_default();
        if next < count {
            let words = format!("{} more", count - next);
            let link = self.link(path, next);
            let key = None;
            self.nodes.push(Node::More { key, words, link });
        }
    }

    fn leaf(&mut self, key: Option<String>, value: &Value) {
        let (kind, text) = match value {
            Value::Null => ("none", "null".to_owned()),
            Value::Bool(_) | Value::Number(_) => ("number", value.to_string()),
            Value::String(text) => ("text", beginning(text, TEXT_CHARS)),
            Value::Array(_) | Value::Object(_) => return,
        };
        self.nodes.push(Node::Leaf { key, kind, text });
    }

    fn link(&self, path: &str, from: usize) -> String {
        let asked = Asked {
            path: Some(path.to_owned()),
            from,
            ..Asked::default()
        };
        asked.link(self.of)
    }
}

/// How many entries a container has, also in words; none for anything else.
fn size_of(value: &Value) -> Option<(usize, String)> {
    let (count, one, many) = match value {
        Value::Array(entries) => (entries.len(), "entry", "entries"),
        Value::Object(entries) => (entries.len(), "field", "fields"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    };
    let word = if count == 1 { one } else { many };
    Some((count, format!("{count} {word}")))
}

#[cfg(test)]
mod tests {
    use chat::ids::{CallId, TurnId};
    use serde_json::json;

    use super::*;

    fn html(make: impl FnOnce(Of<'_>) -> Option<Tree>) -> Option<String> {
        let turn = TurnId::from("t");
        let of = Of {
            turn: &turn,
            call: CallId(1),
        };
        make(of).map(|tree| tree.render().unwrap())
    }

    fn whole(value: &Value) -> String {
        html(|of| Some(Tree::whole(of, value))).unwrap()
    }

    #[test]
    fn large_json_is_small_here_and_the_rest_can_be_asked_for() {
        let value = json!({ "a": (0..100_000).collect::<Vec<_>>() });
        let tree = whole(&value);
        assert!(tree.len() < 20_000, "{}", tree.len());
        assert!(tree.contains("99950 more"), "{tree}");
        assert!(tree.contains("/calls/t/1?path=%2Fa&#38;from=50"), "{tree}");
        let rest = html(|of| Tree::entries(of, &value, "/a", 99_990)).unwrap();
        assert!(rest.contains("99999") && !rest.contains("more"), "{rest}");
        assert_eq!(html(|of| Tree::entries(of, &value, "/b", 0)), None);
        assert_eq!(
            html(|of| Tree::entries(of, &value, "/a", 200_000)).unwrap(),
            ""
        );
    }

    #[test]
    fn deep_and_wide_json_is_bounded() {
        let mut deep = json!("found");
        for _ in 0..60 {
            deep = json!({ "a/~": deep });
        }
        let tree = whole(&deep);
        assert!(
            !tree.contains("found") && tree.contains("a%7E1%7E0"),
            "{tree}"
        );
        let path = "/a~1~0".repeat(60);
        let leaf = html(|of| Tree::entries(of, &deep, &path, 0)).unwrap();
        assert!(leaf.contains("found"), "{leaf}");
        let wide = json!(vec![vec![vec![1; 40]; 40]; 40]);
        assert!(whole(&wide).matches("<li").count() < NODES + 60);
    }

    #[test]
    fn nothing_in_it_is_markup() {
        let tree = whole(&json!({ "<b>\u{202e}": ["<script>", null, true, [], {}] }));
        assert!(
            !tree.contains("<script>") && !tree.contains("<b>"),
            "{tree}"
        );
        assert!(!tree.contains('\u{202e}'), "{tree}");
    }
}
