//! The routes of the stand-in, in the schema of Pomerium's own configuration.

use std::{fmt::Write as _, net::SocketAddr};

use super::options::{Answers, Server};
use crate::notes;

/// The host of northwind's route.
pub(super) const DATABASE_HOST: &str = "db.localhost";
/// The host of Notes' route.
const NOTES_HOST: &str = "notes.localhost";
/// Where Pomerium wants to be sent back to from an upstream's authorization server.
const CALLBACK_PATH: &str = "/.pomerium/mcp/client/oauth/callback";

/// Answers stream for as long as they take.
const TIMEOUTS: &str = "    timeout: 0s\n    idle_timeout: 0s\n";

/// Where the routes lead.
pub(super) struct Routes<'a> {
    /// Where browsers connect; only its port is used.
    pub(super) page: SocketAddr,
    /// Toolgate, behind the client route.
    pub(super) toolgate: SocketAddr,
    /// northwind, behind the server route.
    pub(super) northwind: SocketAddr,
    /// Behind server routes of their own.
    pub(super) servers: &'a [Server],
    /// More rules for northwind's route.
    pub(super) rules: &'a [String],
    /// Notes, if it is there.
    pub(super) notes: Option<NotesRoute<'a>>,
    /// How long Toolgate may answer.
    pub(super) answers: Answers,
}

/// What the route to Notes needs.
pub(super) struct NotesRoute<'a> {
    /// Where it is.
    pub(super) address: SocketAddr,
    /// As what Pomerium is registered there.
    pub(super) client: &'a notes::Client,
    /// More rules for the route.
    pub(super) rules: &'a [String],
}

impl Routes<'_> {
    pub(super) fn yaml(&self) -> String {
        let Self {
            page,
            toolgate,
            northwind,
            servers,
            rules,
            notes,
            answers,
        } = self;
        let port = page.port();
        let mut yaml = format!(
            "\
authenticate_service_url: http://authenticate.localhost:{port}
authorize_log_fields: [request-id, user, email, session-id, host, method, path, ip, mcp-method, \
             mcp-tool, mcp-tool-parameters]
routes:
  - from: http://{chat}:{port}
    to: http://{toolgate}
    name: Toolgate
    mcp: {{client: {{}}}}
    pass_identity_headers: true
{timeouts}    preserve_host_header: true
    policy:
      - allow: {{or: [{{domain: {{is: example.com}}}}]}}
  - from: http://{DATABASE_HOST}:{port}
    to: http://{northwind}/mcp
    name: Database
    description: A trading company's customers, orders, products and suppliers
    mcp: {{server: {{max_request_bytes: 1048576}}}}
    # northwind checks who asks.
    pass_identity_headers: true
    policy:
      - allow: {{or: [{{domain: {{is: example.com}}}}]}}
",
            chat = super::CHAT_HOST,
            timeouts = match answers {
                Answers::Whole => TIMEOUTS,
                Answers::Cut => "",
            },
        );
        add_rules(&mut yaml, rules);
        if let Some(notes) = notes {
            yaml.push_str(&notes.yaml(port));
            add_rules(&mut yaml, notes.rules);
        }
        for Server { name, upstream } in *servers {
            // The path stands in `path`, not in `to`: a server of the HTTP+SSE transport has
            // another one for its messages.
            let (origin, path) = split(upstream);
            // Writing to a string cannot fail.
            write!(
                yaml,
                "  - from: http://{host}.localhost:{port}
    to: {origin}
    name: {name}
    mcp: {{server: {{path: {path}, max_request_bytes: 1048576}}}}
    pass_identity_headers: true
    policy:
      - allow: {{or: [{{domain: {{is: example.com}}}}]}}
",
                host = name.to_lowercase(),
            )
            .ok();
        }
        yaml
    }
}

impl NotesRoute<'_> {
    fn yaml(&self, port: u16) -> String {
        let Self {
            address, client, ..
        } = self;
        format!(
            "  - from: http://{NOTES_HOST}:{port}
    to: http://{address}{path}
    name: Notes
    description: Notes of an account that you connect
    mcp:
      server:
        max_request_bytes: 1048576
        upstream_oauth2:
          client_id: {id}
          client_secret: {secret}
          scopes: [{scope}]
          endpoint: {{auth_url: 'http://{address}/authorize', token_url: 'http://{address}/token'}}
    policy:
      - allow: {{or: [{{domain: {{is: example.com}}}}]}}
",
            path = notes::MCP_PATH,
            id = client.id,
            secret = client.secret,
            scope = notes::SCOPE,
        )
    }
}

/// What Pomerium is to Notes, with a page on this port.
pub(super) fn notes_client(port: u16, secret: String) -> notes::Client {
    notes::Client {
        id: "pomerium".to_owned(),
        secret,
        redirect_uri: format!("http://{NOTES_HOST}:{port}{CALLBACK_PATH}"),
    }
}

fn add_rules(yaml: &mut String, rules: &[String]) {
    for rule in rules {
        // Writing to a string cannot fail.
        writeln!(yaml, "      - {rule}").ok();
    }
}

/// A URL as its origin and its path.
fn split(url: &str) -> (&str, &str) {
    let authority = url.find("://").map_or(0, |scheme| scheme + 3);
    let path = url.get(authority..).and_then(|rest| rest.find('/'));
    path.and_then(|path| url.split_at_checked(authority + path))
        .unwrap_or((url, "/"))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_url_is_split_before_its_path() {
        let (origin, path) = split("http://127.0.0.1:9/mcp/x");
        assert_eq!((origin, path), ("http://127.0.0.1:9", "/mcp/x"));
        assert_eq!(split("http://127.0.0.1:9"), ("http://127.0.0.1:9", "/"));
    }
}
