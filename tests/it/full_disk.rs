//! A disk that is really full: traffic stops first, then new turns are refused, nothing that exists
//! is damaged, and it all goes on by itself when there is room.

use std::{fs::File, io::Write as _, path::PathBuf};

use chat::{
    event::Answer,
    failure::Layer,
    outcome::{Outcome, TurnEnd},
};
use harness::{User, World};
use rusqlite::Connection;
use serde_json::{Value, json};
use store::disk::Room;

use crate::look::{SALES, WRITE, end, found, outcomes, problem, queries};

const MIB: u64 = 1024 * 1024;

/// MiB of the disk: traffic stops below 8 free ones, new turns are refused below 2.
const DISK: u32 = 64;

/// The disk of a world's Toolgate.
struct Disk(PathBuf);

impl Disk {
    fn free(&self) -> u64 {
        Room::at(&self.0.join("toolgate.db")).unwrap().free
    }

    /// Puts a file there that leaves so many bytes.
    fn fill(&self, name: &str, left: u64) {
        let mut filler = File::create(self.0.join(name)).unwrap();
        let (chunk, mut missing) = (vec![b'x'; 65_536], self.free().saturating_sub(left));
        while missing > 0 {
            let some = usize::try_from(missing.min(65_536)).unwrap();
            if filler.write_all(&chunk[..some]).is_err() {
                return;
            }
            missing -= some as u64;
        }
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }

    /// Fails unless both databases are whole. Copies of them: SQLite would follow the way to the
    /// disk as if it were here.
    fn assert_sound(&self) {
        let copies = tempfile::tempdir().unwrap();
        for name in ["toolgate.db", "toolgate-traffic.db"] {
            for part in [name.to_owned(), format!("{name}-wal")] {
                std::fs::copy(self.0.join(&part), copies.path().join(&part)).unwrap();
            }
            let database = Connection::open(copies.path().join(name)).unwrap();
            let said: String = database
                .query_row("PRAGMA integrity_check", [], |row| row.get(0))
                .unwrap();
            assert_eq!(said, "ok", "{name}");
        }
    }
}

/// Waits until traffic is recorded, or is not for this reason.
async fn wait_paused(user: &User, paused: &Value) {
    found(async || {
        let list: Value = user.get_json("/api/traffic").await;
        let is = list["dropped"]["paused"] == *paused;
        is.then_some(()).ok_or(format!("{paused}: {list:#}"))
    })
    .await;
}

async fn exchanges(user: &User, turn: &chat::ids::TurnId) -> usize {
    let body: Value = user.get_json(&format!("/api/traffic/{turn}")).await;
    body["exchanges"].as_array().unwrap().len()
}

#[tokio::test]
async fn on_a_full_disk_traffic_stops_first_then_new_turns_and_nothing_is_lost() {
    let mut world = World::build().start_on_disk(DISK).await;
    let ana = world.ana();
    let disk = Disk(world.toolgate().disk());
    let before = ana.ask(SALES).await;
    assert_eq!(end(&ana.wait_end(&before.turn).await), TurnEnd::Answered);
    wait_paused(&ana, &Value::Null).await;

    // Little room: answers as before, and no traffic.
    disk.fill("much", 6 * MIB);
    let without = ana.ask(SALES).await;
    assert_eq!(end(&ana.wait_end(&without.turn).await), TurnEnd::Answered);
    wait_paused(&ana, &json!("disk_full")).await;
    world
        .model()
        .queue(queries(WRITE, &["UPDATE products SET unit_price = 1"]));
    let running = ana.ask("Make everything cheap").await;
    let (question, _) = ana.wait_question(&running.turn).await;
    assert_eq!(exchanges(&ana, &running.turn).await, 0);
    let page = ana.get("/traffic").await.expect(200).body;
    assert!(page.contains("the disk is almost full"), "{page}");

    // Almost none: no new turn, whoever asks, and what runs goes on.
    disk.fill("more", MIB);
    let message = json!({ "message_id": "one", "message": SALES });
    let refused = problem(&ana.post("/api/messages", &message).await, 507, "disk_full");
    assert_eq!(refused.layer, Layer::Toolgate);
    assert!(refused.advice.contains("made room"), "{refused:?}");
    let request = json!({ "model": "any", "messages": [{ "role": "user", "content": SALES }] });
    ana.post("/v1/chat/completions", &request).await.expect(507);
    let approve = Answer::Approve;
    ana.answer(&running.turn, question, &approve)
        .await
        .expect(202);
    let transcript = ana.wait_end(&running.turn).await;
    assert_eq!(outcomes(&transcript), [Outcome::Ok]);
    assert_eq!(end(&transcript), TurnEnd::Answered);

    // None at all.
    disk.fill("all", 0);
    problem(&ana.post("/api/messages", &message).await, 507, "disk_full");
    for posted in [&before, &without, &running] {
        let transcript = ana.turn(&posted.turn).await;
        assert_eq!(end(&transcript), TurnEnd::Answered);
    }
    assert!(exchanges(&ana, &before.turn).await > 2);
    disk.assert_sound();

    // Room again: it goes on by itself.
    for name in ["all", "more", "much"] {
        disk.remove(name);
    }
    wait_paused(&ana, &Value::Null).await;
    let posted: harness::Posted = ana.post("/api/messages", &message).await.expect(202).json();
    assert_eq!(end(&ana.wait_end(&posted.turn).await), TurnEnd::Answered);
    found(async || {
        let recorded = exchanges(&ana, &posted.turn).await;
        let again = recorded >= 3;
        again
            .then_some(())
            .ok_or(format!("{recorded} are recorded"))
    })
    .await;
    disk.assert_sound();
    let log = world.toolgate().log();
    for said in ["the disk is almost full", "traffic is recorded again"] {
        assert!(log.contains(said), "{said} is not in the log");
    }
    world.finish().await;
}
