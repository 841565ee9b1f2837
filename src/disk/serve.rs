//! Serving chunks and manifests: by root, never by path, and only from a file that is in the very state that was hashed.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{Advice, fadvise};

use super::hash::{md5_of, piece_length, read_range};
use super::md5_lanes::md5_each_stream;
use super::open::Stamp;
use super::share::Share;
use crate::config::{CHUNK_BYTES_MAX, MANIFEST_PAGE_CVS, PIECE_BYTES};
use crate::proto::disk::ServeFailure;
use crate::proto::pieces_of;
use crate::wire::ids::{Md5, Root};

/// Files kept open between chunks; the one opened first goes.
const OPEN_FILES_MAX: usize = 32;
/// MD5s of pieces in one generation of the memory of them; two are kept, the older goes when the younger is full.
const MD5S_MAX: usize = 4096;

/// What serving remembers.
#[derive(Debug, Default)]
pub(super) struct Serve {
    open: VecDeque<(Arc<str>, Arc<File>)>,
    /// Open files whose state was looked at since the last batch began.
    looked_at: Vec<(Arc<str>, Stamp)>,
    md5s: [HashMap<(Root, u64), Md5>; 2],
}

/// A chunk that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) root: Root,
    pub(super) offset: u64,
    pub(super) length: u32,
    /// Nobody wants its MD5.
    pub(super) bare: bool,
}

/// The MD5, if it is wanted or known, and a file from which the chunk may be sent now.
pub(super) type Prepared = Result<(Option<Md5>, Arc<File>), ServeFailure>;

/// A chunk whose MD5 is still to be found, and where it is read.
struct Late {
    /// Its place among those that are wanted.
    at: usize,
    path: Arc<str>,
    stamp: Stamp,
    file: Arc<File>,
}

impl Serve {
    /// Prepares chunks, in order. The MD5s that are not known yet are computed together, as many as there are lanes.
    pub(super) fn prepare(&mut self, share: &mut Share, wanted: &[Wanted], buffer: &mut Vec<u8>) -> Vec<Prepared> {
        let mut prepared: Vec<Option<Prepared>> = wanted.iter().map(|_| None).collect();
        // Files that turned out to be unreadable or changed, by chunk: another with the same content may do.
        let mut spoilt: Vec<Vec<Arc<str>>> = vec![Vec::new(); wanted.len()];
        while prepared.iter().any(Option::is_none) {
            self.looked_at.clear();
            let mut late = Vec::new();
            let mut needed = Needed::default();
            for (at, place) in prepared.iter_mut().enumerate().filter(|(_, place)| place.is_none()) {
                match self.locate(share, &wanted[at], &spoilt[at]) {
                    Ok((path, stamp, file)) => match self.known(&wanted[at], stamp.size) {
                        Some(md5) => {
                            needed.add(&file, &wanted[at]);
                            *place = Some(Ok((md5, file)));
                        }
                        None => late.push(Late { at, path, stamp, file }),
                    },
                    Err(failure) => *place = Some(Err(failure)),
                }
            }
            needed.read_ahead();
            late.sort_by_key(|late| wanted[late.at].length);
            for alike in late.chunk_by(|a, b| wanted[a.at].length == wanted[b.at].length) {
                let digests = md5_of_ranges(wanted, alike, buffer);
                for (Late { at, path, stamp, file }, md5) in alike.iter().zip(digests) {
                    match md5 {
                        Ok(md5) if Stamp::of_file(file) == Ok(*stamp) => {
                            self.remember(&wanted[*at], stamp.size, md5);
                            prepared[*at] = Some(Ok((Some(md5), file.clone())));
                        }
                        unusable => {
                            if let Err(error) = unusable {
                                log::warn!("{} cannot be served: {error}", crate::wire::name::printable(path));
                            }
                            self.changed(share, path);
                            spoilt[*at].push(path.clone());
                        }
                    }
                }
            }
        }
        prepared.into_iter().flatten().collect()
    }

    /// A file that has the chunk, open and in the state that was hashed.
    fn locate(
        &mut self,
        share: &mut Share,
        wanted: &Wanted,
        spoilt: &[Arc<str>],
    ) -> Result<(Arc<str>, Stamp, Arc<File>), ServeFailure> {
        let holders = share.index.holders(wanted.root);
        let size = holders.first().ok_or(ServeFailure::NotFound)?.1.size;
        let end = wanted.offset.checked_add(u64::from(wanted.length)).ok_or(ServeFailure::OutOfRange)?;
        if wanted.length == 0 || wanted.length > CHUNK_BYTES_MAX || end > size {
            return Err(ServeFailure::OutOfRange);
        }
        for (path, stamp) in holders {
            if !spoilt.contains(&path)
                && let Some(file) = self.steady(share, &path, &stamp)
            {
                return Ok((path, stamp, file));
            }
        }
        Err(ServeFailure::Changed)
    }

    /// The size of a content and a page of its chaining values.
    pub(super) fn manifest_page(
        &mut self,
        share: &mut Share,
        root: Root,
        first: u32,
    ) -> Result<(u64, Vec<u8>), ServeFailure> {
        let holders = share.index.holders(root);
        let size = holders.first().ok_or(ServeFailure::NotFound)?.1.size;
        if first > 0 && u64::from(first) >= pieces_of(size) {
            return Err(ServeFailure::OutOfRange);
        }
        for (path, stamp) in holders {
            if self.steady(share, &path, &stamp).is_none() {
                continue;
            }
            if size <= PIECE_BYTES {
                return Ok((size, Vec::new()));
            }
            let Some(manifest) = share.cache.manifest(&stamp, root) else {
                share.hash_again(&path, stamp);
                continue;
            };
            let start = first as usize * 32;
            let end = manifest.len().min(start + MANIFEST_PAGE_CVS * 32);
            if let Some(page) = manifest.get(start..end) {
                return Ok((size, page.to_vec()));
            }
        }
        Err(ServeFailure::Changed)
    }

    /// The file, open, if it is in the state that was hashed.
    fn steady(&mut self, share: &mut Share, path: &Arc<str>, stamp: &Stamp) -> Option<Arc<File>> {
        if let Some(at) = self.open.iter().position(|(open, _)| open == path) {
            let looked_at = self.looked_at.iter().any(|(other, then)| other == path && then == stamp);
            if looked_at || Stamp::of_file(&self.open[at].1) == Ok(*stamp) {
                if !looked_at {
                    self.looked_at.push((path.clone(), *stamp));
                }
                return Some(self.open[at].1.clone());
            }
            self.open.remove(at);
        }
        match share.beneath().open_file(path) {
            Ok((file, now)) if now == *stamp => {
                let file = Arc::new(file);
                if self.open.len() == OPEN_FILES_MAX {
                    self.open.pop_front();
                }
                self.open.push_back((path.clone(), file.clone()));
                Some(file)
            }
            Ok(_) | Err(_) => {
                self.changed(share, path);
                None
            }
        }
    }

    /// Has the share look at a file that is not what it was.
    fn changed(&mut self, share: &mut Share, path: &Arc<str>) {
        self.open.retain(|(open, _)| open != path);
        self.looked_at.retain(|(other, _)| other != path);
        share.touch(path.to_string(), Instant::now(), true);
    }

    /// Closes files that are not shared any more, so that their space is freed.
    pub(super) fn close_unshared(&mut self, share: &Share) {
        self.open.retain(|(path, _)| share.index.offered_at(path).is_some());
    }

    /// What is to be told as the MD5, if that can be said without reading.
    fn known(&mut self, wanted: &Wanted, size: u64) -> Option<Option<Md5>> {
        if wanted.bare {
            return Some(None);
        }
        let key = (wanted.root, wanted.whole_piece(size)?);
        if let Some(md5) = self.md5s[0].get(&key) {
            return Some(Some(*md5));
        }
        let md5 = *self.md5s[1].get(&key)?;
        self.remember(wanted, size, md5);
        Some(Some(md5))
    }

    fn remember(&mut self, wanted: &Wanted, size: u64, md5: Md5) {
        let Some(piece) = wanted.whole_piece(size) else { return };
        if self.md5s[0].len() >= MD5S_MAX {
            self.md5s.swap(0, 1);
            self.md5s[0] = HashMap::new();
        }
        self.md5s[0].insert((wanted.root, piece), md5);
    }
}

impl Wanted {
    /// The piece that this is, if it is one.
    fn whole_piece(&self, size: u64) -> Option<u64> {
        let piece = self.offset / PIECE_BYTES;
        let whole = self.offset.is_multiple_of(PIECE_BYTES) && self.length as usize == piece_length(size, piece);
        whole.then_some(piece)
    }
}

/// A range that the loop will send soon: its sendfile must not wait for a cold disk.
#[derive(Default)]
struct Needed {
    range: Option<(Arc<File>, u64, u64)>,
}

impl Needed {
    /// Adds a chunk; the range before it is ordered if it is not the neighbour.
    fn add(&mut self, file: &Arc<File>, wanted: &Wanted) {
        let length = u64::from(wanted.length);
        match &mut self.range {
            Some((same, start, sum)) if Arc::ptr_eq(same, file) && *start + *sum == wanted.offset => *sum += length,
            _ => {
                self.read_ahead();
                self.range = Some((file.clone(), wanted.offset, length));
            }
        }
    }

    fn read_ahead(&mut self) {
        if let Some((file, start, length)) = self.range.take() {
            let _ = fadvise(&file, start, NonZeroU64::new(length), Advice::WillNeed);
        }
    }
}

/// The MD5s of chunks of one length.
fn md5_of_ranges(wanted: &[Wanted], alike: &[Late], buffer: &mut Vec<u8>) -> Vec<io::Result<Md5>> {
    let length = wanted[alike[0].at].length as usize;
    if let [alone] = alike {
        return vec![read_range(&alone.file, wanted[alone.at].offset, length, buffer).map(md5_of)];
    }
    md5_each_stream(alike.len(), length, buffer, |n, at, into| {
        alike[n].file.read_exact_at(into, wanted[alike[n].at].offset + at as u64)
    })
}
