//! The TCP listener. It accepts within the bounds of a turn, and survives a lack of descriptors.
//!
//! Even above the usual limit of connections, new connections are accepted, with descriptors that
//! are kept for this. The machine then closes idle connections. A new connection is refused only if
//! no descriptor becomes free.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use mio::Token;
use mio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use socket2::{Protocol, Type};

use super::connection::{Accepted, Phase};
use super::connections::Connections;
use super::context::Context;
use super::deadlines::Due;
use super::socket::{INHERITS, cannot_listen, canonical, is_exhaustion, open, set_options};
use crate::config::{
    ACCEPT_RETRY, ACCEPTS_PER_TURN, CROWD_BATCH, HTTP_ACCEPTS_PER_TURN, LISTEN_BACKLOG, REFUSALS_PER_RETRY,
};
use crate::error::Failure;
use crate::proto::{ConnId, Input};

/// A listening socket and its latched readiness.
#[derive(Debug)]
pub(super) struct Acceptor {
    socket: TcpListener,
    addr: SocketAddr,
    /// Latched: connections may be waiting. Cleared on `WouldBlock` only.
    ready: bool,
    /// Whether descriptors ran out. Then nothing is accepted until one is freed or the timer fires.
    stalled: bool,
    /// What the timer is for.
    due: Due,
    /// Whether the system had no descriptor, and the machine was asked to free some, since the last
    /// accept.
    asked: bool,
    /// Connections that may be accepted in each turn, and in the rest of this one.
    accepts_per_turn: usize,
    accepts_left: usize,
    /// Connections that may be refused before accepting stalls.
    pub(super) refusals_left: usize,
    /// When no other descriptor is left, this one is closed for a moment to accept a connection and
    /// refuse it.
    spare: Option<File>,
}

impl Acceptor {
    /// Binds TCP to the address; `[::]` accepts IPv4 as well. `option` is the option that sets the
    /// address, for the error.
    ///
    /// # Errors
    /// Exit 5 with a sentence that names the address.
    pub(super) fn bind(addr: SocketAddr, option: &'static str) -> Result<Acceptor, Failure> {
        let bound = || -> io::Result<Acceptor> {
            let socket = open(addr, Type::STREAM, Protocol::TCP)?;
            socket.set_reuse_address(true)?;
            socket.bind(&addr.into())?;
            if INHERITS {
                set_options(&socket.as_fd());
            }
            socket.listen(LISTEN_BACKLOG)?;
            let socket = TcpListener::from_std(socket.into());
            Ok(Acceptor {
                addr: socket.local_addr()?,
                socket,
                ready: true,
                stalled: false,
                due: Due::Accept,
                asked: false,
                accepts_per_turn: ACCEPTS_PER_TURN,
                accepts_left: 0,
                refusals_left: REFUSALS_PER_RETRY,
                spare: spare(),
            })
        };
        bound().map_err(|error| cannot_listen(addr, "", option, &error))
    }

    pub(super) fn watch(&mut self, token: Token, ctx: &Context) -> Result<(), Failure> {
        ctx.watch_reads(&mut self.socket, token, "the listener")
    }

    /// Makes it the listener of the page.
    pub(super) fn set_page(&mut self) {
        (self.due, self.accepts_per_turn) = (Due::Page, HTTP_ACCEPTS_PER_TURN);
    }

    /// The address that it listens on, with its real port.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// An event came for the listener.
    pub(super) fn latch(&mut self) {
        self.ready = true;
    }

    pub(super) fn begin_turn(&mut self) {
        self.accepts_left = self.accepts_per_turn;
    }

    /// Accepts nothing more in this turn.
    pub(super) fn rest(&mut self) {
        self.accepts_left = 0;
    }

    /// Whether connections may be waiting that can be accepted now.
    pub(super) fn is_busy(&self) -> bool {
        self.ready && !self.stalled
    }

    /// Whether descriptors are short: the system had none, or newcomers wait for one.
    pub(super) fn is_short(&self) -> bool {
        self.asked || self.stalled
    }

    /// Accepts the next connection, within the bounds of the turn.
    pub(super) fn next(&mut self, conns: &mut Connections, ctx: &mut Context) -> Option<Input<'static>> {
        while self.is_busy() && conns.find_place(ctx) {
            let enter = |acceptor: &Acceptor, stream, from, conns: &mut Connections, ctx: &mut Context| {
                acceptor.enter(stream, from, conns, ctx)
            };
            if let Some((conn, Accepted { from, to, since })) = self.accept(conns, ctx, enter)? {
                return Some(Input::Accepted { conn, from, to, since, key: None, unix: ctx.unix });
            }
        }
        None
    }

    /// Accepts the next connection of the page.
    pub(super) fn next_page(&mut self, conns: &mut Connections, ctx: &mut Context) -> Option<()> {
        self.accept(conns, ctx, |_, stream, _, conns, ctx| conns.enter_page(stream, ctx))
    }

    fn accept<T>(
        &mut self,
        conns: &mut Connections,
        ctx: &mut Context,
        enter: impl Fn(&Acceptor, TcpStream, SocketAddr, &mut Connections, &mut Context) -> io::Result<T>,
    ) -> Option<T> {
        while self.is_busy() && self.accepts_left > 0 && conns.may_accept() {
            self.accepts_left -= 1;
            match self.socket.accept() {
                Ok(_) if conns.is_full() => self.on_refused(conns, ctx),
                Ok((stream, from)) => match enter(self, stream, canonical(from), conns, ctx) {
                    Ok(entered) => {
                        self.asked = false;
                        ctx.counters.accepted += 1;
                        return Some(entered);
                    }
                    Err(error) => log::warn!("a connection cannot be watched and is dropped: {error}"),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
                Err(error) if is_exhaustion(&error) => {
                    if !std::mem::replace(&mut self.asked, true) {
                        conns.make_room(CROWD_BATCH, ctx);
                        self.stall(ctx);
                    } else if self.refuse_one() {
                        self.on_refused(conns, ctx);
                    } else {
                        self.stall(ctx);
                    }
                }
                Err(error) if concerns_one_connection(&error) => ctx.counters.accept_errors += 1,
                Err(error) => {
                    log::warn!("accepting fails and is tried again later: {error}");
                    self.stall(ctx);
                }
            }
        }
        None
    }

    /// The arrival for the new connection, if the machine gets the connection now. With TLS the
    /// machine gets it only after the handshake.
    fn enter(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        conns: &mut Connections,
        ctx: &mut Context,
    ) -> io::Result<Option<(ConnId, Accepted)>> {
        let everywhere = self.addr.ip().is_unspecified();
        let to = if everywhere { stream.local_addr()?.ip() } else { self.addr.ip() };
        let accepted = Accepted { from, to: to.to_canonical(), since: ctx.now };
        if ctx.tls.is_some() {
            conns.enter_handshake(stream, accepted, ctx)?;
            return Ok(None);
        }
        Ok(Some((conns.enter(stream, Phase::Open, ctx)?, accepted)))
    }

    /// Counts a refusal, and stalls after several. A refused peer can dial another super peer at
    /// once. A crowd that keeps dialing must not take the time of the other connections.
    fn on_refused(&mut self, conns: &Connections, ctx: &mut Context) {
        if ctx.counters.refused == 0 {
            let open = conns.len();
            log::warn!("descriptors are short: {open} connections are in use, others are refused; raise `ulimit -n`");
        }
        ctx.counters.refused += 1;
        self.refusals_left = self.refusals_left.saturating_sub(1);
        if self.refusals_left == 0 {
            self.stall(ctx);
        }
    }

    /// Leaves connections waiting until a descriptor is freed. If a descriptor is freed elsewhere,
    /// and not by a connection, the timer ends the wait.
    fn stall(&mut self, ctx: &mut Context) {
        if !self.stalled {
            self.stalled = true;
            ctx.counters.accept_stalls += 1;
            ctx.deadlines.push(ctx.now + ACCEPT_RETRY, self.due);
        }
    }

    /// A descriptor may be free again.
    pub(super) fn resume(&mut self) {
        self.stalled = false;
        self.refusals_left = REFUSALS_PER_RETRY;
    }

    /// Closes one waiting connection with the help of the spare descriptor, so that its peer can
    /// dial another super peer.
    fn refuse_one(&mut self) -> bool {
        let had = self.spare.take().is_some();
        let refused = had && self.socket.accept().is_ok();
        self.spare = spare();
        refused
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether the error concerns only the connection that waited, or the network between this host and
/// the other end (accept(2), "Error handling").
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::INTR
                | Errno::CONNABORTED
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::NONET
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let first = Acceptor::bind("127.0.0.1:0".parse().unwrap(), "--listen").unwrap();
        let addr = first.addr();
        let failure = Acceptor::bind(addr, "--listen").unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        let expected = format!("{addr} is in use; choose another port with --listen or stop the other program");
        assert_eq!(failure.message, expected);
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let failure = Acceptor::bind("192.0.2.1:0".parse().unwrap(), "--listen").unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.message.starts_with("192.0.2.1:0 is not an address of this machine"), "{}", failure.message);
    }
}
