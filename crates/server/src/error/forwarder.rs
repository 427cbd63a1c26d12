//! What the forwarder of `toolgate connect` says by itself.

use std::fmt::Display;

use axum::http::StatusCode;
use chat::failure::{Failure, Layer};

use super::Problem;

/// What Toolgate's route in Pomerium needs.
const NO_CUT: &str = "Set `timeout: 0s` and `idle_timeout: 0s` on Toolgate's route in Pomerium.";

impl Problem {
    /// 401: nobody is signed in there, or no longer.
    pub(crate) fn signed_out(origin: &dyn Display) -> Self {
        let message = format!("The session at {origin} has ended.");
        Self::new(StatusCode::UNAUTHORIZED, "signed_out", message)
            .advise(&format!("run: toolgate login {origin}"))
    }

    /// 401: the caller has no key, or a wrong one, of a forwarder that wants one.
    pub(crate) fn wrong_key() -> Self {
        let message = "This forwarder wants the API key that it was started with (`--key-file`).";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    /// 403: the request came by another name than this machine's, or from a web page.
    pub(crate) fn not_from_here() -> Self {
        let message = "The forwarder serves programs on this machine, not web pages.";
        Self::new(StatusCode::FORBIDDEN, "not_from_here", message)
            .advise("Use its address as it was printed: 127.0.0.1 and the port.")
    }

    /// 404: the forwarder takes only some paths.
    pub(crate) fn not_forwarded() -> Self {
        let message = "The forwarder forwards only /v1/ and /api/.";
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 413: the body is over `limit` bytes.
    pub(crate) fn too_large_to_forward(limit: usize) -> Self {
        let message = format!("The request is larger than {} MiB.", limit / (1024 * 1024));
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 429: `limit` requests are being forwarded.
    pub(crate) fn too_many_forwarded(limit: usize) -> Self {
        let message = format!("{limit} requests are being forwarded already.");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message)
            .advise("Wait until one of them is done.")
    }

    /// 500: the forwarder cannot use the file of logins.
    pub(crate) fn no_logins(why: &dyn Display) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "no_logins", format!("Toolgate's forwarder {why}."))
    }

    /// 502: there is no answer.
    pub(crate) fn unreachable(origin: &dyn Display, why: &dyn Display) -> Self {
        let failure = Failure::new(
            Layer::Pomerium,
            format!("{origin} gave no answer: {why}."),
            "Check that it can be reached from this machine.",
        );
        Self::upstream(failure)
    }

    /// 502: the answer has no end.
    pub(crate) fn broken_off(why: &dyn Display) -> Self {
        let message = format!("The answer broke off: {why}.");
        Self::upstream(Failure::new(Layer::Pomerium, message, "Ask again."))
    }

    /// 504: Pomerium cut the answer off, as it does with every one that takes 30 s unless its route
    /// says otherwise.
    pub(crate) fn cut_off(seconds: u64) -> Self {
        let message = format!("The answer was cut off after {seconds} s.");
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            code: "cut_off",
            failure: Box::new(Failure::new(Layer::Pomerium, message, NO_CUT)),
            turn: None,
            param: None,
        }
    }

    /// Pomerium answered in Toolgate's place.
    pub(crate) fn of_pomerium(status: StatusCode, request_id: Option<String>) -> Self {
        let (message, advice) = match status {
            StatusCode::FORBIDDEN => (
                "its policy keeps you from Toolgate.",
                "Ask your administrator for access.",
            ),
            StatusCode::NOT_FOUND => (
                "it has no such route.",
                "Check the address that the forwarder was started with.",
            ),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => (
                "it cannot reach Toolgate.",
                "Try again in a moment; if it happens again, ask your administrator.",
            ),
            StatusCode::BAD_REQUEST => ("it does not take the request.", ""),
            _ => ("it answered in Toolgate's place.", ""),
        };
        let message = format!("{message} (status {})", status.as_u16());
        let failure = Failure::new(Layer::Pomerium, message, advice)
            .with_status(status.as_u16())
            .with_request_id(request_id);
        Self {
            status,
            code: "refused_by_pomerium",
            failure: Box::new(failure),
            turn: None,
            param: None,
        }
    }
}
