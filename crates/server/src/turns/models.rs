//! The endpoint's models: what can be asked for, and what answers.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use chat::{failure::Failure, limits};
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
    /// The list as it came last, and when.
    listed: Mutex<Option<(Instant, Result<Vec<String>, Failure>)>>,
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
        match &*listed {
            Some((_, Ok(models))) => !models.iter().any(|listed| listed == model),
            Some((_, Err(_))) | None => false,
        }
    }
}

impl Turns {
    /// The endpoint's model that answers when none is chosen.
    pub async fn model(&self) -> Result<String, Problem> {
        if let Some(model) = &self.models.configured {
            return Ok(model.clone());
        }
        let list = tokio::time::timeout(LIST_WAIT, self.context.model.models());
        let first = self.models.first.get_or_try_init(|| async {
            let models = match list.await {
                Ok(models) => models.map_err(Problem::upstream)?,
                Err(_) => return Err(Problem::no_model("it did not answer in time")),
            };
            models
                .into_iter()
                .next()
                .ok_or_else(|| Problem::no_model("it lists none"))
        });
        first.await.cloned()
    }

    /// The models that can be asked for: the endpoint's, or if it lists none the one that answers.
    pub async fn models(&self) -> Result<Vec<String>, Problem> {
        let mut known = self.models.listed.lock().await;
        let fresh = known.as_ref().filter(|(at, listed)| {
            let life = if listed.is_ok() {
                LIST_LIFE
            } else {
                FAILURE_LIFE
            };
            at.elapsed() < life
        });
        let listed = match fresh {
            Some((_, listed)) => listed.clone(),
            None => {
                let listed = self.context.model.models().await;
                *known = Some((Instant::now(), listed.clone()));
                listed
            }
        };
        match (listed, &self.models.configured) {
            (Ok(models), _) => Ok(models),
            (Err(_), Some(model)) => Ok(vec![model.clone()]),
            (Err(failure), None) => Err(Problem::upstream(failure)),
        }
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
