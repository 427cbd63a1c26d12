//! The answer to a request: a chat completion, or what went wrong.

use axum::http::StatusCode;
use chat::{
    failure::{Failure, Layer},
    message::{RoundEnd, Usage},
    outcome::TurnEnd,
    transcript::{End, Item, RoundState, Transcript},
};
use serde_json::{Value, json};

use super::said;
use crate::{error::Problem, live::View, turns::OwnedTurn};

/// How a turn came out, for the program that asked.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The chat completion.
    Answered(Value),
    /// Why there is none.
    Failed(Problem),
}

/// The outcome of a turn that has ended, or whose driver has let go of it.
pub(super) fn outcome(turn: &OwnedTurn, view: &View) -> Outcome {
    if let Some(problem) = problem(turn, view) {
        return Outcome::Failed(problem);
    }
    let transcript = &view.transcript;
    let mut completion = json!({
        "id": id(turn),
        "object": "chat.completion",
        "created": created(turn),
        "model": turn.model,
        "choices": [{
            "index": 0,
            "message": {
                "role": "assistant",
                "content": said::all(transcript),
                "refusal": null,
            },
            "logprobs": null,
            "finish_reason": finish_reason(transcript),
        }],
    });
    if let (Some(usage), Some(completion)) = (usage(transcript), completion.as_object_mut()) {
        completion.insert("usage".to_owned(), usage);
    }
    Outcome::Answered(completion)
}

/// Why the turn has no answer, if that is so.
pub(super) fn problem(turn: &OwnedTurn, view: &View) -> Option<Problem> {
    let problem = match &view.transcript.end {
        Some(End { end, failure, .. }) => match end {
            TurnEnd::Answered | TurnEnd::Limit => return None,
            TurnEnd::Failed => failed(failure.as_ref()),
            TurnEnd::Cancelled => Problem {
                code: "cancelled",
                ..Problem::bad_request("The turn was stopped.")
            },
            TurnEnd::Interrupted => Problem::shutting_down(),
        },
        None if view.stuck => Problem::not_recorded(),
        None => Problem::shutting_down(),
    };
    let turn = Some(turn.running.turn.clone());
    Some(Problem { turn, ..problem })
}

/// A round failed for good. What the caller can mend is theirs (4xx), so that SDKs do not send it
/// again; an endpoint that refuses the operator's key is not.
fn failed(failure: Option<&Failure>) -> Problem {
    let unknown = || Failure::new(Layer::Toolgate, "The turn failed.", "Ask again.");
    let failure = failure.cloned().unwrap_or_else(unknown);
    let (status, code) = match (failure.layer, failure.status) {
        (Layer::Model, Some(404)) => (StatusCode::NOT_FOUND, "model_not_found"),
        (Layer::Model, Some(400 | 413 | 422)) => (StatusCode::BAD_REQUEST, "model_refused"),
        (Layer::Model, Some(429)) => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
        (Layer::Model, _) if failure.timed_out => (StatusCode::GATEWAY_TIMEOUT, "model_timeout"),
        (Layer::Model, Some(408 | 504)) => (StatusCode::GATEWAY_TIMEOUT, "model_timeout"),
        (Layer::Model, _) => (StatusCode::BAD_GATEWAY, "model_failed"),
        (Layer::Toolgate | Layer::Pomerium | Layer::Server, _) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "turn_failed")
        }
    };
    Problem {
        status,
        code,
        ..Problem::upstream(failure)
    }
}

/// The completion's id: the turn's, as OpenAI's look.
pub(super) fn id(turn: &OwnedTurn) -> String {
    format!("chatcmpl-{}", turn.running.turn)
}

/// When it began, seconds since 1970.
pub(super) fn created(turn: &OwnedTurn) -> i64 {
    turn.at / 1000
}

/// How the last round ended. Toolgate's own limits look like an end: what was said stands.
pub(super) fn finish_reason(transcript: &Transcript) -> &'static str {
    let ends = transcript.items.iter().rev().filter_map(|item| match item {
        Item::Round(round) => match round.state {
            RoundState::Finished { end } => Some(end),
            RoundState::Open | RoundState::Retrying { .. } | RoundState::Broken => None,
        },
        Item::Call(_) | Item::Notice { .. } => None,
    });
    match ends.take(1).next() {
        Some(RoundEnd::Length) => "length",
        Some(RoundEnd::Filtered) => "content_filter",
        Some(RoundEnd::Stop | RoundEnd::Calls) | None => "stop",
    }
}

/// The tokens of all rounds; none if the endpoint counted none.
pub(super) fn usage(transcript: &Transcript) -> Option<Value> {
    let rounds = transcript.items.iter().filter_map(|item| match item {
        Item::Round(round) => round.usage,
        Item::Call(_) | Item::Notice { .. } => None,
    });
    let Usage {
        prompt_tokens,
        completion_tokens,
    } = rounds.reduce(|sum, usage| Usage {
        prompt_tokens: sum.prompt_tokens.saturating_add(usage.prompt_tokens),
        completion_tokens: sum
            .completion_tokens
            .saturating_add(usage.completion_tokens),
    })?;
    Some(json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens.saturating_add(completion_tokens),
    }))
}

#[cfg(test)]
mod tests;
