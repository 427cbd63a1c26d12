//! Questions that only look: tables, comparisons, and the long story.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    schema::{Listed, described, listed, quoted},
    table::{Reading, Table, number, show},
    trouble::react,
    turn::{Missing, Turn, call_after},
};
use crate::model::reply::Answer;

/// Rows of the largest table that are shown.
const SAMPLE: usize = 5;
/// Tables that are counted when `list_tables` did not.
const MAX_COUNTED: usize = 50;
/// A long answer with every kind of Markdown; `{subject}` is what it is about.
const STORY: &str = include_str!("story.md");

/// `list_tables`, a count if it had none, `describe_table`, and a few rows.
pub(super) fn largest_table(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let Some(list) = turn.steps_of("list_tables").last() else {
        return Ok(call_after(
            "I look at which tables there are.",
            [turn.list_tables()?],
        ));
    };
    let tables = match listed(list.reading()) {
        Ok(tables) => tables,
        Err(problem) => return Ok(Answer::text(react(&problem))),
    };
    let mut queries = turn.steps_of("read_query");
    let counted = if tables.iter().all(|table| table.rows.is_some()) {
        tables
    } else {
        let Some(count) = queries.next() else {
            let text = format!("There are {} tables. I count their rows.", tables.len());
            return Ok(call_after(text, [turn.query(&count_rows(&tables))?]));
        };
        match listed(count.reading()) {
            Ok(counted) => counted,
            Err(problem) => return Ok(Answer::text(react(&problem))),
        }
    };
    let Some(largest) = counted.iter().max_by_key(|table| table.rows) else {
        return Ok(Answer::text("There are no tables."));
    };
    let Some(description) = turn.steps_of("describe_table").last() else {
        let text = format!(
            "Of {} tables, `{}` is the largest. I look at its columns.",
            counted.len(),
            largest.name
        );
        return Ok(call_after(text, [turn.describe(&largest.name)?]));
    };
    let columns = match described(description.reading()) {
        Ok(columns) => columns,
        Err(problem) => return Ok(Answer::text(react(&problem))),
    };
    let Some(sample) = queries.next() else {
        let sql = format!("SELECT * FROM {} LIMIT {SAMPLE}", quoted(&largest.name));
        return Ok(call_after("And at a few of its rows.", [turn.query(&sql)?]));
    };
    Ok(Answer::text(match sample.reading() {
        Reading::Rows(rows) => report(&counted, largest, &columns, &rows),
        Reading::Problem(problem) => react(&problem),
        Reading::Json(value) => react(&value.to_string()),
    }))
}

fn count_rows(tables: &[Listed]) -> String {
    let counts: Vec<String> = tables
        .iter()
        .take(MAX_COUNTED)
        .map(|table| {
            let literal = table.name.replace('\'', "''");
            format!(
                "SELECT '{literal}' AS name, count(*) AS rows FROM {}",
                quoted(&table.name)
            )
        })
        .collect();
    counts.join("\nUNION ALL ")
}

fn report(tables: &[Listed], largest: &Listed, columns: &[String], sample: &Table) -> String {
    let list: Vec<String> = tables
        .iter()
        .map(|table| {
            format!(
                "- `{}`: {} rows",
                table.name,
                table.rows.unwrap_or_default()
            )
        })
        .collect();
    format!(
        "There are {} tables:\n\n{}\n\nThe largest is **{}** with {} rows. Its columns are {}. \
         This is how it begins:\n\n{}",
        tables.len(),
        list.join("\n"),
        largest.name,
        largest.rows.unwrap_or_default(),
        columns.join(", "),
        sample.markdown(SAMPLE)
    )
}

/// Three queries in one round.
pub(super) fn compare(turn: &Turn<'_>) -> Result<Answer, Missing> {
    const TABLES: [&str; 3] = ["customers", "products", "suppliers"];
    let results: Vec<_> = turn.steps_of("read_query").collect();
    if results.is_empty() {
        let mut calls = Vec::new();
        for table in TABLES {
            calls.push(turn.query(&format!("SELECT count(*) AS {table} FROM {table}"))?);
        }
        return Ok(call_after("I count all three at once.", calls));
    }
    let (mut lines, mut problems, mut counts) = (Vec::new(), String::new(), Vec::new());
    for (table, step) in TABLES.iter().zip(&results) {
        let shown = match step.reading() {
            Reading::Rows(rows) => {
                counts.extend(rows.single().and_then(number).map(|count| (count, *table)));
                rows.single().map(show)
            }
            Reading::Problem(problem) => {
                // Writing to a string cannot fail.
                write!(problems, "\n\nAbout {table}: {}", react(&problem)).ok();
                None
            }
            Reading::Json(_) => None,
        };
        lines.push(format!(
            "| {table} | {} |",
            shown.as_deref().unwrap_or("not known")
        ));
    }
    let table = format!("| What | How many |\n| --- | ---: |\n{}", lines.join("\n"));
    let by_count = |a: &&(f64, &str), b: &&(f64, &str)| a.0.total_cmp(&b.0);
    let summary = match (
        counts.iter().max_by(by_count),
        counts.iter().min_by(by_count),
    ) {
        (Some((most, many)), Some((least, few))) => {
            format!("\n\nThere are the most {many} ({most}) and the fewest {few} ({least}).")
        }
        _ => String::new(),
    };
    Ok(Answer::text(format!("{table}{summary}{problems}")))
}

/// What the server knows of who asks.
pub(super) fn whoami(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let Some(done) = turn.steps_of("whoami").last() else {
        let call = turn.call("whoami", &[])?;
        return Ok(call_after("I ask the server.", [call]));
    };
    let Reading::Json(caller) = done.reading() else {
        return Ok(Answer::text(react(done.text())));
    };
    let said = |key: &str| caller.get(key).and_then(Value::as_str).unwrap_or("nothing");
    Ok(Answer::text(match caller.get("verified") {
        Some(Value::Bool(true)) => format!(
            "For the database you are **{}** ({}), with the id `{}`: Pomerium signed that for \
             this call, and the server verified it.",
            said("name"),
            said("email"),
            said("sub")
        ),
        Some(Value::Bool(false)) => {
            "The server does not know who you are: it verifies nobody.".to_owned()
        }
        _ => react(done.text()),
    }))
}

/// The long story, about what the question says it should be about.
#[expect(
    clippy::unnecessary_wraps,
    reason = "all questions have the same signature"
)]
pub(super) fn story(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let about = turn
        .question()
        .rsplit_once("about ")
        .map_or("a warehouse", |(_, about)| about);
    let subject: String = about
        .trim_end_matches(['.', '!', '?', ' ', '\n'])
        .chars()
        .take(80)
        .collect();
    Ok(Answer::text(STORY.replace("{subject}", &subject)))
}
