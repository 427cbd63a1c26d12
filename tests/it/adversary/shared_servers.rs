//! Two people, each with a laptop, a phone and a program, at the same servers at the same time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chat::outcome::Outcome;
use demo::{
    model::{Call, ChatRequest, Reply},
    notes::Options,
    pomerium::DemoUser,
};
use futures_util::future::join_all;
use harness::{Events, Frame, PATIENCE, User, World};
use http::Method;
use serde_json::{Value, json};
use tokio::{sync::Barrier, time::timeout};

use super::Program;
use crate::{
    fake::{Answer, Fake, Seen, bare, tool, with},
    look::{answer, outcomes},
    notes::{self, Browser},
    v1::{CHAT, Chunks, asking, streamed, turn_of},
};

/// Rounds of each turn.
const ROUNDS: usize = 3;
/// The functions that each round calls at once.
const FUNCTIONS: [&str; 4] = [
    "Old__work",
    "Plain__work",
    "Database__whoami",
    "Notes__list_notes",
];
/// Notes of one of the two that the other does not have.
const NOTES: [(DemoUser, &str); 2] = [
    (DemoUser::Ana, "Board meeting"),
    (DemoUser::Ben, "Order coffee"),
];

/// One session, and what it heard.
struct Lane {
    name: &'static str,
    user: User,
    way: Way,
}

enum Way {
    Page,
    Program(Program),
}

/// What came back to a lane.
struct Heard {
    answer: String,
    /// The results as the page shows them; a program sees none.
    shown: Vec<String>,
    /// Everything that was streamed to it.
    frames: Vec<Frame>,
}

impl Lane {
    fn all(world: &World) -> Vec<Self> {
        let page = |name, user| Self {
            name,
            user,
            way: Way::Page,
        };
        let program = |name, who| {
            let program = Program::sign_in(world, who);
            Self {
                name,
                user: program.user.clone(),
                way: Way::Program(program),
            }
        };
        vec![
            page("ana-laptop", world.ana()),
            page("ana-phone", world.ana()),
            program("ana-program", DemoUser::Ana),
            page("ben-laptop", world.ben()),
            page("ben-phone", world.ben()),
            program("ben-program", DemoUser::Ben),
        ]
    }

    /// Who calls, as servers learn it.
    fn caller(&self) -> (String, String) {
        let subject = self.user.who.subject().to_owned();
        (subject, self.user.sid.to_string())
    }

    async fn run(&self) -> Heard {
        match &self.way {
            Way::Page => self.on_a_page().await,
            Way::Program(program) => self.as_a_program(program).await,
        }
    }

    async fn on_a_page(&self) -> Heard {
        let posted = self.user.ask(self.name).await;
        let mut page = self.user.page_stream(&posted.conversation).await;
        let mut log = self.user.events(&posted.turn, 0).await;
        let mut frames = log.rest().await;
        let own = frames.iter().map(|frame| frame.data.as_str());
        let own: String = own.collect();
        assert!(own.contains(self.name), "{}", self.name);
        frames.extend(so_far(&mut page).await);
        let transcript = self.user.turn(&posted.turn).await;
        assert_eq!(
            outcomes(&transcript),
            [Outcome::Ok; ROUNDS * FUNCTIONS.len()]
        );
        Heard {
            answer: answer(&transcript).to_owned(),
            shown: transcript.calls().map(|call| call.shown.clone()).collect(),
            frames,
        }
    }

    async fn as_a_program(&self, program: &Program) -> Heard {
        let request = program.request(Method::POST, CHAT);
        let request = request.json(&streamed(asking(self.name)));
        let response = self.user.try_begin(request).await.unwrap();
        assert_eq!(response.status(), 200);
        turn_of(response.headers());
        let frames = Events::of(response).rest().await;
        let chunks = Chunks::of(&frames);
        assert!(chunks.done);
        Heard {
            answer: chunks.text(),
            shown: Vec::new(),
            frames,
        }
    }
}

/// What a stream says until it is silent.
async fn so_far(events: &mut Events) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(Some(frame)) = events.next_within(Duration::from_millis(300)).await {
        frames.push(frame);
    }
    frames
}

/// Whether a server issues MCP sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sessions {
    Issued,
    Unknown,
}

/// A server whose calls are answered when one of every lane is there; each answer names its caller.
async fn meeting(sessions: Sessions) -> Fake {
    let everybody = Arc::new(Barrier::new(6));
    let issued = Arc::new(AtomicUsize::new(0));
    Fake::start(move |seen| {
        let (everybody, issued) = (everybody.clone(), issued.clone());
        async move {
            match seen.method() {
                "initialize" if sessions == Sessions::Issued => {
                    let id = format!("session-{}", issued.fetch_add(1, Ordering::SeqCst));
                    with(seen.plain(&[]), "mcp-session-id", &id)
                }
                "tools/call" => answer_together(&seen, &everybody).await,
                "DELETE" => bare(200),
                _ => seen.plain(&[tool("work")]),
            }
        }
    })
    .await
}

async fn answer_together(seen: &Seen, everybody: &Barrier) -> Answer {
    if timeout(PATIENCE, everybody.wait()).await.is_err() {
        return bare(500);
    }
    let from = from(seen);
    let (sub, sid) = (seen.claim("sub"), seen.claim("sid"));
    seen.says(&format!("<{from} is {sub} in {sid}>"))
}

fn from(seen: &Seen) -> String {
    let from = seen.body["params"]["arguments"]["from"].as_str();
    from.unwrap().to_owned()
}

/// Calls every function in each of the rounds, says from whom, and then repeats every result.
fn in_rounds(request: &ChatRequest) -> Reply {
    let messages = request.messages();
    let with_role = |role: &'static str| messages.iter().filter(move |it| it["role"] == role);
    let results: Vec<_> = with_role("tool")
        .map(|message| message["content"].as_str().unwrap_or_default())
        .collect();
    if results.len() == ROUNDS * FUNCTIONS.len() {
        return Reply::text(results.join("\n"));
    }
    let from = with_role("user").next().expect("a question")["content"].clone();
    Reply::calls(FUNCTIONS.map(|name| {
        let says_from = name.ends_with("__work");
        let arguments = if says_from {
            json!({ "from": from })
        } else {
            json!({})
        };
        Call::new(name, &arguments)
    }))
}

#[tokio::test]
async fn six_sessions_of_two_people_share_servers_and_nothing_else() {
    let (old, plain) = (
        meeting(Sessions::Issued).await,
        meeting(Sessions::Unknown).await,
    );
    let world = notes::build(Options::default())
        .server("Old", old.url())
        .server("Plain", plain.url())
        .script(Arc::new(in_rounds))
        .start()
        .await;
    let lanes = Lane::all(&world);
    for (lane, account) in [(&lanes[0], "Ana"), (&lanes[3], "Ben")] {
        Browser::of(&world, &lane.user).agree(account).await;
    }
    let running = join_all(lanes.iter().map(Lane::run));
    // Newer tokens of every session come all the time.
    let coming = async {
        loop {
            for lane in &lanes {
                lane.user.get("/api/session").await.expect(200);
            }
        }
    };
    let heard = tokio::select! {
        heard = running => heard,
        () = coming => unreachable!("it has no end"),
    };
    for (lane, heard) in lanes.iter().zip(&heard) {
        assert_heard_only_own(lane, heard, &lanes);
    }
    for fake in [&old, &plain] {
        assert_came_from_whom_they_were_for(fake, &lanes);
    }
    assert_sessions_are_kept_apart(&old, &lanes);
    world.finish().await;
    old.end().await;
    plain.end().await;
}

/// Every result that came back to a lane is one of its own calls', and what was streamed to it is
/// its person's.
fn assert_heard_only_own(lane: &Lane, heard: &Heard, lanes: &[Lane]) {
    let name = lane.name;
    let (sub, sid) = lane.caller();
    let own = format!("<{name} is {sub} in {sid}>");
    let mut places = vec![heard.answer.clone()];
    if matches!(lane.way, Way::Page) {
        places.push(heard.shown.join("\n"));
    }
    for place in places {
        assert_eq!(place.matches(&own).count(), 2 * ROUNDS, "{name}: {place}");
        assert_eq!(place.matches('<').count(), 2 * ROUNDS, "{name}: {place}");
        for (who, note) in NOTES {
            let own = who == lane.user.who;
            assert_eq!(place.contains(note), own, "{name}: {place}");
            assert_eq!(place.contains(who.email()), own, "{name}: {place}");
        }
    }
    let others = lanes.iter().filter(|other| other.user.who != lane.user.who);
    let others: Vec<_> = others.collect();
    assert_eq!(others.len(), 3);
    assert!(!heard.frames.is_empty());
    for frame in &heard.frames {
        for other in &others {
            for theirs in [
                other.name,
                other.user.who.email(),
                &other.user.sid.to_string(),
            ] {
                assert!(!frame.data.contains(theirs), "{name} heard {frame:?}");
            }
        }
    }
}

/// Every request of a turn came in the session that started it.
fn assert_came_from_whom_they_were_for(fake: &Fake, lanes: &[Lane]) {
    let callers: BTreeSet<_> = lanes.iter().map(Lane::caller).collect();
    for seen in fake.seen() {
        let caller = (seen.claim("sub"), seen.claim("sid"));
        assert!(callers.contains(&caller), "{seen:?} of {caller:?}");
        for secret in ["authorization", "cookie"] {
            assert_eq!(seen.header(secret), None, "{seen:?}");
        }
        if seen.method() == "tools/call" {
            let from = from(&seen);
            let lane = lanes.iter().find(|lane| lane.name == from).unwrap();
            assert_eq!(caller, lane.caller(), "{from}");
        }
    }
    assert_eq!(fake.calls().len(), ROUNDS * lanes.len());
}

/// An MCP session serves one turn's session of Pomerium and no other, and no call is without.
fn assert_sessions_are_kept_apart(old: &Fake, lanes: &[Lane]) {
    let mut users: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for seen in old.seen() {
        let Some(id) = seen.header("mcp-session-id") else {
            assert_ne!(seen.method(), "tools/call");
            continue;
        };
        let caller = (seen.claim("sub"), seen.claim("sid"));
        users.entry(id.to_owned()).or_default().insert(caller);
        if seen.method() == "tools/call" {
            used.entry(from(&seen)).or_default().insert(id.to_owned());
        }
    }
    for (id, users) in &users {
        assert_eq!(users.len(), 1, "{id} is used by {users:?}");
    }
    assert_eq!(used.len(), lanes.len());
    for (lane, ids) in &used {
        assert_eq!(ids.len(), 1, "{lane} uses {ids:?}");
    }
    let ids: BTreeSet<_> = used.values().flatten().collect();
    assert_eq!(ids.len(), lanes.len(), "{used:?}");
}

#[tokio::test]
async fn what_one_session_does_to_the_servers_is_not_done_to_the_other_person() {
    let world = notes::build(Options::default()).start().await;
    let (ana, ben) = (world.ana(), world.ben());
    let bens_program = Program::sign_in(&world, DemoUser::Ben);
    Browser::of(&world, &ana).agree("Ana").await;
    let notes = json!({ "server": "Notes" });
    let look = async |user: &User| -> Value {
        let looked = user.post("/api/servers/look", &notes).await;
        looked.expect(200).json()
    };
    assert_eq!(look(&ana).await["connected"], true);
    assert_eq!(look(&ben).await["connected"], false);
    // Ben's program asks while only Ana has an account.
    world
        .model()
        .queue(Reply::calls([Call::new("Notes__list_notes", &json!({}))]));
    world.model().queue(Reply::text("Done."));
    let request = bens_program.request(Method::POST, CHAT);
    let request = request.json(&asking("What notes do I have?"));
    let response = ben.send(request).await.expect(200);
    let told = ben.turn(&turn_of(&response.headers)).await;
    assert_eq!(outcomes(&told), [Outcome::NeedsConnect]);
    for theirs in [response.body.as_str(), &format!("{told:?}")] {
        assert!(!theirs.contains("Board meeting"), "{theirs}");
    }
    // Disconnecting what he does not have takes nothing from her.
    ben.post("/api/servers/disconnect", &notes)
        .await
        .expect(200);
    assert_eq!(look(&ana).await["connected"], true);
    world.finish().await;
}
