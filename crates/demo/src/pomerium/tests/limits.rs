//! Which bodies policy sees, and which are too large to be seen.

use super::*;

/// `max_request_bytes` 1 MiB, and 4,096 by default.
const LARGE: &str = "https://db.example.test:8443/";
const SMALL: &str = "https://slow.example.test:8443/";

/// A call of a denied tool, this long.
fn call(bytes: usize) -> String {
    let start = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"admin_drop","arguments":{"x":""#;
    let end = r#""}}}"#;
    let filling = "y".repeat(bytes - start.len() - end.len());
    format!("{start}{filling}{end}")
}

#[derive(Debug, PartialEq)]
enum End {
    Denied,
    Ran,
    TooLarge,
}

impl House {
    async fn end_of(&self, version: Version, url: &str, bytes: usize) -> End {
        let request = post(url, &self.te(), &call(bytes));
        let response = self.send(version, request).await;
        let status = response.status();
        let said = text(response).await;
        match status {
            StatusCode::OK if said.contains("access denied") => End::Denied,
            StatusCode::OK if said.contains("ran admin_drop") => End::Ran,
            StatusCode::PAYLOAD_TOO_LARGE if said == "Payload Too Large" => End::TooLarge,
            _ => panic!("{status}: {said}"),
        }
    }
}

#[tokio::test]
async fn the_size_of_a_body_decides_whether_policy_sees_it() {
    let house = House::open().await;
    for (url, bytes, http_2, http_11) in [
        (SMALL, 4_096, End::Denied, End::Denied),
        (SMALL, 4_097, End::Ran, End::Ran),
        (SMALL, 100_000, End::Ran, End::Ran),
        (LARGE, 4_097, End::Denied, End::Denied),
        (LARGE, 32_768, End::Denied, End::Denied),
        (LARGE, 32_769, End::Denied, End::TooLarge),
        (LARGE, 1_048_576, End::Denied, End::TooLarge),
        (LARGE, 1_048_577, End::Ran, End::TooLarge),
        (LARGE, 20_000_000, End::Ran, End::TooLarge),
    ] {
        let ends = (
            house.end_of(Version::HTTP_2, url, bytes).await,
            house.end_of(Version::HTTP_11, url, bytes).await,
        );
        assert_eq!(ends, (http_2, http_11), "{bytes} bytes to {url}");
    }
}

#[tokio::test]
async fn the_app_takes_what_it_likes() {
    let house = House::open().await;
    for version in [Version::HTTP_2, Version::HTTP_11] {
        let request = Request::post("https://chat.example.test:8443/duplex")
            .header("cookie", &house.ana.cookie)
            .body(Full::from("y".repeat(5_000_000)))
            .unwrap();
        let response = house.send(version, request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await.len(), 5_000_000);
    }
}
