//! The addresses that this host has lost. The system announces each change (rtnetlink(7)). The
//! announcements are not decoded: after a change, the list of all addresses is read again. There is
//! no timer.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::Interest;
use mio::unix::SourceFd;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::libc::{RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

use super::context::Context;
use super::token;

/// The most announcements that are skipped at once. The others wait for the next turn.
const SKIPPED_MAX: usize = 256;

/// The addresses, and the socket that announces changes.
#[derive(Debug)]
pub(super) struct OwnAddrs {
    socket: OwnedFd,
    known: BTreeSet<IpAddr>,
    /// Latched: something was announced. It is cleared when no announcement waits.
    ready: bool,
}

impl OwnAddrs {
    /// Watches the addresses from now on.
    ///
    /// # Errors
    /// If the system announces no changes to this process.
    pub(super) fn open(ctx: &Context) -> io::Result<OwnAddrs> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        let groups = (RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR).unsigned_abs();
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        ctx.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token::OWN_ADDRS, Interest::READABLE)?;
        Ok(OwnAddrs { socket, known: list()?, ready: false })
    }

    /// The poll says that something was announced.
    pub(super) fn latch(&mut self) {
        self.ready = true;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The addresses that this host has lost since the last call.
    pub(super) fn take_gone(&mut self) -> Vec<IpAddr> {
        if !self.ready {
            return Vec::new();
        }
        let mut bytes = [0; 4096];
        for _ in 0..SKIPPED_MAX {
            match recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                // Announcements were lost, but the list that is read next is complete.
                Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(_) => {
                    self.ready = false;
                    break;
                }
            }
        }
        match list() {
            Ok(now) => {
                let gone = self.known.difference(&now).copied().collect();
                self.known = now;
                gone
            }
            Err(error) => {
                log::debug!("the addresses of this host cannot be read: {error}");
                Vec::new()
            }
        }
    }
}

/// All addresses of this host, on all interfaces.
fn list() -> io::Result<BTreeSet<IpAddr>> {
    let addrs = getifaddrs()?.filter_map(|interface| interface.address);
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    Ok(addrs.filter_map(ip).collect())
}
