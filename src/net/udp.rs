//! The UDP socket. It reads a bounded number of datagrams per turn. It packs the messages for each
//! destination and sends them at the end of the turn. Every datagram passes through the envelopes
//! of [`crate::proto::envelope`]. A datagram that fails their checks is dropped.
//!
//! A socket that is bound to all addresses reports to which address each datagram was sent. It
//! sends from the address that the caller gives, because a neighbor accepts datagrams only from the
//! address that is configured there. It also reports the errors of the system about datagrams that
//! were not delivered.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use mio::net::UdpSocket;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Protocol, Socket, Type};

use super::context::Context;
use super::counters::Counters;
use super::lanes::Lanes;
use super::socket::{canonical, open, report_errors};
use super::token;
use crate::config::{DATAGRAM_BUFFER_BYTES, DATAGRAM_BYTES_MAX, DATAGRAM_ERRORS_PER_TURN, DATAGRAMS_PER_TURN};
use crate::error::Failure;
use crate::proto::Undelivered;
use crate::proto::envelope::{Envelopes, Notice, Taken, Transmit};
use crate::time::Time;
use crate::trust::PublicKey;
use crate::wire::LinkMessage;
use crate::wire::link::Packer;

/// Room for more than the longest datagram, so that a longer one is detected.
const BUFFER_BYTES: usize = DATAGRAM_BYTES_MAX + 64;
/// Room for the control messages of a datagram or an error.
const CONTROL_BYTES: usize = 256;

/// The destination of a datagram, and the address of this host to send it from, if that matters.
pub(super) type Destination = (Option<IpAddr>, SocketAddr);

/// What the socket has received.
#[derive(Debug)]
pub(super) enum Received {
    /// A datagram that passed the checks of its envelope.
    Datagram(Taken),
    /// A greeting came that is not answered.
    Unanswered(Notice),
    /// A datagram of ours was not delivered.
    Undelivered { to: SocketAddr, why: Undelivered },
}

/// The socket, its latched readiness, and the messages that wait for the end of the turn.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: UdpSocket,
    /// Latched: datagrams may be waiting. Cleared on `WouldBlock` only.
    ready: bool,
    /// Latched: errors may be waiting. It is cleared when there is none.
    failed: bool,
    /// Datagrams that may still be read in this turn.
    budget: usize,
    /// Errors that may still be read in this turn.
    errors_budget: usize,
    buffer: Vec<u8>,
    /// Length of the last datagram in the buffer.
    length: usize,
    envelopes: Envelopes,
    control: Vec<u8>,
    is_v6: bool,
    /// Whether it accepts datagrams to any address of this host.
    is_wildcard: bool,
    /// The address that it is bound to.
    bound: SocketAddr,
    lanes: Lanes,
    /// Datagrams of lanes that may still be read in this turn.
    lanes_budget: usize,
    /// Whether the common socket is looked at before the lanes.
    common_first: bool,
    /// The last error of a send, until the error is reported.
    refused: Option<(SocketAddr, String)>,
    /// One packer for each destination of this turn. There are at most as many as the machine has
    /// addresses of neighbors.
    packers: BTreeMap<(Destination, Option<PublicKey>), Packer>,
}

impl Datagrams {
    /// Binds UDP to the address.
    ///
    /// # Errors
    /// The error of the system.
    pub(super) fn bind(addr: SocketAddr) -> io::Result<Datagrams> {
        let socket = open(addr, Type::DGRAM, Protocol::UDP)?;
        if let Err(error) = socket.set_recv_buffer_size(DATAGRAM_BUFFER_BYTES) {
            log::debug!("the receive buffer of the UDP socket stays as it is: {error}");
        }
        let is_wildcard = addr.ip().is_unspecified();
        if is_wildcard {
            report_addresses(&socket, addr.is_ipv6())?;
        }
        if let Err(error) = report_errors(&socket, addr.is_ipv6()) {
            log::debug!("errors of datagrams are not reported: {error}");
        }
        socket.bind(&addr.into())?;
        // This is set after the bind, so that the bind fails if another program uses this port.
        if let Err(error) = socket.set_reuse_port(true) {
            log::debug!("neighbors have no sockets of their own: {error}");
        }
        let bound = socket.local_addr()?.as_socket().unwrap_or(addr);
        Ok(Datagrams {
            socket: UdpSocket::from_std(socket.into()),
            ready: true,
            failed: false,
            budget: 0,
            errors_budget: 0,
            buffer: vec![0; BUFFER_BYTES],
            length: 0,
            envelopes: Envelopes::open(),
            control: vec![0; CONTROL_BYTES],
            is_v6: addr.is_ipv6(),
            is_wildcard,
            bound,
            lanes: Lanes::default(),
            lanes_budget: 0,
            common_first: false,
            refused: None,
            packers: BTreeMap::new(),
        })
    }

    /// From now on every datagram has one of these envelopes.
    pub(super) fn set_envelopes(&mut self, envelopes: Envelopes) {
        self.envelopes = envelopes;
    }

    /// As [`Envelopes::set_neighbors`].
    pub(super) fn set_neighbors(&mut self, keys: &[PublicKey]) {
        self.envelopes.set_neighbors(keys);
    }

    pub(super) fn envelopes(&self) -> &Envelopes {
        &self.envelopes
    }

    pub(super) fn envelopes_mut(&mut self) -> &mut Envelopes {
        &mut self.envelopes
    }

    pub(super) fn watch(&mut self, ctx: &Context) -> Result<(), Failure> {
        ctx.watch_reads(&mut self.socket, token::DATAGRAMS, "the UDP socket")
    }

    /// The poll says that datagrams or errors may be waiting.
    pub(super) fn latch(&mut self, readable: bool, error: bool) {
        self.ready |= readable || error;
        self.failed |= error;
    }

    /// The poll says that datagrams of a neighbor may be waiting.
    pub(super) fn latch_lane(&mut self, at: usize) {
        self.lanes.latch(at);
    }

    /// These addresses of this host are gone.
    pub(super) fn lose(&mut self, gone: &[IpAddr]) {
        self.lanes.lose(gone);
    }

    /// Whether datagrams or errors may wait.
    pub(super) fn is_ready(&self) -> bool {
        self.ready || self.failed || self.lanes.is_ready()
    }

    pub(super) fn begin_turn(&mut self) {
        (self.budget, self.errors_budget) = (DATAGRAMS_PER_TURN, DATAGRAM_ERRORS_PER_TURN);
        self.lanes_budget = DATAGRAMS_PER_TURN;
    }

    /// Receives the next datagram or error.
    pub(super) fn receive(&mut self, now: Time, counters: &mut Counters) -> Option<Received> {
        if let Some(undelivered) = self.next_error() {
            return Some(undelivered);
        }
        // The common socket and the lanes take turns, so that neither delays the other.
        self.common_first = !self.common_first;
        if self.common_first {
            self.receive_common(now, counters).or_else(|| self.receive_lane(now, counters))
        } else {
            self.receive_lane(now, counters).or_else(|| self.receive_common(now, counters))
        }
    }

    /// Receives the next datagram from a neighbor with a socket of its own.
    fn receive_lane(&mut self, now: Time, counters: &mut Counters) -> Option<Received> {
        while self.lanes_budget > 0
            && let Some(received) = self.lanes.receive(&mut self.buffer)
        {
            self.lanes_budget -= 1;
            match received {
                Ok((from, to, length)) => {
                    let to = Some(to).filter(|_| self.is_wildcard);
                    if let Some(found) = self.look_at(now, (from, to), length, counters) {
                        return Some(found);
                    }
                }
                Err((to, error)) => return Some(Received::Undelivered { to, why: undelivered(&error) }),
            }
        }
        None
    }

    /// Receives the next datagram or error from the common socket.
    fn receive_common(&mut self, now: Time, counters: &mut Counters) -> Option<Received> {
        while self.ready && self.budget > 0 {
            self.budget -= 1;
            match self.receive_one() {
                Ok((from, to, length)) => {
                    if let Some(found) = self.look_at(now, (canonical(from), to), length, counters) {
                        return Some(found);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
                Err(error) => {
                    // This may be the error of a datagram that was sent.
                    self.failed = true;
                    counters.datagram_errors += 1;
                    log::debug!("receiving a datagram: {error}");
                }
            }
        }
        None
    }

    /// The meaning of the datagram in the buffer, unless it is dropped.
    fn look_at(
        &mut self,
        now: Time,
        (from, to): (SocketAddr, Option<IpAddr>),
        length: usize,
        counters: &mut Counters,
    ) -> Option<Received> {
        counters.datagrams_in += 1;
        self.length = length;
        let taken = self.envelopes.handle_datagram(now, from, to, &self.buffer[..length]);
        let notice = || self.envelopes.poll_notice().map(Received::Unanswered);
        taken.map(Received::Datagram).or_else(notice)
    }

    fn receive_one(&mut self) -> io::Result<(SocketAddr, Option<IpAddr>, usize)> {
        if !self.is_wildcard {
            return self.socket.recv_from(&mut self.buffer).map(|(length, from)| (from, None, length));
        }
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let fd = self.socket.as_raw_fd();
        let received = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut self.control), MsgFlags::MSG_DONTWAIT)?;
        let from = received.address.as_ref().and_then(socket_addr).ok_or(io::ErrorKind::InvalidData)?;
        let to = received.cmsgs()?.find_map(|message| local_address(&message));
        Ok((from, to, received.bytes))
    }

    /// The next datagram that was not delivered.
    fn next_error(&mut self) -> Option<Received> {
        if let Some((to, why)) = self.refused.take() {
            return Some(Received::Undelivered { to, why: Undelivered::Failed(why) });
        }
        while self.failed && self.errors_budget > 0 {
            self.errors_budget -= 1;
            let mut first = [0; 1];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let fd = self.socket.as_raw_fd();
            let mut slices = [IoSliceMut::new(&mut first)];
            let Ok(read) = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut self.control), flags) else {
                self.failed = false;
                return None;
            };
            let to = read.address.as_ref().and_then(socket_addr).map(canonical);
            let why = read.cmsgs().ok().and_then(|mut messages| messages.find_map(|message| reason(&message)));
            if let (Some(to), Some(why)) = (to, why) {
                return Some(Received::Undelivered { to, why });
            }
        }
        None
    }

    /// The bytes of the last datagram that passed the checks, in the form of open mode.
    pub(super) fn bytes(&self, taken: &Taken) -> &[u8] {
        match taken.opened {
            Some(length) => self.envelopes.opened(length),
            None => &self.buffer[..self.length],
        }
    }

    /// Packs a message for its destination, to be sent from an address of ours. A full datagram is
    /// sent at once.
    pub(super) fn push(
        &mut self,
        (path, key): (Destination, Option<PublicKey>),
        boot: u64,
        message: &LinkMessage,
        ctx: &mut Context,
    ) {
        let packer = self.packers.entry((path, key)).or_insert_with(|| Packer::new(boot));
        let earlier = if packer.boot() == boot { None } else { std::mem::replace(packer, Packer::new(boot)).finish() };
        let full = packer.push(message);
        for datagram in [earlier, full].into_iter().flatten() {
            self.envelopes.send(ctx.now, path, key, datagram);
            self.transmit(ctx);
        }
    }

    /// Sends what was packed in this turn.
    pub(super) fn flush(&mut self, ctx: &mut Context) {
        for ((path, key), mut packer) in std::mem::take(&mut self.packers) {
            if let Some(datagram) = packer.finish() {
                self.envelopes.send(ctx.now, path, key, datagram);
            }
        }
        self.transmit(ctx);
    }

    /// Sends the datagrams that the envelopes have ready.
    fn transmit(&mut self, ctx: &mut Context) {
        while let Some(Transmit { from, to, bytes }) = self.envelopes.poll_transmit() {
            // Datagrams are sent to neighbors only.
            if let Some(here) = from.or(Some(self.bound.ip()).filter(|_| !self.is_wildcard)) {
                self.lanes.note_sent((here, to), self.bound.port(), ctx);
            }
            self.send((from, to), &bytes, &mut ctx.counters);
        }
    }

    /// Sends a datagram. If the socket does not accept it now, drops it: links repeat everything
    /// that must arrive.
    fn send(&mut self, (from, to): Destination, datagram: &[u8], counters: &mut Counters) {
        let mut sent = self.send_from(from, to, datagram);
        match &sent {
            Ok(_) => {}
            // This host has lost the address that the datagram should be sent from.
            Err(error) if from.is_some() && is_not_ours(error) => sent = self.send_from(None, to, datagram),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // This may be the error of an earlier datagram. The call has cleared it.
            Err(_) => sent = self.send_from(from, to, datagram),
        }
        match sent {
            Ok(_) => counters.datagrams_out += 1,
            Err(error) => {
                counters.datagrams_dropped += 1;
                log::debug!("a datagram to {to} is dropped: {error}");
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.refused = Some((to, error.to_string()));
                    self.failed = true;
                }
            }
        }
    }

    fn send_from(&self, from: Option<IpAddr>, to: SocketAddr, datagram: &[u8]) -> io::Result<usize> {
        let native = self.native(to);
        let same_family = |from: &IpAddr| self.is_wildcard && from.is_ipv4() == to.is_ipv4();
        let Some(from) = from.filter(same_family) else {
            return self.socket.send_to(datagram, native);
        };
        let (slices, flags) = ([IoSlice::new(datagram)], MsgFlags::MSG_DONTWAIT);
        let (fd, native) = (self.socket.as_raw_fd(), SockaddrStorage::from(native));
        let sent = match from {
            IpAddr::V4(ip) if !self.is_v6 => {
                let [unset, source] = [Ipv4Addr::UNSPECIFIED, ip].map(|ip| in_addr { s_addr: u32::from(ip).to_be() });
                let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: unset };
                sendmsg(fd, &slices, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&native))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {
                let interface = if let SocketAddr::V6(to) = to { to.scope_id() } else { 0 };
                let source = in6_addr { s6_addr: mapped(from).octets() };
                let info = in6_pktinfo { ipi6_addr: source, ipi6_ifindex: interface };
                sendmsg(fd, &slices, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&native))
            }
        };
        Ok(sent?)
    }

    fn native(&self, to: SocketAddr) -> SocketAddr {
        match to {
            SocketAddr::V4(v4) if self.is_v6 => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
            SocketAddr::V4(_) | SocketAddr::V6(_) => to,
        }
    }
}

/// Asks the system to which address each datagram came.
fn report_addresses(socket: &Socket, is_v6: bool) -> io::Result<()> {
    if is_v6 {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    Ok(())
}

/// The address of ours that a datagram was sent to, if the control message contains it. For a
/// broadcast, this is the address of its interface.
fn local_address(message: &ControlMessageOwned) -> Option<IpAddr> {
    if let ControlMessageOwned::Ipv4PacketInfo(info) = message {
        Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into())
    } else if let ControlMessageOwned::Ipv6PacketInfo(info) = message {
        Some(IpAddr::from(Ipv6Addr::from(info.ipi6_addr.s6_addr)).to_canonical())
    } else {
        None
    }
}

fn reason(message: &ControlMessageOwned) -> Option<Undelivered> {
    let error = if let ControlMessageOwned::Ipv4RecvErr(error, _) = message {
        error
    } else if let ControlMessageOwned::Ipv6RecvErr(error, _) = message {
        error
    } else {
        return None;
    };
    let errno = i32::try_from(error.ee_errno).ok()?;
    Some(undelivered(&io::Error::from_raw_os_error(errno)))
}

fn undelivered(error: &io::Error) -> Undelivered {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        Undelivered::Refused
    } else {
        Undelivered::Failed(error.to_string())
    }
}

fn is_not_ours(error: &io::Error) -> bool {
    let ours = [Errno::EINVAL, Errno::EADDRNOTAVAIL, Errno::ENODEV].map(|errno| Some(errno as i32));
    ours.contains(&error.raw_os_error())
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn socket_addr(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|addr| SocketAddr::from((addr.ip(), addr.port())));
    let v6 = || {
        let addr = storage.as_sockaddr_in6()?;
        Some(SocketAddrV6::new(addr.ip(), addr.port(), 0, addr.scope_id()).into())
    };
    v4.or_else(v6)
}
