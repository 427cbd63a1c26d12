//! A user who asks one question after the other, follows the answers as a page does, and comes
//! back whenever the connection is lost.

use std::time::{Duration, Instant};

use chat::{
    event::{Answer, Event, Logged},
    ids::ConversationId,
    transcript::{CallState, Transcript},
};
use http::{Method, StatusCode, header};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::plan::{self, Plan};
use crate::{Dice, Events, Posted, Response, User};

/// How long a turn may take, all the kills in it included.
const TURN: Duration = Duration::from_mins(3);
/// The pause before somebody who lost the connection comes back.
const BACK_AFTER: Duration = Duration::from_millis(30);
/// After a stream was silent for so long, its user looks whether there is something to answer.
const SILENCE: Duration = Duration::from_secs(1);

/// One user in one conversation after the other.
pub(super) struct Lane {
    user: User,
    dice: Dice,
    stop: CancellationToken,
    conversation: Option<ConversationId>,
}

/// A turn as its user knows it.
pub(super) struct Kept {
    pub(super) user: User,
    pub(super) plan: Plan,
    pub(super) posted: Posted,
    /// The committed events that its reader saw.
    pub(super) seen: Vec<Logged>,
    /// How many times the turn was asked to stop, and Toolgate said that it heard it.
    pub(super) stops: u32,
    /// How many of these were forgotten when the user came back.
    pub(super) forgotten_stops: u32,
}

impl Lane {
    pub(super) fn new(user: User, seed: u64, stop: CancellationToken) -> Self {
        Self {
            user,
            dice: Dice::new(seed),
            stop,
            conversation: None,
        }
    }

    /// Asks until it is told to stop, and sees its last turn to the end.
    pub(super) async fn run(mut self) -> Vec<Kept> {
        let mut turns = Vec::new();
        while !self.stop.is_cancelled() {
            turns.push(self.turn().await);
            if self.dice.once_in(3) {
                self.conversation = None;
            }
        }
        turns
    }

    async fn turn(&mut self) -> Kept {
        let plan = Plan::roll(&mut self.dice);
        let posted = self.post(&plan).await;
        self.conversation = Some(posted.conversation.clone());
        let mut kept = Kept {
            user: self.user.clone(),
            plan,
            posted,
            seen: Vec::new(),
            stops: 0,
            forgotten_stops: 0,
        };
        let until = Instant::now() + TURN;
        while !kept.follow().await {
            if Instant::now() > until {
                let transcript = self.user.turn(&kept.posted.turn).await;
                panic!("a turn does not end within {TURN:?}: {transcript:#?}");
            }
            sleep(BACK_AFTER).await;
        }
        kept
    }

    async fn post(&mut self, plan: &Plan) -> Posted {
        let body = json!({
            "message_id": Uuid::now_v7(),
            "message": plan.message(),
            "conversation": self.conversation,
        });
        let post = || self.user.request(Method::POST, "/api/messages").json(&body);
        let posted: Posted = answered(&self.user, post).await.expect(202).json();
        if self.dice.once_in(4) {
            let again: Posted = answered(&self.user, post).await.expect(202).json();
            assert_eq!(posted, again, "the same message led to another turn");
        }
        posted
    }
}

impl Kept {
    /// Reads the turn's log from where it was left. Whether the turn has ended.
    async fn follow(&mut self) -> bool {
        let Some(mut events) = self.open().await else {
            return false;
        };
        // A question may have been asked before the connection was lost.
        let stops = self.stops;
        self.react().await;
        if stops > 0 && self.stops > stops {
            self.forgotten_stops += 1;
        }
        loop {
            match events.next_within(SILENCE).await {
                None => self.react().await,
                Some(None) => return false,
                Some(Some(frame)) if frame.id.is_some() => {
                    let logged = serde_json::from_str(&frame.data);
                    let logged: Logged =
                        logged.unwrap_or_else(|error| panic!("{error} in {frame:?}"));
                    let last = self.last_seen();
                    assert!(logged.seq > last, "{} after {last}", logged.seq);
                    let ended = matches!(logged.event, Event::TurnFinished { .. });
                    let asks = matches!(logged.event, Event::QuestionAsked { .. });
                    self.seen.push(logged);
                    if ended {
                        return true;
                    }
                    if asks || self.wants_to_stop() {
                        self.react().await;
                    }
                }
                Some(Some(_)) => {}
            }
        }
    }

    /// The stream of what comes after the last event seen; none while Toolgate is away.
    async fn open(&self) -> Option<Events> {
        let Posted { turn, .. } = &self.posted;
        let accept = http::HeaderValue::from_static("text/event-stream");
        let path = format!("/api/turns/{turn}/events");
        let request = self
            .user
            .request(Method::GET, &path)
            .header("last-event-id", format!("{turn}.{}", self.last_seen()))
            .headers([(header::ACCEPT, accept)].into_iter().collect());
        let response = self.user.try_begin(request).await.ok()?;
        match response.status() {
            StatusCode::OK => Some(Events::of(response)),
            status if is_away(status) => None,
            status => panic!("{status} instead of the events of {turn}"),
        }
    }

    /// Does what the user would: answers what is asked, and stops what is to be stopped.
    async fn react(&mut self) {
        let Posted { turn, .. } = &self.posted;
        let path = format!("/api/turns/{turn}");
        let get = self.user.request(Method::GET, &path);
        let Some(response) = present(&self.user, get).await else {
            return;
        };
        let transcript = response.expect(200).json::<crate::ConversationTurn>();
        let transcript = transcript.transcript;
        for (question, answer) in questions(&transcript) {
            let path = format!("/api/turns/{turn}/questions/{question}");
            let request = self.user.request(Method::POST, &path).json(&answer);
            if let Some(response) = present(&self.user, request).await {
                let fits = matches!(response.status.as_u16(), 202 | 409);
                assert!(fits, "{} {}", response.status, response.body);
            }
        }
        if self.wants_to_stop() && transcript.is_open() && transcript.cancelling.is_none() {
            let path = format!("/api/turns/{turn}/cancel");
            let request = self.user.request(Method::POST, &path).json(&json!({}));
            if let Some(response) = present(&self.user, request).await {
                let fits = matches!(response.status.as_u16(), 202 | 409);
                assert!(fits, "{} {}", response.status, response.body);
                self.stops += u32::from(response.status == StatusCode::ACCEPTED);
            }
        }
    }

    fn wants_to_stop(&self) -> bool {
        self.plan
            .stop_after
            .is_some_and(|count| self.seen.len() >= count)
    }

    fn last_seen(&self) -> u64 {
        self.seen.last().map_or(0, |logged| logged.seq)
    }
}

/// The open questions, with the answers that the plan has for them.
fn questions(transcript: &Transcript) -> Vec<(chat::ids::QuestionId, Answer)> {
    let calls = transcript.calls();
    calls
        .filter_map(|call| {
            let CallState::Asking { question } = call.state else {
                return None;
            };
            let answer = if plan::is_denied(&call.arguments) {
                Answer::Deny {
                    reason: "not today".to_owned(),
                }
            } else {
                Answer::Approve
            };
            Some((question, answer))
        })
        .collect()
}

/// Sends a request until Toolgate is there to answer it.
async fn answered(user: &User, request: impl Fn() -> reqwest::RequestBuilder) -> Response {
    let until = Instant::now() + TURN;
    loop {
        if let Some(response) = present(user, request()).await {
            return response;
        }
        assert!(Instant::now() < until, "Toolgate does not come back");
        sleep(BACK_AFTER).await;
    }
}

/// The answer to a request, if Toolgate was there from its beginning to its end.
async fn present(user: &User, request: reqwest::RequestBuilder) -> Option<Response> {
    let response = user.try_send(request).await.ok()?;
    (!is_away(response.status)).then_some(response)
}

/// Whether Pomerium answered in place of Toolgate, or Toolgate that it is about to end.
fn is_away(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}
