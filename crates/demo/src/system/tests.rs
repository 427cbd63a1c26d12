use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::pomerium::DemoUser;

const PATIENCE: Duration = Duration::from_secs(30);

fn options() -> Options {
    Options {
        port: Port::Exactly(0),
        ..Options::default()
    }
}

/// A request as Ana's browser makes it; the whole answer.
async fn get(demo: &Demo, path: &str) -> String {
    let signed_in = demo.standin().sign_in(DemoUser::Ana).unwrap();
    let address = demo.standin().http_addr();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {CHAT_HOST}:{}\r\ncookie: {}\r\naccept: application/json\r\n\
         connection: close\r\n\r\n",
        address.port(),
        signed_in.cookie
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused_or_the_next_is_used() {
    let taken = bind(0).await.unwrap();
    let port = local(&taken).unwrap().port();
    let refused = Demo::start(Options {
        port: Port::Exactly(port),
        ..options()
    })
    .await;
    assert!(matches!(refused, Err(Error::Listen { .. })), "{refused:?}");
    let next = bind_page(Port::From(port)).await.unwrap();
    assert!(local(&next).unwrap().port() > port);
}

#[tokio::test]
async fn a_database_that_is_none_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes.txt");
    std::fs::write(
        &file,
        "This is no database, but it is longer than a header is.".repeat(9),
    )
    .unwrap();
    let refused = Demo::start(Options {
        database: Some(file),
        ..options()
    })
    .await;
    assert!(
        matches!(
            refused,
            Err(Error::Ended {
                part: "northwind",
                ..
            })
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_wrong_setting_stops_the_start() {
    let settings = [("TOOLGATE_MAX_ROUNDS".to_owned(), "many".to_owned())].into();
    let refused = Demo::start(Options {
        settings,
        ..options()
    })
    .await;
    assert!(matches!(refused, Err(Error::Config(_))), "{refused:?}");
}

#[tokio::test]
async fn with_an_endpoint_in_the_settings_there_is_no_scripted_model() {
    let with = |key: &str, value: &str| Options {
        settings: [(key.to_owned(), value.to_owned())].into(),
        ..options()
    };
    assert!(!with("OPENAI_API_KEY", "sk-1").is_scripted());
    assert!(!format!("{:?}", with("OPENAI_API_KEY", "sk-1")).contains("sk-1"));
    assert!(with("OPENAI_API_KEY", " ").is_scripted());
    let demo = Demo::start(with("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"))
        .await
        .unwrap();
    assert!(demo.model().is_none());
    demo.shutdown().await.unwrap();
}

#[tokio::test]
async fn starts_answers_and_leaves_nothing_behind() {
    let demo = Demo::start(options()).await.unwrap();
    let data = demo.data().to_owned();
    assert!(data.join("northwind.db").exists() && data.join("toolgate.db").exists());

    let session = get(&demo, "/api/session").await;
    assert!(
        session.starts_with("HTTP/1.1 200") && session.contains("Ana"),
        "{session}"
    );
    let routes = get(&demo, "/.pomerium/mcp/routes").await;
    assert!(routes.contains("\"name\":\"Database\"") && routes.contains("http://db.localhost:"));

    let address = demo.standin().http_addr();
    tokio::time::timeout(PATIENCE, demo.shutdown())
        .await
        .unwrap()
        .unwrap();
    assert!(!data.exists());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_directory_that_was_given_stays() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("100% mine?");
    let demo = Demo::start(Options {
        data: Some(data.clone()),
        ..options()
    })
    .await
    .unwrap();
    demo.shutdown().await.unwrap();
    assert!(data.join("toolgate.db").exists());
}

#[tokio::test]
async fn further_servers_have_routes_and_northwind_has_further_rules() {
    let demo = Demo::start(Options {
        servers: vec![Server {
            name: "Clock".to_owned(),
            upstream: "http://127.0.0.1:9/mcp".to_owned(),
        }],
        rules: vec!["deny: {or: [{mcp_tool: {is: write_query}}]}".to_owned()],
        ..options()
    })
    .await
    .unwrap();
    let routes = get(&demo, "/.pomerium/mcp/routes").await;
    assert!(
        routes.contains("\"name\":\"Clock\"") && routes.contains("http://clock.localhost:"),
        "{routes}"
    );
    demo.shutdown().await.unwrap();
}
