//! The client of model endpoints (`OpenAI` chat completions, streamed).
//!
//! async-openai makes the request. Below it, `service` sends through [`crate::http`] and checks what
//! comes back; `events` reads the answer event by event, `delta` reads each event whatever its
//! shape, and `assembler` puts the answer together. Every oddity of an endpoint is dealt with here,
//! and nowhere else.

mod round;

mod request;

mod assembler;
mod slots;

mod chunk;
mod delta;

mod events;
mod service;
mod shaper;

mod address;
mod fault;
mod words;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_openai::config::Config;
use chat::{
    failure::{Failure, RoundFailure},
    message::{AssistantMessage, Message, RoundEnd, ToolChoice, Usage},
    toolbox::Toolbox,
};
use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

pub use self::round::Round;
use self::{
    address::Address,
    fault::Fault,
    request::{Reasoning, Request, UsageWanted},
    words::{Words, clean},
};
use crate::{
    http::Http,
    tap::{Context, Peer},
};

/// Bytes of a list of models: the longest known (an aggregator's) has under 1 MiB.
const MODELS_BYTES: usize = 4 * 1024 * 1024;

/// Models that are listed.
const MODELS: usize = 2000;

/// How long a list of models may take.
const MODELS_TIME: Duration = Duration::from_secs(10);

/// A model endpoint, as the operator names it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What stands before `/chat/completions`, with or without a slash at its end.
    pub base_url: Url,
    /// Sent as bearer; it goes nowhere else and appears in no text.
    pub api_key: Option<SecretString>,
}

/// How long an endpoint may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTimeouts {
    /// From the request until the model says something: prompts may be long, models may have to
    /// be loaded.
    pub first_byte: Duration,
    /// Then, between one event and the next.
    pub idle: Duration,
}

impl Default for RoundTimeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_mins(5),
            idle: Duration::from_mins(2),
        }
    }
}

/// What a round asks the model.
#[derive(Clone, Copy, Debug)]
pub struct RoundRequest<'a> {
    /// The model's id.
    pub model: &'a str,
    /// The conversation so far.
    pub messages: &'a [Message],
    /// What the model may call, in the order in which it is offered.
    pub toolbox: &'a Toolbox,
    /// Whether it may call.
    pub tool_choice: ToolChoice,
    /// What else the endpoint is sent (`temperature`, …), as it is. Of what a request is made of
    /// (`model`, `messages`, …) it changes nothing.
    pub parameters: &'a Map<String, Value>,
}

/// What happens in a round.
#[derive(Clone, Debug, PartialEq)]
pub enum RoundEvent {
    /// More of the text.
    Text(Piece),
    /// More of the reasoning, which has offsets of its own.
    Reasoning(Piece),
    /// The answer is complete. The last event.
    Ended {
        /// How it ended.
        end: RoundEnd,
        /// Tokens, if the endpoint counted them.
        usage: Option<Usage>,
        /// All of it: the text is that of the pieces.
        message: AssistantMessage,
    },
    /// There is no complete answer; what text there was stands until the round is sent again. The
    /// last event.
    Failed(RoundFailure),
}

/// A piece of a growing text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it starts in the round's text: bytes of UTF-8.
    pub offset: usize,
    /// The piece, never empty.
    pub text: String,
}

/// A client of one model endpoint. Cheap to clone.
#[derive(Clone)]
pub struct ModelClient(Arc<Inner>);

struct Inner {
    http: Http,
    address: Arc<Address>,
    timeouts: RoundTimeouts,
    /// Makes requests, never sends any; none if TLS cannot be set up.
    requests: Option<reqwest::Client>,
    compat: Compat,
}

/// What was learnt of the endpoint from its refusals.
#[derive(Debug, Default)]
struct Compat {
    refuses_usage: AtomicBool,
    wants_reasoning: AtomicBool,
}

impl ModelClient {
    /// A client that sends through `http`. Sends nothing yet.
    pub fn new(http: Http, endpoint: Endpoint, timeouts: RoundTimeouts) -> Self {
        // It never connects, so it needs to trust nobody.
        let requests = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .ok();
        let address = Arc::new(Address::new(endpoint));
        Self(Arc::new(Inner {
            http,
            address,
            timeouts,
            requests,
            compat: Compat::default(),
        }))
    }

    /// Sends a model request. It is not sent again when it fails: that is the engine's decision.
    /// Only a request that the endpoint refused for a field that we can do without is sent
    /// without that field.
    pub fn round(&self, request: RoundRequest<'_>, context: Context) -> Round {
        let context = Context {
            peer: Peer::Model,
            ..context
        };
        let request = Request::new(request).map_err(|error| Fault::NoRequest(error.to_string()));
        Round::start(Arc::clone(&self.0), request, context)
    }

    /// The ids of the endpoint's models, in its order; at most 2000, within 10 s.
    pub async fn models(&self) -> Result<Vec<String>, Failure> {
        let listing = tokio::time::timeout(MODELS_TIME, self.0.models());
        let listed = listing.await.unwrap_or(Err(Fault::Silent(MODELS_TIME)));
        listed.map_err(|fault| fault.describe(&self.0.address).failure)
    }
}

impl Inner {
    async fn models(&self) -> Result<Vec<String>, Fault> {
        self.check()?;
        let url = Url::parse(&self.address.url("/models"));
        let mut url = url.map_err(|error| Fault::NoRequest(error.to_string()))?;
        for (key, value) in self.address.query() {
            url.query_pairs_mut().append_pair(key, value);
        }
        let mut request = reqwest::Request::new(::http::Method::GET, url);
        *request.headers_mut() = self.address.headers();
        let context = Context {
            peer: Peer::Model,
            ..Context::default()
        };
        let mut answer = service::answer(&self.http, request, context).await?;
        let mut body = Vec::new();
        while let Some(bytes) = answer.chunk().await.map_err(cut)? {
            body.extend_from_slice(&bytes);
            if body.len() > MODELS_BYTES {
                return Err(Fault::TooLarge);
            }
        }
        model_ids(&body)
    }

    /// A client for one request.
    fn client(self: &Arc<Self>) -> Result<async_openai::Client<Arc<dyn Config>>, Fault> {
        self.check()?;
        let no_tls = || Fault::NoRequest("TLS cannot be set up".to_owned());
        let requests = self.requests.clone().ok_or_else(no_tls)?;
        let address: Arc<dyn Config> = Arc::clone(&self.address) as _;
        Ok(async_openai::Client::build(requests, address))
    }

    fn check(&self) -> Result<(), Fault> {
        if self.address.has_bad_key() {
            Err(Fault::BadKey)
        } else {
            Ok(())
        }
    }
}

impl Compat {
    fn usage(&self) -> UsageWanted {
        let refused = self.refuses_usage.load(Ordering::Relaxed);
        if refused {
            UsageWanted::No
        } else {
            UsageWanted::Yes
        }
    }

    fn set_usage(&self, usage: UsageWanted) {
        self.refuses_usage
            .store(usage == UsageWanted::No, Ordering::Relaxed);
    }

    fn reasoning(&self) -> Reasoning {
        let wanted = self.wants_reasoning.load(Ordering::Relaxed);
        if wanted {
            Reasoning::Echoed
        } else {
            Reasoning::Omitted
        }
    }

    fn set_reasoning(&self, reasoning: Reasoning) {
        self.wants_reasoning
            .store(reasoning == Reasoning::Echoed, Ordering::Relaxed);
    }
}

/// The ids in a list of models, in the shapes that endpoints use.
fn model_ids(body: &[u8]) -> Result<Vec<String>, Fault> {
    let Ok(list) = serde_json::from_slice::<Value>(body) else {
        return Err(match String::from_utf8_lossy(body).trim_start() {
            page if page.starts_with('<') => Fault::Page(page.to_owned()),
            text => Fault::NoCompletion(clean(text)),
        });
    };
    if let Some(words) = list.as_object().and_then(Words::reported) {
        return Err(Fault::Reported(words));
    }
    let models = ["data", "models"]
        .iter()
        .find_map(|key| list.get(key)?.as_array());
    let Some(models) = models.or_else(|| list.as_array()) else {
        return Err(Fault::NoCompletion(clean(&list.to_string())));
    };
    let id = |model: &Value| {
        let id = ["id", "name", "model"]
            .iter()
            .find_map(|key| model.get(key)?.as_str());
        id.or_else(|| model.as_str()).map(str::to_owned)
    };
    Ok(models.iter().filter_map(id).take(MODELS).collect())
}

fn cut(error: reqwest::Error) -> Fault {
    Fault::Cut(error.without_url().to_string())
}

#[cfg(test)]
mod tests;
