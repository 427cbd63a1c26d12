//! What is asked of a result: the query of its links and forms.

use chat::ids::{CallId, TurnId};
use url::form_urlencoded;

/// Bytes of a path into JSON: as deep as it nests, with keys that somebody reads.
const POINTER_BYTES: usize = 8 * 1024;

/// Columns that one chart draws at most: more cannot be told apart.
pub(super) const SERIES: usize = 4;

/// A call's result, as its URLs name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    pub(super) turn: &'a TurnId,
    pub(super) call: CallId,
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// A piece of HTML for a page that is there; none for a page.
    pub(super) part: Option<Part>,
    /// The table that the rest is about, from 0.
    pub(super) table: usize,
    pub(super) sort: Option<Sort>,
    /// The first row, or entry of JSON, to be shown.
    pub(super) from: usize,
    /// The first row that stays where the rows are added.
    pub(super) first: Option<usize>,
    /// The table is to be drawn.
    pub(super) chart: Option<Drawn>,
    pub(super) format: Option<Format>,
    /// The JSON pointer (RFC 6901) to what of the JSON is to be shown.
    pub(super) path: Option<String>,
}

/// A piece of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything about the result.
    Whole,
    /// One table.
    Table,
    /// Entries of the JSON.
    Tree,
}

/// By which column rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) column: usize,
    pub(super) direction: Direction,
}

/// The smallest first, or the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

/// Which columns are drawn; what is not said is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) x: Option<usize>,
    pub(super) by: By,
    pub(super) y: Vec<usize>,
}

/// What each line, or each colour of bars, is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum By {
    /// What suits the rows.
    #[default]
    Chosen,
    /// A column of numbers.
    Nothing,
    /// A value of this column.
    Column(usize),
}

/// A file instead of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Svg,
}

impl Asked {
    /// Reads a query. What makes no sense in it is passed over.
    pub(super) fn read(query: &str) -> Self {
        let mut asked = Self::default();
        let mut drawn = Drawn::default();
        let (mut column, mut direction) = (None, Direction::Ascending);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = value.parse().ok();
            match (&*key, &*value) {
                ("part", "table") => asked.part = Some(Part::Table),
                ("part", "tree") => asked.part = Some(Part::Tree),
                ("part", _) => asked.part = Some(Part::Whole),
                ("view", "chart") => asked.chart = Some(Drawn::default()),
                ("format", "csv") => asked.format = Some(Format::Csv),
                ("format", "svg") => asked.format = Some(Format::Svg),
                ("dir", "desc") => direction = Direction::Descending,
                ("table", _) => asked.table = number.unwrap_or_default(),
                ("first", _) => asked.first = number,
                ("from", _) => asked.from = number.unwrap_or_default(),
                ("sort", _) => column = number,
                ("x", _) => drawn.x = number,
                ("by", _) => drawn.by = number.map_or(By::Nothing, By::Column),
                ("y", _) if drawn.y.len() < SERIES => drawn.y.extend(number),
                ("path", path) if path.len() <= POINTER_BYTES => {
                    asked.path = Some(path.to_owned());
                }
                _ => {}
            }
        }
        asked.sort = column.map(|column| Sort { column, direction });
        if let Some(chart) = &mut asked.chart {
            *chart = drawn;
        }
        asked
    }

    /// What is asked of this table.
    pub(super) fn of_table(&self, table: usize) -> Self {
        if self.table == table {
            return self.clone();
        }
        Self {
            table,
            ..Self::default()
        }
    }

    /// The link that asks for the same as a page.
    pub(super) fn link(&self, of: Of<'_>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(path) = &self.path {
            query.append_pair("path", path);
        } else {
            query.append_pair("table", &self.table.to_string());
        }
        if let Some(Sort { column, direction }) = self.sort {
            query.append_pair("sort", &column.to_string());
            if direction == Direction::Descending {
                query.append_pair("dir", "desc");
            }
        }
        if self.from > 0 {
            query.append_pair("from", &self.from.to_string());
        }
        if let Some(Drawn { x, by, y }) = &self.chart {
            query.append_pair("view", "chart");
            x.map(|x| query.append_pair("x", &x.to_string()));
            match by {
                By::Chosen => {}
                By::Nothing => drop(query.append_pair("by", "")),
                By::Column(by) => drop(query.append_pair("by", &by.to_string())),
            }
            for y in y {
                query.append_pair("y", &y.to_string());
            }
        }
        match self.format {
            Some(Format::Csv) => drop(query.append_pair("format", "csv")),
            Some(Format::Svg) => drop(query.append_pair("format", "svg")),
            None => {}
        }
        format!("{}?{}", of.page(), query.finish())
    }
}

impl Of<'_> {
    /// The page of the result.
    pub(super) fn page(self) -> String {
        format!("/calls/{}/{}", self.turn, self.call)
    }

    /// The beginning of the ids of its elements.
    pub(super) fn id(self) -> String {
        format!("result-{}-{}", self.turn, self.call)
    }

    /// A content block of it as a file.
    pub(super) fn file(self, block: usize) -> String {
        format!(
            "/api/turns/{}/calls/{}/content/{block}",
            self.turn, self.call
        )
    }

    /// All of it as JSON.
    pub(super) fn json(self) -> String {
        format!("/api/turns/{}/calls/{}/result", self.turn, self.call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let asked = Asked::read("table=-1&sort=x&from=99999999999999999999999&x=1&view=pie&&=&y");
        assert_eq!(asked, Asked::default());
        let long = format!("path={}", "a".repeat(POINTER_BYTES + 1));
        assert_eq!(Asked::read(&long).path, None);
        let many = "view=chart&y=1".to_owned() + &"&y=2".repeat(100);
        assert_eq!(Asked::read(&many).chart.unwrap().y.len(), SERIES);
    }

    #[test]
    fn a_link_asks_for_what_it_was_made_of() {
        let turn = TurnId::from("t");
        let of = Of {
            turn: &turn,
            call: CallId(3),
        };
        for query in [
            "table=0",
            "table=2&sort=1&dir=desc&from=200",
            "table=0&sort=0&view=chart&x=0&y=1&y=2&format=svg",
            "table=0&view=chart&x=0&by=2",
            "table=0&view=chart&by=&y=1",
            "table=0&format=csv",
            "path=%2Fa%2Fb+c%26d&from=50",
        ] {
            let link = Asked::read(query).link(of);
            assert_eq!(link, format!("/calls/t/3?{query}"));
        }
    }
}
