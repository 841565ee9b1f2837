//! The vector of a handshake: the datagrams that the program makes of fixed keys.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::Value;
use sprat::proto::Entropy;
use sprat::proto::envelope::{Envelopes, Seal};
use sprat::time::Time;
use sprat::trust::{PublicKey, SecretKey};
use sprat::wire::envelope::open_head;

use crate::unhex;

/// One of the two super peers.
#[derive(Deserialize)]
struct Side {
    seed: String,
    key: String,
    index: u32,
    ephemeral: String,
}

#[derive(Deserialize)]
struct Handshake {
    initiator: Side,
    responder: Side,
    counter: u64,
    /// What each side sends under the new keys.
    bodies: [String; 2],
}

/// The random numbers that are drawn, in their order.
struct Drawn(VecDeque<u64>);

impl Entropy for Drawn {
    fn next_u64(&mut self) -> u64 {
        self.0.pop_front().expect("a handshake draws an index and an ephemeral key")
    }
}

impl Side {
    fn secret(&self) -> SecretKey {
        let secret = SecretKey::from_seed(unhex(&self.seed).expect("hex").try_into().expect("32 bytes"));
        assert_eq!(secret.public().as_bytes().as_slice(), unhex(&self.key).expect("hex"), "the key of the seed");
        secret
    }

    fn envelopes(&self, neighbor: PublicKey, counter: u64, index_first: bool) -> Envelopes {
        let ephemeral = unhex(&self.ephemeral).expect("hex");
        let words = ephemeral.chunks_exact(8).map(|word| u64::from_be_bytes(word.try_into().expect("8 bytes")));
        let mut drawn: VecDeque<u64> = words.collect();
        if index_first {
            drawn.push_front(self.index.into());
        } else {
            drawn.push_back(self.index.into());
        }
        let seal = Seal { secret: self.secret(), neighbors: vec![neighbor], counter, seen: BTreeMap::new() };
        Envelopes::sealed(seal, Box::new(Drawn(drawn)))
    }
}

/// The initiation, the response, and a sealed datagram of each side, one after the other.
pub(crate) fn datagrams(value: Value) -> Vec<u8> {
    let Handshake { initiator, responder, counter, bodies } = serde_json::from_value(value).expect("a handshake");
    let keys = [&initiator, &responder].map(|side| side.secret().public());
    let mut sides = [initiator.envelopes(keys[1], counter, true), responder.envelopes(keys[0], 1, false)];
    let addr = |n: usize| SocketAddr::from(([192, 0, 2, u8::try_from(n + 1).expect("0 or 1")], 4777));
    let now = Time::from_micros(1_000_000);
    let mut all = Vec::new();
    let mut pass = |sides: &mut [Envelopes; 2], from: usize| {
        let sent = sides[from].poll_transmit().expect("a datagram").bytes;
        let taken = sides[1 - from].handle_datagram(now, addr(from), None, &sent).is_some();
        all.extend(sent);
        taken
    };
    let say = |sides: &mut [Envelopes; 2], from: usize| {
        let packed = [&open_head(0)[..], &unhex(&bodies[from]).expect("hex")].concat();
        sides[from].send(now, (None, addr(1 - from)), Some(keys[1 - from]), packed);
    };
    say(&mut sides, 0);
    assert!(!pass(&mut sides, 0) && !pass(&mut sides, 1));
    assert!(pass(&mut sides, 0), "what waited is sealed");
    say(&mut sides, 1);
    assert!(pass(&mut sides, 1));
    all
}
