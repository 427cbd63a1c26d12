//! Whether arguments are what a tool takes.

use std::fmt;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use crate::{
    event::JsonObject,
    limits::{JSON_DEPTH, nests_too_deeply},
};

/// Errors named in one message: enough to mend the arguments in one go.
const ERRORS: usize = 5;

/// Characters of one error; a long value in it is left out.
const ERROR_CHARS: usize = 200;

/// The arguments that a model wrote, as the object that a tool takes.
///
/// What models write for "no arguments" (nothing, `null`) is the empty object, and one level of
/// double encoding (a JSON string that holds the object) is undone. Arguments may nest
/// [`JSON_DEPTH`] levels deep. The error is one sentence for the model, with line and column where
/// the text is not JSON.
pub fn parse(raw: &str) -> Result<JsonObject, String> {
    match read(raw)? {
        Value::String(inner) => object(read(&inner)?),
        value @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => object(value),
    }
}

fn read(raw: &str) -> Result<Value, String> {
    if raw.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(raw).map_err(|error| {
        // `serde_json` has no kind for its own bound on depth.
        if error.to_string().starts_with("recursion limit") {
            too_deep()
        } else {
            format!("The arguments are not JSON: {error}.")
        }
    })
}

fn too_deep() -> String {
    format!("The arguments are nested too deeply: at most {JSON_DEPTH} levels.")
}

fn object(value: Value) -> Result<JsonObject, String> {
    if nests_too_deeply(&value) {
        return Err(too_deep());
    }
    let found = match value {
        Value::Object(object) => return Ok(object),
        Value::Null => return Ok(JsonObject::new()),
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
    };
    Err(format!(
        "The arguments have to be a JSON object, and they are {found}."
    ))
}

/// A tool's input schema, compiled.
///
/// JSON Schema 2020-12 unless `$schema` names another draft that we know (MCP, tools: input
/// schema). Patterns are matched in linear time. A schema that does not compile so (it is no
/// valid schema, refers to something outside itself, or has a pattern with look-around) lets every
/// object pass: the server checks again, and nothing is ever fetched.
#[derive(Clone)]
pub struct Schema(Option<Validator>);

impl Schema {
    /// Compiles a schema.
    pub fn compile(schema: &Map<String, Value>) -> Self {
        let mut schema = Value::Object(schema.clone());
        let mut draft = Draft::Draft202012.detect(&schema);
        if draft == Draft::Unknown {
            draft = Draft::Draft202012;
            if let Some(object) = schema.as_object_mut() {
                object.remove("$schema");
            }
        }
        let options = jsonschema::options()
            .with_draft(draft)
            .with_pattern_options(PatternOptions::regex())
            .offline();
        Self(options.build(&schema).ok())
    }

    /// Whether the arguments fit. The error names the places (JSON Pointer, RFC 6901) and what is
    /// expected there, for at most five of them.
    pub fn check(&self, arguments: &JsonObject) -> Result<(), String> {
        let Some(validator) = &self.0 else {
            return Ok(());
        };
        let arguments = Value::Object(arguments.clone());
        let mut errors = validator.iter_errors(&arguments);
        let mut lines: Vec<String> = errors.by_ref().take(ERRORS).map(|e| line(&e)).collect();
        if lines.is_empty() {
            return Ok(());
        }
        if errors.next().is_some() {
            lines.push("- and more".to_owned());
        }
        Err(format!(
            "The arguments do not fit the tool's schema:\n{}",
            lines.join("\n")
        ))
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Schema(compiled)"
        } else {
            "Schema(unchecked)"
        })
    }
}

fn line(error: &ValidationError<'_>) -> String {
    let place = match error.instance_path().as_str() {
        "" => "the top",
        pointer => pointer,
    };
    let mut expected = error.to_string();
    if expected.chars().nth(ERROR_CHARS).is_some() {
        expected = error.masked_with("this value").to_string();
    }
    let place: String = place.chars().take(ERROR_CHARS).collect();
    let expected: String = expected.chars().take(ERROR_CHARS).collect();
    format!("- at {place}: {expected}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, arguments: Value) -> Result<(), String> {
        let (Value::Object(schema), Value::Object(arguments)) = (schema, arguments) else {
            panic!("not objects");
        };
        Schema::compile(&schema).check(&arguments)
    }

    #[test]
    fn nothing_and_null_are_no_arguments() {
        for raw in ["", " \n", "null", "{}", "\"\"", "\"null\"", "\"{}\""] {
            assert_eq!(parse(raw), Ok(JsonObject::new()), "{raw:?}");
        }
    }

    #[test]
    fn one_level_of_double_encoding_is_undone() {
        let once = json!({ "year": 1997 });
        let twice = Value::String(once.to_string()).to_string();
        let thrice = Value::String(twice.clone()).to_string();
        assert_eq!(parse(&twice).unwrap(), *once.as_object().unwrap());
        assert_eq!(
            parse(&thrice).unwrap_err(),
            "The arguments have to be a JSON object, and they are a string."
        );
    }

    #[test]
    fn what_is_no_object_is_refused_by_name() {
        for (raw, found) in [
            ("[1]", "an array"),
            ("1.5", "a number"),
            ("true", "a boolean"),
        ] {
            assert!(parse(raw).unwrap_err().contains(found), "{raw}");
        }
    }

    #[test]
    fn arguments_have_a_depth() {
        let nested = |levels| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(parse(&nested(JSON_DEPTH)).is_ok());
        for levels in [JSON_DEPTH + 1, 126, 127, 128, 100_000] {
            let refused = parse(&nested(levels)).unwrap_err();
            assert!(
                refused.contains("too deeply: at most 64"),
                "{levels}: {refused}"
            );
        }
    }

    #[test]
    fn a_json_error_names_line_and_column() {
        insta::assert_snapshot!(
            parse("{\"sql\":\n\"select").unwrap_err(),
            @"The arguments are not JSON: EOF while parsing a string at line 2 column 7."
        );
    }

    #[test]
    fn an_error_names_the_place_and_what_is_expected() {
        let schema = json!({
            "type": "object",
            "properties": {
                "year": { "type": "integer" },
                "by": { "enum": ["month", "year"] },
                "tags": { "type": "array", "items": { "type": "string" } },
            },
            "required": ["year", "country"],
            "additionalProperties": false,
        });
        let arguments = json!({ "year": "1997", "by": "week", "tags": ["a", 2], "extra": 1 });
        insta::assert_snapshot!(
            check(schema, arguments).unwrap_err(),
            @r#"
        The arguments do not fit the tool's schema:
        - at the top: "country" is a required property
        - at /by: "week" is not one of "month" or "year"
        - at /tags/1: 2 is not of type "string"
        - at /year: "1997" is not of type "integer"
        - at the top: Additional properties are not allowed ('extra' was unexpected)
        "#
        );
    }

    #[test]
    fn the_error_is_bounded() {
        let mut schema = json!({ "type": "object", "properties": {} });
        let mut arguments = json!({});
        for n in 0..100 {
            let name = format!("p{n}{}", "x".repeat(1000));
            schema["properties"][&name] = json!({ "type": "integer" });
            arguments[&name] = json!("y".repeat(100_000));
        }
        let error = check(schema, arguments).unwrap_err();
        assert!(
            error.len() < (ERRORS + 1) * (2 * ERROR_CHARS + 20),
            "{}",
            error.len()
        );
        assert!(error.ends_with("- and more"));
        assert!(error.contains("this value is not of type"), "{error}");
    }

    #[test]
    fn the_draft_of_the_schema_counts_if_it_is_known() {
        // An array of `items` is a tuple in draft 7 and no valid schema in 2020-12.
        let tuple = |draft: &str| {
            let pair = json!({ "type": "array", "items": [{ "type": "string" }] });
            json!({ "$schema": draft, "properties": { "pair": pair } })
        };
        let wrong = json!({ "pair": [1] });
        assert!(
            check(
                tuple("http://json-schema.org/draft-07/schema#"),
                wrong.clone()
            )
            .is_err()
        );
        assert!(check(tuple("https://json-schema.org/draft/2020-12/schema"), wrong).is_ok());

        let unknown = json!({
            "$schema": "https://example.com/mine",
            "properties": { "year": { "type": "integer" } },
        });
        assert!(check(unknown, json!({ "year": "x" })).is_err());
    }

    #[test]
    fn what_does_not_compile_lets_every_object_pass() {
        for schema in [
            json!({ "type": 7 }),
            json!({ "$ref": "https://127.0.0.1:1/schema.json" }),
            json!({ "$ref": "file:///etc/passwd" }),
            json!({ "properties": { "a": { "$ref": "#/$defs/missing" } } }),
            json!({ "properties": { "a": { "type": "string", "pattern": "(?=x)y" } } }),
        ] {
            assert_eq!(check(schema.clone(), json!({ "a": 1 })), Ok(()), "{schema}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        for schema in [
            json!({ "$ref": "#" }),
            json!({ "allOf": [{ "$ref": "#" }] }),
            json!({ "anyOf": [{ "$ref": "#/$defs/a" }],
                    "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
            json!({ "not": { "$ref": "#" } }),
            json!({ "$dynamicRef": "#" }),
        ] {
            // Whatever it says: it says it.
            drop(check(schema, json!({ "a": 1 })));
        }
        let tree =
            json!({ "properties": { "child": { "$ref": "#" }, "n": { "type": "integer" } } });
        let error = check(tree, json!({ "child": { "child": { "n": "x" } } })).unwrap_err();
        assert!(error.contains("- at /child/child/n:"), "{error}");
    }

    #[test]
    fn a_hostile_pattern_is_matched_in_linear_time() {
        let schema = json!({ "properties": { "a": { "type": "string", "pattern": "^(a+)+$" } } });
        assert!(check(schema, json!({ "a": format!("{}b", "a".repeat(10_000)) })).is_err());
    }
}
