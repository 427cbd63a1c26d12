//! What can go wrong on the way.

use thiserror::Error;

/// Why [`Http::new`](super::Http::new) failed.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The extra certificates.
    #[error("the extra root certificates cannot be read: {0}")]
    Ca(String),
    /// TLS itself: no root certificates, or one that is not acceptable.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The client for model endpoints.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[from] reqwest::Error),
}

/// Why a request has no answer, or its answer no end.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Not sent: it would break a rule of ours.
    #[error("{0}")]
    Refused(&'static str),
    /// Not sent: there is no connection.
    #[error("cannot connect: {}", chain(.0))]
    Connect(#[source] BoxError),
    /// The connection failed after the request may have been sent.
    #[error("the connection failed: {}", chain(.0))]
    Broken(#[source] BoxError),
    /// The reader of a stream was too slow.
    #[error("the reader lagged more than {limit} bytes behind")]
    Lagged {
        /// The bound, bytes.
        limit: usize,
    },
    /// A body is larger than its reader takes.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The bound, bytes.
        limit: usize,
    },
    /// This program is ending.
    #[error("shutting down")]
    Shutdown,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl HttpError {
    /// Whether the other side certainly never got the request.
    pub fn never_sent(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Connect(_) => true,
            Self::Broken(_) | Self::Lagged { .. } | Self::TooLarge { .. } | Self::Shutdown => false,
        }
    }

    pub(super) fn refused_url<E>(_: E) -> Self {
        Self::Refused("not sent: the URL is no URI of HTTP")
    }

    pub(super) fn of_client(error: hyper_util::client::legacy::Error) -> Self {
        if error.is_connect() {
            Self::Connect(error.into())
        } else {
            Self::broken(error)
        }
    }

    pub(super) fn of_model(error: reqwest::Error) -> Self {
        // The URL is known to the caller, and may carry a key.
        let error = error.without_url();
        if error.is_connect() {
            Self::Connect(error.into())
        } else {
            Self::broken(error)
        }
    }

    pub(super) fn broken(error: impl Into<BoxError>) -> Self {
        Self::Broken(error.into())
    }
}

/// An error and its causes in one line: the cause is what helps.
fn chain(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
