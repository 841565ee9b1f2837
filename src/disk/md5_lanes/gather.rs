//! Gathers messages until they fill the lanes.

use std::collections::VecDeque;
use std::iter;
use std::time::{Duration, Instant};

use super::width::Width;

/// Messages wait for more as long as the next one comes within this time.
const GAP_MAX: Duration = Duration::from_millis(3);
/// No message waits longer than this.
const WAIT_MAX: Duration = Duration::from_millis(24);

/// Messages whose MD5 is wanted, until they are hashed together.
#[derive(Debug)]
pub(in crate::disk) struct Gathering<T> {
    waiting: VecDeque<T>,
    /// When the first of the messages is hashed at the latest.
    due: Instant,
    /// When the latest message came, even if it no longer waits.
    last: Option<Instant>,
}

impl<T> Gathering<T> {
    /// No message waits yet.
    pub(in crate::disk) fn new(now: Instant) -> Gathering<T> {
        Gathering { waiting: VecDeque::new(), due: now, last: None }
    }

    /// Adds a message. If it comes alone, it is due at once.
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

    /// Removes the first message and others with the same key, as many as are hashed together.
    /// Returns them.
    pub(in crate::disk) fn take<K: PartialEq>(&mut self, key: impl Fn(&T) -> K) -> Vec<T> {
        let Some(first) = self.waiting.front().map(&key) else { return Vec::new() };
        take_batch(&mut self.waiting, |message| key(message) == first)
    }

    /// Whether no message waits.
    pub(in crate::disk) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Collects items until there are no more, at most as many as are hashed at once.
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
