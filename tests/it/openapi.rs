//! `/api/openapi.json` against the routes there are, and against what Toolgate really answers.

use std::collections::{BTreeMap, BTreeSet};

use chat::ids::CallId;
use demo::model::Reply;
use harness::{Response, User, World};
use http::Method;
use jsonschema::Validator;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    adversary::routes,
    look::{READ, SALES, WRITE, ask_in_vain, queries},
    v1::{CHAT, asking},
};

/// Routes of pages and of what only says that there is nothing: no part of the API.
const PAGES: [&str; 6] = ["/", "/c/", "/connected", "/static/", "/traffic", "/calls/"];

/// The document as the program serves it.
struct Document(Value);

impl Document {
    async fn of(user: &User) -> Self {
        Self(user.get_json("/api/openapi.json").await)
    }

    /// Every operation: its method and its path.
    fn operations(&self) -> BTreeMap<String, &Value> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        let operations = paths.flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| {
                (format!("{} {path}", method.to_uppercase()), operation)
            })
        });
        operations.collect()
    }

    /// What checks a body that the operation answers with this status. Fields that the document
    /// does not name are refused: it has to name all.
    fn validator(&self, operation: &str, status: u16, media: &str) -> Validator {
        let operations = self.operations();
        let answers = &operations[operation]["responses"];
        let named = answers.get(status.to_string());
        let answer = named.unwrap_or(&answers["default"]);
        let answer = match answer["$ref"].as_str() {
            Some(to) => self.0.pointer(to.trim_start_matches('#')).unwrap(),
            None => answer,
        };
        let schema = &answer["content"][media]["schema"];
        assert!(!schema.is_null(), "{operation} {status} {media}: {answer}");
        let mut schema = json!({ "allOf": [schema], "components": self.0["components"] });
        close(&mut schema);
        jsonschema::validator_for(&schema).unwrap()
    }

    /// Fails unless the answer is as described.
    fn check(&self, operation: &str, response: &Response) {
        let media = response.headers["content-type"].to_str().unwrap();
        let media = media.split(';').next().unwrap();
        let validator = self.validator(operation, response.status.as_u16(), media);
        let body: Value = response.json();
        let errors: Vec<_> = validator
            .iter_errors(&body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{operation}: {errors:#?}\n{body:#}");
    }
}

/// Refuses in every object what it does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("properties").is_some_and(Value::is_object)
                && members.get("type") == Some(&json!("object"))
            {
                members
                    .entry("additionalProperties")
                    .or_insert(Value::Bool(false));
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A path without the names of its parameters, and those names.
fn shape(path: &str) -> (String, Vec<String>) {
    let mut names = Vec::new();
    let parts = path.split('/').map(|part| {
        let name = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'));
        match name {
            Some(name) => {
                names.push(name.trim_start_matches('*').to_owned());
                "{}"
            }
            None => part,
        }
    });
    let shape: Vec<_> = parts.collect();
    (shape.join("/"), names)
}

#[tokio::test]
async fn it_is_openapi_and_describes_every_route() {
    let world = World::start().await;
    let ana = world.ana();
    let document = Document::of(&ana).await;
    // Read as OpenAPI 3.1 by somebody else's program.
    let spec = oas3::from_json(document.0.to_string()).unwrap();
    assert!(spec.operations().count() > 20);
    assert_eq!(document.0["info"]["version"], env!("CARGO_PKG_VERSION"));

    let routed: BTreeSet<_> = routes::all()
        .iter()
        .map(|route| route.name().replace("{*", "{"))
        .filter(|name| {
            let path = name.split(' ').nth(1).unwrap();
            !PAGES
                .iter()
                .any(|page| path == *page || (page.len() > 1 && path.starts_with(page)))
        })
        .collect();
    let operations = document.operations();
    let described: BTreeSet<_> = operations.keys().cloned().collect();
    assert_eq!(described, routed);

    let mut ids = BTreeSet::new();
    for (name, operation) in &operations {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is there twice");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let in_path: Vec<_> = parameters
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(in_path, shape(name).1, "{name}");
        let changes = !name.starts_with("GET ") && !name.starts_with("DELETE ");
        assert_eq!(operation["requestBody"].is_object(), changes, "{name}");
    }
    for (name, schema) in document.0["components"]["schemas"].as_object().unwrap() {
        jsonschema::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    references(&document.0, &mut |to| {
        assert!(
            document.0.pointer(to.trim_start_matches('#')).is_some(),
            "{to}"
        );
    });
    world.finish().await;
}

fn references(value: &Value, see: &mut impl FnMut(&str)) {
    if let Some(to) = value["$ref"].as_str() {
        see(to);
    }
    match value {
        Value::Object(members) => members.values().for_each(|value| references(value, see)),
        Value::Array(elements) => elements.iter().for_each(|value| references(value, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn real_answers_are_as_described() {
    let world = World::start().await;
    let ana = world.ana();
    let document = Document::of(&ana).await;
    let get = async |operation: &str, path: &str| {
        let response = ana.get(path).await.expect(200);
        document.check(&format!("GET {operation}"), &response);
        response
    };
    let post = async |operation: &str, path: &str, body: &Value| {
        let response = ana.post(path, body).await;
        document.check(&format!("POST {operation}"), &response);
        response
    };

    // A turn with a call that runs, one with a call that is denied, one that fails.
    let body = json!({ "message_id": Uuid::now_v7(), "message": SALES });
    let posted: harness::Posted = post("/api/messages", "/api/messages", &body).await.json();
    ana.wait_end(&posted.turn).await;
    world
        .model()
        .queue(queries(WRITE, &["DELETE FROM Products"]));
    let asked = ana.ask("Delete everything").await;
    let (question, _) = ana.wait_question(&asked.turn).await;
    let turn = |of: &harness::Posted| format!("/api/turns/{}", of.turn);
    get("/api/turns/{turn}", &turn(&asked)).await;
    let deny = chat::event::Answer::Deny {
        reason: "No.".to_owned(),
    };
    ana.answer(&asked.turn, question, &deny).await.expect(202);
    ana.wait_end(&asked.turn).await;
    world
        .model()
        .queue(queries(READ, &["SELECT * FROM Nothing"]));
    world.model().queue(Reply::error(400, "bad_request", "No."));
    let failed = ana.ask("Fail").await;
    ana.wait_end(&failed.turn).await;
    let running = ask_in_vain(&world, &ana, "Wait").await;

    for of in [&posted, &asked, &failed, &running] {
        get("/api/turns/{turn}", &turn(of)).await;
        get("/api/turns/{turn}/events", &format!("{}/events", turn(of))).await;
        let path = format!("/api/conversations/{}", of.conversation);
        get("/api/conversations/{conversation}", &path).await;
    }
    let result = format!("{}/calls/{}/result", turn(&posted), CallId(1));
    get("/api/turns/{turn}/calls/{call}/result", &result).await;
    for path in [
        "/api/session",
        "/api/openapi.json",
        "/api/servers",
        "/api/conversations",
        "/api/models",
        "/v1/models",
    ] {
        get(path, path).await;
    }
    post("/api/servers", "/api/servers", &json!({})).await;
    let named = json!({ "server": "Database" });
    post("/api/servers/look", "/api/servers/look", &named)
        .await
        .expect(200);
    post(CHAT, CHAT, &asking("Hello")).await.expect(200);
    changes(&document, &ana, &posted).await;
    problems(&document, &ana, &posted).await;
    world.finish().await;
}

/// Renames, deletes and restores a conversation.
async fn changes(document: &Document, ana: &User, posted: &harness::Posted) {
    let path = format!("/api/conversations/{}", posted.conversation);
    let off = json!({ "servers": [], "tools": [{ "server": "Database", "tool": "write_query" }] });
    let body = json!({ "title": "Sales", "off": off });
    let changed = ana
        .send(ana.request(Method::PATCH, &path).json(&body))
        .await;
    document.check(
        "PATCH /api/conversations/{conversation}",
        &changed.expect(200),
    );
    let deletion = ana.request(Method::DELETE, &path).json(&json!({}));
    ana.send(deletion).await.expect(204);
    let restored = ana.post(&format!("{path}/restore"), &json!({})).await;
    let operation = "POST /api/conversations/{conversation}/restore";
    document.check(operation, &restored.expect(200));
}

/// Errors are described too.
async fn problems(document: &Document, ana: &User, posted: &harness::Posted) {
    let finished = format!("/api/turns/{}/cancel", posted.turn);
    let conflict = ana.post(&finished, &json!({})).await.expect(409);
    document.check("POST /api/turns/{turn}/cancel", &conflict);
    let gone = ana.get("/api/turns/none").await.expect(404);
    document.check("GET /api/turns/{turn}", &gone);
    let wrong = ana
        .post("/api/messages", &json!({ "text": 1 }))
        .await
        .expect(400);
    document.check("POST /api/messages", &wrong);
    let model = ana.get("/v1/models/none").await.expect(404);
    document.check("GET /v1/models/{model}", &model);
}

#[test]
fn a_field_that_is_not_described_is_seen() {
    let document = Document(
        serde_json::from_str(include_str!("../../crates/server/src/api/openapi.json")).unwrap(),
    );
    let session = document.validator("GET /api/session", 200, "application/json");
    let mut body = json!({ "subject": "a", "name": "A", "email": null, "token_seconds": 3 });
    assert!(session.is_valid(&body));
    body["token"] = json!("secret");
    assert!(!session.is_valid(&body));
    body.as_object_mut()
        .unwrap()
        .retain(|name, _| name == "subject");
    assert!(!session.is_valid(&body));
}
