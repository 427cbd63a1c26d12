//! Whether a call that the model asked for can run at all.

use crate::{
    event::{CallRequested, JsonObject},
    outcome::Outcome,
    policy::Policy,
    toolbox::Toolbox,
};

/// How many names of functions a model is reminded of: enough for a slip of the pen.
const NEAR_NAMES: usize = 3;

/// What is to become of a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    /// It runs with these arguments, after a question if policy wants one.
    Run {
        policy: Policy,
        arguments: JsonObject,
    },
    /// It ends without having run.
    Refuse { outcome: Outcome, text: String },
}

/// The plan for a call, from the functions that the model was offered.
pub(super) fn plan(toolbox: Option<&Toolbox>, requested: &CallRequested) -> Plan {
    let found = toolbox.and_then(|toolbox| Some((toolbox, toolbox.function(&requested.function)?)));
    let Some((toolbox, function)) = found else {
        return Plan::Refuse {
            outcome: Outcome::UnknownFunction,
            text: unknown_function(toolbox, &requested.function),
        };
    };
    match toolbox.check_arguments(function, &requested.arguments) {
        Ok(arguments) => Plan::Run {
            policy: function.policy,
            arguments,
        },
        Err(wrong) => Plan::Refuse {
            outcome: Outcome::InvalidArguments,
            text: format!("{} {wrong}", Outcome::InvalidArguments.text_for_model()),
        },
    }
}

fn unknown_function(toolbox: Option<&Toolbox>, name: &str) -> String {
    let mut text = Outcome::UnknownFunction.text_for_model().to_owned();
    let functions = toolbox.map_or(&[][..], |toolbox| &toolbox.functions);
    let near: Vec<&str> = functions
        .iter()
        // A model that forgets or changes the server's part still has the tool's name right.
        .filter(|function| !name.is_empty() && name.ends_with(function.target.tool.as_str()))
        .map(|function| function.name.as_str())
        .take(NEAR_NAMES)
        .collect();
    if !near.is_empty() {
        text.push_str(" Did you mean ");
        text.push_str(&near.join(" or "));
        text.push('?');
    }
    text
}
