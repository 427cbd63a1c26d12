//! The endpoint's models: what can be asked for, and what answers.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use chat::{
    failure::{Failure, Layer},
    limits,
};
use tokio::sync::{Mutex, OnceCell};

use super::Turns;
use crate::error::Problem;

/// How long a list of models is used before the endpoint is asked again.
const LIST_LIFE: Duration = Duration::from_mins(1);

/// How long the endpoint's failure to list them is believed: those who asked meanwhile need not
/// each wait for it.
const FAILURE_LIFE: Duration = Duration::from_secs(2);

/// How long the list of models is waited for before a turn is refused.
const LIST_WAIT: Duration = Duration::from_secs(10);

/// Bytes of the id of an unknown model that its refusal repeats.
const SHOWN_ID_BYTES: usize = 100;

/// What is known of the endpoint's models.
pub(super) struct Models {
    /// `TOOLGATE_MODEL`.
    configured: Option<String>,
    /// The first one, once the list was asked for.
    first: OnceCell<String>,
    /// The list as it came last. Locked while the endpoint is asked: whoever comes meanwhile waits
    /// for the same answer.
    listed: Mutex<Option<Listed>>,
}

/// What the endpoint said of its models, and when.
struct Listed {
    at: Instant,
    models: Result<Vec<String>, Failure>,
}

impl Listed {
    fn is_fresh(&self) -> bool {
        let life = match self.models {
            Ok(_) => LIST_LIFE,
            Err(_) => FAILURE_LIFE,
        };
        self.at.elapsed() < life
    }
}

/// What a person can choose from (`GET /api/models`).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Choices {
    /// Ids, in the endpoint's order.
    pub models: Vec<String>,
    /// The one that answers when none is chosen; among them.
    pub default: String,
}

impl Models {
    pub(super) fn new(configured: Option<String>) -> Self {
        Self {
            configured,
            first: OnceCell::new(),
            listed: Mutex::default(),
        }
    }

    /// Whether the endpoint is known not to list the model. Nobody is asked.
    pub(super) fn lack(&self, model: &str) -> bool {
        let Ok(listed) = self.listed.try_lock() else {
            return false;
        };
        let models = listed
            .as_ref()
            .and_then(|listed| listed.models.as_ref().ok());
        models.is_some_and(|models| !models.iter().any(|listed| listed == model))
    }
}

impl Turns {
    /// The endpoint's model that answers when none is chosen.
    pub async fn model(&self) -> Result<String, Problem> {
        if let Some(model) = &self.models.configured {
            return Ok(model.clone());
        }
        let first = self.models.first.get_or_try_init(|| async {
            let models = self.ask_for_models().await.map_err(Problem::upstream)?;
            let first = models.into_iter().next();
            first.ok_or_else(|| Problem::no_model("it lists none"))
        });
        first.await.cloned()
    }

    /// The models that can be asked for: the endpoint's, or if it lists none the one that answers.
    pub async fn models(&self) -> Result<Vec<String>, Problem> {
        let mut known = self.models.listed.lock().await;
        let listed = if let Some(fresh) = known.as_ref().filter(|listed| listed.is_fresh()) {
            fresh.models.clone()
        } else {
            let models = self.ask_for_models().await;
            *known = Some(Listed {
                at: Instant::now(),
                models: models.clone(),
            });
            models
        };
        match (listed, &self.models.configured) {
            (Ok(models), _) => Ok(models),
            (Err(_), Some(model)) => Ok(vec![model.clone()]),
            (Err(failure), None) => Err(Problem::upstream(failure)),
        }
    }

    async fn ask_for_models(&self) -> Result<Vec<String>, Failure> {
        let list = tokio::time::timeout(LIST_WAIT, self.context.model.models());
        list.await.unwrap_or_else(|_| Err(silent()))
    }

    /// The models that a person can choose from.
    pub async fn choices(&self) -> Result<Choices, Problem> {
        let default = self.model().await?;
        let mut models = self.models().await?;
        if !models.contains(&default) {
            models.insert(0, default.clone());
        }
        Ok(Choices { models, default })
    }

    /// Refuses a model that cannot be chosen.
    pub(super) async fn check_model(&self, model: &str) -> Result<(), Problem> {
        if self.models.configured.as_deref() == Some(model) {
            return Ok(());
        }
        if self.choices().await?.models.iter().any(|it| it == model) {
            return Ok(());
        }
        let shown = limits::clip(model.to_owned(), SHOWN_ID_BYTES);
        let message = format!("The model endpoint does not list the model {shown}.");
        let problem = Problem {
            status: StatusCode::BAD_REQUEST,
            code: "model_not_found",
            ..Problem::bad_request(message)
        };
        Err(problem.of_param("model"))
    }
}

fn silent() -> Failure {
    let message = "The model endpoint did not list its models in time.";
    let advice = "Ask your administrator to set TOOLGATE_MODEL.";
    Failure::new(Layer::Model, message, advice).after_silence()
}
