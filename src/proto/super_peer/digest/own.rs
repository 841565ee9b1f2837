//! The digest of our own index: made by a scan in slices, added to as files come, made anew when it is too full or too stale.
//!
//! The index only notes which entries came to life; no key is hashed while files are registered. A file that goes leaves its
//! bits behind: false positives cost a QUERY each. A counting filter could take them away, for four times the memory and
//! deltas twice as long; so when a quarter of the files has gone, the digest is made anew instead, at most once a minute.

use std::collections::VecDeque;

use super::filter::Filter;
use super::keys;
use crate::config::{
    DIGEST_FILES_PER_TURN, DIGEST_FILLED_LIMIT, DIGEST_FILLED_MAX, DIGEST_FILLED_MIN, DIGEST_LOG2_MAX, DIGEST_LOG2_MIN,
    DIGEST_REBUILD_GAP, DIGEST_STEP_BYTES,
};
use crate::proto::super_peer::index::Index;
use crate::time::Time;
use crate::wire::record::name_of;

/// Fewer files than this are not worth a new digest when they go.
const GONE_MIN: u64 = 1024;

/// Our digest and the hashes that came to it lately.
#[derive(Debug, Default)]
pub(super) struct Own {
    filter: Option<Filter>,
    /// Which of the filters this is; a neighbour that was told another needs all of it.
    generation: u64,
    making: Option<Making>,
    /// Hashes that set a bit, in order; the first has the number `log_start`.
    log: VecDeque<u64>,
    log_start: u64,
    made_at: Time,
    /// Entries at the time, and how many had died before.
    made_of: usize,
    made_after: u64,
    scratch: String,
}

/// A digest that is being made.
#[derive(Debug)]
struct Making {
    filter: Filter,
    cursor: u32,
}

impl Own {
    /// There is nothing that anybody wants to know.
    pub(super) fn drop_all(&mut self) {
        *self = Own { generation: self.generation, log_start: self.log_end(), ..Own::default() };
    }

    /// Begins anew with the whole index.
    pub(super) fn make(&mut self, now: Time, index: &mut Index, least_log2: u8) {
        // What came before is found by the scan; what comes from now on may lie behind it.
        index.forget_fresh();
        let log2 = log2_for(index.live()).max(least_log2);
        self.making = Some(Making { filter: Filter::new(log2), cursor: 0 });
        self.made_at = now;
        self.made_of = index.live();
        self.made_after = index.deaths();
    }

    pub(super) fn is_making(&self) -> bool {
        self.making.is_some()
    }

    /// Whether so many files have gone that it is to be made anew.
    pub(super) fn is_worn(&self, now: Time, index: &Index) -> bool {
        let gone = index.deaths() - self.made_after;
        self.filter.is_some()
            && self.making.is_none()
            && gone > GONE_MIN + self.made_of as u64 / 4
            && now >= self.made_at + DIGEST_REBUILD_GAP
    }

    /// Does one turn's worth of what is to be made or added. Tells whether all of it is done.
    pub(super) fn work(&mut self, now: Time, index: &mut Index) -> bool {
        if self.making.is_some() {
            self.go_on(now, index);
            return self.making.is_none() && is_settled(index);
        }
        if index.lost_fresh() {
            self.make(now, index, DIGEST_LOG2_MIN);
            return false;
        }
        for _ in 0..DIGEST_FILES_PER_TURN {
            let Some(id) = index.take_fresh() else { break };
            self.add(index, id);
        }
        if let Some(filter) = &self.filter
            && filter.is_filled(DIGEST_FILLED_MAX)
            && filter.log2() < DIGEST_LOG2_MAX
        {
            let larger = filter.log2() + 1;
            self.make(now, index, larger);
            return false;
        }
        is_settled(index)
    }

    /// The digest as it may be told: whole, and worth it.
    pub(super) fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref().filter(|filter| self.making.is_none() && !filter.is_filled(DIGEST_FILLED_LIMIT))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The number of the next hash.
    pub(super) fn log_end(&self) -> u64 {
        self.log_start + self.log.len() as u64
    }

    /// Up to so many hashes from this number on.
    pub(super) fn logged(&self, from: u64, most: usize) -> impl Iterator<Item = u64> + '_ {
        let skip = usize::try_from(from.saturating_sub(self.log_start)).unwrap_or(usize::MAX);
        self.log.iter().skip(skip).take(most).copied()
    }

    /// Nobody needs the hashes below this number any more.
    pub(super) fn trim(&mut self, needed: u64) {
        while self.log_start < needed && self.log.pop_front().is_some() {
            self.log_start += 1;
        }
    }

    fn add(&mut self, index: &Index, id: u32) {
        let (Some(filter), Some(seen)) = (&mut self.filter, index.seen(id)) else { return };
        keys::of_file(name_of(seen.path), &seen.root, &mut self.scratch, |key| {
            if filter.add(key) {
                self.log.push_back(key);
            }
        });
        // As many hashes as half of the digest: the whole of it is told sooner.
        if self.log.len() * 8 > (filter.bytes().len() / 2).max(4 * DIGEST_STEP_BYTES) {
            self.renew();
        }
    }

    fn go_on(&mut self, now: Time, index: &mut Index) {
        let Some(making) = &mut self.making else { return };
        for _ in 0..DIGEST_FILES_PER_TURN {
            let Some(id) = index.next(None, making.cursor) else { return self.end_making(now, index) };
            making.cursor = id + 1;
            if let Some(seen) = index.seen(id) {
                keys::of_file(name_of(seen.path), &seen.root, &mut self.scratch, |key| {
                    making.filter.add(key);
                });
            }
        }
    }

    fn end_making(&mut self, now: Time, index: &mut Index) {
        let Some(Making { mut filter, .. }) = self.making.take() else { return };
        if filter.is_filled(DIGEST_FILLED_MAX) && filter.log2() < DIGEST_LOG2_MAX {
            return self.make(now, index, filter.log2() + 1);
        }
        filter.fold(DIGEST_FILLED_MIN);
        self.filter = Some(filter);
        self.renew();
    }

    /// From now on everybody needs all of it.
    fn renew(&mut self) {
        self.generation += 1;
        self.log_start = self.log_end();
        self.log.clear();
    }
}

/// Whether nothing has come to the index that was not taken.
fn is_settled(index: &Index) -> bool {
    index.fresh() == 0 && !index.lost_fresh()
}

/// The size to begin with: ten bits a key, for a name, a root and a word that no other file has, and for grams and words that
/// become few in a large index. It is made for names that share nothing, and folded where they do.
fn log2_for(files: usize) -> u8 {
    const BITS_PER_KEY: usize = 10;
    const SHARED_KEYS: usize = 100_000;
    let keys = files.saturating_mul(3) + files.saturating_mul(20).min(SHARED_KEYS);
    let log2 =
        keys.saturating_mul(BITS_PER_KEY).checked_next_power_of_two().map_or(u32::from(DIGEST_LOG2_MAX), usize::ilog2);
    u8::try_from(log2).unwrap_or(DIGEST_LOG2_MAX).clamp(DIGEST_LOG2_MIN, DIGEST_LOG2_MAX)
}
