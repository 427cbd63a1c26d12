//! What was checked, and how it is told: a line as soon as a check is done.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use serde::Serialize;

/// What a check belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Group {
    /// Toolgate's own settings.
    Settings,
    /// The proxy in front of it.
    Pomerium,
    /// The MCP servers.
    Servers,
    /// The model endpoint.
    Model,
    /// Pomerium's configuration file.
    Routes,
}

impl Group {
    fn title(self) -> &'static str {
        match self {
            Self::Settings => "Settings",
            Self::Pomerium => "Pomerium",
            Self::Servers => "Servers",
            Self::Model => "Model",
            Self::Routes => "Routes",
        }
    }
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not as well, or not for long.
    Warn,
    /// It does not work.
    Fail,
    /// Not looked at, for want of something.
    Skipped,
}

impl Verdict {
    fn mark(self) -> &'static str {
        match self {
            Self::Ok => "✓ ok     ",
            Self::Warn => "! warn   ",
            Self::Fail => "✗ FAIL   ",
            Self::Skipped => "- skipped",
        }
    }

    /// Its colour, as an ANSI escape (ECMA-48 SGR).
    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "\u{1b}[32m",
            Self::Warn => "\u{1b}[33m",
            Self::Fail => "\u{1b}[31m",
            Self::Skipped => "\u{1b}[2m",
        }
    }
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What it belongs to.
    pub(crate) group: Group,
    /// Its name for programs; the same in each version.
    pub(crate) id: &'static str,
    /// How it came out.
    pub(crate) verdict: Verdict,
    /// What was checked and found, one sentence.
    pub(crate) what: String,
    /// What to do: names the key, file or command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<String>,
}

impl Check {
    /// A check that found nothing wrong.
    pub(crate) fn ok(group: Group, id: &'static str, what: impl Into<String>) -> Self {
        Self {
            group,
            id,
            verdict: Verdict::Ok,
            what: what.into(),
            mend: None,
        }
    }

    /// Something that works, and could be better.
    pub(crate) fn warn(group: Group, id: &'static str, what: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warn,
            ..Self::ok(group, id, what)
        }
    }

    /// Something that does not work.
    pub(crate) fn fail(group: Group, id: &'static str, what: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            ..Self::ok(group, id, what)
        }
    }

    /// Something that could not be looked at.
    pub(crate) fn skipped(group: Group, id: &'static str, what: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Skipped,
            ..Self::ok(group, id, what)
        }
    }

    /// The same check, and what to do about it.
    #[must_use]
    pub(crate) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

/// In which form the report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people, in colours.
    Coloured,
    /// For people.
    Plain,
    /// For programs: one JSON object a line.
    Json,
}

/// The report as it grows. Who reads it may go away: that ends nothing.
pub(crate) struct Report {
    form: Form,
    out: Box<dyn Write + Send>,
    group: Option<Group>,
    tally: Tally,
}

/// How many checks came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Fine.
    pub(crate) ok: usize,
    /// Warnings.
    pub(crate) warn: usize,
    /// Failures.
    pub(crate) fail: usize,
    /// Not looked at.
    pub(crate) skipped: usize,
}

impl Report {
    /// A report that is written to `out`.
    pub(crate) fn new(form: Form, out: Box<dyn Write + Send>) -> Self {
        Self {
            form,
            out,
            group: None,
            tally: Tally::default(),
        }
    }

    /// Writes a check down.
    pub(crate) fn add(&mut self, check: &Check) {
        match check.verdict {
            Verdict::Ok => self.tally.ok += 1,
            Verdict::Warn => self.tally.warn += 1,
            Verdict::Fail => self.tally.fail += 1,
            Verdict::Skipped => self.tally.skipped += 1,
        }
        let text = match self.form {
            Form::Json => json_line(check),
            Form::Plain | Form::Coloured => self.lines(check),
        };
        let _reader_gone = self.write(&text);
    }

    /// Writes several down.
    pub(crate) fn extend(&mut self, checks: impl IntoIterator<Item = Check>) {
        for check in checks {
            self.add(&check);
        }
    }

    /// Writes the last line, and says how it all came out.
    pub(crate) fn finish(mut self) -> Tally {
        let Tally {
            ok,
            warn,
            fail,
            skipped,
        } = self.tally;
        let text = match self.form {
            Form::Json => json_line(&serde_json::json!({ "summary": self.tally })),
            Form::Plain | Form::Coloured => {
                format!("\n{ok} ok, {warn} to look at, {fail} failed, {skipped} skipped\n")
            }
        };
        let _reader_gone = self.write(&text);
        self.tally
    }

    fn lines(&mut self, check: &Check) -> String {
        let mut text = String::new();
        if self.group != Some(check.group) {
            let gap = if self.group.is_some() { "\n" } else { "" };
            self.group = Some(check.group);
            let _infallible = writeln!(text, "{gap}{}", check.group.title());
        }
        let (colour, end) = match self.form {
            Form::Coloured => (check.verdict.colour(), "\u{1b}[0m"),
            Form::Plain | Form::Json => ("", ""),
        };
        let (mark, what) = (check.verdict.mark(), printable(&check.what));
        let _infallible = writeln!(text, "  {colour}{mark}{end}  {what}");
        if let Some(mend) = &check.mend {
            let word = match check.verdict {
                Verdict::Warn | Verdict::Fail => "mend",
                Verdict::Ok | Verdict::Skipped => "hint",
            };
            let _infallible = writeln!(text, "               {word}: {}", printable(mend));
        }
        text
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// On one line, and without what a terminal would obey: others' words may be in it.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn json_line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(form: Form, checks: &[Check]) -> (String, Tally) {
        let paper = Paper::default();
        let mut report = Report::new(form, Box::new(paper.clone()));
        report.extend(checks.iter().cloned());
        let tally = report.finish();
        let bytes = paper.0.lock().unwrap().clone();
        (String::from_utf8(bytes).unwrap(), tally)
    }

    fn checks() -> Vec<Check> {
        vec![
            Check::fail(Group::Settings, "a", "line\u{1b}[2J one\nline two").mend("set A=1"),
            Check::ok(Group::Settings, "b", "fine"),
            Check::skipped(Group::Model, "c", "no model").mend("set B=1"),
        ]
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        let (text, _) = written(Form::Plain, &checks());
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("line [2J one line two\n"), "{text}");
    }

    #[test]
    fn groups_words_and_mends_stand_where_people_look() {
        let (text, tally) = written(Form::Plain, &checks());
        assert_eq!(
            text,
            "\
Settings
  ✗ FAIL     line [2J one line two
               mend: set A=1
  ✓ ok       fine

Model
  - skipped  no model
               hint: set B=1

1 ok, 0 to look at, 1 failed, 1 skipped
"
        );
        assert_eq!((tally.ok, tally.fail, tally.skipped), (1, 1, 1));
    }

    #[test]
    fn programs_get_a_json_object_a_line() {
        let (text, _) = written(Form::Json, &checks());
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["verdict"], "fail");
        assert_eq!(lines[0]["mend"], "set A=1");
        assert_eq!(lines[3]["summary"]["ok"], 1);
    }

    #[test]
    fn colours_only_when_asked_for() {
        let (text, _) = written(Form::Coloured, &checks());
        assert!(text.contains("\u{1b}[31m✗ FAIL"), "{text:?}");
    }
}
