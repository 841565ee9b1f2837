//! The slow scan looks at the times of all files at intervals. It finds changes that no watcher
//! reports: for example a write through a name outside of the share, or a write by another machine
//! on a network mount.
//!
//! It runs in short slices with pauses between them, so that it uses only a small part of the time
//! of one processor. It opens no file. This module decides when it runs, and knows its progress;
//! the share does the walk.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::scan::Scan;

/// After a slice it pauses for this many times as long.
const PAUSE_FACTOR: u32 = 9;
/// Shortest and longest pause.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The schedule and the progress of the slow scan.
pub(super) struct Slow {
    /// The pause between two scans; none: there are no scans.
    every: Option<Duration>,
    /// When the next slice is due.
    at: Option<Instant>,
    is_due: bool,
    /// The shares that this scan has not reached yet.
    pub(super) rest: VecDeque<usize>,
    pub(super) scan: Option<Scan>,
}

impl Slow {
    pub(super) fn new(every: Option<Duration>, now: Instant) -> Slow {
        let at = every.map(|every| now + every);
        Slow { every, at, is_due: false, rest: VecDeque::new(), scan: None }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.at
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        self.is_due = self.at.is_some_and(|at| at <= now);
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// This share needs no slow scan now: it is scanned by other means, or is gone.
    pub(super) fn leave_out(&mut self, number: usize) {
        self.rest.retain(|other| *other != number);
        self.scan.take_if(|scan| scan.tree == number);
    }

    /// A slice has ended, which took this long.
    pub(super) fn pause(&mut self, took: Duration) {
        self.is_due = false;
        let is_over = self.scan.is_none() && self.rest.is_empty();
        let pause = if is_over { self.every } else { Some((took * PAUSE_FACTOR).clamp(PAUSE_MIN, PAUSE_MAX)) };
        self.at = pause.map(|pause| Instant::now() + pause);
    }
}
