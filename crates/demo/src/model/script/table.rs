//! What a tool's result says: rows, some other JSON, or words that tell of a problem.

use serde_json::Value;

/// Characters of a problem's text that are quoted.
const MAX_QUOTE: usize = 1500;

/// A tool's result, read.
#[derive(Debug, PartialEq)]
pub(super) enum Reading {
    /// Rows with columns.
    Rows(Table),
    /// JSON that is no rows.
    Json(Value),
    /// Anything else: the tool failed, or the call was not made.
    Problem(String),
}

impl Reading {
    /// Reads a result: JSON, alone or after some words.
    pub(super) fn of(text: &str) -> Self {
        let from_brace = text
            .find(['{', '['])
            .and_then(|at| text.get(at..))
            .unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(from_brace).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) if value.get("error").is_none() && !value_is_prose(&value, text) => {
                Table::from_json(&value).map_or(Self::Json(value), Self::Rows)
            }
            _ => Table::from_markdown(text)
                .map_or_else(|| Self::Problem(text.to_owned()), Self::Rows),
        }
    }
}

/// Whether the brackets found are part of a sentence, such as `at [1]`.
fn value_is_prose(value: &Value, text: &str) -> bool {
    let starts = text.trim_start().starts_with(['{', '[']);
    !starts && !value.is_object()
}

/// Rows with columns.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Table {
    /// From `{"columns": [...], "rows": [...]}` or an array of objects.
    fn from_json(value: &Value) -> Option<Self> {
        let rows = value
            .get("rows")
            .or(Some(value))
            .and_then(Value::as_array)?;
        let columns = match value.get("columns").and_then(Value::as_array) {
            Some(columns) => columns.iter().filter_map(name_of).collect(),
            None => rows
                .first()?
                .as_object()?
                .keys()
                .cloned()
                .collect::<Vec<String>>(),
        };
        let rows = rows
            .iter()
            .map(|row| match row {
                Value::Array(cells) => cells.clone(),
                Value::Object(cells) => columns
                    .iter()
                    .map(|column| cells.get(column).cloned().unwrap_or(Value::Null))
                    .collect(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    vec![row.clone()]
                }
            })
            .collect();
        Some(Self { columns, rows })
    }

    /// From a Markdown table, with a row of dashes under its head.
    fn from_markdown(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip_while(|line| !line.starts_with('|'));
        let columns = cells(lines.next()?)?;
        let dashes = cells(lines.next()?)?;
        let is_rule =
            |cell: &String| cell.contains('-') && cell.trim_matches(['-', ':']).is_empty();
        if !dashes.iter().all(is_rule) {
            return None;
        }
        let row = |cells: Vec<String>| cells.into_iter().map(Value::String).collect();
        Some(Self {
            columns,
            rows: lines.map_while(cells).map(row).collect(),
        })
    }

    /// The first cell.
    pub(super) fn single(&self) -> Option<&Value> {
        self.rows.first().and_then(|row| row.first())
    }

    /// The cells of a row.
    pub(super) fn cells<const N: usize>(row: &[Value]) -> Option<&[Value; N]> {
        row.first_chunk()
    }

    /// A Markdown table of the first rows.
    pub(super) fn markdown(&self, max_rows: usize) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(self.columns.iter().map(|column| escape(column)).collect());
        text.push_str(&line(
            self.columns.iter().map(|_| "---".to_owned()).collect(),
        ));
        for row in self.rows.iter().take(max_rows) {
            text.push_str(&line(row.iter().map(show).collect()));
        }
        text
    }
}

/// The cells of a line of a Markdown table.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    // No control character is in a line, so one can stand for an escaped bar.
    let escaped = inner.replace("\\|", "\u{1}");
    Some(
        escaped
            .split('|')
            .map(|cell| cell.trim().replace('\u{1}', "|"))
            .collect(),
    )
}

/// The name of a column or table: a string, or an object with a name.
pub(super) fn name_of(value: &Value) -> Option<String> {
    let named = || value.get("name").or_else(|| value.get("table"));
    let name = if value.is_object() { named()? } else { value };
    name.as_str().map(str::to_owned)
}

/// A number, also one that is written as text.
pub(super) fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))
}

/// A cell as Markdown.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => escape(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            escape(&value.to_string())
        }
    }
}

/// Money with separators: `1,234,567.80`.
pub(super) fn money(amount: f64) -> String {
    let text = format!("{amount:.2}");
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    let (sign, digits) = whole
        .strip_prefix('-')
        .map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}.{cents}")
}

/// A text as a Markdown block of code, whatever it holds.
pub(super) fn quote(text: &str) -> String {
    let shown: String = text.chars().take(MAX_QUOTE).collect();
    let fence = if shown.contains("```") {
        "~~~~~~"
    } else {
        "```"
    };
    format!("{fence}\n{}\n{fence}", shown.trim_end())
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_a_problem_even_with_brackets_in_them() {
        for text in [
            "",
            "near \"SELEC\": syntax error",
            "unrecognized token at [1]",
            "Not run: the user denied this call.",
            r#"{"error": "no such table"}"#,
            r#"{"columns": ["a"], "rows": [[1"#,
        ] {
            assert_eq!(
                Reading::of(text),
                Reading::Problem(text.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn rows_are_found_in_each_usual_shape() {
        let expected = Reading::Rows(Table {
            columns: vec!["a".into(), "b".into()],
            rows: vec![vec![json!(1), json!("x")]],
        });
        for text in [
            r#"{"columns": ["a", "b"], "rows": [[1, "x"]], "truncated": false}"#,
            r#"{"columns": [{"name": "a"}, {"name": "b"}], "rows": [{"b": "x", "a": 1}]}"#,
            r#"[{"a": 1, "b": "x"}]"#,
            "1 row:\n{\"columns\": [\"a\", \"b\"], \"rows\": [[1, \"x\"]]}",
        ] {
            assert_eq!(Reading::of(text), expected, "{text}");
        }
        let markdown = Reading::of("| a | b\\|c |\n|---|---|\n| 1 | x |\n\n1 row(s).");
        let Reading::Rows(table) = markdown else {
            panic!("{markdown:?}")
        };
        assert_eq!(
            (table.columns[1].as_str(), number(&table.rows[0][0])),
            ("b|c", Some(1.0))
        );
        let other = Reading::of(r#"{"rows_affected": 3}"#);
        assert_eq!(other, Reading::Json(json!({"rows_affected": 3})));
    }

    #[test]
    fn cells_cannot_break_a_table_and_money_is_grouped() {
        let table = Table {
            columns: vec!["a|b".into()],
            rows: vec![vec![json!("x\ny|z")]],
        };
        assert_eq!(table.markdown(5), "| a\\|b |\n| --- |\n| x y\\|z |\n");
        assert_eq!(money(1_354_458.593), "1,354,458.59");
        assert_eq!(money(-999.0), "-999.00");
        assert_eq!(money(-1000.5), "-1,000.50");
    }
}
