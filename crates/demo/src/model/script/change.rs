//! Questions that change something: the calls that want approval.

use serde_json::{Value, json};

use super::{
    table::{Reading, quote, show},
    trouble::react,
    turn::{Missing, Turn, call_after},
};
use crate::model::reply::{Answer, Call};

/// Names that are listed before a deletion.
const MAX_NAMES: usize = 20;

/// A look at what would go, and then the deletion.
pub(super) fn delete_discontinued(turn: &Turn<'_>) -> Result<Answer, Missing> {
    if let Some(done) = turn.steps_of("write_query").last() {
        return Ok(Answer::text(outcome(
            &done.reading(),
            done.text(),
            "deleted",
        )));
    }
    let Some(look) = turn.steps_of("read_query").last() else {
        let sql = "SELECT product_name FROM products WHERE discontinued = 1 ORDER BY product_name";
        return Ok(call_after(
            "First I look at which those are.",
            [turn.query(sql)?],
        ));
    };
    let names = match look.reading() {
        Reading::Rows(table) if table.rows.is_empty() => {
            return Ok(Answer::text(
                "There are no discontinued products, so nothing to delete.",
            ));
        }
        Reading::Rows(table) => table.rows,
        Reading::Problem(problem) => return Ok(Answer::text(react(&problem))),
        Reading::Json(value) => return Ok(Answer::text(react(&value.to_string()))),
    };
    let list: Vec<String> = names
        .iter()
        .take(MAX_NAMES)
        .filter_map(|row| row.first())
        .map(show)
        .collect();
    let text = format!(
        "{} products are discontinued: {}.",
        names.len(),
        list.join(", ")
    );
    let sql = "DELETE FROM products WHERE discontinued = 1";
    Ok(call_after(text, [write(turn, sql)?]))
}

/// One update.
pub(super) fn raise_prices(turn: &Turn<'_>) -> Result<Answer, Missing> {
    if let Some(done) = turn.steps_of("write_query").last() {
        return Ok(Answer::text(outcome(
            &done.reading(),
            done.text(),
            "changed",
        )));
    }
    let percent = percentage(turn.question());
    let sql = format!(
        "UPDATE products SET unit_price = round(unit_price * {}, 2)",
        1.0 + f64::from(percent) / 100.0
    );
    Ok(call_after(
        format!("I raise all prices by {percent} %."),
        [write(turn, &sql)?],
    ))
}

fn write(turn: &Turn<'_>, sql: &str) -> Result<Call, Missing> {
    turn.call("write_query", &[("sql", json!(sql))])
}

/// The first number of a question: 5 when there is none, 100 at most.
fn percentage(question: &str) -> u8 {
    let number: String = question
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    number.parse().unwrap_or(5).min(100)
}

fn outcome(reading: &Reading, text: &str, verb: &str) -> String {
    let count = match reading {
        Reading::Problem(problem) if problem.contains("FOREIGN KEY") => {
            return format!(
                "{}\n\nOther rows refer to these, such as the lines of orders, and I would not \
                 delete those as well without being asked.",
                react(problem)
            );
        }
        Reading::Problem(problem) => return react(problem),
        Reading::Json(value) => count(value),
        Reading::Rows(table) => table.single().and_then(Value::as_u64),
    };
    match count {
        Some(1) => format!("Done: one row was {verb}."),
        Some(rows) => format!("Done: {rows} rows were {verb}."),
        None => format!("Done. The tool said:\n\n{}", quote(text)),
    }
}

/// The first whole number of an object.
fn count(value: &Value) -> Option<u64> {
    value.as_object()?.values().find_map(Value::as_u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_read_and_bounded() {
        assert_eq!(percentage("Raise prices"), 5);
        assert_eq!(percentage("Raise prices by 12 %"), 12);
        assert_eq!(percentage("Raise prices by 900%"), 5);
        assert_eq!(percentage("Raise prices by 200%"), 100);
    }

    #[test]
    fn a_denied_change_is_not_reported_as_done() {
        let text = "Not run: the user denied this call.";
        let said = outcome(&Reading::of(text), text, "deleted");
        assert!(!said.contains("Done") && said.contains("denied"), "{said}");
        let text = r#"{"rows_affected":8}"#;
        assert_eq!(
            outcome(&Reading::of(text), text, "deleted"),
            "Done: 8 rows were deleted."
        );
    }
}
