//! A table as a chart: all of its rows, brought together by what is drawn along the axis.

mod axis;
mod calendar;
mod columns;
mod drawing;
mod groups;
mod ink;
mod key;

use self::{calendar::Unit, groups::Groups};
use super::{
    super::words::{self, beginning},
    asked::{Drawn, SERIES},
    rows::Rows,
};

pub(super) use columns::{Columns, labels, numbers};
pub(super) use drawing::{Drawing, Place};

/// Bars below one another that can still be read.
const CATEGORIES: usize = 60;

/// Characters of a label.
const LABEL_CHARS: usize = 24;

/// A chart.
pub(super) struct Chart {
    pub(super) columns: Columns,
    /// What is along the axis.
    pub(super) x_name: String,
    /// What the numbers are.
    pub(super) measure: String,
    /// Whose values the series are, when they are no columns.
    pub(super) by_name: Option<String>,
    pub(super) labels: Vec<String>,
    /// When the labels are, if they are dates.
    pub(super) whens: Option<Whens>,
    pub(super) series: Vec<Series>,
    /// Rows that are in it.
    pub(super) rows: usize,
    /// What somebody who reads it has to know: which rows are one, and what is not drawn.
    pub(super) notes: Vec<String>,
}

/// Dates along an axis.
pub(super) struct Whens {
    /// In days since 1970-01-01, the earliest first.
    pub(super) days: Vec<f64>,
    /// How exactly they are known.
    unit: Unit,
}

/// Numbers that are one line, or bars of one colour.
pub(super) struct Series {
    pub(super) name: String,
    /// Labels by their place with their numbers, in order. None where there are rows without a
    /// number; where there are no rows, there is no point.
    pub(super) points: Vec<(usize, Option<f64>)>,
}

impl Chart {
    /// The chart of the columns asked for. None unless there is a column of categories or dates, a
    /// column of numbers, and at least two labels with a number.
    pub(super) fn of(rows: &Rows<'_>, drawn: &Drawn) -> Option<Self> {
        let columns = Columns::of(rows, drawn)?;
        let groups = Groups::of(rows, &columns);
        let largest = groups.largest(SERIES);
        let mut places = groups.places(&largest)?;
        let all = places.len();
        if groups.whens.is_none() {
            places.truncate(CATEGORIES);
        }
        let name = |column: &usize| beginning(&rows.name(*column), LABEL_CHARS);
        let names: Vec<_> = columns.y.iter().map(name).collect();
        let names = names.join(", ");
        let series = largest.iter().map(|number| Series {
            name: match groups.names.get(*number) {
                Some(category) => label(category),
                None => columns.y.get(*number).map(name).unwrap_or_default(),
            },
            points: groups.points(*number, &places),
        });
        let chart = Self {
            x_name: name(&columns.x),
            measure: if groups.is_summed {
                format!("Sum of {names}")
            } else {
                names
            },
            by_name: columns.by.as_ref().map(name),
            series: series.collect(),
            labels: places.iter().map(|it| label(groups.label(*it))).collect(),
            whens: groups.whens_of(&places),
            rows: groups.rows,
            notes: Vec::new(),
            columns,
        };
        Some(Self {
            notes: chart.notes(&groups, all, rows.len()),
            ..chart
        })
    }

    /// The smallest and the largest number in it.
    pub(super) fn range(&self) -> (f64, f64) {
        let points = self.series.iter().flat_map(|series| &series.points);
        let values = points.filter_map(|(_, value)| *value);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    }

    /// `labels` could be drawn, from a table of `rows`.
    fn notes(&self, groups: &Groups<'_>, labels: usize, rows: usize) -> Vec<String> {
        let x = &self.x_name;
        let mut notes = Vec::new();
        if groups.is_summed {
            let same = match &self.by_name {
                Some(by) => format!("{x} and {by}"),
                None => x.clone(),
            };
            notes.push(format!("Rows of the same {same} are added up."));
        }
        let (kept, all) = (self.series.len(), groups.names.len());
        if let Some(by) = self.by_name.as_ref().filter(|_| kept < all) {
            notes.push(format!(
                "Of the {all} values of {by}, the {kept} with the largest numbers are drawn."
            ));
        }
        if self.columns.left_out > 0 {
            let more = words::count(self.columns.left_out as u64, "column", "columns");
            notes.push(format!(
                "{more} of numbers more cannot be drawn beside the values of another column."
            ));
        }
        if self.labels.len() < labels {
            let drawn = self.labels.len();
            notes.push(format!(
                "Of the {labels} values of {x}, the first {drawn} are drawn: they stand as in the \
                 table, which can be sorted."
            ));
        }
        if groups.rows < rows {
            let missing = words::count((rows - groups.rows) as u64, "row", "rows");
            notes.push(format!("{missing} without a {x} or a number: not drawn."));
        }
        notes
    }
}

impl Series {
    /// The numbers that are there, with the places and the words of their labels.
    pub(super) fn there<'a>(
        &self,
        labels: &'a [String],
    ) -> impl Iterator<Item = (usize, &'a str, f64)> {
        let points = self.points.iter();
        points.filter_map(|(place, value)| {
            let label = labels.get(*place)?;
            Some((*place, label.as_str(), (*value)?))
        })
    }

    /// The label and the number where it is largest, by `better`.
    pub(super) fn extreme<'a>(
        &self,
        labels: &'a [String],
        better: fn(f64, f64) -> bool,
    ) -> Option<(&'a str, f64)> {
        let there = self.there(labels).map(|(_, label, value)| (label, value));
        there.reduce(|best, other| if better(other.1, best.1) { other } else { best })
    }
}

/// What a category or a date is called.
fn label(text: &str) -> String {
    if text.trim().is_empty() {
        return "(empty)".to_owned();
    }
    beginning(text, LABEL_CHARS)
}

#[cfg(test)]
mod tests;
