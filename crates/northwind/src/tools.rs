//! The MCP server: its tools, and each call from its start to its end.

use std::{convert::Infallible, future::pending, sync::Arc};

use axum::http::request::Parts;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::tool::{schema_for_input, schema_for_output},
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, Implementation, JsonObject,
        ListToolsResult, PaginatedRequestParams, ProtocolVersion, ResultType, ServerCapabilities,
        ServerConfig, Tool, ToolAnnotations,
    },
    service::RequestContext,
};
use schemars::JsonSchema;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    answer::{Identity, Rows, Written},
    arguments::{DescribeTable, ListTables, ReadQuery, Whoami, WriteQuery},
    call::{self, Call},
    database::Database,
    identity::Caller,
    journal::{Journal, Outcome},
    schema::{Description, TableList},
};

const INSTRUCTIONS: &str = "One SQLite database. Call list_tables first, describe_table for types \
    and keys, then read_query with one SELECT. write_query changes data. whoami says who asks.";

/// The server. Clones share everything; each session and each session-less request has one.
#[derive(Debug, Clone)]
pub(crate) struct Northwind {
    database: Database,
    journal: Journal,
    tracker: TaskTracker,
    stop: CancellationToken,
    #[expect(dead_code, reason = "held until the peer is gone")]
    seat: Option<Arc<Seat>>,
}

/// A peer's place among those that are served at once.
#[derive(Debug)]
struct Seat {
    _permit: OwnedSemaphorePermit,
    /// So that shutdown waits for the peer, whose tasks are rmcp's.
    _joined: TaskTrackerToken,
}

/// The tools by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolName {
    DescribeTable,
    ListTables,
    ReadQuery,
    Whoami,
    WriteQuery,
}

impl Northwind {
    pub(crate) fn new(
        database: Database,
        journal: Journal,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            database,
            journal,
            tracker,
            stop,
            seat: None,
        }
    }

    /// This server for one more peer.
    pub(crate) fn seated(&self, permit: OwnedSemaphorePermit) -> Self {
        let seat = Seat {
            _permit: permit,
            _joined: self.tracker.token(),
        };
        Self {
            seat: Some(Arc::new(seat)),
            ..self.clone()
        }
    }
}

impl ServerHandler for Northwind {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(
                Implementation::new("northwind", env!("CARGO_PKG_VERSION"))
                    .with_title("Northwind")
                    .with_description("One SQLite database, read and written by SQL."),
            )
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut list = ListToolsResult::with_all_items(ToolName::ALL.map(ToolName::tool).into());
        list.result_type = Some(ResultType::COMPLETE);
        // The newer era requires them; 0 means that the list may be asked for at any time.
        if context
            .protocol_version()
            .is_some_and(|era| era >= ProtocolVersion::V_2026_07_28)
        {
            list.ttl_ms = Some(0);
            list.cache_scope = Some(CacheScope::Public);
        }
        Ok(list)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        ToolName::from_name(name).map(ToolName::tool)
    }

    /// Runs the call as a task of its own, so that it is journalled and leaves the database alone
    /// also when nobody waits for its answer any more.
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = ToolName::from_name(&request.name);
        let entry = self
            .journal
            .start(&request.name, request.arguments.as_ref(), &context.meta)
            .map_err(|error| {
                tracing::error!(%error, "a call was refused: the journal cannot be written");
                ErrorData::internal_error("the call journal cannot be written", None)
            })?;
        let Some(tool) = tool else {
            entry.end(Outcome::Error);
            return Err(ErrorData::invalid_params(
                format!("unknown tool: {}", request.name),
                None,
            ));
        };
        let cancel = self.stop.child_token();
        let _abandoned = cancel.clone().drop_guard();
        let asked_to_stop = context.ct.clone();
        let call = Call {
            database: self.database.clone(),
            caller: caller(&context),
            cancel: cancel.clone(),
            progress: call::Progress::of(&context),
        };
        let work = self.tracker.spawn(async move {
            let result = call.run(tool, request.arguments).await;
            call::conclude(entry, result)
        });
        let stopping = async {
            asked_to_stop.cancelled().await;
            cancel.cancel();
            // The work ends soon, and says how.
            pending::<Infallible>().await
        };
        let answered = tokio::select! {
            answered = work => answered,
            never = stopping => match never {},
        };
        answered
            .map(CallToolResponse::from)
            .map_err(|_| ErrorData::internal_error("the call was lost", None))
    }
}

impl ToolName {
    /// In the order in which they are listed: by name.
    const ALL: [Self; 5] = [
        Self::DescribeTable,
        Self::ListTables,
        Self::ReadQuery,
        Self::Whoami,
        Self::WriteQuery,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::DescribeTable => "describe_table",
            Self::ListTables => "list_tables",
            Self::ReadQuery => "read_query",
            Self::Whoami => "whoami",
            Self::WriteQuery => "write_query",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    fn tool(self) -> Tool {
        match self {
            Self::DescribeTable => self.described::<DescribeTable, Description>(
                "Describe table",
                "One table or view: its columns with types and keys, what they refer to, its \
                 indexes, its number of rows and the SQL that made it.",
            ),
            Self::ListTables => self.described::<ListTables, TableList>(
                "List tables",
                "All tables and views of the database with the names of their columns.",
            ),
            Self::ReadQuery => self.described::<ReadQuery, Rows>(
                "Read query",
                "Runs one SQLite SELECT and returns its rows. It cannot change anything.",
            ),
            Self::Whoami => self.described::<Whoami, Identity>(
                "Who am I",
                "Who asks, as Pomerium's verified assertion says: subject, email, name, groups.",
            ),
            Self::WriteQuery => self.described::<WriteQuery, Written>(
                "Write query",
                "Runs one SQLite statement that changes data or schema, as a transaction of its \
                 own. It cannot be undone.",
            ),
        }
    }

    fn described<A, R>(self, title: &'static str, description: &'static str) -> Tool
    where
        A: JsonSchema + 'static,
        R: JsonSchema + 'static,
    {
        let hints = ToolAnnotations::with_title(title).open_world(false);
        let hints = match self {
            Self::WriteQuery => hints.read_only(false).destructive(true).idempotent(false),
            Self::DescribeTable | Self::ListTables | Self::ReadQuery | Self::Whoami => {
                hints.read_only(true).destructive(false).idempotent(true)
            }
        };
        Tool::new(self.name(), description, input_schema::<A>())
            .with_title(title)
            .with_raw_output_schema(schema_for_output::<R>())
            .with_annotations(hints)
    }
}

/// Who the HTTP request of a call comes from, where that was verified.
fn caller(context: &RequestContext<RoleServer>) -> Option<Caller> {
    let parts = context.extensions.get::<Parts>()?;
    parts.extensions.get::<Caller>().cloned()
}

fn input_schema<A: JsonSchema + 'static>() -> Arc<JsonObject> {
    // It fails only for a type that is no object, and the arguments of every tool are structs.
    let mut schema = schema_for_input::<A>().unwrap_or_default();
    // Some model endpoints refuse a function whose parameters do not even say that there are none.
    Arc::make_mut(&mut schema)
        .entry("properties")
        .or_insert_with(|| Value::Object(JsonObject::new()));
    schema
}
