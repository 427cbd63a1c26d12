//! Audit lines.

use std::sync::Mutex;

use serde_json::json as object;

use super::*;

/// A house that keeps its audit lines.
async fn audited(fields: &str) -> (House, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let keep = move |line: &str| kept.lock().unwrap().push(line.to_owned());
    let options = Options {
        config: format!("{fields}{CONFIG}"),
        audit: Some(AuditSink::new(keep)),
        ..Options::default()
    };
    (House::with(options).await, lines)
}

/// The newest line, without its time.
fn newest(lines: &Mutex<Vec<String>>) -> Value {
    let mut line: Value = serde_json::from_str(lines.lock().unwrap().last().unwrap()).unwrap();
    let time = line.as_object_mut().unwrap().remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'));
    line
}

const FIELDS: &str = "authorize_log_fields: [request-id, user, email, mcp-method, mcp-tool, mcp-tool-parameters, host]\n";
const DB: &str = "https://db.example.test:8443/";

#[tokio::test]
async fn a_tool_call_is_told_with_its_arguments_in_the_order_of_the_fields() {
    let (house, lines) = audited(FIELDS).await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"admin_drop","arguments":{"b":1,"a":"ü"}}}"#;
    let response = house
        .send(Version::HTTP_2, post(DB, &house.te(), call))
        .await;
    let id = header(response.headers(), "x-request-id").to_owned();
    let start = format!(
        r#"{{"level":"info","server-name":"all","service":"authorize","request-id":"{id}","user":"sub-ana@example.com","email":"ana@example.com","mcp-method":"tools/call","mcp-tool":"admin_drop","mcp-tool-parameters":"#
    );
    let line = lines.lock().unwrap().last().unwrap().clone();
    assert!(line.starts_with(&start), "{line}");
    assert!(line.ends_with(r#""message":"authorize check"}"#), "{line}");
    let told = newest(&lines);
    assert_eq!(told["mcp-tool-parameters"], object!({"a": "ü", "b": 1}));
    assert_eq!(told["host"], "db.example.test:8443");
    assert_eq!(told["allow"], true);
    assert_eq!(told["allow-why-true"], object!(["domain-ok"]));
    assert_eq!(told["deny"], true);
    assert_eq!(told["deny-why-true"], object!(["mcp-tool-match"]));
    assert_eq!(lines.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_policy_does_not_see_the_audit_does_not_tell() {
    let (house, lines) = audited(FIELDS).await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"admin_drop","arguments":{}}}"#;
    let mut as_text = post(DB, &house.te(), call);
    let plain = "text/plain".parse().unwrap();
    as_text.headers_mut().insert("content-type", plain);
    let padded = format!("{call}{}", " ".repeat(5000));
    let slow = "https://slow.example.test:8443/";
    for request in [
        as_text,
        post(DB, &house.te(), &format!("[{call}]")),
        post(slow, &house.te(), &padded),
        get(DB, &[("cookie", &*house.ana.cookie)]),
        get(
            "https://chat.example.test:8443/echo",
            &[("cookie", &*house.ana.cookie)],
        ),
    ] {
        let before = house.upstream.count();
        house.send(Version::HTTP_2, request).await;
        assert_eq!(house.upstream.count(), before + 1);
        let told = newest(&lines);
        assert_eq!(
            (&told["allow"], &told["deny"]),
            (&object!(true), &object!(false))
        );
        let is_mcp = |name: &String| name.starts_with("mcp-");
        assert!(!told.as_object().unwrap().keys().any(is_mcp), "{told}");
    }
}

#[tokio::test]
async fn by_default_nothing_is_told_of_mcp() {
    let (house, lines) = audited("").await;
    let nobody = house
        .send(
            Version::HTTP_2,
            get("https://chat.example.test:8443/echo?x=1", &[]),
        )
        .await;
    let id = header(nobody.headers(), "x-request-id").to_owned();
    let expected = object!({
        "level": "info",
        "server-name": "all",
        "service": "authorize",
        "request-id": id,
        "method": "GET",
        "path": "/echo",
        "host": "chat.example.test:8443",
        "ip": "127.0.0.1",
        "user": "",
        "email": "",
        "allow": false,
        "allow-why-false": ["user-unauthenticated"],
        "deny": false,
        "deny-why-false": [],
        "message": "authorize check",
    });
    assert_eq!(newest(&lines), expected);

    house.initialize(&house.te()).await;
    let told = newest(&lines);
    assert_eq!(told["session-id"], house.ana.sid.to_string());
    assert_eq!(told["mcp-method"], Value::Null);

    let routes = "https://chat.example.test:8443/.pomerium/mcp/routes";
    let cookie = [("cookie", &*house.ana.cookie)];
    house.send(Version::HTTP_2, get(routes, &cookie)).await;
    assert_eq!(
        newest(&lines)["allow-why-true"],
        object!(["pomerium-route"])
    );
}
