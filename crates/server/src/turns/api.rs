//! Turns of the API: each belongs to the connection that asked for it.

use std::sync::Arc;

use chat::{event::TurnStarted, ids::TurnId, request::ApiRequest, selection::Selection};
use store::{Follows, NewTurn};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{
    Running, Turns,
    post::{Beginning, log_of, refused},
};
use crate::{
    clock,
    driver::{First, Owned},
    error::Problem,
    tokens::Session,
};

/// What a program asked for.
#[derive(Clone, Debug)]
pub struct ApiPost {
    /// Its request.
    pub request: ApiRequest,
    /// The model that answers; the default one if none.
    pub model: Option<String>,
}

/// A turn that lives as long as this: when it is dropped before its end, the turn is cancelled.
#[derive(Debug)]
pub struct OwnedTurn {
    /// The turn.
    pub running: Arc<Running>,
    /// The model that answers.
    pub model: String,
    /// When it began, milliseconds since 1970.
    pub at: i64,
    _gone: DropGuard,
}

impl Turns {
    /// Begins a turn for a program.
    ///
    /// # Errors
    /// Why there is none: a limit, or the store.
    pub async fn post_api(
        self: &Arc<Self>,
        session: &Arc<Session>,
        post: ApiPost,
    ) -> Result<OwnedTurn, Problem> {
        let ApiPost { request, model } = post;
        let model = match model {
            Some(model) => model,
            None => self.model().await?,
        };
        let (turns, session) = (Arc::clone(self), Arc::clone(session));
        // In a task of its own: when the program goes away in the middle, the turn is dropped with
        // what this returns, and not before it has a driver that cancels it.
        let open = async move { turns.open_api(&session, request, model).await };
        let opening = self.context.tasks.spawn(open);
        opening
            .await
            .unwrap_or_else(|error| Err(Problem::internal(&error)))
    }

    async fn open_api(
        self: &Arc<Self>,
        session: &Arc<Session>,
        request: ApiRequest,
        model: String,
    ) -> Result<OwnedTurn, Problem> {
        let _seat = self.seat(&session.subject)?;
        let turn = TurnId(Uuid::now_v7().to_string());
        let request = Arc::new(request);
        let started = TurnStarted {
            conversation: None,
            parent: None,
            message: request.last_user_text(),
            request: Some(Arc::clone(&request)),
            model: model.clone(),
            sid: session.sid.clone(),
        };
        let owned = Owned {
            turn: turn.clone(),
            subject: session.subject.clone(),
            conversation: None,
            model: model.clone(),
            request: Some(request),
        };
        let at = clock::now();
        let begins = (started.clone(), &Selection::default());
        let (first, then) = First::decide(&self.context, session, &owned, begins);
        let events = log_of(&started, &then);
        let new = NewTurn {
            subject: session.subject.clone(),
            message_id: turn.0.clone(),
            turn,
            at,
            started,
            then,
            follows: Follows::Any,
            off: Selection::default(),
        };
        let opened = self.context.store.open_turn(new).await.map_err(refused)?;
        let gone = CancellationToken::new();
        let beginning = Beginning {
            owned,
            opened,
            at,
            events,
            first,
            history: Vec::new(),
            off: Selection::default(),
            owner_gone: Some(gone.clone()),
        };
        Ok(OwnedTurn {
            running: self.drive(session, beginning),
            model,
            at,
            _gone: gone.drop_guard(),
        })
    }
}
