//! What came back from a call, over HTTP: as a page, as tables, as files that can do no harm.

use std::{future::ready, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use harness::{Response, User, World};
use http::{Method, header};
use serde_json::{Value, json};

use crate::{
    fake::{Fake, tool},
    servers::{build, turn},
};

/// A picture of one pixel.
pub(crate) const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A server whose tool `show` answers with this.
pub(crate) async fn showing(result: Value) -> Fake {
    Fake::start(move |seen| {
        ready(match seen.method() {
            "tools/call" => seen.result(&result),
            _ => seen.plain(&[tool("show")]),
        })
    })
    .await
}

/// The path of the page of its one call's result, after somebody asked for it.
async fn shown(world: &World, user: &User) -> String {
    let told = turn(world, user, &[("Fake__show", json!({}))]).await;
    format!("/calls/{}/{}", told.turn, told.call().call)
}

async fn html(user: &User, path: &str) -> Response {
    let request = user.request(Method::GET, path);
    let request = request.header(header::ACCEPT, "text/html");
    user.send(request).await
}

fn header_of<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_table_is_sorted_paged_and_saved_without_formulas() {
    let mut rows: Vec<_> = (0..450)
        .map(|n| json!([format!("c{n}"), 449 - n]))
        .collect();
    rows[0] = json!(["=HYPERLINK(\"https://evil.example\")", 10_000]);
    let fake = showing(json!({
        "content": [], "structuredContent": { "columns": ["name", "count"], "rows": rows },
    }))
    .await;
    let world = build().server("Fake", fake.url()).start().await;
    let ana = world.ana();
    let path = shown(&world, &ana).await;

    let page = html(&ana, &path).await.expect(200);
    assert!(page.body.contains("450 rows × 2 columns"), "{}", page.body);
    assert!(page.body.contains("Rows 1 to 200 of 450"), "{}", page.body);
    assert!(page.body.contains("c199<") && !page.body.contains("c200<"));
    let next = html(&ana, &format!("{path}?table=0&from=400"))
        .await
        .expect(200);
    assert!(next.body.contains("c449<") && next.body.contains("Show the rows before"));
    let sorted = html(&ana, &format!("{path}?part=table&table=0&sort=1"))
        .await
        .expect(200);
    assert!(sorted.body.contains("aria-sort=\"ascending\""));
    assert!(sorted.body.contains("c449<") && !sorted.body.contains("<html"));

    let csv = ana
        .get(&format!("{path}?table=0&sort=1&dir=desc&format=csv"))
        .await
        .expect(200);
    let mut lines = csv.body.split("\r\n");
    assert_eq!(lines.next(), Some("name,count"));
    assert_eq!(
        lines.next(),
        Some("\"'=HYPERLINK(\"\"https://evil.example\"\")\",10000")
    );
    assert_eq!(lines.next(), Some("c1,448"));
    assert!(header_of(&csv, "content-type").starts_with("text/csv; charset=utf-8"));
    assert!(header_of(&csv, "content-disposition").starts_with("attachment; filename="));

    let svg = ana
        .get(&format!("{path}?view=chart&format=svg"))
        .await
        .expect(200);
    assert!(svg.body.starts_with("<svg") && svg.body.contains("Bar chart of 450 rows."));
    assert!(
        svg.body
            .contains("Of the 450 values of name, the first 60 are drawn"),
        "{}",
        svg.body
    );
    assert_eq!(
        header_of(&svg, "content-security-policy"),
        "sandbox; default-src 'none'"
    );
    assert!(header_of(&svg, "content-disposition").starts_with("attachment"));
    for wrong in [
        "?part=table&table=1",
        "?table=7&format=csv",
        "?part=tree&path=/nowhere",
    ] {
        html(&ana, &format!("{path}{wrong}")).await.expect(404);
    }
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn files_are_saved_and_only_pictures_are_shown() {
    let svg = STANDARD.encode("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>");
    let page = STANDARD.encode("<script>alert(1)</script>");
    let resource = |blob: &str, uri: &str| {
        let resource = json!({ "uri": uri, "mimeType": "text/html", "blob": blob });
        json!({ "type": "resource", "resource": resource })
    };
    let fake = showing(json!({ "content": [
        { "type": "image", "data": PNG, "mimeType": "text/html" },
        { "type": "image", "data": svg, "mimeType": "image/svg+xml" },
        resource(&page, "file:///tmp/r%C3%A9sum%C3%A9.html"),
        { "type": "text", "text": "<b>plain</b>" },
        { "type": "resource_link", "uri": "javascript:alert(1)", "name": "a" },
    ] }))
    .await;
    let world = build().server("Fake", fake.url()).start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let path = shown(&world, &ana).await;
    let file = |number: usize| {
        let (_, ids) = path.split_once("/calls/").unwrap();
        let (turn, call) = ids.split_once('/').unwrap();
        format!("/api/turns/{turn}/calls/{call}/content/{number}")
    };

    for (number, kind, attached) in [
        (0, "image/png", ""),
        (
            1,
            "application/octet-stream",
            "attachment; filename=\"content-2.svg\"; ",
        ),
        (
            2,
            "application/octet-stream",
            "attachment; filename=\"r_sum_.html\"; filename*=UTF-8''r%C3%A9sum%C3%A9.html",
        ),
        (
            3,
            "text/plain; charset=utf-8",
            "attachment; filename=\"content-4.txt\"; ",
        ),
    ] {
        let response = ana.try_send(ana.request(Method::GET, &file(number))).await;
        let response = response.unwrap().expect(200);
        assert_eq!(header_of(&response, "content-type"), kind);
        let disposition = header_of(&response, "content-disposition");
        assert!(disposition.starts_with(attached), "{disposition}");
        assert_eq!(disposition.is_empty(), attached.is_empty());
        assert_eq!(header_of(&response, "x-content-type-options"), "nosniff");
        assert_eq!(
            header_of(&response, "content-security-policy"),
            "sandbox; default-src 'none'"
        );
        assert_eq!(
            header_of(&response, "cross-origin-resource-policy"),
            "same-origin"
        );
        ben.get(&file(number)).await.expect(404);
    }
    for nothing in [4, 5, 99] {
        ana.get(&file(nothing)).await.expect(404);
    }
    let page = html(&ana, &path).await.expect(200);
    assert!(page.body.contains("&#60;b&#62;plain"), "{}", page.body);
    assert!(!page.body.contains("href=\"javascript"), "{}", page.body);
    html(&ben, &path).await.expect(404);
    html(&ben, &format!("{path}?part")).await.expect(404);
    world.finish().await;
    fake.end().await;
}

#[tokio::test]
async fn five_megabytes_are_read_in_small_pieces() {
    let rows: Vec<_> = (0..40_000)
        .map(|n| json!({ "id": n, "words": "word ".repeat(24) }))
        .collect();
    let structured = json!({ "rows": rows });
    assert!(structured.to_string().len() > 5_000_000);
    let fake = showing(json!({ "content": [], "structuredContent": structured })).await;
    let world = build().server("Fake", fake.url()).start().await;
    let ana = world.ana();
    let path = shown(&world, &ana).await;
    let begun = Instant::now();
    let part = html(&ana, &format!("{path}?part&table=0&sort=0&dir=desc"))
        .await
        .expect(200);
    assert!(part.body.contains("40000 rows × 2 columns"));
    assert!(part.body.len() < 300_000, "{}", part.body.len());
    println!("read, sorted and rendered in {:?}", begun.elapsed());
    // The card itself is as small as any.
    let turn = path.split('/').nth(2).unwrap();
    let transcript = ana.get(&format!("/api/turns/{turn}")).await;
    assert!(transcript.body.len() < 200_000, "{}", transcript.body.len());
    assert!(
        transcript
            .body
            .contains(r#""facts":{"tables":1,"rows":40000,"columns":2}"#)
    );
    world.finish().await;
    fake.end().await;
}
