//! The running turns: begun, found, stopped, taken up again.

mod recovery;

use std::{sync::Arc, time::Duration};

use chat::{
    event::{Answer, CancelBy, TurnStarted},
    ids::{ConversationId, QuestionId, Subject, TurnId},
    input::Input,
    limits,
    transcript::{CallState, Transcript},
    turn::Turn,
};
use dashmap::DashMap;
use store::{NewTurn, OpenTurnError};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use crate::{
    clock,
    context::Context,
    driver::{Begin, COMMANDS, Command, Driver, LetGo, Owned},
    error::Problem,
    live::Live,
    tokens::Session,
};

/// Bytes of the id that a page gives a message: a UUID, with room.
const MESSAGE_ID_BYTES: usize = 64;

/// How long the list of models is waited for before a turn is refused.
const MODELS_WAIT: Duration = Duration::from_secs(10);

/// The turns that run in this process.
pub struct Turns {
    context: Arc<Context>,
    running: DashMap<TurnId, Arc<Running>>,
    /// The endpoint's first model, once it was asked for.
    model: tokio::sync::OnceCell<String>,
    configured_model: Option<String>,
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
    /// In which conversation.
    pub conversation: ConversationId,
    /// What its readers see.
    pub live: Arc<Live>,
    commands: mpsc::Sender<Command>,
}

/// A message as it was posted.
#[derive(Clone, Debug)]
pub struct Post {
    /// The conversation; a new one if none.
    pub conversation: Option<ConversationId>,
    /// The message's id, made by the page, unique per user: posting it twice is harmless.
    pub message_id: String,
    /// The message.
    pub message: String,
}

/// Where a posted message ended up.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Posted {
    /// The conversation.
    pub conversation: ConversationId,
    /// The turn that answers it.
    pub turn: TurnId,
}

impl Turns {
    /// No turns yet. `model` answers, or the endpoint's first.
    pub fn new(context: Arc<Context>, model: Option<String>) -> Self {
        Self {
            context,
            running: DashMap::new(),
            model: tokio::sync::OnceCell::new(),
            configured_model: model,
            left: Notify::new(),
        }
    }

    /// Begins a turn with a message of a user's.
    pub async fn post(
        self: &Arc<Self>,
        session: &Arc<Session>,
        post: Post,
    ) -> Result<Posted, Problem> {
        check(&post)?;
        self.room_for(&session.subject)?;
        let model = self.model().await?;
        let subject = &session.subject;
        let conversation = match &post.conversation {
            Some(conversation) => conversation.clone(),
            None => ConversationId(Uuid::now_v7().to_string()),
        };
        let path = match self.context.store.turns(subject, &conversation).await? {
            Some(path) => path,
            None if post.conversation.is_none() => Vec::new(),
            None => return Err(Problem::not_found("conversation")),
        };
        let turn = TurnId(Uuid::now_v7().to_string());
        let started = TurnStarted {
            conversation: conversation.clone(),
            parent: path.last().map(|row| row.turn.clone()),
            message: post.message,
            model: model.clone(),
            sid: session.sid.clone(),
        };
        let opened = self
            .context
            .store
            .open_turn(NewTurn {
                subject: subject.clone(),
                message_id: post.message_id,
                turn: turn.clone(),
                at: clock::now(),
                started: started.clone(),
            })
            .await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(OpenTurnError::Duplicate { turn, conversation }) => {
                return Ok(Posted { conversation, turn });
            }
            Err(error) => return Err(refused(error)),
        };
        let log = self
            .context
            .store
            .log(subject, &turn, 0)
            .await?
            .unwrap_or_default();
        let owned = Owned {
            turn: turn.clone(),
            subject: subject.clone(),
            conversation: conversation.clone(),
            model,
        };
        let (running, commands) = Running::new(&owned, Live::new(&log));
        let begin = Begin {
            owned,
            session: Arc::clone(session),
            live: Arc::clone(&running.live),
            commands,
            history: path.into_iter().map(|row| row.transcript).collect(),
            epoch: opened.epoch,
            seq: opened.seq,
        };
        let engine = Turn::new(self.context.settings.limits);
        let driver = Driver::new(Arc::clone(&self.context), begin, engine);
        self.run(running, driver.start(Input::Start(started)));
        Ok(Posted { conversation, turn })
    }

    /// The user's running turn of that id.
    pub fn find(&self, subject: &Subject, turn: &TurnId) -> Option<Arc<Running>> {
        let running = self.running.get(turn)?;
        (running.subject == *subject).then(|| Arc::clone(&running))
    }

    /// The turn that runs in the user's conversation.
    pub fn of_conversation(
        &self,
        subject: &Subject,
        conversation: &ConversationId,
    ) -> Option<Arc<Running>> {
        self.running
            .iter()
            .find(|running| running.conversation == *conversation && running.subject == *subject)
            .map(|running| Arc::clone(&running))
    }

    /// Whether a session's tokens are still needed by a turn.
    pub fn any_of(&self, subject: &Subject) -> bool {
        self.running
            .iter()
            .any(|running| running.subject == *subject)
    }

    /// The endpoint's model that answers.
    pub async fn model(&self) -> Result<String, Problem> {
        if let Some(model) = &self.configured_model {
            return Ok(model.clone());
        }
        let list = tokio::time::timeout(MODELS_WAIT, self.context.model.models());
        let first = self.model.get_or_try_init(|| async {
            let models = match list.await {
                Ok(models) => models.map_err(Problem::upstream)?,
                Err(_) => return Err(Problem::no_model("it did not answer in time")),
            };
            models
                .into_iter()
                .next()
                .ok_or_else(|| Problem::no_model("it lists none"))
        });
        first.await.cloned()
    }

    /// Tells the user's running turns of a conversation that they are here.
    pub fn owner_here(&self, session: &Arc<Session>, conversation: &ConversationId) {
        if let Some(running) = self.of_conversation(&session.subject, conversation) {
            running.tell(Command::OwnerHere(Arc::clone(session)));
        }
    }

    /// Waits until no driver is left.
    pub(crate) async fn put_down(&self) {
        while !self.running.is_empty() {
            self.left.notified().await;
        }
    }

    fn room_for(&self, subject: &Subject) -> Result<(), Problem> {
        let settings = &self.context.settings;
        if self.context.shutdown.is_cancelled() {
            return Err(Problem::shutting_down());
        }
        let working: Vec<_> = self
            .running
            .iter()
            .filter(|running| running.is_working())
            .collect();
        if working.len() >= settings.max_turns {
            return Err(Problem::too_many_turns(format!(
                "Toolgate is answering {} questions at once, which is all it may.",
                settings.max_turns
            )));
        }
        let own = working
            .iter()
            .filter(|running| running.subject == *subject)
            .count();
        if own >= settings.max_turns_per_user {
            return Err(Problem::too_many_turns(format!(
                "{own} of your conversations are being answered, which is all you may have at once."
            )));
        }
        Ok(())
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
        let turns = Arc::clone(self);
        self.context.tasks.spawn(async move {
            let how = driver.await;
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
        self.left.notify_one();
    }
}

impl Running {
    fn new(owned: &Owned, live: Live) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let running = Self {
            turn: owned.turn.clone(),
            subject: owned.subject.clone(),
            conversation: owned.conversation.clone(),
            live: Arc::new(live),
            commands,
        };
        (Arc::new(running), receiver)
    }

    /// Asks the turn to stop.
    pub async fn cancel(&self) -> Result<(), Problem> {
        self.command(Command::Cancel(CancelBy::User)).await
    }

    /// Answers a question of the turn's. Only one that is still open can be answered.
    pub async fn answer(
        &self,
        session: &Arc<Session>,
        question: QuestionId,
        answer: Answer,
    ) -> Result<(), Problem> {
        if !self.live.look(|view| asks(&view.transcript, question)) {
            return Err(Problem::conflict(
                "The question has been answered or is gone.",
            ));
        }
        let session = Arc::clone(session);
        self.command(Command::Answer {
            question,
            answer,
            session,
        })
        .await
    }

    /// Whether it does more than wait for a person.
    fn is_working(&self) -> bool {
        !self.live.look(|view| waits_for_person(&view.transcript))
    }

    async fn command(&self, command: Command) -> Result<(), Problem> {
        let told = self.commands.send(command).await;
        told.map_err(|_| Problem::conflict("The answer is finished already."))
    }

    /// Tells the driver something it can do without: when it is too busy to listen, it works.
    fn tell(&self, command: Command) {
        let _busy = self.commands.try_send(command);
    }
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

fn check(post: &Post) -> Result<(), Problem> {
    if post.message.trim().is_empty() {
        return Err(Problem::bad_request("The message is empty."));
    }
    if post.message.len() > limits::MESSAGE_BYTES {
        return Err(Problem::too_large(limits::MESSAGE_BYTES));
    }
    let id = &post.message_id;
    if id.is_empty() || id.len() > MESSAGE_ID_BYTES || !id.is_ascii() {
        return Err(Problem::bad_request(
            "`message_id` must be 1 to 64 ASCII characters.",
        ));
    }
    if let Some(conversation) = &post.conversation
        && Uuid::parse_str(conversation.as_str()).is_err()
    {
        return Err(Problem::not_found("conversation"));
    }
    Ok(())
}

fn refused(error: OpenTurnError) -> Problem {
    match error {
        OpenTurnError::NotFound => Problem::not_found("conversation"),
        // A duplicate has found its turn before it comes here.
        OpenTurnError::Busy { turn } | OpenTurnError::Duplicate { turn, .. } => Problem::busy(turn),
        OpenTurnError::WrongParent => Problem::conflict(
            "The conversation went on in another tab. Look at it, then send again.",
        ),
        OpenTurnError::Failed(error) => Problem::not_saved(&error),
    }
}
