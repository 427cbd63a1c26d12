//! Conversations with the engine, told as text: what goes in, and what comes out.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the few events and effects that it is about"
)]

mod api;
mod calls;
mod cancel;
mod property;
mod recovery;
mod rounds;
mod world;

use std::sync::Arc;

use serde_json::json;

use crate::{
    event::{Answer, CancelBy, ParkReason, TurnStarted},
    failure::{Failure, Layer, Retry, RoundFailure},
    input::{Partial, Refusal},
    message::{AssistantMessage, ModelCall, RoundEnd, ToolChoice},
    outcome::Outcome,
    policy::Policy,
    request::{ApiRequest, Owner},
    shape::CallResult,
    tool::{Catalog, Hints, Tool},
};

use super::*;

/// A turn with the log it has written so far.
struct Conversation {
    turn: Turn,
    log: Vec<Event>,
}

impl Conversation {
    /// A turn whose first round is out.
    fn asking() -> Self {
        Self::asking_within(TurnLimits::default())
    }

    fn asking_within(limits: TurnLimits) -> Self {
        Self::of(Owner::Person, limits)
    }

    fn of(owner: Owner, limits: TurnLimits) -> Self {
        let mut conversation = Self {
            turn: Turn::new(limits),
            log: vec![],
        };
        let started = started_by(owner);
        conversation.log.push(Event::TurnStarted(started.clone()));
        conversation.turn.on(Input::Start(started));
        conversation.on(Input::CatalogReady(toolbox()));
        conversation
    }

    /// An API turn whose first round asked for these calls.
    fn api(calls: &[&str]) -> Self {
        let mut conversation = Self::of(Owner::Connection, TurnLimits::default());
        conversation.on(calls_for(1, calls));
        conversation
    }

    /// A turn whose first round asked for these calls.
    fn calling(calls: &[&str]) -> Self {
        let mut conversation = Self::asking();
        conversation.on(calls_for(1, calls));
        conversation
    }

    fn on(&mut self, input: Input) -> String {
        let effects = self.turn.on(input);
        self.take(&effects)
    }

    /// All of them, one after the other, as one text.
    fn all(&mut self, inputs: impl IntoIterator<Item = Input>) -> String {
        let told: Vec<String> = inputs.into_iter().map(|input| self.on(input)).collect();
        told.into_iter()
            .filter(|told| !told.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The process dies and another one replays the log.
    fn crash(&mut self) -> String {
        let (turn, effects) = Turn::replay(self.turn.limits, &self.log);
        self.turn = turn;
        self.take(&effects)
    }

    fn take(&mut self, effects: &[Effect]) -> String {
        for effect in effects {
            if let Effect::Record(events) = effect {
                self.log.extend(events.iter().cloned());
            }
        }
        effects.iter().map(told).collect::<Vec<_>>().join("\n")
    }

    /// What the model and the person get to know about a call.
    fn finished(&self, call: u32) -> &crate::event::CallFinished {
        let finished = self.log.iter().find_map(|event| match event {
            Event::CallFinished(finished) if finished.call == CallId(call) => Some(finished),
            _ => None,
        });
        finished.expect("the call has an outcome")
    }

    fn notices(&self) -> Vec<&str> {
        let notices = self.log.iter().filter_map(|event| match event {
            Event::Notice { text, .. } => Some(text.as_str()),
            _ => None,
        });
        notices.collect()
    }
}

/// Compares line by line; how a text is indented does not matter.
#[track_caller]
fn is(told: &str, expected: &str) {
    let lines: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), lines, "\n{told}\n");
}

fn started() -> TurnStarted {
    started_by(Owner::Person)
}

fn started_by(owner: Owner) -> TurnStarted {
    let message = "What were our sales by year?";
    let (conversation, request) = match owner {
        Owner::Person => (Some("c".into()), None),
        Owner::Connection => {
            let messages = json!([{ "role": "user", "content": message }]);
            let request = ApiRequest {
                messages: serde_json::from_value(messages).unwrap(),
                parameters: serde_json::Map::new(),
                tool_choice: ToolChoice::Auto,
            };
            (None, Some(Arc::new(request)))
        }
    };
    TurnStarted {
        conversation,
        parent: None,
        message: message.into(),
        request,
        model: "m".into(),
        sid: "s".into(),
    }
}

/// Three servers with a tool that just runs (`free`) and one that is asked about (`asked`).
fn toolbox() -> Arc<Toolbox> {
    offering(&["alpha", "beta", "gamma"])
}

fn offering(servers: &[&str]) -> Arc<Toolbox> {
    let catalogs = servers.iter().map(|server| {
        let tools = ["free", "asked"].map(tool).to_vec();
        Arc::new(Catalog::new(*server, tools, vec![]))
    });
    let policy = |target: &crate::event::Target, _: Hints| match target.tool.as_str() {
        "asked" => Policy::Ask,
        _ => Policy::Allow,
    };
    Arc::new(Toolbox::assemble(catalogs.collect(), policy))
}

fn tool(name: &str) -> Tool {
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
    Tool {
        name: name.into(),
        title: None,
        description: None,
        input_schema: schema.as_object().unwrap().clone(),
        output_schema: None,
        hints: Hints::default(),
    }
}

fn answer(round: u32, end: RoundEnd, text: &str) -> Input {
    let message = AssistantMessage {
        text: text.into(),
        ..AssistantMessage::default()
    };
    Input::RoundEnded {
        round: RoundId(round),
        end,
        usage: None,
        message,
    }
}

fn calls_for(round: u32, functions: &[&str]) -> Input {
    let message = message_for(round, functions);
    Input::RoundEnded {
        round: RoundId(round),
        end: RoundEnd::Calls,
        usage: None,
        message,
    }
}

/// A message that asks for functions; `name!` has arguments that do not fit, `name{` none that are
/// JSON.
fn message_for(round: u32, functions: &[&str]) -> AssistantMessage {
    let calls = functions
        .iter()
        .enumerate()
        .map(|(place, function)| ModelCall {
            id: format!("id{round}-{place}"),
            name: function.trim_end_matches(['!', '{']).into(),
            arguments: match function.chars().last() {
                Some('!') => r#"{"n":"x"}"#.into(),
                Some('{') => "{".into(),
                _ => r#"{"n":1}"#.into(),
            },
            extras: serde_json::Map::new(),
        });
    AssistantMessage {
        calls: calls.collect(),
        ..AssistantMessage::default()
    }
}

fn fails(round: u32, retry: Retry, partial: Partial) -> Input {
    let failure = RoundFailure {
        failure: failure(Layer::Model),
        retry,
    };
    Input::RoundFailed {
        round: RoundId(round),
        failure,
        partial,
    }
}

fn accepted(call: u32) -> Input {
    Input::CallAccepted { call: CallId(call) }
}

fn refused(call: u32, refusal: Refusal) -> Input {
    Input::CallRefused {
        call: CallId(call),
        refusal,
        failure: failure(Layer::Pomerium),
    }
}

fn ended(call: u32, outcome: Outcome) -> Input {
    let result = CallResult::text("from the server");
    Input::CallEnded {
        call: CallId(call),
        outcome,
        result,
        failure: None,
    }
}

fn approve(question: u32) -> Input {
    Input::Answered {
        question: QuestionId(question),
        answer: Answer::Approve,
    }
}

fn deny(question: u32, reason: &str) -> Input {
    let answer = Answer::Deny {
        reason: reason.into(),
    };
    Input::Answered {
        question: QuestionId(question),
        answer,
    }
}

fn unparked(reason: ParkReason, server: Option<&str>) -> Input {
    Input::Unparked {
        reason,
        server: server.map(Into::into),
        sid: None,
    }
}

fn timer_parked(call: u32) -> Input {
    Input::Timer(TimerId::Parked(CallId(call)))
}

fn failure(layer: Layer) -> Failure {
    Failure::new(layer, "It went wrong.", "Mend it.")
}

fn told(effect: &Effect) -> String {
    match effect {
        Effect::Record(events) => {
            let events: Vec<String> = events.iter().map(told_event).collect();
            format!("record {}", events.join(", "))
        }
        Effect::LoadCatalog => "load catalog".into(),
        Effect::SendRound {
            round, tool_choice, ..
        } => {
            format!("send round {round} {}", choice(*tool_choice))
        }
        Effect::AbortRound(round) => format!("abort round {round}"),
        Effect::StartCall {
            call,
            target,
            arguments,
        } => {
            let arguments = serde_json::to_string(arguments).unwrap();
            format!(
                "start call {call}: {}.{} {arguments}",
                target.server, target.tool
            )
        }
        Effect::CancelCall(call) => format!("cancel call {call}"),
        Effect::SetTimer(timer, after) => format!("set timer {timer:?} {after:?}"),
        Effect::ClearTimer(timer) => format!("clear timer {timer:?}"),
    }
}

fn told_event(event: &Event) -> String {
    let name = event.name();
    match event {
        Event::RoundStarted {
            round,
            attempt,
            tool_choice,
            ..
        } => {
            format!("{name} {round}.{attempt} {}", choice(*tool_choice))
        }
        Event::RoundRetrying {
            round, after_ms, ..
        } => format!("{name} {round} {after_ms}ms"),
        Event::RoundDiscarded { round } => format!("{name} {round}"),
        Event::RoundFinished { round, end, .. } => format!("{name} {round} {}", word(end)),
        Event::CallRequested(requested) => format!("{name} {}", requested.call),
        Event::QuestionAsked { question, call } => format!("{name} {question} of {call}"),
        Event::QuestionAnswered { question, .. } => format!("{name} {question}"),
        Event::CallStarted { call, attempt } => format!("{name} {call}.{attempt}"),
        Event::CallParked { call, reason } => format!("{name} {call} {}", word(reason)),
        Event::CallResumed { call, sid: None } => format!("{name} {call}"),
        Event::CallResumed {
            call,
            sid: Some(sid),
        } => format!("{name} {call} {sid}"),
        Event::CallFinished(finished) => {
            format!("{name} {} {}", finished.call, word(&finished.outcome))
        }
        Event::TurnCancelling { by } => format!("{name} {}", word(by)),
        Event::TurnFinished { end, .. } => format!("{name} {}", word(end)),
        _ => name.into(),
    }
}

fn choice(tool_choice: ToolChoice) -> &'static str {
    match tool_choice {
        ToolChoice::Auto => "auto",
        ToolChoice::None => "none",
    }
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .unwrap()
        .as_str()
        .unwrap()
        .into()
}
