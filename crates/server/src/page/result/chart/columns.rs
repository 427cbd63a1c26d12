//! Which columns of a table a chart draws.

use std::collections::HashSet;

use super::{
    super::{
        asked::{By, Drawn, SERIES},
        rows::{Kind, Rows, number},
    },
    key::{Key, key},
};

/// Columns whose largest numbers differ by more than this factor are not drawn together unless
/// somebody asks for it: one of them would be flat.
const FAR_APART: f64 = 20.0;

/// Columns that are looked at to tell rows of the same date apart: the first ones are what rows are
/// about.
const SPLITS: usize = 8;

/// What counts time and is no date, as the name of a column of numbers.
const PERIODS: [&str; 5] = ["quarter", "month", "week", "weekday", "hour"];

/// The columns of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Columns {
    /// Along the axis.
    pub(in super::super) x: usize,
    /// Whose values are the series; else the columns of numbers are.
    pub(in super::super) by: Option<usize>,
    /// The numbers; one if `by` is there.
    pub(in super::super) y: Vec<usize>,
    /// Columns of numbers that were asked for, and are too many beside `by`.
    pub(super) left_out: usize,
}

impl Columns {
    /// The columns that are asked for; what is not said is chosen. None if there is nothing to
    /// draw.
    pub(super) fn of(rows: &Rows<'_>, drawn: &Drawn) -> Option<Self> {
        let labels = labels(rows);
        let x = drawn.x.filter(|x| labels.contains(x));
        let x = x.or_else(|| default_label(rows, &labels))?;
        let asked = asked_numbers(rows, x, &drawn.y);
        let by = match drawn.by {
            By::Column(by) => Some(by).filter(|by| labels.contains(by) && *by != x),
            By::Nothing => None,
            By::Chosen if asked.len() > 1 => None,
            By::Chosen => default_split(rows, x, &labels),
        };
        let was_asked = !asked.is_empty();
        let mut y = if was_asked {
            asked
        } else {
            default_numbers(rows, x)
        };
        let all = y.len();
        if by.is_some() {
            y.truncate(1);
        }
        let left_out = if was_asked { all - y.len() } else { 0 };
        (!y.is_empty()).then_some(Self { x, by, y, left_out })
    }
}

/// Columns that can be labels.
pub(in super::super) fn labels(rows: &Rows<'_>) -> Vec<usize> {
    let columns = 0..rows.kinds.len();
    columns
        .filter(|column| match rows.kind(*column) {
            Some(Kind::Date | Kind::Text) => true,
            Some(Kind::Number) => is_period(&rows.name(*column)),
            None => false,
        })
        .collect()
}

/// Columns that can be drawn.
pub(in super::super) fn numbers(rows: &Rows<'_>) -> Vec<usize> {
    let columns = 0..rows.kinds.len();
    columns
        .filter(|column| rows.kind(*column) == Some(Kind::Number))
        .collect()
}

/// The first column of dates, else the first whose cells are plain text, else one that counts
/// months or the like; of those that tell rows apart.
fn default_label(rows: &Rows<'_>, labels: &[usize]) -> Option<usize> {
    let differs = |column: &&usize| {
        let mut keys = (0..rows.len()).filter_map(|row| key(rows, row, **column));
        let first = keys.next();
        keys.any(|key| Some(key) != first)
    };
    let of = |wanted: fn(&Rows<'_>, usize) -> bool| {
        let mut found = labels.iter().filter(|column| wanted(rows, **column));
        found.find(differs).copied()
    };
    of(|rows, column| rows.kind(column) == Some(Kind::Date))
        .or_else(|| of(is_plain))
        .or_else(|| of(|rows, column| rows.kind(column) == Some(Kind::Number)))
}

/// Whether the first cell that has anything is text.
fn is_plain(rows: &Rows<'_>, column: usize) -> bool {
    let mut cells = (0..rows.len()).filter_map(|row| rows.cell(row, column));
    let first = cells.find(|cell| !cell.is_null());
    first.is_some_and(|cell| cell.is_string() || cell.is_boolean())
}

/// The column of categories that tells rows of the same date apart, and has about all dates for
/// each of them: a line through the dates of each is worth a look. None where no two rows have the
/// same date.
fn default_split(rows: &Rows<'_>, x: usize, labels: &[usize]) -> Option<usize> {
    if rows.kind(x) != Some(Kind::Date) {
        return None;
    }
    let dates: Vec<_> = (0..rows.len()).map(|row| key(rows, row, x)).collect();
    let count = dates.iter().flatten().count();
    let different = dates.iter().flatten().collect::<HashSet<_>>().len();
    if different == count {
        return None;
    }
    let candidates = labels.iter().filter(|by| **by != x && is_plain(rows, **by));
    let dense = candidates.take(SPLITS).filter_map(|by| {
        let (mut pairs, mut categories) = (HashSet::new(), HashSet::new());
        for (row, date) in dates.iter().enumerate() {
            if let (Some(Key::When(date)), Some(category)) = (date, key(rows, row, *by)) {
                categories.insert(category.clone());
                pairs.insert((*date, category));
            }
        }
        let is_dense = categories.len() > 1 && pairs.len() * 2 >= different * categories.len();
        // What leaves no two rows together is best, then what has the fewest lines.
        is_dense.then_some((pairs.len() < count, categories.len(), *by))
    });
    dense.min().map(|(_, _, by)| by)
}

fn asked_numbers(rows: &Rows<'_>, x: usize, wanted: &[usize]) -> Vec<usize> {
    let numbers = numbers(rows);
    let mut asked = Vec::new();
    for column in wanted {
        if numbers.contains(column) && *column != x && !asked.contains(column) {
            asked.push(*column);
        }
    }
    asked
}

/// The column with the largest numbers and those of its size.
fn default_numbers(rows: &Rows<'_>, x: usize) -> Vec<usize> {
    let largest = |column: usize| {
        let values = (0..rows.len()).filter_map(|row| rows.cell(row, column).and_then(number));
        values.fold(0.0, |most: f64, value| most.max(value.abs()))
    };
    let counts = |column: &usize| {
        let name = rows.name(*column);
        *column != x && !is_identifier(&name) && !is_period(&name)
    };
    let sized: Vec<(usize, f64)> = numbers(rows)
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

fn is_period(name: &str) -> bool {
    PERIODS.contains(&name.to_lowercase().as_str())
}
