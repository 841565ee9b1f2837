//! Connections that have not logged in: their handshakes, how many of them compute with keys in a
//! turn, and how many there may be.

use std::io;

use mio::net::TcpStream;

use super::Connections;
use crate::config::{EARLY_BYTES_MAX, HANDSHAKES_READY_MAX, LOGIN_DEADLINE, UNAUTHENTICATED_MAX};
use crate::http::{Surface, may_begin};
use crate::net::connection::handshake::Greeted;
use crate::net::connection::http::Http;
use crate::net::connection::{Accepted, Connection, Handshake, Phase};
use crate::net::context::Context;
use crate::net::deadlines::Due;
use crate::net::tls::{Tls, TlsIdentity};
use crate::proto::{CloseReason, ConnId, Input};
use crate::time::Time;
use crate::wire::frame;
use crate::wire::message::{Error, ErrorCode, Message};

impl Connections {
    /// Gives an accepted stream its slot. The machine gets it after the handshake.
    pub(in crate::net) fn enter_handshake(
        &mut self,
        stream: TcpStream,
        accepted: Accepted,
        ctx: &mut Context,
    ) -> io::Result<()> {
        let until = accepted.since + LOGIN_DEADLINE;
        let handshake = Handshake { until, accepted: Some(accepted) };
        let id = self.enter(stream, Phase::Handshaking(Box::new(handshake)), ctx)?;
        let conn = self.table.get_mut(id).expect("just inserted");
        conn.known = false;
        conn.set_early_max(EARLY_BYTES_MAX);
        self.half_open.begin(id, accepted.from.ip(), accepted.since);
        while self.half_open.len() > self.half_open_max()
            && self.look_for_place(ctx.now)
            && let Some(id) = self.half_open.take()
        {
            ctx.counters.half_open_evicted += 1;
            self.finish(id, CloseReason::Crowded, ctx);
        }
        Ok(())
    }

    /// Most connections that may be without a login.
    fn half_open_max(&self) -> usize {
        UNAUTHENTICATED_MAX.min(self.conns_max / 2).max(1)
    }

    /// Whether the listener of sessions may have a place for one more connection at this time.
    pub(in crate::net) fn may_enter(&self, now: Time) -> bool {
        self.half_open.may_enter(self.half_open_max(), now)
    }

    /// Whether there is a place for one more connection, or another one can be closed for it. If
    /// not, the listener looks again later.
    pub(in crate::net) fn find_place(&mut self, ctx: &mut Context) -> bool {
        if self.half_open.len() < self.half_open_max() {
            return true;
        }
        if !self.may_enter(ctx.now) {
            return false;
        }
        let found = self.look_for_place(ctx.now);
        if !found {
            ctx.counters.half_open_waits += 1;
            ctx.deadlines.push(self.half_open.wait(ctx.now), Due::HalfOpen);
        }
        found
    }

    /// Plans which connection is closed next. Returns `false` if none may be closed.
    fn look_for_place(&mut self, now: Time) -> bool {
        let most = self.half_open_max();
        let Connections { half_open, table, .. } = self;
        // What it has sent is not read yet.
        let waits = |id: ConnId| table.get(id).is_some_and(|conn| conn.queued);
        half_open.look(most, now, waits).is_some()
    }

    /// A connection has logged in or is gone: it is no longer half-open.
    pub(in crate::net) fn note_login(&mut self, id: ConnId) {
        if self.half_open.end(id)
            && let Some(conn) = self.table.get_mut(id)
        {
            conn.set_early_max(usize::MAX);
            self.requeue(id);
        }
    }

    /// Whether one more connection may be accepted. While many handshakes wait to be computed, new
    /// connections wait in the kernel.
    pub(in crate::net) fn may_accept(&self) -> bool {
        // So those that wait for this node are at most half of all, and none is closed for another.
        self.handshakes.len() < HANDSHAKES_READY_MAX.min(self.half_open_max() / 2).max(1)
    }

    /// A dial has connected, and its handshake begins.
    pub(in crate::net) fn begin_handshake(&mut self, id: ConnId, tls: Tls, until: Time, ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.phase = Phase::Handshaking(Box::new(Handshake { until, accepted: None }));
            conn.known = false;
            conn.transport.set_options();
            conn.transport.begin_tls(tls);
            self.requeue(id);
            self.arm(id, ctx);
        }
    }

    /// Continues handshakes: many that only wait for bytes, or one that computes with keys. `left`
    /// is how many may still be looked at in this turn. Returns the next handshake of a dial, which
    /// the dialer handles; none once this turn's share is used up.
    pub(in crate::net) fn greet(&mut self, left: &mut usize, ctx: &mut Context) -> Option<(ConnId, Greeted)> {
        while *left > 0 {
            *left -= 1;
            let id = self.handshakes.pop_front()?;
            let Some(conn) = self.table.get_mut(id) else { continue };
            conn.queued = false;
            if !matches!(conn.phase, Phase::Handshaking(_)) {
                self.requeue(id);
                continue;
            }
            let (mut greeted, mut worked) = conn.greet(&mut self.scratch);
            if matches!(greeted, Greeted::Tls) && self.admit(id, ctx) {
                let conn = self.table.get_mut(id).expect("it is not gone");
                (greeted, worked) = conn.greet(&mut self.scratch);
            }
            if worked {
                *left = 0;
                self.half_open.note_step(id, ctx.now);
            }
            if let Some(Phase::Handshaking(handshake)) = self.get(id).map(|conn| &conn.phase) {
                match handshake.accepted {
                    Some(accepted) => self.on_greeted(id, greeted, accepted, ctx),
                    None => return Some((id, greeted)),
                }
            }
        }
        None
    }

    /// Begins TLS on an accepted connection, if its address may have one more handshake.
    fn admit(&mut self, id: ConnId, ctx: &mut Context) -> bool {
        let Some(Phase::Handshaking(handshake)) = self.get(id).map(|conn| &conn.phase) else { return false };
        let from = handshake.accepted.map(|accepted| accepted.from.ip());
        if from.is_some_and(|from| !self.admission.admit(from, ctx.now)) {
            ctx.counters.address_limited += 1;
            self.finish(id, CloseReason::Crowded, ctx);
            return false;
        }
        let tls = ctx.tls.as_ref().map(TlsIdentity::accept);
        match (tls, self.table.get_mut(id)) {
            (Some(Ok(tls)), Some(conn)) => conn.transport.begin_tls(tls),
            (Some(Err(error)), _) => {
                log::error!("TLS cannot begin: {error}");
                self.finish(id, CloseReason::Failed, ctx);
                return false;
            }
            (None, _) | (_, None) => return false,
        }
        true
    }

    fn on_greeted(&mut self, id: ConnId, greeted: Greeted, accepted: Accepted, ctx: &mut Context) {
        let Accepted { from, to, since } = accepted;
        match greeted {
            Greeted::Waiting => self.go_on(id),
            Greeted::Done(key) => {
                ctx.counters.handshakes += 1;
                ctx.push(Input::Accepted { conn: id, from, to, since, key: Some(key), unix: ctx.unix });
                self.end_handshake(id, ctx);
            }
            Greeted::Foreign(first) if self.serves_files && may_begin(first) => self.go_over(id, ctx),
            Greeted::Foreign(first) => self.refuse(id, first, ctx),
            Greeted::Tls | Greeted::Gone | Greeted::WrongKey(_) | Greeted::Failed(_) => {
                if let Greeted::Failed(why) = greeted {
                    log::debug!("a handshake with {from} failed: {why}");
                }
                ctx.counters.handshakes_failed += 1;
                self.finish(id, CloseReason::Failed, ctx);
            }
        }
    }

    /// A handshake waits for the other side.
    pub(in crate::net) fn go_on(&mut self, id: ConnId) {
        self.count_buffers(id);
        self.requeue(id);
    }

    /// From now on the machine knows the connection.
    pub(in crate::net) fn end_handshake(&mut self, id: ConnId, ctx: &mut Context) {
        if let Some(conn) = self.table.get_mut(id) {
            conn.end_handshake(ctx.now);
            conn.known = true;
            self.count_buffers(id);
            self.requeue(id);
            self.arm(id, ctx);
        }
    }

    /// A connection speaks HTTP and not TLS. The node decides which requests are answered.
    fn go_over(&mut self, id: ConnId, ctx: &mut Context) {
        self.note_login(id);
        let Some(conn) = self.table.get_mut(id) else { return };
        conn.phase = Phase::Http(Box::new(Http::new(Surface::Files, ctx.now)));
        conn.known = true;
        self.begin_http(id, ctx);
        self.requeue(id);
        self.arm(id, ctx);
    }

    /// Sends ERROR on a connection that does not begin with TLS, and closes it. The other side is a
    /// node in open mode or another program.
    fn refuse(&mut self, id: ConnId, first: u8, ctx: &mut Context) {
        let Some(conn) = self.table.get_mut(id) else { return };
        let why = if first == 0 {
            ctx.counters.other_mode += 1;
            "this node is in login mode and speaks only TLS; join its network with an invitation (sprat join)"
        } else {
            ctx.counters.malformed += 1;
            "this node is in login mode and speaks only TLS"
        };
        let error = Error { code: ErrorCode::MODE, message: why.to_owned(), req: None, retry: None };
        conn.note_queued(ctx.now);
        frame::encode(&Message::Error(error), conn.send.tail(&mut self.buffers));
        self.close(id, ctx);
    }

    /// The node ends: ends the handshakes of all accepted connections.
    pub(in crate::net) fn end_handshakes(&mut self) {
        let is_accepted =
            |conn: &Connection| matches!(&conn.phase, Phase::Handshaking(handshake) if handshake.accepted.is_some());
        let ids: Vec<ConnId> = self.table.ids().filter(|(_, conn)| is_accepted(conn)).map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.bury(id));
    }
}
