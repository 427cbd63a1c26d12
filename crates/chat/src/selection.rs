//! What a person switched off in a conversation: whole servers and single tools.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    event::Target,
    limits::{SELECTION_NAME_BYTES, SELECTION_SERVERS, SELECTION_TOOLS},
    tool::Catalog,
};

/// The servers and tools that are switched off in a conversation; by default none. One that is
/// named here and does not exist is off should it ever.
///
/// `{"servers": ["Mail"], "tools": [{"server": "Database", "tool": "write_query"}]}`; either may be
/// left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Servers that are off with all their tools, by name.
    pub servers: BTreeSet<String>,
    /// Single tools that are off.
    pub tools: BTreeSet<Target>,
}

/// Why a [`Selection`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// More than [`SELECTION_SERVERS`].
    #[error("at most {SELECTION_SERVERS} servers can be switched off")]
    Servers,
    /// More than [`SELECTION_TOOLS`].
    #[error("at most {SELECTION_TOOLS} tools can be switched off")]
    Tools,
    /// A name that is empty or has more than [`SELECTION_NAME_BYTES`].
    #[error("a name of a server or tool has 1 to {SELECTION_NAME_BYTES} bytes")]
    Name,
}

impl Selection {
    /// Whether nothing is off.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.tools.is_empty()
    }

    /// Whether the server is off with all its tools.
    pub fn is_server_off(&self, server: &str) -> bool {
        self.servers.contains(server)
    }

    /// Whether the tool is off, by itself or with its server.
    pub fn is_off(&self, target: &Target) -> bool {
        self.is_server_off(&target.server) || self.tools.contains(target)
    }

    /// What is left of these catalogs: those of servers that are not off, each without the tools
    /// that are. A catalog that loses none is the same one.
    pub fn apply(&self, catalogs: Vec<Arc<Catalog>>) -> Vec<Arc<Catalog>> {
        let left = catalogs
            .into_iter()
            .filter(|catalog| !self.is_server_off(&catalog.server));
        left.map(|catalog| self.without_tools(catalog)).collect()
    }

    fn without_tools(&self, catalog: Arc<Catalog>) -> Arc<Catalog> {
        let off: BTreeSet<&str> = self
            .tools
            .iter()
            .filter(|target| target.server == catalog.server)
            .map(|target| target.tool.as_str())
            .collect();
        let is_on = |name: &str| !off.contains(name);
        if catalog.tools.iter().all(|tool| is_on(&tool.name)) {
            return catalog;
        }
        let tools = catalog.tools.iter().filter(|tool| is_on(&tool.name));
        let tools = tools.cloned().collect();
        let broken = catalog.broken.clone();
        Arc::new(Catalog::new(catalog.server.clone(), tools, broken))
    }

    /// Refuses more than is stored.
    ///
    /// # Errors
    /// Which limit it is over.
    pub fn check(&self) -> Result<(), SelectionError> {
        if self.servers.len() > SELECTION_SERVERS {
            return Err(SelectionError::Servers);
        }
        if self.tools.len() > SELECTION_TOOLS {
            return Err(SelectionError::Tools);
        }
        let of_tools = self.tools.iter().flat_map(|t| [&t.server, &t.tool]);
        let mut names = self.servers.iter().chain(of_tools);
        if names.all(|name| (1..=SELECTION_NAME_BYTES).contains(&name.len())) {
            Ok(())
        } else {
            Err(SelectionError::Name)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tool::{Hints, Tool};

    fn catalog(server: &str, tools: &[&str]) -> Arc<Catalog> {
        let tools = tools.iter().map(|name| Tool {
            name: (*name).to_owned(),
            title: None,
            description: None,
            input_schema: serde_json::Map::new(),
            output_schema: None,
            hints: Hints::default(),
        });
        Arc::new(Catalog::new(server, tools.collect(), Vec::new()))
    }

    fn off(value: serde_json::Value) -> Selection {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_off_is_not_in_the_catalogs() {
        let catalogs = vec![
            catalog("Database", &["read", "write"]),
            catalog("Mail", &["send"]),
            catalog("Notes", &["write"]),
        ];
        let off = off(json!({
            "servers": ["Mail", "Gone"],
            "tools": [{ "server": "Database", "tool": "write" }, { "server": "Notes", "tool": "x" }],
        }));
        let left = off.apply(catalogs.clone());
        assert_eq!(
            left,
            [catalog("Database", &["read"]), catalog("Notes", &["write"])]
        );
        // What changed is another catalog, what did not is the same.
        assert_ne!(left[0].hash, catalogs[0].hash);
        assert!(Arc::ptr_eq(&left[1], &catalogs[2]));
        assert_eq!(Selection::default().apply(catalogs.clone()), catalogs);
    }

    #[test]
    fn a_tool_is_off_by_itself_or_with_its_server() {
        let off = off(json!({
            "servers": ["Mail"], "tools": [{ "server": "Database", "tool": "write" }],
        }));
        for (server, tool, is_off) in [
            ("Mail", "send", true),
            ("Database", "write", true),
            ("Database", "read", false),
            ("Notes", "write", false),
        ] {
            let target = Target {
                server: server.to_owned(),
                tool: tool.to_owned(),
            };
            assert_eq!(off.is_off(&target), is_off, "{server} {tool}");
        }
    }

    #[test]
    fn what_is_too_much_or_nonsense_is_refused() {
        for wrong in [
            json!({ "server": [] }),
            json!({ "servers": [1] }),
            json!({ "tools": ["write"] }),
            json!({ "tools": [{ "server": "Database" }] }),
            json!([["Mail"], [], "?"]),
        ] {
            assert!(
                serde_json::from_value::<Selection>(wrong.clone()).is_err(),
                "{wrong}"
            );
        }
        let many = |count: usize| (0..count).map(|n| format!("s{n}")).collect::<Vec<_>>();
        let tools = |count: usize| -> Vec<_> {
            let tools = many(count).into_iter();
            tools
                .map(|tool| json!({ "server": "s", "tool": tool }))
                .collect()
        };
        for (selection, told) in [
            (json!({}), Ok(())),
            (json!({ "servers": many(SELECTION_SERVERS) }), Ok(())),
            (
                json!({ "servers": many(SELECTION_SERVERS + 1) }),
                Err(SelectionError::Servers),
            ),
            (json!({ "tools": tools(SELECTION_TOOLS) }), Ok(())),
            (
                json!({ "tools": tools(SELECTION_TOOLS + 1) }),
                Err(SelectionError::Tools),
            ),
            (json!({ "servers": [""] }), Err(SelectionError::Name)),
            (
                json!({ "tools": [{ "server": "s", "tool": "x".repeat(SELECTION_NAME_BYTES + 1) }] }),
                Err(SelectionError::Name),
            ),
        ] {
            assert_eq!(off(selection).check(), told);
        }
    }
}
