//! The file of the digest cache: a log of entries. Entries are only appended, and each entry has a
//! check of its own. If an entry is invalid, it and everything after it are cut off.
//!
//! ```text
//! header  16 bytes "sprat digests 1\n"
//! entry   4 number of chaining values, 5 × 8 stamp, 32 root, 32 per chaining value, 8 check
//! ```
//!
//! Numbers are little-endian. A check is the start of the BLAKE3 hash of all earlier bytes of its
//! entry.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::retry_on_intr;

use crate::disk::folder::Stamp;
use crate::disk::hash::ContentDigest;
use crate::proto::pieces_of;
use crate::wire::ids::Root;

/// First bytes of the file. The number is the version of the format.
const MAGIC: &[u8; 16] = b"sprat digests 1\n";
/// Bytes of an entry before its chaining values: number, stamp, root.
const HEAD_BYTES: usize = 4 + 40 + 32;
const CHECK_BYTES: usize = 8;
/// Most bytes that wait to be appended.
const PENDING_BYTES_MAX: usize = 256 * 1024;

/// The open, locked file.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    file: File,
    /// Length of the file up to the last correct entry.
    length: u64,
    pub(super) entries: usize,
    /// Bytes of entries that are not written yet.
    pending: Vec<u8>,
}

/// An entry of the file.
pub(super) struct Entry<'b> {
    pub(super) stamp: Stamp,
    pub(super) root: Root,
    /// Chaining values, 32 bytes each.
    pub(super) cvs: &'b [u8],
    /// Length of the entry.
    bytes: usize,
}

impl Log {
    /// Opens or creates the file and calls `found` with each entry and its offset.
    pub(super) fn open(path: &Path, mut found: impl FnMut(u64, Entry<'_>)) -> io::Result<Log> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let mut log = Log::over(path, open_locked(path, OFlags::empty())?);
        // An earlier process ended while it rewrote the log.
        log.remove_beside();
        let mut bytes = vec![0; usize::try_from(log.file.metadata()?.len()).map_err(io::Error::other)?];
        log.file.read_exact_at(&mut bytes, 0)?;
        let mut good = MAGIC.len();
        if bytes.starts_with(MAGIC) {
            while let Some(entry) = Entry::parse(&bytes[good..]) {
                let length = entry.bytes;
                found(good as u64, entry);
                good += length;
                log.entries += 1;
            }
        } else {
            log.file.write_all_at(MAGIC, 0)?;
        }
        if good < bytes.len() {
            log::warn!("digest cache {}: {} bad bytes at its end are dropped", path.display(), bytes.len() - good);
        }
        log.length = good as u64;
        log.file.set_len(log.length)?;
        Ok(log)
    }

    /// A new, empty log beside this one. [`Log::replace`] moves it to the path of this log.
    pub(super) fn create_beside(&self) -> io::Result<Log> {
        let file = open_locked(&self.beside(), OFlags::TRUNC)?;
        file.write_all_at(MAGIC, 0)?;
        Ok(Log::over(&self.path, file))
    }

    /// Replaces this log by a log that was created beside it.
    pub(super) fn replace(&mut self, mut new: Log) -> io::Result<()> {
        new.flush()?;
        new.file.sync_data()?;
        std::fs::rename(self.beside(), &self.path)?;
        *self = new;
        Ok(())
    }

    /// Removes a log that was created beside this one.
    pub(super) fn remove_beside(&self) {
        let _ = std::fs::remove_file(self.beside());
    }

    fn beside(&self) -> PathBuf {
        self.path.with_extension("new")
    }

    fn over(path: &Path, file: File) -> Log {
        Log { path: path.to_owned(), file, length: MAGIC.len() as u64, entries: 0, pending: Vec::new() }
    }

    /// Adds an entry and returns its offset. The entry is written with the next flush.
    pub(super) fn append(&mut self, stamp: &Stamp, digest: &ContentDigest) -> u64 {
        let offset = self.length + self.pending.len() as u64;
        write_entry(&mut self.pending, stamp, digest);
        self.entries += 1;
        offset
    }

    /// Whether enough bytes wait to be flushed.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_BYTES_MAX
    }

    /// Writes the waiting entries.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.file.write_all_at(&self.pending, self.length)?;
            self.length += self.pending.len() as u64;
            self.pending.clear();
        }
        Ok(())
    }

    /// The chaining values of the entry at an offset, even if it is not written yet; none if they
    /// cannot be read.
    pub(super) fn cvs_at(&self, offset: u64) -> Option<Vec<u8>> {
        if let Some(pending) = offset.checked_sub(self.length) {
            return Entry::parse(self.pending.get(pending as usize..)?).map(|entry| entry.cvs.to_vec());
        }
        let mut count = [0; 4];
        self.file.read_exact_at(&mut count, offset).ok()?;
        let length = HEAD_BYTES + u32::from_le_bytes(count) as usize * 32 + CHECK_BYTES;
        if offset + length as u64 > self.length {
            return None;
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Entry::parse(&bytes).map(|entry| entry.cvs.to_vec())
    }

    /// Cuts off what a failed write may have left.
    pub(super) fn cut(&self) {
        let _ = self.file.set_len(self.length);
    }
}

fn open_locked(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | more;
    let file = File::from(retry_on_intr(|| rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)))?);
    retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive))
        .map_err(|_| io::Error::other("another process is using it"))?;
    Ok(file)
}

impl Entry<'_> {
    /// The first entry. None at the end, or if the bytes are damaged.
    fn parse(bytes: &[u8]) -> Option<Entry<'_>> {
        let count = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let end = count.checked_mul(32)?.checked_add(HEAD_BYTES)?;
        let body = bytes.get(..end)?;
        if bytes.get(end..end + CHECK_BYTES)? != check_of(body) {
            return None;
        }
        let number = |n: usize| body[4 + 8 * n..][..8].try_into().map(u64::from_le_bytes).unwrap_or(0);
        let stamp = Stamp {
            dev: number(0),
            ino: number(1),
            size: number(2),
            mtime_ns: number(3).cast_signed(),
            ctime_ns: number(4).cast_signed(),
        };
        let root = Root(body[44..HEAD_BYTES].try_into().ok()?);
        let cvs = &body[HEAD_BYTES..];
        (count == 0 || count as u64 == pieces_of(stamp.size)).then_some(Entry {
            stamp,
            root,
            cvs,
            bytes: end + CHECK_BYTES,
        })
    }
}

fn write_entry(out: &mut Vec<u8>, stamp: &Stamp, digest: &ContentDigest) {
    let start = out.len();
    out.extend_from_slice(&(digest.cvs.len() as u32).to_le_bytes());
    out.extend_from_slice(&stamp.to_bytes());
    out.extend_from_slice(&digest.root.0);
    for cv in &digest.cvs {
        out.extend_from_slice(&cv.0);
    }
    let check = check_of(&out[start..]);
    out.extend_from_slice(&check);
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash is longer than a check")
}
