//! A server's tools: read one by one, so that a broken one costs no other.

use chat::{
    limits::{clip, nests_too_deeply},
    tool::{BrokenTool, Hints, Tool},
};
use serde_json::{Map, Value, json};

/// What is wrong with a tool that rmcp leaves out: parameters that ask for headers no client can
/// send (MCP 2026-07-28, "Custom headers": such tools must be dropped).
pub(super) const BAD_HEADERS: &str = "its `x-mcp-header` annotations are not valid";

/// Bytes that are kept of a broken tool's name: nothing calls it by that.
const BROKEN_NAME_BYTES: usize = 128;

/// One page of `tools/list`.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) tools: Vec<Tool>,
    pub(super) broken: Vec<BrokenTool>,
    /// Where the next page starts.
    pub(super) next: Option<String>,
}

/// Reads a page; none if it is no page at all.
pub(super) fn page(result: &Value, before: usize) -> Option<Page> {
    let listed = result.get("tools")?.as_array()?;
    let mut page = Page::default();
    for (place, tool) in listed.iter().enumerate() {
        match self::tool(tool) {
            Ok(tool) => page.tools.push(tool),
            Err(reason) => {
                let name = tool
                    .get("name")
                    .and_then(Value::as_str)
                    .map(ToOwned::to_owned);
                let name = name.unwrap_or_else(|| format!("tool {}", before + place + 1));
                page.broken.push(BrokenTool {
                    name: clip(name, BROKEN_NAME_BYTES),
                    reason: reason.to_owned(),
                });
            }
        }
    }
    let next = result.get("nextCursor").and_then(Value::as_str);
    page.next = next
        .filter(|cursor| !cursor.is_empty())
        .map(ToOwned::to_owned);
    Some(page)
}

/// The page as rmcp is to see it: it needs the names and the schemas, for `Mcp-Param-*` headers.
pub(super) fn without_broken(result: &Value) -> Value {
    let listed = result
        .get("tools")
        .and_then(Value::as_array)
        .map(Vec::as_slice);
    let tools: Vec<Value> = listed
        .unwrap_or_default()
        .iter()
        .filter_map(|tool| self::tool(tool).ok())
        .map(|tool| json!({ "name": tool.name, "inputSchema": tool.input_schema }))
        .collect();
    json!({ "tools": tools })
}

/// Bytes of a tool's name and title: each is on every page.
const NAME_BYTES: usize = 1024;

/// Bytes of a tool's description that are kept: models are shown a part of that.
const DESCRIPTION_BYTES: usize = 16 * 1024;

/// Bytes of a schema: larger than any a model is shown.
const SCHEMA_BYTES: usize = 256 * 1024;

fn is_too_large(schema: &Value) -> bool {
    // A `Value` can always be written.
    serde_json::to_vec(schema).is_ok_and(|bytes| bytes.len() > SCHEMA_BYTES)
}

fn tool(tool: &Value) -> Result<Tool, &'static str> {
    let tool = tool.as_object().ok_or("it is not an object")?;
    let name = text(tool, "name")
        .filter(|name| !name.is_empty())
        .ok_or("it has no name")?;
    if name.len() > NAME_BYTES {
        return Err("its name is too long");
    }
    let input_schema = match tool.get("inputSchema") {
        Some(schema) if nests_too_deeply(schema) => {
            return Err("its inputSchema is nested too deeply");
        }
        Some(schema) if is_too_large(schema) => return Err("its inputSchema is too large"),
        Some(Value::Object(schema)) => schema.clone(),
        Some(_) => return Err("its inputSchema is not an object"),
        None => return Err("it has no inputSchema"),
    };
    if input_schema
        .get("type")
        .is_some_and(|kind| kind != "object")
    {
        return Err("its inputSchema is not of type object");
    }
    // `true`, a schema that says nothing, and other oddities are no reason to lose the tool.
    let output_schema = tool
        .get("outputSchema")
        .filter(|schema| !nests_too_deeply(schema) && !is_too_large(schema));
    let output_schema = output_schema.and_then(Value::as_object).cloned();
    let hint = |name: &str| tool.get("annotations")?.get(name)?.as_bool();
    let title = tool.get("annotations").and_then(Value::as_object);
    let title = text(tool, "title").or_else(|| title.and_then(|hints| text(hints, "title")));
    let hints = Hints {
        read_only: hint("readOnlyHint"),
        destructive: hint("destructiveHint"),
    };
    let description = text(tool, "description").map(|text| clip(text, DESCRIPTION_BYTES));
    Ok(Tool {
        name,
        title: title.map(|text| clip(text, NAME_BYTES)),
        description,
        input_schema,
        output_schema,
        hints,
    })
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_tool_is_left_out_with_its_reason_and_the_others_stay() {
        let result = json!({ "tools": [
            { "name": "good", "inputSchema": { "type": "object" }, "outputSchema": true,
              "annotations": { "title": "Good", "readOnlyHint": true, "destructiveHint": "x" } },
            { "name": "bare" },
            { "inputSchema": {} },
            { "name": "array", "inputSchema": [] },
            { "name": "string", "inputSchema": { "type": "string" } },
            "nonsense",
            { "name": "untyped", "description": 7, "inputSchema": {}, "execution": {} },
        ], "nextCursor": "" });
        let page = page(&result, 10).unwrap();
        let names: Vec<_> = page.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["good", "untyped"]);
        assert_eq!(page.tools[0].title.as_deref(), Some("Good"));
        assert_eq!(
            page.tools[0].hints,
            Hints {
                read_only: Some(true),
                destructive: None
            }
        );
        assert_eq!(page.tools[0].output_schema, None);
        let broken: Vec<_> = page
            .broken
            .iter()
            .map(|tool| (tool.name.as_str(), tool.reason.as_str()))
            .collect();
        assert_eq!(
            broken,
            [
                ("bare", "it has no inputSchema"),
                ("tool 13", "it has no name"),
                ("array", "its inputSchema is not an object"),
                ("string", "its inputSchema is not of type object"),
                ("tool 16", "it is not an object"),
            ]
        );
        assert_eq!(page.next, None);
        let seen = without_broken(&result);
        assert_eq!(seen["tools"].as_array().unwrap().len(), 2);
        serde_json::from_value::<rmcp::model::ListToolsResult>(seen).unwrap();
    }

    #[test]
    fn what_is_too_long_for_a_page_is_cut_or_left_out() {
        let large = json!({ "type": "object", "description": "d".repeat(SCHEMA_BYTES) });
        let result = json!({ "tools": [
            { "name": "n".repeat(NAME_BYTES + 1), "inputSchema": {} },
            { "name": "large", "inputSchema": large },
            { "name": "wordy", "title": "t".repeat(5000), "inputSchema": {},
              "description": "d".repeat(1_000_000), "outputSchema": large },
            { "name": "n".repeat(NAME_BYTES), "inputSchema": {} },
        ] });
        let page = page(&result, 0).unwrap();
        let reasons: Vec<_> = page
            .broken
            .iter()
            .map(|tool| tool.reason.as_str())
            .collect();
        assert_eq!(
            reasons,
            ["its name is too long", "its inputSchema is too large"]
        );
        assert_eq!(page.tools.len(), 2);
        let wordy = &page.tools[0];
        assert!(wordy.title.as_ref().unwrap().len() <= NAME_BYTES);
        assert!(wordy.description.as_ref().unwrap().len() <= DESCRIPTION_BYTES);
        assert_eq!(wordy.output_schema, None);
    }

    #[test]
    fn what_is_no_page_is_none() {
        assert!(page(&json!({}), 0).is_none());
        assert!(page(&json!({ "tools": {} }), 0).is_none());
    }

    #[test]
    fn a_schema_that_cannot_be_kept_costs_no_other_tool() {
        let deep = (0..65).fold(json!({}), |inner, _| json!({ "properties": inner }));
        let result = json!({ "tools": [
            { "name": "deep", "inputSchema": deep },
            { "name": "x".repeat(1000), "inputSchema": 1 },
            { "name": "good", "inputSchema": { "type": "object" }, "outputSchema": deep },
        ] });
        let page = page(&result, 0).unwrap();
        assert_eq!(
            page.broken[0].reason,
            "its inputSchema is nested too deeply"
        );
        assert!(page.broken[1].name.len() <= BROKEN_NAME_BYTES);
        let tools: Vec<_> = page.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(tools, ["good"]);
        assert_eq!(page.tools[0].output_schema, None);
    }
}
