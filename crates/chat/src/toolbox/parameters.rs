//! A tool's input schema as every model endpoint takes it.

use serde_json::{Map, Value};

/// Bytes of a function's adapted schema, roughly as JSON: inlining the same definition again and
/// again must not make a request of gigabytes. Subschemas past it become `{}`.
const BYTES: usize = 64 * 1024;

/// Levels of subschemas; deeper ones become `{}`. No endpoint takes nearly as many.
const DEPTH: usize = 32;

/// The schema with what endpoints refuse taken out.
///
/// The root is always `type: object` with `properties` (`OpenAI` refuses the rest). Local `$ref`s
/// are inlined; recursive, unknown and external ones become `{}` (llama.cpp refuses the whole
/// request for an external one). Identifiers, definitions and comments go, a schema `true` becomes
/// `{}`. What is lost here is lost only for the model: arguments are checked against the tool's
/// own schema.
pub(super) fn adapt(schema: &Map<String, Value>) -> Value {
    let mut inliner = Inliner {
        root: schema,
        open: Vec::new(),
        room: BYTES,
    };
    let mut adapted = inliner.object(schema, 0);
    adapted.insert("type".to_owned(), Value::from("object"));
    if !adapted.get("properties").is_some_and(Value::is_object) {
        adapted.insert("properties".to_owned(), Value::Object(Map::new()));
    }
    Value::Object(adapted)
}

/// What the value of a keyword is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A schema.
    Schema,
    /// A schema, or a plain yes or no that endpoints know in this place.
    SchemaOrBool,
    /// An array of schemas, or one schema.
    List,
    /// An object of schemas.
    Members,
    /// No schema.
    Plain,
    /// Nothing a model needs, or something endpoints refuse.
    Dropped,
}

fn place(keyword: &str) -> Place {
    match keyword {
        "not" | "if" | "then" | "else" | "contains" | "propertyNames" | "contentSchema" => {
            Place::Schema
        }
        "additionalProperties"
        | "additionalItems"
        | "unevaluatedProperties"
        | "unevaluatedItems" => Place::SchemaOrBool,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" | "items" => Place::List,
        "properties" | "patternProperties" | "dependentSchemas" => Place::Members,
        // `dependencies` is a mix of schemas and names that no endpoint knows.
        "$ref" | "$schema" | "$id" | "$comment" | "$defs" | "definitions" | "$anchor"
        | "$dynamicAnchor" | "$dynamicRef" | "$recursiveAnchor" | "$recursiveRef"
        | "$vocabulary" | "dependencies" => Place::Dropped,
        _ => Place::Plain,
    }
}

struct Inliner<'a> {
    root: &'a Map<String, Value>,
    /// The references being inlined.
    open: Vec<&'a str>,
    /// Bytes left of [`BYTES`].
    room: usize,
}

impl<'a> Inliner<'a> {
    fn schema(&mut self, schema: &'a Value, depth: usize) -> Value {
        match schema {
            Value::Object(object) => Value::Object(self.object(object, depth)),
            Value::Bool(false) => Value::Object(Map::from_iter([(
                "not".to_owned(),
                Value::Object(Map::new()),
            )])),
            Value::Bool(true)
            | Value::Null
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Value::Object(Map::new()),
        }
    }

    fn object(&mut self, schema: &'a Map<String, Value>, depth: usize) -> Map<String, Value> {
        let kept = || {
            schema
                .iter()
                .filter(|(keyword, _)| place(keyword) != Place::Dropped)
        };
        let weight = kept()
            .map(|(keyword, value)| own_weight(keyword, value))
            .sum();
        let Some(room) = self.room.checked_sub(weight).filter(|_| depth < DEPTH) else {
            return Map::new();
        };
        self.room = room;
        let mut adapted = match schema.get("$ref") {
            Some(Value::String(reference)) => self.inline(reference, depth),
            _ => Map::new(),
        };
        for (keyword, value) in kept() {
            let value = self.value(place(keyword), value, depth + 1);
            merge(&mut adapted, keyword, value);
        }
        adapted
    }

    fn value(&mut self, place: Place, value: &'a Value, depth: usize) -> Value {
        match (place, value) {
            (Place::SchemaOrBool, Value::Bool(_)) | (Place::Plain | Place::Dropped, _) => {
                value.clone()
            }
            (Place::List, Value::Array(schemas)) => schemas
                .iter()
                .map(|schema| self.schema(schema, depth))
                .collect(),
            (Place::Members, Value::Object(members)) => members
                .iter()
                .map(|(name, schema)| (name.clone(), self.schema(schema, depth)))
                .collect(),
            (Place::Schema | Place::SchemaOrBool | Place::List, _) => self.schema(value, depth),
            (Place::Members, _) => Value::Object(Map::new()),
        }
    }

    fn inline(&mut self, reference: &'a str, depth: usize) -> Map<String, Value> {
        let Some(target) = self.resolve(reference) else {
            return Map::new();
        };
        if self.open.contains(&reference) {
            return Map::new();
        }
        self.open.push(reference);
        let inlined = self.object(target, depth + 1);
        self.open.pop();
        inlined
    }

    /// The schema object that a local reference (`#`, `#/…`, RFC 6901 section 6) points at.
    fn resolve(&self, reference: &str) -> Option<&'a Map<String, Value>> {
        let pointer = percent_decoded(reference.strip_prefix('#')?)?;
        if pointer.is_empty() {
            return Some(self.root);
        }
        let mut schema = self.root;
        let mut tokens = pointer.strip_prefix('/')?.split('/').peekable();
        while let Some(token) = tokens.next() {
            let found = schema.get(&token.replace("~1", "/").replace("~0", "~"))?;
            schema = match found {
                Value::Object(object) => object,
                Value::Array(list) => list
                    .get(tokens.next()?.parse::<usize>().ok()?)?
                    .as_object()?,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
            };
        }
        Some(schema)
    }
}

/// Adds a keyword that stands beside a `$ref` to what the reference gave: it is said in addition.
fn merge(adapted: &mut Map<String, Value>, keyword: &str, value: Value) {
    match (adapted.get_mut(keyword), value) {
        (Some(Value::Object(there)), Value::Object(more)) if place(keyword) == Place::Members => {
            there.extend(more);
        }
        (Some(Value::Array(there)), Value::Array(more)) if keyword == "required" => {
            there.extend(more);
            there.sort_by_key(Value::to_string);
            there.dedup();
        }
        (_, value) => {
            adapted.insert(keyword.to_owned(), value);
        }
    }
}

/// The bytes of a keyword and of its value without the subschemas in it.
fn own_weight(keyword: &str, value: &Value) -> usize {
    let own = match (place(keyword), value) {
        (Place::Plain, value) => weight(value),
        (Place::List, Value::Array(schemas)) => 3 * schemas.len(),
        (Place::Members, Value::Object(members)) => members.keys().map(|name| name.len() + 6).sum(),
        (
            Place::Schema | Place::SchemaOrBool | Place::List | Place::Members | Place::Dropped,
            _,
        ) => 4,
    };
    keyword.len() + 6 + own
}

fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| weight(item) + 1).sum::<usize>() + 2,
        Value::Object(members) => {
            members
                .iter()
                .map(|(name, value)| name.len() + 4 + weight(value))
                .sum::<usize>()
                + 2
        }
    }
}

/// The text with its `%XX` undone; none if that is not possible.
fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn adapted(schema: Value) -> Value {
        let Value::Object(schema) = schema else {
            panic!("not an object: {schema}")
        };
        adapt(&schema)
    }

    #[test]
    fn the_root_is_an_object_with_properties() {
        let empty = json!({ "type": "object", "properties": {} });
        for odd in [
            json!({}),
            json!({ "type": "object" }),
            json!({ "type": ["object", "null"], "properties": null }),
            json!({ "type": "string", "properties": [1] }),
            json!({ "$ref": "https://example.com/schema.json" }),
            json!({ "$ref": "#" }),
            json!({ "$ref": "#/properties" , "properties": "x" }),
        ] {
            assert_eq!(adapted(odd.clone()), empty, "{odd}");
        }
    }

    #[test]
    fn identifiers_and_comments_go_and_names_of_properties_stay() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://example.com/x",
            "$comment": "c",
            "type": "object",
            "properties": {
                "$id": { "type": "string", "$comment": "c", "default": { "$ref": "kept" } },
                "definitions": true,
                "none": false,
                "list": { "items": true, "additionalProperties": false },
                "odd": 7,
            },
            "required": ["$id"],
            "additionalProperties": false,
        });
        assert_eq!(
            adapted(schema),
            json!({
                "type": "object",
                "properties": {
                    "$id": { "type": "string", "default": { "$ref": "kept" } },
                    "definitions": {},
                    "none": { "not": {} },
                    "list": { "items": {}, "additionalProperties": false },
                    "odd": {},
                },
                "required": ["$id"],
                "additionalProperties": false,
            })
        );
    }

    #[test]
    fn local_references_are_inlined() {
        let schema = json!({
            "$ref": "#/$defs/Input",
            "properties": { "more": { "$ref": "#/definitions/a~1b%20c" } },
            "required": ["more"],
            "$defs": {
                "Input": {
                    "type": "object",
                    "properties": { "year": { "$ref": "#/$defs/Year", "description": "here" } },
                    "required": ["year"],
                },
                "Year": { "type": "integer", "description": "there" },
            },
            "definitions": { "a/b c": { "anyOf": [{ "$ref": "#/$defs/Year" }, { "$ref": "x" }] } },
        });
        assert_eq!(
            adapted(schema),
            json!({
                "type": "object",
                "properties": {
                    "year": { "type": "integer", "description": "here" },
                    "more": { "anyOf": [{ "type": "integer", "description": "there" }, {}] },
                },
                "required": ["more", "year"],
            })
        );
    }

    #[test]
    fn a_recursive_reference_ends() {
        let schema = json!({
            "properties": { "tree": { "$ref": "#/$defs/tree" } },
            "$defs": { "tree": { "properties": { "left": { "$ref": "#/$defs/tree" } } } },
        });
        assert_eq!(
            adapted(schema)["properties"]["tree"],
            json!({ "properties": { "left": {} } })
        );
    }

    #[test]
    fn definitions_that_multiply_are_bounded() {
        let mut defs = Map::new();
        for n in 0..30 {
            let next = format!("#/$defs/d{}", n + 1);
            let twice = json!({ "allOf": [{ "$ref": next }, { "$ref": next }] });
            defs.insert(format!("d{n}"), twice);
        }
        defs.insert(
            "d30".to_owned(),
            json!({ "enum": vec!["x".repeat(100); 10] }),
        );
        let schema = json!({ "properties": { "a": { "$ref": "#/$defs/d0" } }, "$defs": defs });
        assert!(adapted(schema).to_string().len() <= BYTES);
    }

    #[test]
    fn a_deep_schema_is_bounded() {
        let mut schema = json!({ "type": "string" });
        for _ in 0..100 {
            schema = json!({ "properties": { "a": schema } });
        }
        assert_eq!(adapted(schema).to_string().matches("\"a\"").count(), DEPTH);
    }

    #[test]
    fn the_same_schema_gives_the_same_bytes_in_order_of_keys() {
        // Holds only while no dependency turns on `serde_json/preserve_order`.
        let text = |schema: &str| adapt(&serde_json::from_str(schema).unwrap()).to_string();
        let one = text(r#"{"properties":{"b":{},"a":{"type":"string","enum":["z","y"]}}}"#);
        let other = text(r#"{"properties":{"a":{"enum":["z","y"],"type":"string"},"b":{}}}"#);
        assert_eq!(one, other);
        insta::assert_snapshot!(
            one,
            @r#"{"properties":{"a":{"enum":["z","y"],"type":"string"},"b":{}},"type":"object"}"#
        );
    }
}
