//! The adversaries of a seed: their kinds, their number, and what each of them pretends. They are
//! nodes after all honest nodes. So no fault of the plan strikes them, and no other random number
//! depends on them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use super::plan::{self, Plan, library};
use crate::config::{CHUNK_PORT, SUPER_PORT};
use crate::proto::Command;
use crate::proto::command::UserCommand;
use crate::sim::adversary::{
    Boasting, Client, Dripping, Equivocating, Forging, Goods, Holder, Idler, Intruder, KINDS, Loot, Lying, Neighbor,
    Registered, Serving, Session, Source, Spoofer, Stalling, Truncating, Way, false_size, poisoned_path,
};
use crate::sim::content::ContentId;
use crate::sim::matches::Match;
use crate::sim::node::Machine;
use crate::sim::random::Random;
use crate::sim::world::World;
use crate::trust::credential::Terms;
use crate::trust::{Credential, Pin};
use crate::wire::swarm::Join;
use crate::wire::{FileRecord, HostPort, Root, SharePath};

/// The hosts of this network do not exist.
const DEAD_HOST: &str = "10.250.0.";

/// The adversaries of a seed.
#[derive(Debug)]
pub(super) struct Foes {
    /// The numbers of all adversaries. The lying neighbors come first.
    pub(super) nodes: Range<usize>,
    /// Adversaries that leave when the faults end. Under their load, a super peer could not recover
    /// within a stated time.
    pub(super) clients: Vec<usize>,
    /// JOINs of adversaries that stay in the swarm of a crowd.
    pub(super) joins: u64,
}

/// A lying neighbor, before its world exists.
#[derive(Debug)]
pub(super) struct Liar {
    victims: Vec<usize>,
    random: Random,
}

/// The probability of each kind, of a thousand: zero, or one sixth.
fn each(root: &Random) -> u32 {
    if root.child("adversary", 0).chance(500) { 0 } else { 170 }
}

/// Draws the lying neighbors.
pub(super) fn liars(plan: &Plan, root: &Random) -> Vec<Liar> {
    let mut random = root.child("lying_neighbor", 0);
    if !random.chance(each(root)) {
        return Vec::new();
    }
    let mut victims = vec![random.index(plan.supers), random.index(plan.supers)];
    victims.dedup();
    vec![Liar { victims, random: random.child("life", 0) }]
}

/// The links of these neighbors: the super peer, and the address that the neighbor will have.
pub(super) fn links(plan: &Plan, liars: &[Liar]) -> Vec<(usize, SocketAddr)> {
    let first = plan.supers + plan.peers.len();
    let addr = |n| World::addr_of(first + n, SUPER_PORT);
    liars.iter().enumerate().flat_map(|(n, liar)| liar.victims.iter().map(move |victim| (*victim, addr(n)))).collect()
}

/// Draws all other adversaries of a seed, and adds all adversaries to its world. They are not
/// started.
pub(super) fn add(world: &mut World, plan: &Plan, weak: &Range<usize>, liars: Vec<Liar>, root: &Random) -> Foes {
    let (first, mut clients) = (world.nodes(), Vec::new());
    let (mut intruders, mut joins) = (Vec::new(), 0);
    add_liars(world, plan, weak, liars);
    for kind in KINDS {
        // Each kind has a stream of its own, so that a new kind does not change the others.
        let mut random = root.child(kind, 0);
        // Half of the networks with a login have an intruder, and half of the crowds have a lying
        // member.
        let probability = match *kind {
            "intruder" => 500,
            "lying_member" if plan.crowds.is_empty() => 0,
            "lying_member" => 500,
            _ => each(root),
        };
        if !random.chance(probability) {
            continue;
        }
        match *kind {
            "lying_neighbor" => {}
            "spoofer" => add_spoofer(world, plan, &mut random),
            "lying_member" => {
                add_member(world, plan, &mut random);
                joins += plan.crowds.len() as u64;
            }
            // An open network has no login that an intruder could try to avoid.
            "intruder" if world.uses_login() => {
                intruders.push(add_intruder(world, plan, weak, &mut random));
                clients.extend(intruders.last());
            }
            "intruder" => {}
            "slow_reader" | "flooder" | "idler" | "churner" | "garbler" => {
                clients.push(add_client(world, plan, weak, kind, &mut random));
            }
            _ => {
                for _ in 0..=random.index(2) {
                    add_source(world, plan, weak, kind, &mut random);
                }
            }
        }
    }
    // All others have an account, because members of a network may do harm too.
    let all = first..world.nodes();
    all.clone().filter(|node| !intruders.contains(node)).for_each(|node| world.admit(node));
    Foes { nodes: all, clients, joins }
}

fn add_liars(world: &mut World, plan: &Plan, weak: &Range<usize>, liars: Vec<Liar>) {
    let first = world.nodes();
    let mut known = Vec::new();
    for (peer, node) in plan.peers.iter().zip(weak.clone()) {
        known.extend(peer.files.iter().map(|(path, content)| Match {
            path: path.clone(),
            size: world.contents().size(*content),
            root: world.contents().root(*content),
            source: HostPort::from(world.addr(node)),
        }));
    }
    for Liar { victims, random } in liars {
        let victims: Vec<SocketAddr> = victims.iter().map(|victim| world.addr(*victim)).collect();
        let known = known.clone();
        // With sealed links, a node can only use the name of its own key.
        let node = world.pin(World::addr_of(world.nodes(), SUPER_PORT)).key.map(|key| key.node());
        world.add(SUPER_PORT, move |life| {
            Machine::adversary(Box::new(Neighbor::new(node, &victims, known.clone(), random.child("life", life))))
        });
    }
    world.set_liars(&(first..world.nodes()).collect::<Vec<usize>>());
}

fn add_spoofer(world: &mut World, plan: &Plan, random: &mut Random) {
    let both = plan.edges.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
    let pair = |(a, b)| (world.pin(world.addr(a)), world.addr(b));
    let pairs: Vec<(Pin, SocketAddr)> = both.map(pair).collect();
    let dice = random.child("life", 0);
    world.add(SUPER_PORT, move |life| {
        Machine::adversary(Box::new(Spoofer::new(pairs.clone(), dice.child("life", life))))
    });
}

fn add_client(world: &mut World, plan: &Plan, weak: &Range<usize>, kind: &'static str, random: &mut Random) -> usize {
    let one = HostPort::from(world.addr(random.index(plan.supers)));
    let all: Vec<HostPort> =
        (0..plan.supers).chain(weak.clone()).map(|node| HostPort::from(world.addr(node))).collect();
    let dice = random.child("life", 0);
    world.add(CHUNK_PORT, move |life| {
        let mut dice = dice.child("life", life);
        let session = |kind, targets: &[HostPort], dice| Box::new(Session::new(kind, targets.to_vec(), dice));
        let one = std::slice::from_ref(&one);
        Machine::adversary(match kind {
            "slow_reader" => session(Client::SlowReader, one, dice),
            "flooder" => session(Client::Flooder, one, dice),
            "churner" => session(Client::Churner, one, dice),
            "idler" => Box::new(Idler::new(&all, &mut dice)),
            _ => session(Client::Garbler, &all, dice),
        })
    })
}

/// It knows the credential of a peer. It also has a credential of its own, which it never shows
/// with its own node id, and an older one that all super peers deny.
fn add_intruder(world: &mut World, plan: &Plan, weak: &Range<usize>, random: &mut Random) -> usize {
    let all: Vec<HostPort> =
        (0..plan.supers).chain(weak.clone()).map(|node| HostPort::from(world.addr(node))).collect();
    let (number, victim) = (world.nodes(), weak.start + random.index(weak.len()));
    let stolen = world.credential(victim, None);
    let (own, own_key) = (world.credential(number, None), World::key_of(number));
    let mut altered = stolen.encode();
    // The key is behind the version and the operator.
    altered[33..65].copy_from_slice(own_key.public().as_bytes());
    let (name, class) = (own.name.clone(), own.class.clone());
    let terms = Terms { name, class, key: own.key, issued: own.issued, not_before: None, not_after: None };
    let revoked = world.old_credential(number);
    for node in 0..plan.supers {
        let deny = UserCommand::Deny { key: revoked.key, until: revoked.issued };
        world.ask(node, Command::User(deny));
    }
    let loot = Loot {
        own: own.key.node(),
        good: own.encode(),
        expired: world.credential(number, Some(own.issued)).encode(),
        revoked: revoked.encode(),
        forged: Credential::sign(terms, &own_key).encode(),
        other: stolen.key.node(),
        stolen: stolen.encode(),
        altered,
        root: world.contents().root(plan::content(random)),
    };
    let supers = plan.supers;
    world.add(CHUNK_PORT, move |_| Machine::adversary(Box::new(Intruder::new(all.clone(), supers, loot.clone()))))
}

fn add_source(world: &mut World, plan: &Plan, weak: &Range<usize>, kind: &'static str, random: &mut Random) {
    let supers: Vec<HostPort> = (0..plan.supers).map(|node| HostPort::from(world.addr(node))).collect();
    let supers = vec![random.pick(&supers).clone(), random.pick(&supers).clone()];
    let honest = weak.start + random.index(weak.len());
    let holder = match kind {
        "false_size" | "false_holder" => Holder::draw(honest, random),
        _ => Holder::Own,
    };
    let host = match &holder {
        Holder::Own | Holder::Silent => None,
        Holder::Dead => Some(format!("{DEAD_HOST}{}", 1 + random.below(200))),
        Holder::Honest(node) => Some(world.addr(*node).ip().to_string()),
    };
    let (mut goods, mut records) = (BTreeMap::new(), Vec::new());
    for n in 0..4 + random.index(10) {
        let (record, root, what) = record(world, kind, n, random);
        goods.extend(what.map(|what| (root, what)));
        records.push(record);
    }
    let silent = holder == Holder::Silent;
    // True records of its own at its own address do no harm.
    let strikes = match kind {
        "false_size" | "poisoned_name" => Some(kind),
        "false_holder" => silent.then_some(kind),
        _ => None,
    };
    let dice = random.child(kind, world.nodes() as u64);
    world.add(CHUNK_PORT, move |life| {
        let mut dice = dice.child("life", life);
        let session = Registered::new(supers.clone(), (host.clone(), CHUNK_PORT), records.clone(), &mut dice);
        Machine::adversary(Box::new(Source::new(session, goods.clone(), strikes, way(kind, silent, &mut dice))))
    });
}

/// It is a member of the swarm of each crowd, from the beginning.
fn add_member(world: &mut World, plan: &Plan, random: &mut Random) {
    let supers: Vec<HostPort> = (0..plan.supers).map(|node| HostPort::from(world.addr(node))).collect();
    let supers = vec![random.pick(&supers).clone(), random.pick(&supers).clone()];
    let (mut goods, mut joins) = (BTreeMap::new(), Vec::new());
    for (req, crowd) in (1..).zip(&plan.crowds) {
        let wrong = twin_of(crowd.content);
        let (root, size) = (world.contents().root(crowd.content), world.contents().size(crowd.content));
        goods.insert(root, Goods { right: crowd.content, wrong });
        joins.push(Join { req, root, size, path: None, full: false, zone: None, short: false });
    }
    let dice = random.child("lying_member", world.nodes() as u64);
    world.add(CHUNK_PORT, move |life| {
        let mut dice = dice.child("life", life);
        let session = Registered::new(supers.clone(), (None, CHUNK_PORT), Vec::new(), &mut dice).joining(joins.clone());
        Machine::adversary(Box::new(Source::new(session, goods.clone(), None, Box::new(Boasting::new(&mut dice)))))
    });
}

fn twin_of(content: ContentId) -> ContentId {
    library().1.iter().find(|(right, _)| *right == content).expect("of the library").1
}

fn way(kind: &str, silent: bool, random: &mut Random) -> Box<dyn Way> {
    match kind {
        _ if silent => Box::new(Stalling::silent()),
        "lying_source" => Box::new(Lying::new(random)),
        "stalling_source" => Box::new(Stalling::new(random)),
        "dripping_source" => Box::new(Dripping::new(random)),
        "truncating_source" => Box::new(Truncating::new(random)),
        "equivocating_source" => Box::new(Equivocating::new(random)),
        "forged_manifest" => Box::new(Forging::new(random)),
        _ => Box::new(Serving),
    }
}

/// A record that it registers, the root that it is asked for, and the content that it serves for
/// it.
fn record(world: &World, kind: &str, n: usize, random: &mut Random) -> (FileRecord, Root, Option<Goods>) {
    let content = plan::content(random);
    let wrong = twin_of(content);
    let (right, size) = (world.contents().root(content), world.contents().size(content));
    let mut path = format!("{n}/{}", plan::path(random));
    let mut goods = Some(Goods { right: content, wrong });
    let (mut root, mut claimed) = (right, size);
    match kind {
        "false_size" => claimed = false_size(size, random),
        "poisoned_name" => {
            path = poisoned_path(&plan::path(random), random);
            // The correct name of another content, or a name of no content.
            let other = random.chance(500);
            root = if other { world.contents().root(wrong) } else { Root([0xab; 32]) };
            goods = other.then_some(Goods { right: wrong, wrong: content });
        }
        _ => {}
    }
    let path = SharePath::new(&path).expect("a path of 1 to 700 bytes");
    (FileRecord { path, size: claimed, root, collection: false }, root, goods)
}
