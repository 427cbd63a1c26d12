//! The list of conversations as a page's stream keeps it up to date.

use std::sync::Arc;

use askama::Template;
use chat::ids::ConversationId;
use store::ConversationRow;

use super::{
    super::{
        needs::{self, NEEDS},
        render,
        sidebar::{self, CONVERSATIONS, Mark},
    },
    Reader, send_part,
};
use crate::{app::App, error::Problem, gate::Caller, live::Live};

/// The element at the message box that says so when the conversation is gone.
const GONE: &str = "gone";

/// Whether the conversation was deleted, perhaps in another tab.
#[derive(Template)]
#[template(path = "gone.html")]
struct Gone {
    is_gone: bool,
}

/// A conversation of the list, and its running turn.
pub(super) struct ListRow {
    pub(super) row: ConversationRow,
    live: Option<Arc<Live>>,
    mark: Mark,
}

impl Reader {
    /// A turn has begun or ended, perhaps in this conversation.
    pub(super) async fn look_again(&mut self) -> Result<(), Problem> {
        self.look_at_list().await?;
        if self.is_behind() {
            self.sync().await?;
        }
        Ok(())
    }

    /// Brings the list up to date, and the conversation, if a turn has begun or ended meanwhile.
    pub(super) async fn look_at_marks(&mut self) -> Result<(), Problem> {
        let mut moved = false;
        for row in self.rows.iter_mut().chain(&mut self.apart) {
            let Some(turn) = &row.row.open_turn else {
                continue;
            };
            let found = self.app.turns.find(&self.caller.person.subject, turn);
            let live = found.map(|running| Arc::clone(&running.live));
            moved |= live.is_none() && row.live.is_some();
            row.live = live;
            row.look();
            moved |= row.mark == Mark::None;
        }
        if moved {
            self.look_at_list().await?;
        } else {
            self.send_list();
        }
        if self.is_behind() {
            self.sync().await?;
        }
        Ok(())
    }

    pub(super) async fn look_at_list(&mut self) -> Result<(), Problem> {
        let subject = &self.caller.person.subject;
        let store = &self.app.context.store;
        let listed = self.wanted.read(store, subject).await?;
        let apart = match &self.conversation {
            Some(id) if listed.rows.iter().all(|row| row.id != *id) => {
                store.conversation(subject, id).await?
            }
            Some(_) | None => None,
        };
        let before = self.row().map(|row| row.row.updated_at);
        let new = |row| ListRow::new(&self.app, &self.caller, row);
        self.rows = listed.rows.into_iter().map(new).collect();
        self.rest = listed.rest;
        self.apart = apart.map(|row| ListRow::new(&self.app, &self.caller, row));
        self.stale |= self.row().map(|row| row.row.updated_at) != before;
        let off = self.row().map(|row| row.row.off.clone());
        let off = off.unwrap_or_default();
        if off != self.off {
            self.off = off;
            self.send_servers();
        }
        self.send_list();
        self.send_gone();
        Ok(())
    }

    /// Says that the conversation is no longer there, as long as that is so.
    fn send_gone(&mut self) {
        let is_gone = self.conversation.is_some() && self.row().is_none();
        let html = render(&Gone { is_gone });
        send_part(&mut self.ready, GONE, html, &mut self.sent.gone);
    }

    fn send_list(&mut self) {
        let rows: Vec<_> = self.rows.iter().map(|row| (&row.row, row.mark)).collect();
        let current = self.conversation.as_ref();
        let html = sidebar::conversations(&rows, current, &self.wanted, self.rest);
        send_part(&mut self.ready, CONVERSATIONS, html, &mut self.sent.list);
        self.send_needs();
    }

    /// Says what waits for the user, here or elsewhere.
    fn send_needs(&mut self) {
        let title = |id: &ConversationId| {
            let row = self.rows.iter().find(|row| row.row.id == *id);
            row.map(|row| row.row.title.clone())
        };
        let html = needs::html(&self.app, &self.caller.person.subject, title);
        send_part(&mut self.ready, NEEDS, html, &mut self.sent.needs);
    }

    /// Whether something happened in the conversation that the page does not follow.
    fn is_behind(&self) -> bool {
        if self.following.is_some() {
            return false;
        }
        let runs = |row: &ListRow| {
            let live = row.live.as_ref();
            let is_elsewhere = row.row.open_turn == self.elsewhere;
            !is_elsewhere && live.is_some_and(|live| !live.look(|view| view.closed))
        };
        self.stale || self.row().is_some_and(runs)
    }

    /// The conversation in the list.
    pub(super) fn row(&self) -> Option<&ListRow> {
        let id = self.conversation.as_ref()?;
        let mut rows = self.rows.iter().chain(&self.apart);
        rows.find(|row| row.row.id == *id)
    }
}

impl ListRow {
    fn new(app: &App, caller: &Caller, row: ConversationRow) -> Self {
        let turn = row.open_turn.as_ref();
        let running = turn.and_then(|turn| app.turns.find(&caller.person.subject, turn));
        let mut row = Self {
            mark: if turn.is_some() {
                Mark::Running
            } else {
                Mark::None
            },
            live: running.map(|running| Arc::clone(&running.live)),
            row,
        };
        row.look();
        row
    }

    fn look(&mut self) {
        if let Some(live) = &self.live {
            self.mark = live.look(|view| Mark::of(&view.transcript));
        }
    }
}
