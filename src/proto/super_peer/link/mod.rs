//! Links and what is known of the neighbors at their other ends: the table of links, the spanning
//! tree and the digests.
//!
//! It owns the checks that every datagram must pass. It also owns the effects on the tree and on
//! the digests of a HELLO, or of a link that goes down. It knows no query: a handler returns
//! whether answers were lost, and the dispatcher reports this to the flood.

mod cause;
mod lookup;
mod neighbor;
mod rtt;
mod strangers;
mod table;

use std::net::SocketAddr;

use self::neighbor::Change;
pub(super) use self::neighbor::Path;
use self::strangers::Strangers;
pub(super) use self::table::Links;
use super::config::SuperPeerConfig;
use super::context::{Context, Reason};
use super::counters::Count;
use super::digest::Digests;
use super::ids::LinkId;
use super::tree::Tree;
use crate::config::{FOLD, LINK_RESTARTS_REPORTED, LINK_RESTARTS_WINDOW};
use crate::proto::marks::mark;
use crate::proto::{ConnId, Event, ResolveId, Unanswered, Undelivered};
use crate::time::Time;
use crate::trust::{Pin, PublicKey};
use crate::wire::link::{self, LinkDigest, LinkDigested, LinkHello, LinkTree};
use crate::wire::message::{Ack, LinkRow};
use crate::wire::{LinkMessage, Message};

/// The messages of one datagram from a neighbor.
pub(super) struct Opened {
    pub(super) link: LinkId,
    path: Path,
    /// Whether the header names our boot id, so that the sender has seen our HELLO.
    pub(super) proven: bool,
    pub(super) messages: Vec<LinkMessage>,
}

/// The neighbors.
///
/// - getters: `links`, `tree`, `digests`, each with getters of its own; `rows`;
/// - `handle_*`: `on_datagram`, `on_hello`, `on_tree`, `on_digest`, `on_digested`, `on_resolved`,
///   `on_undelivered`, `on_unanswered`, and one `on_*` per timer.
pub(super) struct Neighbors {
    pub(super) links: Links,
    strangers: Strangers,
    pub(super) tree: Tree,
    pub(super) digests: Digests,
}

impl Neighbors {
    /// A table of all links. Each is down, and a HELLO is due on each. `boot` is our boot id for
    /// neighbors.
    pub(super) fn new(boot: u64, cx: &mut Context) -> Neighbors {
        let SuperPeerConfig { node, neighbors, digests, .. } = &cx.config;
        let mut links = Links::new(*node, boot, neighbors);
        // Epochs of two runs must differ, as boot ids do.
        let digests = Digests::new(*digests, links.len(), boot.rotate_left(32));
        links.take_digests(digests.takes());
        let tree = Tree::new(*node, boot, links.len());
        for link in links.ids() {
            cx.timers.set(Reason::Link(link), Time::ZERO);
        }
        Neighbors { links, strangers: Strangers::default(), tree, digests }
    }

    /// Replaces the list of neighbors. Links to neighbors that stay are not touched. Returns
    /// whether answers are lost, because a removed neighbor still owed some.
    #[must_use]
    pub(super) fn set(&mut self, pins: &[Pin], cx: &mut Context) -> bool {
        let mut lost = false;
        for link in self.links.others(pins) {
            let change = self.links.remove(link, cx.now);
            lost |= self.on_change(link, change, cx);
            self.links.ids().for_each(|link| self.arm_link(link, cx));
        }
        for pin in pins {
            if self.links.has(pin) {
                continue;
            }
            // The share of each neighbor in the memory for digests was set at the start.
            let added = if self.digests.has_room(&self.links) { self.links.add(pin, cx.now) } else { None };
            let Some(link) = added else {
                cx.report(warning(format!("there is no place for neighbor {pin}; restart this super peer to add it")));
                continue;
            };
            self.tree.grow(self.links.len());
            self.digests.grow(&self.links, cx);
            cx.timers.set(Reason::Link(link), cx.now);
        }
        lost
    }

    /// A datagram came, to this address of ours. Returns its messages if it comes from a neighbor
    /// and its header does not name an earlier run of this super peer.
    pub(super) fn on_datagram(
        &mut self,
        path: Path,
        key: Option<PublicKey>,
        bytes: &[u8],
        cx: &mut Context,
    ) -> Option<Opened> {
        let from = path.from;
        let Some(link) = self.links.find_sender(from, key) else {
            cx.count(Count::DatagramUnlisted);
            if self.strangers.on_datagram(from, bytes, cx.now) {
                cx.report(warning(format!(
                    "{from} greets this super peer, but no --neighbor names it, so it gets no answer; to link the \
                     two, add --neighbor {from}"
                )));
            }
            return None;
        };
        if key.is_some() {
            self.links.roam(link, path);
        }
        // A datagram whose header names another boot id is not decoded.
        let boot = link::boot_of(bytes);
        if boot.is_some_and(|boot| boot != 0 && boot != self.links.boot()) {
            cx.count(Count::DatagramStale);
            self.links.greet_soon(link, cx);
            return None;
        }
        let Ok((boot, messages)) = link::decode(bytes) else {
            cx.count(Count::DatagramMalformed);
            return None;
        };
        let proven = boot == self.links.boot();
        Some(Opened { link, path, proven, messages })
    }

    /// Counts a message. Returns whether it is accepted. A HELLO is always accepted. All other
    /// messages are accepted only on a link that is up, and with our boot id in the header.
    pub(super) fn admit(&mut self, opened: &Opened, message: &LinkMessage, cx: &mut Context) -> bool {
        let Opened { link, proven, .. } = *opened;
        let may_speak = proven && self.links.is_up(link);
        if !may_speak && !matches!(message, LinkMessage::Hello(_)) {
            cx.count(Count::DatagramUnproven);
            // The neighbor already considers the link up. Here it comes up with the answer to a
            // HELLO.
            if proven && self.links.is_half_open(link) {
                self.links.greet_soon(link, cx);
                self.arm_link(link, cx);
            }
            return false;
        }
        cx.count(match message {
            LinkMessage::Hello(_) => Count::LinkHello,
            LinkMessage::Query(_) => Count::LinkQuery,
            LinkMessage::Hit(_) => Count::LinkHit,
            LinkMessage::Done(_) => Count::LinkDone,
            LinkMessage::Pending(_) => Count::LinkPending,
            LinkMessage::Cancel(_) => Count::LinkCancel,
            LinkMessage::Tree(_) => Count::LinkTree,
            LinkMessage::Digest(_) => Count::LinkDigest,
            LinkMessage::Digested(_) => Count::LinkDigested,
            LinkMessage::Unknown(_) => Count::LinkUnknown,
        });
        true
    }

    /// A HELLO came. Returns whether the answers that the neighbor owed are lost, because it has
    /// restarted.
    #[must_use]
    pub(super) fn on_hello(&mut self, opened: &Opened, hello: LinkHello, cx: &mut Context) -> bool {
        let Opened { link, path, proven, .. } = *opened;
        // Without our boot id in the header the echo proves nothing.
        let hello = LinkHello { echo: if proven { hello.echo } else { 0 }, ..hello };
        // With or without proof, this HELLO may come from a later run of the neighbor than its
        // digest. The digest may be outdated, so it is dropped.
        if hello.boot != self.links.boot_of(link) {
            self.digests.forget(link);
        }
        // A digest of another fold says nothing about names as we fold them. No lease is accepted
        // from such a neighbor, and without a lease its digest is never used.
        let folds_alike = hello.fold == Some(FOLD);
        let asks = proven && hello.et.is_none();
        // While this super peer is starting, its digest lacks files that were registered before the
        // restart.
        let lease = if asks && !cx.starting { self.digests.lease(link, cx.now) } else { None };
        let change = self.links.on_hello(link, path, hello, lease, cx);
        let lost = self.on_change(link, change, cx);
        if matches!(change, Change::Up | Change::Renewed) {
            self.digests.on_link_up(link, hello.dg.filter(|_| folds_alike), &self.links, cx);
        }
        let echoes = hello.echo == self.links.boot() && hello.boot == self.links.boot_of(link);
        if let (true, Some(asked), Some(epoch)) = (echoes && folds_alike, hello.et, hello.de) {
            self.digests.on_lease(link, epoch, Time::from_micros(asked), cx.now);
        }
        // If the sender of a HELLO has not seen our boot id, or is another run of the neighbor, the
        // HELLO says nothing about this link.
        if proven && self.links.is_up_with(link, hello.boot) {
            self.tree.on_hello(link, hello, &self.links, cx);
            self.after_tree(cx);
        }
        lost
    }

    /// A TREE came.
    pub(super) fn on_tree(&mut self, link: LinkId, tree: LinkTree, cx: &mut Context) {
        self.tree.on_tree(link, tree, &self.links, cx);
        self.after_tree(cx);
    }

    /// A DIGEST came.
    pub(super) fn on_digest(&mut self, link: LinkId, step: LinkDigest, cx: &mut Context) {
        if self.digests.on_step(link, step, &self.links, cx) {
            self.links.greet_soon(link, cx);
            self.arm_link(link, cx);
        }
    }

    /// A DIGESTED came.
    pub(super) fn on_digested(&mut self, link: LinkId, ack: LinkDigested, cx: &mut Context) {
        self.digests.on_ack(link, ack, &self.links, cx);
    }

    /// Sends an ACK, or delays it until no neighbor uses a digest that lacks the files that it
    /// acknowledges. Returns the session that must be closed because too many ACKs wait.
    pub(super) fn acknowledge(&mut self, conn: ConnId, ack: Ack, cx: &mut Context) -> Option<ConnId> {
        self.note_changes(cx);
        let greedy = self.digests.make_room(conn);
        if greedy != Some(conn) {
            match self.digests.hold(cx.now, conn, ack) {
                Some(ack) => cx.send(conn, Message::Ack(ack)),
                None => cx.count(Count::AcksHeld),
            }
        }
        greedy
    }

    /// Files may have been added to the index.
    #[inline(always)]
    pub(super) fn note_changes(&mut self, cx: &mut Context) {
        self.digests.note_changes(&self.links, cx);
    }

    /// Does as much of the work for digests as fits in one turn.
    pub(super) fn run(&mut self, cx: &mut Context) {
        self.digests.run(&self.links, cx);
    }

    /// The deadline of the digests has come.
    pub(super) fn on_digest_timeout(&mut self, cx: &mut Context) {
        self.digests.on_timeout(&self.links, cx);
    }

    /// The name of a neighbor was resolved, or could not be.
    pub(super) fn on_resolved(&mut self, id: ResolveId, result: Result<Vec<SocketAddr>, String>, cx: &mut Context) {
        for addr in result.iter().flatten() {
            self.strangers.forget(*addr);
        }
        if let Some((link, text)) = self.links.on_resolved(id, result, cx.now) {
            cx.report(warning(format!("neighbor {} {text}", self.links.name(link))));
        }
        if let Some(link) = usize::try_from(id.0).ok().filter(|index| *index < self.links.len()) {
            self.arm_link(LinkId::at(link), cx);
        }
    }

    /// A datagram could not be delivered.
    pub(super) fn on_undelivered(&mut self, to: SocketAddr, why: Undelivered, cx: &Context) {
        self.links.on_undelivered(to, why, cx.now);
    }

    /// A super peer sends a greeting and gets no answer.
    pub(super) fn on_unanswered(&mut self, from: SocketAddr, why: Unanswered, cx: &mut Context) {
        if self.links.on_unanswered(from, why, cx.now).is_none() && self.strangers.on_greeting(from, cx.now) {
            let rest = match why {
                Unanswered::Stranger(key) => format!("; to link the two, add --neighbor {key}@{from}"),
                Unanswered::Open | Unanswered::Login | Unanswered::OtherKey | Unanswered::Counter(_) => String::new(),
            };
            cx.report(warning(format!("{}, so it gets no answer{rest}", cause::unanswered(from, why))));
        }
    }

    /// All links as INFO lists them.
    pub(super) fn rows(&self, cx: &Context) -> Vec<LinkRow> {
        self.links.rows(&self.strangers, cx.now)
    }

    /// The deadline of a link has come. Returns whether the answers that the neighbor owed are lost
    /// because the link is down now.
    #[must_use]
    pub(super) fn on_link_timeout(&mut self, link: LinkId, cx: &mut Context) -> bool {
        let change = self.links.on_timeout(link, cx);
        if let Some(why) = self.links.take_report(link, &self.strangers, cx.now) {
            cx.report(warning(format!("no link to neighbor {}: {why}", self.links.name(link))));
        }
        self.on_change(link, change, cx)
    }

    /// The deadline of the tree has come.
    pub(super) fn on_tree_timeout(&mut self, cx: &mut Context) {
        self.tree.on_timeout(&self.links, cx);
        self.after_tree(cx);
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self, cx: &Context) {
        self.links.check_invariants();
        self.tree.check_invariants();
        self.digests.check_invariants(&cx.index);
    }

    fn on_change(&mut self, link: LinkId, change: Change, cx: &mut Context) -> bool {
        let lost = matches!(change, Change::Renewed | Change::Down);
        let is_reported = change != Change::Renewed || self.reports_restart(link, cx);
        if lost {
            cx.count(Count::LinksDown);
            if is_reported {
                self.report_link(link, false, cx);
            }
            self.tree.on_link_lost(link, &self.links, cx);
            self.after_tree(cx);
            self.digests.on_link_down(link, &self.links, cx);
        }
        let neighbor = self.links.name(link);
        match change {
            Change::None | Change::Half | Change::Down => {}
            Change::Up => {
                cx.count(Count::LinksUp);
                self.report_link(link, true, cx);
            }
            Change::Renewed => {
                mark!(LinkRenewed);
                cx.count(Count::LinksUp);
                if is_reported {
                    self.report_link(link, true, cx);
                }
            }
            Change::NameTaken => cx
                .report(warning(format!("neighbor {neighbor} has this super peer's own node id; the link stays down"))),
            Change::Myself => {
                cx.report(warning(format!("neighbor {neighbor} is this super peer itself; it is ignored")));
            }
            Change::Twin => cx.report(Event::Log {
                level: log::Level::Info,
                text: format!("neighbor {neighbor} is the same super peer as another neighbor; one link is used"),
            }),
        }
        if lost {
            // Other links to the same node are down now, and a HELLO is due on each.
            self.links.ids().for_each(|link| self.arm_link(link, cx));
        }
        self.arm_link(link, cx);
        lost
    }

    /// A neighbor has restarted. Returns whether this is reported. The first restart that is not
    /// reported is announced.
    fn reports_restart(&mut self, link: LinkId, cx: &mut Context) -> bool {
        let restarts = self.links.note_restart(link, cx.now);
        if restarts == LINK_RESTARTS_REPORTED + 1 {
            let (neighbor, window) = (self.links.name(link), LINK_RESTARTS_WINDOW.as_secs());
            cx.report(warning(format!(
                "neighbor {neighbor} restarts often; of its restarts in {window} s, only {LINK_RESTARTS_REPORTED} are reported"
            )));
        }
        restarts <= LINK_RESTARTS_REPORTED
    }

    fn report_link(&self, link: LinkId, up: bool, cx: &mut Context) {
        cx.report(Event::Link { neighbor: self.links.name(link).clone(), at: self.links.addr(link), up });
    }

    /// Puts the tree that is held into our HELLOs, and arms the deadline of the tree.
    fn after_tree(&mut self, cx: &mut Context) {
        self.links.set_tree(self.tree.holds(), self.tree.is_whole());
        cx.arm(Reason::Tree, self.tree.next());
    }

    fn arm_link(&self, link: LinkId, cx: &mut Context) {
        cx.arm(Reason::Link(link), self.links.next(link));
    }
}

fn warning(text: String) -> Event {
    Event::Log { level: log::Level::Warn, text }
}

#[cfg(test)]
mod tests;
