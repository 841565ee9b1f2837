//! One TCP connection: its phase, the unfinished frame that it holds, its send queue, and when it
//! is too slow.
//!
//! A connection reads through the one scratch buffer of the loop. It owns memory only for a frame
//! that is not complete, for bytes that are not written and for a chunk that is being received. It
//! never decides anything about the protocol.

pub(super) mod handshake;
pub(super) mod http;
pub(super) mod reading;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::http::Http;
use super::buffers::Buffers;
use super::send_queue::{Flushed, SendQueue};
use super::transport::Transport;
use crate::config::{
    BACKLOG_BYTES, FRAME_BYTES_HELLO, FRAME_PROGRESS_MAX, HTTP_RATE_AFTER, HTTP_RATE_MIN, HTTP_UNSENT_BYTES_MAX,
    LINGER_BYTES_MAX, LINGER_MAX, SEND_QUEUE_BYTES_EARLY, UNSENT_BYTES_MAX, WRITE_STALL_MAX,
};
use crate::proto::{CloseReason, HashPlan, Verify};
use crate::time::Time;
use crate::wire::frame;

/// Rate in bytes per second at which a long frame must arrive, after the time of
/// [`FRAME_PROGRESS_MAX`].
const FRAME_BYTES_PER_SECOND: u64 = 16 * 1024;

/// The send queue was too long after an attempt to write it, and has not become short again.
const BACKLOGGED: u8 = 1;
/// The machine does not want to read for now.
const ON_HOLD: u8 = 2;

/// The state of a connection.
#[derive(Debug)]
pub(super) enum Phase {
    /// The connection is being dialed.
    Connecting {
        /// When this address counts as unreachable.
        until: Time,
    },
    /// The connection is open, but its handshake is not complete: the machine does not know the
    /// connection yet.
    Handshaking(Box<Handshake>),
    /// Frames are read.
    Open,
    /// A CHUNK was delivered: nothing is read until the machine says how to receive the bytes that
    /// follow it.
    ChunkAnnounced,
    /// Raw bytes are read.
    Receiving(Box<Incoming>),
    /// Requests of HTTP are read.
    Http(Box<Http>),
    /// Bytes arrived that are not a message. Nothing is read until the machine closes the
    /// connection.
    Deaf,
    /// The machine closed the connection. What is queued is written, and what arrives is discarded.
    Closing {
        /// Bytes that may still be discarded. If there are none, the socket is closed as soon as
        /// everything is written.
        left: usize,
        /// When a client of HTTP counts as slow, unless it reads more before.
        slow_at: Time,
    },
    /// Everything is written and our direction is shut down. What arrives is discarded, because
    /// closing a socket with unread bytes sends a reset, which could overtake our last frames.
    Lingering {
        /// Bytes that may still be discarded.
        left: usize,
        /// When the socket is closed.
        until: Time,
    },
    /// The connection is gone. Its slot is freed at the end of the turn.
    Dead,
}

/// A handshake in progress.
#[derive(Debug)]
pub(super) struct Handshake {
    /// When the handshake has failed.
    pub(super) until: Time,
    /// What the machine gets once the handshake is complete. None for a dial, whose dialer knows
    /// the result.
    pub(super) accepted: Option<Accepted>,
}

/// A connection that was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) from: SocketAddr,
    pub(super) to: IpAddr,
    pub(super) since: Time,
}

/// Bytes of buffers: of the send queue, and of what was read and is not a complete frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) send: u32,
    pub(super) read: u32,
}

/// A chunk that is being received.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) req: u32,
    pub(super) plan: HashPlan,
    pub(super) verify: Verify,
    pub(super) length: usize,
    /// The buffer of the chunk; none until one is free.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) filled: usize,
}

/// One connection of the table.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) phase: Phase,
    pub(super) send: SendQueue,
    /// Latched: the socket may have bytes. Cleared on `WouldBlock`, and on a read that empties the
    /// socket.
    pub(super) readable: bool,
    /// Latched: the other side has closed, or the socket has failed. A read will return the end or
    /// the error.
    pub(super) hung_up: bool,
    /// Latched: the socket may accept bytes. Cleared on `WouldBlock` only.
    pub(super) writable: bool,
    /// The machine knows the connection, so the end of the connection is reported.
    pub(super) known: bool,
    /// Bytes that may be read before the connection has logged in; `u32::MAX` without a limit.
    early_left: u32,
    /// The connection is in a run queue.
    pub(super) queued: bool,
    /// The connection is in the list of connections to be flushed.
    pub(super) dirty: bool,
    /// The account that has a limit of its own; 0: none.
    pub(super) account: u64,
    /// The connection waits until a limit on what is sent lets bytes of a file pass.
    pub(super) waits_to_write: bool,
    /// The connection waits until the limit on what is received lets bytes of a chunk pass.
    pub(super) waits_to_read: bool,
    /// The connection has waited for this limit and may read now.
    pub(super) may_read: bool,
    /// The bytes of the buffers as they were counted last.
    pub(super) counted: Held,
    /// Why the next requests stay unread: [`BACKLOGGED`], [`ON_HOLD`].
    choked_by: u8,
    /// The first byte was examined.
    sniffed: bool,
    /// Whether the connection is served as HTTP if it begins like a request.
    pub(super) speaks_http: bool,
    /// The connection is served as HTTP, and the machine does not know it.
    pub(super) is_http: bool,
    /// The other side sends no more.
    eof: bool,
    /// Reading was put off, and `held` may contain complete frames; otherwise it contains the
    /// beginning of one.
    held_complete: bool,
    /// The first byte belongs to the other mode.
    other_mode: bool,
    frame_bytes_max: u32,
    held: Vec<u8>,
    /// When the first byte of the frame in `held` came.
    frame_since: Time,
    /// When the send queue last became non-empty or shorter.
    write_since: Time,
    /// The valid entry in the list of deadlines, if there is one.
    pub(super) armed: Option<Time>,
}

impl Connection {
    pub(super) fn new(transport: Transport, phase: Phase) -> Connection {
        Connection {
            transport,
            phase,
            send: SendQueue::default(),
            readable: false,
            hung_up: false,
            writable: true,
            known: true,
            early_left: u32::MAX,
            queued: false,
            dirty: false,
            account: 0,
            waits_to_write: false,
            waits_to_read: false,
            may_read: false,
            counted: Held::default(),
            choked_by: 0,
            sniffed: false,
            speaks_http: false,
            is_http: false,
            eof: false,
            held_complete: false,
            other_mode: false,
            frame_bytes_max: FRAME_BYTES_HELLO as u32,
            held: Vec::new(),
            frame_since: Time::ZERO,
            write_since: Time::ZERO,
            armed: None,
        }
    }

    /// Begins again with a stream to the next address of a dial.
    pub(super) fn reconnect(&mut self, transport: Transport, until: Time) {
        self.transport = transport;
        self.phase = Phase::Connecting { until };
        (self.early_left, self.sniffed) = (u32::MAX, false);
        (self.held, self.held_complete) = (Vec::new(), false);
        (self.readable, self.hung_up, self.writable) = (false, false, true);
    }

    /// Frames up to this length are accepted from now on.
    pub(super) fn set_frame_bytes_max(&mut self, bytes: usize) {
        self.frame_bytes_max = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// Whether the machine may still send: it has not closed the connection, and the socket has not
    /// failed.
    pub(super) fn takes_messages(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::ChunkAnnounced | Phase::Receiving(_) | Phase::Http(_) | Phase::Deaf => true,
            Phase::Connecting { .. }
            | Phase::Handshaking(_)
            | Phase::Closing { .. }
            | Phase::Lingering { .. }
            | Phase::Dead => false,
        }
    }

    /// Whether there may be something to read, and it may be read now.
    pub(super) fn wants_read(&self) -> bool {
        match self.phase {
            Phase::Connecting { .. } => true,
            Phase::Handshaking(_) => self.readable || self.writable && self.transport.unsent_bytes() > 0,
            Phase::Open => !self.is_choked() && (self.readable && self.early_left > 0 || self.held_complete),
            Phase::Receiving(ref incoming) => {
                let some = self.readable || self.held_complete || incoming.filled == incoming.length;
                some && incoming.bytes.is_some() && !self.waits_to_read
            }
            Phase::Http(ref http) => !self.is_choked() && http.wants_read(self.readable),
            Phase::Closing { left, .. } | Phase::Lingering { left, .. } => self.readable && !self.eof && left > 0,
            Phase::ChunkAnnounced | Phase::Deaf | Phase::Dead => false,
        }
    }

    /// Whether the next requests stay unread: the other side does not read its answers, or the
    /// machine is not ready.
    pub(super) fn is_choked(&self) -> bool {
        self.choked_by != 0 || self.send.frame_bytes() > SEND_QUEUE_BYTES_EARLY
    }

    /// The machine has put reading on hold, or ends the hold.
    pub(super) fn set_on_hold(&mut self, on_hold: bool, now: Time) {
        self.note_choke(ON_HOLD, on_hold);
        // The rest of a frame was not read in that time.
        self.frame_since = now;
    }

    fn note_choke(&mut self, by: u8, is_choked: bool) {
        self.choked_by = self.choked_by & !by | if is_choked { by } else { 0 };
    }

    /// The connection began with TLS, which a node in open mode does not speak.
    pub(super) fn is_other_mode(&self) -> bool {
        self.other_mode
    }

    /// Must be called after an attempt to write, with whether the connection was choked before. If
    /// the connection has become backlogged or is not backlogged any more, returns the new state.
    /// Frames between chunks are not a backlog, because the machine bounds the chunks.
    pub(super) fn note_backlog(&mut self, was_choked: bool, now: Time) -> Option<bool> {
        let was_backlogged = self.choked_by & BACKLOGGED != 0;
        let limit = if was_backlogged { BACKLOG_BYTES / 2 } else { BACKLOG_BYTES };
        let backlogged = !self.writable && !self.send.has_files() && self.send.frame_bytes() > limit;
        let changed = backlogged != was_backlogged && self.takes_messages();
        self.note_choke(BACKLOGGED, backlogged);
        if was_choked && !self.is_choked() {
            // The rest of a frame was not read in that time.
            self.frame_since = now;
        }
        changed.then_some(backlogged)
    }

    /// Whether its buffers have bytes because the other side does not read. Sealed bytes of files
    /// do not count, because the machine bounds the chunks.
    pub(super) fn is_unread(&self) -> bool {
        let is_over = matches!(self.phase, Phase::Dead | Phase::Handshaking(_));
        let waits = self.send.frame_bytes() > 0 || self.transport.unsent_bytes() > 0 && !self.send.has_files();
        !self.writable && waits && !is_over
    }

    /// Bytes of a frame that began at this time or before and is not complete; 0 if there is none.
    pub(super) fn unfinished_bytes(&self, since: Time) -> u32 {
        let is_unfinished = self.frame_since <= since && self.frame_deadline().is_some();
        if is_unfinished { self.buffers().read } else { 0 }
    }

    /// Bytes of the buffers.
    pub(super) fn buffers(&self) -> Held {
        let http = if let Phase::Http(http) = &self.phase { http.buffer_bytes() } else { 0 };
        let [sealed_send, sealed_read] = self.transport.buffer_bytes();
        let [send, read] = [self.send.buffer_bytes() + sealed_send, self.held.capacity() + sealed_read + http];
        Held { send: u32::try_from(send).unwrap_or(u32::MAX), read: u32::try_from(read).unwrap_or(u32::MAX) }
    }

    /// Frees the buffers. The connection must have ended.
    pub(super) fn free_buffers(&mut self) {
        self.send = SendQueue::default();
        self.held = Vec::new();
        self.transport.free_buffers();
    }

    // ---- before it has logged in ----------------------------------------------------------------

    /// Limits the bytes that are read before the connection has logged in.
    pub(super) fn set_early_max(&mut self, bytes: usize) {
        self.early_left = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// This many bytes came from the socket.
    fn note_taken(&mut self, taken: usize, emptied: bool) {
        if self.early_left != u32::MAX {
            self.early_left = self.early_left.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        }
        // An end that was latched already makes no further edge, and must be read.
        if emptied && !self.hung_up {
            self.readable = false;
        }
    }

    // ---- writing --------------------------------------------------------------------------------

    /// The connection need not wait for a limit any more. From now on a stall is the fault of the
    /// other side.
    pub(super) fn resume_writing(&mut self, now: Time) {
        (self.waits_to_write, self.write_since) = (false, now);
    }

    /// Whether bytes of a file wait that the socket could accept.
    pub(super) fn has_files(&self) -> bool {
        self.send.has_files()
    }

    /// The socket has accepted everything that was queued.
    pub(super) fn is_written(&self) -> bool {
        self.send.is_empty() && self.transport.unsent_bytes() == 0
    }

    /// Must be called before something is queued: the stall of a queue begins when it was empty.
    pub(super) fn note_queued(&mut self, now: Time) {
        if self.is_written() {
            self.write_since = now;
        }
    }

    /// How many bytes of files it may write in this turn, in which each connection may write
    /// `share`.
    pub(super) fn share_of(&self, share: usize) -> usize {
        if let Phase::Http(http) = &self.phase { http.share_of(share) } else { share }
    }

    /// Writes what is queued, with at most `budget` bytes of files, which it takes from `budget`.
    /// Returns a reason if the connection is over. A fast client of HTTP `may_raise` what the
    /// kernel accepts.
    pub(super) fn flush(
        &mut self,
        budget: &mut usize,
        buffers: &mut Buffers,
        (now, may_raise): (Time, bool),
        sent: impl FnMut(u32),
    ) -> Option<CloseReason> {
        if !self.writable {
            return None;
        }
        let unsent = self.transport.unsent_bytes();
        let (end, count) = self.send.flush(&mut self.transport, budget, buffers, sent);
        // It is progress too if the socket takes bytes that were sealed earlier.
        if count > 0 || self.transport.unsent_bytes() < unsent {
            self.write_since = now;
        }
        if let Phase::Http(http) = &mut self.phase
            && http.on_written(count, may_raise, now)
        {
            self.transport.bound_unsent(HTTP_UNSENT_BYTES_MAX, Some(WRITE_STALL_MAX));
        } else if let Phase::Closing { slow_at, .. } = &mut self.phase {
            *slow_at = *slow_at + Duration::from_micros(count as u64 * 1_000_000 / HTTP_RATE_MIN);
        }
        match end {
            Flushed::Empty => self.on_all_written(now),
            Flushed::Blocked => {
                self.writable = false;
                None
            }
            Flushed::Budget => None,
            Flushed::Failed(error) => {
                log::debug!("a connection failed while it was written to: {error}");
                let closing = matches!(self.phase, Phase::Closing { .. });
                // The kernel has ended it because its client has read nothing.
                let is_silent = matches!(self.phase, Phase::Http(_)) && error.kind() == io::ErrorKind::TimedOut;
                Some(if closing {
                    CloseReason::Asked
                } else if is_silent {
                    CloseReason::SlowConsumer
                } else {
                    CloseReason::Failed
                })
            }
        }
    }

    fn on_all_written(&mut self, now: Time) -> Option<CloseReason> {
        let Phase::Closing { left, .. } = self.phase else {
            return None;
        };
        // If it has sent more although it said that it would not, the answer would be lost without
        // lingering.
        let left = if left == 0 && self.readable { LINGER_BYTES_MAX } else { left };
        if self.eof || left == 0 || self.transport.shutdown_write().is_err() {
            return Some(CloseReason::Asked);
        }
        self.phase = Phase::Lingering { left, until: now + LINGER_MAX };
        None
    }

    /// The machine has closed the connection: from now on the connection only writes what is
    /// queued, and discards up to `left` bytes. Returns the phase that this ends.
    pub(super) fn begin_closing(&mut self, left: usize, now: Time) -> Phase {
        self.held = Vec::new();
        self.held_complete = false;
        // The bytes that still come are discarded, within a limit of their own.
        self.early_left = u32::MAX;
        std::mem::replace(&mut self.phase, Phase::Closing { left, slow_at: now + HTTP_RATE_AFTER })
    }

    // ---- time -----------------------------------------------------------------------------------

    /// When the connection counts as too slow, if it makes no progress until then.
    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Connecting { until } | Phase::Lingering { until, .. } => Some(*until),
            Phase::Handshaking(handshake) => Some(handshake.until),
            Phase::Dead => None,
            Phase::Open
            | Phase::ChunkAnnounced
            | Phase::Receiving(_)
            | Phase::Http(_)
            | Phase::Deaf
            | Phase::Closing { .. } => {
                let is_stalled = !self.is_written() && !self.waits_to_write;
                let (head, stall_max) = if let Phase::Http(http) = &self.phase {
                    (http.deadline(), http.stall_max())
                } else {
                    (self.frame_deadline(), WRITE_STALL_MAX)
                };
                let write = is_stalled.then(|| self.write_since + stall_max);
                [write, head].into_iter().flatten().min()
            }
        }
    }

    fn frame_deadline(&self) -> Option<Time> {
        let begun = !self.held.is_empty() && !self.held_complete || self.transport.is_within_record();
        let begun = begun && matches!(self.phase, Phase::Open);
        if !begun || self.is_choked() {
            return None;
        }
        let length = frame::length(&self.held, usize::MAX).ok().flatten().unwrap_or(0) as u64;
        let extra = Duration::from_micros(length * 1_000_000 / FRAME_BYTES_PER_SECOND);
        Some(self.frame_since + FRAME_PROGRESS_MAX + extra)
    }

    /// The deadline has passed. Returns whether the connection goes on with a later one.
    pub(super) fn lower_unsent(&mut self) -> bool {
        let Phase::Http(http) = &mut self.phase else { return false };
        let is_lowered = http.lower_unsent();
        if is_lowered {
            self.transport.bound_unsent(UNSENT_BYTES_MAX, Some(WRITE_STALL_MAX));
        }
        is_lowered
    }

    /// Whether the socket has accepted nothing for [`WRITE_STALL_MAX`].
    pub(super) fn is_stalled(&self, now: Time) -> bool {
        !self.is_written() && now.since(self.write_since) >= WRITE_STALL_MAX
    }

    /// Whether it takes a place of the connections of HTTP. One that lingers takes none, because it
    /// ends soon.
    pub(super) fn takes_http_place(&self) -> bool {
        self.is_http && matches!(self.phase, Phase::Http(_) | Phase::Closing { .. })
    }

    /// Whether its client of HTTP reads slowly or has stopped, so that it may be closed for another
    /// one. A client that waits because of our own limit is not slow.
    pub(super) fn is_slow_http(&self, now: Time) -> bool {
        let is_slow = match &self.phase {
            Phase::Http(http) => http.is_slow(now),
            Phase::Closing { slow_at, .. } => now >= *slow_at,
            Phase::Connecting { .. }
            | Phase::Handshaking(_)
            | Phase::Open
            | Phase::ChunkAnnounced
            | Phase::Receiving(_)
            | Phase::Deaf
            | Phase::Lingering { .. }
            | Phase::Dead => return false,
        };
        !self.waits_to_write && (is_slow || self.is_stalled(now))
    }

    /// The reason to end the connection after its deadline has passed.
    pub(super) fn overdue(&self) -> CloseReason {
        match &self.phase {
            Phase::Lingering { .. } => return CloseReason::Asked,
            Phase::Http(http) if self.is_written() => return http.overdue(),
            Phase::Connecting { .. }
            | Phase::Handshaking(_)
            | Phase::Open
            | Phase::ChunkAnnounced
            | Phase::Receiving(_)
            | Phase::Http(_)
            | Phase::Deaf
            | Phase::Closing { .. }
            | Phase::Dead => {}
        }
        match self.frame_deadline() {
            Some(frame) if self.is_written() || frame <= self.write_since + WRITE_STALL_MAX => CloseReason::SlowFrame,
            _ => CloseReason::SlowConsumer,
        }
    }
}
