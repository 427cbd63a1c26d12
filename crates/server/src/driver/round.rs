//! Model rounds, and the catalogs they are offered.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc};

use chat::{
    event::{Delta, Event, JsonObject, ParkReason},
    failure::{Failure, Layer, Retry, RoundFailure},
    ids::RoundId,
    input::{Input, Partial},
    message::ToolChoice,
    prompt::{self, Instructions},
    tool::Catalog,
    toolbox::Toolbox,
    transcript::Transcript,
};
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use wire::{
    llm::{Round, RoundEvent, RoundRequest},
    tap,
};

use super::{Driver, REPORTS, Report};

/// The model request that is out.
pub(super) struct OpenRound {
    id: RoundId,
    stream: Round,
    partial: Partial,
}

impl Driver {
    /// Loads the catalogs of the servers that are not switched off; a turn whose program wants no
    /// calls has none.
    pub(super) fn load_catalog(&mut self) {
        if self.owned.has_no_functions() {
            let reports = self.reports.0.clone();
            self.context.tasks.spawn(async move {
                let _gone = reports.send(Report::Catalogs(Vec::new())).await;
            });
            return;
        }
        let off = self.off.borrow().servers.clone();
        self.untried.clone_from(&off);
        self.try_servers(move |server| !off.contains(server), Report::Catalogs);
    }

    /// Tries the servers that were off when the catalogs were loaded and are not any more.
    fn try_untried(&mut self) {
        let off = self.off.borrow().servers.clone();
        let now_on: BTreeSet<String> = self.untried.difference(&off).cloned().collect();
        if !now_on.is_empty() {
            self.untried.retain(|server| off.contains(server));
            self.try_servers(move |server| now_on.contains(server), |_| Report::Tried);
        }
    }

    /// Tries the servers that are `wanted`, in a task of its own, and reports what each offers.
    fn try_servers(
        &self,
        wanted: impl Fn(&str) -> bool + Send + Sync + 'static,
        report: impl FnOnce(Vec<Arc<Catalog>>) -> Report + Send + 'static,
    ) {
        let (context, session) = (Arc::clone(&self.context), Arc::clone(&self.session));
        let (scope, reports) = (self.owned.scope(), self.reports.0.clone());
        let ended = self.ended.clone();
        self.context.tasks.spawn(async move {
            let load = async {
                let (said, mut saying) = mpsc::channel(REPORTS);
                let tell = async {
                    while let Some(change) = saying.recv().await {
                        let _gone = reports.send(Report::Server(Box::new(change))).await;
                    }
                };
                let load = context.servers.load(&session, &scope, wanted, said);
                let (catalogs, ()) = tokio::join!(load, tell);
                catalogs
            };
            let loading = AssertUnwindSafe(load).catch_unwind();
            let Some(loaded) = ended.run_until_cancelled(Box::pin(loading)).await else {
                return;
            };
            // Without an answer the turn would wait for ever: it goes on without tools.
            let catalogs = loaded.unwrap_or_default();
            let _gone = reports.send(report(catalogs)).await;
        });
    }

    /// Takes newer catalogs, and those of servers that have become ready. A server that this or
    /// another session of the user's cannot reach just now keeps its functions: a call says how
    /// that went.
    pub(super) async fn catalogs_changed(&mut self) {
        let Some(before) = &self.offered else { return };
        if self.owned.has_no_functions() {
            return;
        }
        let user = self.context.servers.of(&self.owned.subject);
        let offered: Vec<_> = before.iter().map(|c| c.server.as_str()).collect();
        let catalogs = user.newest(&offered);
        self.offer(catalogs).await;
        self.wake_connected().await;
    }

    /// Other servers or tools are switched off than before: that counts from the next round.
    pub(super) async fn selection_changed(&mut self) {
        if self.offered.is_none() {
            // Begun or not, the loading ends with a look at what is off then.
            return;
        }
        self.note = self.note();
        self.catalogs_changed().await;
        self.try_untried();
    }

    /// Servers that were switched on during the turn were tried: what they offer counts from the
    /// next round, and the model is told of those that cannot be used.
    pub(super) async fn tried(&mut self) {
        self.note = self.note();
        self.catalogs_changed().await;
    }

    /// Has the engine offer these, but for what is switched off.
    async fn offer(&mut self, catalogs: Vec<Arc<Catalog>>) {
        let on = self.off.borrow_and_update().apply(catalogs.clone());
        let toolbox = Arc::new(self.context.toolbox(&self.owned.subject, on));
        self.offered = Some(catalogs);
        self.feed(Input::CatalogReady(toolbox)).await;
    }

    /// What the model is told of the servers that it is not offered, and that nobody switched off.
    pub(super) fn note(&self) -> String {
        let mut servers = self.live.look(|view| view.transcript.servers.clone());
        let off = self.off.borrow();
        servers.retain(|server| !off.is_server_off(&server.server));
        prompt::unusable(&servers, self.owned.owner())
    }

    /// Has the calls go on that waited for an account, at servers that have become ready.
    async fn wake_connected(&mut self) {
        for server in self.connected_since() {
            self.unpark(ParkReason::NeedsConnect, Some(server), None)
                .await;
        }
    }

    /// The catalogs are there: what the model is told of those that are not is settled too.
    pub(super) async fn catalogs_loaded(&mut self, catalogs: Vec<Arc<Catalog>>) {
        self.note = self.note();
        self.offer(catalogs).await;
        // After a restart a call can wait for an account that was connected meanwhile.
        self.wake_connected().await;
        self.try_untried();
    }

    /// The servers that a call waits to be connected, and that have become ready.
    fn connected_since(&self) -> Vec<String> {
        let user = self.context.servers.of(&self.owned.subject);
        self.engine
            .parked()
            .filter(|parked| parked.reason == ParkReason::NeedsConnect)
            .filter(|parked| user.is_ready(parked.server))
            .map(|parked| parked.server.to_owned())
            .collect()
    }

    pub(super) fn send_round(&mut self, id: RoundId, toolbox: &Toolbox, tool_choice: ToolChoice) {
        // Copied, so that readers need not wait until the request is put together.
        let this = self.live.look(|view| view.transcript.clone());
        let turns: Vec<&Transcript> = self.history.iter().chain([&this]).collect();
        let instructions = Instructions {
            system: &self.context.settings.system_prompt,
            note: &self.note,
        };
        let messages = prompt::messages(instructions, &turns);
        let none = JsonObject::new();
        let asked = self.owned.request.as_ref();
        let request = RoundRequest {
            model: &self.owned.model,
            messages: &messages,
            toolbox,
            tool_choice,
            parameters: asked.map_or(&none, |asked| &asked.parameters),
        };
        let context = tap::Context {
            peer: tap::Peer::Model,
            subject: Some(self.owned.subject.clone()),
            turn: Some(self.owned.turn.clone()),
            round: Some(id),
            called: called(&turns),
            ..tap::Context::default()
        };
        let stream = self.context.model.round(request, context);
        self.round = Some(OpenRound {
            id,
            stream,
            partial: Partial::Nothing,
        });
    }

    pub(super) async fn abort_round(&mut self, id: RoundId) {
        let partial = match self.round.take() {
            Some(open) if open.id == id => open.partial,
            Some(_) | None => Partial::Nothing,
        };
        self.feed(round_failed(id, aborted(), partial)).await;
    }

    pub(super) async fn round_event(&mut self, event: RoundEvent) {
        let Some(open) = &mut self.round else { return };
        let round = open.id;
        match event {
            RoundEvent::Text(piece) => {
                open.partial = Partial::Shown;
                let delta = Delta {
                    round,
                    offset: piece.offset,
                    text: piece.text,
                };
                self.log.uncommitted(Event::TextDelta(delta));
            }
            RoundEvent::Reasoning(piece) => {
                open.partial = Partial::Shown;
                let delta = Delta {
                    round,
                    offset: piece.offset,
                    text: piece.text,
                };
                self.log.uncommitted(Event::ReasoningDelta(delta));
            }
            RoundEvent::Ended {
                end,
                usage,
                message,
            } => {
                self.round = None;
                self.feed(Input::RoundEnded {
                    round,
                    end,
                    usage,
                    message,
                })
                .await;
            }
            RoundEvent::Failed(failure) => {
                let partial = open.partial;
                self.round = None;
                self.feed(round_failed(round, failure, partial)).await;
            }
        }
    }
}

/// The servers that were called in these turns.
fn called(turns: &[&Transcript]) -> Vec<String> {
    let calls = turns.iter().flat_map(|turn| turn.calls());
    let servers = calls.filter_map(|call| call.target.as_ref());
    let servers: BTreeSet<_> = servers.map(|target| target.server.clone()).collect();
    servers.into_iter().collect()
}

/// The next event of the open round; never, when none is open.
pub(super) async fn next_of(round: &mut Option<OpenRound>) -> RoundEvent {
    match round {
        Some(open) => open.stream.next().await,
        None => std::future::pending().await,
    }
}

fn round_failed(round: RoundId, failure: RoundFailure, partial: Partial) -> Input {
    Input::RoundFailed {
        round,
        failure,
        partial,
    }
}

fn aborted() -> RoundFailure {
    let failure = Failure::new(Layer::Toolgate, "The model request was stopped.", "");
    RoundFailure {
        failure,
        retry: Retry::Aborted,
    }
}
