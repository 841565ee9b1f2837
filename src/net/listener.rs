//! The TCP listener: binding with a sentence that helps, accepting within bounds, and living through a lack of descriptors.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{LISTEN_BACKLOG, REFUSALS_PER_RETRY};
use crate::error::{Exit, Failure};

/// A listening socket and its latched readiness.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    /// Latched: connections may be waiting. Cleared on `WouldBlock` only.
    pub(super) ready: bool,
    /// Descriptors ran out: nothing is accepted until one is freed or the timer comes.
    pub(super) stalled: bool,
    /// Connections that may be refused before it stalls.
    pub(super) refusals_left: usize,
    /// Given up for a moment to take a waiting connection and refuse it, when there is no other descriptor.
    spare: Option<File>,
}

/// What accepting found.
#[derive(Debug)]
pub(super) enum Accepting {
    /// A connection.
    New(TcpStream, SocketAddr),
    /// Somebody came and went, or another error that concerns one connection only.
    Gone,
    /// No more are waiting.
    Empty,
    /// No descriptor is left; `refused` tells whether the waiting connection was closed instead of left waiting.
    Exhausted { refused: bool },
}

impl Listener {
    pub(super) fn new(socket: TcpListener) -> Listener {
        Listener { socket, ready: true, stalled: false, refusals_left: REFUSALS_PER_RETRY, spare: spare() }
    }

    pub(super) fn accept(&mut self) -> Accepting {
        match self.socket.accept() {
            Ok((stream, from)) => Accepting::New(stream, canonical(from)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready = false;
                Accepting::Empty
            }
            Err(error) if is_exhaustion(&error) => Accepting::Exhausted { refused: self.refuse_one() },
            Err(error) if concerns_one_connection(&error) => Accepting::Gone,
            Err(error) => {
                log::warn!("accepting fails and is tried again later: {error}");
                Accepting::Exhausted { refused: false }
            }
        }
    }

    /// Closes one waiting connection with the descriptor that is kept for it, so that its dialler can go elsewhere.
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

/// Whether the error means that a descriptor or memory is lacking.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Whether the one who waited is gone, or his part of the network failed (accept(2), "Error handling").
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

/// An IPv4 address never in its mapped form.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Binds TCP to the address; `[::]` takes IPv4 as well.
///
/// # Errors
/// Exit 5 with a sentence that names the address.
pub(super) fn bind_tcp(addr: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = || -> io::Result<TcpListener> {
        let socket = open(addr, Type::STREAM, Protocol::TCP)?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        Ok(TcpListener::from_std(socket.into()))
    };
    bound().map_err(|error| cannot_listen(addr, "", &error))
}

/// A non-blocking socket of the address's family.
pub(super) fn open(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if let IpAddr::V6(ip) = addr.ip() {
        socket.set_only_v6(!ip.is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The failure of a bind, for people.
pub(super) fn cannot_listen(addr: SocketAddr, what: &str, error: &io::Error) -> Failure {
    let kind = error.kind();
    let message = if kind == io::ErrorKind::AddrInUse {
        format!("{addr}{what} is in use; choose another port with --listen or stop the other program")
    } else if kind == io::ErrorKind::AddrNotAvailable {
        format!("{addr}{what} is no address of this machine; choose one that is with --listen")
    } else if kind == io::ErrorKind::PermissionDenied {
        format!("{addr}{what} may not be listened on by this user; choose a port above 1023 with --listen")
    } else {
        format!("cannot listen on {addr}{what}: {error}; choose another address with --listen")
    };
    Failure::new(Exit::Unreachable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let first = bind_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = first.local_addr().unwrap();
        let failure = bind_tcp(addr).unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        let expected = format!("{addr} is in use; choose another port with --listen or stop the other program");
        assert_eq!(failure.message, expected);
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let failure = bind_tcp("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.message.starts_with("192.0.2.1:0 is no address of this machine"), "{}", failure.message);
    }
}
