//! Turns that a restart interrupted, or whose log could not be written for a while.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chat::{
    event::TurnStarted,
    ids::{Sid, TurnId},
    turn::Turn,
};
use store::{OpenTurn, PATH_TURNS, StoreError, Window};

use tokio::sync::oneshot;

use super::{Running, Turns};
use crate::{
    clock,
    driver::{Begin, Command, Driver, Owned},
    live::Live,
};

/// The wait before a log that could not be written is tried again; doubled up to the cap.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// The longest wait.
const AGAIN_CAP: Duration = Duration::from_mins(1);

impl Turns {
    /// Takes up every turn that was running when the process before this one ended.
    pub async fn recover(self: &Arc<Self>) -> Result<(), StoreError> {
        for open in self.context.store.open_turns().await? {
            if let Err(error) = self.take_up(&open).await {
                tracing::error!(turn = %open.turn, %error, "a turn cannot be taken up yet");
                let nobody = Running::without_driver(&open);
                self.running.insert(open.turn.clone(), Arc::clone(&nobody));
                self.take_up_again(nobody);
            }
        }
        Ok(())
    }

    /// Takes up a turn whose driver lost its log, as soon as the store lets it.
    pub(super) fn take_up_again(self: &Arc<Self>, lost: Arc<Running>) {
        let (turns, forget) = (Arc::clone(self), Arc::clone(self));
        let gone = Arc::clone(&lost);
        let again = async move {
            let mut wait = AGAIN_AFTER;
            loop {
                tokio::time::sleep(wait).await;
                match turns.try_again(&lost.turn).await {
                    Ok(()) => {
                        if lost.cancel_wanted.load(Ordering::Relaxed)
                            && let Some(running) = turns.find(&lost.subject, &lost.turn)
                        {
                            let (recorded, _) = oneshot::channel();
                            running.tell(Command::Cancel(recorded));
                        }
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(turn = %lost.turn, %error, "still cannot take the turn up");
                    }
                }
                wait = (wait * 2).min(AGAIN_CAP);
            }
        };
        let shutdown = self.context.shutdown.clone();
        self.context.tasks.spawn(async move {
            let _ended = shutdown.run_until_cancelled(again).await;
            forget.forget(&gone);
        });
    }

    async fn try_again(self: &Arc<Self>, turn: &TurnId) -> Result<(), StoreError> {
        let open = self.context.store.open_turns().await?;
        match open.into_iter().find(|open| open.turn == *turn) {
            Some(open) => self.take_up(&open).await,
            None => Ok(()),
        }
    }

    async fn take_up(self: &Arc<Self>, open: &OpenTurn) -> Result<(), StoreError> {
        let store = &self.context.store;
        let Some(taken) = store.take_over(&open.turn).await? else {
            return Ok(());
        };
        let log = match store.log_to_replay(&open.turn).await {
            Ok(log) => log,
            Err(error @ StoreError::Body { .. }) => {
                tracing::error!(turn = %open.turn, %error, "a turn that cannot be read is ended");
                return store.finish_unreadable(&open.turn, clock::now()).await;
            }
            Err(error) => return Err(error),
        };
        let (path, off) = match &open.conversation {
            Some(conversation) => {
                let subject = &open.subject;
                let row = store.conversation(subject, conversation).await?;
                let to = Window::To(&open.turn);
                let path = store.branch(subject, conversation, to, PATH_TURNS).await?;
                (path.map(|path| path.turns), row.map(|row| row.off))
            }
            None => (None, None),
        };
        let before = path.into_iter().flatten();
        let before = before.filter(|row| row.turn != open.turn);
        let history = before.map(|row| row.transcript).collect();
        let live = Live::new(&log);
        let started = live.look(|view| view.transcript.started.clone());
        let Some(TurnStarted { model, request, .. }) = started else {
            return Ok(());
        };
        let owned = Owned {
            turn: open.turn.clone(),
            subject: open.subject.clone(),
            conversation: open.conversation.clone(),
            model,
            request,
        };
        let limits = self.context.settings.limits;
        let (engine, effects) = Turn::replay(limits, log.iter().map(|logged| &logged.event));
        let sid: &Sid = &open.sid;
        let session = self.context.sessions.get(&open.subject, sid);
        let (running, commands) = Running::new(&owned, live, off.unwrap_or_default());
        running.deleted.store(open.deleted, Ordering::Relaxed);
        let begin = Begin {
            owned,
            session,
            live: Arc::clone(&running.live),
            commands,
            off: running.off.subscribe(),
            history,
            epoch: taken.epoch,
            seq: taken.seq,
            // That of an API turn ended with the process: the turn ends as well.
            owner_gone: None,
        };
        let driver = Driver::new(Arc::clone(&self.context), begin, engine);
        tracing::info!(turn = %open.turn, "a turn is taken up again");
        if open.deleted {
            let (recorded, _) = oneshot::channel();
            running.tell(Command::Cancel(recorded));
        }
        self.run(running, driver.resume(effects));
        Ok(())
    }
}
