//! Limits for each host on dials of addresses that have never sent WELCOME. Strangers name the
//! addresses of sources, and may name ports of a machine that is not a peer. All names count as one
//! host, because the names of a stranger may all lead to one machine. It dials nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{HOST_DIAL_INTERVAL, HOST_DIALS_AT_ONCE, HOST_DIALS_BURST, HOSTS_REMEMBERED_MAX};
use crate::proto::crowd::Host;
use crate::time::Time;
use crate::wire::HostPort;

/// The dials of one host.
#[derive(Clone, Copy, Debug)]
struct Dials {
    /// How many dials run: they have neither failed nor got WELCOME.
    at_once: u32,
    /// When all allowed dials are free again (the generic cell rate algorithm).
    idle_at: Time,
}

/// All hosts that were dialed lately.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// The key of all names is none.
    hosts: BTreeMap<Option<Host>, Dials>,
}

impl Hosts {
    /// Whether an address of this host that has never sent WELCOME may be dialed now.
    pub(super) fn may_dial(&self, now: Time, addr: &HostPort) -> bool {
        match self.hosts.get(&host_of(addr)) {
            Some(dials) => {
                dials.at_once < HOST_DIALS_AT_ONCE
                    && dials.idle_at <= now + HOST_DIAL_INTERVAL.saturating_mul(HOST_DIALS_BURST - 1)
            }
            None => self.hosts.len() < HOSTS_REMEMBERED_MAX || self.hosts.values().any(|host| host.is_idle(now)),
        }
    }

    /// Whether this host has the most such dials that may run at once.
    pub(super) fn is_full(&self, addr: &HostPort) -> bool {
        self.hosts.get(&host_of(addr)).is_some_and(|dials| dials.at_once >= HOST_DIALS_AT_ONCE)
    }

    /// Whether two addresses count as one host.
    pub(super) fn is_same(one: &HostPort, other: &HostPort) -> bool {
        host_of(one) == host_of(other)
    }

    /// An address that has never sent WELCOME is dialed.
    pub(super) fn begin(&mut self, now: Time, addr: &HostPort) {
        if self.hosts.len() >= HOSTS_REMEMBERED_MAX {
            self.hosts.retain(|_, host| !host.is_idle(now));
        }
        let host = self.hosts.entry(host_of(addr)).or_insert(Dials { at_once: 0, idle_at: now });
        host.at_once += 1;
        host.idle_at = host.idle_at.max(now) + HOST_DIAL_INTERVAL;
    }

    /// Such a dial has ended. If it got WELCOME, it does not delay others.
    pub(super) fn end(&mut self, addr: &HostPort, welcomed: bool) {
        if let Some(host) = self.hosts.get_mut(&host_of(addr)) {
            host.at_once = host.at_once.saturating_sub(1);
            host.idle_at = host.idle_at - if welcomed { HOST_DIAL_INTERVAL } else { Duration::ZERO };
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.hosts.len() <= HOSTS_REMEMBERED_MAX);
        assert!(self.hosts.values().all(|host| host.at_once <= HOST_DIALS_AT_ONCE));
    }
}

fn host_of(addr: &HostPort) -> Option<Host> {
    addr.literal().map(|literal| literal.ip().into())
}

impl Dials {
    fn is_idle(&self, now: Time) -> bool {
        self.at_once == 0 && self.idle_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(host: &str, port: u16) -> HostPort {
        HostPort::new(host, port).unwrap()
    }

    #[test]
    fn a_host_is_dialed_in_a_burst_and_then_at_a_steady_pace() {
        let mut hosts = Hosts::default();
        let mut dials = 0;
        for ms in 0..30_000 {
            let now = Time::from_micros(ms * 1000);
            while hosts.may_dial(now, &addr("192.0.2.1", 9)) {
                hosts.begin(now, &addr("192.0.2.1", 9));
                hosts.end(&addr("192.0.2.1", 9), false);
                dials += 1;
            }
        }
        let steady = 30_000 / u32::try_from(HOST_DIAL_INTERVAL.as_millis()).unwrap();
        assert!((steady..=steady + HOST_DIALS_BURST).contains(&dials), "{dials}");
        assert!(hosts.may_dial(Time::from_micros(1), &addr("192.0.2.2", 9)), "another host is free");
    }

    #[test]
    fn a_host_that_welcomes_is_not_slowed_down_and_a_silent_one_is() {
        let mut hosts = Hosts::default();
        let now = Time::from_micros(5);
        for port in 1..1000 {
            assert!(hosts.may_dial(now, &addr("192.0.2.1", port)));
            hosts.begin(now, &addr("192.0.2.1", port));
            hosts.end(&addr("192.0.2.1", port), true);
        }
        for port in 1..=u16::try_from(HOST_DIALS_AT_ONCE).unwrap() {
            assert!(hosts.may_dial(now, &addr("192.0.2.2", port)));
            hosts.begin(now, &addr("192.0.2.2", port));
        }
        assert!(!hosts.may_dial(now + Duration::from_secs(600), &addr("192.0.2.2", 9)));
        hosts.check_invariants();
    }

    #[test]
    fn all_forms_of_a_host_share_its_dials() {
        let mut hosts = Hosts::default();
        let now = Time::from_micros(5);
        let forms = [
            ["192.0.2.1", "::ffff:192.0.2.1", "0xc0000201"],
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:9::"],
            ["a.example", "b.example", "c.test"],
        ];
        for forms in forms {
            for n in 0..HOST_DIALS_AT_ONCE {
                let addr = addr(forms[n as usize % 3], 1);
                assert!(hosts.may_dial(now, &addr), "{addr} {n}");
                hosts.begin(now, &addr);
            }
            assert!(forms.iter().all(|form| !hosts.may_dial(now, &addr(form, 2))), "{forms:?}");
        }
        assert!(hosts.may_dial(now, &addr("2001:db8:0:1::1", 1)));
    }

    #[test]
    fn hosts_beyond_the_limit_wait() {
        let mut hosts = Hosts::default();
        let now = Time::from_micros(5);
        let nth = |n: usize| addr(&format!("10.0.{}.{}", n / 256, n % 256), 1);
        for n in 0..HOSTS_REMEMBERED_MAX {
            hosts.begin(now, &nth(n));
            hosts.end(&nth(n), false);
        }
        assert!(!hosts.may_dial(now, &nth(HOSTS_REMEMBERED_MAX)));
        let later = now + HOST_DIAL_INTERVAL;
        assert!(hosts.may_dial(later, &nth(HOSTS_REMEMBERED_MAX)));
        hosts.begin(later, &nth(HOSTS_REMEMBERED_MAX));
        hosts.check_invariants();
    }
}
