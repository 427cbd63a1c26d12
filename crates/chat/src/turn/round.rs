//! Model rounds: sent, answered, failed, sent again.

use std::{mem, sync::Arc, time::Duration};

use crate::{
    effect::Effect,
    event::{CallRequested, Event},
    failure::{Retry, RoundFailure},
    ids::{CallId, RoundId},
    input::{Partial, TimerId},
    limits,
    message::{AssistantMessage, RoundEnd, ToolChoice, Usage},
    outcome::TurnEnd,
};

use super::{
    Turn,
    state::{Round, RoundState},
};

impl Turn {
    /// Whether a request is out or waits to be sent again.
    pub(super) fn round_under_way(&self) -> bool {
        self.live.request.is_some()
            || self
                .live
                .timers
                .iter()
                .any(|timer| matches!(timer, TimerId::Retry(_)))
    }

    /// Sends the round that is due: the next one, or after a replay the one that was not
    /// finished. The newest catalogs count from here.
    pub(super) fn next_round(&mut self) {
        self.adopt_catalogs();
        let (round, attempt, tool_choice) = match &self.state.round {
            None => (RoundId(1), 1, self.tool_choice(RoundId(1))),
            Some(last) => match last.state {
                RoundState::Finished(_) => {
                    let next = RoundId(last.id.0 + 1);
                    (next, 1, self.tool_choice(next))
                }
                RoundState::Open | RoundState::Discarded | RoundState::Retrying => {
                    (last.id, last.attempt + 1, last.tool_choice)
                }
            },
        };
        self.send_round(round, attempt, tool_choice);
    }

    /// The round's timer ran out: the same request again, with the same functions.
    pub(super) fn retry_round(&mut self, round: RoundId) {
        if let Some(last) = self.state.round.as_ref().filter(|last| last.id == round) {
            let (attempt, tool_choice) = (last.attempt + 1, last.tool_choice);
            self.send_round(round, attempt, tool_choice);
        }
    }

    pub(super) fn round_ended(
        &mut self,
        round: RoundId,
        end: RoundEnd,
        usage: Option<Usage>,
        mut message: AssistantMessage,
    ) {
        let Some(tool_choice) = self.answered_request(round).map(|open| open.tool_choice) else {
            return;
        };
        self.live.request = None;
        let cut = cut_calls(end, &mut message);
        let notice = notice_about(end, cut, &message);
        let requested = self.number_calls(round, &message);
        self.record(Event::RoundFinished {
            round,
            end,
            usage,
            message,
        });
        if let Some(text) = notice {
            self.record(Event::Notice {
                call: None,
                text: text.to_owned(),
            });
        }
        self.request_calls(requested, tool_choice);
    }

    /// A round failed. [`Retry::Aborted`] means that it was ended on purpose: that stops a turn
    /// that is being cancelled, and is for good for any other.
    pub(super) fn round_failed(&mut self, round: RoundId, failure: RoundFailure, partial: Partial) {
        let Some(open) = self.answered_request(round) else {
            return;
        };
        let (retries, cuts) = (open.retries, open.cuts);
        self.live.request = None;
        if self.state.cancelling.is_some() {
            return;
        }
        let again = match (failure.retry, partial) {
            (Retry::Never | Retry::Aborted, _) => None,
            (Retry::After(_), _) if retries >= limits::ROUND_RETRIES => None,
            // What was shown is taken back from the reader: once is enough.
            (Retry::After(_), Partial::Shown) if cuts > 0 => None,
            (Retry::After(wait), Partial::Nothing | Partial::Shown) => Some(backoff(wait, retries)),
        };
        let Some(after) = again else {
            self.finish(TurnEnd::Failed, Some(failure.failure));
            return;
        };
        match partial {
            Partial::Nothing => {}
            Partial::Shown => self.record(Event::RoundDiscarded { round }),
        }
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.record(Event::RoundRetrying {
            round,
            failure,
            after_ms,
        });
        self.set_timer(TimerId::Retry(round), after);
    }

    fn send_round(&mut self, round: RoundId, attempt: u32, tool_choice: ToolChoice) {
        let Some(toolbox) = self.state.toolbox.clone() else {
            return;
        };
        let catalogs = toolbox
            .catalogs
            .iter()
            .map(|catalog| catalog.hash.clone())
            .collect();
        self.record(Event::RoundStarted {
            round,
            attempt,
            tool_choice,
            catalogs,
        });
        self.live.request = Some(round);
        self.want(Effect::SendRound {
            round,
            toolbox,
            tool_choice,
        });
    }

    /// Records the newest functions, unless they are what the last round was offered.
    fn adopt_catalogs(&mut self) {
        let Some(newest) = &self.live.toolbox else {
            return;
        };
        if self.state.toolbox.as_ref() != Some(newest) {
            let newest = Arc::clone(newest);
            self.out.events.push(Event::CatalogReady(newest.to_event()));
            self.state.offer(newest);
        }
    }

    fn tool_choice(&self, round: RoundId) -> ToolChoice {
        if round.0 >= self.limits.rounds || self.state.call_count() >= self.limits.calls {
            ToolChoice::None
        } else {
            ToolChoice::Auto
        }
    }

    /// The round, if it is the one whose request is out.
    fn answered_request(&self, round: RoundId) -> Option<&Round> {
        let out = self.live.request == Some(round);
        self.state
            .round
            .as_ref()
            .filter(|open| out && open.id == round)
    }

    fn number_calls(&self, round: RoundId, message: &AssistantMessage) -> Vec<CallRequested> {
        let toolbox = self.state.toolbox.as_deref();
        let numbers = (self.state.call_count() + 1..).map(CallId);
        numbers
            .zip(&message.calls)
            .map(|(call, asked)| CallRequested {
                call,
                round,
                model_id: asked.id.clone(),
                function: asked.name.clone(),
                target: toolbox
                    .and_then(|toolbox| toolbox.function(&asked.name))
                    .map(|function| function.target.clone()),
                arguments: asked.arguments.clone(),
            })
            .collect()
    }
}

/// Takes the calls out of a message that was cut: nobody knows whether they are whole, and a call
/// in a recorded message needs an outcome. Returns how many there were.
fn cut_calls(end: RoundEnd, message: &mut AssistantMessage) -> usize {
    match end {
        RoundEnd::Stop | RoundEnd::Calls => 0,
        RoundEnd::Length | RoundEnd::Filtered => mem::take(&mut message.calls).len(),
    }
}

/// What a person is told about an answer that is not whole.
fn notice_about(end: RoundEnd, cut: usize, message: &AssistantMessage) -> Option<&'static str> {
    match (end, cut) {
        (RoundEnd::Length, 0) => Some("The model endpoint's token limit cut the answer off."),
        (RoundEnd::Length, _) => Some(
            "The model endpoint's token limit cut the answer off; the calls in it were not run.",
        ),
        (RoundEnd::Filtered, 0) => Some("The model endpoint's content filter cut the answer off."),
        (RoundEnd::Filtered, _) => Some(
            "The model endpoint's content filter cut the answer off; the calls in it were not run.",
        ),
        (RoundEnd::Stop | RoundEnd::Calls, _)
            if message.text.is_empty() && message.calls.is_empty() =>
        {
            Some("The model ended its answer without saying anything.")
        }
        (RoundEnd::Stop | RoundEnd::Calls, _) => None,
    }
}

/// The wait before a round is sent again: what the endpoint asks for, within reason, or longer
/// each time.
fn backoff(asked_ms: Option<u64>, retries: u32) -> Duration {
    let wait = asked_ms.map_or_else(
        || limits::ROUND_RETRY_AFTER.saturating_mul(2_u32.saturating_pow(retries)),
        Duration::from_millis,
    );
    wait.min(limits::ROUND_RETRY_CAP)
}
