//! How the bytes of a connection travel. Plain TCP is the only variant; another one (TLS) needs no
//! change above this file.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;

use mio::event::Source;
use mio::net::TcpStream;
use rustix::net::SendFlags;

use super::sendfile;

/// The stream of one connection. No call blocks: each returns `WouldBlock` instead.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
}

impl Transport {
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Transport::Plain(stream) => stream,
        }
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.read(into),
        }
    }

    /// Whether a read that returns fewer bytes than it has room for has taken all there are, from
    /// the kernel and from here.
    pub(super) fn short_read_empties(&self) -> bool {
        match self {
            // mio's other back ends (Windows, poll) make edges of another kind.
            Transport::Plain(_) => cfg!(any(target_os = "linux", target_os = "android")),
        }
    }

    /// `more`: bytes of a file follow at once, so the kernel should not send a short segment.
    pub(super) fn write(&mut self, bytes: &[u8], more: bool) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => {
                let mut flags = SendFlags::NOSIGNAL;
                flags.set(SendFlags::MORE, more);
                Ok(rustix::net::send(stream.as_fd(), bytes, flags)?)
            }
        }
    }

    /// Sends bytes of a file, without copying them into the process if the kernel can.
    pub(super) fn send_file(&mut self, file: &File, offset: u64, length: usize) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => sendfile::send(stream, file, offset, length),
        }
    }

    /// Whether a dial has connected; an error if it has failed.
    pub(super) fn connected(&self) -> io::Result<bool> {
        match self {
            Transport::Plain(stream) => {
                if let Some(error) = stream.take_error()? {
                    return Err(error);
                }
                match stream.peer_addr() {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Our own address.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Transport::Plain(stream) => stream.local_addr(),
        }
    }

    pub(super) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Transport::Plain(stream) => stream.set_nodelay(true),
        }
    }

    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Transport::Plain(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}
