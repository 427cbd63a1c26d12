//! The store over real files.

mod api;
mod branches;
mod conversations;
mod faults;
mod files;
mod history;
mod migrations;
mod purge;
mod turn_log;
mod unreadable;

use chat::{
    event::{CallFinished, CatalogReady, Delta, Event, FunctionEntry, Logged, TurnStarted},
    ids::{CallId, ConversationId, RoundId, Sid, Subject, TurnId},
    outcome::{Outcome, TurnEnd},
    policy::Policy,
    selection::Selection,
    shape::CallResult,
    transcript::{End, Transcript},
};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::{Append, AppendError, Follows, NewTurn, PATH_TURNS, Store, TurnRow, Window};

/// A store in a directory of its own.
struct Db {
    store: Store,
    dir: TempDir,
}

impl Db {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&url(&dir), &TaskTracker::new()).await.unwrap();
        Self { store, dir }
    }

    /// A second connection to the file, as another program would have one.
    async fn sql(&self, sql: &'static str) {
        let mut conn = SqliteConnection::connect(&url(&self.dir)).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let mut conn = SqliteConnection::connect(&url(&self.dir)).await.unwrap();
        let (count,) = sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap();
        count
    }

    async fn open_turn(&self, turn: &str) {
        self.store
            .open_turn(new_turn("ana", "c", turn))
            .await
            .unwrap();
    }

    async fn append(&self, turn: &str, seq: u64, events: Vec<Event>) -> Result<u64, AppendError> {
        let mut append = append(turn, seq, events);
        if append.transcript.is_some()
            && let Some(mut log) = self.store.log(&ana(), &turn.into(), 0).await.unwrap()
            && log.len() as u64 == seq
        {
            log.extend(
                (seq + 1..)
                    .zip(append.events.iter().cloned())
                    .map(|(seq, event)| Logged {
                        seq,
                        at: append.at,
                        event,
                    }),
            );
            append.transcript = Some(Transcript::fold(&log));
        }
        self.store.append(append).await
    }

    /// The turns of a conversation that led to its newest one.
    async fn turns(&self, subject: &Subject, conversation: &str) -> Option<Vec<TurnRow>> {
        turns_of(&self.store, subject, conversation).await
    }

    /// The names of a turn's events, as its owner sees them.
    async fn names(&self, turn: &str) -> Vec<&'static str> {
        let log = self
            .store
            .log(&ana(), &turn.into(), 0)
            .await
            .unwrap()
            .unwrap();
        assert!(
            (1..).zip(&log).all(|(seq, logged)| logged.seq == seq),
            "a gap in {log:?}"
        );
        log.iter().map(|logged| logged.event.name()).collect()
    }
}

async fn turns_of(store: &Store, subject: &Subject, conversation: &str) -> Option<Vec<TurnRow>> {
    let conversation = conversation.into();
    let branch = store.branch(subject, &conversation, Window::Newest, PATH_TURNS);
    branch.await.unwrap().map(|branch| branch.turns)
}

fn url(dir: &TempDir) -> String {
    format!("sqlite://{}", dir.path().join("toolgate.db").display())
}

fn ana() -> Subject {
    "ana".into()
}

fn ben() -> Subject {
    "ben".into()
}

/// The first turn of a conversation; its message's id is made of the turn's.
fn new_turn(subject: &str, conversation: &str, turn: &str) -> NewTurn {
    NewTurn {
        subject: subject.into(),
        message_id: format!("message of {turn}"),
        turn: turn.into(),
        at: 1_000,
        started: TurnStarted {
            conversation: Some(ConversationId::from(conversation)),
            parent: None,
            message: format!("What is {turn}?"),
            request: None,
            model: "scripted".to_owned(),
            sid: Sid::from("sid-1"),
        },
        then: Vec::new(),
        follows: Follows::Any,
        off: Selection::default(),
    }
}

/// A turn of conversation `c` that follows another.
fn following(turn: &str, parent: &str, at: i64) -> NewTurn {
    let mut new = new_turn("ana", "c", turn);
    new.at = at;
    new.started.parent = Some(TurnId::from(parent));
    new
}

/// With `turn.finished` the transcript says little more than that it is finished.
fn append(turn: &str, expected_seq: u64, events: Vec<Event>) -> Append {
    let transcript =
        matches!(events.last(), Some(Event::TurnFinished { .. })).then(|| Transcript {
            seq: expected_seq.saturating_add(events.len() as u64),
            end: Some(End {
                end: TurnEnd::Answered,
                failure: None,
                at: 2_000,
            }),
            ..Transcript::default()
        });
    Append {
        turn: turn.into(),
        epoch: 1,
        expected_seq,
        at: 2_000,
        events: events.into(),
        transcript,
    }
}

fn notice(text: &str) -> Event {
    Event::Notice {
        call: None,
        text: text.to_owned(),
    }
}

fn delta(offset: usize, text: &str) -> Event {
    Event::TextDelta(Delta {
        round: RoundId(1),
        offset,
        text: text.to_owned(),
    })
}

fn finished() -> Event {
    Event::TurnFinished {
        end: TurnEnd::Answered,
        failure: None,
    }
}

/// The end of a call whose result has so many bytes of text.
fn call_finished(call: u32, bytes: usize) -> Event {
    Event::CallFinished(CallFinished {
        call: CallId(call),
        outcome: Outcome::Ok,
        result: CallResult {
            raw: json!({"content": [{"type": "text", "text": "é".repeat(bytes / 2)}]}),
            shown: format!("result {call}"),
            ..CallResult::default()
        },
        failure: None,
    })
}

/// A catalog too large for a row.
fn large_catalog() -> Event {
    let function = |n| FunctionEntry {
        name: format!("northwind__tool_{n}"),
        server: "northwind".to_owned(),
        tool: format!("tool_{n}"),
        policy: Policy::Allow,
    };
    Event::CatalogReady(CatalogReady {
        catalogs: Vec::new(),
        functions: (0..500).map(function).collect(),
        left_out: Vec::new(),
    })
}
