//! Where messages from a server arrive, before rmcp sees them.
//!
//! Answers and progress of our own requests are taken here, in the order of the wire and
//! verbatim; rmcp gets stand-ins, so that nothing odd in them can break the connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use chat::{
    failure::Layer,
    limits::{PROGRESS_MESSAGE_BYTES, clip, nests_too_deeply},
};
use rmcp::model::{NumberOrString, ProgressToken, RequestId};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{CallContext, catalog, trouble::Trouble};

/// What a request of ours is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// `tools/call`.
    Call(CallContext),
    /// `tools/list`.
    List,
    /// `resources/read`, of a link in this call's result.
    Read(CallContext),
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    /// A result, as the server sent it.
    Result(Value),
    /// A JSON-RPC error.
    Error { code: i64, message: String },
    /// Anything else.
    Trouble(Trouble),
}

/// A report on how far a call is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Progress {
    pub(super) done: f64,
    pub(super) total: Option<f64>,
    pub(super) message: Option<String>,
}

/// One request of ours on its way. It travels in the extensions of rmcp's request.
#[derive(Clone, Debug)]
pub(super) struct Slot(Arc<SlotInner>);

#[derive(Debug)]
struct SlotInner {
    purpose: Purpose,
    state: Mutex<SlotState>,
    changed: Notify,
}

/// What is known of a request and was not yet taken.
#[derive(Debug, Default)]
pub(super) struct SlotState {
    /// When something was last heard, from the sending on; none before.
    pub(super) last_heard: Option<Instant>,
    /// Whether the server has it.
    pub(super) accepted: bool,
    /// Whether it must not be sent any more.
    withdrawn: bool,
    /// Its stream was cut by a route's timeout.
    pub(super) cut: Option<Cut>,
    /// The newest report.
    pub(super) progress: Option<Progress>,
    /// The end.
    pub(super) reply: Option<Reply>,
}

impl Slot {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self(Arc::new(SlotInner {
            purpose,
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    pub(super) fn purpose(&self) -> &Purpose {
        &self.0.purpose
    }

    /// Waits until there is something to take. One waiter at a time.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// What is known; progress and the reply are handed out once.
    pub(super) fn take(&self) -> SlotState {
        let mut state = self.state();
        SlotState {
            last_heard: state.last_heard,
            accepted: state.accepted,
            withdrawn: state.withdrawn,
            cut: state.cut,
            progress: state.progress.take(),
            reply: state.reply.take(),
        }
    }

    /// Notes that it is sent now; or says that it must not be.
    pub(super) fn sent(&self) -> Result<(), Withdrawn> {
        let mut state = self.state();
        if state.withdrawn {
            return Err(Withdrawn);
        }
        state.last_heard = Some(Instant::now());
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }

    /// Takes it back, so that it is not sent from now on; says whether it was sent before.
    pub(super) fn withdraw(&self) -> Sending {
        let mut state = self.state();
        state.withdrawn = true;
        match state.last_heard {
            Some(_) => Sending::Begun,
            None => Sending::Never,
        }
    }

    /// Notes that a route's timeout cut the stream of its answer.
    pub(super) fn cut(&self) {
        self.state().cut = Some(Cut);
    }

    fn is_accepted(&self) -> bool {
        self.state().accepted
    }

    pub(super) fn accepted(&self) {
        self.update(|state| state.accepted = true);
    }

    pub(super) fn progressed(&self, progress: Progress) {
        self.update(|state| {
            state.accepted = true;
            state.progress = Some(progress);
        });
    }

    /// The first reply counts.
    pub(super) fn reply(&self, reply: Reply) {
        self.update(|state| {
            state.reply.get_or_insert(reply);
        });
    }

    fn update(&self, change: impl FnOnce(&mut SlotState)) {
        let mut state = self.state();
        state.last_heard = Some(Instant::now());
        change(&mut state);
        drop(state);
        self.0.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A route's timeout cut the stream of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut;

/// A request was taken back before it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Withdrawn;

/// Whether a server can have got a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// It cannot, now or later.
    Never,
    /// It can.
    Begun,
}

/// The requests of one MCP session that wait for their reply.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<HashMap<i64, Waiting>>,
    /// Told when the server says that its list of tools changed.
    pub(super) list_changed: Arc<Notify>,
}

#[derive(Debug)]
struct Waiting {
    slot: Slot,
    token: Option<i64>,
}

impl Inbox {
    pub(super) fn expect(&self, id: &RequestId, token: Option<&ProgressToken>, slot: &Slot) {
        let Some(id) = number(id) else { return };
        let token = token.and_then(|token| number(&token.0));
        self.waiting().insert(
            id,
            Waiting {
                slot: slot.clone(),
                token,
            },
        );
    }

    pub(super) fn forget(&self, slot: &Slot) {
        self.waiting()
            .retain(|_, waiting| !Arc::ptr_eq(&waiting.slot.0, &slot.0));
    }

    /// Takes a message from the server; returns what rmcp is to see of it.
    pub(super) fn receive(&self, message: Value, request_id: Option<&str>) -> Option<Value> {
        // A batch (MCP 2025-03-26): what answers is what counts.
        if let Value::Array(messages) = message {
            let received = messages
                .into_iter()
                .filter_map(|one| self.receive(one, request_id));
            return received.reduce(|first, next| if is_answer(&first) { first } else { next });
        }
        match message.get("method").and_then(Value::as_str) {
            Some("notifications/progress") => {
                let known = message
                    .get("params")
                    .is_some_and(|params| self.progress(params));
                return (!known).then_some(message);
            }
            Some("notifications/tools/list_changed") => self.list_changed.notify_one(),
            None if is_answer(&message) => return Some(self.answer(message, request_id)),
            Some(_) | None => {}
        }
        Some(message)
    }

    /// Whether it belongs to a request of ours.
    fn progress(&self, params: &Value) -> bool {
        let Some(token) = params.get("progressToken").and_then(loose_number) else {
            return false;
        };
        let waiting = self.waiting();
        let Some(found) = waiting
            .values()
            .find(|waiting| waiting.token == Some(token))
        else {
            return false;
        };
        if let Some(progress) = params.get("progress").and_then(Value::as_f64) {
            found.slot.progressed(Progress {
                done: progress,
                total: params.get("total").and_then(Value::as_f64),
                message: params
                    .get("message")
                    .and_then(Value::as_str)
                    .map(|message| clip(message.to_owned(), PROGRESS_MESSAGE_BYTES)),
            });
        }
        true
    }

    fn answer(&self, mut message: Value, request_id: Option<&str>) -> Value {
        let id = message.get("id").and_then(loose_number);
        let waiting = id.and_then(|id| self.waiting().remove(&id));
        if let Some(error) = message.get_mut("error") {
            if let Some(Waiting { slot, .. }) = waiting {
                slot.reply(read_error(error, &slot, request_id));
            }
            *error = sound(error);
            return message;
        }
        let (Some(waiting), Some(place)) = (waiting, message.get_mut("result")) else {
            return message;
        };
        let (stand_in, too_deep) = match waiting.slot.purpose() {
            Purpose::Call(_) => (json!({ "content": [] }), nests_too_deeply(place)),
            Purpose::Read(_) => (json!({ "contents": [] }), nests_too_deeply(place)),
            // Each tool is looked at by itself.
            Purpose::List => (catalog::without_broken(place), false),
        };
        let result = std::mem::replace(place, stand_in);
        waiting.slot.reply(if too_deep {
            Reply::Trouble(Trouble::too_deep())
        } else {
            Reply::Result(result)
        });
        message
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<i64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reply that a JSON-RPC error is. Once the server has taken the request an error is its
/// outcome, whatever it says: nothing it says proves that nothing ran.
fn read_error(error: &Value, slot: &Slot, request_id: Option<&str>) -> Reply {
    // A denial of Pomerium's is a body of its own, and was seen before it came here.
    let trouble = Trouble::of_rpc_error(error, Layer::Server);
    let trouble = trouble.filter(|_| !slot.is_accepted());
    match trouble {
        Some(trouble) if trouble.failure.request_id.is_none() => {
            Reply::Trouble(trouble.with_request_id(request_id.map(ToOwned::to_owned)))
        }
        Some(trouble) => Reply::Trouble(trouble),
        None => Reply::Error {
            code: code_of(error),
            message: message_of(error),
        },
    }
}

/// The error in the form that rmcp takes.
fn sound(error: &mut Value) -> Value {
    let mut sound = json!({ "code": code_of(error), "message": message_of(error) });
    if let (Some(data), Value::Object(sound)) = (error.get_mut("data"), &mut sound) {
        sound.insert("data".to_owned(), data.take());
    }
    sound
}

fn code_of(error: &Value) -> i64 {
    // JSON-RPC: internal error.
    error.get("code").and_then(Value::as_i64).unwrap_or(-32603)
}

fn message_of(error: &Value) -> String {
    match error.get("message") {
        Some(Value::String(message)) => message.clone(),
        _ => error.to_string(),
    }
}

fn is_answer(message: &Value) -> bool {
    message.get("result").is_some() || message.get("error").is_some()
}

fn number(id: &NumberOrString) -> Option<i64> {
    match id {
        NumberOrString::Number(number) => Some(*number),
        NumberOrString::String(_) => None,
    }
}

/// Our ids are integers; servers give them back as `1`, `1.0` and `"1"`.
fn loose_number(id: &Value) -> Option<i64> {
    match id {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
            format!("{float:.0}").parse().ok()
        }),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
