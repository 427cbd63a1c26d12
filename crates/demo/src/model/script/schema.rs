//! Finding orders and their lines in a database of somebody else.

use serde_json::Value;

use super::table::{Reading, name_of};

/// What tables of orders are called, without case and punctuation; the likeliest first.
const ORDERS: &[&str] = &[
    "orders",
    "order",
    "salesorders",
    "salesorderheader",
    "invoices",
    "invoice",
    "sales",
];
/// The same for the lines of orders.
const LINES: &[&str] = &[
    "orderdetails",
    "orderdetail",
    "orderitems",
    "orderitem",
    "orderlines",
    "orderline",
    "salesorderdetail",
    "invoiceitems",
    "invoiceitem",
    "invoicelines",
    "invoiceline",
];

/// The SQL names that a query of sales needs, quoted where they must be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SalesSchema {
    pub(super) orders: String,
    pub(super) lines: String,
    pub(super) order_id: String,
    pub(super) line_order_id: String,
    pub(super) date: String,
    pub(super) price: String,
    pub(super) quantity: String,
    pub(super) discount: Option<String>,
}

impl SalesSchema {
    /// northwind's own database.
    pub(super) fn northwind() -> Self {
        Self {
            orders: "orders".into(),
            lines: "order_details".into(),
            order_id: "order_id".into(),
            line_order_id: "order_id".into(),
            date: "order_date".into(),
            price: "unit_price".into(),
            quantity: "quantity".into(),
            discount: Some("discount".into()),
        }
    }

    /// From the names and columns of the two tables.
    pub(super) fn find(
        (orders, order_columns): (&str, &[String]),
        (lines, line_columns): (&str, &[String]),
    ) -> Option<Self> {
        let stem = normal(orders).trim_end_matches('s').to_owned() + "id";
        let id = |columns: &[String]| {
            let exact = columns.iter().find(|column| normal(column) == stem);
            let sales = || columns.iter().find(|column| normal(column) == "orderid");
            let plain = || columns.iter().find(|column| normal(column) == "id");
            exact
                .or_else(sales)
                .or_else(plain)
                .map(|column| quoted(column))
        };
        Some(Self {
            order_id: id(order_columns)?,
            line_order_id: id(line_columns)?,
            date: quoted(likeliest(
                order_columns,
                &["orderdate", "invoicedate", "date"],
            )?),
            price: quoted(likeliest(line_columns, &["unitprice", "price"])?),
            quantity: quoted(likeliest(line_columns, &["quantity", "qty"])?),
            discount: likeliest(line_columns, &["discount"]).map(quoted),
            orders: quoted(orders),
            lines: quoted(lines),
        })
    }

    /// Sales by year: `year`, `orders`, `sales`.
    pub(super) fn sales_by_year(&self) -> String {
        let Self {
            orders,
            lines,
            order_id,
            line_order_id,
            date,
            price,
            quantity,
            discount,
        } = self;
        let discount = discount
            .as_ref()
            .map(|column| format!(" * (1 - d.{column})"))
            .unwrap_or_default();
        format!(
            "SELECT strftime('%Y', o.{date}) AS year,\n       \
             count(DISTINCT o.{order_id}) AS orders,\n       \
             round(sum(d.{price} * d.{quantity}{discount}), 2) AS sales\n\
             FROM {orders} AS o\n\
             JOIN {lines} AS d ON d.{line_order_id} = o.{order_id}\n\
             GROUP BY year\n\
             ORDER BY year"
        )
    }
}

/// The tables of orders and of their lines among these.
pub(super) fn sales_tables(tables: &[Listed]) -> Option<(&Listed, &Listed)> {
    Some((among(tables, ORDERS)?, among(tables, LINES)?))
}

/// A table that `list_tables` named.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    /// How many rows it has, if the tool said so.
    pub(super) rows: Option<u64>,
    /// Its columns, if the tool named them.
    pub(super) columns: Option<Vec<String>>,
}

/// Reads what `list_tables` returned; `Err` is its text when it named no table.
pub(super) fn listed(reading: Reading) -> Result<Vec<Listed>, String> {
    let tables: Vec<Listed> = match reading {
        Reading::Problem(text) => return Err(text),
        Reading::Json(value) => {
            let list = value.get("tables").unwrap_or(&value).as_array();
            list.into_iter().flatten().filter_map(table).collect()
        }
        Reading::Rows(table) => table
            .rows
            .iter()
            .filter_map(|row| {
                let name = row.iter().find_map(|cell| cell.as_str())?;
                Some(Listed {
                    name: name.to_owned(),
                    rows: row.iter().find_map(Value::as_u64),
                    columns: None,
                })
            })
            .collect(),
    };
    if tables.is_empty() {
        Err("There are no tables.".to_owned())
    } else {
        Ok(tables)
    }
}

/// Reads the columns that `describe_table` returned; `Err` is its text when it named none.
pub(super) fn described(reading: Reading) -> Result<Vec<String>, String> {
    match reading {
        Reading::Problem(text) => Err(text),
        Reading::Json(value) => {
            let list = value.get("columns").unwrap_or(&value).as_array();
            let columns: Vec<String> = list.into_iter().flatten().filter_map(name_of).collect();
            if columns.is_empty() {
                Err(value.to_string())
            } else {
                Ok(columns)
            }
        }
        // An array of objects, one a column.
        Reading::Rows(table) => {
            let at = table
                .columns
                .iter()
                .position(|column| column == "name")
                .unwrap_or(0);
            let name = |row: &Vec<Value>| row.get(at).and_then(Value::as_str).map(str::to_owned);
            Ok(table.rows.iter().filter_map(name).collect())
        }
    }
}

/// A name as SQL: as it stands if it is a plain word, else in quotes.
pub(super) fn quoted(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && !name.eq_ignore_ascii_case("order") {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn table(value: &Value) -> Option<Listed> {
    let rows = ["rows", "row_count", "count"]
        .iter()
        .find_map(|key| value.get(key)?.as_u64());
    let columns = value.get("columns").and_then(Value::as_array);
    let columns = columns.map(|columns| columns.iter().filter_map(name_of).collect());
    Some(Listed {
        name: name_of(value)?,
        rows,
        columns,
    })
}

fn among<'a>(tables: &'a [Listed], names: &[&str]) -> Option<&'a Listed> {
    names
        .iter()
        .find_map(|name| tables.iter().find(|table| normal(&table.name) == *name))
}

fn likeliest<'a>(columns: &'a [String], words: &[&str]) -> Option<&'a str> {
    let find = |word: &&str| columns.iter().find(|column| normal(column).contains(*word));
    words.iter().find_map(find).map(String::as_str)
}

/// Without case and punctuation: `Order Details` and `order_details` are the same.
fn normal(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_table_without_prices_is_no_table_of_lines() {
        let orders = columns(&["id", "order_date"]);
        let lines = columns(&["order_id", "quantity"]);
        assert_eq!(
            SalesSchema::find(("orders", &orders), ("order_items", &lines)),
            None
        );
    }

    #[test]
    fn microsofts_northwind_is_understood() {
        let list = Reading::Json(json!({"tables": ["Customers", "Order Details", "Orders"]}));
        let tables = listed(list).unwrap();
        let (orders, lines) = sales_tables(&tables).unwrap();
        let (orders, lines) = (orders.name.as_str(), lines.name.as_str());
        assert_eq!((orders, lines), ("Orders", "Order Details"));
        let schema = SalesSchema::find(
            (
                orders,
                &columns(&["OrderID", "CustomerID", "OrderDate", "ShippedDate"]),
            ),
            (
                lines,
                &columns(&["OrderID", "ProductID", "UnitPrice", "Quantity", "Discount"]),
            ),
        )
        .unwrap();
        let sql = schema.sales_by_year();
        assert!(
            sql.contains("JOIN \"Order Details\" AS d ON d.OrderID = o.OrderID"),
            "{sql}"
        );
        assert!(
            sql.contains("d.UnitPrice * d.Quantity * (1 - d.Discount)"),
            "{sql}"
        );
    }

    #[test]
    fn lists_and_descriptions_are_read_in_each_usual_shape() {
        let expected = vec![Listed {
            name: "a".into(),
            rows: Some(3),
            columns: None,
        }];
        for text in [
            r#"{"tables": [{"name": "a", "rows": 3}]}"#,
            r#"[{"name": "a", "row_count": 3}]"#,
            r#"{"columns": ["name", "rows"], "rows": [["a", 3]]}"#,
        ] {
            assert_eq!(listed(Reading::of(text)).unwrap(), expected, "{text}");
        }
        assert!(listed(Reading::of(r#"{"tables": []}"#)).is_err());
        assert!(listed(Reading::of("Not run: denied")).is_err());
        for text in [
            r#"{"table": "t", "columns": [{"name": "x", "type": "TEXT"}]}"#,
            r#"{"columns": ["x"]}"#,
            r#"[{"cid": 0, "name": "x", "type": "TEXT"}]"#,
        ] {
            assert_eq!(described(Reading::of(text)).unwrap(), ["x"], "{text}");
        }
    }
}
