//! The caller's MCP servers.

use axum::{Json, extract::State};
use chat::{event::ServerState, failure::Failure, tool::BrokenTool};
use serde::{Deserialize, Serialize};

use crate::{app::AppState, error::Problem, extract::Body, gate::Caller, servers::Known};

/// A server as the API shows it.
#[derive(Serialize)]
pub(crate) struct ServerBody {
    name: String,
    description: Option<String>,
    url: String,
    state: ServerState,
    /// Why it is in that state, when it is not ready.
    failure: Option<Failure>,
    /// Whether Pomerium keeps an account of the caller's for it. It says nothing about whether the
    /// server can be used: see `state`.
    connected: bool,
    /// Where a browser connects an account; set while the server needs one.
    connect_url: Option<String>,
    tools: Vec<ToolBody>,
    /// The tools that cannot be offered, and why.
    broken: Vec<BrokenTool>,
}

/// A tool as the API shows it.
#[derive(Serialize)]
pub(crate) struct ToolBody {
    name: String,
    title: Option<String>,
    description: Option<String>,
    /// Set when policy refused the tool to the caller the last time it was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    denied: Option<Failure>,
}

/// Which server a request is about. Its name is not in the path: Pomerium refuses an escaped
/// slash there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    server: String,
}

/// `GET /api/servers`: what is known of the caller's servers.
pub(crate) async fn all(State(app): State<AppState>, caller: Caller) -> Json<Vec<ServerBody>> {
    let servers = app.context.servers.of(&caller.person.subject).all();
    Json(servers.into_iter().map(ServerBody::from).collect())
}

/// `POST /api/servers`: tries every server that Pomerium lists now, and says what became of them.
/// The body is `{}`.
pub(crate) async fn try_all(State(app): State<AppState>, caller: Caller) -> Json<Vec<ServerBody>> {
    app.try_servers(&caller.session).await;
    all(State(app), caller).await
}

/// `POST /api/servers/look`: tries the one server again and says what became of it. The body is
/// `{"server": NAME}`.
pub(crate) async fn look(
    State(app): State<AppState>,
    caller: Caller,
    Body(named): Body<Named>,
) -> Result<Json<ServerBody>, Problem> {
    found(app.look(&caller.session, &named.server).await)
}

/// `POST /api/servers/disconnect`: has Pomerium forget the caller's account at the server and says
/// how the server is then. The body is `{"server": NAME}`.
pub(crate) async fn disconnect(
    State(app): State<AppState>,
    caller: Caller,
    Body(named): Body<Named>,
) -> Result<Json<ServerBody>, Problem> {
    found(app.disconnect(&caller.session, &named.server).await)
}

fn found(looked: Result<Option<Known>, Failure>) -> Result<Json<ServerBody>, Problem> {
    match looked {
        Ok(Some(known)) => Ok(Json(known.into())),
        Ok(None) => Err(Problem::not_found("server")),
        Err(failure) => Err(Problem::upstream(failure)),
    }
}

impl From<Known> for ServerBody {
    fn from(mut known: Known) -> Self {
        let needs = known.state == ServerState::NeedsConnect;
        let tools = known.catalog.iter().flat_map(|catalog| &catalog.tools);
        let broken = known.catalog.iter().flat_map(|catalog| &catalog.broken);
        Self {
            broken: broken.cloned().collect(),
            tools: tools
                .map(|tool| ToolBody {
                    denied: known.denied.remove(&tool.name),
                    name: tool.name.clone(),
                    title: tool.title.clone(),
                    description: tool.description.clone(),
                })
                .collect(),
            connected: known.route.connected,
            connect_url: known.connect_url.filter(|_| needs).map(String::from),
            name: known.route.name,
            description: known.route.description,
            url: known.route.url.into(),
            state: known.state,
            failure: known.failure,
        }
    }
}
