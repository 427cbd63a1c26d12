//! The file of logins: whom a person is signed in as, where.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Error, key::Key, origin::Origin, terminal::note};

/// The largest file read, bytes: hundreds of logins.
const LARGEST: u64 = 1024 * 1024;

/// What only the owner may do: read and write a file, enter a directory.
#[cfg(unix)]
const FILE_MODE: u32 = 0o600;
#[cfg(unix)]
const DIRECTORY_MODE: u32 = 0o700;

/// One login.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Login {
    /// Stands for the session.
    pub(super) token: Key,
    /// Who signed in, as Toolgate calls them.
    pub(super) name: String,
    /// Their subject there; none in files of before it was kept.
    #[serde(default)]
    pub(super) subject: Option<String>,
}

/// `logins.json`, by origin. It is read anew each time: another command may have changed it.
#[derive(Clone, Debug)]
pub(super) struct Logins {
    directory: PathBuf,
}

type ByOrigin = BTreeMap<String, Login>;

impl Logins {
    pub(super) fn of(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The login there, if there is one.
    pub(super) fn get(&self, origin: &Origin) -> Result<Option<Login>, Error> {
        Ok(self.read()?.remove(&origin.to_string()))
    }

    /// The origins somebody is signed in to.
    pub(super) fn origins(&self) -> Result<Vec<String>, Error> {
        Ok(self.read()?.into_keys().collect())
    }

    /// Keeps a login, in place of the one before.
    pub(super) fn put(&self, origin: &Origin, login: Login) -> Result<(), Error> {
        let _alone = self.lock()?;
        let mut all = self.read()?;
        all.insert(origin.to_string(), login);
        self.write(&all)
    }

    /// Forgets a login; whether there was one.
    pub(super) fn forget(&self, origin: &Origin) -> Result<bool, Error> {
        if self.get(origin)?.is_none() {
            return Ok(false);
        }
        let _alone = self.lock()?;
        let mut all = self.read()?;
        let found = all.remove(&origin.to_string()).is_some();
        if found {
            self.write(&all)?;
        }
        Ok(found)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join("logins.json")
    }

    /// Keeps other commands from changing the file until the result is dropped. It is the lock of
    /// a file beside, as each change puts another file in the place of the one before; readers
    /// need none.
    fn lock(&self) -> Result<File, Error> {
        let path = self.directory.join("logins.lock");
        let locked = || {
            create_directory(&self.directory)?;
            let file = open_for_owner(&path)?;
            file.lock()?;
            Ok::<_, io::Error>(file)
        };
        locked().map_err(|error| unusable(&path, &error))
    }

    fn read(&self) -> Result<ByOrigin, Error> {
        let path = self.path();
        let size = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ByOrigin::new()),
            metadata => metadata.map_err(|error| unusable(&path, &error))?.len(),
        };
        if size > LARGEST {
            return Err(unusable(&path, &"it is too large"));
        }
        close_to_others(&path).map_err(|error| unusable(&path, &error))?;
        let text = fs::read(&path).map_err(|error| unusable(&path, &error))?;
        // The error of serde would quote what is there.
        serde_json::from_slice(&text).map_err(|_| {
            unusable(
                &path,
                &"it is not what `toolgate login` wrote; remove it and sign in again",
            )
        })
    }

    /// Writes the whole file beside the old one, and puts it in its place: a reader sees the one
    /// or the other.
    fn write(&self, all: &ByOrigin) -> Result<(), Error> {
        let path = self.path();
        let written = || {
            create_directory(&self.directory)?;
            // Made with mode 0600.
            let file = tempfile::NamedTempFile::new_in(&self.directory)?;
            serde_json::to_writer_pretty(&file, all)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok::<_, io::Error>(())
        };
        written().map_err(|error| unusable(&path, &error))
    }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::failed(format!("cannot use {}: {why}", path.display()))
}

#[cfg(unix)]
fn create_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(DIRECTORY_MODE).create(path)?;
    if is_open(fs::metadata(path)?.permissions().mode()) {
        fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE))?;
    }
    Ok(())
}

#[cfg(unix)]
fn open_for_owner(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    options.mode(FILE_MODE).open(path)
}

#[cfg(not(unix))]
fn open_for_owner(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).open(path)
}

#[cfg(not(unix))]
fn create_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Whether a mode gives others any right.
#[cfg(unix)]
fn is_open(mode: u32) -> bool {
    mode & 0o077 != 0
}

/// Takes from others the rights that somebody gave them, and says so.
#[cfg(unix)]
fn close_to_others(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if !is_open(mode) {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(FILE_MODE))?;
    note(&format!(
        "{} was open to others on this machine (mode {mode:o}); now it is yours only. If somebody \
         may have read it, sign out in your browser, which ends its tokens, and sign in again.",
        path.display()
    ));
    Ok(())
}

#[cfg(not(unix))]
fn close_to_others(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(token: &str) -> Login {
        Login {
            token: Key::new(token).unwrap(),
            name: "Ana".to_owned(),
            subject: None,
        }
    }

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let logins = Logins::of(directory.path().join("toolgate"));
        let at = origin("https://chat.example.com");
        assert!(logins.get(&at).unwrap().is_none());
        assert!(!logins.forget(&at).unwrap());
        fs::create_dir(directory.path().join("toolgate")).unwrap();
        fs::write(logins.path(), "secret-words").unwrap();
        let error = logins.put(&at, login("a.b.c")).unwrap_err().to_string();
        assert!(error.contains("sign in again"), "{error}");
        assert!(!error.contains("secret-words"), "{error}");
        assert_eq!(fs::read_to_string(logins.path()).unwrap(), "secret-words");
    }

    #[test]
    fn logins_are_kept_by_origin_and_forgotten_one_by_one() {
        let directory = tempfile::tempdir().unwrap();
        let logins = Logins::of(directory.path().join("deep/toolgate"));
        let (here, there) = (
            origin("https://a.example"),
            origin("https://a.example:8443"),
        );
        logins.put(&here, login("a.b.c")).unwrap();
        logins.put(&there, login("d.e.f")).unwrap();
        logins.put(&here, login("g.h.i")).unwrap();
        let kept = fs::read_to_string(logins.path()).unwrap();
        assert!(kept.contains("g.h.i") && kept.contains("d.e.f") && !kept.contains("a.b.c"));
        assert!(logins.forget(&here).unwrap());
        assert!(logins.get(&here).unwrap().is_none());
        assert_eq!(logins.origins().unwrap(), ["https://a.example:8443"]);
        let left = fs::read_dir(directory.path().join("deep/toolgate"));
        let mut left: Vec<_> = left
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["logins.json", "logins.lock"]);
    }

    #[test]
    fn no_login_is_lost_when_several_come_at_once() {
        const COMMANDS: usize = 8;
        const LOGINS: usize = 10;
        let directory = tempfile::tempdir().unwrap();
        let logins = Logins::of(directory.path().join("toolgate"));
        std::thread::scope(|commands| {
            for command in 0..COMMANDS {
                let logins = &logins;
                commands.spawn(move || {
                    for n in 0..LOGINS {
                        let at = origin(&format!("https://t{command}-{n}.example"));
                        logins.put(&at, login("a.b.c")).unwrap();
                    }
                });
            }
        });
        assert_eq!(logins.origins().unwrap().len(), COMMANDS * LOGINS);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_them_also_when_it_was_otherwise() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let directory = tempfile::tempdir().unwrap();
        let logins = Logins::of(directory.path().join("toolgate"));
        let at = origin("https://chat.example.com");
        logins.put(&at, login("a.b.c")).unwrap();
        assert_eq!(mode(&logins.path()), 0o600);
        assert_eq!(mode(&logins.directory), 0o700);
        fs::set_permissions(logins.path(), fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&logins.directory, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(logins.get(&at).unwrap().is_some());
        assert_eq!(mode(&logins.path()), 0o600);
        logins.put(&at, login("a.b.c")).unwrap();
        assert_eq!(mode(&logins.directory), 0o700);
    }
}
