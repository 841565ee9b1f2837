//! Compares the dials of peers with the pace that they must keep. Hits come from strangers, and
//! their addresses may be those of a victim.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::config::{HOST_DIAL_INTERVAL, HOST_DIALS_BURST, SUPER_PORT};
use crate::time::Time;
use crate::wire::HostPort;

const WINDOW: Duration = Duration::from_secs(30);

/// The dials of all peers.
#[derive(Debug, Default)]
pub(super) struct Dials {
    welcomed: BTreeSet<(usize, HostPort)>,
    /// The last dials of addresses that never sent WELCOME to this peer, by peer, life and host.
    recent: BTreeMap<(usize, u64, String), VecDeque<Time>>,
}

impl Dials {
    /// A peer dials.
    ///
    /// # Panics
    /// If it dials one host too often.
    pub(super) fn on_dial(&mut self, now: Time, (node, life): (usize, u64), to: &HostPort) {
        if to.port() == SUPER_PORT || self.welcomed.contains(&(node, to.clone())) {
            return;
        }
        let recent = self.recent.entry((node, life, to.host().to_owned())).or_default();
        recent.push_back(now);
        while recent.front().is_some_and(|at| now.since(*at) > WINDOW) {
            recent.pop_front();
        }
        // If a clock jumps, one more burst is allowed.
        let paced = WINDOW.as_millis() / HOST_DIAL_INTERVAL.as_millis();
        let most = usize::try_from(paced).unwrap_or(0) + 2 * HOST_DIALS_BURST as usize;
        assert!(recent.len() <= most, "{node} dials {} {} times in {WINDOW:?}", to.host(), recent.len());
    }

    /// The nodes that got WELCOME at this address.
    pub(super) fn welcomed_at<'a>(&'a self, at: &'a HostPort) -> impl Iterator<Item = usize> + 'a {
        self.welcomed.iter().filter(move |(_, addr)| addr == at).map(|(node, _)| *node)
    }

    /// A peer got WELCOME at this address.
    pub(super) fn on_welcome(&mut self, node: usize, at: HostPort) {
        self.welcomed.insert((node, at));
    }
}
