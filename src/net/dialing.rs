//! Dials: a literal address at once, a host name by way of the resolver, its addresses one after the other.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::{Protocol, Type};

use super::Arrival;
use super::connection::{Connection, Dialing, Phase};
use super::deadlines::Due;
use super::listener::open;
use super::reactor::Net;
use super::transport::Transport;
use crate::config::DIAL_TIMEOUT;
use crate::proto::{ConnId, DialId};
use crate::time::Time;
use crate::wire::HostPort;

impl Net {
    /// Begins to connect; Dialed or DialFailed arrives.
    pub fn dial(&mut self, dial: DialId, to: HostPort) {
        let until = self.now + DIAL_TIMEOUT;
        if let Some(address) = to.literal() {
            self.connect(dial, to, VecDeque::from([address]), until);
            return;
        }
        match self.resolver.ask(dial, to.clone()) {
            Ok(()) => {
                self.resolving.insert(dial, (to, until));
                self.deadlines.push(until, Due::Resolve(dial));
            }
            Err(why) => self.dial_failed(dial, &to, &why),
        }
    }

    /// Goes on with the names that were resolved meanwhile.
    pub(super) fn take_resolved(&mut self) {
        while let Some((dial, result)) = self.resolver.answer() {
            let Some((to, until)) = self.resolving.remove(&dial) else {
                continue;
            };
            match result {
                Ok(addresses) => self.connect(dial, to, addresses.into(), until),
                Err(why) => self.dial_failed(dial, &to, &why),
            }
        }
    }

    pub(super) fn expire_resolve(&mut self, dial: DialId) {
        if let Some((to, _)) = self.resolving.remove(&dial) {
            self.dial_failed(dial, &to, "its name was not resolved in time");
        }
    }

    fn connect(&mut self, dial: DialId, to: HostPort, mut rest: VecDeque<SocketAddr>, until: Time) {
        if self.conns.len() >= self.conns_max {
            self.dial_failed(dial, &to, "no descriptor is left for it");
            return;
        }
        let mut last: io::Error = io::ErrorKind::AddrNotAvailable.into();
        while let Some(address) = rest.pop_front() {
            match self.stream_to(address) {
                Ok(stream) => {
                    let attempt_until = share_of(self.now, until, rest.len());
                    let dialing = Dialing { dial, to, address, rest, attempt_until, until };
                    let phase = Phase::Connecting(Box::new(dialing));
                    match self.enter(Connection::new(Transport::Plain(stream), phase)) {
                        Some(id) => self.arm(id),
                        None => {
                            self.arrivals.push_back(Arrival::DialFailed { dial, why: "no room in the poll".into() })
                        }
                    }
                    return;
                }
                Err(error) => last = error,
            }
        }
        self.dial_failed(dial, &to, &words(&last));
    }

    /// A stream that connects to the address, from the next of our own that is of its family.
    fn stream_to(&mut self, address: SocketAddr) -> io::Result<TcpStream> {
        if self.sources.is_empty() {
            return TcpStream::connect(address);
        }
        let source = self.sources[self.sources_used % self.sources.len()];
        self.sources_used = self.sources_used.wrapping_add(1);
        if source.is_ipv4() != address.is_ipv4() {
            return TcpStream::connect(address);
        }
        let socket = open(address, Type::STREAM, Protocol::TCP)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        Ok(TcpStream::from_std(socket.into()))
    }

    /// An event came for a connection that is being dialled.
    pub(super) fn look_at_dial(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        match conn.transport.connected() {
            Ok(false) => {}
            Ok(true) => {
                if let Phase::Connecting(dialing) = std::mem::replace(&mut conn.phase, Phase::Open) {
                    if let Err(error) = conn.transport.set_nodelay() {
                        log::debug!("setting TCP_NODELAY: {error}");
                    }
                    self.counters.dialed += 1;
                    self.arrivals.push_back(Arrival::Dialed { dial: dialing.dial, conn: id });
                    self.begin_dialed(id);
                }
            }
            Err(error) => self.try_next_address(id, &error),
        }
    }

    /// The address that was tried is of no use; the slot serves the next one.
    pub(super) fn try_next_address(&mut self, id: ConnId, error: &io::Error) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Phase::Connecting(mut dialing) = std::mem::replace(&mut conn.phase, Phase::Dead) else {
            return;
        };
        (conn.readable, conn.hung_up, conn.writable) = (false, false, true);
        log::debug!("dialling {} at {}: {error}", dialing.to, dialing.address);
        let mut last = words(error);
        while let Some(address) = dialing.rest.pop_front() {
            let connected = self.stream_to(address);
            match connected.and_then(|stream| self.replace_transport(id, Transport::Plain(stream))) {
                Ok(()) => {
                    dialing.address = address;
                    dialing.attempt_until = share_of(self.now, dialing.until, dialing.rest.len());
                    if let Some(conn) = self.conns.get_mut(id) {
                        conn.phase = Phase::Connecting(dialing);
                    }
                    self.arm(id);
                    return;
                }
                Err(error) => last = words(&error),
            }
        }
        // No machine has heard of this connection, so none hears of its end.
        self.graves.push(id);
        self.dial_failed(dialing.dial, &dialing.to, &last);
    }

    fn dial_failed(&mut self, dial: DialId, to: &HostPort, why: &str) {
        self.counters.dials_failed += 1;
        self.arrivals.push_back(Arrival::DialFailed { dial, why: format!("cannot reach {to}: {why}") });
    }
}

/// When the address tried now has had its share of the time: one that swallows packets must leave some to the others.
fn share_of(now: Time, until: Time, others: usize) -> Time {
    now + until.since(now) / (u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1))
}

fn words(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        "nothing listens there (connection refused)".into()
    } else if error.kind() == io::ErrorKind::TimedOut {
        "no answer in time".into()
    } else {
        error.to_string()
    }
}
