//! Calls whose session is gone, or whose headers the server wants otherwise.

use super::*;

#[tokio::test]
async fn a_forgotten_session_is_made_anew_and_the_call_left_to_its_caller() {
    let sessions = Counter::default();
    let calls = Counter::default();
    let counted = calls.clone();
    let url = serve(move |seen| {
        let (sessions, calls) = (sessions.clone(), counted.clone());
        async move {
            match seen.method() {
                "initialize" => {
                    let session = format!("s-{}", sessions.next());
                    with(seen.plain(), "mcp-session-id", &session)
                }
                "tools/call" if seen.header("mcp-session-id") == Some("s-0") => bare(404),
                "tools/call" => {
                    calls.next();
                    seen.plain()
                }
                _ => seen.plain(),
            }
        }
    })
    .await;
    let connection = connect(url).await;
    let event = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(refusal(&event), Refusal::SessionGone);
    assert_eq!(calls.count(), 0);
    let event = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(outcome(&event), Outcome::Ok);
}

#[tokio::test]
async fn a_call_that_finds_no_new_session_was_not_run() {
    let sessions = Counter::default();
    let url = serve(move |seen| {
        let sessions = sessions.clone();
        async move {
            match seen.method() {
                "initialize" if sessions.next() > 0 => answer(500, "text/plain", "starting"),
                "initialize" => with(seen.plain(), "mcp-session-id", "s-1"),
                "tools/call" => bare(404),
                _ => seen.plain(),
            }
        }
    })
    .await;
    let event = last(connect(url).await.call(a_call("echo", json!({})))).await;
    assert_eq!(outcome(&event), Outcome::Unavailable);
}

#[tokio::test]
async fn a_server_that_wants_other_headers_is_listed_again() {
    let lists = Counter::default();
    let counted = lists.clone();
    let url = serve(move |seen| {
        let lists = counted.clone();
        async move {
            match seen.method() {
                "tools/list" => {
                    lists.next();
                    seen.plain()
                }
                "tools/call" if lists.count() < 2 => {
                    let mut answer = seen.error(-32020, "Mcp-Param-Region missing");
                    *answer.status_mut() = ::http::StatusCode::BAD_REQUEST;
                    answer
                }
                _ => seen.plain(),
            }
        }
    })
    .await;
    let connection = connect(url).await;
    let event = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(refusal(&event), Refusal::HeaderMismatch);
    assert_eq!(lists.count(), 2);
    let event = last(connection.call(a_call("echo", json!({})))).await;
    assert_eq!(outcome(&event), Outcome::Ok);
}
