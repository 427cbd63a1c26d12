//! A model's Markdown as HTML that cannot harm.
//!
//! The text is hostile until proven otherwise: raw HTML is shown, not obeyed; links lead to web
//! and mail addresses only; nothing is loaded from another host, so images become links. The HTML
//! has no style, no script and no id.
//!
//! Text is rendered by top-level block ([`Blocks`]), while it streams and afterwards, so that what
//! was shown once never changes. A link reference definition therefore defines nothing: it is shown
//! as it was written.

mod blocks;

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use comrak::{
    Arena, Node, Options,
    html::{ChildRendering, Context, format_document_with_formatter, format_node_default},
    nodes::{NodeCodeBlock, NodeValue, TableAlignment},
    options::Plugins,
    parse_document,
};

pub(crate) use blocks::{Blocks, Open};

/// The level of the page's own heading above a text.
const HEADING_ABOVE: usize = 2;

/// Bytes of a language's name that are kept: longer is no name.
const LANGUAGE_BYTES: usize = 32;

/// What a block of code is called whose language is not known.
const NO_LANGUAGE: &str = "code";

/// What stands after a block of code.
const CODE_END: &str = "</code></pre></div>";

/// What links may lead to.
const SCHEMES: [&str; 3] = ["http://", "https://", "mailto:"];

/// The headings above a place of a text, by the levels that its writer gave them: none skips a
/// level on the page, whatever the writer skipped.
#[derive(Clone, Debug, Default)]
struct Headings(Vec<u8>);

impl Headings {
    /// Goes on to a heading of this level, and gives the one it has on the page.
    fn enter(&mut self, level: u8) -> usize {
        while self.0.last().is_some_and(|above| *above >= level) {
            self.0.pop();
        }
        self.0.push(level);
        self.level()
    }

    /// The level of the last heading on the page.
    fn level(&self) -> usize {
        (HEADING_ABOVE + self.0.len()).min(6)
    }
}

/// What is known where something is written.
struct Place {
    headings: Headings,
    /// The columns of the table row that were written.
    columns: usize,
}

/// One block as HTML, below the headings before it; gives those at its end.
fn html(source: &str, headings: Headings) -> (String, Headings) {
    let arena = Arena::new();
    let options = options();
    let root = parse(&arena, source, &options);
    let mut html = String::with_capacity(source.len() * 2);
    let plugins = Plugins::default();
    let place = Place {
        headings,
        columns: 0,
    };
    let place = format_document_with_formatter(root, &options, &mut html, &plugins, node, place);
    // Writing to a string cannot fail.
    (html, place.map(|place| place.headings).unwrap_or_default())
}

/// A block of code as HTML, its text in an element of that id.
pub(crate) fn code(language: &str, text: &str, id: &str) -> String {
    let mut html = String::with_capacity(text.len() + text.len() / 8 + 64);
    // Writing to a string cannot fail.
    let _written = open_code(&mut html, language, Some(id));
    let _written = comrak::html::escape(&mut html, text);
    html.push_str(CODE_END);
    html
}

/// The language and the code of a block that is a fenced code block.
pub(crate) fn code_in(source: &str) -> Option<(String, String)> {
    let arena = Arena::new();
    let root = parse(&arena, source, &options());
    let block = root.first_child()?.data();
    if let NodeValue::CodeBlock(code) = &block.value {
        Some((language(code).to_owned(), code.literal.clone()))
    } else {
        None
    }
}

/// Writes text with everything escaped that means something in HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + text.len() / 8);
    // Writing to a string cannot fail.
    let _written = comrak::html::escape(&mut html, text);
    html
}

fn options() -> Options<'static> {
    let mut options = Options::default();
    options.extension.autolink = true;
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.tasklist = true;
    options.render.escape = true;
    options
}

fn parse<'a>(arena: &'a Arena<'a>, source: &str, options: &Options<'_>) -> Node<'a> {
    parse_document(arena, &without_definitions(source), options)
}

/// Escapes lines that would define a link reference, and so vanish. Lines stay lines.
fn without_definitions(source: &str) -> Cow<'_, str> {
    let defines = |line: &str| line.starts_with('[') && line.contains("]:");
    if !source.lines().any(defines) {
        return Cow::Borrowed(source);
    }
    let mut escaped = String::with_capacity(source.len() + 16);
    let mut fence: Option<&str> = None;
    for line in source.split_inclusive('\n') {
        match (fence, fence_of(line)) {
            (None, None) if defines(line) => escaped.push('\\'),
            (None, found) => fence = found,
            (Some(open), Some(close)) if close.starts_with(open) && line.trim() == close => {
                fence = None;
            }
            (Some(_), _) => {}
        }
        escaped.push_str(line);
    }
    Cow::Owned(escaped)
}

/// The marks that open or close a fenced code block at the start of the line.
fn fence_of(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(' ');
    let mark = line
        .chars()
        .next()
        .filter(|mark| matches!(mark, '`' | '~'))?;
    let rest = line.trim_start_matches(mark);
    let marks = line.get(..line.len() - rest.len())?;
    (marks.len() >= 3).then_some(marks)
}

/// Writes a node.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "comrak writes the others well"
)]
#[expect(
    clippy::fn_params_excessive_bools,
    reason = "the signature is comrak's"
)]
fn node(
    context: &mut Context<'_, '_, Place>,
    node: Node<'_>,
    entering: bool,
) -> Result<ChildRendering, fmt::Error> {
    match &node.data().value {
        NodeValue::Heading(heading) => {
            if entering {
                let level = context.user.headings.enter(heading.level);
                context.cr()?;
                write!(context, "<h{level}>")?;
            } else {
                let level = context.user.headings.level();
                write!(context, "</h{level}>")?;
                context.lf()?;
            }
        }
        NodeValue::Link(link) if !is_allowed(&link.url) => {}
        NodeValue::Link(link) if entering => open_link(context, &link.url, "")?,
        NodeValue::Link(_) => context.write_str("</a>")?,
        NodeValue::Image(image) => {
            let links = is_allowed(&image.url) && !is_in_link(node);
            let url = links.then_some(image.url.as_str());
            write_image(context, node, (url, entering))?;
            return Ok(ChildRendering::Plain);
        }
        NodeValue::HtmlBlock(html) => {
            if entering {
                context.cr()?;
                context.write_str("<p class=\"verbatim\">")?;
                context.escape(html.literal.trim_end())?;
                context.write_str("</p>")?;
                context.lf()?;
            }
        }
        NodeValue::CodeBlock(code) => {
            if entering {
                context.cr()?;
                open_code(context, language(code), None)?;
                context.escape(&code.literal)?;
                context.write_str(CODE_END)?;
                context.lf()?;
            }
        }
        NodeValue::TaskItem(item) => {
            write_task(context, (item.symbol.is_some(), entering))?;
        }
        NodeValue::Table(_) if entering => {
            context.cr()?;
            context.write_str(
                "<div class=\"scroll\" role=\"group\" aria-label=\"Table\" tabindex=\"0\">",
            )?;
            context.lf()?;
            return format_node_default(context, node, true);
        }
        NodeValue::Table(_) => {
            format_node_default(context, node, false)?;
            context.write_str("</div>")?;
            context.lf()?;
        }
        NodeValue::TableRow(_) => {
            context.user.columns = 0;
            return format_node_default(context, node, entering);
        }
        NodeValue::TableCell if entering => {
            let class = cell_class(node, context.user.columns);
            context.user.columns += 1;
            write!(context, "<{}{class}>", cell_tag(node))?;
        }
        NodeValue::TableCell => write!(context, "</{}>", cell_tag(node))?,
        _ => return format_node_default(context, node, entering),
    }
    Ok(ChildRendering::HTML)
}

fn is_allowed(url: &str) -> bool {
    SCHEMES.iter().any(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

fn open_link(context: &mut Context<'_, '_, Place>, url: &str, class: &str) -> fmt::Result {
    context.write_str("<a")?;
    context.write_str(class)?;
    context.write_str(" href=\"")?;
    context.escape_href(url)?;
    context.write_str("\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">")
}

/// Writes the start or the end of an item of a list of tasks, with a box that says how it stands.
fn write_task(
    context: &mut Context<'_, '_, Place>,
    (is_done, entering): (bool, bool),
) -> fmt::Result {
    if !entering {
        context.write_str("</li>")?;
        return context.lf();
    }
    let (checked, name) = if is_done {
        (" checked", "Done")
    } else {
        ("", "To do")
    };
    context.cr()?;
    write!(
        context,
        "<li><input type=\"checkbox\"{checked} disabled aria-label=\"{name}\"> "
    )
}

/// Writes the start or the end of an image: a link to it, if it may be one.
fn write_image(
    context: &mut Context<'_, '_, Place>,
    node: Node<'_>,
    (url, entering): (Option<&str>, bool),
) -> fmt::Result {
    match (entering, url) {
        (true, Some(url)) => open_link(context, url, " class=\"image\"")?,
        (true, None) => context.write_str("<span class=\"image\">")?,
        (false, Some(_)) => context.write_str("</a>")?,
        (false, None) => context.write_str("</span>")?,
    }
    if entering && node.first_child().is_none() {
        context.write_str("image")?;
    }
    Ok(())
}

fn is_in_link(node: Node<'_>) -> bool {
    let mut above = node.ancestors().skip(1);
    above.any(|above| matches!(above.data().value, NodeValue::Link(_)))
}

fn cell_tag(cell: Node<'_>) -> &'static str {
    let row = cell.parent();
    if row.is_some_and(|row| matches!(row.data().value, NodeValue::TableRow(true))) {
        "th"
    } else {
        "td"
    }
}

/// The class of a cell in this column of its table.
fn cell_class(cell: Node<'_>, column: usize) -> &'static str {
    let Some(table) = cell.ancestors().nth(2) else {
        return "";
    };
    let table = table.data();
    let NodeValue::Table(table) = &table.value else {
        return "";
    };
    match table.alignments.get(column) {
        Some(TableAlignment::Right) => " class=\"right\"",
        Some(TableAlignment::Center) => " class=\"center\"",
        Some(TableAlignment::Left | TableAlignment::None) | None => "",
    }
}

/// Begins a block of code: its language, a button that copies it, and a part of its own that scrolls.
fn open_code(out: &mut dyn fmt::Write, language: &str, id: Option<&str>) -> fmt::Result {
    let name = if language.is_empty() {
        NO_LANGUAGE
    } else {
        language
    };
    write!(
        out,
        "<div class=\"code\"><p class=\"code-bar\"><span>{name}</span>\
         <button type=\"button\" class=\"quiet\" data-do=\"copy-code\" aria-label=\"Copy the code\">\
         Copy</button></p>\
         <pre role=\"group\" aria-label=\"Code\" tabindex=\"0\"><code"
    )?;
    if let Some(id) = id {
        write!(out, " id=\"{id}\"")?;
    }
    if !language.is_empty() {
        write!(out, " class=\"language-{language}\"")?;
    }
    out.write_str(">")
}

/// The language that a fence names, if it is one that can be a class.
fn language(code: &NodeCodeBlock) -> &str {
    let name = code
        .info
        .split_ascii_whitespace()
        .next()
        .unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+#-_.".contains(&byte);
    if name.len() <= LANGUAGE_BYTES && name.bytes().all(plain) {
        name
    } else {
        ""
    }
}

#[cfg(test)]
mod tests;
