//! Tables written as text: Markdown (GitHub's tables) and comma-separated values (RFC 4180).

use serde_json::{Number, Value, json};

/// Bytes of a text that is looked at.
const TEXT_BYTES: usize = 8 * 1024 * 1024;

/// Cells read: as many as any other table has.
const CELLS: usize = crate::limits::JSON_VALUES;

/// The first Markdown table of a text, as `{"columns": …, "rows": …}`.
pub(super) fn markdown(text: &str) -> Option<Value> {
    let mut lines = bounded(text)?.lines().peekable();
    loop {
        let line = lines.next()?;
        let Some(columns) = bars(line) else { continue };
        let is_rule = |cell: &String| {
            let dashes = cell.trim_matches(':');
            !dashes.is_empty() && dashes.bytes().all(|byte| byte == b'-')
        };
        let rule = lines.peek().and_then(|line| bars(line));
        if rule.is_some_and(|rule| rule.len() == columns.len() && rule.iter().all(is_rule)) {
            let rows = lines.skip(1).map_while(bars);
            return Some(table(&columns, rows));
        }
    }
}

/// A text that is nothing but comma-separated values with a line of names, as
/// `{"columns": …, "rows": …}`. Prose with commas is none: it has a space after them.
pub(super) fn csv(text: &str) -> Option<Value> {
    let mut records = records(bounded(text)?)?.into_iter();
    let columns = records.next()?;
    let names = columns.len() > 1 && columns.iter().all(|name| !name.is_empty());
    let rows: Vec<_> = records.collect();
    let even = rows.iter().all(|row| row.len() == columns.len());
    (names && even && rows.len() > 1).then(|| table(&columns, rows.into_iter()))
}

fn bounded(text: &str) -> Option<&str> {
    (text.len() <= TEXT_BYTES).then_some(text)
}

fn table(columns: &[String], rows: impl Iterator<Item = Vec<String>>) -> Value {
    let most = CELLS / columns.len().max(1);
    let cells = |row: Vec<String>| row.into_iter().map(value).collect::<Vec<_>>();
    let rows: Vec<_> = rows.take(most).map(cells).collect();
    json!({ "columns": columns, "rows": rows })
}

/// A cell: a number where it is one, and would be written the same way.
fn value(text: String) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let leads = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    match text.parse::<Number>() {
        Ok(number) if !leads => Value::Number(number),
        Ok(_) | Err(_) => Value::String(text),
    }
}

/// The cells of a line of a Markdown table.
fn bars(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let (mut cells, mut cell, mut escaped) = (Vec::new(), String::new(), false);
    for c in inner.chars() {
        match c {
            '|' if escaped => {
                cell.pop();
                cell.push('|');
            }
            '|' => cells.push(std::mem::take(&mut cell)),
            _ => cell.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    cells.push(cell);
    Some(cells.iter().map(|cell| cell.trim().to_owned()).collect())
}

/// The records of comma-separated values; none if the text is not such.
fn records(text: &str) -> Option<Vec<Vec<String>>> {
    let (mut records, mut record) = (Vec::new(), Vec::new());
    let mut rest = text.trim_start_matches('\u{feff}').trim_end();
    loop {
        let (cell, after) = field(rest)?;
        record.push(cell);
        if let Some(more) = after.strip_prefix(',') {
            rest = more;
            continue;
        }
        records.push(std::mem::take(&mut record));
        if after.is_empty() {
            return Some(records);
        }
        let line = after.strip_prefix('\r').unwrap_or(after);
        rest = line.strip_prefix('\n')?;
    }
}

/// A field and what follows it.
fn field(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', '\r', '\n', '"']).unwrap_or(text.len());
        let (field, rest) = text.split_at(end);
        let prose = field.starts_with(' ') || rest.starts_with('"');
        return (!prose).then(|| (field.to_owned(), rest));
    };
    let mut field = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_a_little_like_a_table_is_none() {
        for text in [
            "",
            "a,b",
            "a,b\n1,2",
            "a,b\n1,2\n3",
            "a,b\n1,2\n3,\"4",
            "a,b\n1,2\n3,4\" x",
            "Dear Ana,\nI write, because\nit rains, again",
            "a,\n1,2\n3,4",
            "one\ntwo\nthree",
        ] {
            assert_eq!(csv(text), None, "{text}");
        }
        for text in [
            "",
            "| a |",
            "| a |\n| b |",
            "| a | b |\n|---|\n",
            "| a |\n|:|",
        ] {
            assert_eq!(markdown(text), None, "{text}");
        }
    }

    #[test]
    fn quoted_fields_hold_anything() {
        let text = "\u{feff}name,says\r\n\"A, B\",\"\"\"hi\"\"\nthere\"\r\n007,-1.50\r\n";
        let expected = json!({
            "columns": ["name", "says"],
            "rows": [["A, B", "\"hi\"\nthere"], ["007", -1.5]],
        });
        assert_eq!(csv(text), Some(expected));
    }

    #[test]
    fn a_markdown_table_is_found_among_prose() {
        let text =
            "So:\n| no table |\n\n| a | b |\n| :-- | --: |\n| `x\\|y` | 12 |\n\nThat is all.";
        let expected = json!({ "columns": ["a", "b"], "rows": [["`x|y`", 12]] });
        assert_eq!(markdown(text), Some(expected));
    }
}
