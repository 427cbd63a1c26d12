//! The directory of the databases.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Error;

/// A directory: the user's, which stays, or a temporary one.
#[derive(Debug)]
pub(super) enum Data {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Data {
    /// Makes the directory if need be.
    pub(super) fn prepare(directory: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = directory else {
            let made = tempfile::Builder::new().prefix("toolgate-demo-").tempdir();
            return made
                .map(Self::Temporary)
                .map_err(failed(&std::env::temp_dir()));
        };
        std::fs::create_dir_all(path).map_err(failed(path))?;
        // The databases' URLs must not depend on the working directory.
        path.canonicalize().map(Self::Kept).map_err(failed(path))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }

    /// Writes the stand-in's authority, which is new at each start, and returns the file's name.
    pub(super) fn write_ca(&self, pem: &str) -> Result<String, Error> {
        let path = self.path().join("pomerium-ca.pem");
        std::fs::write(&path, pem).map_err(failed(&path))?;
        Ok(path.display().to_string())
    }

    /// Toolgate's database.
    pub(super) fn sqlite_url(&self) -> String {
        // In the URL, these two would mean something else.
        let path = self.path().join("toolgate.db").display().to_string();
        format!("sqlite://{}", path.replace('%', "%25").replace('?', "%3F"))
    }

    /// Removes the directory if it is a temporary one.
    pub(super) fn remove(self) -> Result<(), Error> {
        match self {
            Self::Kept(_) => Ok(()),
            Self::Temporary(directory) => {
                let path = directory.path().to_owned();
                directory.close().map_err(failed(&path))
            }
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Data { path, source }
}
