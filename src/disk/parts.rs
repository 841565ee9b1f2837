//! Part files that no download uses. They are counted, and removed if the user requests it. A part
//! file counts only if it has a map of ours beside it and is not locked. The files of a hidden
//! folder count if it has the name that collections and commands of many files give it, contains
//! only files, and nothing of it is locked.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{FlockOperation, OFlags, flock};

use super::part_map::PartMap;
use super::target::{HIDDEN_FILES, MAP_SUFFIX, PART_SUFFIX, failed, hidden};
use crate::proto::disk::{DiskFailure, Parts};

/// Size of the blocks that `stat` counts. It does not depend on the file system.
const STAT_BLOCK_BYTES: u64 = 512;
/// Digits of the root in the name of the hidden folder of a collection.
const HIDDEN_DIGITS: usize = 16;

/// Looks for part files on a new thread, which calls `done` at its end.
pub(super) fn start(
    folders: Vec<PathBuf>,
    keep: Vec<PathBuf>,
    remove: bool,
    done: impl FnOnce(Parts) + Send + 'static,
) -> Result<(), DiskFailure> {
    let started =
        thread::Builder::new().name("sprat-parts".to_owned()).spawn(move || done(look(&folders, &keep, remove)));
    started.map(drop).map_err(|error| failed(format!("cannot start a thread to look for part files: {error}")))
}

/// The part files in these folders and below them. Those of the kept destinations are left out. A
/// kept destination is a file, or a folder, which means everything below it. No symlink is
/// followed.
fn look(folders: &[PathBuf], keep: &[PathBuf], remove: bool) -> Parts {
    let mut parts = Parts::default();
    let (mut kept, mut seen) = (BTreeSet::new(), BTreeSet::new());
    kept.extend(keep.iter().filter_map(|path| part_of(path)));
    let mut left: Vec<PathBuf> = folders.to_vec();
    while let Some(folder) = left.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        if keep.contains(&folder) || !seen.insert(folder) {
            continue;
        }
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => match is_hidden_folder(&path).then(|| take_folder(&path, remove)) {
                    Some(Some(found)) => parts.count(found),
                    Some(None) | None => left.push(path),
                },
                Ok(kind) if kind.is_file() && is_part(&path) && !kept.contains(&path) => {
                    take(&path, remove).into_iter().for_each(|bytes| parts.count(Parts { files: 1, bytes }));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    parts
}

fn part_of(path: &Path) -> Option<PathBuf> {
    Some(path.with_file_name(hidden(path.file_name()?, PART_SUFFIX)))
}

fn is_part(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    name.starts_with(b".") && name.ends_with(PART_SUFFIX.as_bytes())
}

/// Whether a folder has the name of a hidden folder of a collection or of a command.
fn is_hidden_folder(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let of_command = name.strip_prefix(HIDDEN_FILES.as_bytes()).and_then(|rest| rest.strip_prefix(b"-"));
    let digits = |text: &[u8], is: fn(&u8) -> bool| !text.is_empty() && text.iter().all(is);
    match of_command {
        Some(number) => digits(number, u8::is_ascii_digit),
        None => name
            .strip_prefix(b".sprat-")
            .is_some_and(|root| root.len() == HIDDEN_DIGITS && digits(root, u8::is_ascii_hexdigit)),
    }
}

fn open_flags(more: OFlags) -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more).bits().cast_signed()
}

/// The files of a hidden folder, unless a download uses the folder or one of them.
fn take_folder(folder: &Path, remove: bool) -> Option<Parts> {
    let open = |path: &Path, flags| OpenOptions::new().read(true).custom_flags(open_flags(flags)).open(path);
    let lock = |file: &File| flock(file, FlockOperation::NonBlockingLockExclusive);
    let held = open(folder, OFlags::DIRECTORY).ok()?;
    lock(&held).ok()?;
    let (mut found, mut paths) = (Parts::default(), Vec::new());
    for entry in fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        if !entry.file_type().ok()?.is_file() {
            return None;
        }
        // A list that is still being fetched is locked itself.
        let file = open(&entry.path(), OFlags::empty()).ok()?;
        lock(&file).ok()?;
        found.files += 1;
        found.bytes += file.metadata().ok()?.blocks() * STAT_BLOCK_BYTES;
        paths.push(entry.path());
    }
    if remove {
        paths.iter().try_for_each(fs::remove_file).ok()?;
        fs::remove_dir(folder).ok()?;
    }
    Some(found)
}

/// The bytes that a part file and its map take, unless a download uses them.
fn take(part: &Path, remove: bool) -> Option<u64> {
    let mut map = part.as_os_str().to_owned();
    map.push(&MAP_SUFFIX[PART_SUFFIX.len()..]);
    let map = PathBuf::from(map);
    let open = |path: &Path| OpenOptions::new().read(true).custom_flags(open_flags(OFlags::empty())).open(path);
    let (part_file, map_file): (File, File) = (open(part).ok()?, open(&map).ok()?);
    flock(&part_file, FlockOperation::NonBlockingLockExclusive).ok()?;
    let sizes = [part_file.metadata().ok()?, map_file.metadata().ok()?];
    // A download that has proved nothing leaves both files empty.
    let is_empty = sizes.iter().all(|metadata| metadata.len() == 0);
    if !is_empty && PartMap::root(&map_file).is_none() {
        return None;
    }
    if remove {
        fs::remove_file(part).ok()?;
        // The map is removed last, because it says what the part file is.
        fs::remove_file(&map).ok()?;
    }
    Some(sizes.iter().map(|metadata| metadata.blocks() * STAT_BLOCK_BYTES).sum())
}

impl Parts {
    fn count(&mut self, more: Parts) {
        self.files += more.files;
        self.bytes += more.bytes;
    }
}
