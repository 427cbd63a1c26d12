//! A table as comma-separated values (RFC 4180).

use serde_json::Value;

use super::rows::{Rows, plain};

/// Cells that begin so are formulas for spreadsheets (OWASP, CSV injection).
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// All rows in their order, after a line of names.
pub(super) fn csv(rows: &Rows<'_>) -> String {
    let mut text = String::new();
    let names = rows.table.columns.iter();
    line(&mut text, names.map(|name| harmless(name.clone())));
    for row in 0..rows.len() {
        let columns = 0..rows.table.columns.len();
        line(
            &mut text,
            columns.map(|column| cell(rows.cell(row, column))),
        );
    }
    text
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            text.push(',');
        }
        if cell.contains([',', '"', '\r', '\n']) {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(&cell);
        }
    }
    text.push_str("\r\n");
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(value @ Value::Number(_)) => value.to_string(),
        Some(value) => harmless(plain(value)),
    }
}

/// The text, so that no spreadsheet runs it: what is a number stays one.
fn harmless(text: String) -> String {
    if text.starts_with(FORMULA) && !text.parse::<f64>().is_ok_and(f64::is_finite) {
        return format!("'{text}");
    }
    text
}

#[cfg(test)]
mod tests {
    use chat::shape::table::{documents, tables};
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_in_it_is_run_or_breaks_out() {
        let raw = json!({ "structuredContent": {
            "columns": ["=1+1", "b\"c", "n"],
            "rows": [
                ["=cmd|' /C calc'!A0", "@SUM(1)", -5],
                ["+1-555", "-12.5", 1.5],
                ["\tx", "a\r\nb,c", null],
                ["-", { "a": 1 }, true],
            ],
        } });
        let documents = documents(&raw);
        let tables = tables(&documents);
        let csv = csv(&Rows::new(&tables[0], None));
        assert_eq!(
            csv,
            "'=1+1,\"b\"\"c\",n\r\n\
             '=cmd|' /C calc'!A0,'@SUM(1),-5\r\n\
             '+1-555,-12.5,1.5\r\n\
             '\tx,\"a\r\nb,c\",\r\n\
             '-,\"{\"\"a\"\":1}\",true\r\n"
        );
    }
}
