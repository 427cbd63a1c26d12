//! Conversations renamed, found, deleted, restored, and removed for good.

use chat::{ids::ConversationId, outcome::TurnEnd};
use demo::model::Reply;
use harness::{Events, Posted, User, World};
use http::Method;
use serde_json::{Value, json};

use crate::look::{READ, SALES, ask_in_vain, end, eventually, problem, queries};

fn url(conversation: &ConversationId) -> String {
    format!("/api/conversations/{conversation}")
}

async fn ask(world: &World, user: &User, text: &str) -> Posted {
    world.model().queue(Reply::text("Yes."));
    user.ask_to_end(text).await
}

/// The titles of a list, and where it goes on.
async fn listed(user: &User, path: &str) -> (Vec<String>, Option<String>) {
    let response = user.get(path).await.expect(200);
    let rows: Vec<Value> = response.json();
    let titles = rows.iter().map(|row| row["title"].as_str().unwrap());
    let link = response.headers.get("link").map(|link| {
        let link = link.to_str().unwrap();
        let (path, rel) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
        assert_eq!(rel, "; rel=\"next\"");
        path.to_owned()
    });
    (titles.map(str::to_owned).collect(), link)
}

async fn titles(user: &User) -> Vec<String> {
    listed(user, "/api/conversations").await.0
}

/// Reads a page's stream until something it gets holds all of `wanted`.
async fn wait_page(events: &mut Events, wanted: &[&str]) -> String {
    loop {
        let event = events.next().await;
        let event = event.unwrap_or_else(|| panic!("the stream ended without {wanted:?}"));
        if wanted.iter().all(|wanted| event.data.contains(wanted)) {
            return event.data;
        }
    }
}

#[tokio::test]
async fn a_new_title_is_everywhere_at_once_and_moves_nothing() {
    let world = World::start().await;
    let ana = world.ana();
    let first = ask(&world, &ana, "First").await;
    let second = ask(&world, &ana, "Second").await;
    let mut page = ana.page_stream(&second.conversation).await;
    wait_page(&mut page, &["First", "Second"]).await;

    let body = json!({ "title": "  Größe \n & <Gewicht> " });
    let row: Value = ana
        .patch(&url(&first.conversation), &body)
        .await
        .expect(200)
        .json();
    assert_eq!(row["title"], "Größe & <Gewicht>");
    assert_eq!(row["id"], json!(first.conversation));
    assert_eq!(row["off"], json!({ "servers": [], "tools": [] }));
    assert_eq!(titles(&ana).await, ["Second", "Größe & <Gewicht>"]);
    let html = wait_page(&mut page, &["Größe"]).await;
    assert!(!html.contains("<Gewicht>"), "{html}");
    let html = ana.get(&format!("/c/{}", first.conversation)).await.body;
    assert!(html.contains("Größe") && !html.contains("<Gewicht>"));

    for title in ["", " \n ", "\u{7}", &"x".repeat(201)] {
        let body = json!({ "title": title });
        let told = ana.patch(&url(&first.conversation), &body).await;
        problem(&told, 400, "bad_request");
    }
    for body in [
        json!({ "title": 1 }),
        json!({ "name": "x" }),
        json!({ "off": { "servers": "Mail" } }),
        json!({ "off": { "servers": [""] } }),
        json!("title"),
    ] {
        let told = ana.patch(&url(&first.conversation), &body).await;
        problem(&told, 400, "bad_request");
    }
    let bens = world.ben().patch(&url(&first.conversation), &body).await;
    problem(&bens, 404, "not_found");
    assert_eq!(titles(&ana).await, ["Second", "Größe & <Gewicht>"]);
    drop(page);
    world.finish().await;
}

#[tokio::test]
async fn the_list_is_searched_by_title_and_read_page_by_page() {
    let world = World::start().await;
    let ana = world.ana();
    for text in ["Sales 1", "Ümsatz 50%", "sales 2", "Costs", "SALES 3"] {
        ask(&world, &ana, text).await;
    }
    ask(&world, &world.ben(), "Sales of Ben").await;
    let all = ["SALES 3", "Costs", "sales 2", "Ümsatz 50%", "Sales 1"];
    assert_eq!(titles(&ana).await, all);
    let mut seen = Vec::new();
    let mut next = Some("/api/conversations?limit=2".to_owned());
    while let Some(path) = next {
        let (page, more) = listed(&ana, &path).await;
        assert!(page.len() <= 2);
        seen.extend(page);
        next = more;
    }
    assert_eq!(seen, all);

    let (page, next) = listed(&ana, "/api/conversations?search=%20sAlEs&limit=2").await;
    assert_eq!(page, ["SALES 3", "sales 2"]);
    let (page, next) = listed(&ana, &next.unwrap()).await;
    assert_eq!((page, next), (vec!["Sales 1".to_owned()], None));
    for (search, hits) in [("%C3%BCMS", 1), ("%25", 1), ("_", 0), ("nothing", 0)] {
        let (page, next) = listed(&ana, &format!("/api/conversations?search={search}")).await;
        assert_eq!((page.len(), next), (hits, None), "{search}");
    }
    for wrong in [
        "before=x",
        "before=1",
        "limit=x",
        "limit=-1",
        &format!("search={}", "x".repeat(201)),
    ] {
        let told = ana.get(&format!("/api/conversations?{wrong}")).await;
        problem(&told, 400, "bad_request");
    }
    world.finish().await;
}

#[tokio::test]
async fn what_is_deleted_is_nowhere_until_it_is_restored() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ana.ask_to_end(SALES).await;
    let other = ask(&world, &ana, "Other").await;
    let mut page = ana.page_stream(&other.conversation).await;
    wait_page(&mut page, &[SALES]).await;
    let conversation = &posted.conversation;
    let restore = format!("{}/restore", url(conversation));

    problem(
        &world.ben().delete(&url(conversation)).await,
        404,
        "not_found",
    );
    assert_eq!(titles(&ana).await.len(), 2);
    ana.delete(&url(conversation)).await.expect(204);
    assert_eq!(titles(&ana).await, ["Other"]);
    page.until(|frame| frame.data.contains("Other") && !frame.data.contains(SALES))
        .await;
    for path in [
        url(conversation),
        format!("/c/{conversation}"),
        format!("/api/turns/{}", posted.turn),
        format!("/api/turns/{}/events", posted.turn),
        format!("/api/turns/{}/calls/1/result", posted.turn),
    ] {
        assert_eq!(ana.get(&path).await.status, 404, "{path}");
    }
    let more = json!({ "conversation": conversation });
    problem(&ana.ask_with("More?", &more).await, 404, "not_found");
    let title = json!({ "title": "x" });
    let told = ana.patch(&url(conversation), &title).await;
    problem(&told, 404, "not_found");
    problem(&ana.delete(&url(conversation)).await, 404, "not_found");
    let bens = world.ben().post(&restore, &json!({})).await;
    problem(&bens, 404, "not_found");

    let row: Value = ana.post(&restore, &json!({})).await.expect(200).json();
    assert_eq!(row["title"], SALES);
    assert_eq!(titles(&ana).await, ["Other", SALES]);
    wait_page(&mut page, &[SALES]).await;
    assert_eq!(ana.conversation(conversation).await.turns.len(), 1);
    let result = format!("/api/turns/{}/calls/1/result", posted.turn);
    ana.get(&result).await.expect(200);
    // Twice is once.
    ana.post(&restore, &json!({})).await.expect(200);
    drop(page);
    world.finish().await;
}

#[tokio::test]
async fn deleting_stops_the_turn_that_runs_and_waits_for_nothing() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ask_in_vain(&world, &ana, "For ever").await;
    let mut page = ana.page_stream(&posted.conversation).await;
    wait_page(&mut page, &["For ever"]).await;
    ana.delete(&url(&posted.conversation)).await.expect(204);
    let told = ana.cancel(&posted.turn).await;
    problem(&told, 404, "not_found");
    eventually("the model request has ended", || {
        let last = world.model().requests().pop().unwrap();
        last.delivery() == demo::model::Delivery::Dropped
    })
    .await;
    // It does not count any more.
    ask(&world, &ana, "Other").await;
    let restore = format!("{}/restore", url(&posted.conversation));
    ana.post(&restore, &json!({})).await.expect(200);
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Cancelled);
    drop(page);
    world.finish().await;
}

/// Changes the database of a Toolgate that is dead.
fn change_database(world: &World, sql: &str) {
    let file = world.data().join("toolgate.db");
    let database = rusqlite::Connection::open(file).unwrap();
    database.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn recovery_ends_the_turn_of_a_deleted_conversation() {
    let mut world = World::build().start_with_process().await;
    let ana = world.ana();
    let posted = ask_in_vain(&world, &ana, "For ever").await;
    world.toolgate().kill().await;
    // It was deleted, and killed before the turn had heard of it.
    let now = "CAST(strftime('%s', 'now') AS INTEGER) * 1000";
    change_database(
        &world,
        &format!("UPDATE conversations SET deleted_at = {now}"),
    );
    let asked = world.model().received();
    world.toolgate().start().await;
    problem(&ana.get(&url(&posted.conversation)).await, 404, "not_found");
    let restore = format!("{}/restore", url(&posted.conversation));
    ana.post(&restore, &json!({})).await.expect(200);
    let transcript = ana.wait_end(&posted.turn).await;
    assert_eq!(end(&transcript), TurnEnd::Cancelled);
    assert_eq!(world.model().received(), asked);
    world.finish().await;
}

#[tokio::test]
async fn after_an_hour_a_deleted_conversation_is_removed_for_good() {
    let mut world = World::build().start_with_process().await;
    let ana = world.ana();
    let query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) \
                 SELECT i FROM n";
    world.model().queue(queries(READ, &[query]));
    let gone = ask(&world, &ana, "Gone").await;
    let kept = ask(&world, &ana, "Kept").await;
    ana.delete(&url(&gone.conversation)).await.expect(204);
    world.toolgate().terminate().await;
    change_database(
        &world,
        "UPDATE conversations SET deleted_at = deleted_at - 3600000 \
         WHERE deleted_at IS NOT NULL",
    );
    world.toolgate().start().await;
    let restore = format!("{}/restore", url(&gone.conversation));
    problem(&ana.post(&restore, &json!({})).await, 404, "not_found");
    let file = world.data().join("toolgate.db");
    eventually("it is gone from the file", || {
        let database = rusqlite::Connection::open(&file).unwrap();
        database.busy_timeout(harness::PATIENCE).unwrap();
        let count = |sql: &str| -> u32 { database.query_row(sql, [], |row| row.get(0)).unwrap() };
        count("SELECT COUNT(*) FROM conversations") == 1
            && count("SELECT COUNT(*) FROM turns") == 1
            && count("SELECT COUNT(*) FROM results") == 0
    })
    .await;
    assert_eq!(titles(&ana).await, ["Kept"]);
    assert_eq!(ana.conversation(&kept.conversation).await.turns.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_request_without_a_body_that_is_json_deletes_nothing() {
    let world = World::start().await;
    let ana = world.ana();
    let posted = ask(&world, &ana, "Mine").await;
    let bare = ana.request(Method::DELETE, &url(&posted.conversation));
    problem(&ana.send(bare).await, 403, "cross_site");
    assert_eq!(titles(&ana).await, ["Mine"]);
    world.finish().await;
}
