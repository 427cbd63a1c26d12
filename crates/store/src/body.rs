//! Bodies as they are stored: JSON in the row, or a compressed blob that the row names.

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;
use tokio_util::task::TaskTracker;

use crate::error::StoreError;

/// Bytes of JSON kept in the row; larger bodies are blobs. Four pages of SQLite: a row above that
/// is mostly overflow pages, and repeated bodies (catalogs) are above it.
const INLINE_BYTES: usize = 16 * 1024;

/// Bytes above which a body is coded off the async threads: below, coding takes less than a
/// millisecond.
const BLOCKING_BYTES: usize = 256 * 1024;

/// Bytes of a blob's start that its row keeps: enough to see what it is.
const PREVIEW_BYTES: usize = 256;

/// Containers within each other in a body that has to be read back: `serde_json` reads no more than
/// 127, and the transcript that is made of events nests some of their parts a little deeper.
pub(crate) const NESTING: usize = 100;

/// The level of zstd: its default, some 200 MB/s.
const ZSTD_LEVEL: i32 = 3;

/// A body in its stored form.
#[derive(Debug)]
pub(crate) enum Body {
    /// In the row.
    Inline(String),
    /// In `blobs`.
    Blob {
        hash: String,
        size: i64,
        preview: String,
        packed: Vec<u8>,
    },
}

/// What the row of a body keeps besides the blob.
pub(crate) struct Columns<'a> {
    pub(crate) size: i64,
    pub(crate) body: Option<&'a str>,
    pub(crate) blob_hash: Option<&'a str>,
    pub(crate) preview: Option<&'a str>,
}

impl Body {
    /// The stored form of `value`, which is `what`. One that could not be read back is refused: it
    /// is nested deeper than [`NESTING`].
    pub(crate) fn encode(what: &'static str, value: &impl Serialize) -> Result<Self, StoreError> {
        let json = serde_json::to_string(value).map_err(|error| StoreError::body(what, error))?;
        if nesting(&json) > NESTING {
            return Err(StoreError::body(what, "it is nested too deeply"));
        }
        Self::pack(what, json)
    }

    /// The stored form of `value`, which is `what` and made of what was stored before: if it could
    /// not be read back, it would be made anew.
    pub(crate) fn encode_projection(
        what: &'static str,
        value: &impl Serialize,
    ) -> Result<Self, StoreError> {
        let json = serde_json::to_string(value).map_err(|error| StoreError::body(what, error))?;
        Self::pack(what, json)
    }

    fn pack(what: &'static str, json: String) -> Result<Self, StoreError> {
        if json.len() <= INLINE_BYTES {
            return Ok(Self::Inline(json));
        }
        let packed = zstd::bulk::compress(json.as_bytes(), ZSTD_LEVEL)
            .map_err(|error| StoreError::body(what, error))?;
        Ok(Self::Blob {
            hash: format!("{:x}", Sha256::digest(&json)),
            size: count(json.len()),
            preview: json
                .get(..json.floor_char_boundary(PREVIEW_BYTES))
                .unwrap_or("")
                .to_owned(),
            packed,
        })
    }

    /// Stores the blob, if it is one and not there yet.
    pub(crate) async fn store_blob(&self, conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        match self {
            Self::Inline(_) => Ok(()),
            Self::Blob {
                hash, size, packed, ..
            } => sqlx::query(
                "INSERT INTO blobs (hash, size, body) VALUES ($1, $2, $3) \
                 ON CONFLICT (hash) DO NOTHING",
            )
            .bind(hash)
            .bind(size)
            .bind(packed)
            .execute(conn)
            .await
            .map(drop),
        }
    }

    /// What the row keeps.
    pub(crate) fn columns(&self) -> Columns<'_> {
        match self {
            Self::Inline(json) => Columns {
                size: count(json.len()),
                body: Some(json),
                blob_hash: None,
                preview: None,
            },
            Self::Blob {
                hash,
                size,
                preview,
                ..
            } => Columns {
                size: *size,
                body: None,
                blob_hash: Some(hash),
                preview: Some(preview),
            },
        }
    }
}

/// A body as it was read: `size` and `body` of its row, and `body` of its blob.
pub(crate) struct Stored {
    pub(crate) size: i64,
    pub(crate) inline: Option<String>,
    pub(crate) packed: Option<Vec<u8>>,
}

impl Stored {
    /// Reads the body, which is `what`; a large one off the async threads.
    pub(crate) async fn decode<T>(
        self,
        what: &'static str,
        tasks: &TaskTracker,
    ) -> Result<T, StoreError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        if usize::try_from(self.size).is_ok_and(|size| size <= BLOCKING_BYTES) {
            return self.decode_here(what);
        }
        tasks
            .spawn_blocking(move || self.decode_here(what))
            .await
            .map_err(|error| {
                if error.is_cancelled() {
                    // The runtime is ending. That says nothing about the body.
                    StoreError::Closed
                } else {
                    StoreError::body(what, error)
                }
            })?
    }

    fn decode_here<T: DeserializeOwned>(self, what: &'static str) -> Result<T, StoreError> {
        let json = match (self.inline, self.packed) {
            (Some(json), _) => json.into_bytes(),
            (None, Some(packed)) => {
                let size = usize::try_from(self.size).unwrap_or(0);
                zstd::bulk::decompress(&packed, size)
                    .map_err(|error| StoreError::body(what, error))?
            }
            (None, None) => return Err(StoreError::body(what, "its blob is missing")),
        };
        serde_json::from_slice(&json).map_err(|error| StoreError::body(what, error))
    }
}

/// How many containers of this JSON are within each other at its deepest place.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

/// A number as SQL has it; what is larger than any stored number stays so.
pub(crate) fn count(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A stored number that is never negative.
pub(crate) fn stored_count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nesting;

    #[test]
    fn nesting_counts_containers_and_not_what_strings_say() {
        for (json, depth) in [
            ("null", 0),
            (r#""[[{{""#, 0),
            ("[]", 1),
            (r#"{"a": [], "b": [{}], "c": []}"#, 3),
            (r#"[[], "\"[[[", "\\", []]"#, 2),
            (r#"{"[": "\\\"{", "b": [1]}"#, 2),
        ] {
            assert_eq!(nesting(json), depth, "{json}");
        }
    }
}
