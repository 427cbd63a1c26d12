use axum::http::StatusCode;

use super::*;

fn status_of(layer: Layer, status: Option<u16>) -> (StatusCode, &'static str) {
    let failure = Failure::new(layer, "no", "");
    let failure = match status {
        Some(status) => failure.with_status(status),
        None => failure,
    };
    let problem = failed(Some(&failure));
    (problem.status, problem.code)
}

#[test]
fn the_caller_s_own_mistakes_are_theirs_and_the_operator_s_are_not() {
    for (status, expected, code) in [
        (Some(404), 404, "model_not_found"),
        (Some(400), 400, "model_refused"),
        (Some(422), 400, "model_refused"),
        (Some(429), 429, "rate_limit_exceeded"),
        (Some(401), 502, "model_failed"),
        (Some(402), 502, "model_failed"),
        (Some(403), 502, "model_failed"),
        (Some(500), 502, "model_failed"),
        (Some(504), 504, "model_timeout"),
        (None, 502, "model_failed"),
    ] {
        let (found, named) = status_of(Layer::Model, status);
        assert_eq!((found.as_u16(), named), (expected, code), "{status:?}");
    }
    assert_eq!(status_of(Layer::Toolgate, Some(404)).0, 500);
    let silent = Failure::new(Layer::Model, "no", "").after_silence();
    let problem = failed(Some(&silent));
    assert_eq!(
        (problem.status.as_u16(), problem.code),
        (504, "model_timeout")
    );
}

fn round(state: RoundState, usage: Option<(u64, u64)>) -> Item {
    let mut item = json!({
        "kind": "round", "round": 1, "state": { "kind": "open" }, "reasoning": "", "text": "",
        "extras": {}, "usage": null, "started_at": 0, "finished_at": null,
    });
    if let Some((prompt, completion)) = usage {
        item["usage"] = json!({ "prompt_tokens": prompt, "completion_tokens": completion });
    }
    item["state"] = serde_json::to_value(state).unwrap();
    serde_json::from_value(item).unwrap()
}

fn transcript(items: Vec<Item>) -> Transcript {
    Transcript {
        items,
        ..Transcript::default()
    }
}

const fn finished(end: RoundEnd) -> RoundState {
    RoundState::Finished { end }
}

#[test]
fn tokens_of_all_rounds_are_added() {
    let calls = finished(RoundEnd::Calls);
    let stop = finished(RoundEnd::Stop);
    let turn = transcript(vec![
        round(calls, Some((10, 2))),
        round(RoundState::Open, None),
        round(stop, Some((30, 4))),
    ]);
    let sum = json!({ "prompt_tokens": 40, "completion_tokens": 6, "total_tokens": 46 });
    assert_eq!(usage(&turn), Some(sum));
    assert_eq!(
        usage(&transcript(vec![round(RoundState::Open, None)])),
        None
    );
}

#[test]
fn the_last_round_says_why_the_text_ends() {
    for (ends, reason) in [
        (vec![], "stop"),
        (vec![RoundEnd::Calls, RoundEnd::Stop], "stop"),
        (vec![RoundEnd::Calls], "stop"),
        (vec![RoundEnd::Calls, RoundEnd::Length], "length"),
        (vec![RoundEnd::Filtered], "content_filter"),
    ] {
        let rounds = ends.iter().map(|end| round(finished(*end), None));
        assert_eq!(
            finish_reason(&transcript(rounds.collect())),
            reason,
            "{ends:?}"
        );
    }
}
