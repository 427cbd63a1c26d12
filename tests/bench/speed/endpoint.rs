//! The scripted model endpoint: says as many deltas as it is asked for, at the pace it is asked
//! for, in chunks of the shape and size of OpenAI's.
//!
//! What to say stands in the last message of the user, as [`Script`] writes it. So it is the same
//! for whoever asks: directly, through the proxy, through Toolgate.

use std::{
    convert::Infallible,
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use serde::Deserialize;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::serve::serve;

/// The one model.
pub(crate) const MODEL: &str = "speed";

/// What every delta holds once, so that deltas can be counted whoever merged them.
pub(crate) const MARK: u8 = b'~';

/// One delta in so many says when it was said: `@` and microseconds, as [`micros`] counts them.
const STAMPED: u32 = 8;

/// One delta in so many begins a paragraph, so that a page's open block does not grow for ever.
const PARAGRAPH: u32 = 40;

/// Where the microseconds of stamps begin anew.
pub(crate) const MICROS: u64 = 100_000_000;

/// The tool that is called, whatever the function's name has before it; it takes no arguments.
const TOOL: &str = "list_tables";

/// What an answer is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    /// Deltas of the answer.
    pub(crate) deltas: u32,
    /// From one delta to the next; zero: as fast as they are taken.
    pub(crate) every: Duration,
    /// Rounds before it that each call a tool.
    pub(crate) calls: u32,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = self.every.as_micros();
        write!(f, "speed {} {every} {}", self.deltas, self.calls)
    }
}

impl FromStr for Script {
    type Err = Unscripted;

    fn from_str(text: &str) -> Result<Self, Unscripted> {
        let mut words = text.strip_prefix("speed ").ok_or(Unscripted)?.split(' ');
        let mut number = || words.next()?.parse::<u32>().ok();
        match (number(), number(), number()) {
            (Some(deltas), Some(micros), Some(calls)) => Ok(Self {
                deltas,
                every: Duration::from_micros(micros.into()),
                calls,
            }),
            _ => Err(Unscripted),
        }
    }
}

/// A message that is no script.
#[derive(Debug)]
pub(crate) struct Unscripted;

/// Microseconds of the clock that all processes of this machine share, modulo [`MICROS`].
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.unwrap_or_default().as_micros() % u128::from(MICROS);
    u64::try_from(micros).unwrap_or_default()
}

/// Serves until the process ends.
pub(crate) async fn run() -> std::io::Result<()> {
    let sent = Arc::new(AtomicU64::new(0));
    serve(move |request| answer(request, Arc::clone(&sent))).await
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, sent: Arc<AtomicU64>) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/sent") => whole(sent.load(Ordering::Relaxed).to_string()),
        (&Method::GET, "/v1/models") => whole(format!(
            r#"{{"object":"list","data":[{{"id":"{MODEL}"}}]}}"#
        )),
        (&Method::POST, "/v1/chat/completions") => {
            let body = request.into_body().collect().await;
            let body = body.map(http_body_util::Collected::to_bytes);
            let asked = body.ok().and_then(|body| Asked::of(&body));
            asked.map_or_else(unknown, |asked| said(asked, sent))
        }
        _ => unknown(),
    }
}

fn whole(body: String) -> Answer {
    Response::new(Full::new(Bytes::from(body)).boxed_unsync())
}

fn unknown() -> Answer {
    let mut answer = whole(r#"{"error":{"message":"that is not scripted"}}"#.to_owned());
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer
}

/// What a request asks for.
enum Asked {
    Text(Script),
    /// A call of this function.
    Call(String),
}

#[derive(Deserialize)]
struct Completion {
    messages: Vec<Message>,
    #[serde(default)]
    tools: Vec<Tool>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Tool {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
}

impl Asked {
    fn of(body: &[u8]) -> Option<Self> {
        let Completion { messages, tools } = serde_json::from_slice(body).ok()?;
        let last = messages
            .iter()
            .rposition(|message| message.role == "user")?;
        let (_, after) = messages.split_at(last);
        let text = after.first()?.content.as_ref()?.as_str()?;
        let script: Script = text.parse().ok()?;
        let called = after
            .iter()
            .filter(|message| message.role == "tool")
            .count();
        if called >= usize::try_from(script.calls).ok()? {
            return Some(Self::Text(script));
        }
        let mut names = tools.into_iter().map(|tool| tool.function.name);
        names.find(|name| name.ends_with(TOOL)).map(Self::Call)
    }
}

fn said(asked: Asked, sent: Arc<AtomicU64>) -> Answer {
    let frames = match asked {
        Asked::Text(script) => texts(script, sent).chain(end("stop")).boxed(),
        Asked::Call(function) => called(&function).chain(end("tool_calls")).boxed(),
    };
    let frames = frames.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    let events = http::HeaderValue::from_static("text/event-stream; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, events);
    answer
}

/// The deltas of an answer: the first at once, then one whenever its time has come.
fn texts(script: Script, sent: Arc<AtomicU64>) -> impl Stream<Item = Bytes> + Send {
    let pace = (!script.every.is_zero()).then(|| {
        let first = tokio::time::Instant::now() + script.every;
        let mut pace = interval_at(first, script.every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        pace
    });
    stream::unfold((0, pace), move |(n, mut pace): (u32, Option<Interval>)| {
        let sent = Arc::clone(&sent);
        async move {
            if n == script.deltas {
                return None;
            }
            match &mut pace {
                Some(pace) if n > 0 => drop(pace.tick().await),
                _ => {}
            }
            sent.fetch_add(1, Ordering::Relaxed);
            Some((delta(&text(n)), (n + 1, pace)))
        }
    })
}

/// The `n`th delta: a word.
fn text(n: u32) -> String {
    let mark = char::from(MARK);
    if n > 0 && n.is_multiple_of(PARAGRAPH) {
        format!(r"{mark}.\n\nWord")
    } else if n.is_multiple_of(STAMPED) {
        format!(" w{mark}@{};", micros())
    } else {
        format!(" word{mark}")
    }
}

fn delta(text: &str) -> Bytes {
    chunk(&format!(
        r#"[{{"index":0,"delta":{{"content":"{text}"}},"logprobs":null,"finish_reason":null}}]"#
    ))
}

fn called(function: &str) -> stream::Iter<std::array::IntoIter<Bytes, 1>> {
    let call = format!(
        r#"[{{"index":0,"delta":{{"role":"assistant","content":null,"tool_calls":[{{"index":0,"id":"call_9Xk2mQ7dLw4pRt","type":"function","function":{{"name":"{function}","arguments":"{{}}"}}}}]}},"logprobs":null,"finish_reason":null}}]"#
    );
    stream::iter([chunk(&call)])
}

fn end(reason: &str) -> stream::Iter<std::array::IntoIter<Bytes, 2>> {
    let choices =
        format!(r#"[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"{reason}"}}]"#);
    stream::iter([chunk(&choices), Bytes::from_static(b"data: [DONE]\n\n")])
}

/// A chunk as long as OpenAI's are.
fn chunk(choices: &str) -> Bytes {
    Bytes::from(format!(
        "data: {{\"id\":\"chatcmpl-Cq7Fx2m1Yb0Vt9Zk3Jd8Rw6Ns5Lp\",\"object\":\"chat.completion.chunk\",\
         \"created\":1764000000,\"model\":\"{MODEL}\",\"service_tier\":\"default\",\
         \"system_fingerprint\":\"fp_b547601dbd\",\"choices\":{choices},\"usage\":null,\
         \"obfuscation\":\"dGhlIHBhZGRpbmc\"}}\n\n"
    ))
}
