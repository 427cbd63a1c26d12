//! The tables in a result: where there are rows, and what is in their cells.
//!
//! Rows come in many shapes, because MCP names none. Read as a table is an array of objects, and
//! an object with `columns` and `rows`; alone, or as fields of an object. They are looked for in
//! the structured content; where that has none, in each text that is JSON, a Markdown table or CSV.

use std::{borrow::Cow, collections::HashSet};

use serde_json::{Map, Value};

use super::{delimited, order};
use crate::limits::{JSON_VALUES, json_values, nests_too_deeply};

/// Tables read of one result: more are no overview. All of them are in its JSON.
const TABLES: usize = 8;

/// Columns of a table: more cannot be read side by side. All of them are in its JSON.
const COLUMNS: usize = 100;

/// Content blocks that are looked at for a table.
const BLOCKS: usize = 32;

/// JSON in a result, to look for tables in.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    value: Cow<'a, Value>,
    /// The content block it stands in, from 0; none for the structured content.
    block: Option<usize>,
    /// Text that has the keys of objects in the order in which the server wrote them.
    ordered: Option<&'a str>,
}

/// Rows and columns.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    /// The field it stands in; empty when it is all there is.
    pub name: String,
    /// What the columns are called, in the order of their first appearance.
    pub columns: Vec<String>,
    /// The content block it was read from; none for the structured content.
    pub block: Option<usize>,
    rows: &'a [Value],
}

/// The JSON of a result (MCP `CallToolResult`) in which tables can be.
pub fn documents(raw: &Value) -> Vec<Document<'_>> {
    let texts = || blocks(raw).filter_map(|(index, block)| Some((index, text_of(block)?)));
    let structured = raw.get("structuredContent").filter(|it| !it.is_null());
    let structured = structured.map(|value| Document {
        value: Cow::Borrowed(value),
        block: None,
        ordered: texts()
            .map(|(_, text)| text)
            .find(|text| text.trim_start().starts_with(['{', '['])),
    });
    if let Some(document) = &structured
        && !document.tables().is_empty()
    {
        return structured.into_iter().collect();
    }
    let read = texts().filter_map(|(index, text)| {
        Some(Document {
            value: Cow::Owned(value_of(text)?),
            block: Some(index),
            ordered: Some(text),
        })
    });
    structured.into_iter().chain(read).collect()
}

/// Tables of all these documents, at most eight.
pub fn tables<'a>(documents: &'a [Document<'_>]) -> Vec<Table<'a>> {
    let all = documents.iter().flat_map(Document::tables);
    all.take(TABLES).collect()
}

impl Document<'_> {
    fn tables(&self) -> Vec<Table<'_>> {
        let mut found = Vec::new();
        self.look("", &self.value, &mut found);
        if let (true, Value::Object(fields)) = (found.is_empty(), &*self.value) {
            for (name, value) in fields {
                self.look(name, value, &mut found);
            }
        }
        found.truncate(TABLES);
        let sorts = |table: &Table<'_>| table.rows.iter().any(Value::is_object);
        if let Some(text) = self.ordered.filter(|_| found.iter().any(sorts)) {
            let order = order::keys(text);
            for table in found.iter_mut().filter(|table| sorts(table)) {
                order.sort(&mut table.columns);
            }
        }
        found
    }

    /// Adds the table that the value is, if it is one.
    fn look<'a>(&'a self, name: &str, value: &'a Value, found: &mut Vec<Table<'a>>) {
        let table = match value {
            Value::Array(rows) => of_objects(rows),
            Value::Object(object) => with_columns(object),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        found.extend(table.map(|(columns, rows)| Table {
            name: name.to_owned(),
            columns,
            block: self.block,
            rows,
        }));
    }
}

impl<'a> Table<'a> {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// What is in a cell; none where the row has nothing for the column.
    pub fn cell(&self, row: usize, column: usize) -> Option<&'a Value> {
        match self.rows.get(row)? {
            Value::Array(cells) => cells.get(column),
            Value::Object(cells) => cells.get(self.columns.get(column)?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }
}

/// The content blocks that are looked at.
fn blocks(raw: &Value) -> impl Iterator<Item = (usize, &Value)> {
    let blocks = raw.get("content").and_then(Value::as_array);
    blocks.into_iter().flatten().enumerate().take(BLOCKS)
}

/// The text of a block, or of a resource that is embedded in it.
fn text_of(block: &Value) -> Option<&str> {
    let holder = block.get("resource").unwrap_or(block);
    holder.get("text")?.as_str()
}

/// What a text says as JSON.
fn value_of(text: &str) -> Option<Value> {
    let trimmed = text.trim_start();
    if trimmed.starts_with(['{', '[']) {
        if json_values(trimmed.as_bytes()) > JSON_VALUES {
            return None;
        }
        let value = serde_json::from_str(trimmed).ok();
        return value.filter(|value| !nests_too_deeply(value));
    }
    delimited::markdown(text).or_else(|| delimited::csv(text))
}

/// An array of objects: the columns are their keys.
fn of_objects(rows: &[Value]) -> Option<(Vec<String>, &[Value])> {
    let (mut columns, mut known) = (Vec::new(), HashSet::new());
    for row in rows {
        for key in row.as_object()?.keys() {
            if columns.len() < COLUMNS && known.insert(key.as_str()) {
                columns.push(key.clone());
            }
        }
    }
    (!columns.is_empty()).then_some((columns, rows))
}

/// `{"columns": [...], "rows": [...]}`: names, or objects with a name; rows of cells, or objects.
fn with_columns(object: &Map<String, Value>) -> Option<(Vec<String>, &[Value])> {
    let names = object.get("columns")?.as_array()?;
    let rows = object.get("rows")?.as_array()?.as_slice();
    let name = |column: &Value| {
        let name = column.get("name").unwrap_or(column);
        name.as_str().map(str::to_owned)
    };
    let columns: Option<Vec<String>> = names.iter().take(COLUMNS).map(name).collect();
    let columns = columns.filter(|columns| !columns.is_empty())?;
    let are_rows = rows.iter().all(|row| row.is_array() || row.is_object());
    are_rows.then_some((columns, rows))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Names, columns and cells of all tables.
    fn read(raw: &Value) -> Vec<(String, Vec<String>, Vec<Vec<Value>>)> {
        let documents = documents(raw);
        let tables = tables(&documents);
        let cells = |table: &Table<'_>| {
            let row = |row| {
                let columns = 0..table.columns.len();
                let cell = |column| table.cell(row, column).cloned();
                columns.map(|it| cell(it).unwrap_or_default()).collect()
            };
            (0..table.rows()).map(row).collect()
        };
        tables
            .iter()
            .map(|table| (table.name.clone(), table.columns.clone(), cells(table)))
            .collect()
    }

    #[test]
    fn what_has_no_rows_is_no_table() {
        for raw in [
            json!(null),
            json!({ "structuredContent": { "columns": ["a"] } }),
            json!({ "structuredContent": { "columns": ["a"], "rows": [1] } }),
            json!({ "structuredContent": { "columns": [1], "rows": [[1]] } }),
            json!({ "structuredContent": [1, 2] }),
            json!({ "structuredContent": [{ "a": 1 }, 2] }),
            json!({ "structuredContent": [{}, {}] }),
            json!({ "structuredContent": { "deep": { "deeper": [{ "a": 1 }] } } }),
            json!({ "content": [{ "type": "text", "text": "Hello, world.\nIt rains, again.\nBye, now." }] }),
            json!({ "content": [{ "type": "text", "text": "[{\"a\": 1" }] }),
            json!({ "content": "none" }),
        ] {
            assert_eq!(read(&raw), [], "{raw}");
        }
    }

    #[test]
    fn rows_are_found_in_each_usual_shape() {
        let cells = || vec![vec![json!(1), json!("x")]];
        let columns = || vec!["a".to_owned(), "b".to_owned()];
        for (name, structured) in [
            (
                "",
                json!({ "columns": ["a", "b"], "rows": [[1, "x"]], "truncated": false }),
            ),
            (
                "",
                json!({ "columns": [{ "name": "a" }, { "name": "b" }], "rows": [{ "b": "x", "a": 1 }] }),
            ),
            ("", json!([{ "a": 1, "b": "x" }])),
            (
                "result",
                json!({ "result": [{ "a": 1, "b": "x" }], "count": 1 }),
            ),
            (
                "returned",
                json!({ "changes": 1, "returned": { "columns": ["a", "b"], "rows": [[1, "x"]] } }),
            ),
        ] {
            let raw = json!({ "structuredContent": structured });
            assert_eq!(read(&raw), [(name.to_owned(), columns(), cells())], "{raw}");
            let text = structured.to_string();
            let raw = json!({ "content": [{ "type": "text", "text": text }] });
            assert_eq!(read(&raw), [(name.to_owned(), columns(), cells())], "{raw}");
        }
    }

    #[test]
    fn columns_stand_as_the_server_wrote_them_and_missing_cells_are_empty() {
        let text = r#"{"rows": [{"year": 1, "amount": 2}, {"zone": 3, "year": 4, "area": 5}]}"#;
        let structured: Value = serde_json::from_str(text).unwrap();
        let raw = json!({
            "content": [{ "type": "text", "text": "Done:" }, { "type": "text", "text": text }],
            "structuredContent": structured,
        });
        let tables = read(&raw);
        assert_eq!(tables[0].1, ["year", "amount", "zone", "area"]);
        assert_eq!(
            tables[0].2,
            [
                vec![json!(1), json!(2), json!(null), json!(null)],
                vec![json!(4), json!(null), json!(3), json!(5)],
            ]
        );
    }

    #[test]
    fn a_text_is_read_where_the_structured_content_has_no_rows() {
        let text = "Two:\n\n| a | b |\n|---|--:|\n| x | 1 |\n| y\\|z | |\n\n2 rows";
        let raw = json!({
            "content": [{ "type": "text", "text": text }],
            "structuredContent": { "result": text },
        });
        let tables = read(&raw);
        assert_eq!(tables[0].1, ["a", "b"]);
        assert_eq!(
            tables[0].2,
            [vec![json!("x"), json!(1)], vec![json!("y|z"), json!(null)]]
        );
        let resource = json!({ "uri": "file:///a.csv", "text": "a,b\r\n1,\"x, y\"\r\n2,z\r\n" });
        let raw = json!({ "content": [{ "type": "resource", "resource": resource }] });
        assert_eq!(read(&raw)[0].2[0], [json!(1), json!("x, y")]);
    }

    #[test]
    fn many_tables_and_columns_are_bounded() {
        let wide: Map<String, Value> = (0..1000).map(|n| (format!("c{n}"), json!(n))).collect();
        let many: Map<String, Value> = (0..100).map(|n| (format!("t{n}"), json!([wide]))).collect();
        let tables = read(&json!({ "structuredContent": many }));
        assert_eq!((tables.len(), tables[0].1.len()), (TABLES, COLUMNS));
    }
}
