//! What each event does to a transcript.

use crate::{
    event::{
        Answer, CallFinished, CallRequested, Delta, Event, Logged, Progress, ServerStateChanged,
    },
    failure::RoundFailure,
    ids::{CallId, QuestionId, RoundId},
    message::AssistantMessage,
    shape::facts::Facts,
    transcript::{CallItem, CallState, End, Item, RoundItem, RoundState, Touched, Transcript},
};

impl Transcript {
    /// The transcript of these events of one turn, from the first one on.
    pub fn fold<'a>(log: impl IntoIterator<Item = &'a Logged>) -> Self {
        let mut transcript = Self::default();
        for logged in log {
            transcript.apply(logged);
        }
        transcript
    }

    /// Applies the next event of the log and says what it changed.
    ///
    /// Only the event that follows the last one applied counts: one that was applied before, or
    /// that comes before its turn, changes nothing, not even [`Self::seq`].
    pub fn apply(&mut self, logged: &Logged) -> Touched {
        if logged.seq != self.seq.saturating_add(1) {
            return Touched::Nothing;
        }
        self.seq = logged.seq;
        let touched = self.event(&logged.event, logged.at);
        let first = self.first_of(logged);
        if touched == Touched::Nothing {
            first
        } else {
            touched
        }
    }

    /// Applies an event that is shown before it is in the log: a delta or progress. When the log
    /// brings it again, perhaps merged with others, [`Self::apply`] finds it done. Structural
    /// events ([`Event::is_structural`]) have to be in the log first and change nothing here.
    pub fn preview(&mut self, event: &Event) -> Touched {
        if event.is_structural() {
            return Touched::Nothing;
        }
        self.event(event, self.started_at)
    }

    fn event(&mut self, event: &Event, at: i64) -> Touched {
        match event {
            Event::TurnStarted(started) => {
                self.started = Some(started.clone());
                self.started_at = at;
                Touched::Turn
            }
            Event::ServerState(state) => self.server(state),
            Event::CatalogReady(ready) => {
                self.left_out.clone_from(&ready.left_out);
                Touched::Turn
            }
            Event::RoundStarted { round, attempt, .. } => {
                self.round_started((*round, *attempt), at)
            }
            Event::RoundRetrying {
                round,
                failure,
                after_ms,
            } => self.round(*round, |item| item.retry(failure.clone(), *after_ms)),
            Event::RoundDiscarded { round } => self.round(*round, |item| {
                item.discard();
                item.waits_since = Some(at);
            }),
            Event::ReasoningDelta(delta) => self.delta(delta, |item| &mut item.reasoning),
            Event::TextDelta(delta) => self.delta(delta, |item| &mut item.text),
            Event::RoundFinished {
                round,
                end,
                usage,
                message,
            } => self.round(*round, |item| {
                item.finish(message);
                item.state = RoundState::Finished { end: *end };
                item.usage = *usage;
                item.finished_at = Some(at);
            }),
            Event::CallRequested(requested) => self.call_requested(requested, at),
            Event::QuestionAsked { question, call } => self.open_call(*call, |item| {
                item.state = CallState::Asking {
                    question: *question,
                };
                item.waits_since = Some(at);
            }),
            Event::QuestionAnswered { question, answer } => self.answered(*question, answer, at),
            Event::CallStarted { call, .. } => self.open_call(*call, |item| {
                item.state = CallState::Running;
                item.started_at = Some(at);
                item.progress = None;
            }),
            Event::CallProgress(progress) => self.progress(progress),
            Event::CallParked { call, reason } => self.open_call(*call, |item| {
                item.state = CallState::Parked { reason: *reason };
                item.waits_since = Some(at);
            }),
            Event::CallResumed { call, .. } => self.open_call(*call, |item| {
                item.state = CallState::Requested;
                item.wait_no_more(at);
            }),
            Event::CallFinished(finished) => {
                self.open_call(finished.call, |item| item.finish(finished, at))
            }
            Event::Notice { call, text } => self.push(Item::Notice {
                call: *call,
                text: text.clone(),
            }),
            Event::TurnCancelling { by } => {
                self.cancelling = Some(*by);
                Touched::Turn
            }
            Event::TurnFinished { end, failure } => {
                self.end = Some(End {
                    end: *end,
                    failure: failure.clone(),
                    at,
                });
                self.break_rounds();
                Touched::Turn
            }
        }
    }

    fn push(&mut self, item: Item) -> Touched {
        self.items.push(item);
        Touched::Item(self.items.len().saturating_sub(1))
    }

    fn server(&mut self, state: &ServerStateChanged) -> Touched {
        match self
            .servers
            .iter_mut()
            .find(|known| known.server == state.server)
        {
            Some(known) => known.clone_from(state),
            None => self.servers.push(state.clone()),
        }
        Touched::Turn
    }

    /// Changes a round. The last item is looked at first: there it is while it is open.
    fn round(&mut self, round: RoundId, change: impl FnOnce(&mut RoundItem)) -> Touched {
        for (index, item) in self.items.iter_mut().enumerate().rev() {
            if let Item::Round(item) = item
                && item.round == round
            {
                change(item);
                return Touched::Item(index);
            }
        }
        Touched::Nothing
    }

    fn round_started(&mut self, (round, attempt): (RoundId, u32), at: i64) -> Touched {
        let again = self.round(round, |item| {
            item.discard();
            item.waited_ms = waited(item.waited_ms, item.waits_since.take(), at);
            item.attempt = attempt;
            item.state = RoundState::Open;
            item.started_at = at;
        });
        if again == Touched::Nothing {
            self.push(Item::Round(RoundItem::new((round, attempt), at)))
        } else {
            again
        }
    }

    fn delta(&mut self, delta: &Delta, field: fn(&mut RoundItem) -> &mut String) -> Touched {
        let mut grown = false;
        let touched = self.round(delta.round, |item| {
            grown = item.state == RoundState::Open && grow(field(item), delta);
        });
        if grown { touched } else { Touched::Nothing }
    }

    /// Notes when the first of a round's reasoning or text was in the log.
    fn first_of(&mut self, logged: &Logged) -> Touched {
        let (Event::ReasoningDelta(delta) | Event::TextDelta(delta)) = &logged.event else {
            return Touched::Nothing;
        };
        let mut is_first = false;
        let touched = self.round(delta.round, |item| {
            let first = if matches!(logged.event, Event::ReasoningDelta(_)) {
                &mut item.reasoning_at
            } else {
                &mut item.text_at
            };
            is_first = item.state == RoundState::Open && first.is_none();
            if is_first {
                *first = Some(logged.at);
            }
        });
        if is_first { touched } else { Touched::Nothing }
    }

    fn break_rounds(&mut self) {
        for item in &mut self.items {
            if let Item::Round(item) = item {
                match item.state {
                    RoundState::Open | RoundState::Retrying { .. } => {
                        item.state = RoundState::Broken;
                    }
                    RoundState::Finished { .. } | RoundState::Broken => {}
                }
            }
        }
    }

    fn call_requested(&mut self, requested: &CallRequested, at: i64) -> Touched {
        if self.item_index(&requested.call).is_some() {
            return Touched::Nothing;
        }
        let mut item = CallItem::new(requested, at);
        self.round(requested.round, |round| {
            let asked = round
                .calls
                .iter()
                .position(|call| call.id == requested.model_id);
            if let Some(asked) = asked {
                item.extras = round.calls.remove(asked).extras;
            }
        });
        self.push(Item::Call(item))
    }

    /// Changes a call that has no outcome yet; one that has keeps it, whatever comes.
    fn open_call(&mut self, call: CallId, change: impl FnOnce(&mut CallItem)) -> Touched {
        let Some(index) = self.item_index(&call) else {
            return Touched::Nothing;
        };
        match self.items.get_mut(index) {
            Some(Item::Call(item)) if !matches!(item.state, CallState::Finished { .. }) => {
                change(item);
                Touched::Item(index)
            }
            _ => Touched::Nothing,
        }
    }

    fn answered(&mut self, question: QuestionId, answer: &Answer, at: i64) -> Touched {
        let asking = CallState::Asking { question };
        let Some(call) = self
            .calls()
            .find(|item| item.state == asking)
            .map(|item| item.call)
        else {
            return Touched::Nothing;
        };
        self.open_call(call, |item| {
            item.state = CallState::Requested;
            item.answer = Some(answer.clone());
            item.wait_no_more(at);
        })
    }

    /// Progress only grows (MCP, progress): less than was shown is an older word that came late.
    fn progress(&mut self, progress: &Progress) -> Touched {
        let mut grown = false;
        let touched = self.open_call(progress.call, |item| {
            let known = item.progress.as_ref().map(|known| known.progress);
            grown = item.progress.as_ref() != Some(progress)
                && known.is_none_or(|known| known <= progress.progress);
            if grown {
                item.progress = Some(progress.clone());
            }
        });
        if grown { touched } else { Touched::Nothing }
    }
}

impl RoundItem {
    fn new((round, attempt): (RoundId, u32), at: i64) -> Self {
        Self {
            round,
            attempt,
            state: RoundState::Open,
            reasoning: String::new(),
            text: String::new(),
            extras: serde_json::Map::new(),
            calls: Vec::new(),
            usage: None,
            started_at: at,
            reasoning_at: None,
            text_at: None,
            finished_at: None,
            waits_since: None,
            waited_ms: 0,
        }
    }

    /// It waits for the model from now on, not for a person.
    fn retry(&mut self, failure: RoundFailure, after_ms: u64) {
        self.state = RoundState::Retrying { failure, after_ms };
        self.waits_since = None;
    }

    fn discard(&mut self) {
        self.reasoning.clear();
        self.text.clear();
        self.reasoning_at = None;
        self.text_at = None;
    }

    fn finish(&mut self, message: &AssistantMessage) {
        self.reasoning.clone_from(&message.reasoning);
        self.text.clone_from(&message.text);
        self.extras.clone_from(&message.extras);
        self.calls.clone_from(&message.calls);
    }
}

impl CallItem {
    fn new(requested: &CallRequested, at: i64) -> Self {
        Self {
            call: requested.call,
            round: requested.round,
            model_id: requested.model_id.clone(),
            function: requested.function.clone(),
            target: requested.target.clone(),
            arguments: requested.arguments.clone(),
            extras: serde_json::Map::new(),
            state: CallState::Requested,
            answer: None,
            progress: None,
            shown: String::new(),
            steps: Vec::new(),
            facts: Facts::default(),
            failure: None,
            requested_at: at,
            started_at: None,
            finished_at: None,
            waits_since: None,
            waited_ms: 0,
        }
    }

    fn wait_no_more(&mut self, at: i64) {
        self.waited_ms = waited(self.waited_ms, self.waits_since.take(), at);
    }

    fn finish(&mut self, finished: &CallFinished, at: i64) {
        self.state = CallState::Finished {
            outcome: finished.outcome,
        };
        self.shown.clone_from(&finished.result.shown);
        self.steps.clone_from(&finished.result.steps);
        self.facts.clone_from(&finished.result.facts);
        self.failure.clone_from(&finished.failure);
        self.finished_at = Some(at);
        self.wait_no_more(at);
    }
}

/// What was waited before, and from `since` until `until`. Clocks can go back.
fn waited(before: u64, since: Option<i64>, until: i64) -> u64 {
    let now = since.map_or(0, |since| until.saturating_sub(since));
    before.saturating_add(u64::try_from(now).unwrap_or_default())
}

/// Appends what of the delta is not there yet. A delta that starts past the end cannot be placed
/// and is left out; the whole text comes with `round.finished`.
fn grow(text: &mut String, delta: &Delta) -> bool {
    let known = text.len().checked_sub(delta.offset);
    match known.and_then(|known| delta.text.get(known..)) {
        None | Some("") => false,
        Some(new) => {
            text.push_str(new);
            true
        }
    }
}

#[cfg(test)]
mod tests;
