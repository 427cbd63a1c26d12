//! The tools and what they link to, over MCP without sessions: each request stands for itself.

use std::sync::Arc;

use axum::http::request::Parts;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::tool::{schema_for_input, schema_for_output},
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock,
        Implementation, JsonObject, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
        ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
        ResultType, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Account, Shared, attachments, bearer::MAX_REQUEST_BYTES};

/// The longest note, bytes.
const MAX_NOTE_BYTES: usize = 4 * 1024;

/// Arguments of `list_notes`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListNotes {}

/// Arguments of `add_note`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AddNote {
    /// What to write down.
    text: String,
}

/// Arguments of `show_attachments`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ShowAttachments {}

/// The answer of `list_notes`.
#[derive(Serialize, JsonSchema)]
struct Listed {
    /// Whose notes they are.
    account: String,
    /// The notes, the oldest first.
    notes: Vec<String>,
}

/// The answer of `add_note`.
#[derive(Serialize, JsonSchema)]
struct Added {
    /// Whose note it is.
    account: String,
    /// How many notes there are now.
    count: usize,
}

/// What `/mcp` is served by.
pub(super) fn service(
    shared: &Arc<Shared>,
    shutdown: &CancellationToken,
) -> StreamableHttpService<Server, LocalSessionManager> {
    let server = Server(Arc::clone(shared));
    // A web page sends an `Origin` and has no business here.
    let config = StreamableHttpServerConfig::default()
        .with_cancellation_token(shutdown.child_token())
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(MAX_REQUEST_BYTES)
        .enforce_origin_validation();
    StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(LocalSessionManager::default()),
        config,
    )
}

/// The MCP server.
#[derive(Clone)]
pub(super) struct Server(Arc<Shared>);

#[derive(Clone, Copy)]
enum ToolName {
    AddNote,
    ListNotes,
    ShowAttachments,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder()
                .enable_tools()
                .enable_resources()
                .build(),
        )
        .with_server_info(
            Implementation::new("notes", env!("CARGO_PKG_VERSION"))
                .with_title("Notes")
                .with_description("The notes of one account."),
        )
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut list = ListToolsResult::with_all_items(ToolName::ALL.map(ToolName::tool).into());
        list.result_type = Some(ResultType::COMPLETE);
        // The newer era requires them; 0 means that the list may be asked for at any time.
        if is_newer_era(&context) {
            list.ttl_ms = Some(0);
            list.cache_scope = Some(CacheScope::Public);
        }
        Ok(list)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = attachments::resources(account(&context)?);
        let mut list = ListResourcesResult::with_all_items(resources);
        list.result_type = Some(ResultType::COMPLETE);
        if is_newer_era(&context) {
            list.ttl_ms = Some(0);
            list.cache_scope = Some(CacheScope::Private);
        }
        Ok(list)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let contents = attachments::read(account(&context)?, &request.uri);
        let contents = contents.ok_or_else(|| {
            ErrorData::resource_not_found(format!("no attachment {}", request.uri), None)
        })?;
        let mut result = ReadResourceResult::new(vec![contents]);
        if is_newer_era(&context) {
            result = result.with_ttl_ms(0).with_cache_scope(CacheScope::Private);
        }
        Ok(result.into())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        ToolName::from_name(name).map(ToolName::tool)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = ToolName::from_name(&request.name).ok_or_else(|| {
            ErrorData::invalid_params(format!("unknown tool: {}", request.name), None)
        })?;
        let account = account(&context)?;
        let result = match tool {
            ToolName::AddNote => self.add_note(account, request.arguments),
            ToolName::ListNotes => self.list_notes(account, request.arguments),
            ToolName::ShowAttachments => show_attachments(account, request.arguments),
        };
        let result = result
            .unwrap_or_else(|problem| CallToolResult::error(vec![ContentBlock::text(problem)]));
        Ok(result.into())
    }
}

impl Server {
    fn list_notes(
        &self,
        account: Account,
        arguments: Option<JsonObject>,
    ) -> Result<CallToolResult, String> {
        let ListNotes {} = parse(arguments)?;
        let notes = self.0.ledger().notes(account).to_vec();
        let text = match notes.as_slice() {
            [] => "There are no notes yet.".to_owned(),
            notes => format!("- {}", notes.join("\n- ")),
        };
        let account = account.name().to_owned();
        Ok(success(text, json!(Listed { account, notes })))
    }

    fn add_note(
        &self,
        account: Account,
        arguments: Option<JsonObject>,
    ) -> Result<CallToolResult, String> {
        let AddNote { text } = parse(arguments)?;
        let note = text.trim();
        if note.is_empty() || note.len() > MAX_NOTE_BYTES {
            return Err(format!("A note has from 1 to {MAX_NOTE_BYTES} bytes."));
        }
        let count = self.0.ledger().add(account, note.to_owned());
        let count = count.ok_or("There are too many notes already.")?;
        let account = account.name().to_owned();
        let text = format!("Noted; that makes {count}.");
        Ok(success(text, json!(Added { account, count })))
    }
}

impl ToolName {
    /// In the order in which they are listed: by name.
    const ALL: [Self; 3] = [Self::AddNote, Self::ListNotes, Self::ShowAttachments];

    fn name(self) -> &'static str {
        match self {
            Self::AddNote => "add_note",
            Self::ListNotes => "list_notes",
            Self::ShowAttachments => "show_attachments",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    fn tool(self) -> Tool {
        match self {
            Self::AddNote => {
                let hints = ToolAnnotations::with_title("Add note").read_only(false);
                let hints = hints.destructive(false).idempotent(false);
                described::<AddNote, Added>(self, "Writes down one note.", hints)
            }
            Self::ListNotes => {
                let hints = ToolAnnotations::with_title("List notes").read_only(true);
                described::<ListNotes, Listed>(self, "All notes, the oldest first.", hints)
            }
            Self::ShowAttachments => {
                let hints = ToolAnnotations::with_title("Show attachments").read_only(true);
                let description = "The pictures, files and links that hang on notes.";
                described::<ShowAttachments, attachments::Shown>(self, description, hints)
            }
        }
    }
}

/// Whose token the request came with. `bearer::admit` lets none through without one that is not
/// open to anybody.
fn account(context: &RequestContext<RoleServer>) -> Result<Account, ErrorData> {
    let parts = context.extensions.get::<Parts>();
    let account = parts.and_then(|parts| parts.extensions.get::<Account>().copied());
    account.ok_or_else(|| ErrorData::internal_error("whose notes is not known", None))
}

/// Whether the client speaks the version in which results say how long they can be kept.
fn is_newer_era(context: &RequestContext<RoleServer>) -> bool {
    let era = context.protocol_version();
    era.is_some_and(|era| era >= ProtocolVersion::V_2026_07_28)
}

fn show_attachments(
    account: Account,
    arguments: Option<JsonObject>,
) -> Result<CallToolResult, String> {
    let ShowAttachments {} = parse(arguments)?;
    Ok(attachments::of(account))
}

fn described<A: JsonSchema + 'static, R: JsonSchema + 'static>(
    tool: ToolName,
    description: &'static str,
    hints: ToolAnnotations,
) -> Tool {
    // It fails only for a type that is no object, and the arguments of every tool are structs.
    let mut schema = schema_for_input::<A>().unwrap_or_default();
    // Some model endpoints refuse a function whose parameters do not even say that there are none.
    Arc::make_mut(&mut schema)
        .entry("properties")
        .or_insert_with(|| Value::Object(JsonObject::new()));
    Tool::new(tool.name(), description, schema)
        .with_raw_output_schema(schema_for_output::<R>())
        .with_annotations(hints.open_world(false))
}

fn parse<T: DeserializeOwned>(arguments: Option<JsonObject>) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments.unwrap_or_default()))
        .map_err(|error| format!("Invalid arguments: {error}."))
}

fn success(text: String, structured: Value) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(structured);
    result
}
