//! Model rounds, and the catalogs they are offered.

use std::{panic::AssertUnwindSafe, sync::Arc};

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
    /// Loads the catalogs; a turn whose program wants no calls has none.
    pub(super) fn load_catalog(&self) {
        if self.has_no_functions() {
            let reports = self.reports.0.clone();
            self.context.tasks.spawn(async move {
                let _gone = reports.send(Report::Catalogs(Vec::new())).await;
            });
            return;
        }
        let (context, session) = (Arc::clone(&self.context), Arc::clone(&self.session));
        let (scope, reports) = (self.owned.scope(), self.reports.0.clone());
        let ended = self.ended.clone();
        self.context.tasks.spawn(async move {
            let load = async {
                let (said, mut saying) = mpsc::channel(REPORTS);
                let tell = async {
                    while let Some(change) = saying.recv().await {
                        let _gone = reports.send(Report::Server(change)).await;
                    }
                };
                let (catalogs, ()) =
                    tokio::join!(context.servers.load(&session, &scope, said), tell);
                catalogs
            };
            let loading = AssertUnwindSafe(load).catch_unwind();
            let Some(loaded) = ended.run_until_cancelled(Box::pin(loading)).await else {
                return;
            };
            // Without an answer the turn would wait for ever: it goes on without tools.
            let catalogs = loaded.unwrap_or_default();
            let _gone = reports.send(Report::Catalogs(catalogs)).await;
        });
    }

    /// Takes newer catalogs, and those of servers that have become ready. A server that this or
    /// another session of the user's cannot reach just now keeps its functions: a call says how
    /// that went.
    pub(super) async fn catalogs_changed(&mut self) {
        let Some(before) = &self.offered else { return };
        if self.has_no_functions() {
            return;
        }
        let user = self.context.servers.of(&self.owned.subject);
        let offered: Vec<_> = before.iter().map(|c| c.server.as_str()).collect();
        let catalogs = user.newest(&offered);
        let toolbox = Arc::new(self.context.toolbox(&self.owned.subject, catalogs.clone()));
        self.offered = Some(catalogs);
        self.feed(Input::CatalogReady(toolbox)).await;
        self.wake_connected().await;
    }

    /// Has the calls go on that waited for an account, at servers that have become ready.
    async fn wake_connected(&mut self) {
        for server in self.connected_since() {
            self.unpark(ParkReason::NeedsConnect, Some(server), None)
                .await;
        }
    }

    fn has_no_functions(&self) -> bool {
        let request = self.owned.request.as_ref();
        request.is_some_and(|request| request.tool_choice == ToolChoice::None)
    }

    /// The catalogs are there: what the model is told of those that are not is settled too.
    pub(super) async fn catalogs_loaded(&mut self, catalogs: Vec<Arc<Catalog>>) {
        let owner = self.owned.owner();
        self.note = self
            .live
            .look(|view| prompt::unusable(&view.transcript.servers, owner));
        let toolbox = Arc::new(self.context.toolbox(&self.owned.subject, catalogs.clone()));
        self.offered = Some(catalogs);
        self.feed(Input::CatalogReady(toolbox)).await;
        // After a restart a call can wait for an account that was connected meanwhile.
        self.wake_connected().await;
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
