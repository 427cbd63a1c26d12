//! A table as a chart: which columns are drawn, and their numbers.

mod axis;
mod drawing;

use super::{
    super::words::beginning,
    asked::{Drawn, SERIES},
    rows::{Kind, Rows, number, plain, when},
};

pub(super) use drawing::{Drawing, Place};

/// Bars side by side that can still be read.
const CATEGORIES: usize = 60;

/// Points of a line: more than there are pixels for.
const POINTS: usize = 1000;

/// Characters of a label.
const LABEL_CHARS: usize = 24;

/// Columns whose largest numbers differ by more than this factor are not drawn together unless
/// somebody asks for it: one of them would be flat.
const FAR_APART: f64 = 20.0;

/// A chart.
pub(super) struct Chart {
    /// The column of the labels.
    pub(super) x: usize,
    pub(super) x_name: String,
    pub(super) labels: Vec<String>,
    /// When each label is, in days, if all of them are dates.
    pub(super) whens: Option<Vec<f64>>,
    pub(super) series: Vec<Series>,
    /// Rows that could be drawn.
    pub(super) rows: usize,
}

/// The numbers of a column.
pub(super) struct Series {
    pub(super) column: usize,
    pub(super) name: String,
    /// One for each label, where there is one.
    pub(super) values: Vec<Option<f64>>,
}

impl Chart {
    /// The chart of the columns asked for. None unless there is a column of categories or dates, a
    /// column of numbers, and at least two rows with both.
    pub(super) fn of(rows: &Rows<'_>, drawn: &Drawn) -> Option<Self> {
        let labels = labels(rows);
        let x = drawn.x.filter(|x| labels.contains(x));
        let x = x.or_else(|| default_label(rows, &labels))?;
        let y = series(rows, x, drawn);
        let is_date = rows.kind(x) == Some(Kind::Date);
        let time = |row: &usize| rows.cell(*row, x).and_then(when).unwrap_or_default();
        let has_both = |row: &usize| {
            let label = rows.cell(*row, x).is_some_and(|label| !label.is_null());
            let value = |column: &usize| rows.cell(*row, *column).and_then(number);
            label && y.iter().any(|column| value(column).is_some())
        };
        let mut points: Vec<usize> = (0..rows.len()).filter(has_both).collect();
        let count = points.len();
        if count < 2 {
            return None;
        }
        if is_date {
            points.sort_by(|a, b| time(a).total_cmp(&time(b)));
        }
        points.truncate(if is_date { POINTS } else { CATEGORIES });
        let label = |row: &usize| {
            let cell = rows.cell(*row, x).map(plain).unwrap_or_default();
            beginning(&cell, LABEL_CHARS)
        };
        Some(Self {
            x,
            x_name: rows.name(x),
            labels: points.iter().map(label).collect(),
            whens: is_date.then(|| points.iter().map(time).collect()),
            series: y.iter().map(|y| of_column(rows, *y, &points)).collect(),
            rows: count,
        })
    }

    /// The smallest and the largest number in it.
    pub(super) fn range(&self) -> (f64, f64) {
        let values = self.series.iter().flat_map(|series| &series.values);
        let values = values.flatten().copied();
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    }
}

impl Series {
    /// The label and the number where it is largest, by `compare`.
    pub(super) fn extreme<'a>(
        &self,
        labels: &'a [String],
        better: fn(f64, f64) -> bool,
    ) -> Option<(&'a str, f64)> {
        let there = labels.iter().zip(&self.values);
        let there = there.filter_map(|(label, value)| Some((label.as_str(), (*value)?)));
        there.reduce(|best, other| if better(other.1, best.1) { other } else { best })
    }
}

/// Columns that can be labels.
pub(super) fn labels(rows: &Rows<'_>) -> Vec<usize> {
    let columns = 0..rows.kinds.len();
    columns
        .filter(|column| match rows.kind(*column) {
            Some(Kind::Date | Kind::Text) => true,
            Some(Kind::Number) | None => false,
        })
        .collect()
}

/// Columns that can be drawn.
pub(super) fn numbers(rows: &Rows<'_>) -> Vec<usize> {
    let columns = 0..rows.kinds.len();
    columns
        .filter(|column| rows.kind(*column) == Some(Kind::Number))
        .collect()
}

/// The first column of dates, else the first whose cells are plain text.
fn default_label(rows: &Rows<'_>, labels: &[usize]) -> Option<usize> {
    let is_date = |column: &usize| rows.kind(*column) == Some(Kind::Date);
    let is_text = |column: &usize| {
        let first = (0..rows.len()).find_map(|row| {
            let cell = rows.cell(row, *column);
            cell.filter(|cell| !cell.is_null())
        });
        first.is_some_and(|cell| cell.is_string() || cell.is_boolean())
    };
    let mut dates = labels.iter().filter(|column| is_date(column));
    let text = || labels.iter().find(|column| is_text(column));
    dates.next().or_else(text).copied()
}

/// The columns asked for; else the one with the largest numbers and those of its size.
fn series(rows: &Rows<'_>, x: usize, drawn: &Drawn) -> Vec<usize> {
    let numbers = numbers(rows);
    let mut asked: Vec<usize> = Vec::new();
    for column in &drawn.y {
        if numbers.contains(column) && *column != x && !asked.contains(column) {
            asked.push(*column);
        }
    }
    if !asked.is_empty() {
        return asked;
    }
    let largest = |column: usize| {
        let values = (0..rows.len()).filter_map(|row| rows.cell(row, column).and_then(number));
        values.fold(0.0, |most: f64, value| most.max(value.abs()))
    };
    let counts = |column: &usize| !is_identifier(&rows.name(*column));
    let sized: Vec<(usize, f64)> = numbers
        .into_iter()
        .filter(counts)
        .map(|column| (column, largest(column)))
        .collect();
    let most = sized
        .iter()
        .fold(0.0, |most: f64, (_, size)| most.max(*size));
    let near = sized.iter().filter(|(_, size)| size * FAR_APART >= most);
    near.map(|(column, _)| *column).take(SERIES).collect()
}

fn is_identifier(name: &str) -> bool {
    let name = name.to_lowercase();
    name == "id" || name.ends_with("_id") || name.ends_with(" id")
}

fn of_column(rows: &Rows<'_>, column: usize, points: &[usize]) -> Series {
    let value = |row: &usize| rows.cell(*row, column).and_then(number);
    Series {
        column,
        name: beginning(&rows.name(column), LABEL_CHARS),
        values: points.iter().map(value).collect(),
    }
}

#[cfg(test)]
mod tests {
    use chat::shape::table::{documents, tables};
    use serde_json::{Value, json};

    use super::*;

    fn chart(structured: &Value, drawn: &Drawn) -> Option<Chart> {
        let raw = json!({ "structuredContent": structured });
        let documents = documents(&raw);
        let tables = tables(&documents);
        Chart::of(&Rows::new(&tables[0], None), drawn)
    }

    #[test]
    fn what_has_nothing_to_draw_is_no_chart() {
        for rows in [
            json!({ "columns": ["name"], "rows": [["a"], ["b"]] }),
            json!({ "columns": ["n", "m"], "rows": [[1, 2], [3, 4]] }),
            json!({ "columns": ["name", "n"], "rows": [["a", 1]] }),
            json!({ "columns": ["name", "n"], "rows": [["a", 1], ["b", null], [null, 3]] }),
            json!({ "columns": ["name", "n"], "rows": [["a", "1e999"], ["b", "x"]] }),
            json!({ "columns": ["it", "n"], "rows": [[{}, 1], [{}, 2]] }),
            json!({ "columns": ["name", "id"], "rows": [["a", 1], ["b", 2]] }),
        ] {
            assert!(chart(&rows, &Drawn::default()).is_none(), "{rows}");
        }
    }

    #[test]
    fn columns_are_chosen_or_asked_for() {
        let rows = json!({
            "columns": ["order_id", "shop", "month", "orders", "sales", "costs"],
            "rows": [
                [1, "Oslo", "2024-02", 5, 900_000, 600_000],
                [2, "Bern", "2024-01", 7, 800_000.5, null],
                [3, "Rome", null, 7, 800_000.5, 1],
            ],
        });
        let chosen = chart(&rows, &Drawn::default()).unwrap();
        assert_eq!((chosen.x, &*chosen.x_name), (2, "month"));
        assert_eq!(chosen.labels, ["2024-01", "2024-02"], "sorted by date");
        let names: Vec<_> = chosen.series.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["sales", "costs"]);
        assert_eq!(chosen.series[1].values, [None, Some(600_000.0)]);

        let drawn = Drawn {
            x: Some(1),
            y: vec![3, 3, 1, 99],
        };
        let asked = chart(&rows, &drawn).unwrap();
        assert_eq!(asked.labels, ["Oslo", "Bern", "Rome"]);
        assert_eq!(asked.series.len(), 1);
        assert!(asked.whens.is_none());
        assert_eq!(asked.range(), (5.0, 7.0));
    }

    #[test]
    fn many_rows_are_cut() {
        let rows: Vec<_> = (0..5000).map(|n| json!([format!("c{n}"), n])).collect();
        let bars = chart(
            &json!({ "columns": ["c", "n"], "rows": rows }),
            &Drawn::default(),
        );
        let bars = bars.unwrap();
        assert_eq!((bars.labels.len(), bars.rows), (CATEGORIES, 5000));
    }
}
