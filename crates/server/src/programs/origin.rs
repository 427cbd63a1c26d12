//! Which Toolgate: the origin of its address.

use std::{fmt, str::FromStr};

use url::Url;

/// `https://chat.example.com`: scheme, host and port, nothing else. Logins are kept by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Url);

impl Origin {
    /// The address of `path` there, which may carry a query.
    pub(super) fn at(&self, path: &str) -> Result<Url, url::ParseError> {
        // Joining would let `//host/` name another host.
        let mut url = self.0.clone();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        if !path.starts_with('/') {
            return Err(url::ParseError::RelativeUrlWithoutBase);
        }
        url.set_path(path);
        url.set_query(query);
        Ok(url)
    }

    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "must be Toolgate's address, such as https://chat.example.com";
        let url = Url::parse(text).map_err(|_| WANTED)?;
        let secret = !url.username().is_empty() || url.password().is_some();
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || secret || !plain {
            return Err(WANTED);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_origin_is_an_address() {
        for wrong in [
            "chat.example.com",
            "ftp://chat.example.com",
            "https://ana:pw@chat.example.com",
            "https://chat.example.com/v1",
            "https://chat.example.com/?x",
        ] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
        let origin: Origin = "HTTPS://Chat.Example.com:443/".parse().unwrap();
        assert_eq!(origin.to_string(), "https://chat.example.com");
    }

    #[test]
    fn no_path_leads_to_another_host() {
        let origin: Origin = "https://chat.example.com".parse().unwrap();
        for path in [
            "//evil.example",
            "/\\evil.example",
            "/@evil.example",
            "/v1?x=//y",
        ] {
            let url = origin.at(path).unwrap();
            assert_eq!(url.host_str(), Some("chat.example.com"), "{path}");
        }
        assert!(origin.at("evil.example").is_err());
        assert_eq!(
            origin.at("/v1/models?a=b").unwrap().as_str(),
            "https://chat.example.com/v1/models?a=b"
        );
    }
}
