use chat::{event::Target, policy::Policy, toolbox::Function};

use super::*;

fn body(messages: &[Message], toolbox: &Toolbox, tool_choice: ToolChoice) -> String {
    with_parameters(messages, toolbox, tool_choice, &Map::new())
}

fn with_parameters(
    messages: &[Message],
    toolbox: &Toolbox,
    tool_choice: ToolChoice,
    parameters: &Map<String, Value>,
) -> String {
    let request = RoundRequest {
        model: "m",
        messages,
        toolbox,
        tool_choice,
        parameters,
    };
    let request = Request::new(request).unwrap();
    let body = Body {
        request: &request,
        usage: UsageWanted::Yes,
        reasoning: Reasoning::Omitted,
    };
    serde_json::to_string(&body).unwrap()
}

fn toolbox() -> Toolbox {
    let function = |name: &str, parameters: &str| Function {
        name: name.to_owned(),
        target: Target {
            server: "s".to_owned(),
            tool: name.to_owned(),
        },
        policy: Policy::Allow,
        description: format!("Does {name}."),
        parameters: serde_json::from_str(parameters).unwrap(),
    };
    let mut toolbox = Toolbox::default();
    toolbox.functions = vec![
        function(
            "a",
            r#"{"type":"object","properties":{"y":{},"x":{"type":"string"}}}"#,
        ),
        function("b", r#"{"properties":{},"type":"object"}"#),
    ];
    toolbox
}

fn call(id: &str, name: &str, arguments: &str) -> ModelCall {
    ModelCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        extras: Map::new(),
    }
}

fn assistant(text: &str, calls: Vec<ModelCall>) -> Message {
    let text = text.to_owned();
    Message::Assistant(AssistantMessage {
        text,
        calls,
        ..AssistantMessage::default()
    })
}

fn result(call: &str, name: &str) -> Message {
    let (call, name) = (call.to_owned(), name.to_owned());
    Message::Tool {
        call,
        name,
        content: "3".to_owned(),
    }
}

#[test]
fn the_body_is_minimal_and_canonical() {
    let messages = [
        Message::System("Be brief.".to_owned()),
        Message::User("Hi".to_owned()),
        assistant("", vec![call("functions.a:0", "a", r#"{"x": "1"}"#)]),
        result("functions.a:0", "a"),
        assistant("Done.", Vec::new()),
    ];
    assert_eq!(
        body(&messages, &toolbox(), ToolChoice::Auto),
        concat!(
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"tools":["#,
            r#"{"function":{"description":"Does a.","name":"a","parameters":{"properties":{"x":{"type":"string"},"y":{}},"type":"object"}},"type":"function"},"#,
            r#"{"function":{"description":"Does b.","name":"b","parameters":{"properties":{},"type":"object"}},"type":"function"}],"#,
            r#""messages":[{"content":"Be brief.","role":"system"},{"content":"Hi","role":"user"},"#,
            r#"{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{\"x\": \"1\"}","name":"a"},"id":"functions.a:0","type":"function"}]},"#,
            r#"{"content":"3","name":"a","role":"tool","tool_call_id":"functions.a:0"},"#,
            r#"{"content":"Done.","role":"assistant"}]}"#,
        )
    );
}

#[test]
fn a_later_round_starts_with_the_bytes_of_an_earlier_one() {
    let mut messages = vec![Message::User("Hi".to_owned())];
    let first = body(&messages, &toolbox(), ToolChoice::Auto);
    messages.extend([assistant("", vec![call("i", "a", "{}")]), result("i", "a")]);
    let last = body(&messages, &toolbox(), ToolChoice::None);
    assert!(
        last.starts_with(first.strip_suffix("]}").unwrap()),
        "{last}"
    );
    assert!(last.ends_with(r#"],"tool_choice":"none"}"#), "{last}");
}

#[test]
fn tool_choice_is_sent_only_with_tools() {
    let hi = [Message::User("Hi".to_owned())];
    for choice in [ToolChoice::Auto, ToolChoice::None] {
        let body = body(&hi, &Toolbox::default(), choice);
        assert!(!body.contains("tool"), "{body}");
    }
}

#[test]
fn a_history_that_endpoints_would_refuse_is_mended() {
    for arguments in ["", "null", "[1]", "\"x\"", "{\"x\":", "{} {}"] {
        let sent = body(
            &[assistant("", vec![call("i", "a", arguments)])],
            &toolbox(),
            ToolChoice::Auto,
        );
        assert!(sent.contains(r#""arguments":"{}""#), "{arguments}: {sent}");
    }
    for (name, legal) in [
        ("a.b c/ü", "a_b_c__"),
        ("", "_"),
        (&"x".repeat(99), &"x".repeat(64)),
    ] {
        let messages = [
            assistant("", vec![call("i", name, "{}")]),
            result("i", name),
        ];
        let sent = body(&messages, &toolbox(), ToolChoice::Auto);
        assert_eq!(
            sent.matches(&format!(r#""name":"{legal}""#)).count(),
            2,
            "{sent}"
        );
    }
}

#[test]
fn extras_go_back_verbatim_and_cannot_replace_our_fields() {
    let extras = |json: &str| serde_json::from_str::<Map<String, Value>>(json).unwrap();
    let message = AssistantMessage {
        text: "t".to_owned(),
        reasoning: "r".to_owned(),
        calls: vec![ModelCall {
            extras: extras(r#"{"extra_content":{"s":"S"},"id":"x"}"#),
            ..call("i", "a", "{}")
        }],
        extras: extras(r#"{"extra_content":{"s":1},"role":"system"}"#),
    };
    let message = Sent::new(&Message::Assistant(message)).unwrap();
    let plain = r#"{"content":"t","extra_content":{"s":1},"role":"assistant","tool_calls":[{"extra_content":{"s":"S"},"function":{"arguments":"{}","name":"a"},"id":"i","type":"function"}]}"#;
    assert_eq!(message.sent(Reasoning::Omitted).get(), plain);
    let echoed = plain.replace(r#""role""#, r#""reasoning_content":"r","role""#);
    assert_eq!(message.sent(Reasoning::Echoed).get(), echoed);
}

#[test]
fn parameters_pass_and_change_nothing_of_the_request_itself() {
    let parameters = json!({
        "temperature": 0.5,
        "model": "another",
        "stream": false,
        "messages": [],
        "tools": [],
        "tool_choice": "required",
        "stream_options": null,
        "stop": ["\n"],
    });
    let parameters = parameters.as_object().unwrap();
    let messages = [Message::User("Hi".to_owned())];
    let none = Toolbox::default();
    assert_eq!(
        with_parameters(&messages, &none, ToolChoice::Auto, parameters),
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"stop":["\n"],"temperature":0.5,"messages":[{"content":"Hi","role":"user"}]}"#
    );
}

#[test]
fn what_a_caller_gave_passes_as_it_is() {
    let given = json!({
        "role": "developer",
        "name": "operator",
        "content": [{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } }],
        "x_vendor": { "a": [1, null] },
    });
    let given = Message::Given(given.as_object().unwrap().clone());
    let body = body(&[given], &Toolbox::default(), ToolChoice::Auto);
    assert!(
        body.ends_with(
            r#""messages":[{"content":[{"image_url":{"url":"data:image/png;base64,AA=="},"type":"image_url"}],"name":"operator","role":"developer","x_vendor":{"a":[1,null]}}]}"#
        ),
        "{body}"
    );
}
