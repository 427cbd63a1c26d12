//! Writing turns: opening one, appending to its log, taking it over.

use std::sync::Arc;

use chat::{
    event::{Event, TurnStarted},
    ids::{ConversationId, Sid, Subject, TurnId},
    selection::Selection,
    transcript::Transcript,
};

use crate::{
    Store,
    error::StoreError,
    opening::Opening,
    turn_writes::{Appending, TakingOver},
};

/// A turn to be opened.
#[derive(Clone, Debug)]
pub struct NewTurn {
    /// Whose.
    pub subject: Subject,
    /// The message's id, made by the page and unique per user; of a turn of the API its own id.
    pub message_id: String,
    /// Its id.
    pub turn: TurnId,
    /// Now, milliseconds since 1970.
    pub at: i64,
    /// Its first event, which names its conversation, if it has one, and its parent.
    pub started: TurnStarted,
    /// What happened at once: the events that follow the first one in its log.
    pub then: Vec<Event>,
    /// Which turns its parent may be one of.
    pub follows: Follows,
    /// What is switched off in its conversation, if that begins with it.
    pub off: Selection,
}

/// Which turn of its conversation a new one may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// The newest; none if it is the first.
    Newest,
    /// Any, or none.
    Any,
}

/// A turn was opened: its log has its first events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What its appends are made with.
    pub epoch: u64,
    /// The number of its last event.
    pub seq: u64,
}

/// Why a turn was not opened. Nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenTurnError {
    /// The conversation was deleted, or is another user's, which looks like one that is not there.
    #[error("there is no such conversation")]
    NotFound,
    /// The message was posted before; it is this turn.
    #[error("the message was posted before and is turn {turn}")]
    Duplicate {
        /// The turn it opened.
        turn: TurnId,
        /// The conversation of that turn; none if it is one of the API.
        conversation: Option<ConversationId>,
    },
    /// A turn of the conversation is running.
    #[error("turn {turn} of the conversation is still running")]
    Busy {
        /// Which.
        turn: TurnId,
    },
    /// The parent is not a turn of the conversation, or not the newest one, which it was to be.
    #[error("the turn to follow is not of this conversation, or not its newest")]
    WrongParent,
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// Events to be added to the end of a turn's log.
#[derive(Clone, Debug)]
pub struct Append {
    /// Which turn.
    pub turn: TurnId,
    /// The epoch in which the caller owns it.
    pub epoch: u64,
    /// The number of the last event that the caller knows.
    pub expected_seq: u64,
    /// Now, milliseconds since 1970.
    pub at: i64,
    /// What happened. After `turn.finished` comes nothing. Shared, so that the caller can show
    /// readers the same events afterwards without a copy.
    pub events: Arc<Vec<Event>>,
    /// With `turn.finished`, and only with it: the fold of the whole log, these events included.
    /// The caller has it, and the end of a turn must not wait for those who read.
    pub transcript: Option<Transcript>,
}

/// Why nothing was appended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The caller does not own the log: the turn was taken over or is finished, or the log is not
    /// what the caller believes. It must stop.
    #[error("the turn's log is not the caller's to write")]
    Lost,
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// A turn was taken over: appends of earlier epochs fail from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What appends are made with from now on.
    pub epoch: u64,
    /// The number of its last event.
    pub seq: u64,
}

/// A turn that has not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTurn {
    /// Which.
    pub turn: TurnId,
    /// Whose.
    pub subject: Subject,
    /// Its conversation; none for a turn of the API.
    pub conversation: Option<ConversationId>,
    /// The session whose token its calls carry: of `turn.started`, or of the last `call.resumed`
    /// that named one.
    pub sid: Sid,
    /// The epoch in which it is owned.
    pub epoch: u64,
    /// Its conversation was deleted: it is to end.
    pub deleted: bool,
}

impl Store {
    /// Opens a turn and writes its first events; makes its conversation if it names one and there is
    /// none of that id, titled by the message.
    pub async fn open_turn(&self, new: NewTurn) -> Result<Opened, OpenTurnError> {
        let heavy = new.started.request.is_some() || new.then.iter().any(may_be_large);
        let opening = if heavy {
            let encoded = self.0.tasks.spawn_blocking(move || Opening::encode(new));
            let encoded = encoded.await;
            encoded.map_err(|error| StoreError::body("a turn", error))??
        } else {
            Opening::encode(new)?
        };
        self.0.writer.write(opening).await
    }

    /// Appends to a turn's log, all or nothing, and returns the number of its last event.
    ///
    /// A turn has one writer, which waits for the answer to one append before it makes the next.
    /// With `turn.finished`, which is the last event of its append, the transcript is stored; one
    /// that is missing, or that is not of this log's length and finished, fails the append.
    /// [`StoreError::Body`] also refuses events that could not be read back: JSON of others in them
    /// that is nested deeper than any edge should have let in.
    pub async fn append(&self, append: Append) -> Result<u64, AppendError> {
        let heavy = append.transcript.is_some() || append.events.iter().any(may_be_large);
        let encode = move || Appending::encode(append);
        let appending = if heavy {
            let encoded = self.0.tasks.spawn_blocking(encode).await;
            encoded.map_err(|error| StoreError::body("an append", error))??
        } else {
            encode()?
        };
        self.0.writer.write(appending).await
    }

    /// Takes a turn over: raises its epoch by one. `None` when there is no such turn or it is
    /// finished.
    pub async fn take_over(&self, turn: &TurnId) -> Result<Option<Taken>, StoreError> {
        self.0.writer.write(TakingOver { turn: turn.clone() }).await
    }
}

/// Whether the event carries what a server sent: then coding it may take long.
fn may_be_large(event: &Event) -> bool {
    matches!(event, Event::CatalogReady(_) | Event::CallFinished(_))
}
