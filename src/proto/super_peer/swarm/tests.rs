use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::graph::{Graph, JoinFlags};
use super::outside::{Asker, Outside};
use super::slot::Slot;
use crate::config::{
    PATH_BYTES_MAX, SESSION_JOINS_MAX, SWARM_DEGREE, SWARM_DEGREE_SMALL, SWARM_FOLLOWERS_MAX, SWARM_GATEWAYS,
    SWARM_NEWER, SWARM_OUTSIDE, SWARM_SEEDS_MAX, SWARM_SEEDS_NAMED,
};
use crate::proto::ConnId;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::index::Index;
use crate::proto::super_peer::testnet::{Net, file, hello, login, register, search};
use crate::sim::Random;
use crate::wire::message::{ErrorCode, Hello, List, Register, SourceRecord};
use crate::wire::swarm::{Join, Leave, Peers};
use crate::wire::{FileRecord, Message, NodeId, Policy, QueryKind, Root, Search, SharePath};

const SERVES: JoinFlags = JoinFlags { is_full: false, serves: true };
const FULL: JoinFlags = JoinFlags { is_full: true, serves: true };

/// Introduces newcomers, and names others to all members that lack some.
fn settle(graph: &mut Graph, random: &mut Random) -> Vec<(Slot, Slot)> {
    let mut edges = Vec::new();
    while let Some(newcomer) = graph.next_newcomer() {
        edges.extend(graph.introduce(newcomer, |n| random.index(n)).into_iter().map(|slot| (slot, newcomer)));
    }
    for _ in 0..graph.lacking() {
        let Some(slot) = graph.next_lacking() else { break };
        edges.extend(graph.name(slot, usize::MAX, |n| random.index(n)).into_iter().map(|other| (slot, other)));
        graph.still_lacks(slot);
    }
    edges
}

fn join(graph: &mut Graph, session: u32, zone: Option<&str>, flags: JoinFlags, random: &mut Random) -> Slot {
    let slot = graph.join((session, 1), zone, flags).unwrap();
    graph.name(slot, graph.first(), |n| random.index(n));
    graph.still_lacks(slot);
    slot
}

/// In how many steps what one member has comes to all others, along those who follow.
fn steps_from(graph: &Graph, from: Slot) -> usize {
    let mut reached = BTreeSet::from([from]);
    for steps in 0.. {
        let next: Vec<Slot> = graph.all().map(|(slot, _)| slot).filter(|slot| !reached.contains(slot)).collect();
        let next: Vec<Slot> =
            next.into_iter().filter(|slot| graph.named(*slot).iter().any(|other| reached.contains(other))).collect();
        if next.is_empty() {
            return if reached.len() == graph.len() { steps } else { usize::MAX };
        }
        reached.extend(next);
    }
    unreachable!("it ends when nothing is reached")
}

#[test]
fn a_graph_that_grows_by_arrival_is_nearly_regular_and_leads_both_ways() {
    // Together, in groups, and one by one.
    for (members, together) in [(9, 9), (40, 40), (40, 1), (1000, 1000), (1000, 50), (1000, 1)] {
        let (mut graph, mut random) = (Graph::default(), Random::new(members));
        let mut slots = Vec::new();
        for session in 0..members as u32 {
            slots.push(join(&mut graph, session, None, SERVES, &mut random));
            if (session + 1) % together == 0 {
                settle(&mut graph, &mut random);
            }
        }
        settle(&mut graph, &mut random);
        graph.check_invariants();
        let degree = if members < 50 { SWARM_DEGREE_SMALL } else { SWARM_DEGREE };
        let case = format!("{members} members, {together} together");
        for (slot, member) in graph.all() {
            let (follows, followers) = (graph.named(slot).len(), usize::from(member.followers));
            assert!((degree - SWARM_NEWER..=degree).contains(&follows), "{case}: follows {follows}");
            assert!((1..=SWARM_FOLLOWERS_MAX).contains(&followers), "{case}: {followers} followers");
        }
        for from in [slots[0], slots[slots.len() / 2], slots[slots.len() - 1]] {
            let steps = steps_from(&graph, from);
            // One that comes alone finds places at those that came shortly before it.
            let most = if together == 1 { 18 } else { 7 };
            assert!(steps <= most, "{case}: {steps} steps from {from:?} to the last member");
        }
    }
}

#[test]
fn members_come_and_go_and_the_graph_heals() {
    for seed in 0..30 {
        let (mut graph, mut random) = (Graph::default(), Random::new(seed));
        let mut members = Vec::new();
        let zones = [None, Some("a"), Some("b"), Some("c")];
        let zones = &zones[..1 + random.index(4)];
        // Those with a part, in the order in which they joined.
        let mut partial: Vec<Slot> = Vec::new();
        let mut named: BTreeMap<Slot, BTreeSet<Slot>> = BTreeMap::new();
        for session in 0..400 {
            match random.below(10) {
                0..=5 => {
                    let flags = JoinFlags { is_full: random.chance(200), serves: random.chance(900) };
                    let slot = graph.join((session, 1), *random.pick(zones), flags).unwrap();
                    members.push(slot);
                    partial.extend((!flags.is_full).then_some(slot));
                }
                6 | 7 if !members.is_empty() => {
                    let gone = members.swap_remove(random.index(members.len()));
                    graph.leave(gone);
                    named.remove(&gone);
                    partial.retain(|slot| *slot != gone);
                    for others in named.values_mut() {
                        others.remove(&gone);
                    }
                }
                8 if !members.is_empty() => {
                    let slot = *random.pick(&members);
                    partial.retain(|other| *other != slot);
                    if graph.is_full(slot) {
                        graph.change(slot, SERVES);
                        partial.push(slot);
                    } else {
                        graph.change(slot, FULL);
                    }
                    named.remove(&slot);
                }
                9 if !members.is_empty() => {
                    let slot = *random.pick(&members);
                    graph.ask(slot);
                    // Some may be named again.
                    named.remove(&slot);
                }
                _ => {}
            }
            graph.check_invariants();
            for slot in members.iter().filter(|_| zones.len() > 1 && session > 20) {
                let of_zone = partial.iter().filter(|other| !graph.is_outside(*slot, **other));
                let is_first = of_zone.take(SWARM_GATEWAYS).any(|other| other == slot);
                assert_eq!(graph.is_gateway(*slot), is_first, "the first with a part are gateways");
            }
            if random.chance(300) {
                for (slot, other) in settle(&mut graph, &mut random) {
                    assert!(named.entry(slot).or_default().insert(other), "{other:?} is named twice to {slot:?}");
                }
                graph.check_invariants();
            }
        }
        members.drain(..).for_each(|slot| graph.leave(slot));
        graph.check_invariants();
        assert_eq!((graph.len(), graph.full()), (0, 0));
    }
}

#[test]
fn few_members_of_a_zone_follow_members_of_others() {
    let (mut graph, mut random) = (Graph::default(), Random::new(1));
    for session in 0..100 {
        join(&mut graph, session, Some(["a", "b"][session as usize % 2]), SERVES, &mut random);
    }
    // As many rounds as there are changes to hear of.
    for _ in 0..3 {
        settle(&mut graph, &mut random);
    }
    let all: Vec<Slot> = graph.all().map(|(slot, _)| slot).collect();
    let outside = |slot: &Slot| graph.named(*slot).iter().filter(|other| graph.is_outside(*slot, **other)).count();
    let gateways: Vec<&Slot> = all.iter().filter(|slot| graph.is_gateway(**slot)).collect();
    assert_eq!(gateways.len(), 2 * SWARM_GATEWAYS);
    for slot in all.iter().filter(|slot| !graph.is_gateway(**slot)) {
        assert!(outside(slot) <= SWARM_DEGREE_SMALL, "those that came when the zone was small");
    }
    assert!(gateways.iter().all(|slot| outside(slot) >= SWARM_OUTSIDE));
    let late = join(&mut graph, 1000, Some("a"), SERVES, &mut random);
    assert_eq!(outside_of(&graph, late), 0, "one that comes to a large zone follows members inside");
}

fn outside_of(graph: &Graph, slot: Slot) -> usize {
    graph.named(slot).iter().filter(|other| graph.is_outside(slot, **other)).count()
}

#[test]
fn a_search_finds_members_however_many_have_left() {
    let (mut graph, mut random) = (Graph::default(), Random::new(1));
    let slots: Vec<Slot> = (0..1000).map(|n| join(&mut graph, n, None, SERVES, &mut random)).collect();
    slots[..999].iter().for_each(|slot| graph.leave(*slot));
    assert_eq!(graph.around(0).collect::<Vec<_>>(), [slots[999]]);
    let others: Vec<Slot> = (0..9).map(|n| join(&mut graph, n, None, SERVES, &mut random)).collect();
    for first in 0..10 {
        let found: Vec<Slot> = graph.around(first).collect();
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 10, "each once");
        assert!(others.contains(&found[0]) || first == 0);
    }
}

#[test]
fn members_at_other_super_peers_are_named_with_addresses_that_can_be_dialed() {
    let others = ["[2001:db8::1]:4778", "0.0.0.0:4778", "192.0.2.9:0", "LOCALHOST:4778", "192.0.2.1:4778"];
    let named = others.map(|other| {
        let (mut outside, mut graph) = (Outside::default(), Graph::default());
        let slot = graph.join((0, 1), None, SERVES).unwrap();
        let FileRecord { path, size, root, .. } = file("wanted");
        let record = SourceRecord {
            path,
            size,
            root,
            collection: false,
            node: None,
            addr: "192.0.2.1:4778".parse().unwrap(),
            other: Some(other.parse().unwrap()),
            unreached: false,
            http: false,
            member: None,
        };
        assert!(outside.take_found(vec![record], &mut graph, |_| false));
        let (asker, mut peers) = (Asker { slot, own: None, at: None }, Vec::new());
        outside.name(asker, true, &mut graph, &Index::with_seed(1), &mut peers);
        peers.remove(0).other.map(|other| other.to_string())
    });
    let expected = [Some("[2001:db8::1]:4778"), None, None, Some("127.0.0.1:4778"), None];
    assert_eq!(named, expected.map(|other| other.map(str::to_owned)));
}

// ---- the super peer -----------------------------------------------------------------------------

/// The content that the swarms of these tests want.
fn root() -> Root {
    file("wanted").root
}

fn joins(req: u32) -> Join {
    Join { req, root: root(), size: 6, path: None, full: false, zone: None, short: false }
}

/// A session that serves, without files.
fn member(net: &mut Net) -> ConnId {
    member_at(net, 0)
}

fn member_at(net: &mut Net, node: usize) -> ConnId {
    let conn = net.login(node);
    net.say(node, conn, register(1, Vec::new()));
    conn
}

fn peers(net: &mut Net, conn: ConnId) -> Vec<Peers> {
    peers_at(net, 0, conn)
}

fn peers_at(net: &mut Net, node: usize, conn: ConnId) -> Vec<Peers> {
    let said = std::mem::take(&mut net.nodes[node].said);
    let of = |(to, message): (ConnId, Message)| {
        let Message::Peers(peers) = message else { return None };
        (to == conn).then_some(peers)
    };
    said.into_iter().filter_map(of).collect()
}

fn refusal(net: &mut Net) -> Option<ErrorCode> {
    let said = std::mem::take(&mut net.nodes[0].said);
    said.into_iter().find_map(|(_, message)| if let Message::Error(error) = message { Some(error.code) } else { None })
}

#[test]
fn a_join_is_answered_at_once_and_again_when_others_come() {
    let mut net = Net::new(1, &[]);
    let first = member(&mut net);
    net.say(0, first, Message::Join(joins(4)));
    let answer = peers(&mut net, first);
    assert_eq!(answer, [Peers { req: 4, peers: Vec::new(), n: 1, full: 0, gateway: None }]);
    for n in 2..5 {
        let conn = member(&mut net);
        net.say(0, conn, Message::Join(joins(1)));
        let answer = peers(&mut net, conn);
        assert_eq!((answer[0].peers.len(), answer[0].n), (n - 1, n as u32));
    }
    net.run_for(Duration::from_secs(1));
    let pushed = peers(&mut net, first);
    assert_eq!(pushed.len(), 1, "the three that came together are named in one message: {pushed:?}");
    assert_eq!((pushed[0].req, pushed[0].peers.len(), pushed[0].n), (4, 3, 4));
}

#[test]
fn a_join_may_come_between_the_pages_of_a_list() {
    let mut net = Net::new(1, &[]);
    let conn = net.login(0);
    let Message::Register(page) = register(1, vec![file("one")]) else { unreachable!("a REGISTER") };
    net.say(0, conn, Message::Register(Register { more: true, ..page }));
    net.say(0, conn, Message::Join(joins(4)));
    assert_eq!(peers(&mut net, conn).len(), 1);
    net.say(0, conn, Message::Leave(Leave { req: 4 }));
    net.say(0, conn, register(2, vec![file("two")]));
    assert_eq!((net.machine(0).index().records(), net.nodes[0].closed.len()), (2, 0));
}

#[test]
fn seeds_that_come_and_go_are_named_each_time() {
    let mut net = Net::new(1, &[]);
    let conn = member(&mut net);
    net.say(0, conn, Message::Join(joins(1)));
    assert_eq!(peers(&mut net, conn)[0].peers.len(), 0);
    for round in 0..2 * SWARM_SEEDS_MAX {
        let seed = net.connect(0);
        let Message::Hello(hello) = hello() else { unreachable!("a HELLO") };
        let node = NodeId([round as u8 + 1; 16]);
        for message in [Message::Hello(Hello { node, ..hello }), login(), register(1, vec![file("wanted")])] {
            net.say(0, seed, message);
        }
        net.run_for(Duration::from_secs(3));
        net.say(0, conn, Message::Join(Join { short: true, ..joins(1) }));
        assert_eq!(peers(&mut net, conn)[0].peers.len(), 1, "round {round}");
        net.close(0, seed);
    }
}

#[test]
fn peers_that_have_registered_the_content_are_named_as_complete() {
    let mut net = Net::new(1, &[]);
    for _ in 0..3 {
        net.peer(0, &["wanted", "other"]);
    }
    net.peer(0, &["other"]);
    let conn = member(&mut net);
    net.say(0, conn, Message::Join(joins(1)));
    let answer = peers(&mut net, conn).remove(0);
    assert_eq!((answer.peers.len(), answer.n, answer.full), (SWARM_SEEDS_NAMED, 4, 3));
    assert!(answer.peers.iter().all(|peer| peer.full));
    net.machine(0).check_invariants();
}

#[test]
fn a_seed_that_joins_is_not_named_twice() {
    let mut net = Net::new(1, &[]);
    let seed = net.peer(0, &["wanted"]);
    let conn = member(&mut net);
    net.say(0, conn, Message::Join(joins(1)));
    assert_eq!(peers(&mut net, conn)[0].peers.len(), 1);
    net.say(0, seed, Message::Join(Join { full: true, ..joins(9) }));
    let answer = peers(&mut net, seed).remove(0);
    assert_eq!((answer.peers.len(), answer.n, answer.full), (0, 2, 1), "who has all follows none");
    net.run_for(Duration::from_secs(1));
    assert_eq!(peers(&mut net, conn), []);
    net.machine(0).check_invariants();
}

#[test]
fn joins_end_with_leave_and_with_the_session() {
    let mut net = Net::new(1, &[]);
    let (one, two) = (member(&mut net), member(&mut net));
    for (conn, req) in [(one, 1), (two, 1), (two, 2)] {
        let root = Root([req as u8; 32]);
        net.say(0, conn, Message::Join(Join { root, ..joins(req) }));
    }
    let count = |net: &Net, name: &str| net.machine(0).counts()[name];
    assert_eq!((count(&net, "swarms"), count(&net, "swarm_members")), (2, 3));
    net.say(0, one, Message::Leave(Leave { req: 7 }));
    net.say(0, one, Message::Leave(Leave { req: 1 }));
    assert_eq!((count(&net, "swarms"), count(&net, "swarm_members")), (2, 2));
    net.close(0, two);
    assert_eq!((count(&net, "swarms"), count(&net, "swarm_members")), (0, 0));
    // Without a session nothing is left to wait for.
    net.close(0, one);
    let last = member(&mut net);
    net.say(0, last, Message::Join(joins(1)));
    net.close(0, last);
    net.machine(0).check_invariants();
}

#[test]
fn joins_that_cannot_stand_are_refused_by_name() {
    let mut net = Net::new(1, &[]);
    let conn = member(&mut net);
    net.say(0, conn, Message::Join(joins(1)));
    net.say(0, conn, Message::Join(Join { root: Root([1; 32]), ..joins(1) }));
    assert_eq!(refusal(&mut net), Some(ErrorCode::BAD_REQUEST));
    net.say(0, conn, Message::Join(joins(2)));
    assert_eq!(refusal(&mut net), Some(ErrorCode::BAD_REQUEST), "a session is one member of a swarm");
    for req in 2..=SESSION_JOINS_MAX as u32 {
        net.say(0, conn, Message::Join(Join { root: Root([req as u8; 32]), ..joins(req) }));
    }
    assert_eq!(refusal(&mut net), None);
    net.say(0, conn, Message::Join(Join { root: Root([255; 32]), ..joins(1000) }));
    assert_eq!(refusal(&mut net), Some(ErrorCode::LIMIT));
    net.machine(0).check_invariants();
}

#[test]
fn a_member_that_cannot_be_dialed_is_not_named() {
    let mut net = Net::new(1, &[]);
    let silent = net.login(0);
    net.say(0, silent, Message::Join(joins(1)));
    let conn = member(&mut net);
    net.say(0, conn, Message::Join(joins(1)));
    let answer = peers(&mut net, conn).remove(0);
    assert_eq!((answer.peers.len(), answer.n), (0, 2));
    net.run_for(Duration::from_secs(1));
    assert_eq!(peers(&mut net, silent).len(), 1, "it follows others nevertheless");
}

#[test]
fn no_member_is_crowded_and_a_join_stays_small() {
    let mut net = Net::new(1, &[]);
    net.peer(0, &["wanted"]);
    let members: Vec<ConnId> = (0..1000).map(|_| member(&mut net)).collect();
    for conn in &members {
        net.say(0, *conn, Message::Join(joins(1)));
    }
    net.run_for(Duration::from_secs(1));
    let mut followers: BTreeMap<String, usize> = BTreeMap::new();
    for (_, message) in std::mem::take(&mut net.nodes[0].said) {
        if let Message::Peers(peers) = message {
            peers.peers.iter().for_each(|peer| *followers.entry(peer.addr.to_string()).or_default() += 1);
        }
    }
    let most = *followers.values().max().unwrap();
    // Each session of the test has an address of 250.
    assert!(most <= 4 * SWARM_FOLLOWERS_MAX, "{most} follow four");
    let bytes = net.machine(0).counts()["memory_swarms"];
    assert!(bytes <= 64 * 1000, "{bytes} bytes for 1000 JOINs");
}

#[test]
fn a_swarm_of_one_is_small_too() {
    let mut net = Net::new(1, &[]);
    let conn = member(&mut net);
    for req in 0..SESSION_JOINS_MAX as u32 {
        net.say(0, conn, Message::Join(Join { root: Root([req as u8; 32]), ..joins(req) }));
    }
    let bytes = net.machine(0).counts()["memory_swarms"];
    assert!(bytes <= 768 * SESSION_JOINS_MAX as u64, "{bytes} bytes for {SESSION_JOINS_MAX} swarms");
}

#[test]
fn joins_fill_a_small_part_of_the_memory_budget() {
    const BUDGET: usize = 1 << 20;
    let mut net = Net::cold_with(1, &[], |_, config| config.memory = BUDGET);
    let path = SharePath::new(&"x".repeat(PATH_BYTES_MAX));
    let mut refused = None;
    for session in 0..4_u8 {
        let conn = net.login(0);
        for req in 0..SESSION_JOINS_MAX as u32 {
            let root = Root([64 * session + req as u8; 32]);
            net.say(0, conn, Message::Join(Join { root, path: path.clone(), ..joins(req) }));
        }
        refused = refused.or(refusal(&mut net));
    }
    assert_eq!(refused, Some(ErrorCode::LIMIT));
    let bytes = net.machine(0).counts()["memory_swarms"];
    assert!((BUDGET / 50..BUDGET / 10).contains(&(bytes as usize)), "{bytes} bytes");
    let peer = net.login(0);
    net.say(0, peer, register(1, vec![file("a")]));
    assert_eq!(refusal(&mut net), None, "there is room for files");
}

// ---- other super peers --------------------------------------------------------------------------

#[test]
fn members_of_other_super_peers_are_named_in_both_directions() {
    let mut net = Net::line(3);
    let first = member_at(&mut net, 0);
    net.say(0, first, Message::Join(joins(1)));
    net.run_for(Duration::from_millis(500));
    assert_eq!(peers(&mut net, first).len(), 1, "there is nobody else");
    let second = member_at(&mut net, 2);
    net.say(2, second, Message::Join(joins(1)));
    net.run_for(Duration::from_millis(500));
    let named = peers_at(&mut net, 2, second);
    let named: Vec<_> = named.iter().map(|peers| (peers.peers.len(), peers.n, peers.full)).collect();
    assert_eq!(named, [(0, 1, 0), (1, 2, 0)], "the answer, then the member two hops away");
    net.run_for(Duration::from_secs(2));
    let named = peers(&mut net, first);
    assert_eq!((named.len(), named[0].peers.len(), named[0].n), (1, 1, 2), "{named:?}");
    assert!(!named[0].peers[0].full);
    for conn in (0..12).map(|_| member_at(&mut net, 2)).collect::<Vec<_>>() {
        net.say(2, conn, Message::Join(joins(1)));
    }
    net.run_for(Duration::from_secs(60));
    assert!(peers(&mut net, first).iter().map(|peers| peers.peers.len()).sum::<usize>() >= 4, "it lacked others");
    net.close(2, second);
    (0..3).for_each(|node| net.machine(node).check_invariants());
}

#[test]
fn complete_holders_elsewhere_are_named_and_counted() {
    let mut net = Net::line(2);
    net.peer(1, &["wanted"]);
    let conn = member(&mut net);
    net.say(0, conn, Message::Join(joins(1)));
    net.run_for(Duration::from_millis(500));
    let named = peers(&mut net, conn).pop().unwrap();
    assert_eq!((named.peers.len(), named.n, named.full, named.peers[0].full), (1, 2, 1, true));
}

#[test]
fn other_super_peers_are_asked_rarely_and_only_for_those_who_fetch() {
    let mut net = Net::line(2);
    let conn = member(&mut net);
    net.say(0, conn, Message::Join(joins(1)));
    net.run_for(Duration::from_secs(40));
    let asked = net.count(0, Count::SwarmAsks);
    assert!((4..=7).contains(&asked), "{asked} queries in 40 s");
    net.say(0, conn, Message::Join(Join { full: true, ..joins(1) }));
    net.run_for(Duration::from_secs(100));
    assert_eq!(net.count(0, Count::SwarmAsks), asked, "it follows nobody any more");
    // Many that come and go do not flood the network.
    for req in 2..500 {
        net.say(0, conn, Message::Join(Join { root: Root([req as u8; 32]), ..joins(req) }));
        net.say(0, conn, Message::Leave(Leave { req }));
    }
    net.run_for(Duration::from_millis(100));
    assert!(net.count(0, Count::SwarmAsks) - asked <= 10);
    net.say(0, conn, Message::Leave(Leave { req: 1 }));
    net.machine(0).check_invariants();
}

#[test]
fn members_of_a_zone_follow_those_of_other_zones_elsewhere_only_as_gateways() {
    let mut net = Net::line(2);
    let zone = |name: &str| Some(name.to_owned());
    for _ in 0..3 {
        let conn = member_at(&mut net, 1);
        net.say(1, conn, Message::Join(Join { zone: zone("b"), ..joins(1) }));
    }
    for _ in 0..20 {
        let conn = member(&mut net);
        net.say(0, conn, Message::Join(Join { zone: zone("a"), ..joins(1) }));
    }
    net.nodes[0].said.clear();
    net.run_for(Duration::from_secs(2));
    let mut outside = BTreeSet::new();
    for (conn, message) in std::mem::take(&mut net.nodes[0].said) {
        let Message::Peers(peers) = message else { continue };
        if peers.peers.iter().any(|peer| peer.out) {
            assert!(peers.gateway.is_some());
            outside.insert(conn);
        }
    }
    assert_eq!(outside.len(), SWARM_GATEWAYS);
}

#[test]
fn partial_holders_are_found_only_by_searches_that_ask_for_them() {
    let mut net = Net::line(2);
    net.peer(0, &["a film"]);
    let conn = member_at(&mut net, 1);
    let path = SharePath::new("new film.mkv");
    net.say(1, conn, Message::Join(Join { path, ..joins(1) }));
    net.run_for(Duration::from_millis(200));
    let by_root = Search { kind: QueryKind::Root, ..search(&root().to_string()) };
    for (find, complete) in [(search("film"), 1), (by_root, 0)] {
        let (hits, done) = net.ask_by(Policy::Digest, 0, find.clone(), 5);
        assert_eq!((hits.len(), done.complete), (complete, true));
        assert!(hits.iter().all(|hit| hit.member.is_none()));
        let (mut hits, done) = net.ask_by(Policy::Digest, 0, Search { partial: true, ..find }, 5);
        assert_eq!((hits.len(), done.complete), (complete + 1, true));
        hits.retain(|hit| hit.is_partial());
        assert_eq!((hits.len(), hits[0].path.as_str(), hits[0].root), (1, "new film.mkv", root()));
    }
    let none = Search { partial: true, ..search("other") };
    assert_eq!(net.ask_by(Policy::Digest, 0, none, 5).0, []);
}

#[test]
fn a_search_spends_a_bounded_time_on_the_names_of_swarms() {
    // Names that fold fast, and the longest of those that do not.
    for (name, complete) in [("film".to_owned(), true), ("é".repeat(PATH_BYTES_MAX / 2), false)] {
        let mut net = Net::new(1, &[]);
        for session in 0..4_u32 {
            let conn = net.login(0);
            for req in 0..SESSION_JOINS_MAX as u32 {
                let root = Root(*blake3::hash(&(session << 16 | req).to_be_bytes()).as_bytes());
                net.say(0, conn, Message::Join(Join { root, path: SharePath::new(&name), ..joins(req) }));
            }
        }
        let find = Search { partial: true, ..search("other*") };
        assert_eq!(net.ask_by(Policy::Digest, 0, find, 5).1.complete, complete);
    }
}

#[test]
fn a_list_counts_partial_holders_if_it_is_asked_to() {
    let mut net = Net::new(1, &[]);
    net.peer(0, &["wanted", "other"]);
    for (req, root) in [(1, root()), (2, Root([9; 32]))] {
        let conn = member(&mut net);
        net.say(0, conn, Message::Join(Join { root, ..joins(req) }));
    }
    let conn = net.login(0);
    let mut list = |partial: bool| {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            net.say(0, conn, Message::List(List { req: 1, after, partial }));
            let said = std::mem::take(&mut net.nodes[0].said);
            let files =
                said.into_iter().find_map(|(_, said)| if let Message::Files(it) = said { Some(it) } else { None });
            let files = files.unwrap();
            rows.extend(files.files.into_iter().map(|file| (file.holders, file.partial)));
            after = files.next;
            if after.is_none() {
                rows.sort_unstable();
                return rows;
            }
        }
    };
    assert_eq!(list(false), [(1, 0), (1, 0)]);
    assert_eq!(list(true), [(0, 1), (1, 0), (1, 1)]);
}

#[test]
fn a_feature_is_named_to_those_who_know_it() {
    let mut net = Net::new(1, &[]);
    let welcome = |net: &mut Net, message: Message| {
        let conn = net.connect(0);
        net.say(0, conn, message);
        net.say(0, conn, login());
        let said = std::mem::take(&mut net.nodes[0].said);
        said.into_iter()
            .find_map(|(_, said)| if let Message::Welcome(said) = said { Some(said.features) } else { None })
    };
    assert_eq!(welcome(&mut net, hello()), Some(Vec::new()));
    let Message::Hello(mut named) = hello() else { unreachable!("a HELLO") };
    named.features = vec!["swarm".to_owned()];
    assert_eq!(welcome(&mut net, Message::Hello(named)), Some(vec!["swarm".to_owned()]));
}
