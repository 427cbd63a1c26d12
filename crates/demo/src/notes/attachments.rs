//! What hangs on notes: a picture, a file, and a link to something that is not sent along.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rmcp::model::{CallToolResult, ContentBlock, Resource, ResourceContents};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Account;

const WHITEBOARD: &[u8] = include_bytes!("../../assets/notes/whiteboard.png");
const AGENDA: &[u8] = include_bytes!("../../assets/notes/agenda.pdf");

/// Where the minutes would be, if there were such a meeting.
const MINUTES: &str = "https://minutes.example.com/board/thursday";

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
    /// Its size, if it is here.
    bytes: Option<usize>,
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

fn attachments() -> Vec<Attachment> {
    let attachment = |name, kind, bytes| Attachment { name, kind, bytes };
    vec![
        attachment("whiteboard.png", "image/png", Some(WHITEBOARD.len())),
        attachment("agenda.pdf", "application/pdf", Some(AGENDA.len())),
        attachment("Minutes", "text/html", None),
    ]
}

fn content() -> Vec<ContentBlock> {
    let agenda = ResourceContents::blob(STANDARD.encode(AGENDA), "notes://ana/2/agenda.pdf")
        .with_mime_type("application/pdf");
    let minutes = Resource::new(MINUTES, "minutes")
        .with_title("Minutes of the last meeting")
        .with_description("Who said what, and what was decided.")
        .with_mime_type("text/html");
    vec![
        ContentBlock::image(STANDARD.encode(WHITEBOARD), "image/png"),
        ContentBlock::resource(agenda),
        ContentBlock::resource_link(minutes),
    ]
}
