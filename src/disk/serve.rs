//! Serves chunks and manifests. They are found by root, never by path, and only in files that are
//! at their paths in the state that was hashed. A file may still be open here after it was deleted,
//! moved, replaced or unmounted. It is no longer served then, because each batch of chunks looks up
//! the path again.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

use super::folder::Stamp;
use super::hash::{piece_length, read_range};
use super::held::Held;
use super::lent::{Lender, Lent};
use super::md5_lanes::{Source, md5_each};
use super::share::Share;
use crate::config::{CHUNK_BYTES_MAX, MANIFEST_PAGE_CVS, PIECE_BYTES, SHORT_CHUNK_BYTES};
use crate::proto::disk::{Edge, Page, ServeFailure};
use crate::proto::weak_peer::download::manifest::{edge_of, proves};
use crate::proto::{ConnId, pieces_of};
use crate::wire::ids::{Cv, Md5, Root};
use crate::wire::name::printable;

/// Most files that are kept open between chunks. If there are more, the file that was opened first
/// is closed.
const OPEN_FILES_MAX: usize = 32;
/// MD5s of pieces in one generation of the cache. There are two generations. When the younger one
/// is full, the older one is freed.
const MD5S_MAX: usize = 4096;

/// Right edges that are kept, each with at most 1.4 KB. If there are more, the oldest is dropped.
const EDGES_MAX: usize = 64;

/// Open files and known MD5s.
#[derive(Debug, Default)]
pub(super) struct Serve {
    open: VecDeque<Open>,
    /// Open files whose path was looked up in this batch.
    checked: Vec<(Arc<str>, Stamp)>,
    md5s: [HashMap<(Root, u64), Md5>; 2],
    /// Right edges that were computed; the oldest comes first.
    edges: VecDeque<(Root, Edge)>,
    lender: Lender,
}

/// A file that is kept open between chunks.
#[derive(Debug)]
struct Open {
    path: Arc<str>,
    /// Its state when it was opened.
    stamp: Stamp,
    file: Arc<File>,
    used_at: Instant,
}

impl Open {
    /// Whether this is the file of the stamp. Its state may differ.
    fn is_of(&self, stamp: &Stamp) -> bool {
        (self.stamp.dev, self.stamp.ino) == (stamp.dev, stamp.ino)
    }
}

/// A chunk to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkRequest {
    pub(super) conn: ConnId,
    pub(super) req: u32,
    pub(super) root: Root,
    pub(super) offset: u64,
    pub(super) length: u32,
    /// Whether its MD5 is not needed.
    pub(super) bare: bool,
}

/// A chunk that may be sent now.
#[derive(Debug)]
pub(super) struct Ready {
    /// None if it is not needed.
    pub(super) md5: Option<Md5>,
    /// The file that has it.
    pub(super) file: Arc<File>,
    /// Its bytes, if it is short.
    pub(super) lent: Option<Lent>,
}

impl Ready {
    pub(super) fn new(md5: Option<Md5>, file: Arc<File>) -> Ready {
        Ready { md5, file, lent: None }
    }
}

/// A chunk, or why it cannot be sent.
pub(super) type Prepared = Result<Ready, ServeFailure>;

/// A chunk whose MD5 must be computed, with its file.
struct Unhashed {
    /// Its index in the batch.
    at: usize,
    path: Arc<str>,
    stamp: Stamp,
    file: Arc<File>,
    /// Its bytes, if they have been read.
    lent: Option<Lent>,
}

impl Serve {
    /// Prepares chunks, in order. Unknown MD5s are computed together.
    pub(super) fn prepare(
        &mut self,
        share: &mut Share,
        requests: &[ChunkRequest],
        buffer: &mut Vec<u8>,
    ) -> Vec<Prepared> {
        share.trees.close();
        let mut prepared: Vec<Option<Prepared>> = requests.iter().map(|_| None).collect();
        // For each chunk: files that cannot be used because they are unreadable or have changed.
        // Another file with the same content may be used.
        let mut unusable: Vec<Vec<Arc<str>>> = vec![Vec::new(); requests.len()];
        while prepared.iter().any(Option::is_none) {
            self.checked.clear();
            let mut unhashed = Vec::new();
            let mut read_ahead = ReadAhead::default();
            for (at, place) in prepared.iter_mut().enumerate().filter(|(_, place)| place.is_none()) {
                match self.locate(share, &requests[at], &unusable[at]) {
                    Ok((path, stamp, file)) => {
                        let lent = self.lend(&file, &requests[at]);
                        match self.known(&requests[at], stamp.size) {
                            Some(md5) => {
                                if lent.is_none() {
                                    read_ahead.add(&file, &requests[at]);
                                }
                                *place = Some(Ok(Ready { md5, file, lent }));
                            }
                            None => unhashed.push(Unhashed { at, path, stamp, file, lent }),
                        }
                    }
                    Err(failure) => *place = Some(Err(failure)),
                }
            }
            read_ahead.order();
            let sources = unhashed.iter().map(|Unhashed { at, file, lent, .. }| match lent {
                Some(lent) => Source::Bytes(lent.as_ref()),
                None => {
                    let ChunkRequest { offset, length, .. } = requests[*at];
                    Source::File { file, offset, length: length as usize }
                }
            });
            let sources: Vec<Source<'_>> = sources.collect();
            let md5s = md5_each(&sources, buffer);
            for (Unhashed { at, path, stamp, file, lent }, md5) in unhashed.into_iter().zip(md5s) {
                match md5 {
                    Ok(md5) if Stamp::of_file(&file) == Ok(stamp) => {
                        self.remember(&requests[at], stamp.size, md5);
                        prepared[at] = Some(Ok(Ready { md5: Some(md5), file, lent }));
                    }
                    failed => {
                        if let Err(error) = failed {
                            log::warn!("{} cannot be served: {error}", printable(&path));
                        }
                        self.changed(share, &path);
                        unusable[at].push(path);
                    }
                }
            }
        }
        prepared.into_iter().flatten().collect()
    }

    /// Reads a short chunk, so that one write sends several. None if it is not short, if too many
    /// chunks are lent, or if it cannot be read. Then it is sent from the file, or the file turns
    /// out to have changed.
    fn lend(&self, file: &File, request: &ChunkRequest) -> Option<Lent> {
        if request.length > SHORT_CHUNK_BYTES || !self.lender.may_lend() {
            return None;
        }
        let mut bytes = vec![0; request.length as usize];
        file.read_exact_at(&mut bytes, request.offset).ok()?;
        Some(self.lender.lend(bytes))
    }

    /// A file that has the chunk: its path, its state, and the open file.
    fn locate(
        &mut self,
        share: &mut Share,
        request: &ChunkRequest,
        unusable: &[Arc<str>],
    ) -> Result<(Arc<str>, Stamp, Arc<File>), ServeFailure> {
        let holders = share.catalog.holders(request.root);
        let size = holders.first().ok_or(ServeFailure::NotFound)?.1.size;
        let end = request.offset.checked_add(u64::from(request.length)).ok_or(ServeFailure::OutOfRange)?;
        if request.length == 0 || request.length > CHUNK_BYTES_MAX || end > size {
            return Err(ServeFailure::OutOfRange);
        }
        let mut failure = if unusable.is_empty() { ServeFailure::NotFound } else { ServeFailure::Changed };
        for (path, stamp) in holders.into_iter().filter(|(path, _)| !unusable.contains(path)) {
            match self.open_unchanged(share, &path, &stamp) {
                Ok(file) => return Ok((path, stamp, file)),
                Err(ServeFailure::NotFound) => {}
                Err(other) => failure = other,
            }
        }
        Err(failure)
    }

    /// The size of a content and a page of its chaining values.
    pub(super) fn manifest_page(
        &mut self,
        share: &mut Share,
        root: Root,
        first: u32,
        buffer: &mut Vec<u8>,
    ) -> Result<Page, ServeFailure> {
        share.trees.close();
        self.checked.clear();
        let holders = share.catalog.holders(root);
        let size = holders.first().ok_or(ServeFailure::NotFound)?.1.size;
        if first > 0 && u64::from(first) >= pieces_of(size) {
            return Err(ServeFailure::OutOfRange);
        }
        let mut failure = ServeFailure::NotFound;
        for (path, stamp) in holders {
            let file = match self.open_unchanged(share, &path, &stamp) {
                Ok(file) => file,
                Err(other) => {
                    failure = if other == ServeFailure::NotFound { failure } else { other };
                    continue;
                }
            };
            failure = ServeFailure::Changed;
            if size <= PIECE_BYTES {
                return Ok(Page { size, ..Page::default() });
            }
            let Some(manifest) = share.catalog.cache.manifest(&stamp, root) else {
                share.hash_again(&path, stamp);
                continue;
            };
            let start = first as usize * 32;
            let end = manifest.len().min(start + MANIFEST_PAGE_CVS * 32);
            if let Some(page) = manifest.get(start..end) {
                let cvs = page.to_vec();
                let last = if end == manifest.len() { manifest.last_chunk().map(|last| Cv(*last)) } else { None };
                let edge = last.and_then(|last| self.edge((root, size, last), &file, buffer));
                return Ok(Page { size, cvs, edge, partial: false });
            }
        }
        Err(failure)
    }

    /// The right edge of a content whose last piece has this value. If the edge is not known, it is
    /// computed from the file. None if the file has changed.
    fn edge(&mut self, (root, size, value): (Root, u64, Cv), file: &File, buffer: &mut Vec<u8>) -> Option<Edge> {
        if let Some((_, edge)) = self.edges.iter().find(|(known, _)| *known == root) {
            return Some(edge.clone());
        }
        let last = pieces_of(size) - 1;
        let bytes = read_range(file, last * PIECE_BYTES, piece_length(size, last), buffer).ok()?;
        let edge = edge_of(bytes, size).filter(|edge| proves(edge, size, &value))?;
        if self.edges.len() >= EDGES_MAX {
            self.edges.pop_front();
        }
        self.edges.push_back((root, edge.clone()));
        Some(edge)
    }

    /// Prepares a chunk of a content that is being downloaded.
    pub(super) fn prepare_held(&mut self, held: &Held<'_>, request: &ChunkRequest, buffer: &mut Vec<u8>) -> Prepared {
        let file = held.locate(request.offset, request.length)?;
        if let Some(md5) = self.known(request, held.size) {
            return Ok(Ready::new(md5, file));
        }
        let ChunkRequest { offset, length, .. } = *request;
        let mut md5 = md5_each(&[Source::File { file: &file, offset, length: length as usize }], buffer).into_iter();
        let md5 = md5.next().and_then(Result::ok).ok_or(ServeFailure::Changed)?;
        self.remember(request, held.size, md5);
        Ok(Ready::new(Some(md5), file))
    }

    /// Keeps the MD5 of a piece that was received.
    pub(super) fn note_md5(&mut self, root: Root, piece: u32, md5: Md5) {
        self.insert((root, u64::from(piece)), md5);
    }

    /// Opens the file, if it is in the state that was hashed. `NotFound` if it is gone.
    fn open_unchanged(&mut self, share: &mut Share, path: &Arc<str>, stamp: &Stamp) -> Result<Arc<File>, ServeFailure> {
        if let Some(at) = self.open.iter().position(|open| open.path == *path) {
            let checked = self.checked.iter().any(|(other, then)| other == path && then == stamp);
            if checked || (self.open[at].is_of(stamp) && share.trees.leads_to(path, stamp)) {
                if !checked {
                    self.checked.push((path.clone(), *stamp));
                }
                self.open[at].used_at = Instant::now();
                return Ok(self.open[at].file.clone());
            }
            self.open.remove(at);
        }
        match share.trees.open_file(path) {
            Ok((file, now)) if now == *stamp => {
                let file = Arc::new(file);
                if self.open.len() == OPEN_FILES_MAX {
                    self.open.pop_front();
                }
                let (path, used_at) = (path.clone(), Instant::now());
                self.open.push_back(Open { path, stamp: now, file: file.clone(), used_at });
                Ok(file)
            }
            other => {
                self.changed(share, path);
                let is_gone = matches!(other, Err(Errno::NOENT | Errno::NOTDIR));
                Err(if is_gone { ServeFailure::NotFound } else { ServeFailure::Changed })
            }
        }
    }

    /// As [`Serve::open_unchanged`], but always looks up the path again.
    pub(super) fn open_at(&mut self, share: &mut Share, path: &str, stamp: &Stamp) -> Result<Arc<File>, ServeFailure> {
        self.checked.clear();
        self.open_unchanged(share, &Arc::from(path), stamp)
    }

    /// Reports to the share that a file has changed.
    fn changed(&mut self, share: &mut Share, path: &Arc<str>) {
        self.open.retain(|open| open.path != *path);
        self.checked.retain(|(other, _)| other != path);
        share.changed(path);
    }

    /// Closes files that are no longer shared, so that the file system can free their space.
    pub(super) fn close_unshared(&mut self, share: &Share) {
        self.open.retain(|open| share.catalog.offered_at(&open.path).is_some());
    }

    /// Closes files from which nothing was served for this time. So their file systems can be
    /// unmounted while other files are served.
    pub(super) fn close_unused(&mut self, now: Instant, after: Duration) {
        self.open.retain(|open| now.saturating_duration_since(open.used_at) < after);
    }

    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Closes all files, because nothing was served for a while.
    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }

    /// The MD5 to send, if the chunk need not be read to know it. The inner value is none if no MD5
    /// is needed.
    fn known(&mut self, request: &ChunkRequest, size: u64) -> Option<Option<Md5>> {
        if request.bare {
            return Some(None);
        }
        let key = (request.root, request.piece(size)?);
        if let Some(md5) = self.md5s[0].get(&key) {
            return Some(Some(*md5));
        }
        let md5 = *self.md5s[1].get(&key)?;
        self.remember(request, size, md5);
        Some(Some(md5))
    }

    fn remember(&mut self, request: &ChunkRequest, size: u64, md5: Md5) {
        if let Some(piece) = request.piece(size) {
            self.insert((request.root, piece), md5);
        }
    }

    fn insert(&mut self, key: (Root, u64), md5: Md5) {
        if self.md5s[0].len() >= MD5S_MAX {
            self.md5s.swap(0, 1);
            self.md5s[0] = HashMap::new();
        }
        self.md5s[0].insert(key, md5);
    }
}

impl ChunkRequest {
    /// The number of the piece, if the chunk is exactly one piece.
    fn piece(&self, size: u64) -> Option<u64> {
        let piece = self.offset / PIECE_BYTES;
        let is_piece = self.offset.is_multiple_of(PIECE_BYTES) && self.length as usize == piece_length(size, piece);
        is_piece.then_some(piece)
    }
}

/// Requests read-ahead of ranges that the loop will send soon, so that its sendfile does not wait
/// for the disk.
#[derive(Default)]
struct ReadAhead {
    range: Option<(Arc<File>, u64, u64)>,
}

impl ReadAhead {
    /// Adds a chunk. If it does not continue the present range, read-ahead of that range is
    /// requested.
    fn add(&mut self, file: &Arc<File>, request: &ChunkRequest) {
        let length = u64::from(request.length);
        match &mut self.range {
            Some((same, start, sum)) if Arc::ptr_eq(same, file) && *start + *sum == request.offset => *sum += length,
            _ => {
                self.order();
                self.range = Some((file.clone(), request.offset, length));
            }
        }
    }

    fn order(&mut self) {
        if let Some((file, start, length)) = self.range.take() {
            let _ = fadvise(&file, start, NonZeroU64::new(length), Advice::WillNeed);
        }
    }
}
