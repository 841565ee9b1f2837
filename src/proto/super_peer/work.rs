//! How much work one call of the machine does, without its searches. `flood::fair_queue` counts the
//! searches.
//!
//! Work is counted, not timed, in the unit of [`crate::config::WORK_PER_TURN`]. Work that may be
//! large stops when [`Work::is_spent`] says so, and goes on in the next turn.

use crate::config::PUT_OFF_WORK_PER_TURN;

/// The cost of a timer that has fired.
pub(super) const TIMER_WORK: usize = 16;
/// The cost of an output.
pub(super) const OUTPUT_WORK: usize = 4;
/// The cost of closing a session.
pub(super) const SESSION_WORK: usize = 32;
/// How many sessions one unit of work looks at.
pub(super) const SESSIONS_PER_WORK: usize = 8;
/// The cost of a step of the index: a file that comes or goes, or a part of the work on the index
/// that was put off.
const STEP_WORK: usize = 8;

/// The work of the present call, and the most work of any call so far.
#[derive(Debug, Default)]
pub(super) struct Work {
    done: usize,
    most: usize,
    /// The steps of the index before this call.
    steps: u64,
}

impl Work {
    /// A call begins. `steps` is the number of steps of the index so far.
    pub(super) fn begin(&mut self, steps: u64) {
        (self.done, self.steps) = (0, steps);
    }

    /// The call ends.
    pub(super) fn end(&mut self, steps: u64) {
        let done = usize::try_from(steps - self.steps).unwrap_or(usize::MAX);
        self.add(done.saturating_mul(STEP_WORK));
        self.steps = steps;
    }

    /// Work was done.
    pub(super) fn add(&mut self, work: usize) {
        self.done += work;
        self.most = self.most.max(self.done);
    }

    /// Whether work that can be put off must wait for the next turn.
    pub(super) fn is_spent(&self) -> bool {
        self.done >= PUT_OFF_WORK_PER_TURN
    }

    /// Whether half of the work of a turn is done. Work that strangers can cause without limit
    /// stops here, so that deadlines are met.
    pub(super) fn is_half_spent(&self) -> bool {
        self.done * 2 >= PUT_OFF_WORK_PER_TURN
    }

    /// The most work of any call so far.
    pub(super) fn most(&self) -> usize {
        self.most
    }
}
