use chat::ids::{CallId, TurnId};

use super::*;

fn call() -> Slot {
    Slot::new(Purpose::Call(CallContext {
        turn: TurnId::from("t"),
        call: CallId(1),
    }))
}

fn expecting(id: i64, token: i64) -> (Inbox, Slot) {
    let (inbox, slot) = (Inbox::default(), call());
    let token = ProgressToken(NumberOrString::Number(token));
    inbox.expect(&NumberOrString::Number(id), Some(&token), &slot);
    (inbox, slot)
}

#[test]
fn a_result_is_taken_verbatim_and_rmcp_gets_a_stand_in() {
    for id in [json!(3), json!("3"), json!(3.0)] {
        let (inbox, slot) = expecting(3, 9);
        let result = json!({ "content": [{ "type": "hologram" }], "extra": 1 });
        let seen = inbox.receive(
            json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            None,
        );
        assert_eq!(seen.unwrap()["result"], json!({ "content": [] }));
        assert_eq!(slot.take().reply, Some(Reply::Result(result)));
    }
}

#[test]
fn the_first_reply_counts() {
    let (inbox, slot) = expecting(3, 9);
    slot.reply(Reply::Trouble(Trouble::lost("cut")));
    inbox.receive(json!({ "id": 3, "result": {} }), None);
    assert_eq!(
        slot.take().reply,
        Some(Reply::Trouble(Trouble::lost("cut")))
    );
}

#[test]
fn progress_of_ours_is_merged_and_of_others_passed_on() {
    let (inbox, slot) = expecting(3, 9);
    let report = |token: i64, at: i64| {
        json!({ "method": "notifications/progress",
                "params": { "progressToken": token, "progress": at, "message": "m" } })
    };
    assert!(inbox.receive(report(3, 1), None).is_some());
    assert!(slot.take().progress.is_none());
    assert!(inbox.receive(report(9, 1), None).is_none());
    assert!(inbox.receive(report(9, 2), None).is_none());
    let known = slot.take();
    assert!(known.accepted);
    assert_eq!(known.progress.map(|report| report.done), Some(2.0));
    assert!(slot.take().progress.is_none());
}

#[test]
fn errors_without_form_become_errors_that_rmcp_takes() {
    let (inbox, slot) = expecting(3, 9);
    let seen = inbox.receive(
        json!({ "jsonrpc": "2.0", "id": 3, "error": { "code": "E1" } }),
        None,
    );
    serde_json::from_value::<rmcp::model::ServerJsonRpcMessage>(seen.unwrap()).unwrap();
    assert!(matches!(
        slot.take().reply,
        Some(Reply::Error { code: -32603, .. })
    ));
}

#[test]
fn a_batch_gives_the_answer_in_it() {
    let (inbox, slot) = expecting(3, 9);
    let log = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": {} });
    let answer = json!({ "jsonrpc": "2.0", "id": 3, "result": { "content": [] } });
    let seen = inbox.receive(json!([log, answer]), None).unwrap();
    assert_eq!(seen["id"], 3);
    assert!(slot.take().reply.is_some());
}
