//! A problem in OpenAI's shape, for `/v1`.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chat::{
    failure::{Failure, Layer},
    ids::TurnId,
};
use serde::Serialize;

use super::{Problem, TURN_HEADER};

/// OpenAI's shape of an error.
#[derive(Serialize)]
struct OpenAi<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: String,
    r#type: &'static str,
    param: Option<&'static str>,
    code: &'a str,
}

impl Problem {
    /// The problem as a program that speaks OpenAI's API expects it. Whose failure it is, what to
    /// do and the request id are in the message: SDKs show nothing else.
    pub(crate) fn openai(&self) -> Response {
        let body = serde_json::to_vec(&self.openai_body()).unwrap_or_default();
        let json = HeaderValue::from_static("application/json");
        let mut response = (self.status, [(header::CONTENT_TYPE, json)], body).into_response();
        self.say_when(response.headers_mut());
        let turn = self.turn.as_ref().map(TurnId::as_str);
        if let Some(Ok(turn)) = turn.map(HeaderValue::from_str) {
            response.headers_mut().insert(TURN_HEADER, turn);
        }
        response
    }

    /// `{"error": {…}}`: what [`Problem::openai`] sends, also as an event in mid-stream.
    pub(crate) fn openai_body(&self) -> impl Serialize + '_ {
        OpenAi {
            error: OpenAiError {
                message: self.openai_message(),
                r#type: self.openai_type(),
                param: self.param,
                code: self.code,
            },
        }
    }

    fn openai_message(&self) -> String {
        let Failure {
            layer,
            message,
            advice,
            request_id,
            ..
        } = &*self.failure;
        let mut text = match layer {
            Layer::Toolgate => message.clone(),
            Layer::Model | Layer::Pomerium | Layer::Server => {
                format!("{}: {message}", layer.name())
            }
        };
        if !advice.is_empty() {
            text = format!("{text} {advice}");
        }
        if let Some(id) = request_id {
            text = format!("{text} ({}: {id})", self.failure.request_id_name());
        }
        text
    }

    fn openai_type(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }
}
