//! Events of turns in which everything happens.

use chat::{
    event::{
        Answer, CallFinished, CallRequested, Delta, Event, ParkReason, Progress, ServerState,
        ServerStateChanged, Target, TurnStarted,
    },
    failure::{Failure, Layer, Retry, RoundFailure},
    ids::{CallId, QuestionId, RoundId},
    message::{AssistantMessage, RoundEnd, ToolChoice},
    outcome::{Outcome, TurnEnd},
    shape::{CallResult, ShapeStep},
};
use serde_json::json;

pub(super) fn delta(round: u32, offset: usize, text: &str) -> Delta {
    Delta {
        round: RoundId(round),
        offset,
        text: text.to_owned(),
    }
}

pub(super) fn started() -> Event {
    Event::TurnStarted(TurnStarted {
        conversation: Some("c".into()),
        parent: None,
        message: "<b>Sales</b> by \"year\"?".to_owned(),
        request: None,
        model: "scripted".to_owned(),
        sid: "s".into(),
    })
}

pub(super) fn round_started(round: u32) -> Event {
    Event::RoundStarted {
        round: RoundId(round),
        attempt: 1,
        tool_choice: ToolChoice::Auto,
        catalogs: Vec::new(),
    }
}

pub(super) fn round_finished(round: u32, text: &str, end: RoundEnd) -> Event {
    Event::RoundFinished {
        round: RoundId(round),
        end,
        usage: None,
        message: AssistantMessage {
            text: text.to_owned(),
            reasoning: if round == 1 { "Again & again" } else { "" }.to_owned(),
            ..AssistantMessage::default()
        },
    }
}

pub(super) fn requested(call: u32) -> Event {
    Event::CallRequested(CallRequested {
        call: CallId(call),
        round: RoundId(1),
        model_id: format!("m{call}"),
        function: "db__write".to_owned(),
        target: Some(Target {
            server: "<db>".to_owned(),
            tool: "write</section>\u{202e}".to_owned(),
        }),
        arguments: "{\"query\": \"</code><script>alert(1)</script>\u{202e}\"}".to_owned(),
    })
}

pub(super) fn finished(call: u32, outcome: Outcome) -> Event {
    let failure = (outcome != Outcome::Ok).then(|| {
        Failure::new(Layer::Pomerium, "<i>no</i>", "Ask.").with_request_id(Some("id-1".to_owned()))
    });
    let result = CallResult {
        raw: json!({}),
        shown: "<script>rows</script>".to_owned(),
        steps: vec![
            ShapeStep::Truncated { from: 9, to: 3 },
            ShapeStep::Structured,
        ],
        ..CallResult::default()
    };
    Event::CallFinished(CallFinished {
        call: CallId(call),
        outcome,
        result,
        failure,
    })
}

pub(super) fn progress(done: f64) -> Event {
    Event::CallProgress(Progress {
        call: CallId(1),
        progress: done,
        total: Some(10.0),
        message: Some("<step>".to_owned()),
    })
}

pub(super) fn turn_finished(end: TurnEnd) -> Event {
    let failure = (end == TurnEnd::Failed)
        .then(|| Failure::new(Layer::Model, "the model <broke>", "Try again."));
    Event::TurnFinished { end, failure }
}

/// A turn in which everything happens.
pub(super) fn story() -> Vec<Event> {
    let unavailable = ServerStateChanged {
        server: "<down>".to_owned(),
        state: ServerState::Unavailable,
        failure: Some(Failure::new(Layer::Server, "refused", "Check it.")),
    };
    let retrying = Event::RoundRetrying {
        round: RoundId(1),
        failure: RoundFailure {
            failure: Failure::new(Layer::Model, "429", ""),
            retry: Retry::After(None),
        },
        after_ms: 1500,
    };
    let text = "I look.\n\n```sql\nSELECT 1\n```\n\n- a\n- b\n";
    vec![
        started(),
        Event::ServerState(unavailable),
        round_started(1),
        Event::ReasoningDelta(delta(1, 0, "Let me <think>")),
        Event::TextDelta(delta(1, 0, "Wrong ")),
        retrying,
        Event::RoundDiscarded { round: RoundId(1) },
        round_started(1),
        Event::ReasoningDelta(delta(1, 0, "Again & ")),
        Event::ReasoningDelta(delta(1, 8, "again")),
        Event::TextDelta(delta(1, 0, &text[..4])),
        Event::TextDelta(delta(1, 4, &text[4..20])),
        Event::TextDelta(delta(1, 20, &text[20..28])),
        Event::TextDelta(delta(1, 28, &text[28..])),
        round_finished(1, text, RoundEnd::Calls),
        requested(1),
        Event::QuestionAsked {
            question: QuestionId(1),
            call: CallId(1),
        },
        requested(2),
        Event::QuestionAnswered {
            question: QuestionId(1),
            answer: Answer::Approve,
        },
        Event::CallStarted {
            call: CallId(1),
            attempt: 1,
        },
        progress(1.0),
        progress(4.0),
        Event::CallParked {
            call: CallId(2),
            reason: ParkReason::StaleToken,
        },
        finished(1, Outcome::Ok),
        Event::CallResumed {
            call: CallId(2),
            sid: None,
        },
        Event::Notice {
            call: Some(CallId(2)),
            text: "<odd>".to_owned(),
        },
        finished(2, Outcome::Unknown),
        round_started(2),
        Event::TextDelta(delta(2, 0, "Done")),
        round_finished(2, "Done.", RoundEnd::Stop),
        turn_finished(TurnEnd::Answered),
    ]
}
