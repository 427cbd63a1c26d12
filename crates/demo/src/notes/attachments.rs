//! What hangs on notes: a picture, a file, and a link to something that is not sent along, but
//! read when somebody wants it (MCP `resources/read`).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rmcp::model::{CallToolResult, ContentBlock, Resource, ResourceContents};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Account;

const WHITEBOARD: &[u8] = include_bytes!("../../assets/notes/whiteboard.png");
const AGENDA: &[u8] = include_bytes!("../../assets/notes/agenda.pdf");

const MINUTES: &str = include_str!("../../assets/notes/minutes.md");

/// What the minutes are read by.
const MINUTES_URI: &str = "notes://ana/2/minutes.md";

/// Their media type (RFC 7763).
const MARKDOWN: &str = "text/markdown";

/// The answer of `show_attachments`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Shown {
    /// Whose they are.
    account: &'static str,
    /// One for each attachment.
    attachments: Vec<Attachment>,
}

/// Something that hangs on a note.
#[derive(Serialize, JsonSchema)]
struct Attachment {
    /// What it is called.
    name: &'static str,
    /// Its media type.
    kind: &'static str,
    /// Its size.
    bytes: usize,
}

/// All attachments of an account. Only Ana has some.
pub(super) fn of(account: Account) -> CallToolResult {
    let (text, content, attachments) = match account {
        Account::Ana => (
            "The note about the board meeting has 3 attachments.",
            content(),
            attachments(),
        ),
        Account::Ben => ("There are no attachments.", Vec::new(), Vec::new()),
    };
    let shown = Shown {
        account: account.name(),
        attachments,
    };
    let text = ContentBlock::text(text);
    let mut result = CallToolResult::success([vec![text], content].concat());
    result.structured_content = Some(json!(shown));
    result
}

/// The attachments of an account that are read by their URI.
pub(super) fn resources(account: Account) -> Vec<Resource> {
    match account {
        Account::Ana => vec![minutes()],
        Account::Ben => Vec::new(),
    }
}

/// The attachment of the account that has this URI; none if it has none.
pub(super) fn read(account: Account, uri: &str) -> Option<ResourceContents> {
    let mut resources = resources(account).into_iter();
    let found = resources.find(|resource| resource.uri == uri)?;
    Some(ResourceContents::text(MINUTES, found.uri).with_mime_type(MARKDOWN))
}

fn minutes() -> Resource {
    Resource::new(MINUTES_URI, "minutes.md")
        .with_title("Minutes of the last meeting")
        .with_description("Who said what, and what was decided.")
        .with_mime_type(MARKDOWN)
        .with_size(MINUTES.len() as u64)
}

fn attachments() -> Vec<Attachment> {
    let attachment = |name, kind, bytes| Attachment { name, kind, bytes };
    vec![
        attachment("whiteboard.png", "image/png", WHITEBOARD.len()),
        attachment("agenda.pdf", "application/pdf", AGENDA.len()),
        attachment("minutes.md", MARKDOWN, MINUTES.len()),
    ]
}

fn content() -> Vec<ContentBlock> {
    let agenda = ResourceContents::blob(STANDARD.encode(AGENDA), "notes://ana/2/agenda.pdf")
        .with_mime_type("application/pdf");
    vec![
        ContentBlock::image(STANDARD.encode(WHITEBOARD), "image/png"),
        ContentBlock::resource(agenda),
        ContentBlock::resource_link(minutes()),
    ]
}
