//! The rows of a table in their order, and what its columns hold.

use std::cmp::Ordering;

use chat::shape::table::Table;
use serde_json::Value;

use super::{
    super::{visible, words::beginning},
    asked::{Direction, Sort},
    date,
};

/// Rows that are looked at to know what a column holds.
const SAMPLE: usize = 2000;

/// Characters of a cell that are shown: all of it is in the CSV file and in the JSON.
const CELL_CHARS: usize = 300;

/// What a column holds, as far as it is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    /// Days, months, years or times.
    Date,
    /// Anything else.
    Text,
}

/// A table whose rows are in order.
pub(super) struct Rows<'a> {
    pub(super) table: &'a Table<'a>,
    pub(super) kinds: Vec<Kind>,
    /// Which row is where.
    order: Vec<usize>,
}

/// A cell for people.
pub(super) struct Cell {
    pub(super) text: String,
    /// How it is shown: a class of the style sheet.
    pub(super) class: &'static str,
}

impl<'a> Rows<'a> {
    pub(super) fn new(table: &'a Table<'a>, sort: Option<Sort>) -> Self {
        let columns = 0..table.columns.len();
        let mut order: Vec<usize> = (0..table.rows()).collect();
        if let Some(Sort { column, direction }) = sort {
            // What is equal stays as it was, whichever way it is sorted; what is empty comes last.
            order.sort_by(|a, b| {
                let (a, b) = (table.cell(*a, column), table.cell(*b, column));
                compare(a, b, direction)
            });
        }
        Self {
            kinds: columns.map(|column| kind(table, column)).collect(),
            table,
            order,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn cell(&self, row: usize, column: usize) -> Option<&'a Value> {
        self.table.cell(*self.order.get(row)?, column)
    }

    /// The cells of a row, for people.
    pub(super) fn shown(&self, row: usize) -> Vec<Cell> {
        let columns = self.kinds.iter().enumerate();
        columns
            .map(|(column, kind)| shown(self.cell(row, column), *kind))
            .collect()
    }

    pub(super) fn kind(&self, column: usize) -> Option<Kind> {
        self.kinds.get(column).copied()
    }

    /// What a column is called, for people.
    pub(super) fn name(&self, column: usize) -> String {
        let name = self.table.columns.get(column);
        visible(name.map(String::as_str).unwrap_or_default())
    }
}

/// The number in a cell: also one in text with a decimal point, as databases send exact ones.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) if is_decimal(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    };
    number.filter(|number| number.is_finite())
}

/// When a cell is, in days: a date in text, or the number of a year.
pub(super) fn when(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => date::days(text),
        Value::Number(number) => {
            let year = number
                .as_u64()
                .filter(|year| (1000..=2999).contains(year))?;
            date::days(&year.to_string())
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A cell as text: what is nested as compact JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// `-12.50`: digits around one point.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let parts = digits.split_once('.');
    parts.is_some_and(|(whole, part)| all_digits(whole) && all_digits(part))
}

fn kind(table: &Table<'_>, column: usize) -> Kind {
    let cells = (0..table.rows().min(SAMPLE)).filter_map(|row| table.cell(row, column));
    let mut cells = cells.filter(|cell| !cell.is_null()).peekable();
    if cells.peek().is_none() {
        return Kind::Text;
    }
    let name = table.columns.get(column).map(|name| name.to_lowercase());
    let is_year = name.is_some_and(|name| name.contains("year"));
    let (mut numbers, mut dates) = (true, true);
    for cell in cells {
        numbers &= number(cell).is_some();
        dates &= when(cell).is_some() && (is_year || cell.is_string());
    }
    match (dates, numbers) {
        (true, _) => Kind::Date,
        (false, true) => Kind::Number,
        (false, false) => Kind::Text,
    }
}

fn compare(a: Option<&Value>, b: Option<&Value>, direction: Direction) -> Ordering {
    let there = |value: Option<&'_ Value>| value.is_some_and(|value| !value.is_null());
    let (Some(first), Some(second), true, true) = (a, b, there(a), there(b)) else {
        return there(b).cmp(&there(a));
    };
    let ascending = match (number(first), number(second)) {
        (Some(first), Some(second)) => first.total_cmp(&second),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => by_text(first, second),
    };
    match direction {
        Direction::Ascending => ascending,
        Direction::Descending => ascending.reverse(),
    }
}

fn by_text(a: &Value, b: &Value) -> Ordering {
    let (Value::String(a), Value::String(b)) = (a, b) else {
        return a.to_string().cmp(&b.to_string());
    };
    a.chars()
        .flat_map(char::to_lowercase)
        .cmp(b.chars().flat_map(char::to_lowercase))
        .then_with(|| a.cmp(b))
}

fn shown(value: Option<&Value>, kind: Kind) -> Cell {
    let value = value.unwrap_or(&Value::Null);
    let class = match (value, kind) {
        (Value::Null, _) => "none",
        (Value::Number(_), _) | (Value::String(_), Kind::Number) => "number",
        (Value::Array(_) | Value::Object(_), _) => "nested",
        (Value::Bool(_) | Value::String(_), _) => "",
    };
    let text = match value {
        Value::Null => "–".to_owned(),
        Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => beginning(&plain(value), CELL_CHARS),
    };
    Cell { text, class }
}

#[cfg(test)]
mod tests {
    use chat::shape::table::{documents, tables};
    use serde_json::json;

    use super::*;

    fn with<T>(rows: &Value, check: impl Fn(&Table<'_>) -> T) -> T {
        let raw = json!({ "structuredContent": rows });
        let documents = documents(&raw);
        check(&tables(&documents)[0])
    }

    fn sorted(cells: &Value, direction: Direction) -> Vec<Value> {
        let rows: Vec<_> = cells
            .as_array()
            .unwrap()
            .iter()
            .map(|it| json!([it]))
            .collect();
        with(&json!({ "columns": ["a"], "rows": rows }), |table| {
            let sort = Sort {
                column: 0,
                direction,
            };
            let rows = Rows::new(table, Some(sort));
            let all = 0..rows.len();
            all.map(|row| rows.cell(row, 0).cloned().unwrap()).collect()
        })
    }

    #[test]
    fn numbers_are_sorted_as_numbers_and_text_as_people_do() {
        let cells = json!([10, "b", null, 9, "A", "10.5", "a", true]);
        let up = sorted(&cells, Direction::Ascending);
        assert_eq!(json!(up), json!([9, 10, "10.5", "A", "a", "b", true, null]));
        let down = sorted(&cells, Direction::Descending);
        assert_eq!(
            json!(down),
            json!([true, "b", "a", "A", "10.5", 10, 9, null])
        );
    }

    #[test]
    fn what_is_equal_stays_as_it_was() {
        let rows = json!({ "columns": ["k", "n"], "rows": [[1, 1], [0, 2], [1, 3], [0, 4]] });
        with(&rows, |table| {
            for (direction, expected) in [
                (Direction::Ascending, [2, 4, 1, 3]),
                (Direction::Descending, [1, 3, 2, 4]),
            ] {
                let sort = Sort {
                    column: 0,
                    direction,
                };
                let rows = Rows::new(table, Some(sort));
                let found: Vec<_> = (0..4).filter_map(|row| rows.cell(row, 1)).collect();
                assert_eq!(json!(found), json!(expected));
            }
            let none = Sort {
                column: 99,
                direction: Direction::Ascending,
            };
            assert_eq!(Rows::new(table, Some(none)).cell(0, 1), Some(&json!(1)));
        });
    }

    #[test]
    fn a_column_is_what_all_its_cells_are() {
        let columns = [
            "empty", "number", "exact", "zip", "date", "year", "count", "mixed",
        ];
        let rows = json!({ "columns": columns, "rows": [
            [null, 1, "1.50", "10115", "2024-01", 2024, 2024, 1],
            [null, -2.5, "-3.0", "20095", "2024-02-03", 2025, 7, "x"],
            [null, null, null, null, null, null, null, null],
        ] });
        let kinds = with(&rows, |table| Rows::new(table, None).kinds);
        let (number, date, text) = (Kind::Number, Kind::Date, Kind::Text);
        assert_eq!(
            kinds,
            [text, number, number, text, date, date, number, text]
        );
    }

    #[test]
    fn cells_are_short_and_nothing_in_them_is_hidden() {
        let cell = |value: Value| shown(Some(&value), Kind::Text);
        assert_eq!(cell(json!("x".repeat(10_000))).text.chars().count(), 301);
        assert_eq!(cell(json!("a\u{202e}b")).text, "a\\u202eb");
        assert_eq!(
            (cell(json!(null)).text.as_str(), cell(json!(null)).class),
            ("–", "none")
        );
        assert_eq!(cell(json!({ "a": [1] })).text, r#"{"a":[1]}"#);
    }
}
