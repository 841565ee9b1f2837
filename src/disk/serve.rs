//! Serving chunks and manifests: by root, never by path, and only from a file that is in the very state that was hashed.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{Advice, fadvise};

use super::beneath::Stamp;
use super::hash::{md5_of, piece_length, read_range};
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
    md5s: [HashMap<(Root, u64), Md5>; 2],
}

impl Serve {
    /// The MD5 of a range of a content, and a file from which it may be sent now.
    pub(super) fn prepare_chunk(
        &mut self,
        share: &mut Share,
        root: Root,
        offset: u64,
        length: u32,
        buffer: &mut Vec<u8>,
    ) -> Result<(Md5, Arc<File>), ServeFailure> {
        let holders = share.index.holders(root);
        let size = holders.first().ok_or(ServeFailure::NotFound)?.1.size;
        let end = offset.checked_add(u64::from(length)).ok_or(ServeFailure::OutOfRange)?;
        if length == 0 || length > CHUNK_BYTES_MAX || end > size {
            return Err(ServeFailure::OutOfRange);
        }
        let piece = offset / PIECE_BYTES;
        let whole = offset.is_multiple_of(PIECE_BYTES) && length as usize == piece_length(size, piece);
        for (path, stamp) in holders {
            let Some(file) = self.steady(share, &path, &stamp) else { continue };
            if whole && let Some(md5) = self.md5(root, piece) {
                // The loop's sendfile must not wait for a cold disk.
                let _ = fadvise(&file, offset, NonZeroU64::new(u64::from(length)), Advice::WillNeed);
                return Ok((md5, file));
            }
            let md5 = match read_range(&file, offset, length as usize, buffer) {
                Ok(range) => md5_of(range),
                Err(error) => {
                    log::warn!("{} cannot be served: {error}", crate::wire::name::printable(&path));
                    self.changed(share, &path);
                    continue;
                }
            };
            if Stamp::of_file(&file) != Ok(stamp) {
                self.changed(share, &path);
                continue;
            }
            if whole {
                self.remember(root, piece, md5);
            }
            return Ok((md5, file));
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
            if Stamp::of_file(&self.open[at].1) == Ok(*stamp) {
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
        share.touch(path.to_string(), Instant::now(), true);
    }

    /// Closes files that are not shared any more, so that their space is freed.
    pub(super) fn close_unshared(&mut self, share: &Share) {
        self.open.retain(|(path, _)| share.index.offered_at(path).is_some());
    }

    fn md5(&mut self, root: Root, piece: u64) -> Option<Md5> {
        let key = (root, piece);
        if let Some(md5) = self.md5s[0].get(&key) {
            return Some(*md5);
        }
        let md5 = *self.md5s[1].get(&key)?;
        self.remember(root, piece, md5);
        Some(md5)
    }

    fn remember(&mut self, root: Root, piece: u64, md5: Md5) {
        if self.md5s[0].len() >= MD5S_MAX {
            self.md5s.swap(0, 1);
            self.md5s[0] = HashMap::new();
        }
        self.md5s[0].insert((root, piece), md5);
    }
}
