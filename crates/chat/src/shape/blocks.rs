//! The blocks of a result as text.

use serde_json::Value;

use crate::shape::{OMITTED_STEPS, ShapeStep};

/// Characters of a name, URI or MIME type in a line of ours.
const NAME_CHARS: usize = 200;

/// What is shown of a result so far, and the steps that made it.
#[derive(Default)]
pub(super) struct Shown {
    text: String,
    steps: Vec<ShapeStep>,
}

impl Shown {
    pub(super) fn into_parts(self) -> (String, Vec<ShapeStep>) {
        (self.text, self.steps)
    }

    pub(super) fn result(&mut self, raw: &Value) {
        let Value::Object(result) = raw else {
            if !raw.is_null() {
                self.line(&raw.to_string());
            }
            return;
        };
        let structured = result
            .get("structuredContent")
            .filter(|value| !value.is_null());
        let structured = structured.map(Structured::new);
        let blocks = result
            .get("content")
            .and_then(Value::as_array)
            .map(Vec::as_slice);
        for block in blocks.unwrap_or_default() {
            self.block(block, structured.as_ref());
        }
        if let Some(structured) = structured {
            self.line(&structured.compact);
            self.steps.push(ShapeStep::Structured);
        }
    }

    /// A content block (MCP `ContentBlock`).
    fn block(&mut self, block: &Value, structured: Option<&Structured<'_>>) {
        match text(block, "type") {
            "text" => {
                let text = text(block, "text");
                if !structured.is_some_and(|structured| structured.says(text)) {
                    self.line(text);
                }
            }
            kind @ ("image" | "audio") => self.omit(kind, block, text(block, "data")),
            "resource" => self.resource(block.get("resource").unwrap_or(&Value::Null)),
            "resource_link" => {
                let (name, uri) = (named(block, "name"), named(block, "uri"));
                self.line(&format!("[resource {name}: {uri}]"));
            }
            _ => {
                let kind = named(block, "type");
                self.line(&format!(
                    "[content of type \"{kind}\", not shown to the model]"
                ));
            }
        }
    }

    /// An embedded resource (MCP `TextResourceContents` or `BlobResourceContents`).
    fn resource(&mut self, resource: &Value) {
        let uri = named(resource, "uri");
        if let Some(blob) = resource.get("blob").and_then(Value::as_str) {
            self.omit(&format!("resource {uri}"), resource, blob);
        } else {
            self.line(&format!("[resource {uri}]"));
            self.line(text(resource, "text"));
        }
    }

    /// Puts a line in the place of base64 content.
    fn omit(&mut self, kind: &str, holder: &Value, base64: &str) {
        let mime = match named(holder, "mimeType") {
            mime if mime.is_empty() => "of unknown type".to_owned(),
            mime => mime,
        };
        let bytes = decoded_bytes(base64);
        self.line(&format!(
            "[{kind} {mime}, {}, not shown to the model]",
            size(bytes)
        ));
        let omitted = |step: &&ShapeStep| matches!(step, ShapeStep::Omitted { .. });
        if self.steps.iter().filter(omitted).count() < OMITTED_STEPS {
            self.steps.push(ShapeStep::Omitted { mime, bytes });
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(line);
    }
}

/// A result's structured content (MCP `CallToolResult.structuredContent`).
#[derive(Debug)]
pub struct Structured<'a> {
    value: &'a Value,
    compact: String,
}

impl<'a> Structured<'a> {
    /// To compare texts with it.
    pub fn new(value: &'a Value) -> Self {
        Self {
            value,
            compact: value.to_string(),
        }
    }

    /// Whether the text says nothing that the structured content does not.
    pub fn says(&self, text: &str) -> bool {
        // The usual case, without parsing megabytes.
        if text == self.compact {
            return true;
        }
        let object = self.value.as_object().filter(|object| object.len() == 1);
        let wrapped = object.and_then(|object| object.get("result"));
        let parsed = serde_json::from_str::<Value>(text).ok();
        parsed.is_some_and(|parsed| parsed == *self.value || Some(&parsed) == wrapped)
            || wrapped.and_then(Value::as_str) == Some(text)
    }
}

fn text<'a>(holder: &'a Value, field: &str) -> &'a str {
    holder
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A field as part of a line: bounded, and without characters that would end the line.
fn named(holder: &Value, field: &str) -> String {
    text(holder, field)
        .chars()
        .filter(|c| !c.is_control())
        .take(NAME_CHARS)
        .collect()
}

/// The bytes that base64 text stands for.
fn decoded_bytes(base64: &str) -> usize {
    base64.trim_end_matches('=').len().saturating_mul(3) / 4
}

/// A number of bytes for a reader, in decimal units.
fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}
