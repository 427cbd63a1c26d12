//! Sends async-openai's requests through `wire::http`, and takes the answers that can be read.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_openai::{
    Client, config::Config, error::OpenAIError, middleware::HttpRequestFactory,
    types::stream::StreamResponse,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::HeaderMap;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use thiserror::Error;

use super::{events::Events, fault::Fault, words::Words};
use crate::{http::Http, tap::Context};

/// Bytes of an error's body that are read.
const ERROR_BODY_BYTES: usize = 64 * 1024;

/// How long an error's body may take after its headers.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

/// A fault on its way through async-openai.
#[derive(Debug, Error)]
#[error("the model request failed")]
pub(super) struct Failed(pub(super) Fault);

/// Sends a request as async-openai makes it; `body` is its JSON.
///
/// The body of the answer does not go through async-openai, whose reader is a task of its own that
/// reads ahead without limit: it is handed an empty one, and the round reads.
pub(super) async fn open(
    client: Client<Arc<dyn Config>>,
    http: Http,
    context: Context,
    body: Box<RawValue>,
) -> Result<Events, OpenAIError> {
    let answered = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&answered);
    let client = client.with_http_service(tower::service_fn(move |made: HttpRequestFactory| {
        let (http, context, slot) = (http.clone(), context.clone(), Arc::clone(&slot));
        async move {
            let answer = answer(&http, made.build().await?, context).await;
            let answer = answer.map_err(|fault| OpenAIError::Boxed(Failed(fault).into()))?;
            let events = Events::new(answer.bytes_stream());
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(events);
            Ok::<_, OpenAIError>(reqwest::Response::from(http::Response::new("")))
        }
    }));
    let chat = client.chat();
    let _empty: StreamResponse<IgnoredAny> = chat.create_stream_byot(&body).await?;
    let events = answered
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let unasked = || Failed(Fault::NoRequest("it was not sent".to_owned()));
    events.ok_or_else(|| OpenAIError::Boxed(unasked().into()))
}

/// Sends a request; an answer has a status of success.
pub(super) async fn answer(
    http: &Http,
    request: reqwest::Request,
    context: Context,
) -> Result<reqwest::Response, Fault> {
    let answer = http
        .send_model(request, context)
        .await
        .map_err(Fault::Http)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let retry_after = retry_after(answer.headers());
    let request_id = request_id(answer.headers());
    let body = tokio::time::timeout(ERROR_BODY_TIME, start_of(answer))
        .await
        .unwrap_or_default();
    let words = Words::of_body(&body);
    Err(Fault::Status {
        status: status.as_u16(),
        retry_after,
        request_id,
        words,
    })
}

/// As much of a body as is read of an error's.
async fn start_of(answer: reqwest::Response) -> Bytes {
    let mut body = answer.bytes_stream();
    let mut start = BytesMut::new();
    while let Some(Ok(bytes)) = body.next().await {
        let room = ERROR_BODY_BYTES - start.len();
        start.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
        if start.len() == ERROR_BODY_BYTES {
            break;
        }
    }
    start.freeze()
}

/// The endpoint's name of the request, as OpenAI and most others send it.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    Some(id.to_owned())
}

/// The wait that the endpoint asks for (RFC 9110, section 10.2.3, as seconds; dates are not read).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms")
        .map(|ms| ms / 1000.0)
        .or_else(|| number("retry-after"));
    Duration::try_from_secs_f64(seconds?).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds() {
        let read = |name: &'static str, value: &'static str| {
            retry_after(&HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(read("retry-after", "3"), Some(Duration::from_secs(3)));
        assert_eq!(read("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(
            read("retry-after-ms", "250"),
            Some(Duration::from_millis(250))
        );
        for none in ["-1", "x", "", "NaN", "inf", "Sun, 22 Nov 2026 13:00:00 GMT"] {
            assert_eq!(read("retry-after", none), None, "{none}");
        }
    }
}
