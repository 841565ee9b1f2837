//! How the bytes of a connection are carried: over plain TCP, or over TLS. Only where a connection
//! begins must callers know which of them it is.

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::buffers::Buffers;
use super::sendfile;
use super::socket;
use super::tls::{SEALED_STEP_BYTES, Tls, TlsError};
use crate::config::READ_SCRATCH_BYTES;

/// The stream of one connection. No call blocks: each returns `WouldBlock` instead.
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    tls: Option<Box<Tls>>,
}

/// The result of a read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Taken {
    /// The other side sends no more.
    End,
    /// Bytes were read.
    Some {
        /// Bytes for the caller. With TLS this may be 0 although bytes were read.
        count: usize,
        /// Bytes from the socket.
        taken: usize,
        /// Whether the socket and the buffers here are empty.
        emptied: bool,
        /// Whether keys of a handshake were used in a computation.
        worked: bool,
    },
}

impl Transport {
    pub(super) fn new(stream: TcpStream) -> Transport {
        Transport { stream, tls: None }
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        &mut self.stream
    }

    /// From now on the bytes of the connection are TLS.
    pub(super) fn begin_tls(&mut self, tls: Tls) {
        self.tls = Some(Box::new(tls));
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    /// The first byte that waits. It stays in the socket. `None` means that the other side sends no
    /// more.
    pub(super) fn peek(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        let count = self.stream.peek(&mut first)?;
        Ok((count > 0).then_some(first[0]))
    }

    /// Reads at most `most` bytes from the socket into `into`. `sealed` is the buffer in which
    /// records are opened.
    pub(super) fn read(&mut self, into: &mut [u8], most: usize, sealed: &mut Vec<u8>) -> io::Result<Taken> {
        let Some(tls) = &mut self.tls else {
            let most = most.min(into.len());
            let count = self.stream.read(&mut into[..most])?;
            return Ok(match count {
                0 => Taken::End,
                _ => Taken::Some { count, taken: count, emptied: count < most && SHORT_READ_EMPTIES, worked: false },
            });
        };
        if tls.has_ended() {
            return Ok(Taken::End);
        }
        sealed.resize(READ_SCRATCH_BYTES, 0);
        let held = tls.held_bytes();
        let end = into.len().min(sealed.len()).min(held.saturating_add(most));
        let taken = self.stream.read(&mut sealed[held..end])?;
        if taken == 0 {
            return Ok(Taken::End);
        }
        match tls.open(sealed, held + taken, into) {
            Ok(opened) => {
                // If the end of the stream came with these bytes, only another read will find it.
                // No event would cause that read.
                let emptied = held + taken < end && SHORT_READ_EMPTIES && !tls.has_ended();
                Ok(Taken::Some { count: opened.count, taken, emptied, worked: opened.worked })
            }
            Err(error) => {
                // Sends the alert, as much as the socket accepts.
                let _ = self.push();
                Err(broken(&error))
            }
        }
    }

    /// `more` says that bytes of a file follow at once, so the kernel should not send a short
    /// segment. Bytes that were accepted may be sealed but not sent yet: see [`Transport::push`].
    pub(super) fn write(&mut self, bytes: &[u8], more: bool, buffers: &mut Buffers) -> io::Result<usize> {
        let flags = if more { SendFlags::MORE } else { SendFlags::empty() };
        if self.tls.is_none() {
            return send(&self.stream, bytes, flags);
        }
        self.push()?;
        self.write_sealed(bytes, flags, &mut buffers.sealed)
    }

    /// Sends several pieces of memory in order. The connection must not have TLS.
    pub(super) fn write_gathered(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        debug_assert!(self.tls.is_none(), "with TLS, bytes are sealed before they are sent");
        let mut none = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(self.stream.as_fd(), bytes, &mut none, SendFlags::NOSIGNAL)?)
    }

    /// Sends bytes of a file. Without TLS the kernel copies them if it can; with TLS they go
    /// through a buffer. `Ok(0)` means that the file ends there.
    pub(super) fn send_file(
        &mut self,
        file: &File,
        offset: u64,
        length: usize,
        buffers: &mut Buffers,
    ) -> io::Result<usize> {
        if self.tls.is_none() {
            return sendfile::send(&self.stream, file, offset, length);
        }
        self.push()?;
        let Buffers { sealed, plain, .. } = buffers;
        plain.resize(SEALED_STEP_BYTES, 0);
        let wanted = length.min(plain.len());
        let count = file.read_at(&mut plain[..wanted], offset)?;
        if count == 0 {
            return Ok(0);
        }
        self.write_sealed(&plain[..count], SendFlags::empty(), sealed)
    }

    fn write_sealed(&mut self, bytes: &[u8], flags: SendFlags, sealed: &mut Vec<u8>) -> io::Result<usize> {
        let tls = self.tls.as_mut().expect("looked at by the caller");
        let count = bytes.len().min(SEALED_STEP_BYTES);
        let length = tls.seal(&bytes[..count], sealed).map_err(|error| broken(&error))?;
        // Records of TLS itself may have to be sent first.
        let is_first = tls.unsent().is_empty();
        let sent = if is_first { send(&self.stream, &sealed[..length], flags) } else { Ok(0) };
        match sent {
            Ok(sent) => tls.keep(&sealed[sent..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                tls.keep(&sealed[..length]);
            }
            Err(error) => return Err(error),
        }
        Ok(count)
    }

    /// Sends bytes that are sealed but not sent.
    pub(super) fn push(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while !tls.unsent().is_empty() {
            match send(&self.stream, tls.unsent(), SendFlags::empty()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => tls.on_sent(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Bytes that are sealed but not sent.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.unsent().len())
    }

    #[cfg(test)]
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether an incomplete record is held.
    pub(super) fn is_within_record(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_within_record())
    }

    /// The bytes of its buffers: the one for writing, and the one for reading.
    pub(super) fn buffer_bytes(&self) -> [usize; 2] {
        self.tls.as_ref().map_or([0; 2], |tls| tls.buffer_bytes())
    }

    pub(super) fn free_buffers(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.free_buffers();
        }
    }

    /// Whether a dial has connected. The error says that the dial has failed.
    pub(super) fn connected(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Our own address.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The address of the other side.
    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    pub(super) fn set_options(&self) {
        socket::set_options(&self.stream);
    }

    /// Bounds how many bytes the kernel accepts and has not sent, and how long the other side may
    /// take nothing of what was sent.
    pub(super) fn bound_unsent(&self, bytes: u32, silent_max: Option<Duration>) {
        socket::bound_unsent(&self.stream, bytes, silent_max);
    }

    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.seal_end();
            let _ = self.push();
        }
        self.stream.shutdown(Shutdown::Write)
    }
}

/// Whether a read that returns fewer bytes than it has room for has emptied the socket. With mio's
/// other back ends (Windows, poll) this is not so.
const SHORT_READ_EMPTIES: bool = cfg!(any(target_os = "linux", target_os = "android"));

fn send(stream: &TcpStream, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
    Ok(rustix::net::send(stream.as_fd(), bytes, flags | SendFlags::NOSIGNAL)?)
}

fn broken(error: &TlsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.clone())
}
