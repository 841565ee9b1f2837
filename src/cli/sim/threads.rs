//! Runs the shards of a laboratory at the same time, each on a thread of its own. The result is that of running them one by one.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::sim::lab::{Lab, Mail, Shard};
use crate::time::Time;

/// Looks at the others before the core is left to somebody else: they meet every few microseconds.
const SPINS: u32 = 2000;

/// Brings all shards to a time.
pub(super) fn run(lab: &mut Lab, until: Time) {
    let ahead = lab.lookahead();
    let shards = lab.shards();
    if shards.len() == 1 {
        return lab.run_until(until);
    }
    let table = Table::new(shards.len());
    thread::scope(|scope| {
        for (at, shard) in shards.iter_mut().enumerate() {
            let table = &table;
            scope.spawn(move || table.work(at, shard, ahead, until));
        }
    });
}

/// What the threads share.
struct Table {
    all: usize,
    waiting: AtomicUsize,
    round: AtomicU64,
    /// A thread is gone: nobody waits for it.
    broken: AtomicBool,
    /// When the next thing happens in each shard; [`u64::MAX`] if nothing does.
    next: Vec<AtomicU64>,
    /// From each to each.
    mail: Vec<Vec<Mutex<Vec<Mail>>>>,
}

impl Table {
    fn new(all: usize) -> Table {
        Table {
            all,
            waiting: AtomicUsize::new(0),
            round: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            next: (0..all).map(|_| AtomicU64::new(0)).collect(),
            mail: (0..all).map(|_| (0..all).map(|_| Mutex::default()).collect()).collect(),
        }
    }

    fn work(&self, at: usize, shard: &mut Shard, ahead: Duration, until: Time) {
        let _leave = Leave(self);
        loop {
            for from in 0..self.all {
                let mail = std::mem::take(&mut *self.mail[from][at].lock().unwrap_or_else(PoisonError::into_inner));
                shard.give_mail(mail);
            }
            let mine = shard.next().map_or(u64::MAX, Time::as_micros);
            self.next[at].store(mine, Ordering::Relaxed);
            self.meet();
            let next = self.next.iter().map(|next| next.load(Ordering::Relaxed)).min().unwrap_or(u64::MAX);
            if next >= until.as_micros() {
                return;
            }
            shard.run(until.min(Time::from_micros(next) + ahead));
            for to in 0..self.all {
                let mail = shard.take_mail(to);
                if !mail.is_empty() {
                    *self.mail[at][to].lock().unwrap_or_else(PoisonError::into_inner) = mail;
                }
            }
            self.meet();
        }
    }

    /// Waits until all are here.
    fn meet(&self) {
        let round = self.round.load(Ordering::Acquire);
        if self.waiting.fetch_add(1, Ordering::AcqRel) + 1 == self.all {
            self.waiting.store(0, Ordering::Relaxed);
            self.round.store(round + 1, Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            assert!(!self.broken.load(Ordering::Relaxed), "another shard has failed");
            spins += 1;
            if spins < SPINS { hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

/// Tells the others if its thread ends by a panic.
struct Leave<'a>(&'a Table);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
    }
}
