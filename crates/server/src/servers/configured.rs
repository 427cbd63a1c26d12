//! The servers from the configuration, beside those that Pomerium lists.
//!
//! Each gets what was configured for it and nothing else: no token of anybody's. What its tools
//! say of themselves counts only if the operator says so.

use std::{collections::HashSet, sync::Arc};

use chat::ids::Subject;
use secrecy::SecretString;
use url::Url;
use wire::{
    http::{Credential, ServerKey},
    mcp::CredentialSource,
    pomerium::Route,
};

use crate::{
    config::{ConfiguredServer, TELL_APART},
    tokens::Session,
};

/// The servers from the configuration.
#[derive(Debug)]
pub(super) struct Configured(Vec<ConfiguredServer>);

impl Configured {
    pub(super) fn new(servers: &[ConfiguredServer]) -> Self {
        Self(servers.to_vec())
    }

    /// As Pomerium would list them, beside those that it lists: their names are its own.
    pub(super) fn beside(&self, listed: &[Route]) -> Vec<Route> {
        let taken: HashSet<&str> = listed.iter().map(|route| route.name.as_str()).collect();
        let route = |server: &ConfiguredServer| Route {
            name: if taken.contains(server.name.as_str()) {
                told_apart(server)
            } else {
                server.name.clone()
            },
            description: None,
            host: server.url.host_str().unwrap_or_default().to_owned(),
            url: server.url.clone(),
            connected: false,
        };
        let routes = self.0.iter().map(route);
        // Pomerium may have that name too: what stands first in its list keeps it.
        routes
            .filter(|route| !taken.contains(route.name.as_str()))
            .collect()
    }

    /// Whether the hints of the server's tools count. Those of Pomerium's servers do.
    pub(super) fn trusts_hints(&self, route: &Route) -> bool {
        self.find(route).is_none_or(|server| server.trust_hints)
    }

    /// Whether the route is a server of the configuration.
    pub(super) fn contains(&self, route: &Route) -> bool {
        self.find(route).is_some()
    }

    /// What requests to the route's server carry in this session.
    pub(super) fn credentials(
        &self,
        route: &Route,
        session: &Arc<Session>,
    ) -> Arc<dyn CredentialSource> {
        match self.find(route) {
            None => Arc::clone(session) as Arc<dyn CredentialSource>,
            Some(server) => Arc::new(Own::new(server, session.subject.clone())),
        }
    }

    fn find(&self, route: &Route) -> Option<&ConfiguredServer> {
        let mut servers = self.0.iter();
        servers.find(|server| server.url == route.url && is_named(server, &route.name))
    }
}

fn told_apart(server: &ConfiguredServer) -> String {
    format!("{}{TELL_APART}", server.name)
}

fn is_named(server: &ConfiguredServer, name: &str) -> bool {
    server.name == name || told_apart(server) == name
}

/// What one user's requests to a server of the configuration carry.
struct Own {
    key: ServerKey,
    subject: Subject,
}

impl Own {
    fn new(server: &ConfiguredServer, subject: Subject) -> Self {
        let (url, bearer): (&Url, Option<SecretString>) = (&server.url, server.bearer.clone());
        let key = ServerKey::new(url, bearer);
        Self { key, subject }
    }
}

impl CredentialSource for Own {
    fn credential(&self) -> Credential {
        Credential::Configured(self.key.clone())
    }

    fn subject(&self) -> Option<Subject> {
        Some(self.subject.clone())
    }
}

#[cfg(test)]
mod tests {
    use chat::ids::Sid;

    use super::*;
    use crate::tokens::Sessions;

    fn server(name: &str) -> ConfiguredServer {
        ConfiguredServer {
            name: name.to_owned(),
            url: format!("http://{}.internal/mcp", name.to_lowercase())
                .parse()
                .unwrap(),
            bearer: Some("key-1".into()),
            trust_hints: false,
            traffic: None,
        }
    }

    fn pomeriums(name: &str) -> Route {
        Route {
            name: name.to_owned(),
            description: None,
            url: "https://db.example.com".parse().unwrap(),
            host: "db.example.com".to_owned(),
            connected: false,
        }
    }

    #[test]
    fn pomeriums_names_are_its_own() {
        let configured = Configured::new(&[server("Database"), server("Notes")]);
        let names = |listed: &[Route]| {
            let routes = configured.beside(listed).into_iter();
            routes.map(|route| route.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["Database", "Notes"]);
        let listed = [pomeriums("Database")];
        assert_eq!(names(&listed), ["Database (config)", "Notes"]);
        let both = [pomeriums("Database"), pomeriums("Database (config)")];
        assert_eq!(names(&both), ["Notes"]);
    }

    #[test]
    fn each_server_gets_its_own_credential() {
        let configured = Configured::new(&[server("Database")]);
        let (ana, sid) = (Subject::from("ana"), Sid::from("s"));
        let session = Sessions::default().receive(&ana, &sid, Some("TE".into()));
        let of = |route: &Route| configured.credentials(route, &session).credential();
        let own = configured.beside(&[pomeriums("Database")]).remove(0);
        assert!(matches!(of(&own), Credential::Configured(_)));
        // The name alone does not make it the operator's.
        let route = pomeriums("Database");
        assert!(matches!(of(&route), Credential::ExternalToken(_)));
        assert!(configured.contains(&own) && !configured.contains(&route));
    }

    #[test]
    fn hints_of_configured_servers_count_only_if_the_operator_says_so() {
        let files = ConfiguredServer {
            trust_hints: true,
            ..server("Files")
        };
        let configured = Configured::new(&[server("Notes"), files]);
        let listed = [pomeriums("Notes")];
        assert!(configured.trusts_hints(&listed[0]));
        for route in configured.beside(&listed) {
            assert_eq!(configured.trusts_hints(&route), route.name == "Files");
        }
    }
}
