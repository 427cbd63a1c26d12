//! From what a page has to what there is.

use std::sync::Arc;

use chat::ids::{ConversationId, TurnId};
use store::{TurnRow, Window};

use super::{
    super::{
        elsewhere::{self, ELSEWHERE},
        history::{self, After, EARLIER, LATER, PAGE_TURNS},
        paint::{Has, Painted, Painter},
        patch::Patch,
        turn::{Placed, TURNS},
        turns_html,
    },
    Following, Position, Reader, send_part,
};
use crate::{error::Problem, live::Live};

impl Reader {
    /// Sends all that the page misses of its conversation, and follows the turn that runs in it.
    pub(super) async fn sync(&mut self) -> Result<(), Problem> {
        let Some(conversation) = self.conversation.clone() else {
            return Ok(());
        };
        self.following = None;
        self.stale = false;
        if self.is_cut {
            return self.look_past_cut(&conversation).await;
        }
        if self.has_all(&conversation).await? {
            self.runs_elsewhere(&conversation, None);
            return Ok(());
        }
        let subject = &self.caller.person.subject;
        let store = &self.app.context.store;
        let window = match &self.through {
            Some(turn) => Window::Through(turn),
            None => Window::Newest,
        };
        let branch = store.branch(subject, &conversation, window, PAGE_TURNS);
        let turns = branch.await?.map_or_else(Vec::new, |branch| branch.turns);
        let open = self.row().and_then(|row| row.row.open_turn.as_ref());
        let elsewhere = elsewhere::turn(open, &turns).cloned();
        self.runs_elsewhere(&conversation, elsewhere);
        let known = self.position.as_ref().and_then(|position| {
            let index = turns.iter().position(|row| row.turn == position.turn)?;
            Some((index, position.seq))
        });
        let Some((index, seq)) = known else {
            return self.reset(&conversation, turns).await;
        };
        let mut turns = turns.into_iter().skip(index);
        if let Some(row) = turns.next() {
            self.go_on(Placed::of(&row), seq).await?;
        }
        for row in turns {
            self.add(row);
        }
        Ok(())
    }

    /// Tells a page that leaves out the newer turns which of them runs, and which is the last now.
    async fn look_past_cut(&mut self, conversation: &ConversationId) -> Result<(), Problem> {
        let subject = &self.caller.person.subject;
        let window = self.through.as_ref().map(Window::Through);
        let store = &self.app.context.store;
        let branch = store.branch(subject, conversation, window.unwrap_or_default(), 1);
        let last = branch.await?.map(|branch| branch.last);
        let open = self.row().and_then(|row| row.row.open_turn.clone());
        self.say_elsewhere(conversation, open, last.as_ref());
        Ok(())
    }

    /// Says which turn runs where the page does not show it, if one does.
    fn runs_elsewhere(&mut self, conversation: &ConversationId, turn: Option<TurnId>) {
        self.say_elsewhere(conversation, turn, None);
    }

    fn say_elsewhere(
        &mut self,
        conversation: &ConversationId,
        turn: Option<TurnId>,
        last: Option<&TurnId>,
    ) {
        let html = elsewhere::html(Some(conversation), turn.as_ref(), last);
        send_part(&mut self.ready, ELSEWHERE, html, &mut self.sent.elsewhere);
        self.elsewhere = turn;
    }

    /// Whether the page has the whole of the conversation, and nothing runs in it.
    async fn has_all(&self, conversation: &ConversationId) -> Result<bool, Problem> {
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

    /// The page shows nothing that we know, or another branch: it gets everything anew, and at
    /// once, so that nobody sees it empty.
    async fn reset(
        &mut self,
        conversation: &ConversationId,
        mut turns: Vec<TurnRow>,
    ) -> Result<(), Problem> {
        let earlier = history::earlier(conversation, &turns, After::Nothing);
        let later = history::later(conversation, &turns, After::Nothing);
        for (part, html) in [(EARLIER, earlier), (LATER, later)] {
            self.ready.push_back(Patch::replace(part, html).frame());
        }
        let running = turns.pop_if(|last| last.transcript.is_open());
        let last = turns
            .last()
            .map(|row| (row.turn.clone(), row.transcript.seq));
        self.position = last.map(|(turn, seq)| Position { turn, seq });
        let turns = turns_html(&self.app, turns, self.servers.all()).await?;
        let whole = format!("<div id=\"{TURNS}\" class=\"turns\">{turns}</div>");
        let frame = Patch::replace(TURNS, whole).reset_frame();
        self.ready.push_back(match &self.position {
            Some(position) => frame.id(super::super::position(&position.turn, position.seq)),
            None => frame,
        });
        if let Some(row) = running {
            self.add(row);
        }
        Ok(())
    }

    /// Sends a turn that the page does not show.
    fn add(&mut self, row: TurnRow) {
        self.position = Some(Position {
            seq: row.transcript.seq,
            turn: row.turn.clone(),
        });
        if let Some(painter) = self.running(Placed::of(&row)) {
            self.begin_following(painter, Has::Nothing);
        } else {
            let painted = Painted::whole(row, &self.servers.all());
            self.send(painted.news(Has::Nothing));
        }
    }

    /// Sends what of a turn came after `seq`.
    async fn go_on(&mut self, placed: Placed, seq: u64) -> Result<(), Problem> {
        if let Some(painter) = self.running(placed.clone()) {
            self.begin_following(painter, Has::Committed(seq));
            return Ok(());
        }
        let subject = &self.caller.person.subject;
        let log = self.app.context.store.log(subject, &placed.turn, 0).await?;
        let live = Arc::new(Live::new(&log.unwrap_or_default()));
        let painter = Painter::new(placed, live, Arc::clone(&self.servers));
        let update = painter.update(Has::Committed(seq));
        if let Some(position) = &mut self.position {
            position.seq = update.seq;
        }
        if update.seq > seq {
            self.send(update.patches);
        }
        Ok(())
    }

    fn running(&self, placed: Placed) -> Option<Arc<Painter>> {
        let subject = &self.caller.person.subject;
        let running = self.app.turns.find(subject, &placed.turn)?;
        let painter = self
            .app
            .page
            .painter(placed, &running.live, || Arc::clone(&self.servers));
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
