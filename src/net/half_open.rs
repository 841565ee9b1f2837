//! Connections that were accepted in login mode and have not logged in: which of them is closed for
//! a new one.
//!
//! The rule of `proto::crowd` chooses this connection, so that one host does not displace the
//! logins of others. But many hosts can return at the same time, and each then needs some round
//! trips for its login. So a connection is not closed while it waits for this node, or within
//! [`HALF_OPEN_GRACE`] of the last step of its login, unless its host has more than its share.
//! While no connection may be closed, new ones wait in the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::{CROWD_PLAN_MAX, HALF_OPEN_GRACE, HALF_OPEN_RETRY, HALF_OPEN_SHARES, UNAUTHENTICATED_MAX};
use crate::proto::ConnId;
use crate::proto::crowd::{Grace, Host, Occupant, Plan, Rank, leaving_after};
use crate::time::Time;

/// The connections without a login.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    /// The host of each, and the time of the last step of its login.
    all: BTreeMap<ConnId, (Host, Time)>,
    /// Which of these are closed next while there are too many.
    plan: Plan,
    /// Until this time no connection to close is looked for, because there was none.
    full_until: Time,
}

impl HalfOpen {
    pub(super) fn begin(&mut self, id: ConnId, from: IpAddr, since: Time) {
        self.all.insert(id, (Host::from(from), since));
    }

    /// The login of a connection has reached its next step. Received bytes alone are no step.
    pub(super) fn note_step(&mut self, id: ConnId, now: Time) {
        if let Some((_, since)) = self.all.get_mut(&id) {
            *since = now;
        }
    }

    /// A connection has logged in or is gone. Returns whether it was half open until now.
    pub(super) fn end(&mut self, id: ConnId) -> bool {
        self.all.remove(&id).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether it makes sense to accept one more connection: there are fewer than `most`, or it is
    /// time to look for one to close.
    pub(super) fn may_enter(&self, most: usize, now: Time) -> bool {
        self.all.len() < most || self.full_until <= now
    }

    /// No connection can be closed for another one. Returns when to look again.
    pub(super) fn wait(&mut self, now: Time) -> Time {
        self.full_until = now + HALF_OPEN_RETRY;
        self.full_until
    }

    /// The connection that is closed next, if one may be closed. It stays in the plan. `waits`
    /// returns whether a connection waits for this node.
    pub(super) fn look(&mut self, most: usize, now: Time, waits: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        let HalfOpen { all, plan, .. } = self;
        let occupant = |conn: ConnId| {
            let (host, since) = *all.get(&conn)?;
            let rank = if waits(conn) { Rank::Busy } else { Rank::Idle };
            Some(Occupant { conn, host, rank, since })
        };
        // Only a small part of all is chosen at once. With more, the later ones might no longer be
        // the right choice when they are closed.
        let count = CROWD_PLAN_MAX.min(most / 8).max(1);
        let grace = Grace { since: now - grace(most), share: (most / HALF_OPEN_SHARES).max(1) };
        let leaving = || leaving_after(all.keys().filter_map(|id| occupant(*id)).collect(), count, Some(grace));
        plan.look(now, occupant, leaving)
    }

    /// Takes the connection that [`HalfOpen::look`] has returned out of the plan.
    pub(super) fn take(&mut self) -> Option<ConnId> {
        self.plan.take()
    }
}

/// The time after each step of a login in which the connection is not closed, if at most this many
/// connections may be without a login. It is in proportion to this number, which bounds how long
/// others wait in the kernel.
fn grace(most: usize) -> Duration {
    HALF_OPEN_GRACE.mul_f64(most as f64 / UNAUTHENTICATED_MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_wait_no_longer_where_fewer_connections_may_be_without_a_login() {
        assert_eq!(grace(UNAUTHENTICATED_MAX), HALF_OPEN_GRACE);
        assert_eq!(grace(UNAUTHENTICATED_MAX / 4), HALF_OPEN_GRACE / 4);
    }
}
