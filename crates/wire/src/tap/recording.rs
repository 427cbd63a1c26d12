//! An exchange in the making.

use std::{sync::Arc, time::Instant};

use ::http::{HeaderMap, Method, StatusCode};
use secrecy::SecretString;
use url::Url;

use super::{
    Context, End, Exchange, Tap,
    capture::Capture,
    redact::{self, Secret, Secrets},
};

/// Where the tap sits: it begins the records of all exchanges.
pub(crate) struct Tapping {
    tap: Arc<dyn Tap>,
    secrets: Arc<Secrets>,
}

/// The head of a request, as it is recorded.
#[derive(Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a HeaderMap,
    /// The live secret of the request: redacted wherever it appears.
    pub(crate) secret: Option<&'a SecretString>,
}

impl Tapping {
    pub(crate) fn new(tap: Arc<dyn Tap>) -> Self {
        Self {
            tap,
            secrets: Arc::default(),
        }
    }

    /// Begins the record of a request that is about to be sent.
    pub(crate) fn start(&self, context: Context, request: RequestHead<'_>) -> Recording {
        let RequestHead {
            method,
            url,
            headers,
            secret,
        } = request;
        let version = self.secrets.version();
        let secrets = self.secrets.of(context.subject.as_ref(), secret, headers);
        let exchange = Exchange {
            context,
            method: method.clone(),
            url: redact::url(url, &secrets),
            request_headers: redact::headers(headers, &secrets),
            status: None,
            response_headers: Vec::new(),
            bytes_out: 0,
            bytes_in: 0,
            frames_in: 0,
            started: Instant::now(),
            headers_after: None,
            ended_after: None,
            end: End::default(),
        };
        let record = self.tap.begin(&exchange);
        Recording {
            exchange,
            tap: Arc::clone(&self.tap),
            capture: record.map(|record| Box::new(Capture::new(record))),
            own: secrets.clone(),
            secrets,
            sent: Arc::clone(&self.secrets),
            version,
            finished: false,
        }
    }
}

/// The record of an exchange. It completes when the body ends, on an error, and on drop.
pub(crate) struct Recording {
    exchange: Exchange,
    tap: Arc<dyn Tap>,
    capture: Option<Box<Capture>>,
    /// What must not be in it.
    secrets: Vec<Secret>,
    /// Those of the start.
    own: Vec<Secret>,
    /// All that was sent, and how much of it is in `secrets`.
    sent: Arc<Secrets>,
    version: u64,
    finished: bool,
}

impl Recording {
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.exchange.bytes_out += bytes.len() as u64;
        if let Some(capture) = &mut self.capture {
            capture.sent(bytes, &self.secrets);
        }
    }

    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.exchange.status = Some(status);
        self.exchange.headers_after = Some(self.exchange.started.elapsed());
        self.look_for_new();
        self.exchange.response_headers = redact::headers(headers, &self.secrets);
        if let Some(capture) = &mut self.capture {
            capture.answered(&self.exchange);
        }
    }

    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.exchange.bytes_in += bytes.len() as u64;
        self.exchange.frames_in += 1;
        self.look_for_new();
        if let Some(capture) = &mut self.capture {
            capture.received(&self.exchange, bytes, &self.secrets);
        }
    }

    pub(crate) fn end(&mut self, end: End) {
        if self.finished {
            return;
        }
        self.finished = true;
        self.look_for_new();
        self.exchange.ended_after = Some(self.exchange.started.elapsed());
        self.exchange.end = match end {
            End::Failed(error) => End::Failed(redact::text(&error, &self.secrets)),
            End::Complete | End::Dropped | End::Interrupted => end,
        };
        if let Some(capture) = &mut self.capture {
            capture.finished(&self.exchange, &self.secrets);
        }
        self.tap.finished(&self.exchange);
    }

    fn look_for_new(&mut self) {
        let version = self.sent.version();
        if version != self.version {
            self.version = version;
            let subject = self.exchange.context.subject.as_ref();
            self.secrets = self.sent.with_new(subject, &self.own);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}
