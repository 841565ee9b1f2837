//! Functions for all kinds of sockets: opening a socket, its addresses, and the errors of the
//! system.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::UNSENT_BYTES_MAX;
use crate::error::{Exit, Failure};

/// A non-blocking socket for the IP version of the address. A socket for `[::]` accepts IPv4 as
/// well.
pub(super) fn open(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if let IpAddr::V6(ip) = addr.ip() {
        socket.set_only_v6(!ip.is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether the process that connected to this Unix socket runs as the user of this process, or as
/// root (SO_PEERCRED).
pub(super) fn is_of_own_user(stream: &impl AsFd) -> bool {
    let own = rustix::process::geteuid().as_raw();
    getsockopt(stream, sockopt::PeerCredentials).is_ok_and(|peer| [0, own].contains(&peer.uid()))
}

/// The address. If it is an IPv4 address in its mapped form, its plain form.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
        // A link-local address keeps its interface.
        IpAddr::V6(_) => addr,
    }
}

/// Whether an accepted socket has the options of its listener, so that they need not be set for
/// each of them.
pub(super) const INHERITS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Sets the options of a TCP socket that carries a connection. Small segments are sent at once. The
/// kernel accepts only a bounded number of bytes that it has not sent: without this bound, chunks
/// that could still be canceled would wait in the kernel.
pub(super) fn set_options(socket: &impl AsFd) {
    if let Err(error) = SockRef::from(socket).set_tcp_nodelay(true) {
        log::debug!("setting TCP_NODELAY: {error}");
    }
    bound_unsent(socket, UNSENT_BYTES_MAX, None);
}

/// Bounds how many bytes the kernel accepts and has not sent. With `silent_max`, it also ends a
/// connection whose other side takes nothing for this long, however many bytes it holds; zero is
/// the time that the system has for it.
pub(super) fn bound_unsent(socket: &impl AsFd, bytes: u32, silent_max: Option<Duration>) {
    let socket = SockRef::from(socket);
    if let Err(error) = socket.set_tcp_notsent_lowat(bytes) {
        log::debug!("setting TCP_NOTSENT_LOWAT: {error}");
    }
    if silent_max.is_some()
        && let Err(error) = socket.set_tcp_user_timeout(silent_max)
    {
        log::debug!("setting TCP_USER_TIMEOUT: {error}");
    }
}

/// Whether the error means that descriptors or memory ran out.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// The failure of a bind: exit 5 with a sentence that names the address. `what` follows the address
/// in the sentence. `option` is the option that sets the address.
pub(super) fn cannot_listen(addr: SocketAddr, what: &str, option: &str, error: &io::Error) -> Failure {
    let kind = error.kind();
    let message = if kind == io::ErrorKind::AddrInUse {
        format!("{addr}{what} is in use; choose another port with {option} or stop the other program")
    } else if kind == io::ErrorKind::AddrNotAvailable {
        format!("{addr}{what} is not an address of this machine; choose one that is with {option}")
    } else if kind == io::ErrorKind::PermissionDenied {
        format!("this user may not listen on {addr}{what}; choose a port above 1023 with {option}")
    } else {
        format!("cannot listen on {addr}{what}: {error}; choose another address with {option}")
    };
    Failure::new(Exit::Unreachable, message)
}

/// Raises the limit of open descriptors as far as the system allows, and returns it.
pub(super) fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(error) => {
            log::debug!("the limit of descriptors stays as it is: {error}");
            limit.current
        }
    };
    current.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// Asks the system for the ICMP errors about datagrams. An IPv6 socket may also carry IPv4.
pub(super) fn report_errors(socket: &Socket, is_v6: bool) -> io::Result<()> {
    setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    if is_v6 {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    }
    Ok(())
}
