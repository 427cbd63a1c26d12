//! The figures, as a table or as JSON.

use std::fmt;

use serde::Serialize;

/// One line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// Without anything between program and endpoint.
    pub(crate) direct: Option<f64>,
    /// Through the bare proxy.
    pub(crate) proxy: Option<f64>,
    /// Through Toolgate.
    pub(crate) toolgate: Option<f64>,
    /// How they compare.
    pub(crate) compared: Option<Compared>,
    /// Where it should get.
    pub(crate) goal: &'static str,
}

/// Toolgate's figure beside another of the same run.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compared {
    /// So many times the proxy's.
    TimesProxy(f64),
    /// So much more than directly.
    Added(f64),
}

impl Row {
    /// A figure of Toolgate's alone.
    pub(crate) fn of(what: impl Into<String>, unit: &'static str, toolgate: f64) -> Self {
        Self {
            what: what.into(),
            unit,
            direct: None,
            proxy: None,
            toolgate: Some(toolgate),
            compared: None,
            goal: "",
        }
    }

    pub(crate) fn goal(self, goal: &'static str) -> Self {
        Self { goal, ..self }
    }

    /// The same of the proxy, to be compared with.
    pub(crate) fn beside_proxy(self, proxy: f64) -> Self {
        let compared = self.toolgate.map(|toolgate| toolgate / proxy);
        Self {
            proxy: Some(proxy),
            compared: compared.map(Compared::TimesProxy),
            ..self
        }
    }

    /// The same of all three, to see what was added.
    pub(crate) fn three(
        what: impl Into<String>,
        unit: &'static str,
        [direct, proxy, toolgate]: [Option<f64>; 3],
    ) -> Self {
        let added = direct
            .zip(toolgate)
            .map(|(direct, toolgate)| toolgate - direct);
        Self {
            what: what.into(),
            unit,
            direct,
            proxy,
            toolgate,
            compared: added.map(Compared::Added),
            goal: "",
        }
    }
}

/// All lines.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, cells: [&str; 7]| {
            let [what, unit, direct, proxy, toolgate, compared, goal] = cells;
            let numbers = format!("{direct:>9} {proxy:>9} {toolgate:>9} {compared:>12}");
            let text = format!("{what:<50} {unit:<8} {numbers}  {goal}");
            writeln!(f, "{}", text.trim_end())
        };
        let head = [
            "", "unit", "direct", "proxy", "Toolgate", "compared", "goal",
        ];
        line(f, head)?;
        for row in &self.rows {
            let compared = match row.compared {
                Some(Compared::TimesProxy(times)) => format!("{times:.2} × proxy"),
                Some(Compared::Added(added)) => format!("{added:+.2}"),
                None => String::new(),
            };
            line(
                f,
                [
                    &row.what,
                    row.unit,
                    &number(row.direct),
                    &number(row.proxy),
                    &number(row.toolgate),
                    &compared,
                    row.goal,
                ],
            )?;
        }
        Ok(())
    }
}

fn number(number: Option<f64>) -> String {
    match number {
        Some(number) if number.abs() >= 100.0 => format!("{number:.0}"),
        Some(number) if number.abs() >= 10.0 => format!("{number:.1}"),
        Some(number) => format!("{number:.2}"),
        None => String::new(),
    }
}
