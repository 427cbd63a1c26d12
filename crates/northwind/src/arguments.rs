//! The arguments of the tools.

use rmcp::model::JsonObject;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::failure::Failure;

/// Rows of an answer where the caller sets no limit.
const DEFAULT_LIMIT: usize = 200;

/// The largest limit that a caller may set, rows.
const MAX_LIMIT: usize = 10_000;

/// Of `list_tables`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListTables {}

/// Of `describe_table`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DescribeTable {
    /// Name of a table or view, as `list_tables` gives it.
    pub(crate) table_name: String,
}

/// Of `read_query`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadQuery {
    /// One statement in SQLite's SQL that only reads: `SELECT`, `WITH … SELECT`, `VALUES`, `EXPLAIN`.
    pub(crate) query: String,
    /// Values for the statement's `?` parameters, in order.
    #[serde(default)]
    #[schemars(schema_with = "params_schema")]
    pub(crate) params: Vec<Value>,
    /// The most rows to return.
    #[serde(default = "default_limit")]
    #[schemars(schema_with = "limit_schema")]
    pub(crate) limit: usize,
}

/// Of `whoami`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whoami {}

/// Of `write_query`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteQuery {
    /// One statement in SQLite's SQL that changes rows or schema: `INSERT`, `UPDATE`, `DELETE`, `CREATE`, `ALTER`, `DROP`.
    pub(crate) query: String,
    /// Values for the statement's `?` parameters, in order.
    #[serde(default)]
    #[schemars(schema_with = "params_schema")]
    pub(crate) params: Vec<Value>,
}

impl ReadQuery {
    /// The limit, if it is one that may be set.
    pub(crate) fn checked_limit(&self) -> Result<usize, Failure> {
        if (1..=MAX_LIMIT).contains(&self.limit) {
            Ok(self.limit)
        } else {
            Err(Failure::error(format!(
                "Invalid arguments: limit is {}, it must be from 1 to {MAX_LIMIT}.",
                self.limit
            )))
        }
    }
}

/// Reads `arguments` as those of one tool. No arguments are the same as an empty object.
pub(crate) fn parse<T: DeserializeOwned>(arguments: Option<JsonObject>) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(arguments.unwrap_or_default()))
        .map_err(|error| Failure::error(format!("Invalid arguments: {error}.")))
}

/// Rows of a `RETURNING` that are kept.
pub(crate) fn default_limit() -> usize {
    DEFAULT_LIMIT
}

fn limit_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT })
}

fn params_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": ["string", "number", "boolean", "null"] },
    })
}
