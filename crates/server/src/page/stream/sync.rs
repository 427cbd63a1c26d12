//! From what a page has to what there is.

use std::sync::Arc;

use chat::ids::{ConversationId, TurnId};
use store::{StoreError, TurnRow};

use super::{
    super::{
        paint::{Has, Painted, Painter},
        patch::Patch,
        turn::TURNS,
    },
    Following, Position, Reader,
};
use crate::live::Live;

impl Reader {
    /// Sends all that the page misses of its conversation, and follows the turn that runs in it.
    pub(super) async fn sync(&mut self) -> Result<(), StoreError> {
        let Some(conversation) = self.conversation.clone() else {
            return Ok(());
        };
        self.following = None;
        self.stale = false;
        if self.has_all(&conversation).await? {
            return Ok(());
        }
        let subject = &self.caller.person.subject;
        let turns = self.app.context.store.turns(subject, &conversation).await?;
        let turns = turns.unwrap_or_default();
        let known = self.position.as_ref().and_then(|position| {
            let index = turns.iter().position(|row| row.turn == position.turn)?;
            Some((index, position.seq))
        });
        let Some((index, seq)) = known else {
            self.reset(turns);
            return Ok(());
        };
        let mut turns = turns.into_iter().skip(index);
        if let Some(row) = turns.next() {
            self.go_on(row.turn, seq).await?;
        }
        for row in turns {
            self.add(row);
        }
        Ok(())
    }

    /// Whether the page has the whole of the conversation, and nothing runs in it.
    async fn has_all(&self, conversation: &ConversationId) -> Result<bool, StoreError> {
        let Some(position) = &self.position else {
            return Ok(false);
        };
        let subject = &self.caller.person.subject;
        let store = &self.app.context.store;
        let Some(row) = store.conversation(subject, conversation).await? else {
            return Ok(false);
        };
        if row.open_turn.is_some() {
            return Ok(false);
        }
        let Some(last) = store.transcript(subject, &position.turn).await? else {
            return Ok(false);
        };
        // A conversation's last change is the end of its last turn.
        let is_last = last
            .end
            .as_ref()
            .is_some_and(|end| end.at == row.updated_at);
        Ok(is_last && last.seq == position.seq)
    }

    /// The page shows nothing that we know: it gets everything anew.
    fn reset(&mut self, turns: Vec<TurnRow>) {
        let empty = format!("<div id=\"{TURNS}\" class=\"turns\"></div>");
        self.ready
            .push_back(Patch::replace(TURNS, empty).reset_frame());
        for row in turns {
            self.add(row);
        }
    }

    /// Sends a turn that the page does not show.
    fn add(&mut self, row: TurnRow) {
        self.position = Some(Position {
            seq: row.transcript.seq,
            turn: row.turn.clone(),
        });
        if let Some(painter) = self.running(&row.turn) {
            self.begin_following(painter, Has::Nothing);
        } else {
            let painted = Painted::whole(row.turn, row.transcript, &self.servers.all());
            self.send(painted.news(Has::Nothing));
        }
    }

    /// Sends what of a turn came after `seq`.
    async fn go_on(&mut self, turn: TurnId, seq: u64) -> Result<(), StoreError> {
        if let Some(painter) = self.running(&turn) {
            self.begin_following(painter, Has::Committed(seq));
            return Ok(());
        }
        let subject = &self.caller.person.subject;
        let log = self.app.context.store.log(subject, &turn, 0).await?;
        let live = Arc::new(Live::new(&log.unwrap_or_default()));
        let painter = Painter::new(turn, live, Arc::clone(&self.servers));
        let update = painter.update(Has::Committed(seq));
        if let Some(position) = &mut self.position {
            position.seq = update.seq;
        }
        if update.seq > seq {
            self.send(update.patches);
        }
        Ok(())
    }

    fn running(&self, turn: &TurnId) -> Option<Arc<Painter>> {
        let running = self.app.turns.find(&self.caller.person.subject, turn)?;
        let painter = self
            .app
            .page
            .painter(turn, &running.live, || Arc::clone(&self.servers));
        Some(painter)
    }

    fn begin_following(&mut self, painter: Arc<Painter>, has: Has) {
        self.following = Some(Following {
            changes: painter.live().changes(),
            painter,
            has,
            due: None,
        });
        self.follow();
    }
}
