//! How often this peer dials each host before any of its addresses has welcomed it. Addresses of
//! sources come from strangers: they may name the ports of a machine that is no peer. It dials
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{HOST_DIAL_INTERVAL, HOST_DIALS_AT_ONCE, HOST_DIALS_BURST, HOSTS_REMEMBERED_MAX};
use crate::time::Time;
use crate::wire::HostPort;

/// The dials of one host.
#[derive(Clone, Copy, Debug)]
struct Host {
    /// Dials that have neither failed nor been welcomed.
    at_once: u32,
    /// When all allowed dials are free again (the generic cell rate algorithm).
    idle_at: Time,
}

/// All hosts that were dialed lately.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    hosts: BTreeMap<Arc<str>, Host>,
}

impl Hosts {
    /// Whether an address of this host that never welcomed may be dialed now.
    pub(super) fn may_dial(&self, now: Time, addr: &HostPort) -> bool {
        match self.hosts.get(addr.host()) {
            Some(host) => {
                host.at_once < HOST_DIALS_AT_ONCE
                    && host.idle_at <= now + HOST_DIAL_INTERVAL.saturating_mul(HOST_DIALS_BURST - 1)
            }
            None => self.hosts.len() < HOSTS_REMEMBERED_MAX || self.hosts.values().any(|host| host.is_idle(now)),
        }
    }

    /// An address that never welcomed is dialed.
    pub(super) fn begin(&mut self, now: Time, addr: &HostPort) {
        if self.hosts.len() >= HOSTS_REMEMBERED_MAX {
            self.hosts.retain(|_, host| !host.is_idle(now));
        }
        let host = self.hosts.entry(addr.host().into()).or_insert(Host { at_once: 0, idle_at: now });
        host.at_once += 1;
        host.idle_at = host.idle_at.max(now) + HOST_DIAL_INTERVAL;
    }

    /// Such a dial has ended. One that was welcomed does not delay others.
    pub(super) fn end(&mut self, addr: &HostPort, welcomed: bool) {
        if let Some(host) = self.hosts.get_mut(addr.host()) {
            host.at_once = host.at_once.saturating_sub(1);
            host.idle_at = host.idle_at - if welcomed { HOST_DIAL_INTERVAL } else { Duration::ZERO };
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.hosts.len() <= HOSTS_REMEMBERED_MAX);
        assert!(self.hosts.values().all(|host| host.at_once <= HOST_DIALS_AT_ONCE));
    }
}

impl Host {
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
    fn hosts_beyond_the_limit_wait() {
        let mut hosts = Hosts::default();
        let now = Time::from_micros(5);
        let nth = |n: usize| addr(&format!("h{n}"), 1);
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
