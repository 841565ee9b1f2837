//! The folders of a download that keeps the tree of its source. It creates the folders that are
//! missing, and nothing else.
//!
//! The path is text of a stranger. Each component is sanitized, and no symlink below the
//! destination is followed, so that nothing is written elsewhere.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};

use super::durable::{make_folder, make_folders};
use crate::proto::disk::{DiskFailure, DiskFailureKind};
use crate::wire::ids::Root;
use crate::wire::name::{candidates, printable};

/// Finds or creates the folder of `path` below `base`. Returns it, and the last component.
pub(super) fn make(base: &Path, path: &str, root: &Root) -> Result<(PathBuf, String), DiskFailure> {
    let fail = |at: &Path, error: Errno| match error {
        Errno::NOTDIR | Errno::LOOP => failed(format!("{} is not a folder; move it away", shown(at))),
        error => failed(format!("the folder {} cannot be created: {error}", shown(at))),
    };
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    make_folders(base, 0o777)
        .map_err(|error| failed(format!("{} is no folder for downloads: {error}", shown(base))))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = base.to_owned();
    let mut folder: OwnedFd =
        retry_on_intr(|| rustix::fs::open(base, flags, Mode::empty())).map_err(|error| fail(base, error))?;
    for component in folders.split('/').filter(|component| !component.is_empty()) {
        let create = |name: &str| make_folder(&folder, name, 0o777);
        // The next name, if the file system does not take this one.
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
    Ok((at, name.to_owned()))
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
        let (folder, name) = make(&base.path().join("new"), "Miles Davis/.hidden/../x/01.flac", &ROOT).unwrap();
        assert!(folder.is_dir() && folder.starts_with(base.path().join("new/Miles Davis")), "{folder:?}");
        assert!(!folder.components().any(|part| part.as_os_str() == ".." || part.as_os_str() == ".hidden"));
        assert_eq!(name, "01.flac");
        assert_eq!(make(base.path(), "only", &ROOT).unwrap(), (base.path().to_owned(), "only".to_owned()));
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
