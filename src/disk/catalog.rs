//! What is known of each file of the share: whether it is settling, waiting to be hashed, or offered. No IO, no clock.
//!
//! A file is offered once nothing has touched it for [`SHARE_QUIET`] and it is hashed; whatever changes it withdraws it first.
//! A renamed file keeps its digest. News for the machine is collected here, the last word per path.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::open::{Identity, Stamp};
use crate::config::{PATH_BYTES_MAX, SHARE_QUIET};
use crate::wire::ids::Root;
use crate::wire::{FileRecord, SharePath};

/// How long the digest of a file that went is kept for the path to which it may have been renamed.
const DEPARTED_KEPT: Duration = Duration::from_secs(5);
/// Digests kept so, at most; files of a larger move are hashed again.
const DEPARTED_MAX: usize = 100_000;

/// Files up to this size are hashed in one go, and before larger ones: a new file must not wait for a huge one.
const SMALL_BYTES_MAX: u64 = 4 << 20;
/// How much later than due a settled file may be found so: files that settle one after the other cost few wake-ups.
const SETTLED_SLACK: Duration = Duration::from_millis(20);

/// How a file came to be looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sight {
    /// A scan found it; nothing is known of when it was last written but its own times.
    Scan {
        now: Instant,
        /// How long ago the file was last changed.
        age: Duration,
    },
    /// The watcher told of it.
    Event {
        at: Instant,
        /// Its content may have been written to, whatever its times say.
        data: bool,
    },
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    state: State,
    /// The last scan that saw it.
    generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Settling {
        due: Instant,
    },
    Ready,
    Offered(Root),
    /// It could not be read; it is tried again when something happens to it.
    Unreadable,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: BTreeMap<Arc<str>, Entry>,
    roots: BTreeSet<(Root, Arc<str>)>,
    settling: BTreeSet<(Instant, Arc<str>)>,
    /// Small files and large ones, in the order in which they settled.
    ready: [VecDeque<Arc<str>>; 2],
    departed: HashMap<Identity, (Root, Stamp)>,
    departed_until: Option<Instant>,
    news: BTreeMap<Arc<str>, Option<FileRecord>>,
    generation: u32,
}

impl Index {
    // ---- getters ---------------------------------------------------------------------------------------------------

    pub(super) fn offered(&self) -> usize {
        self.roots.len()
    }

    pub(super) fn offered_stamps(&self) -> impl Iterator<Item = &Stamp> {
        self.files.values().filter(|entry| matches!(entry.state, State::Offered(_))).map(|entry| &entry.stamp)
    }

    /// Up to 8 files that hold this content.
    pub(super) fn holders(&self, root: Root) -> Vec<(Arc<str>, Stamp)> {
        let first = (root, Arc::from(""));
        self.roots
            .range(first..)
            .take_while(|(r, _)| *r == root)
            .take(8)
            .filter_map(|(_, path)| Some((path.clone(), self.files.get(path)?.stamp)))
            .collect()
    }

    /// The content that is offered under this path.
    pub(super) fn offered_at(&self, path: &str) -> Option<(Root, Stamp)> {
        let entry = self.files.get(path)?;
        match entry.state {
            State::Offered(root) => Some((root, entry.stamp)),
            State::Settling { .. } | State::Ready | State::Unreadable => None,
        }
    }

    /// When [`Index::mature`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let settling = self.settling.first().map(|(due, _)| *due + SETTLED_SLACK);
        [settling, self.departed_until].into_iter().flatten().min()
    }

    pub(super) fn has_ready(&self) -> bool {
        self.ready.iter().any(|line| !line.is_empty())
    }

    /// Whether a hash of this file in this state is still wanted.
    pub(super) fn is_ready(&self, path: &str, stamp: &Stamp) -> bool {
        self.files.get(path).is_some_and(|entry| entry.state == State::Ready && entry.stamp == *stamp)
    }

    // ---- what was seen ---------------------------------------------------------------------------------------------

    /// A scan begins; [`Index::unseen`] will tell what it did not see.
    pub(super) fn begin_scan(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// Files below a folder that were not seen since the scan began.
    pub(super) fn unseen(&self, folder: &str) -> Vec<Arc<str>> {
        self.below(folder).filter(|(_, e)| e.generation != self.generation).map(|(path, _)| path.clone()).collect()
    }

    /// A regular file is there.
    pub(super) fn saw(&mut self, path: &str, stamp: Stamp, sight: Sight, cache: &mut Cache) {
        let generation = self.generation;
        let Some(entry) = self.files.get_mut(path) else {
            let path: Arc<str> = path.into();
            self.files.insert(path.clone(), Entry { stamp, state: State::Unreadable, generation });
            let data = matches!(sight, Sight::Event { data: true, .. });
            return self.saw_new(&path, stamp, sight, !data, cache);
        };
        entry.generation = generation;
        let data = matches!(sight, Sight::Event { data: true, .. });
        if entry.stamp == stamp && !data {
            match (entry.state, sight) {
                (State::Offered(_) | State::Ready, _) | (State::Settling { .. }, Sight::Scan { .. }) => return,
                (State::Settling { .. } | State::Unreadable, _) => {}
            }
        } else if entry.stamp.identity() == stamp.identity()
            && let (State::Offered(root), Sight::Event { data: false, .. }) = (entry.state, sight)
        {
            // Only ctime moved and nobody wrote: its mode or number of links changed.
            cache.alias(&entry.stamp, &stamp, root);
            entry.stamp = stamp;
            return;
        }
        // A known digest of the same stamp says nothing about a write that left no trace in the times.
        let reuse = !data && entry.stamp != stamp;
        let path = self.withdraw(path);
        if let Some(entry) = self.files.get_mut(&path) {
            entry.stamp = stamp;
        }
        self.saw_new(&path, stamp, sight, reuse, cache);
    }

    /// A state of a file that was not known under this path; `reuse` if a known digest of that state is good.
    fn saw_new(&mut self, path: &Arc<str>, stamp: Stamp, sight: Sight, reuse: bool, cache: &mut Cache) {
        let due = match sight {
            Sight::Scan { now, age } => now + SHARE_QUIET.saturating_sub(age),
            Sight::Event { at, .. } => at + SHARE_QUIET,
        };
        if reuse {
            if let Some((root, before)) = self.departed.get(&stamp.identity()).copied() {
                cache.alias(&before, &stamp, root);
            }
            if let Some(root) = cache.root(&stamp) {
                return self.offer(path, stamp, root);
            }
        }
        if let Some(entry) = self.files.get_mut(path) {
            entry.state = State::Settling { due };
            self.settling.insert((due, path.clone()));
        }
    }

    /// Nothing that could be shared is at this path; with a folder goes what was below it.
    pub(super) fn gone(&mut self, path: &str, now: Instant) {
        self.gone_below(path, now);
        self.gone_file(path, now);
    }

    /// There is no folder at this path (any more).
    pub(super) fn gone_below(&mut self, folder: &str, now: Instant) {
        let below: Vec<Arc<str>> = self.below(folder).map(|(path, _)| path.clone()).collect();
        below.iter().for_each(|path| self.gone_file(path, now));
    }

    /// There is no file at this path (any more).
    pub(super) fn gone_file(&mut self, path: &str, now: Instant) {
        let Some(entry) = self.files.get(path) else { return };
        if let State::Offered(root) = entry.state
            && self.departed.len() < DEPARTED_MAX
        {
            self.departed.insert(entry.stamp.identity(), (root, entry.stamp));
            self.departed_until = Some(now + DEPARTED_KEPT);
        }
        let path = self.withdraw(path);
        self.files.remove(&path);
    }

    fn below<'s>(&'s self, folder: &str) -> impl Iterator<Item = (&'s Arc<str>, &'s Entry)> + use<'s> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.files
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(&prefix))
    }

    // ---- settling and hashing --------------------------------------------------------------------------------------

    /// Moves files that have settled to those that are ready to be hashed, and forgets old departures.
    pub(super) fn mature(&mut self, now: Instant) {
        while self.settling.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, path)) = self.settling.pop_first() else { break };
            if let Some(entry) = self.files.get_mut(&path) {
                entry.state = State::Ready;
                self.ready[usize::from(entry.stamp.size > SMALL_BYTES_MAX)].push_back(path);
            }
        }
        if self.departed_until.is_some_and(|until| until <= now) {
            self.departed_until = None;
            self.departed = HashMap::new();
        }
    }

    /// The next file to hash, small ones or large ones; it stays ready until [`Index::hashed`], [`Index::unsteady`] or [`Index::unreadable`].
    pub(super) fn next_ready(&mut self, large: bool) -> Option<(Arc<str>, Stamp)> {
        while let Some(path) = self.ready[usize::from(large)].pop_front() {
            if let Some(entry) = self.files.get(&path)
                && entry.state == State::Ready
            {
                return Some((path, entry.stamp));
            }
        }
        None
    }

    /// A file is hashed (or was published with a content that is proven) in this state.
    pub(super) fn offer(&mut self, path: &str, stamp: Stamp, root: Root) {
        if self.offered_at(path).is_some_and(|(offered, _)| offered == root) {
            if let Some(entry) = self.files.get_mut(path) {
                entry.stamp = stamp;
            }
            return;
        }
        let Some(record) = SharePath::new(path).map(|path| FileRecord { path, size: stamp.size, root }) else { return };
        let path = self.withdraw(path);
        self.files.insert(path.clone(), Entry { stamp, state: State::Offered(root), generation: self.generation });
        self.roots.insert((root, path.clone()));
        self.news.insert(path, Some(record));
    }

    /// A file was not what it had settled to: it settles again.
    pub(super) fn unsteady(&mut self, path: &str, stamp: Stamp, now: Instant) {
        if !self.files.contains_key(path) {
            return;
        }
        let path = self.withdraw(path);
        let due = now + SHARE_QUIET;
        let generation = self.generation;
        self.files.insert(path.clone(), Entry { stamp, state: State::Settling { due }, generation });
        self.settling.insert((due, path));
    }

    /// A file cannot be read.
    pub(super) fn unreadable(&mut self, path: &str) {
        let path = self.withdraw(path);
        if let Some(entry) = self.files.get_mut(&path) {
            entry.state = State::Unreadable;
        }
    }

    /// Takes a file out of every queue and list, so that its entry can be changed or removed.
    fn withdraw(&mut self, path: &str) -> Arc<str> {
        let Some((path, entry)) = self.files.get_key_value(path) else { return path.into() };
        let path = path.clone();
        match entry.state {
            State::Settling { due } => {
                self.settling.remove(&(due, path.clone()));
            }
            State::Offered(root) => {
                self.roots.remove(&(root, path.clone()));
                self.news.insert(path.clone(), None);
            }
            // Its path in `ready` is skipped when it comes up.
            State::Ready | State::Unreadable => {}
        }
        if let Some(entry) = self.files.get_mut(&path) {
            entry.state = State::Unreadable;
        }
        path
    }

    // ---- news ------------------------------------------------------------------------------------------------------

    /// The next up to `max` records and removals, each path once.
    pub(super) fn take_news(&mut self, max: usize) -> Option<(Vec<FileRecord>, Vec<SharePath>)> {
        if self.news.is_empty() {
            return None;
        }
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        while added.len() + removed.len() < max
            && let Some((path, news)) = self.news.pop_first()
        {
            match news {
                Some(record) => added.push(record),
                None => removed.extend(SharePath::new(&path)),
            }
        }
        Some((added, removed))
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }
}

/// Why a path below the share is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// Hidden, or a part file.
    Hidden,
    NotUtf8,
    TooLong,
}

/// How many files or folders can never be shared, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SkippedCount {
    pub(super) not_utf8: usize,
    pub(super) too_long: usize,
}

impl SkippedCount {
    pub(super) fn count(&mut self, skipped: Skipped) {
        match skipped {
            Skipped::Hidden => {}
            Skipped::NotUtf8 => self.not_utf8 += 1,
            Skipped::TooLong => self.too_long += 1,
        }
    }

    /// One line per reason, if there is any to tell.
    pub(super) fn warn(self, which: &str) {
        if self.not_utf8 > 0 {
            log::warn!("{} {which}files or folders are not shared: their names are not UTF-8", self.not_utf8);
        }
        if self.too_long > 0 {
            let max = PATH_BYTES_MAX;
            log::warn!("{} {which}files or folders are not shared: paths of more than {max} bytes", self.too_long);
        }
    }
}

/// The name of one entry of a folder of the share, if it may be shared.
pub(super) fn visible(name: &[u8]) -> Result<&str, Skipped> {
    if name.starts_with(b".") || name.ends_with(b".part") || name.ends_with(b".part.map") {
        return Err(Skipped::Hidden);
    }
    std::str::from_utf8(name).map_err(|_| Skipped::NotUtf8)
}

/// The path of an entry of a folder.
pub(super) fn join(folder: &str, name: &str) -> Result<String, Skipped> {
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    if path.len() > PATH_BYTES_MAX { Err(Skipped::TooLong) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::super::hash::ContentDigest;
    use super::*;

    const OLD: Duration = Duration::from_secs(60);

    fn stamp(ino: u64, mtime_ns: i64) -> Stamp {
        Stamp { dev: 1, ino, size: 7, mtime_ns, ctime_ns: mtime_ns }
    }

    fn root(n: u8) -> Root {
        Root([n; 32])
    }

    /// An index that offers root 1 at `a/x`, with its news taken.
    fn offering(now: Instant) -> (Index, Cache) {
        let (mut index, mut cache) = (Index::default(), Cache::open(None));
        index.saw("a/x", stamp(1, 1), Sight::Scan { now, age: OLD }, &mut cache);
        index.mature(now);
        let (path, stamp) = index.next_ready(false).unwrap();
        cache.insert(&stamp, &ContentDigest { root: root(1), cvs: Vec::new() });
        index.offer(&path, stamp, root(1));
        assert_eq!(told(&mut index), (vec!["a/x".to_owned()], vec![]));
        (index, cache)
    }

    fn told(index: &mut Index) -> (Vec<String>, Vec<String>) {
        let (added, removed) = index.take_news(1000).unwrap_or_default();
        (
            added.iter().map(|record| record.path.as_str().to_owned()).collect(),
            removed.iter().map(|path| path.as_str().to_owned()).collect(),
        )
    }

    fn data(at: Instant) -> Sight {
        Sight::Event { at, data: true }
    }

    #[test]
    fn a_file_that_is_written_with_short_pauses_is_never_ready() {
        let start = Instant::now();
        let (mut index, mut cache) = (Index::default(), Cache::open(None));
        let mut now = start;
        for write in 0..10 {
            now = start + Duration::from_millis(900) * write;
            index.mature(now);
            assert!(index.next_ready(false).is_none());
            index.saw("x", stamp(1, i64::from(write)), data(now), &mut cache);
        }
        index.mature(now + SHARE_QUIET);
        assert_eq!(index.next_ready(false).unwrap().1, stamp(1, 9));
    }

    #[test]
    fn an_old_file_is_ready_at_once_and_a_young_one_later() {
        let now = Instant::now();
        let (mut index, mut cache) = (Index::default(), Cache::open(None));
        index.saw("old", stamp(1, 1), Sight::Scan { now, age: OLD }, &mut cache);
        index.saw("young", stamp(2, 1), Sight::Scan { now, age: SHARE_QUIET / 4 }, &mut cache);
        index.mature(now);
        assert_eq!(&*index.next_ready(false).unwrap().0, "old");
        assert_eq!(index.deadline(), Some(now + SHARE_QUIET * 3 / 4 + SETTLED_SLACK));
    }

    #[test]
    fn a_change_withdraws_the_old_content_before_the_new_is_hashed() {
        let now = Instant::now();
        let (mut index, mut cache) = offering(now);
        index.saw("a/x", stamp(1, 2), data(now), &mut cache);
        assert_eq!(told(&mut index), (vec![], vec!["a/x".to_owned()]));
        assert!(index.holders(root(1)).is_empty());
    }

    #[test]
    fn a_write_that_leaves_no_trace_in_the_times_counts() {
        let now = Instant::now();
        let (mut index, mut cache) = offering(now);
        index.saw("a/x", stamp(1, 1), data(now), &mut cache);
        assert_eq!(told(&mut index).1, ["a/x"]);
        index.saw("a/x", stamp(1, 1), Sight::Event { at: now, data: false }, &mut cache);
        assert!(!index.has_news(), "its closing does not offer it before it is hashed again");
    }

    #[test]
    fn a_new_mode_changes_nothing_but_an_unexplained_ctime_does() {
        let now = Instant::now();
        let (mut index, mut cache) = offering(now);
        let chmod = Stamp { ctime_ns: 9, ..stamp(1, 1) };
        index.saw("a/x", chmod, Sight::Event { at: now, data: false }, &mut cache);
        assert!(!index.has_news());
        assert_eq!(index.holders(root(1))[0].1, chmod);
        index.saw("a/x", Stamp { ctime_ns: 10, ..chmod }, Sight::Scan { now, age: OLD }, &mut cache);
        assert_eq!(told(&mut index).1, ["a/x"]);
    }

    #[test]
    fn a_renamed_folder_keeps_its_digests() {
        let now = Instant::now();
        let (mut index, mut cache) = offering(now);
        index.gone("a", now);
        index.saw("b/x", Stamp { ctime_ns: 9, ..stamp(1, 1) }, Sight::Scan { now, age: OLD }, &mut cache);
        assert_eq!(told(&mut index), (vec!["b/x".to_owned()], vec!["a/x".to_owned()]));
        assert_eq!(&*index.holders(root(1))[0].0, "b/x");
    }

    #[test]
    fn a_file_that_is_renamed_over_another_replaces_it_at_once() {
        let now = Instant::now();
        let (mut index, mut cache) = offering(now);
        index.saw("b", stamp(2, 1), Sight::Scan { now, age: OLD }, &mut cache);
        index.offer("b", stamp(2, 1), root(2));
        told(&mut index);
        index.gone("b", now);
        index.saw("a/x", Stamp { ctime_ns: 9, ..stamp(2, 1) }, Sight::Event { at: now, data: false }, &mut cache);
        assert_eq!(told(&mut index), (vec!["a/x".to_owned()], vec!["b".to_owned()]));
        assert_eq!(index.offered(), 1);
    }

    #[test]
    fn news_tells_the_last_word_per_path_in_pages() {
        let now = Instant::now();
        let (mut index, _) = offering(now);
        for n in 0..5 {
            index.offer(&format!("f{n}"), stamp(n, 1), root(n as u8));
        }
        index.gone("f0", now);
        let (added, removed) = index.take_news(3).unwrap();
        assert_eq!((added.len(), removed.len()), (2, 1));
        assert_eq!(told(&mut index).0, ["f3", "f4"]);
        assert!(index.take_news(3).is_none());
    }

    #[test]
    fn a_file_and_a_folder_of_one_name_do_not_take_each_other_along() {
        let now = Instant::now();
        let (mut index, mut cache) = offering(now);
        index.saw("a", stamp(2, 1), Sight::Scan { now, age: OLD }, &mut cache);
        index.offer("a", stamp(2, 1), root(2));
        told(&mut index);
        index.gone_file("a", now);
        assert_eq!(told(&mut index), (vec![], vec!["a".to_owned()]));
        index.gone_below("a", now);
        assert_eq!(told(&mut index), (vec![], vec!["a/x".to_owned()]));
    }

    #[test]
    fn what_a_scan_does_not_see_is_told() {
        let now = Instant::now();
        let (mut index, mut cache) = offering(now);
        index.offer("a-sibling", stamp(5, 1), root(5));
        index.begin_scan();
        assert_eq!(index.unseen("a"), [Arc::from("a/x")]);
        assert_eq!(index.unseen("").len(), 2);
        index.saw("a/x", stamp(1, 1), Sight::Scan { now, age: OLD }, &mut cache);
        assert_eq!(index.unseen(""), [Arc::from("a-sibling")]);
    }
}
