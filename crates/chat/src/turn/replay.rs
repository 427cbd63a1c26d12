//! Recovery: a turn from the log that a killed or restarted process left.

use crate::{
    effect::Effect,
    event::{CancelBy, Event},
    ids::QuestionId,
    input::TimerId,
    limits::{self, TurnLimits},
    outcome::Outcome,
    request::Owner,
};

use super::{
    Turn,
    state::{CallState, RoundState},
};

impl Turn {
    /// The turn that wrote these events, and what is to be done for it to go on.
    ///
    /// If the log is a finished turn's, nothing. Otherwise first, as the only
    /// [`Effect::Record`], what the end of the process did to the turn: calls that were with their
    /// servers end `unknown`, an open round is discarded, and a turn that was being cancelled, or
    /// that belonged to a connection, ends. That is true whoever comes back, so it can be committed at once.
    ///
    /// Everything else waits for the turn's owner, and hangs on one effect,
    /// [`Effect::LoadCatalog`]: no call is started and no round is sent before its
    /// [`crate::input::Input::CatalogReady`]. Until then the turn takes every other input (an
    /// answer, a cancel) as always, so a driver can hold the effects back for as long as it likes
    /// and still stop the turn cleanly. Timers of parked calls and of questions begin anew.
    pub fn replay<'a>(
        limits: TurnLimits,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> (Self, Vec<Effect>) {
        let mut turn = Self::new(limits);
        for event in events {
            turn.state.apply(event);
        }
        if !turn.is_finished() {
            turn.recover();
            turn.advance();
        }
        let effects = turn.out.take();
        (turn, effects)
    }

    fn recover(&mut self) {
        for call in self.calls_in(CallState::is_running) {
            self.end_call(
                call,
                Outcome::Unknown,
                Outcome::Unknown.text_for_model(),
                None,
            );
        }
        if self.state.cancelling.is_some() {
            return;
        }
        match self.state.owner {
            Owner::Person => {}
            // The connection that it belonged to ended with the process: nobody will come back.
            Owner::Connection => return self.cancel(CancelBy::Recovery),
        }
        let open = self
            .state
            .round
            .as_ref()
            .filter(|round| round.state == RoundState::Open);
        if let Some(round) = open.map(|round| round.id) {
            self.record(Event::RoundDiscarded { round });
        }
        for call in self.calls_in(CallState::is_parked) {
            self.set_timer(TimerId::Parked(call), limits::PARKED);
        }
        let open: Vec<QuestionId> = self
            .open_questions()
            .map(|(question, _)| question)
            .collect();
        for question in open {
            self.set_timer(TimerId::Question(question), limits::QUESTION);
        }
    }
}
