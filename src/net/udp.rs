//! The UDP socket: datagrams in, bounded per turn; messages out, packed per destination until the
//! end of the turn.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use socket2::{Protocol, Type};

use super::context::Context;
use super::counters::Counters;
use super::socket::{canonical, open};
use super::token;
use crate::config::{DATAGRAM_BUFFER_BYTES, DATAGRAM_BYTES_MAX, DATAGRAMS_PER_TURN};
use crate::error::Failure;
use crate::wire::LinkMessage;
use crate::wire::link::Packer;

/// Room for a bit more than one datagram, so that one that is too long is detected.
const BUFFER_BYTES: usize = DATAGRAM_BYTES_MAX + 64;

/// The socket, its latched readiness, and the messages that wait for the end of the turn.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: UdpSocket,
    /// Latched: datagrams may be waiting. Cleared on `WouldBlock` only.
    pub(super) ready: bool,
    /// Datagrams that may still be read in this turn.
    budget: usize,
    buffer: Vec<u8>,
    is_v6: bool,
    /// One packer per destination of this turn: at most as many as the machine has links.
    packers: BTreeMap<SocketAddr, Packer>,
}

impl Datagrams {
    /// Binds UDP to the address.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn bind(addr: SocketAddr) -> io::Result<Datagrams> {
        let socket = open(addr, Type::DGRAM, Protocol::UDP)?;
        if let Err(error) = socket.set_recv_buffer_size(DATAGRAM_BUFFER_BYTES) {
            log::debug!("the receive buffer of the UDP socket stays as it is: {error}");
        }
        socket.bind(&addr.into())?;
        Ok(Datagrams {
            socket: UdpSocket::from_std(socket.into()),
            ready: true,
            budget: 0,
            buffer: vec![0; BUFFER_BYTES],
            is_v6: addr.is_ipv6(),
            packers: BTreeMap::new(),
        })
    }

    pub(super) fn watch(&mut self, ctx: &Context) -> Result<(), Failure> {
        ctx.watch_reads(&mut self.socket, token::DATAGRAMS, "the UDP socket")
    }

    pub(super) fn begin_turn(&mut self) {
        self.budget = DATAGRAMS_PER_TURN;
    }

    /// The next datagram: its sender, and its length in [`Datagrams::bytes`].
    pub(super) fn receive(&mut self, counters: &mut Counters) -> Option<(SocketAddr, usize)> {
        while self.ready && self.budget > 0 {
            self.budget -= 1;
            match self.socket.recv_from(&mut self.buffer) {
                Ok((length, from)) => {
                    counters.datagrams_in += 1;
                    return Some((canonical(from), length));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
                Err(error) => {
                    counters.datagram_errors += 1;
                    log::debug!("receiving a datagram: {error}");
                }
            }
        }
        None
    }

    /// The bytes of the last datagram.
    pub(super) fn bytes(&self, length: usize) -> &[u8] {
        &self.buffer[..length]
    }

    /// Packs a message for its destination; a datagram that is full is sent at once.
    pub(super) fn push(&mut self, to: SocketAddr, boot: u64, message: &LinkMessage, counters: &mut Counters) {
        let packer = self.packers.entry(to).or_insert_with(|| Packer::new(boot));
        let earlier = if packer.boot() == boot { None } else { std::mem::replace(packer, Packer::new(boot)).finish() };
        let full = packer.push(message);
        for datagram in [earlier, full].into_iter().flatten() {
            self.send(to, &datagram, counters);
        }
    }

    /// Sends what was packed in this turn.
    pub(super) fn flush(&mut self, counters: &mut Counters) {
        for (to, mut packer) in std::mem::take(&mut self.packers) {
            if let Some(datagram) = packer.finish() {
                self.send(to, &datagram, counters);
            }
        }
    }

    /// Sends a datagram, or drops it if the socket does not accept it now: links repeat what must
    /// arrive.
    fn send(&self, to: SocketAddr, datagram: &[u8], counters: &mut Counters) {
        match self.socket.send_to(datagram, self.native(to)) {
            Ok(_) => counters.datagrams_out += 1,
            Err(error) => {
                counters.datagrams_dropped += 1;
                log::debug!("a datagram to {to} is dropped: {error}");
            }
        }
    }

    fn native(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => to,
        }
    }
}
