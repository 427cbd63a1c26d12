//! The models that a message can be answered by, at the message box.

use std::time::Duration;

use askama::Template;
use store::TurnRow;

use super::{render, visible};
use crate::app::App;

/// How long a page waits to learn which models there are: it can be read without.
const MODELS_WAIT: Duration = Duration::from_millis(500);

/// Models that can be chosen from: more than anybody looks through.
const MODELS_SHOWN: usize = 500;

/// The ids of models that say of themselves that they follow a script begin so.
const SCRIPTED: &str = "scripted";

#[derive(Template)]
#[template(path = "models.html")]
struct Models {
    /// The one that answers unless another is chosen; none when that is not known.
    model: Option<Model>,
    /// All, if there are several.
    several: Vec<Model>,
    scripted: bool,
}

struct Model {
    id: String,
    /// For people.
    name: String,
    chosen: bool,
}

/// The models, that of the `last` turn chosen, else the one that answers by itself.
pub(super) async fn html(app: &App, last: Option<&TurnRow>) -> String {
    let asked = async { tokio::join!(app.turns.model(), app.turns.models()) };
    let (default, models) = match tokio::time::timeout(MODELS_WAIT, asked).await {
        Ok((default, models)) => (default.ok(), models.unwrap_or_default()),
        Err(_) => (None, Vec::new()),
    };
    let before = last.and_then(|row| row.transcript.started.as_ref());
    let before = before.map(|started| started.model.clone());
    picker(before, default, models)
}

fn picker(before: Option<String>, default: Option<String>, mut models: Vec<String>) -> String {
    models.truncate(MODELS_SHOWN);
    let before = before.filter(|before| models.contains(before));
    let default = default.or_else(|| models.first().cloned());
    if let Some(default) = &default
        && !models.contains(default)
    {
        models.insert(0, default.clone());
    }
    let chosen = before.or(default);
    let model = |id: String| Model {
        name: visible(&id),
        chosen: chosen.as_ref() == Some(&id),
        id,
    };
    let scripted = chosen.as_ref().is_some_and(|id| id.starts_with(SCRIPTED));
    let models: Vec<_> = models.into_iter().map(model).collect();
    render(&Models {
        several: if models.len() > 1 { models } else { Vec::new() },
        model: chosen.clone().map(model),
        scripted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(before: Option<&str>, default: Option<&str>, models: &[&str]) -> String {
        let models = models.iter().map(|&id| id.to_owned()).collect();
        picker(
            before.map(str::to_owned),
            default.map(str::to_owned),
            models,
        )
    }

    #[test]
    fn one_model_is_named_and_of_several_one_is_chosen() {
        let one = html(None, Some("<i>"), &["<i>"]);
        assert!(one.contains("Model: <bdi>&#60;i&#62;</bdi>"), "{one}");
        assert!(!one.contains("<select"), "{one}");
        for (before, default, chosen) in [
            (None, Some("b"), "b"),
            (Some("c"), Some("b"), "c"),
            // One that is gone cannot be asked.
            (Some("gone"), Some("b"), "b"),
            (None, None, "a"),
            (None, Some("unlisted"), "unlisted"),
        ] {
            let html = html(before, default, &["a", "b", "c"]);
            let selected = format!("<option value=\"{chosen}\" selected>");
            assert!(html.contains(&selected), "{chosen}: {html}");
            assert_eq!(html.matches(" selected").count(), 1, "{html}");
        }
    }

    #[test]
    fn a_model_that_follows_a_script_is_said_to() {
        assert!(html(None, Some("scripted-demo"), &["scripted-demo"]).contains("no AI writes"));
        assert!(html(None, Some("scripted"), &["scripted", "b"]).contains("no AI writes"));
        assert!(!html(Some("b"), Some("scripted"), &["scripted", "b"]).contains("no AI writes"));
        assert!(html(None, None, &[]).contains("does not answer at the moment"));
    }
}
