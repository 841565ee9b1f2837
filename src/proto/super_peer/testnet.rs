//! A network of super peers for unit tests: the simulated world with exact latencies and a rule for
//! every message of a link. The tests play the weak peers: a message from a weak peer arrives at
//! once, and the answers are there when the call returns.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::counters::Count;
use crate::config::{FRAME_BYTES_OPEN, SUPER_PORT};
use crate::proto::super_peer::{SuperPeer, SuperPeerConfig};
use crate::proto::{ClientEvent, CloseReason, Command, ConnId, Event, Input, Output};
pub(super) use crate::sim::builders::{file, hello, login, register, search, update};
use crate::sim::fault::{Fault, Flight};
use crate::sim::{Machine, Random, World};
use crate::time::Time;
use crate::trust::Pin;
use crate::wire::link;
use crate::wire::message::{Done, Hit, Query, SourceRecord};
use crate::wire::{LinkMessage, Message, NodeId, Policy, Search, frame};

/// What happens to one message between two super peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrive,
    Lose,
    /// The message arrives later than the others.
    Delay(Duration),
    /// The message arrives twice.
    Double,
}

type Rule = Box<dyn FnMut(usize, usize, &LinkMessage) -> Fate>;

/// The rule of a test as a fault of the world, whose datagrams hold one message each.
struct Ruled(Rule);

impl Fault for Ruled {
    fn name(&self) -> &'static str {
        "rule"
    }

    fn pass(&mut self, flight: Flight, _: &mut Random, out: &mut Vec<Flight>) -> bool {
        let (_, messages) = link::decode(&flight.bytes).expect("a machine sends what can be decoded");
        let [message] = &messages[..] else { panic!("{} messages in one datagram", messages.len()) };
        let fate = (self.0)(flight.from, flight.to, message);
        match fate {
            Fate::Lose => {}
            Fate::Arrive => out.push(flight),
            Fate::Delay(delay) => out.push(Flight { delay: flight.delay + delay, ..flight }),
            Fate::Double => out.extend([flight.clone(), flight]),
        }
        fate != Fate::Arrive
    }
}

/// What one super peer sent to its sessions and reported.
#[derive(Default)]
pub(super) struct Node {
    pub(super) said: Vec<(ConnId, Message)>,
    pub(super) closed: Vec<ConnId>,
    pub(super) caps: Vec<(ConnId, usize)>,
    pub(super) holds: Vec<(ConnId, bool)>,
    pub(super) events: Vec<Event>,
    next_conn: u32,
}

pub(super) struct Net {
    world: World,
    pub(super) nodes: Vec<Node>,
    /// Outputs that are not sorted into `nodes` and `sent` yet.
    outputs: Rc<RefCell<Vec<(usize, Output)>>>,
    /// Every message that was put on the wire, lost ones included.
    pub(super) sent: Vec<(usize, usize, LinkMessage)>,
    timeouts_forgotten: u64,
    next_req: u32,
    /// How the queries of [`Net::query`] spread: plain floods by default.
    pub(super) policy: Policy,
}

pub(super) fn addr_of(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node + 1).unwrap()], SUPER_PORT))
}

impl Net {
    /// Super peers `0..n` with these links, in both directions, all of them up.
    pub(super) fn new(n: usize, edges: &[(usize, usize)]) -> Net {
        let mut net = Net::cold(n, edges);
        net.run_for(Duration::from_millis(100));
        for node in 0..n {
            let links = net.machine(node).counts()["links"];
            assert_eq!(net.machine(node).links_up() as u64, links, "every link is up");
        }
        net.forget_traffic();
        net
    }

    /// The network of these super peers before anything was sent.
    pub(super) fn cold(n: usize, edges: &[(usize, usize)]) -> Net {
        Net::cold_with(n, edges, |_, _| {})
    }

    /// The network of these super peers with changed configurations.
    pub(super) fn cold_with(n: usize, edges: &[(usize, usize)], change: fn(usize, &mut SuperPeerConfig)) -> Net {
        let mut world = World::new(0);
        world.send_singly();
        world.check_invariants();
        for node in 0..n {
            let neighbors = edges.iter().filter_map(|(a, b)| match node {
                _ if *a == node => Some(addr_of(*b)),
                _ if *b == node => Some(addr_of(*a)),
                _ => None,
            });
            let neighbors: Vec<Pin> = neighbors.map(Pin::from).collect();
            world.add(SUPER_PORT, move |life| {
                let mut config = SuperPeerConfig::new(NodeId([node as u8; 16]), node as u64 + 1);
                config.neighbors.clone_from(&neighbors);
                change(node, &mut config);
                Machine::Super(Box::new(SuperPeer::new(config, Box::new(Random::new(node as u64 * 1000 + life)))))
            });
        }
        let outputs: Rc<RefCell<Vec<(usize, Output)>>> = Rc::default();
        let tapped = Rc::clone(&outputs);
        world.set_tap(Box::new(move |_, node, output| tapped.borrow_mut().push((node, output.clone()))));
        let mut net = Net {
            world,
            nodes: (0..n).map(|_| Node::default()).collect(),
            outputs,
            sent: Vec::new(),
            timeouts_forgotten: 0,
            next_req: 0,
            policy: Policy::Flood,
        };
        net.set_latency(Duration::from_micros(200));
        (0..n).for_each(|node| net.world.start(node));
        net
    }

    pub(super) fn line(n: usize) -> Net {
        Net::new(n, &(1..n).map(|node| (node - 1, node)).collect::<Vec<_>>())
    }

    pub(super) fn ring(n: usize) -> Net {
        Net::new(n, &(0..n).map(|node| (node, (node + 1) % n)).collect::<Vec<_>>())
    }

    // ---- looking --------------------------------------------------------------------------------

    pub(super) fn now(&self) -> Time {
        self.world.now()
    }

    pub(super) fn is_alive(&self, node: usize) -> bool {
        self.world.is_running(node)
    }

    pub(super) fn machine(&self, node: usize) -> &SuperPeer {
        self.world.super_peer(node).expect("it runs")
    }

    /// The machine of a super peer, for a test that handles the outputs itself.
    pub(super) fn machine_mut(&mut self, node: usize) -> &mut SuperPeer {
        self.world.super_peer_mut(node).expect("it runs")
    }

    /// A counter of a super peer since its last start; 0 if it is dead.
    pub(super) fn count(&self, node: usize, count: Count) -> u64 {
        self.world.super_peer(node).map_or(0, |machine| machine.counters().count(count))
    }

    /// How often a timer fired.
    pub(super) fn wakeups(&self) -> u64 {
        self.world.counts().timeouts - self.timeouts_forgotten
    }

    /// How many messages that meet this condition were put on the wire.
    pub(super) fn sent(&self, which: impl Fn(&LinkMessage) -> bool) -> usize {
        self.sent.iter().filter(|(_, _, message)| which(message)).count()
    }

    pub(super) fn forget_traffic(&mut self) {
        self.sent.clear();
        self.timeouts_forgotten = self.world.counts().timeouts;
    }

    /// One of the edges of the tree that is held.
    pub(super) fn tree_edge(&self, which: usize) -> (usize, usize) {
        let edges = (0..self.nodes.len()).flat_map(|node| {
            let edges = self.machine(node).tree_edges();
            edges.into_iter().map(move |addr| (node, (0..).find(|other| addr_of(*other) == addr).unwrap()))
        });
        let edges: Vec<_> = edges.collect();
        edges[which * 7 % edges.len()]
    }

    // ---- links and lives ------------------------------------------------------------------------

    /// From now on this decides what happens to each message.
    pub(super) fn rule(&mut self, rule: impl FnMut(usize, usize, &LinkMessage) -> Fate + 'static) {
        self.world.set_faults(vec![Box::new(Ruled(Box::new(rule)))]);
    }

    /// From now on no message passes between these two super peers.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.rule(
            move |from, to, _| {
                if (from.min(to), from.max(to)) == (a.min(b), a.max(b)) { Fate::Lose } else { Fate::Arrive }
            },
        );
    }

    /// From now on this name has these addresses.
    pub(super) fn set_name(&mut self, name: &str, addrs: &[SocketAddr]) {
        self.world.set_name(name.parse().expect("a name and a port"), addrs.to_vec());
    }

    pub(super) fn set_latency(&mut self, latency: Duration) {
        self.world.set_latency(latency, latency);
    }

    /// The super peer is dead: it sends and receives nothing any more.
    pub(super) fn kill(&mut self, node: usize) {
        self.world.crash(node);
    }

    /// Starts the super peer again, without any state.
    pub(super) fn restart(&mut self, node: usize) {
        if self.is_alive(node) {
            self.world.crash(node);
        }
        self.world.start(node);
    }

    // ---- sessions -------------------------------------------------------------------------------

    pub(super) fn input(&mut self, node: usize, input: Input<'_>) {
        self.world.input(node, input);
        self.sort_outputs();
    }

    pub(super) fn say(&mut self, node: usize, conn: ConnId, message: Message) {
        self.input(node, Input::Message { conn, message });
    }

    pub(super) fn datagram(&mut self, node: usize, from: SocketAddr, bytes: &[u8]) {
        self.input(node, Input::Datagram { from, to: None, key: None, bytes });
    }

    /// A connection on which nothing was sent.
    pub(super) fn connect(&mut self, node: usize) -> ConnId {
        let index = self.nodes[node].next_conn;
        let from =
            SocketAddr::from(([127, 0, u8::try_from(node).unwrap(), u8::try_from(index % 250).unwrap()], 40_000));
        self.connect_from(node, from)
    }

    pub(super) fn connect_from(&mut self, node: usize, from: SocketAddr) -> ConnId {
        let index = self.nodes[node].next_conn;
        self.nodes[node].next_conn += 1;
        let conn = ConnId { index, generation: 7 };
        let to = if from.ip().is_loopback() { [127, 0, 0, 1] } else { [192, 0, 2, 1] };
        self.input(node, Input::Accepted { conn, from, to: to.into(), since: self.now(), key: None, unix: 0 });
        conn
    }

    /// A session that is logged in.
    pub(super) fn login(&mut self, node: usize) -> ConnId {
        let conn = self.connect(node);
        self.welcome(node, conn)
    }

    /// The same, from this address.
    pub(super) fn login_from(&mut self, node: usize, from: SocketAddr) -> ConnId {
        let conn = self.connect_from(node, from);
        self.welcome(node, conn)
    }

    fn welcome(&mut self, node: usize, conn: ConnId) -> ConnId {
        self.say(node, conn, hello());
        self.say(node, conn, login());
        conn
    }

    /// A weak peer with these files.
    pub(super) fn peer(&mut self, node: usize, paths: &[&str]) -> ConnId {
        let conn = self.login(node);
        let files = paths.iter().map(|path| file(path)).collect();
        self.say(node, conn, register(1, files));
        conn
    }

    pub(super) fn close(&mut self, node: usize, conn: ConnId) {
        self.input(node, Input::Closed { conn, why: CloseReason::Remote });
    }

    /// The immediate answers to a command.
    pub(super) fn command(&mut self, node: usize, command: Command) -> Vec<ClientEvent> {
        let client = self.world.ask(node, command);
        self.sort_outputs();
        self.world.asked(client).events.iter().map(|(_, event)| event.clone()).collect()
    }

    // ---- queries --------------------------------------------------------------------------------

    pub(super) fn query(&mut self, node: usize, conn: ConnId, find: Search, ttl: u8, budget_ms: u32) -> u32 {
        self.query_by(self.policy, node, conn, find, ttl, budget_ms)
    }

    pub(super) fn query_by(
        &mut self,
        policy: Policy,
        node: usize,
        conn: ConnId,
        find: Search,
        ttl: u8,
        budget_ms: u32,
    ) -> u32 {
        self.next_req += 1;
        let req = self.next_req;
        let (ttl, budget, policy) = (Some(ttl), Some(budget_ms), Some(policy));
        self.say(node, conn, Message::Query(Query { req, find, ttl, budget, policy }));
        req
    }

    pub(super) fn hits(&self, node: usize, req: u32) -> Vec<SourceRecord> {
        let hits = self.nodes[node].said.iter().filter_map(|(_, message)| {
            let Message::Hit(Hit { req: of, hits }) = message else { return None };
            (*of == req).then(|| hits.clone())
        });
        hits.flatten().collect()
    }

    pub(super) fn done(&self, node: usize, req: u32) -> Option<Done> {
        self.nodes[node].said.iter().find_map(|(_, message)| {
            let Message::Done(done) = message else { return None };
            (done.req == req).then(|| done.clone())
        })
    }

    /// Runs until the query is over. Fails if the query does not end.
    pub(super) fn finish(&mut self, node: usize, req: u32) -> Done {
        for _ in 0..200_000 {
            if let Some(done) = self.done(node, req) {
                return done;
            }
            assert!(self.step(), "nothing is left to do, and the query is not over");
        }
        panic!("the query does not end");
    }

    /// Sends a query on a session of its own, and waits for the end.
    pub(super) fn ask(&mut self, node: usize, pattern: &str, ttl: u8) -> (Vec<SourceRecord>, Done) {
        self.ask_by(self.policy, node, search(pattern), ttl)
    }

    /// Sends a query with this policy and this limit, and waits for the end.
    pub(super) fn ask_by(&mut self, policy: Policy, node: usize, find: Search, ttl: u8) -> (Vec<SourceRecord>, Done) {
        let conn = self.login(node);
        let req = self.query_by(policy, node, conn, find, ttl, 2000);
        let done = self.finish(node, req);
        (self.hits(node, req), done)
    }

    // ---- time -----------------------------------------------------------------------------------

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.world.next().is_some_and(|next| next <= end) {
            self.step();
        }
        self.world.run_for(end.since(self.now()));
    }

    /// The next datagram or deadline. False if there is none.
    pub(super) fn step(&mut self) -> bool {
        let went_on = self.world.step();
        self.sort_outputs();
        went_on
    }

    /// Sorts what the machines sent, and closes the connections that they close.
    fn sort_outputs(&mut self) {
        loop {
            let outputs = std::mem::take(&mut *self.outputs.borrow_mut());
            if outputs.is_empty() {
                return;
            }
            for (node, output) in outputs {
                self.sort(node, output);
            }
        }
    }

    fn sort(&mut self, node: usize, output: Output) {
        let this = &mut self.nodes[node];
        match output {
            Output::Send { conn, message } => {
                // What a real peer could not decode must not leave a machine.
                let mut bytes = Vec::new();
                frame::encode(&message, &mut bytes);
                frame::decode(&bytes, FRAME_BYTES_OPEN).unwrap().unwrap();
                this.said.push((conn, message));
            }
            Output::Close { conn } | Output::Abort { conn } => {
                this.closed.push(conn);
                self.world.input(node, Input::Closed { conn, why: CloseReason::Asked });
            }
            Output::FrameCap { conn, bytes } => this.caps.push((conn, bytes)),
            Output::Hold { conn, hold } => this.holds.push((conn, hold)),
            Output::SendTo { to, boot, message, .. } => {
                let hello = matches!(*message, LinkMessage::Hello(_));
                assert!(boot != 0 || hello, "only a HELLO is sent to a neighbor that is not known yet");
                if let Some(to) = (0..self.nodes.len()).find(|other| addr_of(*other) == to) {
                    self.sent.push((node, to, *message));
                }
            }
            Output::Event(event) => this.events.push(*event),
            Output::Resolve { .. } | Output::SaveAccounts { .. } => {}
            other @ (Output::Dial { .. }
            | Output::SendPayload { .. }
            | Output::ReceivePayload { .. }
            | Output::DropPayload { .. }
            | Output::DropChunk { .. }
            | Output::Limit(_)
            | Output::Disk(_)) => panic!("a super peer asked for {other:?}"),
        }
    }
}
