//! The stored forms of bodies: their parts, compressed parts, times of arrival.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::error::StoreError;

/// The level of zstd: the cheapest of its usual ones, some 400 MB/s.
const ZSTD_LEVEL: i32 = 1;

/// Bytes below which compressing is not tried: there is nothing to gain.
const WORTH_PACKING: usize = 64;

/// Parts of a body, at most: what is more stays together in the last of them. More messages than
/// any model takes in.
const PARTS: usize = 16 * 1024;

/// Bytes of a request in which its label is looked for: what names it stands before what it says.
const LABEL_WITHIN: usize = 4 * 1024;

/// Bytes of a label that are kept: JSON-RPC methods and names of tools and models are shorter.
const LABEL_BYTES: usize = 200;

/// Compresses; what would not get shorter is returned as it is.
pub(super) struct Packer(Option<zstd::bulk::Compressor<'static>>);

impl Packer {
    pub(super) fn new() -> Self {
        Self(zstd::bulk::Compressor::new(ZSTD_LEVEL).ok())
    }

    pub(super) fn pack(&mut self, plain: &[u8]) -> Vec<u8> {
        let packed = self
            .0
            .as_mut()
            .filter(|_| plain.len() >= WORTH_PACKING)
            .and_then(|compressor| compressor.compress(plain).ok())
            .filter(|packed| packed.len() < plain.len());
        packed.unwrap_or_else(|| plain.to_vec())
    }
}

/// The plain bytes of a part that was packed and had `size` of them.
pub(super) fn unpack(packed: Vec<u8>, size: i64) -> Result<Vec<u8>, StoreError> {
    let size = usize::try_from(size).unwrap_or(0);
    if packed.len() == size {
        return Ok(packed);
    }
    zstd::bulk::decompress(&packed, size).map_err(|error| StoreError::body("a body", error))
}

/// The ids of a body's parts, as they are stored.
pub(super) fn ids(packed: &[u8]) -> impl Iterator<Item = i64> {
    let (ids, _) = packed.as_chunks::<8>();
    ids.iter().map(|id| i64::from_be_bytes(*id))
}

/// A model request's parts that come again with the next: its tools, and each of its messages with
/// the comma before it. Together they are `body`, byte for byte; what has no such parts is one.
pub(super) fn parts(body: &[u8]) -> Vec<&[u8]> {
    let Some(mut cuts) = cuts(body) else {
        return vec![body];
    };
    cuts.sort_unstable();
    cuts.truncate(PARTS);
    let mut parts = Vec::with_capacity(cuts.len() + 1);
    let mut rest = body;
    let mut start = 0;
    for cut in cuts {
        let Some((part, after)) = rest.split_at_checked(cut - start) else {
            break;
        };
        if !part.is_empty() {
            parts.push(part);
        }
        (rest, start) = (after, cut);
    }
    parts.push(rest);
    parts
}

/// Where the parts of a model request begin and end.
fn cuts(body: &[u8]) -> Option<Vec<usize>> {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        messages: Vec<&'a RawValue>,
        #[serde(borrow)]
        tools: Option<&'a RawValue>,
    }
    let request: Request<'_> = serde_json::from_slice(body).ok()?;
    // What was read borrows from the body, so its address says where it stands.
    let place = |value: &RawValue| {
        let text = value.get();
        let start = text.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
        Some((start, start + text.len()))
    };
    let mut cuts = Vec::with_capacity(request.messages.len() + 4);
    if let Some(tools) = request.tools {
        let (start, end) = place(tools)?;
        cuts.extend([start, end]);
    }
    let mut messages = request.messages.into_iter();
    if let Some(first) = messages.next() {
        let (start, mut end) = place(first)?;
        cuts.push(start);
        for message in messages {
            cuts.push(end);
            end = place(message)?.1;
        }
        cuts.push(end);
    }
    cuts.retain(|cut| (1..body.len()).contains(cut));
    Some(cuts)
}

/// What a request is about: its JSON-RPC method (of `tools/call` with the tool's name), or the
/// model it asks. The beginning of the request is enough.
pub(super) fn label(body: &[u8]) -> Option<String> {
    let mut said = Said::default();
    let head = body.get(..LABEL_WITHIN).unwrap_or(body);
    // It may well be cut: what stands before the cut counts.
    let _cut = (&mut said).deserialize(&mut serde_json::Deserializer::from_slice(head));
    let mut label = match (said.method, said.name) {
        (Some(method), Some(name)) => format!("{method} {name}"),
        (Some(method), None) => method,
        (None, _) => said.model?,
    };
    label.truncate(label.floor_char_boundary(LABEL_BYTES));
    Some(label)
}

/// What the beginning of a request says of itself.
#[derive(Default)]
struct Said {
    method: Option<String>,
    /// Of its `params`.
    name: Option<String>,
    model: Option<String>,
}

impl<'de> DeserializeSeed<'de> for &mut Said {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Said {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "method" => self.method = Some(map.next_value()?),
                "model" => self.model = Some(map.next_value()?),
                "params" => map.next_value_seed(Params(&mut self.name))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Takes the name out of a request's `params`.
struct Params<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Params<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Params<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("parameters by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "name" {
                *self.0 = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Times of arrival as they are stored: from each frame to the next how many bytes and
/// microseconds, seven bits a byte. The first counts from `start` and from the exchange's start.
pub(super) fn pack_arrivals(start: u64, arrivals: &[(u64, u64)]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(arrivals.len() * 4);
    let (mut place, mut time) = (start, 0);
    for &(end, after) in arrivals {
        push_number(&mut packed, end.saturating_sub(place));
        push_number(&mut packed, after.saturating_sub(time));
        (place, time) = (end, after);
    }
    packed
}

/// Reads times of arrival; the first counts from `start`.
pub(super) fn arrivals_of(packed: &[u8], start: u64, into: &mut Vec<(u64, u64)>) {
    let (mut rest, mut place, mut time) = (packed.iter(), start, 0_u64);
    while let (Some(bytes), Some(after)) = (next_number(&mut rest), next_number(&mut rest)) {
        place = place.saturating_add(bytes);
        time = time.saturating_add(after);
        into.push((place, time));
    }
}

fn push_number(into: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            return into.push(low);
        }
        into.push(low | 0x80);
    }
}

fn next_number(from: &mut std::slice::Iter<'_, u8>) -> Option<u64> {
    let (mut number, mut shift) = (0_u64, 0_u32);
    for &byte in from {
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_request_falls_into_its_messages_and_tools_and_nothing_is_lost() {
        let first = br#"{"model":"m","tools":[{"a":1}],"messages":[{"role":"system"}, {"role":"user"}],"x":2}"#;
        let second = br#"{"model":"m","tools":[{"a":1}],"messages":[{"role":"system"}, {"role":"user"},{"role":"tool"}],"x":2}"#;
        let (one, two) = (parts(first), parts(second));
        assert_eq!(one.concat(), first);
        assert_eq!(two.concat(), second);
        let new: Vec<_> = two.iter().filter(|part| !one.contains(part)).collect();
        assert_eq!(new, [br#",{"role":"tool"}"#]);
        assert!(one.contains(&br#"[{"a":1}]"#.as_slice()), "{one:?}");
    }

    #[test]
    fn what_is_no_model_request_is_one_part() {
        for body in [
            "",
            "{}",
            "hello",
            r#"{"messages":3}"#,
            r#"{"messages":[}"#,
            r#"{"messages":[],"messages":[]}"#,
            "\u{feff}{}",
        ] {
            assert_eq!(parts(body.as_bytes()), [body.as_bytes()], "{body}");
        }
    }

    #[test]
    fn an_empty_list_of_messages_loses_nothing() {
        for body in [
            r#"{"messages":[]}"#,
            r#"{"messages":[],"tools":null}"#,
            r#" {"messages" : [ 1 , 2 ] } "#,
        ] {
            assert_eq!(parts(body.as_bytes()).concat(), body.as_bytes(), "{body}");
        }
    }

    #[test]
    fn a_request_is_named_by_what_it_asks() {
        let label = |body: &str| label(body.as_bytes());
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(label(r#"{"method":"ping"}"#), named("ping"));
        assert_eq!(
            label(r#"{"method":"tools/call","params":{"name":"query"}}"#),
            named("tools/call query")
        );
        assert_eq!(label(r#"{"model":"m","messages":[]}"#), named("m"));
        for none in ["", "[]", "{}", r#"{"result":{}}"#, r#"{"method":1}"#] {
            assert_eq!(label(none), None, "{none}");
        }
        let long = format!(r#"{{"model":"{}"}}"#, "ü".repeat(1000));
        assert!(label(&long).unwrap().len() <= LABEL_BYTES);
        // However long it goes on, and wherever it is cut.
        let rest = "x".repeat(100_000);
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"_meta":{{"a":[1]}},"name":"query","arguments":{{"sql":"{rest}"}}}}}}"#
        );
        assert_eq!(label(&call), named("tools/call query"));
        assert_eq!(label(&call[..50]), named("tools/call"));
        assert_eq!(label(r#"{"model":"m","messages":["#), named("m"));
        assert_eq!(label(r#"{"method":"ping","params":[1]}"#), named("ping"));
    }

    #[test]
    fn arrivals_come_back() {
        let arrivals = [
            (110, 5),
            (110, 6),
            (400, 1_000_000),
            (u64::MAX / 2, u64::MAX / 2),
        ];
        let packed = pack_arrivals(100, &arrivals);
        let mut back = Vec::new();
        arrivals_of(&packed, 100, &mut back);
        assert_eq!(back, arrivals);
        // Rubbish is no reason to fail.
        arrivals_of(&[0x80; 30], 0, &mut back);
        assert_eq!(back, arrivals);
    }

    #[test]
    fn what_is_packed_comes_back() {
        let mut packer = Packer::new();
        for plain in [&b""[..], b"short", &[7; 10_000], &[0; 64]] {
            let shorter = packer.pack(plain);
            assert!(shorter.len() <= plain.len());
            let size = i64::try_from(plain.len()).unwrap();
            assert_eq!(unpack(shorter, size).unwrap(), plain);
        }
    }
}
