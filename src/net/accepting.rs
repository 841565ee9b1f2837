//! Taking connections in: who waits gets a slot, or is refused while descriptors are short.

use std::io;

use mio::Interest;

use super::connection::{Connection, Phase};
use super::deadlines::Due;
use super::listener::Accepting;
use super::reactor::Net;
use super::transport::Transport;
use super::{Arrival, token};
use crate::config::{ACCEPT_RETRY, REFUSALS_PER_RETRY};
use crate::proto::ConnId;

impl Net {
    /// The next connection, within the bounds of the turn.
    pub(super) fn next_accepted(&mut self) -> Option<Arrival> {
        while self.accepts_left > 0 {
            let listener = self.listener.as_mut().filter(|listener| listener.ready && !listener.stalled)?;
            self.accepts_left -= 1;
            match listener.accept() {
                Accepting::New(stream, from) => {
                    if self.conns.len() >= self.conns_max {
                        drop(stream);
                        self.on_refused();
                        continue;
                    }
                    let transport = Transport::Plain(stream);
                    if let Some(conn) = self.enter(Connection::new(transport, Phase::Open)) {
                        self.counters.accepted += 1;
                        return Some(Arrival::Accepted { conn, from });
                    }
                }
                Accepting::Gone => self.counters.accept_errors += 1,
                Accepting::Empty => return None,
                Accepting::Exhausted { refused: true } => self.on_refused(),
                Accepting::Exhausted { refused: false } => self.stall_accepting(),
            }
        }
        None
    }

    /// One who is refused can go elsewhere at once; but a crowd that comes again and again must not cost the others.
    fn on_refused(&mut self) {
        if self.counters.refused == 0 {
            let open = self.conns.len();
            log::warn!("descriptors are short: {open} connections are open, others are refused; raise `ulimit -n`");
        }
        self.counters.refused += 1;
        if let Some(listener) = &mut self.listener {
            listener.refusals_left = listener.refusals_left.saturating_sub(1);
            if listener.refusals_left == 0 {
                self.stall_accepting();
            }
        }
    }

    /// Who waits is accepted once a descriptor is freed; the timer is there for descriptors that others free.
    fn stall_accepting(&mut self) {
        if let Some(listener) = &mut self.listener
            && !listener.stalled
        {
            listener.stalled = true;
            self.counters.accept_stalls += 1;
            self.deadlines.push(self.now + ACCEPT_RETRY, Due::Accept);
        }
    }

    /// Gives a connected or connecting stream its slot.
    pub(super) fn enter(&mut self, conn: Connection) -> Option<ConnId> {
        let id = self.conns.insert(conn);
        let conn = self.conns.get_mut(id).expect("just inserted");
        let interest = Interest::READABLE | Interest::WRITABLE;
        let result = self.poll.registry().register(conn.transport.source(), token::of(id, false), interest);
        if let Err(error) = result {
            log::warn!("a connection cannot be watched and is dropped: {error}");
            self.conns.remove(id);
            return None;
        }
        if matches!(conn.phase, Phase::Open)
            && let Err(error) = conn.transport.set_nodelay()
        {
            log::debug!("setting TCP_NODELAY: {error}");
        }
        Some(id)
    }

    /// Puts another stream into the slot, for the next address of a dial.
    pub(super) fn replace_transport(&mut self, id: ConnId, mut transport: Transport) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(transport.source(), token::of(id, false), interest)?;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.transport = transport;
        }
        Ok(())
    }

    /// A descriptor may be free again.
    pub(super) fn resume_accepting(&mut self) {
        if let Some(listener) = &mut self.listener {
            listener.stalled = false;
            listener.refusals_left = REFUSALS_PER_RETRY;
        }
    }

    pub(super) fn register_client(&mut self, id: ConnId) -> io::Result<()> {
        let client = self.clients.get_mut(id).expect("just inserted");
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut client.stream, token::of(id, true), interest)
    }
}
