//! Performs what a turn's engine wants, and tells it what came of it.
//!
//! One task per running turn. It alone writes the turn's log: what the engine records is committed
//! before anything that follows from it is begun, and before any reader sees it. Text is shown at
//! once and committed merged.

mod first;
mod outside;
mod round;

mod call;
mod log;
mod timers;

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
};

use chat::{
    effect::Effect,
    event::{Answer, CancelBy, Progress, ServerStateChanged},
    ids::{CallId, ConversationId, QuestionId, Subject, TurnId},
    input::Input,
    outcome::Outcome,
    request::{ApiRequest, Owner},
    selection::Selection,
    tool::Catalog,
    transcript::Transcript,
    turn::Turn,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{context::Context, live::Live, tokens::Session};
use call::{CallTask, Running};
pub(crate) use first::First;
use log::Log;
use round::{OpenRound, next_of};
use timers::Timers;

/// Reports of calls and catalogs that wait for the driver; the senders wait when it is full.
const REPORTS: usize = 64;

/// Commands that wait for the driver.
pub(crate) const COMMANDS: usize = 16;

/// What a turn is and belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub(crate) turn: TurnId,
    pub(crate) subject: Subject,
    /// None for a turn of the API.
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) model: String,
    /// What a program asked for, if one began the turn.
    pub(crate) request: Option<Arc<ApiRequest>>,
}

impl Owned {
    /// To whom the turn belongs.
    pub(crate) fn owner(&self) -> Owner {
        match self.request {
            Some(_) => Owner::Connection,
            None => Owner::Person,
        }
    }

    /// Whose MCP sessions it uses: its conversation's, or if it has none its own.
    pub(crate) fn scope(&self) -> ConversationId {
        let own = || ConversationId(self.turn.0.clone());
        self.conversation.clone().unwrap_or_else(own)
    }
}

/// What people and tokens do to a running turn.
#[derive(Debug)]
pub(crate) enum Command {
    /// A question was answered, from this session.
    Answer {
        question: QuestionId,
        answer: Answer,
        session: Arc<Session>,
        /// Told whether it counts: another answer may have come first. Dropped without a word when
        /// the answer could not be recorded.
        counts: oneshot::Sender<bool>,
    },
    /// Its user wants it to stop; told when that is recorded, dropped without a word when it could
    /// not be.
    Cancel(oneshot::Sender<()>),
    /// Its owner is here, with this session.
    OwnerHere(Arc<Session>),
}

/// How a driver let go of its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetGo {
    /// The turn ended.
    Finished,
    /// The program stops: the next start takes the turn up again.
    PutDown,
    /// The log could not be written.
    LogLost,
    /// Another process has taken the turn over.
    TakenOver,
}

/// What tasks of a turn report to its driver. Boxed where it is large: a channel makes room for 32
/// of them as soon as there is a turn, and most turns never have one.
#[derive(Debug)]
enum Report {
    /// Something happened to the engine.
    Input(Box<Input>),
    /// A call got further.
    Progress(Box<Progress>),
    /// A server was tried.
    Server(Box<ServerStateChanged>),
    /// The catalogs were loaded.
    Catalogs(Vec<Arc<Catalog>>),
    /// Servers that were switched on meanwhile were tried.
    Tried,
}

/// The task of one turn.
pub(crate) struct Driver {
    pub(crate) owned: Owned,
    pub(crate) context: Arc<Context>,
    pub(crate) session: Arc<Session>,
    /// Another session of the owner's, the one they were in last: when the turn's own runs out of
    /// tokens, it goes on there.
    elsewhere: Option<Arc<Session>>,
    pub(crate) live: Arc<Live>,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// What is switched off in the conversation.
    off: watch::Receiver<Selection>,
    /// The servers that were not tried because they were off.
    untried: BTreeSet<String>,
    /// Changes with each token of the session; subscribed to before the session is first looked
    /// at, so that none is missed.
    tokens: watch::Receiver<u64>,
    /// Changes with what the user's servers offer.
    catalogs: watch::Receiver<u64>,
    /// The turns before this one, oldest first.
    history: Vec<Transcript>,
    engine: Turn,
    log: Log,
    /// Effects that wait for the owner's token after a restart.
    held: Option<Vec<Effect>>,
    round: Option<OpenRound>,
    calls: HashMap<CallId, Running>,
    timers: Timers,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    /// Ends the turn's own tasks.
    ended: CancellationToken,
    /// The catalogs that the model is offered but for what is switched off, once they were loaded.
    offered: Option<Vec<Arc<Catalog>>>,
    /// What the model is told of the servers that it is not offered, as it was when they were
    /// loaded: from round to round a request begins with the same bytes.
    note: String,
    /// The connection that the turn belongs to went away; none once that was taken notice of.
    owner_gone: Option<CancellationToken>,
    /// The log can no longer be written, and what that means for the turn.
    lost: Option<LetGo>,
}

/// What a driver begins with.
pub(crate) struct Begin {
    pub(crate) owned: Owned,
    pub(crate) session: Arc<Session>,
    pub(crate) live: Arc<Live>,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// What is switched off in the conversation.
    pub(crate) off: watch::Receiver<Selection>,
    pub(crate) history: Vec<Transcript>,
    pub(crate) epoch: u64,
    /// The number of the last event in the log.
    pub(crate) seq: u64,
    /// Cancelled when the connection that the turn belongs to goes away.
    pub(crate) owner_gone: Option<CancellationToken>,
}

impl Driver {
    /// A driver, which has not begun. Boxed: each of the futures around it would hold a copy.
    pub(crate) fn new(context: Arc<Context>, begin: Begin, engine: Turn) -> Box<Self> {
        let log = Log::new(&context, &begin);
        let catalogs = context.servers.of(&begin.owned.subject).changes();
        Box::new(Self {
            owned: begin.owned,
            tokens: begin.session.watch(),
            session: begin.session,
            elsewhere: None,
            live: begin.live,
            commands: begin.commands,
            off: begin.off,
            untried: BTreeSet::new(),
            catalogs,
            history: begin.history,
            engine,
            log,
            held: None,
            round: None,
            calls: HashMap::new(),
            timers: Timers::default(),
            reports: mpsc::channel(REPORTS),
            ended: context.shutdown.child_token(),
            context,
            offered: None,
            note: String::new(),
            owner_gone: begin.owner_gone,
            lost: None,
        })
    }

    /// Takes up a turn that a restart interrupted. What recovery found out is recorded at once;
    /// everything else waits until a token of the owner's is at hand.
    pub(crate) async fn resume(mut self: Box<Self>, mut effects: Vec<Effect>) -> LetGo {
        let facts = effects
            .iter()
            .take_while(|effect| matches!(effect, Effect::Record(_)))
            .count();
        let rest = effects.split_off(facts.min(1));
        self.say_what_is_wanted();
        self.perform(effects).await;
        let works = rest
            .iter()
            .any(|effect| !matches!(effect, Effect::SetTimer(..)));
        let life = self.context.settings.token_life;
        if works && self.session.age().is_none_or(|age| age >= life) {
            self.held = Some(rest);
            self.timers.owner_awaited();
        } else {
            self.perform(rest).await;
        }
        self.run().await
    }

    async fn run(mut self: Box<Self>) -> LetGo {
        let shutdown = self.context.shutdown.clone();
        let mut stopped = pin!(shutdown.cancelled());
        loop {
            if let Some(how) = self.lost {
                return self.let_go(how);
            }
            if self.engine.is_finished() {
                return self.let_go(LetGo::Finished);
            }
            tokio::select! {
                biased;
                () = stopped.as_mut() => {
                    self.flush().await;
                    return self.let_go(LetGo::PutDown);
                }
                Some(command) = self.commands.recv() => self.command(command).await,
                Some(report) = self.reports.1.recv() => self.report(report).await,
                () = gone(self.owner_gone.as_ref()) => {
                    self.owner_gone = None;
                    self.cancel(CancelBy::Connection).await;
                }
                () = self.timers.ring() => self.rung().await,
                kept = self.log.keep_up() => self.kept_up(kept).await,
                Ok(()) = self.tokens.changed() => self.token_came().await,
                Ok(()) = self.catalogs.changed() => self.catalogs_changed().await,
                Ok(()) = self.off.changed() => self.selection_changed().await,
                event = next_of(&mut self.round) => self.round_event(event).await,
            }
        }
    }

    fn let_go(&self, how: LetGo) -> LetGo {
        self.ended.cancel();
        self.live.close();
        if self.owned.owner() == Owner::Connection {
            // Nobody uses its MCP sessions after it.
            let servers = &self.context.servers;
            servers.release(&self.session, &self.owned.scope());
        }
        how
    }

    async fn feed(&mut self, input: Input) {
        let effects = self.engine.on(input);
        Box::pin(self.perform(effects)).await;
    }

    async fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Record(events) = effect {
                let finished: Vec<_> = events.iter().filter_map(call::finished).collect();
                if let Err(error) = self.log.record(events).await {
                    return self.log_lost(&error).await;
                }
                self.account(&finished);
                continue;
            }
            self.begin(effect).await;
            if self.lost.is_some() {
                // What was begun led to an append that failed: the rest must not begin.
                return;
            }
        }
    }

    /// Writes the log line of each call that has ended.
    fn account(&self, finished: &[(CallId, Outcome)]) {
        let user = self.context.servers.of(&self.owned.subject);
        for (id, outcome) in finished {
            self.live.look(|view| {
                if let Some(call) = view.transcript.call(*id) {
                    call::account(&self.owned, call, *outcome);
                    call::note_policy(&user, call, *outcome);
                }
            });
        }
    }

    /// Begins one effect other than `Record`.
    async fn begin(&mut self, effect: Effect) {
        match effect {
            Effect::Record(_) => {}
            Effect::LoadCatalog => self.load_catalog(),
            Effect::SendRound {
                round,
                toolbox,
                tool_choice,
            } => {
                self.send_round(round, &toolbox, tool_choice);
            }
            Effect::AbortRound(round) => self.abort_round(round).await,
            Effect::StartCall {
                call,
                target,
                arguments,
            } => {
                if self.off.borrow().is_off(&target) {
                    return self.feed(call::ended_as(call, Outcome::SwitchedOff)).await;
                }
                let task = CallTask {
                    context: Arc::clone(&self.context),
                    owned: self.owned.clone(),
                    session: Arc::clone(&self.session),
                    call,
                    target,
                    arguments,
                    reports: self.reports.0.clone(),
                };
                self.calls.insert(call, task.spawn(&self.ended));
            }
            Effect::CancelCall(call) => {
                if let Some(running) = self.calls.get(&call) {
                    running.cancel.cancel();
                } else {
                    self.feed(call::ended_as(call, Outcome::Cancelled)).await;
                }
            }
            Effect::SetTimer(id, after) => self.timers.set(id, after),
            Effect::ClearTimer(id) => self.timers.clear(id),
        }
    }

    /// The engine dies of it; what runs is cancelled by its last effects.
    async fn log_lost(&mut self, error: &store::AppendError) {
        if self.lost.is_some() {
            return;
        }
        self.lost = Some(match error {
            store::AppendError::Lost => LetGo::TakenOver,
            store::AppendError::Failed(_) => LetGo::LogLost,
        });
        self.live.stuck();
        tracing::error!(turn = %self.owned.turn, %error, "the turn's log cannot be written");
        for effect in self.engine.on(Input::LogLost) {
            Box::pin(self.begin(effect)).await;
        }
    }

    async fn flush(&mut self) {
        let flushed = self.log.flush().await;
        self.kept_up(flushed).await;
    }

    async fn kept_up(&mut self, kept: Result<(), store::AppendError>) {
        if let Err(error) = kept {
            self.log_lost(&error).await;
        }
    }
}

/// Waits until the owner goes away; for ever when there is none that could.
async fn gone(owner: Option<&CancellationToken>) {
    match owner {
        Some(owner) => owner.cancelled().await,
        None => std::future::pending().await,
    }
}
