//! A chart as SVG: bars for categories, lines for dates.

mod path;

use std::fmt::{self, Write as _};

use askama::Template;

use self::path::{steps, thinned};
use super::{
    Chart, Series, Whens,
    axis::{Axis, long},
    calendar,
    ink::Ink,
};

/// The width of every chart. The page scales it.
const WIDTH: f64 = 640.0;
/// The height of the lines of a chart.
const LINES_HEIGHT: f64 = 260.0;
/// The height of a bar.
const BAR: f64 = 16.0;
/// The room between the bars of two categories.
const GAP: f64 = 10.0;
/// The height of a line of the legend.
const LEGEND: f64 = 20.0;
/// The width of what a legend shows of a series.
const SAMPLE: f64 = 26.0;
/// The room above for what an axis is called.
const HEAD: f64 = 20.0;
/// The room below for the labels of an axis, and for what it is called.
const FOOT: f64 = 46.0;
/// The room at the other edges.
const EDGE: f64 = 12.0;
/// About the width of a character of the labels.
const CHARACTER: f64 = 6.6;
/// About the width of a character of Chinese, Japanese and Korean.
const WIDE_CHARACTER: f64 = 12.0;
/// Where the scripts with wide characters begin in Unicode, with Hangul.
const WIDE_FROM: char = '\u{1100}';
/// Dots are drawn on lines with so many points at most.
const DOTS: usize = 60;

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
    /// Where the numbers are nothing, when there are some below.
    zero: Option<Line>,
    words: Vec<Words>,
    bars: Vec<Bar>,
    lines: Vec<Path>,
    dots: Vec<Dot>,
}

/// A coordinate.
#[derive(Clone, Copy)]
struct Px(f64);

/// What a colour means.
struct Key {
    at: (Px, Px),
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
        let (keys, below) = keys(chart);
        let mut drawing = Self {
            id: id.to_owned(),
            is_file: place == Place::File,
            width: Px(WIDTH),
            height: Px(0.0),
            title: title(chart),
            description: description(chart),
            keys,
            grid: Vec::new(),
            zero: None,
            words: Vec::new(),
            bars: Vec::new(),
            lines: Vec::new(),
            dots: Vec::new(),
        };
        let top = below + HEAD;
        match &chart.whens {
            Some(whens) => drawing.draw_lines(chart, whens, top),
            None => drawing.draw_bars(chart, top),
        }
        drawing
    }

    fn draw_bars(&mut self, chart: &Chart, top: f64) {
        let (low, high) = chart.range();
        let axis = Axis::holding(low.min(0.0), high.max(0.0));
        let labels = chart.labels.iter().chain([&chart.x_name]);
        let left = EDGE + room_for(labels.map(String::as_str));
        let across = |value: f64| left + axis.share(value) * (WIDTH - 3.0 * EDGE - left);
        let group = BAR * count(chart.series.len()) + GAP;
        let bottom = top + group * count(chart.labels.len());
        for tick in axis.ticks() {
            let x = across(tick);
            self.line((x, top), (x, bottom));
            self.words((x, bottom + 16.0), "middle", axis.label(tick));
        }
        let zero = across(0.0);
        if low < 0.0 {
            self.zero = Some(Line::new((zero, top), (zero, bottom)));
        }
        let middle = f64::midpoint(left, WIDTH - EDGE);
        self.words((middle, bottom + 36.0), "middle", chart.measure.clone());
        self.words((left - 8.0, top - 6.0), "end", chart.x_name.clone());
        for (place, label) in chart.labels.iter().enumerate() {
            let y = top + group * count(place) + GAP / 2.0;
            let middle = y + (group - GAP) / 2.0 + 4.0;
            self.words((left - 8.0, middle), "end", label.clone());
        }
        for (index, series) in chart.series.iter().enumerate() {
            for (place, label, value) in series.there(&chart.labels) {
                let y = top + group * count(place) + GAP / 2.0 + BAR * count(index);
                let x = across(value);
                self.bars.push(Bar {
                    at: (Px(x.min(zero)), Px(y)),
                    // What is almost nothing is still seen.
                    size: (Px((x - zero).abs().max(1.0)), Px(BAR - 2.0)),
                    ink: Ink(index + 1),
                    tip: tip(label, series, value),
                });
            }
        }
        self.height = Px(bottom + FOOT);
    }

    fn draw_lines(&mut self, chart: &Chart, whens: &Whens, top: f64) {
        let (low, high) = chart.range();
        // A line that is far from nothing shows its changes, not its height.
        let from_zero = low >= 0.0 && low < high * 0.6;
        let axis = Axis::holding(if from_zero { 0.0 } else { low }, high);
        let ticks: Vec<_> = axis.ticks();
        let ticks: Vec<_> = ticks.into_iter().map(|it| (it, axis.label(it))).collect();
        let left = EDGE + room_for(ticks.iter().map(|(_, label)| label.as_str()));
        let (right, bottom) = (WIDTH - 4.0 * EDGE, top + LINES_HEIGHT);
        let up = |value: f64| bottom - axis.share(value) * (bottom - top);
        for (tick, label) in ticks {
            let y = up(tick);
            self.line((left, y), (right, y));
            self.words((left - 8.0, y + 4.0), "end", label);
        }
        if low < 0.0 && high > 0.0 {
            self.zero = Some(Line::new((left, up(0.0)), (right, up(0.0))));
        }
        self.words((EDGE, top - 10.0), "start", chart.measure.clone());
        let middle = f64::midpoint(left, right);
        self.words((middle, bottom + 36.0), "middle", chart.x_name.clone());
        let first = whens.days.first().copied().unwrap_or_default();
        let last = whens.days.last().copied().unwrap_or_default();
        let across = |when: f64| match last - first {
            span if span > 0.0 => left + (when - first) / span * (right - left),
            _ => middle,
        };
        for (at, label) in when_labels(chart, whens, (first, last)) {
            self.line((across(at), bottom), (across(at), bottom + 4.0));
            self.words((across(at), bottom + 16.0), "middle", label);
        }
        for (index, series) in chart.series.iter().enumerate() {
            let point = |(place, value): &(usize, Option<f64>)| {
                Some((across(*whens.days.get(*place)?), up((*value)?)))
            };
            let places: Vec<_> = series.points.iter().map(point).collect();
            self.dots(chart, series, (index + 1, &places));
            self.lines.push(Path {
                steps: steps(&thinned(&places)),
                ink: Ink(index + 1),
            });
        }
        self.height = Px(bottom + FOOT);
    }

    /// Dots on all points of a short line, and on those of a long one that no line leads to.
    fn dots(
        &mut self,
        chart: &Chart,
        series: &Series,
        (index, places): (usize, &[Option<(f64, f64)>]),
    ) {
        let is_alone = |at: usize| {
            let there = |at: Option<usize>| at.and_then(|at| *places.get(at)?).is_some();
            !there(at.checked_sub(1)) && !there(at.checked_add(1))
        };
        for (at, (place, (label, value))) in places.iter().zip(&series.points).enumerate() {
            let (Some((x, y)), Some(value)) = (place, value) else {
                continue;
            };
            if places.len() <= DOTS || is_alone(at) {
                let label = chart.labels.get(*label).map_or("", String::as_str);
                self.dots.push(Dot {
                    at: (Px(*x), Px(*y)),
                    ink: Ink(index),
                    tip: tip(label, series, *value),
                });
            }
        }
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.grid.push(Line::new(from, to));
    }

    fn words(&mut self, at: (f64, f64), anchor: &'static str, text: String) {
        let at = (Px(at.0), Px(at.1));
        self.words.push(Words { at, anchor, text });
    }
}

impl Line {
    fn new(from: (f64, f64), to: (f64, f64)) -> Self {
        Self {
            from: (Px(from.0), Px(from.1)),
            to: (Px(to.0), Px(to.1)),
        }
    }
}

/// What stands below the lines: round dates, or the first where none is between them.
fn when_labels(chart: &Chart, whens: &Whens, (first, last): (f64, f64)) -> Vec<(f64, String)> {
    let ticks = calendar::ticks(first, last, whens.unit);
    if !ticks.is_empty() {
        return ticks;
    }
    chart
        .labels
        .first()
        .map(|it| (first, it.clone()))
        .into_iter()
        .collect()
}

/// The legend, in lines; and where it ends.
fn keys(chart: &Chart) -> (Vec<Key>, f64) {
    if chart.series.len() < 2 && chart.by_name.is_none() {
        return (Vec::new(), EDGE);
    }
    let (mut x, mut y) = (EDGE, EDGE);
    let mut keys = Vec::new();
    for (index, series) in chart.series.iter().enumerate() {
        let width = SAMPLE + 6.0 + width(&series.name);
        if x > EDGE && x + width > WIDTH - EDGE {
            (x, y) = (EDGE, y + LEGEND);
        }
        keys.push(Key {
            at: (Px(x), Px(y)),
            ink: Ink(index + 1),
            name: series.name.clone(),
        });
        x += width + 16.0;
    }
    (keys, y + LEGEND)
}

fn title(chart: &Chart) -> String {
    let Chart {
        measure, x_name, ..
    } = chart;
    match &chart.by_name {
        Some(by) => format!("{measure} by {x_name} and {by}"),
        None => format!("{measure} by {x_name}"),
    }
}

/// The chart in words: what it is, and between which numbers it moves.
fn description(chart: &Chart) -> String {
    let kind = match chart.whens {
        Some(_) => "Line chart",
        None => "Bar chart",
    };
    let mut text = format!("{kind} of {} rows.", chart.rows);
    for series in &chart.series {
        let low = series.extreme(&chart.labels, |a, b| a < b);
        let high = series.extreme(&chart.labels, |a, b| a > b);
        if let (Some((at, low)), Some((to, high))) = (low, high) {
            let (name, low, high) = (&series.name, long(low), long(high));
            // Writing to a string cannot fail.
            write!(text, " {name}: from {low} ({at}) to {high} ({to}).").ok();
        }
    }
    for note in &chart.notes {
        write!(text, " {note}").ok();
    }
    text
}

fn tip(label: &str, series: &Series, value: f64) -> String {
    format!("{label}, {}: {}", series.name, long(value))
}

/// The room that the longest of these labels takes.
fn room_for<'a>(labels: impl Iterator<Item = &'a str>) -> f64 {
    labels.map(width).fold(0.0, f64::max) + 8.0
}

/// About how wide a text is.
fn width(text: &str) -> f64 {
    let wide = text.chars().filter(|it| *it >= WIDE_FROM).count();
    let narrow = text.chars().count() - wide;
    count(narrow) * CHARACTER + count(wide) * WIDE_CHARACTER
}

/// A small number as a coordinate.
fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests;
