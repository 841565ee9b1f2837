//! The disk of one simulated node: a share, part files and published files, as extents of contents.
//! Files survive a crash of the node, but nothing stays open.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::content::{ContentId, Contents, Extent};
use super::random::Random;
use crate::config::{MANIFEST_PAGE_CVS, PIECE_BYTES};
use crate::proto::disk::{
    CollectionDone, CollectionStep, Described, Destination, DiskFailure, DiskFailureKind, Listed, Page, PartState,
    Parts, ServeFailure, Unplaced,
};
use crate::proto::{ConnId, DiskDone, DiskWork, DownloadId, PayloadId, pieces_of};
use crate::wire::ids::{Cv, Md5, Root};
use crate::wire::{FileRecord, SharePath};

/// The folder of a share on a simulated disk.
const SHARE: &str = "share";

/// A part file and its map.
#[derive(Debug)]
struct Part {
    root: Root,
    /// The size, once it is proven.
    size: Option<u64>,
    manifest: Option<Vec<Cv>>,
    /// The pieces that the map lists, each with the bytes on the disk. None if these are not the
    /// bytes that were written.
    pieces: BTreeMap<u32, Option<Extent>>,
}

/// The faults of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Whether nothing more can be written.
    pub full: bool,
    /// How many of a thousand operations fail.
    pub errors: u32,
}

/// The disk of one node.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// All files with a final name, including the share.
    files: BTreeMap<PathBuf, ContentId>,
    parts: BTreeMap<PathBuf, Part>,
    /// The content that is served in place of a root.
    lies: BTreeMap<Root, ContentId>,
    /// Files that were changed or removed without the share noticing it yet.
    stale: BTreeSet<Root>,
    trouble: Trouble,
    open: BTreeMap<DownloadId, PathBuf>,
    prepared: BTreeMap<(ConnId, u32), ContentId>,
    payloads: BTreeMap<PayloadId, Extent>,
    next_payload: u64,
    /// The file of the queue of downloads.
    pub(super) queue: Option<String>,
    /// The number of pieces that were written, in all lives.
    pub(super) pieces_written: u64,
}

impl Disk {
    /// The node's process ended: everything that was open is closed.
    pub(super) fn crash(&mut self) {
        self.open.clear();
        self.prepared.clear();
        self.payloads.clear();
        self.stale.clear();
    }

    /// The power failed. Data that was not synced may be kept, lost or damaged. Published files are
    /// synced.
    pub(super) fn cut_power(&mut self, random: &mut Random) {
        for part in self.parts.values_mut() {
            part.pieces.retain(|_, _| random.chance(800));
            for piece in part.pieces.values_mut().filter(|_| random.chance(400)) {
                *piece = None;
            }
            // A real map has checks. But the machine proves the manifest itself and must not depend
            // on them.
            match (random.below(10), &mut part.manifest) {
                (0 | 1, manifest) => *manifest = None,
                (2..6, Some(cvs)) if !cvs.is_empty() => {
                    let wrong = random.index(cvs.len());
                    cvs[wrong].0[0] ^= 1;
                }
                _ => {}
            }
        }
    }

    pub(super) fn set_trouble(&mut self, trouble: Trouble) {
        self.trouble = trouble;
    }

    /// Another program writes or removes a file of the share. If the file is already open, it has
    /// the new content then. Returns the old content.
    pub(super) fn meddle(
        &mut self,
        path: &SharePath,
        new: Option<ContentId>,
        contents: &Contents,
    ) -> Option<ContentId> {
        let path = Path::new(SHARE).join(path.as_str());
        let old = self.files.remove(&path)?;
        if let Some(new) = new {
            self.files.insert(path, new);
            for prepared in self.prepared.values_mut().filter(|prepared| **prepared == old) {
                *prepared = new;
            }
        }
        self.stale.insert(contents.root(old));
        Some(old)
    }

    /// The share has noticed all changes.
    pub(super) fn saw_all(&mut self) {
        self.stale.clear();
    }

    pub(super) fn put(&mut self, path: &SharePath, content: ContentId) {
        self.files.insert(Path::new(SHARE).join(path.as_str()), content);
    }

    pub(super) fn take(&mut self, path: &SharePath) -> bool {
        self.files.remove(&Path::new(SHARE).join(path.as_str())).is_some()
    }

    pub(super) fn lie(&mut self, root: Root, content: ContentId) {
        self.lies.insert(root, content);
    }

    pub(super) fn file(&self, path: &Path) -> Option<ContentId> {
        self.files.get(path).copied()
    }

    /// The record of the file at a path of the share.
    pub(super) fn record_of(&self, path: &SharePath, contents: &Contents) -> Option<FileRecord> {
        let content = self.file(&Path::new(SHARE).join(path.as_str()))?;
        Some(record(path.clone(), content, contents))
    }

    /// The path in the share of a content.
    pub(super) fn path_of(&self, root: Root, contents: &Contents) -> Option<SharePath> {
        let found =
            self.files.iter().find(|(path, content)| path.starts_with(SHARE) && contents.root(**content) == root);
        SharePath::new(found?.0.strip_prefix(SHARE).ok()?.to_str()?)
    }

    /// The records of the complete share.
    pub(super) fn share(&self, contents: &Contents) -> Vec<FileRecord> {
        let shared = self.files.iter().filter_map(|(path, content)| {
            let path = SharePath::new(path.strip_prefix(SHARE).ok()?.to_str()?)?;
            Some(record(path, *content, contents))
        });
        shared.collect()
    }

    /// The pieces that can be served: all pieces of a file, or the written pieces of open part
    /// files.
    pub(super) fn pieces_of(&self, root: Root, contents: &Contents) -> BTreeSet<u32> {
        if let Some(content) = self.files.values().find(|content| contents.root(**content) == root) {
            return (0..u32::try_from(pieces_of(contents.size(*content))).unwrap_or(u32::MAX)).collect();
        }
        let written = |part: &Part| -> Vec<u32> {
            part.pieces.iter().filter(|(_, extent)| extent.is_some()).map(|(piece, _)| *piece).collect()
        };
        let parts = self.open.values().filter_map(|path| self.parts.get(path));
        parts.filter(|part| part.root == root).flat_map(written).collect()
    }

    /// Keeps a received payload until it is written or dropped.
    pub(super) fn receive(&mut self, extent: Extent) -> PayloadId {
        self.next_payload += 1;
        let payload = PayloadId(self.next_payload);
        self.payloads.insert(payload, extent);
        payload
    }

    pub(super) fn drop_payload(&mut self, payload: PayloadId) {
        self.payloads.remove(&payload).expect("a payload is written or dropped once");
    }

    /// Closes what was opened for a chunk that is not sent.
    pub(super) fn drop_chunk(&mut self, conn: ConnId, req: u32) {
        self.prepared.remove(&(conn, req));
    }

    pub(super) fn payloads(&self) -> usize {
        self.payloads.len()
    }

    /// The number of open part files, and of chunks that are opened for other peers.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.open.len(), self.prepared.len())
    }

    /// Whether a change of the share was not noticed yet.
    pub(super) fn is_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// The content that was opened for a chunk. It stays open until the connection is forgotten.
    pub(super) fn prepared(&mut self, conn: ConnId, req: u32) -> Option<ContentId> {
        self.prepared.remove(&(conn, req))
    }

    /// Does the work. Returns the answers, in order, and the fault that struck, if one did.
    pub(super) fn work(
        &mut self,
        work: DiskWork,
        contents: &mut Contents,
        random: &mut Random,
    ) -> (Vec<DiskDone>, Option<&'static str>) {
        let failed = self.strike(&work, random);
        (self.work_or_fail(work, failed, contents), failed.map(|failed| failed.0))
    }

    /// Whether a fault makes this work fail, and how.
    fn strike(&self, work: &DiskWork, random: &mut Random) -> Option<(&'static str, DiskFailureKind)> {
        let (reads, writes) = match work {
            DiskWork::PrepareChunk { .. } | DiskWork::ReadManifest { .. } => (true, false),
            DiskWork::OpenPart { .. }
            | DiskWork::WritePiece { .. }
            | DiskWork::Publish { .. }
            | DiskWork::SaveQueue { .. } => (false, true),
            DiskWork::ForgetConn { .. }
            | DiskWork::Describe { .. }
            | DiskWork::CheckRoom { .. }
            | DiskWork::Collection { .. }
            | DiskWork::PreparePart { .. }
            | DiskWork::Release { .. }
            | DiskWork::LookForParts { .. }
            | DiskWork::Abandon { .. } => (false, false),
        };
        if writes && self.trouble.full {
            return Some(("disk_full", DiskFailureKind::Full));
        }
        let errors = self.trouble.errors;
        let strikes = (reads || writes) && errors > 0 && random.chance(errors);
        strikes.then_some(("disk_error", DiskFailureKind::Io))
    }

    fn work_or_fail(
        &mut self,
        work: DiskWork,
        failed: Option<(&'static str, DiskFailureKind)>,
        contents: &mut Contents,
    ) -> Vec<DiskDone> {
        let failure = failed.map(|(what, kind)| DiskFailure { kind, message: what.to_owned() });
        match work {
            DiskWork::PrepareChunk { conn, from: _, req, root, offset, length, bare } => {
                let result = match failed {
                    Some(_) => Err(ServeFailure::Changed),
                    None => self.prepare(conn, req, (root, offset, length), contents),
                };
                let result = result.map(|md5| (!bare).then_some(md5));
                vec![DiskDone::ChunkReady { conn, req, result }]
            }
            DiskWork::ReadManifest { conn, from: _, req, root, first } => {
                let result = match failed {
                    Some(_) => Err(ServeFailure::Changed),
                    None => self.manifest(root, first, contents),
                };
                vec![DiskDone::ManifestReady { conn, req, first, result }]
            }
            DiskWork::ForgetConn { conn } => {
                self.prepared.retain(|(other, _), _| *other != conn);
                Vec::new()
            }
            // A simulated disk has no folders, and its shares no collections.
            DiskWork::Describe { client, path } => {
                let result = match self.file(&path) {
                    Some(content) => Ok(described(&path, content, contents)),
                    None => Err(outside(&path)),
                };
                vec![DiskDone::Described { client, result }]
            }
            DiskWork::Collection { download, step } => {
                let refused = || Err(outside(Path::new(SHARE)));
                let done = match step {
                    CollectionStep::Open { .. } | CollectionStep::OpenBelow { .. } => CollectionDone::Opened(refused()),
                    CollectionStep::List | CollectionStep::Look { .. } => {
                        CollectionDone::Listed(refused().map(|_: PathBuf| Listed::default()))
                    }
                    CollectionStep::Place { file, payload } => {
                        self.drop_payload(payload);
                        let (number, path) = (file.number, file.path.as_str().to_owned());
                        let failure = outside(Path::new(SHARE));
                        CollectionDone::Written(Err(Box::new(Unplaced { number, path, failure })))
                    }
                    CollectionStep::Close { .. } => CollectionDone::Closed,
                };
                vec![DiskDone::Collection { download, done }]
            }
            DiskWork::OpenPart { download, destination, root, sizes: _ } => {
                let result = match failure {
                    Some(failure) => Err(failure),
                    None => self.open_part(download, &destination, root, contents),
                };
                vec![DiskDone::PartOpened { download, result }]
            }
            DiskWork::PreparePart { download, size, cvs, edge: _ } => {
                // A full disk loses the manifest without an error.
                let full = self.trouble.full;
                if let Some(part) = self.part(download) {
                    if part.size != Some(size) {
                        (part.size, part.manifest) = (Some(size), None);
                        part.pieces.clear();
                    }
                    if !full && !cvs.is_empty() {
                        part.manifest = Some(cvs);
                    }
                }
                Vec::new()
            }
            DiskWork::WritePiece { download, piece, payload, md5: _, proven: _ } => {
                let extent = self.payloads.remove(&payload).expect("a payload is written or dropped once");
                let result = match (failure, self.part(download)) {
                    (Some(failure), _) => Err(failure),
                    (None, None) => Err(not_open()),
                    (None, Some(part)) => {
                        part.pieces.insert(piece, Some(extent));
                        Ok(())
                    }
                };
                self.pieces_written += u64::from(result.is_ok());
                vec![DiskDone::PieceWritten { download, piece, result }]
            }
            DiskWork::Publish { download } => match failure {
                Some(failure) => {
                    self.open.remove(&download);
                    vec![DiskDone::Published { download, result: Err(failure) }]
                }
                None => self.publish(download, contents),
            },
            DiskWork::Abandon { download } => {
                self.open.remove(&download);
                Vec::new()
            }
            // A simulated disk always serves every file on it.
            DiskWork::Release { .. } => Vec::new(),
            DiskWork::CheckRoom { download, .. } => vec![DiskDone::RoomChecked { download, result: Ok(()) }],
            DiskWork::LookForParts { client, remove, .. } => {
                vec![DiskDone::PartsFound { client, removed: remove, result: Ok(Parts::default()) }]
            }
            DiskWork::SaveQueue { lines } => {
                let result = match failure {
                    Some(failure) => Err(failure),
                    None => {
                        self.queue = Some(lines);
                        Ok(())
                    }
                };
                vec![DiskDone::QueueSaved { result }]
            }
        }
    }

    fn part(&mut self, download: DownloadId) -> Option<&mut Part> {
        self.open.get(&download).and_then(|path| self.parts.get_mut(path))
    }

    fn served(&self, root: Root, contents: &Contents) -> Option<ContentId> {
        let honest = self.files.values().copied().find(|content| contents.root(*content) == root)?;
        Some(self.lies.get(&root).copied().unwrap_or(honest))
    }

    fn why_not(&self, root: Root) -> ServeFailure {
        if self.stale.contains(&root) { ServeFailure::Changed } else { ServeFailure::NotFound }
    }

    fn prepare(
        &mut self,
        conn: ConnId,
        req: u32,
        (root, offset, length): (Root, u64, u32),
        contents: &mut Contents,
    ) -> Result<Md5, ServeFailure> {
        if let Some(content) = self.held_part(root, offset, length) {
            assert_eq!(contents.root(content), root, "nothing is served from a part that was not verified");
            self.prepared.insert((conn, req), content);
            return Ok(contents.md5(Extent { content, offset, length }));
        }
        let content = self.served(root, contents).ok_or(self.why_not(root))?;
        let end = offset.checked_add(u64::from(length)).ok_or(ServeFailure::OutOfRange)?;
        if end > contents.size(content) {
            return Err(ServeFailure::OutOfRange);
        }
        self.prepared.insert((conn, req), content);
        Ok(contents.md5(Extent { content, offset, length }))
    }

    /// The content of an open part file in this range, if the file has all of it.
    fn held_part(&self, root: Root, offset: u64, length: u32) -> Option<ContentId> {
        let last = (offset.checked_add(u64::from(length))?.checked_sub(1)?) / PIECE_BYTES;
        let pieces = u32::try_from(offset / PIECE_BYTES).ok()?..=u32::try_from(last).ok()?;
        let content = |part: &Part| {
            let mut extents = pieces.clone().map(|piece| part.pieces.get(&piece).copied().flatten());
            let first = extents.next()??;
            let end = offset + u64::from(length);
            let is_same = |extent: Option<Extent>| extent.is_some_and(|extent| extent.content == first.content);
            (extents.all(is_same) && Some(end) <= part.size).then_some(first.content)
        };
        self.open_parts(root).find_map(content)
    }

    fn open_parts(&self, root: Root) -> impl Iterator<Item = &Part> {
        let parts = self.open.values().filter_map(|path| self.parts.get(path));
        parts.filter(move |part| part.root == root && part.manifest.is_some())
    }

    /// A liar lies about the pieces, but not about the manifest. Otherwise it would be dropped
    /// before it sent a piece.
    fn manifest(&self, root: Root, first: u32, contents: &mut Contents) -> Result<Page, ServeFailure> {
        if self.open_parts(root).next().is_none() {
            self.served(root, contents).ok_or(self.why_not(root))?;
        }
        let content = contents.find(root).ok_or(ServeFailure::NotFound)?;
        let size = contents.size(content);
        if u64::from(first) > pieces_of(size) {
            return Err(ServeFailure::OutOfRange);
        }
        let cvs = contents.manifest(content);
        let page = cvs.iter().skip(first as usize).take(MANIFEST_PAGE_CVS);
        let page = page.flat_map(|cv| cv.0).collect();
        let is_last = cvs.len() - (first as usize).min(cvs.len()) <= MANIFEST_PAGE_CVS;
        let edge = if is_last { contents.edge(content) } else { None };
        Ok(Page { size, cvs: page, edge, partial: self.served(root, contents).is_none() })
    }

    fn open_part(
        &mut self,
        download: DownloadId,
        destination: &Destination,
        root: Root,
        contents: &mut Contents,
    ) -> Result<PartState, DiskFailure> {
        let path = match destination {
            Destination::Share { name } => Path::new(SHARE).join(name),
            Destination::Path { path, .. } => path.clone(),
            Destination::Below { folder, path } => folder.as_deref().unwrap_or(Path::new(SHARE)).join(path),
            Destination::Collection(_) => Path::new("collections").join(root.to_string()),
        };
        if let Some(there) = self.file(&path) {
            return if contents.root(there) == root {
                Ok(PartState::AlreadyThere { path, size: contents.size(there) })
            } else {
                Err(failure(DiskFailureKind::Taken, &path))
            };
        }
        if self.open.values().any(|other| *other == path) {
            return Err(failure(DiskFailureKind::Locked, &path));
        }
        self.open.insert(download, path.clone());
        let part = match self.parts.remove(&path) {
            Some(part) if part.root == root => part,
            Some(_) | None => Part { root, size: None, manifest: None, pieces: BTreeMap::new() },
        };
        let (size, manifest) = (part.size, part.manifest.clone());
        let verified = part.pieces.iter().filter(|(piece, extent)| {
            let cv = manifest.as_ref().and_then(|cvs| cvs.get(**piece as usize));
            let plan = crate::proto::HashPlan::Piece { offset: u64::from(**piece) * crate::config::PIECE_BYTES };
            let found = extent.and_then(|extent| contents.digests(extent, plan, crate::proto::Verify::Blake3).blake3);
            cv.is_some_and(|cv| found == Some(cv.0))
        });
        let verified: Vec<u32> = verified.map(|(piece, _)| *piece).collect();
        self.parts.insert(path.clone(), part);
        Ok(PartState::Open { path, size, manifest, verified, proves: false })
    }

    fn publish(&mut self, download: DownloadId, contents: &Contents) -> Vec<DiskDone> {
        let Some(path) = self.open.remove(&download) else {
            return vec![DiskDone::Published { download, result: Err(not_open()) }];
        };
        if let Some(there) = self.file(&path) {
            let part = self.parts.get(&path).expect("an open part is there");
            if contents.root(there) != part.root {
                let result = Err(failure(DiskFailureKind::Taken, &path));
                return vec![DiskDone::Published { download, result }];
            }
            self.parts.remove(&path);
            return vec![DiskDone::Published { download, result: Ok(path) }];
        }
        let part = self.parts.remove(&path).expect("an open part is there");
        let mut hasher = blake3::Hasher::new();
        let mut size = 0;
        for (index, (piece, extent)) in (0..).zip(&part.pieces) {
            assert_eq!(index, *piece, "nothing is published with a piece missing");
            let extent = extent.expect("nothing is published that was not written");
            hasher.update(contents.bytes(extent));
            size += u64::from(extent.length);
        }
        assert_eq!(Some(size), part.size, "nothing is published at another size");
        assert_eq!(*hasher.finalize().as_bytes(), part.root.0, "nothing is published that is not byte-exact");
        let content = contents.find(part.root).expect("the bytes that hash to it are a content");
        self.files.insert(path.clone(), content);
        let mut done = vec![DiskDone::Published { download, result: Ok(path.clone()) }];
        let shared = path.strip_prefix(SHARE).ok().and_then(Path::to_str).and_then(SharePath::new);
        if let Some(path) = shared {
            done.push(DiskDone::Share { added: vec![record(path, content, contents)], removed: Vec::new() });
        }
        done
    }
}

pub(super) fn record(path: SharePath, content: ContentId, contents: &Contents) -> FileRecord {
    FileRecord { path, size: contents.size(content), root: contents.root(content), collection: false }
}

fn outside(path: &Path) -> DiskFailure {
    failure(DiskFailureKind::Outside, path)
}

fn described(path: &Path, content: ContentId, contents: &Contents) -> Described {
    let size = contents.size(content);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Described { root: contents.root(content), size, name, files: None, bytes: size, left_out: 0 }
}

fn failure(kind: DiskFailureKind, path: &Path) -> DiskFailure {
    DiskFailure { kind, message: path.display().to_string() }
}

fn not_open() -> DiskFailure {
    DiskFailure { kind: DiskFailureKind::Io, message: "the part file is not open".into() }
}
