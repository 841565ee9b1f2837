//! How often one host may begin a handshake: a bucket of tokens for each host that has begun one
//! lately.
//!
//! A handshake needs computations with keys, and any stranger can begin one. So the number of
//! handshakes of each host is limited, even if the host opens many connections.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::{ADDRESS_HANDSHAKES_BURST, ADDRESS_HANDSHAKES_PER_SECOND, ADDRESSES_MAX, ADDRESSES_SWEPT_EVERY};
use crate::proto::crowd::Host;
use crate::time::Time;

/// The buckets. A full bucket need not be kept, and is removed to make room.
#[derive(Debug, Default)]
pub(super) struct Admission {
    buckets: BTreeMap<Host, Bucket>,
    /// The bucket that all hosts without a place of their own share.
    shared: Option<Bucket>,
    /// When full buckets were last removed.
    swept: Option<Time>,
    /// Whether loopback addresses have no limit.
    pub(super) exempts_loopback: bool,
}

/// Handshakes that are left, and when this number was computed.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u64,
    at: Time,
}

impl Bucket {
    fn refill(&mut self, now: Time) {
        let earned = now.since(self.at).as_micros() * u128::from(ADDRESS_HANDSHAKES_PER_SECOND) / 1_000_000;
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        if earned > 0 {
            *self = Bucket { left: self.left.saturating_add(earned).min(ADDRESS_HANDSHAKES_BURST), at: now };
        }
    }
}

impl Admission {
    /// Whether this address may begin a handshake now. If so, the handshake is counted.
    pub(super) fn admit(&mut self, from: IpAddr, now: Time) -> bool {
        if self.exempts_loopback && from.is_loopback() {
            return true;
        }
        let full = Bucket { left: ADDRESS_HANDSHAKES_BURST, at: now };
        let key = Host::from(from);
        if !self.buckets.contains_key(&key) && self.buckets.len() >= ADDRESSES_MAX {
            self.sweep(now);
        }
        let bucket = if self.buckets.contains_key(&key) || self.buckets.len() < ADDRESSES_MAX {
            self.buckets.entry(key).or_insert(full)
        } else {
            self.shared.get_or_insert(full)
        };
        bucket.refill(now);
        let admitted = bucket.left > 0;
        bucket.left = bucket.left.saturating_sub(1);
        admitted
    }

    /// Removes full buckets. This looks at all buckets, and each new host may cause it, so it is
    /// done at most once in [`ADDRESSES_SWEPT_EVERY`].
    fn sweep(&mut self, now: Time) {
        if self.swept.is_some_and(|swept| now.since(swept) < ADDRESSES_SWEPT_EVERY) {
            return;
        }
        self.swept = Some(now);
        self.buckets.retain(|_, bucket| {
            bucket.refill(now);
            bucket.left < ADDRESS_HANDSHAKES_BURST
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admitted(admission: &mut Admission, from: &str, count: u64, now: Time) -> u64 {
        (0..count).filter(|_| admission.admit(from.parse().unwrap(), now)).count() as u64
    }

    #[test]
    fn an_address_has_a_burst_and_a_rate_and_others_are_not_concerned() {
        let mut admission = Admission::default();
        let burst = ADDRESS_HANDSHAKES_BURST;
        assert_eq!(admitted(&mut admission, "192.0.2.1", 2 * burst, Time::ZERO), burst);
        assert_eq!(admitted(&mut admission, "192.0.2.2", 1, Time::ZERO), 1);
        let later = Time::ZERO + Duration::from_secs(2);
        assert_eq!(admitted(&mut admission, "192.0.2.1", 2 * burst, later), 2 * ADDRESS_HANDSHAKES_PER_SECOND);
        let much_later = later + Duration::from_secs(3600);
        assert_eq!(admitted(&mut admission, "192.0.2.1", 2 * burst, much_later), burst);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let mut admission = Admission::default();
        let burst = ADDRESS_HANDSHAKES_BURST;
        assert_eq!(admitted(&mut admission, "2001:db8::1", burst, Time::ZERO), burst);
        assert_eq!(admitted(&mut admission, "2001:db8::ffff:1", 1, Time::ZERO), 0);
        assert_eq!(admitted(&mut admission, "2001:db8:0:1::1", 1, Time::ZERO), 1);
    }

    #[test]
    fn the_number_of_buckets_is_bounded_and_full_ones_make_room() {
        let mut admission = Admission::default();
        for address in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            let from = IpAddr::from((0x0a00_0000 + address).to_be_bytes());
            assert!(admission.admit(from, Time::ZERO));
        }
        assert_eq!(admission.buckets.len(), ADDRESSES_MAX);
        assert!(admission.shared.is_some());
        let (new, later) = ("192.0.2.1".parse().unwrap(), Time::ZERO + ADDRESSES_SWEPT_EVERY);
        assert!(admission.admit(new, later));
        assert_eq!(admission.buckets.len(), 1);
    }

    #[test]
    fn hosts_that_are_new_cause_few_sweeps() {
        let mut admission = Admission::default();
        let start = Time::ZERO + Duration::from_secs(1);
        let mut host = 0x0a00_0000_u32;
        let mut admit = |admission: &mut Admission, now| {
            host += 1;
            admission.admit(IpAddr::from(host.to_be_bytes()), now)
        };
        (0..ADDRESSES_MAX).for_each(|_| assert!(admit(&mut admission, start)));
        let mut swept = Vec::new();
        for ms in 0..1000 {
            admit(&mut admission, start + Duration::from_millis(ms));
            swept.extend(admission.swept);
        }
        swept.dedup();
        let most = Duration::from_secs(1).as_millis() / ADDRESSES_SWEPT_EVERY.as_millis();
        assert!((1..=most as usize).contains(&swept.len()), "{swept:?}");
    }

    #[test]
    fn loopback_is_exempt_only_if_that_is_asked_for() {
        let most = ADDRESS_HANDSHAKES_BURST;
        let mut admission = Admission::default();
        assert_eq!(admitted(&mut admission, "127.0.0.1", 2 * most, Time::ZERO), most);
        admission.exempts_loopback = true;
        assert_eq!(admitted(&mut admission, "127.0.0.1", 2 * most, Time::ZERO), 2 * most);
        assert_eq!(admitted(&mut admission, "192.0.2.1", 2 * most, Time::ZERO), most);
    }
}
