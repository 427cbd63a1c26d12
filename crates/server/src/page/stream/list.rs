//! The list of conversations as a page's stream keeps it up to date.

use std::sync::Arc;

use chat::ids::ConversationId;
use store::{ConversationRow, StoreError};

use super::{
    super::{
        needs::{self, NEEDS},
        patch::Patch,
        sidebar::{self, CONVERSATIONS, Mark},
    },
    Reader,
};
use crate::{api, app::App, gate::Caller, live::Live};

/// A conversation of the list, and its running turn.
pub(super) struct ListRow {
    pub(super) row: ConversationRow,
    live: Option<Arc<Live>>,
    mark: Mark,
}

impl Reader {
    /// A turn has begun or ended, perhaps in this conversation.
    pub(super) async fn look_again(&mut self) -> Result<(), StoreError> {
        self.look_at_list().await?;
        if self.is_behind() {
            self.sync().await?;
        }
        Ok(())
    }

    /// Brings the list up to date, and the conversation, if a turn has begun or ended meanwhile.
    pub(super) async fn look_at_marks(&mut self) -> Result<(), StoreError> {
        let mut moved = false;
        for row in &mut self.rows {
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

    pub(super) async fn look_at_list(&mut self) -> Result<(), StoreError> {
        let subject = &self.caller.person.subject;
        let store = &self.app.context.store;
        let rows = store
            .conversations(subject, None, api::CONVERSATIONS)
            .await?;
        let before = self.row().map(|row| row.row.updated_at);
        self.rows = rows
            .into_iter()
            .map(|row| ListRow::new(&self.app, &self.caller, row))
            .collect();
        self.stale |= self.row().map(|row| row.row.updated_at) != before;
        self.send_list();
        Ok(())
    }

    fn send_list(&mut self) {
        let rows: Vec<_> = self.rows.iter().map(|row| (&row.row, row.mark)).collect();
        let html = sidebar::conversations(&rows, self.conversation.as_ref());
        if html != self.list {
            let patch = Patch::replace(CONVERSATIONS, html.clone());
            self.ready.push_back(patch.frame());
            self.list = html;
        }
        self.send_needs();
    }

    /// Says what waits for the user, here or elsewhere.
    fn send_needs(&mut self) {
        let title = |id: &ConversationId| {
            let row = self.rows.iter().find(|row| row.row.id == *id);
            row.map(|row| row.row.title.clone())
        };
        let html = needs::html(&self.app, &self.caller.person.subject, title);
        if html != self.needs {
            let patch = Patch::replace(NEEDS, html.clone());
            self.ready.push_back(patch.frame());
            self.needs = html;
        }
    }

    /// Whether something happened in the conversation that the page does not follow.
    fn is_behind(&self) -> bool {
        if self.following.is_some() {
            return false;
        }
        let runs = |row: &ListRow| {
            row.live
                .as_ref()
                .is_some_and(|live| !live.look(|view| view.closed))
        };
        self.stale || self.row().is_some_and(runs)
    }

    /// The conversation in the list.
    fn row(&self) -> Option<&ListRow> {
        let id = self.conversation.as_ref()?;
        self.rows.iter().find(|row| row.row.id == *id)
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
