//! The parts of publishing: syncs, folders whose names survive a power cut, and renames that
//! replace nothing. If a file system lacks one of them, the next best one is used.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FsWord, Mode, RenameFlags, fstatfs, fsync, linkat, mkdirat, renameat, renameat_with, statat, syncfs,
    unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::folder::is_unsupported;
use crate::config::SYNCFS_FILES_MIN;

/// Syncs a file or a folder. Some file systems cannot sync a folder, which is not an error here.
pub(super) fn sync(fd: impl AsFd) -> Result<(), Errno> {
    #[cfg(test)]
    SYNCED.with_borrow_mut(|synced| synced.push(rustix::fs::fstat(&fd).ok().map(|stat| stat.st_ino)));
    match retry_on_intr(|| fsync(&fd)) {
        Err(error) if is_unsupported(error) => Ok(()),
        synced => synced,
    }
}

/// Syncs all files of the file system of `any` by one call, if this is possible and `count`, the
/// number of files to sync, is large enough. If it returns false, each file must still be synced.
pub(super) fn sync_together(any: impl AsFd, count: usize) -> bool {
    let is_synced = count >= SYNCFS_FILES_MIN && syncfs_reports_errors(&any) && retry_on_intr(|| syncfs(&any)).is_ok();
    #[cfg(test)]
    SYNCED.with_borrow_mut(|synced| synced.extend(is_synced.then_some(None)));
    is_synced
}

#[cfg(test)]
thread_local! {
    /// What this thread has synced, for tests: the inode of a file or folder, or `None` for a
    /// complete file system.
    pub(super) static SYNCED: std::cell::RefCell<Vec<Option<u64>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Whether syncfs syncs the files of this file system and returns their errors. Linux returns the
/// errors since version 5.8 (syncfs(2)). A file system on FUSE does not sync.
fn syncfs_reports_errors(any: impl AsFd) -> bool {
    const FUSE: FsWord = 0x6573_5546;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let is_fuse = fstatfs(any).map_or(true, |stat| stat.f_type == FUSE);
    version >= (5, 8) && !is_fuse
}

/// Makes a folder, unless the name exists. The name is synced. Otherwise a power cut could lose it,
/// with everything that is later published in the folder. As after a rename, a sync that fails is
/// not an error.
pub(super) fn make_folder(parent: impl AsFd, name: impl AsRef<Path>, mode: u32) -> Result<(), Errno> {
    match retry_on_intr(|| mkdirat(&parent, name.as_ref(), Mode::from_raw_mode(mode))) {
        Ok(()) => {
            if let Err(error) = sync(&parent) {
                let name = name.as_ref().display();
                log::warn!("the folder of {name} cannot be synced ({error}): a power cut may lose that name");
            }
            Ok(())
        }
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a folder at a path, and all missing folders above it.
pub(super) fn make_folders(path: &Path, mode: u32) -> io::Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.is_dir()).collect();
    for path in missing.into_iter().rev() {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Some(name) = path.file_name() else { continue };
        match File::open(parent) {
            Ok(parent) => make_folder(parent, name, mode)?,
            // A process may be allowed to add to a folder that it may not read.
            Err(_) => mkdirat(CWD, path, Mode::from_raw_mode(mode)).or_else(|error| match error {
                Errno::EXIST => Ok(()),
                error => Err(error),
            })?,
        }
    }
    if path.as_os_str().is_empty() || path.is_dir() { Ok(()) } else { Err(Errno::EXIST.into()) }
}

/// A file: its folder and its name there.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<F, N>(pub(super) F, pub(super) N);

/// Renames a file. If the new name exists, returns the error EEXIST.
pub(super) fn rename_noreplace(
    At(from, old): At<impl AsFd, impl AsRef<Path>>,
    At(to, new): At<impl AsFd, impl AsRef<Path>>,
) -> Result<(), Errno> {
    let mut ways = WAYS.into_iter();
    loop {
        // Every file system supports the last way.
        let way = ways.next().unwrap_or(Way::Look);
        match way.rename(At(&from, old.as_ref()), At(&to, new.as_ref())) {
            Err(error) if way.is_unknown(error) => log::debug!("{way:?} is unknown here: {error}"),
            other => return other,
        }
    }
}

/// A way to give a file its name without replacing another file.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A rename that refuses to replace. Some file systems and kernels do not support it.
    Flag,
    /// A hard link, which does not replace a file either.
    Link,
    /// A check before the rename. FAT and some network file systems have nothing better. If another
    /// process creates a file between the two calls, that file is lost.
    Look,
}

/// The ways, the best one first.
const WAYS: [Way; 3] = [Way::Flag, Way::Link, Way::Look];

impl Way {
    fn rename(self, At(from, old): At<impl AsFd, &Path>, At(to, new): At<impl AsFd, &Path>) -> Result<(), Errno> {
        match self {
            Way::Flag => retry_on_intr(|| renameat_with(&from, old, &to, new, RenameFlags::NOREPLACE)),
            Way::Link => {
                retry_on_intr(|| linkat(&from, old, &to, new, AtFlags::empty()))?;
                // The file has its new name now. If the old name stays, the next run removes it.
                let _ = retry_on_intr(|| unlinkat(&from, old, AtFlags::empty()));
                Ok(())
            }
            Way::Look => match statat(&to, new, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => retry_on_intr(|| renameat(&from, old, &to, new)),
                Err(error) => Err(error),
            },
        }
    }

    /// Whether the error says that the file system does not support this way.
    fn is_unknown(self, error: Errno) -> bool {
        match self {
            Way::Flag => is_unsupported(error),
            Way::Link => is_unsupported(error) || matches!(error, Errno::PERM | Errno::MLINK),
            Way::Look => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn folders_are_made_with_those_above_them() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("a/b/../c");
        make_folders(&path, 0o700).unwrap();
        make_folders(&path, 0o700).unwrap();
        assert!(top.path().join("a/b").is_dir() && top.path().join("a/c").is_dir());
        fs::write(top.path().join("file"), "").unwrap();
        let error = make_folders(&top.path().join("file"), 0o700).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(make_folders(&top.path().join("file/x"), 0o700).is_err());
    }

    #[test]
    fn no_way_replaces_a_file() {
        for way in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let (old, new) = (folder.path().join(".x.part"), folder.path().join("x"));
            let rename = || way.rename(At(CWD, &*old), At(CWD, &*new));
            fs::write(&old, "new").unwrap();
            fs::write(&new, "mine").unwrap();
            assert_eq!(rename(), Err(Errno::EXIST), "{way:?}");
            assert!(!way.is_unknown(Errno::EXIST));
            assert_eq!(fs::read_to_string(&new).unwrap(), "mine");
            fs::remove_file(&new).unwrap();
            std::os::unix::fs::symlink("nowhere", &new).unwrap();
            assert_eq!(rename(), Err(Errno::EXIST), "{way:?}");
            fs::remove_file(&new).unwrap();
            assert_eq!(rename(), Ok(()), "{way:?}");
            assert_eq!(fs::read_to_string(&new).unwrap(), "new");
            assert!(!old.exists(), "{way:?}");
        }
    }
}
