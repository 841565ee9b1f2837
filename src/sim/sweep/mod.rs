//! The sweep: each seed is a small network that works for ten virtual minutes under faults, and
//! must then recover.
//!
//! - `plan`: what the seed draws, from one stream of numbers per consumer: the network, the shares,
//!   the faults and their strength, which may be none;
//! - `foes`: its adversaries (`sim::adversary`), in both phases;
//! - `gathering`: a crowd on its way, one in each phase;
//! - `act`: the first phase: queries, downloads and changes of shares, under faults. The shadow
//!   (`sim::shadow`), the oracle ([`super::oracle`]) and the invariants of the machines check it;
//! - `settle`: the second phase: all faults end, and within a bounded virtual time the network is
//!   as if there had been none.
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
    /// Which.
    pub seed: u64,
    /// What did not hold.
    pub what: String,
    /// When, in virtual time since the start.
    pub at: Duration,
    /// The last things that happened, if they were kept.
    pub lines: Vec<String>,
}

/// Runs one seed. `keep_trace` keeps the last lines of its trace for a failure.
///
/// # Errors
/// If something did not hold.
pub fn run(seed: u64, keep_trace: bool) -> Result<Tally, Box<Failed>> {
    // What an earlier run of this thread left.
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
