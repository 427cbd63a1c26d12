//! The model endpoint: what it can really do, found out by asking it as a turn would.

use std::{sync::Arc, time::Instant};

use chat::{
    event::Target,
    failure::Failure,
    message::{AssistantMessage, Message, RoundEnd, ToolChoice, Usage},
    policy::Policy,
    tool::{Catalog, Hints, Tool},
    toolbox::Toolbox,
};
use serde_json::{Map, Value, json};
use wire::{
    llm::{Endpoint, ModelClient, RoundEvent, RoundRequest, RoundTimeouts},
    tap::Context,
};

use super::{
    place,
    report::{Check, Group, Report},
    way::Way,
};
use crate::config::Config;

/// The probe's function: `SERVER__TOOL`.
const SERVER: &str = "doctor";
const TOOL: &str = "add";
const FUNCTION: &str = "doctor__add";

/// What the model is told before each question.
const SYSTEM: &str = "You are being tested. Do exactly what is asked, and nothing else.";

/// A few words: more than fit in one piece of a stream.
const COUNT: &str = "Count from 1 to 8, in digits, separated by spaces.";

/// Models named in a line.
const NAMED: usize = 5;

/// Checks the endpoint: its list of models, then three small requests.
pub(super) async fn check(way: &Way, config: &Config, report: &mut Report) {
    let client = ModelClient::new(
        way.http.clone(),
        Endpoint {
            base_url: config.openai_base_url.clone(),
            api_key: config.openai_api_key.clone(),
        },
        RoundTimeouts {
            first_byte: config.round_first_byte,
            idle: config.round_idle,
        },
    );
    let Some(model) = choose(&client, config, report).await else {
        return;
    };
    let probe = Probe {
        client,
        model,
        toolbox: toolbox(),
    };
    if !probe.speaks(report).await {
        return;
    }
    if let Some(asked) = probe.calls(report).await {
        probe.takes_results(asked, report).await;
    }
}

/// The model that would answer, if the endpoint can be used at all.
async fn choose(client: &ModelClient, config: &Config, report: &mut Report) -> Option<String> {
    let id = "model.list";
    let base = place(&config.openai_base_url);
    let started = Instant::now();
    let listed = match client.models().await {
        Ok(listed) => listed,
        Err(failure) => return without_list(&failure, config, report),
    };
    let took = started.elapsed().as_millis();
    let what = format!("{base}: {} model(s) listed ({took} ms)", listed.len());
    report.add(&Check::ok(Group::Model, id, what));
    let id = "model.default";
    let Some(wanted) = &config.model else {
        let Some(first) = listed.into_iter().next() else {
            let what = "the endpoint lists no model";
            let mend = "set TOOLGATE_MODEL to a model of the endpoint";
            report.add(&Check::fail(Group::Model, id, what).mend(mend));
            return None;
        };
        let what = format!("TOOLGATE_MODEL is not set: {first} answers, the first listed");
        let check = Check::ok(Group::Model, id, what);
        report.add(&check.mend("set TOOLGATE_MODEL to choose"));
        return Some(first);
    };
    if listed.contains(wanted) {
        report.add(&Check::ok(Group::Model, id, format!("{wanted} is there")));
    } else {
        let some: Vec<&str> = listed.iter().take(NAMED).map(String::as_str).collect();
        let what = format!("TOOLGATE_MODEL={wanted} is not in the endpoint's list");
        let mend = format!("set TOOLGATE_MODEL to one that is: {}, …", some.join(", "));
        report.add(&Check::warn(Group::Model, id, what).mend(mend));
    }
    Some(wanted.clone())
}

/// Goes on without a list if the model is known: some endpoints have none.
fn without_list(failure: &Failure, config: &Config, report: &mut Report) -> Option<String> {
    let what = format!("{}: {}", place(&config.openai_base_url), failure.message);
    let refused = matches!(failure.status, Some(401 | 403));
    let answered = failure.status.is_some();
    let model = config.model.clone().filter(|_| answered && !refused);
    let check = if model.is_some() {
        let mend = "nothing is lost if the endpoint has no list of models: TOOLGATE_MODEL is set";
        Check::warn(Group::Model, "model.list", what).mend(mend)
    } else {
        Check::fail(Group::Model, "model.list", what).mend(mend(failure))
    };
    report.add(&check);
    model
}

/// What to do about an endpoint that does not answer as it should.
fn mend(failure: &Failure) -> String {
    match failure.status {
        Some(401 | 403) => {
            "set OPENAI_API_KEY (or OPENAI_API_KEY_FILE) to a key of this endpoint".to_owned()
        }
        Some(404) => {
            "correct OPENAI_BASE_URL (it usually ends in /v1), or TOOLGATE_MODEL".to_owned()
        }
        None => "correct OPENAI_BASE_URL, or start the endpoint".to_owned(),
        Some(_) if failure.advice.is_empty() => "look at the endpoint's own log".to_owned(),
        Some(_) => failure.advice.clone(),
    }
}

/// A model that is asked small things.
struct Probe {
    client: ModelClient,
    model: String,
    toolbox: Toolbox,
}

/// What came back.
struct Said {
    end: RoundEnd,
    usage: Option<Usage>,
    message: AssistantMessage,
    /// In how many pieces the text came.
    pieces: usize,
}

/// A question and the calls that it led to.
struct Asked {
    question: String,
    said: AssistantMessage,
}

impl Probe {
    /// Whether it answers, in a stream, and counts tokens.
    async fn speaks(&self, report: &mut Report) -> bool {
        let id = "model.answer";
        let messages = [system(), Message::User(COUNT.to_owned())];
        let started = Instant::now();
        let said = match self.ask(&messages, &Toolbox::default()).await {
            Ok(said) => said,
            Err(failure) => {
                let what = format!("{} does not answer: {}", self.model, failure.message);
                report.add(&Check::fail(Group::Model, id, what).mend(mend(&failure)));
                return false;
            }
        };
        let took = started.elapsed().as_millis();
        report.add(&match said.pieces {
            0 => {
                let what = format!("{} answers nothing", self.model);
                let mend = "choose another model with TOOLGATE_MODEL";
                Check::fail(Group::Model, id, what).mend(mend)
            }
            1 => {
                let what = format!("{} answers in one piece ({took} ms)", self.model);
                let mend = "look for a proxy before the endpoint that holds streams back; without a \
                            stream people see each answer when it is complete";
                Check::warn(Group::Model, id, what).mend(mend)
            }
            _ => {
                let what = format!("{} answers, in a stream ({took} ms)", self.model);
                Check::ok(Group::Model, id, what)
            }
        });
        report.add(&usage(said.usage));
        true
    }

    /// Whether it calls functions, and several at once.
    async fn calls(&self, report: &mut Report) -> Option<Asked> {
        let id = "model.calls";
        let question = format!(
            "Call the function twice at once, in one answer and without a word: once with \
             {{\"a\": 4, \"b\": 5}}, and once so: Run `{FUNCTION}` with {{\"a\": 2, \"b\": 3}}"
        );
        let messages = [system(), Message::User(question.clone())];
        let fail = |what: String| {
            let mend = "choose a model that calls tools (TOOLGATE_MODEL), or switch it on at the \
                        endpoint: llama.cpp `--jinja`, vLLM `--enable-auto-tool-choice \
                        --tool-call-parser NAME`";
            Check::fail(Group::Model, id, what).mend(mend)
        };
        let said = match self.ask(&messages, &self.toolbox).await {
            Ok(said) => said,
            Err(failure) => {
                report.add(&fail(format!("functions are refused: {}", failure.message)));
                return None;
            }
        };
        let calls = &said.message.calls;
        let Some(call) = calls.first() else {
            let what = match said.end {
                RoundEnd::Length => "the endpoint's token limit ended the answer before any call",
                RoundEnd::Stop | RoundEnd::Calls | RoundEnd::Filtered => {
                    "asked to call a function, it answers in words: no tool would ever run"
                }
            };
            report.add(&fail(what.to_owned()));
            return None;
        };
        let good = self.toolbox.function(&call.name).map_or_else(
            || Err(format!("it called {:?}, which was not offered", call.name)),
            |function| self.toolbox.check_arguments(function, &call.arguments),
        );
        report.add(&match good {
            Ok(_) => Check::ok(Group::Model, id, "calls functions, with proper arguments"),
            Err(problem) => {
                let what = format!("calls functions badly: {problem}");
                let mend = "choose another model with TOOLGATE_MODEL if this happens often: it is \
                            told what was wrong and may try again";
                Check::warn(Group::Model, id, what).mend(mend)
            }
        });
        let id = "model.parallel";
        report.add(&if calls.len() > 1 {
            let what = format!("calls several at once ({})", calls.len());
            Check::ok(Group::Model, id, what)
        } else {
            let what = "called one function at a time, though asked for two";
            let mend =
                "another model (TOOLGATE_MODEL) may be quicker; here each call takes a round";
            Check::warn(Group::Model, id, what).mend(mend)
        });
        Some(Asked {
            question,
            said: said.message,
        })
    }

    /// Whether it takes what the calls gave.
    async fn takes_results(&self, asked: Asked, report: &mut Report) {
        let id = "model.results";
        let results = asked.said.calls.iter().map(|call| Message::Tool {
            call: call.id.clone(),
            name: call.name.clone(),
            content: sum(&call.arguments),
        });
        let mut messages = vec![system(), Message::User(asked.question)];
        messages.extend([Message::Assistant(asked.said.clone())]);
        messages.extend(results);
        report.add(&match self.ask(&messages, &self.toolbox).await {
            Ok(_) => Check::ok(Group::Model, id, "takes the results of calls"),
            Err(failure) => {
                let what = format!("refuses the results of calls: {}", failure.message);
                let mend = "choose another model (TOOLGATE_MODEL), or a newer version of the \
                            endpoint's chat template";
                Check::fail(Group::Model, id, what).mend(mend)
            }
        });
    }

    async fn ask(&self, messages: &[Message], toolbox: &Toolbox) -> Result<Said, Failure> {
        let request = RoundRequest {
            model: &self.model,
            messages,
            toolbox,
            tool_choice: ToolChoice::Auto,
            parameters: &Map::new(),
        };
        let mut round = self.client.round(request, Context::default());
        let mut pieces = 0;
        loop {
            match round.next().await {
                RoundEvent::Text(_) => pieces += 1,
                RoundEvent::Reasoning(_) => {}
                RoundEvent::Ended {
                    end,
                    usage,
                    message,
                } => {
                    return Ok(Said {
                        end,
                        usage,
                        message,
                        pieces,
                    });
                }
                RoundEvent::Failed(failed) => return Err(failed.failure),
            }
        }
    }
}

fn usage(usage: Option<Usage>) -> Check {
    let id = "model.usage";
    let Some(Usage {
        prompt_tokens,
        completion_tokens,
    }) = usage
    else {
        let mend = "nothing is lost: answers come without their number of tokens";
        return Check::warn(Group::Model, id, "counts no tokens in a stream").mend(mend);
    };
    let what =
        format!("counts tokens in a stream ({prompt_tokens} asked, {completion_tokens} answered)");
    Check::ok(Group::Model, id, what)
}

fn system() -> Message {
    Message::System(SYSTEM.to_owned())
}

/// The one function the probe offers.
fn toolbox() -> Toolbox {
    let schema = json!({
        "type": "object",
        "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } },
        "required": ["a", "b"],
    });
    let tool = Tool {
        name: TOOL.to_owned(),
        title: None,
        description: Some("Adds two numbers.".to_owned()),
        input_schema: schema.as_object().cloned().unwrap_or_default(),
        output_schema: None,
        hints: Hints::default(),
    };
    let catalog = Catalog::new(SERVER, vec![tool], Vec::new());
    Toolbox::assemble(vec![Arc::new(catalog)], |_: &Target, _| Policy::Allow)
}

/// What the function gives.
fn sum(arguments: &str) -> String {
    let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
    let number = |key: &str| arguments.get(key).and_then(Value::as_i64);
    match (number("a"), number("b")) {
        (Some(a), Some(b)) => a.saturating_add(b).to_string(),
        (_, _) => "Not added: `a` and `b` must be whole numbers.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_is_named_as_the_question_has_it_and_takes_what_it_asks_for() {
        let toolbox = toolbox();
        let function = toolbox.function(FUNCTION).unwrap();
        assert!(toolbox.check_arguments(function, r#"{"a": 2}"#).is_err());
        assert!(
            toolbox
                .check_arguments(function, r#"{"a": 2, "b": 3}"#)
                .is_ok()
        );
        assert_eq!(sum(r#"{"a": 2, "b": 3}"#), "5");
        assert!(sum("nonsense").starts_with("Not added"));
    }
}
