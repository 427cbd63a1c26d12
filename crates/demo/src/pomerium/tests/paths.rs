//! Paths and headers that the proxy looks at before anything else.

use super::*;

#[tokio::test]
async fn the_upstream_gets_the_path_as_the_proxy_writes_it() {
    let house = House::open().await;
    let cookie = [("cookie", &*house.ana.cookie)];
    for version in [Version::HTTP_2, Version::HTTP_11] {
        for (path, expected) in [
            ("/a/../b//c/./d?x=/../y//z", "/b/c/d?x=/../y//z"),
            ("//a", "/a"),
            ("/a/%2e%2e/b", "/b"),
            ("/a%20b/%C3%BC", "/a%20b/%C3%BC"),
            ("/pingpong", "/pingpong"),
            ("/.pomeriumx", "/.pomeriumx"),
        ] {
            let url = format!("https://chat.example.test:8443{path}");
            let response = house.send(version, get(&url, &cookie)).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(house.upstream.last().uri, expected);
        }
    }
}

#[tokio::test]
async fn some_paths_never_reach_the_upstream() {
    let house = House::open().await;
    let cookie = [("cookie", &*house.ana.cookie), ("accept", "text/html")];
    for (path, expected) in [
        ("/ping", StatusCode::OK),
        ("/healthz", StatusCode::OK),
        ("/x/../healthz", StatusCode::OK),
        ("//.pomerium//user", StatusCode::OK),
        ("/a%2fb", StatusCode::BAD_REQUEST),
        ("/a%5Cb", StatusCode::BAD_REQUEST),
        ("/a%2f..%2fb", StatusCode::BAD_REQUEST),
        ("/.pomerium/nothing", StatusCode::NOT_FOUND),
    ] {
        for host in ["chat", "db", "ben"] {
            let url = format!("https://{host}.example.test:8443{path}");
            let response = house.send(Version::HTTP_2, get(&url, &cookie)).await;
            assert_eq!(response.status(), expected, "{url}");
        }
    }
    let unknown = get("https://unknown.example.test/x", &[("accept", "text/html")]);
    // The name is in no certificate, so it comes by the plain door.
    let unknown = house.browse(unknown).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert!(text(unknown).await.contains("404 route_not_found"));
    assert_eq!(house.upstream.count(), 0);
}
