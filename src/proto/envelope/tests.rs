//! Handshakes and sealed datagrams between two nodes: which are accepted, and which are dropped
//! without an answer.

use std::time::Duration;

use super::window::Window;
use super::*;
use crate::config::{
    DATAGRAM_BYTES_MAX, HANDSHAKES_STRANGE_PER_SECOND, LINK_KEYS_MAX, LINK_REKEY_AFTER, LINK_REKEY_DATAGRAMS,
    LINK_REPLAY_WINDOW, LINK_UNHEARD_MAX,
};
use crate::sim::Random;
use crate::trust::SecretKey;
use crate::wire::envelope::{BODY_BYTES_MAX, INITIATION_BYTES, OPEN_BYTES, RESPONSE_BYTES};

const SECOND: Duration = Duration::from_secs(1);

fn secret(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 4777))
}

/// A packed datagram with this body.
fn packed(body: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; OPEN_BYTES];
    datagram.extend_from_slice(body);
    datagram
}

/// A node, and what it has taken.
struct Peer {
    n: u8,
    at: SocketAddr,
    counter: u64,
    envelopes: Envelopes,
    bodies: Vec<Vec<u8>>,
    from: Vec<SocketAddr>,
    notices: Vec<Unanswered>,
    seen: BTreeMap<PublicKey, u64>,
}

impl Peer {
    fn new(n: u8, neighbors: &[u8]) -> Peer {
        let none = Envelopes::open();
        let mut peer = Peer {
            n,
            at: addr(n),
            counter: 1,
            envelopes: none,
            bodies: Vec::new(),
            from: Vec::new(),
            notices: Vec::new(),
            seen: BTreeMap::new(),
        };
        peer.start(neighbors);
        peer
    }

    /// Starts the next run of the node.
    fn start(&mut self, neighbors: &[u8]) {
        self.counter += 1 << 20;
        let neighbors = neighbors.iter().map(|n| key(*n)).collect();
        let seal = Seal { secret: secret(self.n), neighbors, counter: self.counter, seen: self.seen.clone() };
        self.envelopes = Envelopes::sealed(seal, Box::new(Random::new(self.counter ^ u64::from(self.n))));
    }

    fn say(&mut self, now: Time, to: &Peer, body: &[u8]) {
        self.envelopes.send(now, (None, to.at), Some(key(to.n)), packed(body));
    }

    fn hear(&mut self, now: Time, from: SocketAddr, bytes: &[u8]) -> bool {
        let taken = self.envelopes.handle_datagram(now, from, None, bytes);
        if let Some(taken) = taken {
            let bytes = self.envelopes.opened(taken.opened.expect("it was sealed"));
            self.bodies.push(bytes[OPEN_BYTES..].to_vec());
            self.from.push(taken.from);
        }
        while let Some(notice) = self.envelopes.poll_notice() {
            self.notices.push(notice.why);
        }
        if let Some(risen) = self.envelopes.take_risen() {
            self.seen = risen;
        }
        self.envelopes.check_invariants();
        taken.is_some()
    }

    /// The datagrams that it sends.
    fn sends(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.envelopes.poll_transmit()).map(|transmit| transmit.bytes).collect()
    }

    fn dropped(&self, why: Dropped) -> u64 {
        self.envelopes.counters().dropped(why)
    }
}

/// Delivers everything that the two nodes send, until both are silent.
fn pass(now: Time, a: &mut Peer, b: &mut Peer) {
    loop {
        let (from_a, from_b) = (a.sends(), b.sends());
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        for bytes in from_a {
            b.hear(now, a.at, &bytes);
        }
        for bytes in from_b {
            a.hear(now, b.at, &bytes);
        }
    }
}

/// Two neighbors with keys, and the time.
fn pair() -> (Time, Peer, Peer) {
    let (mut a, mut b, now) = (Peer::new(1, &[2]), Peer::new(2, &[1]), Time::from_micros(1_000_000));
    a.say(now, &b, b"hello");
    pass(now, &mut a, &mut b);
    assert_eq!(b.bodies, [b"hello"]);
    b.bodies.clear();
    (now, a, b)
}

/// Each node sends a datagram, and the other one receives it.
#[track_caller]
fn assert_linked(now: Time, a: &mut Peer, b: &mut Peer) {
    for (one, other) in [(true, b"from a"), (false, b"from b")] {
        let (from, to) = if one { (&mut *a, &mut *b) } else { (&mut *b, &mut *a) };
        to.bodies.clear();
        from.say(now, to, other);
        pass(now, from, to);
        assert!(to.bodies.contains(&other.to_vec()), "{:?}", to.bodies);
    }
}

#[test]
fn one_exchange_makes_keys_and_what_waited_arrives() {
    let (now, mut a, mut b) = pair();
    assert_eq!((a.envelopes.counters().begun, b.envelopes.counters().answered), (1, 1));
    let longest = [7; BODY_BYTES_MAX];
    a.say(now, &b, &longest);
    let sent = a.sends();
    assert_eq!((sent.len(), sent[0].len()), (1, DATAGRAM_BYTES_MAX));
    assert!(b.hear(now, a.at, &sent[0]) && b.bodies == [longest.to_vec()]);
    assert_linked(now, &mut a, &mut b);
}

#[test]
fn the_side_that_answered_waits_until_its_keys_are_used() {
    let (mut a, mut b, now) = (Peer::new(1, &[2]), Peer::new(2, &[1]), Time::from_micros(1));
    a.say(now, &b, b"1");
    let initiation = a.sends().remove(0);
    b.hear(now, a.at, &initiation);
    assert_eq!(b.sends().iter().map(Vec::len).collect::<Vec<_>>(), [RESPONSE_BYTES]);
    b.say(now, &a, b"2");
    let own = b.sends();
    assert_eq!(own.iter().map(Vec::len).collect::<Vec<_>>(), [INITIATION_BYTES], "nothing is sealed yet");
}

#[test]
fn both_may_begin_at_once() {
    let (mut a, mut b, now) = (Peer::new(1, &[2]), Peer::new(2, &[1]), Time::from_micros(1));
    a.say(now, &b, b"1");
    b.say(now, &a, b"2");
    pass(now, &mut a, &mut b);
    assert_eq!((&a.bodies[..], &b.bodies[..]), (&[b"2".to_vec()][..], &[b"1".to_vec()][..]));
    for n in 0..10 {
        assert_linked(now + SECOND * n, &mut a, &mut b);
    }
}

#[test]
fn every_message_of_a_handshake_may_be_lost() {
    // The first n datagrams are lost.
    for lost in 0..12 {
        let (mut a, mut b) = (Peer::new(1, &[2]), Peer::new(2, &[1]));
        let mut left = lost;
        let mut now = Time::from_micros(1);
        for _ in 0..20 {
            now = now + SECOND;
            a.say(now, &b, b"a");
            b.say(now, &a, b"b");
            loop {
                let (from_a, from_b) = (a.sends(), b.sends());
                if from_a.is_empty() && from_b.is_empty() {
                    break;
                }
                for (bytes, to_b) in
                    from_a.iter().map(|bytes| (bytes, true)).chain(from_b.iter().map(|bytes| (bytes, false)))
                {
                    if left > 0 {
                        left -= 1;
                    } else if to_b {
                        b.hear(now, addr(1), bytes);
                    } else {
                        a.hear(now, addr(2), bytes);
                    }
                }
            }
        }
        assert_linked(now, &mut a, &mut b);
    }
}

#[test]
fn either_side_may_restart() {
    for restarts_a in [true, false] {
        for first_speaks in [true, false] {
            let (mut now, mut a, mut b) = pair();
            if restarts_a {
                a.start(&[2])
            } else {
                b.start(&[1])
            }
            for _ in 0..6 {
                now = now + SECOND;
                // Both nodes send a greeting every second, as the machine does. One of them begins.
                let (one, other) = if first_speaks { (&mut a, &mut b) } else { (&mut b, &mut a) };
                one.say(now, other, b"1");
                other.say(now, one, b"2");
                pass(now, one, other);
            }
            assert_linked(now, &mut a, &mut b);
        }
    }
}

#[test]
fn a_restart_is_overcome_even_if_only_the_other_side_speaks() {
    let (now, mut a, mut b) = pair();
    b.start(&[1]);
    let mut late = now;
    while late < now + LINK_UNHEARD_MAX + SECOND {
        late = late + SECOND;
        a.say(late, &b, b"are you there");
        pass(late, &mut a, &mut b);
    }
    assert_linked(late, &mut a, &mut b);
}

#[test]
fn a_datagram_is_taken_once_and_in_any_order_within_the_window() {
    let (now, mut a, mut b) = pair();
    let mut sent = Vec::new();
    for n in 0..u32::try_from(LINK_REPLAY_WINDOW).unwrap() + 10 {
        a.say(now, &b, &n.to_be_bytes());
        sent.extend(a.sends());
    }
    let last = sent.pop().unwrap();
    assert!(b.hear(now, a.at, &last) && !b.hear(now, a.at, &last));
    let taken = sent.iter().rev().filter(|bytes| b.hear(now, a.at, bytes)).count();
    assert_eq!(taken as u64, LINK_REPLAY_WINDOW - 1);
    assert!(!sent.iter().any(|bytes| b.hear(now, a.at, bytes)), "each is a replay");
    assert_eq!(b.dropped(Dropped::Replayed), 2 * sent.len() as u64 - LINK_REPLAY_WINDOW + 2);
    assert!(b.sends().is_empty());
}

/// Flips every bit of the datagram, and cuts it at every length. Nothing may be accepted or sent.
fn flip_all(now: Time, from: SocketAddr, to: &mut Peer, bytes: &[u8]) {
    let (bodies, notices) = (to.bodies.len(), to.envelopes.counters().keys);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        to.hear(now, from, &flipped);
    }
    for length in 0..bytes.len() {
        to.hear(now, from, &bytes[..length]);
    }
    assert_eq!((to.bodies.len(), to.envelopes.counters().keys), (bodies, notices));
    assert_eq!(to.sends(), Vec::<Vec<u8>>::new(), "no byte back");
}

#[test]
fn no_datagram_with_a_flipped_bit_is_taken_or_answered() {
    let (mut a, mut b, now) = (Peer::new(1, &[2]), Peer::new(2, &[1]), Time::from_micros(1));
    a.say(now, &b, b"body");
    let initiation = a.sends().remove(0);
    flip_all(now, a.at, &mut b, &initiation);
    b.hear(now, a.at, &initiation);
    let response = b.sends().remove(0);
    flip_all(now, b.at, &mut a, &response);
    a.hear(now, b.at, &response);
    let sealed = a.sends().remove(0);
    flip_all(now, a.at, &mut b, &sealed);
    // The datagrams are still valid.
    assert!(b.hear(now, a.at, &sealed) && b.bodies == [b"body"]);
    assert_linked(now, &mut a, &mut b);
}

#[test]
fn a_forged_check_does_not_help_what_is_after_it() {
    let (mut a, mut b, now) = (Peer::new(1, &[2]), Peer::new(2, &[1]), Time::from_micros(1));
    a.say(now, &b, b"body");
    let initiation = a.sends().remove(0);
    // A forger who knows the public key can make a correct check. So everything else is verified
    // too.
    for at in 2..INITIATION_BYTES - 16 {
        let mut forged = initiation[..INITIATION_BYTES - 16].to_vec();
        forged[at] ^= 1;
        let forged = with_check(forged, key(2));
        let mut now = now;
        now = now + SECOND * u32::try_from(at).unwrap();
        b.hear(now, addr(9), &forged);
        // The sender may choose any index for itself.
        let answered = b.sends().len();
        assert_eq!(answered, usize::from((2..6).contains(&at)), "byte {at}");
        if answered == 1 {
            b = Peer::new(2, &[1]);
        }
    }
}

#[test]
fn a_stranger_with_a_well_formed_greeting_gets_no_byte() {
    let (now, mut b) = (Time::from_micros(1), Peer::new(2, &[1]));
    let mut stranger = Peer::new(3, &[2]);
    stranger.say(now, &b, b"let me in");
    let greeting = stranger.sends().remove(0);
    b.hear(now, stranger.at, &greeting);
    assert!(b.sends().is_empty());
    assert_eq!((b.dropped(Dropped::Stranger), &b.notices[..]), (1, &[Unanswered::Stranger(key(3))][..]));
}

#[test]
fn who_greets_another_key_or_in_open_mode_gets_no_byte() {
    let (now, mut b) = (Time::from_micros(1), Peer::new(2, &[1]));
    let mut a = Peer::new(1, &[4]);
    a.envelopes.send(now, (None, b.at), Some(key(4)), packed(b"hello"));
    let greeting = a.sends().remove(0);
    b.hear(now, a.at, &greeting);
    let mut open = packed(&[0; 8]);
    open.extend_from_slice(b"\x81\xa5HELLO");
    open[0] = crate::wire::envelope::OPEN;
    b.hear(now, a.at, &open);
    assert_eq!(b.notices, [Unanswered::OtherKey, Unanswered::Open]);
    assert!(b.sends().is_empty());
    let mut other = Envelopes::open();
    assert_eq!(other.handle_datagram(now, a.at, None, &greeting), None);
    assert_eq!(other.poll_notice(), Some(Notice { from: a.at, why: Unanswered::Login }));
    assert_eq!(other.poll_transmit(), None);
}

#[test]
fn an_initiation_counts_once_even_after_a_restart() {
    let (mut a, mut b, now) = (Peer::new(1, &[2]), Peer::new(2, &[1]), Time::from_micros(1));
    a.say(now, &b, b"1");
    let initiation = a.sends().remove(0);
    b.hear(now, a.at, &initiation);
    assert_eq!(b.sends().len(), 1);
    for restarts in [false, true] {
        if restarts {
            b.start(&[1]);
        }
        b.hear(now, addr(9), &initiation);
        assert!(b.sends().is_empty());
        assert_eq!(b.notices.pop(), Some(Unanswered::Counter(key(1))));
    }
}

#[test]
fn new_keys_are_made_by_time_and_by_count() {
    let (mut now, mut a, mut b) = pair();
    let begun = now;
    while now < begun + LINK_KEYS_MAX * 4 {
        now = now + SECOND * 2;
        assert_linked(now, &mut a, &mut b);
    }
    let handshakes = a.envelopes.counters().begun + b.envelopes.counters().begun;
    let wanted = LINK_KEYS_MAX.as_secs() * 4 / LINK_REKEY_AFTER.as_secs();
    assert!((wanted..=wanted + 2).contains(&handshakes), "{handshakes}");
    let Mode::Sealed(sealed) = &mut a.envelopes.mode else { unreachable!() };
    sealed.neighbors[0].current.as_mut().unwrap().set_next(LINK_REKEY_DATAGRAMS);
    assert_linked(now, &mut a, &mut b);
    assert_eq!(a.envelopes.counters().begun + b.envelopes.counters().begun, handshakes + 1);
}

#[test]
fn old_keys_are_forgotten_and_what_they_sealed_with_them() {
    let (now, mut a, mut b) = pair();
    a.say(now, &b, b"old");
    let old = a.sends().remove(0);
    let late = now + LINK_KEYS_MAX;
    assert!(!b.hear(late, a.at, &old) && b.dropped(Dropped::Keys) == 1);
    assert_linked(late, &mut a, &mut b);
}

#[test]
fn a_neighbor_is_where_its_newest_datagram_came_from() {
    let (now, mut a, mut b) = pair();
    let (before, moved) = (a.at, addr(77));
    a.say(now, &b, b"1");
    let late = a.sends().remove(0);
    a.say(now, &b, b"2");
    let newest = a.sends().remove(0);
    b.from.clear();
    b.hear(now, moved, &newest);
    b.hear(now, before, &late);
    assert_eq!(b.from, [moved, moved], "an older datagram moves nobody");
}

#[test]
fn initiations_of_strangers_are_bounded_and_neighbors_come_through() {
    let (now, mut b) = (Time::from_micros(1), Peer::new(2, &[1]));
    let mut a = Peer::new(1, &[2]);
    b.say(now, &a, b"known");
    b.sends();
    let mut stranger = Peer::new(3, &[2]);
    for n in 0..1000 {
        stranger.say(now + SECOND * n, &b, b"x");
        let greeting = stranger.sends().remove(0);
        b.hear(now, stranger.at, &greeting);
    }
    assert_eq!(b.dropped(Dropped::Stranger), HANDSHAKES_STRANGE_PER_SECOND);
    assert_eq!(b.dropped(Dropped::Shed), 1000 - HANDSHAKES_STRANGE_PER_SECOND);
    a.say(now, &b, b"1");
    pass(now, &mut a, &mut b);
    assert_eq!(b.bodies, [b"1"]);
}

#[test]
fn a_name_with_two_addresses_gets_one_handshake() {
    let (mut a, mut b, now) = (Peer::new(1, &[2]), Peer::new(2, &[1]), Time::from_micros(1));
    for to in [addr(2), addr(22)] {
        a.envelopes.send(now, (None, to), Some(key(2)), packed(b"hello"));
    }
    let sent: Vec<Transmit> = std::iter::from_fn(|| a.envelopes.poll_transmit()).collect();
    assert_eq!(sent.iter().map(|one| one.to).collect::<Vec<_>>(), [addr(2), addr(22)]);
    assert_eq!(sent[0].bytes, sent[1].bytes);
    for one in &sent {
        b.hear(now, a.at, &one.bytes);
    }
    pass(now, &mut a, &mut b);
    assert_linked(now, &mut a, &mut b);
}

#[test]
fn numbers_rise_in_open_mode() {
    let mut envelopes = Envelopes::open();
    let mut numbers = Vec::new();
    for n in 0..3 {
        for to in [addr(1), addr(2)] {
            envelopes.send(Time::ZERO, (None, to), None, packed(&[n]));
            let sent = envelopes.poll_transmit().unwrap();
            let read = crate::wire::envelope::Envelope::parse(&sent.bytes);
            let Some(crate::wire::envelope::Envelope::Open { number, body }) = read else { panic!("{read:?}") };
            assert_eq!(body, [n]);
            numbers.push(number);
        }
    }
    assert_eq!(numbers, [0, 0, 1, 1, 2, 2]);
}

#[test]
fn the_window_agrees_with_a_set() {
    let mut random = Random::new(5);
    let (mut window, mut set, mut greatest) = (Window::default(), std::collections::BTreeSet::new(), 0_u64);
    for _ in 0..20_000 {
        let jump = [2, 70, 3000, 1 << 20][random.index(4)];
        let number = (greatest + jump / 4).saturating_sub(random.next_u64() % jump);
        let wanted = !set.contains(&number) && number + LINK_REPLAY_WINDOW > greatest;
        assert_eq!(window.takes(number), wanted, "{number} after {greatest}");
        if wanted {
            assert_eq!(window.take(number), number > greatest || set.is_empty());
            set.insert(number);
            greatest = greatest.max(number);
        }
    }
    assert!(set.len() > 5000);
}

#[test]
fn a_neighbor_that_is_removed_is_not_opened_and_comes_back_with_another_handshake() {
    let (mut a, mut b) = (Peer::new(1, &[2]), Peer::new(2, &[1]));
    a.say(Time::ZERO, &b, b"one");
    pass(Time::ZERO, &mut a, &mut b);
    assert_eq!(b.bodies, [b"one".to_vec()]);
    b.envelopes.set_neighbors(&[key(3)]);
    a.say(Time::ZERO, &b, b"two");
    pass(Time::ZERO, &mut a, &mut b);
    assert_eq!((b.bodies.len(), b.dropped(Dropped::Keys)), (1, 1));
    b.envelopes.set_neighbors(&[key(3), key(1)]);
    // If a node was not heard for a while, the next datagram to it begins another handshake.
    let later = Time::ZERO + LINK_UNHEARD_MAX;
    for body in [b"three", b"later"] {
        a.say(later, &b, body);
        pass(later, &mut a, &mut b);
    }
    assert_eq!(b.bodies.last(), Some(&b"later".to_vec()));
}
