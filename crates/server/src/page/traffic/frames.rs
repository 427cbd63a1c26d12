//! An event stream (HTML, 9.2 "Server-sent events") taken apart, each event with the moment it had
//! arrived.

/// One event of a stream, or what is left of one at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// `event:`, when it is not the default.
    pub(super) event: Option<String>,
    /// `id:`.
    pub(super) id: Option<String>,
    /// `data:`, its lines joined.
    pub(super) data: String,
    /// What its comments say: they keep connections alive.
    pub(super) comment: String,
    /// The stream ended in the middle of it.
    pub(super) broken: bool,
    /// When all of it had arrived: microseconds after the request.
    pub(super) at_us: Option<u64>,
}

/// The events of `body`. `arrivals` say up to which byte it had arrived at which microsecond, in
/// the order of the bytes.
pub(super) fn frames<'a>(
    body: &'a [u8],
    arrivals: &'a [(u64, u64)],
) -> impl Iterator<Item = Frame> + 'a {
    // A byte order mark at the start is none of the text.
    let start = usize::from(body.starts_with(b"\xef\xbb\xbf")) * 3;
    let mut lines = Lines { body, at: start };
    let mut arrivals = arrivals.iter().copied().peekable();
    std::iter::from_fn(move || {
        let mut frame = Frame::default();
        let mut any = false;
        for (line, end) in lines.by_ref() {
            let last = line.is_empty();
            if last && !any {
                continue;
            }
            any = true;
            if last {
                while arrivals.next_if(|(to, _)| *to < end as u64).is_some() {}
                frame.at_us = arrivals.peek().map(|(_, us)| *us);
                return Some(frame);
            }
            frame.take(line);
        }
        frame.broken = true;
        frame.at_us = arrivals.by_ref().last().map(|(_, us)| us);
        any.then_some(frame)
    })
}

impl Frame {
    fn take(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let grow = |text: &mut String| {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(value);
        };
        match name {
            "" => grow(&mut self.comment),
            "data" => grow(&mut self.data),
            "event" => self.event = Some(value.to_owned()),
            "id" => self.id = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// Lines that end with a line feed, a carriage return, or both.
struct Lines<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    /// The line, and where it and its end end.
    type Item = (&'a [u8], usize);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let length = end.unwrap_or(rest.len());
        let line = rest.get(..length)?;
        let ends = match rest.get(length..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([_, ..]) => 1,
            Some([]) | None => 0,
        };
        self.at += length + ends;
        Some((line, self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(frames: &[Frame]) -> Vec<(&str, Option<u64>)> {
        frames
            .iter()
            .map(|frame| (frame.data.as_str(), frame.at_us))
            .collect()
    }

    #[test]
    fn an_event_has_the_moment_of_its_last_byte() {
        let body = b"data: one\n\ndata: two\n\ndata: th";
        let arrivals = [(5, 10), (11, 20), (27, 30), (31, 40)];
        let seen: Vec<_> = frames(body, &arrivals).collect();
        assert_eq!(
            data(&seen),
            [("one", Some(20)), ("two", Some(30)), ("th", Some(40))]
        );
        let broken: Vec<_> = seen.iter().map(|frame| frame.broken).collect();
        assert_eq!(broken, [false, false, true]);
    }

    #[test]
    fn lines_end_in_every_way_there_is() {
        for body in [
            "event: ping\ndata: a\ndata:b\nid: 7\n: hello\nunknown: x\n\n",
            "event: ping\r\ndata: a\r\ndata:b\r\nid: 7\r\n: hello\r\nunknown: x\r\n\r\n",
            "event: ping\rdata: a\rdata:b\rid: 7\r: hello\runknown: x\r\r",
            "\u{feff}\n\nevent: ping\ndata: a\ndata:b\nid: 7\n: hello\nunknown\n\n\n\n",
        ] {
            let seen: Vec<_> = frames(body.as_bytes(), &[]).collect();
            let expected = Frame {
                event: Some("ping".to_owned()),
                id: Some("7".to_owned()),
                data: "a\nb".to_owned(),
                comment: "hello".to_owned(),
                broken: false,
                at_us: None,
            };
            assert_eq!(seen, [expected], "{body:?}");
        }
        assert_eq!(frames(b"", &[]).count(), 0);
        assert_eq!(frames(b"\xff\xfe: \xff", &[]).count(), 1);
    }
}
