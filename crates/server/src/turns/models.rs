//! The endpoint's models: what can be asked for, and what answers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use chat::{
    failure::{Failure, Layer},
    limits,
};
use tokio::sync::{OnceCell, watch};

use super::Turns;
use crate::error::Problem;

/// How long a list of models is used before the endpoint is asked again.
const LIST_LIFE: Duration = Duration::from_mins(1);

/// How long the endpoint's failure to list them is believed: those who asked meanwhile need not
/// each wait for it.
const FAILURE_LIFE: Duration = Duration::from_secs(2);

/// Bytes of the id of an unknown model that its refusal repeats.
const SHOWN_ID_BYTES: usize = 100;

/// What is known of the endpoint's models.
pub(super) struct Models {
    /// `TOOLGATE_MODEL`.
    configured: Option<String>,
    /// The first one of the first list: a default that stays the same.
    first: OnceCell<String>,
    /// The last request for the list, and its answer as soon as there is one.
    asked: Mutex<Option<Asked>>,
}

/// A request for the list of models: none until it is answered. It goes on when those who wait for
/// it go away, so that the next ones find its answer.
type Asked = watch::Receiver<Option<Listed>>;

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
            asked: Mutex::default(),
        }
    }

    /// Whether the endpoint is known not to list the model. Nobody is asked.
    pub(super) fn lack(&self, model: &str) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asked) = asked.as_ref() else {
            return false;
        };
        let listed = asked.borrow();
        let models = listed.as_ref().and_then(|it| it.models.as_ref().ok());
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
            let models = self.listed().await.map_err(Problem::upstream)?;
            let first = models.into_iter().next();
            first.ok_or_else(|| Problem::no_model("it lists none"))
        });
        first.await.cloned()
    }

    /// The models that can be asked for: the endpoint's, or if it lists none the one that answers.
    pub async fn models(&self) -> Result<Vec<String>, Problem> {
        match (self.listed().await, &self.models.configured) {
            (Ok(models), _) => Ok(models),
            (Err(_), Some(model)) => Ok(vec![model.clone()]),
            (Err(failure), None) => Err(Problem::upstream(failure)),
        }
    }

    /// The endpoint's models, as it said a moment ago or says now.
    async fn listed(&self) -> Result<Vec<String>, Failure> {
        let mut asked = self.asked();
        let listed = asked.wait_for(Option::is_some).await;
        let listed = listed.ok().and_then(|it| Some(it.as_ref()?.models.clone()));
        listed.unwrap_or_else(|| Err(given_up()))
    }

    /// The last request for the list while it counts, else a new one: at most one is out.
    fn asked(&self) -> Asked {
        let last = self.models.asked.lock();
        let mut last = last.unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = last.as_ref().filter(|asked| counts(asked)) {
            return asked.clone();
        }
        let (answer, asked) = watch::channel(None);
        *last = Some(asked.clone());
        let context = Arc::clone(&self.context);
        self.context.tasks.spawn(async move {
            let asking = context.model.models();
            if let Some(models) = context.shutdown.run_until_cancelled(asking).await {
                let at = Instant::now();
                answer.send_replace(Some(Listed { at, models }));
            }
        });
        asked
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

/// Whether a request for the list is still out, or its answer is fresh.
fn counts(asked: &Asked) -> bool {
    match &*asked.borrow() {
        Some(listed) => listed.is_fresh(),
        // A task that ended without an answer is of no use.
        None => asked.has_changed().is_ok(),
    }
}

/// Toolgate stops while the endpoint is asked.
fn given_up() -> Failure {
    let message = "The model endpoint was not waited for: Toolgate is restarting.";
    Failure::new(Layer::Toolgate, message, "Try again in a moment.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_while_it_is_out_and_its_answer_while_it_is_fresh() {
        let (answer, asked) = watch::channel(None);
        assert!(counts(&asked), "it is out");
        drop(answer);
        assert!(!counts(&asked), "nobody will answer it");
        let failed = || Err(given_up());
        let a_while = FAILURE_LIFE + Duration::from_secs(1);
        for (models, age, expected) in [
            (Ok(Vec::new()), Duration::ZERO, true),
            (Ok(Vec::new()), a_while, true),
            (Ok(Vec::new()), LIST_LIFE, false),
            (failed(), Duration::ZERO, true),
            (failed(), a_while, false),
        ] {
            let Some(at) = Instant::now().checked_sub(age) else {
                // The machine has only just started.
                continue;
            };
            let (_, asked) = watch::channel(Some(Listed { at, models }));
            assert_eq!(counts(&asked), expected, "after {age:?}");
        }
    }
}
