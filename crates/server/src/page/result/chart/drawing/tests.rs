use super::*;
use crate::page::result::chart::{Columns, Unit};

fn chart(days: Option<Vec<f64>>, values: Vec<Vec<Option<f64>>>) -> Chart {
    let labels = ["<Jan>", "Feb", "Mar"].map(str::to_owned).to_vec();
    let series = values
        .into_iter()
        .enumerate()
        .map(|(column, values)| Series {
            name: format!("s{column}&"),
            points: values.into_iter().enumerate().collect(),
        });
    Chart {
        columns: Columns {
            x: 0,
            by: None,
            y: vec![1],
            left_out: 0,
        },
        x_name: "month".to_owned(),
        measure: "m&".to_owned(),
        by_name: None,
        rows: labels.len(),
        labels,
        whens: days.map(|days| Whens {
            days,
            unit: Unit::Day,
        }),
        series: series.collect(),
        notes: Vec::new(),
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
    assert!(svg.contains("m&#38; by month"), "{svg}");
    assert!(!svg.contains("NaN"), "{svg}");
}

#[test]
fn one_moment_is_drawn_too() {
    let chart = chart(Some(vec![5.0; 3]), vec![vec![Some(7.0); 3]]);
    let svg = Drawing::of(&chart, "c", Place::Page).render().unwrap();
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn a_long_legend_has_several_lines_and_tells_more_than_colours() {
    let mut chart = chart(Some(vec![0.0, 1.0, 2.0]), vec![vec![Some(1.0); 3]; 4]);
    for series in &mut chart.series {
        series.name = "名".repeat(24);
    }
    let (keys, _) = keys(&chart);
    assert_eq!(keys.len(), 4);
    for key in &keys {
        assert!(key.at.0.0 + width(&key.name) < WIDTH, "{}", key.at.0.0);
    }
    let ways = |way: fn(Ink) -> &'static str| {
        let all: std::collections::HashSet<_> = (1..=4).map(|it| way(Ink(it))).collect();
        all.len()
    };
    assert_eq!(
        [Ink::dashes, Ink::dot, Ink::hatch, Ink::colour].map(ways),
        [4; 4]
    );
}

#[test]
fn a_file_has_the_colours_of_a_light_page() {
    let results = include_str!("../../../../../../../web/static/results.css");
    for ink in (1..=4).map(Ink) {
        let colour = format!("--series-{}: light-dark({},", ink.0, ink.colour());
        assert!(results.contains(&colour), "{colour}");
    }
    let base = include_str!("../../../../../../../web/static/base.css");
    let chart = include_str!("../../../../../../../web/templates/result_chart.html");
    for (name, colour) in [("--muted", "#5c645f"), ("--line", "#e2dfd8")] {
        assert!(
            base.contains(&format!("{name}: light-dark({colour},")),
            "{name}"
        );
        assert!(chart.contains(colour), "{name}");
    }
}
