//! The order in which the keys of objects stand in JSON text, which a parsed value does not keep.

use std::{collections::HashMap, fmt};

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Keys looked at: the first rows have them all, and what comes later keeps its place.
const KEYS: usize = 4096;

/// Containers within each other that are looked into: rows are not deep inside.
const DEPTH: usize = 8;

/// Where keys stand first.
#[derive(Debug, Default)]
pub(super) struct Order {
    places: HashMap<String, usize>,
    seen: usize,
}

/// The keys of all objects in the text, as far as it is JSON.
pub(super) fn keys(text: &str) -> Order {
    let mut order = Order::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let walk = Walk {
        order: &mut order,
        depth: DEPTH,
    };
    // It ends with an error when there were enough keys: what was seen until then counts.
    let _enough = walk.deserialize(&mut deserializer);
    order
}

impl Order {
    /// Sorts keys as they stand in the text; others come after them, as they were.
    pub(super) fn sort(&self, keys: &mut [String]) {
        keys.sort_by_key(|key| self.places.get(key).copied().unwrap_or(usize::MAX));
    }

    fn add(&mut self, key: String) -> bool {
        let place = self.places.len();
        self.places.entry(key).or_insert(place);
        self.seen += 1;
        self.seen < KEYS
    }
}

struct Walk<'a> {
    order: &'a mut Order,
    depth: usize,
}

impl Walk<'_> {
    fn below(&mut self) -> Option<Walk<'_>> {
        Some(Walk {
            depth: self.depth.checked_sub(1)?,
            order: self.order,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if !self.order.add(key) {
                return Err(A::Error::custom("enough"));
            }
            match self.below() {
                Some(below) => map.next_value_seed(below)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        loop {
            let more = match self.below() {
                Some(below) => seq.next_element_seed(below)?,
                None => seq.next_element::<IgnoredAny>()?.map(drop),
            };
            if more.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    fn sorted(text: &str, keys: &[&str]) -> Vec<String> {
        let mut keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        super::keys(text).sort(&mut keys);
        keys
    }

    #[test]
    fn broken_text_counts_as_far_as_it_goes() {
        assert_eq!(sorted("{\"b\": 1, \"a", &["a", "b"]), ["b", "a"]);
        assert_eq!(sorted("nothing", &["a", "b"]), ["a", "b"]);
        let deep = "[".repeat(100_000);
        assert_eq!(sorted(&deep, &["a", "b"]), ["a", "b"]);
    }

    #[test]
    fn keys_stand_as_they_first_appear() {
        let text = r#"[{"z": null, "y": {"x": [true, 1.5, -1, "s"]}}, {"a": 1, "z": 2}]"#;
        let order = sorted(text, &["a", "b", "x", "y", "z"]);
        assert_eq!(order, ["z", "y", "x", "a", "b"]);
    }
}
