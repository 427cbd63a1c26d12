//! Against a server that answers byte for byte what it is told to, over real sockets.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use chat::{
    failure::{Layer, Retry},
    message::ModelCall,
};
use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    http::{HttpOptions, STREAM_BUFFER_BYTES},
    tap::TraceTap,
};

const SSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
const HELLO: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// What the server does with a connection.
#[derive(Clone)]
enum Step {
    Send(String),
    /// Keeps the connection open until the client closes it, and tells.
    Hold,
}

/// A server that answers the n-th request by the n-th script, the last one for the rest.
struct Server {
    port: u16,
    /// The requests so far, head and body.
    requests: Arc<Mutex<Vec<String>>>,
    /// The client closed a connection that was held.
    closed: Arc<Notify>,
}

impl Server {
    async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self {
            port,
            requests: Arc::default(),
            closed: Arc::default(),
        };
        let (requests, closed) = (server.requests.clone(), server.closed.clone());
        TaskTracker::new().spawn(async move {
            let tasks = TaskTracker::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (scripts, requests) = (scripts.clone(), requests.clone());
                let closed = closed.clone();
                tasks.spawn(async move {
                    let mut tcp = tcp;
                    let request = read_request(&mut tcp).await;
                    let count = {
                        let mut requests = requests.lock().unwrap();
                        requests.push(request);
                        requests.len()
                    };
                    for step in scripts[(count - 1).min(scripts.len() - 1)].clone() {
                        match step {
                            Step::Send(text) => {
                                if tcp.write_all(text.as_bytes()).await.is_err() {
                                    return;
                                }
                            }
                            Step::Hold => {
                                while tcp.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                                closed.notify_one();
                            }
                        }
                    }
                    let _ended = tcp.shutdown().await;
                });
            }
        });
        server
    }

    async fn answering(answer: impl Into<String>) -> Self {
        Self::start(vec![vec![Step::Send(answer.into())]]).await
    }

    fn client(&self) -> ModelClient {
        let timeouts = RoundTimeouts {
            first_byte: Duration::from_millis(300),
            idle: Duration::from_millis(150),
        };
        client(self.port, timeouts)
    }

    fn body(&self, request: usize) -> Value {
        let requests = self.requests.lock().unwrap();
        serde_json::from_str(requests[request].split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

async fn read_request(tcp: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = tcp.read(&mut piece).await.unwrap();
        request.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert_ne!(read, 0, "cut request");
            continue;
        };
        let length = head
            .to_lowercase()
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| {
                rest.split("\r\n").next().unwrap().parse::<usize>().unwrap()
            });
        if body.len() >= length {
            return text;
        }
    }
}

fn client(port: u16, timeouts: RoundTimeouts) -> ModelClient {
    let http = Http::new(HttpOptions {
        pomerium_addr: None,
        ca_pem: None,
        tap: Arc::new(TraceTap),
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
    });
    let endpoint = Endpoint {
        base_url: format!("http://127.0.0.1:{port}/v1/").parse().unwrap(),
        api_key: Some("sk-secret".into()),
    };
    ModelClient::new(http.unwrap(), endpoint, timeouts)
}

fn ask(client: &ModelClient) -> Round {
    ask_with(client, &[Message::User("Hi".to_owned())])
}

fn ask_with(client: &ModelClient, messages: &[Message]) -> Round {
    let toolbox = Toolbox::default();
    let request = RoundRequest {
        model: "m",
        messages,
        toolbox: &toolbox,
        tool_choice: ToolChoice::Auto,
        parameters: &serde_json::Map::new(),
    };
    client.round(request, Context::default())
}

/// All events of a round, and no more than the last one. On a task, as a driver takes them. Pieces
/// that follow each other are joined: how many of them come at once is chance.
async fn events(mut round: Round) -> Vec<RoundEvent> {
    let taken = TaskTracker::new().spawn(async move {
        let mut events = Vec::new();
        loop {
            push_joined(&mut events, round.next().await);
            if matches!(
                events.last(),
                Some(RoundEvent::Ended { .. } | RoundEvent::Failed(_))
            ) {
                assert_eq!(
                    round.next().now_or_never(),
                    None,
                    "the last event was the last"
                );
                return events;
            }
        }
    });
    taken.await.unwrap()
}

fn push_joined(events: &mut Vec<RoundEvent>, event: RoundEvent) {
    match (events.last_mut(), event) {
        (Some(RoundEvent::Text(last)), RoundEvent::Text(next))
        | (Some(RoundEvent::Reasoning(last)), RoundEvent::Reasoning(next)) => {
            assert_eq!(last.offset + last.text.len(), next.offset);
            last.text.push_str(&next.text);
        }
        (_, event) => events.push(event),
    }
}

async fn failure(client: &ModelClient) -> RoundFailure {
    match events(ask(client)).await.pop() {
        Some(RoundEvent::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

fn hello() -> RoundEvent {
    RoundEvent::Text(Piece {
        offset: 0,
        text: "Hello".to_owned(),
    })
}

fn ended(text: &str) -> RoundEvent {
    let message = AssistantMessage {
        text: text.to_owned(),
        ..AssistantMessage::default()
    };
    RoundEvent::Ended {
        end: RoundEnd::Stop,
        usage: None,
        message,
    }
}

#[tokio::test]
async fn a_round_streams_and_ends() {
    let world = HELLO.replace("Hello", ", wörld");
    let thought = HELLO
        .replace("content", "reasoning_content")
        .replace("Hello", "Hm.");
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n";
    let server = Server::answering(format!(
        "{SSE}{thought}{HELLO}{world}{world}{STOP}{usage}{DONE}"
    ))
    .await;

    let events = events(ask(&server.client())).await;
    let piece = |offset, text: &str| Piece {
        offset,
        text: text.to_owned(),
    };
    assert_eq!(
        events,
        [
            RoundEvent::Reasoning(piece(0, "Hm.")),
            RoundEvent::Text(piece(0, "Hello, wörld, wörld")),
            RoundEvent::Ended {
                end: RoundEnd::Stop,
                usage: Some(Usage {
                    prompt_tokens: 3,
                    completion_tokens: 4
                }),
                message: AssistantMessage {
                    text: "Hello, wörld, wörld".to_owned(),
                    reasoning: "Hm.".to_owned(),
                    ..AssistantMessage::default()
                },
            },
        ]
    );
    let request = server.requests.lock().unwrap()[0].to_lowercase();
    assert!(
        request.starts_with("post /v1/chat/completions http/1.1\r\n"),
        "{request}"
    );
    for header in [
        "authorization: bearer sk-secret",
        "content-type: application/json",
    ] {
        assert!(request.contains(&format!("\r\n{header}\r\n")), "{request}");
    }
}

/// Status and headers, body; the message's end, whether to try again, a word of the advice.
const REFUSALS: &[(&str, &str, &str, Retry, &str)] = &[
    (
        "401 Unauthorized",
        r#"{"error":{"message":"Incorrect API key provided: sk-secret.","type":"invalid_request_error","code":"invalid_api_key"}}"#,
        "answered 401: Incorrect API key provided: [key].",
        Retry::Never,
        "OPENAI_API_KEY",
    ),
    (
        "404 Not Found",
        r#"{"detail":"Not Found"}"#,
        "answered 404: Not Found",
        Retry::Never,
        "OPENAI_BASE_URL",
    ),
    (
        "404 Not Found",
        r#"{"error":"model \"m\" not found"}"#,
        "answered 404: model \"m\" not found",
        Retry::Never,
        "another model",
    ),
    (
        "400 Bad Request",
        r#"{"object":"error","message":"maximum context length is 4096","code":400}"#,
        "answered 400: maximum context length is 4096",
        Retry::Never,
        "new chat",
    ),
    (
        "429 Too Many Requests\r\nretry-after: 3",
        r#"{"error":{"message":"Slow down","code":null}}"#,
        "answered 429: Slow down",
        Retry::After(Some(3000)),
        "Wait",
    ),
    (
        "429 Too Many Requests\r\nretry-after: 3600",
        "",
        "answered 429 and said nothing.",
        Retry::After(Some(20_000)),
        "Wait",
    ),
    (
        "429 Too Many Requests",
        r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
        "answered 429: You exceeded your current quota",
        Retry::Never,
        "quota",
    ),
    (
        "500 Internal Server Error",
        "oops",
        "answered 500: oops",
        Retry::After(None),
        "log",
    ),
    (
        "500 Internal Server Error",
        r#"{"error":{"code":500,"message":"tools param requires --jinja flag","type":"server_error"}}"#,
        "answered 500: tools param requires --jinja flag",
        Retry::Never,
        "--jinja",
    ),
    (
        "500 Internal Server Error",
        r#"{"error":{"code":500,"message":"[json.exception.parse_error.101] parse error at line 1","type":"server_error"}}"#,
        "answered 500: [json.exception.parse_error.101] parse error at line 1",
        Retry::Never,
        "log",
    ),
    (
        "502 Bad Gateway\r\ncontent-type: text/html",
        "<html><title>502 Bad Gateway</title>",
        "answered 502: a web page, “502 Bad Gateway”",
        Retry::After(None),
        "log",
    ),
    (
        "503 Service Unavailable\r\nretry-after: 0.5",
        "",
        "answered 503 and said nothing.",
        Retry::After(Some(500)),
        "log",
    ),
    (
        "400 Bad Request",
        r#"{"error":{"message":"Failed to call a function","type":"invalid_request_error","code":"tool_use_failed"}}"#,
        "answered 400: Failed to call a function",
        Retry::After(None),
        "try again",
    ),
    (
        "302 Found\r\nlocation: https://login.test/",
        "",
        "answered 302 and said nothing.",
        Retry::Never,
        "OPENAI_BASE_URL",
    ),
];

#[tokio::test]
async fn a_refusal_has_the_endpoints_name_of_the_request() {
    let answer = "HTTP/1.1 400 Bad Request\r\nx-request-id: req_abc123\r\nconnection: close\r\n\
                  content-length: 0\r\n\r\n";
    let server = Server::answering(answer.to_owned()).await;
    let failure = failure(&server.client()).await.failure;
    assert_eq!(failure.request_id.as_deref(), Some("req_abc123"));
    assert!(failure.request_id_name().contains("endpoint"));
}

#[tokio::test]
async fn refusals_say_what_happened_and_what_to_do() {
    for (status, body, message, retry, advice) in REFUSALS {
        let server = Server::answering(format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        let RoundFailure {
            failure,
            retry: found,
        } = failure(&server.client()).await;
        assert_eq!(
            failure.message,
            format!("The model endpoint at 127.0.0.1:{} {message}", server.port)
        );
        assert!(
            failure.advice.contains(advice),
            "{status}: {}",
            failure.advice
        );
        assert_eq!(
            (failure.layer, found),
            (Layer::Model, *retry),
            "{status} {body}"
        );
        assert_eq!(failure.status, status[..3].parse().ok());
        assert_eq!(
            server.requests.lock().unwrap().len(),
            1,
            "{status}: no retry of our own"
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let RoundFailure { failure, retry } = failure(&client(port, RoundTimeouts::default())).await;
    let start = format!("The model endpoint at 127.0.0.1:{port} cannot be reached: ");
    assert!(failure.message.starts_with(&start), "{failure:?}");
    assert!(failure.message.contains("refused"), "{failure:?}");
    assert!(failure.advice.contains("running"), "{failure:?}");
    assert_eq!(retry, Retry::After(None));
}

#[tokio::test]
async fn a_key_that_cannot_be_sent_is_not_sent() {
    let server = Server::answering("").await;
    let http = server.client().0.http.clone();
    let base_url = format!("http://127.0.0.1:{}", server.port).parse().unwrap();
    let endpoint = Endpoint {
        base_url,
        api_key: Some("sk-\nsecret".into()),
    };
    let client = ModelClient::new(http, endpoint, RoundTimeouts::default());
    let RoundFailure { failure, retry } = failure(&client).await;
    assert!(failure.advice.contains("OPENAI_API_KEY") && !failure.message.contains("secret"));
    assert_eq!(retry, Retry::Never);
    assert_eq!(client.models().await.unwrap_err(), failure);
    assert_eq!(server.requests.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_field_that_is_refused_is_left_out_from_then_on() {
    let refusal = |text: &str| {
        format!("HTTP/1.1 422 X\r\nconnection: close\r\n\r\n{{\"detail\":\"{text}\"}}")
    };
    let answer = format!("{SSE}{HELLO}{DONE}");
    let server = Server::start(vec![
        vec![Step::Send(refusal("extra field stream_options"))],
        vec![Step::Send(answer)],
    ])
    .await;
    let client = server.client();
    assert_eq!(events(ask(&client)).await, [hello(), ended("Hello")]);
    assert_eq!(events(ask(&client)).await, [hello(), ended("Hello")]);
    assert_eq!(server.requests.lock().unwrap().len(), 3);
    assert_eq!(server.body(0)["stream_options"]["include_usage"], true);
    assert_eq!(server.body(1).get("stream_options"), None);
    assert_eq!(server.body(2).get("stream_options"), None);

    // An endpoint that refuses whatever we do is asked twice, not for ever.
    let server = Server::answering(refusal("stream_options reasoning_content")).await;
    let failed = failure(&server.client()).await;
    assert_eq!(failed.failure.status, Some(422));
    assert_eq!(server.requests.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn reasoning_is_echoed_where_it_is_demanded() {
    let refusal = "HTTP/1.1 400 X\r\nconnection: close\r\n\r\n\
                   {\"error\":{\"message\":\"Missing `reasoning_content` field\"}}";
    let server = Server::start(vec![
        vec![Step::Send(refusal.to_owned())],
        vec![Step::Send(format!("{SSE}{HELLO}{DONE}"))],
    ])
    .await;
    let call = ModelCall {
        id: "i".to_owned(),
        name: "a".to_owned(),
        arguments: "{}".to_owned(),
        ..ModelCall::default()
    };
    let messages = [
        Message::User("Hi".to_owned()),
        Message::Assistant(AssistantMessage {
            reasoning: "Hm.".to_owned(),
            calls: vec![call],
            ..AssistantMessage::default()
        }),
        Message::Tool {
            call: "i".to_owned(),
            name: "a".to_owned(),
            content: "1".to_owned(),
        },
    ];
    let round = ask_with(&server.client(), &messages);
    assert_eq!(events(round).await, [hello(), ended("Hello")]);
    assert_eq!(server.body(0)["messages"][1].get("reasoning_content"), None);
    assert_eq!(server.body(1)["messages"][1]["reasoning_content"], "Hm.");
}

#[tokio::test]
async fn silence_has_its_limits() {
    let table = [
        ("before the head", String::new(), vec![], 300),
        ("before the first event", SSE.to_owned(), vec![], 300),
        ("after comments", format!("{SSE}: wait\n\n"), vec![], 300),
        (
            "between events",
            format!("{SSE}{HELLO}"),
            vec![hello()],
            150,
        ),
    ];
    for (name, start, mut expected, limit) in table {
        let server = Server::start(vec![vec![Step::Send(start), Step::Hold]]).await;
        let client = server.client();
        let started = Instant::now();
        let mut round = ask(&client);
        // Waiting in small steps, as a driver does that also waits for other things, changes
        // nothing.
        let mut found = Vec::new();
        let last = loop {
            let next = tokio::time::timeout(Duration::from_millis(20), round.next()).await;
            match next {
                Ok(RoundEvent::Failed(failure)) => break failure,
                Ok(event) => found.push(event),
                Err(_) => {}
            }
        };
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(limit), "{name}: {took:?}");
        assert!(
            took < Duration::from_millis(limit + 140),
            "{name}: {took:?}"
        );
        assert_eq!(found, std::mem::take(&mut expected), "{name}");
        assert!(last.failure.message.contains("silent"), "{name}: {last:?}");
        assert_eq!(last.retry, Retry::After(None), "{name}");
        server.closed.notified().await;
    }
}

#[tokio::test]
async fn a_finished_answer_does_not_wait_for_the_connection() {
    let script = vec![Step::Send(format!("{SSE}{HELLO}{STOP}")), Step::Hold];
    let server = Server::start(vec![script]).await;
    assert_eq!(
        events(ask(&server.client())).await,
        [hello(), ended("Hello")]
    );
    server.closed.notified().await;
}

#[tokio::test]
async fn dropping_a_round_aborts_the_request() {
    for (name, start) in [
        ("before the head", String::new()),
        ("before the first event", SSE.to_owned()),
        ("between events", format!("{SSE}{HELLO}")),
    ] {
        let server = Server::start(vec![vec![Step::Send(start.clone()), Step::Hold]]).await;
        let mut round = ask(&client(server.port, RoundTimeouts::default()));
        let wait = Duration::from_millis(100);
        let event = tokio::time::timeout(wait, round.next()).await.ok();
        assert_eq!(event, start.contains("Hello").then(hello), "{name}");
        drop(round);
        let closed = tokio::time::timeout(Duration::from_secs(2), server.closed.notified()).await;
        assert!(closed.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn a_cut_connection_leaves_the_text_and_may_be_tried_again() {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = SSE.replace("connection: close", "transfer-encoding: chunked");
    let server = Server::answering(format!("{head}{}", chunk(HELLO))).await;
    let found = events(ask(&server.client())).await;
    let [first, RoundEvent::Failed(failed)] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(*first, hello());
    assert!(
        failed.failure.message.contains("broke within the answer"),
        "{failed:?}"
    );
    assert_eq!(failed.retry, Retry::After(None));

    // Unless it was at its end.
    let server = Server::answering(format!("{head}{}{}", chunk(HELLO), chunk(STOP))).await;
    assert_eq!(
        events(ask(&server.client())).await,
        [hello(), ended("Hello")]
    );
}

#[tokio::test]
async fn what_a_slow_reader_has_waiting_is_bounded() {
    const COUNT: usize = 4000;
    let text = "x".repeat(1000);
    let event = HELLO.replace("Hello", &text);
    let server = Server::answering(format!("{SSE}{}{DONE}", event.repeat(COUNT))).await;
    let mut round = ask(&server.client());
    let first = round.next().await;
    tokio::time::sleep(Duration::from_millis(200)).await;

    // What was read ahead can be taken without letting any other task run.
    let mut in_hand = Vec::new();
    while let Some(event) = tokio::task::unconstrained(round.next()).now_or_never() {
        in_hand.push(event);
    }
    let said = |events: &[RoundEvent]| -> usize {
        let said = events.iter().map(|event| match event {
            RoundEvent::Text(piece) => piece.text.len(),
            RoundEvent::Reasoning(_) | RoundEvent::Ended { .. } | RoundEvent::Failed(_) => 0,
        });
        said.sum()
    };
    let bytes = said(&in_hand) / text.len() * event.len();
    assert!(bytes <= STREAM_BUFFER_BYTES, "{bytes}");

    // And nothing of the rest is lost.
    let rest = events(round).await;
    let all = said(&[first]) + said(&in_hand) + said(&rest);
    assert_eq!(all, COUNT * text.len());
    assert_eq!(rest.last(), Some(&ended(&text.repeat(COUNT))));
}

#[tokio::test]
async fn models_are_listed() {
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    for (body, ids) in [
        (
            r#"{"object":"list","data":[{"id":"b"},{"id":"a","x":1},{"x":1}]}"#,
            &["b", "a"][..],
        ),
        (r#"{"models":[{"name":"b"},"a"]}"#, &["b", "a"]),
        (r#"["a"]"#, &["a"]),
        (r#"{"data":[]}"#, &[]),
    ] {
        let server = Server::answering(format!("{json}{body}")).await;
        assert_eq!(server.client().models().await.unwrap(), ids, "{body}");
        let request = server.requests.lock().unwrap()[0].to_lowercase();
        assert!(
            request.starts_with("get /v1/models http/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains("\r\nauthorization: bearer sk-secret\r\n"),
            "{request}"
        );
    }
    for (answer, text) in [
        (format!("{json}<html><title>Sign in</title>"), "Sign in"),
        (
            format!("{json}{{\"error\":\"Unexpected endpoint\"}}"),
            "Unexpected endpoint",
        ),
        (format!("{json}{{\"x\":1}}"), "no chat completion"),
        (
            "HTTP/1.1 401 No\r\nconnection: close\r\n\r\n{\"detail\":\"bad sk-secret\"}".to_owned(),
            "bad [key]",
        ),
        (
            format!("{json}{}", " ".repeat(MODELS_BYTES + 1)),
            "too large",
        ),
    ] {
        let server = Server::answering(answer).await;
        let failure = server.client().models().await.unwrap_err();
        assert!(failure.message.contains(text), "{failure:?}");
        assert_ne!(failure.advice, "");
    }
}
