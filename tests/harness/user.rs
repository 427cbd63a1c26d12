//! A signed-in person, and what they can do over HTTP.

use std::{future::Future, time::Instant};

use chat::{
    event::{Answer, Logged},
    ids::{CallId, ConversationId, QuestionId, TurnId},
    selection::Selection,
    transcript::{CallState, Transcript},
};
use demo::pomerium::{DemoUser, Standin};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tokio::time::{Duration, sleep};
use uuid::Uuid;

use crate::{Events, PATIENCE};

/// The host of the page.
const CHAT_HOST: &str = "chat.localhost";
/// How long one request may take to its last byte; streams are not bounded by it.
const REQUEST: Duration = PATIENCE;
/// The pause between two looks at a turn.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Somebody signed in. Clones share the session and the connections.
#[derive(Clone, Debug)]
pub struct User {
    /// Who.
    pub who: DemoUser,
    /// Their Pomerium session.
    pub sid: Uuid,
    /// The value of their `Cookie` header.
    pub cookie: String,
    /// The origin of the page.
    pub origin: String,
    client: reqwest::Client,
}

/// Where a posted message ended up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Posted {
    /// The conversation.
    pub conversation: ConversationId,
    /// The turn that answers it.
    pub turn: TurnId,
}

/// `GET /api/conversations/{id}`.
#[derive(Clone, Debug, Deserialize)]
pub struct Conversation {
    /// Which.
    pub id: ConversationId,
    /// Its title.
    pub title: String,
    /// The turn that runs in it.
    pub running: Option<TurnId>,
    /// What is switched off in it.
    pub off: Selection,
    /// The turns of a branch, the oldest first.
    pub turns: Vec<ConversationTurn>,
}

/// A turn of a [`Conversation`].
#[derive(Clone, Debug, Deserialize)]
pub struct ConversationTurn {
    /// Which.
    pub id: TurnId,
    /// The turns that follow the same one, itself among them; only with its conversation.
    #[serde(default)]
    pub siblings: Vec<TurnId>,
    /// All of it.
    pub transcript: Transcript,
}

/// A whole HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Response {
    /// The body as JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {}", self.status, self.body))
    }

    /// The same response, if it has this status; fails otherwise.
    #[expect(
        clippy::return_self_not_must_use,
        reason = "often only the status is of interest"
    )]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }
}

/// Requests.
impl User {
    /// A new session of `who`.
    pub fn sign_in(standin: &Standin, who: DemoUser) -> Self {
        wire::http::install_crypto();
        let signed_in = standin.sign_in(who).expect("a session");
        let address = standin.http_addr();
        let client = reqwest::Client::builder()
            .no_proxy()
            // Otherwise a task of the client's own outlives the world.
            .pool_idle_timeout(None)
            .redirect(reqwest::redirect::Policy::none())
            .resolve(CHAT_HOST, address)
            .build()
            .expect("an HTTP client");
        Self {
            who,
            sid: signed_in.sid,
            cookie: signed_in.cookie,
            origin: format!("http://{CHAT_HOST}:{}", address.port()),
            client,
        }
    }

    /// A request with the session's cookie, as a program sends it.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.origin))
            .header(header::COOKIE, &self.cookie)
            .header(header::ACCEPT, "application/json")
    }

    /// Sends a request and reads all of the answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Response {
        let sent = self.try_send(request).await;
        sent.unwrap_or_else(|error| panic!("a request failed: {error:?}"))
    }

    /// Sends a request and reads all of the answer, which may break off.
    pub async fn try_send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, reqwest::Error> {
        let response = begin(request.timeout(REQUEST)).await?;
        Ok(Response {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await?,
        })
    }

    /// Sends a request and reads only the head of the answer.
    pub async fn try_begin(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, reqwest::Error> {
        begin(request).await
    }

    /// `GET`, whatever the answer.
    pub async fn get(&self, path: &str) -> Response {
        self.send(self.request(Method::GET, path)).await
    }

    /// `GET` of something that is there.
    pub async fn get_json<T: DeserializeOwned>(&self, path: &str) -> T {
        self.get(path).await.expect(200).json()
    }

    /// `POST` of JSON, whatever the answer.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `PATCH` with JSON, whatever the answer.
    pub async fn patch(&self, path: &str, body: &Value) -> Response {
        self.send(self.request(Method::PATCH, path).json(body))
            .await
    }

    /// `DELETE`, whatever the answer.
    pub async fn delete(&self, path: &str) -> Response {
        let nothing = json!({});
        self.send(self.request(Method::DELETE, path).json(&nothing))
            .await
    }

    /// Opens a stream of events; fails if the answer is none.
    pub async fn stream(&self, path: &str) -> Events {
        let accept = HeaderValue::from_static("text/event-stream");
        let request = self
            .request(Method::GET, path)
            // These take the place of headers that are there; `header` would add another.
            .headers(HeaderMap::from_iter([(header::ACCEPT, accept)]));
        self.stream_of(request).await
    }

    /// Opens a stream of events with a request of one's own (`Last-Event-ID`).
    pub async fn stream_of(&self, request: reqwest::RequestBuilder) -> Events {
        let response = begin(request).await;
        let response = response.unwrap_or_else(|error| panic!("no stream: {error:?}"));
        let kind = response.headers().get(header::CONTENT_TYPE);
        assert!(
            kind.is_some_and(|kind| kind == "text/event-stream"),
            "{} instead of a stream: {:?}",
            response.status(),
            response.text().await
        );
        Events::of(response)
    }
}

/// Conversations and turns.
impl User {
    /// Asks in a new conversation.
    pub async fn ask(&self, text: &str) -> Posted {
        let body = json!({ "message_id": Uuid::now_v7(), "message": text });
        self.post("/api/messages", &body).await.expect(202).json()
    }

    /// Asks in a new conversation, and waits until the turn has ended, whatever happens in it.
    pub async fn ask_to_end(&self, text: &str) -> Posted {
        let posted = self.ask(text).await;
        self.wait_end(&posted.turn).await;
        posted
    }

    /// Asks in a conversation that is there.
    pub async fn ask_in(&self, conversation: &ConversationId, text: &str) -> Posted {
        let body = json!({
            "message_id": Uuid::now_v7(), "message": text, "conversation": conversation,
        });
        self.post("/api/messages", &body).await.expect(202).json()
    }

    /// Asks with more than a text (`edits`, `model`, …), whatever comes of it. The message has an
    /// id of its own, unless `body` gives it one.
    pub async fn ask_with(&self, text: &str, body: &Value) -> Response {
        let mut whole = Map::new();
        whole.insert("message_id".to_owned(), json!(Uuid::now_v7()));
        whole.insert("message".to_owned(), json!(text));
        whole.extend(body.as_object().cloned().unwrap_or_default());
        self.post("/api/messages", &Value::Object(whole)).await
    }

    /// A conversation with the turns of its newest branch.
    pub async fn conversation(&self, id: &ConversationId) -> Conversation {
        self.get_json(&format!("/api/conversations/{id}")).await
    }

    /// The turn as it is now.
    pub async fn turn(&self, turn: &TurnId) -> Transcript {
        let whole: ConversationTurn = self.get_json(&format!("/api/turns/{turn}")).await;
        whole.transcript
    }

    /// The turn's log so far.
    pub async fn log(&self, turn: &TurnId) -> Vec<Logged> {
        self.get_json(&format!("/api/turns/{turn}/events")).await
    }

    /// Waits until the turn has ended, whatever happens in it.
    pub async fn wait_end(&self, turn: &TurnId) -> Transcript {
        self.wait_until(turn, |transcript| !transcript.is_open())
            .await
    }

    /// Waits until `wanted` holds for the turn. Each look brings Toolgate a fresh TE.
    pub async fn wait_until(
        &self,
        turn: &TurnId,
        mut wanted: impl FnMut(&Transcript) -> bool,
    ) -> Transcript {
        let until = Instant::now() + PATIENCE;
        loop {
            let transcript = self.turn(turn).await;
            if wanted(&transcript) {
                return transcript;
            }
            assert!(
                Instant::now() < until,
                "waited {PATIENCE:?} in vain for {transcript:#?}"
            );
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a call of the turn waits for an answer; its question and itself.
    pub async fn wait_question(&self, turn: &TurnId) -> (QuestionId, CallId) {
        let mut found = None;
        self.wait_until(turn, |transcript| {
            found = transcript.calls().find_map(|call| match call.state {
                CallState::Asking { question } => Some((question, call.call)),
                CallState::Requested
                | CallState::Running
                | CallState::Parked { .. }
                | CallState::Finished { .. } => None,
            });
            assert!(
                found.is_some() || transcript.is_open(),
                "ended unasked: {transcript:#?}"
            );
            found.is_some()
        })
        .await;
        found.expect("it was just found")
    }

    /// Answers a question, whatever comes of it.
    pub async fn answer(&self, turn: &TurnId, question: QuestionId, answer: &Answer) -> Response {
        let body = serde_json::to_value(answer).expect("an answer is JSON");
        let path = format!("/api/turns/{turn}/questions/{question}");
        self.post(&path, &body).await
    }

    /// Asks a turn to stop, whatever comes of it.
    pub async fn cancel(&self, turn: &TurnId) -> Response {
        let path = format!("/api/turns/{turn}/cancel");
        self.post(&path, &json!({})).await
    }

    /// Follows a turn's log from after event `after`.
    pub async fn events(&self, turn: &TurnId, after: u64) -> Events {
        self.stream(&format!("/api/turns/{turn}/events?after={after}"))
            .await
    }

    /// The stream of a page that shows `conversation`.
    pub async fn page_stream(&self, conversation: &ConversationId) -> Events {
        self.stream(&format!("/api/events?conversation={conversation}"))
            .await
    }
}

/// Sends a request: the one place where the tests do.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests are other people's programs, not Toolgate"
)]
fn begin(
    request: reqwest::RequestBuilder,
) -> impl Future<Output = Result<reqwest::Response, reqwest::Error>> {
    request.send()
}
