//! The UDP socket: datagrams in, bounded per turn; messages out, packed per destination until the turn ends.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use socket2::{Protocol, Type};

use super::Counters;
use super::listener::{canonical, open};
use crate::config::{DATAGRAM_BUFFER_BYTES, DATAGRAM_BYTES_MAX, DATAGRAMS_PER_TURN};
use crate::wire::LinkMessage;
use crate::wire::link::Packer;

/// Room for one datagram and a little more, so that one that is too long is seen to be.
const BUFFER_BYTES: usize = DATAGRAM_BYTES_MAX + 64;

/// The socket, its latched readiness, and what waits for the end of the turn.
#[derive(Debug)]
pub(super) struct Datagrams {
    pub(super) socket: UdpSocket,
    /// Latched: datagrams may be waiting. Cleared on `WouldBlock` only.
    pub(super) ready: bool,
    /// Datagrams that may still be read in this turn.
    budget: usize,
    buffer: Vec<u8>,
    is_v6: bool,
    /// At most one packer per destination of this turn: as many as a machine has links.
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

    pub(super) fn begin_turn(&mut self) {
        self.budget = DATAGRAMS_PER_TURN;
    }

    /// The next datagram: who sent it, and its length in [`Datagrams::bytes`].
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

    /// The bytes of the datagram received last.
    pub(super) fn bytes(&self, length: usize) -> &[u8] {
        &self.buffer[..length]
    }

    /// Packs a message for its destination; what is full leaves at once.
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

    /// A datagram that the socket does not take now is dropped: the links repeat what matters.
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
