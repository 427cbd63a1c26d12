//! Results that can be drawn.

use demo::pomerium::DemoUser;
use harness::{World, browser::Visitor};

use super::{
    CARD,
    results::{look, open_card},
};

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
