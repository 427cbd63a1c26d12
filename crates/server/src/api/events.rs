//! `GET /api/turns/{turn}/events`: a turn's log as it grows, as server-sent events or as JSON.
//!
//! Committed events carry the id `turn.seq`; text that is not committed yet comes as deltas
//! without an id, with the offset where they start, so that applying one twice is harmless.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event as Frame, KeepAlive, Sse},
    },
};
use chat::{
    event::{Delta, Event, Logged},
    ids::{RoundId, Subject, TurnId},
    transcript::{Item, RoundState},
};
use futures_util::stream;
use serde::Deserialize;
use store::Store;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    app::AppState,
    clock,
    error::Problem,
    extract::{Path, Query},
    gate::Caller,
    live::Live,
    streams::Place,
    turns::Running,
};

/// How often a silent stream says that it is alive: well under every proxy's patience.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where a reader wants to go on.
#[derive(Deserialize)]
pub(crate) struct After {
    /// The number of the last event it has.
    #[serde(default)]
    after: u64,
}

/// The handler; see the module.
pub(crate) async fn events(
    State(app): State<AppState>,
    Path(turn): Path<TurnId>,
    Query(after): Query<After>,
    headers: HeaderMap,
    caller: Caller,
) -> Result<Response, Problem> {
    let subject = caller.person.subject.clone();
    let after = last_event_id(&headers, &turn).unwrap_or(after.after);
    let running = app.turns.find(&subject, &turn);
    let log = app.context.store.log(&subject, &turn, after).await?;
    let log = log.ok_or_else(|| Problem::not_found("turn"))?;
    let wants_stream = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| String::from_utf8_lossy(accept.as_bytes()).contains("event-stream"));
    if !wants_stream {
        return Ok(Json(log).into_response());
    }
    if running.is_none() && log.is_empty() {
        let transcript = app.context.store.transcript(&subject, &turn).await?;
        if transcript.is_some_and(|transcript| transcript.is_open()) {
            // It was put down a moment ago: the next start goes on with it.
            return Err(Problem::shutting_down());
        }
        // Nothing more will come: by this status an EventSource stops asking.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let reader = Reader {
        _place: app.streams.place(&subject)?,
        store: app.context.store.clone(),
        subject,
        changes: running.as_ref().map(|running| running.live.changes()),
        live: running.map(|running: Arc<Running>| Arc::clone(&running.live)),
        turn,
        seq: after,
        sent: HashMap::new(),
        ready: VecDeque::new(),
        ends: Instant::now() + app.stream_life(),
        shutdown: app.context.shutdown.clone(),
    };
    let mut reader = reader;
    reader.take(log);
    let frames = stream::unfold(reader, |mut reader| async move {
        let frame = reader.next().await?;
        Some((Ok::<_, Infallible>(frame), reader))
    });
    Ok(Sse::new(frames)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

/// The number in a `Last-Event-ID` of this turn.
fn last_event_id(headers: &HeaderMap, turn: &TurnId) -> Option<u64> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    let (of, seq) = id.rsplit_once('.')?;
    (of == turn.as_str()).then(|| seq.parse().ok())?
}

/// Which text of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Text {
    Reasoning,
    Answer,
}

/// One reader of one turn.
struct Reader {
    _place: Place,
    store: Store,
    subject: Subject,
    turn: TurnId,
    live: Option<Arc<Live>>,
    changes: Option<watch::Receiver<u64>>,
    /// The last committed event that was sent.
    seq: u64,
    /// How much of each text was sent, bytes.
    sent: HashMap<(RoundId, Text), usize>,
    ready: VecDeque<Frame>,
    ends: Instant,
    shutdown: CancellationToken,
}

impl Reader {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.ends <= Instant::now() || self.shutdown.is_cancelled() {
                return None;
            }
            let live = Arc::clone(self.live.as_ref()?);
            let (committed, closed) = live.look(|view| (view.transcript.seq, view.closed));
            if committed > self.seq {
                let log = self
                    .store
                    .log(&self.subject, &self.turn, self.seq)
                    .await
                    .ok()??;
                self.take(log);
            }
            self.take_uncommitted(&live);
            if !self.ready.is_empty() {
                continue;
            }
            if closed {
                return None;
            }
            let changes = self.changes.as_mut()?;
            tokio::select! {
                news = changes.changed() => news.ok()?,
                () = tokio::time::sleep_until(self.ends) => return None,
                () = self.shutdown.cancelled() => return None,
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only text is sent before it is committed"
    )]
    fn take(&mut self, log: Vec<Logged>) {
        for logged in log {
            self.seq = logged.seq;
            let frame = match &logged.event {
                Event::TextDelta(delta) => self.committed_text(Text::Answer, delta),
                Event::ReasoningDelta(delta) => self.committed_text(Text::Reasoning, delta),
                Event::RoundDiscarded { round } => {
                    self.sent.retain(|(of, _), _| of != round);
                    true
                }
                Event::RoundFinished { round, message, .. } => {
                    self.sent.insert((*round, Text::Answer), message.text.len());
                    self.sent
                        .insert((*round, Text::Reasoning), message.reasoning.len());
                    true
                }
                _ => true,
            };
            if frame {
                let frame = frame_of(&logged);
                self.ready.push_back(if logged.event.is_structural() {
                    frame.id(format!("{}.{}", self.turn, logged.seq))
                } else {
                    frame
                });
            }
        }
    }

    /// Whether a committed delta has anything that was not sent before it was committed.
    fn committed_text(&mut self, text: Text, delta: &Delta) -> bool {
        let sent = self.sent.entry((delta.round, text)).or_default();
        let end = delta.offset + delta.text.len();
        let news = end > *sent;
        *sent = end.max(*sent);
        news
    }

    fn take_uncommitted(&mut self, live: &Live) {
        let (seq, texts) = live.look(|view| {
            let rounds = view.transcript.items.iter().rev();
            let open = rounds.filter_map(|item| match item {
                Item::Round(round) if round.state == RoundState::Open => Some(round),
                Item::Round(_) | Item::Call(_) | Item::Notice { .. } => None,
            });
            let rest = |round, text, all: &str| {
                let offset = self.sent.get(&(round, text)).copied().unwrap_or_default();
                let rest = all.get(offset..).filter(|rest| !rest.is_empty())?;
                Some((
                    text,
                    Delta {
                        round,
                        offset,
                        text: rest.to_owned(),
                    },
                ))
            };
            let texts: Vec<_> = open
                .take(1)
                .flat_map(|round| {
                    let reasoning = rest(round.round, Text::Reasoning, &round.reasoning);
                    let answer = rest(round.round, Text::Answer, &round.text);
                    [reasoning, answer]
                })
                .flatten()
                .collect();
            (view.transcript.seq, texts)
        });
        if seq > self.seq {
            // Something was committed meanwhile: that comes first.
            return;
        }
        for (text, delta) in texts {
            self.sent
                .insert((delta.round, text), delta.offset + delta.text.len());
            let event = match text {
                Text::Reasoning => Event::ReasoningDelta(delta),
                Text::Answer => Event::TextDelta(delta),
            };
            self.ready.push_back(frame_of(&Logged {
                seq,
                at: clock::now(),
                event,
            }));
        }
    }
}

/// The event as a frame: its name, and the logged event as JSON.
fn frame_of(logged: &Logged) -> Frame {
    let frame = Frame::default().event(logged.event.name());
    frame.json_data(logged).unwrap_or_else(|_| Frame::default())
}
