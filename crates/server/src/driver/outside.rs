//! What people, tokens and the turn's own tasks tell the driver.

use std::sync::Arc;

use chat::{
    event::{CancelBy, Event, ParkReason, ServerState},
    failure::Failure,
    ids::Sid,
    input::{Input, Refusal},
    request::Owner,
};

use super::{Command, Driver, Owned, Report, timers};
use crate::{context::Context, live::View, tokens::Session};

impl Driver {
    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Answer {
                question,
                answer,
                session,
                counts,
            } => {
                self.owner_here(session).await;
                let open = self
                    .engine
                    .open_questions()
                    .any(|(open, _)| open == question);
                if open {
                    self.feed(Input::Answered { question, answer }).await;
                }
                if self.lost.is_none() {
                    let _gone = counts.send(open);
                }
            }
            Command::Cancel(recorded) => {
                self.cancel(CancelBy::User).await;
                if self.lost.is_none() {
                    let _gone = recorded.send(());
                }
            }
            Command::OwnerHere(session) => self.owner_here(session).await,
        }
    }

    /// The owner came, perhaps under another session: a turn that waits for a token goes on with
    /// that one's.
    pub(super) async fn owner_here(&mut self, session: Arc<Session>) {
        if session.age().is_none() {
            return;
        }
        let waits = self.held.is_some() || self.parked_for_token();
        if !waits {
            let other = !Arc::ptr_eq(&session, &self.session);
            self.elsewhere = other.then_some(session);
            return;
        }
        // A session that was forgotten and came back is another one, if of the same name.
        let rebound = !Arc::ptr_eq(&session, &self.session);
        let sid = (session.sid != self.session.sid).then(|| session.sid.clone());
        if rebound {
            self.tokens = session.watch();
            self.session = session;
        }
        self.go_on().await;
        if rebound && self.parked_for_token() {
            self.unpark(ParkReason::StaleToken, None, sid).await;
        }
    }

    /// A newer token of the session came.
    pub(super) async fn token_came(&mut self) {
        self.go_on().await;
        if self.parked_for_token() {
            self.unpark(ParkReason::StaleToken, None, None).await;
        }
    }

    /// Says again which servers want an account: a restart forgot it, and that a server can be
    /// listed must not wake its calls.
    pub(super) fn say_what_is_wanted(&self) {
        let parked = self.engine.parked();
        for call in parked.filter(|parked| parked.reason == ParkReason::NeedsConnect) {
            let servers = &self.context.servers;
            servers.account_was_wanted(&self.owned.subject, call.server);
        }
    }

    /// Begins what waited for the owner after a restart.
    async fn go_on(&mut self) {
        if let Some(held) = self.held.take() {
            self.timers.owner_came();
            self.perform(held).await;
        }
    }

    pub(super) async fn unpark(
        &mut self,
        reason: ParkReason,
        server: Option<String>,
        sid: Option<Sid>,
    ) {
        self.feed(Input::Unparked {
            reason,
            server,
            sid,
        })
        .await;
    }

    pub(super) fn parked_for_token(&self) -> bool {
        self.engine
            .parked()
            .any(|parked| parked.reason == ParkReason::StaleToken)
    }

    /// What is held is dropped: it is the loading of catalogs, which the engine no longer wants.
    pub(super) async fn cancel(&mut self, by: CancelBy) {
        self.held = None;
        self.timers.owner_came();
        self.feed(Input::Cancel(by)).await;
    }

    pub(super) async fn rung(&mut self) {
        match self.timers.take_rung() {
            Some(timers::Rung::Engine(id)) => self.feed(Input::Timer(id)).await,
            Some(timers::Rung::OwnerStayedAway) => self.cancel(CancelBy::Recovery).await,
            None => {}
        }
    }

    pub(super) async fn report(&mut self, report: Report) {
        match report {
            Report::Progress(progress) => self.log.uncommitted(Event::CallProgress(*progress)),
            Report::Server(mut change) => {
                if change.state == ServerState::NeedsConnect {
                    let failure = change.failure.as_mut();
                    say_where_to_connect(&self.context, &self.owned, &change.server, failure);
                }
                if let Err(error) = self.log.record(vec![Event::ServerState(*change)]).await {
                    self.log_lost(&error).await;
                }
            }
            Report::Catalogs(catalogs) => self.catalogs_loaded(catalogs).await,
            Report::Tried => self.tried().await,
            Report::Input(input) => self.call_input(*input).await,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the driver itself has a part in these only"
    )]
    pub(super) async fn call_input(&mut self, mut input: Input) {
        let refused_for_token = match &input {
            Input::CallRefused { call, refusal, .. } => {
                let running = self.calls.remove(call);
                (*refusal == Refusal::StaleToken)
                    .then_some(running)
                    .flatten()
            }
            Input::CallEnded { call, .. } => {
                self.calls.remove(call);
                None
            }
            _ => None,
        };
        if let Input::CallRefused {
            call,
            refusal: Refusal::NeedsConnect,
            failure,
        } = &mut input
        {
            let transcript = |view: &View| view.transcript.call(*call)?.target.clone();
            if let Some(target) = self.live.look(transcript) {
                let (context, owned) = (&self.context, &self.owned);
                say_where_to_connect(context, owned, &target.server, Some(failure));
            }
        }
        self.feed(input).await;
        let Some(running) = refused_for_token else {
            return;
        };
        if self.session.count() > running.token {
            // A newer token came while the call was out.
            self.token_came().await;
        } else if let Some(session) = self.take_elsewhere() {
            self.owner_here(session).await;
        } else {
            self.session.recall_streams();
        }
    }

    /// The session that the owner was in last, if it is another one whose token still works.
    fn take_elsewhere(&mut self) -> Option<Arc<Session>> {
        let life = self.context.settings.token_life;
        let session = self.elsewhere.take()?;
        session
            .age()
            .is_some_and(|age| age < life)
            .then_some(session)
    }
}

/// A program has no button: what its user has to open stands in the failure itself.
pub(super) fn say_where_to_connect(
    context: &Context,
    owned: &Owned,
    server: &str,
    failure: Option<&mut Failure>,
) {
    if owned.owner() == Owner::Person {
        return;
    }
    let user = context.servers.of(&owned.subject);
    let url = user.get(server).and_then(|known| known.connect_url);
    if let (Some(failure), Some(url)) = (failure, url) {
        failure.advice = format!("Open {url} to connect the account, then ask again.");
    }
}
