use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn tool(name: &str) -> Tool {
    let schema = json!({
        "type": "object",
        "properties": { "year": { "type": "integer" } },
        "required": ["year"],
    });
    Tool {
        name: name.to_owned(),
        title: None,
        description: Some(format!("Does {name}.")),
        input_schema: schema.as_object().unwrap().clone(),
        output_schema: None,
        hints: Hints::default(),
    }
}

fn catalog(server: &str, tools: impl IntoIterator<Item = Tool>) -> Arc<Catalog> {
    Arc::new(Catalog::new(
        server,
        tools.into_iter().collect(),
        Vec::new(),
    ))
}

fn numbered(server: &str, count: usize) -> Arc<Catalog> {
    catalog(server, (0..count).map(|n| tool(&format!("tool{n:03}"))))
}

fn assemble(catalogs: Vec<Arc<Catalog>>) -> Toolbox {
    Toolbox::assemble(catalogs, |_, hints| match hints.read_only {
        Some(true) => Policy::Allow,
        Some(false) | None => Policy::Ask,
    })
}

fn names(toolbox: &Toolbox) -> Vec<&str> {
    toolbox
        .functions
        .iter()
        .map(|function| function.name.as_str())
        .collect()
}

#[test]
fn functions_are_sorted_and_the_order_of_catalogs_does_not_matter() {
    let a = catalog("alpha", [tool("z"), tool("b")]);
    let b = catalog("alpha-2", [tool("a")]);
    let toolbox = assemble(vec![b.clone(), a.clone()]);
    assert_eq!(names(&toolbox), ["alpha-2__a", "alpha__b", "alpha__z"]);
    assert_eq!(toolbox, assemble(vec![a, b]));
    assert_eq!(toolbox.function("alpha__z").unwrap().target.tool, "z");
    assert_eq!(toolbox.function("alpha__y"), None);
}

#[test]
fn each_function_has_the_policy_of_its_tool() {
    let mut reads = tool("reads");
    reads.hints.read_only = Some(true);
    let toolbox = assemble(vec![catalog("s", [reads, tool("writes")])]);
    assert_eq!(toolbox.function("s__reads").unwrap().policy, Policy::Allow);
    assert_eq!(toolbox.function("s__writes").unwrap().policy, Policy::Ask);
}

#[test]
fn of_too_many_functions_the_last_servers_are_left_out_whole() {
    let toolbox = assemble(vec![
        numbered("d", 1),
        numbered("c", 40),
        numbered("b", 60),
        numbered("a", 60),
        numbered("e", 0),
    ]);
    assert_eq!(toolbox.functions.len(), 120);
    assert_eq!(toolbox.left_out, ["c", "d"]);
    let catalogs: Vec<_> = toolbox
        .catalogs
        .iter()
        .map(|catalog| &catalog.server)
        .collect();
    assert_eq!(catalogs, ["a", "b", "e"]);
}

#[test]
fn a_first_server_that_is_too_large_alone_is_offered_in_part() {
    let toolbox = assemble(vec![numbered("b", 1), numbered("a", 200)]);
    assert_eq!(toolbox.functions.len(), limits::FUNCTIONS);
    assert_eq!(names(&toolbox).last(), Some(&"a__tool127"));
    assert_eq!(toolbox.left_out, ["a", "b"]);
    assert_eq!(Toolbox::from_event(&toolbox.to_event()), toolbox);
}

#[test]
fn exactly_as_many_as_allowed_are_all_offered() {
    let toolbox = assemble(vec![numbered("a", 64), numbered("b", 64)]);
    assert_eq!(toolbox.functions.len(), limits::FUNCTIONS);
    assert!(toolbox.left_out.is_empty());
}

#[test]
fn the_event_remembers_all_of_it() {
    let toolbox = assemble(vec![
        catalog("s s", [tool("a.b"), tool("a/b")]),
        numbered("t", 3),
    ]);
    let text = serde_json::to_string(&toolbox.to_event()).unwrap();
    let event: CatalogReady = serde_json::from_str(&text).unwrap();
    assert_eq!(Toolbox::from_event(&event), toolbox);
    assert_eq!(
        format!("{:?}", Toolbox::from_event(&event)),
        format!("{toolbox:?}")
    );
}

#[test]
fn an_event_whose_catalog_lost_a_tool_gives_the_others() {
    let mut event = assemble(vec![numbered("a", 2), numbered("b", 2)]).to_event();
    event.catalogs.remove(0);
    assert_eq!(
        names(&Toolbox::from_event(&event)),
        ["b__tool000", "b__tool001"]
    );
}

#[test]
fn descriptions_are_cut_and_titles_stand_in() {
    let mut long = tool("long");
    long.description = Some("é".repeat(2000));
    let mut titled = tool("titled");
    titled.description = None;
    titled.title = Some("A title".to_owned());
    let toolbox = assemble(vec![catalog("s", [long, titled])]);
    let description = &toolbox.function("s__long").unwrap().description;
    assert_eq!(
        description.chars().count(),
        limits::FUNCTION_DESCRIPTION_CHARS
    );
    assert!(description.ends_with("é…"));
    assert_eq!(
        toolbox.function("s__titled").unwrap().description,
        "A title"
    );
}

#[test]
fn arguments_are_checked_against_the_tools_own_schema() {
    let toolbox = assemble(vec![catalog("s", [tool("sales")])]);
    let function = toolbox.function("s__sales").unwrap();
    let year = json!({ "year": 1997 }).as_object().unwrap().clone();
    for raw in [r#"{"year": 1997}"#, r#""{\"year\": 1997}""#] {
        assert_eq!(toolbox.check_arguments(function, raw), Ok(year.clone()));
    }
    insta::assert_snapshot!(
        toolbox.check_arguments(function, "").unwrap_err(),
        @r#"
    The arguments do not fit the tool's schema:
    - at the top: "year" is a required property
    "#
    );
    assert!(
        toolbox
            .check_arguments(function, "{")
            .unwrap_err()
            .contains("line 1 column 1")
    );
}

#[test]
fn odd_schemas_are_offered_and_take_any_object() {
    for schema in [
        json!({ "type": 7, "properties": { "a": null } }),
        json!({ "properties": [], "required": "all" }),
        json!({ "$ref": "https://127.0.0.1:1/x" }),
    ] {
        let mut odd = tool("odd");
        odd.input_schema = schema.as_object().cloned().unwrap_or_else(Map::new);
        let toolbox = assemble(vec![catalog("s", [odd])]);
        let function = toolbox.function("s__odd").unwrap();
        assert!(function.parameters["properties"].is_object());
        assert!(
            toolbox.check_arguments(function, r#"{"a":[1]}"#).is_ok(),
            "{schema}"
        );
        assert!(toolbox.check_arguments(function, "[]").is_err(), "{schema}");
    }
}

proptest! {
    // Each case makes up to hundreds of functions, twice.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_toolbox_survives_its_event_and_any_order(
        servers in proptest::collection::btree_map("[a-c_. ]{0,3}", 0_usize..80, 0..5),
        turn in 0_usize..5,
    ) {
        let mut catalogs: Vec<_> = servers.iter().map(|(name, n)| numbered(name, *n)).collect();
        let toolbox = assemble(catalogs.clone());
        if !catalogs.is_empty() {
            let turn = turn % catalogs.len();
            catalogs.rotate_left(turn);
        }
        prop_assert_eq!(&assemble(catalogs), &toolbox);
        prop_assert_eq!(&Toolbox::from_event(&toolbox.to_event()), &toolbox);
        prop_assert!(toolbox.functions.len() <= limits::FUNCTIONS);
        prop_assert!(toolbox.functions.is_sorted_by(|a, b| a.name < b.name));
    }
}
