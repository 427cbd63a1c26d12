//! What handlers take from a request: as axum's own, but what does not fit is a [`Problem`].

use axum::{
    Json,
    extract::{self, FromRequest, FromRequestParts, Request},
    http::request::Parts,
};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::error::Problem;

/// Bytes of a request body: a message of `limits::MESSAGE_BYTES` with every byte escaped, and the
/// JSON around it.
const BODY_BYTES: usize = 6 * chat::limits::MESSAGE_BYTES + 64 * 1024;

/// Bytes up to which a body that is too long is still read, and thrown away: whoever is answered
/// while they send sees a broken connection instead of the answer. More than anybody pastes.
const DISCARDED_BYTES: usize = 32 * 1024 * 1024;

/// Parts of the path. What cannot be one of its ids names nothing there is.
pub(crate) struct Path<T>(pub(crate) T);

/// The query.
pub(crate) struct Query<T>(pub(crate) T);

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = extract::Path::from_request_parts(parts, state).await;
        path.map(|extract::Path(value)| Self(value))
            .map_err(|_| Problem::not_found("page"))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = extract::Query::from_request_parts(parts, state).await;
        query
            .map(|extract::Query(value)| Self(value))
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read(request).await?;
        let body = Json::from_bytes(&bytes);
        body.map(|Json(value)| Self(value))
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

/// The body, if it is not too long.
async fn read(request: Request) -> Result<Vec<u8>, Problem> {
    let mut pieces = request.into_body().into_data_stream();
    let (mut body, mut length) = (Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Problem::bad_request("The request broke off."))?;
        length += piece.len();
        if length <= BODY_BYTES {
            body.extend_from_slice(&piece);
        } else if length > DISCARDED_BYTES {
            break;
        }
    }
    if length > BODY_BYTES {
        return Err(Problem::too_large(chat::limits::MESSAGE_BYTES));
    }
    Ok(body)
}
