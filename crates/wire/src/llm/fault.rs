//! What can go wrong with a model request, put into words for a person, with what to do next.

use std::time::Duration;

use chat::{
    failure::{Failure, Layer, Retry, RoundFailure},
    limits::ROUND_RETRY_CAP,
};

use super::{
    address::Address,
    words::{Words, page_title, shown},
};
use crate::http::HttpError;

/// What went wrong with a request to a model endpoint.
#[derive(Debug)]
pub(super) enum Fault {
    /// The operator's key cannot be sent.
    BadKey,
    /// The request could not be made.
    NoRequest(String),
    /// It could not be sent, or the connection broke before the answer began.
    Http(HttpError),
    /// The endpoint answered with an error status.
    Status {
        status: u16,
        retry_after: Option<Duration>,
        /// Its name of the request (`x-request-id`), for whoever runs it.
        request_id: Option<String>,
        words: Words,
    },
    /// It reported an error inside an answer with status 200.
    Reported(Words),
    /// It answered with a web page.
    Page(String),
    /// It answered with nothing at all.
    Empty,
    /// What it answered is no chat completion; what it is, as far as it can be shown.
    NoCompletion(String),
    /// An event of an answer with calls is no JSON: the calls may not be whole.
    Broken(String),
    /// The answer is beyond what is read of one.
    TooLarge,
    /// The connection broke within the answer.
    Cut(String),
    /// The answer ended without a word that it was at its end.
    Truncated,
    /// Nothing came for this long.
    Silent(Duration),
}

/// Error texts with a 5xx status that mean that the request is wrong (`llama.cpp`).
const REQUEST_FAULTS: [&str; 6] = [
    "parse error",
    "parse_error",
    "--jinja",
    "not supported",
    "unsupported",
    "invalid",
];

impl Fault {
    /// The failure for a person, and whether asking again may help.
    pub(super) fn describe(self, address: &Address) -> RoundFailure {
        let retry = self.retry();
        let status = self.words().map(|(status, _)| status);
        let host = address.host();
        let message = shown(address.without_key(&self.message(&host)));
        let failure = Failure::new(Layer::Model, message, self.advice(address));
        let failure = match status {
            Some(status) => failure.with_status(status),
            None => failure,
        };
        let failure = if matches!(self, Self::Silent(_)) {
            failure.after_silence()
        } else {
            failure
        };
        let id = self.request_id().map(|id| address.without_key(id));
        let failure = failure.with_request_id(id);
        RoundFailure { failure, retry }
    }

    /// Whether the endpoint refused the request because of this field of it.
    pub(super) fn names(&self, field: &str) -> bool {
        let refused = self
            .words()
            .filter(|(status, _)| matches!(status, 400 | 422));
        refused.is_some_and(|(_, words)| words.text.contains(field))
    }

    fn request_id(&self) -> Option<&str> {
        if let Self::Status { request_id, .. } = self {
            request_id.as_deref()
        } else {
            None
        }
    }

    /// The endpoint's words and the status that they came with.
    fn words(&self) -> Option<(u16, &Words)> {
        if let Self::Status { status, words, .. } = self {
            Some((*status, words))
        } else if let Self::Reported(words) = self {
            Some((words.status?, words))
        } else {
            None
        }
    }

    fn message(&self, host: &str) -> String {
        match self {
            Self::BadKey => "The key for the model endpoint cannot be sent: it holds characters \
                             that no header may have."
                .to_owned(),
            Self::NoRequest(why) => format!("The request to {host} could not be made: {why}"),
            Self::Http(error @ (HttpError::Connect(_) | HttpError::Refused(_))) => {
                format!("The model endpoint at {host} cannot be reached: {error}")
            }
            Self::Http(error) => format!("The model endpoint at {host} gave no answer: {error}"),
            Self::Status {
                status,
                words: Words { text, .. },
                ..
            } if text.is_empty() => {
                format!("The model endpoint at {host} answered {status} and said nothing.")
            }
            Self::Status { status, words, .. } => {
                format!(
                    "The model endpoint at {host} answered {status}: {}",
                    words.text
                )
            }
            Self::Reported(words) => {
                format!(
                    "The model endpoint at {host} reported an error: {}",
                    words.text
                )
            }
            Self::Page(page) => {
                format!(
                    "What answers at {host} is no model endpoint: {}",
                    page_title(page)
                )
            }
            Self::Empty => format!("The model endpoint at {host} answered with nothing."),
            Self::NoCompletion(shown) => {
                format!("The model endpoint at {host} answered with no chat completion: {shown}")
            }
            Self::Broken(shown) => {
                format!("The model endpoint at {host} sent a broken event: {shown}")
            }
            Self::TooLarge => format!("The answer of {host} is too large to be taken."),
            Self::Cut(why) => format!("The connection to {host} broke within the answer: {why}"),
            Self::Truncated => {
                format!("The answer of {host} stopped without coming to its end.")
            }
            Self::Silent(limit) => {
                format!(
                    "The model endpoint at {host} was silent for {} s.",
                    limit.as_secs()
                )
            }
        }
    }

    fn advice(&self, address: &Address) -> &'static str {
        const AGAIN: &str = "Try again; if it goes on, look at the endpoint's own log.";
        const ADDRESS: &str = "Check that OPENAI_BASE_URL is the address of an OpenAI-compatible \
                               endpoint (most end with /v1).";
        match self {
            Self::BadKey => "Check OPENAI_API_KEY: one line, without control characters.",
            Self::NoRequest(_) | Self::Page(_) | Self::NoCompletion(_) => ADDRESS,
            Self::Http(HttpError::Connect(_) | HttpError::Refused(_)) => {
                "Check that the endpoint is running there (OPENAI_BASE_URL)."
            }
            Self::Http(_) | Self::Empty | Self::Broken(_) | Self::Cut(_) | Self::Truncated => AGAIN,
            Self::TooLarge => "Ask for a shorter answer.",
            Self::Silent(_) => {
                "Try again; a local model may still be loading, or the question may be too large \
                 for it."
            }
            Self::Status { status, words, .. } => {
                advice_on(*status, words, address).unwrap_or(AGAIN)
            }
            Self::Reported(words) => words
                .status
                .and_then(|status| advice_on(status, words, address))
                .unwrap_or(AGAIN),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Http(HttpError::Refused(_) | HttpError::TooLarge { .. })
            | Self::BadKey
            | Self::NoRequest(_)
            | Self::Page(_)
            | Self::NoCompletion(_)
            | Self::TooLarge => Retry::Never,
            Self::Http(_)
            | Self::Empty
            | Self::Broken(_)
            | Self::Cut(_)
            | Self::Truncated
            | Self::Silent(_) => Retry::After(None),
            Self::Status {
                status,
                retry_after,
                words,
                ..
            } => retry_on(*status, words, *retry_after),
            Self::Reported(words) => match words.status {
                Some(status) => retry_on(status, words, None),
                None if words.code.contains("invalid_request") => retry_on(400, words, None),
                None => Retry::After(None),
            },
        }
    }
}

fn advice_on(status: u16, words: &Words, address: &Address) -> Option<&'static str> {
    let text = words.text.to_lowercase();
    let says = |part: &str| text.contains(part) || words.code.contains(part);
    Some(match status {
        300..400 => {
            "Set OPENAI_BASE_URL to the address that the endpoint really has: redirects are not \
             followed."
        }
        401 if !address.has_key() => {
            "The endpoint wants a key: ask the operator to set \
                                      OPENAI_API_KEY."
        }
        401 => "Ask the operator to check OPENAI_API_KEY for this endpoint.",
        402 | 429 if says("quota") || says("billing") || says("credit") => {
            "The quota of the endpoint's account is used up: ask the operator."
        }
        402 => "The endpoint wants to be paid: ask the operator.",
        403 => "The operator's key may not use this model or endpoint.",
        404 if says("model") => "Choose another model: the endpoint does not have this one.",
        404 | 405 => {
            "Check the model's name, and that OPENAI_BASE_URL is the address of an \
             OpenAI-compatible endpoint (most end with /v1)."
        }
        400 | 413 | 422 if says("context") || says("too long") || says("too large") => {
            "The conversation is too long for the model: start a new chat, or choose a model with \
             a larger context."
        }
        _ if says("tool_use_failed") => "The model wrote a call that is none: try again.",
        _ if says("--jinja") => {
            "Start the endpoint so that it supports tools (llama.cpp: --jinja)."
        }
        400..=499 if !matches!(status, 408 | 429) => {
            "The endpoint does not take this request: another model may, one that supports tools."
        }
        429 => "Wait a minute and try again; if it goes on, the account's quota is too small.",
        _ => return None,
    })
}

fn retry_on(status: u16, words: &Words, retry_after: Option<Duration>) -> Retry {
    let capped = retry_after.map(|wait| wait.min(ROUND_RETRY_CAP));
    let wait = capped.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    let text = words.text.to_lowercase();
    match status {
        // Groq: the model itself wrote a call that is none; it may do better.
        _ if words.code.contains("tool_use_failed") => Retry::After(None),
        429 if words.code.contains("insufficient_quota") => Retry::Never,
        500 if REQUEST_FAULTS.iter().any(|fault| text.contains(fault)) => Retry::Never,
        // 520 to 529: what Cloudflare and Anthropic say instead of 502 and 503.
        408 | 429 | 500 | 502..=504 | 520..=529 => Retry::After(wait),
        _ => Retry::Never,
    }
}
