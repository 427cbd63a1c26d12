//! The running turns: begun, found, stopped, taken up again.

mod api;
mod edit;
mod models;
mod order;
mod post;
mod purge;
mod recovery;
mod room;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chat::{
    event::Answer,
    ids::{ConversationId, QuestionId, Subject, TurnId},
    selection::Selection,
    transcript::{CallState, Transcript},
};
use dashmap::DashMap;
use futures_util::FutureExt as _;
use store::OpenTurn;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::{
    context::Context,
    driver::{COMMANDS, Command, LetGo, Owned},
    error::Problem,
    live::Live,
    tokens::Session,
};

pub use api::{ApiPost, OwnedTurn};
pub use models::Choices;
use models::Models;
use order::Order;
pub(crate) use post::selection_refused;
pub use post::{Place, Post, Posted};
use room::Opening;

/// The turns that run in this process.
pub struct Turns {
    context: Arc<Context>,
    running: DashMap<TurnId, Arc<Running>>,
    models: Models,
    /// Those that are just being opened: they count towards the limits.
    opening: Opening,
    /// What each user does to their conversations, one after another.
    order: Order,
    /// Counts how often a turn of each user's has begun or was let go of, or a conversation changed.
    changes: DashMap<Subject, watch::Sender<u64>>,
    /// A driver has let go of its turn.
    left: Notify,
}

/// A running turn from outside.
#[derive(Debug)]
pub struct Running {
    /// Which.
    pub turn: TurnId,
    /// Whose.
    pub subject: Subject,
    /// In which conversation; none for a turn of the API.
    pub conversation: Option<ConversationId>,
    /// What its readers see.
    pub live: Arc<Live>,
    commands: mpsc::Sender<Command>,
    /// A stop was asked for while nobody drove the turn.
    cancel_wanted: AtomicBool,
    /// Its conversation was deleted: nobody sees it any more.
    deleted: AtomicBool,
    /// What is switched off in its conversation.
    off: watch::Sender<Selection>,
}

impl Turns {
    /// No turns yet. `model` answers, or the endpoint's first.
    pub fn new(context: Arc<Context>, model: Option<String>) -> Self {
        Self {
            context,
            running: DashMap::new(),
            models: Models::new(model),
            opening: Opening::default(),
            order: Order::default(),
            changes: DashMap::new(),
            left: Notify::new(),
        }
    }

    /// The user's running turn of that id.
    pub fn find(&self, subject: &Subject, turn: &TurnId) -> Option<Arc<Running>> {
        let running = self.running.get(turn)?;
        running.is_seen_by(subject).then(|| Arc::clone(&running))
    }

    /// The turn that runs in the user's conversation.
    pub fn of_conversation(
        &self,
        subject: &Subject,
        conversation: &ConversationId,
    ) -> Option<Arc<Running>> {
        self.running
            .iter()
            .find(|running| {
                running.conversation.as_ref() == Some(conversation) && running.is_seen_by(subject)
            })
            .map(|running| Arc::clone(&running))
    }

    /// The user's running turns.
    pub(crate) fn of(&self, subject: &Subject) -> Vec<Arc<Running>> {
        let theirs = self.running.iter();
        theirs
            .filter(|running| running.is_seen_by(subject))
            .map(|running| Arc::clone(&running))
            .collect()
    }

    /// Changes whenever a turn of the user's has begun or was let go of, and when a conversation of
    /// theirs was changed, deleted or restored.
    pub fn changes(&self, subject: &Subject) -> watch::Receiver<u64> {
        let changes = self.changes.entry(subject.clone()).or_default();
        changes.subscribe()
    }

    /// Whether a session's tokens are still needed by a turn.
    pub fn any_of(&self, subject: &Subject) -> bool {
        self.running
            .iter()
            .any(|running| running.subject == *subject)
    }

    /// Tells the user's running turns of a conversation that they are here.
    pub fn owner_here(&self, session: &Arc<Session>, conversation: &ConversationId) {
        if let Some(running) = self.of_conversation(&session.subject, conversation) {
            running.tell(Command::OwnerHere(Arc::clone(session)));
        }
    }

    /// Whether a turn does more than wait for a person.
    pub(crate) fn any_working(&self) -> bool {
        self.running.iter().any(|running| running.is_working())
    }

    /// Waits until no driver is left.
    pub(crate) async fn put_down(&self) {
        while !self.running.is_empty() {
            self.left.notified().await;
        }
    }

    /// Runs a driver; when it has to let go of a log that could not be written, the turn is taken
    /// up again.
    fn run(
        self: &Arc<Self>,
        running: Arc<Running>,
        driver: impl Future<Output = LetGo> + Send + 'static,
    ) {
        self.running
            .insert(running.turn.clone(), Arc::clone(&running));
        self.changed(&running.subject);
        let turns = Arc::clone(self);
        self.context.tasks.spawn(async move {
            let caught = AssertUnwindSafe(driver).catch_unwind().await;
            let how = caught.unwrap_or_else(|_| {
                running.live.let_go_of();
                LetGo::LogLost
            });
            match how {
                LetGo::Finished | LetGo::PutDown | LetGo::TakenOver => turns.forget(&running),
                LetGo::LogLost => turns.take_up_again(running),
            }
        });
    }

    /// Forgets a driver, unless another one has taken its turn up meanwhile.
    fn forget(&self, gone: &Arc<Running>) {
        self.running
            .remove_if(&gone.turn, |_, running| Arc::ptr_eq(running, gone));
        self.changed(&gone.subject);
        self.left.notify_one();
    }

    fn changed(&self, subject: &Subject) {
        if let Some(changes) = self.changes.get(subject) {
            changes.send_modify(|count| *count += 1);
        }
        let unheard = |_: &Subject, changes: &mut watch::Sender<u64>| changes.is_closed();
        self.changes.remove_if_mut(subject, unheard);
    }
}

impl Running {
    fn new(owned: &Owned, live: Live, off: Selection) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let running = Self {
            turn: owned.turn.clone(),
            subject: owned.subject.clone(),
            conversation: owned.conversation.clone(),
            live: Arc::new(live),
            commands,
            cancel_wanted: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            off: watch::Sender::new(off),
        };
        (Arc::new(running), receiver)
    }

    /// A turn that could not be taken up yet.
    fn without_driver(open: &OpenTurn) -> Arc<Self> {
        let owned = Owned {
            turn: open.turn.clone(),
            subject: open.subject.clone(),
            conversation: open.conversation.clone(),
            model: String::new(),
            request: None,
        };
        let (running, _closed) = Self::new(&owned, Live::new(&[]), Selection::default());
        running.live.let_go_of();
        running.deleted.store(open.deleted, Ordering::Relaxed);
        running
    }

    /// Asks the turn to stop; that is recorded when this returns. One whose log cannot be written
    /// just now is stopped when it can.
    pub async fn cancel(&self) -> Result<(), Problem> {
        // Before anything else: the append of it may be the one that fails.
        self.cancel_wanted.store(true, Ordering::Relaxed);
        let (recorded, heard) = oneshot::channel();
        let told = self.commands.send(Command::Cancel(recorded)).await.is_ok();
        if (told && heard.await.is_ok()) || self.live.look(|view| view.stuck) {
            Ok(())
        } else {
            Err(self.unheard())
        }
    }

    /// Answers a question of the turn's. Only one that is still open can be answered, and of several
    /// answers only the first counts; it is recorded when this returns.
    pub async fn answer(
        &self,
        session: &Arc<Session>,
        question: QuestionId,
        answer: Answer,
    ) -> Result<(), Problem> {
        if !self.live.look(|view| asks(&view.transcript, question)) {
            return Err(answered_already());
        }
        let (counts, heard) = oneshot::channel();
        let command = Command::Answer {
            question,
            answer,
            session: Arc::clone(session),
            counts,
        };
        if self.commands.send(command).await.is_err() {
            return Err(self.unheard());
        }
        match heard.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(answered_already()),
            Err(_) => Err(self.unheard()),
        }
    }

    /// Whether it is this user's, and there for them.
    fn is_seen_by(&self, subject: &Subject) -> bool {
        self.subject == *subject && !self.deleted.load(Ordering::Relaxed)
    }

    /// Whether it does more than wait for a person. A turn of the API never waits for one: a call
    /// of it that is parked goes on with the next token, or ends within seconds.
    fn is_working(&self) -> bool {
        self.conversation.is_none() || !self.live.look(|view| waits_for_person(&view.transcript))
    }

    /// Why the driver did not hear of something: the turn has ended, or cannot be written just now.
    fn unheard(&self) -> Problem {
        if self.live.look(|view| view.transcript.is_open()) {
            Problem::not_recorded()
        } else {
            Problem::conflict("The answer is finished already.")
        }
    }

    /// Tells the driver something it can do without: when it is too busy to listen, it works.
    fn tell(&self, command: Command) {
        let _busy = self.commands.try_send(command);
    }
}

fn answered_already() -> Problem {
    Problem::conflict("The question has been answered or is gone.")
}

/// Whether the question waits for its answer.
fn asks(transcript: &Transcript, question: QuestionId) -> bool {
    transcript
        .calls()
        .any(|call| call.state == CallState::Asking { question })
}

/// Whether all that the turn waits for is a person: calls that ask or are parked, and nothing that
/// runs.
fn waits_for_person(transcript: &Transcript) -> bool {
    let mut waits = false;
    for call in transcript.calls() {
        match call.state {
            CallState::Asking { .. } | CallState::Parked { .. } => waits = true,
            CallState::Requested | CallState::Running => return false,
            CallState::Finished { .. } => {}
        }
    }
    waits
}

#[cfg(test)]
mod tests;
