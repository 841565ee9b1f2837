//! Peers that stay: production machines of weak peers, each with a session and one file. When the
//! super peer ends, each returns as a peer does: with its own waits and its own retries. Dials wait
//! here while DIALS are under way: this process makes their handshakes one after the other, and a
//! peer on a host of its own would make its handshake at once.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sprat::proto::disk::DiskDone;
use sprat::proto::weak_peer::{Listens, Offer, PeerLogin, WeakPeer, WeakPeerConfig};
use sprat::proto::{ConnId, DialCause, DialId, Event, Input, Output, Role};
use sprat::sim::Random;
use sprat::time::Time;
use sprat::trust::Pin;
use sprat::wire::{FileRecord, Root, SharePath};

use crate::members::Members;
use crate::{say, unix};

/// Most peers that log in at once for the first time. Afterwards each peer decides itself.
const STARTING_MAX: usize = 128;
/// Most dials that are under way, unless another number is given.
pub(crate) const DIALS: usize = 256;
const HOUR: Duration = Duration::from_secs(3600);

struct Peer {
    machine: WeakPeer,
    is_up: bool,
    /// Whether it was ever up.
    has_begun: bool,
    /// When it came up, by the wall clock.
    since: f64,
    /// When its next timer is due.
    due: Option<Time>,
}

pub(crate) struct Peers {
    peers: Vec<Peer>,
    /// The peer of each connection, by the slot of the connection, with the generation of the slot.
    owners: Vec<Option<(u32, usize)>>,
    /// The timers of all peers that have started.
    due: BTreeSet<(Time, usize)>,
    /// Peers that have started, and those of them that were not up yet.
    started: usize,
    starting: usize,
    up: usize,
    /// Whether all were up, and what has happened since then.
    was_complete: bool,
    dials: u64,
    dials_failed: u64,
    /// The dials that wait, and how many are under way.
    waiting: VecDeque<Output>,
    under_way: u64,
    under_way_max: u64,
    lost: u64,
    handshakes_failed: u64,
    out: VecDeque<Output>,
    now: Time,
}

impl Peers {
    pub(crate) fn new(members: &Members, super_peer: &Pin, dials: usize) -> Peers {
        let peer = |n: usize| {
            let member = &members.all[n];
            let login = PeerLogin { key: member.key, credential: Some(member.credential.clone()), invitation: None };
            let config = WeakPeerConfig {
                node: member.node(),
                boot: 1,
                supers: vec![super_peer.clone()],
                login: Some(Arc::new(login)),
                offer: Some(Offer { port: 4778, host: None, listens: Listens::Everywhere, http: false }),
                connect_timeout: HOUR,
                download_timeout: HOUR,
                agent: "logins".to_owned(),
            };
            let random = Random::new(n as u64 + 1);
            let machine = WeakPeer::new(config, Box::new(random));
            Peer { machine, is_up: false, has_begun: false, since: 0.0, due: None }
        };
        Peers {
            peers: (0..members.all.len()).map(peer).collect(),
            owners: Vec::new(),
            due: BTreeSet::new(),
            started: 0,
            starting: 0,
            up: 0,
            was_complete: false,
            dials: 0,
            dials_failed: 0,
            waiting: VecDeque::new(),
            under_way: 0,
            under_way_max: dials as u64,
            lost: 0,
            handshakes_failed: 0,
            out: VecDeque::new(),
            now: Time::ZERO,
        }
    }

    fn start_more(&mut self) {
        while self.starting < STARTING_MAX && self.started < self.peers.len() {
            let which = self.started;
            self.started += 1;
            self.starting += 1;
            let name = format!("file of peer {which:05}.dat");
            let root = Root(*blake3::hash(name.as_bytes()).as_bytes());
            let path = SharePath::new(&name).expect("a short name");
            let added = vec![FileRecord { path, size: 1, root, collection: false }];
            self.feed(which, Input::Disk(DiskDone::Share { added, removed: Vec::new() }));
        }
    }

    /// One input, then everything that it causes.
    fn feed(&mut self, which: usize, input: Input<'_>) {
        self.peers[which].machine.handle_input(self.now, input);
        self.drain(which);
    }

    fn drain(&mut self, which: usize) {
        while let Some(output) = self.peers[which].machine.poll_output() {
            match output {
                Output::Dial { dial, to, key } => {
                    self.dials += 1;
                    let dial = DialId(dial.0 * self.peers.len() as u64 + which as u64);
                    self.waiting.push_back(Output::Dial { dial, to, key });
                }
                Output::Event(event) => self.on_event(which, *event),
                Output::Send { .. }
                | Output::FrameCap { .. }
                | Output::Hold { .. }
                | Output::Close { .. }
                | Output::Abort { .. } => self.out.push_back(output),
                // The peers have no disk, no downloads, no links and no accounts.
                Output::Limit(_)
                | Output::Disk(_)
                | Output::DropPayload { .. }
                | Output::DropChunk { .. }
                | Output::SendPayload { .. }
                | Output::ReceivePayload { .. }
                | Output::Resolve { .. }
                | Output::SendTo { .. }
                | Output::SaveAccounts { .. } => {}
            }
        }
        let peer = &mut self.peers[which];
        let due = peer.machine.poll_timeout();
        if due != peer.due {
            if let Some(at) = peer.due {
                self.due.remove(&(at, which));
            }
            peer.due = due;
            self.due.extend(due.map(|at| (at, which)));
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "few events concern the session")]
    fn on_event(&mut self, which: usize, event: Event) {
        match event {
            Event::Welcomed { .. } => self.on_up(which),
            Event::SessionLost { .. } => self.on_lost(which),
            Event::Fatal(failure) => {
                say("failed", json!({ "peer": which, "why": failure.message }));
                std::process::exit(1);
            }
            _ => {}
        }
    }

    fn on_up(&mut self, which: usize) {
        let peer = &mut self.peers[which];
        self.starting -= usize::from(!peer.has_begun);
        (peer.is_up, peer.has_begun, peer.since) = (true, true, unix());
        self.up += 1;
        if self.up < self.peers.len() {
            return;
        }
        let mut since: Vec<f64> = self.peers.iter().map(|peer| peer.since).collect();
        since.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| since[((since.len() - 1) as f64 * share) as usize];
        let counts = json!({
            "peers": self.up, "p50": at(0.5), "p99": at(0.99), "last": at(1.0), "lost": self.lost, "dials": self.dials,
            "dials_failed": self.dials_failed, "handshakes_failed": self.handshakes_failed,
        });
        say("up", counts);
        self.was_complete = true;
        (self.lost, self.dials, self.dials_failed, self.handshakes_failed) = (0, 0, 0, 0);
    }

    fn on_lost(&mut self, which: usize) {
        if std::mem::take(&mut self.peers[which].is_up) {
            if self.was_complete && self.up == self.peers.len() {
                say("lost", json!({}));
            }
            self.up -= 1;
            self.lost += 1;
        }
    }

    // ---- connections ----------------------------------------------------------------------------

    /// The peer of a dial, and the number that the peer gave to the dial.
    fn dialed(&self, dial: DialId) -> (usize, DialId) {
        let count = self.peers.len() as u64;
        ((dial.0 % count) as usize, DialId(dial.0 / count))
    }

    fn own(&mut self, conn: ConnId, which: usize) {
        let slot = conn.index as usize;
        if slot >= self.owners.len() {
            self.owners.resize(slot + 1, None);
        }
        self.owners[slot] = Some((conn.generation, which));
    }

    fn owner(&self, conn: ConnId) -> Option<usize> {
        let (generation, which) = (*self.owners.get(conn.index as usize)?)?;
        (generation == conn.generation).then_some(which)
    }
}

impl Role for Peers {
    #[expect(clippy::wildcard_enum_match_arm, reason = "`leave` has all others")]
    fn handle_input(&mut self, now: Time, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Dialed { dial, conn, own, key, unix } => {
                self.under_way -= 1;
                let (which, dial) = self.dialed(dial);
                self.own(conn, which);
                self.feed(which, Input::Dialed { dial, conn, own, key, unix });
            }
            Input::DialFailed { dial, why, cause } => {
                self.under_way -= 1;
                self.dials_failed += 1;
                self.handshakes_failed += u64::from(cause == DialCause::Handshake);
                let (which, dial) = self.dialed(dial);
                self.feed(which, Input::DialFailed { dial, why, cause });
            }
            Input::Message { conn, .. }
            | Input::Malformed { conn, .. }
            | Input::Backlogged { conn }
            | Input::Drained { conn }
            | Input::Closed { conn, .. } => {
                let is_closed = matches!(input, Input::Closed { .. });
                let Some(which) = self.owner(conn) else { return };
                self.feed(which, input);
                if is_closed {
                    self.owners[conn.index as usize] = None;
                }
            }
            Input::Shutdown => std::process::exit(0),
            unused => self.out.extend(unused.given_back()),
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.start_more();
        let due: Vec<usize> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, which)| *which).collect();
        for which in due {
            self.peers[which].machine.handle_timeout(now);
            self.drain(which);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        if self.out.is_empty() && self.under_way < self.under_way_max {
            self.out.extend(self.waiting.pop_front());
            self.under_way += self.out.len() as u64;
        }
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let may_start = self.starting < STARTING_MAX && self.started < self.peers.len();
        let first = self.due.first().map(|(at, _)| *at);
        if may_start { Some(Time::ZERO) } else { first }
    }
}
