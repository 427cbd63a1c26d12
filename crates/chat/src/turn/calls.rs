//! Calls: asked for, approved, started, refused, parked, ended.

use std::collections::BTreeMap;

use crate::{
    effect::Effect,
    event::{Answer, CallFinished, CallRequested, Event, ParkReason},
    failure::{Failure, Layer},
    ids::{CallId, QuestionId, Sid},
    input::{Refusal, TimerId},
    limits,
    message::ToolChoice,
    outcome::Outcome,
    policy::Policy,
    request::Owner,
    shape::CallResult,
};

use super::{
    Turn,
    check::Plan,
    state::{CallState, State},
};

const TURN_LIMIT: &str =
    "Not run: this turn may make no more calls. Answer with what you have and say what is missing.";
const ROUND_LIMIT: &str = "Not run: too many calls at once. Ask again for those that are still \
                           needed, fewer at once.";
const UNANSWERED: &str = "Not run: nobody answered within 24 hours whether it may run. Do not try \
                          it again unless the user asks.";
const REFUSED_LATE: &str = "The server took the call and then refused it. It may have had an \
                            effect; check before repeating it.";

impl Turn {
    /// Records the calls of a round, with the outcome of those that will not run and the questions
    /// about those that a person decides on.
    pub(super) fn request_calls(&mut self, calls: Vec<CallRequested>, tool_choice: ToolChoice) {
        for (place, requested) in calls.into_iter().enumerate() {
            let call = requested.call;
            self.record(Event::CallRequested(requested));
            if tool_choice == ToolChoice::None || call.0 > self.limits.calls {
                self.end_call(call, Outcome::Limit, TURN_LIMIT, None);
            } else if place >= limits::CALLS_PER_ROUND {
                self.end_call(call, Outcome::Limit, ROUND_LIMIT, None);
            } else {
                self.ask_or_refuse(call);
            }
        }
        if self.state.cancelling.is_some() {
            self.cancel_waiting_calls();
        }
    }

    /// Starts the calls that may run, as far as there are slots, in the order they were asked for.
    pub(super) fn start_ready_calls(&mut self) {
        for call in startable(&self.state) {
            match self.state.call(call).and_then(|ready| ready.plan.as_ref()) {
                Some(Plan::Run { .. }) => self.start_call(call),
                // Only after a replay, by a version that checks more strictly.
                Some(Plan::Refuse { .. }) => self.ask_or_refuse(call),
                None => {}
            }
        }
    }

    pub(super) fn call_accepted(&mut self, call: CallId) {
        match self.call_state(call) {
            Some(CallState::Running) => {
                self.live.accepted.insert(call);
            }
            Some(CallState::Finished) => self.stray_for_finished(call),
            Some(CallState::Ready | CallState::Asking(_) | CallState::Parked(_)) | None => {}
        }
    }

    pub(super) fn call_refused(&mut self, call: CallId, refusal: Refusal, failure: Failure) {
        match self.call_state(call) {
            // It is the call's last word all the same, and no proof that nothing ran.
            Some(CallState::Running) if self.live.accepted.contains(&call) => {
                self.end_call(call, Outcome::ProtocolError, REFUSED_LATE, Some(failure));
            }
            Some(CallState::Running) if self.state.cancelling.is_some() => {
                self.end_call(call, Outcome::Cancelled, super::cancel::NOT_RUN, None);
            }
            Some(CallState::Running) => self.take_refusal(call, refusal, failure),
            Some(CallState::Finished) => self.stray_for_finished(call),
            Some(CallState::Ready | CallState::Asking(_) | CallState::Parked(_)) | None => {}
        }
    }

    pub(super) fn call_ended(
        &mut self,
        call: CallId,
        outcome: Outcome,
        result: CallResult,
        failure: Option<Failure>,
    ) {
        match self.call_state(call) {
            Some(CallState::Running) => self.finish_call(call, outcome, result, failure),
            Some(CallState::Finished) => self.stray_for_finished(call),
            Some(CallState::Ready | CallState::Asking(_) | CallState::Parked(_)) | None => {}
        }
    }

    /// What parked calls wait for has come: they are ready again.
    pub(super) fn unparked(&mut self, reason: ParkReason, server: Option<&str>, sid: Option<&Sid>) {
        let matching: Vec<CallId> = self
            .parked()
            .filter(|parked| parked.reason == reason)
            .filter(|parked| server.is_none_or(|server| server == parked.server))
            .map(|parked| parked.call)
            .collect();
        for call in matching {
            self.live.refusals.remove(&call);
            self.record(Event::CallResumed {
                call,
                sid: sid.cloned(),
            });
            self.clear_timer(TimerId::Parked(call));
        }
    }

    pub(super) fn parked_too_long(&mut self, call: CallId) {
        let Some(CallState::Parked(reason)) = self.call_state(call) else {
            return;
        };
        let failure = self
            .live
            .refusals
            .remove(&call)
            .unwrap_or_else(|| waited_in_vain(reason));
        self.end_unmended(call, reason, failure);
    }

    pub(super) fn answered(&mut self, question: QuestionId, answer: Answer) {
        let Some(call) = self.asking(question) else {
            self.stray(
                None,
                "An answer came for a question that is not open any more.",
            );
            return;
        };
        let (answer, denied) = match answer {
            Answer::Approve => (Answer::Approve, None),
            Answer::Deny { reason } => {
                let reason = limits::clip(reason, limits::DENY_REASON_BYTES);
                let text = denied_text(&reason);
                (Answer::Deny { reason }, Some(text))
            }
        };
        self.record(Event::QuestionAnswered { question, answer });
        self.clear_timer(TimerId::Question(question));
        if let Some(text) = denied {
            self.end_call(call, Outcome::DeniedByUser, text, None);
        }
    }

    /// Nobody answered a question in time.
    pub(super) fn unanswered(&mut self, question: QuestionId) {
        if let Some(call) = self.asking(question) {
            self.end_call(call, Outcome::DeniedByUser, UNANSWERED, None);
        }
    }

    /// Ends a call with words of ours: nothing of the server's is there to show.
    pub(super) fn end_call(
        &mut self,
        call: CallId,
        outcome: Outcome,
        text: impl Into<String>,
        failure: Option<Failure>,
    ) {
        self.finish_call(call, outcome, CallResult::text(text), failure);
    }

    fn finish_call(
        &mut self,
        call: CallId,
        outcome: Outcome,
        result: CallResult,
        failure: Option<Failure>,
    ) {
        self.live.accepted.remove(&call);
        self.live.refusals.remove(&call);
        self.record(Event::CallFinished(CallFinished {
            call,
            outcome,
            result,
            failure,
        }));
    }

    fn ask_or_refuse(&mut self, call: CallId) {
        match self.state.call(call).and_then(|asked| asked.plan.as_ref()) {
            Some(Plan::Refuse { outcome, text }) => {
                let (outcome, text) = (*outcome, text.clone());
                self.end_call(call, outcome, text, None);
            }
            Some(Plan::Run {
                policy: Policy::Ask,
                ..
            }) if self.state.owner == Owner::Connection => {
                let outcome = Outcome::ApprovalRequired;
                self.end_call(call, outcome, outcome.text_for_model(), None);
            }
            Some(Plan::Run {
                policy: Policy::Ask,
                ..
            }) => {
                let question = QuestionId(self.state.questions + 1);
                self.record(Event::QuestionAsked { question, call });
                // A turn that is being stopped takes the question back at once.
                if self.state.cancelling.is_none() {
                    self.set_timer(TimerId::Question(question), limits::QUESTION);
                }
            }
            Some(Plan::Run {
                policy: Policy::Allow,
                ..
            })
            | None => {}
        }
    }

    fn start_call(&mut self, call: CallId) {
        let Some(ready) = self.state.call(call) else {
            return;
        };
        let (Some(target), Some(Plan::Run { arguments, .. })) = (&ready.target, &ready.plan) else {
            return;
        };
        let (target, arguments) = (target.clone(), arguments.clone());
        let attempt = ready.starts + 1;
        self.record(Event::CallStarted { call, attempt });
        self.want(Effect::StartCall {
            call,
            target,
            arguments,
        });
    }

    /// A refusal of a call that was started and not accepted: it certainly did not run.
    fn take_refusal(&mut self, call: CallId, refusal: Refusal, failure: Failure) {
        match refusal {
            Refusal::StaleToken => self.park(call, ParkReason::StaleToken, failure),
            Refusal::NeedsConnect => match self.state.owner {
                Owner::Person => self.park(call, ParkReason::NeedsConnect, failure),
                Owner::Connection => self.end_unconnected(call, failure),
            },
            Refusal::Denied => {
                let outcome = Outcome::DeniedByPolicy;
                self.end_call(call, outcome, outcome.text_for_model(), Some(failure));
            }
            Refusal::TooLarge => {
                let text = format!("Not run: {}. Call again with less.", failure.message);
                self.end_call(call, Outcome::Limit, &text, Some(failure));
            }
            Refusal::SessionGone | Refusal::HeaderMismatch => self.restart(call, refusal, failure),
        }
    }

    fn park(&mut self, call: CallId, reason: ParkReason, failure: Failure) {
        if self
            .state
            .call(call)
            .is_some_and(|refused| refused.parkings < limits::PARKINGS)
        {
            self.live.refusals.insert(call, failure);
            self.record(Event::CallParked { call, reason });
            let patience = match self.state.owner {
                Owner::Person => limits::PARKED,
                Owner::Connection => self.limits.parked_api,
            };
            self.set_timer(TimerId::Parked(call), patience);
        } else {
            self.end_unmended(call, reason, failure);
        }
    }

    fn end_unmended(&mut self, call: CallId, reason: ParkReason, failure: Failure) {
        let outcome = match reason {
            ParkReason::StaleToken => Outcome::TokenExpired,
            ParkReason::NeedsConnect => Outcome::NeedsConnect,
        };
        self.end_call(call, outcome, outcome.text_for_model(), Some(failure));
    }

    /// Nobody is there to connect the account: the model is told where the user can.
    fn end_unconnected(&mut self, call: CallId, failure: Failure) {
        let outcome = Outcome::NeedsConnect;
        let text = format!("{} {}", outcome.text_for_model(), failure.advice);
        self.end_call(call, outcome, text.trim_end(), Some(failure));
    }

    /// Starts the call once more, in its slot; after that the refusal is its end.
    fn restart(&mut self, call: CallId, refusal: Refusal, failure: Failure) {
        if self
            .state
            .call(call)
            .is_some_and(|refused| refused.restarts < limits::RESTARTS)
        {
            self.start_call(call);
        } else if refusal == Refusal::SessionGone {
            let outcome = Outcome::Unavailable;
            self.end_call(call, outcome, outcome.text_for_model(), Some(failure));
        } else {
            let text = "Not run: the server refuses this tool's calls as malformed. \
                        Do without the tool.";
            self.end_call(call, Outcome::ProtocolError, text, Some(failure));
        }
    }

    /// The call that waits for the answer to an open question.
    fn asking(&self, question: QuestionId) -> Option<CallId> {
        self.open_questions()
            .find(|(open, _)| *open == question)
            .map(|(_, call)| call)
    }

    fn call_state(&self, call: CallId) -> Option<CallState> {
        self.state.call(call).map(|call| call.state)
    }

    fn stray_for_finished(&mut self, call: CallId) {
        self.stray(
            Some(call),
            "An answer came for a call that had already ended.",
        );
    }
}

/// The ready calls for which there are slots.
fn startable(state: &State) -> Vec<CallId> {
    let mut running = 0;
    let mut by_server: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, call) in state
        .calls()
        .filter(|(_, call)| call.state == CallState::Running)
    {
        running += 1;
        *by_server.entry(call.server()).or_default() += 1;
    }
    let mut start = Vec::new();
    for (id, call) in state
        .calls()
        .filter(|(_, call)| call.state == CallState::Ready)
    {
        let here = by_server.entry(call.server()).or_default();
        if running < limits::CALLS_AT_ONCE && *here < limits::CALLS_AT_ONCE_PER_SERVER {
            running += 1;
            *here += 1;
            start.push(id);
        }
    }
    start
}

fn denied_text(reason: &str) -> String {
    let said = Outcome::DeniedByUser.text_for_model();
    match reason.trim() {
        "" => said.to_owned(),
        reason => format!("{said} The user's reason: {reason}"),
    }
}

/// The failure of a call whose refusal nobody remembers: it was parked before a restart.
fn waited_in_vain(reason: ParkReason) -> Failure {
    match reason {
        ParkReason::StaleToken => Failure::new(
            Layer::Pomerium,
            "No newer session token came while the call waited for one.",
            "Open the page again, then run the call again.",
        ),
        ParkReason::NeedsConnect => Failure::new(
            Layer::Server,
            "The account was not connected while the call waited for it.",
            "Connect your account to the server, then run the call again.",
        ),
    }
}
