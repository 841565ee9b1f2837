//! The next wake-up of a machine. The queue may contain several wake-ups for it; only the earliest
//! one counts.

use crate::time::Time;

/// When the machine wakes up next; none if it sleeps until an input comes.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Time>);

impl Alarm {
    /// Sets the alarm, unless it is set to this time or an earlier one. Returns whether an event
    /// must be scheduled for this time.
    pub(super) fn set(&mut self, at: Time) -> bool {
        let is_earlier = self.0.is_none_or(|earliest| at < earliest);
        if is_earlier {
            self.0 = Some(at);
        }
        is_earlier
    }

    /// A wake-up of the machine has come. Returns whether it counts. It does not count if an
    /// earlier one was handled before.
    pub(super) fn rings(&mut self, now: Time) -> bool {
        self.0.take_if(|at| *at <= now).is_some()
    }

    /// From now on no wake-up in the queue counts.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}
