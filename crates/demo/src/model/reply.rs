//! What the model can send back: ordinary answers, raw bytes, and everything that goes wrong
//! with real endpoints.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

/// What a model says: a text, calls, or a text and then calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The text; empty when there are only calls.
    pub text: String,
    /// The calls, in the order of their `index`.
    pub calls: Vec<Call>,
}

/// One call of an [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The function's name, sent as it stands (so it can be one that was never offered).
    pub name: String,
    /// The arguments, sent as they stand (so they can be something else than JSON).
    pub arguments: String,
}

impl Answer {
    /// An answer in words.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            calls: Vec::new(),
        }
    }

    /// An answer that is only calls.
    pub fn calls(calls: impl IntoIterator<Item = Call>) -> Self {
        Self {
            text: String::new(),
            calls: calls.into_iter().collect(),
        }
    }
}

impl Call {
    /// A call with proper arguments.
    pub fn new(name: impl Into<String>, arguments: &Value) -> Self {
        Self {
            name: name.into(),
            arguments: arguments.to_string(),
        }
    }
}

/// The reply to one request.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) kind: Kind,
    pub(super) fault: Option<Fault>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Rendered as the request asks for it: a stream or one JSON object.
    Answer(Answer),
    /// Sent as it stands, whatever the request asks for.
    Raw {
        status: u16,
        headers: Vec<(String, String)>,
        frames: Vec<Frame>,
    },
    /// No byte of a response until the client or the model goes away.
    Hang,
    /// The connection is closed without a response.
    Disconnect,
}

/// One step of a response's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// These bytes, as one chunk.
    Bytes(Bytes),
    /// A pause of the pace the model has at that moment ([`super::Model::set_delay`]).
    Pace,
    /// A pause of this length.
    Pause(Duration),
    /// Nothing more, and no end, until the client or the model goes away.
    Hang,
    /// The connection is cut: the client sees a body that broke off.
    Cut,
}

/// What happens to an ordinary streamed answer on its way. Counted in events (`data:` lines);
/// an answer that is not streamed comes whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut after so many events.
    CutAfter(usize),
    /// Nothing more comes after so many events, and the connection stays open.
    HangAfter(usize),
    /// The body ends properly after so many events, without `[DONE]`.
    EndAfter(usize),
    /// Everything comes but `[DONE]`.
    NoDone,
}

impl Reply {
    /// An ordinary answer.
    pub fn answer(answer: Answer) -> Self {
        Self {
            kind: Kind::Answer(answer),
            fault: None,
        }
    }

    /// An ordinary answer in words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::answer(Answer::text(text))
    }

    /// An ordinary answer that is only calls.
    pub fn calls(calls: impl IntoIterator<Item = Call>) -> Self {
        Self::answer(Answer::calls(calls))
    }

    /// A stream of these objects, each as one `data:` event, and `[DONE]`.
    pub fn sse(chunks: impl IntoIterator<Item = Value>) -> Self {
        let mut frames: Vec<Frame> = chunks.into_iter().map(|chunk| event(&chunk)).collect();
        frames.push(done());
        Self::stream(frames)
    }

    /// An event stream made of these frames and nothing else.
    pub fn stream(frames: impl IntoIterator<Item = Frame>) -> Self {
        Self::raw(200, &[("content-type", "text/event-stream")], frames)
    }

    /// A response with this status, these headers and this body.
    pub fn status(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        Self::raw(status, headers, [Frame::Bytes(body.into())])
    }

    /// An error in OpenAI's shape.
    pub fn error(status: u16, kind: &str, message: &str) -> Self {
        let body = serde_json::json!({
            "error": {"message": message, "type": kind, "param": null, "code": null}
        });
        Self::status(
            status,
            &[("content-type", "application/json")],
            body.to_string(),
        )
    }

    /// 429 with `Retry-After` in seconds.
    pub fn rate_limited(seconds: u64) -> Self {
        let mut reply = Self::error(429, "rate_limit_exceeded", "Rate limit reached.");
        if let Kind::Raw { headers, .. } = &mut reply.kind {
            headers.push(("retry-after".into(), seconds.to_string()));
        }
        reply
    }

    /// 200 with a page, as a captive portal or a wrong path answers.
    pub fn html() -> Self {
        let page = "<!doctype html><title>Welcome</title><p>This is not an API.</p>";
        Self::status(200, &[("content-type", "text/html")], page)
    }

    /// No response, and the connection stays open.
    pub fn hang() -> Self {
        Self {
            kind: Kind::Hang,
            fault: None,
        }
    }

    /// No response, and the connection is closed.
    pub fn disconnect() -> Self {
        Self {
            kind: Kind::Disconnect,
            fault: None,
        }
    }

    /// Lets something go wrong on the way of an ordinary answer.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    fn raw(status: u16, headers: &[(&str, &str)], frames: impl IntoIterator<Item = Frame>) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let frames = frames.into_iter().collect();
        Self {
            kind: Kind::Raw {
                status,
                headers,
                frames,
            },
            fault: None,
        }
    }
}

impl Frame {
    /// A frame of these bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// One object as an SSE event.
pub(super) fn event(data: &Value) -> Frame {
    Frame::bytes(format!("data: {data}\n\n"))
}

/// The event that ends a stream.
pub(super) fn done() -> Frame {
    Frame::bytes("data: [DONE]\n\n")
}
