//! Every URL there is, read off the code that routes them: a new one is tried by all of these tests,
//! or fails them until somebody says what it takes.

use std::{collections::BTreeSet, fs, path::Path};

use chat::ids::{CallId, ConversationId, QuestionId, TurnId};
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::v1::asking;

/// The methods that axum has routers for.
const METHODS: [&str; 6] = ["get", "post", "put", "delete", "patch", "head"];

/// What only says that there is nothing.
const NOTHING: &str = "any(v1::not_found)";

/// What somebody has that a URL or a body can name.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) conversation: ConversationId,
    pub(super) turn: TurnId,
    pub(super) question: QuestionId,
    pub(super) call: CallId,
}

/// A method and a path as the router has them: `GET`, `/c/{conversation}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    method: String,
    pub(super) template: String,
}

impl Route {
    pub(super) fn method(&self) -> Method {
        self.method.parse().unwrap()
    }

    /// `POST /api/messages`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    /// Whether it names something that belongs to somebody.
    pub(super) fn names_something(&self) -> bool {
        let owned = ["{conversation}", "{turn}", "{question}", "{call}"];
        owned.iter().any(|part| self.template.contains(part)) || self.template == "/api/messages"
    }

    /// The path for these.
    pub(super) fn path(&self, ids: &Ids) -> String {
        let filled = self
            .template
            .replace("{conversation}", ids.conversation.as_str())
            .replace("{turn}", ids.turn.as_str())
            .replace("{question}", &ids.question.to_string())
            .replace("{call}", &ids.call.to_string())
            .replace("{block}", "0")
            // Somebody's turn has none of that id: `traffic_api` tries those it has.
            .replace("{exchange}", "0199aaaa-0000-7000-8000-000000000000")
            .replace("{side}", "request")
            .replace("{version}/{name}", "any/app.js")
            .replace("{*model}", "any");
        assert!(!filled.contains('{'), "what goes into {}?", self.name());
        filled
    }

    /// A body that it takes, about these.
    pub(super) fn body(&self, ids: &Ids) -> Value {
        match self.template.as_str() {
            "/api/servers"
            | "/api/turns/{turn}/cancel"
            | "/api/conversations/{conversation}/restore" => json!({}),
            // The one deletes it whatever the body.
            "/api/conversations/{conversation}" => json!({ "title": "Mine now" }),
            "/api/servers/look" | "/api/servers/disconnect" => json!({ "server": "Notes" }),
            "/api/turns/{turn}/questions/{question}" => json!({ "kind": "approve" }),
            "/api/messages" => json!({
                "message_id": Uuid::now_v7(), "message": "Let me in",
                "conversation": ids.conversation,
            }),
            "/v1/chat/completions" => asking("What do I see?"),
            _ => panic!("what does {} take?", self.name()),
        }
    }
}

/// All routes.
pub(crate) fn all() -> BTreeSet<Route> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/server/src/routes.rs");
    let source = fs::read_to_string(&file).unwrap();
    let code = source.lines().filter(|line| !line.trim().starts_with("//"));
    let code: String = code.flat_map(str::split_whitespace).collect();
    for unread in [".merge(", ".nest_service(", ".route_service(", "concat!("] {
        assert!(!code.contains(unread), "{unread} is not understood here");
    }
    let nests: Vec<_> = code
        .match_indices(".nest(")
        .map(|(at, found)| (at, within(&code[at + found.len()..])))
        .collect();
    let mut routes = BTreeSet::new();
    for (at, found) in code.match_indices(".route(") {
        let arguments = within(&code[at + found.len()..]);
        if arguments.ends_with(NOTHING) {
            continue;
        }
        let nest = nests
            .iter()
            .find(|(from, inside)| (*from..from + inside.len()).contains(&at));
        let prefix = nest.map_or("", |(_, inside)| literal(inside));
        let template = format!("{prefix}{}", literal(arguments));
        let before = routes.len();
        for method in METHODS {
            let takes = [format!(",{method}("), format!(".{method}(")];
            if takes.iter().any(|takes| arguments.contains(takes)) {
                routes.insert(Route {
                    method: method.to_uppercase(),
                    template: template.clone(),
                });
            }
        }
        assert!(routes.len() > before, "no method is seen in {arguments}");
    }
    routes
}

/// Up to the parenthesis that closes the one before this.
fn within(code: &str) -> &str {
    let mut open = 1;
    let end = code.find(|c| {
        match c {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        open == 0
    });
    &code[..end.unwrap()]
}

/// The first string in it.
fn literal(code: &str) -> &str {
    code.split('"').nth(1).unwrap()
}

#[test]
fn the_routes_are_read_as_they_stand() {
    let names: Vec<_> = all().iter().map(Route::name).collect();
    for name in [
        "GET /",
        "GET /api/servers",
        "POST /api/servers",
        "POST /api/turns/{turn}/questions/{question}",
        "GET /api/turns/{turn}/calls/{call}/result",
        "POST /v1/chat/completions",
        "GET /v1/models/{*model}",
    ] {
        assert!(names.iter().any(|it| it == name), "{name}: {names:?}");
    }
    assert!(names.len() > 18, "{names:?}");
}
