//! What came back from a call, in numbers: enough for one line, without the result.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table::{documents, tables};

/// Bytes of text that are short enough to be told by their first words.
const SHORT_TEXT: usize = 400;

/// Characters of those words.
const WORDS_CHARS: usize = 80;

/// What a result holds. Counted once, when it is shaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Tables ([`table`](super::table)).
    #[serde(skip_serializing_if = "is_zero")]
    pub tables: usize,
    /// Rows of the first table.
    #[serde(skip_serializing_if = "is_zero")]
    pub rows: usize,
    /// Columns of the first table.
    #[serde(skip_serializing_if = "is_zero")]
    pub columns: usize,
    /// Images.
    #[serde(skip_serializing_if = "is_zero")]
    pub images: usize,
    /// Sounds.
    #[serde(skip_serializing_if = "is_zero")]
    pub sounds: usize,
    /// Embedded resources.
    #[serde(skip_serializing_if = "is_zero")]
    pub files: usize,
    /// Links to resources.
    #[serde(skip_serializing_if = "is_zero")]
    pub links: usize,
    /// Bytes of text in content blocks.
    #[serde(skip_serializing_if = "is_zero")]
    pub text_bytes: usize,
    /// The first words of a text that is short.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub words: String,
    /// Entries of structured content that is no table.
    #[serde(skip_serializing_if = "is_zero")]
    pub fields: usize,
}

impl Facts {
    /// The facts about a result (MCP `CallToolResult`).
    pub fn of(raw: &Value) -> Self {
        let mut facts = Self::default();
        let blocks = raw.get("content").and_then(Value::as_array);
        for block in blocks.into_iter().flatten() {
            match block.get("type").and_then(Value::as_str) {
                Some("text") => facts.text(block.get("text").and_then(Value::as_str)),
                Some("image") => facts.images += 1,
                Some("audio") => facts.sounds += 1,
                Some("resource") => facts.files += 1,
                Some("resource_link") => facts.links += 1,
                Some(_) | None => {}
            }
        }
        if facts.text_bytes > SHORT_TEXT {
            facts.words.clear();
        }
        let documents = documents(raw);
        let tables = tables(&documents);
        if let Some(first) = tables.first() {
            facts.tables = tables.len();
            facts.rows = first.rows();
            facts.columns = first.columns.len();
        } else {
            facts.fields = match raw.get("structuredContent") {
                Some(Value::Object(fields)) => fields.len(),
                Some(Value::Array(entries)) => entries.len(),
                Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => 1,
                Some(Value::Null) | None => 0,
            };
        }
        facts
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn text(&mut self, text: Option<&str>) {
        let text = text.unwrap_or_default();
        self.text_bytes = self.text_bytes.saturating_add(text.len());
        let words = text.lines().map(str::trim).find(|line| !line.is_empty());
        if let (true, Some(words)) = (self.words.is_empty(), words) {
            self.words = words.chars().take(WORDS_CHARS).collect();
            if words.len() > self.words.len() {
                self.words.push('…');
            }
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_result_has_no_facts() {
        for raw in [
            json!(null),
            json!(1),
            json!({ "content": 3 }),
            json!({ "content": [7] }),
        ] {
            assert_eq!(Facts::of(&raw), Facts::default(), "{raw}");
        }
        assert_eq!(json!(Facts::default()), json!({}));
    }

    #[test]
    fn everything_is_counted() {
        let raw = json!({
            "content": [
                { "type": "text", "text": "\n Two rows. \nMore" },
                { "type": "image", "data": "" },
                { "type": "image", "data": "" },
                { "type": "audio", "data": "" },
                { "type": "resource", "resource": {} },
                { "type": "resource_link", "uri": "a:b" },
                { "type": "hologram" },
            ],
            "structuredContent": { "columns": ["a", "b", "c"], "rows": [[1, 2, 3], [4, 5, 6]] },
        });
        let expected = Facts {
            tables: 1,
            rows: 2,
            columns: 3,
            images: 2,
            sounds: 1,
            files: 1,
            links: 1,
            text_bytes: 17,
            words: "Two rows.".to_owned(),
            fields: 0,
        };
        assert_eq!(Facts::of(&raw), expected);
        let fields = json!({ "structuredContent": { "a": 1, "b": [] } });
        assert_eq!(Facts::of(&fields).fields, 2);
    }

    #[test]
    fn a_long_text_is_not_told_by_its_first_words() {
        let raw = json!({ "content": [{ "type": "text", "text": "word ".repeat(1000) }] });
        let facts = Facts::of(&raw);
        assert_eq!((facts.words.as_str(), facts.text_bytes), ("", 5000));
        let raw = json!({ "content": [{ "type": "text", "text": "é".repeat(100) }] });
        assert_eq!(Facts::of(&raw).words.chars().count(), WORDS_CHARS + 1);
    }
}
