//! The digest cache: which stamp has which root and manifest, so that a restart hashes nothing twice.
//!
//! On disk it is a log that is only appended to, each entry with its own checksum: a torn or foreign tail is cut off, never
//! believed. When more than half of it is garbage it is written anew beside itself and renamed. It is a cache: whatever goes
//! wrong with it is told once, and digests are then kept in memory only.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use super::hash::ContentDigest;
use super::open::Stamp;
use crate::proto::pieces_of;
use crate::wire::ids::{Cv, Root};

/// First bytes of the file. The number is that of the format.
const MAGIC: &[u8; 16] = b"sprat digests 1\n";
/// Bytes of an entry before its chaining values: count, stamp, root.
const HEAD_BYTES: usize = 4 + 40 + 32;
const CHECK_BYTES: usize = 8;
/// Entries below which writing anew is not worth it.
const GARBAGE_ENTRIES_MIN: usize = 4096;
/// Bytes that wait to be appended, at most.
const PENDING_BYTES_MAX: usize = 256 * 1024;

/// Chaining values, one after the other.
pub(super) type Manifest = Arc<[u8]>;

/// Where the chaining values of an entry are.
#[derive(Debug)]
enum Place {
    /// Of a content that needs none.
    None,
    Memory(Manifest),
    /// Offset of the entry in the log.
    Log(u64),
}

#[derive(Debug)]
struct Slot {
    root: Root,
    place: Place,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Cache {
    slots: HashMap<u128, Slot>,
    log: Option<Log>,
    /// The manifest that was read last; a downloader asks for its pages in a row.
    last: Option<(Root, Manifest)>,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// Length of what is written and good.
    length: u64,
    entries: usize,
    pending: Vec<u8>,
}

impl Cache {
    /// Reads the log at `path`, or begins one; without a path, or where that fails, the cache lives in memory.
    pub(super) fn open(path: Option<&Path>) -> Cache {
        let mut cache = Cache::default();
        if let Some(path) = path
            && let Err(error) = cache.load(path)
        {
            log::warn!("digest cache {}: {error}; files are hashed again after a restart", path.display());
            cache = Cache::default();
        }
        cache
    }

    fn load(&mut self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let file = open_log(path, OFlags::empty())?;
        let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        let mut good = MAGIC.len();
        let mut entries = 0;
        if bytes.starts_with(MAGIC) {
            while let Some(entry) = Entry::parse(&bytes[good..]) {
                let place = if entry.cvs.is_empty() { Place::None } else { Place::Log(good as u64) };
                self.slots.insert(key_of(&entry.stamp), Slot { root: entry.root, place });
                good += entry.bytes;
                entries += 1;
            }
        } else {
            file.write_all_at(MAGIC, 0)?;
        }
        if good < bytes.len() {
            log::warn!("digest cache {}: {} bad bytes at its end are dropped", path.display(), bytes.len() - good);
        }
        file.set_len(good as u64)?;
        self.log = Some(Log { path: path.to_owned(), file, length: good as u64, entries, pending: Vec::new() });
        Ok(())
    }

    /// The root of a file in this state.
    pub(super) fn root(&self, stamp: &Stamp) -> Option<Root> {
        self.slots.get(&key_of(stamp)).map(|slot| slot.root)
    }

    /// Remembers a digest, on disk too.
    pub(super) fn insert(&mut self, stamp: &Stamp, digest: &ContentDigest) {
        debug_assert!(digest.cvs.is_empty() || digest.cvs.len() as u64 == pieces_of(stamp.size));
        let key = key_of(stamp);
        if self.slots.get(&key).is_some_and(|slot| slot.root == digest.root) {
            return;
        }
        let mut place = Place::None;
        if let Some(log) = &mut self.log {
            let offset = log.length + log.pending.len() as u64;
            write_entry(&mut log.pending, stamp, digest);
            log.entries += 1;
            place = Place::Log(offset);
        }
        if digest.cvs.is_empty() {
            place = Place::None;
        } else if self.log.is_none() {
            place = Place::Memory(flat(&digest.cvs));
        }
        self.slots.insert(key, Slot { root: digest.root, place });
        if self.log.as_ref().is_some_and(|log| log.pending.len() >= PENDING_BYTES_MAX) {
            self.flush();
        }
    }

    /// The same content under another stamp: the file was renamed, or its mode changed.
    pub(super) fn alias(&mut self, from: &Stamp, to: &Stamp, root: Root) {
        let cvs = match self.manifest(from, root) {
            Some(manifest) => manifest.chunks_exact(32).map(|cv| Cv(cv.try_into().unwrap_or([0; 32]))).collect(),
            None if pieces_of(to.size) > 1 => return,
            None => Vec::new(),
        };
        self.insert(to, &ContentDigest { root, cvs });
    }

    /// The chaining values of a file in this state; none if it has at most one piece, or if they cannot be read any more.
    pub(super) fn manifest(&mut self, stamp: &Stamp, root: Root) -> Option<Manifest> {
        if let Some((last, manifest)) = &self.last
            && *last == root
        {
            return Some(manifest.clone());
        }
        self.flush();
        let slot = self.slots.get(&key_of(stamp)).filter(|slot| slot.root == root)?;
        let manifest = match &slot.place {
            Place::None => return None,
            Place::Memory(manifest) => manifest.clone(),
            Place::Log(offset) => self.log.as_ref()?.read(*offset, stamp)?,
        };
        self.last = Some((root, manifest.clone()));
        Some(manifest)
    }

    /// Forgets a digest whose manifest turned out unreadable.
    pub(super) fn forget(&mut self, stamp: &Stamp) {
        self.slots.remove(&key_of(stamp));
    }

    /// Writes what waits. If that fails the cache goes on in memory.
    pub(super) fn flush(&mut self) {
        let Some(log) = &mut self.log else { return };
        if log.pending.is_empty() {
            return;
        }
        match log.file.write_all_at(&log.pending, log.length) {
            Ok(()) => {
                log.length += log.pending.len() as u64;
                log.pending.clear();
            }
            Err(error) => {
                log::warn!("digest cache {}: {error}; files are hashed again after a restart", log.path.display());
                self.leave_log();
            }
        }
    }

    /// Keeps in memory what the log cannot take.
    fn leave_log(&mut self) {
        let Some(log) = self.log.take() else { return };
        for slot in self.slots.values_mut() {
            let Place::Log(offset) = slot.place else { continue };
            let manifest = match offset.checked_sub(log.length) {
                Some(pending) => Entry::parse(&log.pending[pending as usize..]).map(|entry| entry.cvs.into()),
                None => log.read_any(offset),
            };
            slot.place = manifest.map_or(Place::None, Place::Memory);
        }
        let _ = log.file.set_len(log.length);
    }

    /// Writes the log anew if more than half of it is not among `live`, the stamps that are offered.
    pub(super) fn tidy<'s>(&mut self, live: usize, stamps: impl Iterator<Item = &'s Stamp>) {
        self.flush();
        let Some(log) = &mut self.log else { return };
        if log.entries < GARBAGE_ENTRIES_MIN || log.entries <= 2 * live {
            return;
        }
        match log.rewrite(&self.slots, stamps) {
            Ok((fresh, slots)) => {
                *log = fresh;
                self.slots = slots;
            }
            Err(error) => log::warn!("digest cache {}: cannot be written anew: {error}", log.path.display()),
        }
    }
}

impl Log {
    fn read(&self, offset: u64, stamp: &Stamp) -> Option<Manifest> {
        let length = HEAD_BYTES + pieces_of(stamp.size) as usize * 32 + CHECK_BYTES;
        self.read_entry(offset, length)
    }

    fn read_any(&self, offset: u64) -> Option<Manifest> {
        let mut count = [0; 4];
        self.file.read_exact_at(&mut count, offset).ok()?;
        let length = HEAD_BYTES + u32::from_le_bytes(count) as usize * 32 + CHECK_BYTES;
        if offset + length as u64 > self.length {
            return None;
        }
        self.read_entry(offset, length)
    }

    fn read_entry(&self, offset: u64, length: usize) -> Option<Manifest> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Entry::parse(&bytes).map(|entry| entry.cvs.into())
    }

    /// A new log with the live entries only, in place of this one.
    fn rewrite<'s>(
        &self,
        slots: &HashMap<u128, Slot>,
        stamps: impl Iterator<Item = &'s Stamp>,
    ) -> io::Result<(Log, HashMap<u128, Slot>)> {
        let beside = self.path.with_extension("new");
        let file = open_log(&beside, OFlags::TRUNC)?;
        let mut fresh =
            Log { path: self.path.clone(), file, length: MAGIC.len() as u64, entries: 0, pending: Vec::new() };
        let mut kept = HashMap::new();
        let mut out = io::BufWriter::new(&fresh.file);
        out.write_all(MAGIC)?;
        for stamp in stamps {
            let key = key_of(stamp);
            let Some(slot) = slots.get(&key).filter(|_| !kept.contains_key(&key)) else { continue };
            let cvs = match &slot.place {
                Place::None => Vec::new(),
                Place::Memory(manifest) => cvs_of(manifest),
                Place::Log(offset) => match self.read(*offset, stamp) {
                    Some(manifest) => cvs_of(&manifest),
                    None => continue,
                },
            };
            let place = if cvs.is_empty() { Place::None } else { Place::Log(fresh.length) };
            let mut entry = Vec::new();
            write_entry(&mut entry, stamp, &ContentDigest { root: slot.root, cvs });
            out.write_all(&entry)?;
            fresh.length += entry.len() as u64;
            fresh.entries += 1;
            kept.insert(key, Slot { root: slot.root, place });
        }
        out.flush()?;
        drop(out);
        fresh.file.sync_data()?;
        std::fs::rename(&beside, &self.path)?;
        Ok((fresh, kept))
    }
}

fn open_log(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | more;
    let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?);
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("another process is using it"))?;
    Ok(file)
}

struct Entry<'b> {
    stamp: Stamp,
    root: Root,
    cvs: &'b [u8],
    /// Bytes of the whole entry.
    bytes: usize,
}

impl Entry<'_> {
    fn parse(bytes: &[u8]) -> Option<Entry<'_>> {
        let count = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let end = count.checked_mul(32)?.checked_add(HEAD_BYTES)?;
        let body = bytes.get(..end)?;
        if bytes.get(end..end + CHECK_BYTES)? != check_of(body) {
            return None;
        }
        let number = |at: usize| body[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or(0);
        let stamp = Stamp {
            dev: number(4),
            ino: number(12),
            size: number(20),
            mtime_ns: number(28).cast_signed(),
            ctime_ns: number(36).cast_signed(),
        };
        let root = Root(body[44..76].try_into().ok()?);
        Some(Entry { stamp, root, cvs: &body[HEAD_BYTES..], bytes: end + CHECK_BYTES })
    }
}

fn write_entry(out: &mut Vec<u8>, stamp: &Stamp, digest: &ContentDigest) {
    let start = out.len();
    out.extend_from_slice(&(digest.cvs.len() as u32).to_le_bytes());
    for number in [stamp.dev, stamp.ino, stamp.size, stamp.mtime_ns.cast_unsigned(), stamp.ctime_ns.cast_unsigned()] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&digest.root.0);
    for cv in &digest.cvs {
        out.extend_from_slice(&cv.0);
    }
    let check = check_of(&out[start..]);
    out.extend_from_slice(&check);
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK_BYTES]);
    check
}

/// 128 bits of a hash stand for the stamp: half the memory, and no two stamps ever share them.
fn key_of(stamp: &Stamp) -> u128 {
    let mut bytes = [0; 40];
    let numbers = [stamp.dev, stamp.ino, stamp.size, stamp.mtime_ns.cast_unsigned(), stamp.ctime_ns.cast_unsigned()];
    for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..16]);
    u128::from_le_bytes(key)
}

fn flat(cvs: &[Cv]) -> Manifest {
    cvs.iter().flat_map(|cv| cv.0).collect()
}

pub(super) fn cvs_of(manifest: &[u8]) -> Vec<Cv> {
    manifest.as_chunks().0.iter().map(|cv| Cv(*cv)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(n: u64, size: u64) -> Stamp {
        Stamp { dev: 1, ino: n, size, mtime_ns: -5, ctime_ns: i64::MAX }
    }

    fn digest(n: u8, pieces: usize) -> ContentDigest {
        let cvs = if pieces > 1 { (0..pieces).map(|piece| Cv([piece as u8 ^ n; 32])).collect() } else { Vec::new() };
        ContentDigest { root: Root([n; 32]), cvs }
    }

    fn filled(path: &Path) -> Cache {
        let mut cache = Cache::open(Some(path));
        cache.insert(&stamp(1, 10), &digest(1, 1));
        cache.insert(&stamp(2, 3 << 20), &digest(2, 3));
        cache.insert(&stamp(3, 10), &digest(3, 1));
        cache.flush();
        cache
    }

    #[test]
    fn digests_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/digests");
        drop(filled(&path));
        let mut cache = Cache::open(Some(&path));
        assert_eq!(cache.root(&stamp(1, 10)), Some(Root([1; 32])));
        assert_eq!(cache.manifest(&stamp(1, 10), Root([1; 32])), None);
        assert_eq!(cvs_of(&cache.manifest(&stamp(2, 3 << 20), Root([2; 32])).unwrap()), digest(2, 3).cvs);
        assert_eq!(cache.root(&Stamp { ctime_ns: 0, ..stamp(1, 10) }), None);
    }

    #[test]
    fn a_torn_tail_is_dropped_and_the_rest_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests");
        drop(filled(&path));
        let whole = std::fs::read(&path).unwrap();
        for cut in [whole.len() - 1, whole.len() - 100, 20, 3, 0] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut cache = Cache::open(Some(&path));
            assert_eq!(cache.root(&stamp(3, 10)), None, "cut at {cut}");
            cache.insert(&stamp(4, 10), &digest(4, 1));
            cache.flush();
            drop(cache);
            assert_eq!(Cache::open(Some(&path)).root(&stamp(4, 10)), Some(Root([4; 32])), "cut at {cut}");
        }
        let mut flipped = whole.clone();
        let last = flipped.len() - 60;
        flipped[last] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        let cache = Cache::open(Some(&path));
        assert_eq!(cache.root(&stamp(2, 3 << 20)), Some(Root([2; 32])));
        assert_eq!(cache.root(&stamp(3, 10)), None);
    }

    #[test]
    fn garbage_is_tidied_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests");
        let mut cache = filled(&path);
        for n in 10..10 + GARBAGE_ENTRIES_MIN as u64 {
            cache.insert(&stamp(n, 1), &digest(9, 1));
        }
        let live = [stamp(2, 3 << 20), stamp(3, 10)];
        cache.flush();
        let before = std::fs::metadata(&path).unwrap().len();
        cache.tidy(live.len(), live.iter());
        cache.insert(&stamp(5, 10), &digest(5, 1));
        cache.flush();
        assert!(std::fs::metadata(&path).unwrap().len() < before / 100);
        drop(cache);
        let mut cache = Cache::open(Some(&path));
        assert_eq!(cache.manifest(&stamp(2, 3 << 20), Root([2; 32])).unwrap().len(), 96);
        assert_eq!(cache.root(&stamp(5, 10)), Some(Root([5; 32])));
        assert_eq!(cache.root(&stamp(10, 1)), None);
    }

    #[test]
    fn a_second_user_of_the_file_gets_memory_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests");
        let _first = filled(&path);
        let mut second = Cache::open(Some(&path));
        assert_eq!(second.root(&stamp(1, 10)), None);
        second.insert(&stamp(2, 3 << 20), &digest(2, 3));
        assert_eq!(second.manifest(&stamp(2, 3 << 20), Root([2; 32])).unwrap().len(), 96);
    }
}
