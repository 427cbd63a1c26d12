//! Questions that make trouble on purpose, and what to say when there is some.

use serde_json::{Map, Value, json};

use super::{
    table::{Reading, quote},
    turn::{Missing, Turn, call_after},
};
use crate::model::reply::{Answer, Call};

/// Steps of the slow query: seconds of work, and no more than a minute, also in a debug build.
const SLOW_STEPS: u64 = 20_000_000;
/// Rows of the large result.
const LARGE_ROWS: u64 = 160;
/// Letters in each of its rows: all together are more than 5 MB.
const LARGE_LETTERS: u64 = 32_000;
/// A row that would do harm on a page that shows it as HTML.
const HOSTILE_SQL: &str = "SELECT '<script>alert(\"result\")</script>' AS \"<b>bold</b>\", \
                           '<img src=x onerror=alert(\"result\")>' AS image";
/// An answer that would do harm on a page that shows it as HTML.
const HOSTILE: &str = r#"Nothing of this may do anything:

<script>alert("text")</script>

<img src="x" onerror="alert('text')"> and <svg onload="alert('text')"></svg>

<iframe src="https://example.com/"></iframe>
<style>body { display: none }</style>
<form action="https://example.com/"><button>Press me</button></form>

- [a link that runs a script](javascript:alert('link'))
- [the same in disguise](JaVaScRiPt&colon;alert('link'))
- [a page in a link](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)
- <a href="vbscript:msgbox(1)" onclick="alert('click')">an old one</a>
- ![a picture that reports back](https://example.com/spy.png?who=you)
- <https://example.com/"onmouseover="alert('auto')>

| `<b>cell</b>` | <script>alert("cell")</script> |
| --- | --- |
| <img src=x onerror=alert(1)> | "></td></table><script>alert("break out")</script> |

```html"><script>alert("info")</script>
</code></pre><script>alert("code")</script>
```

<!-- a comment that never ends
"#;

/// What to say when a call did not do what it should: what it means, and the tool's own words.
pub(super) fn react(problem: &str) -> String {
    let lower = problem.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let meaning = if has(&["denied", "denies", "not approved", "approval"]) {
        "The call was denied, so nothing was done, and I do not try it again."
    } else if has(&["stopped by the user", "cancelled", "canceled"]) {
        "The call was stopped. It may have had an effect, so please check before it is repeated."
    } else if has(&["may or may not", "outcome is unknown"]) {
        "Nobody saw how the call ended: it may or may not have had its effect. I do not repeat \
         it; please check first."
    } else if has(&["no answer in time", "timed out", "timeout"]) {
        "The call took too long."
    } else if has(&[
        "connect their account",
        "token expired",
        "could not be reached",
    ]) {
        "The tool cannot be used at the moment."
    } else if problem.trim().is_empty() {
        return "The tool returned nothing.".to_owned();
    } else {
        "The tool answered with an error."
    };
    format!(
        "{meaning} It was told to me like this:\n\n{}",
        quote(problem)
    )
}

/// A syntax error, its text, and the same without the error.
pub(super) fn broken_query(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let queries: Vec<_> = turn.steps_of("read_query").collect();
    match queries.as_slice() {
        [] => Ok(call_after(
            "I run a query with a mistake in it.",
            [turn.query("SELECT count(* FROM orders")?],
        )),
        [broken] => Ok(call_after(
            format!(
                "That failed, as it should:\n\n{}\n\nA bracket is missing.",
                quote(broken.text())
            ),
            [turn.query("SELECT count(*) AS orders FROM orders")?],
        )),
        [.., repaired] => Ok(Answer::text(counted(
            repaired.reading(),
            "Now it works: orders",
        ))),
    }
}

/// A query that counts for a while.
pub(super) fn slow_query(turn: &Turn<'_>) -> Result<Answer, Missing> {
    match turn.steps_of("read_query").last() {
        None => {
            let sql = format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \
                 {SLOW_STEPS})\nSELECT count(*) AS counted FROM n"
            );
            Ok(call_after(
                "I let the database count. This takes its time.",
                [turn.query(&sql)?],
            ))
        }
        Some(step) => Ok(Answer::text(counted(
            step.reading(),
            "The database has counted. Steps",
        ))),
    }
}

/// A result of 5 MB, unless the server has a limit of its own.
pub(super) fn large_result(turn: &Turn<'_>) -> Result<Answer, Missing> {
    match turn.steps_of("read_query").last() {
        None => {
            let sql = format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \
                 {LARGE_ROWS})\nSELECT i, printf('%.*c', {LARGE_LETTERS}, 'x') AS letters FROM n"
            );
            Ok(call_after(
                "I ask for 5 MB of letters.",
                [turn.query(&sql)?],
            ))
        }
        Some(step) => Ok(Answer::text(format!(
            "I asked for {} letters, and was shown {} bytes. They begin like this:\n\n{}",
            LARGE_ROWS * LARGE_LETTERS,
            step.text().len(),
            quote(step.text().get(..200).unwrap_or(step.text()))
        ))),
    }
}

/// Arguments that break off, and then whole ones.
pub(super) fn arguments_not_json(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let broken = |call: Call| Call {
        arguments: r#"{"sql": "SELECT 1"#.to_owned(),
        ..call
    };
    repaired(turn, "I send arguments that break off.", broken)
}

/// Arguments of the wrong type and with a name the tool does not have, and then proper ones.
pub(super) fn arguments_misfit(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let misfit = |call: Call| {
        let proper: Map<String, Value> = serde_json::from_str(&call.arguments).unwrap_or_default();
        let mut arguments: Map<_, _> = proper
            .into_iter()
            .map(|(key, _)| (key, json!(42)))
            .collect();
        arguments.insert("colour".to_owned(), json!("blue"));
        Call::new(call.name, &Value::Object(arguments))
    };
    repaired(
        turn,
        "I send a number where a text belongs, and something the tool does not know.",
        misfit,
    )
}

fn repaired(
    turn: &Turn<'_>,
    text: &str,
    spoil: impl FnOnce(Call) -> Call,
) -> Result<Answer, Missing> {
    let queries: Vec<_> = turn.steps_of("read_query").collect();
    let proper = turn.query("SELECT 1 AS one");
    match queries.as_slice() {
        [] => Ok(call_after(text, [spoil(proper?)])),
        [refused] => Ok(call_after(
            format!(
                "That was refused, as it should:\n\n{}\n\nNow properly.",
                quote(refused.text())
            ),
            [proper?],
        )),
        [.., last] => Ok(Answer::text(counted(
            last.reading(),
            "Now it works. The answer",
        ))),
    }
}

/// A function that was never offered, beside one that was.
pub(super) fn unknown_function(turn: &Turn<'_>) -> Result<Answer, Missing> {
    const UNKNOWN: &str = "database__drop_everything";
    if let Some(unknown) = turn.steps().iter().find(|step| step.name() == UNKNOWN) {
        return Ok(Answer::text(format!(
            "There is no function `{UNKNOWN}`, and this is what I was told about it:\n\n{}\n\nThe \
             other call of the same round was not affected.",
            quote(unknown.text())
        )));
    }
    let calls = [
        Call::new(UNKNOWN, &json!({"sure": true})),
        turn.list_tables()?,
    ];
    Ok(call_after(
        "I call a function that I was not offered, and one that I was.",
        calls,
    ))
}

/// Hostile text in a result, if there is a tool for it, and in the answer.
#[expect(
    clippy::unnecessary_wraps,
    reason = "all questions have the same signature"
)]
pub(super) fn hostile(turn: &Turn<'_>) -> Result<Answer, Missing> {
    match turn.query(HOSTILE_SQL) {
        Ok(call) if turn.steps().is_empty() => Ok(call_after(
            "First as a result: <script>alert(\"before\")</script>",
            [call],
        )),
        Ok(_) | Err(_) => Ok(Answer::text(HOSTILE)),
    }
}

/// One more call, always.
pub(super) fn endless(turn: &Turn<'_>) -> Result<Answer, Missing> {
    let next = turn.steps().len() + 1;
    let call = turn.query(&format!("SELECT {next} AS round"))?;
    Ok(call_after(format!("Call number {next}."), [call]))
}

fn counted(reading: Reading, what: &str) -> String {
    match reading {
        Reading::Rows(table) => {
            let value = table.single().map(super::table::show).unwrap_or_default();
            format!("{what}: **{value}**.")
        }
        Reading::Problem(problem) => react(&problem),
        Reading::Json(value) => react(&value.to_string()),
    }
}
