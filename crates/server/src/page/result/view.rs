//! A result as HTML: its tables, its content, and all of it as JSON.

use askama::Template;
use chat::shape::table::{Table, documents, tables};
use serde_json::{Map, Value, json};

use super::{
    super::{call::table_size, render, visible},
    asked::{Asked, Direction, Drawn, Format, Of, Sort},
    blocks::{Block, blocks},
    chart::{self, Chart, Drawing, Place},
    rows::{Cell, Kind, Rows},
    tree,
};

/// Rows of a table that are sent at once.
const ROWS: usize = 200;

/// Cells of all tables that are sent at once: a browser lays them out while somebody waits.
const CELLS: usize = 20_000;

/// Everything about a result.
#[derive(Template)]
#[template(path = "result.html")]
struct Whole {
    id: String,
    tables: Vec<String>,
    /// The structured content, or what it has beside its tables.
    structured: Option<String>,
    blocks: Vec<Block>,
    left_out: usize,
    is_empty: bool,
    /// All of it as a tree.
    tree: String,
    /// The tree is what was asked for.
    tree_first: bool,
    json: String,
}

/// A table with what can be done to it.
#[derive(Template)]
#[template(path = "result_table.html")]
struct TableView {
    id: String,
    page: String,
    index: usize,
    name: String,
    /// The server gave it its name.
    is_named: bool,
    rows: usize,
    /// Rows and columns, in words.
    size: String,
    csv: String,
    view: View,
    as_table: String,
    /// None where there is nothing to draw.
    as_chart: Option<String>,
}

enum View {
    Rows(RowsView),
    Chart(ChartView),
}

struct RowsView {
    heads: Vec<Head>,
    rows: Vec<Vec<Cell>>,
    /// The first row that is on the page, and the one after the last.
    first: usize,
    last: usize,
    before: Option<String>,
    more: Option<(usize, String)>,
}

/// The head of a column.
struct Head {
    name: String,
    class: &'static str,
    /// For `aria-sort`.
    sorted: Option<&'static str>,
    arrow: &'static str,
    link: String,
}

struct ChartView {
    svg: String,
    file: String,
    /// What a reader has to know about the numbers.
    notes: Vec<String>,
    is_line: bool,
    sort: Option<Sort>,
    labels: Vec<Choice>,
    /// Columns that can have a line for each of their values.
    splits: Vec<Choice>,
    numbers: Vec<Choice>,
}

/// A column that can be chosen.
struct Choice {
    column: usize,
    name: String,
    is_chosen: bool,
}

/// The result (MCP `CallToolResult`), as it was asked for.
pub(super) fn whole(of: Of<'_>, raw: &Value, asked: &Asked) -> String {
    let documents = documents(raw);
    let tables = tables(&documents);
    let (blocks, left_out) = blocks(of, raw, &tables);
    let beside = beside(raw, &tables);
    let is_table = tables.iter().any(|table| table.block.is_none());
    let there = raw.get("structuredContent").is_some_and(|it| !it.is_null());
    let structured = match &beside {
        Some(beside) => Some(beside),
        None => (there && !is_table).then_some(raw),
    };
    let path = asked.path.as_deref();
    let part = path.and_then(|path| tree::entries(of, raw, path, asked.from));
    let tree_first = part.is_some();
    let most = CELLS / tables.len().max(1);
    let tree = part.unwrap_or_else(|| tree::whole(of, raw));
    render(&Whole {
        id: of.id(),
        is_empty: tables.is_empty() && structured.is_none() && blocks.is_empty(),
        tables: (0..tables.len())
            .map(|index| table_of(of, &tables, &asked.of_table(index), most))
            .collect(),
        structured: structured.map(|holder| structured_tree(of, holder)),
        blocks,
        left_out,
        tree: render(&tree),
        tree_first,
        json: of.json(),
    })
}

/// One table of the result; none if there is no such table.
pub(super) fn table(of: Of<'_>, raw: &Value, asked: &Asked) -> Option<String> {
    let documents = documents(raw);
    let tables = tables(&documents);
    (asked.table < tables.len()).then(|| table_of(of, &tables, asked, CELLS))
}

/// Entries of the JSON; none if there are none.
pub(super) fn entries(of: Of<'_>, raw: &Value, asked: &Asked) -> Option<String> {
    let path = asked.path.as_deref()?;
    let tree = tree::entries(of, raw, path, asked.from)?;
    Some(render(&tree))
}

/// The fields of structured content that are in none of its tables, held as a result holds them;
/// none if there are none.
fn beside(raw: &Value, tables: &[Table<'_>]) -> Option<Value> {
    let structured = raw.get("structuredContent")?.as_object()?;
    let of_structured = || tables.iter().filter(|table| table.block.is_none());
    of_structured().next()?;
    let is_table = |field: &str| {
        of_structured().any(|table| match table.name.as_str() {
            "" => matches!(field, "columns" | "rows"),
            name => name == field,
        })
    };
    let fields = structured.iter().filter(|(name, _)| !is_table(name));
    let fields: Map<_, _> = fields
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    (!fields.is_empty()).then(|| json!({ "structuredContent": fields }))
}

/// The structured content as a tree, whose links lead into the whole result.
fn structured_tree(of: Of<'_>, holder: &Value) -> String {
    let entries = tree::entries(of, holder, "/structuredContent", 0);
    let value = holder.get("structuredContent").unwrap_or(holder);
    render(&entries.unwrap_or_else(|| tree::whole(of, value)))
}

/// A table with at most so many cells.
fn table_of(of: Of<'_>, tables: &[Table<'_>], asked: &Asked, cells: usize) -> String {
    let Some(table) = tables.get(asked.table) else {
        return String::new();
    };
    let rows = Rows::new(table, asked.sort);
    let id = format!("{}-t{}", of.id(), asked.table);
    let plain = Asked {
        table: asked.table,
        sort: asked.sort,
        ..Asked::default()
    };
    let drawn = Asked {
        chart: Some(Drawn::default()),
        ..plain.clone()
    };
    let chart = asked.chart.as_ref().and_then(|drawn| {
        let chart = Chart::of(&rows, drawn)?;
        Some(View::Chart(chart_view(of, &rows, asked, &chart)))
    });
    let can_be_drawn = chart.is_some() || Chart::of(&rows, &Drawn::default()).is_some();
    let csv = Asked {
        format: Some(Format::Csv),
        ..plain.clone()
    };
    render(&TableView {
        page: of.page(),
        index: asked.table,
        is_named: !table.name.is_empty(),
        name: if table.name.is_empty() {
            "Rows".to_owned()
        } else {
            visible(&table.name)
        },
        rows: rows.len(),
        size: table_size(rows.len(), table.columns.len()),
        csv: csv.link(of),
        as_chart: can_be_drawn.then(|| drawn.link(of)),
        as_table: plain.link(of),
        view: chart.unwrap_or_else(|| View::Rows(rows_view(of, &rows, asked, cells))),
        id,
    })
}

fn rows_view(of: Of<'_>, rows: &Rows<'_>, asked: &Asked, cells: usize) -> RowsView {
    let most = (cells / rows.kinds.len().max(1)).clamp(1, ROWS);
    let from_row = asked.from.min(rows.len());
    let last = from_row.saturating_add(most).min(rows.len());
    // Where rows are added to others, those count too.
    let first = asked.first.map_or(from_row, |first| first.min(from_row));
    let from = |from| Asked {
        from,
        ..asked.clone()
    };
    RowsView {
        heads: (0..rows.kinds.len())
            .map(|column| head(of, rows, asked, column))
            .collect(),
        rows: (from_row..last).map(|row| rows.shown(row)).collect(),
        first,
        last,
        before: (first > 0).then(|| from(first.saturating_sub(most)).link(of)),
        more: (last < rows.len()).then(|| (most.min(rows.len() - last), from(last).link(of))),
    }
}

/// Sorted by its link: the smallest first, then the largest, then as the server sent it.
fn head(of: Of<'_>, rows: &Rows<'_>, asked: &Asked, column: usize) -> Head {
    let sorted = asked.sort.filter(|sort| sort.column == column);
    let (next, sorted, arrow) = match sorted.map(|sort| sort.direction) {
        None => (Some(Direction::Ascending), None, ""),
        Some(Direction::Ascending) => (Some(Direction::Descending), Some("ascending"), "▲"),
        Some(Direction::Descending) => (None, Some("descending"), "▼"),
    };
    let link = Asked {
        table: asked.table,
        sort: next.map(|direction| Sort { column, direction }),
        ..Asked::default()
    };
    Head {
        name: rows.name(column),
        class: match rows.kind(column) {
            Some(Kind::Number) => "number",
            Some(Kind::Date | Kind::Text) | None => "",
        },
        sorted,
        arrow,
        link: link.link(of),
    }
}

fn chart_view(of: Of<'_>, rows: &Rows<'_>, asked: &Asked, chart: &Chart) -> ChartView {
    let id = format!("{}-c{}", of.id(), asked.table);
    let choice = |column, is_chosen| Choice {
        column,
        name: rows.name(column),
        is_chosen,
    };
    let columns = &chart.columns;
    let labels = chart::labels(rows);
    let splits = labels.iter().filter(|column| **column != columns.x);
    let file = Asked {
        format: Some(Format::Svg),
        from: 0,
        ..asked.clone()
    };
    ChartView {
        svg: render(&Drawing::of(chart, &id, Place::Page)),
        file: file.link(of),
        notes: chart.notes.clone(),
        is_line: chart.whens.is_some(),
        sort: asked.sort,
        splits: splits
            .map(|column| choice(*column, columns.by == Some(*column)))
            .collect(),
        labels: labels
            .iter()
            .map(|column| choice(*column, *column == columns.x))
            .collect(),
        numbers: chart::numbers(rows)
            .into_iter()
            .map(|column| choice(column, columns.y.contains(&column)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use chat::ids::{CallId, TurnId};

    use super::*;

    fn with<T>(use_it: impl FnOnce(Of<'_>) -> T) -> T {
        let turn = TurnId::from("t");
        use_it(Of {
            turn: &turn,
            call: CallId(1),
        })
    }

    #[test]
    fn many_wide_tables_have_few_rows_on_a_page() {
        let columns: Vec<_> = (0..100).map(|n| format!("c{n}")).collect();
        let table = json!({ "columns": columns, "rows": vec![json!([]); 200] });
        let tables: serde_json::Map<_, _> =
            (0..8).map(|n| (format!("t{n}"), table.clone())).collect();
        let raw = json!({ "structuredContent": tables });
        let page = with(|of| whole(of, &raw, &Asked::default()));
        assert!(page.matches("<td").count() <= CELLS, "{}", page.len());
        assert!(page.contains("Rows 1 to 25 of 200"));
        let one = with(|of| super::table(of, &raw, &Asked::read("table=3&from=25"))).unwrap();
        assert!(one.contains("Rows 26 to 200 of 200"), "{one}");
    }

    #[test]
    fn rows_that_are_added_are_counted_with_those_that_are_there() {
        let rows: Vec<_> = (0..450).map(|n| json!([n])).collect();
        let raw = json!({ "structuredContent": { "columns": ["n"], "rows": rows } });
        let pager = |query| {
            let html = with(|of| super::table(of, &raw, &Asked::read(query))).unwrap();
            let (_, pager) = html.split_once("role=\"status\"").unwrap();
            pager.split_once("</p>").unwrap().0.to_owned()
        };
        let next = pager("table=0&from=200");
        assert!(next.contains("Rows 201 to 400 of 450") && next.contains("Show the rows before"));
        let added = pager("table=0&from=200&first=0");
        assert!(added.contains("Rows 1 to 400 of 450"), "{added}");
        assert!(
            !added.contains("before") && added.contains("Show 50 more"),
            "{added}"
        );
        // Also when all of them are there.
        assert!(pager("table=0&from=400&first=0").contains("Rows 1 to 450 of 450"));
        assert!(pager("table=0&from=400&first=200").contains("Show the rows before"));
    }

    #[test]
    fn what_is_beside_tables_is_there_too() {
        let rows = json!([{ "a": 1 }]);
        for (structured, left) in [
            (json!(null), None),
            (json!({ "note": "no table" }), None),
            (json!({ "rows": rows }), None),
            (json!(rows), None),
            (json!({ "columns": ["a"], "rows": [[1]] }), None),
            (
                json!({ "orders": rows, "customers": rows, "note": "hello", "total": 3 }),
                Some(json!({ "note": "hello", "total": 3 })),
            ),
            (
                json!({ "columns": ["a"], "rows": [[1]], "truncated": true }),
                Some(json!({ "truncated": true })),
            ),
        ] {
            let raw = json!({ "structuredContent": structured });
            let documents = documents(&raw);
            let held = left.map(|left| json!({ "structuredContent": left }));
            assert_eq!(beside(&raw, &tables(&documents)), held, "{raw}");
        }
    }
}
