//! Results of calls in their cards: tables, pictures, files, JSON.

use demo::{
    model::{Call, Reply},
    pomerium::DemoUser,
};
use harness::{
    World,
    browser::{Scheme, Tab, View, Visitor},
};
use serde_json::{Value, json};

use futures_util::stream;
use tokio::sync::watch;

use super::{CARD, answer::CLIPBOARD, same_after_reload};
use crate::{
    fake::{Fake, events, tool},
    results::{PNG, showing},
};

/// Opens the card of the only call.
pub(super) async fn open_card(tab: &Tab) {
    tab.eval("document.querySelector('.call summary').click()")
        .await;
}

/// Looks at it on a desk and on a phone, in light and dark.
pub(super) async fn look(tab: &Tab, state: &str) {
    for (view, width) in [(View::Phone, 360), (View::Wide, 1440)] {
        for (scheme, light) in [(Scheme::Dark, "dark"), (Scheme::Light, "light")] {
            tab.look(view, scheme).await;
            tab.keep_screen(&format!("{state}-{light}-{width}")).await;
            tab.assert_accessible(&format!("{state}, {light}, {width}"))
                .await;
        }
    }
}

/// A conversation in which the tool `show` answered with this.
async fn shown(world: &World, tab: &Tab) {
    let call = Call::new(
        "Fake__show",
        &json!({ "what": "all", "deep": { "a": [1] } }),
    );
    world.model().queue(Reply::calls([call]));
    world.model().queue(Reply::text("There it is."));
    tab.ask("Show it").await;
    tab.wait_text("There it is.").await;
    tab.wait_end().await;
}

#[tokio::test]
async fn rows_are_a_table_that_is_sorted_and_goes_on_in_place() {
    let rows: Vec<Value> = (0..300)
        .map(|n| json!({ "name": format!("c{n}"), "count": n % 7 }))
        .collect();
    let fake = showing(json!({ "content": [], "structuredContent": { "customers": rows } })).await;
    let world = World::build().server("Fake", fake.url()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    shown(&world, &tab).await;
    let card = tab.find(CARD, "show").await.text().await;
    assert!(card.contains("300 rows × 2 columns"), "{card}");
    // Nothing of it is there before somebody opens it.
    assert_eq!(
        tab.eval("document.querySelectorAll('.result').length")
            .await,
        0
    );
    open_card(&tab).await;
    tab.find("table", "customers").await;
    tab.wait_text("Rows 1 to 200 of 300").await;
    tab.click("link", "Show 100 more").await;
    tab.wait_text("Rows 1 to 300 of 300").await;
    let count = "document.querySelectorAll('.rows tbody tr').length";
    assert_eq!(tab.eval(count).await, 300);

    tab.click("link", "name").await;
    tab.wait_true("document.querySelector('[aria-sort=ascending]')?.textContent.includes('name')")
        .await;
    assert!(
        tab.is_focused("link", "name").await,
        "the focus stays where it was"
    );
    tab.click("link", "count").await;
    tab.wait_true("document.querySelector('[aria-sort=ascending]')?.textContent.includes('count')")
        .await;
    tab.click("link", "count").await;
    tab.wait_true("document.querySelector('[aria-sort=descending] .arrow') !== null")
        .await;
    assert_eq!(
        tab.eval("document.querySelector('.rows tbody td.number').textContent")
            .await,
        "6"
    );
    let csv = tab
        .find("link", "Download CSV")
        .await
        .attribute("href")
        .await;
    let csv =
        format!("fetch({csv:?}).then((r) => r.text()).then((text) => text.split('\\r\\n')[1])");
    assert_eq!(tab.eval(&csv).await, "6,c6");
    look(&tab, "result-table").await;
    same_after_reload(&tab).await;

    // The same, as a page of its own.
    open_card(&tab).await;
    tab.click("link", "Open the result on its own page").await;
    tab.find("heading", "show on Fake").await;
    tab.find("table", "customers").await;
    look(&tab, "result-page").await;
    tab.click("link", "Back to the conversation").await;
    tab.wait_text("There it is.").await;
    ana.leave().await;
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn cells_are_not_broken_into_pieces() {
    let row = |n: u64| {
        json!({
            "id": n, "begun": format!("2024-01-{:02} 08:30", n + 9), "state": "undecided",
            "customer": "Hungry Owl All-Night Grocers", "city": "Reims", "remark": "=HYPERLINK(\"https\")",
            "token": "x".repeat(400),
        })
    };
    let rows: Vec<Value> = (1..9).map(row).collect();
    let fake = showing(json!({ "content": [], "structuredContent": { "rows": rows } })).await;
    let world = World::build().server("Fake", fake.url()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    tab.look(View::Phone, Scheme::Light).await;
    shown(&world, &tab).await;
    open_card(&tab).await;
    tab.find("table", "rows").await;
    // How many lines the cells of the first row have, but for the one that is all one word.
    let lines = "[...document.querySelectorAll('.rows tbody tr:first-child td')]
      .filter((cell) => !cell.textContent.startsWith('xx'))
      .map((cell) => {
        const text = document.createRange();
        text.selectNodeContents(cell);
        return new Set([...text.getClientRects()].map(({ top }) => Math.round(top))).size;
      })";
    assert_eq!(tab.eval(lines).await, json!([1, 1, 1, 1, 1, 1]));
    let widest =
        "Math.max(...[...document.querySelectorAll('.rows td')].map((cell) => cell.offsetWidth))
      <= innerWidth";
    assert_eq!(
        tab.eval(widest).await,
        true,
        "a cell is wider than the window"
    );
    tab.keep_screen("result-cells").await;
    ana.leave().await;
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn pictures_are_shown_and_everything_else_is_saved() {
    let fake = showing(json!({ "content": [
        { "type": "image", "data": PNG, "mimeType": "image/png" },
        { "type": "resource", "resource":
            { "uri": "file:///tmp/report.pdf", "mimeType": "application/pdf", "blob": "JVBERg==" } },
        { "type": "resource_link", "uri": "https://user@docs.example.com/x", "name": "Handbook" },
        { "type": "resource_link", "uri": "notes://ana/1", "name": "First note" },
    ] }))
    .await;
    let world = World::build().server("Fake", fake.url()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open_with(CLIPBOARD).await;
    shown(&world, &tab).await;
    let card = tab.find(CARD, "show").await.text().await;
    assert!(card.contains("1 image, 1 file, 2 links"), "{card}");
    // A picture is what was asked for: its card is open.
    tab.find("image", "Image 1 of the result, image/png").await;
    tab.wait_true("document.querySelector('.result img').naturalWidth === 1")
        .await;
    tab.find("link", "Download report.pdf").await;
    tab.find("link", "Open on docs.example.com").await;
    // Pressed again while it says so, it still gets its words back.
    tab.click("button", "Copy the address of First note").await;
    tab.click("button", "Copied the address of First note")
        .await;
    tab.find("button", "Copy the address of First note").await;
    look(&tab, "result-files").await;
    same_after_reload(&tab).await;
    ana.leave().await;
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn json_opens_step_by_step() {
    let many: Vec<_> = (0..120).collect();
    let fake = showing(json!({
        "content": [{ "type": "text", "text": "Done." }],
        "structuredContent": { "state": "fine", "numbers": many },
    }))
    .await;
    let world = World::build().server("Fake", fake.url()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    shown(&world, &tab).await;
    let card = tab.find(CARD, "show").await.text().await;
    assert!(card.contains("2 fields"), "{card}");
    open_card(&tab).await;
    tab.wait_text("120 entries").await;
    tab.eval("[...document.querySelectorAll('.tree summary')].find((it) => it.textContent.includes('numbers')).click()").await;
    tab.click("link", "Show 70 more").await;
    tab.wait_gone("link", "Show 70 more").await;
    tab.click("link", "Show 20 more").await;
    tab.wait_gone("link", "Show 20 more").await;
    tab.wait_text("119").await;
    look(&tab, "result-json").await;
    ana.leave().await;
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn progress_moves_one_bar() {
    let (step, steps) = watch::channel(0);
    let fake = Fake::start(move |seen| {
        let steps = steps.clone();
        async move {
            if seen.method() != "tools/call" {
                return seen.plain(&[tool("show")]);
            }
            let token = seen.body["params"]["_meta"]["progressToken"].clone();
            let done = json!({
                "jsonrpc": "2.0", "id": seen.body["id"],
                "result": { "content": [{ "type": "text", "text": "Counted." }] },
            });
            let said = move |at: u32| {
                let params = json!({
                    "progressToken": token, "progress": 25 * (at + 1), "total": 100,
                    "message": format!("Step {at}"),
                });
                let method = "notifications/progress";
                json!({ "jsonrpc": "2.0", "method": method, "params": params })
            };
            events(stream::unfold((0, steps), move |(at, mut steps)| {
                let message = if at < 2 { said(at) } else { done.clone() };
                async move {
                    steps.wait_for(|step| *step >= at).await.ok()?;
                    (at < 3).then(|| (Ok(message), (at + 1, steps)))
                }
            }))
        }
    })
    .await;
    let world = World::build().server("Fake", fake.url()).start().await;
    let ana = Visitor::sign_in(&world, DemoUser::Ana).await;
    let tab = ana.open("/").await;
    world
        .model()
        .queue(Reply::calls([Call::new("Fake__show", &json!({}))]));
    world.model().queue(Reply::text("There it is."));
    tab.ask("Count").await;
    tab.wait_text("25 %").await;
    tab.find("progressbar", "Progress").await;
    tab.eval("document.querySelector('.call progress').harnessSawThis = true")
        .await;
    step.send_replace(1);
    tab.wait_text("Step 1").await;
    let bar = "(() => { const bar = document.querySelector('.call progress');
               return [bar.harnessSawThis === true, bar.value, bar.max]; })()";
    assert_eq!(tab.eval(bar).await, json!([true, 50, 100]));
    step.send_replace(9);
    tab.wait_end().await;
    tab.wait_gone("progressbar", "Progress").await;
    let card = tab.find(CARD, "show").await.text().await;
    assert!(card.contains("Counted."), "{card}");
    ana.leave().await;
    world.finish().await;
    fake.end().await;
}
