//! What a peer serves of contents that it downloads: the verified and written pieces of part files,
//! and files that were published a moment ago. Pieces are read from the open part file. It never
//! serves a byte outside of these pieces.
//!
//! The state of a part file changes when the file grows. So this state does not show whether
//! written pieces were changed. The state of a published file does.

use std::fs::File;
use std::sync::Arc;

use super::folder::Stamp;
use super::hash::{piece_length, read_range};
use crate::config::{CHUNK_BYTES_MAX, MANIFEST_PAGE_CVS, PIECE_BYTES};
use crate::proto::disk::{Edge, Page, ServeFailure};
use crate::proto::pieces_of;
use crate::proto::weak_peer::download::manifest::{edge_of, proves};
use crate::wire::ids::{Cv, Root};

/// A content of at least two pieces, which may be incomplete here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'a> {
    pub(super) root: Root,
    pub(super) size: u64,
    pub(super) file: &'a Arc<File>,
    pub(super) manifest: &'a [Cv],
    pub(super) edge: Option<&'a Edge>,
    /// Which pieces are in the file and correct; none means all.
    pub(super) written: Option<&'a [bool]>,
}

/// A file that was published from its part file.
#[derive(Debug)]
pub(super) struct Finished {
    root: Root,
    size: u64,
    file: Arc<File>,
    manifest: Vec<Cv>,
    edge: Option<Edge>,
    /// The state of the file once it had its final name.
    stamp: Option<Stamp>,
}

impl Held<'_> {
    /// The file, if all pieces of this range are in it.
    pub(super) fn locate(&self, offset: u64, length: u32) -> Result<Arc<File>, ServeFailure> {
        let length = u64::from(length);
        let end = offset.checked_add(length).filter(|end| *end <= self.size);
        let end = end.filter(|_| (1..=u64::from(CHUNK_BYTES_MAX)).contains(&length)).ok_or(ServeFailure::OutOfRange)?;
        let mut pieces = offset / PIECE_BYTES..=(end - 1) / PIECE_BYTES;
        if pieces.all(|piece| self.has(piece)) { Ok(self.file.clone()) } else { Err(ServeFailure::NotFound) }
    }

    fn has(&self, piece: u64) -> bool {
        self.written.is_none_or(|written| usize::try_from(piece).is_ok_and(|piece| written.get(piece) == Some(&true)))
    }

    /// A page of the manifest. The last page has the right edge, if the edge is known or can be
    /// computed.
    pub(super) fn page(&self, first: u32, buffer: &mut Vec<u8>) -> Result<Page, ServeFailure> {
        let pieces = pieces_of(self.size);
        if u64::from(first) >= pieces {
            return Err(ServeFailure::OutOfRange);
        }
        let values = &self.manifest[(first as usize).min(self.manifest.len())..];
        let is_last = values.len() <= MANIFEST_PAGE_CVS;
        let cvs = values.iter().take(MANIFEST_PAGE_CVS).flat_map(|cv| cv.0).collect();
        let edge = if is_last { self.edge.cloned().or_else(|| self.read_edge(pieces - 1, buffer)) } else { None };
        let partial = self.written.is_some_and(|written| written.contains(&false));
        Ok(Page { size: self.size, cvs, edge, partial })
    }

    fn read_edge(&self, last: u64, buffer: &mut Vec<u8>) -> Option<Edge> {
        if !self.has(last) {
            return None;
        }
        let bytes = read_range(self.file, last * PIECE_BYTES, piece_length(self.size, last), buffer).ok()?;
        let value = self.manifest.last()?;
        edge_of(bytes, self.size).filter(|edge| proves(edge, self.size, value))
    }
}

impl Finished {
    /// What is served of a complete part file once it has its final name.
    pub(super) fn of(part: Held<'_>) -> Finished {
        let Held { root, size, file, manifest, edge, .. } = part;
        let (file, manifest, edge) = (file.clone(), manifest.to_vec(), edge.cloned());
        Finished { root, size, file, manifest, edge, stamp: None }
    }

    /// The file has its final name. From now on a change of the file is noticed.
    pub(super) fn publish(&mut self) {
        self.stamp = Stamp::of_file(&self.file).ok();
    }

    /// The complete content, unless the file has changed.
    pub(super) fn held(&self) -> Option<Held<'_>> {
        let Finished { root, size, file, manifest, edge, stamp } = self;
        let changed = stamp.is_some_and(|stamp| Stamp::of_file(file) != Ok(stamp));
        let (root, size, edge) = (*root, *size, edge.as_ref());
        (!changed).then_some(Held { root, size, file, manifest, edge, written: None })
    }
}
