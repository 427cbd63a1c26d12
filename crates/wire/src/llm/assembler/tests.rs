//! Every oddity of an endpoint that is known: the bytes, and what becomes of them.

use bytes::Bytes;
use chat::failure::Retry;

use super::*;
use crate::llm::{Endpoint, address::Address, shaper::Shaper};

/// The answer that `bytes` make, cut into pieces of `piece` bytes on their way.
fn assemble(bytes: &[u8], piece: usize) -> Result<Answer, Fault> {
    let mut shaper = Shaper::default();
    let mut events: Vec<Bytes> = Vec::new();
    let mut read = Ok(());
    for piece in bytes.chunks(piece) {
        read = shaper.push(piece, &mut events);
        if read.is_err() || shaper.is_done() {
            break;
        }
    }
    let body = match read.and_then(|()| shaper.finish(&mut events)) {
        Ok(()) if shaper.is_done() => BodyEnd::Done,
        Ok(()) => BodyEnd::Silent,
        Err(unreadable) => BodyEnd::Unreadable(unreadable),
    };
    let mut assembler = Assembler::default();
    let (mut text, mut reasoning) = (String::new(), String::new());
    for event in events {
        let event = std::str::from_utf8(&event).unwrap();
        let data = event.strip_prefix("data: ").unwrap().trim_end();
        match serde_json::from_str(data) {
            Ok(chunk) => {
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
            Err(_) => assembler.take_broken(data),
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
    let mut told = format!("{end:?} {:?}", message.text).replace('"', "'");
    if !message.reasoning.is_empty() {
        told += &format!(" ({})", message.reasoning);
    }
    for call in message.calls {
        let id = if call.id.len() == 9 {
            "made".to_owned()
        } else {
            call.id
        };
        told += &format!(" {id}={}({})", call.name, call.arguments);
        if !call.extras.is_empty() {
            told += &format!("+{}", Value::Object(call.extras));
        }
    }
    if !message.extras.is_empty() {
        told += &format!(" +{}", Value::Object(message.extras));
    }
    if let Some(usage) = usage {
        told += &format!(" {}/{}", usage.prompt_tokens, usage.completion_tokens);
    }
    told
}

/// Checks events, each the inside of a `data:` line; `[DONE]` follows.
fn check(table: &[(&str, &[&str], &str)]) {
    for (name, events, expected) in table {
        let mut bytes = String::new();
        for event in *events {
            bytes += &format!("data: {event}\n\n");
        }
        bytes += "data: [DONE]\n\n";
        for piece in [bytes.len(), 1] {
            assert_eq!(told(assemble(bytes.as_bytes(), piece)), *expected, "{name}");
        }
    }
}

/// Checks whole bodies.
fn check_bodies(table: &[(&str, &str, &str)]) {
    for (name, body, expected) in table {
        for piece in [body.len().max(1), 1] {
            assert_eq!(told(assemble(body.as_bytes(), piece)), *expected, "{name}");
        }
    }
}

macro_rules! delta {
    ($($inside:literal),*) => { concat!(r#"{"choices":[{"index":0,"delta":{"#, $($inside,)* "}}]}") };
}

macro_rules! calls {
    ($($inside:literal),*) => { delta!(r#""tool_calls":["#, $($inside,)* "]") };
}

const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const CALLS: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#;

#[test]
fn texts() {
    check(&[
        (
            "plain",
            &[
                delta!(r#""role":"assistant","content":"""#),
                delta!(r#""content":"He""#),
                delta!(r#""content":"llo""#),
                STOP,
            ],
            "Stop 'Hello'",
        ),
        (
            "no finish reason but [DONE]",
            &[delta!(r#""content":"a""#)],
            "Stop 'a'",
        ),
        (
            "finish_reason is empty on every chunk",
            &[
                r#"{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}"#,
                r#"{"choices":[{"delta":{"content":"b"},"finish_reason":""}]}"#,
                STOP,
            ],
            "Stop 'ab'",
        ),
        (
            "text beside the finish reason",
            &[r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#],
            "Stop 'a'",
        ),
        (
            "unknown finish reasons",
            &[
                delta!(r#""content":"a""#),
                r#"{"choices":[{"delta":{},"finish_reason":"eos_token"}]}"#,
            ],
            "Stop 'a'",
        ),
        (
            "finish_reason error",
            &[
                delta!(r#""content":"a""#),
                r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#,
            ],
            "again: reported an error: it ended the answer with finish_reason “error”",
        ),
        (
            "length",
            &[
                delta!(r#""content":"a""#),
                r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
            ],
            "Length 'a'",
        ),
        (
            "Mistral's length",
            &[
                delta!(r#""content":"a""#),
                r#"{"choices":[{"delta":{},"finish_reason":"model_length"}]}"#,
            ],
            "Length 'a'",
        ),
        (
            "filtered",
            &[
                delta!(r#""content":"a""#),
                r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#,
            ],
            "Filtered 'a'",
        ),
        (
            "usage with no choices",
            &[
                delta!(r#""content":"a""#),
                STOP,
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"cost":0.1}}"#,
            ],
            "Stop 'a' 3/4",
        ),
        (
            "usage without choices",
            &[
                delta!(r#""content":"a""#),
                STOP,
                r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
            ],
            "Stop 'a' 3/4",
        ),
        (
            "usage as floats",
            &[
                delta!(r#""content":"a""#),
                r#"{"choices":[],"usage":{"prompt_tokens":3.0,"completion_tokens":4.0}}"#,
            ],
            "Stop 'a' 3/4",
        ),
        (
            "usage empty, on every chunk",
            &[
                r#"{"choices":[{"delta":{"content":"a"}}],"usage":{}}"#,
                STOP,
            ],
            "Stop 'a'",
        ),
        (
            "usage so far on every chunk",
            &[
                r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#,
                r#"{"choices":[{"delta":{"content":"b"}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
            ],
            "Stop 'ab' 3/2",
        ),
        (
            "Azure: first without choices, last without delta",
            &[
                r#"{"choices":[],"prompt_filter_results":[]}"#,
                delta!(r#""content":"a""#),
                r#"{"choices":[{"index":0,"finish_reason":"stop"}]}"#,
            ],
            "Stop 'a'",
        ),
        (
            "odd types where we do not look",
            &[
                r#"{"id":7,"created":1.5,"model":null,"object":[],"service_tier":"on_demand","choices":[{"index":null,"delta":{"role":"","content":"a"},"logprobs":3}]}"#,
                r#"{"choices":[{"delta":null}]}"#,
                STOP,
            ],
            "Stop 'a'",
        ),
        (
            "content as parts, with thinking",
            &[
                delta!(
                    r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"}]"#
                ),
                delta!(r#""content":["b",{"type":"image","x":1},7]"#),
                STOP,
            ],
            "Stop 'ab' (hm)",
        ),
        (
            "reasoning_content",
            &[
                delta!(r#""reasoning_content":"h""#),
                delta!(r#""reasoning_content":"m""#),
                delta!(r#""content":"a""#),
                STOP,
            ],
            "Stop 'a' (hm)",
        ),
        (
            "two equal fields of reasoning",
            &[
                delta!(r#""reasoning":"hm","reasoning_content":"hm""#),
                delta!(r#""content":"a""#),
                STOP,
            ],
            "Stop 'a' (hm)",
        ),
        (
            "one of the two empty",
            &[
                delta!(r#""reasoning":"hm","reasoning_content":"""#),
                delta!(r#""reasoning":"hm","reasoning_content":null"#),
                STOP,
            ],
            "Stop '' (hmhm)",
        ),
        (
            "reasoning with its details",
            &[
                delta!(
                    r#""reasoning":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm"}]"#
                ),
                STOP,
            ],
            "Stop '' (hm)",
        ),
        (
            "details only",
            &[
                delta!(
                    r#""reasoning_details":[{"type":"reasoning.summary","summary":"h"},{"type":"reasoning.text","text":"m"},{"type":"reasoning.encrypted","data":"x"}]"#
                ),
                STOP,
            ],
            "Stop '' (hm)",
        ),
        (
            "refusal",
            &[delta!(r#""refusal":"I will not.""#), STOP],
            "Stop 'I will not.'",
        ),
        (
            "message instead of delta",
            &[
                r#"{"choices":[{"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}"#,
            ],
            "Stop 'a'",
        ),
        (
            "the whole message after the deltas",
            &[
                delta!(r#""content":"a""#),
                delta!(r#""content":"b""#),
                r#"{"choices":[{"message":{"content":"abc"},"finish_reason":"stop"}]}"#,
            ],
            "Stop 'abc'",
        ),
        (
            "another choice",
            &[
                r#"{"choices":[{"index":1,"delta":{"content":"x"}}]}"#,
                r#"{"choices":[{"index":1,"delta":{"content":"x"}},{"index":0,"delta":{"content":"a"}}]}"#,
                STOP,
            ],
            "Stop 'a'",
        ),
        (
            "a call in the text stays text",
            &[delta!(r#""content":"<tool_call>{}</tool_call>""#), STOP],
            "Stop '<tool_call>{}</tool_call>'",
        ),
        (
            "strays between",
            &[
                r#"{"type":"ping"}"#,
                delta!(r#""content":"a""#),
                "[]",
                "[1]",
                STOP,
            ],
            "Stop 'a'",
        ),
        (
            "a broken event in a text",
            &[delta!(r#""content":"a""#), r#"{"choices":[{"#, STOP],
            "Stop 'a'",
        ),
        (
            "extras of the message, alone in a chunk",
            &[
                delta!(r#""content":"a""#),
                delta!(r#""extra_content":{"google":{"thought_signature":"S"}}"#),
                STOP,
            ],
            r#"Stop 'a' +{"extra_content":{"google":{"thought_signature":"S"}}}"#,
        ),
        ("nothing said", &[STOP], "Stop ''"),
    ]);
}

#[test]
fn calls() {
    check(&[
        (
            "as OpenAI writes them",
            &[
                calls!(
                    r#"{"index":0,"id":"call_1","type":"function","function":{"name":"a","arguments":""}}"#
                ),
                calls!(r#"{"index":0,"function":{"arguments":"{\"x\""}}"#),
                calls!(r#"{"index":0,"function":{"arguments":":1}"}}"#),
                calls!(
                    r#"{"index":1,"id":"call_2","type":"function","function":{"name":"b","arguments":"{}"}}"#
                ),
                CALLS,
            ],
            r#"Calls '' call_1=a({"x":1}) call_2=b({})"#,
        ),
        (
            "interleaved",
            &[
                calls!(
                    r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{\"x\""}},{"index":1,"id":"j","function":{"name":"b","arguments":"{\"y\""}}"#
                ),
                calls!(
                    r#"{"index":1,"function":{"arguments":":2}"}},{"index":0,"function":{"arguments":":1}"}}"#
                ),
                CALLS,
            ],
            r#"Calls '' i=a({"x":1}) j=b({"y":2})"#,
        ),
        (
            "index missing, each call in its own chunk (Gemini)",
            &[
                calls!(r#"{"id":"i","function":{"name":"a","arguments":"{\"x\":1}"}}"#),
                calls!(r#"{"id":"j","function":{"name":"a","arguments":"{\"x\":2}"}}"#),
                STOP,
            ],
            r#"Calls '' i=a({"x":1}) j=a({"x":2})"#,
        ),
        (
            "index null, ids empty",
            &[
                calls!(r#"{"index":null,"id":"","function":{"name":"a","arguments":"{\"x\":1}"}}"#),
                calls!(r#"{"index":null,"id":"","function":{"name":"a","arguments":"{\"x\":2}"}}"#),
                STOP,
            ],
            r#"Calls '' made=a({"x":1}) made=a({"x":2})"#,
        ),
        (
            "index missing, in fragments",
            &[
                calls!(r#"{"id":"i","function":{"name":"a","arguments":""}}"#),
                calls!(r#"{"function":{"arguments":"{\"x\""}}"#),
                calls!(r#"{"function":{"arguments":":1}"}}"#),
                calls!(r#"{"id":"j","function":{"name":"b"}}"#),
                calls!(r#"{"function":{"arguments":"{}"}}"#),
                CALLS,
            ],
            r#"Calls '' i=a({"x":1}) j=b({})"#,
        ),
        (
            "all have index 0",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{\"x\""}}"#),
                calls!(r#"{"index":0,"function":{"arguments":":1}"}}"#),
                calls!(r#"{"index":0,"id":"j","function":{"name":"a","arguments":"{\"x\""}}"#),
                calls!(r#"{"index":0,"function":{"arguments":":2}"}}"#),
                CALLS,
            ],
            r#"Calls '' i=a({"x":1}) j=a({"x":2})"#,
        ),
        (
            "all have index 0 and no id",
            &[
                calls!(r#"{"index":0,"function":{"name":"a","arguments":"{\"x\":1}"}}"#),
                calls!(r#"{"index":0,"function":{"name":"a","arguments":"{\"x\":2}"}}"#),
                calls!(r#"{"index":0,"function":{"name":"b","arguments":"{}"}}"#),
                CALLS,
            ],
            r#"Calls '' made=a({"x":1}) made=a({"x":2}) made=b({})"#,
        ),
        (
            "index starts at 1 and has gaps",
            &[
                calls!(r#"{"index":1,"id":"i","function":{"name":"a","arguments":"{}"}}"#),
                calls!(r#"{"index":4294967296,"id":"j","function":{"name":"b","arguments":"{}"}}"#),
                CALLS,
            ],
            "Calls '' i=a({}) j=b({})",
        ),
        (
            "index of another type",
            &[
                calls!(r#"{"index":"0","id":"i","function":{"name":"a","arguments":"{}"}}"#),
                CALLS,
            ],
            "Calls '' i=a({})",
        ),
        (
            "id and name on every delta (sglang)",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":""}}"#),
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{\"x\""}}"#),
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":":{}}"}}"#),
                CALLS,
            ],
            r#"Calls '' i=a({"x":{}})"#,
        ),
        (
            "empty id and name on later deltas (LM Studio)",
            &[
                calls!(
                    r#"{"index":0,"id":"i","type":"function","function":{"name":"a","arguments":"{\"x\""}}"#
                ),
                calls!(r#"{"index":0,"id":"","type":"","function":{"name":"","arguments":":1}"}}"#),
                calls!(
                    r#"{"index":0,"id":null,"type":null,"function":{"name":null,"arguments":""}}"#
                ),
                CALLS,
            ],
            r#"Calls '' i=a({"x":1})"#,
        ),
        (
            "the name comes late",
            &[
                calls!(r#"{"index":0,"id":"i","function":{}}"#),
                calls!(r#"{"index":0,"function":{"name":"a","arguments":"{}"}}"#),
                CALLS,
            ],
            "Calls '' i=a({})",
        ),
        (
            "the id comes late",
            &[
                calls!(r#"{"index":0,"function":{"name":"a"}}"#),
                calls!(r#"{"index":0,"id":"i","function":{"arguments":"{}"}}"#),
                CALLS,
            ],
            "Calls '' i=a({})",
        ),
        (
            "a new id on each delta",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{\"x\""}}"#),
                calls!(r#"{"index":0,"id":"j","function":{"arguments":":1}"}}"#),
                CALLS,
            ],
            r#"Calls '' i=a({"x":1})"#,
        ),
        (
            "a new id on each delta, no index",
            &[
                calls!(r#"{"id":"i","function":{"name":"a","arguments":"{\"x\""}}"#),
                calls!(r#"{"id":"j","function":{"arguments":":1}"}}"#),
                CALLS,
            ],
            r#"Calls '' i=a({"x":1})"#,
        ),
        (
            "one id for all calls",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{}"}}"#),
                calls!(r#"{"index":1,"id":"i","function":{"name":"b","arguments":"{}"}}"#),
                CALLS,
            ],
            "Calls '' i=a({}) made=b({})",
        ),
        (
            "one id for all calls, no index",
            &[
                calls!(r#"{"id":"i","function":{"name":"a","arguments":"{\"x\":1}"}}"#),
                calls!(r#"{"id":"i","function":{"name":"a","arguments":"{\"x\":2}"}}"#),
                calls!(r#"{"id":"i","function":{"name":"b","arguments":"{}"}}"#),
                CALLS,
            ],
            r#"Calls '' i=a({"x":1}) made=a({"x":2}) made=b({})"#,
        ),
        (
            "Kimi's ids stay",
            &[
                calls!(
                    r#"{"index":0,"id":"functions.a:0","function":{"name":"a","arguments":"{}"}}"#
                ),
                CALLS,
            ],
            "Calls '' functions.a:0=a({})",
        ),
        (
            "arguments as an object",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":{"x":1}}}"#),
                CALLS,
            ],
            r#"Calls '' i=a({"x":1})"#,
        ),
        (
            "arguments null, empty, missing",
            &[
                calls!(
                    r#"{"index":0,"id":"i","function":{"name":"a","arguments":null}},{"index":1,"id":"j","function":{"name":"b","arguments":""}},{"index":2,"id":"k","function":{"name":"c"}},{"index":3,"id":"l","function":{"name":"d","arguments":"null"}}"#
                ),
                CALLS,
            ],
            "Calls '' i=a({}) j=b({}) k=c({}) l=d({})",
        ),
        (
            "arguments encoded twice",
            &[
                calls!(
                    r#"{"index":0,"id":"i","function":{"name":"a","arguments":"\"{\\\"x\\\":1}\""}}"#
                ),
                CALLS,
            ],
            r#"Calls '' i=a({"x":1})"#,
        ),
        (
            "arguments that are no JSON stay, for the model to be told",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{\"x\":"}}"#),
                CALLS,
            ],
            r#"Calls '' i=a({"x":)"#,
        ),
        (
            "a single object, and eos_token (TGI)",
            &[
                delta!(
                    r#""tool_calls":{"index":0,"id":"i","function":{"name":"a","arguments":{"x":1}}}"#
                ),
                r#"{"choices":[{"delta":{},"finish_reason":"eos_token"}]}"#,
            ],
            r#"Calls '' i=a({"x":1})"#,
        ),
        (
            "function_call of old",
            &[
                delta!(r#""function_call":{"name":"a","arguments":"{\"x\""}"#),
                delta!(r#""function_call":{"arguments":":1}"}"#),
                r#"{"choices":[{"delta":{},"finish_reason":"function_call"}]}"#,
            ],
            r#"Calls '' made=a({"x":1})"#,
        ),
        (
            "function_call beside tool_calls",
            &[
                delta!(
                    r#""tool_calls":[{"index":0,"id":"i","function":{"name":"a","arguments":"{}"}}],"function_call":{"name":"a","arguments":"{}"}"#
                ),
                CALLS,
            ],
            "Calls '' i=a({})",
        ),
        (
            "in a message, after text",
            &[
                delta!(r#""content":"a""#),
                r#"{"choices":[{"message":{"content":"a","tool_calls":[{"id":"i","function":{"name":"a","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
            ],
            "Calls 'a' i=a({})",
        ),
        (
            "in deltas, and again in a message",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{}"}}"#),
                r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"a","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
            ],
            "Calls '' i=a({})",
        ),
        (
            "stop with calls",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{}"}}"#),
                STOP,
            ],
            "Calls '' i=a({})",
        ),
        (
            "end_turn with calls",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{}"}}"#),
                r#"{"choices":[{"delta":{},"finish_reason":"end_turn"}]}"#,
            ],
            "Calls '' i=a({})",
        ),
        (
            "tool_calls without calls",
            &[delta!(r#""content":"a""#), CALLS],
            "Stop 'a'",
        ),
        (
            "length runs nothing",
            &[
                delta!(r#""content":"t""#),
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{}"}}"#),
                r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
            ],
            "Length 't'",
        ),
        (
            "empty calls are none",
            &[
                calls!("{}"),
                calls!(r#"{"index":0,"function":{}}"#),
                delta!(r#""content":"a","tool_calls":[]"#),
                STOP,
            ],
            "Stop 'a'",
        ),
        (
            "a broken event may be a call's",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{}"}}"#),
                r#"{"choices":[{"delta":{"tool_calls":[{"#,
                CALLS,
            ],
            r#"again: sent a broken event: {"choices":[{"delta":{"tool_calls":[{"#,
        ),
        (
            "extras of a call (Gemini)",
            &[
                calls!(
                    r#"{"index":0,"id":"i","extra_content":{"google":{"thought_signature":"S"}},"x":null,"function":{"name":"a","arguments":"{}"}}"#
                ),
                CALLS,
            ],
            r#"Calls '' i=a({})+{"extra_content":{"google":{"thought_signature":"S"}}}"#,
        ),
        (
            "extras of a call, later and alone",
            &[
                calls!(r#"{"index":0,"id":"i","function":{"name":"a","arguments":"{}"}}"#),
                calls!(r#"{"index":0,"extra_content":{"s":1}}"#),
                CALLS,
            ],
            r#"Calls '' i=a({})+{"extra_content":{"s":1}}"#,
        ),
    ]);
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
        ("nothing", "", "never: answered with nothing."),
        (
            "only [DONE]",
            "data: [DONE]\n\n",
            "never: answered with nothing.",
        ),
        (
            "only comments",
            ": hello\n\n",
            "never: answered with nothing.",
        ),
        (
            "an answer that does not stream",
            r#"{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"a","tool_calls":[{"id":"i","type":"function","function":{"name":"a","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            "Calls 'a' i=a({}) 1/2",
        ),
        (
            "a document that is cut",
            r#"{"choices":[{"message":{"content":"a"#,
            r#"never: answered with no chat completion: {"choices":[{"message":{"content":"a"#,
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
fn errors_inside_an_answer() {
    let text = delta!(r#""content":"a""#);
    check(&[
        (
            "OpenRouter's",
            &[
                text,
                r#"{"id":"x","error":{"code":502,"message":"Upstream is down"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
            ],
            "again: reported an error: Upstream is down",
        ),
        (
            "a number in a string",
            &[r#"{"error":{"code":"401","message":"no"}}"#],
            "never: reported an error: no",
        ),
        (
            "with no choices",
            &[r#"{"error":{"message":"no","type":"server_error","code":null},"choices":[]}"#],
            "again: reported an error: no",
        ),
        (
            "a string",
            &[text, r#"{"error":"no"}"#],
            "again: reported an error: no",
        ),
        (
            "vLLM's",
            &[
                text,
                r#"{"object":"error","message":"too long","type":"BadRequestError","code":400}"#,
            ],
            "never: reported an error: too long",
        ),
        (
            "OpenAI's, wrong request",
            &[r#"{"error":{"message":"no","type":"invalid_request_error","code":null}}"#],
            "never: reported an error: no",
        ),
        (
            "Groq's: the model may do better",
            &[
                r#"{"error":{"message":"Failed to call a function.","type":"invalid_request_error","code":"tool_use_failed","status_code":400}}"#,
            ],
            "again: reported an error: Failed to call a function.",
        ),
        (
            "of a choice",
            &[r#"{"choices":[{"error":{"code":429,"message":"slow down"},"delta":{}}]}"#],
            "again: reported an error: slow down",
        ),
        (
            "none at all",
            &[
                r#"{"error":null,"choices":[{"delta":{"content":"a"}}]}"#,
                STOP,
            ],
            "Stop 'a'",
        ),
        (
            "with the key",
            &[r#"{"error":{"message":"bad key sk-secret"}}"#],
            "again: reported an error: bad key [key]",
        ),
    ]);
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
    let calls: Vec<_> = (0..50)
        .map(|n| {
            calls!(r#"{"function":{"name":"a","arguments":"{\"n\":@}"}}"#)
                .replace('@', &n.to_string())
        })
        .collect();
    let body: String = calls
        .iter()
        .map(|call| format!("data: {call}\n\n"))
        .collect();
    let body = body + "data: [DONE]\n\n";
    let ids = || -> Vec<_> {
        let answer = assemble(body.as_bytes(), 4096).unwrap();
        answer
            .message
            .calls
            .into_iter()
            .map(|call| call.id)
            .collect()
    };
    let first = ids();
    assert_eq!(first, ids());
    assert_eq!(first.len(), 50);
    assert_eq!(
        first.iter().collect::<std::collections::HashSet<_>>().len(),
        50
    );
    assert!(
        first
            .iter()
            .all(|id| id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric()))
    );
}

#[test]
fn answers_are_bounded() {
    let piece = format!(
        r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#,
        "x".repeat(1 << 20)
    );
    let chunk: Chunk = serde_json::from_str(&piece).unwrap();
    let mut assembler = Assembler::default();
    let taken = (0..100)
        .take_while(|_| assembler.take(chunk.clone()).is_ok())
        .count();
    assert_eq!(taken, ANSWER_BYTES >> 20);

    let mut assembler = Assembler::default();
    let mut call = |n: u64| {
        let event = serde_json::json!({"choices": [{"delta": {"tool_calls": [{
            "index": n, "id": n.to_string(), "function": {"name": "a", "arguments": "{}"},
        }]}}]});
        assembler.take(Chunk::Other(event)).is_ok()
    };
    let taken = (0..1000).take_while(|n| call(*n)).count();
    assert_eq!(taken, crate::llm::slots::CALLS);
}
