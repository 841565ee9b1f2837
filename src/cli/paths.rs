//! The paths of a daemon's state folder and socket, and the lock of the state folder. The rules are
//! functions of the environment; only [`State`] uses the disk. One-shot commands create and lock
//! nothing.
//!
//! - state: `$STATE_DIRECTORY/NAME`, else `$XDG_STATE_HOME/sprat/NAME`, else
//!   `~/.local/state/sprat/NAME`;
//! - socket: `$RUNTIME_DIRECTORY/NAME.sock`, else `$XDG_RUNTIME_DIR/sprat/NAME.sock`, else
//!   `NAME.sock` in the state folder. If the socket is elsewhere, `NAME.sock` in the state folder
//!   is a symbolic link to it: jobs of cron, su and ssh have no `XDG_RUNTIME_DIR`.
//!
//! The digest cache is in the state folder and not below `XDG_CACHE_HOME`. There the lock of the
//! folder protects it, and a service that has only a state folder keeps it over a restart.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::settings::Env;
use crate::config::{CONFIG_BYTES_MAX, SHARES_MAX};
use crate::error::{Exit, Failure};
use crate::node::ShareFolder;

/// Longest path of a Unix socket, in bytes: `sun_path` without its NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The name of the file with the address at which a super peer last listened.
const LISTEN: &str = "listen";
/// Longest daemon name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Checks that a daemon's name can be a file name: letters, digits, `.`, `_`, `-`, and no leading
/// dot.
pub(crate) fn checked_name(name: &str) -> Result<&str, Failure> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.');
    if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Ok(name);
    }
    let message = format!("--name {name:?} is not valid; use up to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.'");
    Err(Failure::usage(message))
}

/// Checks the options that say where a daemon has its files. Nothing is read or made.
pub(crate) fn checked_places(
    name: Option<&str>,
    [state, control, ready_file]: [Option<&Path>; 3],
) -> Result<(), Failure> {
    let name = name.map(checked_name).transpose()?.unwrap_or_default();
    control.map(|path| control_socket(name, Some(path), None, &|_| None)).transpose()?;
    state.map(|path| absolute("--state", path)).transpose()?;
    ready_file.map(|path| absolute("--ready-file", path)).transpose().map(drop)
}

/// The state folder of the daemon with this name.
pub(crate) fn state_folder(name: &str, given: Option<&Path>, env: Env<'_>) -> Result<PathBuf, Failure> {
    if let Some(folder) = given {
        return absolute("--state", folder);
    }
    if let Some(folder) = folder_of(env, "STATE_DIRECTORY") {
        return Ok(folder.join(name));
    }
    if let Some(folder) = folder_of(env, "XDG_STATE_HOME") {
        return Ok(folder.join("sprat").join(name));
    }
    if let Some(home) = folder_of(env, "HOME") {
        return Ok(home.join(".local/state/sprat").join(name));
    }
    let message = "no folder for the state: neither HOME nor XDG_STATE_HOME is set; name one with --state DIR";
    Err(Failure::usage(message))
}

/// The control socket of the peer with this name.
pub(crate) fn control_socket(
    name: &str,
    given: Option<&Path>,
    state: Option<&Path>,
    env: Env<'_>,
) -> Result<PathBuf, Failure> {
    let path = if let Some(path) = given {
        absolute("--control", path)?
    } else if let Some(folder) = folder_of(env, "RUNTIME_DIRECTORY") {
        folder.join(format!("{name}.sock"))
    } else if let Some(folder) = folder_of(env, "XDG_RUNTIME_DIR") {
        folder.join("sprat").join(format!("{name}.sock"))
    } else {
        let folder = state_folder(name, state, env).map_err(|failure| {
            let message = "no folder for the control socket: neither XDG_RUNTIME_DIR nor HOME is set; name it with \
                           --control PATH";
            Failure::new(failure.exit, message)
        })?;
        folder.join(format!("{name}.sock"))
    };
    if path.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
        let message = format!(
            "the path of the control socket {} is longer than {SOCKET_PATH_BYTES_MAX} bytes, the limit of Unix sockets; \
             name a shorter one with --control PATH",
            path.display()
        );
        return Err(Failure::usage(message));
    }
    Ok(path)
}

/// The control socket of the running peer with this name. It is at the path that the environment
/// gives, or else where the link in the state folder leads.
pub(crate) fn running_socket(name: &str, env: Env<'_>) -> Result<PathBuf, Failure> {
    let path = control_socket(name, None, None, env)?;
    let named = state_folder(name, None, env).ok().map(|folder| folder.join(format!("{name}.sock")));
    for place in [Some(&path), named.as_ref()].into_iter().flatten() {
        // The path of the link may be too long for a socket, but the path to which it leads may be
        // short enough.
        let socket = fs::read_link(place).unwrap_or_else(|_| place.clone());
        if socket.exists() {
            return Ok(socket);
        }
    }
    Ok(path)
}

/// The path that an option names, made absolute, so that it means the same in another process.
///
/// # Errors
/// Exit 2 if it is empty.
pub(crate) fn absolute(option: &str, path: &Path) -> Result<PathBuf, Failure> {
    if path.as_os_str().is_empty() {
        return Err(Failure::usage(format!("{option} is empty; name a path, such as . for the current folder")));
    }
    std::path::absolute(path).map_err(|error| {
        let path = path.display();
        let why =
            format!("the current folder cannot be used ({error}); change to another folder, or name {path} from /");
        Failure::new(Exit::Disk, why)
    })
}

/// The folders of `--share`, with absolute paths. If there is a folder for downloads, there may be
/// no shares.
pub(crate) fn shares(given: Vec<ShareFolder>, has_downloads: bool) -> Result<Vec<ShareFolder>, Failure> {
    if given.is_empty() && !has_downloads {
        return Err(Failure::usage("the folder to share is missing; name it with --share DIR"));
    }
    if given.len() > SHARES_MAX {
        return Err(Failure::usage(format!(
            "--share: at most {SHARES_MAX} folders can be shared; share a folder above them"
        )));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = given.iter().find(|share| !names.insert(share.name.as_deref())) {
        let why = match &twice.name {
            Some(name) => format!("--share: two shares have the name {name:?}; give one of them another name"),
            None => "--share: two shares have no name; write NAME=DIR for one of them: NAME/ goes before its paths"
                .to_owned(),
        };
        return Err(Failure::usage(why));
    }
    let shares = given.into_iter();
    shares.map(|share| Ok(ShareFolder { path: absolute("--share", &share.path)?, ..share })).collect()
}

/// The folder that a variable names. systemd may list several folders; the first one is ours. XDG
/// requires that relative paths are ignored.
pub(crate) fn folder_of(env: Env<'_>, variable: &str) -> Option<PathBuf> {
    let value = env(variable)?;
    let first = std::env::split_paths(&value).next()?;
    first.is_absolute().then_some(first)
}

/// Reads a configuration file.
pub(crate) fn read_config(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text)?;
    let is_short = text.len() as u64 <= CONFIG_BYTES_MAX;
    is_short.then_some(text).ok_or_else(|| io::Error::other(format!("it has more than {CONFIG_BYTES_MAX} bytes")))
}

/// Makes a folder that only this user can read, and the folders above it. A power cut does not lose
/// them.
pub(crate) fn make_private_folder(folder: &Path) -> Result<(), Failure> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    uninterrupted(|| DirBuilder::new().recursive(true).mode(0o700).create(folder))
        .map_err(|e| disk_failure("make the folder", folder, &e))?;
    missing.into_iter().for_each(sync_name);
    Ok(())
}

fn disk_failure(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Disk, format!("cannot {what} {}: {error}", path.display()))
}

/// The state folder of a running daemon, locked until this is dropped.
#[derive(Debug)]
pub(crate) struct State {
    folder: PathBuf,
    /// The open file that holds the lock.
    _lock: File,
}

/// The link in the state folder to the control socket, if there is one. It is removed when this is
/// dropped.
#[derive(Debug)]
pub(crate) struct SocketName(Option<PathBuf>);

impl Drop for SocketName {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

impl State {
    /// Makes the folder and locks it.
    ///
    /// # Errors
    /// Exit 1 if another process holds the lock; the message names its pid. Exit 9 if the folder
    /// cannot be used.
    pub(crate) fn open(folder: PathBuf, name: &str) -> Result<State, Failure> {
        make_private_folder(&folder).map_err(|failure| Failure {
            message: format!("{}; choose another one with --state", failure.message),
            ..failure
        })?;
        let path = folder.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(&path).map_err(|e| disk_failure("open", &path, &e))?;
        let locked = uninterrupted(|| match lock.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        });
        match locked {
            Ok(true) => {}
            Ok(false) => {
                let mut pid = String::new();
                let _ = lock.read_to_string(&mut pid);
                let message = format!(
                    "{name:?} already runs, as process {}; stop it first, or give this one another --name",
                    if pid.trim().is_empty() { "unknown" } else { pid.trim() }
                );
                return Err(Failure::new(Exit::Internal, message));
            }
            Err(error) => return Err(disk_failure("lock", &path, &error)),
        }
        // The process id is only for people. So the daemon also starts if the disk is full.
        let pid = format!("{}\n", std::process::id());
        let written = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(pid.as_bytes()));
        if let Err(error) = written {
            log::warn!("cannot write {}: {error}", path.display());
        }
        Ok(State { folder, _lock: lock })
    }

    /// A file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a link to the control socket in the folder, unless the socket itself is there. A
    /// failure is only logged, because commands can also find the peer by its environment.
    pub(crate) fn name_socket(&self, name: &str, socket: &Path) -> SocketName {
        let path = self.file(&format!("{name}.sock"));
        if path == socket {
            return SocketName(None);
        }
        let _ = fs::remove_file(&path);
        if let Err(error) = std::os::unix::fs::symlink(socket, &path) {
            log::warn!("cannot make the link {}: {error}", path.display());
            return SocketName(None);
        }
        SocketName(Some(path))
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder for this user only. It is empty after each start.
    ///
    /// # Errors
    /// Exit 9 if it cannot be made.
    pub(crate) fn empty_folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.file(name);
        let _ = fs::remove_dir_all(&path);
        make_private_folder(&path)?;
        Ok(path)
    }

    /// The token with which the page of this run can be used from other hosts. It is in a file that
    /// only this user can read. If the file cannot be written, only the page knows the token.
    pub(crate) fn http_token(&self, fresh: crate::wire::NodeId) -> String {
        let (path, token) = (self.file("http-token"), fresh.to_string());
        let _ = fs::remove_file(&path);
        let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        if let Err(error) = written.and_then(|mut file| file.write_all(token.as_bytes())) {
            log::warn!("cannot write {}: {error}", path.display());
        }
        token
    }

    /// Stores the address at which this super peer listens, for the invitations that `sprat user`
    /// prints. Without it, they name another address of the host. So a failure is only reported.
    pub(crate) fn keep_listen(&self, listen: SocketAddr) {
        let path = self.file(LISTEN);
        if let Err(error) = write_whole(&path, format!("{listen}\n").as_bytes()) {
            log::warn!("cannot write {}: {error}", path.display());
        }
    }

    /// The address at which the super peer last listened.
    pub(crate) fn listened(folder: &Path) -> Option<SocketAddr> {
        fs::read_to_string(folder.join(LISTEN)).ok()?.trim().parse().ok()
    }

    /// How many peers had registered files when this super peer last ran; 0 if this is not known.
    pub(crate) fn sharing(&self) -> usize {
        let text = fs::read_to_string(self.file("sharing")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Stores how many peers have registered files. Without this number, the next run reports its
    /// first answers as complete. So a failure is only reported.
    pub(crate) fn keep_sharing(&self, peers: usize) {
        let path = self.file("sharing");
        if let Err(error) = write_whole(&path, format!("{peers}\n").as_bytes()) {
            log::warn!("cannot write {}: {error}", path.display());
        }
    }
}

/// Writes a file and renames it, so that no reader finds a part of it. A power cut may leave a
/// part.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path);
    let written = fs::write(&new, bytes).and_then(|()| uninterrupted(|| fs::rename(&new, path)));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// The temporary file that is renamed to this one. Its name is fixed. So at most one is left over
/// when processes die, and the next one replaces it.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Syncs a file, then renames it over another one and syncs their folder.
pub(crate) fn move_over(new: &Path, path: &Path) -> io::Result<()> {
    File::open(new)?.sync_all()?;
    uninterrupted(|| fs::rename(new, path))?;
    sync_name(path);
    Ok(())
}

/// Syncs the folder that contains this name. Some file systems cannot do this. On these, a power
/// cut may undo the last change of the name.
fn sync_name(path: &Path) {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

/// Repeats a call that a signal interrupted.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::fs::PermissionsExt;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn the_state_folder_goes_by_name_and_environment() {
        let home = ("HOME", "/home/u");
        let xdg = ("XDG_STATE_HOME", "/xdg");
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[home], "/home/u/.local/state/sprat/peer"),
            (&[home, xdg], "/xdg/sprat/peer"),
            (&[home, xdg, ("STATE_DIRECTORY", "/var/lib/sprat:/var/lib/other")], "/var/lib/sprat/peer"),
            (&[home, ("XDG_STATE_HOME", "relative")], "/home/u/.local/state/sprat/peer"),
        ];
        for (pairs, folder) in cases {
            assert_eq!(state_folder("peer", None, &env(pairs)), Ok(PathBuf::from(folder)));
        }
        let empty = state_folder("peer", Some(Path::new("")), &env(&[home])).unwrap_err();
        assert!(empty.exit == Exit::Usage && empty.message.contains("--state"), "{empty}");
        assert_eq!(state_folder("peer", Some(Path::new("/x")), &env(&[])), Ok(PathBuf::from("/x")));
        assert_eq!(state_folder("peer", None, &env(&[])).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn the_socket_goes_by_name_and_environment() {
        let runtime = ("XDG_RUNTIME_DIR", "/run/user/1");
        let socket = |pairs: &[(&str, &str)]| control_socket("a", None, None, &env(pairs)).unwrap();
        assert_eq!(socket(&[runtime]), PathBuf::from("/run/user/1/sprat/a.sock"));
        assert_eq!(socket(&[runtime, ("RUNTIME_DIRECTORY", "/run/sprat")]), PathBuf::from("/run/sprat/a.sock"));
        assert_eq!(socket(&[("HOME", "/h")]), PathBuf::from("/h/.local/state/sprat/a/a.sock"));
        let error = control_socket("a", None, None, &env(&[])).unwrap_err();
        assert!(error.message.contains("--control"), "{error}");
        let long = format!("/{}", "x".repeat(SOCKET_PATH_BYTES_MAX));
        assert!(control_socket("a", Some(Path::new(&long)), None, &env(&[])).is_err());
    }

    #[test]
    fn a_socket_elsewhere_is_found_by_the_state_folder() {
        let folder = tempfile::tempdir().unwrap();
        let home = ("XDG_STATE_HOME", folder.path().to_str().unwrap());
        let runtime = ("XDG_RUNTIME_DIR", "/nothing/here");
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "").unwrap();
        let state = State::open(folder.path().join("sprat/a"), "a").unwrap();
        let own = state.file("a.sock");
        let running = |pairs: &[(&str, &str)]| running_socket("a", &env(pairs)).unwrap();
        let name = state.name_socket("a", &elsewhere);
        assert_eq!(running(&[home]), elsewhere);
        assert_eq!(running(&[home, runtime]), elsewhere);
        drop(name);
        assert_eq!(running(&[home]), own);
        assert_eq!(running(&[home, runtime]), PathBuf::from("/nothing/here/sprat/a.sock"));
        fs::write(&own, "").unwrap();
        drop(state.name_socket("a", &own));
        assert_eq!(running(&[home, runtime]), own);
    }

    #[test]
    fn one_share_at_most_has_no_name_and_names_differ() {
        let share = |name: Option<&str>| ShareFolder { name: name.map(str::to_owned), path: "/x".into() };
        assert!(shares(vec![share(None), share(Some("a")), share(Some("b"))], false).is_ok());
        assert_eq!(shares(Vec::new(), true), Ok(Vec::new()));
        for wrong in [vec![], vec![share(None); 2], vec![share(Some("a")), share(None), share(Some("a"))]] {
            assert_eq!(shares(wrong, false).unwrap_err().exit, Exit::Usage);
        }
    }

    #[test]
    fn a_name_is_a_file_name() {
        for name in ["peer", "a.b_c-1"] {
            assert_eq!(checked_name(name), Ok(name));
        }
        for name in ["", ".", "..", ".x", "a/b", "a b", "\u{e4}", &"x".repeat(65)] {
            assert!(checked_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_file_is_replaced_and_what_a_killed_process_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(beside(&path), "half of an earlier one").unwrap();
        for text in ["one", "two"] {
            write_whole(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(write_whole(&path, b"three").is_err());
    }

    #[test]
    fn a_state_folder_is_private_and_locked() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("a/b");
        let _state = State::open(folder.clone(), "b").unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let second = State::open(folder.clone(), "b").unwrap_err();
        assert_eq!(second.exit, Exit::Internal);
        assert!(second.message.contains(&std::process::id().to_string()), "{second}");
    }
}
