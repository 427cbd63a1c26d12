//! `GET /api/openapi.json`: the API as `OpenAPI` 3.1 describes it. The document is kept by hand;
//! tests hold it against the routes there are and against real answers.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// The description.
const DOCUMENT: &str = include_str!("openapi.json");

/// The handler.
pub(crate) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
