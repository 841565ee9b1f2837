//! Opening a part file, one step at a time. First, the destination is examined. If it has the
//! content already, nothing is fetched; if it has another content, the download is refused. Then
//! the pieces of an earlier run are hashed again. Then missing pieces are copied if this peer has
//! the content under another name: a file of the share, or a collection that this peer has made. A
//! content that does not fit on the disk is refused.

use std::collections::HashMap;
use std::fs::File;
use std::mem;
use std::path::Path;
use std::sync::Arc;

use super::below::Last;
use super::collections::Collections;
use super::folder::Found;
use super::hash::FileHash;
use super::part::{Part, holder};
use super::share::Share;
use super::space;
use super::target::Target;
use crate::config::PIECE_BYTES;
use crate::proto::DownloadId;
use crate::proto::disk::{Destination, DiskFailure, DiskFailureKind};
use crate::wire::ids::{Cv, Root};

/// Pieces that one step hashes, so that other jobs do not wait long.
const PIECES_PER_STEP: usize = 4;

const _: () = assert!(PIECES_PER_STEP as u64 * PIECE_BYTES <= 4 << 20);

/// A part file that is being opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) download: DownloadId,
    pub(super) target: Arc<Target>,
    pub(super) root: Root,
    sizes: Vec<u64>,
    stage: Stage,
    /// Whether it was checked if the content is here.
    looked: bool,
}

#[derive(Debug)]
enum Stage {
    /// The destination was not examined yet.
    Examine,
    /// The file at the destination may be the content, and is being hashed.
    Compare { file: File, size: u64, hash: FileHash },
    /// The part file is open. The pieces that its map lists are being hashed.
    Check(Box<Part>),
    /// The missing pieces, from this one on, are copied from a file that has them.
    Copy { part: Box<Part>, source: File, next: u32 },
}

/// The result of a step.
#[derive(Debug)]
pub(super) enum Step {
    /// Another step is needed.
    Again,
    /// The destination holds the content, which has this size.
    AlreadyThere(u64),
    /// The part file is open and checked.
    Open(Box<Part>),
}

/// What this peer has, where missing pieces may be copied from.
pub(super) struct Here<'h> {
    pub(super) share: Option<&'h mut Share>,
    pub(super) collections: &'h mut Collections,
    /// The part files that are open.
    pub(super) parts: &'h HashMap<DownloadId, Part>,
}

impl Here<'_> {
    /// The file that has this content, its size, and its manifest if it has more than one piece.
    fn source_of(&mut self, root: Root, buffer: &mut Vec<u8>) -> Option<(File, u64, Vec<Cv>)> {
        self.collections.source_of(root, buffer).or_else(|| self.share.as_mut()?.source_of(root))
    }
}

impl Opening {
    pub(super) fn new(
        download: DownloadId,
        destination: &Destination,
        root: Root,
        sizes: Vec<u64>,
        downloads: Option<&Path>,
        last: &mut Last,
    ) -> Result<Opening, DiskFailure> {
        let target = Arc::new(Target::find(destination, &root, downloads, last)?);
        Ok(Opening { download, target, root, sizes, stage: Stage::Examine, looked: false })
    }

    /// Does a part of the work, within a bound.
    pub(super) fn step(&mut self, here: &mut Here<'_>, buffer: &mut Vec<u8>) -> Result<Step, DiskFailure> {
        match &mut self.stage {
            Stage::Examine => self.examine(here, buffer),
            Stage::Copy { part, source, next } => {
                for _ in 0..PIECES_PER_STEP {
                    let is_copied = (*next as usize) < part.written.len() && part.copy_piece(*next, source, buffer)?;
                    if !is_copied {
                        return self.checked(here, buffer);
                    }
                    *next += 1;
                }
                Ok(Step::Again)
            }
            Stage::Compare { file, size, hash } => {
                let size = *size;
                for _ in 0..PIECES_PER_STEP {
                    match hash.step(file, buffer, &mut 0) {
                        Ok(None) => {}
                        Ok(Some(digest)) => return self.occupied_by(digest.root, size),
                        Err(error) => return Err(self.target.io_failure(error)),
                    }
                }
                Ok(Step::Again)
            }
            Stage::Check(part) => {
                for _ in 0..PIECES_PER_STEP {
                    if !part.check_next(buffer) {
                        return self.checked(here, buffer);
                    }
                }
                Ok(Step::Again)
            }
        }
    }

    fn examine(&mut self, here: &mut Here<'_>, buffer: &mut Vec<u8>) -> Result<Step, DiskFailure> {
        let stamp = match self.target.lookup()? {
            None if self.target.may_give_way && holder(&self.target).is_some_and(|root| root != self.root) => {
                return self.give_way();
            }
            None => {
                let is_small = !self.sizes.is_empty() && self.sizes.iter().all(|size| *size <= PIECE_BYTES);
                let open = if is_small { Part::open_small } else { Part::open };
                match open(self.target.clone(), self.root) {
                    // Nothing had to be hashed, so no file can have appeared in the meantime.
                    Ok(part) if !part.has_listed() => return self.opened(Box::new(part), here, buffer),
                    Ok(part) => self.stage = Stage::Check(Box::new(part)),
                    Err(failure) if failure.kind == DiskFailureKind::Name => {
                        self.target = Arc::new(self.target.with_next_name().ok_or(failure)?);
                    }
                    // A download of another content with this name has just begun.
                    Err(failure)
                        if failure.kind == DiskFailureKind::Locked
                            && self.target.may_give_way
                            && holder(&self.target).is_none() =>
                    {
                        return self.give_way();
                    }
                    Err(failure) => return Err(failure),
                }
                return Ok(Step::Again);
            }
            Some(Found::File(stamp)) if self.sizes.is_empty() || self.sizes.contains(&stamp.size) => stamp,
            Some(_) => return self.give_way(),
        };
        let offered = here.share.as_deref().and_then(|share| share.catalog.offered_at(&self.target.share_path(share)?));
        if let Some((root, offered)) = offered
            && offered == stamp
        {
            return self.occupied_by(root, stamp.size);
        }
        let (file, opened) = self.target.open_existing().map_err(|error| self.target.unreadable(error))?;
        if opened.size != stamp.size {
            return self.give_way();
        }
        self.stage = Stage::Compare { file, size: stamp.size, hash: FileHash::new(stamp.size) };
        Ok(Step::Again)
    }

    /// A file with this root and size is at the destination.
    fn occupied_by(&mut self, root: Root, size: u64) -> Result<Step, DiskFailure> {
        if root == self.root { Ok(Step::AlreadyThere(size)) } else { self.give_way() }
    }

    /// Another content has the name. Chooses the other name, if there is one.
    fn give_way(&mut self) -> Result<Step, DiskFailure> {
        let target = self.target.giving_way(&self.root).ok_or_else(|| self.target.taken())?;
        (self.target, self.stage) = (Arc::new(target), Stage::Examine);
        Ok(Step::Again)
    }

    /// The smallest size that a source claims; none if more claims may come.
    fn claim(&self) -> Option<u64> {
        self.sizes.iter().min().copied()
    }

    /// The part file is checked. If a file has appeared at the destination in the meantime, that
    /// file is examined first.
    fn checked(&mut self, here: &mut Here<'_>, buffer: &mut Vec<u8>) -> Result<Step, DiskFailure> {
        let free = self.target.lookup()?.is_none();
        match mem::replace(&mut self.stage, Stage::Examine) {
            Stage::Check(part) | Stage::Copy { part, .. } if free => self.opened(part, here, buffer),
            Stage::Check(part) | Stage::Copy { part, .. } => {
                part.remove_if_empty();
                Ok(Step::Again)
            }
            Stage::Examine | Stage::Compare { .. } => Ok(Step::Again),
        }
    }

    /// The part file is open. Missing pieces are copied if this peer has them, so that they need
    /// not be fetched.
    fn opened(&mut self, mut part: Box<Part>, here: &mut Here<'_>, buffer: &mut Vec<u8>) -> Result<Step, DiskFailure> {
        if part.is_complete() {
            return Ok(Step::Open(part));
        }
        let looked = mem::replace(&mut self.looked, true);
        let mut source = None;
        if let Some((file, size, cvs)) = (!looked).then(|| here.source_of(self.root, buffer)).flatten() {
            part.prepare(size, cvs, None);
            source = part.unprepared.is_none().then_some(file);
        }
        // Blocks that both files share take no space.
        if source.as_ref().is_some_and(|source| part.share_blocks(source)) {
            self.stage = Stage::Check(part);
            return Ok(Step::Again);
        }
        let size = part.size.or(self.claim());
        if let Some(failure) = size.and_then(|size| space::check(&part, size, here.parts.values()).err()) {
            part.remove_if_empty();
            return Err(failure);
        }
        part.fitting = size.filter(|size| *size <= PIECE_BYTES);
        let Some(source) = source else { return Ok(Step::Open(part)) };
        self.stage = Stage::Copy { part, source, next: 0 };
        Ok(Step::Again)
    }
}
