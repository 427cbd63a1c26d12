//! Reading a policy from the configuration.

use serde_json::Value;

use super::{Block, Criterion, Operator, Policy, StringMatcher, StringTest};
use crate::pomerium::config::{ConfigError, Table};

/// Reads the `policy` of a route: one rule object or a list of them.
pub(in crate::pomerium) fn read(at: &str, value: &Value) -> Result<Policy, ConfigError> {
    let mut policy = Policy::default();
    for (at, rule) in one_or_many(at, value) {
        let rule = Table::of(&at, rule)?;
        rule.only(&["allow", "deny"])?;
        for (action, blocks) in [("allow", &mut policy.allow), ("deny", &mut policy.deny)] {
            if let Some(block) = rule.table(action)? {
                blocks.extend(read_blocks(&block)?);
            }
        }
    }
    Ok(policy)
}

fn one_or_many<'a>(at: &str, value: &'a Value) -> Vec<(String, &'a Value)> {
    match value.as_array() {
        Some(list) => list
            .iter()
            .enumerate()
            .map(|(index, rule)| (format!("{at}[{index}]"), rule))
            .collect(),
        None => vec![(at.to_owned(), value)],
    }
}

fn read_blocks(table: &Table<'_>) -> Result<Vec<Block>, ConfigError> {
    const OPERATORS: [(&str, Operator); 4] = [
        ("and", Operator::And),
        ("or", Operator::Or),
        ("not", Operator::Not),
        ("nor", Operator::Nor),
    ];
    table.only(&OPERATORS.map(|(name, _)| name))?;
    let mut blocks = Vec::new();
    for (name, operator) in OPERATORS {
        let Some((at, value)) = table.value(name) else {
            continue;
        };
        let list = value
            .as_array()
            .ok_or_else(|| ConfigError::new(&at, "must be a list of criteria"))?;
        let criteria = list
            .iter()
            .enumerate()
            .map(|(index, one)| read_criterion(&Table::of(&format!("{at}[{index}]"), one)?))
            .collect::<Result<Vec<_>, _>>()?;
        // An empty block is no rule, neither true nor false.
        if !criteria.is_empty() {
            blocks.push(Block { operator, criteria });
        }
    }
    Ok(blocks)
}

fn read_criterion(table: &Table<'_>) -> Result<Criterion, ConfigError> {
    table.only(&[
        "accept",
        "authenticated_user",
        "domain",
        "email",
        "mcp_tool",
    ])?;
    let (name, at, value) = table.single("criterion")?;
    match name {
        "accept" => Ok(Criterion::Accept),
        "authenticated_user" => Ok(Criterion::AuthenticatedUser),
        "domain" => read_matcher(&at, value).map(Criterion::Domain),
        "email" => read_matcher(&at, value).map(Criterion::Email),
        _ => read_matcher(&at, value).map(Criterion::McpTool),
    }
}

/// A bare string means `is`.
fn read_matcher(at: &str, value: &Value) -> Result<StringMatcher, ConfigError> {
    if let Some(text) = value.as_str() {
        return Ok(StringMatcher(vec![StringTest::Is(text.to_owned())]));
    }
    let table = Table::of(at, value)?;
    table.only(&["is", "starts_with", "ends_with", "contains", "in", "not_in"])?;
    let mut tests = Vec::new();
    for (name, test) in [
        ("is", StringTest::Is as fn(String) -> StringTest),
        ("starts_with", StringTest::StartsWith),
        ("ends_with", StringTest::EndsWith),
        ("contains", StringTest::Contains),
    ] {
        tests.extend(table.text(name)?.map(|text| test(text.to_owned())));
    }
    for (name, test) in [
        ("in", StringTest::In as fn(Vec<String>) -> StringTest),
        ("not_in", StringTest::NotIn),
    ] {
        tests.extend(table.texts(name)?.map(test));
    }
    if tests.is_empty() {
        return Err(ConfigError::new(at, "names no test"));
    }
    Ok(StringMatcher(tests))
}
