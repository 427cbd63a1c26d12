//! From an [`Answer`] to bytes: the chunks of a stream, or one JSON object.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

use super::{
    reply::{Answer, Call, Fault, Frame, Kind, Reply, done, event},
    request::ChatRequest,
};

/// Characters of one fragment of a call's arguments.
const FRAGMENT: usize = 12;
/// Bytes that count as one token in `usage`: the usual rule of thumb.
const BYTES_PER_TOKEN: usize = 4;

/// A reply, ready to be sent.
pub(super) enum Rendered {
    Response {
        status: u16,
        headers: Vec<(String, String)>,
        frames: Vec<Frame>,
    },
    Hang,
    Disconnect,
}

/// Renders a reply for a request.
pub(super) fn reply(reply: Reply, request: &ChatRequest, ids: &Ids) -> Rendered {
    match reply.kind {
        Kind::Raw {
            status,
            headers,
            frames,
        } => Rendered::Response {
            status,
            headers,
            frames,
        },
        Kind::Hang => Rendered::Hang,
        Kind::Disconnect => Rendered::Disconnect,
        Kind::Answer(answer) => {
            let completion = Completion {
                id: ids.next("chatcmpl-"),
                request,
                created: now(),
            };
            let (content_type, frames) = if request.streams() {
                let events = completion.events(&answer, ids);
                (
                    "text/event-stream; charset=utf-8",
                    faulty(events, reply.fault),
                )
            } else {
                let whole = completion.whole(&answer, ids).to_string();
                ("application/json", vec![Frame::bytes(whole)])
            };
            let headers = vec![
                ("content-type".to_owned(), content_type.to_owned()),
                ("cache-control".to_owned(), "no-cache".to_owned()),
                ("x-request-id".to_owned(), ids.next("req_")),
            ];
            Rendered::Response {
                status: 200,
                headers,
                frames,
            }
        }
    }
}

/// The answer to `GET /v1/models`.
pub(super) fn models(models: &[String]) -> Value {
    let data: Vec<Value> = models
        .iter()
        .map(|id| json!({"id": id, "object": "model", "created": 0, "owned_by": "toolgate-demo"}))
        .collect();
    json!({"object": "list", "data": data})
}

/// Makes ids: a prefix and 24 alphanumerics that follow from a counter.
pub(super) struct Ids(AtomicU64);

impl Ids {
    pub(super) fn next(&self, prefix: &str) -> String {
        const ALPHABET: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut state = self.0.fetch_add(1, Ordering::Relaxed);
        let mut id = prefix.to_owned();
        for _ in 0..24 {
            state = mix(state);
            let letter = usize::try_from(state % 62)
                .ok()
                .and_then(|at| ALPHABET.get(at));
            id.push(char::from(letter.copied().unwrap_or(b'0')));
        }
        id
    }
}

impl From<u64> for Ids {
    fn from(seed: u64) -> Self {
        Self(AtomicU64::new(mix(seed)))
    }
}

/// `SplitMix64`'s step: neighbouring numbers lead to ids that look nothing alike.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

struct Completion<'a> {
    id: String,
    request: &'a ChatRequest,
    created: u64,
}

impl Completion<'_> {
    /// The events of a stream: the role, the text in pieces, the calls in fragments, the reason
    /// it ended, the usage if asked for, `[DONE]`.
    fn events(&self, answer: &Answer, ids: &Ids) -> Vec<Frame> {
        let first = if answer.text.is_empty() {
            json!({"role": "assistant", "content": null, "refusal": null})
        } else {
            json!({"role": "assistant", "content": "", "refusal": null})
        };
        let mut events = vec![self.chunk(&first, None)];
        events
            .extend(pieces(&answer.text).map(|piece| self.chunk(&json!({"content": piece}), None)));
        for (index, call) in answer.calls.iter().enumerate() {
            let opening = json!({"tool_calls": [{
                "index": index,
                "id": ids.next("call_"),
                "type": "function",
                "function": {"name": call.name, "arguments": ""},
            }]});
            events.push(self.chunk(&opening, None));
            events.extend(fragments(&call.arguments).map(|fragment| {
                let delta = json!({"tool_calls": [{
                    "index": index, "function": {"arguments": fragment},
                }]});
                self.chunk(&delta, None)
            }));
        }
        events.push(self.chunk(&json!({}), Some(finish_reason(answer))));
        if self.request.wants_usage() {
            let mut chunk = self.object("chat.completion.chunk");
            chunk.insert("choices".to_owned(), json!([]));
            chunk.insert("usage".to_owned(), self.usage(answer));
            events.push(Value::Object(chunk));
        }
        let mut frames: Vec<Frame> = events.iter().map(event).collect();
        frames.push(done());
        frames
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Value {
        let mut chunk = self.object("chat.completion.chunk");
        let choice = json!({
            "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason,
        });
        chunk.insert("choices".to_owned(), json!([choice]));
        if self.request.wants_usage() {
            chunk.insert("usage".to_owned(), Value::Null);
        }
        Value::Object(chunk)
    }

    fn whole(&self, answer: &Answer, ids: &Ids) -> Value {
        let content = if answer.text.is_empty() {
            Value::Null
        } else {
            json!(answer.text)
        };
        let mut message = Map::new();
        message.insert("role".to_owned(), json!("assistant"));
        message.insert("content".to_owned(), content);
        message.insert("refusal".to_owned(), Value::Null);
        if !answer.calls.is_empty() {
            let calls = answer.calls.iter().map(|Call { name, arguments }| {
                json!({
                    "id": ids.next("call_"),
                    "type": "function",
                    "function": {"name": name, "arguments": arguments},
                })
            });
            message.insert("tool_calls".to_owned(), calls.collect());
        }
        let mut whole = self.object("chat.completion");
        let choice = json!({
            "index": 0,
            "message": message,
            "logprobs": null,
            "finish_reason": finish_reason(answer),
        });
        whole.insert("choices".to_owned(), json!([choice]));
        whole.insert("usage".to_owned(), self.usage(answer));
        Value::Object(whole)
    }

    /// What chunks and whole answers have in common.
    fn object(&self, object: &str) -> Map<String, Value> {
        [
            ("id", json!(self.id)),
            ("object", json!(object)),
            ("created", json!(self.created)),
            ("model", json!(self.request.model())),
            ("system_fingerprint", json!("fp_scripted")),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    fn usage(&self, answer: &Answer) -> Value {
        let asked: usize = self
            .request
            .messages()
            .iter()
            .map(|message| message.to_string().len())
            .sum();
        let said = answer.text.len()
            + answer
                .calls
                .iter()
                .map(|call| call.name.len() + call.arguments.len())
                .sum::<usize>();
        let (prompt, completion) = (
            asked.div_ceil(BYTES_PER_TOKEN),
            said.div_ceil(BYTES_PER_TOKEN),
        );
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        })
    }
}

fn finish_reason(answer: &Answer) -> &'static str {
    if answer.calls.is_empty() {
        "stop"
    } else {
        "tool_calls"
    }
}

/// Puts the pace before each event, and the fault where it was asked for.
fn faulty(mut events: Vec<Frame>, fault: Option<Fault>) -> Vec<Frame> {
    let last = match fault {
        None => None,
        Some(Fault::NoDone) => {
            events.pop();
            None
        }
        Some(Fault::EndAfter(count)) => {
            events.truncate(count);
            None
        }
        Some(Fault::CutAfter(count)) => {
            events.truncate(count);
            Some(Frame::Cut)
        }
        Some(Fault::HangAfter(count)) => {
            events.truncate(count);
            Some(Frame::Hang)
        }
    };
    events
        .into_iter()
        .flat_map(|event| [Frame::Pace, event])
        .chain(last)
        .collect()
}

/// A text by words, each with the white space after it.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', '\n'])
}

/// A text by fragments of a few characters, never inside one.
fn fragments(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest
            .char_indices()
            .nth(FRAGMENT)
            .map_or(rest.len(), |(at, _)| at);
        let (fragment, tail) = rest.split_at(end);
        rest = tail;
        (!fragment.is_empty()).then_some(fragment)
    })
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_alphanumeric_unique_and_follow_from_the_seed() {
        let (ids, again) = (Ids::from(7), Ids::from(7));
        let made: std::collections::BTreeSet<String> =
            (0..1000).map(|_| ids.next("call_")).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|id| {
            id.len() == 29
                && id
                    .strip_prefix("call_")
                    .unwrap()
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric())
        }));
        assert!(made.contains(&again.next("call_")));
        assert!(!made.contains(&Ids::from(8).next("call_")));
    }

    #[test]
    fn pieces_and_fragments_lose_nothing() {
        let text = "Größe  of\n\n| a |\tüäö\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}";
        assert_eq!(pieces(text).collect::<String>(), text);
        assert!(pieces(text).count() > 4);
        assert_eq!(fragments(text).collect::<String>(), text);
        assert_eq!(fragments("").count(), 0);
    }
}
