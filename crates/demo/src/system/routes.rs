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
            // The path stands in `path`, not in `to`: a server of the HTTP+SSE transport has
            // another one for its messages.
            let (origin, path) = split(upstream);
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
