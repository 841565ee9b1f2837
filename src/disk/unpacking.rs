//! Unpacks a collection into a folder, or places the small files of a command there. It finds out
//! which files are there already, copies small files that the share has under another path, and
//! reports which are missing. It writes the small files that arrive, and publishes them in batches.
//! It fetches nothing, and keeps only one page of the list in memory.
//!
//! A batch is written into a hidden folder beside the files. No symbolic link below the folder is
//! followed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, fchmod, flock, fstat, mkdirat, openat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::durable::{self, At, rename_noreplace};
use super::folder::{Found, is_unsupported};
use super::hash::{FileHash, read_range, root_of};
use super::placing::{Batch, Place, Placing, move_aside, open};
use super::room::Measuring;
use super::share::Share;
use super::space;
use super::target::{
    CONTENT, HIDDEN_FILES, MAP_SUFFIX, PART_SUFFIX, collection_folder, failed, hidden, hidden_folder, io_failure,
};
use crate::config::{
    COLLECTION_BATCH_BYTES, COLLECTION_BATCH_FILES, COLLECTION_GROWN_MAX, COLLECTION_PAGE_FILES, PIECE_BYTES,
};
use crate::proto::disk::{Destination, DiskFailure, DiskFailureKind, Listed, Missing, Unplaced};
use crate::proto::{DownloadId, EMPTY_ROOT};
use crate::wire::collection::{Item, Reader};
use crate::wire::ids::Root;
use crate::wire::name::sanitize;

/// Bytes of the list that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// Files and time after which a slice ends.
const FILES_PER_SLICE: usize = 1024;
const SLICE_TIME: Duration = Duration::from_millis(5);
/// A batch is published if no file was added to it for this long.
const BATCH_QUIET: Duration = Duration::from_millis(20);

/// How many hidden folders for the files of commands can be in use at once below one folder.
const HIDDEN_MAX: usize = 8;

/// The files to unpack.
#[derive(Debug)]
enum List {
    /// The files of a collection: its list, and the reader of the list.
    Collection { root: Root, content: File, reader: Box<Reader> },
    /// The files of a command that were not looked for yet.
    Command(VecDeque<Item>),
}

/// A collection that is being unpacked, or the small files of a command.
#[derive(Debug)]
pub(super) struct Unpacking {
    pub(super) download: DownloadId,
    /// The folder that its files go to.
    pub(super) folder: PathBuf,
    top: Arc<OwnedFd>,
    hidden: Arc<OwnedFd>,
    hidden_name: String,
    list: List,
    ended: bool,
    /// How many files were listed. This is also the number of the last one.
    files: u64,
    /// While a file at a destination is being hashed: the next item, its place, the file there, and
    /// its hash.
    comparing: Option<(Item, Place, File, FileHash)>,
    /// The list of a collection, until it is clear that its files fit on the disk.
    measuring: Option<Measuring>,
    /// The folder of the last item.
    parent: Option<(String, Arc<OwnedFd>)>,
    /// Folders in which other folders were created, and which are not synced yet.
    grown: Vec<Arc<OwnedFd>>,
    /// The page that was ordered. It may be incomplete.
    page: Option<Listed>,
    batch: Vec<Placing>,
    batch_bytes: u64,
    added_at: Instant,
    /// Number of the next file in the hidden folder.
    next: u64,
    /// Large files that must be made executable at the end.
    executables: Vec<PathBuf>,
}

impl Unpacking {
    /// Opens the folder and the list that was fetched.
    pub(super) fn open(
        download: DownloadId,
        destination: &Destination,
        root: &Root,
        downloads: Option<&Path>,
    ) -> Result<Unpacking, DiskFailure> {
        let folder = collection_folder(destination, root, downloads)?;
        let fail = |error: Errno| io_failure(&folder, error.into());
        let top = open_folder(CWD, &folder, OFlags::NOFOLLOW).map_err(fail)?;
        let hidden_name = hidden_folder(root);
        let hidden = open_folder(&top, &hidden_name, OFlags::NOFOLLOW).map_err(fail)?;
        if !lock(&hidden).map_err(fail)? {
            let message = format!("{}: another process fetches the same collection there", folder.display());
            return Err(DiskFailure { kind: DiskFailureKind::Locked, message });
        }
        let content = open(&hidden, CONTENT.as_ref(), OFlags::RDONLY).map_err(fail)?;
        let list = List::Collection { root: *root, content, reader: Box::default() };
        let measuring = Some(Measuring::default());
        Ok(Unpacking { measuring, ..Unpacking::new(download, list, folder, top, (hidden_name, hidden)) })
    }

    /// Opens the folder for the files of a command. Removes the files of an interrupted run.
    pub(super) fn open_below(
        download: DownloadId,
        folder: Option<&Path>,
        downloads: Option<&Path>,
    ) -> Result<Unpacking, DiskFailure> {
        let Some(folder) = folder.or(downloads) else {
            return Err(failed("there is no folder for downloads; name a destination".to_owned()));
        };
        let fail = |error: io::Error| io_failure(folder, error);
        durable::make_folders(folder, 0o777).map_err(fail)?;
        let top = open_folder(CWD, folder, OFlags::empty()).map_err(|error| fail(error.into()))?;
        for n in 0..HIDDEN_MAX {
            let hidden_name = format!("{HIDDEN_FILES}-{n}");
            durable::make_folder(&top, &hidden_name, 0o777).map_err(|error| fail(error.into()))?;
            let hidden = open_folder(&top, &hidden_name, OFlags::NOFOLLOW).map_err(|error| fail(error.into()))?;
            if lock(&hidden).map_err(|error| fail(error.into()))? {
                let list = List::Command(VecDeque::new());
                return Ok(Unpacking::new(download, list, folder.to_owned(), top, (hidden_name, hidden)));
            }
        }
        Err(failed(format!("{HIDDEN_MAX} commands put files into {} already", folder.display())))
    }

    fn new(
        download: DownloadId,
        list: List,
        folder: PathBuf,
        top: OwnedFd,
        (hidden_name, hidden): (String, OwnedFd),
    ) -> Unpacking {
        Unpacking {
            download,
            folder,
            top: Arc::new(top),
            hidden: Arc::new(hidden),
            hidden_name,
            list,
            ended: false,
            files: 0,
            comparing: None,
            measuring: None,
            parent: None,
            grown: Vec::new(),
            page: None,
            batch: Vec::new(),
            batch_bytes: 0,
            added_at: Instant::now(),
            next: 0,
            executables: Vec::new(),
        }
    }

    /// The root of the collection; none if these are the files of a command.
    pub(super) fn root(&self) -> Option<Root> {
        match &self.list {
            List::Collection { root, .. } => Some(*root),
            List::Command(_) => None,
        }
    }

    /// Orders the next page.
    pub(super) fn list(&mut self) {
        self.page.get_or_insert_with(Listed::default);
    }

    /// Adds the next files of a command, which form a page. If the disk has no room for a file, it
    /// is not even looked for.
    pub(super) fn look(&mut self, more: Vec<Item>) {
        let bytes = more.iter().fold(0, |sum: u64, item| sum.saturating_add(item.size));
        let fits = space::has_room(&*self.top, bytes);
        self.list();
        match &mut self.list {
            List::Command(items) if fits => items.extend(more),
            List::Command(_) => {
                let why = DiskFailure { kind: DiskFailureKind::Full, message: "the disk is full".to_owned() };
                for item in more {
                    self.files += 1;
                    self.fail(&item, why.clone());
                }
            }
            List::Collection { .. } => {}
        }
    }

    /// Whether [`Unpacking::slice`] has something to do.
    pub(super) fn has_work(&self) -> bool {
        self.page.is_some()
    }

    /// When the batch is published, unless a file is added to it before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.batch.is_empty()).then_some(self.added_at + BATCH_QUIET)
    }

    // ---- listing --------------------------------------------------------------------------------

    /// Does a part of the page. Returns the page once it is full or the list ends.
    pub(super) fn slice(
        &mut self,
        mut share: Option<&mut Share>,
        buffer: &mut Vec<u8>,
    ) -> Option<Result<Listed, DiskFailure>> {
        let started = Instant::now();
        if let (Some(measuring), List::Collection { content, .. }) = (&mut self.measuring, &self.list) {
            let is_here = |root| share.as_deref().is_some_and(|share| !share.catalog.holders(root).is_empty());
            if let Err(failure) = measuring.slice(content, &self.folder, is_here)? {
                self.page = None;
                return Some(Err(failure));
            }
            self.measuring = None;
        }
        for _ in 0..FILES_PER_SLICE {
            if let Some(comparing) = self.comparing.take() {
                self.compare(share.as_deref_mut(), comparing, buffer);
            } else {
                match self.next_item() {
                    Ok(Some(item)) => self.judge(share.as_deref_mut(), item, buffer),
                    Ok(None) if self.root().is_none() => return self.page.take().map(Ok),
                    Ok(None) => self.ended = true,
                    Err(failure) => {
                        self.page = None;
                        return Some(Err(failure));
                    }
                }
            }
            let page = self.page.as_ref()?;
            // A page of a command ends with the files that were added.
            let full = self.root().is_some() && is_full(page, &self.batch);
            if self.comparing.is_none() && (self.ended || full) {
                let last = self.ended;
                return self.page.take().map(|page| Ok(Listed { last, ..page }));
            }
            if started.elapsed() >= SLICE_TIME {
                break;
            }
        }
        None
    }

    fn next_item(&mut self) -> Result<Option<Item>, DiskFailure> {
        let wrong = |why: &dyn std::fmt::Display| {
            let message = format!("a record names it as a collection, but it is not one: {why}");
            DiskFailure { kind: DiskFailureKind::Malformed, message }
        };
        let (content, reader) = match &mut self.list {
            List::Collection { content, reader, .. } => (content, reader),
            List::Command(items) => {
                let item = items.pop_front();
                self.files += u64::from(item.is_some());
                return Ok(item);
            }
        };
        loop {
            if let Some(item) = reader.item().map_err(|why| wrong(&why))? {
                self.files += 1;
                return Ok(Some(item));
            }
            let mut part = [0; READ_BYTES];
            match content.read(&mut part) {
                Ok(0) => return reader.finish().map(|()| None).map_err(|why| wrong(&why)),
                Ok(read) => reader.feed(&part[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_failure(&self.folder, error)),
            }
        }
    }

    fn page(&mut self) -> &mut Listed {
        self.page.get_or_insert_with(Listed::default)
    }

    fn fail(&mut self, item: &Item, failure: DiskFailure) {
        let (number, path) = (self.files, item.path.as_str().to_owned());
        self.page().failed.push(Unplaced { number, path, failure });
    }

    /// Decides what must be done for an item.
    fn judge(&mut self, share: Option<&mut Share>, item: Item, buffer: &mut Vec<u8>) {
        let page = self.page();
        page.files += 1;
        page.bytes = page.bytes.saturating_add(item.size);
        if (item.size == 0) != (item.root == EMPTY_ROOT) {
            return self.fail(&item, failed("its size and its root contradict each other".to_owned()));
        }
        let place = match self.place(&item) {
            Ok(place) => place,
            Err(failure) => return self.fail(&item, failure),
        };
        let found = match statat(&place.parent, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Found::of(&stat),
            Err(Errno::NOENT) => return self.obtain(share, item, place, None, buffer),
            Err(error) => return self.fail(&item, io_failure(&self.folder.join(&place.path), error.into())),
        };
        let stamp = match found {
            Found::File(stamp) => stamp,
            Found::Folder | Found::Symlink | Found::Special | Found::Nothing | Found::Unknown => {
                return self.fail(&item, self.taken(&place));
            }
        };
        // If a file is at the place of a large item of a collection, it is hashed even if its size
        // differs. It is then renamed to a name with digits of its root.
        if stamp.size != item.size && self.root().is_none() {
            return self.fail(&item, self.taken(&place));
        }
        if stamp.size != item.size && item.size <= PIECE_BYTES {
            return self.obtain(share, item, place, None, buffer);
        }
        let full = self.folder.join(&place.path);
        let offered = share.as_deref().and_then(|share| {
            let path = share.trees.path_in(full.parent()?, place.name.as_encoded_bytes())?;
            share.catalog.offered_at(&path)
        });
        match offered {
            Some((root, known)) if known == stamp => self.compared(share, item, place, root, buffer),
            Some(_) | None => match open(&place.parent, &place.name, OFlags::RDONLY) {
                Ok(file) => self.comparing = Some((item, place, file, FileHash::new(stamp.size))),
                Err(error) => self.fail(&item, io_failure(&full, error.into())),
            },
        }
    }

    fn taken(&self, place: &Place) -> DiskFailure {
        let what = "is in the way of a file, and is left untouched; move it";
        let message = format!("{} {what}", self.folder.join(&place.path).display());
        DiskFailure { kind: DiskFailureKind::Taken, message }
    }

    /// Hashes one piece of the file at the destination.
    fn compare(
        &mut self,
        share: Option<&mut Share>,
        (item, place, file, mut hash): (Item, Place, File, FileHash),
        buffer: &mut Vec<u8>,
    ) {
        match hash.step(&file, buffer, &mut 0) {
            Ok(None) => self.comparing = Some((item, place, file, hash)),
            Ok(Some(digest)) => self.compared(share, item, place, digest.root, buffer),
            Err(error) => self.fail(&item, io_failure(&self.folder.join(&place.path), error)),
        }
    }

    fn compared(&mut self, share: Option<&mut Share>, item: Item, place: Place, root: Root, buffer: &mut Vec<u8>) {
        if root == item.root {
            if item.size > PIECE_BYTES {
                remove_map(&place);
            }
            let there = self.root().is_none().then(|| (self.files, self.folder.join(&place.path)));
            let page = self.page();
            page.there_files += 1;
            page.there_bytes = page.there_bytes.saturating_add(item.size);
            page.there.extend(there);
        } else if self.root().is_none() {
            self.fail(&item, self.taken(&place));
        } else {
            self.obtain(share, item, place, Some(root), buffer);
        }
    }

    /// The item is not at its place. `other` is the root of the file that is there, if it is known.
    /// Copies the item from the share, or reports that it is missing.
    fn obtain(
        &mut self,
        share: Option<&mut Share>,
        item: Item,
        place: Place,
        other: Option<Root>,
        buffer: &mut Vec<u8>,
    ) {
        let full = self.folder.join(&place.path);
        if item.size == 0 {
            let written = self.write(&item, |_| Ok(()));
            return self.add(item, place, written.map_err(|error| io_failure(&full, error)));
        }
        if item.size <= PIECE_BYTES {
            if let Some(written) = share.and_then(|share| self.copy(share, &item, buffer)) {
                return self.add(item, place, written.map_err(|error| io_failure(&full, error)));
            }
        } else {
            // A separate download copies or fetches it, and publishes it only if the name is free.
            if let Some(Err(error)) = other.map(|other| move_aside(&place, &other)) {
                return self.fail(&item, io_failure(&full, error));
            }
            if item.executable {
                self.executables.push(full.clone());
            }
        }
        let Item { path, size, root, executable } = item;
        let number = self.files;
        self.page().missing.push(Missing { number, path, full, size, root, executable });
    }

    /// Copies a small item from a file of the share with this content. Returns none if there is no
    /// such file.
    fn copy(&mut self, share: &mut Share, item: &Item, buffer: &mut Vec<u8>) -> Option<io::Result<String>> {
        let (source, size, _) = share.source_of(item.root)?;
        let length = usize::try_from(size).ok().filter(|_| size == item.size)?;
        let bytes = read_range(&source, 0, length, buffer).ok()?;
        (root_of(bytes) == item.root).then(|| self.write(item, |file| file.write_all(bytes)))
    }

    // ---- writing --------------------------------------------------------------------------------

    /// Writes an item that has arrived.
    pub(super) fn write_item(&mut self, missing: Missing, bytes: &[u8]) -> Result<(), DiskFailure> {
        let Missing { path, size, root, executable, full, number } = missing;
        let item = Item { path, size, root, executable };
        let place = self.place(&item)?;
        let temporary = self.write(&item, |file| file.write_all(bytes)).map_err(|error| io_failure(&full, error))?;
        self.push(Placing { number, temporary, place, size, root });
        Ok(())
    }

    /// Writes a file in the hidden folder. Returns its name.
    fn write(&mut self, item: &Item, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<String> {
        let name = self.next.to_string();
        self.next += 1;
        let mode = Mode::from_raw_mode(if item.executable { 0o777 } else { 0o666 });
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || retry_on_intr(|| openat(&self.hidden, name.as_str(), flags, mode));
        let file = match create() {
            Err(Errno::EXIST) => {
                // An earlier run has left this file.
                retry_on_intr(|| unlinkat(&self.hidden, name.as_str(), AtFlags::empty()))?;
                create()?
            }
            other => other?,
        };
        let mut file = File::from(file);
        match fill(&mut file) {
            Ok(()) => Ok(name),
            Err(error) => {
                let _ = unlinkat(&self.hidden, name.as_str(), AtFlags::empty());
                Err(error)
            }
        }
    }

    fn add(&mut self, item: Item, place: Place, written: Result<String, DiskFailure>) {
        match written {
            Ok(temporary) => {
                self.page().copied += 1;
                self.push(Placing { number: self.files, temporary, place, size: item.size, root: item.root });
            }
            Err(failure) => self.fail(&item, failure),
        }
    }

    fn push(&mut self, placing: Placing) {
        self.batch_bytes = self.batch_bytes.saturating_add(placing.size);
        self.batch.push(placing);
        self.added_at = Instant::now();
    }

    /// Returns the batch, if it is full or no file was added to it for a while.
    pub(super) fn take_batch(&mut self, now: Instant, offers: bool) -> Option<Batch> {
        let full = self.batch.len() >= COLLECTION_BATCH_FILES || self.batch_bytes >= COLLECTION_BATCH_BYTES;
        if !full && self.deadline().is_none_or(|due| due > now) {
            return None;
        }
        self.sync_grown();
        self.batch_bytes = 0;
        Some(Batch {
            download: self.download,
            folder: self.folder.clone(),
            hidden: self.hidden.clone(),
            files: mem::take(&mut self.batch),
            displaces: self.root().is_some(),
            offers,
        })
    }

    /// The place of an item. Creates the folders above it.
    fn place(&mut self, item: &Item) -> Result<Place, DiskFailure> {
        let path = item.path.as_str();
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let below: PathBuf =
            folders.split('/').filter(|name| !name.is_empty()).map(|n| sanitize(n, &item.root)).collect();
        let name = sanitize(name, &item.root);
        let parent = match &self.parent {
            Some((known, parent)) if known == folders => parent.clone(),
            Some(_) | None => {
                let made =
                    self.make_folders(&below).map_err(|error| io_failure(&self.folder.join(&below), error.into()));
                let made = made?;
                self.parent = Some((folders.to_owned(), made.clone()));
                made
            }
        };
        Ok(Place { parent, path: below.join(&name), name: name.into() })
    }

    /// Opens a folder below the top folder, with the folders above it. The names of new folders are
    /// on the disk before a file of the page is reported, or one of the batch published.
    fn make_folders(&mut self, below: &Path) -> Result<Arc<OwnedFd>, Errno> {
        let mut folder = self.top.clone();
        for name in below {
            let next = match open_folder(&folder, name, OFlags::NOFOLLOW) {
                Err(Errno::NOENT) => {
                    match retry_on_intr(|| mkdirat(&folder, name, Mode::from_raw_mode(0o777))) {
                        Ok(()) if self.grown.last().is_none_or(|last| !Arc::ptr_eq(last, &folder)) => {
                            self.grown.push(folder.clone());
                            if self.grown.len() >= COLLECTION_GROWN_MAX {
                                self.sync_grown();
                            }
                        }
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                    open_folder(&folder, name, OFlags::NOFOLLOW)?
                }
                other => other?,
            };
            folder = Arc::new(next);
        }
        Ok(folder)
    }

    /// Syncs the folders in which other folders were created.
    pub(super) fn sync_grown(&mut self) {
        let grown = mem::take(&mut self.grown);
        if !durable::sync_together(&*self.hidden, grown.len()) {
            for folder in grown {
                // Some file systems cannot sync a folder; then a power cut may lose the names.
                let _ = durable::sync(&*folder);
            }
        }
    }

    // ---- the end --------------------------------------------------------------------------------

    /// Whether the content is not a collection at all: a record can call any file a collection.
    pub(super) fn is_file(&self) -> bool {
        self.root().is_some() && self.files == 0 && !self.ended
    }

    /// Publishes the content as a plain file. It replaces the folder that was made for it, and gets
    /// the name of that folder.
    pub(super) fn into_file(self) -> Result<(PathBuf, u64), DiskFailure> {
        let folder = self.folder.clone();
        let fail = |error: io::Error| io_failure(&folder, error);
        let hidden = self.folder.join(&self.hidden_name);
        let mut waiting = self.folder.clone().into_os_string();
        waiting.push(".part");
        let waiting = PathBuf::from(waiting);
        publish_file(&hidden.join(CONTENT), &waiting).map_err(fail)?;
        let size = fs::metadata(&waiting).map_err(fail)?.len();
        let _ = fs::remove_dir_all(&hidden);
        let _ = fs::remove_dir(&self.folder);
        publish_file(&waiting, &self.folder).map_err(fail)?;
        Ok((self.folder, size))
    }

    /// The list, and its size.
    pub(super) fn content(&self) -> io::Result<(File, u64)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(&*self.hidden, CONTENT, flags, Mode::empty())?);
        let size = file.metadata()?.len();
        Ok((file, size))
    }

    /// Ends the unpacking. If all files are there, the hidden files are removed.
    pub(super) fn close(self, complete: bool) {
        for path in &self.executables {
            let Ok(file) = File::open(path) else { continue };
            if let Ok(stat) = fstat(&file) {
                // Everyone who may read the file may execute it.
                let _ = fchmod(&file, Mode::from_raw_mode(stat.st_mode | (stat.st_mode & 0o444) >> 2));
            }
        }
        if complete || self.root().is_none() {
            let _ = fs::remove_dir_all(self.folder.join(&self.hidden_name));
        }
    }
}

/// Whether a page is full, or the batch of files that it copies is.
fn is_full(page: &Listed, batch: &[Placing]) -> bool {
    page.missing.len() >= COLLECTION_PAGE_FILES
        || page.failed.len() >= COLLECTION_PAGE_FILES
        || batch.len() >= COLLECTION_BATCH_FILES
}

fn open_folder(at: impl AsFd, name: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | flags;
    retry_on_intr(|| openat(&at, name.as_ref(), flags, Mode::empty()))
}

/// Locks a hidden folder. Returns false if another process has locked it.
fn lock(hidden: &OwnedFd) -> Result<bool, Errno> {
    match retry_on_intr(|| flock(hidden, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        // If a file system has no locks, nothing guards the folder.
        Err(error) if is_unsupported(error) || error == Errno::NOLCK => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Renames a synced file. It replaces no other file.
fn publish_file(from: &Path, to: &Path) -> io::Result<()> {
    rename_noreplace(At(CWD, from), At(CWD, to))?;
    if let Some(folder) = to.parent() {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// Removes the map that a separate download leaves if the sync of its folder fails.
fn remove_map(place: &Place) {
    let part = statat(&*place.parent, hidden(&place.name, PART_SUFFIX), AtFlags::SYMLINK_NOFOLLOW);
    if part.is_err_and(|error| error == Errno::NOENT) {
        let map = hidden(&place.name, MAP_SUFFIX);
        let _ = retry_on_intr(|| unlinkat(&*place.parent, &map, AtFlags::empty()));
    }
}
