//! "What were our sales by year?"

use std::fmt::Write as _;

use super::{
    Database,
    schema::{Listed, SalesSchema, described, listed, sales_tables},
    table::{Reading, Table, money, number, quote, show},
    trouble::react,
    turn::{Missing, Turn, call_after},
};
use crate::model::reply::Answer;

/// A query, and the answer from its rows. In a database that is not northwind's own, the
/// tables and their columns come first.
pub(super) fn by_year(turn: &Turn<'_>) -> Result<Answer, Missing> {
    if let Some(last) = turn.steps_of("read_query").last() {
        match last.reading() {
            Reading::Rows(table) => return Ok(Answer::text(report(&table))),
            Reading::Problem(problem) if names_something_unknown(&problem) => {}
            Reading::Problem(problem) => return Ok(Answer::text(react(&problem))),
            Reading::Json(value) => return Ok(Answer::text(odd(&value.to_string()))),
        }
        // A query that was made from the columns seen has no better one after it.
        let looked = turn.last_of("list_tables");
        if looked.is_some() && looked < turn.last_of("read_query") {
            return Ok(Answer::text(react(last.text())));
        }
    } else if turn.database() == Database::Northwind {
        let call = turn.query(&SalesSchema::northwind().sales_by_year())?;
        return Ok(call_after("I add up the order lines by year.", [call]));
    }
    explore(turn)
}

/// `list_tables`, then `describe_table` for the two that matter, then the query.
fn explore(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let Some(list) = turn.steps_of("list_tables").last() else {
        return Ok(call_after(
            "First I look at which tables there are.",
            [turn.list_tables()?],
        ));
    };
    let tables = match listed(list.reading()) {
        Ok(tables) => tables,
        Err(problem) => return Ok(Answer::text(react(&problem))),
    };
    let Some((orders, lines)) = sales_tables(&tables) else {
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        return Ok(Answer::text(format!(
            "I find no orders with lines among these tables: {}. So I cannot say what the sales \
             were.",
            names.join(", ")
        )));
    };
    let (order_columns, line_columns) = match columns(turn, orders, lines) {
        Columns::Known(of_orders, of_lines) => (of_orders, of_lines),
        Columns::Unknown(problem) => return Ok(Answer::text(react(&problem))),
        Columns::Ask => {
            let calls = [turn.describe(&orders.name)?, turn.describe(&lines.name)?];
            let text = format!("`{}` and `{}` look right.", orders.name, lines.name);
            return Ok(call_after(text, calls));
        }
    };
    let (orders, lines) = (orders.name.as_str(), lines.name.as_str());
    match SalesSchema::find((orders, &order_columns), (lines, &line_columns)) {
        Some(schema) => Ok(call_after(
            "With these columns I can add up the order lines by year.",
            [turn.query(&schema.sales_by_year())?],
        )),
        None => Ok(Answer::text(format!(
            "`{orders}` and `{lines}` lack a date, a price or a quantity, so I cannot say what \
             the sales were."
        ))),
    }
}

enum Columns {
    Known(Vec<String>, Vec<String>),
    /// Both tables have to be described first.
    Ask,
    Unknown(String),
}

/// The columns of two tables: from the list if it has them, else from their descriptions.
fn columns(turn: &Turn<'_>, orders: &Listed, lines: &Listed) -> Columns {
    if let (Some(of_orders), Some(of_lines)) = (&orders.columns, &lines.columns) {
        return Columns::Known(of_orders.clone(), of_lines.clone());
    }
    let mut steps = turn.steps_of("describe_table");
    let (Some(of_orders), Some(of_lines)) = (steps.next(), steps.next()) else {
        return Columns::Ask;
    };
    match (
        described(of_orders.reading()),
        described(of_lines.reading()),
    ) {
        (Ok(of_orders), Ok(of_lines)) => Columns::Known(of_orders, of_lines),
        (Err(problem), _) | (_, Err(problem)) => Columns::Unknown(problem),
    }
}

fn names_something_unknown(problem: &str) -> bool {
    problem.contains("no such table") || problem.contains("no such column")
}

/// The answer, from the rows: year, orders, sales.
fn report(table: &Table) -> String {
    let years: Vec<(String, f64, f64)> = table
        .rows
        .iter()
        .filter_map(|row| {
            let [year, orders, sales] = Table::cells(row)?;
            Some((show(year), number(orders)?, number(sales)?))
        })
        .collect();
    let Some((best, _, most)) = years.iter().max_by(|a, b| a.2.total_cmp(&b.2)) else {
        return "The query returned no rows, so there were no sales.".to_owned();
    };
    let mut text = "| Year | Orders | Sales |\n| --- | ---: | ---: |\n".to_owned();
    // Here and below: writing to a string cannot fail.
    for (year, orders, sales) in &years {
        writeln!(text, "| {year} | {orders} | {} |", money(*sales)).ok();
    }
    let total: f64 = years.iter().map(|(_, _, sales)| sales).sum();
    let orders: f64 = years.iter().map(|(_, orders, _)| orders).sum();
    write!(
        text,
        "\nThat is **{}** in total, from {orders} orders. The best year was **{best}** with {}.",
        money(total),
        money(*most)
    )
    .ok();
    text
}

fn odd(text: &str) -> String {
    format!(
        "The tool answered something that is no rows, so I cannot add it up:\n\n{}",
        quote(text)
    )
}
