//! Every oddity of an endpoint that is known: the bytes, and what becomes of them.

use std::collections::HashSet;

use chat::{failure::Retry, limits::JSON_DEPTH};
use serde_json::json;

use super::*;
use crate::llm::{Endpoint, address::Address, shaper::Shaper};

/// The answer that `bytes` make, cut into pieces of `piece` bytes on their way.
fn assemble(bytes: &[u8], piece: usize) -> Result<Answer, Fault> {
    let mut shaper = Shaper::default();
    let mut events: Vec<String> = Vec::new();
    let mut take = |event: &str| events.push(event.to_owned());
    let mut read = Ok(());
    for piece in bytes.chunks(piece) {
        read = shaper.push(piece, &mut take);
        if read.is_err() || shaper.is_done() {
            break;
        }
    }
    let body = match read.and_then(|()| shaper.finish(&mut take)) {
        Ok(()) if shaper.is_done() => BodyEnd::Done,
        Ok(()) => BodyEnd::Silent,
        Err(unreadable) => BodyEnd::Unreadable(unreadable),
    };
    let mut assembler = Assembler::default();
    let (mut text, mut reasoning) = (String::new(), String::new());
    for event in events {
        match Chunk::of(&event) {
            Some(chunk) => {
                let added = assembler.take(chunk)?;
                for (copy, whole, offset) in [
                    (&mut text, &assembler.text, added.text),
                    (&mut reasoning, &assembler.reasoning, added.reasoning),
                ] {
                    if let Some(offset) = offset {
                        assert_eq!(offset, copy.len(), "pieces join without gaps");
                        copy.push_str(&whole[offset..]);
                    }
                }
            }
            None => assembler.take_broken(&event),
        }
    }
    let answer = assembler.end(body, "turn 1")?;
    assert_eq!(
        (&text, &reasoning),
        (&answer.message.text, &answer.message.reasoning)
    );
    Ok(answer)
}

/// An answer in one line: `end text (reasoning) id=name(arguments)+extras +extras tokens`.
fn told(answer: Result<Answer, Fault>) -> String {
    let address = Address::new(Endpoint {
        base_url: "http://model.test/v1".parse().unwrap(),
        api_key: Some("sk-secret".into()),
    });
    let Answer {
        end,
        usage,
        message,
    } = match answer {
        Ok(answer) => answer,
        Err(fault) => {
            let failed = fault.describe(&address);
            let retry = match failed.retry {
                Retry::Never => "never",
                Retry::After(_) => "again",
                Retry::Aborted => "aborted",
            };
            assert_ne!(failed.failure.advice, "");
            let message = failed
                .failure
                .message
                .replace("The model endpoint at model.test ", "");
            return format!("{retry}: {message}");
        }
    };
    let mut told = vec![format!("{end:?} '{}'", message.text)];
    if !message.reasoning.is_empty() {
        told.push(format!("({})", message.reasoning));
    }
    for call in message.calls {
        let id = if call.id.len() == 9 {
            "made".to_owned()
        } else {
            call.id
        };
        let extras = Some(call.extras).filter(|extras| !extras.is_empty());
        let extras = extras
            .map(|extras| format!("+{}", Value::Object(extras)))
            .unwrap_or_default();
        told.push(format!("{id}={}({}){extras}", call.name, call.arguments));
    }
    if !message.extras.is_empty() {
        told.push(format!("+{}", Value::Object(message.extras)));
    }
    if let Some(usage) = usage {
        told.push(format!(
            "{}/{}",
            usage.prompt_tokens, usage.completion_tokens
        ));
    }
    told.join(" ")
}

/// Checks whole bodies.
fn check_bodies(table: &[(&str, &str, &str)]) {
    for (name, body, expected) in table {
        for piece in [body.len().max(1), 1] {
            assert_eq!(told(assemble(body.as_bytes(), piece)), *expected, "{name}");
        }
    }
}

/// The event that a line of `quirks.txt` stands for.
fn event_of(line: &str) -> String {
    let delta = |inside: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{{inside}}}}}]}}"#);
    if let Some(inside) = line.strip_prefix("delta ") {
        delta(inside)
    } else if let Some(calls) = line.strip_prefix("calls ") {
        delta(&format!(r#""tool_calls":[{calls}]"#))
    } else if let Some(reason) = line.strip_prefix("finish ") {
        format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
    } else {
        line.to_owned()
    }
}

#[test]
fn every_known_quirk() {
    let mut checked = 0;
    for case in include_str!("quirks.txt").split("\n== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (events, rest) = rest.split_once("=> ").unwrap();
        let expected = rest.lines().next().unwrap();
        let mut events: Vec<_> = events.lines().map(event_of).collect();
        events.push("[DONE]".to_owned());
        let body: String = events
            .into_iter()
            .flat_map(|e| ["data: ".to_owned(), e, "\n\n".to_owned()])
            .collect();
        for piece in [body.len(), 1] {
            assert_eq!(told(assemble(body.as_bytes(), piece)), expected, "{name}");
        }
        checked += 1;
    }
    assert_eq!(checked, 76, "cases of the table");
}

#[test]
fn bodies() {
    const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    const CALL: &str = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"name\":\"a\",\"arguments\":\"{}\"}}]}}]}\n\n";
    const STOPPED: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}";
    check_bodies(&[
        (
            "no [DONE] after a finish reason",
            &format!("{TEXT}{STOPPED}\n\n"),
            "Stop 'a'",
        ),
        (
            "nor a last blank line",
            &format!("{TEXT}{STOPPED}"),
            "Stop 'a'",
        ),
        (
            "neither [DONE] nor a finish reason",
            TEXT,
            "again: The answer of model.test stopped without coming to its end.",
        ),
        (
            "the same with calls",
            CALL,
            "again: The answer of model.test stopped without coming to its end.",
        ),
        (
            "cut within an event",
            &format!("{TEXT}data: {{\"choices\":[{{"),
            "again: The answer of model.test stopped without coming to its end.",
        ),
        (
            "[DONE] with a space",
            &format!("{TEXT}data: [DONE] \n\n"),
            "Stop 'a'",
        ),
        (
            "byte order mark",
            &format!("\u{FEFF}{TEXT}data: [DONE]\n\n"),
            "Stop 'a'",
        ),
        (
            "keep-alives",
            &format!(
                ": OPENROUTER PROCESSING\n\nevent: ping\ndata: {{\"type\": \"ping\"}}\n\nevent: keepalive\ndata: {{}}\n\n{TEXT}data: [DONE]\n\n"
            ),
            "Stop 'a'",
        ),
        ("nothing", "", "again: answered with nothing."),
        (
            "only [DONE]",
            "data: [DONE]\n\n",
            "again: answered with nothing.",
        ),
        (
            "only comments",
            ": hello\n\n",
            "again: answered with nothing.",
        ),
        (
            "an answer that does not stream",
            r#"{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"a","tool_calls":[{"id":"i","type":"function","function":{"name":"a","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            "Calls 'a' i=a({}) 1/2",
        ),
        (
            "a document that is cut",
            r#"{"choices":[{"message":{"content":"a"#,
            r#"again: sent a broken event: {"choices":[{"message":{"content":"a"#,
        ),
        (
            "another document",
            r#"{"hello":"world"}"#,
            r#"never: answered with no chat completion: {"hello":"world"}"#,
        ),
        (
            "a page",
            "<html><title>Sign in</title></html>",
            "never: What answers at model.test is no model endpoint: a web page, “Sign in”",
        ),
    ]);
}

#[test]
fn bodies_that_are_errors() {
    check_bodies(&[
        (
            "event: error",
            "event: error\ndata: {\"message\":\"no\",\"code\":503}\n\n",
            "again: reported an error: no",
        ),
        (
            "event: error, text",
            "event: error\ndata: out of memory\n\n",
            "again: reported an error: out of memory",
        ),
        (
            "LM Studio's document",
            r#"{"error":"Unexpected endpoint or method. (POST /chat/completions)"}"#,
            "again: reported an error: Unexpected endpoint or method. (POST /chat/completions)",
        ),
        (
            "Gemini's array",
            r#"[{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}]"#,
            "never: reported an error: no",
        ),
        (
            "FastAPI's",
            r#"{"detail":"Not Found"}"#,
            "again: reported an error: Not Found",
        ),
    ]);
}

#[test]
fn ids_are_made_the_same_way_each_time_and_unique() {
    let ids = |seed: &str| -> Vec<_> {
        let mut assembler = Assembler::default();
        for n in 0..50 {
            let event = json!({"choices": [{"delta": {"tool_calls": [{
                "function": {"name": "a", "arguments": {"n": n}},
            }]}}]});
            assembler.take(Chunk::Other(event)).unwrap();
        }
        let answer = assembler.end(BodyEnd::Done, seed).unwrap();
        answer
            .message
            .calls
            .into_iter()
            .map(|call| call.id)
            .collect()
    };
    let first = ids("turn 1");
    assert_eq!(first, ids("turn 1"));
    assert_eq!(
        first
            .iter()
            .chain(&ids("turn 2"))
            .collect::<HashSet<_>>()
            .len(),
        100
    );
    let legal = |id: &String| id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric());
    assert!(first.iter().all(legal), "{first:?}");
}

#[test]
fn answers_are_bounded() {
    let piece = format!(
        r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#,
        "x".repeat(1 << 20)
    );
    let chunk = Chunk::of(&piece).unwrap();
    let mut assembler = Assembler::default();
    let taken = (0..100)
        .take_while(|_| assembler.take(chunk.clone()).is_ok())
        .count();
    assert_eq!(taken, ANSWER_BYTES >> 20);

    let mut assembler = Assembler::default();
    let mut call = |n: u64| {
        let event = json!({"choices": [{"delta": {"tool_calls": [{
            "index": n, "id": n.to_string(), "function": {"name": "a", "arguments": "{}"},
        }]}}]});
        assembler.take(Chunk::Other(event)).is_ok()
    };
    let taken = (0..1000).take_while(|n| call(*n)).count();
    assert_eq!(taken, crate::llm::slots::CALLS);
}

#[test]
fn extras_too_deep_to_be_kept_are_dropped() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    for (levels, kept) in [(JSON_DEPTH, true), (JSON_DEPTH + 1, false)] {
        let mut assembler = Assembler::default();
        let event = json!({"choices": [{
            "delta": {
                "extra_content": nested(levels),
                "tool_calls": [{
                    "index": 0, "id": "i", "function": {"name": "a", "arguments": "{}"},
                    "extra_content": nested(levels),
                }],
            },
            "finish_reason": "tool_calls",
        }]});
        assembler.take(Chunk::Other(event)).unwrap();
        let message = assembler.end(BodyEnd::Done, "turn 1").unwrap().message;
        assert_eq!(message.extras.contains_key("extra_content"), kept);
        assert_eq!(message.calls[0].extras.contains_key("extra_content"), kept);
    }
}
