//! Posted messages: each begins a turn, once.

use std::sync::Arc;

use chat::{
    event::{Event, Logged, TurnStarted},
    ids::{ConversationId, Subject, TurnId},
    limits,
    selection::{Selection, SelectionError},
    transcript::Transcript,
};
use store::{Follows, NewTurn, OpenTurnError, Opened, PATH_TURNS, TurnRow, Window};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Running, Turns};
use crate::{
    clock,
    driver::{Begin, Driver, First, Owned},
    error::Problem,
    live::Live,
    tokens::Session,
};

/// Bytes of the id that a page gives a message: a UUID, with room.
const MESSAGE_ID_BYTES: usize = 64;

/// A message as it was posted.
#[derive(Clone, Debug)]
pub struct Post {
    /// The conversation; a new one if none.
    pub conversation: Option<ConversationId>,
    /// The message's id, made by the page, unique per user: posting it twice is harmless.
    pub message_id: String,
    /// The message.
    pub message: String,
    /// Where in the conversation it goes.
    pub place: Place,
    /// The model that is to answer; that of the turn before, or the default, if none.
    pub model: Option<String>,
    /// What is switched off in a conversation that begins with it.
    pub off: Selection,
}

/// Where in its conversation a message goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// After the newest turn.
    #[default]
    Newest,
    /// After this turn.
    After(TurnId),
    /// In the place of this turn, which stays where it is: both follow the same one.
    InsteadOf(TurnId),
}

impl Place {
    fn follows(&self) -> Follows {
        match self {
            Self::Newest => Follows::Newest,
            Self::After(_) | Self::InsteadOf(_) => Follows::Any,
        }
    }
}

/// Where a posted message ended up.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Posted {
    /// The conversation.
    pub conversation: ConversationId,
    /// The turn that answers it.
    pub turn: TurnId,
}

/// Where a turn begins.
struct Begins {
    conversation: ConversationId,
    /// The turns before it, oldest first.
    path: Vec<TurnRow>,
}

/// A turn that was opened, and what it begins with.
pub(super) struct Beginning {
    pub(super) owned: Owned,
    pub(super) opened: Opened,
    /// When it was opened, milliseconds since 1970.
    pub(super) at: i64,
    /// Its log.
    pub(super) events: Vec<Event>,
    pub(super) first: First,
    /// The turns before it, oldest first.
    pub(super) history: Vec<Transcript>,
    /// What is switched off in its conversation.
    pub(super) off: Selection,
    /// Cancelled when the connection that the turn belongs to goes away.
    pub(super) owner_gone: Option<CancellationToken>,
}

impl Turns {
    /// Begins a turn with a message of a user's.
    pub async fn post(
        self: &Arc<Self>,
        session: &Arc<Session>,
        post: Post,
    ) -> Result<Posted, Problem> {
        check(&post)?;
        let (subject, store) = (&session.subject, &self.context.store);
        if let Some((turn, conversation)) = store.posted(subject, &post.message_id).await? {
            return self.posted(subject, turn, conversation, &post).await;
        }
        if let Some(model) = &post.model {
            self.check_model(model).await?;
        }
        let default = self.model().await?;
        let (turns, session) = (Arc::clone(self), Arc::clone(session));
        // In a task of its own: a browser that goes away in the middle must not leave a turn that
        // is open and that nobody drives.
        let open = async move { turns.open(&session, post, default).await };
        let opening = self.context.tasks.spawn(open);
        opening
            .await
            .unwrap_or_else(|error| Err(Problem::internal(&error)))
    }

    async fn open(
        self: &Arc<Self>,
        session: &Arc<Session>,
        post: Post,
        default: String,
    ) -> Result<Posted, Problem> {
        let subject = &session.subject;
        self.room_for(subject)?;
        let Begins { conversation, path } = self.begins(subject, &post).await?;
        if let Some(open) = path.last().filter(|last| last.transcript.is_open()) {
            return self.running_before(&open.turn, subject, &post).await;
        }
        let _held = self.order.hold(subject).await;
        let _seat = self.seat(subject)?;
        let off = self.off(subject, &post).await?;
        let model = post.model.clone();
        let model = model.or_else(|| self.model_before(&path));
        let owned = Owned {
            turn: TurnId(Uuid::now_v7().to_string()),
            subject: subject.clone(),
            conversation: Some(conversation.clone()),
            model: model.unwrap_or(default),
            request: None,
        };
        let started = TurnStarted {
            conversation: Some(conversation.clone()),
            parent: path.last().map(|row| row.turn.clone()),
            message: post.message.clone(),
            request: None,
            model: owned.model.clone(),
            sid: session.sid.clone(),
        };
        let at = clock::now();
        let begins = (started.clone(), &off);
        let (first, then) = First::decide(&self.context, session, &owned, begins);
        let events = log_of(&started, &then);
        let new = NewTurn {
            subject: subject.clone(),
            message_id: post.message_id.clone(),
            turn: owned.turn.clone(),
            at,
            started,
            then,
            follows: post.place.follows(),
            off: off.clone(),
        };
        let opened = match self.context.store.open_turn(new).await {
            Ok(opened) => opened,
            Err(OpenTurnError::Duplicate { turn, conversation }) => {
                return self.posted(subject, turn, conversation, &post).await;
            }
            Err(error) => return Err(refused(error)),
        };
        let posted = Posted {
            conversation,
            turn: owned.turn.clone(),
        };
        let history = path.into_iter().map(|row| row.transcript).collect();
        let beginning = Beginning {
            owned,
            opened,
            at,
            events,
            first,
            history,
            off,
            owner_gone: None,
        };
        self.drive(session, beginning);
        Ok(posted)
    }

    /// Where a message ended up that was posted before.
    async fn posted(
        &self,
        subject: &Subject,
        turn: TurnId,
        conversation: Option<ConversationId>,
        post: &Post,
    ) -> Result<Posted, Problem> {
        let taken = || Problem::conflict("The `message_id` is that of a turn of the API.");
        let conversation = conversation.ok_or_else(taken)?;
        let transcript = self.context.store.transcript(subject, &turn).await?;
        // Its conversation was deleted.
        let transcript = transcript.ok_or_else(|| Problem::not_found("conversation"))?;
        let started = transcript.started.as_ref();
        if started.is_some_and(|started| started.message != post.message) {
            return Err(Problem::conflict(
                "The `message_id` is that of another message.",
            ));
        }
        Ok(Posted { conversation, turn })
    }

    /// What is answered when the turn before still runs: it may be this message's, posted twice at
    /// once.
    async fn running_before(
        &self,
        open: &TurnId,
        subject: &Subject,
        post: &Post,
    ) -> Result<Posted, Problem> {
        let posted = self.context.store.posted(subject, &post.message_id).await?;
        match posted {
            Some((turn, conversation)) => self.posted(subject, turn, conversation, post).await,
            None => Err(Problem::busy(open.clone())),
        }
    }

    /// Where the turn of a message begins. Read while others may post in the same conversation;
    /// the store refuses what has become wrong meanwhile.
    async fn begins(&self, subject: &Subject, post: &Post) -> Result<Begins, Problem> {
        let Some(conversation) = &post.conversation else {
            return Ok(Begins {
                conversation: ConversationId(Uuid::now_v7().to_string()),
                path: Vec::new(),
            });
        };
        let store = &self.context.store;
        let row = store.conversation(subject, conversation).await?;
        let row = row.ok_or_else(|| Problem::not_found("conversation"))?;
        let window = match &post.place {
            Place::Newest => Window::Newest,
            Place::After(turn) => Window::To(turn),
            Place::InsteadOf(turn) => Window::Before(turn),
        };
        let branch = store.branch(subject, conversation, window, PATH_TURNS);
        let branch = branch.await?.ok_or_else(|| Problem::not_found("turn"))?;
        Ok(Begins {
            conversation: row.id,
            path: branch.turns,
        })
    }

    /// What is switched off in the conversation of a message; asked while nobody changes it.
    async fn off(&self, subject: &Subject, post: &Post) -> Result<Selection, Problem> {
        let Some(conversation) = &post.conversation else {
            return Ok(post.off.clone());
        };
        let row = self.context.store.conversation(subject, conversation);
        let row = row
            .await?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        Ok(row.off)
    }

    /// The model of the turn before, unless the endpoint is known to have it no more.
    fn model_before(&self, path: &[TurnRow]) -> Option<String> {
        let started = path.last()?.transcript.started.as_ref()?;
        let model = &started.model;
        (!self.models.lack(model)).then(|| model.clone())
    }

    /// Begins to drive a turn that was opened.
    pub(super) fn drive(
        self: &Arc<Self>,
        session: &Arc<Session>,
        beginning: Beginning,
    ) -> Arc<Running> {
        let Beginning {
            owned,
            opened,
            at,
            events,
            first,
            history,
            off,
            owner_gone,
        } = beginning;
        let log: Vec<_> = (1..)
            .zip(events)
            .map(|(seq, event)| Logged { seq, at, event })
            .collect();
        let (running, commands) = Running::new(&owned, Live::new(&log), off);
        let begin = Begin {
            owned,
            session: Arc::clone(session),
            live: Arc::clone(&running.live),
            commands,
            off: running.off.subscribe(),
            history,
            epoch: opened.epoch,
            seq: opened.seq,
            owner_gone,
        };
        let driver = Driver::start(Arc::clone(&self.context), begin, first);
        self.run(Arc::clone(&running), driver);
        running
    }
}

/// The log that a turn begins with.
pub(super) fn log_of(started: &TurnStarted, then: &[Event]) -> Vec<Event> {
    let started = Event::TurnStarted(started.clone());
    std::iter::once(started)
        .chain(then.iter().cloned())
        .collect()
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
    post.off.check().map_err(selection_refused)?;
    if let Some(conversation) = &post.conversation
        && Uuid::parse_str(conversation.as_str()).is_err()
    {
        return Err(Problem::not_found("conversation"));
    }
    Ok(())
}

/// 400: what is to be switched off is too much, or nonsense.
pub(crate) fn selection_refused(error: SelectionError) -> Problem {
    Problem::bad_request(format!("`off`: {error}.")).of_param("off")
}

pub(super) fn refused(error: OpenTurnError) -> Problem {
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
