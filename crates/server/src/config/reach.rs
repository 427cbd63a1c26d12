//! What the commands of a person's own machine need: how Pomerium is reached from here, and where
//! their logins are kept.

use std::path::PathBuf;

use super::{ConfigError, Reader, Source, invalid};

/// The settings that commands such as `toolgate login` take: those about the way to Pomerium.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// `TOOLGATE_POMERIUM_ADDR`: `host:port` to dial when DNS would not lead to Pomerium.
    pub pomerium_addr: Option<String>,
    /// What `TOOLGATE_CA_FILE` holds: extra root certificates, PEM.
    pub ca_pem: Option<Vec<u8>>,
}

impl Reach {
    /// Reads them from `source`.
    pub fn read(source: &dyn Source) -> Result<Self, ConfigError> {
        let read = Reader { source };
        let key = "TOOLGATE_CA_FILE";
        let ca_pem = match read.text(key) {
            None => None,
            Some(path) => {
                let pem = std::fs::read(&path);
                Some(pem.map_err(|error| invalid(key, format!("cannot read {path}: {error}")))?)
            }
        };
        Ok(Self {
            pomerium_addr: read.pomerium_addr()?,
            ca_pem,
        })
    }
}

/// The directory of this person's logins: `toolgate` in `XDG_CONFIG_HOME`, or else in
/// `~/.config` (XDG base directories, version 0.8: a path that is not absolute does not count).
/// None if neither is known.
pub fn logins_directory(source: &dyn Source) -> Option<PathBuf> {
    let absolute = |key| {
        let path = PathBuf::from(source.get(key)?);
        path.is_absolute().then_some(path)
    };
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    Some(config?.join("toolgate"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn directory(pairs: &[(&str, &str)]) -> Option<PathBuf> {
        let set = pairs.iter().map(|(key, value)| (*key, *value));
        let source: HashMap<String, String> =
            set.map(|(key, value)| (key.into(), value.into())).collect();
        logins_directory(&source)
    }

    #[test]
    fn logins_are_in_the_configuration_of_the_person() {
        assert_eq!(directory(&[]), None);
        assert_eq!(directory(&[("XDG_CONFIG_HOME", "relative")]), None);
        let home = [("XDG_CONFIG_HOME", ""), ("HOME", "/home/ana")];
        assert_eq!(directory(&home), Some("/home/ana/.config/toolgate".into()));
        let both = [("XDG_CONFIG_HOME", "/etc/ana"), ("HOME", "/home/ana")];
        assert_eq!(directory(&both), Some("/etc/ana/toolgate".into()));
    }

    #[test]
    fn a_ca_file_that_is_not_there_is_named() {
        let source: HashMap<String, String> =
            [("TOOLGATE_CA_FILE".into(), "/nowhere/ca.pem".into())].into();
        let error = Reach::read(&source).unwrap_err().to_string();
        assert!(
            error.starts_with("TOOLGATE_CA_FILE: cannot read"),
            "{error}"
        );
    }
}
