use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::limits::RESULT_SHOWN_BYTES;

fn shown(raw: Value) -> (String, Vec<ShapeStep>) {
    let given = raw.clone();
    let result = shape(raw, RESULT_SHOWN_BYTES);
    assert_eq!(result.raw, given, "kept as the server gave it");
    (result.shown, result.steps)
}

fn only_text(raw: Value) -> String {
    let (text, steps) = shown(raw);
    assert_eq!(steps, []);
    text
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

#[test]
fn text_blocks_are_joined() {
    let raw = json!({ "content": [text("one"), text("two\n"), text(""), text("three")] });
    assert_eq!(only_text(raw), "one\ntwo\nthree");
}

#[test]
fn nothing_is_said_in_words() {
    let ok = Outcome::Ok.text_for_model();
    for raw in [
        json!(null),
        json!({}),
        json!({ "content": [] }),
        json!({ "content": [text("")], "isError": false }),
        json!({ "content": "not a list" }),
        json!({ "structuredContent": null }),
    ] {
        assert_eq!(only_text(raw), ok);
    }
    let raw = json!({ "content": [], "isError": true });
    assert_eq!(only_text(raw), Outcome::ToolError.text_for_model());
}

#[test]
fn structured_content_is_shown_once() {
    let rows = json!({ "rows": [[1997, 617_085.2]], "columns": ["year", "sales"] });
    let pretty = serde_json::to_string_pretty(&rows).unwrap();
    let raw = json!({
        "content": [text("1 row."), text(&pretty)],
        "structuredContent": rows,
    });
    let (text, steps) = shown(raw);
    assert_eq!(
        text,
        r#"1 row.
{"columns":["year","sales"],"rows":[[1997,617085.2]]}"#
    );
    assert_eq!(steps, [ShapeStep::Structured]);
}

#[test]
fn a_value_that_was_wrapped_is_shown_once() {
    for (value, said) in [(json!("hello"), "hello"), (json!([1, 2]), "[1, 2]")] {
        let raw = json!({ "content": [text(said)], "structuredContent": { "result": value } });
        assert_eq!(shown(raw).0, json!({ "result": value }).to_string());
    }
    let raw = json!({ "content": [text("7")], "structuredContent": { "count": 7 } });
    assert_eq!(shown(raw).0, "7\n{\"count\":7}");
}

#[test]
fn what_is_no_text_is_named() {
    let blob = "QUJD".repeat(4000);
    let raw = json!({ "content": [
        { "type": "image", "data": blob, "mimeType": "image/png" },
        { "type": "audio", "data": "QUI=", "mimeType": "" },
        { "type": "resource", "resource":
            { "uri": "file:///a.pdf", "mimeType": "application/pdf", "blob": blob } },
        { "type": "resource", "resource": { "uri": "file:///a.txt", "text": "in it" } },
        { "type": "resource_link", "name": "report\n", "uri": "file:///r.csv" },
        { "type": "hologram", "data": blob },
        { "no": "type" },
        "not an object",
    ] });
    let (text, steps) = shown(raw);
    insta::assert_snapshot!(text, @r#"
    [image image/png, 12 kB, not shown to the model]
    [audio of unknown type, 2 bytes, not shown to the model]
    [resource file:///a.pdf application/pdf, 12 kB, not shown to the model]
    [resource file:///a.txt]
    in it
    [resource report: file:///r.csv]
    [content of type "hologram", not shown to the model]
    [content of type "", not shown to the model]
    [content of type "", not shown to the model]
    "#);
    assert!(!text.contains("QUJD"));
    let omitted = |mime: &str, bytes| ShapeStep::Omitted {
        mime: mime.to_owned(),
        bytes,
    };
    assert_eq!(
        steps,
        [
            omitted("image/png", 12_000),
            omitted("of unknown type", 2),
            omitted("application/pdf", 12_000)
        ]
    );
}

#[test]
fn many_small_images_make_few_steps() {
    let image = json!({ "type": "image", "data": "QQ==", "mimeType": "image/png" });
    let result = shape(json!({ "content": vec![image; 10_000] }), 1000);
    assert_eq!(result.steps.len(), OMITTED_STEPS + 1);
    assert!(matches!(
        result.steps.last(),
        Some(ShapeStep::Truncated { .. })
    ));
}

#[test]
fn a_result_of_5_mb_is_cut_quickly_and_says_so() {
    let rows: Vec<Value> = (0..100_000)
        .map(|n| json!({ "id": n, "name": format!("customer {n} with a long name") }))
        .collect();
    let structured = json!({ "rows": rows });
    let raw = json!({
        "content": [text(&structured.to_string())],
        "structuredContent": structured,
    });
    let from = structured.to_string().len();
    assert!(from > 5_000_000, "{from}");
    let begun = Instant::now();
    let result = shape(raw, RESULT_SHOWN_BYTES);
    // The bound is for an unoptimized build on a busy machine, and far below anything quadratic.
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let to = result.shown.len();
    assert!(
        (RESULT_SHOWN_BYTES - 20..=RESULT_SHOWN_BYTES).contains(&to),
        "{to}"
    );
    assert_eq!(
        result.steps,
        [ShapeStep::Structured, ShapeStep::Truncated { from, to }]
    );
    assert!(result.shown.starts_with(r#"{"rows":[{"id":0,"#));
    assert!(
        result
            .shown
            .ends_with(r#"customer 99999 with a long name"}]}"#)
    );
}

#[test]
fn the_cut_says_how_much_is_missing() {
    let result = shape(json!({ "content": [text(&"é".repeat(500))] }), 200);
    insta::assert_snapshot!(result.shown, @"
    ééééééééééééééééééééééééééééééé
    [… 930 of 1000 bytes are left out here. To see less at a time, ask again for fewer rows, fewer fields or a smaller part. …]
    éééé
    ");
    assert_eq!(
        result.steps,
        [ShapeStep::Truncated {
            from: 1000,
            to: result.shown.len()
        }]
    );
}

#[test]
fn a_text_that_just_fits_is_not_cut() {
    let result = shape(json!({ "content": [text("12345")] }), 5);
    assert_eq!((result.shown.as_str(), result.steps.len()), ("12345", 0));
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec!["text", "image", "resource", "resource_link"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let keys = prop::sample::select(vec![
            "content",
            "structuredContent",
            "isError",
            "type",
            "text",
            "data",
            "mimeType",
            "resource",
            "uri",
            "blob",
            "name",
            "result",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(keys, inner, 0..6)
                .prop_map(|object| object.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_comes_is_shown_within_the_limit(raw in json_values(), limit in 0_usize..600) {
        let result = shape(raw.clone(), limit);
        prop_assert!(result.shown.len() <= limit);
        prop_assert_eq!(result.raw, raw);
    }

    #[test]
    fn a_long_text_keeps_its_ends_within_the_limit(
        block in "\\PC{0,400}",
        limit in 0_usize..600,
    ) {
        let result = shape(json!({ "content": [text(&block)] }), limit);
        prop_assert!(result.shown.len() <= limit);
        if block.len() > limit && limit > 400 {
            prop_assert!(result.shown.len() > limit - 20, "the room is used");
            prop_assert_eq!(result.shown.chars().next(), block.chars().next());
            prop_assert_eq!(result.shown.chars().last(), block.chars().last());
        }
    }
}
