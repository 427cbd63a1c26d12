//! `GET /v1/models`: the endpoint's models, which a request can name.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::refused;
use crate::{app::AppState, error::Problem, extract::Path};

/// `GET /v1/models`.
pub(crate) async fn models(State(app): State<AppState>) -> Response {
    match app.turns.models().await {
        Ok(models) => {
            let data: Vec<Value> = models.iter().map(|id| body(id)).collect();
            Json(json!({ "object": "list", "data": data })).into_response()
        }
        Err(problem) => refused(&problem),
    }
}

/// `GET /v1/models/{model}`; an id may have slashes in it.
pub(crate) async fn model(
    State(app): State<AppState>,
    id: Result<Path<String>, Problem>,
) -> Response {
    let id = match id {
        Ok(Path(id)) => id,
        Err(problem) => return refused(&problem),
    };
    match app.turns.models().await {
        Ok(models) if models.contains(&id) => Json(body(&id)).into_response(),
        Ok(_) => refused(&Problem {
            status: StatusCode::NOT_FOUND,
            code: "model_not_found",
            ..Problem::bad_request(format!("The model endpoint does not list the model {id}."))
        }),
        Err(problem) => refused(&problem),
    }
}

/// A model in OpenAI's shape. Nobody says when it was made.
fn body(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 0, "owned_by": "endpoint" })
}
