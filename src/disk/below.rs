//! The folders of a download that keeps the tree of its source. It creates missing folders, and
//! nothing else.
//!
//! The path comes from a stranger. Each component is sanitized, and no symlink below the
//! destination is followed. So nothing is written elsewhere.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::{Errno, retry_on_intr};

use super::durable::{make_folder, make_folders};
use super::folder::Stamp;
use super::remedy::remedy;
use crate::proto::disk::{DiskFailure, DiskFailureKind};
use crate::wire::ids::Root;
use crate::wire::name::{candidates, printable};

/// A folder below a destination, open.
#[derive(Clone, Debug)]
pub(super) struct Below {
    pub(super) folder: Arc<OwnedFd>,
    pub(super) path: PathBuf,
    /// Its path without symlinks, if that could be found.
    pub(super) real: Option<PathBuf>,
}

/// The folder of the last file. Most often the next file goes to the same folder. It is closed when
/// the worker is idle.
#[derive(Debug, Default)]
pub(super) struct Last(Option<(PathBuf, String, (u64, u64), Below)>);

impl Last {
    /// Finds or creates the folder of `path` below `base`. Also returns the last component.
    pub(super) fn find(&mut self, base: &Path, path: &str, root: &Root) -> Result<(Below, String), DiskFailure> {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some((kept_base, kept, id, below)) = &self.0
            && (kept_base.as_path(), kept.as_str()) == (base, folders)
            && id_of(&below.path) == Some(*id)
        {
            return Ok((below.clone(), name.to_owned()));
        }
        self.0 = None;
        let (folder, at, name) = make(base, path, root)?;
        let real = std::fs::canonicalize(&at).ok();
        let id = Stamp::of_file(&folder).ok().map(|stamp| (stamp.dev, stamp.ino));
        let below = Below { folder: Arc::new(folder), path: at, real };
        // The names of other folders may depend on the content, so these folders are not kept.
        if let Some(id) = id.filter(|_| below.path == base.join(folders)) {
            self.0 = Some((base.to_owned(), folders.to_owned(), id, below.clone()));
        }
        Ok((below, name))
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn close(&mut self) {
        self.0 = None;
    }
}

/// The device and inode of the folder at a path.
fn id_of(path: &Path) -> Option<(u64, u64)> {
    let stamp = Stamp::of(&statat(CWD, path, AtFlags::empty()).ok()?);
    Some((stamp.dev, stamp.ino))
}

/// Finds or creates the folder of `path` below `base`. Returns the folder, its path, and the last
/// component.
pub(super) fn make(base: &Path, path: &str, root: &Root) -> Result<(OwnedFd, PathBuf, String), DiskFailure> {
    let fail = |at: &Path, error: Errno| match error {
        Errno::NOTDIR | Errno::LOOP => failed(format!("{} is not a folder; move it away", shown(at))),
        error => failed(format!("the folder {} cannot be created: {error}{}", shown(at), remedy(at, Some(error)))),
    };
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    make_folders(base, 0o777).map_err(|error| match Errno::from_io_error(&error) {
        Some(errno @ (Errno::NOSPC | Errno::DQUOT)) => fail(base, errno),
        errno => {
            let end = remedy(base, errno);
            failed(format!("{} is no folder for downloads: {error}{end}", shown(base)))
        }
    })?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = base.to_owned();
    let mut folder: OwnedFd =
        retry_on_intr(|| rustix::fs::open(base, flags, Mode::empty())).map_err(|error| fail(base, error))?;
    for component in folders.split('/').filter(|component| !component.is_empty()) {
        let create = |name: &str| make_folder(&folder, name, 0o777);
        // If the file system refuses a name, the next one is tried.
        let names = candidates(component, root);
        let (mut name, mut made) = (names[0].as_str(), create(&names[0]));
        for other in &names[1..] {
            if matches!(made, Err(Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG)) {
                (name, made) = (other, create(other));
            }
        }
        at.push(name);
        made.map_err(|error| fail(&at, error))?;
        let open = || openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty());
        let next = retry_on_intr(open).map_err(|error| fail(&at, error))?;
        folder = next;
    }
    Ok((folder, at, name.to_owned()))
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

fn failed(message: String) -> DiskFailure {
    DiskFailure { kind: DiskFailureKind::Io, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Root = Root([7; 32]);

    #[test]
    fn a_tree_is_kept_and_made_safe() {
        let base = tempfile::tempdir().unwrap();
        let (_, folder, name) = make(&base.path().join("new"), "Miles Davis/.hidden/../x/01.flac", &ROOT).unwrap();
        assert!(folder.is_dir() && folder.starts_with(base.path().join("new/Miles Davis")), "{folder:?}");
        assert!(!folder.components().any(|part| part.as_os_str() == ".." || part.as_os_str() == ".hidden"));
        assert_eq!(name, "01.flac");
        let (_, folder, name) = make(base.path(), "only", &ROOT).unwrap();
        assert_eq!((folder.as_path(), name.as_str()), (base.path(), "only"));
    }

    #[test]
    fn the_folder_of_the_last_file_stays_open_while_it_is_at_its_path() {
        let base = tempfile::tempdir().unwrap();
        let mut last = Last::default();
        let mut find = |path: &str| last.find(base.path(), path, &ROOT).unwrap();
        let (first, _) = find("a/b/1");
        let (same, name) = find("a/b/2");
        assert!(Arc::ptr_eq(&first.folder, &same.folder) && name == "2");
        assert!(!Arc::ptr_eq(&first.folder, &find("a/3").0.folder));
        let (again, _) = find("a/b/4");
        std::fs::rename(base.path().join("a"), base.path().join("away")).unwrap();
        let (new, _) = find("a/b/5");
        assert!(!Arc::ptr_eq(&again.folder, &new.folder) && base.path().join("a/b").is_dir());
        // A folder of the path is replaced by a symlink to another folder.
        std::fs::remove_dir_all(base.path().join("a")).unwrap();
        std::os::unix::fs::symlink("away", base.path().join("a")).unwrap();
        assert!(last.find(base.path(), "a/b/6", &ROOT).is_err());
        last.close();
        assert!(!last.is_open());
    }

    #[test]
    fn no_symlink_leads_out_of_it() {
        let (base, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(other.path(), base.path().join("link")).unwrap();
        std::fs::write(base.path().join("file"), "").unwrap();
        assert!(make(base.path(), "link/x/y", &ROOT).is_err());
        assert!(make(base.path(), "file/y", &ROOT).unwrap_err().message.contains("not a folder"));
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
    }
}
