//! Why what a link in a result leads to cannot be had.

use axum::http::StatusCode;
use wire::mcp::ReadError;

use super::Problem;

impl Problem {
    /// The resource could not be read: 404 if the server does not know it, 403 if policy denies it,
    /// 409 if an account has to be connected first, 503 if a newer token may help, else 502.
    pub(crate) fn unread(what: &str, server: &str, error: &ReadError) -> Self {
        let (status, code) = match error {
            ReadError::StaleToken(_) => (StatusCode::SERVICE_UNAVAILABLE, "token_expired"),
            ReadError::NeedsConnect(_) => (StatusCode::CONFLICT, "needs_connect"),
            ReadError::Forbidden(_) => (StatusCode::FORBIDDEN, "denied"),
            ReadError::NotFound(_) => (StatusCode::NOT_FOUND, "resource_not_found"),
            ReadError::Failed(_) => (StatusCode::BAD_GATEWAY, "upstream"),
        };
        let mut failure = error.failure().clone();
        let why = failure.message.trim_end_matches('.');
        failure.message = format!("“{what}” could not be read from {server}: {why}.");
        Self {
            status,
            code,
            ..Self::upstream(failure)
        }
    }
}
