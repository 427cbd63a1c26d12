//! `GET /api/events?conversation=ID&turn=TURN&after=TURN.SEQ`: what keeps a page up to date.
//!
//! On connect the list of conversations and the servers come whole, then what the page misses of
//! its conversation, then changes as they happen, as [`Patch`]es. Ids are `turn.seq`: a stream that
//! comes back is sent what was committed after its last id, and every open item whole; one whose id
//! is not known gets a `reset` with all there is.

mod list;
mod sync;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::pending,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event as Frame, KeepAlive, Sse},
    },
};
use chat::{
    ids::{ConversationId, TurnId},
    selection::Selection,
};
use futures_util::stream;
use serde::Deserialize;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use self::list::ListRow;
use super::{
    greeting::{self, EXAMPLES},
    paint::{Has, Painter},
    patch::Patch,
    sidebar::{self, Rest, SERVERS, Wanted},
};
use crate::{app::AppState, error::Problem, gate::Caller, servers::UserServers, streams::Place};

/// How often a silent stream says that it is alive: well under every proxy's patience.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often the marks of conversations that are being answered are looked at.
const MARKS_APART: Duration = Duration::from_millis(500);

/// The wait that a page is asked for before it comes back, milliseconds: quick, and not all pages
/// at once.
const RETRY_MS: std::ops::Range<u64> = 200..1200;

/// What a page shows already.
#[derive(Deserialize)]
pub(crate) struct Shown {
    /// The conversation; none on a page for a new one.
    #[serde(default)]
    conversation: Option<ConversationId>,
    /// The branch that goes through this turn; none for the newest.
    #[serde(default)]
    turn: Option<TurnId>,
    /// The last event that the page has.
    #[serde(default)]
    after: String,
    /// The page leaves out the newer turns of the branch: it is sent none of them.
    cut: Option<String>,
}

/// The handler; see the module.
pub(crate) async fn events(
    State(app): State<AppState>,
    Query(shown): Query<Shown>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
    caller: Caller,
) -> Result<Response, Problem> {
    let place = app.streams.place(&caller.person.subject)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let position = Position::parse(last.unwrap_or(&shown.after));
    if let Some(conversation) = &shown.conversation {
        app.turns.owner_here(&caller.session, conversation);
    }
    look_at_servers(&app, &caller);
    let mut reader = Reader::new(app, caller, place, shown, wanted);
    reader.begin(position).await?;
    let frames = stream::unfold(reader, |mut reader| async move {
        let frame = reader.next().await?;
        Some((Ok::<_, Infallible>(frame), reader))
    });
    Ok(Sse::new(frames)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

/// Tries the user's servers, unless that was done a moment ago: the page shows how they are.
fn look_at_servers(app: &AppState, caller: &Caller) {
    if !app.page.should_look(&caller.person.subject) {
        return;
    }
    let (app, session) = (app.clone(), Arc::clone(&caller.session));
    let (tasks, shutdown) = (app.context.tasks.clone(), app.context.shutdown.clone());
    tasks.spawn(async move {
        let _ended = shutdown
            .run_until_cancelled(app.try_servers(&session))
            .await;
    });
}

/// The last event a page has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Position {
    turn: TurnId,
    seq: u64,
}

impl Position {
    fn parse(id: &str) -> Option<Self> {
        let (turn, seq) = id.rsplit_once('.')?;
        Some(Self {
            turn: turn.into(),
            seq: seq.parse().ok()?,
        })
    }
}

/// The stream of one page.
struct Reader {
    app: AppState,
    caller: Caller,
    _place: Place,
    conversation: Option<ConversationId>,
    /// The branch of it that goes through this turn; none for the newest.
    through: Option<TurnId>,
    /// The page leaves out its newer turns.
    is_cut: bool,
    /// The turn that runs in another branch of it: not one to be followed.
    elsewhere: Option<TurnId>,
    servers: Arc<UserServers>,
    ready: VecDeque<Frame>,
    /// The last event of the conversation that was sent.
    position: Option<Position>,
    /// The turn that is being followed, and how much of it was sent.
    following: Option<Following>,
    /// A turn of the conversation began or ended since the page was last brought up to date.
    stale: bool,
    /// What of the list the page shows.
    wanted: Wanted,
    rows: Vec<ListRow>,
    rest: Rest,
    /// The conversation, where it is not in the list that the page shows.
    apart: Option<ListRow>,
    /// What is switched off in the conversation.
    off: Selection,
    sent: Sent,
    turns: watch::Receiver<u64>,
    server_changes: watch::Receiver<u64>,
    recalls: watch::Receiver<u64>,
    /// When the marks are to be looked at again.
    marks_due: Instant,
    ends: Instant,
}

/// What stands beside the conversation, as it was sent last.
#[derive(Default)]
struct Sent {
    list: Hashed,
    servers: Hashed,
    examples: Hashed,
    gone: Hashed,
    /// That a turn runs in another branch.
    elsewhere: Hashed,
    /// What waits for the user.
    needs: Hashed,
}

/// Of HTML that was sent, enough to know it again: there are many open pages.
#[derive(Default)]
struct Hashed(Option<u64>);

struct Following {
    painter: Arc<Painter>,
    changes: watch::Receiver<u64>,
    has: Has,
    due: Option<Instant>,
}

impl Reader {
    fn new(app: AppState, caller: Caller, place: Place, shown: Shown, wanted: Wanted) -> Self {
        let subject = &caller.person.subject;
        let servers = app.context.servers.of(subject);
        Self {
            conversation: shown.conversation,
            through: shown.turn,
            is_cut: shown.cut.is_some(),
            elsewhere: None,
            ready: VecDeque::new(),
            position: None,
            following: None,
            stale: false,
            wanted,
            rows: Vec::new(),
            rest: Rest::default(),
            apart: None,
            off: Selection::default(),
            sent: Sent::default(),
            turns: app.turns.changes(subject),
            server_changes: servers.changes(),
            recalls: caller.session.recalls(),
            marks_due: Instant::now() + MARKS_APART,
            ends: Instant::now() + app.stream_life(),
            servers,
            app,
            caller,
            _place: place,
        }
    }

    /// What a page gets first.
    async fn begin(&mut self, position: Option<Position>) -> Result<(), Problem> {
        self.ready.push_back(Frame::default().retry(jitter()));
        self.position = position;
        self.look_at_list().await?;
        self.send_servers();
        self.sync().await
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.wait().await?.is_err() {
                // The problem is in the log; the page comes back and asks again.
                return None;
            }
        }
    }

    /// Waits for something to happen and deals with it; none when the stream is to end.
    async fn wait(&mut self) -> Option<Result<(), Problem>> {
        let mut rows = self.rows.iter().chain(&self.apart);
        let marks = rows.any(|row| row.row.open_turn.is_some());
        let shutdown = self.app.context.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            _recalled = self.recalls.changed() => return None,
            () = tokio::time::sleep_until(self.ends) => return None,
            _changed = self.turns.changed() => return Some(self.look_again().await),
            () = news(self.following.as_mut()) => {}
            _changed = self.server_changes.changed() => {
                self.send_servers();
                if self.following.is_none() {
                    return Some(Ok(()));
                }
                // The cards of calls show some of it.
            }
            () = tokio::time::sleep_until(self.marks_due), if marks => {
                self.marks_due = Instant::now() + MARKS_APART;
                return Some(self.look_at_marks().await);
            }
        }
        self.follow();
        if self.following.is_none() {
            // The turn has ended, and the list says so.
            return Some(self.look_again().await);
        }
        Some(Ok(()))
    }

    /// Sends what is new in the turn that is being followed.
    fn follow(&mut self) {
        let Some(following) = &mut self.following else {
            return;
        };
        // Asked first: what comes after it is in the update.
        let closed = following.painter.live().look(|view| view.closed);
        let update = following.painter.update(following.has);
        following.has = update.has;
        following.due = update.due;
        if let Some(position) = &mut self.position {
            position.seq = update.seq;
        }
        if update.ended || (closed && update.due.is_none()) {
            self.following = None;
        }
        self.send(update.patches);
    }

    /// Sends patches of the conversation: with the last one the page has all up to the position.
    fn send(&mut self, patches: Vec<Patch>) {
        let last = patches.len().saturating_sub(1);
        for (n, patch) in patches.into_iter().enumerate() {
            let frame = patch.frame();
            self.ready.push_back(match &self.position {
                Some(position) if n == last => {
                    frame.id(super::position(&position.turn, position.seq))
                }
                Some(_) | None => frame,
            });
        }
    }

    fn send_servers(&mut self) {
        self.server_changes.mark_unchanged();
        let subject = &self.caller.person.subject;
        let html = sidebar::servers_of(&self.app, subject, &self.servers, &self.off);
        send_part(&mut self.ready, SERVERS, html, &mut self.sent.servers);
        if self.conversation.is_none() {
            let html = greeting::examples(&self.app, &self.servers.all());
            send_part(&mut self.ready, EXAMPLES, html, &mut self.sent.examples);
        }
    }
}

/// Sends what stands beside the conversation, unless that was sent already.
fn send_part(ready: &mut VecDeque<Frame>, id: &str, html: String, sent: &mut Hashed) {
    let mut hasher = DefaultHasher::new();
    html.hash(&mut hasher);
    let hash = hasher.finish();
    if sent.0.replace(hash) != Some(hash) {
        ready.push_back(Patch::replace(id, html).frame());
    }
}

/// Completes when there is something new in the turn, or something held back is due.
async fn news(following: Option<&mut Following>) {
    let Some(following) = following else {
        return pending().await;
    };
    match following.due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => {
            if following.changes.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    }
}

/// A wait somewhere in the range: the random bits of a UUID choose.
fn jitter() -> Duration {
    let span = u128::from(RETRY_MS.end - RETRY_MS.start);
    let offset = Uuid::new_v4().as_u128() % span;
    Duration::from_millis(RETRY_MS.start + u64::try_from(offset).unwrap_or_default())
}
