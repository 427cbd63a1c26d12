//! Against northwind, a real server that speaks both eras.

use super::*;

async fn northwind() -> (Url, tempfile::TempDir, CancellationToken) {
    let directory = tempfile::tempdir().unwrap();
    let source = ::northwind::Source::Demo(directory.path().join("demo.db"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let stop = CancellationToken::new();
    let serving = ::northwind::serve(listener, ::northwind::Options::new(source), stop.clone());
    TaskTracker::new().spawn(async move { serving.await.unwrap() });
    (url, directory, stop)
}

/// A call of every kind, in the era that `eras` remembers or that is found.
async fn exercise(connection: &Connection) {
    let catalog = connection.catalog();
    assert!(names(&catalog).contains(&"read_query"), "{catalog:?}");
    assert!(catalog.broken.is_empty());
    let read = catalog
        .tools
        .iter()
        .find(|tool| tool.name == "read_query")
        .unwrap();
    assert_eq!(read.hints.read_only, Some(true));
    assert!(read.output_schema.is_some());

    let sql = "SELECT count(*) AS n FROM customers";
    let event = last(connection.call(a_call("read_query", json!({ "query": sql })))).await;
    let CallEvent::Ended {
        outcome: Outcome::Ok,
        raw,
        ..
    } = &event
    else {
        panic!("{event:?}")
    };
    assert!(raw["structuredContent"].is_object(), "{raw}");

    let event = last(connection.call(a_call("read_query", json!({ "query": "SELEC 1" })))).await;
    assert_eq!(outcome(&event), Outcome::ToolError);

    let endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) \
                   SELECT max(n) FROM c";
    let call = connection.call(a_call("read_query", json!({ "query": endless })));
    tokio::time::sleep(Duration::from_millis(500)).await;
    call.cancel();
    assert_eq!(outcome(&last(call).await), Outcome::Cancelled);
    let event = last(connection.call(a_call("list_tables", json!({})))).await;
    assert_eq!(outcome(&event), Outcome::Ok);
}

#[tokio::test]
async fn the_modern_era_works_end_to_end() {
    let (url, _directory, stop) = northwind().await;
    let connection = connect(url).await;
    assert!(!connection.has_session());
    exercise(&connection).await;
    connection.close().await;
    stop.cancel();
}

#[tokio::test]
async fn the_era_of_the_handshake_works_end_to_end() {
    let (url, _directory, stop) = northwind().await;
    let eras = EraMemory::default();
    eras.remember_handshake(&url);
    let options = ConnectOptions {
        eras,
        ..options(url)
    };
    let connection = Connection::connect(options).await.unwrap();
    assert!(connection.has_session());
    exercise(&connection).await;
    connection.close().await;
    stop.cancel();
}
