//! Rows brought together by what they stand for: one number for each label and series.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use super::{
    super::rows::{Kind, Rows, number, plain},
    Unit, Whens,
    columns::Columns,
    key::{Key, key},
};

/// Rows by their labels and series.
#[derive(Default)]
pub(super) struct Groups<'a> {
    /// What the labels are called, in the order of the rows.
    labels: Vec<Cow<'a, str>>,
    /// When they are, if they are dates.
    pub(super) whens: Option<Vec<f64>>,
    /// What the series are called, if they are values of a column.
    pub(super) names: Vec<Cow<'a, str>>,
    /// The numbers of each series by the number of their label.
    series: Vec<BTreeMap<usize, Option<f64>>>,
    /// Rows that have all that is needed.
    pub(super) rows: usize,
    /// There are numbers that were added up.
    pub(super) is_summed: bool,
}

/// Values by the number of their first appearance.
struct Numbered<'a>(HashMap<Key<'a>, usize>);

impl<'a> Groups<'a> {
    pub(super) fn of(rows: &Rows<'a>, columns: &Columns) -> Self {
        let mut groups = Self {
            whens: (rows.kind(columns.x) == Some(Kind::Date)).then(Vec::new),
            ..Self::default()
        };
        let mut labels = Numbered(HashMap::new());
        let mut names = Numbered(HashMap::new());
        for row in 0..rows.len() {
            let Some(x) = key(rows, row, columns.x) else {
                continue;
            };
            let first = match columns.by.map(|by| (by, key(rows, row, by))) {
                None => 0,
                Some((_, None)) => continue,
                Some((by, Some(name))) => names.place(name, || {
                    groups.names.push(text(rows, row, by));
                }),
            };
            let label = labels.place(x.clone(), || {
                groups.labels.push(text(rows, row, columns.x));
                if let (Some(whens), Key::When(bits)) = (&mut groups.whens, &x) {
                    whens.push(f64::from_bits(*bits));
                }
            });
            let values = columns
                .y
                .iter()
                .map(|y| rows.cell(row, *y).and_then(number));
            let values: Vec<_> = values.collect();
            groups.rows += usize::from(values.iter().any(Option::is_some));
            for (place, value) in values.into_iter().enumerate() {
                groups.add(first + place, label, value);
            }
        }
        groups
    }

    pub(super) fn label(&self, label: usize) -> &str {
        self.labels.get(label).map_or("", |label| label)
    }

    /// The series that are drawn, at most so many: all columns, and of the values of a column
    /// those with the largest numbers.
    pub(super) fn largest(&self, most: usize) -> Vec<usize> {
        let size = |series: &BTreeMap<_, Option<f64>>| {
            let values = series.values().flatten();
            values.fold(0.0, |sum, value| sum + value.abs())
        };
        let sizes = self.series.iter().map(size).enumerate();
        let mut sizes: Vec<(usize, f64)> = sizes.collect();
        if !self.names.is_empty() {
            sizes.sort_by(|a, b| b.1.total_cmp(&a.1));
        }
        sizes.into_iter().take(most).map(|(it, _)| it).collect()
    }

    /// The labels of these series in their order: as the rows have them, or by date. None unless
    /// two of them have a number.
    pub(super) fn places(&self, series: &[usize]) -> Option<Vec<usize>> {
        let mut places: BTreeMap<usize, bool> = BTreeMap::new();
        for points in series.iter().filter_map(|number| self.series.get(*number)) {
            for (label, value) in points {
                *places.entry(*label).or_default() |= value.is_some();
            }
        }
        if places.values().filter(|has_number| **has_number).count() < 2 {
            return None;
        }
        let Some(whens) = &self.whens else {
            places.retain(|_, has_number| *has_number);
            return Some(places.into_keys().collect());
        };
        let when = |label: &usize| whens.get(*label).copied().unwrap_or_default();
        let mut places: Vec<usize> = places.into_keys().collect();
        places.sort_by(|a, b| when(a).total_cmp(&when(b)));
        Some(places)
    }

    /// The numbers of a series by the places of their labels.
    pub(super) fn points(&self, series: usize, places: &[usize]) -> Vec<(usize, Option<f64>)> {
        let Some(numbers) = self.series.get(series) else {
            return Vec::new();
        };
        let shown = |value: f64| {
            if self.is_summed {
                rounded(value)
            } else {
                value
            }
        };
        let points = places.iter().enumerate();
        points
            .filter_map(|(place, label)| Some((place, numbers.get(label)?.map(shown))))
            .collect()
    }

    /// When these labels are, if they are dates.
    pub(super) fn whens_of(&self, places: &[usize]) -> Option<Whens> {
        let whens = self.whens.as_ref()?;
        let unit = self.labels.iter().map(|label| Unit::of(label)).max();
        Some(Whens {
            days: places
                .iter()
                .filter_map(|label| whens.get(*label).copied())
                .collect(),
            unit: unit.unwrap_or(Unit::Day),
        })
    }

    fn add(&mut self, series: usize, label: usize, value: Option<f64>) {
        if series >= self.series.len() {
            self.series.resize(series + 1, BTreeMap::new());
        }
        let Some(series) = self.series.get_mut(series) else {
            return;
        };
        let there = series.entry(label).or_default();
        *there = match (*there, value) {
            (Some(sum), Some(value)) => {
                self.is_summed = true;
                Some((sum + value).clamp(f64::MIN, f64::MAX))
            }
            (sum, value) => sum.or(value),
        };
    }
}

impl<'a> Numbered<'a> {
    /// The number of the key; `add` is called when it is new.
    fn place(&mut self, key: Key<'a>, add: impl FnOnce()) -> usize {
        let next = self.0.len();
        *self.0.entry(key).or_insert_with(|| {
            add();
            next
        })
    }
}

fn text<'a>(rows: &Rows<'a>, row: usize, column: usize) -> Cow<'a, str> {
    match rows.cell(row, column) {
        Some(serde_json::Value::String(text)) => Cow::Borrowed(text),
        Some(value) => Cow::Owned(plain(value)),
        None => Cow::Borrowed(""),
    }
}

/// A sum without the noise of binary fractions.
fn rounded(sum: f64) -> f64 {
    // 15 digits survive being written and read (IEEE 754).
    let rounded = format!("{sum:.14e}").parse().ok();
    rounded.filter(|it: &f64| it.is_finite()).unwrap_or(sum)
}
