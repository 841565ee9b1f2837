//! Random networks that lose, repeat and delay datagrams. The promise of `complete` holds under
//! every fault, and no message can break a machine. A failing run names its seed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::FOLD;
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::testnet::{Fate, Net, addr_of, file, register, search};
use crate::proto::{ConnId, Entropy, Input};
use crate::sim::Random;
use crate::wire::link::{LinkDone, LinkHello, LinkHit, LinkQuery, LinkRef, LinkTree, Packer, TreeStep};
use crate::wire::message::{Cancel, List, Ping, Query, Subscribe, Update};
use crate::wire::{Cut, HostPort, LinkMessage, Message, NodeId, Policy, QueryId, Search, SharePath, TreeName};

const POLICIES: [Policy; 4] = [Policy::Flood, Policy::Digest, Policy::Ring, Policy::Tree];

const STEPS: [TreeStep; 8] = [
    TreeStep::Grow,
    TreeStep::Wait,
    TreeStep::Mine,
    TreeStep::Other,
    TreeStep::Keep,
    TreeStep::Held,
    TreeStep::Whole,
    TreeStep::Void,
];

/// The seeds that a test tries: `usual`, or as many as `SPRAT_CHAOS_SEEDS` says.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    0..std::env::var("SPRAT_CHAOS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

fn below(random: &mut Random, n: u64) -> u64 {
    random.below(n)
}

/// A connected graph: a random tree and some more edges.
fn graph(random: &mut Random, nodes: usize) -> Vec<(usize, usize)> {
    let mut edges = BTreeSet::new();
    for node in 1..nodes {
        edges.insert((below(random, node as u64) as usize, node));
    }
    for _ in 0..below(random, nodes as u64 + 1) {
        let (a, b) = (below(random, nodes as u64) as usize, below(random, nodes as u64) as usize);
        if a != b {
            edges.insert((a.min(b), a.max(b)));
        }
    }
    edges.into_iter().collect()
}

/// Hops from the first node to each.
fn distances(nodes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut far = vec![usize::MAX; nodes];
    far[0] = 0;
    for _ in 0..nodes {
        for (a, b) in edges {
            far[*b] = far[*b].min(far[*a].saturating_add(1));
            far[*a] = far[*a].min(far[*b].saturating_add(1));
        }
    }
    far
}

/// Sets loss, duplication and jitter, each with a strength that the seed gives.
fn faults(net: &mut Net, mut random: Random) {
    let (lost, doubled, delayed) = (below(&mut random, 35), below(&mut random, 20), below(&mut random, 60));
    let jitter = 1 + below(&mut random, 40_000);
    net.rule(move |_, _, _| match below(&mut random, 100) {
        n if n < lost => Fate::Lose,
        _ if below(&mut random, 100) < doubled => Fate::Double,
        _ if below(&mut random, 100) < delayed => Fate::Delay(Duration::from_micros(below(&mut random, jitter))),
        _ => Fate::Arrive,
    });
}

#[test]
fn complete_is_never_wrong_whatever_breaks() {
    let (mut complete, mut tree_queries, mut fell_back) = (0, 0, 0);
    for seed in seeds(400) {
        let mut random = Random::new(seed);
        let nodes = 3 + below(&mut random, 6) as usize;
        let edges = graph(&mut random, nodes);
        let mut net = Net::new(nodes, &edges);
        for node in 0..nodes {
            net.peer(node, &["a-1", "a-2"]);
        }
        // When the faults begin, a tree may be held, may be growing, or may not exist.
        net.run_for(Duration::from_millis([0, 600, 2000, 6000][below(&mut random, 4) as usize]));
        faults(&mut net, random.clone());
        for _ in 0..4 {
            net.run_for(Duration::from_millis([0, 0, 700, 5000][below(&mut random, 4) as usize]));
            let conn = net.login(0);
            let ttl = below(&mut random, 12) as u8;
            let policy = POLICIES[below(&mut random, 4) as usize];
            // The limit is above the number of hits, so that the rings grow to the end.
            let find = Search { limit: Some(100), ..search("a*") };
            let req = net.query_by(policy, 0, conn, find, ttl, 2000);
            if below(&mut random, 3) == 0 {
                net.run_for(Duration::from_micros(below(&mut random, 50_000)));
                let victim = 1 + below(&mut random, nodes as u64 - 1) as usize;
                net.kill(victim);
                net.run_for(Duration::from_micros(below(&mut random, 50_000)));
                net.restart(victim);
                net.peer(victim, &["a-1", "a-2"]);
            }
            let done = net.finish(0, req);
            let hits = net.hits(0, req).len();
            assert_eq!(hits, done.hits as usize, "seed {seed}");
            // The peers of a restarted super peer are not registered for a moment. They are found
            // at most once more.
            assert!(!done.complete || hits >= 2 * nodes, "seed {seed}: {hits} of {} hits: {done:?}", 2 * nodes);
            complete += usize::from(done.complete);
        }
        tree_queries += (0..nodes).map(|node| net.count(node, Count::QueriesRode)).sum::<u64>();
        fell_back += (0..nodes).map(|node| net.count(node, Count::QueriesFellBack)).sum::<u64>();
        // Without faults every node finds everything again, with a tree too.
        net.rule(|_, _, _| Fate::Arrive);
        net.run_for(Duration::from_secs(45));
        for policy in POLICIES {
            net.forget_traffic();
            let node = below(&mut random, nodes as u64) as usize;
            let (hits, done) = net.ask_by(policy, node, Search { limit: Some(100), ..search("a*") }, 64);
            assert!(done.complete && hits.len() == 2 * nodes, "seed {seed}: {policy:?}: {done:?}");
            let queries = net.sent(|message| matches!(message, LinkMessage::Query(_)));
            assert!(policy != Policy::Tree || queries == nodes - 1, "seed {seed}: {queries} for {nodes}");
        }
    }
    assert!(complete > 200, "only {complete} queries were complete: the test proves little");
    assert!(
        tree_queries > 100 && fell_back > 10,
        "{tree_queries} tree queries, {fell_back} fell back: the test proves little"
    );
}

#[test]
fn without_loss_everything_within_the_ttl_is_found() {
    let mut extended = 0;
    for seed in seeds(400) {
        let mut random = Random::new(seed);
        let nodes = 4 + below(&mut random, 9) as usize;
        let edges = graph(&mut random, nodes);
        let mut net = Net::new(nodes, &edges);
        for node in 0..nodes {
            net.peer(node, &["a"]);
        }
        let mut jitter = random.clone();
        net.rule(move |_, _, _| Fate::Delay(Duration::from_micros(below(&mut jitter, 20_000))));
        let ttl = below(&mut random, 6) as u8;
        let policy = POLICIES[below(&mut random, 3) as usize];
        let (hits, done) = net.ask_by(policy, 0, Search { limit: Some(100), ..search("a") }, ttl);
        let far = distances(nodes, &edges);
        let within = far.iter().filter(|far| **far <= usize::from(ttl)).count();
        assert!(hits.len() >= within, "seed {seed}: {} of {within} at ttl {ttl}", hits.len());
        assert!(done.complete || done.cut.ttl > 0, "seed {seed}: {done:?}");
        // Every shortest path ends with a hop to spare, so every cut on a longer path was undone.
        assert!(done.complete || far.iter().any(|far| *far >= usize::from(ttl)), "seed {seed}: {done:?}");
        extended += (0..nodes).map(|node| net.count(node, Count::FloodExtension)).sum::<u64>();
    }
    assert!(extended > 50, "only {extended} extensions: the test proves little");
}

/// A tree name that may be one of the network's.
fn tree_name(random: &mut Random, boots: [u64; 2]) -> TreeName {
    let root = NodeId([below(random, 4) as u8; 16]);
    TreeName { root, boot: boots[below(random, 2) as usize], epoch: below(random, 4) }
}

/// A message between super peers whose fields have few possible values, so that many messages refer
/// to each other.
fn link_message(random: &mut Random, boots: [u64; 2]) -> LinkMessage {
    const EDGES: [u32; 6] = [0, 1, 2, 999, 1000, u32::MAX];
    let id = QueryId([below(random, 6) as u8; 16]);
    let ttl = [0, 1, 2, 3, 63, 64, 65, 128, 129, 131, 255][below(random, 11) as usize];
    let edge = |random: &mut Random| EDGES[below(random, 6) as usize];
    let cut = Cut { ttl: edge(random), cap: edge(random), ..Cut::NONE };
    match below(random, 11) {
        0 => LinkMessage::Hello(LinkHello {
            node: NodeId([below(random, 3) as u8; 16]),
            boot: boots[below(random, 2) as usize].wrapping_add(below(random, 2)),
            echo: boots[below(random, 2) as usize],
            t: random.next_u64(),
            et: (below(random, 2) == 0).then(|| random.next_u64()),
            tree: (below(random, 2) == 0).then(|| tree_name(random, boots)),
            whole: below(random, 2) == 0,
            dg: (below(random, 2) == 0).then(|| below(random, 40) as u8),
            de: (below(random, 2) == 0).then(|| below(random, 3)),
            fold: (below(random, 4) > 0).then_some(FOLD),
        }),
        1..=3 => {
            let mut find = search(["a", "a*", "zz"][below(random, 3) as usize]);
            find.limit = (below(random, 3) == 0).then(|| edge(random));
            let have =
                (below(random, 2) == 0).then(|| vec![(edge(random), edge(random)), (edge(random), edge(random))]);
            let budget = [0, 1, 50, 3000, u32::MAX][below(random, 5) as usize];
            let tree = (below(random, 2) == 0).then(|| tree_name(random, boots));
            let again = below(random, 4) == 0;
            LinkMessage::Query(LinkQuery {
                id,
                ttl,
                hops: edge(random) as u8,
                budget,
                find,
                have,
                flood: false,
                tree,
                again,
            })
        }
        4 | 5 => {
            let addr = HostPort::new("198.51.100.1", 1).unwrap();
            let (other, unreached) = (random.next_u64().is_multiple_of(2).then(|| addr.clone()), ttl % 2 == 0);
            LinkMessage::Hit(LinkHit {
                id,
                ttl,
                n: edge(random),
                file: file("a"),
                node: None,
                addr,
                other,
                unreached,
                http: false,
                member: None,
            })
        }
        6 => {
            let dup = below(random, 4) == 0;
            LinkMessage::Done(LinkDone {
                id,
                ttl,
                hits: edge(random),
                reached: edge(random),
                pruned: edge(random),
                cut,
                dup,
                more: false,
                uncut: edge(random),
                cut_tag: edge(random).into(),
                uncut_tag: edge(random).into(),
            })
        }
        7 => LinkMessage::Pending(LinkRef { id, ttl }),
        8 | 9 => {
            let step = STEPS[below(random, 8) as usize];
            LinkMessage::Tree(LinkTree { tree: tree_name(random, boots), step, n: edge(random) })
        }
        _ => LinkMessage::Cancel(LinkRef { id, ttl }),
    }
}

fn session_message(random: &mut Random, seq: &mut u64) -> Message {
    let req = below(random, 4) as u32;
    match below(random, 9) {
        0 => Message::Ping(Ping { n: 0 }),
        1 => Message::List(List { req, after: Some(random.next_u64()), partial: false }),
        2 => Message::Cancel(Cancel { req }),
        3 => {
            *seq += 1;
            let del = vec![SharePath::new("a").unwrap()];
            Message::Update(Update { seq: *seq, add: vec![file("a"), file("a2")], del })
        }
        4 => {
            *seq += 1;
            register(*seq, vec![file("a"), file("b")])
        }
        5 if below(random, 50) == 0 => Message::Unknown("NEW".into()),
        5 => Message::Subscribe(Subscribe { req, find: search(["a", "*", "["][below(random, 3) as usize]) }),
        _ => {
            let mut find = search(["a", "a*", "zz"][below(random, 3) as usize]);
            find.limit = (below(random, 3) == 0).then(|| below(random, 3) as u32);
            let budget = Some([0, 20, 3000][below(random, 3) as usize]);
            Message::Query(Query { req, find, ttl: Some(below(random, 9) as u8), budget, policy: None })
        }
    }
}

#[test]
fn no_neighbor_and_no_session_can_break_a_super_peer() {
    for seed in seeds(60) {
        let mut random = Random::new(seed);
        // The neighbors 1 and 2 are alive, so that answers come back. The forged messages come in
        // their names.
        let mut net = Net::new(3, &[(0, 1), (0, 2), (1, 2)]);
        net.peer(1, &["a", "b"]);
        let boots = [net.machine(0).neighbors.links.boot(), net.machine(1).neighbors.links.boot()];
        let mut sessions: Vec<(ConnId, u64)> = Vec::new();
        for _ in 0..400 {
            match below(&mut random, 12) {
                0 if sessions.len() < 5 => sessions.push((net.login(0), 0)),
                1 if sessions.len() > 3 => {
                    let (conn, _) = sessions.swap_remove(below(&mut random, 4) as usize);
                    net.input(0, Input::Closed { conn, why: crate::proto::CloseReason::Failed });
                }
                2 => net.run_for(Duration::from_micros(below(&mut random, 200_000))),
                3..=5 if !sessions.is_empty() => {
                    let one = below(&mut random, sessions.len() as u64) as usize;
                    let (conn, seq) = &mut sessions[one];
                    let (conn, message) = (*conn, session_message(&mut random, seq));
                    net.say(0, conn, message);
                }
                _ => {
                    let from = addr_of(1 + below(&mut random, 2) as usize);
                    let mut packer = Packer::new(if below(&mut random, 9) == 0 { 0 } else { boots[0] });
                    for _ in 0..=below(&mut random, 4) {
                        let message = link_message(&mut random, boots);
                        if let Some(bytes) = packer.push(&message) {
                            net.datagram(0, from, &bytes);
                        }
                    }
                    let mut bytes = packer.finish().unwrap();
                    if below(&mut random, 20) == 0 {
                        let place = below(&mut random, bytes.len() as u64) as usize;
                        bytes[place] ^= 1 << below(&mut random, 8);
                    }
                    net.datagram(0, from, &bytes);
                }
            }
        }
        for (conn, _) in sessions {
            net.close(0, conn);
        }
        net.run_for(Duration::from_secs(90));
        let counts = net.machine(0).counts();
        assert_eq!((counts["queries_running"], counts["sessions"], counts["records"]), (0, 0, 0), "seed {seed}");
        assert!(counts["flood_searched"] > 0 && counts["queries"] > 0);
    }
}
