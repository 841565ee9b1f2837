//! The next wake-up of a machine. The queue may hold several events of it; only the earliest
//! counts.

use crate::time::Time;

/// When the machine wakes next; none if it sleeps until an input comes.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Time>);

impl Alarm {
    /// Sets it, unless it is set to this time or an earlier one. Returns whether an event is to be
    /// scheduled for then.
    pub(super) fn set(&mut self, at: Time) -> bool {
        let is_earlier = self.0.is_none_or(|earliest| at < earliest);
        if is_earlier {
            self.0 = Some(at);
        }
        is_earlier
    }

    /// An event of it has come. Returns whether it counts: it is void if an earlier one came before
    /// it.
    pub(super) fn rings(&mut self, now: Time) -> bool {
        self.0.take_if(|at| *at <= now).is_some()
    }

    /// No event that is in the queue counts.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}
