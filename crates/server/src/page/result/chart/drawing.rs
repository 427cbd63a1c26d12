//! A chart as SVG: bars for categories, lines for dates.

use std::fmt::{self, Write as _};

use askama::Template;

use super::{
    Chart, Series,
    axis::{Axis, long, short},
};

/// The width of every chart. The page scales it.
const WIDTH: f64 = 720.0;
/// The height of a chart of lines.
const LINES_HEIGHT: f64 = 320.0;
/// The height of a bar.
const BAR: f64 = 16.0;
/// The room between the bars of two categories.
const GAP: f64 = 10.0;
/// The room above the chart for what the colours mean, when there are several.
const LEGEND: f64 = 28.0;
/// The room below for the labels of an axis.
const FOOT: f64 = 30.0;
/// The room at the other edges.
const EDGE: f64 = 12.0;
/// About the width of a character of the labels.
const CHARACTER: f64 = 7.0;
/// Dots are drawn on lines with so many points at most.
const DOTS: usize = 60;
/// Labels below a chart of lines.
const LABELS: usize = 6;

/// Where a chart is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Place {
    /// On a page, with its colours.
    Page,
    /// In a file of its own.
    File,
}

/// The SVG of a chart.
#[derive(Template)]
#[template(path = "result_chart.html")]
pub(in super::super) struct Drawing {
    id: String,
    is_file: bool,
    width: Px,
    height: Px,
    title: String,
    description: String,
    keys: Vec<Key>,
    grid: Vec<Line>,
    words: Vec<Words>,
    bars: Vec<Bar>,
    lines: Vec<Path>,
    dots: Vec<Dot>,
}

/// A coordinate.
#[derive(Clone, Copy)]
struct Px(f64);

/// How a series is drawn: the number of its colour, from 1.
#[derive(Clone, Copy)]
struct Ink(usize);

impl Ink {
    /// Its colour in a file; a page has its own, for light and dark.
    fn colour(self) -> &'static str {
        match self.0 {
            1 => "#2b6a59",
            2 => "#a94a0c",
            3 => "#3d5fa8",
            _ => "#8a3d7d",
        }
    }

    /// Lines are told apart by more than their colour; the first is unbroken.
    fn dashes(self) -> &'static str {
        match self.0 {
            1 => "none",
            2 => "8 3",
            3 => "3 3",
            _ => "12 3 3 3",
        }
    }
}

/// What a colour means.
struct Key {
    x: Px,
    ink: Ink,
    name: String,
}

struct Line {
    from: (Px, Px),
    to: (Px, Px),
}

struct Words {
    at: (Px, Px),
    anchor: &'static str,
    text: String,
}

struct Bar {
    at: (Px, Px),
    size: (Px, Px),
    ink: Ink,
    tip: String,
}

struct Path {
    steps: String,
    ink: Ink,
}

struct Dot {
    at: (Px, Px),
    ink: Ink,
    tip: String,
}

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0)
    }
}

impl Drawing {
    /// Draws a chart; `id` begins the ids of its elements.
    pub(in super::super) fn of(chart: &Chart, id: &str, place: Place) -> Self {
        let top = if chart.series.len() > 1 { LEGEND } else { EDGE };
        let mut drawing = Self {
            id: id.to_owned(),
            is_file: place == Place::File,
            width: Px(WIDTH),
            height: Px(LINES_HEIGHT),
            title: title(chart),
            description: description(chart),
            keys: keys(chart),
            grid: Vec::new(),
            words: Vec::new(),
            bars: Vec::new(),
            lines: Vec::new(),
            dots: Vec::new(),
        };
        match &chart.whens {
            Some(whens) => drawing.draw_lines(chart, whens, top),
            None => drawing.draw_bars(chart, top),
        }
        drawing
    }

    fn draw_bars(&mut self, chart: &Chart, top: f64) {
        let (low, high) = chart.range();
        let axis = Axis::holding(low.min(0.0), high.max(0.0));
        let left = EDGE + room_for(chart.labels.iter());
        let across = |value: f64| left + axis.share(value) * (WIDTH - 2.0 * EDGE - left);
        let group = BAR * count(chart.series.len()) + GAP;
        let bottom = top + group * count(chart.labels.len());
        for tick in axis.ticks() {
            let x = across(tick);
            self.line((x, top), (x, bottom));
            self.words((x, bottom + 18.0), "middle", short(tick));
        }
        let zero = across(0.0);
        for (row, label) in chart.labels.iter().enumerate() {
            let y = top + group * count(row) + GAP / 2.0;
            let middle = y + (group - GAP) / 2.0 + 4.0;
            self.words((left - 8.0, middle), "end", label.clone());
            for (index, series) in chart.series.iter().enumerate() {
                let Some(value) = series.values.get(row).copied().flatten() else {
                    continue;
                };
                let x = across(value);
                self.bars.push(Bar {
                    at: (Px(x.min(zero)), Px(y + BAR * count(index))),
                    // What is almost nothing is still seen.
                    size: (Px((x - zero).abs().max(1.0)), Px(BAR - 2.0)),
                    ink: Ink(index + 1),
                    tip: tip(label, series, value),
                });
            }
        }
        self.height = Px(bottom + FOOT);
    }

    fn draw_lines(&mut self, chart: &Chart, whens: &[f64], top: f64) {
        let (low, high) = chart.range();
        // A line that is far from nothing shows its changes, not its height.
        let from_zero = low >= 0.0 && low < high * 0.6;
        let axis = Axis::holding(if from_zero { 0.0 } else { low }, high);
        let ticks: Vec<_> = axis.ticks().into_iter().map(|it| (it, short(it))).collect();
        let left = EDGE + room_for(ticks.iter().map(|(_, label)| label));
        let (right, bottom) = (WIDTH - 4.0 * EDGE, LINES_HEIGHT - FOOT);
        let up = |value: f64| bottom - axis.share(value) * (bottom - top);
        for (tick, label) in ticks {
            let y = up(tick);
            self.line((left, y), (right, y));
            self.words((left - 8.0, y + 4.0), "end", label);
        }
        let first = whens.first().copied().unwrap_or_default();
        let span = whens.last().copied().unwrap_or_default() - first;
        let across = |when: f64| {
            let share = if span > 0.0 {
                (when - first) / span
            } else {
                0.5
            };
            left + share * (right - left)
        };
        let every = chart.labels.len().div_ceil(LABELS).max(1);
        let labelled = chart.labels.iter().zip(whens).step_by(every);
        for (label, when) in labelled {
            self.words((across(*when), bottom + 18.0), "middle", label.clone());
        }
        for (index, series) in chart.series.iter().enumerate() {
            let points = whens.iter().zip(&series.values);
            let places = points.map(|(when, value)| Some((across(*when), up((*value)?))));
            let places: Vec<_> = places.collect();
            self.lines.push(Path {
                steps: steps(&places),
                ink: Ink(index + 1),
            });
            if places.len() <= DOTS {
                self.dots(chart, series, (index + 1, &places));
            }
        }
    }

    fn dots(
        &mut self,
        chart: &Chart,
        series: &Series,
        (index, places): (usize, &[Option<(f64, f64)>]),
    ) {
        let values = series.values.iter().zip(&chart.labels).zip(places);
        for ((value, label), place) in values {
            if let (Some(value), Some((x, y))) = (value, place) {
                self.dots.push(Dot {
                    at: (Px(*x), Px(*y)),
                    ink: Ink(index),
                    tip: tip(label, series, *value),
                });
            }
        }
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.grid.push(Line {
            from: (Px(from.0), Px(from.1)),
            to: (Px(to.0), Px(to.1)),
        });
    }

    fn words(&mut self, at: (f64, f64), anchor: &'static str, text: String) {
        let at = (Px(at.0), Px(at.1));
        self.words.push(Words { at, anchor, text });
    }
}

/// A line through the points that are there, broken where one is missing.
fn steps(places: &[Option<(f64, f64)>]) -> String {
    let (mut steps, mut pen) = (String::new(), 'M');
    for place in places {
        match place {
            Some((x, y)) => {
                // Writing to a string cannot fail.
                write!(steps, "{pen}{x:.1} {y:.1}").ok();
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    steps
}

fn keys(chart: &Chart) -> Vec<Key> {
    if chart.series.len() < 2 {
        return Vec::new();
    }
    let mut x = EDGE;
    let mut keys = Vec::new();
    for (index, series) in chart.series.iter().enumerate() {
        keys.push(Key {
            x: Px(x),
            ink: Ink(index + 1),
            name: series.name.clone(),
        });
        x += 32.0 + count(series.name.chars().count()) * CHARACTER;
    }
    keys
}

fn title(chart: &Chart) -> String {
    let names: Vec<_> = chart.series.iter().map(|it| it.name.as_str()).collect();
    format!("{} by {}", names.join(", "), chart.x_name)
}

/// The chart in words: what it is, and between which numbers it moves.
fn description(chart: &Chart) -> String {
    let kind = match chart.whens {
        Some(_) => "Line chart",
        None => "Bar chart",
    };
    let mut text = format!("{kind} of {} rows.", chart.labels.len());
    for series in &chart.series {
        let low = series.extreme(&chart.labels, |a, b| a < b);
        let high = series.extreme(&chart.labels, |a, b| a > b);
        if let (Some((at, low)), Some((to, high))) = (low, high) {
            let (name, low, high) = (&series.name, long(low), long(high));
            // Writing to a string cannot fail.
            write!(text, " {name}: from {low} ({at}) to {high} ({to}).").ok();
        }
    }
    text
}

fn tip(label: &str, series: &Series, value: f64) -> String {
    format!("{label}, {}: {}", series.name, long(value))
}

/// The room that the longest of these labels takes.
fn room_for<'a>(labels: impl Iterator<Item = &'a String>) -> f64 {
    let longest = labels.map(|label| label.chars().count()).max();
    count(longest.unwrap_or_default()) * CHARACTER + 8.0
}

/// A small number as a coordinate.
fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(whens: Option<Vec<f64>>, values: Vec<Vec<Option<f64>>>) -> Chart {
        let labels = ["<Jan>", "Feb", "Mar"].map(str::to_owned).to_vec();
        let series = values
            .into_iter()
            .enumerate()
            .map(|(column, values)| Series {
                column,
                name: format!("s{column}&"),
                values,
            });
        Chart {
            x: 0,
            x_name: "month".to_owned(),
            rows: labels.len(),
            labels,
            whens,
            series: series.collect(),
        }
    }

    #[test]
    fn bars_begin_at_nothing_and_what_is_missing_is_missing() {
        let chart = chart(None, vec![vec![Some(-10.0), None, Some(20.0)]]);
        let drawing = Drawing::of(&chart, "c", Place::Page);
        let bars: Vec<_> = drawing
            .bars
            .iter()
            .map(|bar| (bar.at.0.0, bar.size.0.0))
            .collect();
        let [(down, left), (up, right)] = bars[..] else {
            panic!("{bars:?}")
        };
        assert!(
            (down + left - up).abs() < 0.1 && right > 1.9 * left,
            "{bars:?}"
        );
        let svg = drawing.render().unwrap();
        assert!(
            svg.contains("&#60;Jan&#62;") && !svg.contains("<Jan>"),
            "{svg}"
        );
        assert!(
            !svg.contains("style="),
            "the page's policy forbids it: {svg}"
        );
        let words = "Bar chart of 3 rows. s0&#38;: from -10 (&#60;Jan&#62;) to 20 (Mar).";
        assert!(svg.contains(words), "{svg}");
    }

    #[test]
    fn lines_break_where_a_number_is_missing() {
        let values = vec![vec![Some(1.0), None, Some(3.0)], vec![Some(2.0); 3]];
        let chart = chart(Some(vec![0.0, 31.0, 59.0]), values);
        let drawing = Drawing::of(&chart, "c", Place::File);
        assert_eq!(drawing.lines[0].steps.matches('M').count(), 2);
        assert_eq!(drawing.lines[1].steps.matches('L').count(), 2);
        let svg = drawing.render().unwrap();
        assert!(
            svg.contains("xmlns=\"http://www.w3.org/2000/svg\""),
            "{svg}"
        );
        assert!(svg.contains("s0&#38;, s1&#38; by month"), "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn one_moment_is_drawn_too() {
        let chart = chart(Some(vec![5.0; 3]), vec![vec![Some(7.0); 3]]);
        let svg = Drawing::of(&chart, "c", Place::Page).render().unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
