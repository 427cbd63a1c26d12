//! Ben, with his own cookie and every id of Ana's, at every URL there is: he gets nothing of hers,
//! and changes nothing of hers.

use std::time::{Duration, Instant};

use chat::{
    event::Logged,
    ids::{CallId, QuestionId, TurnId},
};
use demo::{
    model::{Fault, Reply},
    notes::Options,
    pomerium::DemoUser,
};
use harness::{PATIENCE, Posted, User, World};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Program,
    routes::{self, Ids, Route},
};
use crate::{
    look::{READ, WRITE, ask_in_vain, problem, queries},
    notes::Browser,
    v1::{CHAT, asking, openai_error, streamed, turn_of},
};

/// What nobody else's page, answer or error may hold.
const SECRET: &str = "9f1c7f2e-ledger";
/// The routes that name nothing of anybody's: everybody gets their own there.
const OWN: [&str; 17] = [
    "GET /",
    "GET /connected",
    "GET /traffic",
    "GET /api/traffic",
    "GET /api/openapi.json",
    "GET /static/{version}/{name}",
    "GET /api/events",
    "GET /api/session",
    "GET /api/servers",
    "POST /api/servers",
    "POST /api/servers/look",
    "POST /api/servers/disconnect",
    "GET /api/conversations",
    "GET /api/models",
    "POST /v1/chat/completions",
    "GET /v1/models",
    "GET /v1/models/{*model}",
];
/// What clients ask for.
const WANTED: [&str; 3] = ["application/json", "text/html", "text/event-stream"];

/// What Ana has: a turn that is over, one that asks her, one that runs, and two of her program's.
struct Hers {
    ana: User,
    message_id: Uuid,
    posted: Vec<Posted>,
    programs: Vec<TurnId>,
    question: QuestionId,
    /// Keeps her program's turn running.
    _program: reqwest::Response,
}

/// The logs of her turns, her lists, and whether her account is connected.
type Things = (Vec<Vec<Logged>>, [Value; 2], bool);

impl Hers {
    async fn make(world: &World) -> Self {
        let ana = world.ana();
        let message_id = Uuid::now_v7();
        let secret = format!("SELECT '{SECRET}' AS mark");
        world.model().queue(queries(READ, &[&secret]));
        world.model().queue(Reply::text(format!("It is {SECRET}.")));
        let question = format!("Where is {SECRET}?");
        let body = json!({ "message_id": message_id, "message": question });
        let posted = ana.post("/api/messages", &body).await;
        let finished: Posted = posted.expect(202).json();
        ana.wait_end(&finished.turn).await;
        let deletion = format!("DELETE FROM Products WHERE ProductName = '{SECRET}'");
        world.model().queue(queries(WRITE, &[&deletion]));
        let asks = ana.ask(&format!("Delete {SECRET}")).await;
        let (question, _) = ana.wait_question(&asks.turn).await;
        let running = ask_in_vain(world, &ana, SECRET).await;

        let program = Program::sign_in(world, DemoUser::Ana);
        world.model().queue(Reply::text(SECRET));
        let request = program.request(Method::POST, CHAT).json(&asking(SECRET));
        let response = ana.send(request).await.expect(200);
        let over = turn_of(&response.headers);
        let words = Reply::text(format!("{SECRET} one two three four"));
        world.model().queue(words.with_fault(Fault::HangAfter(3)));
        let request = program.request(Method::POST, CHAT);
        let request = request.json(&streamed(asking(SECRET)));
        let response = ana.try_begin(request).await.unwrap();
        Self {
            message_id,
            posted: vec![finished, asks, running],
            programs: vec![over, turn_of(response.headers())],
            question,
            _program: response,
            ana,
        }
    }

    /// The ids of each of her turns, as somebody would combine them.
    fn ids(&self) -> Vec<Ids> {
        let conversation = &self.posted[0].conversation;
        let of_pages = self
            .posted
            .iter()
            .map(|posted| (&posted.conversation, &posted.turn));
        let of_programs = self.programs.iter().map(|turn| (conversation, turn));
        let all = of_pages.chain(of_programs);
        let ids = all.map(|(conversation, turn)| Ids {
            conversation: conversation.clone(),
            turn: turn.clone(),
            question: self.question,
            call: CallId(1),
        });
        ids.collect()
    }

    /// What must not be in anything that Ben gets.
    fn marks(&self) -> Vec<String> {
        let ids = self.ids().into_iter();
        let ids = ids.flat_map(|ids| [ids.conversation.0, ids.turn.0]);
        let who = self.ana.who;
        let mut marks = vec![
            SECRET.to_owned(),
            self.ana.sid.to_string(),
            who.email().to_owned(),
            who.subject().to_owned(),
        ];
        marks.extend(ids);
        marks
    }

    /// All that she sees of her things, once what runs has been written down.
    async fn settled(&self, world: &World) -> Things {
        let until = Instant::now() + PATIENCE;
        let mut last = self.look(world).await;
        loop {
            // More than twice as long as text waits before it is written.
            tokio::time::sleep(Duration::from_millis(600)).await;
            let now = self.look(world).await;
            if now == last {
                return now;
            }
            assert!(Instant::now() < until, "something goes on and on");
            last = now;
        }
    }

    /// All that she sees of her things.
    async fn look(&self, world: &World) -> Things {
        let mut logs = Vec::new();
        for ids in self.ids() {
            logs.push(self.ana.log(&ids.turn).await);
        }
        let lists = ["/api/conversations", "/api/servers"];
        let [conversations, servers] = lists.map(|path| self.ana.get_json::<Value>(path));
        let (conversations, servers) = tokio::join!(conversations, servers);
        let connected = world
            .standin()
            .is_connected(DemoUser::Ana, "notes.localhost");
        (logs, [conversations, servers], connected)
    }
}

/// Ben's request, with her ids wherever there is room.
fn with_her_ids(ben: &User, route: &Route, method: &Method, ids: &Ids) -> RequestBuilder {
    let last = format!("{}.2", ids.turn);
    let query = [
        ("conversation", ids.conversation.as_str()),
        ("turn", ids.turn.as_str()),
        ("after", "1"),
        ("server", "Notes"),
        ("sub", DemoUser::Ana.subject()),
        ("subject", DemoUser::Ana.subject()),
        ("download", ""),
    ];
    let mut url = url::Url::parse(&format!("{}{}", ben.origin, route.path(ids))).unwrap();
    url.query_pairs_mut().extend_pairs(query);
    let path = &url[url::Position::BeforePath..];
    let request = ben
        .request(method.clone(), path)
        .header("last-event-id", &last)
        .header("x-toolgate-turn", ids.turn.as_str())
        .header("mcp-session-id", ids.turn.as_str());
    match *method {
        Method::GET | Method::HEAD => request,
        _ => request.json(&route.body(ids)),
    }
}

fn accepting(request: RequestBuilder, wanted: &'static str) -> RequestBuilder {
    let wanted = HeaderValue::from_static(wanted);
    request.headers(HeaderMap::from_iter([(header::ACCEPT, wanted)]))
}

/// The status, and all of an answer that comes: a stream is read until it is silent.
async fn all_of(ben: &User, request: RequestBuilder) -> (StatusCode, String) {
    let mut response = ben.try_begin(request).await.unwrap();
    let status = response.status();
    let mut all = format!("{:?}\n", response.headers());
    let silence = Duration::from_millis(300);
    while let Ok(Ok(Some(bytes))) = tokio::time::timeout(silence, response.chunk()).await {
        all.push_str(&String::from_utf8_lossy(&bytes));
    }
    (status, all)
}

#[tokio::test]
async fn nothing_of_anas_is_at_any_url_for_ben() {
    let world = World::build()
        .options(|options| options.notes = Some(Options::default()))
        .start()
        .await;
    let ben = world.ben();
    let hers = Hers::make(&world).await;
    Browser::of(&world, &hers.ana).agree("Ana").await;
    hers.ana.post("/api/servers", &json!({})).await.expect(200);
    let before = hers.settled(&world).await;
    assert!(before.2, "her account is connected");
    let marks = hers.marks();
    for route in routes::all() {
        let named = route.names_something();
        let own = OWN.contains(&route.name().as_str());
        assert!(named != own, "whose is what {} gives?", route.name());
        let mut methods = vec![route.method()];
        if route.method() == Method::GET {
            methods.push(Method::HEAD);
        }
        // What names nothing is asked with fewer of her ids.
        let few = if named { 1 } else { 2 };
        for (ids, method) in hers
            .ids()
            .iter()
            .step_by(few)
            .flat_map(|ids| methods.iter().map(move |method| (ids, method)))
        {
            for wanted in WANTED {
                let request = with_her_ids(&ben, &route, method, ids);
                let (status, all) = all_of(&ben, accepting(request, wanted)).await;
                let what = format!("{method} {} as {wanted}: {status} {all}", route.path(ids));
                if named {
                    assert_eq!(status, 404, "{what}");
                } else {
                    assert!(!status.is_server_error(), "{what}");
                }
                for mark in &marks {
                    assert!(!all.contains(mark), "{mark} is in {what}");
                }
            }
        }
    }
    let after = hers.look(&world).await;
    assert_eq!(after.0, before.0, "a turn of hers has changed");
    assert_eq!(
        (after.1, after.2),
        (before.1, before.2),
        "it has changed for her"
    );
    assert!(world.journal().with("DELETE").is_empty());
    taken_message_id(&ben, &hers, &marks).await;
    for turn in hers.ids().into_iter().map(|ids| ids.turn).skip(1) {
        hers.ana.cancel(&turn).await;
        hers.ana.wait_end(&turn).await;
    }
    drop(hers);
    world.finish().await;
}

/// The id that a page of hers gave a message finds her turn for her alone.
async fn taken_message_id(ben: &User, hers: &Hers, marks: &[String]) {
    let mut body = json!({ "message_id": hers.message_id, "message": "Mine?" });
    let posted = ben.post("/api/messages", &body).await.expect(202);
    for mark in marks {
        assert!(!posted.body.contains(mark), "{}", posted.body);
    }
    let posted: Posted = posted.json();
    ben.wait_end(&posted.turn).await;
    body["message"] = json!(format!("Where is {SECRET}?"));
    let again: Posted = hers
        .ana
        .post("/api/messages", &body)
        .await
        .expect(202)
        .json();
    assert_eq!(again, hers.posted[0]);
}

#[tokio::test]
async fn what_is_somebody_elses_is_told_as_what_never_was() {
    let world = World::start().await;
    let (ana, ben) = (world.ana(), world.ben());
    world
        .model()
        .queue(queries(WRITE, &["DELETE FROM Products"]));
    let posted = ana.ask("Delete").await;
    let (question, call) = ana.wait_question(&posted.turn).await;
    let hers = Ids {
        conversation: posted.conversation.clone(),
        turn: posted.turn.clone(),
        question,
        call,
    };
    let never = Ids {
        conversation: Uuid::now_v7().to_string().as_str().into(),
        turn: Uuid::now_v7().to_string().as_str().into(),
        ..hers.clone()
    };
    for route in routes::all().iter().filter(|it| it.names_something()) {
        for wanted in WANTED {
            let mut answers = Vec::new();
            for ids in [&hers, &never] {
                let request = with_her_ids(&ben, route, &route.method(), ids);
                let response = ben.send(accepting(request, wanted)).await;
                let mut headers = response.headers;
                for name in ["date", "x-request-id", "content-security-policy"] {
                    headers.remove(HeaderName::from_static(name));
                }
                answers.push((response.status, headers, response.body));
            }
            let [hers, never] = &answers[..] else {
                unreachable!("there are two")
            };
            assert_eq!(hers, never, "{} as {wanted}", route.name());
        }
    }
    problem(&ben.cancel(&posted.turn).await, 404, "not_found");
    ana.cancel(&posted.turn).await.expect(202);
    ana.wait_end(&posted.turn).await;
    world.finish().await;
}

#[tokio::test]
async fn a_program_with_somebody_elses_ids_gets_openais_404_or_its_own() {
    let world = World::start().await;
    let program = Program::sign_in(&world, DemoUser::Ben);
    let ana = world.ana();
    let posted = ana.ask_to_end(SECRET).await;
    for path in [
        format!("/v1/chat/completions/{}", posted.turn),
        format!("/v1/turns/{}", posted.turn),
        format!("/v1/models/{}", posted.turn),
    ] {
        let response = ana.send(program.request(Method::GET, &path)).await;
        assert_eq!(response.status, 404, "{path}: {}", response.body);
        openai_error(&response.json());
        assert!(!response.body.contains(SECRET), "{}", response.body);
    }
    for path in [
        format!("/api/turns/{}", posted.turn),
        format!("/api/turns/{}/events", posted.turn),
        format!("/api/conversations/{}", posted.conversation),
    ] {
        let response = ana.send(program.request(Method::GET, &path)).await;
        problem(&response, 404, "not_found");
    }
    world.finish().await;
}
