//! Addresses that send HELLOs to this super peer and are not neighbors. None of them gets an
//! answer. The log names those that keep sending, so that the operator at either end finds out what
//! is missing.
//!
//! Everything here is bounded, because anybody can send a HELLO from any address: the table, the
//! lines in the log, and the work for a datagram.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::{LINK_RETRY, LINK_TROUBLE_AFTER, STRANGER_REPORT_EVERY, STRANGER_REPORTS_MAX, STRANGERS_MAX};
use crate::time::Time;
use crate::wire::link;

#[derive(Clone, Copy, Debug)]
struct Stranger {
    first: Time,
    last: Time,
    reported: Option<Time>,
}

/// The strangers that greeted lately.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    seen: BTreeMap<SocketAddr, Stranger>,
    /// When the present window of reports began, and how many reports were made in it.
    window: Option<Time>,
    reports: u32,
}

impl Strangers {
    /// A datagram came from an address that is not a neighbor. Returns whether to report the
    /// address. That is so if the datagram is a HELLO, and HELLOs have come from there for as long
    /// as a link may take to come up.
    pub(super) fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Time) -> bool {
        link::begins_with_hello(bytes) && self.note(from, now, || link::decode(bytes).is_ok())
    }

    /// As [`Strangers::on_datagram`], for a datagram whose envelope shows that it is a greeting.
    pub(super) fn on_greeting(&mut self, from: SocketAddr, now: Time) -> bool {
        self.note(from, now, || true)
    }

    /// `is_greeting` returns whether the complete datagram is a greeting, and not only its
    /// beginning.
    fn note(&mut self, from: SocketAddr, now: Time, is_greeting: impl Fn() -> bool) -> bool {
        if !self.seen.contains_key(&from) && self.seen.len() >= STRANGERS_MAX {
            self.seen.retain(|_, stranger| stranger.is_here(now) || stranger.is_quiet(now));
            if self.seen.len() >= STRANGERS_MAX {
                return false;
            }
        }
        let new = Stranger { first: now, last: now, reported: None };
        let stranger = self.seen.entry(from).or_insert(new);
        if !stranger.is_here(now) {
            stranger.first = now;
        }
        stranger.last = now;
        let due = now >= stranger.first + LINK_TROUBLE_AFTER && !stranger.is_quiet(now);
        if !due || !is_greeting() || !take_report(&mut self.window, &mut self.reports, now) {
            return false;
        }
        stranger.reported = Some(now);
        true
    }

    /// An address that sends HELLOs and that may belong to a neighbor which does not answer at
    /// `named`: it has the same port or the same host.
    pub(super) fn like(&self, named: &[SocketAddr], now: Time) -> Option<SocketAddr> {
        let here = self.seen.iter().filter(|(_, stranger)| stranger.is_here(now)).map(|(addr, _)| *addr);
        let alike =
            |addr: &SocketAddr| named.iter().any(|named| named.ip() == addr.ip() || named.port() == addr.port());
        here.into_iter().find(alike)
    }

    /// From now on the address is that of a neighbor.
    pub(super) fn forget(&mut self, addr: SocketAddr) {
        self.seen.remove(&addr);
    }
}

impl Stranger {
    /// Whether it sent a HELLO lately. Some of its HELLOs may have been lost.
    fn is_here(&self, now: Time) -> bool {
        now.since(self.last) < LINK_RETRY * 4
    }

    /// Whether it was reported not long ago.
    fn is_quiet(&self, now: Time) -> bool {
        self.reported.is_some_and(|at| now < at + STRANGER_REPORT_EVERY)
    }
}

/// Whether one more address may be reported in this window.
fn take_report(window: &mut Option<Time>, reports: &mut u32, now: Time) -> bool {
    if window.is_none_or(|began| now >= began + STRANGER_REPORT_EVERY) {
        (*window, *reports) = (Some(now), 0);
    }
    *reports += 1;
    *reports <= STRANGER_REPORTS_MAX
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::link::{LinkHello, Packer};
    use crate::wire::{LinkMessage, NodeId};

    const SECOND: Duration = Duration::from_secs(1);

    fn hello() -> Vec<u8> {
        let (node, et, tree, dg, de, fold) = (NodeId([1; 16]), None, None, None, None, None);
        let hello = LinkHello { node, boot: 5, echo: 0, t: 0, et, tree, whole: false, dg, de, fold };
        let mut packer = Packer::new(0);
        assert!(packer.push(&LinkMessage::Hello(hello)).is_none());
        packer.finish().unwrap()
    }

    fn addr(n: usize) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], u16::try_from(n).unwrap()))
    }

    /// The seconds, of those given, at which the address is reported.
    fn reports(strangers: &mut Strangers, from: SocketAddr, bytes: &[u8], seconds: std::ops::Range<u32>) -> Vec<u32> {
        seconds.filter(|n| strangers.on_datagram(from, bytes, Time::ZERO + SECOND * *n)).collect()
    }

    #[test]
    fn an_address_that_goes_on_greeting_is_reported_once_in_a_while() {
        let mut strangers = Strangers::default();
        let every = u32::try_from(STRANGER_REPORT_EVERY.as_secs()).unwrap();
        assert_eq!(reports(&mut strangers, addr(1), &hello(), 0..every + 20), [5, 5 + every]);
        assert_eq!(strangers.like(&[addr(1)], Time::ZERO + SECOND * (every + 20)), Some(addr(1)));
    }

    #[test]
    fn what_is_no_hello_and_what_greets_once_is_not_reported() {
        let mut strangers = Strangers::default();
        let mut cut = hello();
        cut.truncate(30);
        assert!(reports(&mut strangers, addr(1), b"\x01garbage", 0..20).is_empty());
        assert!(reports(&mut strangers, addr(2), &cut, 0..20).is_empty());
        for start in [0, 20, 40] {
            assert!(reports(&mut strangers, addr(3), &hello(), start..start + 4).is_empty());
        }
    }

    #[test]
    fn many_strangers_cost_a_bounded_table_and_few_lines() {
        let mut strangers = Strangers::default();
        let mut lines = 0;
        for second in 0..60 {
            for n in 0..1000 {
                lines += u32::from(strangers.on_datagram(addr(n), &hello(), Time::ZERO + SECOND * second));
            }
            assert!(strangers.seen.len() <= STRANGERS_MAX);
        }
        assert_eq!(lines, STRANGER_REPORTS_MAX);
    }
}
