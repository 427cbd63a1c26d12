//! What the log says of a turn. Only events change it, so living a turn and replaying its log give
//! the same state.

use std::sync::Arc;

use crate::{
    event::{Answer, CallRequested, CancelBy, Event, ParkReason, Target, TurnStarted},
    ids::{CallId, QuestionId, RoundId},
    message::{RoundEnd, ToolChoice},
    outcome::TurnEnd,
    request::Owner,
    toolbox::Toolbox,
};

use super::check::{self, Plan};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) started: bool,
    pub(super) owner: Owner,
    pub(super) finished: bool,
    pub(super) cancelling: Option<CancelBy>,
    /// What the last round was offered.
    pub(super) toolbox: Option<Arc<Toolbox>>,
    /// The last round.
    pub(super) round: Option<Round>,
    /// By number: the first is call 1.
    calls: Vec<Call>,
    /// How many questions were asked.
    pub(super) questions: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Round {
    pub(super) id: RoundId,
    /// The request's number, from 1.
    pub(super) attempt: u32,
    pub(super) tool_choice: ToolChoice,
    pub(super) state: RoundState,
    /// How often it failed and was to be sent again.
    pub(super) retries: u32,
    /// How many of those failures discarded something that was shown.
    pub(super) cuts: u32,
    /// How many calls its message asks for.
    calls: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoundState {
    Open,
    Discarded,
    Retrying,
    Finished(RoundEnd),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    /// None when there is no such function.
    pub(super) target: Option<Target>,
    /// None once it is finished.
    pub(super) plan: Option<Plan>,
    pub(super) state: CallState,
    /// How often it was started.
    pub(super) starts: u32,
    /// How often it was parked.
    pub(super) parkings: u32,
    /// How often it was started again without having been parked.
    pub(super) restarts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallState {
    /// It may run, and has no slot yet.
    Ready,
    Asking(QuestionId),
    Running,
    Parked(ParkReason),
    Finished,
}

impl State {
    /// One step of the fold.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::TurnStarted(started) => self.begin(started),
            Event::CatalogReady(ready) => self.offer(Arc::new(Toolbox::from_event(ready))),
            Event::RoundStarted {
                round,
                attempt,
                tool_choice,
                ..
            } => {
                self.round_started(*round, *attempt, *tool_choice);
            }
            Event::RoundRetrying { .. } => self.round_retrying(),
            Event::RoundDiscarded { .. } => {
                if let Some(round) = &mut self.round {
                    round.state = RoundState::Discarded;
                }
            }
            Event::RoundFinished { end, message, .. } => {
                if let Some(round) = &mut self.round {
                    round.state = RoundState::Finished(*end);
                    round.calls = message.calls.len();
                }
            }
            Event::CallRequested(requested) => self.call_requested(requested),
            Event::QuestionAsked { question, call } => {
                self.questions = self.questions.max(question.0);
                self.set(*call, CallState::Asking(*question));
            }
            Event::QuestionAnswered { question, answer } => self.answered(*question, answer),
            Event::CallStarted { call, .. } => self.call_started(*call),
            Event::CallParked { call, reason } => {
                if let Some(call) = self.call_mut(*call) {
                    call.parkings += 1;
                    call.state = CallState::Parked(*reason);
                }
            }
            Event::CallResumed { call, .. } => self.set(*call, CallState::Ready),
            Event::CallFinished(finished) => {
                if let Some(call) = self.call_mut(finished.call) {
                    call.plan = None;
                    call.state = CallState::Finished;
                }
            }
            Event::TurnCancelling { by } => self.cancelling = Some(*by),
            Event::TurnFinished { .. } => self.finished = true,
            Event::ServerState(_)
            | Event::ReasoningDelta(_)
            | Event::TextDelta(_)
            | Event::CallProgress(_)
            | Event::Notice { .. } => {}
        }
    }

    /// Applies `turn.started`; a second one changes nothing.
    pub(super) fn begin(&mut self, started: &TurnStarted) {
        if !self.started {
            self.started = true;
            self.owner = started.owner();
        }
    }

    /// Applies a `catalog.ready` whose functions are at hand.
    pub(super) fn offer(&mut self, toolbox: Arc<Toolbox>) {
        self.toolbox = Some(toolbox);
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = (CallId, &Call)> {
        (1..).map(CallId).zip(&self.calls)
    }

    pub(super) fn call(&self, id: CallId) -> Option<&Call> {
        self.calls.get(place(id)?)
    }

    /// How many calls were asked for.
    pub(super) fn call_count(&self) -> u32 {
        u32::try_from(self.calls.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn calls_resolved(&self) -> bool {
        self.calls
            .iter()
            .all(|call| call.state == CallState::Finished)
    }

    pub(super) fn calls_running(&self) -> bool {
        self.calls.iter().any(|call| call.state.is_running())
    }

    /// How the turn ends, if the last round and its calls say that it is over.
    pub(super) fn end_due(&self) -> Option<TurnEnd> {
        let round = self.round.as_ref()?;
        let RoundState::Finished(end) = round.state else {
            return None;
        };
        if !self.calls_resolved() {
            return None;
        }
        match (round.tool_choice, end) {
            (ToolChoice::Auto, _) if round.calls > 0 => None,
            (ToolChoice::None, _) | (ToolChoice::Auto, RoundEnd::Length) => Some(TurnEnd::Limit),
            (ToolChoice::Auto, RoundEnd::Stop | RoundEnd::Calls | RoundEnd::Filtered) => {
                Some(TurnEnd::Answered)
            }
        }
    }

    fn round_started(&mut self, id: RoundId, attempt: u32, tool_choice: ToolChoice) {
        let (retries, cuts) = match &self.round {
            Some(round) if round.id == id => (round.retries, round.cuts),
            Some(_) | None => (0, 0),
        };
        let state = RoundState::Open;
        self.round = Some(Round {
            id,
            attempt,
            tool_choice,
            state,
            retries,
            cuts,
            calls: 0,
        });
    }

    fn round_retrying(&mut self) {
        if let Some(round) = &mut self.round {
            round.retries += 1;
            if round.state == RoundState::Discarded {
                round.cuts += 1;
            }
            round.state = RoundState::Retrying;
        }
    }

    fn call_requested(&mut self, requested: &CallRequested) {
        self.calls.push(Call {
            target: requested.target.clone(),
            plan: Some(check::plan(self.toolbox.as_deref(), requested)),
            state: CallState::Ready,
            starts: 0,
            parkings: 0,
            restarts: 0,
        });
    }

    fn answered(&mut self, question: QuestionId, answer: &Answer) {
        let asking = self
            .calls
            .iter_mut()
            .find(|call| call.state == CallState::Asking(question));
        match (asking, answer) {
            (Some(call), Answer::Approve) => call.state = CallState::Ready,
            // Its `call.finished` is in the same append.
            (Some(_), Answer::Deny { .. }) | (None, _) => {}
        }
    }

    fn call_started(&mut self, id: CallId) {
        if let Some(call) = self.call_mut(id) {
            call.starts += 1;
            if call.state == CallState::Running {
                call.restarts += 1;
            }
            call.state = CallState::Running;
        }
    }

    fn set(&mut self, id: CallId, state: CallState) {
        if let Some(call) = self.call_mut(id) {
            call.state = state;
        }
    }

    fn call_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.get_mut(place(id)?)
    }
}

impl Call {
    /// The server it is for; empty when there is no such function.
    pub(super) fn server(&self) -> &str {
        self.target.as_ref().map_or("", |target| &target.server)
    }
}

impl CallState {
    pub(super) fn is_running(self) -> bool {
        self == Self::Running
    }

    pub(super) fn is_parked(self) -> bool {
        matches!(self, Self::Parked(_))
    }

    /// Whether it is neither finished nor with its server.
    pub(super) fn is_waiting(self) -> bool {
        match self {
            Self::Ready | Self::Asking(_) | Self::Parked(_) => true,
            Self::Running | Self::Finished => false,
        }
    }
}

fn place(id: CallId) -> Option<usize> {
    usize::try_from(id.0.checked_sub(1)?).ok()
}
