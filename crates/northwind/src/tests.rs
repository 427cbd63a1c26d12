//! The server over real HTTP, in both eras.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Error, Options, Pomerium, Source, serve};

const FOR_EVER: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

/// More than anything here should take, less than the time limit of a call.
const SOON: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

pub(crate) struct Running {
    dir: TempDir,
    pub(crate) address: SocketAddr,
    /// Headers of every request.
    pub(crate) headers: Vec<(&'static str, String)>,
    shutdown: CancellationToken,
    served: JoinHandle<Result<(), Error>>,
    tracker: TaskTracker,
}

impl Running {
    async fn start() -> Self {
        Self::behind(None).await
    }

    pub(crate) async fn behind(pomerium: Option<Pomerium>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let options = Options {
            journal: Some(dir.path().join("journal.jsonl")),
            allowed_hosts: vec!["db.example.com".to_owned()],
            pomerium,
            ..Options::new(Source::Demo(dir.path().join("demo.db")))
        };
        let tracker = TaskTracker::new();
        let served = tracker.spawn(serve(listener, options, shutdown.clone()));
        Self {
            dir,
            address,
            headers: Vec::new(),
            shutdown,
            served,
            tracker,
        }
    }

    fn journal(&self) -> Vec<Value> {
        let path: PathBuf = self.dir.path().join("journal.jsonl");
        // Before the server has started there is none.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    async fn journalled(&self, lines: usize) -> Vec<Value> {
        let waited = async {
            while self.journal().len() < lines {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, waited).await.unwrap();
        self.journal()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.tracker.spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    pub(crate) fn post(&self, message: &Value, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
        let mut request = Request::post("/mcp")
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request
            .body(Full::new(Bytes::from(message.to_string())))
            .unwrap()
    }

    pub(crate) async fn client(&self, era: Era) -> Client<'_> {
        let session = match era {
            Era::Modern => None,
            Era::Legacy => Some(self.initialize().await),
        };
        Client {
            server: self,
            era,
            session,
        }
    }

    async fn initialize(&self) -> String {
        let hello = json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": { "name": "test", "version": "1" },
            },
        });
        let response = self.send(self.post(&hello, &[])).await;
        let session = response.headers()["mcp-session-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let events = events(response).await;
        assert_eq!(events[0]["result"]["serverInfo"]["name"], "northwind");
        assert_eq!(events[0]["result"]["protocolVersion"], "2025-11-25");
        let done = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let response = self
            .send(self.post(&done, &[("mcp-session-id", &session)]))
            .await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        session
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(SOON, self.served).await.unwrap().unwrap().unwrap();
    }
}

pub(crate) struct Client<'a> {
    server: &'a Running,
    era: Era,
    pub(crate) session: Option<String>,
}

impl Client<'_> {
    fn request(&self, id: u32, method: &str, mut params: Value) -> Request<Full<Bytes>> {
        let name = params["name"].as_str().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        match self.era {
            Era::Legacy => {
                headers.push(("mcp-protocol-version", "2025-11-25"));
                headers.push(("mcp-session-id", self.session.as_deref().unwrap()));
            }
            Era::Modern => {
                headers.push(("mcp-protocol-version", "2026-07-28"));
                headers.push(("mcp-method", method));
                if !name.is_empty() {
                    headers.push(("mcp-name", &name));
                }
                let meta = &mut params["_meta"];
                meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
                meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
                meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "t", "version": "1" });
            }
        }
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.server.post(&message, &headers)
    }

    /// All messages of the answer, the response last.
    async fn ask(&self, method: &str, params: Value) -> Vec<Value> {
        let response = self.server.send(self.request(1, method, params)).await;
        timeout(SOON, events(response)).await.unwrap()
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let mut told = self
            .ask(
                "tools/call",
                json!({ "name": tool, "arguments": arguments }),
            )
            .await;
        told.pop().unwrap()["result"].take()
    }
}

/// The JSON-RPC messages of a body, whether it is an event stream or one message.
async fn events(response: Response<Incoming>) -> Vec<Value> {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    if let Ok(message) = serde_json::from_str(&text) {
        return vec![message];
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.filter(|data| !data.trim().is_empty())
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn tools_are_listed_with_schemas_and_hints() {
    let server = Running::start().await;
    for era in [Era::Legacy, Era::Modern] {
        let client = server.client(era).await;
        let told = client.ask("tools/list", json!({})).await;
        let tools = told[0]["result"]["tools"].as_array().unwrap();
        let names: Vec<_> = tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "describe_table",
                "list_tables",
                "read_query",
                "whoami",
                "write_query"
            ]
        );
        for tool in tools {
            assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
            assert_eq!(tool["outputSchema"]["type"], "object", "{tool}");
            assert!(!tool.to_string().contains("$ref"), "{tool}");
            assert_eq!(tool["title"], tool["annotations"]["title"]);
            let reads = tool["name"] != "write_query";
            assert_eq!(tool["annotations"]["readOnlyHint"], reads);
            assert_eq!(tool["annotations"]["destructiveHint"], !reads);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn each_tool_answers_in_text_and_in_structure() {
    let server = Running::start().await;
    for era in [Era::Legacy, Era::Modern] {
        let client = server.client(era).await;
        let listed = client.call("list_tables", json!({})).await;
        assert_eq!(
            listed["structuredContent"]["tables"][2]["name"],
            "employees"
        );
        assert!(text(&listed).contains("order_details(order_id, product_id, "));
        let described = client
            .call("describe_table", json!({ "table_name": "Orders" }))
            .await;
        assert_eq!(
            described["structuredContent"]["columns"][3]["name"],
            "order_date"
        );
        assert!(text(&described).contains("- customer_id TEXT NOT NULL -> customers.customer_id"));
        let sales = "SELECT strftime('%Y', order_date) AS year, \
            round(sum(unit_price * quantity * (1 - discount)), 2) AS sales \
            FROM orders JOIN order_details USING (order_id) GROUP BY year ORDER BY year";
        let read = client.call("read_query", json!({ "query": sales })).await;
        assert_eq!(
            read["structuredContent"]["columns"],
            json!(["year", "sales"])
        );
        assert_eq!(read["structuredContent"]["rows"][0][0], "2022");
        assert_eq!(read["structuredContent"]["row_count"], 4);
        assert_ne!(read["isError"], true);
        assert!(
            text(&read).starts_with("| year | sales |\n|---|---|\n| 2022 | "),
            "{}",
            text(&read)
        );
        assert!(text(&read).ends_with("\n\n4 row(s)."));
        let raise = "UPDATE products SET unit_price = unit_price + 1 WHERE product_id = ?";
        let write = client
            .call("write_query", json!({ "query": raise, "params": [7] }))
            .await;
        assert_eq!(
            write["structuredContent"],
            json!({ "changes": 1, "returned": null })
        );
        assert_eq!(text(&write), "Done: 1 row(s) changed.");
    }
    server.stop().await;
}

#[tokio::test]
async fn mistakes_are_tool_errors_and_unknown_tools_are_not() {
    let server = Running::start().await;
    for era in [Era::Legacy, Era::Modern] {
        let client = server.client(era).await;
        for (tool, arguments, told) in [
            (
                "read_query",
                json!({ "query": "SELECT 1 FORM" , "limit": 0 }),
                "limit is 0",
            ),
            (
                "read_query",
                json!({ "query": "SELECT * FORM orders" }),
                "line 1, column 10",
            ),
            (
                "read_query",
                json!({ "query": "DELETE FROM orders" }),
                "Use write_query",
            ),
            (
                "read_query",
                json!({ "sql": "SELECT 1" }),
                "unknown field `sql`",
            ),
            ("read_query", json!({}), "missing field `query`"),
            (
                "describe_table",
                json!({ "table_name": "order" }),
                "Did you mean orders?",
            ),
            ("list_tables", json!({ "x": 1 }), "unknown field `x`"),
            (
                "write_query",
                json!({ "query": "DELETE FROM customers" }),
                "FOREIGN KEY",
            ),
        ] {
            let result = client.call(tool, arguments).await;
            assert_eq!(result["isError"], true, "{result}");
            assert!(text(&result).contains(told), "{result}");
        }
        let told = client
            .ask("tools/call", json!({ "name": "drop_all", "arguments": {} }))
            .await;
        assert_eq!(told[0]["error"]["code"], -32602, "{told:?}");
    }
    let ends = server
        .journal()
        .into_iter()
        .filter(|line| line["event"] == "ended");
    assert!(ends.clone().all(|line| line["outcome"] == "error"));
    assert_eq!(ends.count(), 18);
    server.stop().await;
}

#[tokio::test]
async fn a_long_query_tells_its_progress_and_stops_when_the_caller_goes_away() {
    let server = Running::start().await;
    let client = server.client(Era::Modern).await;
    let params = json!({
        "name": "read_query",
        "arguments": { "query": FOR_EVER },
        "_meta": { "progressToken": "p1", "example.com/call": "c1" },
    });
    let mut response = server.send(client.request(1, "tools/call", params)).await;
    let frame = timeout(SOON, response.frame())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let told = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    assert!(
        told.contains("notifications/progress") && told.contains("p1"),
        "{told}"
    );
    let started = server.journal();
    assert_eq!(started[0]["meta"]["example.com/call"], "c1");
    assert_eq!(started[0]["arguments"]["query"], FOR_EVER);
    drop(response);
    let journal = server.journalled(2).await;
    assert_eq!(journal[1]["outcome"], "cancelled");
    server.stop().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_before_any_answer_stops_its_query() {
    let server = Running::start().await;
    let client = server.client(Era::Modern).await;
    let params = json!({ "name": "read_query", "arguments": { "query": FOR_EVER } });
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    // Ends, and closes the connection, as soon as the server has the call.
    tokio::select! {
        _ = sender.send_request(client.request(1, "tools/call", params)) => panic!("answered"),
        _ = connection => panic!("closed"),
        lines = server.journalled(1) => assert_eq!(lines.len(), 1),
    }
    let journal = server.journalled(2).await;
    assert_eq!(journal[1]["outcome"], "cancelled");
    server.stop().await;
}

#[tokio::test]
async fn a_cancel_notification_stops_a_legacy_query() {
    let server = Running::start().await;
    let client = server.client(Era::Legacy).await;
    let params = json!({ "name": "read_query", "arguments": { "query": FOR_EVER } });
    let _response = server.send(client.request(77, "tools/call", params)).await;
    server.journalled(1).await;
    let cancel = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 77 },
    });
    let session = client.session.as_deref().unwrap();
    let started = Instant::now();
    server
        .send(server.post(&cancel, &[("mcp-session-id", session)]))
        .await;
    let journal = server.journalled(2).await;
    assert_eq!(journal[1]["outcome"], "cancelled");
    assert!(started.elapsed() < Duration::from_secs(2));
    server.stop().await;
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let server = Running::start().await;
    let client = server.client(Era::Modern).await;
    for (name, value, status) in [
        ("host", "evil.example.com", StatusCode::FORBIDDEN),
        ("origin", "https://evil.example.com", StatusCode::FORBIDDEN),
        ("origin", "http://localhost:3000", StatusCode::OK),
        ("host", "db.example.com", StatusCode::OK),
        ("host", "db.example.com:8080", StatusCode::OK),
    ] {
        let mut request = client.request(1, "tools/list", json!({}));
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(
            server.send(request).await.status(),
            status,
            "{name}: {value}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn shutdown_ends_sessions_and_running_queries() {
    let server = Running::start().await;
    let legacy = server.client(Era::Legacy).await;
    let modern = server.client(Era::Modern).await;
    let params = json!({
        "name": "read_query",
        "arguments": { "query": FOR_EVER },
        "_meta": { "progressToken": 1 },
    });
    let _one = server
        .send(legacy.request(1, "tools/call", params.clone()))
        .await;
    let _two = server.send(modern.request(1, "tools/call", params)).await;
    server.journalled(2).await;
    let (journal, started) = (server.dir.path().join("journal.jsonl"), Instant::now());
    server.shutdown.cancel();
    timeout(SOON, server.served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    let text = std::fs::read_to_string(journal).unwrap();
    assert_eq!(
        text.matches("\"outcome\":\"cancelled\"").count(),
        2,
        "{text}"
    );
}

#[tokio::test]
async fn a_missing_database_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options::new(Source::File(PathBuf::from("/nowhere/sales.db")));
    let error = serve(listener, options, CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open the database /nowhere/sales.db"
    );
}

#[tokio::test]
async fn shutdown_leaves_the_database_in_one_file() {
    let server = Running::start().await;
    timeout(SOON, async {
        // It serves once the database is open.
        while TcpStream::connect(server.address).await.is_err()
            || !server.dir.path().join("demo.db-wal").exists()
        {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    server.shutdown.cancel();
    let ended = timeout(SOON, server.served).await.unwrap();
    ended.unwrap().unwrap();
    for beside in ["demo.db-wal", "demo.db-shm"] {
        assert!(!server.dir.path().join(beside).exists(), "{beside}");
    }
    assert!(server.dir.path().join("demo.db").exists());
}
