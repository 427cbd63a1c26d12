//! What the stand-in gives away and wants back unchanged: TEs, cookies and signed links.
//!
//! Tokens are sealed (AES-256-GCM), so they are opaque to whoever holds them, and nothing has to
//! be remembered to check them. The keys are made at start: a restart ends every token, as a
//! Pomerium without a `shared_secret` does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::errors::Error as JwtError;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::sessions::Te;

/// The parameter of a signed link that holds its signature.
const SIGNATURE: &str = "pomerium_signature";

/// Length of the sealed content of a TE: a version byte, the `sid`, the end, the serial number.
/// One byte more than a multiple of three once sealed, so that the text ends in `==`.
const TE_LEN: usize = 1 + 16 + 8 + 8;

/// The first byte of every TE's content.
const TE_VERSION: u8 = 1;

/// The secret keys of a run.
pub(super) struct Vault {
    sealing: RandomizedNonceKey,
    signing: hmac::Key,
    program_tokens: (EncodingKey, DecodingKey),
}

/// What a sealed session reference is for; one cannot stand in for another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// The `_pomerium` cookie.
    Cookie,
    /// The hand-over from the authenticate host to a route's host.
    Callback,
}

/// What a program's token says.
pub(super) struct ProgramGrant<'a> {
    /// The session it stands for.
    pub(super) sid: Uuid,
    /// Whose it is.
    pub(super) user_id: &'a str,
    /// Where the person signed in.
    pub(super) issuer: &'a str,
    /// The hosts it was made for. It is good on all.
    pub(super) hosts: [&'a str; 2],
    /// When.
    pub(super) issued: SystemTime,
}

impl Vault {
    /// Makes new keys.
    pub(super) fn generate() -> Result<Self, Unspecified> {
        let (mut key, mut secret) = ([0; 32], [0; 32]);
        rand::fill(&mut key)?;
        rand::fill(&mut secret)?;
        Ok(Self {
            program_tokens: (
                EncodingKey::from_secret(&secret),
                DecodingKey::from_secret(&secret),
            ),
            sealing: RandomizedNonceKey::new(&AES_256_GCM, &key)?,
            signing: hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())?,
        })
    }

    /// The text of a TE, without its prefix: base64 in the standard alphabet, `+`, `/` and `=`
    /// included. No two are alike.
    pub(super) fn seal_te(&self, te: Te) -> Result<String, Unspecified> {
        let mut content = Vec::with_capacity(TE_LEN);
        content.push(TE_VERSION);
        content.extend(te.sid.as_bytes());
        content.extend(millis(te.ends).to_be_bytes());
        content.extend(te.serial.to_be_bytes());
        Ok(STANDARD.encode(self.seal(b"te", content)?))
    }

    /// What a TE says, if it is one of ours. It may have ended.
    pub(super) fn open_te(&self, text: &str) -> Option<Te> {
        let content = self.open(b"te", &STANDARD.decode(text).ok()?)?;
        let (version, rest) = content.split_first()?;
        let (sid, rest) = rest.split_first_chunk()?;
        let (ends, rest) = rest.split_first_chunk()?;
        let serial = rest.first_chunk()?;
        (*version == TE_VERSION).then(|| Te {
            sid: Uuid::from_bytes(*sid),
            ends: UNIX_EPOCH + Duration::from_millis(u64::from_be_bytes(*ends)),
            serial: u64::from_be_bytes(*serial),
        })
    }

    /// Seals a reference to a session.
    pub(super) fn seal_session(&self, purpose: Purpose, sid: Uuid) -> Result<String, Unspecified> {
        let sealed = self.seal(purpose.label(), sid.as_bytes().to_vec())?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The session that a sealed reference names, if it is one of ours and for this purpose.
    pub(super) fn open_session(&self, purpose: Purpose, text: &str) -> Option<Uuid> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        Uuid::from_slice(&self.open(purpose.label(), &sealed)?).ok()
    }

    /// A program's token for a session: an HS256 JWT that nobody else can verify.
    pub(super) fn program_token(&self, grant: &ProgramGrant<'_>) -> Result<String, JwtError> {
        let claims = json!({
            "aud": grant.hosts,
            "iat": unix(grant.issued),
            "id": grant.sid.to_string(),
            "iss": grant.issuer,
            "user_id": grant.user_id,
        });
        let (key, _) = &self.program_tokens;
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, key)
    }

    /// The session of a program's token, if it is one of ours. The token has no end of its own.
    pub(super) fn open_program_token(&self, token: &str) -> Option<Uuid> {
        #[derive(Deserialize)]
        struct Claims {
            id: String,
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let (_, key) = &self.program_tokens;
        let token = jsonwebtoken::decode::<Claims>(token, key, &validation).ok()?;
        token.claims.id.parse().ok()
    }

    /// A link to `endpoint` with these parameters, in the order of their names, and a signature
    /// over all of it.
    pub(super) fn sign_link(&self, endpoint: &Url, mut pairs: Vec<(String, String)>) -> Url {
        pairs.sort();
        let tag = hmac::sign(&self.signing, signed_text(endpoint, &pairs).as_bytes());
        pairs.push((SIGNATURE.to_owned(), URL_SAFE.encode(tag)));
        pairs.sort();
        with_query(endpoint, &pairs)
    }

    /// The parameters of a link to `endpoint`, if its signature is ours.
    pub(super) fn verify_link(&self, endpoint: &Url, query: &str) -> Option<Vec<(String, String)>> {
        let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let at = pairs.iter().position(|(name, _)| name == SIGNATURE)?;
        let (_, signature) = pairs.remove(at);
        pairs.sort();
        let tag = URL_SAFE.decode(signature).ok()?;
        let text = signed_text(endpoint, &pairs);
        hmac::verify(&self.signing, text.as_bytes(), &tag).ok()?;
        Some(pairs)
    }

    fn seal(&self, label: &[u8], mut content: Vec<u8>) -> Result<Vec<u8>, Unspecified> {
        let nonce = self
            .sealing
            .seal_in_place_append_tag(Aad::from(label), &mut content)?;
        Ok([nonce.as_ref().as_slice(), content.as_slice()].concat())
    }

    fn open(&self, label: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, content) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut content = content.to_vec();
        let opened = self
            .sealing
            .open_in_place(nonce, Aad::from(label), &mut content)
            .ok()?;
        Some(opened.to_vec())
    }
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Cookie => b"cookie",
            Self::Callback => b"callback",
        }
    }
}

/// Text that nobody guesses: 32 random bytes in the alphabet of URLs.
pub(super) fn random_text() -> Result<String, Unspecified> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Seconds since 1970.
pub(super) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

fn signed_text(endpoint: &Url, pairs: &[(String, String)]) -> String {
    with_query(endpoint, pairs).into()
}

fn with_query(endpoint: &Url, pairs: &[(String, String)]) -> Url {
    let mut url = endpoint.clone();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn te(serial: u64) -> Te {
        Te {
            sid: Uuid::new_v4(),
            ends: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            serial,
        }
    }

    #[test]
    fn what_is_not_sealed_here_is_no_te() {
        let vault = Vault::generate().unwrap();
        let other = Vault::generate().unwrap();
        let text = other.seal_te(te(1)).unwrap();
        for garbage in ["", "xx", "AAAA", "not base64!", &text, &text[1..]] {
            assert_eq!(vault.open_te(garbage), None, "{garbage}");
        }
        let cookie = vault.seal_session(Purpose::Cookie, Uuid::new_v4()).unwrap();
        assert_eq!(vault.open_te(&cookie), None);
        assert_eq!(vault.open_session(Purpose::Callback, &cookie), None);
    }

    #[test]
    fn a_te_comes_back_as_it_was_and_looks_like_pomeriums() {
        let vault = Vault::generate().unwrap();
        let texts: Vec<String> = (0..200)
            .map(|serial| {
                let te = te(serial);
                let text = vault.seal_te(te).unwrap();
                assert_eq!(vault.open_te(&text), Some(te));
                text
            })
            .collect();
        assert!(texts.iter().all(|text| text.ends_with('=')));
        assert!(texts.iter().any(|text| text.contains('+')));
        assert!(texts.iter().any(|text| text.contains('/')));
    }

    #[test]
    fn a_changed_link_does_not_verify() {
        let vault = Vault::generate().unwrap();
        let endpoint = Url::parse("http://authenticate.localhost:8000/.pomerium/sign_in").unwrap();
        let elsewhere = Url::parse("http://chat.localhost:8000/.pomerium/sign_in").unwrap();
        let pairs = vec![
            ("b".to_owned(), "x y/ü".to_owned()),
            ("a".to_owned(), String::new()),
        ];
        let link = vault.sign_link(&endpoint, pairs);
        let query = link.query().unwrap();

        assert_eq!(vault.verify_link(&elsewhere, query), None);
        assert_eq!(
            vault.verify_link(&endpoint, &query.replace("x+y", "x+z")),
            None
        );
        assert_eq!(vault.verify_link(&endpoint, "a=&b=x"), None);
        let back = vault.verify_link(&endpoint, query).unwrap();
        assert_eq!(
            back,
            [("a".into(), String::new()), ("b".into(), "x y/ü".into())]
        );
    }
}
