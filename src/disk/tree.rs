//! One shared folder: where it is, what may be shared from it, and its watcher. Paths here are
//! relative to the folder; [`Tree::names`] converts them to paths of records.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::folder::{Folder, FolderId, Found, Stamp};
use super::left_out::{Counts, LeftOut, Reason};
use super::names::Names;
use super::options::ShareFolder;
use super::rules::Rules;
use super::watch::Watch;
use crate::config::{PIECE_BYTES, PIECES_MAX};
use crate::error::{Exit, Failure};
use crate::wire::name::printable;

/// One shared folder.
#[derive(Debug)]
pub(super) struct Tree {
    /// The path that the user gave, with any symlinks. It may lead to another folder later.
    pub(super) given: PathBuf,
    /// The path without symlinks to which it led when it was last looked at.
    pub(super) path: PathBuf,
    pub(super) names: Names,
    pub(super) folder: Folder,
    /// The device and inode of that folder.
    pub(super) identity: FolderId,
    /// Whether there was no folder, or it could not be read.
    pub(super) missing: bool,
    pub(super) rules: Rules,
    pub(super) left_out: LeftOut,
    pub(super) watch: Option<Watch>,
    /// Whether some folder is not watched.
    pub(super) unwatched: bool,
    pub(super) warned_unwatched: bool,
    /// What is not shared, as it was last logged.
    pub(super) logged: Counts,
    pub(super) rescan_at: Option<Instant>,
    pub(super) scanned_at: Option<Instant>,
}

/// The folder at the path of a share.
#[derive(Debug)]
pub(super) struct At {
    /// The path without symlinks.
    pub(super) path: PathBuf,
    pub(super) folder: Folder,
    pub(super) identity: FolderId,
}

impl At {
    /// Finds the folder at a path. Returns an error if it is no folder or cannot be read.
    pub(super) fn find(given: &Path) -> Result<At, Errno> {
        let folder = Folder::open(given)?;
        let identity = folder.identity()?;
        let path = std::fs::canonicalize(given).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(At { path, folder, identity })
    }
}

/// What is at a path, and whether it is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sorted {
    File(Stamp),
    Folder,
    LeftOut(Reason),
    Nothing,
    /// The lookup failed because descriptors or memory are missing. Retry later.
    Unknown,
}

impl Tree {
    fn open(share: &ShareFolder, names: Names) -> Result<Tree, Failure> {
        let shown = printable(&share.path.to_string_lossy());
        let fail = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Disk, format!("cannot share {shown}: {why}; give a folder that exists and can be read"))
        };
        let At { path, folder, identity } = At::find(&share.path).map_err(|error| fail(&io::Error::from(error)))?;
        Ok(Tree {
            given: share.path.clone(),
            path,
            names,
            folder,
            identity,
            missing: false,
            rules: Rules::default(),
            left_out: LeftOut::default(),
            watch: None,
            unwatched: false,
            warned_unwatched: false,
            logged: Counts::default(),
            rescan_at: None,
            scanned_at: None,
        })
    }

    /// What is at a path, judged by all rules.
    pub(super) fn lookup(&self, path: &str) -> Sorted {
        let found = self.folder.lookup(path);
        sort(found, || self.rules.ignore(path, found == Found::Folder))
    }

    /// As [`Tree::lookup`], for an entry that was found in a shared folder.
    pub(super) fn judge(&self, path: &str, found: Found) -> Sorted {
        sort(found, || self.rules.ignore_entry(path, found == Found::Folder))
    }

    /// Why the folder cannot be written to.
    fn refuses_writes(&self) -> Option<Errno> {
        access(&self.path, Access::WRITE_OK).err()
    }
}

fn sort(found: Found, is_ignored: impl Fn() -> bool) -> Sorted {
    match found {
        Found::File(stamp) if stamp.size > PIECES_MAX * PIECE_BYTES => Sorted::LeftOut(Reason::TooLarge),
        Found::File(_) | Found::Folder if is_ignored() => Sorted::LeftOut(Reason::Ignored),
        Found::File(stamp) => Sorted::File(stamp),
        Found::Folder => Sorted::Folder,
        Found::Symlink => Sorted::LeftOut(Reason::Symlink),
        Found::Special => Sorted::LeftOut(Reason::Special),
        Found::Nothing => Sorted::Nothing,
        Found::Unknown => Sorted::Unknown,
    }
}

/// All shared folders.
#[derive(Debug, Default)]
pub(super) struct Trees(pub(super) Vec<Tree>);

impl Trees {
    /// Opens the folders. The share without a name leaves out the names of the other shares.
    pub(super) fn open(shares: &[ShareFolder]) -> Result<Trees, Failure> {
        let named: Vec<String> = shares.iter().filter_map(|share| share.name.clone()).collect();
        let trees = shares.iter().map(|share| match &share.name {
            Some(name) => Tree::open(share, Names::new(name.clone(), Vec::new())),
            None => Tree::open(share, Names::new(String::new(), named.clone())),
        });
        Ok(Trees(trees.collect::<Result<_, _>>()?))
    }

    /// Logs which folders cannot be written to. This matters for the folder with the downloads.
    pub(super) fn report_read_only(&self, downloads: Option<&Path>) {
        for tree in &self.0 {
            let Some(why) = tree.refuses_writes() else { continue };
            let (shown, why) = (printable(&tree.path.to_string_lossy()), io::Error::from(why));
            if downloads == Some(&*tree.path) {
                log::warn!(
                    "the share {shown} is read-only for this process ({why}): it is shared, but downloads cannot be \
                     stored in it; name another folder with --downloads DIR"
                );
            } else {
                log::info!("the share {shown} is read-only for this process ({why})");
            }
        }
    }

    /// Closes all folders, so that no file system is kept from being unmounted. The next look-up
    /// opens what is then at the paths of the shares.
    pub(super) fn close(&mut self) {
        self.0.iter_mut().for_each(|tree| tree.folder.close());
    }

    /// The share to which the path of a record belongs, and the path below the share.
    pub(super) fn find<'p>(&self, full: &'p str) -> Option<(&Tree, &'p str)> {
        self.0.iter().find_map(|tree| Some((tree, tree.names.below(full)?)))
    }

    pub(super) fn find_mut<'p>(&mut self, full: &'p str) -> Option<(&mut Tree, &'p str)> {
        self.0.iter_mut().find_map(|tree| tree.names.below(full).map(|below| (tree, below)))
    }

    /// Opens the regular file at the path of a record.
    pub(super) fn open_file(&self, full: &str) -> Result<(File, Stamp), Errno> {
        let (tree, below) = self.find(full).ok_or(Errno::NOENT)?;
        tree.folder.open_file(below)
    }

    /// Whether the path of a record leads to a file in this state. Opens nothing for reading.
    pub(super) fn leads_to(&self, full: &str, stamp: &Stamp) -> bool {
        self.find(full).is_some_and(|(tree, below)| tree.folder.lookup(below) == Found::File(*stamp))
    }

    /// As [`Trees::open_file`], if the file is in this state.
    pub(super) fn open_unchanged(&self, full: &str, stamp: &Stamp) -> Option<File> {
        self.open_file(full).ok().filter(|(_, now)| now == stamp).map(|(file, _)| file)
    }

    /// What is at the path of a record.
    pub(super) fn lookup(&self, full: &str) -> Sorted {
        self.find(full).map_or(Sorted::Nothing, |(tree, below)| tree.lookup(below))
    }

    /// The path of the record of a file that a download puts into a folder. None if the file is not
    /// shared there.
    pub(super) fn path_in(&self, folder: &Path, name: &[u8]) -> Option<String> {
        self.0.iter().find_map(|tree| {
            let below = folder.strip_prefix(&tree.path).ok()?.join(std::ffi::OsStr::from_bytes(name));
            let below = tree.names.path(below.as_os_str().as_bytes()).ok()?;
            (!tree.rules.ignore(&below, false)).then(|| tree.names.full(&below))
        })
    }

    /// The counts of what is not shared, for all folders together.
    pub(super) fn left_out(&self) -> Counts {
        let mut sum = Counts::default();
        self.0.iter().for_each(|tree| sum.add(tree.left_out.counts()));
        sum
    }
}
