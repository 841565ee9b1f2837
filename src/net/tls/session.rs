//! The TLS state of one connection: from the bytes of records to plaintext, and back.
//!
//! It owns memory for an incomplete record, and for records that the socket has not accepted yet.
//! An idle connection owns neither. rustls is used without its buffers, because they keep 4 KiB for
//! each connection.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{CertificateError, ClientConfig, Error, InvalidMessage, ServerConfig};

use super::certificate;
use super::headers::Headers;
use super::verify::WrongKey;
use crate::trust::PublicKey;

/// Plaintext that is sealed in one step: four full records.
pub(in crate::net) const SEALED_STEP_BYTES: usize = 64 * 1024;
/// The most bytes of a record in addition to its content (RFC 8446 §5.2): 5 bytes of the header,
/// the type and the tag.
const RECORD_OVERHEAD: usize = 5 + 1 + 16;
/// Plaintext of a full record (RFC 8446 §5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// The longest record (RFC 8446 §5.2). This is also the most bytes that are held of an incomplete
/// record.
const HELD_BYTES_MAX: usize = 5 + RECORD_BYTES + 256;
/// Room for records of the handshake, an update of the keys and an alert.
const ENCODE_BYTES: usize = 1024;
/// The most records of rustls itself that are sent before sealed ones.
const RECORDS_BEFORE_MAX: usize = 8;
/// Length of the output of one step.
const SEALED_BYTES: usize = SEALED_STEP_BYTES + (SEALED_STEP_BYTES / RECORD_BYTES) * RECORD_OVERHEAD + ENCODE_BYTES;

/// Why the TLS of a connection has failed.
#[derive(Clone, Debug)]
pub(in crate::net) struct TlsError(Error);

impl TlsError {
    /// The other side proved another key than the expected one.
    pub(in crate::net) fn wrong_key(&self) -> Option<WrongKey> {
        let Error::InvalidCertificate(CertificateError::Other(other)) = &self.0 else { return None };
        other.0.downcast_ref().copied()
    }
}

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.wrong_key() {
            Some(wrong) => wrong.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

impl std::error::Error for TlsError {}

/// The result of one step of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::net) struct Opened {
    /// Bytes of plaintext.
    pub(in crate::net) count: usize,
    /// Whether keys of the handshake were used in a computation, which takes long.
    pub(in crate::net) worked: bool,
}

/// The state of one connection.
pub(in crate::net) struct Tls {
    side: Side,
    headers: Headers,
    /// The beginning of an incomplete record.
    held: Vec<u8>,
    /// Records that the socket has not accepted completely. The bytes before `head` are sent.
    out: Vec<u8>,
    head: usize,
    /// Whether the other side has ended its direction.
    ended: bool,
    /// Whether the connection can no longer be used.
    failed: bool,
    /// Whether the handshake is complete.
    ready: bool,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// The result of one call of rustls.
enum Found {
    Plain(usize),
    Encoded,
    Transmitted,
    Ended,
    Waiting,
    Ready,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tls { held, out, ready, failed, .. } = self;
        write!(f, "Tls(ready: {ready}, failed: {failed}, held: {}, out: {})", held.len(), out.len())
    }
}

impl Tls {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Tls, TlsError> {
        Ok(Tls::new(Side::Server(UnbufferedServerConnection::new(config).map_err(TlsError)?)))
    }

    pub(super) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Tls, TlsError> {
        let mut tls = Tls::new(Side::Client(UnbufferedClientConnection::new(config, name).map_err(TlsError)?));
        // This makes the first message of the handshake.
        tls.open(&mut [], 0, &mut [])?;
        Ok(tls)
    }

    fn new(side: Side) -> Tls {
        let headers = Headers::default();
        Tls { side, headers, held: Vec::new(), out: Vec::new(), head: 0, ended: false, failed: false, ready: false }
    }

    /// Whether the handshake is complete.
    pub(in crate::net) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether a record or a message was wrong.
    pub(in crate::net) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether the other side has ended its direction.
    pub(in crate::net) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether an incomplete record is held.
    pub(in crate::net) fn is_within_record(&self) -> bool {
        !self.held.is_empty()
    }

    /// The bytes of its buffers: the one for writing, and the one for reading.
    pub(in crate::net) fn buffer_bytes(&self) -> [usize; 2] {
        [self.out.capacity(), self.held.capacity()]
    }

    pub(in crate::net) fn free_buffers(&mut self) {
        (self.held, self.out, self.head) = (Vec::new(), Vec::new(), 0);
    }

    /// The key that the other side has proved.
    ///
    /// # Errors
    /// If the other side has shown no certificate. The handshake does not allow this.
    pub(in crate::net) fn key(&self) -> Result<PublicKey, TlsError> {
        let certificates = match &self.side {
            Side::Server(conn) => conn.peer_certificates(),
            Side::Client(conn) => conn.peer_certificates(),
        };
        let first = certificates.and_then(<[_]>::first).ok_or(TlsError(Error::NoCertificatesPresented))?;
        certificate::key_of(first).map_err(TlsError)
    }

    // ---- reading --------------------------------------------------------------------------------

    /// How many bytes of a record are held. The next bytes must be read into `sealed` behind them,
    /// from this position on.
    pub(in crate::net) fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Opens the records in the first `length` bytes of `sealed`. First it copies the held bytes to
    /// the front of `sealed`. It writes the plaintext into `plain`, which must be as long as
    /// `sealed`.
    ///
    /// # Errors
    /// If a record or a message is wrong. An alert is left in the output.
    pub(in crate::net) fn open(
        &mut self,
        sealed: &mut [u8],
        length: usize,
        plain: &mut [u8],
    ) -> Result<Opened, TlsError> {
        let held = std::mem::take(&mut self.held);
        sealed[..held.len()].copy_from_slice(&held);
        let result = if self.headers.take(&sealed[held.len()..length]) {
            self.open_all(&mut sealed[..length], plain)
        } else {
            Err(TlsError(InvalidMessage::InvalidContentType.into()))
        };
        if result.is_err() {
            self.failed = true;
            self.encode_alert();
        }
        result
    }

    fn open_all(&mut self, sealed: &mut [u8], plain: &mut [u8]) -> Result<Opened, TlsError> {
        let mut opened = Opened::default();
        let mut used = 0;
        loop {
            let rest = &mut sealed[used..];
            let (discard, found) = match &mut self.side {
                Side::Server(conn) => step(conn.process_tls_records(rest), &mut plain[opened.count..], &mut self.out),
                Side::Client(conn) => step(conn.process_tls_records(rest), &mut plain[opened.count..], &mut self.out),
            };
            used += discard;
            match found.map_err(TlsError)? {
                Found::Plain(count) => opened.count += count,
                Found::Encoded => opened.worked |= !self.ready,
                Found::Transmitted => {}
                // rustls reports this only once. After it, rustls reports whether the handshake is
                // complete.
                Found::Ended if !self.ended => self.ended = true,
                Found::Ended | Found::Waiting => break,
                Found::Ready => {
                    opened.worked |= !std::mem::replace(&mut self.ready, true);
                    break;
                }
            }
        }
        let rest = if self.ended { &[] } else { &sealed[used..] };
        if rest.len() > HELD_BYTES_MAX {
            return Err(TlsError(InvalidMessage::MessageTooLarge.into()));
        }
        self.held = rest.to_vec();
        Ok(opened)
    }

    /// Puts the alert for the other side into the output. It runs only while rustls has an alert,
    /// because after an error rustls must not get more input.
    fn encode_alert(&mut self) {
        let is_waiting = match &self.side {
            Side::Server(conn) => conn.wants_write(),
            Side::Client(conn) => conn.wants_write(),
        };
        if is_waiting {
            let _ = match &mut self.side {
                Side::Server(conn) => step(conn.process_tls_records(&mut []), &mut [], &mut self.out).1,
                Side::Client(conn) => step(conn.process_tls_records(&mut []), &mut [], &mut self.out).1,
            };
        }
    }

    // ---- writing --------------------------------------------------------------------------------

    /// Records that the socket has not taken.
    pub(in crate::net) fn unsent(&self) -> &[u8] {
        &self.out[self.head..]
    }

    /// The socket has accepted this many bytes of the unsent records.
    pub(in crate::net) fn on_sent(&mut self, count: usize) {
        self.head += count;
        if self.head == self.out.len() {
            (self.out, self.head) = (Vec::new(), 0);
        }
    }

    /// Keeps records that the socket has not taken.
    pub(in crate::net) fn keep(&mut self, sealed: &[u8]) {
        if !sealed.is_empty() {
            self.out.extend_from_slice(sealed);
        }
    }

    /// Seals up to [`SEALED_STEP_BYTES`] into the buffer, and returns the length of the records.
    /// Bytes that are unsent after the call must be sent before these records.
    ///
    /// # Errors
    /// If the connection has failed, or if its keys are used up.
    pub(in crate::net) fn seal(&mut self, plain: &[u8], into: &mut Vec<u8>) -> Result<usize, TlsError> {
        into.resize(SEALED_BYTES, 0);
        self.write(&Sealing::Data(plain), into)
    }

    /// Seals the alert that says that nothing more follows, if this is possible.
    pub(in crate::net) fn seal_end(&mut self) {
        let mut record = [0; ENCODE_BYTES];
        if self.ready
            && let Ok(length) = self.write(&Sealing::End, &mut record)
        {
            self.keep(&record[..length]);
        }
    }

    fn write(&mut self, what: &Sealing<'_>, into: &mut [u8]) -> Result<usize, TlsError> {
        if self.failed {
            return Err(TlsError(Error::HandshakeNotComplete));
        }
        let Tls { side, held, out, .. } = self;
        // rustls may have to send records of its own before, such as an update of the keys.
        for _ in 0..RECORDS_BEFORE_MAX {
            let (discard, length) = match side {
                Side::Server(conn) => seal(conn.process_tls_records(held), what, into, out),
                Side::Client(conn) => seal(conn.process_tls_records(held), what, into, out),
            };
            held.drain(..discard);
            if let Some(length) = length.map_err(TlsError)? {
                return Ok(length);
            }
        }
        Err(TlsError(Error::HandshakeNotComplete))
    }
}

/// What to seal.
enum Sealing<'a> {
    Data(&'a [u8]),
    End,
}

/// Does what rustls requires next. Returns how many bytes of the input are used up, and the result.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut [u8],
    out: &mut Vec<u8>,
) -> (usize, Result<Found, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let found = state.and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            let mut count = 0;
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                let room = plain.get_mut(count..count + record.payload.len());
                room.ok_or(Error::PeerSentOversizedRecord)?.copy_from_slice(record.payload);
                count += record.payload.len();
            }
            Ok(Found::Plain(count))
        }
        ConnectionState::EncodeTlsData(mut encode) => {
            let at = out.len();
            out.resize(at + ENCODE_BYTES, 0);
            let mut result = encode.encode(&mut out[at..]);
            if let Err(EncodeError::InsufficientSize(needed)) = &result {
                out.resize(at + needed.required_size, 0);
                result = encode.encode(&mut out[at..]);
            }
            out.truncate(at + result.as_ref().copied().unwrap_or(0));
            result.map(|_| Found::Encoded).map_err(|error| Error::General(error.to_string()))
        }
        ConnectionState::TransmitTlsData(transmit) => {
            // The data is in the output, which is sent in order.
            transmit.done();
            Ok(Found::Transmitted)
        }
        ConnectionState::BlockedHandshake => Ok(Found::Waiting),
        ConnectionState::WriteTraffic(_) => Ok(Found::Ready),
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Found::Ended),
        // Early data is never offered.
        ConnectionState::ReadEarlyData(_) | _ => Err(Error::General("a state of TLS that is not used".to_owned())),
    });
    (discard, found)
}

/// Seals the data, unless something must be sent before it.
fn seal<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    what: &Sealing<'_>,
    into: &mut [u8],
    out: &mut Vec<u8>,
) -> (usize, Result<Option<usize>, Error>) {
    let UnbufferedStatus { discard, state } = status;
    match state {
        Ok(ConnectionState::WriteTraffic(mut write)) => {
            let sealed = match what {
                Sealing::Data(plain) => write.encrypt(plain, into),
                Sealing::End => write.queue_close_notify(into),
            };
            (discard, sealed.map(Some).map_err(|error| Error::General(error.to_string())))
        }
        other => {
            let (discard, found) = step(UnbufferedStatus { discard, state: other }, &mut [], out);
            (discard, found.map(|_| None))
        }
    }
}
