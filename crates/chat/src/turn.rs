//! The turn engine: a pure state machine from a user's message to the end of the turn.
//!
//! [`Turn::on`] takes what happened and says what to do about it; [`Turn::replay`] does the same
//! for a log that another process left behind. There is no IO, clock, id or randomness in here.
//!
//! How it is built, so that it stays right:
//!
//! - **The state is the fold of the log** (`state`). Nothing else changes it, so a replayed turn
//!   is in the state of the one that wrote the log. What only a process can know (which request
//!   it has out, which timers run, which calls a server has accepted) is kept apart (`Live`),
//!   and is empty after a replay.
//! - **Inputs record facts, [`Turn::on`] draws the consequences.** After every input, and after a
//!   replay, one function (`advance`) looks at the whole state: which calls may start, whether
//!   the next round is due, whether the turn is over.
//! - **One `Record` per input**, before all other effects. It is committed whole or not at all, so
//!   a log ends only where an input ended.
//!
//! An input that does not fit (an old round, a timer that is not set, a call that has its outcome)
//! changes nothing; where a person might wonder, a `notice` says so, a bounded number of times.
//! The driver answers each `StartCall` and each `SendRound` as `effect` says: inputs of a call
//! carry no number of the start, so an answer given twice could be taken for the next start's.

mod state;

mod round;

mod calls;
mod check;

mod cancel;
mod replay;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use crate::{
    effect::Effect,
    event::{Event, ParkReason},
    failure::Failure,
    ids::{CallId, QuestionId, RoundId},
    input::{Input, TimerId},
    limits::{self, TurnLimits},
    outcome::TurnEnd,
    toolbox::Toolbox,
};

use self::state::{CallState, State};

/// One turn.
#[derive(Debug)]
pub struct Turn {
    limits: TurnLimits,
    state: State,
    live: Live,
    out: Out,
}

/// What the log does not tell: what this process has under way.
#[derive(Debug, Default)]
struct Live {
    /// The newest functions this process was given; none until its first `CatalogReady`.
    toolbox: Option<Arc<Toolbox>>,
    /// `LoadCatalog` was given out.
    loading: bool,
    /// The log is lost, and with it everything.
    lost: bool,
    /// The model request that is out.
    request: Option<RoundId>,
    /// The running calls that their servers have: they are never started again.
    accepted: BTreeSet<CallId>,
    /// Why the parked calls were refused.
    refusals: BTreeMap<CallId, Failure>,
    /// The timers that run.
    timers: Vec<TimerId>,
    /// How many notices about stray inputs were given.
    notices: u32,
}

/// What one input leads to.
#[derive(Debug, Default)]
struct Out {
    events: Vec<Event>,
    effects: Vec<Effect>,
}

/// A call that waits for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedCall<'a> {
    /// Which call.
    pub call: CallId,
    /// What it waits for.
    pub reason: ParkReason,
    /// The server that it is for.
    pub server: &'a str,
}

impl Turn {
    /// A turn that has not begun: its first input is [`Input::Start`].
    pub fn new(limits: TurnLimits) -> Self {
        Self {
            limits,
            state: State::default(),
            live: Live::default(),
            out: Out::default(),
        }
    }

    /// Takes an input and says what follows from it: at most one [`Effect::Record`], first, and
    /// then everything else in the order in which it is to be done. A finished turn, and one whose
    /// log is lost, wants nothing any more.
    pub fn on(&mut self, input: Input) -> Vec<Effect> {
        if self.is_finished() {
            return Vec::new();
        }
        match input {
            Input::Start(started) => self.state.begin(&started),
            Input::CatalogReady(toolbox) => self.live.toolbox = Some(toolbox),
            Input::RoundEnded {
                round,
                end,
                usage,
                message,
            } => {
                self.round_ended(round, end, usage, message);
            }
            Input::RoundFailed {
                round,
                failure,
                partial,
            } => {
                self.round_failed(round, failure, partial);
            }
            Input::CallAccepted { call } => self.call_accepted(call),
            Input::CallRefused {
                call,
                refusal,
                failure,
            } => {
                self.call_refused(call, refusal, failure);
            }
            Input::CallEnded {
                call,
                outcome,
                result,
                failure,
            } => {
                self.call_ended(call, outcome, result, failure);
            }
            Input::Unparked {
                reason,
                server,
                sid,
            } => {
                self.unparked(reason, server.as_deref(), sid.as_ref());
            }
            Input::Answered { question, answer } => self.answered(question, answer),
            Input::Timer(timer) => self.timer(timer),
            Input::Cancel(by) => self.cancel(by),
            Input::LogLost => {
                self.log_lost();
                return self.out.take();
            }
        }
        self.advance();
        self.out.take()
    }

    /// Whether nothing will follow from any input: the turn ended, or its log is lost.
    pub fn is_finished(&self) -> bool {
        self.state.finished || self.live.lost
    }

    /// The questions that wait for an answer, in the order they were asked, each with its call.
    pub fn open_questions(&self) -> impl Iterator<Item = (QuestionId, CallId)> {
        self.state
            .calls()
            .filter_map(|(id, call)| match call.state {
                CallState::Asking(question) => Some((question, id)),
                CallState::Ready
                | CallState::Running
                | CallState::Parked(_)
                | CallState::Finished => None,
            })
    }

    /// The calls that wait for their owner, in the order they were asked for.
    pub fn parked(&self) -> impl Iterator<Item = ParkedCall<'_>> {
        self.state
            .calls()
            .filter_map(|(id, call)| match call.state {
                CallState::Parked(reason) => Some(ParkedCall {
                    call: id,
                    reason,
                    server: call.server(),
                }),
                CallState::Ready
                | CallState::Asking(_)
                | CallState::Running
                | CallState::Finished => None,
            })
    }

    fn timer(&mut self, timer: TimerId) {
        if !self.take_timer(timer) {
            return;
        }
        match timer {
            TimerId::Retry(round) => self.retry_round(round),
            TimerId::CancelGrace => self.grace_over(),
            TimerId::Parked(call) => self.parked_too_long(call),
            TimerId::Question(question) => self.unanswered(question),
        }
    }

    /// Brings the turn as far as it can go without another input.
    fn advance(&mut self) {
        if !self.state.started || self.state.finished {
            return;
        }
        if let Some(by) = self.state.cancelling {
            self.finish_if_stopped(by);
            return;
        }
        if let Some(end) = self.state.end_due() {
            self.finish(end, None);
            return;
        }
        if self.live.toolbox.is_none() {
            // Nothing is begun before the catalogs are there: after a replay they are also the
            // sign that the turn's owner is back.
            if !mem::replace(&mut self.live.loading, true) {
                self.want(Effect::LoadCatalog);
            }
            return;
        }
        self.start_ready_calls();
        if self.state.calls_resolved() && !self.round_under_way() {
            self.next_round();
        }
    }

    fn finish(&mut self, end: TurnEnd, failure: Option<Failure>) {
        self.record(Event::TurnFinished { end, failure });
        self.clear_all_timers();
    }

    /// Adds to this input's record; the state follows.
    fn record(&mut self, event: Event) {
        self.state.apply(&event);
        self.out.events.push(event);
    }

    fn want(&mut self, effect: Effect) {
        self.out.effects.push(effect);
    }

    /// Says something about an input that changed nothing, unless enough was said.
    fn stray(&mut self, call: Option<CallId>, text: &str) {
        if self.live.notices < limits::STRAY_NOTICES {
            self.live.notices += 1;
            self.record(Event::Notice {
                call,
                text: text.to_owned(),
            });
        }
    }

    fn set_timer(&mut self, timer: TimerId, after: Duration) {
        if !self.live.timers.contains(&timer) {
            self.live.timers.push(timer);
        }
        self.want(Effect::SetTimer(timer, after));
    }

    /// Forgets a timer that ran out; whether it was set at all.
    fn take_timer(&mut self, timer: TimerId) -> bool {
        let before = self.live.timers.len();
        self.live.timers.retain(|set| *set != timer);
        self.live.timers.len() < before
    }

    fn clear_timer(&mut self, timer: TimerId) {
        if self.take_timer(timer) {
            self.want(Effect::ClearTimer(timer));
        }
    }

    fn clear_all_timers(&mut self) {
        for timer in mem::take(&mut self.live.timers) {
            self.want(Effect::ClearTimer(timer));
        }
    }
}

impl Out {
    fn take(&mut self) -> Vec<Effect> {
        let mut effects = Vec::with_capacity(self.effects.len() + 1);
        if !self.events.is_empty() {
            effects.push(Effect::Record(mem::take(&mut self.events)));
        }
        effects.append(&mut self.effects);
        effects
    }
}

#[cfg(test)]
mod tests;
