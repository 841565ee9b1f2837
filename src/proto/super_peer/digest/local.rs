//! The digest of our own index. A scan builds it in slices, and it is extended when files come. It
//! is rebuilt when it is too full, or when too many of its files are gone.
//!
//! The index only notes which entries are new; no key is hashed while files are registered. If a
//! file is removed, its bits stay set, and each false positive costs a QUERY. A counting filter
//! could clear the bits, but it takes four times the memory and twice the bytes per change. So the
//! digest is rebuilt when a quarter of its files is gone, at most once a minute.

use std::collections::VecDeque;

use super::filter::{Filter, Half};
use super::keys;
use crate::config::{
    DIGEST_FILES_PER_TURN, DIGEST_FILLED_LIMIT, DIGEST_FILLED_MAX, DIGEST_FILLED_MIN, DIGEST_HALVED_PER_TURN,
    DIGEST_KEYS_PER_TURN, DIGEST_LOG2_MAX, DIGEST_LOG2_MIN, DIGEST_REBUILD_GAP, DIGEST_STEP_BYTES,
};
use crate::proto::super_peer::index::Index;
use crate::time::Time;

/// Fewer removed files than this are not worth a rebuild.
const GONE_MIN: u64 = 1024;

/// Our digest, and the hashes that were added to it lately.
#[derive(Debug, Default)]
pub(super) struct Local {
    filter: Option<Filter>,
    /// Number of this filter. A neighbor with an older filter needs all of this one.
    generation: u64,
    rebuild: Option<Rebuild>,
    /// Hashes that set a bit, in order; the first of them has the number `log_start`.
    log: VecDeque<u64>,
    log_start: u64,
    built_at: Time,
    /// Entries in the index when this digest was built, and how many had been removed by then.
    built_of: usize,
    built_after: u64,
    scratch: String,
}

/// A digest that is being built.
#[derive(Debug)]
struct Rebuild {
    filter: Filter,
    cursor: u32,
    /// Whether all files are in the filter. Only then may it be halved.
    scanned: bool,
    half: Half,
}

impl Local {
    /// Drops the digest, because no neighbor takes one.
    pub(super) fn drop_all(&mut self) {
        *self = Local { generation: self.generation, log_start: self.log_end(), ..Local::default() };
    }

    /// Starts a new digest from the complete index.
    pub(super) fn rebuild(&mut self, now: Time, index: &mut Index, least_log2: u8) {
        // The scan finds all earlier entries. A later entry may get an id that the scan has passed.
        index.forget_fresh();
        let log2 = log2_for(index.live()).max(least_log2);
        self.rebuild = Some(Rebuild { filter: Filter::new(log2), cursor: 0, scanned: false, half: Half::default() });
        self.built_at = now;
        self.built_of = index.live();
        self.built_after = index.deaths();
    }

    pub(super) fn is_rebuilding(&self) -> bool {
        self.rebuild.is_some()
    }

    /// Whether enough files were removed that it must be rebuilt.
    pub(super) fn is_worn(&self, now: Time, index: &Index) -> bool {
        let gone = index.deaths() - self.built_after;
        self.filter.is_some()
            && self.rebuild.is_none()
            && gone > GONE_MIN + self.built_of as u64 / 4
            && now >= self.built_at + DIGEST_REBUILD_GAP
    }

    /// Hashes keys for one turn. Returns whether nothing is left to hash.
    pub(super) fn work(&mut self, now: Time, index: &mut Index) -> bool {
        if self.rebuild.is_some() {
            self.go_on(now, index);
            return self.rebuild.is_none() && is_settled(index);
        }
        if index.lost_fresh() {
            self.rebuild(now, index, DIGEST_LOG2_MIN);
            return false;
        }
        let mut keys = 0;
        for _ in 0..DIGEST_FILES_PER_TURN {
            if keys >= DIGEST_KEYS_PER_TURN {
                break;
            }
            let Some(id) = index.take_fresh() else { break };
            keys += self.add(index, id);
        }
        if let Some(filter) = &self.filter
            && filter.is_filled(DIGEST_FILLED_MAX)
            && filter.log2() < DIGEST_LOG2_MAX
        {
            let larger = filter.log2() + 1;
            self.rebuild(now, index, larger);
            return false;
        }
        is_settled(index)
    }

    /// The digest, if it is complete and not too full to be of use.
    pub(super) fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref().filter(|filter| self.rebuild.is_none() && !filter.is_filled(DIGEST_FILLED_LIMIT))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The number of the next hash.
    pub(super) fn log_end(&self) -> u64 {
        self.log_start + self.log.len() as u64
    }

    /// Up to `most` hashes, beginning with this number.
    pub(super) fn logged(&self, from: u64, most: usize) -> impl Iterator<Item = u64> + '_ {
        let skip = usize::try_from(from.saturating_sub(self.log_start)).unwrap_or(usize::MAX);
        self.log.iter().skip(skip).take(most).copied()
    }

    /// Drops the hashes below this number: every neighbor has them.
    pub(super) fn trim(&mut self, needed: u64) {
        while self.log_start < needed && self.log.pop_front().is_some() {
            self.log_start += 1;
        }
    }

    /// Adds the keys of a file. Returns the number of these keys.
    fn add(&mut self, index: &Index, id: u32) -> usize {
        let (Some(filter), Some(seen)) = (&mut self.filter, index.seen(id)) else { return 0 };
        let mut count = 0;
        keys::of_file(seen.folder_text, seen.name, seen.root, &mut self.scratch, |key| {
            count += 1;
            if filter.add(key) {
                self.log.push_back(key);
            }
        });
        // If the hashes take half of the digest's size, it is shorter to send all of the digest.
        if self.log.len() * 8 > (filter.bytes().len() / 2).max(4 * DIGEST_STEP_BYTES) {
            self.renew();
        }
        count
    }

    fn go_on(&mut self, now: Time, index: &mut Index) {
        let Some(rebuild) = &mut self.rebuild else { return };
        if rebuild.scanned {
            return self.finish(now, index);
        }
        let mut count = 0;
        for _ in 0..DIGEST_FILES_PER_TURN {
            if count >= DIGEST_KEYS_PER_TURN {
                return;
            }
            let Some(id) = index.next(None, rebuild.cursor) else { return self.finish(now, index) };
            rebuild.cursor = id + 1;
            if let Some(seen) = index.seen(id) {
                keys::of_file(seen.folder_text, seen.name, seen.root, &mut self.scratch, |key| {
                    rebuild.filter.add(key);
                    count += 1;
                });
            }
        }
    }

    fn finish(&mut self, now: Time, index: &mut Index) {
        let Some(mut rebuild) = self.rebuild.take() else { return };
        let filter = &mut rebuild.filter;
        if filter.is_filled(DIGEST_FILLED_MAX) && filter.log2() < DIGEST_LOG2_MAX {
            return self.rebuild(now, index, rebuild.filter.log2() + 1);
        }
        if filter.is_sparse(DIGEST_FILLED_MIN) {
            filter.halve(&mut rebuild.half, DIGEST_HALVED_PER_TURN);
            rebuild.scanned = true;
            self.rebuild = Some(rebuild);
            return;
        }
        self.filter = Some(rebuild.filter);
        self.renew();
    }

    /// From now on every neighbor needs all of the digest.
    fn renew(&mut self) {
        self.generation += 1;
        self.log_start = self.log_end();
        self.log.clear();
    }
}

/// Whether the digest has every new entry of the index.
fn is_settled(index: &Index) -> bool {
    index.fresh() == 0 && !index.lost_fresh()
}

/// The first size of the filter: ten bits for each key. A file has three keys that no other file
/// has (a name, a root and a word), and about twenty keys that it shares with many files. If names
/// share more keys than this, the filter is halved.
fn log2_for(files: usize) -> u8 {
    const BITS_PER_KEY: usize = 10;
    const SHARED_KEYS: usize = 100_000;
    let keys = files.saturating_mul(3) + files.saturating_mul(20).min(SHARED_KEYS);
    let log2 =
        keys.saturating_mul(BITS_PER_KEY).checked_next_power_of_two().map_or(u32::from(DIGEST_LOG2_MAX), usize::ilog2);
    u8::try_from(log2).unwrap_or(DIGEST_LOG2_MAX).clamp(DIGEST_LOG2_MIN, DIGEST_LOG2_MAX)
}
