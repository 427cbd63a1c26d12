//! Sales by category and by month: results that are worth a chart.

use super::{
    Database, sales,
    table::{Reading, Table, money, number, show},
    trouble::react,
    turn::{Missing, Turn, call_after},
};
use crate::model::reply::Answer;

const BY_CATEGORY: &str = "\
SELECT c.category_name AS category,
       count(DISTINCT d.order_id) AS orders,
       round(sum(d.unit_price * d.quantity * (1 - d.discount)), 2) AS sales
FROM order_details AS d
JOIN products AS p ON p.product_id = d.product_id
JOIN categories AS c ON c.category_id = p.category_id
GROUP BY category
ORDER BY sales DESC";

const BY_MONTH: &str = "\
SELECT strftime('%Y-%m', o.order_date) AS month,
       count(DISTINCT o.order_id) AS orders,
       round(sum(d.unit_price * d.quantity * (1 - d.discount)), 2) AS sales
FROM orders AS o
JOIN order_details AS d ON d.order_id = o.order_id
GROUP BY month
ORDER BY month";

/// "What were our sales by category?"
pub(super) fn by_category(turn: &Turn<'_>) -> Result<Answer, Missing> {
    broken_down(turn, BY_CATEGORY, "category")
}

/// "How did our sales go by month?"
pub(super) fn by_month(turn: &Turn<'_>) -> Result<Answer, Missing> {
    broken_down(turn, BY_MONTH, "month")
}

/// One query, and what is largest in its rows. In somebody else's database it is by year: the
/// columns for the rest are anybody's guess.
fn broken_down(turn: &Turn<'_>, sql: &str, by: &str) -> Result<Answer, Missing> {
    if turn.database() != Database::Northwind {
        return sales::by_year(turn);
    }
    let Some(last) = turn.steps_of("read_query").last() else {
        let text = format!("I add up the order lines by {by}.");
        return Ok(call_after(text, [turn.query(sql)?]));
    };
    Ok(Answer::text(match last.reading() {
        Reading::Rows(table) => report(&table, by),
        Reading::Problem(_) | Reading::Json(_) => react(last.text()),
    }))
}

fn report(table: &Table, by: &str) -> String {
    let rows: Vec<(String, f64)> = table
        .rows
        .iter()
        .filter_map(|row| {
            let [name, _, sales] = Table::cells(row)?;
            Some((show(name), number(sales)?))
        })
        .collect();
    let Some((best, most)) = rows.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return "The query returned no rows, so there were no sales.".to_owned();
    };
    let total: f64 = rows.iter().map(|(_, sales)| sales).sum();
    format!(
        "The best {by} was **{best}** with {}, of **{}** in total. All {} rows are in the call \
         above: open it to sort them, to download them, or to see them as a chart.",
        money(*most),
        money(total),
        rows.len()
    )
}
