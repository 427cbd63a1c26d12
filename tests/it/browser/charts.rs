//! Results that can be drawn.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use demo::{
    model::{Call, Reply},
    pomerium::DemoUser,
};
use harness::{
    World,
    browser::{Tab, Visitor},
};
use serde_json::{Value, json};

use super::{
    CARD,
    results::{look, open_card},
};
use crate::fake::{Fake, tool};

#[tokio::test]
async fn sales_by_category_are_bars_and_by_month_a_line() {
    let world = World::start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.ask("What were our sales by category?").await;
    tab.wait_end().await;
    let card = tab.find(CARD, "Read query").await.text().await;
    assert!(card.contains("8 rows × 3 columns"), "{card}");
    open_card(&tab).await;
    tab.click("link", "Chart").await;
    let bars = "document.querySelectorAll('svg.chart rect.fill.s1').length";
    tab.wait_true(&format!("{bars} === 8")).await;
    let words = tab
        .eval("document.querySelector('svg.chart desc').textContent")
        .await;
    let words = words.as_str().unwrap();
    assert!(
        words.starts_with("Bar chart of 8 rows. sales: from"),
        "{words}"
    );
    tab.find("link", "Download SVG").await;
    look(&tab, "chart-bars").await;

    // Another number is drawn, and the rows are still there.
    tab.click("checkbox", "orders").await;
    tab.click("checkbox", "sales").await;
    tab.click("button", "Draw").await;
    tab.wait_true("document.querySelector('svg.chart title').textContent === 'orders by category'")
        .await;
    tab.click("link", "Table").await;
    tab.find("table", "Rows").await;

    tab.click("link", "New chat").await;
    tab.wait_gone("table", "Rows").await;
    tab.ask("How did our sales go by month?").await;
    tab.wait_end().await;
    open_card(&tab).await;
    tab.click("link", "Chart").await;
    tab.wait_true("document.querySelectorAll('svg.chart .dot').length === 48")
        .await;
    look(&tab, "chart-lines").await;
    ana.leave().await;
    world.finish().await;
}

/// A result with these rows, drawn, on a desk and on a phone, in light and dark.
async fn drawn(tab: &Tab, world: &World, state: &str) {
    world
        .model()
        .queue(Reply::calls([Call::new("Fake__show", &json!({}))]));
    world.model().queue(Reply::text("There it is."));
    tab.click("link", "New chat").await;
    tab.ask("Show it").await;
    tab.wait_text("There it is.").await;
    tab.wait_end().await;
    open_card(tab).await;
    tab.click("link", "Chart").await;
    tab.wait_true("document.querySelector('svg.chart') !== null")
        .await;
    tab.eval("document.querySelector('svg.chart').scrollIntoView()")
        .await;
    look(tab, state).await;
}

#[tokio::test]
async fn long_data_is_a_line_for_each_category_or_added_up() {
    let row = |n: usize| {
        let (day, region) = (n / 4, n % 4);
        let date = format!(
            "{}-{:02}-{:02}",
            2019 + day / 336,
            day / 28 % 12 + 1,
            day % 28 + 1
        );
        let name = ["North", "South", "East", "West"][region];
        json!([date, name, 1000 + 400 * region + day % 336 * region])
    };
    let regions: Vec<Value> = (0..10_000).map(row).collect();
    let below = |n: i32| {
        json!([
            format!("Product {n}"),
            if n % 2 == 0 { "a" } else { "b" },
            40 - 7 * n,
            n
        ])
    };
    let products: Vec<Value> = (0..12).chain(0..12).map(below).collect();
    let results = [
        json!({ "columns": ["day", "region", "amount"], "rows": regions }),
        json!({ "columns": ["product", "kind", "margin", "returns"], "rows": products }),
    ];
    let next = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start(move |seen| {
        ready(match seen.method() {
            "tools/call" => {
                let rows = &results[next.fetch_add(1, Ordering::Relaxed)];
                seen.result(&json!({ "content": [], "structuredContent": rows }))
            }
            _ => seen.plain(&[tool("show")]),
        })
    })
    .await;
    let world = World::build().server("Fake", fake.url()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    drawn(&tab, &world, "chart-regions").await;
    let lines = "[...document.querySelectorAll('svg.chart .key')].map((it) => it.textContent)";
    assert_eq!(
        tab.eval(lines).await,
        json!(["West", "East", "South", "North"])
    );
    let words = tab
        .eval("document.querySelector('svg.chart desc').textContent")
        .await;
    let words = words.as_str().unwrap();
    assert!(words.starts_with("Line chart of 10000 rows."), "{words}");

    // Without lines for the regions, the day's numbers are one, and it is said.
    tab.eval("document.querySelector('select[name=by]').value = ''")
        .await;
    tab.click("button", "Draw").await;
    tab.wait_text("Rows of the same day are added up.").await;
    tab.wait_true(
        "document.querySelector('svg.chart title').textContent === 'Sum of amount by day'",
    )
    .await;

    drawn(&tab, &world, "chart-products").await;
    tab.wait_text("Rows of the same product are added up.")
        .await;
    ana.leave().await;
    world.finish().await;
    fake.end().await;
}
