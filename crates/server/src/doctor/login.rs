//! The person's token, for what only people see.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use wire::http::Credential;

use super::{
    origin,
    report::{Check, Group},
};
use crate::{config::Layered, programs};

/// Where Pomerium takes a programmatic token beside `Authorization`.
const HEADER: HeaderName = HeaderName::from_static("x-pomerium-authorization");

/// What stands before a programmatic token that is sent as bearer.
const PREFIX: &str = "Pomerium-";

/// A token of Pomerium's that stands for a person.
#[derive(Clone, Debug)]
pub(super) struct Login(SecretString);

impl Login {
    /// The token in the `given` file, or the one that `toolgate login` keeps; the check says why
    /// there is none.
    pub(super) fn find(
        given: Option<&Path>,
        public_url: &Url,
        source: &Layered,
    ) -> Result<Self, Check> {
        let origin = origin(public_url);
        let id = "pomerium.login";
        let run = format!("run `toolgate login {origin}`, then `toolgate doctor` again");
        if let Some(file) = given {
            return match programs::secret::read("--token-file", file) {
                Ok(token) => Ok(Self::of(token.expose_secret())),
                Err(error) => {
                    let mend = "name a file with what `toolgate token` prints";
                    Err(Check::fail(Group::Pomerium, id, error.to_string()).mend(mend))
                }
            };
        }
        match programs::stored_key(source, &origin) {
            Ok(Some(key)) => Ok(Self(key)),
            Ok(None) => {
                let what = format!("not signed in to {origin}: what only people see is left out");
                Err(Check::skipped(Group::Pomerium, id, what).mend(run))
            }
            Err(error) => {
                let what = format!("no login: {error}");
                Err(Check::warn(Group::Pomerium, id, what).mend(run))
            }
        }
    }

    /// A token as people have it: a programmatic one needs its prefix.
    fn of(given: &str) -> Self {
        let given = given.trim();
        let is_jwt = given.split('.').count() == 3;
        Self(if is_jwt && !given.starts_with(PREFIX) {
            format!("{PREFIX}{given}").into()
        } else {
            given.into()
        })
    }

    /// For Pomerium and MCP servers behind it.
    pub(super) fn token(&self) -> &SecretString {
        &self.0
    }

    /// For requests to Toolgate's route: `Authorization` stays free, so that what Toolgate finds
    /// there is Pomerium's.
    pub(super) fn beside_authorization(&self) -> (HeaderMap, Credential) {
        let mut headers = HeaderMap::new();
        let bare = self.0.expose_secret().strip_prefix(PREFIX);
        match bare.map(HeaderValue::from_str) {
            Some(Ok(mut value)) => {
                value.set_sensitive(true);
                headers.insert(HEADER, value);
                (headers, Credential::None)
            }
            Some(Err(_)) | None => (headers, Credential::ExternalToken(self.0.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    #[test]
    fn a_programmatic_token_gets_its_prefix_once_and_others_stay_as_they_are() {
        for (given, sent) in [
            ("a.b.c", "Pomerium-a.b.c"),
            ("Pomerium-a.b.c\n", "Pomerium-a.b.c"),
            ("pom_mat_abc", "pom_mat_abc"),
        ] {
            assert_eq!(Login::of(given).token().expose_secret(), sent);
        }
    }

    #[test]
    fn a_token_comes_from_a_file_and_one_that_cannot_be_read_is_a_failure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let url: Url = "https://chat.example.com".parse().unwrap();
        let find = |path: &Path| Login::find(Some(path), &url, &Layered::default());
        let empty = find(file.path()).unwrap_err();
        assert_eq!(empty.verdict, Verdict::Fail);
        assert!(empty.what.contains("it is empty"), "{}", empty.what);
        std::fs::write(file.path(), "a.b.c\n").unwrap();
        let token = find(file.path()).unwrap();
        assert_eq!(token.token().expose_secret(), "Pomerium-a.b.c");
    }

    #[test]
    fn toolgates_route_is_asked_with_authorization_left_free() {
        let (headers, credential) = Login::of("a.b.c").beside_authorization();
        assert_eq!(headers[HEADER], "a.b.c");
        assert!(headers[HEADER].is_sensitive());
        assert!(credential.secret().is_none());
        let (headers, credential) = Login::of("pom_mat_abc").beside_authorization();
        assert!(headers.is_empty());
        assert!(credential.secret().is_some());
    }
}
