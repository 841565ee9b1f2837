//! Lanes: for each neighbor to which datagrams are sent, one UDP socket that is connected to its
//! address. The kernel puts datagrams from this address into the queue of this socket. So other
//! senders cannot displace the datagrams of a neighbor, even if they send very much to this port.
//!
//! Lanes only receive. If a lane cannot be opened, the common socket receives its datagrams.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::net::UdpSocket;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Protocol, Type};

use super::context::Context;
use super::socket::{canonical, open, report_errors};
use super::token;
use crate::config::{DATAGRAM_BUFFER_BYTES, DATAGRAM_ERRORS_PER_TURN, LINK_SOCKETS_MAX};
use crate::time::Time;

/// A lane may be replaced if nothing was sent between its two addresses for this long.
const UNUSED_MAX: Duration = Duration::from_secs(60);

/// A datagram, or an error that concerns the neighbor at this address.
type Received = Result<(SocketAddr, IpAddr, usize), (SocketAddr, io::Error)>;
/// The address of this host, and the address of the neighbor.
type Ends = (IpAddr, SocketAddr);

#[derive(Debug)]
struct Lane {
    /// None if it could not be opened.
    socket: Option<UdpSocket>,
    ends: Ends,
    used: Time,
}

/// The lanes of a node.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: [Option<Lane>; LINK_SOCKETS_MAX],
    by_ends: BTreeMap<Ends, usize>,
    /// Latched, one bit for each lane: datagrams may be waiting.
    ready: u32,
    /// Where to look for the next datagram.
    next: u32,
}

const _: () = assert!(LINK_SOCKETS_MAX == u32::BITS as usize);

impl Lanes {
    /// A datagram is sent from this address of ours to that one: opens a lane if there is none.
    pub(super) fn note_sent(&mut self, ends: Ends, port: u16, ctx: &Context) {
        if let Some(lane) = self.by_ends.get(&ends).and_then(|at| self.lanes[*at].as_mut()) {
            lane.used = ctx.now;
            return;
        }
        let Some(at) = self.place(ctx.now) else { return };
        let opened = open_lane(at, ends, port, ctx).inspect_err(|error| {
            log::debug!("no socket for the neighbor at {}: {error}", ends.1);
        });
        self.by_ends.insert(ends, at);
        self.lanes[at] = Some(Lane { socket: opened.ok(), ends, used: ctx.now });
        self.latch(at);
    }

    /// A free place. If there is none, the place of a lane that is no longer used.
    fn place(&mut self, now: Time) -> Option<usize> {
        let at = (0..LINK_SOCKETS_MAX).min_by_key(|at| self.lanes[*at].as_ref().map(|lane| lane.used))?;
        if let Some(lane) = self.lanes[at].take_if(|lane| now >= lane.used + UNUSED_MAX) {
            self.by_ends.remove(&lane.ends);
        }
        self.lanes[at].is_none().then_some(at)
    }

    /// This host has lost these addresses: removes the lanes that use them.
    pub(super) fn lose(&mut self, gone: &[IpAddr]) {
        for slot in &mut self.lanes {
            if let Some(lane) = slot.take_if(|lane| gone.contains(&lane.ends.0)) {
                self.by_ends.remove(&lane.ends);
            }
        }
    }

    /// The poll says that datagrams or errors wait.
    pub(super) fn latch(&mut self, at: usize) {
        self.ready |= 1 << at;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready != 0
    }

    /// Receives one datagram: its sender, the address that it was sent to, and its length. Or it
    /// returns an error and the neighbor that the error concerns. None if nothing waits.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Option<Received> {
        while self.ready != 0 {
            let at = (self.ready.rotate_right(self.next).trailing_zeros() + self.next) % u32::BITS;
            let lane = self.lanes[at as usize].as_ref();
            let Some((socket, ends)) = lane.and_then(|lane| Some((lane.socket.as_ref()?, lane.ends))) else {
                self.ready &= !(1 << at);
                continue;
            };
            match socket.recv_from(buffer) {
                Ok((length, from)) => {
                    // At the next call, the next lane comes first.
                    self.next = (at + 1) % u32::BITS;
                    return Some(Ok((canonical(from), ends.0, length)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready &= !(1 << at),
                Err(error) => {
                    drop_errors(socket);
                    return Some(Err((ends.1, error)));
                }
            }
        }
        None
    }
}

/// Empties the queue of errors, which uses the room for datagrams. The read has returned one of
/// these errors, and all of them concern this neighbor.
fn drop_errors(socket: &UdpSocket) {
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    for _ in 0..DATAGRAM_ERRORS_PER_TURN {
        let mut first = [0; 1];
        if recv(socket.as_raw_fd(), &mut first, flags).is_err() {
            return;
        }
    }
}

fn open_lane(at: usize, (here, there): Ends, port: u16, ctx: &Context) -> io::Result<UdpSocket> {
    let local = match (here, there) {
        (IpAddr::V6(ip), SocketAddr::V6(there)) => SocketAddrV6::new(ip, port, 0, there.scope_id()).into(),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => SocketAddr::new(here, port),
    };
    let socket = open(local, Type::DGRAM, Protocol::UDP)?;
    socket.set_recv_buffer_size(DATAGRAM_BUFFER_BYTES)?;
    socket.set_reuse_port(true)?;
    socket.bind(&local.into())?;
    socket.connect(&there.into())?;
    // This socket also gets the errors about datagrams that the common socket sends to this
    // neighbor.
    report_errors(&socket, there.is_ipv6())?;
    let mut socket = UdpSocket::from_std(socket.into());
    ctx.poll.registry().register(&mut socket, token::lane(at), mio::Interest::READABLE)?;
    Ok(socket)
}
