//! Files of ours for which a super peer has no memory (PROTOCOL.md 4.4). The files that it has
//! registered stay registered. So the list is sent again later in UPDATEs, which remove no files.
//!
//! It only decides when the list is sent again; the session sends it.

use std::time::Duration;

use crate::config::{REFUSED_FILES_WAIT_FIRST, REFUSED_FILES_WAIT_MAX};

/// What a session knows about refused files.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// The upper bound of the last wait; none while no files are refused.
    wait: Option<Duration>,
    /// Whether the session waits before it sends the list again.
    waits: bool,
    /// Whether the list is being sent again.
    repeats: bool,
    /// Whether the rest of the list must not be sent, because the super peer has refused files
    /// again.
    stops: bool,
}

impl Refused {
    /// Files were refused. Unless a wait runs already, returns the longest wait until the list is
    /// sent again.
    pub(super) fn on_refusal(&mut self) -> Option<Duration> {
        self.stops |= std::mem::take(&mut self.repeats);
        if std::mem::replace(&mut self.waits, true) {
            return None;
        }
        self.wait = Some(self.wait.map_or(REFUSED_FILES_WAIT_FIRST, |last| (last * 2).min(REFUSED_FILES_WAIT_MAX)));
        self.wait
    }

    /// Whether files are missing at the super peer.
    pub(super) fn is_any(&self) -> bool {
        self.wait.is_some()
    }

    /// The wait is over: the list is sent again.
    pub(super) fn begin(&mut self) {
        (self.waits, self.repeats, self.stops) = (false, true, false);
    }

    /// Whether the rest of the list must not be sent. Returns true only once.
    pub(super) fn take_stop(&mut self) -> bool {
        std::mem::take(&mut self.stops)
    }

    /// A page of the list is sent; `more` says whether pages follow. Returns whether the list is
    /// being sent again.
    pub(super) fn on_page(&mut self, more: bool) -> bool {
        let again = self.repeats;
        self.repeats &= more;
        again
    }

    /// Everything that was sent is acknowledged.
    pub(super) fn on_all_acknowledged(&mut self) {
        if !self.waits && !self.repeats {
            self.wait = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_everything_is_taken() {
        let mut refused = Refused::default();
        assert_eq!(refused.on_refusal(), Some(REFUSED_FILES_WAIT_FIRST));
        assert_eq!(refused.on_refusal(), None, "a wait runs");
        for n in 1..10 {
            refused.begin();
            assert!(refused.on_page(true));
            let longest = (REFUSED_FILES_WAIT_FIRST * (1 << n)).min(REFUSED_FILES_WAIT_MAX);
            assert_eq!(refused.on_refusal(), Some(longest));
            assert!(refused.take_stop() && !refused.take_stop());
        }
        refused.begin();
        assert!(refused.on_page(true) && refused.on_page(false));
        assert!(!refused.on_page(false), "the next list is a new one");
        refused.on_all_acknowledged();
        assert!(!refused.is_any());
        assert_eq!(refused.on_refusal(), Some(REFUSED_FILES_WAIT_FIRST));
    }
}
