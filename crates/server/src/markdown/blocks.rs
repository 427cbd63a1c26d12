//! Growing Markdown, cut into top-level blocks.
//!
//! Markdown is read line by line, and a block that another one follows can never be reopened
//! (`CommonMark` 0.31, appendix "A parsing strategy"). So of the complete lines all blocks but the
//! last are closed for ever, and each rendered by itself is what it is in the whole.

use comrak::{Arena, nodes::NodeValue};

use super::{Headings, html, language, options, parse};

/// Markdown that grows: its closed blocks are taken out one by one, the open one stays.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// The source from the open block's start on.
    tail: String,
    /// How much of the tail was looked at for closed blocks, bytes.
    looked_at: usize,
    /// The headings above the open block.
    headings: Headings,
}

/// The open block, as far as it can be shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// Rendered.
    Html(String),
    /// A fenced code block without its end: it only grows.
    Code {
        /// The language its fence names, or nothing.
        language: String,
        /// The code so far.
        text: String,
    },
}

impl Blocks {
    /// Adds what came.
    pub(crate) fn push(&mut self, text: &str) {
        self.tail.push_str(text);
    }

    /// Bytes of the open block.
    pub(crate) fn open_bytes(&self) -> usize {
        self.tail.len()
    }

    /// Takes the sources of the blocks that are closed.
    pub(crate) fn take_closed(&mut self) -> Vec<String> {
        let complete = self.tail.rfind('\n').map_or(0, |end| end + 1);
        if complete == self.looked_at {
            return Vec::new();
        }
        let lines = self.tail.get(..complete).unwrap_or_default();
        let cut = cut(lines);
        let mut closed: Vec<String> = cut.blocks.into_iter().map(str::to_owned).collect();
        if !cut.last_is_closed {
            closed.pop();
        }
        let taken: usize = closed.iter().map(String::len).sum();
        self.tail.drain(..taken);
        self.looked_at = complete - taken;
        closed
    }

    /// Takes the sources of all blocks: nothing more will come.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        self.looked_at = 0;
        let tail = std::mem::take(&mut self.tail);
        cut(&tail).blocks.into_iter().map(str::to_owned).collect()
    }

    /// The block that was taken, as HTML: each once and in their order, for the levels of headings.
    pub(crate) fn html(&mut self, source: &str) -> String {
        let (html, headings) = html(source, std::mem::take(&mut self.headings));
        self.headings = headings;
        html
    }

    /// The open block; none while there is nothing of it to show.
    pub(crate) fn open(&self) -> Option<Open> {
        let shown = without_undecided(&self.tail);
        if shown.trim().is_empty() {
            return None;
        }
        open_code(shown).or_else(|| Some(Open::Html(html(shown, self.headings.clone()).0)))
    }
}

/// A text cut into its top-level blocks.
struct Cut<'a> {
    /// The source of each; together they are the text.
    blocks: Vec<&'a str>,
    /// Nothing that follows can belong to the last one.
    last_is_closed: bool,
}

fn cut(text: &str) -> Cut<'_> {
    let arena = Arena::new();
    let root = parse(&arena, text, &options());
    let last_is_closed = root
        .last_child()
        .is_some_and(|last| closes_at_blank_line(&last.data().value) && text.ends_with("\n\n"));
    let mut starts = root
        .children()
        .map(|block| block.data().sourcepos.start.line);
    let mut blocks = Vec::new();
    if starts.next().is_some() {
        let (mut from, mut line, mut at) = (0, 1, 0);
        for start in starts {
            while line < start {
                at += line_bytes(text.get(at..).unwrap_or_default());
                line += 1;
            }
            blocks.extend(text.get(from..at));
            from = at;
        }
        blocks.extend(text.get(from..));
    }
    Cut {
        blocks,
        last_is_closed,
    }
}

/// Whether a blank line ends such a block, whatever follows.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "lists, indented code and HTML can go on"
)]
fn closes_at_blank_line(block: &NodeValue) -> bool {
    match block {
        NodeValue::CodeBlock(code) => code.fenced && code.closed,
        NodeValue::Paragraph
        | NodeValue::Heading(_)
        | NodeValue::BlockQuote
        | NodeValue::Table(_)
        | NodeValue::ThematicBreak => true,
        _ => false,
    }
}

/// Bytes of the first line with its end: `\n`, `\r\n` or `\r`.
fn line_bytes(text: &str) -> usize {
    match text.find(['\n', '\r']) {
        None => text.len(),
        Some(end) if text.get(end..).is_some_and(|rest| rest.starts_with("\r\n")) => end + 2,
        Some(end) => end + 1,
    }
}

/// The text without an unfinished last line that is nothing but marks so far: the `-` after a
/// paragraph can become a list or make the paragraph a heading.
fn without_undecided(text: &str) -> &str {
    let (lines, last) = text.rsplit_once('\n').unwrap_or(("", text));
    let marks = |c: char| c.is_whitespace() || c.is_ascii_digit() || "-=*_#>+|:.)`~<[".contains(c);
    if last.is_empty() || !last.chars().all(marks) {
        return text;
    }
    if lines.is_empty() && !text.starts_with('\n') {
        return "";
    }
    text.get(..=lines.len()).unwrap_or(text)
}

/// The text as an unfinished fenced code block, if it is one.
fn open_code(text: &str) -> Option<Open> {
    let arena = Arena::new();
    let root = parse(&arena, text, &options());
    let block = root.first_child()?;
    if block.next_sibling().is_some() {
        return None;
    }
    let NodeValue::CodeBlock(code) = &block.data().value else {
        return None;
    };
    if !code.fenced || code.closed {
        return None;
    }
    let mut text_so_far = code.literal.clone();
    if !text.ends_with('\n') && text_so_far.ends_with('\n') {
        // The parser ends a line that may go on.
        text_so_far.pop();
    }
    // The fence's own line, still unfinished, is no code and may not name its language yet.
    text.trim_start().contains('\n').then(|| Open::Code {
        language: language(code).to_owned(),
        text: text_so_far,
    })
}
