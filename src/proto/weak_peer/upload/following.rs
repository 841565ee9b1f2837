//! Followers of contents that this peer has or downloads: what is announced to them, and which of
//! them gets the next turn.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Uploads;
use super::connection::Upload;
use super::request::Wanted;
use crate::config::{
    FOLLOWER_KEPT_MIN, FOLLOWERS_MAX, HAS_LIST_MAX, LINGER_QUIET, PIECE_BYTES, RATE_WINDOW, UPLOAD_RATE_MIN,
};
use crate::proto::ConnId;
use crate::proto::crowd::{Host, Occupant, Rank, leaving};
use crate::proto::pieces_of;
use crate::proto::weak_peer::context::{Context, Reason};
use crate::proto::weak_peer::swarm::holdings::Holdings;
use crate::proto::weak_peer::swarm::turns::Follower;
use crate::time::Time;
use crate::wire::message::ErrorCode;
use crate::wire::swarm::{Follow, Has, Turn, Want};
use crate::wire::{Message, NodeId, Root};

const TOO_MANY: &str = "too many follow this content here";

impl Uploads {
    // ---- FOLLOW and HAS -------------------------------------------------------------------------

    pub(super) fn on_follow(&mut self, cx: &mut Context, conn: ConnId, follow: Follow) {
        let Follow { req, root, zone } = follow;
        let is_full = self.followers(root).filter(|(other, _)| *other != conn).count() >= FOLLOWERS_MAX;
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        if !upload.swarms {
            return self.fail(cx, conn, ErrorCode::ORDER, "FOLLOW needs the feature swarm in HELLO");
        }
        if upload.follower.is_some() {
            return cx.error(conn, ErrorCode::LIMIT, "a connection follows one content", Some(req));
        }
        if is_full && !self.displace(cx, root) {
            return cx.error(conn, ErrorCode::BUSY, TOO_MANY, Some(req));
        }
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        upload.active_at = cx.now;
        upload.root = Some(root);
        let (wants, needs) = (0, false);
        upload.follower =
            Some(Follower { req, root, zone, is_answered: false, wants, needs, begun: cx.now, since: cx.now });
        self.unanswered.push(conn);
    }

    /// All places for followers of a content are taken. Of the followers that read more slowly than
    /// [`UPLOAD_RATE_MIN`], finds the host that has most of them, and ends the FOLLOW that this
    /// host has had longest. Returns `false` if there is no such follower.
    fn displace(&mut self, cx: &mut Context, root: Root) -> bool {
        let occupant = |(conn, upload): (ConnId, &Upload)| {
            let follower = upload.follower.as_ref()?;
            let takes = upload.rate.recent(cx.now) >= UPLOAD_RATE_MIN * RATE_WINDOW.as_secs();
            let is_new = cx.now.since(follower.begun) < FOLLOWER_KEPT_MIN;
            // What it takes counts once a chunk is sent completely.
            let is_served = upload.requests.iter().any(|request| request.bytes() > 0)
                && cx.now.since(upload.active_at) < Duration::from_secs(PIECE_BYTES / UPLOAD_RATE_MIN);
            let (host, rank, since) = (upload.from.ip().into(), Rank::Idle, follower.begun);
            (!takes && !is_new && !is_served).then_some(Occupant { conn, host, rank, since })
        };
        let idle = self.followers(root).filter_map(occupant).collect();
        let Some(Occupant { conn, .. }) = leaving(idle, 1).pop() else { return false };
        if let Some(follower) = self.conns.get(&conn).and_then(|upload| upload.follower.as_ref()) {
            cx.error(conn, ErrorCode::BUSY, TOO_MANY, Some(follower.req));
        }
        self.followers_displaced += 1;
        self.end_follow(conn);
        true
    }

    pub(super) fn followers(&self, root: Root) -> impl Iterator<Item = (ConnId, &Upload)> {
        let follows = move |upload: &Upload| upload.follower.as_ref().is_some_and(|follower| follower.root == root);
        self.conns.iter().filter(move |(_, upload)| follows(upload)).map(|(conn, upload)| (*conn, upload))
    }

    /// Answers new followers, and announces to all what has changed in this turn.
    pub(in crate::proto::weak_peer) fn announce(&mut self, cx: &mut Context, holdings: &mut Holdings) {
        while let Some(news) = holdings.poll_news() {
            for (&conn, upload) in &self.conns {
                let Some(follower) = upload.follower.as_ref().filter(|a| a.root == news.root && a.is_answered) else {
                    continue;
                };
                let (req, manifest) = (follower.req, news.manifest);
                if news.full {
                    cx.send(conn, Message::Has(Has { req, full: true, manifest: true, ..Has::default() }));
                    continue;
                }
                // A piece need not be announced to the node that sent it.
                let is_new = |from: Option<NodeId>| from.is_none() || from != upload.node;
                let added = news.added.iter().filter(|(_, from)| is_new(*from)).map(|(piece, _)| *piece);
                let added: Vec<u32> = added.collect();
                for add in added.chunks(HAS_LIST_MAX) {
                    cx.send(conn, Message::Has(Has { req, add: add.to_vec(), manifest, ..Has::default() }));
                }
                if added.is_empty() && manifest {
                    cx.send(conn, Message::Has(Has { req, manifest, ..Has::default() }));
                }
            }
        }
        for conn in std::mem::take(&mut self.unanswered) {
            self.announce_all(cx, conn, holdings);
        }
        self.give_turns(cx);
    }

    /// Sends the first HAS after FOLLOW. If the content is not being downloaded, the disk first
    /// looks whether it is in the share.
    fn announce_all(&mut self, cx: &mut Context, conn: ConnId, holdings: &Holdings) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        let Some(follower) = &mut upload.follower else { return };
        let (req, root) = (follower.req, follower.root);
        let Some(holding) = holdings.of(root) else {
            // Unless the disk was asked already.
            if upload.find(req).is_none() && self.queue(cx, conn, req, Wanted::Follow { root }) {
                self.pump(cx, conn);
            }
            return;
        };
        follower.is_answered = true;
        let first = Has { req, manifest: holding.manifest, zone: cx.zone.clone(), ..Has::default() };
        if holding.pieces.is_full() {
            return cx.send(conn, Message::Has(Has { full: true, ..first }));
        }
        let mut pages = holding.pieces.pages().peekable();
        if pages.peek().is_none() {
            return cx.send(conn, Message::Has(first));
        }
        for (from, bits) in pages {
            cx.send(conn, Message::Has(Has { from, bits, ..first.clone() }));
        }
    }

    /// The disk has the complete content, of this size, or does not have it. The connection may
    /// follow another content by now.
    pub(super) fn on_followed(&mut self, cx: &mut Context, conn: ConnId, req: u32, size: Option<u64>) {
        let follower = self.conns.get_mut(&conn).and_then(|upload| upload.follower.as_mut());
        let Some(follower) = follower.filter(|follower| follower.req == req) else { return };
        let Some(size) = size else { return self.end_follow(conn) };
        follower.is_answered = true;
        let root = follower.root;
        let zone = cx.zone.clone();
        cx.send(conn, Message::Has(Has { req, full: true, manifest: true, zone, ..Has::default() }));
        let order = cx.draw_u64();
        self.turns.begin_seed(root, u32::try_from(pieces_of(size)).unwrap_or(u32::MAX), order);
    }

    /// A download has stopped serving this content. The disk is asked whether the share has it.
    pub(in crate::proto::weak_peer) fn on_holding_ended(&mut self, root: Root) {
        let followers: Vec<ConnId> = self.followers(root).map(|(conn, _)| conn).collect();
        for &conn in &followers {
            if let Some(follower) = self.conns.get_mut(&conn).and_then(|upload| upload.follower.as_mut()) {
                follower.is_answered = false;
            }
        }
        self.unanswered.extend(followers);
    }

    /// The connection stops following.
    pub(super) fn end_follow(&mut self, conn: ConnId) {
        let Some(follower) = self.conns.get_mut(&conn).and_then(|upload| upload.follower.take()) else { return };
        self.waiting.remove(&conn);
        self.turns.give_back(conn);
        if self.followers(follower.root).next().is_none() {
            self.turns.end_seed(follower.root);
        }
    }

    // ---- WANT and TURN --------------------------------------------------------------------------

    pub(super) fn on_want(&mut self, cx: &mut Context, conn: ConnId, want: Want) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        let Some(follower) = upload.follower.as_mut().filter(|follower| follower.req == want.req) else { return };
        upload.active_at = cx.now;
        if follower.wants == 0 {
            follower.since = cx.now;
        }
        (follower.wants, follower.needs) = (want.n, want.need);
        if want.n == 0 {
            self.waiting.remove(&conn);
            self.turns.give_back(conn);
        } else {
            self.waiting.insert(conn);
        }
        self.give_turns(cx);
    }

    /// Gives turns while there is room, first to followers that get nothing from here at present.
    /// For a content of the share, the followers of the zone that has received least lately come
    /// first. Within a zone, and for any other content, the follower that has waited longest comes
    /// first: its line is idle, or will be idle soonest. If the follower that has received least
    /// from here came first, a follower of few peers would get less than others.
    pub(super) fn give_turns(&mut self, cx: &mut Context) {
        self.void_turns(cx);
        while !self.waiting.is_empty() && self.turns.has_room(cx.now) {
            let Some(conn) = self.next_follower(cx) else { break };
            let Some(upload) = self.conns.get_mut(&conn) else { break };
            let host = Host::from(upload.from.ip());
            let Some(follower) = &mut upload.follower else { break };
            follower.wants -= 1;
            if follower.wants == 0 {
                self.waiting.remove(&conn);
            }
            follower.since = cx.now;
            let (req, root) = (follower.req, follower.root);
            let next = self.turns.give(cx.now, (conn, host), root);
            cx.send(conn, Message::Turn(Turn { req, next }));
        }
        match self.turns.next_room(cx.now).filter(|_| !self.waiting.is_empty()) {
            Some(at) => cx.timers.set_earlier(Reason::Turns, at),
            None => cx.timers.stop(Reason::Turns),
        }
    }

    fn next_follower(&self, cx: &Context) -> Option<ConnId> {
        // Turns that were given and chunks that are not sent yet are counted too.
        let got = |conn: ConnId, upload: &Upload| {
            upload.rate.recent(cx.now) + upload.asked + self.turns.given_to(conn) as u64 * PIECE_BYTES
        };
        let mut zones: BTreeMap<(Root, Option<&str>), u64> = BTreeMap::new();
        // Without a content of the share there is nothing to spread over zones.
        for (conn, upload) in self.conns.iter().filter(|_| self.turns.has_seeds()) {
            if let Some(follower) = upload.follower.as_ref().filter(|follower| self.turns.is_seed(follower.root)) {
                *zones.entry((follower.root, follower.zone.as_deref())).or_default() += got(*conn, upload);
            }
        }
        let waits = |conn: ConnId, upload: &Upload| {
            let follower = upload.follower.as_ref().filter(|follower| follower.is_answered && follower.wants > 0)?;
            let host = Host::from(upload.from.ip());
            if !self.turns.has_room_for(cx.now, conn, host) {
                return None;
            }
            if self.turns.is_thrifty(follower.root) && !follower.needs {
                return None;
            }
            let zone = zones.get(&(follower.root, follower.zone.as_deref())).copied().unwrap_or(0);
            // Those that get nothing from here come first.
            let is_served = self.turns.given_to(conn) > 0 || upload.requests.iter().any(|request| request.bytes() > 0);
            let is_doubted = self.turns.is_doubted(cx.now, host);
            Some((is_doubted, is_served, zone, follower.since, got(conn, upload), conn))
        };
        let waiting = self.waiting.iter().filter_map(|conn| waits(*conn, self.conns.get(conn)?));
        waiting.min().map(|(.., conn)| conn)
    }

    /// Sets how many chunks are sent to followers at once; none means as few as use all of the
    /// bandwidth.
    pub(in crate::proto::weak_peer) fn set_turns(&mut self, turns: Option<usize>) {
        self.turns.set_width(turns);
    }

    pub(in crate::proto::weak_peer) fn on_turns_due(&mut self, cx: &mut Context) {
        self.give_turns(cx);
    }

    /// A connection is gone. If it has taken no chunk and leaves a turn unused, its host is
    /// doubted. Otherwise the host could connect again and again for one more turn.
    pub(super) fn leave_turns(&mut self, cx: &Context, conn: ConnId) {
        let Some(upload) = self.conns.get(&conn) else { return };
        if self.turns.given_to(conn) > 0 && upload.taken < PIECE_BYTES / 4 {
            self.turns.doubt(cx.now, upload.from.ip().into());
        }
    }

    /// Turns that were not used in time are void.
    fn void_turns(&mut self, cx: &Context) {
        for conn in self.turns.late(cx.now) {
            self.turns.give_back(conn);
            let Some(upload) = self.conns.get_mut(&conn) else { continue };
            self.turns.doubt(cx.now, upload.from.ip().into());
            if let Some(follower) = &mut upload.follower {
                follower.wants = 0;
                self.waiting.remove(&conn);
            }
        }
    }

    /// A chunk is sent, or will not be: its turn is over.
    pub(super) fn end_turn(&mut self, cx: &mut Context, conn: ConnId, req: u32, sent: bool) {
        if self.turns.end(cx.now, (conn, req), sent) {
            if let Some(upload) = self.conns.get(&conn).filter(|_| sent) {
                self.turns.believe(upload.from.ip().into());
            }
            self.give_turns(cx);
        }
    }

    /// Whether a follower of this content waits for a turn, gets bytes, or did a moment ago.
    pub(in crate::proto::weak_peer) fn is_needed(&self, root: Root, now: Time) -> bool {
        let is_busy = |conn: ConnId, upload: &Upload| {
            let waits = upload.follower.as_ref().is_some_and(|follower| follower.wants > 0);
            let is_served = !upload.requests.is_empty() || self.turns.given_to(conn) > 0;
            waits || is_served || now.since(upload.active_at) < LINGER_QUIET
        };
        self.followers(root).any(|(conn, upload)| is_busy(conn, upload))
    }
}
