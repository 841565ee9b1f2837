//! The digest cache: the root and the manifest of each state of a file, so that the share is not
//! hashed again after a restart.
//!
//! On disk it is a [`Log`]. When more than half of the log is garbage, a new one is written and
//! replaces it. Nothing depends on the cache: after an error it logs one warning and keeps digests
//! only in memory.

mod digest_log;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use self::digest_log::Log;
use super::folder::Stamp;
use super::hash::{ContentDigest, cvs_of};
use crate::proto::pieces_of;
use crate::wire::ids::Root;

/// A log with fewer entries is not worth rewriting.
const GARBAGE_ENTRIES_MIN: usize = 4096;

/// Chaining values, one after the other.
pub(super) type Manifest = Arc<[u8]>;

/// Where the chaining values of a file state are.
#[derive(Debug)]
enum Cvs {
    /// The content has at most one piece and needs no chaining values.
    None,
    Memory(Manifest),
    /// In the log, in the entry at this offset.
    Log(u64),
}

#[derive(Debug)]
struct Slot {
    root: Root,
    cvs: Cvs,
}

/// Digests by the state of the file.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The key is the first 128 bits of the hash of the stamp. They take half the memory of a
    /// stamp, and collisions are practically impossible.
    slots: HashMap<u128, Slot>,
    log: Option<Log>,
    /// The manifest that was read last, because a downloader fetches its pages one after the other.
    last: Option<(Root, Manifest)>,
}

impl Cache {
    /// Reads or creates the log at `path`. Without a path, or if that fails, the cache is only in
    /// memory.
    pub(super) fn open(path: Option<&Path>) -> Cache {
        let Some(path) = path else { return Cache::default() };
        let mut slots = HashMap::new();
        let opened = Log::open(path, |offset, entry| {
            let cvs = if entry.cvs.is_empty() { Cvs::None } else { Cvs::Log(offset) };
            slots.insert(key_of(&entry.stamp), Slot { root: entry.root, cvs });
        });
        match opened {
            Ok(log) => Cache { slots, log: Some(log), last: None },
            Err(error) => {
                warn(path, &error);
                Cache::default()
            }
        }
    }

    /// The root of a file in this state.
    pub(super) fn root(&self, stamp: &Stamp) -> Option<Root> {
        self.slots.get(&key_of(stamp)).map(|slot| slot.root)
    }

    /// Stores a digest, also on disk.
    pub(super) fn insert(&mut self, stamp: &Stamp, digest: &ContentDigest) {
        debug_assert!(digest.cvs.is_empty() || digest.cvs.len() as u64 == pieces_of(stamp.size));
        let key = key_of(stamp);
        if self.slots.get(&key).is_some_and(|slot| slot.root == digest.root) {
            return;
        }
        let offset = self.log.as_mut().map(|log| log.append(stamp, digest));
        let cvs = match offset {
            _ if digest.cvs.is_empty() => Cvs::None,
            Some(offset) => Cvs::Log(offset),
            None => Cvs::Memory(digest.cvs.iter().flat_map(|cv| cv.0).collect()),
        };
        self.slots.insert(key, Slot { root: digest.root, cvs });
        if self.log.as_ref().is_some_and(Log::is_full) {
            self.flush();
        }
    }

    /// Stores the same content for another state: the file was renamed, or its mode changed.
    pub(super) fn alias(&mut self, from: &Stamp, to: &Stamp, root: Root) {
        let cvs = match self.manifest(from, root) {
            Some(manifest) => cvs_of(&manifest),
            None if pieces_of(to.size) > 1 => return,
            None => Vec::new(),
        };
        self.insert(to, &ContentDigest { root, cvs });
    }

    /// The chaining values of a file in this state. None if the content has at most one piece, or
    /// if they cannot be read.
    pub(super) fn manifest(&mut self, stamp: &Stamp, root: Root) -> Option<Manifest> {
        if let Some((last, manifest)) = &self.last
            && *last == root
        {
            return Some(manifest.clone());
        }
        let slot = self.slots.get(&key_of(stamp)).filter(|slot| slot.root == root)?;
        let manifest = slot.cvs.read(self.log.as_ref())?;
        self.last = Some((root, manifest.clone()));
        Some(manifest)
    }

    /// Removes a digest whose manifest cannot be read.
    pub(super) fn forget(&mut self, stamp: &Stamp) {
        self.slots.remove(&key_of(stamp));
    }

    /// Writes the waiting entries. If that fails, the cache continues in memory.
    pub(super) fn flush(&mut self) {
        if let Some(log) = &mut self.log
            && let Err(error) = log.flush()
        {
            warn(&log.path, &error);
            for slot in self.slots.values_mut().filter(|slot| matches!(slot.cvs, Cvs::Log(_))) {
                slot.cvs = slot.cvs.read(Some(log)).map_or(Cvs::None, Cvs::Memory);
            }
            log.cut();
            self.log = None;
        }
    }

    /// Rewrites the log if more than half of its entries belong to no file that is offered. There
    /// are `live` such files, with these `stamps`.
    pub(super) fn compact<'s>(&mut self, live: usize, stamps: impl Iterator<Item = &'s Stamp>) {
        self.flush();
        let Some(log) = &mut self.log else { return };
        if log.entries < GARBAGE_ENTRIES_MIN || log.entries <= 2 * live {
            return;
        }
        match rewrite(log, &self.slots, stamps) {
            Ok(slots) => self.slots = slots,
            Err(error) => {
                log::warn!("digest cache {}: cannot be written again: {error}", log.path.display());
                log.remove_beside();
                // After a failure, it is tried again only after as much new garbage, so that a full
                // disk does not cause constant work.
                log.entries = live;
            }
        }
    }
}

impl Cvs {
    fn read(&self, log: Option<&Log>) -> Option<Manifest> {
        match self {
            Cvs::None => None,
            Cvs::Memory(manifest) => Some(manifest.clone()),
            Cvs::Log(offset) => log?.cvs_at(*offset).map(Manifest::from),
        }
    }
}

/// Replaces the log by one that has only the entries with these stamps.
fn rewrite<'s>(
    log: &mut Log,
    slots: &HashMap<u128, Slot>,
    stamps: impl Iterator<Item = &'s Stamp>,
) -> io::Result<HashMap<u128, Slot>> {
    let mut new = log.create_beside()?;
    let mut kept = HashMap::new();
    for stamp in stamps {
        let key = key_of(stamp);
        let Some(slot) = slots.get(&key).filter(|_| !kept.contains_key(&key)) else { continue };
        let manifest = slot.cvs.read(Some(log));
        if manifest.is_none() && !matches!(slot.cvs, Cvs::None) {
            continue;
        }
        let cvs = manifest.map(|manifest| cvs_of(&manifest)).unwrap_or_default();
        let has_cvs = !cvs.is_empty();
        let offset = new.append(stamp, &ContentDigest { root: slot.root, cvs });
        kept.insert(key, Slot { root: slot.root, cvs: if has_cvs { Cvs::Log(offset) } else { Cvs::None } });
        if new.is_full() {
            new.flush()?;
        }
    }
    log.replace(new)?;
    Ok(kept)
}

fn warn(path: &Path, error: &io::Error) {
    log::warn!("digest cache {}: {error}; files are hashed again after a restart", path.display());
}

fn key_of(stamp: &Stamp) -> u128 {
    let hash = blake3::hash(&stamp.to_bytes());
    u128::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash is longer than a key"))
}
