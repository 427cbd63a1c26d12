//! The routes of the stand-in, in the schema of Pomerium's own configuration.

use std::{fmt::Write as _, net::SocketAddr};

use super::options::Server;

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
}

impl Routes<'_> {
    pub(super) fn yaml(&self) -> String {
        let Self {
            page,
            toolgate,
            northwind,
            servers,
            rules,
        } = self;
        let port = page.port();
        let mut yaml = format!(
            "\
authenticate_service_url: http://authenticate.localhost:{port}
routes:
  - from: http://{chat}:{port}
    to: http://{toolgate}
    name: Toolgate
    mcp: {{client: {{}}}}
    pass_identity_headers: true
    # Answers stream for as long as they take.
    timeout: 0s
    idle_timeout: 0s
    preserve_host_header: true
    policy:
      - allow: {{or: [{{domain: {{is: example.com}}}}]}}
  - from: http://db.localhost:{port}
    to: http://{northwind}/mcp
    name: Database
    description: A trading company's customers, orders, products and suppliers
    mcp: {{server: {{max_request_bytes: 1048576}}}}
    policy:
      - allow: {{or: [{{domain: {{is: example.com}}}}]}}
",
            chat = super::CHAT_HOST,
        );
        // Writing to a string cannot fail.
        for rule in *rules {
            writeln!(yaml, "      - {rule}").ok();
        }
        for Server { name, upstream } in *servers {
            write!(
                yaml,
                "  - from: http://{host}.localhost:{port}
    to: {upstream}
    name: {name}
    mcp: {{server: {{max_request_bytes: 1048576}}}}
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
