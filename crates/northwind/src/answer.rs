//! Answers as text for the model beside the same as structured content for programs.

use std::fmt::Write;

use rmcp::model::{CallToolResult, ContentBlock};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    failure::Failure,
    identity::Caller,
    rows::RowSet,
    schema::{Description, TableList},
};

/// The text of an answer, bytes: some ten thousand tokens. The structured content has the rest.
const MAX_TEXT_BYTES: usize = 40 * 1024;

/// Characters of a cell in the text.
const MAX_CELL_CHARS: usize = 1000;

/// The answer of `write_query`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Written {
    /// Rows inserted, updated or deleted, those by triggers and foreign keys included.
    pub(crate) changes: u64,
    /// The rows of a `RETURNING` clause; null without one.
    pub(crate) returned: Option<RowSet>,
}

/// The answer of `whoami`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Identity {
    /// Whether Pomerium's assertion was verified. If not, nothing is known of who asks.
    pub(crate) verified: bool,
    /// Pomerium's id of the user.
    pub(crate) sub: Option<String>,
    /// The user's address.
    pub(crate) email: Option<String>,
    /// The user's name.
    pub(crate) name: Option<String>,
    /// The groups that the user is in, as Pomerium knows them.
    pub(crate) groups: Vec<String>,
}

/// The answer of `read_query`: its rows.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Rows(pub(crate) RowSet);

/// An answer that can be put in words.
pub(crate) trait Answer: Serialize {
    /// The answer for a model.
    fn text(&self) -> String;
}

/// The result of a call that went well.
pub(crate) fn success(answer: &impl Answer) -> Result<CallToolResult, Failure> {
    let structured = serde_json::to_value(answer)
        .map_err(|error| Failure::error(format!("The answer cannot be shown: {error}.")))?;
    let mut result = CallToolResult::success(vec![ContentBlock::text(answer.text())]);
    result.structured_content = Some(structured);
    Ok(result)
}

/// The result of a call that did not.
pub(crate) fn failure(failure: Failure) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(failure.text)])
}

impl Answer for Rows {
    fn text(&self) -> String {
        table(&self.0)
    }
}

impl Answer for Written {
    fn text(&self) -> String {
        let mut text = format!("Done: {} row(s) changed.", self.changes);
        if let Some(rows) = &self.returned {
            text.push_str("\n\n");
            text.push_str(&table(rows));
        }
        text
    }
}

impl Identity {
    /// Of a verified caller, or of nobody in particular.
    pub(crate) fn of(caller: Option<Caller>) -> Self {
        let verified = caller.is_some();
        let (sub, email, name, groups) = caller.map_or_else(Default::default, |caller| {
            (Some(caller.sub), caller.email, caller.name, caller.groups)
        });
        Self {
            verified,
            sub,
            email,
            name,
            groups,
        }
    }
}

impl Answer for Identity {
    fn text(&self) -> String {
        let Some(sub) = &self.sub else {
            return "Nobody verifies who asks: this server was started without --pomerium-host, \
                    so it cannot tell."
                .to_owned();
        };
        let mut lines = vec!["Pomerium's assertion, verified, says who asks:".to_owned()];
        let name = self.name.as_deref();
        lines.extend(name.map(|name| format!("- name: {name}")));
        let email = self.email.as_deref();
        lines.extend(email.map(|email| format!("- email: {email}")));
        lines.push(format!("- sub: {sub}"));
        lines.push(match self.groups.as_slice() {
            [] => "- groups: none".to_owned(),
            groups => format!("- groups: {}", groups.join(", ")),
        });
        lines.join("\n")
    }
}

impl Answer for TableList {
    fn text(&self) -> String {
        if self.tables.is_empty() {
            return "The database has no tables.".to_owned();
        }
        let mut lines = Lines::default();
        for table in &self.tables {
            let kind = if table.kind == "table" {
                ""
            } else {
                table.kind.as_str()
            };
            let space = if kind.is_empty() { "" } else { " " };
            lines.push(&format!(
                "{kind}{space}{}({})",
                table.name,
                table.columns.join(", ")
            ));
        }
        let more = if self.truncated {
            "; there are more"
        } else {
            ""
        };
        lines.finish(&format!("{} table(s){more}", self.tables.len()))
    }
}

impl Answer for Description {
    fn text(&self) -> String {
        let mut lines = Lines::default();
        let rows = self
            .row_count
            .map(|count| format!(", {count} rows"))
            .unwrap_or_default();
        lines.push(&format!("{} ({}{rows})", self.name, self.kind));
        for column in &self.columns {
            let mut line = format!("- {} {}", column.name, column.r#type);
            if column.primary_key > 0 {
                line.push_str(" PRIMARY KEY");
            }
            if !column.nullable {
                line.push_str(" NOT NULL");
            }
            if let Some(default) = &column.default {
                let _ = write!(line, " DEFAULT {default}");
            }
            for key in self
                .foreign_keys
                .iter()
                .filter(|key| key.column == column.name)
            {
                let _ = write!(line, " -> {}", key.table);
                if let Some(to) = &key.to {
                    let _ = write!(line, ".{to}");
                }
            }
            lines.push(&line);
        }
        for index in &self.indexes {
            let unique = if index.unique {
                "unique index"
            } else {
                "index"
            };
            lines.push(&format!(
                "{unique} {} on ({})",
                index.name,
                index.columns.join(", ")
            ));
        }
        lines.finish(&format!("{} column(s)", self.columns.len()))
    }
}

/// Rows as a Markdown table.
fn table(set: &RowSet) -> String {
    let mut lines = Lines::default();
    let header: Vec<String> = set.columns.iter().map(|name| escape(name)).collect();
    lines.push(&format!("| {} |", header.join(" | ")));
    lines.push(&format!("|{}", "---|".repeat(set.columns.len())));
    for row in &set.rows {
        let cells: Vec<String> = row.iter().map(cell).collect();
        lines.push(&format!("| {} |", cells.join(" | ")));
    }
    lines.text.push('\n');
    let more = if set.truncated {
        "; there are more, or values were cut"
    } else {
        ""
    };
    lines.finish(&format!("{} row(s){more}", set.row_count))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => escape(text),
        Value::Object(blob) => {
            let part = |key| blob.get(key).map(ToString::to_string).unwrap_or_default();
            format!("BLOB of {} bytes, {}", part("blob_bytes"), part("hex"))
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
    }
}

/// `text` on one line, and not as the end of a cell.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len().min(MAX_CELL_CHARS));
    for character in text.chars().take(MAX_CELL_CHARS) {
        match character {
            '|' => escaped.push_str("\\|"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            other => escaped.push(other),
        }
    }
    if escaped.len() < text.len() && text.chars().nth(MAX_CELL_CHARS).is_some() {
        escaped.push('…');
    }
    escaped
}

/// Text made line by line, up to [`MAX_TEXT_BYTES`].
#[derive(Default)]
struct Lines {
    text: String,
    left_out: usize,
}

impl Lines {
    fn push(&mut self, line: &str) {
        if self.left_out > 0 || self.text.len() + line.len() > MAX_TEXT_BYTES {
            self.left_out += 1;
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line);
    }

    /// The text with a last line: how many things there are, and what is missing.
    fn finish(self, summary: &str) -> String {
        let Self { mut text, left_out } = self;
        let _ = write!(text, "\n{summary}");
        if left_out > 0 {
            let _ = write!(text, "; the last {left_out} lines are not in this text");
        }
        text.push('.');
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(rows: Vec<Vec<Value>>) -> RowSet {
        RowSet {
            columns: vec!["a|b".to_owned(), "c".to_owned()],
            row_count: rows.len(),
            rows,
            truncated: false,
        }
    }

    #[test]
    fn rows_are_a_table_that_no_value_breaks() {
        let set = rows(vec![
            vec![json!("x|y\nz"), json!(null)],
            vec![json!(1.5), json!({ "blob_bytes": 3, "hex": "00ff10" })],
        ]);
        assert_eq!(
            table(&set),
            "| a\\|b | c |\n|---|---|\n| x\\|y\\nz | NULL |\n\
             | 1.5 | BLOB of 3 bytes, \"00ff10\" |\n\n2 row(s)."
        );
    }

    #[test]
    fn text_is_bounded_and_says_what_it_leaves_out() {
        let long = "é".repeat(2 * MAX_CELL_CHARS);
        let set = rows(vec![vec![json!(long), json!(1)]; 100]);
        let text = table(&set);
        assert!(text.len() < MAX_TEXT_BYTES + 100, "{}", text.len());
        assert!(text.contains("é… | 1 |"));
        assert!(
            text.contains("100 row(s); the last 80 lines are not in this text."),
            "{}",
            &text[text.len() - 80..]
        );
    }
}
