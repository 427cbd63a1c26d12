//! What an empty conversation says: a greeting, and questions to begin with.

use askama::Template;
use chat::event::ServerState;

use super::{render, visible};
use crate::{
    app::App,
    identity::{Authority, Person},
    servers::Known,
};

/// The id of the element that holds the questions.
pub(super) const EXAMPLES: &str = "examples";

/// Questions that are made up when the operator has set none.
const MADE_UP: usize = 4;

#[derive(Template)]
#[template(path = "greeting.html")]
struct Greeting {
    /// What to call them, if there is more than an id.
    name: Option<String>,
    /// There is something to read already.
    begun: bool,
    examples: String,
}

#[derive(Template)]
#[template(path = "examples.html")]
struct Examples {
    examples: Vec<Example>,
}

struct Example {
    /// As it is sent.
    message: String,
    /// For people.
    text: String,
}

/// The greeting; hidden once the conversation has begun.
pub(super) fn html(app: &App, person: &Person, servers: &[Known], turns: usize) -> String {
    let named = person.name != person.subject.as_str();
    let named = named && matches!(app.authority, Authority::Pomerium(_));
    render(&Greeting {
        name: named.then(|| visible(&person.name)),
        begun: turns > 0,
        examples: examples(app, servers),
    })
}

/// Questions to begin with: the operator's, else some about the user's servers.
pub(super) fn examples(app: &App, servers: &[Known]) -> String {
    let set = app.page.examples();
    let examples = if set.is_empty() {
        made_up(servers)
    } else {
        set.to_vec()
    };
    let example = |message: String| Example {
        text: visible(&message),
        message,
    };
    render(&Examples {
        examples: examples.into_iter().map(example).collect(),
    })
}

fn made_up(servers: &[Known]) -> Vec<String> {
    let ready = servers
        .iter()
        .filter(|known| known.state == ServerState::Ready);
    let overview = ready.map(|known| {
        let name = &known.route.name;
        format!("What is in {name}? Give me a short overview.")
    });
    let mut questions = vec!["What can you do for me with my tools?".to_owned()];
    questions.extend(overview);
    questions.truncate(MADE_UP);
    questions
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wire::pomerium::Route;

    use super::*;

    fn server(name: &str, state: ServerState) -> Known {
        let route = Route {
            name: name.to_owned(),
            description: None,
            url: "https://db.example.com/mcp".parse().unwrap(),
            host: "db.example.com".to_owned(),
            connected: false,
        };
        Known {
            route,
            connect_url: None,
            state,
            failure: None,
            failed_at: None,
            catalog: None,
            denied: BTreeMap::new(),
        }
    }

    #[test]
    fn questions_are_about_the_servers_that_can_be_used() {
        let servers = [
            server("Down", ServerState::Unavailable),
            server("Sales", ServerState::Ready),
            server("Wants", ServerState::NeedsConnect),
        ];
        let questions = made_up(&servers);
        assert_eq!(questions.len(), 2, "{questions:?}");
        assert!(questions[1].contains("Sales"), "{questions:?}");
        let many = ["a", "b", "c", "d", "e"].map(|name| server(name, ServerState::Ready));
        assert_eq!(made_up(&many).len(), MADE_UP);
        assert_eq!(made_up(&[]).len(), 1);
    }
}
