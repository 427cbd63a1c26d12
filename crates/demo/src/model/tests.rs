use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    model: Model,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

async fn start(options: Options) -> Running {
    let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let model = Model::start(options, listener, &tracker, shutdown.clone()).unwrap();
    Running {
        model,
        tracker,
        shutdown,
    }
}

impl Running {
    async fn open(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.model.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Everything the model sends until it closes the connection.
    async fn send(&self, request: &str) -> String {
        let mut stream = self.open(request).await;
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        read.ok();
        String::from_utf8(answer).unwrap()
    }

    async fn chat(&self, body: &Value) -> String {
        self.send(&post(body)).await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tracker.close();
        timeout(PATIENCE, self.tracker.wait()).await.unwrap();
    }
}

fn post(body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: model\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn hello() -> Value {
    json!({
        "model": MODEL_ID,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": true,
        "stream_options": {"include_usage": true},
    })
}

fn data(answer: &str) -> Vec<&str> {
    answer
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect()
}

fn chunks(answer: &str) -> Vec<Value> {
    data(answer)
        .iter()
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

fn text(answer: &str) -> String {
    let delta = |chunk: &Value| {
        chunk
            .pointer("/choices/0/delta/content")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    chunks(answer).iter().filter_map(delta).collect()
}

#[tokio::test]
async fn refuses_a_wrong_key_and_remembers_the_request() {
    let options = Options {
        key: Some("sesame".into()),
        ..Options::default()
    };
    let running = start(options).await;
    let get =
        |key: &str| format!("GET /v1/models HTTP/1.1\r\nhost: m\r\nconnection: close\r\n{key}\r\n");
    assert!(running.send(&get("")).await.starts_with("HTTP/1.1 401"));
    let refused = running.send(&get("authorization: Bearer open\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("invalid_api_key"));
    let listed = running.send(&get("authorization: Bearer sesame\r\n")).await;
    assert!(listed.starts_with("HTTP/1.1 200") && listed.contains("\"id\":\"scripted-demo\""));

    assert_eq!(running.model.requests().len(), 3);
    assert_eq!(running.model.received(), 0, "nobody asked for an answer");
    let rejected = running.model.rejected();
    assert_eq!(
        rejected
            .iter()
            .map(|request| request.number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    running.stop().await;
}

#[tokio::test]
async fn refuses_what_openai_refuses_before_the_queue_is_asked() {
    let running = start(Options::default()).await;
    running.model.queue(Reply::text("queued"));
    for (request, status) in [
        (post(&json!("nothing")), "400"),
        (post(&json!({"model": MODEL_ID, "messages": []})), "400"),
        (
            post(&json!({"model": "gpt-x", "messages": [{"role": "user", "content": "a"}]})),
            "404",
        ),
        (post(&hello()).replace("POST", "PUT"), "405"),
        (post(&hello()).replace("/chat/", "/chit/"), "404"),
    ] {
        let answer = running.send(&request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(
            answer.contains("\"type\":\"invalid_request_error\""),
            "{answer}"
        );
    }
    assert_eq!(running.model.rejected().len(), 5);
    assert!(text(&running.chat(&hello()).await).contains("queued"));
    assert!(text(&running.chat(&hello()).await).contains("I follow a script"));
    running.stop().await;
}

#[tokio::test]
async fn streams_the_role_the_pieces_the_end_the_usage_and_done() {
    let running = start(Options::default()).await;
    let answer = running.chat(&hello()).await;
    assert!(
        answer.contains("content-type: text/event-stream"),
        "{answer}"
    );
    assert_eq!(data(&answer).last(), Some(&"[DONE]"));
    let chunks = chunks(&answer);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let usage = chunks.last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["total_tokens"].as_u64().unwrap() > 0);
    let finish = &chunks[chunks.len() - 2];
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert!(finish["usage"].is_null() && chunks.len() > 20);
    assert!(text(&answer).ends_with(DISCLAIMER));
    running.stop().await;
}

#[tokio::test]
async fn calls_arrive_in_fragments_and_whole_without_a_stream() {
    let running = start(Options::default()).await;
    let call = Call::new(
        "db__read_query",
        &json!({"sql": "SELECT 'a long enough text'"}),
    );
    running
        .model
        .queue(Reply::calls([call.clone(), call.clone()]));
    let answer = running.chat(&hello()).await;
    let mut arguments = [String::new(), String::new()];
    let (mut ids, mut fragments) = (Vec::new(), 0);
    for chunk in chunks(&answer) {
        for delta in chunk["choices"][0]["delta"]["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let index = usize::try_from(delta["index"].as_u64().unwrap()).unwrap();
            arguments[index].push_str(delta["function"]["arguments"].as_str().unwrap());
            fragments += 1;
            ids.extend(delta["id"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(arguments, [call.arguments.clone(), call.arguments.clone()]);
    assert!(
        fragments > 4 && ids.len() == 2 && ids[0] != ids[1],
        "{answer}"
    );
    assert!(answer.contains("\"finish_reason\":\"tool_calls\""));

    let mut request = hello();
    request
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !key.starts_with("stream"));
    running.model.queue(Reply::calls([call.clone()]));
    let answer = running.chat(&request).await;
    let body = &answer[answer.find('{').unwrap()..=answer.rfind('}').unwrap()];
    let body: Value = serde_json::from_str(body).unwrap();
    let message = &body["choices"][0]["message"];
    assert_eq!(
        message["tool_calls"][0]["function"]["arguments"],
        call.arguments
    );
    assert!(message["content"].is_null());
    running.stop().await;
}

#[tokio::test]
async fn a_cut_stream_has_no_proper_end_and_one_without_done_has() {
    let running = start(Options::default()).await;
    running
        .model
        .queue(Reply::text("one two three").with_fault(Fault::CutAfter(2)));
    let cut = running.chat(&hello()).await;
    assert_eq!(data(&cut).len(), 2, "{cut}");
    assert!(!cut.ends_with("0\r\n\r\n"), "{cut}");

    running
        .model
        .queue(Reply::text("one two three").with_fault(Fault::EndAfter(2)));
    let ended = running.chat(&hello()).await;
    assert!(
        data(&ended).len() == 2 && ended.ends_with("0\r\n\r\n"),
        "{ended}"
    );

    running
        .model
        .queue(Reply::text("one two three").with_fault(Fault::NoDone));
    let ended = running.chat(&hello()).await;
    assert!(
        ended.contains("\"stop\"") && !ended.contains("[DONE]"),
        "{ended}"
    );

    running.model.queue(Reply::disconnect());
    assert_eq!(running.chat(&hello()).await, "");
    running.stop().await;
}

#[tokio::test]
async fn raw_replies_come_as_they_are() {
    let running = start(Options::default()).await;
    running.model.queue(Reply::rate_limited(7));
    let limited = running.chat(&hello()).await;
    assert!(limited.starts_with("HTTP/1.1 429") && limited.contains("retry-after: 7"));
    running.model.queue(Reply::html());
    assert!(
        running
            .chat(&hello())
            .await
            .contains("content-type: text/html")
    );
    let pause = Frame::Pause(Duration::from_millis(50));
    running.model.queue(Reply::stream([
        Frame::bytes("data: a"),
        pause,
        Frame::bytes("b\n\n"),
    ]));
    let began = Instant::now();
    assert!(running.chat(&hello()).await.contains("data: a"));
    assert!(began.elapsed() >= Duration::from_millis(50));
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_seen() {
    let running = start(Options::default()).await;
    for (number, reply) in [
        Reply::hang(),
        Reply::text("one two").with_fault(Fault::HangAfter(2)),
    ]
    .into_iter()
    .enumerate()
    {
        running.model.queue(reply);
        let stream = running.open(&post(&hello())).await;
        timeout(PATIENCE, running.model.wait_received(number as u64 + 1))
            .await
            .unwrap();
        assert_eq!(
            running.model.requests()[number].delivery(),
            Delivery::Running
        );
        drop(stream);
        let dropped = async {
            while running.model.requests()[number].delivery() == Delivery::Running {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, dropped).await.unwrap();
        assert_eq!(
            running.model.requests()[number].delivery(),
            Delivery::Dropped
        );
    }
    running.stop().await;
}

#[tokio::test]
async fn the_pace_can_change_while_an_answer_is_on_its_way() {
    let options = Options {
        delay: Duration::from_hours(1),
        ..Options::default()
    };
    let running = start(options).await;
    let answer = async {
        let mut stream = running.open(&post(&hello())).await;
        running.model.wait_received(1).await;
        running.model.set_delay(Duration::ZERO);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(PATIENCE, answer).await.unwrap();
    assert!(answer.contains("[DONE]"));
    running.stop().await;
}

#[tokio::test]
async fn stops_while_replies_hang() {
    let running = start(Options::default()).await;
    running.model.queue(Reply::hang());
    let _stream = running.open(&post(&hello())).await;
    running.model.wait_received(1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_script_of_a_tests_own_answers_instead() {
    let script: Script = Arc::new(|request| Reply::text(request.model()));
    let options = Options {
        script: Some(script),
        ..Options::default()
    };
    let running = start(options).await;
    assert_eq!(text(&running.chat(&hello()).await), MODEL_ID);
    running.stop().await;
}
