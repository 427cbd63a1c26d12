//! The token that stands for a person's session.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The longest token taken, bytes: what fits in a request's header beside the others.
const LONGEST: usize = 16 * 1024;

/// A programmatic token of Pomerium's. It is signed with Pomerium's own secret, so only Pomerium
/// can say what it is worth; it lives as long as the session.
#[derive(Clone)]
pub(super) struct Key(SecretString);

impl Key {
    /// `text`, if it can be such a token: three parts of base64url (RFC 7515, section 3.1).
    pub(super) fn new(text: &str) -> Option<Self> {
        let fits = |part: &str| {
            let mut bytes = part.bytes();
            !part.is_empty()
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let is_jwt = text.split('.').count() == 3 && text.split('.').all(fits);
        (is_jwt && text.len() <= LONGEST).then(|| Self(text.into()))
    }

    /// What SDKs send as API key: Pomerium takes `Authorization: Bearer Pomerium-<jwt>`.
    pub(super) fn api_key(&self) -> SecretString {
        format!("Pomerium-{}", self.0.expose_secret()).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Written only by the file of logins.
impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| D::Error::custom("no token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_jwt_is_a_token_and_it_never_shows() {
        for wrong in [
            "",
            "a.b",
            "a.b.c.d",
            "a..c",
            "a.b c.d",
            "a.b.c\r\nx: y",
            "ä.b.c",
        ] {
            assert!(Key::new(wrong).is_none(), "{wrong:?}");
        }
        assert!(Key::new(&format!("a.b.{}", "c".repeat(LONGEST))).is_none());
        let key = Key::new("aaa.bbb.ccc").unwrap();
        assert_eq!(key.api_key().expose_secret(), "Pomerium-aaa.bbb.ccc");
        assert!(!format!("{key:?}").contains("aaa"));
    }
}
