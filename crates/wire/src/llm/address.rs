//! A model endpoint's address and key, as async-openai asks for them.
//!
//! Its own configuration type reads the environment and panics on a key that is no header value.

use std::fmt;

use async_openai::config::Config;
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Endpoint;

/// An endpoint, taken apart.
pub(super) struct Address {
    /// Without a trailing slash, query and fragment.
    base: String,
    /// The query that every request carries (Azure's `api-version`).
    query: Vec<(String, String)>,
    headers: HeaderMap,
    key: SecretString,
    /// The key cannot be sent: it holds control characters.
    bad_key: bool,
}

impl Address {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let Endpoint {
            mut base_url,
            api_key,
        } = endpoint;
        let query = base_url.query_pairs().into_owned().collect();
        base_url.set_query(None);
        base_url.set_fragment(None);
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        // A key read from a file often ends with a line break.
        let key = api_key
            .as_ref()
            .map(|key| key.expose_secret().trim())
            .unwrap_or_default();
        let mut bad_key = false;
        if !key.is_empty() {
            match HeaderValue::try_from(format!("Bearer {key}")) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    headers.insert(header::AUTHORIZATION, value);
                }
                Err(_) => bad_key = true,
            }
        }
        let key = SecretString::from(key);
        let base = base_url.as_str().trim_end_matches('/').to_owned();
        Self {
            base,
            query,
            headers,
            key,
            bad_key,
        }
    }

    /// Whether there is a key that cannot be sent.
    pub(super) fn has_bad_key(&self) -> bool {
        self.bad_key
    }

    /// Whether there is a key.
    pub(super) fn has_key(&self) -> bool {
        !self.key.expose_secret().is_empty()
    }

    /// `host:port`, as a person looks for it.
    pub(super) fn host(&self) -> String {
        let url = Url::parse(&self.base).ok();
        let host = url
            .as_ref()
            .and_then(Url::host_str)
            .unwrap_or("the model endpoint");
        match url.as_ref().and_then(Url::port) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// `text` without the key, should an endpoint repeat it.
    pub(super) fn without_key(&self, text: &str) -> String {
        let key = self.key.expose_secret();
        if key.is_empty() {
            text.to_owned()
        } else {
            text.replace(key, "[key]")
        }
    }
}

impl Config for Address {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        self.query
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }

    fn api_base(&self) -> &str {
        &self.base
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(base: &str, key: Option<&str>) -> Address {
        Address::new(Endpoint {
            base_url: base.parse().unwrap(),
            api_key: key.map(Into::into),
        })
    }

    #[test]
    fn paths_join_with_one_slash_and_keep_the_query() {
        for base in [
            "http://m:1/v1",
            "http://m:1/v1/",
            "http://m:1/v1/?api-version=1",
        ] {
            assert_eq!(address(base, None).url("/models"), "http://m:1/v1/models");
        }
        assert_eq!(address("http://m/v1?a=b", None).query(), [("a", "b")]);
        assert_eq!(address("http://m:1/v1", None).host(), "m:1");
    }

    #[test]
    fn the_key_is_trimmed_sensitive_and_never_sent_broken() {
        let headers = address("http://m", Some(" sk-1\n")).headers();
        assert_eq!(headers[header::AUTHORIZATION], "Bearer sk-1");
        assert!(headers[header::AUTHORIZATION].is_sensitive());

        for none in [None, Some(""), Some("\n")] {
            let address = address("http://m", none);
            assert!(!address.headers().contains_key(header::AUTHORIZATION));
            assert!(!address.has_bad_key());
        }
        assert!(address("http://m", Some("sk\n-1")).has_bad_key());
    }

    #[test]
    fn the_key_never_shows() {
        let address = address("http://user:pass@m:1/v1", Some("sk-1"));
        assert_eq!(address.without_key("bad key sk-1!"), "bad key [key]!");
        assert_eq!(format!("{address:?}"), r#"Address { host: "m:1", .. }"#);
    }
}
