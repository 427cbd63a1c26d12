//! The arguments of a call, for people.

use askama::Template;
use serde_json::Value;

use super::super::visible;

/// Characters of the arguments that the card's one line shows.
const GLANCE_CHARS: usize = 90;

/// Arguments that are shown by name: more are read as JSON.
const FIELDS: usize = 24;

/// The arguments of a call.
#[derive(Template)]
#[template(path = "call_arguments.html")]
pub(in super::super) struct Arguments {
    said: Said,
    /// All of them as JSON; as they stand when they are none.
    pub(super) json: String,
    /// On one short line: an object's only text by itself.
    pub(super) glance: String,
}

/// What the arguments say.
enum Said {
    /// There are none.
    Nothing,
    /// One text, such as a query.
    Text {
        language: &'static str,
        text: String,
    },
    /// Each by its name.
    Fields(Vec<Field>),
    /// No JSON object, or one that is too large to be read by name.
    Json,
}

struct Field {
    name: String,
    value: String,
    /// It is on lines of its own.
    is_long: bool,
}

impl Arguments {
    /// The arguments as the model wrote them.
    pub(in super::super) fn of(arguments: &str) -> Self {
        let value = serde_json::from_str::<Value>(arguments).ok();
        let pretty = value.as_ref().map(serde_json::to_string_pretty);
        let pretty = pretty.and_then(Result::ok);
        Self {
            said: value.as_ref().map_or(Said::Json, said),
            json: visible(pretty.as_deref().unwrap_or(arguments)),
            glance: glance(value.as_ref(), arguments),
        }
    }
}

fn said(arguments: &Value) -> Said {
    let Some(fields) = arguments.as_object() else {
        return Said::Json;
    };
    let mut entries = fields.iter();
    match (entries.next(), fields.len()) {
        (None, _) => Said::Nothing,
        (Some((name, Value::String(text))), 1) => Said::Text {
            language: match name.as_str() {
                "sql" | "query" | "statement" => "language-sql",
                _ => "",
            },
            text: visible(text),
        },
        (Some(_), 1..=FIELDS) => Said::Fields(fields.iter().map(field).collect()),
        (Some(_), _) => Said::Json,
    }
}

fn field((name, value): (&String, &Value)) -> Field {
    let value = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => {
            let short = Some(value.to_string()).filter(|it| it.len() <= GLANCE_CHARS);
            short.unwrap_or_else(|| serde_json::to_string_pretty(value).unwrap_or_default())
        }
    };
    Field {
        name: visible(name),
        is_long: value.contains('\n') || value.len() > GLANCE_CHARS,
        value: visible(&value),
    }
}

fn glance(value: Option<&Value>, arguments: &str) -> String {
    let object = value.and_then(Value::as_object);
    let mut fields = object.into_iter().flatten();
    let text = match (object, fields.next(), fields.next()) {
        (Some(_), None, _) => "",
        (Some(_), Some((_, Value::String(only))), None) => only,
        _ => arguments,
    };
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.chars().count() > GLANCE_CHARS {
            line.push('…');
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(GLANCE_CHARS));
    }
    visible(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(arguments: &str) -> String {
        Arguments::of(arguments).render().unwrap()
    }

    #[test]
    fn what_is_no_object_is_shown_as_it_stands() {
        for arguments in ["{\"sql\": \"SEL", "[1]", "", "\"x\""] {
            assert!(html(arguments).starts_with("<pre"), "{arguments}");
        }
        assert!(html("<b>\u{202e}").contains("&#60;b&#62;\\u202e"));
        let many: Vec<_> = (0..30).map(|n| format!("\"k{n}\":1")).collect();
        assert!(html(&format!("{{{}}}", many.join(","))).starts_with("<pre"));
    }

    #[test]
    fn arguments_are_read_by_name_and_a_query_by_itself() {
        let query = html("{\"sql\": \"SELECT 1\\nFROM t\"}");
        assert!(
            query.contains("language-sql\">SELECT 1\nFROM t<"),
            "{query}"
        );
        let fields = html("{\"b\": [1, {\"c\": 2}], \"a\": \"<i>\"}");
        assert!(
            fields.contains("[1,{&#34;c&#34;:2}]") && !fields.contains("<i>"),
            "{fields}"
        );
        assert!(html("{}").contains("None."));
    }
}
