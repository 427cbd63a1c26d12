use chat::shape::table::{documents, tables};
use serde_json::{Value, json};
use time::Date;

use super::{super::asked::By, *};

fn chart(structured: &Value, drawn: &Drawn) -> Option<Chart> {
    let raw = json!({ "structuredContent": structured });
    let documents = documents(&raw);
    let tables = tables(&documents);
    Chart::of(&Rows::new(&tables[0], None), drawn)
}

fn of(columns: &[&str], rows: &Value) -> Option<Chart> {
    chart(
        &json!({ "columns": columns, "rows": rows }),
        &Drawn::default(),
    )
}

fn names(chart: &Chart) -> Vec<&str> {
    chart.series.iter().map(|it| it.name.as_str()).collect()
}

fn values(series: &Series) -> Vec<Option<f64>> {
    series.points.iter().map(|(_, value)| *value).collect()
}

#[test]
fn what_has_nothing_to_draw_is_no_chart() {
    for (columns, rows) in [
        (["name", "n"], json!([])),
        (["n", "m"], json!([[1, 2], [3, 4]])),
        (["name", "n"], json!([["a", 1]])),
        (["name", "n"], json!([["a", 1], ["b", null], [null, 3]])),
        (["name", "n"], json!([["a", 1], ["a", 2]])),
        (["day", "n"], json!([["2024-01-01", 1], ["2024-01-01", 2]])),
        (["name", "n"], json!([["a", "1e999"], ["b", "x"]])),
        (["it", "n"], json!([[{}, 1], [{ "a": 1 }, 2]])),
        (["name", "id"], json!([["a", 1], ["b", 2]])),
        (["name", "month"], json!([["a", 1], ["b", 2]])),
    ] {
        assert!(of(&columns, &rows).is_none(), "{rows}");
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
    assert_eq!((chosen.columns.x, &*chosen.x_name), (2, "month"));
    assert_eq!(chosen.labels, ["2024-01", "2024-02"], "sorted by date");
    assert_eq!(names(&chosen), ["sales", "costs"]);
    assert_eq!(values(&chosen.series[1]), [None, Some(600_000.0)]);
    assert_eq!(chosen.rows, 2);
    assert_eq!(
        chosen.notes,
        ["1 row without a month or a number: not drawn."]
    );

    let drawn = Drawn {
        x: Some(1),
        by: By::Chosen,
        y: vec![3, 3, 1, 99],
    };
    let asked = chart(&rows, &drawn).unwrap();
    assert_eq!(asked.labels, ["Oslo", "Bern", "Rome"]);
    assert_eq!(asked.series.len(), 1);
    assert!(asked.whens.is_none() && asked.notes.is_empty());
    assert_eq!(asked.range(), (5.0, 7.0));
}

/// 2500 days of four regions, the newest first.
fn long() -> Value {
    let rows = (0..2500_i32).rev().flat_map(|day| {
        let date = Date::from_julian_day(2_451_545 + day).unwrap().to_string();
        let regions = [
            ("North", 0),
            ("South", 1000),
            ("East", 2000),
            ("West", 3000),
        ];
        regions.map(|(name, more)| json!([date, name, more + day]))
    });
    Value::Array(rows.collect())
}

#[test]
fn rows_of_the_same_date_are_a_line_for_each_category() {
    let chart = of(&["day", "region", "amount"], &long()).unwrap();
    assert_eq!(names(&chart), ["West", "East", "South", "North"]);
    assert_eq!(chart.labels.len(), 2500);
    assert_eq!(chart.rows, 10_000, "all rows count");
    assert_eq!(values(&chart.series[3])[0], Some(0.0));
    assert_eq!(values(&chart.series[0])[2499], Some(5499.0));
    let days = &chart.whens.as_ref().unwrap().days;
    assert!(days.is_sorted_by(|a, b| a < b));
    assert!(chart.notes.is_empty(), "{:?}", chart.notes);
    assert_eq!(
        (&*chart.measure, chart.by_name.as_deref()),
        ("amount", Some("region"))
    );
}

#[test]
fn rows_of_the_same_date_are_added_up_where_nothing_tells_them_apart() {
    let rows = json!([
        ["2024-01-02", 0.1],
        ["2024-01-01", 5],
        ["2024-01-02", 0.2],
        ["2024-01-03", null],
        ["2024-01-03", 1],
    ]);
    let summed = of(&["day", "amount"], &rows).unwrap();
    assert_eq!(summed.measure, "Sum of amount");
    assert_eq!(values(&summed.series[0]), [Some(5.0), Some(0.3), Some(1.0)]);
    assert_eq!(summed.notes[0], "Rows of the same day are added up.");
    // Orders of customers who come once: no lines.
    let row = |n: usize| json!([format!("2024-01-{:02}", n % 20 + 1), format!("c{n}"), n]);
    let rows: Vec<_> = (0..60).map(row).collect();
    let orders = of(&["day", "customer", "amount"], &json!(rows)).unwrap();
    assert_eq!((orders.columns.by, orders.labels.len()), (None, 20));
    assert_eq!(orders.measure, "Sum of amount");
}

#[test]
fn categories_that_come_again_are_added_up_and_can_be_told_apart() {
    let rows = json!({
        "columns": ["shop", "kind", "n", "m"],
        "rows": [
            ["Oslo", "a", 1, 1], ["Bern", "a", 2, 1], ["Oslo", "b", 3, 1], ["Oslo", "b", 4, 1],
            ["", "b", 1, 2],
        ],
    });
    let bars = chart(&rows, &Drawn::default()).unwrap();
    assert_eq!(bars.labels, ["Oslo", "Bern", "(empty)"]);
    assert_eq!(bars.measure, "Sum of n, m");
    assert_eq!(values(&bars.series[0]), [Some(8.0), Some(2.0), Some(1.0)]);
    let drawn = Drawn {
        x: None,
        by: By::Column(1),
        y: vec![2, 3],
    };
    let told_apart = chart(&rows, &drawn).unwrap();
    assert_eq!(names(&told_apart), ["b", "a"]);
    assert_eq!(
        told_apart.series[1].points,
        [(0, Some(1.0)), (1, Some(2.0))]
    );
    assert_eq!(
        told_apart.notes,
        [
            "Rows of the same shop and kind are added up.",
            "1 column of numbers more cannot be drawn beside the values of another column.",
        ]
    );
}

#[test]
fn what_is_not_drawn_is_said() {
    let rows: Vec<_> = (0..5000).map(|n| json!([format!("c{n}"), n])).collect();
    let bars = of(&["c", "n"], &json!(rows)).unwrap();
    assert_eq!((bars.labels.len(), bars.rows), (CATEGORIES, 5000));
    assert!(
        bars.notes[0].starts_with("Of the 5000 values of c, the first 60 are drawn"),
        "{:?}",
        bars.notes
    );
    let rows: Vec<_> = (0..60)
        .map(|n| {
            json!([
                format!("2024-01-0{}", n / 10 + 1),
                format!("r{}", n % 10),
                n % 10
            ])
        })
        .collect();
    let lines = of(&["day", "region", "n"], &json!(rows)).unwrap();
    assert_eq!(names(&lines), ["r9", "r8", "r7", "r6"]);
    assert_eq!(
        lines.notes,
        ["Of the 10 values of region, the 4 with the largest numbers are drawn."]
    );
}

#[test]
fn odd_numbers_and_periods_are_drawn() {
    let huge = of(
        &["d", "n"],
        &json!([["a", 1e308], ["a", 1e308], ["b", -1e308]]),
    )
    .unwrap();
    assert_eq!(huge.range(), (-1e308, f64::MAX));
    let years = of(&["year", "n"], &json!([[2025, 1], [2024, 2]])).unwrap();
    assert_eq!(years.labels, ["2024", "2025"]);
    let months = of(&["month", "revenue"], &json!([[1, 10], [2, 20]])).unwrap();
    assert_eq!((months.whens.is_none(), &*months.labels[1]), (true, "2"));
}
