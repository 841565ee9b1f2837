//! The handshake of one connection. Until it is complete, the machine does not know the connection.
//!
//! It reads a bounded number of bytes, and must be complete by the deadline of its phase. One step
//! reads the bytes that are there; it never waits.

use std::io;

use super::reading::Scratch;
use super::{Connection, Phase};
use crate::net::tls::{TlsError, WrongKey};
use crate::net::transport::Taken;
use crate::time::Time;
use crate::trust::PublicKey;

/// The first byte of a TLS record of the handshake (RFC 8446 §5.1).
const RECORD_HANDSHAKE: u8 = 0x16;
/// The first byte of an alert, with which an answer can begin.
const RECORD_ALERT: u8 = 0x15;
/// The first byte of a change of ciphers, with which an answer can also begin.
const RECORD_CHANGE: u8 = 0x14;

/// The result of one step.
#[derive(Debug)]
pub(in crate::net) enum Greeted {
    /// The handshake waits for the other side.
    Waiting,
    /// An accepted connection begins with TLS: the state for TLS must be made.
    Tls,
    /// The connection begins with this byte, which is not TLS.
    Foreign(u8),
    /// The handshake is complete, and the other side has this key.
    Done(PublicKey),
    /// The other side proved another key than the expected one.
    WrongKey(WrongKey),
    /// The other side closed the connection.
    Gone,
    /// The handshake failed, for this reason.
    Failed(String),
}

impl Connection {
    /// Continues the handshake. Also returns whether keys were used in a computation, which takes
    /// long.
    pub(in crate::net) fn greet(&mut self, scratch: &mut Scratch) -> (Greeted, bool) {
        let mut worked = false;
        let greeted = self.greet_steps(scratch, &mut worked).unwrap_or_else(|error| match self.tls_error(&error) {
            Some(wrong) => Greeted::WrongKey(wrong),
            None => Greeted::Failed(error.to_string()),
        });
        (greeted, worked)
    }

    fn greet_steps(&mut self, scratch: &mut Scratch, worked: &mut bool) -> io::Result<Greeted> {
        loop {
            match self.transport.push() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                pushed => pushed?,
            }
            if let Some(tls) = self.transport.tls()
                && tls.is_ready()
            {
                return Ok(match tls.key() {
                    Ok(key) => Greeted::Done(key),
                    Err(error) => Greeted::Failed(error.to_string()),
                });
            }
            if *worked || !self.readable {
                return Ok(Greeted::Waiting);
            }
            if !self.sniffed {
                match self.transport.peek() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                    Err(error) => return Err(error),
                    Ok(None) => return Ok(Greeted::Gone),
                    Ok(Some(first)) => {
                        self.sniffed = true;
                        let is_dial = self.transport.tls().is_some();
                        match first {
                            RECORD_HANDSHAKE if !is_dial => return Ok(Greeted::Tls),
                            RECORD_HANDSHAKE | RECORD_ALERT | RECORD_CHANGE if is_dial => {}
                            _ => return Ok(Greeted::Foreign(first)),
                        }
                    }
                }
                continue;
            }
            if self.early_left == 0 {
                return Ok(Greeted::Failed("it sends more bytes than a handshake has".into()));
            }
            *worked = self.read_handshake(scratch)?;
            // If the handshake is complete, the last bytes of the other side may have come with its
            // end.
            if self.transport.tls().is_some_and(|tls| tls.has_ended() && !tls.is_ready()) {
                return Ok(Greeted::Gone);
            }
        }
    }

    /// Reads once. Bytes after the handshake are kept and later read as frames.
    fn read_handshake(&mut self, scratch: &mut Scratch) -> io::Result<bool> {
        match self.transport.read(&mut scratch.bytes, self.early_left as usize, &mut scratch.sealed) {
            Ok(Taken::End) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Taken::Some { count, taken, emptied, worked }) => {
                self.note_taken(taken, emptied);
                if count > 0 {
                    self.held.extend_from_slice(&scratch.bytes[..count]);
                    self.held_complete = true;
                }
                Ok(worked)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The handshake is complete: frames are read from now on. The first frame may have begun
    /// already, and the last message of the handshake may not be sent yet.
    pub(in crate::net) fn end_handshake(&mut self, now: Time) {
        self.phase = Phase::Open;
        (self.frame_since, self.write_since) = (now, now);
    }

    fn tls_error(&self, error: &io::Error) -> Option<WrongKey> {
        error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()).and_then(TlsError::wrong_key)
    }
}
