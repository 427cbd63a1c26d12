//! The operator's port: `/livez`, `/readyz`, and the health check of containers.

use std::{net::SocketAddr, process::Output};

use harness::{World, free_port, program};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
};

/// The status and the body of what the operator's port answers; none when nobody listens.
pub(crate) async fn ask(admin: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(admin).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Runs `toolgate` with these settings and nothing else, to its end.
pub(crate) async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let running = Command::new(program())
        .args(arguments)
        .current_dir(directory.path())
        .env_clear()
        .envs(settings.iter().copied())
        .output();
    running.await.unwrap()
}

/// What it complained about in its last line.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[tokio::test]
async fn it_says_whether_it_is_ready_and_nothing_else() {
    let admin = free_port();
    let mut world = World::build()
        .setting("TOOLGATE_ADMIN_LISTEN", admin.to_string())
        .start_with_process()
        .await;
    let (status, body) = ask(admin, "/readyz").await.unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["ready"]), (200, &Value::Bool(true)));
    assert_eq!(ask(admin, "/livez").await.unwrap().0, 200);
    for path in ["/", "/api/session", "/metrics", "/readyz/x"] {
        assert_eq!(ask(admin, path).await.unwrap().0, 404, "{path}");
    }
    // Not through Pomerium.
    assert_eq!(world.ana().get("/readyz").await.status, 404);

    let listen = [("TOOLGATE_ADMIN_LISTEN", admin.to_string())];
    let listen = listen.each_ref().map(|(key, value)| (*key, value.as_str()));
    let healthy = run(&["healthcheck"], &listen).await;
    assert_eq!(healthy.status.code(), Some(0), "{healthy:?}");
    world.toolgate().terminate().await;
    let gone = run(&["healthcheck"], &listen).await;
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    let complaint = complaint(&gone);
    assert!(complaint.contains("cannot connect"), "{complaint}");
    world.finish().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (key, other) in [
        ("TOOLGATE_LISTEN", "TOOLGATE_ADMIN_LISTEN"),
        ("TOOLGATE_ADMIN_LISTEN", "TOOLGATE_LISTEN"),
    ] {
        let ended = run(&[], &[(key, taken.as_str()), (other, "127.0.0.1:0")]).await;
        assert_eq!(ended.status.code(), Some(78), "{ended:?}");
        let complaint = complaint(&ended);
        assert!(
            complaint.starts_with(&format!("toolgate: {key}: cannot listen on {taken}")),
            "{complaint}"
        );
    }
}
