//! The memory budget of a node: whether memory is short, how much send queues must shrink, and when
//! freed memory is given back.
//!
//! It only watches the sum that [`crate::memory`] counts; the driver acts.

use std::time::Duration;

use crate::config::{
    FRAMES_LOOKED_AT_EVERY, GIVE_BACK_BYTES, GIVE_BACK_GAP, GIVE_BACK_STEP, MEMORY_CLOSE_PERCENT, MEMORY_SHORT_PERCENT,
    MEMORY_UNFINISHED_PERCENT,
};
use crate::time::Time;

/// Shortest time between two lines of the log that say that memory is short.
const WARN_GAP: Duration = Duration::from_secs(60);

/// How much of a budget is in use.
#[derive(Debug)]
pub(super) struct Memory {
    /// Bytes; none if there is no budget.
    budget: Option<usize>,
    /// The thresholds, in bytes.
    short_from: usize,
    close_from: usize,
    /// The most bytes of incomplete frames while memory is short.
    unfinished_max: usize,
    /// When incomplete frames were last looked at.
    frames_looked: Option<Time>,
    /// Whether the machine knows that memory is short.
    short: bool,
    /// Whether send queues were looked at in this turn.
    looked: bool,
    /// The most memory that was in use since memory was last given back.
    peak: usize,
    /// Memory is not given back again before this time.
    rests_until: Time,
    /// When a line of the log last said that memory is short.
    warned: Option<Time>,
}

impl Memory {
    pub(super) fn new(budget: Option<usize>) -> Memory {
        let mut memory = Memory {
            budget: None,
            short_from: usize::MAX,
            close_from: usize::MAX,
            unfinished_max: usize::MAX,
            frames_looked: None,
            short: false,
            looked: false,
            peak: 0,
            rests_until: Time::ZERO,
            warned: None,
        };
        memory.set_budget(budget);
        memory
    }

    /// Sets how much memory may be in use from now on.
    pub(super) fn set_budget(&mut self, budget: Option<usize>) {
        let percent = |percent: usize| budget.map_or(usize::MAX, |budget| budget / 100 * percent);
        self.budget = budget;
        self.short_from = percent(MEMORY_SHORT_PERCENT);
        self.close_from = percent(MEMORY_CLOSE_PERCENT);
        self.unfinished_max = percent(MEMORY_UNFINISHED_PERCENT);
    }

    /// Whether memory is not short and was not short before, so that nothing must be done.
    pub(super) fn is_enough(&self, held: usize) -> bool {
        !self.short && held < self.short_from
    }

    /// If this has changed: whether memory is short now.
    pub(super) fn change(&mut self, held: usize) -> Option<bool> {
        let short = held >= self.short_from;
        (short != std::mem::replace(&mut self.short, short)).then_some(short)
    }

    /// Whether the log may report that memory is short. It may do so at most once a minute.
    pub(super) fn may_warn(&mut self, now: Time) -> bool {
        let may = self.warned.is_none_or(|warned| now.since(warned) >= WARN_GAP);
        self.warned = if may { Some(now) } else { self.warned };
        may
    }

    /// Bytes of send queues that must be freed now. More than 0 is returned at most once a turn,
    /// because the caller must then look at all connections.
    pub(super) fn excess(&mut self, held: usize) -> usize {
        if self.looked {
            return 0;
        }
        let excess = held.saturating_sub(self.close_from);
        self.looked = excess > 0;
        excess
    }

    /// How many of the `unfinished` bytes, which belong to incomplete frames, must be freed now.
    /// More than 0 is returned only while memory is short, so that peers that never complete a
    /// frame cannot lock out others. And it is returned only from time to time, because the caller
    /// must then look at all connections.
    pub(super) fn unfinished_excess(&mut self, unfinished: usize, now: Time) -> usize {
        let excess = unfinished.saturating_sub(self.unfinished_max);
        let is_soon = self.frames_looked.is_some_and(|at| now.since(at) < FRAMES_LOOKED_AT_EVERY);
        if !self.short || excess == 0 || is_soon {
            return 0;
        }
        self.frames_looked = Some(now);
        excess
    }

    /// A turn ends. Returns whether freed memory is to be given back now.
    pub(super) fn end_turn(&mut self, held: usize, now: Time) -> bool {
        self.looked = false;
        self.peak = self.peak.max(held);
        let freed = self.peak.saturating_sub(held);
        let due = freed >= GIVE_BACK_STEP || freed >= GIVE_BACK_BYTES && now >= self.rests_until;
        if due {
            self.peak = held;
            self.rests_until = now + GIVE_BACK_GAP;
        }
        due
    }

    /// When freed memory is given back, unless something happens before.
    pub(super) fn timeout(&self, held: usize) -> Option<Time> {
        self.has_freed(held).then_some(self.rests_until)
    }

    /// The figures, by name.
    pub(super) fn named(&self, held: usize) -> impl Iterator<Item = (String, u64)> {
        let budget = self.budget.map(|budget| ("memory_budget", budget));
        [Some(("memory_held", held)), budget].into_iter().flatten().map(|(name, bytes)| (name.to_owned(), bytes as u64))
    }

    fn has_freed(&self, held: usize) -> bool {
        self.peak.saturating_sub(held) >= GIVE_BACK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn memory_is_short_from_80_percent_and_queues_go_from_95() {
        let mut memory = Memory::new(Some(100 * MIB));
        assert_eq!((memory.change(80 * MIB - 1), memory.excess(95 * MIB)), (None, 0));
        assert_eq!((memory.change(80 * MIB), memory.excess(96 * MIB)), (Some(true), MIB));
        assert_eq!(memory.excess(97 * MIB), 0, "once a turn");
        memory.end_turn(97 * MIB, Time::ZERO);
        assert_eq!(memory.excess(97 * MIB), 2 * MIB);
        assert_eq!((memory.change(90 * MIB), memory.change(79 * MIB)), (None, Some(false)));
    }

    #[test]
    fn without_a_budget_memory_is_never_short() {
        let mut memory = Memory::new(None);
        assert_eq!((memory.change(usize::MAX - 1), memory.excess(usize::MAX)), (None, 0));
    }

    #[test]
    fn frames_that_are_not_complete_go_while_memory_is_short() {
        let mut memory = Memory::new(Some(100 * MIB));
        let start = Time::ZERO + GIVE_BACK_GAP;
        assert_eq!(memory.unfinished_excess(50 * MIB, start), 0, "there is enough memory");
        memory.change(80 * MIB);
        assert_eq!(memory.unfinished_excess(5 * MIB, start), 0);
        assert_eq!(memory.unfinished_excess(50 * MIB, start), 45 * MIB);
        assert_eq!(memory.unfinished_excess(50 * MIB, start), 0, "not again at once");
        assert_eq!(memory.unfinished_excess(50 * MIB, start + FRAMES_LOOKED_AT_EVERY), 45 * MIB);
        assert_eq!(Memory::new(None).unfinished_excess(usize::MAX, start), 0);
    }

    #[test]
    fn much_memory_is_given_back_step_by_step() {
        let mut memory = Memory::new(None);
        let start = Time::ZERO + GIVE_BACK_GAP;
        let mut held = 10 * GIVE_BACK_STEP;
        assert!(!memory.end_turn(held, start));
        let mut steps = 0;
        while held > 0 {
            held -= GIVE_BACK_BYTES / 2;
            steps += usize::from(memory.end_turn(held, start));
        }
        // The first step needs only the smaller amount.
        assert_eq!(steps, 10, "each turn gives back a step, whenever the last one was");
    }

    #[test]
    fn freed_memory_is_given_back_once_and_not_too_often() {
        let mut memory = Memory::new(None);
        let start = Time::ZERO + GIVE_BACK_GAP;
        assert!(!memory.end_turn(3 * GIVE_BACK_BYTES, start));
        assert!(!memory.end_turn(2 * GIVE_BACK_BYTES + 1, start));
        assert!(memory.end_turn(2 * GIVE_BACK_BYTES, start));
        assert_eq!(memory.timeout(2 * GIVE_BACK_BYTES), None);
        assert!(!memory.end_turn(GIVE_BACK_BYTES, start), "it was given back a moment ago");
        assert_eq!(memory.timeout(GIVE_BACK_BYTES), Some(start + GIVE_BACK_GAP));
        assert!(memory.end_turn(GIVE_BACK_BYTES, start + GIVE_BACK_GAP));
    }
}
