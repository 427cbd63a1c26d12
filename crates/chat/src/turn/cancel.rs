//! The ways a turn is stopped: somebody asked for it, or its log is lost.

use crate::{
    effect::Effect,
    event::{CancelBy, Event},
    ids::CallId,
    input::TimerId,
    limits,
    outcome::{Outcome, TurnEnd},
};

use super::{Turn, state::CallState};

/// What the model is told of a call that a cancel found before it ran.
pub(super) const NOT_RUN: &str = "Not run: the turn was stopped before the call could run.";

impl Turn {
    /// Stops the turn. What is with others (the model request, running calls) gets a grace; calls
    /// that are with nobody are cancelled at once. A second cancel changes nothing.
    pub(super) fn cancel(&mut self, by: CancelBy) {
        if self.state.cancelling.is_some() || !self.state.started {
            return;
        }
        self.record(Event::TurnCancelling { by });
        self.clear_all_timers();
        self.cancel_waiting_calls();
        self.abort_all();
        if self.something_out() {
            self.set_timer(TimerId::CancelGrace, limits::CANCEL_GRACE);
        }
    }

    /// Gives up what did not end in time.
    pub(super) fn grace_over(&mut self) {
        self.live.request = None;
        for call in self.calls_in(CallState::is_running) {
            self.end_call(
                call,
                Outcome::Unknown,
                Outcome::Unknown.text_for_model(),
                None,
            );
        }
    }

    /// Ends the turn once nothing of it is with others any more. The text of a round that was
    /// open stands.
    pub(super) fn finish_if_stopped(&mut self, by: CancelBy) {
        if !self.something_out() {
            let end = match by {
                CancelBy::User | CancelBy::Connection => TurnEnd::Cancelled,
                CancelBy::Recovery => TurnEnd::Interrupted,
            };
            self.finish(end, None);
        }
    }

    /// Cancels the calls that are with nobody: queued, asked about, or parked.
    pub(super) fn cancel_waiting_calls(&mut self) {
        for call in self.calls_in(CallState::is_waiting) {
            self.end_call(call, Outcome::Cancelled, NOT_RUN, None);
        }
    }

    /// Lets go of everything without a word in the log: it belongs to somebody else.
    pub(super) fn log_lost(&mut self) {
        self.live.lost = true;
        self.abort_all();
        self.clear_all_timers();
    }

    fn abort_all(&mut self) {
        if let Some(round) = self.live.request {
            self.want(Effect::AbortRound(round));
        }
        for call in self.calls_in(CallState::is_running) {
            self.want(Effect::CancelCall(call));
        }
    }

    fn something_out(&self) -> bool {
        self.live.request.is_some() || self.state.calls_running()
    }

    pub(super) fn calls_in(&self, wanted: fn(CallState) -> bool) -> Vec<CallId> {
        self.state
            .calls()
            .filter(|(_, call)| wanted(call.state))
            .map(|(id, _)| id)
            .collect()
    }
}
