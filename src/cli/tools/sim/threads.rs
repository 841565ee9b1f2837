//! Runs the shards of a simulated network in parallel, each on a thread of its own. The result is
//! the same as with one thread.
//!
//! One thread leads: it decides how far all threads may run, and delivers the mail between shards.
//! While there is little work, it does all of it, because waking the others would take longer than
//! the work.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::sim::lab::{Lab, Shard};
use crate::time::Time;

/// How often this thread polls the others before it gives up its core.
const SPINS: u32 = 2000;
/// The other threads help with the next piece of work if this one had at least this number of
/// messages. This is half a millisecond of work.
const BUSY: u64 = 256;
/// In place of a time: there is no more work.
const LEAVE: u64 = u64::MAX;

/// Brings all shards to a time.
pub(super) fn run(lab: &mut Lab, until: Time) {
    let ahead = lab.lookahead();
    if lab.shards().len() == 1 {
        return lab.run_until(until);
    }
    let shards: Vec<Mutex<&mut Shard>> = lab.shards().iter_mut().map(Mutex::new).collect();
    let table = Table::default();
    thread::scope(|scope| {
        let table = &table;
        let helpers = shards[1..].iter().map(|shard| scope.spawn(move || table.help(shard)).thread().clone());
        let crew = Crew { table, helpers: helpers.collect() };
        crew.lead(&shards, ahead, until);
    });
}

/// The state that the threads share.
#[derive(Default)]
struct Table {
    /// The number of the piece of work. It rises with each piece.
    order: AtomicU64,
    /// The time up to which the work goes.
    end: AtomicU64,
    /// Helpers that have not finished the work.
    left: AtomicUsize,
    /// Whether a helper is gone. Then nobody waits for it.
    broken: AtomicBool,
}

impl Table {
    fn help(&self, shard: &Mutex<&mut Shard>) {
        let _leave = Leave(self);
        let mut done = 0;
        loop {
            let mut spins = 0;
            while self.order.load(Ordering::Acquire) == done {
                spins += 1;
                if spins < SPINS { hint::spin_loop() } else { thread::park() }
            }
            done += 1;
            let end = self.end.load(Ordering::Relaxed);
            if end == LEAVE {
                return;
            }
            locked(shard).run(Time::from_micros(end));
            self.left.fetch_sub(1, Ordering::Release);
        }
    }
}

/// The leader's side. When this is dropped, for any reason, the helpers end too.
struct Crew<'a> {
    table: &'a Table,
    helpers: Vec<Thread>,
}

impl Crew<'_> {
    fn lead(&self, shards: &[Mutex<&mut Shard>], ahead: Duration, until: Time) {
        let next = || shards.iter().filter_map(|shard| locked(shard).next()).min().filter(|next| *next < until);
        let handled = || shards.iter().map(|shard| locked(shard).handled()).sum::<u64>();
        let (mut before, mut busy) = (handled(), false);
        while let Some(next) = next() {
            let end = until.min(next + ahead);
            if busy {
                self.run_together(&shards[0], end);
            } else {
                shards.iter().for_each(|shard| locked(shard).run(end));
            }
            for from in 0..shards.len() {
                for to in (0..shards.len()).filter(|to| *to != from) {
                    let mail = locked(&shards[from]).take_mail(to);
                    locked(&shards[to]).give_mail(mail);
                }
            }
            let after = handled();
            busy = after - before >= BUSY;
            before = after;
        }
    }

    fn run_together(&self, own: &Mutex<&mut Shard>, end: Time) {
        self.table.left.store(self.helpers.len(), Ordering::Relaxed);
        self.order(end.as_micros());
        locked(own).run(end);
        let mut spins = 0;
        while self.table.left.load(Ordering::Acquire) > 0 {
            assert!(!self.table.broken.load(Ordering::Relaxed), "another shard has failed");
            spins += 1;
            if spins < SPINS { hint::spin_loop() } else { thread::yield_now() }
        }
    }

    fn order(&self, end: u64) {
        self.table.end.store(end, Ordering::Relaxed);
        self.table.order.fetch_add(1, Ordering::Release);
        self.helpers.iter().for_each(Thread::unpark);
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.order(LEAVE);
    }
}

/// Reports to the leader if this thread ends with a panic.
struct Leave<'a>(&'a Table);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
    }
}

fn locked<'a, 'b>(shard: &'a Mutex<&'b mut Shard>) -> MutexGuard<'a, &'b mut Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
