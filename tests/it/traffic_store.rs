//! The traffic file: what is in it after real turns, what never is, and what settings and kills do
//! to it.

use std::{collections::BTreeSet, path::Path};

use demo::model::Reply;
use harness::{Posted, User, World};
use http::{Method, header};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::{
    look::{SALES, ask_in_vain, found},
    traffic_api::exchanges,
};

/// All bytes in a traffic file, as they were before they were compressed.
fn everything(directory: &Path) -> String {
    let database = Connection::open(directory.join("toolgate-traffic.db")).unwrap();
    let mut all = String::new();
    for sql in [
        "SELECT b.size, o.body FROM blobs b JOIN bodies o ON o.blob_id = b.id",
        "SELECT size, body FROM pieces WHERE body IS NOT NULL",
        "SELECT 0, CAST(url || request_headers || COALESCE(response_headers, '') || \
         COALESCE(failure, '') || COALESCE(label, '') AS BLOB) FROM exchanges",
    ] {
        let mut statement = database.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (size, body): (i64, Vec<u8>) = (row.get(0).unwrap(), row.get(1).unwrap());
            let size = usize::try_from(size).unwrap();
            let plain = if size == 0 || body.len() == size {
                body
            } else {
                zstd::bulk::decompress(&body, size).unwrap()
            };
            all.push_str(&String::from_utf8_lossy(&plain));
            all.push('\n');
        }
    }
    all
}

/// An exchange with its bodies.
async fn whole(user: &User, posted: &Posted, exchange: &Value) -> Value {
    let id = exchange["id"].as_str().unwrap();
    let path = format!("/api/traffic/{}/{id}", posted.turn);
    user.get_json(&path).await
}

#[tokio::test]
async fn bodies_are_kept_byte_for_byte_with_the_times_of_their_frames() {
    let world = World::build()
        .model_delay(Duration::from_millis(1))
        .start()
        .await;
    let ana = world.ana();
    let posted = ana.ask_to_end(SALES).await;
    let all = exchanges(&ana, &posted.turn).await;
    assert!(all.is_sorted_by_key(|it| it["started_at"].as_i64()));
    let models: Vec<_> = all.iter().filter(|it| it["peer"] == "model").collect();
    let requests = world.model().requests();
    assert_eq!(models.len(), requests.len());
    for (exchange, request) in models.into_iter().zip(requests) {
        let whole = whole(&ana, &posted, exchange).await;
        assert_eq!(
            whole["request"]["text"].as_str().unwrap().as_bytes(),
            request.body
        );
        assert_eq!(whole["bytes_out"], json!(request.body.len()));
        let model = request.json()["model"].clone();
        assert_eq!(whole["label"], model);
        let (said, arrivals) = (&whole["response"]["text"], &whole["response"]["arrivals"]);
        let said = said.as_str().unwrap();
        assert!(said.starts_with("data: ") && said.ends_with("data: [DONE]\n\n"));
        let arrivals: Vec<(u64, u64)> = serde_json::from_value(arrivals.clone()).unwrap();
        assert!(arrivals.is_sorted_by_key(|(end, _)| *end), "{arrivals:?}");
        assert!(
            arrivals.is_sorted_by_key(|(_, after)| *after),
            "{arrivals:?}"
        );
        assert!(arrivals.len() as u64 <= whole["frames_in"].as_u64().unwrap());
        assert_eq!(arrivals.last().unwrap().0, said.len() as u64);
        let head = whole["headers_after_us"].as_u64().unwrap();
        let end = whole["ended_after_us"].as_u64().unwrap();
        assert!(head <= arrivals[0].1 && arrivals.last().unwrap().1 <= end);
        assert!(
            arrivals.last().unwrap().1 - arrivals[0].1 > 10_000,
            "{arrivals:?}"
        );
    }
    world.finish().await;
}

#[tokio::test]
async fn a_token_is_in_no_body_even_if_somebody_says_it() {
    let mut world = World::build()
        .setting("TOOLGATE_APPROVAL", "never")
        .start_with_process()
        .await;
    let ana = world.ana();
    let te = world.standin().issue_te(ana.sid).unwrap();
    let assertion = world.standin().assertion(ana.sid, "chat.localhost");
    // Around the stand-in, so that this token is the one that is used.
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_idle_timeout(None)
        .build()
        .unwrap();
    let url = format!("http://{}/api/messages", world.toolgate().address());
    let says = format!("Is {te} a secret? And {te}, backwards?");
    world.model().queue(Reply::text(format!("Yes, {te} is.")));
    let posting = client
        .request(Method::POST, url)
        .header(header::AUTHORIZATION, format!("Bearer {te}"))
        .header("x-pomerium-jwt-assertion", assertion.unwrap())
        .json(&json!({ "message_id": "one", "message": says }));
    let posted: Posted = ana.send(posting).await.expect(202).json();
    ana.wait_end(&posted.turn).await;
    let all = exchanges(&ana, &posted.turn).await;
    let model = all.iter().find(|it| it["peer"] == "model").unwrap();
    let model = whole(&ana, &posted, model).await;
    for side in ["request", "response"] {
        let text = model[side]["text"].as_str().unwrap();
        assert!(text.contains("[redacted]***"), "{text}");
    }
    // As long as it was.
    let text = model["request"]["text"].as_str().unwrap();
    assert_eq!(json!(text.len()), model["bytes_out"]);
    assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
    world.toolgate().terminate().await;
    let kept = everything(world.data());
    assert!(kept.contains("a secret? And [redacted]***"), "{kept}");
    assert!(!kept.contains(&te), "a token is in the traffic file");
    drop(client);
    world.finish().await;
}

#[tokio::test]
async fn a_kill_leaves_a_sound_file_and_what_was_open_is_interrupted() {
    let mut world = World::build().start_with_process().await;
    let ana = world.ana();
    let first = ana.ask_to_end(SALES).await;
    exchanges(&ana, &first.turn).await;
    let posted = ask_in_vain(&world, &ana, "Hello").await;
    let path = format!("/api/traffic/{}", posted.turn);
    found(async || {
        let body: Value = ana.get_json(&path).await;
        let open = |it: &Value| it["peer"] == "model" && it["end"] == Value::Null;
        let begun = body["exchanges"].as_array().unwrap().iter().any(open);
        begun.then_some(()).ok_or(format!("{body:#}"))
    })
    .await;
    world.toolgate().kill().await;
    let database = Connection::open(world.data().join("toolgate-traffic.db")).unwrap();
    let said: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(said, "ok");
    drop(database);
    world.toolgate().start().await;
    let body: Value = ana.get_json(&path).await;
    let ends = body["exchanges"].as_array().unwrap().iter();
    let ends: BTreeSet<_> = ends.filter_map(|it| it["end"].as_str()).collect();
    assert!(ends.contains("interrupted"), "{body:#}");
    assert!(exchanges(&ana, &first.turn).await.len() > 2);
    world.finish().await;
}

#[tokio::test]
async fn what_is_recorded_is_what_the_settings_say() {
    let mut world = World::build()
        .setting("TOOLGATE_TRAFFIC_MAX_AGE", "3s")
        .start_with_process()
        .await;
    let ana = world.ana();
    let file = world.data().join("toolgate.toml");
    let first = ana.ask_to_end(SALES).await;
    exchanges(&ana, &first.turn).await;
    sleep(Duration::from_secs(3)).await;

    // One server less than the others; and what has become too old is gone.
    std::fs::write(&file, "[traffic_servers]\nDatabase = \"metadata\"\n").unwrap();
    world.toolgate().terminate().await;
    world.toolgate().start().await;
    let second = ana.ask_to_end(SALES).await;
    let all = exchanges(&ana, &second.turn).await;
    let call = all.iter().find(|it| it["call"] == 1).unwrap();
    assert_eq!(call["label"], "tools/call read_query");
    let call = whole(&ana, &second, call).await;
    for side in ["request", "response"] {
        assert_eq!(call[side]["kept"], "metadata");
        assert_eq!(call[side]["text"], "");
    }
    assert!(call["bytes_in"].as_u64().unwrap() > 0);
    // What it answered is in no request to the model either; that it is asked is.
    let kept = async |posted: &Posted, all: &[Value]| {
        let models = all.iter().filter(|it| it["peer"] == "model");
        let mut kept = Vec::new();
        for model in models {
            let model = whole(&ana, posted, model).await;
            kept.push(["request", "response"].map(|side| model[side]["kept"].clone()));
        }
        kept
    };
    let (with, without) = (json!("all"), json!("metadata"));
    let expected = [[with.clone(), with], [without.clone(), without]];
    assert_eq!(kept(&second, &all).await, expected);
    let gone: Value = ana.get_json(&format!("/api/traffic/{}", first.turn)).await;
    assert_eq!(gone["exchanges"], json!([]));

    // Nothing of it.
    std::fs::write(&file, "[traffic_servers]\nDatabase = \"off\"\n").unwrap();
    world.toolgate().terminate().await;
    world.toolgate().start().await;
    let third = ana.ask_to_end(SALES).await;
    let all = exchanges(&ana, &third.turn).await;
    assert!(all.iter().all(|it| it["server"] != "Database"), "{all:#?}");
    assert_eq!(kept(&third, &all).await, expected);
    world.finish().await;
}

#[tokio::test]
async fn of_a_deleted_conversation_no_traffic_is_shown() {
    let world = World::build().start().await;
    let ana = world.ana();
    let posted = ana.ask_to_end(SALES).await;
    let all = exchanges(&ana, &posted.turn).await;
    let first = all[0]["id"].as_str().unwrap();
    let turn = &posted.turn;
    let paths = [
        format!("/traffic/{turn}"),
        format!("/traffic/{turn}/{first}"),
        format!("/api/traffic/{turn}"),
        format!("/api/traffic/{turn}/har"),
        format!("/api/traffic/{turn}/{first}"),
        format!("/api/traffic/{turn}/{first}/request"),
    ];
    for path in &paths {
        ana.get(path).await.expect(200);
    }
    let conversation = format!("/api/conversations/{}", posted.conversation);
    ana.delete(&conversation).await.expect(204);
    for path in &paths {
        ana.get(path).await.expect(404);
    }
    let list: Value = ana.get_json("/api/traffic").await;
    assert_eq!(list["turns"], json!([]));
    let page = ana.get("/traffic").await.expect(200).body;
    assert!(!page.contains(turn.as_str()), "{page}");
    world.finish().await;
}

#[tokio::test]
async fn what_was_recorded_before_it_was_switched_off_is_kept_no_longer_than_it_may() {
    let mut world = World::build()
        .setting("TOOLGATE_TRAFFIC_MAX_AGE", "1s")
        .start_with_process()
        .await;
    let ana = world.ana();
    let posted = ana.ask_to_end(SALES).await;
    assert!(!exchanges(&ana, &posted.turn).await.is_empty());
    world.toolgate().terminate().await;
    let file = world.data().join("toolgate.toml");
    std::fs::write(file, "traffic = \"off\"\n").unwrap();
    sleep(Duration::from_secs(1)).await;
    world.toolgate().start().await;
    let path = format!("/api/traffic/{}", posted.turn);
    found(async || {
        let body: Value = ana.get_json(&path).await;
        let gone = body["exchanges"] == json!([]);
        gone.then_some(()).ok_or(format!("{body:#}"))
    })
    .await;
    let again = ana.ask_to_end(SALES).await;
    let path = format!("/api/traffic/{}", again.turn);
    let body: Value = ana.get_json(&path).await;
    assert_eq!(body["exchanges"], json!([]));
    world.finish().await;
}

#[tokio::test]
async fn without_recording_there_is_no_file_and_the_page_says_so() {
    let world = World::build()
        .setting("TOOLGATE_TRAFFIC", "off")
        .start()
        .await;
    let ana = world.ana();
    let posted = ana.ask_to_end(SALES).await;
    let body: Value = ana.get_json(&format!("/api/traffic/{}", posted.turn)).await;
    assert_eq!(body["exchanges"], json!([]));
    assert!(!world.data().join("toolgate-traffic.db").exists());
    let page = ana.get("/traffic").await.expect(200).body;
    assert_eq!(page.matches("TOOLGATE_TRAFFIC").count(), 1, "{page}");
    world.finish().await;
}
