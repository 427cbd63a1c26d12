//! What an MCP server's answer itself says went wrong, read while it passes.
//!
//! HTTP knows nothing of it: a tool that failed and a JSON-RPC error arrive with a 200. Answers are
//! read byte by byte, so one of any size costs no memory.

/// What an answer says went wrong, though it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The result of the tool has `isError: true` (MCP, "Tools", "Error Handling").
    Tool,
    /// It is a JSON-RPC error with this code (JSON-RPC 2.0, section 5.1).
    Rpc(i64),
}

/// The word of [`Reported::Tool`] in the file.
const TOOL: &str = "isError";

/// What stands before the code of a [`Reported::Rpc`] in the file.
const RPC: &str = "error ";

/// Bytes of a key or a value that are kept: more than what is looked for has.
const TOKEN_BYTES: usize = 24;

/// What a line of an event stream begins with that carries a message.
const DATA: &[u8] = b"data:";

impl Reported {
    /// As it stands in the file.
    pub(super) fn text(self) -> String {
        match self {
            Self::Tool => TOOL.to_owned(),
            Self::Rpc(code) => format!("{RPC}{code}"),
        }
    }

    /// Out of the file; none of a newer version's words.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        if text == TOOL {
            return Some(Self::Tool);
        }
        text.strip_prefix(RPC)?.parse().ok().map(Self::Rpc)
    }
}

/// Reads the answer of one exchange: a JSON-RPC message, or an event stream of them.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Where the next piece begins.
    at: u64,
    form: Form,
    message: Message,
    found: Option<Reported>,
}

/// What the body is.
#[derive(Debug, Default)]
enum Form {
    /// Nothing but white space came so far.
    #[default]
    Unknown,
    Json,
    /// An event stream, in a line.
    Stream(Line),
    /// A part of it is missing.
    Broken,
}

#[derive(Debug)]
enum Line {
    /// So many bytes of it stand, as [`DATA`] begins.
    Begins(usize),
    /// What follows is of a message.
    Data,
    /// It is something else.
    Other,
}

impl Reader {
    /// Reads the piece of the body that begins at `start`.
    pub(super) fn read(&mut self, start: u64, bytes: &[u8]) {
        if start != self.at {
            self.form = Form::Broken;
        }
        self.at = start.saturating_add(bytes.len() as u64);
        for byte in bytes {
            self.byte(*byte);
        }
    }

    /// What it says went wrong.
    pub(super) fn found(&self) -> Option<Reported> {
        self.found
    }

    fn byte(&mut self, byte: u8) {
        if let Form::Unknown = self.form {
            self.form = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => return,
                b'{' | b'[' => Form::Json,
                _ => Form::Stream(Line::Begins(0)),
            };
        }
        match &mut self.form {
            Form::Unknown | Form::Broken => {}
            Form::Json => self.found = self.found.or(self.message.byte(byte)),
            Form::Stream(line) => match (&*line, byte) {
                // An empty line ends the message.
                (Line::Begins(0), b'\n') => self.message = Message::default(),
                (Line::Data, b'\n') => {
                    self.message.byte(byte);
                    *line = Line::Begins(0);
                }
                (Line::Begins(_) | Line::Other, b'\n') => *line = Line::Begins(0),
                (Line::Begins(0), b'\r') | (Line::Other, _) => {}
                (Line::Data, _) => self.found = self.found.or(self.message.byte(byte)),
                (Line::Begins(count), _) => *line = begins(*count, byte),
            },
        }
    }
}

/// A line of which `count` bytes stand as [`DATA`] begins, with the next byte.
fn begins(count: usize, byte: u8) -> Line {
    if DATA.get(count) != Some(&byte) {
        return Line::Other;
    }
    match count + 1 {
        all if all == DATA.len() => Line::Data,
        count => Line::Begins(count),
    }
}

/// A JSON-RPC message, as far as it was read.
#[derive(Debug, Default)]
struct Message {
    /// Objects and arrays that are open.
    depth: usize,
    text: Text,
    /// The key or the value that is being read, a string with its quotes.
    token: Vec<u8>,
    /// The key whose value is being read, of the message and of the object in it.
    outer: Key,
    inner: Key,
}

/// Whether a string is being read.
#[derive(Clone, Copy, Debug, Default)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// After a backslash.
    Escaped,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Key {
    Result,
    Error,
    IsError,
    Code,
    #[default]
    Other,
}

impl Message {
    /// Takes the next byte; what it says went wrong, once that stands.
    fn byte(&mut self, byte: u8) -> Option<Reported> {
        match (self.text, byte) {
            (Text::Inside, b'\\') => self.text = Text::Escaped,
            (Text::Inside, b'"') => {
                self.keep(byte);
                self.text = Text::Outside;
            }
            (Text::Inside | Text::Escaped, _) => {
                self.keep(byte);
                self.text = Text::Inside;
            }
            (Text::Outside, b'"') => {
                self.token.clear();
                self.keep(byte);
                self.text = Text::Inside;
            }
            (Text::Outside, b':') => self.named(),
            (Text::Outside, b',') => return self.valued(),
            (Text::Outside, b'{' | b'[') => self.opened(),
            (Text::Outside, b'}' | b']') => {
                let said = self.valued();
                self.depth = self.depth.saturating_sub(1);
                return said;
            }
            (Text::Outside, b' ' | b'\t' | b'\r' | b'\n') => {}
            (Text::Outside, _) => self.keep(byte),
        }
        None
    }

    /// The token was a key.
    fn named(&mut self) {
        let key = match self.token.as_slice() {
            b"\"result\"" => Key::Result,
            b"\"error\"" => Key::Error,
            b"\"isError\"" => Key::IsError,
            b"\"code\"" => Key::Code,
            _ => Key::Other,
        };
        match self.depth {
            1 => self.outer = key,
            2 => self.inner = key,
            _ => {}
        }
        self.token.clear();
    }

    /// The token, if there is one, was a value.
    fn valued(&mut self) -> Option<Reported> {
        let token = std::mem::take(&mut self.token);
        if self.depth != 2 {
            return None;
        }
        match (self.outer, self.inner) {
            (Key::Result, Key::IsError) => (token == b"true").then_some(Reported::Tool),
            (Key::Error, Key::Code) => {
                let code = str::from_utf8(&token).ok()?;
                code.parse().ok().map(Reported::Rpc)
            }
            _ => None,
        }
    }

    fn opened(&mut self) {
        self.depth = self.depth.saturating_add(1);
        self.inner = Key::Other;
        self.token.clear();
    }

    fn keep(&mut self, byte: u8) {
        if self.depth <= 2 && self.token.len() < TOKEN_BYTES {
            self.token.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, in one piece and byte by byte.
    fn found(body: &str) -> Option<Reported> {
        let (mut whole, mut bytes) = (Reader::default(), Reader::default());
        whole.read(0, body.as_bytes());
        for (at, byte) in body.bytes().enumerate() {
            bytes.read(at as u64, &[byte]);
        }
        assert_eq!(whole.found(), bytes.found(), "{body}");
        whole.found()
    }

    #[test]
    fn what_only_looks_like_a_failure_is_none() {
        let innocent = [
            "",
            "<html>error</html>",
            r#"{"jsonrpc":"2.0","id":1,"result":{"isError":false}}"#,
            r#"{"result":{"isError":"true"}}"#,
            r#"{"result":{"structuredContent":{"isError":true}}}"#,
            r#"{"result":{"content":[{"text":"{\"isError\":true}, \\\"isError\":true"}]}}"#,
            r#"{"result":{"error":{"code":-32603}}}"#,
            r#"{"result":{"code":-32603}}"#,
            r#"{"params":{"isError":true}}"#,
            r#"{"result":{"isError":false},"error":[true]}"#,
            r#"{"isError":true,"code":1}"#,
            r#"{"error":{"code":{"isError":true}}}"#,
            r#"{"error":{"code":"-32603"}}"#,
            "event: message\ndata: {\"result\":{\ndata: \"isError\":false}}\n\n",
            "data: {\"result\":{\n\ndata: \"isError\":true}}\n\n",
            "event: data: {\"result\":{\"isError\":true}}\n\n",
        ];
        for body in innocent {
            assert_eq!(found(body), None, "{body}");
        }
    }

    #[test]
    fn a_failure_is_found_wherever_it_stands() {
        let failed = [
            (
                r#"{"id":1,"result":{"content":[],"isError":true}}"#,
                Reported::Tool,
            ),
            (
                " {\n\"result\" : { \"isError\" : true , \"content\":[{}]}}",
                Reported::Tool,
            ),
            (
                r#"{"error":{"code":-32602,"message":"No"},"id":1}"#,
                Reported::Rpc(-32602),
            ),
            (
                r#"{"error":{"data":{"code":7},"message":"\\\"","code": -32601 }}"#,
                Reported::Rpc(-32601),
            ),
            ("data:{\"error\":{\"code\":1}}", Reported::Rpc(1)),
            (
                "id: 1\r\ndata: {\"method\":\"x\",\"params\":{\"a\":[1]}}\r\n\r\n: well\r\n\
                 event: message\r\ndata: {\"result\":\r\ndata: {\"isError\":true}}\r\n\r\n",
                Reported::Tool,
            ),
        ];
        for (body, said) in failed {
            assert_eq!(found(body), Some(said), "{body}");
            assert_eq!(Reported::of_text(&said.text()), Some(said));
        }
        assert_eq!(Reported::of_text("of a newer version"), None);
    }

    #[test]
    fn what_has_a_gap_says_nothing() {
        let mut reader = Reader::default();
        reader.read(0, br#"{"result":{"#);
        reader.read(20, br#""isError":true}}"#);
        assert_eq!(reader.found(), None);
    }
}
