//! The one place where errors become HTTP.
//!
//! Handlers return [`Problem`]; its constructors are the errors there are. It is sent as
//! `application/problem+json` (RFC 9457) with the `layer` that failed; pages show the same words,
//! and `/v1` says them in OpenAI's shape ([`Problem::openai`]). What a caller cannot mend (our own
//! faults) is logged here, once.

mod forwarder;
mod openai;
mod reading;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chat::{
    failure::{Failure, Layer},
    ids::TurnId,
};
use serde::Serialize;
use url::Url;

use crate::identity::Unverified;

/// The header that names the turn an answer of `/v1` is about.
pub(crate) const TURN_HEADER: &str = "x-toolgate-turn";

/// When it is worth asking again after "not now", seconds: a turn has ended, or another process
/// serves.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// An error as a caller sees it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable name, for programs.
    pub code: &'static str,
    /// Whose failure it is, what happened, what to do next.
    pub failure: Box<Failure>,
    /// The turn it is about, if any.
    pub turn: Option<TurnId>,
    /// The parameter of a request under `/v1` that is at fault, if one is.
    pub param: Option<&'static str>,
}

/// RFC 9457's members and ours.
#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    status: u16,
    code: &'a str,
    layer: Layer,
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    advice: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<&'a TurnId>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let failure = Box::new(Failure::new(Layer::Toolgate, message, ""));
        Self {
            status,
            code,
            failure,
            turn: None,
            param: None,
        }
    }

    pub(crate) fn advise(mut self, advice: &str) -> Self {
        advice.clone_into(&mut self.failure.advice);
        self
    }

    /// The same problem for a program that was never signed in, or no longer is: also what to run.
    pub(crate) fn for_program(self, public_url: &Url) -> Self {
        if self.status != StatusCode::UNAUTHORIZED {
            return self;
        }
        let origin = public_url.origin().ascii_serialization();
        let advice = format!(
            "{} Programs sign in with `toolgate login {origin}`, then use what `toolgate token \
             {origin}` prints as the API key, with {origin}/v1 as the base URL.",
            self.failure.advice
        );
        self.advise(advice.trim_start())
    }

    /// Names the parameter that is at fault, for programs.
    pub(crate) fn of_param(self, param: &'static str) -> Self {
        let param = Some(param);
        Self { param, ..self }
    }

    /// Adds when to ask again, where that helps (RFC 9110, section 10.2.3).
    fn say_when(&self, headers: &mut HeaderMap) {
        if matches!(self.code, "disk_full" | "restarting" | "too_many_turns") {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
    }

    /// 404: there is no such thing, or it is somebody else's: the two look the same.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("There is no such {what}."),
        )
        .advise("It may have been deleted, or its address may be mistyped.")
    }

    /// 400: the request says something that cannot be.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 405: the URL does not take the method.
    pub fn method_not_allowed() -> Self {
        let message = "This address does not take that method.";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        )
    }

    /// 413: the message is over `limits::MESSAGE_BYTES`.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("The message is longer than {} KiB.", limit / 1024);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
            .advise("Shorten it, or split it into several messages.")
    }

    /// 409: a turn runs in the conversation already.
    pub fn busy(turn: TurnId) -> Self {
        let message = "An answer is still being written in this conversation.";
        let problem = Self::new(StatusCode::CONFLICT, "busy", message)
            .advise("Wait until it is done, or stop it; then send again.");
        Self {
            turn: Some(turn),
            ..problem
        }
    }

    /// 409: what the request wants to change is in another state by now.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 429: too many turns run.
    pub fn too_many_turns(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_turns", message)
            .advise("Wait until one of them is done.")
    }

    /// 429: too many event streams are open.
    pub fn too_many_streams(limit: usize) -> Self {
        let message = format!("You have {limit} Toolgate pages open already.");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", message)
            .advise("Close some of them.")
    }

    /// 403: another site posted this.
    pub fn cross_site() -> Self {
        let message = "The request comes from another site.";
        Self::new(StatusCode::FORBIDDEN, "cross_site", message)
            .advise("Use the page itself, or send `Content-Type: application/json` from a program.")
    }

    /// 415: a program posted what does not say that it is JSON.
    pub(crate) fn not_json() -> Self {
        let message = "The request does not say that it is JSON.";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, "unsupported_media_type", message)
            .advise("Send it with `Content-Type: application/json`.")
    }

    /// 421: the request asks for a host that this machine is not, standing alone.
    pub fn misdirected() -> Self {
        let message = "Toolgate runs without Pomerium, for this machine only, and the request \
                       asks for another host.";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", message)
            .advise("Open it as localhost or 127.0.0.1, or set TOOLGATE_PUBLIC_URL.")
    }

    /// 403: the request came through a proxy, and nothing says who it is from.
    pub fn proxied() -> Self {
        let message = "Toolgate runs without Pomerium, for this machine only, and the request \
                       came through a proxy.";
        Self::new(StatusCode::FORBIDDEN, "proxied", message).advise(
            "Set TOOLGATE_PUBLIC_URL to the `from` of Toolgate's route in Pomerium, so that it \
             serves everybody as who they are.",
        )
    }

    /// 503: Toolgate is being shut down.
    pub fn shutting_down() -> Self {
        let message = "Toolgate is restarting.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "restarting", message)
            .advise("Try again in a moment.")
    }

    /// 502: the endpoint has no model to offer.
    pub fn no_model(why: &str) -> Self {
        let message = format!("The model endpoint was asked for its models: {why}.");
        let failure = Failure::new(
            Layer::Model,
            message,
            "Ask your administrator to set TOOLGATE_MODEL.",
        );
        Self::upstream(failure)
    }

    /// 503: the message could not be written down, so no turn was begun.
    pub fn not_saved(error: &store::StoreError) -> Self {
        let problem = Self::internal(error);
        let message = "The message could not be saved.";
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "not_saved",
            failure: Box::new(Failure::new(
                Layer::Toolgate,
                message,
                "It is still in the box: send it again in a moment.",
            )),
            ..problem
        }
    }

    /// 507: the disk is almost full, and what is left is for the turns that run.
    pub fn disk_full() -> Self {
        let message = "Toolgate's disk is full, so it begins no new answers.";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", message).advise(
            "Nothing was lost. Send it again when your administrator has made room; answers that \
             are being written go on.",
        )
    }

    /// 503: what a person wanted of a turn could not be written down, so it does not count.
    pub fn not_recorded() -> Self {
        let message = "Toolgate cannot go on with this answer just now.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_saved", message)
            .advise("Try again in a moment: it goes on by itself as soon as it can.")
    }

    /// 502: somebody else failed.
    pub fn upstream(failure: Failure) -> Self {
        Self {
            status: StatusCode::BAD_GATEWAY,
            code: "upstream",
            failure: Box::new(failure),
            turn: None,
            param: None,
        }
    }

    /// 500: our own fault; the chain is logged, not shown.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain = format!("{chain}: {cause}");
            source = cause.source();
        }
        tracing::error!(error = chain, "request failed");
        let message = "Something went wrong in Toolgate.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
            .advise("Nothing was lost. Try again; if it happens again, ask your administrator.")
    }
}

impl From<Unverified> for Problem {
    fn from(error: Unverified) -> Self {
        match error {
            Unverified::Missing => Self::new(
                StatusCode::UNAUTHORIZED,
                "no_assertion",
                "The request did not come through Pomerium: it carries no assertion.",
            )
            .advise(
                "Open Toolgate at its public address. If you did, the operator has to set \
                 `pass_identity_headers: true` on Toolgate's route in Pomerium.",
            ),
            Unverified::Invalid(flaw) => Self::new(
                StatusCode::UNAUTHORIZED,
                "bad_assertion",
                format!("Pomerium's assertion was refused: {flaw}."),
            )
            .advise(flaw.advice()),
            Unverified::NoKeys(failure) => {
                tracing::error!(message = failure.message, "cannot fetch Pomerium's keys");
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self {
                    status,
                    code: "no_keys",
                    failure: Box::new(failure),
                    turn: None,
                    param: None,
                }
            }
        }
    }
}

impl From<store::StoreError> for Problem {
    fn from(error: store::StoreError) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            layer: self.failure.layer,
            detail: &self.failure.message,
            advice: &self.failure.advice,
            request_id: self.failure.request_id.as_deref(),
            turn: self.turn.as_ref(),
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, json).into_response();
        let media = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, media);
        self.say_when(response.headers_mut());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Flaw;

    fn openai(problem: &Problem) -> serde_json::Value {
        serde_json::to_value(problem.openai_body()).unwrap()
    }

    #[test]
    fn a_program_reads_whose_failure_it_is_and_what_to_do() {
        let failure = Failure::new(Layer::Model, "it is overloaded", "Try again.")
            .with_request_id(Some("req-1".to_owned()));
        let problem = Problem::upstream(failure);
        assert_eq!(
            openai(&problem),
            serde_json::json!({ "error": {
                "message": "model: it is overloaded Try again. (The endpoint’s request id: req-1)",
                "type": "server_error",
                "param": null,
                "code": "upstream",
            }})
        );
        let turn = TurnId::from("turn-1");
        let response = Problem {
            turn: Some(turn),
            ..problem
        }
        .openai();
        assert_eq!(response.status(), 502);
        assert_eq!(response.headers()[TURN_HEADER], "turn-1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    }

    #[test]
    fn who_is_refused_for_now_learns_when_to_come_back() {
        let refused = Problem::shutting_down();
        assert_eq!(refused.openai().headers()[header::RETRY_AFTER], "5");
        let response = refused.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        let for_good = Problem::not_found("turn").into_response();
        assert!(!for_good.headers().contains_key(header::RETRY_AFTER));
    }

    #[test]
    fn only_who_is_not_signed_in_is_told_to_sign_in() {
        let url = "https://chat.example.com/".parse().unwrap();
        let unknown = Problem::from(Unverified::Missing).for_program(&url);
        let body = openai(&unknown);
        assert_eq!(body["error"]["type"], "authentication_error");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("`toolgate login https://chat.example.com`"),
            "{message}"
        );
        // Whoever has signed in already is not sent in circles.
        assert!(message.contains("pass_identity_headers"), "{message}");
        let elsewhere = Unverified::Invalid(Flaw::OtherHost("it was made for another host"));
        let message = openai(&Problem::from(elsewhere).for_program(&url)).to_string();
        assert!(message.contains("TOOLGATE_PUBLIC_URL"), "{message}");
        assert!(message.contains("toolgate login"), "{message}");
        let other = openai(&Problem::too_many_turns("Four run already.").for_program(&url));
        assert_eq!(other["error"]["type"], "rate_limit_error");
        assert!(!other.to_string().contains("toolgate login"), "{other}");
    }
}
