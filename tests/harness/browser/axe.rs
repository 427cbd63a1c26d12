//! What people with disabilities would stumble over, as axe-core finds it.

use serde_json::Value;

use super::Tab;

/// axe-core: the rules of WCAG 2.2 A and AA, and best practices.
const AXE: &str = include_str!("../axe/axe.min.js");

/// Runs it over what is displayed now and tells what it found, one line for each place.
const RUN: &str =
    "axe.run(document, { preload: false, resultTypes: ['violations'] }).then((found) =>
  found.violations.flatMap((rule) => rule.nodes.map((node) =>
    `${rule.id}: ${node.target.join(' ')}: ${node.failureSummary.replace(/\\s+/g, ' ')}`)))";

impl Tab {
    /// What axe finds wrong with the page as it is now.
    pub async fn axe(&self) -> Vec<String> {
        self.still().await;
        if self.eval("typeof axe").await != "object" {
            self.eval(&format!("{AXE};0")).await;
        }
        let found = self.eval(RUN).await;
        let Value::Array(found) = found else {
            panic!("axe did not run: {found}");
        };
        let lines = found.iter().map(|line| line.as_str().unwrap_or_default());
        lines.map(str::to_owned).collect()
    }

    /// Fails if axe finds anything wrong with the page as it is now.
    pub async fn assert_accessible(&self, state: &str) {
        let found = self.axe().await;
        assert!(found.is_empty(), "{state}: {found:#?}");
    }
}
