//! What MCP servers offer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::ids::CatalogHash;

/// A tool as its server describes it (MCP `Tool`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// The server's name for it.
    pub name: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of the arguments, verbatim.
    pub input_schema: Map<String, Value>,
    /// JSON Schema of the structured result, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Map<String, Value>>,
    /// The server's hints.
    #[serde(default)]
    pub hints: Hints,
}

/// A server's hints about a tool (MCP `ToolAnnotations`). Hints, not promises: they count only
/// for servers the operator trusts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hints {
    /// `readOnlyHint`: the tool changes nothing. Absent means it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// `destructiveHint`: what it changes may be lost. Absent means it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
}

/// A tool that was listed and cannot be offered, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenTool {
    /// Its name, or its place in the list when it has none.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What one server offers one user at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// The server's name.
    pub server: String,
    /// The hash of everything below.
    pub hash: CatalogHash,
    /// The tools, by name.
    pub tools: Vec<Tool>,
    /// The tools that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<BrokenTool>,
}

impl Catalog {
    /// The catalog of `server`, its tools sorted and hashed. Of two tools of one name the first
    /// counts.
    pub fn new(server: impl Into<String>, mut tools: Vec<Tool>, broken: Vec<BrokenTool>) -> Self {
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        tools.dedup_by(|later, first| later.name == first.name);
        let server = server.into();
        let hash = hash(&server, &tools);
        Self {
            server,
            hash,
            tools,
            broken,
        }
    }
}

fn hash(server: &str, tools: &[Tool]) -> CatalogHash {
    let mut digest = Sha256::new();
    digest.update(server.as_bytes());
    for tool in tools {
        // A `Tool` is strings and JSON: serializing it cannot fail.
        digest.update([0]);
        digest.update(serde_json::to_vec(tool).unwrap_or_default());
    }
    CatalogHash(format!("{:x}", digest.finalize()))
}
