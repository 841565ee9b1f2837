//! Describes a path of the share, for a person who passes it on. A file is described by its digest.
//! A folder is described as a collection, which is written here, one slice at a time.
//!
//! It waits until the catalog knows the present state of the files. It hashes no file of the share.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::catalog::Readiness;
use super::collections::{Changes, Collections, Kept, MADE};
use super::share::{Place, Share};
use super::target::failed;
use crate::config::DESCRIBE_STALL_MAX;
use crate::proto::ClientId;
use crate::proto::disk::{Described, DiskFailure, DiskFailureKind};
use crate::wire::SharePath;
use crate::wire::collection::{Item, Writer};
use crate::wire::ids::Root;
use crate::wire::name::printable;
use crate::wire::record::name_of;

/// How often it checks whether the files are hashed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Files per slice, so that other jobs do not wait long.
const FILES_PER_SLICE: usize = 1024;
/// How often it begins a collection again because a file has changed.
const RESTARTS_MAX: u32 = 10;

/// A path that is being described.
#[derive(Debug)]
pub(super) struct Describing {
    pub(super) client: ClientId,
    place: Place,
    /// The path of its record; empty for the share without a name.
    path: String,
    shown: String,
    /// When to look next.
    pub(super) look_at: Instant,
    /// The smallest number of unhashed files so far, and since when it has been that small.
    unhashed: (usize, Instant),
    restarts: u32,
    making: Option<Making>,
}

/// A collection that is being written.
#[derive(Debug)]
struct Making {
    out: BufWriter<File>,
    hasher: blake3::Hasher,
    writer: Writer,
    /// The last path of the share that was written.
    after: Option<String>,
    described: Described,
}

/// The result of a step.
#[derive(Debug)]
pub(super) enum Step {
    /// Another step is needed, at `look_at`.
    Again,
    /// The description, and what it changes for the super peers.
    Done(Described, Changes),
}

impl Describing {
    pub(super) fn new(client: ClientId, path: &Path, share: Option<&mut Share>) -> Result<Describing, DiskFailure> {
        let shown = printable(&path.to_string_lossy());
        let Some(share) = share else {
            return Err(outside(format!("{shown} is not shared: this peer has no share")));
        };
        let place = share.place_of(path).map_err(|why| outside(format!("{shown} {why}")))?;
        let path = share.trees.0[place.0].names.full(&place.1);
        let now = Instant::now();
        // The watcher may not have reported the latest change.
        share.look_again(&place, now);
        let unhashed = (usize::MAX, now);
        Ok(Describing { client, place, path, shown, look_at: now, unhashed, restarts: 0, making: None })
    }

    /// Does a part of the work, within a bound.
    pub(super) fn step(
        &mut self,
        share: &mut Share,
        kept: &mut Collections,
        now: Instant,
    ) -> Result<Step, DiskFailure> {
        if self.making.is_some() {
            return self.write(share, kept, now);
        }
        self.look_at = now + LOOK_EVERY;
        if share.is_looking() {
            return Ok(Step::Again);
        }
        if let Some((root, stamp)) = share.catalog.offered_at(&self.path) {
            let name = name_of(&self.path).to_owned();
            let described = Described { root, size: stamp.size, name, files: None, bytes: stamp.size, left_out: 0 };
            return Ok(Step::Done(described, Changes::default()));
        }
        let unhashed = share.catalog.unhashed_at(&self.path);
        if unhashed < self.unhashed.0 {
            self.unhashed = (unhashed, now);
        }
        if unhashed > 0 {
            if now.saturating_duration_since(self.unhashed.1) < DESCRIBE_STALL_MAX || share.hasher.is_busy() {
                return Ok(Step::Again);
            }
            let why = format!("{}: {unhashed} files are still being written; try again when they are not", self.shown);
            return Err(failed(why));
        }
        if share.catalog.listed_below(&self.path, None, 1).is_empty() {
            let why = format!("{} has no file that is shared (hidden files and symbolic links are not)", self.shown);
            return Err(DiskFailure { kind: DiskFailureKind::Nothing, message: why });
        }
        self.begin(share, kept)?;
        self.look_at = now;
        Ok(Step::Again)
    }

    fn begin(&mut self, share: &Share, kept: &mut Collections) -> Result<(), DiskFailure> {
        let name = if self.path.is_empty() { share.name(self.place.0) } else { name_of(&self.path).to_owned() };
        let begun = kept.begin(MADE).map_err(|error| self.unwritten(&error))?;
        let Some(file) = begun else {
            return Err(failed(format!("{}: this peer keeps no state, so it keeps no collection", self.shown)));
        };
        let described = Described { root: Root([0; 32]), size: 0, name, files: Some(0), bytes: 0, left_out: 0 };
        let (out, hasher) = (BufWriter::new(file), blake3::Hasher::new());
        self.making = Some(Making { out, hasher, writer: Writer::default(), after: None, described });
        Ok(())
    }

    fn unwritten(&self, error: &io::Error) -> DiskFailure {
        failed(format!("the collection of {} cannot be written: {error}", self.shown))
    }

    /// Writes some files of the collection. After the last file, keeps the collection.
    fn write(&mut self, share: &mut Share, kept: &mut Collections, now: Instant) -> Result<Step, DiskFailure> {
        let Some(mut making) = self.making.take() else { return Ok(Step::Again) };
        self.look_at = now;
        let files = share.catalog.listed_below(&self.path, making.after.as_deref(), FILES_PER_SLICE);
        let last = files.len() < FILES_PER_SLICE;
        let mut record = Vec::new();
        for (path, stamp, readiness) in files {
            making.after = Some(path.to_string());
            let tree = &share.trees.0[self.place.0];
            let Some(in_tree) = tree.names.below(&path) else { continue };
            let root = match readiness {
                Readiness::Offered(root) => root,
                Readiness::Unreadable => {
                    making.described.left_out += 1;
                    continue;
                }
                Readiness::Unhashed => return self.restart(share, (self.place.0, in_tree.to_owned()), now),
            };
            // The catalog is right only if the file is still in that state.
            let executable = match tree.folder.examine(in_tree) {
                Some((found, executable)) if found == stamp => executable,
                Some(_) | None => return self.restart(share, (self.place.0, in_tree.to_owned()), now),
            };
            let below = if self.path.is_empty() { &*path } else { &path[self.path.len() + 1..] };
            let Some(below) = SharePath::new(below) else { continue };
            record.clear();
            let item = Item { path: below, size: stamp.size, root, executable };
            if making.writer.add(&item, &mut record).is_err() {
                return self.restart(share, (self.place.0, in_tree.to_owned()), now);
            }
            making.put(&record).map_err(|error| self.unwritten(&error))?;
            making.described.files = making.described.files.map(|files| files + 1);
            making.described.bytes = making.described.bytes.saturating_add(stamp.size);
        }
        if !last {
            self.making = Some(making);
            return Ok(Step::Again);
        }
        self.finish(making, share, kept)
    }

    /// A file has changed and the catalog had not noticed: begins again.
    fn restart(&mut self, share: &mut Share, place: Place, now: Instant) -> Result<Step, DiskFailure> {
        share.look_again(&place, now);
        self.restarts += 1;
        if self.restarts > RESTARTS_MAX {
            return Err(failed(format!("{}: {} changes all the time", self.shown, printable(&place.1))));
        }
        self.look_at = now + LOOK_EVERY;
        self.unhashed = (usize::MAX, now);
        Ok(Step::Again)
    }

    fn finish(&self, making: Making, share: &Share, kept: &mut Collections) -> Result<Step, DiskFailure> {
        let Making { out, hasher, mut described, .. } = making;
        let file = out.into_inner().map_err(|error| self.unwritten(error.error()))?;
        described.root = Root(*hasher.finalize().as_bytes());
        let folder = if self.path.is_empty() { &described.name } else { &self.path };
        let Some(folder) = SharePath::new(folder) else {
            return Err(failed(format!("{} has a name that cannot be shared", self.shown)));
        };
        let collection = Kept { root: described.root, folder, size: described.size };
        let is_file = |path: &str| share.catalog.offered_at(path).is_some();
        let changes = kept.keep(collection, (MADE, &file), is_file).map_err(|error| self.unwritten(&error))?;
        Ok(Step::Done(described, changes))
    }
}

impl Making {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.hasher.update(bytes);
        self.described.size += bytes.len() as u64;
        Ok(())
    }
}

fn outside(message: String) -> DiskFailure {
    DiskFailure { kind: DiskFailureKind::Outside, message }
}
