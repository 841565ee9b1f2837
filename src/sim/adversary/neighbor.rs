//! A neighbor that lies in every kind of message of a link. It sends DONEs that claim too much or
//! come too early, and that take back the ttl cuts of others. Its HITs were not asked for, have
//! unknown ids, are too many, or are false. Its digests lack bits, its trees become complete or
//! void at any time, and its boot id changes every second. It also forwards queries with more hops
//! than are left, before the honest copy arrives, and does not pass on the answers.

use std::net::SocketAddr;
use std::time::Duration;

use super::hands::{Adversary, Hands};
use super::registered::node_id;
use crate::config::{DIGEST_LOG2_MAX, FOLD};
use crate::proto::{Entropy, Input, Output};
use crate::sim::matches::Match;
use crate::sim::random::Random;
use crate::time::Time;
use crate::wire::link::{
    self, LinkDigest, LinkDigested, LinkDone, LinkHello, LinkHit, LinkQuery, LinkRef, LinkTree, TREE_QUERY_TTL,
    TreeStep,
};
use crate::wire::{FileRecord, HostPort, LinkMessage, NodeId, QueryId, QueryKind, Root, SharePath, TreeName};

const NAME: &str = "lying_neighbor";
const SPEAK_EVERY: Duration = Duration::from_secs(1);
/// How many addresses it names for one root. They are more than a download remembers.
const FLOOD_OF_ADDRESSES: u32 = 300;

/// An honest super peer that has it as a neighbor.
#[derive(Debug)]
struct Victim {
    addr: SocketAddr,
    boot: u64,
}

/// The neighbor.
#[derive(Debug)]
pub(in crate::sim) struct Neighbor {
    node: NodeId,
    boot: u64,
    /// Whether it draws a new boot id every second.
    restless: bool,
    victims: Vec<Victim>,
    /// What honest peers have. Its false answers quote some of it.
    known: Vec<Match>,
    tree: Option<TreeName>,
    next_at: Time,
    random: Random,
}

impl Neighbor {
    /// `node` is the node id of its key, if links are sealed. In an open network it claims another
    /// one.
    pub(in crate::sim) fn new(
        node: Option<NodeId>,
        victims: &[SocketAddr],
        known: Vec<Match>,
        mut random: Random,
    ) -> Neighbor {
        let victims = victims.iter().map(|addr| Victim { addr: *addr, boot: 0 }).collect();
        let (drawn, boot, restless) = (node_id(&mut random), random.next_u64() | 1, random.chance(200));
        let node = node.unwrap_or(drawn);
        Neighbor { node, boot, restless, victims, known, tree: None, next_at: Time::ZERO, random }
    }

    fn say(&self, victim: usize, message: LinkMessage, hands: &mut Hands<'_>) {
        let Victim { addr, boot } = self.victims[victim];
        hands.act(Output::SendTo { from: None, to: addr, key: None, boot, message: Box::new(message) });
    }

    fn hello(&self, victim: usize, et: Option<u64>, hands: &mut Hands<'_>) {
        let hello = LinkHello {
            node: self.node,
            boot: self.boot,
            echo: self.victims[victim].boot,
            t: hands.now.as_micros(),
            et,
            tree: self.tree,
            whole: true,
            dg: Some(DIGEST_LOG2_MAX),
            de: et.map(|_| 7),
            fold: Some(FOLD),
        };
        self.say(victim, LinkMessage::Hello(hello), hands);
    }

    fn on_query(&mut self, victim: usize, query: &LinkQuery, hands: &mut Hands<'_>) {
        // It ignores most repetitions, so that its victims keep asking.
        if query.have.is_some() && !self.random.chance(100) {
            return;
        }
        hands.struck(NAME);
        let (id, ttl) = (query.id, query.ttl);
        let done = |hits, reached| {
            // It takes back ttl cuts of others, whose tags it does not know.
            let (uncut, uncut_tag) = (u32::from(id.0[0] % 4), u64::from(id.0[1] % 2));
            LinkMessage::Done(LinkDone { hits, reached, uncut, uncut_tag, ..LinkDone::empty(id, ttl) })
        };
        match self.random.below(7) {
            0 => self.say(victim, done(0, u32::MAX), hands),
            // HITs that it announces and never sends.
            1 => {
                let hits = 1 + u32::try_from(self.random.below(3000)).unwrap_or(0);
                self.say(victim, done(hits, 1), hands);
            }
            2 => {
                let sent = self.forge_addresses(victim, query, hands);
                self.say(victim, done(sent, 1), hands);
            }
            3 => {
                let sent = self.forge_records(victim, query, hands);
                self.say(victim, done(sent, 1), hands);
            }
            4 => self.say(victim, LinkMessage::Pending(LinkRef { id, ttl }), hands),
            5 => {
                // Its QUERY must reach another honest super peer before the honest copy does.
                let more = if ttl < TREE_QUERY_TTL { (ttl + 8).min(64) } else { ttl };
                let other = (victim + 1) % self.victims.len();
                if other != victim && query.have.is_none() {
                    self.say(other, LinkMessage::Query(LinkQuery { ttl: more, hops: 1, ..query.clone() }), hands);
                }
                self.say(victim, done(0, 1), hands);
            }
            _ => self.say(victim, done(0, 1), hands),
        }
    }

    /// One content at very many addresses of one host, on which nothing listens there.
    fn forge_addresses(&mut self, victim: usize, query: &LinkQuery, hands: &mut Hands<'_>) -> u32 {
        let root = Root::from_hex(&query.find.pattern).filter(|_| query.find.kind == QueryKind::Root);
        let sent = if root.is_some() { FLOOD_OF_ADDRESSES } else { 3 };
        let host = match self.known.first() {
            Some(known) if self.random.chance(500) => known.source.host().to_owned(),
            _ => "10.250.1.1".to_owned(),
        };
        let size = self.known.iter().find(|known| Some(known.root) == root).map_or(1, |known| known.size);
        for n in 0..sent {
            let path = SharePath::new("forged").expect("a path");
            let file = FileRecord { path, size, root: root.unwrap_or(Root([0xcd; 32])), collection: false };
            let port = 10_000 + u16::try_from(n).unwrap_or(0);
            let addr = HostPort::new(&host, port).expect("an address");
            self.say(
                victim,
                LinkMessage::Hit(LinkHit {
                    id: query.id,
                    ttl: query.ttl,
                    n,
                    file,
                    node: None,
                    addr,
                    other: None,
                    unreached: false,
                    http: false,
                    member: None,
                }),
                hands,
            );
        }
        hands.struck("false_holder");
        sent
    }

    /// Records of honest peers with another size, and HITs with numbers and ids that were not asked
    /// for.
    fn forge_records(&mut self, victim: usize, query: &LinkQuery, hands: &mut Hands<'_>) -> u32 {
        let root = Root::from_hex(&query.find.pattern);
        let fits = |known: &&Match| root.is_none_or(|root| known.root == root);
        let known: Vec<Match> = self.known.iter().filter(fits).take(5).cloned().collect();
        for (n, known) in (0..).zip(&known) {
            let Some(path) = SharePath::new(&known.path) else { continue };
            let file = FileRecord { path, size: known.size + 1, root: known.root, collection: false };
            let (id, addr) = (query.id, known.source.clone());
            let hit = |id, n| {
                LinkMessage::Hit(LinkHit {
                    id,
                    ttl: query.ttl,
                    n,
                    file: file.clone(),
                    node: None,
                    addr: addr.clone(),
                    other: None,
                    unreached: false,
                    http: false,
                    member: None,
                })
            };
            self.say(victim, hit(id, n), hands);
            self.say(victim, hit(id, u32::MAX - n), hands);
            self.say(victim, hit(QueryId([0xee; 16]), n), hands);
        }
        u32::try_from(known.len()).unwrap_or(0)
    }

    fn on_tree(&mut self, victim: usize, tree: &LinkTree, hands: &mut Hands<'_>) {
        self.tree = Some(tree.tree);
        let steps = [
            TreeStep::Mine,
            TreeStep::Wait,
            TreeStep::Other,
            TreeStep::Held,
            TreeStep::Whole,
            TreeStep::Void,
            TreeStep::Keep,
        ];
        let step = *self.random.pick(&steps);
        let n = if step == TreeStep::Mine { u32::MAX } else { 0 };
        self.say(victim, LinkMessage::Tree(LinkTree { tree: tree.tree, step, n }), hands);
    }

    fn speak(&mut self, hands: &mut Hands<'_>) {
        if self.restless {
            self.boot = self.random.next_u64() | 1;
        }
        for victim in 0..self.victims.len() {
            self.hello(victim, None, hands);
            let id = QueryId([u8::try_from(self.random.below(256)).unwrap_or(0); 16]);
            match self.random.below(6) {
                0 => {
                    let done = LinkDone { hits: 9, reached: u32::MAX, more: true, uncut: 9, ..LinkDone::empty(id, 3) };
                    self.say(victim, LinkMessage::Done(done), hands);
                }
                1 => self.say(victim, LinkMessage::Cancel(LinkRef { id, ttl: 3 }), hands),
                2 => {
                    let epoch = 7 + self.random.below(2);
                    let (size, links) = (Some(10), Some(0));
                    let (bits, keys) = (Vec::new(), Vec::new());
                    let digest = LinkDigest { epoch, step: 1, size, links, at: 0, bits, keys, ok: true };
                    self.say(victim, LinkMessage::Digest(digest), hands);
                }
                3 => {
                    let epoch = self.random.next_u64();
                    self.say(victim, LinkMessage::Digested(LinkDigested { epoch, step: u64::MAX }), hands);
                }
                4 => {
                    if let Some(tree) = self.tree {
                        let step = if self.random.chance(500) { TreeStep::Void } else { TreeStep::Whole };
                        self.say(victim, LinkMessage::Tree(LinkTree { tree, step, n: 0 }), hands);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Adversary for Neighbor {
    fn on_input(&mut self, input: Input<'_>, hands: &mut Hands<'_>) {
        let Input::Datagram { from, bytes, .. } = input else { return };
        let Some(victim) = self.victims.iter().position(|victim| victim.addr == from) else { return };
        let Ok((_, messages)) = link::decode(bytes) else { return };
        for message in messages {
            match message {
                LinkMessage::Hello(hello) => {
                    self.victims[victim].boot = hello.boot;
                    if hello.et.is_none() {
                        self.hello(victim, Some(hello.t), hands);
                    }
                }
                LinkMessage::Query(query) => self.on_query(victim, &query, hands),
                LinkMessage::Tree(tree) => self.on_tree(victim, &tree, hands),
                LinkMessage::Digest(digest) => {
                    let LinkDigest { epoch, step, .. } = digest;
                    self.say(victim, LinkMessage::Digested(LinkDigested { epoch, step }), hands);
                }
                LinkMessage::Hit(_)
                | LinkMessage::Done(_)
                | LinkMessage::Pending(_)
                | LinkMessage::Cancel(_)
                | LinkMessage::Digested(_)
                | LinkMessage::Unknown(_) => {}
            }
        }
    }

    fn on_time(&mut self, hands: &mut Hands<'_>) {
        if hands.now >= self.next_at {
            self.next_at = hands.now + SPEAK_EVERY;
            self.speak(hands);
        }
    }

    fn wake_at(&self) -> Option<Time> {
        Some(self.next_at)
    }
}
