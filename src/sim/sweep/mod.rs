//! The sweep. Each seed is a small network that works for ten virtual minutes under faults, and
//! must then recover.
//!
//! - `plan`: what the seed draws, with one stream of random numbers per consumer: the network, the
//!   shares, and the faults with their strength, which may be zero;
//! - `foes`: its adversaries (`sim::adversary`), in both phases;
//! - `gathering`: the state of a crowd, which is a group of peers that fetch one content. If a seed
//!   draws crowds, one runs in each phase;
//! - `act`: the first phase: queries, downloads and changes of shares, under faults. The shadow
//!   (`sim::shadow`), the oracle ([`super::oracle`]) and the invariants of the machines check it;
//! - `settle`: the second phase: all faults end, and within a bounded virtual time the network must
//!   be as if there had been no faults.
//!
//! - `tally`: what the runs exercised. A run that exercised too little fails.

mod act;
mod foes;
mod gathering;
mod plan;
mod settle;
mod tally;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

pub use super::adversary::KINDS as ADVERSARIES;
pub use tally::{COUNTERS, FAULTS, Tally, VIRTUAL};

use self::act::Run;
use crate::proto::marks;

/// Why a seed failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
    /// The virtual time since the start.
    pub at: Duration,
    /// The last events, if they were kept.
    pub lines: Vec<String>,
}

/// Runs one seed. With `keep_trace`, the last lines of its trace are kept for a failure.
///
/// # Errors
/// If something was wrong.
pub fn run(seed: u64, keep_trace: bool) -> Result<Tally, Box<Failed>> {
    // Removes the marks of an earlier run on this thread.
    let _ = marks::take();
    let mut run = match catch_unwind(|| Run::new(seed, keep_trace)) {
        Ok(run) => run,
        Err(why) => {
            return Err(Box::new(Failed { seed, what: text(&*why), at: Duration::ZERO, lines: Vec::new() }));
        }
    };
    let result = catch_unwind(AssertUnwindSafe(|| {
        run.act();
        run.settle();
        run.end();
    }));
    match result {
        Ok(()) => Ok(run.tally),
        Err(why) => Err(Box::new(Failed {
            seed,
            what: text(&*why),
            at: Duration::from_micros(run.world.now().as_micros()),
            lines: run.world.trace_lines().map(str::to_owned).collect(),
        })),
    }
}

fn text(why: &(dyn std::any::Any + Send)) -> String {
    let text = why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}
