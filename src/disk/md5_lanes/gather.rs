//! Gathering messages until they fill the lanes.

use std::collections::VecDeque;
use std::iter;
use std::time::{Duration, Instant};

use super::width::Width;

/// Messages wait for more as long as the next one arrives within this time, …
const GAP_MAX: Duration = Duration::from_millis(3);
/// … but none waits longer than this.
const WAIT_MAX: Duration = Duration::from_millis(24);

/// Messages whose MD5 is wanted, until they are hashed together.
#[derive(Debug)]
pub(in crate::disk) struct Gathering<T> {
    waiting: VecDeque<T>,
    /// Latest time at which the first of them is hashed.
    due: Instant,
    /// When the latest message arrived, whether it still waits or not.
    last: Option<Instant>,
}

impl<T> Gathering<T> {
    /// Empty.
    pub(in crate::disk) fn new(now: Instant) -> Gathering<T> {
        Gathering { waiting: VecDeque::new(), due: now, last: None }
    }

    /// Adds a message. One that arrives alone is due at once.
    pub(in crate::disk) fn add(&mut self, now: Instant, message: T) {
        if self.waiting.is_empty() {
            let alone = self.last.is_none_or(|last| now.saturating_duration_since(last) > GAP_MAX);
            self.due = if alone { now } else { now + WAIT_MAX };
        }
        self.last = Some(now);
        self.waiting.push_back(message);
    }

    /// When the waiting messages are to be hashed, even if they do not fill the lanes.
    pub(in crate::disk) fn deadline(&self) -> Option<Instant> {
        let last = self.last.filter(|_| !self.waiting.is_empty())?;
        Some((last + GAP_MAX).min(self.due))
    }

    /// Whether messages are to be hashed now.
    pub(in crate::disk) fn is_due(&self, now: Instant) -> bool {
        self.waiting.len() >= Width::widest().lanes() || self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Takes the first message, and as many with the same key as are hashed together with it.
    pub(in crate::disk) fn take<K: PartialEq>(&mut self, key: impl Fn(&T) -> K) -> Vec<T> {
        let Some(first) = self.waiting.front().map(&key) else { return Vec::new() };
        take_batch(&mut self.waiting, |message| key(message) == first)
    }

    /// Whether no message waits.
    pub(in crate::disk) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Takes items until there are none, at most as many as are hashed at once.
pub(in crate::disk) fn fill_batch<T>(next: impl FnMut() -> Option<T>) -> Vec<T> {
    iter::from_fn(next).take(Width::widest().lanes()).collect()
}

/// Removes the first items that fit from a queue, at most as many as are hashed at once.
fn take_batch<T>(queue: &mut VecDeque<T>, fits: impl Fn(&T) -> bool) -> Vec<T> {
    let mut batch = Vec::new();
    let mut at = 0;
    while batch.len() < Width::widest().lanes() && at < queue.len() {
        match fits(&queue[at]).then(|| queue.remove(at)).flatten() {
            Some(item) => batch.push(item),
            None => at += 1,
        }
    }
    batch
}
