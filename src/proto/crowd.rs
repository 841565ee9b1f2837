//! Which connections are closed when there is no room for one more. First, the host with the most
//! connections is found. Of its connections with the lowest rank, the one that has been idle
//! longest is closed (PROTOCOL.md 3.6). Both roles use this rule; each decides what counts as idle.
//!
//! There is no fixed cap for one host: all peers behind one NAT share an address, and so do all
//! peers of a test on one computer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::ConnId;
use crate::config::{CROWD_PLAN_MAX, CROWD_PROTECTED_MAX};
use crate::time::Time;

/// How long a plan is followed before it is made again.
const PLAN_AGE_MAX: Duration = Duration::from_millis(100);

/// The part of an address that identifies one owner of connections. It is an IPv4 address, mapped
/// or not, or the first 64 bits of an IPv6 address, because one subscriber has at least that many
/// addresses (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Host {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Host {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Host::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Host::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// What a connection does. Of the connections of one host, those of the lowest rank are closed
/// first. A higher rank protects only while not too many of all connections have this rank or a
/// higher one ([`CROWD_PROTECTED_MAX`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It does nothing.
    Idle,
    /// It waits for an answer, or got one a moment ago.
    Busy,
    /// Others need it.
    Useful,
}

/// A connection that may be closed to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupant {
    pub(crate) conn: ConnId,
    pub(crate) host: Host,
    pub(crate) rank: Rank,
    /// Since when it has made no progress.
    pub(crate) since: Time,
}

impl Occupant {
    /// The connection with the lowest value is closed first.
    fn order(&self, protected: Protected) -> (Rank, Time, ConnId) {
        let rank = match self.rank {
            Rank::Useful if protected.useful => Rank::Useful,
            Rank::Useful | Rank::Busy if protected.busy => Rank::Busy,
            Rank::Useful | Rank::Busy | Rank::Idle => Rank::Idle,
        };
        (rank, self.since, self.conn)
    }
}

/// Which ranks protect. A rank protects if at most [`CROWD_PROTECTED_MAX`] percent of all
/// connections have it or a higher one.
#[derive(Clone, Copy, Debug)]
struct Protected {
    busy: bool,
    useful: bool,
}

impl Protected {
    fn among(occupants: &[Occupant]) -> Protected {
        let protects = |rank: Rank| {
            let those = occupants.iter().filter(|occupant| occupant.rank >= rank).count();
            those * 100 <= occupants.len() * CROWD_PROTECTED_MAX
        };
        Protected { busy: protects(Rank::Busy), useful: protects(Rank::Useful) }
    }
}

/// Connections that are not closed although there is no room: those that made progress after
/// `since` or have a rank that protects, and whose host has at most `share` connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grace {
    pub(crate) since: Time,
    pub(crate) share: usize,
}

impl Grace {
    /// Whether nothing of a host with this many connections may be closed, if this is the order of
    /// the first one.
    fn covers(self, len: usize, (rank, since, _): (Rank, Time, ConnId)) -> bool {
        len <= self.share && (rank > Rank::Idle || since > self.since)
    }
}

/// The connections to close, at most `count`, in order: each time one of the host that then has the
/// most.
pub(crate) fn leaving(occupants: Vec<Occupant>, count: usize) -> Vec<Occupant> {
    leaving_after(occupants, count, None)
}

/// The same, without connections that have a grace.
pub(crate) fn leaving_after(occupants: Vec<Occupant>, count: usize, grace: Option<Grace>) -> Vec<Occupant> {
    let protected = Protected::among(&occupants);
    let mut hosts: BTreeMap<Host, Vec<Occupant>> = BTreeMap::new();
    for occupant in occupants {
        hosts.entry(occupant.host).or_default().push(occupant);
    }
    let mut fullest = BinaryHeap::new();
    for (host, group) in &mut hosts {
        group.sort_unstable_by_key(|occupant| Reverse(occupant.order(protected)));
        fullest.extend(group.last().map(|first| (group.len(), Reverse(first.order(protected)), *host)));
    }
    let mut going = Vec::new();
    while going.len() < count
        && let Some((len, Reverse(first), host)) = fullest.pop()
        && let Some(group) = hosts.get_mut(&host)
    {
        if grace.is_some_and(|grace| grace.covers(len, first)) {
            continue;
        }
        going.extend(group.pop());
        fullest.extend(group.last().map(|next| (group.len(), Reverse(next.order(protected)), host)));
    }
    going
}

/// The next connections to close. The plan is kept, so that not every newcomer of a crowd causes a
/// look at all connections.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    next: VecDeque<Occupant>,
    made: Time,
}

impl Plan {
    /// The connection to close now, if there is one. `of` finds one connection, `all` lists all
    /// connections. Neither returns a connection that must not be closed.
    pub(crate) fn next(
        &mut self,
        now: Time,
        of: impl Fn(ConnId) -> Option<Occupant>,
        all: impl FnOnce() -> Vec<Occupant>,
    ) -> Option<ConnId> {
        self.look(now, of, || leaving(all(), CROWD_PLAN_MAX))?;
        self.take()
    }

    /// The connection to close next, if there is one. It stays in the plan. `leaving` makes the
    /// next plan.
    pub(crate) fn look(
        &mut self,
        now: Time,
        of: impl Fn(ConnId) -> Option<Occupant>,
        leaving: impl FnOnce() -> Vec<Occupant>,
    ) -> Option<ConnId> {
        if now.since(self.made) < PLAN_AGE_MAX {
            while let Some(planned) = self.next.front() {
                if of(planned.conn) == Some(*planned) {
                    return Some(planned.conn);
                }
                self.next.pop_front();
            }
        }
        self.next = leaving().into();
        self.made = now;
        self.next.front().map(|occupant| occupant.conn)
    }

    /// Takes the connection that [`Plan::look`] has returned out of the plan.
    pub(crate) fn take(&mut self) -> Option<ConnId> {
        self.next.pop_front().map(|occupant| occupant.conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupant(index: u32, host: u8, rank: Rank, since: u64) -> Occupant {
        let conn = ConnId { index, generation: 0 };
        Occupant { conn, host: Host::V4([host; 4]), rank, since: Time::from_micros(since) }
    }

    fn order(occupants: Vec<Occupant>, count: usize) -> Vec<u32> {
        leaving(occupants, count).iter().map(|occupant| occupant.conn.index).collect()
    }

    #[test]
    fn the_longest_idle_of_the_host_that_holds_most_goes() {
        let all = vec![
            occupant(0, 1, Rank::Idle, 1),
            occupant(1, 2, Rank::Idle, 9),
            occupant(2, 2, Rank::Busy, 2),
            occupant(3, 2, Rank::Idle, 5),
        ];
        // Once each host has one left, the one that has been idle longest goes.
        assert_eq!(order(all, 9), [3, 1, 0, 2]);
    }

    #[test]
    fn a_crowd_that_asks_does_not_protect_itself() {
        let ranks = [Rank::Useful, Rank::Busy, Rank::Idle, Rank::Idle];
        let all = |ranks: &[Rank]| (0..).zip(ranks).map(|(n, rank)| occupant(n, 1, *rank, n.into())).collect();
        assert_eq!(order(all(&ranks), 4), [2, 3, 1, 0]);
        assert_eq!(order(all(&[Rank::Useful, Rank::Busy, Rank::Busy, Rank::Idle]), 4), [1, 2, 3, 0]);
        assert_eq!(order(all(&[Rank::Busy, Rank::Busy, Rank::Idle]), 1), [0], "a newcomer is the youngest");
    }

    #[test]
    fn many_hosts_with_one_each_go_by_time() {
        let all = (0..4).map(|n| occupant(n, n as u8, Rank::Idle, 10 - u64::from(n))).collect();
        assert_eq!(order(all, 2), [3, 2]);
    }

    #[test]
    fn a_connection_with_a_grace_stays_unless_its_host_has_more_than_its_share() {
        let mut all = vec![
            occupant(0, 1, Rank::Idle, 9),
            occupant(1, 1, Rank::Idle, 7),
            occupant(2, 1, Rank::Idle, 8),
            occupant(3, 2, Rank::Idle, 5),
            occupant(4, 3, Rank::Busy, 1),
            occupant(5, 4, Rank::Idle, 6),
        ];
        let order = |all: &[Occupant], since: u64, share: usize| -> Vec<u32> {
            let grace = Grace { since: Time::from_micros(since), share };
            leaving_after(all.to_vec(), 9, Some(grace)).iter().map(|occupant| occupant.conn.index).collect()
        };
        assert_eq!(order(&all, 5, 2), [1, 3], "2 then is one of two");
        assert_eq!(order(&all, 5, 3), [3], "and 1 one of three");
        assert_eq!(order(&all, 4, 3), [0; 0]);
        assert_eq!(order(&all, 9, 3), [1, 2, 3, 5, 0], "the busy one stays");
        // A crowd that asks does not protect itself.
        all.iter_mut().for_each(|occupant| occupant.rank = Rank::Busy);
        assert_eq!(order(&all, 5, 3), [4, 3]);
    }

    #[test]
    fn spellings_of_one_address_and_a_subscribers_network_are_one_host() {
        let host = |text: &str| Host::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(host("::ffff:192.0.2.1"), host("192.0.2.1"));
        assert_eq!(host("2001:db8:0:1::1"), host("2001:db8:0:1:ffff::2"));
        assert_ne!(host("2001:db8:0:1::1"), host("2001:db8:0:2::1"));
    }

    #[test]
    fn a_plan_spares_who_made_progress() {
        let now = Time::from_micros(50);
        let all = vec![occupant(0, 1, Rank::Idle, 1), occupant(1, 1, Rank::Idle, 2), occupant(2, 1, Rank::Idle, 3)];
        let mut plan = Plan::default();
        let unchanged = |conn: ConnId| all.iter().copied().find(|occupant| occupant.conn == conn);
        assert_eq!(plan.next(now, unchanged, || all.clone()).map(|conn| conn.index), Some(0));
        let moved = |conn: ConnId| unchanged(conn).filter(|occupant| occupant.conn.index != 1);
        assert_eq!(plan.next(now, moved, Vec::new).map(|conn| conn.index), Some(2));
        assert_eq!(plan.next(now, moved, Vec::new), None);
    }
}
