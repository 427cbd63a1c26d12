use serde_json::{Value, json};

use super::*;
use crate::model::reply::Call;

const SALES: &str = "What were our sales by year?";

fn function(name: &str, parameter: Option<&str>) -> Value {
    let mut properties = json!({});
    if let Some(parameter) = parameter {
        properties[parameter] = json!({"type": "string"});
    }
    let parameters = json!({"type": "object", "properties": properties});
    json!({"type": "function", "function": {"name": name, "parameters": parameters}})
}

fn tools() -> Value {
    json!([
        function("database__describe_table", Some("table")),
        function("database__list_tables", None),
        function("database__read_query", Some("sql")),
        function("database__whoami", None),
        function("database__write_query", Some("sql")),
        function("notes__add_note", Some("text")),
        function("notes__list_notes", None),
        function("notes__show_attachments", None),
    ])
}

/// A conversation with the script, in which the test plays the tools.
struct Talk {
    body: Value,
    database: Database,
    ids: u32,
}

impl Talk {
    fn ask(question: &str) -> Self {
        let messages = json!([{"role": "user", "content": question}]);
        let body = json!({"messages": messages, "tools": tools()});
        Self {
            body,
            database: Database::Northwind,
            ids: 0,
        }
    }

    fn answer(&self) -> Answer {
        answer(&ChatRequest::new(self.body.clone()), self.database)
    }

    /// The calls of the next answer.
    fn calls(&self) -> Vec<Call> {
        let answer = self.answer();
        assert!(!answer.calls.is_empty(), "{}", answer.text);
        answer.calls
    }

    /// The SQL of the next answer's only call.
    fn sql(&self) -> String {
        let calls = self.calls();
        assert_eq!(calls.len(), 1);
        let arguments: Value = serde_json::from_str(&calls[0].arguments).unwrap();
        arguments["sql"].as_str().unwrap().to_owned()
    }

    /// The text of the next answer, which must have no calls.
    fn text(&self) -> String {
        let answer = self.answer();
        assert_eq!(answer.calls, []);
        assert!(answer.text.ends_with(DISCLAIMER));
        answer.text
    }

    /// Gives these results to the calls of the next answer.
    fn give(&mut self, results: &[&str]) {
        let calls = self.calls();
        assert_eq!(calls.len(), results.len());
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for (call, result) in calls.iter().zip(results) {
            self.ids += 1;
            let id = format!("call_{}", self.ids);
            let function = json!({"name": call.name, "arguments": call.arguments});
            requests.push(json!({"id": id, "type": "function", "function": function}));
            answers.push(json!({"role": "tool", "tool_call_id": id, "content": result}));
        }
        let messages = self.body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": null, "tool_calls": requests}));
        messages.extend(answers);
    }
}

#[test]
fn a_failed_or_denied_query_is_never_reported_as_sales() {
    for (result, expected) in [
        ("Not run: the user denied this call.", "denied"),
        (
            "The connection to the tool was lost while the call ran: it may or may not have had its \
          effect.",
            "Nobody saw",
        ),
        ("disk I/O error", "disk I/O error"),
        ("", "nothing"),
        (
            r#"{"columns":["year","orders","sales"],"rows":[]}"#,
            "no sales",
        ),
    ] {
        let mut talk = Talk::ask(SALES);
        talk.give(&[result]);
        let text = talk.text();
        assert!(
            text.contains(expected) && !text.contains("in total"),
            "{text}"
        );
    }
}

#[test]
fn sales_are_computed_from_the_rows() {
    let mut talk = Talk::ask(SALES);
    assert_eq!(talk.calls()[0].name, "database__read_query");
    assert!(talk.sql().contains("order_details"));
    talk.give(&[
        r#"{"columns":["year","orders","sales"],"rows":[["2023",2,1000.5],["2024",3,2500]]}"#,
    ]);
    let text = talk.text();
    assert!(text.contains("| 2023 | 2 | 1,000.50 |"), "{text}");
    assert!(
        text.contains("**3,500.50** in total, from 5 orders"),
        "{text}"
    );
    assert!(
        text.contains("best year was **2024** with 2,500.00"),
        "{text}"
    );
}

#[test]
fn a_database_of_somebody_else_is_looked_at() {
    let explore = |talk: &mut Talk| {
        assert_eq!(talk.calls()[0].name, "database__list_tables");
        talk.give(&[r#"{"tables":["Customers","Order Details","Orders"]}"#]);
        assert_eq!(talk.calls().len(), 2);
        talk.give(&[
            r#"{"columns":[{"name":"OrderID"},{"name":"OrderDate"}]}"#,
            r#"{"columns":[{"name":"OrderID"},{"name":"UnitPrice"},{"name":"Quantity"}]}"#,
        ]);
        assert!(
            talk.sql().contains("JOIN \"Order Details\""),
            "{}",
            talk.sql()
        );
    };
    let mut talk = Talk::ask(SALES);
    talk.database = Database::Unknown;
    explore(&mut talk);
    talk.give(&["no such column: OrderDate"]);
    assert!(talk.text().contains("no such column"));

    let mut talk = Talk::ask(SALES);
    talk.give(&["no such table: order_details"]);
    explore(&mut talk);
    talk.give(&[r#"{"columns":["year","orders","sales"],"rows":[["1997",1,7]]}"#]);
    assert!(talk.text().contains("best year was **1997**"));
}

#[test]
fn the_largest_table_takes_several_rounds() {
    let mut talk = Talk::ask("Which tables are there, and what is in the largest?");
    talk.give(&[r#"{"tables":["orders","order_details"]}"#]);
    assert!(talk.sql().contains("UNION ALL"));
    talk.give(&[r#"{"columns":["name","rows"],"rows":[["orders",3],["order_details",9]]}"#]);
    assert_eq!(talk.calls()[0].arguments, r#"{"table":"order_details"}"#);
    talk.give(&[r#"{"columns":[{"name":"order_id"},{"name":"quantity"}]}"#]);
    assert_eq!(talk.sql(), "SELECT * FROM order_details LIMIT 5");
    talk.give(&[r#"{"columns":["order_id","quantity"],"rows":[[1,2]]}"#]);
    let text = talk.text();
    assert!(
        text.contains("**order_details** with 9 rows") && text.contains("| 1 | 2 |"),
        "{text}"
    );
}

#[test]
fn three_things_are_compared_at_once() {
    let mut talk = Talk::ask("Compare customers, products and suppliers");
    assert_eq!(talk.calls().len(), 3);
    let rows = |count: u8| format!(r#"{{"columns":["n"],"rows":[[{count}]]}}"#);
    talk.give(&[
        &rows(91),
        "Not run: policy denies this call to the user.",
        &rows(29),
    ]);
    let text = talk.text();
    assert!(text.contains("| customers | 91 |") && text.contains("| products | not known |"));
    assert!(
        text.contains("About products: The call was denied"),
        "{text}"
    );
}

#[test]
fn changes_go_through_the_writing_tool() {
    let mut talk = Talk::ask("Delete the discontinued products");
    talk.give(&[r#"{"columns":["product_name"],"rows":[["Alice Mutton"],["Chai"]]}"#]);
    assert_eq!(talk.calls()[0].name, "database__write_query");
    assert!(
        talk.answer()
            .text
            .contains("2 products are discontinued: Alice Mutton, Chai.")
    );
    talk.give(&["FOREIGN KEY constraint failed"]);
    assert!(talk.text().contains("answered with an error"));

    let mut talk = Talk::ask("Raise prices by 7 %");
    assert!(talk.sql().contains("unit_price * 1.07"), "{}", talk.sql());
    talk.give(&[r#"{"rows_affected":77}"#]);
    assert!(talk.text().contains("77 rows were changed"));
}

#[test]
fn trouble_is_made_and_mended() {
    for question in [
        "Run a broken query",
        "Send arguments that are not JSON",
        "Send arguments that do not fit",
    ] {
        let mut talk = Talk::ask(question);
        talk.give(&["near \")\": syntax error"]);
        assert!(talk.answer().text.contains("syntax error"), "{question}");
        talk.give(&[r#"{"columns":["n"],"rows":[[830]]}"#]);
        assert!(talk.text().contains("**830**"), "{question}");
    }
    let broken = &Talk::ask("Send arguments that are not JSON").calls()[0].arguments;
    assert!(serde_json::from_str::<Value>(broken).is_err());
    let misfit = &Talk::ask("Send arguments that do not fit").calls()[0].arguments;
    assert_eq!(misfit, r#"{"colour":"blue","sql":42}"#);
    let mut talk = Talk::ask("Call a function that does not exist");
    talk.give(&["Not run: there is no such function.", r#"{"tables":["a"]}"#]);
    assert!(talk.text().contains("no such function"));
}

#[test]
fn notes_and_names_come_from_what_the_server_said() {
    let mut talk = Talk::ask("What notes do I have?");
    assert_eq!(talk.calls()[0].name, "notes__list_notes");
    talk.give(&[
        "- Call *Bob*\n- Buy ink\n{\"account\":\"Ana\",\"notes\":[\"Call *Bob*\",\"Buy ink\"]}",
    ]);
    let text = talk.text();
    assert!(
        text.contains("2 notes") && text.contains("- Buy ink\n\n"),
        "{text}"
    );
    let mut talk = Talk::ask("What notes do I have?");
    talk.give(&["Not run: the server wants an account to be connected."]);
    assert!(talk.text().contains("wants an account"));

    let mut talk = Talk::ask("Note that our sales went up");
    assert_eq!(talk.calls()[0].arguments, r#"{"text":"Our sales went up"}"#);
    talk.give(&["Noted; that makes 3.\n{\"account\":\"Ana\",\"count\":3}"]);
    assert!(talk.text().contains("that makes 3"));

    let who = "Who am I for the database?";
    for (result, expected) in [
        (
            r#"{"verified":true,"sub":"u1","name":"Ana","email":"a@b","groups":[]}"#,
            "**Ana** (a@b)",
        ),
        (r#"{"verified":false,"sub":null}"#, "does not know"),
        ("Not run: policy denies it.", "denied"),
    ] {
        let mut talk = Talk::ask(who);
        talk.give(&[result]);
        assert!(talk.text().contains(expected), "{expected}");
    }
}

#[test]
fn sales_are_broken_down_by_what_was_asked() {
    for (question, column) in [
        ("What were our sales by category?", "category_name"),
        ("How did our sales go by month?", "'%Y-%m'"),
    ] {
        let mut talk = Talk::ask(question);
        assert!(talk.sql().contains(column), "{question}");
        talk.give(&[r#"{"columns":["by","orders","sales"],"rows":[["b",1,1],["a",2,5]]}"#]);
        let text = talk.text();
        assert!(text.contains("**a** with 5.00, of **6.00**"), "{text}");
        let mut talk = Talk::ask(question);
        talk.give(&["disk I/O error"]);
        assert!(talk.text().contains("disk I/O error"));
    }
}

#[test]
fn without_tools_or_when_told_not_to_call_it_says_so_in_words() {
    for question in QUESTIONS {
        let mut talk = Talk::ask(question.ask);
        talk.body["tool_choice"] = json!("none");
        talk.text();
        talk.body
            .as_object_mut()
            .unwrap()
            .retain(|key, _| !key.starts_with("tool"));
        talk.text();
        talk.body["tools"] = json!([function("other__tool", None)]);
        talk.text();
    }
    let mut talk = Talk::ask("Never stop calling tools");
    for _ in 0..3 {
        talk.give(&["1"]);
    }
    talk.body["tool_choice"] = json!("none");
    assert!(talk.text().contains("`tool_choice: \"none\"`") && talk.text().contains("3 calls"));
}

#[test]
fn each_listed_question_finds_its_own_answer_and_others_get_the_list() {
    for question in QUESTIONS {
        assert_eq!(find(question.ask).unwrap().ask, question.ask);
        assert!(Talk::ask("help").text().contains(question.ask));
    }
    // A message that was never answered stands before the question in the same text.
    assert_eq!(
        find(&format!("{SALES}\n\nRun a slow query")).unwrap().ask,
        "Run a slow query"
    );
    assert_eq!(find("Sales, please.\n\nThank you").unwrap().ask, SALES);
}

#[test]
fn only_the_calls_since_the_last_question_count() {
    let mut talk = Talk::ask(SALES);
    talk.give(&[r#"{"columns":["year","orders","sales"],"rows":[["2023",1,1]]}"#]);
    let text = talk.text();
    let messages = talk.body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": text}));
    messages.push(json!({"role": "user", "content": [{"type": "text", "text": SALES}]}));
    assert!(talk.sql().contains("strftime"));
}

#[test]
fn tools_with_other_names_for_their_parameters_are_understood() {
    let mut talk = Talk::ask(SALES);
    talk.body["tools"] = json!([function("my_db__read_query", Some("query"))]);
    let call = &talk.calls()[0];
    assert_eq!(call.name, "my_db__read_query");
    assert!(call.arguments.starts_with(r#"{"query":"#));
}

#[test]
fn the_story_is_long_and_about_what_was_asked() {
    let text = Talk::ask("Tell me a long story about three mice.").text();
    assert!(text.starts_with("# The story of three mice\n") && text.len() > 5000);
    assert!(!text.contains("{subject}"));
}

#[test]
fn the_readme_lists_the_questions() {
    let readme = include_str!("../../../README.md");
    for question in QUESTIONS {
        let line = format!("| {} | {} |", question.ask, question.shows);
        assert!(readme.contains(&line), "{line}");
    }
}
