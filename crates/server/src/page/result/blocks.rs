//! The content blocks of a result (MCP `ContentBlock`) for people.

use chat::shape::{Structured, table::Table};
use serde_json::Value;
use url::Url;

use super::{
    super::{
        visible,
        words::{self, beginning},
    },
    asked::Of,
    file::{self, Shown, string},
};

/// Content blocks that are shown: all of them are in the JSON.
const BLOCKS: usize = 100;

/// Characters of a text that are shown: the rest is in its file.
const TEXT_CHARS: usize = 20_000;

/// Characters of a name, a description or a URI.
pub(super) const LINE_CHARS: usize = 500;

/// The type of a block that links to what the server can be asked for.
const LINK: &str = "resource_link";

/// A content block.
pub(super) enum Block {
    Text(Text),
    Image(Media),
    Sound(Media),
    File(Download),
    Link(Link),
    /// Of a kind that nobody knows here.
    Odd {
        kind: String,
    },
}

/// Some text.
pub(super) struct Text {
    pub(super) shown: String,
    pub(super) size: String,
    /// The same is shown as a table or as structured content.
    pub(super) is_repeated: bool,
    /// The file that has all of it, when this has not.
    pub(super) whole: Option<String>,
}

/// What the browser shows.
pub(super) struct Media {
    pub(super) link: String,
    pub(super) name: String,
    pub(super) size: String,
}

/// What can only be saved.
pub(super) struct Download {
    /// None when it cannot be read.
    pub(super) link: Option<String>,
    pub(super) name: String,
    pub(super) uri: String,
    pub(super) kind: String,
    pub(super) size: String,
    /// The beginning of it, when it is text.
    pub(super) text: Option<String>,
}

/// Something the server can be asked for (MCP `ResourceLink`).
pub(super) struct Link {
    /// Where it is had from the server.
    pub(super) file: Option<String>,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) uri: String,
    pub(super) kind: String,
    pub(super) size: String,
    /// Where it leads, and on which host, when a browser can go there.
    pub(super) web: Option<(String, String)>,
}

/// The blocks of a result, and how many are left out.
pub(super) fn blocks(of: Of<'_>, raw: &Value, tables: &[Table<'_>]) -> (Vec<Block>, usize) {
    let all = raw.get("content").and_then(Value::as_array);
    let all = all.map(Vec::as_slice).unwrap_or_default();
    let structured = raw.get("structuredContent").filter(|it| !it.is_null());
    let structured = structured.map(Structured::new);
    let mut images = 0;
    let mut made = Vec::new();
    for (number, block) in all.iter().enumerate().take(BLOCKS) {
        let table = tables.iter().find(|table| table.block == Some(number));
        made.push(match string(block, "type") {
            "text" => {
                let said = string(block, "text");
                Block::Text(Text {
                    is_repeated: structured.as_ref().is_some_and(|it| it.says(said))
                        || table.is_some_and(|table| is_only(said, table)),
                    ..text(of, number, said)
                })
            }
            "image" | "audio" => media(of, number, block, &mut images),
            "resource" => resource(of, number, block.get("resource").unwrap_or(&Value::Null)),
            LINK => link(of, number, block),
            kind => Block::Odd {
                kind: beginning(kind, LINE_CHARS),
            },
        });
    }
    (made, all.len().saturating_sub(BLOCKS))
}

/// The URI that the server can be asked for, if the block is a link.
pub(super) fn linked_uri(block: &Value) -> Option<&str> {
    let uri = string(block, "uri");
    (string(block, "type") == LINK && !uri.is_empty()).then_some(uri)
}

/// What a link is called.
pub(super) fn link_name(block: &Value) -> &str {
    let names = ["title", "name", "uri"].map(|field| string(block, field));
    let mut given = names.into_iter().filter(|name| !name.is_empty());
    given.next().unwrap_or_default()
}

/// Whether a text is nothing but the table that was read from it. Around one in Markdown there can
/// be prose: then it has more lines than the table with its head and the rule below that.
fn is_only(text: &str, table: &Table<'_>) -> bool {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    text.trim_start().starts_with(['{', '[']) || lines.count() <= table.rows() + 2
}

fn text(of: Of<'_>, number: usize, text: &str) -> Text {
    Text {
        shown: beginning(text, TEXT_CHARS),
        size: size(text.len()),
        is_repeated: false,
        whole: is_long(text).then(|| of.file(number)),
    }
}

fn media(of: Of<'_>, number: usize, block: &Value, images: &mut usize) -> Block {
    let data = string(block, "data");
    let (link, size) = (of.file(number), size(file::size_of_base64(data)));
    let is_image = string(block, "type") == "image";
    let is_readable = file::is_readable(block);
    match file::sniff_base64(data).filter(|_| is_readable) {
        Some(Shown::Image(mime)) if is_image => {
            *images += 1;
            let name = format!("Image {images} of the result, {mime}");
            Block::Image(Media { link, name, size })
        }
        Some(Shown::Sound(mime)) if !is_image => {
            let name = format!("Sound of the result, {mime}");
            Block::Sound(Media { link, name, size })
        }
        Some(_) | None => Block::File(Download {
            link: is_readable.then_some(link),
            name: if is_image { "Image" } else { "Sound" }.to_owned(),
            uri: String::new(),
            kind: beginning(string(block, "mimeType"), LINE_CHARS),
            size,
            text: None,
        }),
    }
}

/// An embedded resource (MCP `TextResourceContents` or `BlobResourceContents`).
fn resource(of: Of<'_>, number: usize, resource: &Value) -> Block {
    let text = resource.get("text").and_then(Value::as_str);
    let blob = string(resource, "blob");
    let uri = string(resource, "uri");
    let is_readable = text.is_some() || file::is_readable(resource);
    let shown = file::sniff_base64(blob).filter(|_| is_readable);
    if let (None, Some(Shown::Image(mime))) = (text, shown) {
        let name = file::name(uri).unwrap_or_else(|| "Image".to_owned());
        return Block::Image(Media {
            link: of.file(number),
            name: format!("{}, {mime}", visible(&name)),
            size: size(file::size_of_base64(blob)),
        });
    }
    let bytes = text.map_or_else(|| file::size_of_base64(blob), str::len);
    Block::File(Download {
        link: is_readable.then(|| of.file(number)),
        name: visible(&file::name(uri).unwrap_or_else(|| "Embedded resource".to_owned())),
        uri: beginning(uri, LINE_CHARS),
        kind: beginning(string(resource, "mimeType"), LINE_CHARS),
        size: size(bytes),
        text: text.map(|text| beginning(text, TEXT_CHARS)),
    })
}

fn link(of: Of<'_>, number: usize, block: &Value) -> Block {
    let uri = string(block, "uri");
    let bytes = block.get("size").and_then(Value::as_u64);
    Block::Link(Link {
        file: linked_uri(block).map(|_| of.file(number)),
        name: beginning(link_name(block), LINE_CHARS),
        description: beginning(string(block, "description"), LINE_CHARS),
        uri: beginning(uri, LINE_CHARS),
        kind: beginning(string(block, "mimeType"), LINE_CHARS),
        size: bytes.map_or(String::new(), |bytes| {
            size(usize::try_from(bytes).unwrap_or(usize::MAX))
        }),
        web: web(uri),
    })
}

/// An address that a browser may be sent to.
fn web(uri: &str) -> Option<(String, String)> {
    let url = Url::parse(uri).ok()?;
    let host = url.host_str()?.to_owned();
    matches!(url.scheme(), "http" | "https").then(|| (url.to_string(), host))
}

fn is_long(text: &str) -> bool {
    text.char_indices().nth(TEXT_CHARS).is_some()
}

fn size(bytes: usize) -> String {
    words::size(bytes as u64)
}

#[cfg(test)]
mod tests {
    use chat::{
        ids::{CallId, TurnId},
        shape::table::{documents, tables},
    };
    use serde_json::json;

    use super::{super::file::File, *};

    fn made(block: &Value) -> Block {
        let turn = TurnId::from("t");
        let of = Of {
            turn: &turn,
            call: CallId(1),
        };
        let (mut blocks, _) = blocks(of, &json!({ "content": [block] }), &[]);
        blocks.pop().unwrap()
    }

    #[test]
    fn only_text_that_says_nothing_else_is_folded() {
        let rows = json!([{ "a": 1 }, { "a": 2 }]);
        for (text, structured, expected) in [
            ("5000 rows", Some(&rows), false),
            ("[{\"a\": 1}]", Some(&rows), false),
            ("[ {\"a\": 1}, {\"a\": 2} ]", Some(&rows), true),
            (
                "# Sales\n\n|a|b|\n|-|-|\n|1|2|\n\n**All** of it.",
                None,
                false,
            ),
            ("|a|b|\n|-|-|\n|1|2|\n", None, true),
            ("a,b\n1,2\n3,4\n", None, true),
            ("[{\"a\": 1}]", None, true),
        ] {
            let mut raw = json!({ "content": [{ "type": "text", "text": text }] });
            if let Some(structured) = structured {
                raw["structuredContent"] = structured.clone();
            }
            let documents = documents(&raw);
            let turn = TurnId::from("t");
            let of = Of {
                turn: &turn,
                call: CallId(1),
            };
            let (blocks, _) = blocks(of, &raw, &tables(&documents));
            let [Block::Text(shown)] = blocks.as_slice() else {
                panic!("{raw}")
            };
            assert_eq!(shown.is_repeated, expected, "{raw}");
        }
    }

    #[test]
    fn only_web_addresses_become_links() {
        for (uri, expected) in [
            ("javascript:alert(1)", None),
            ("file:///etc/passwd", None),
            ("data:text/html,x", None),
            ("notes://ana/1", None),
            ("//evil.example", None),
            ("", None),
            ("HTTPS://bank.example@evil.example/x", Some("evil.example")),
        ] {
            let Block::Link(link) = made(&json!({ "type": "resource_link", "uri": uri })) else {
                panic!("{uri}")
            };
            assert_eq!(
                link.web.as_ref().map(|(_, host)| host.as_str()),
                expected,
                "{uri}"
            );
        }
    }

    #[test]
    fn what_is_no_picture_is_a_file() {
        for block in [
            json!({ "type": "image", "data": "PHN2Zz4=", "mimeType": "image/svg+xml" }),
            json!({ "type": "image", "data": 3 }),
            json!({ "type": "audio", "data": "R0lGODlh" }),
            json!({ "type": "resource" }),
            json!({ "type": "resource", "resource": { "uri": "a:b", "blob": "PGh0bWw+" } }),
        ] {
            assert!(matches!(made(&block), Block::File(_)), "{block}");
        }
        let gif = made(&json!({ "type": "image", "data": "R0lGODlh" }));
        assert!(matches!(gif, Block::Image(_)));
        assert!(matches!(
            made(&json!({ "type": "hologram" })),
            Block::Odd { .. }
        ));
        assert!(matches!(made(&json!(7)), Block::Odd { .. }));
    }

    #[test]
    fn what_cannot_be_read_has_no_link() {
        let resource = |holds: serde_json::Value| json!({ "type": "resource", "resource": holds });
        for (block, is_readable) in [
            (json!({ "type": "image", "data": "no base64!" }), false),
            // It begins as a picture.
            (
                json!({ "type": "image", "data": format!("R0lGODlh{}!", "A".repeat(80)) }),
                false,
            ),
            (json!({ "type": "audio" }), false),
            (
                resource(json!({ "uri": "a:b", "blob": "no base64!" })),
                false,
            ),
            (resource(json!({ "uri": "a:b" })), false),
            (resource(json!({ "uri": "a:b", "blob": "" })), true),
            (resource(json!({ "uri": "a:b", "text": "" })), true),
            (json!({ "type": "audio", "data": "AAAA" }), true),
        ] {
            let Block::File(file) = made(&block) else {
                panic!("{block}")
            };
            assert_eq!(file.link.is_some(), is_readable, "{block}");
            assert_eq!(File::of(&block, 0).is_some(), is_readable, "{block}");
        }
    }

    #[test]
    fn a_long_text_is_cut_and_its_file_has_all() {
        let Block::Text(text) = made(&json!({ "type": "text", "text": "ä".repeat(30_000) }))
        else {
            panic!("no text")
        };
        assert_eq!(text.shown.chars().count(), TEXT_CHARS + 1);
        assert_eq!(
            text.whole.as_deref(),
            Some("/api/turns/t/calls/1/content/0")
        );
        assert_eq!(text.size, "58 KiB");
        let turn = TurnId::from("t");
        let of = Of {
            turn: &turn,
            call: CallId(1),
        };
        let many = json!({ "content": vec![json!({ "type": "text" }); 250] });
        let (shown, left_out) = blocks(of, &many, &[]);
        assert_eq!((shown.len(), left_out), (BLOCKS, 150));
    }
}
