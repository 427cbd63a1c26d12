//! The routes of the stand-in, in the schema of Pomerium's own configuration.

use std::net::SocketAddr;

/// Where the routes lead.
pub(super) struct Routes {
    /// Where browsers connect; only its port is used.
    pub(super) page: SocketAddr,
    /// Toolgate, behind the client route.
    pub(super) toolgate: SocketAddr,
    /// northwind, behind the server route.
    pub(super) northwind: SocketAddr,
}

impl Routes {
    pub(super) fn yaml(&self) -> String {
        let Self {
            page,
            toolgate,
            northwind,
        } = self;
        let port = page.port();
        format!(
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
        )
    }
}
