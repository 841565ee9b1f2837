//! One TCP connection: its phase, what it holds of an unfinished frame, what it has to write, and when it is too slow.
//!
//! It reads through the loop's one scratch buffer and owns memory only for a frame that is not whole yet, for what is not
//! written yet and for a chunk on its way in. It never decides anything about the protocol.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::buffers::Buffers;
use super::send_queue::{Flushed, SendQueue};
use super::transport::Transport;
use crate::config::{
    FRAME_BYTES_HELLO, FRAME_PROGRESS_MAX, LINGER_BYTES_MAX, LINGER_MAX, SEND_QUEUE_BYTES_EARLY,
    TURN_BYTES_PER_CONNECTION, WRITE_STALL_MAX,
};
use crate::proto::{CloseReason, DialId, HashPlan, Verify};
use crate::time::Time;
use crate::wire::{HostPort, Message, WireError, frame};

/// Bytes a second that a long frame must come with, on top of [`FRAME_PROGRESS_MAX`].
const FRAME_BYTES_PER_SECOND: u64 = 16 * 1024;

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// A dial of ours is under way.
    Connecting(Box<Dialing>),
    /// Frames are read.
    Open,
    /// A CHUNK was delivered: nothing is read until the machine says how to take what follows it.
    ChunkAnnounced,
    /// Raw bytes are read.
    Receiving(Box<Incoming>),
    /// Bytes came that are no message: nothing is read until the machine closes.
    Deaf,
    /// The machine closed: what is queued is written, what comes is thrown away.
    Closing {
        /// Bytes that may still be thrown away.
        left: usize,
    },
    /// All is written and the other side knows; what comes is thrown away so that no reset overtakes our last words.
    Lingering {
        /// Bytes that may still be thrown away.
        left: usize,
        /// When that ends.
        until: Time,
    },
    /// Gone; the slot waits for the end of the turn.
    Dead,
}

/// A dial and the addresses that are left to try.
#[derive(Debug)]
pub(super) struct Dialing {
    pub(super) dial: DialId,
    pub(super) to: HostPort,
    pub(super) address: SocketAddr,
    pub(super) rest: VecDeque<SocketAddr>,
    /// When this address counts as unreachable.
    pub(super) attempt_until: Time,
    /// When the whole dial has failed.
    pub(super) until: Time,
}

/// A chunk on its way in.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) req: u32,
    pub(super) plan: HashPlan,
    pub(super) verify: Verify,
    pub(super) length: usize,
    /// Its buffer; none while too many are in use.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) filled: usize,
}

/// The loop's one read buffer, while it holds bytes of one connection.
#[derive(Debug)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes that the connection may still read in this turn.
    budget: usize,
}

impl Scratch {
    pub(super) fn new(bytes: usize) -> Scratch {
        Scratch { bytes: vec![0; bytes], start: 0, end: 0, budget: 0 }
    }

    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

/// What a step of reading found.
#[derive(Debug)]
pub(super) enum Step {
    /// A message; there may be more.
    Message(Message),
    /// Bytes that are no message.
    Malformed(WireError),
    /// Some bytes of a chunk, for the last time in this turn.
    Progress { req: u32, received: usize },
    /// A whole chunk; there may be more.
    Chunk(Box<Incoming>),
    /// Nothing more in this turn.
    Rest,
    /// The connection is over.
    Closed(CloseReason),
}

/// One connection of the table.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) phase: Phase,
    pub(super) send: SendQueue,
    /// Latched: the socket may have bytes. Cleared on `WouldBlock`, and on a read that empties the socket.
    pub(super) readable: bool,
    /// Latched: the other side has closed, or the socket has failed, so that there is an end to be read.
    pub(super) hung_up: bool,
    /// Latched: the socket may take bytes. Cleared on `WouldBlock` only.
    pub(super) writable: bool,
    /// It stands in the run queue.
    pub(super) queued: bool,
    /// It stands in the list of those to be flushed.
    pub(super) dirty: bool,
    /// The first byte was looked at.
    sniffed: bool,
    /// The other side sends no more.
    eof: bool,
    /// `held` may hold whole frames, because reading was put off; otherwise it holds the beginning of one.
    held_whole: bool,
    frame_bytes_max: u32,
    held: Vec<u8>,
    /// When the first byte of the frame in `held` came.
    frame_since: Time,
    /// When the send queue last became non-empty or shorter.
    write_since: Time,
    /// The deadline that is in the loop's list for this connection, if any.
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
            queued: false,
            dirty: false,
            sniffed: false,
            eof: false,
            held_whole: false,
            frame_bytes_max: FRAME_BYTES_HELLO as u32,
            held: Vec::new(),
            frame_since: Time::ZERO,
            write_since: Time::ZERO,
            armed: None,
        }
    }

    /// Frames up to this length are taken from now on.
    pub(super) fn set_frame_bytes_max(&mut self, bytes: usize) {
        self.frame_bytes_max = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// The machine may still send: it has not closed, and the socket lives.
    pub(super) fn takes_messages(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::ChunkAnnounced | Phase::Receiving(_) | Phase::Deaf => true,
            Phase::Connecting(_) | Phase::Closing { .. } | Phase::Lingering { .. } | Phase::Dead => false,
        }
    }

    /// Whether reading is of any use now.
    pub(super) fn wants_read(&self) -> bool {
        match self.phase {
            Phase::Connecting(_) => true,
            Phase::Open => !self.is_choked() && (self.readable || self.held_whole),
            Phase::Receiving(ref incoming) => {
                let some = self.readable || self.held_whole || incoming.filled == incoming.length;
                some && incoming.bytes.is_some()
            }
            Phase::Closing { left } | Phase::Lingering { left, .. } => self.readable && !self.eof && left > 0,
            Phase::ChunkAnnounced | Phase::Deaf | Phase::Dead => false,
        }
    }

    /// The other side does not read its answers: its next requests wait where they are.
    pub(super) fn is_choked(&self) -> bool {
        self.send.frame_bytes() > SEND_QUEUE_BYTES_EARLY
    }

    /// Bytes of buffers that it owns, for tests.
    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.held.capacity() + self.send.buffer_bytes()
    }

    // ---- reading -------------------------------------------------------------------------------------------------

    /// Begins this connection's share of the turn.
    pub(super) fn begin_reading(&mut self, scratch: &mut Scratch) {
        scratch.clear();
        scratch.budget = TURN_BYTES_PER_CONNECTION;
        if self.held_whole && matches!(self.phase, Phase::Open | Phase::Receiving(_)) {
            scratch.bytes[..self.held.len()].copy_from_slice(&self.held);
            scratch.end = self.held.len();
            self.held = Vec::new();
            self.held_whole = false;
        }
    }

    /// Takes the next thing out of what has come; to be called until it rests or closes.
    pub(super) fn read_step(&mut self, scratch: &mut Scratch, buffers: &mut Buffers, now: Time) -> Step {
        match self.phase {
            Phase::Open if self.is_choked() => self.put_off(scratch),
            Phase::Open => self.read_frame(scratch, buffers, now),
            Phase::ChunkAnnounced => self.put_off(scratch),
            Phase::Receiving(ref incoming) if incoming.bytes.is_none() => self.put_off(scratch),
            Phase::Receiving(_) => self.read_chunk(scratch),
            Phase::Closing { .. } | Phase::Lingering { .. } => self.read_away(scratch),
            Phase::Connecting(_) | Phase::Deaf | Phase::Dead => {
                scratch.clear();
                Step::Rest
            }
        }
    }

    fn read_frame(&mut self, scratch: &mut Scratch, buffers: &mut Buffers, now: Time) -> Step {
        let cap = self.frame_bytes_max as usize;
        loop {
            if !self.sniffed && !scratch.unread().is_empty() {
                self.sniffed = true;
                if let Some(error) = sniff(scratch.unread()[0]) {
                    return self.go_deaf(scratch, error);
                }
            }
            let found = if self.held.is_empty() {
                frame::decode(scratch.unread(), cap).map(|found| {
                    found.map(|(message, used)| {
                        scratch.start += used;
                        message
                    })
                })
            } else {
                self.complete_held(scratch, buffers, cap)
            };
            match found {
                Ok(Some(message)) => {
                    if matches!(message, Message::Chunk(_)) {
                        self.phase = Phase::ChunkAnnounced;
                    }
                    return Step::Message(message);
                }
                Ok(None) => self.hold_rest(scratch, buffers, now),
                Err(error) => return self.go_deaf(scratch, error),
            }
            match self.fill(scratch) {
                Ok(true) => {}
                Ok(false) => return Step::Rest,
                Err(why) => return Step::Closed(why),
            }
        }
    }

    /// Adds to the frame that is held only what belongs to it, and decodes it once it is whole.
    fn complete_held(
        &mut self,
        scratch: &mut Scratch,
        buffers: &mut Buffers,
        cap: usize,
    ) -> Result<Option<Message>, WireError> {
        loop {
            let whole = frame::length(&self.held, cap)?.map_or(frame::LENGTH_BYTES, |body| frame::LENGTH_BYTES + body);
            let missing = whole - self.held.len();
            if missing == 0 {
                let decoded = frame::decode(&self.held, cap)?.map(|(message, _)| message);
                buffers.put_frame(std::mem::take(&mut self.held));
                return Ok(decoded);
            }
            if scratch.unread().is_empty() {
                return Ok(None);
            }
            let count = missing.min(scratch.unread().len());
            self.held.extend_from_slice(&scratch.unread()[..count]);
            scratch.start += count;
        }
    }

    /// Keeps the beginning of a frame.
    fn hold_rest(&mut self, scratch: &mut Scratch, buffers: &mut Buffers, now: Time) {
        if self.held.is_empty() && !scratch.unread().is_empty() {
            self.held = buffers.frame();
            self.held.extend_from_slice(scratch.unread());
            self.frame_since = now;
        }
        scratch.clear();
    }

    /// Keeps everything that was read until reading goes on.
    fn put_off(&mut self, scratch: &mut Scratch) -> Step {
        if !scratch.unread().is_empty() {
            assert!(self.held.is_empty(), "a frame is held and yet later bytes are not part of it");
            self.held = scratch.unread().to_vec();
            self.held_whole = true;
            scratch.clear();
        }
        Step::Rest
    }

    fn go_deaf(&mut self, scratch: &mut Scratch, error: WireError) -> Step {
        self.phase = Phase::Deaf;
        self.held = Vec::new();
        scratch.clear();
        Step::Malformed(error)
    }

    fn read_chunk(&mut self, scratch: &mut Scratch) -> Step {
        let Phase::Receiving(incoming) = &mut self.phase else {
            unreachable!("called in this phase only");
        };
        let bytes = incoming.bytes.as_mut().expect("looked at by the caller");
        let before = incoming.filled;
        let length = incoming.length;
        let count = scratch.unread().len().min(length - before);
        bytes[before..before + count].copy_from_slice(&scratch.unread()[..count]);
        incoming.filled += count;
        scratch.start += count;
        while incoming.filled < length && self.readable && scratch.budget > 0 {
            let end = length.min(incoming.filled + scratch.budget);
            match self.transport.read(&mut bytes[incoming.filled..end]) {
                Ok(0) => return Step::Closed(CloseReason::Remote),
                Ok(count) => {
                    incoming.filled += count;
                    scratch.budget -= count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Step::Closed(CloseReason::Failed),
            }
        }
        if incoming.filled == length {
            let Phase::Receiving(incoming) = std::mem::replace(&mut self.phase, Phase::Open) else {
                unreachable!("looked at above");
            };
            return Step::Chunk(incoming);
        }
        if incoming.filled == before {
            return Step::Rest;
        }
        Step::Progress { req: incoming.req, received: incoming.filled }
    }

    /// Reads and forgets, within bounds.
    fn read_away(&mut self, scratch: &mut Scratch) -> Step {
        loop {
            let count = match self.fill(scratch) {
                Ok(true) => scratch.unread().len(),
                Ok(false) => return Step::Rest,
                Err(_) => {
                    self.eof = true;
                    let written = matches!(self.phase, Phase::Lingering { .. });
                    return if written { Step::Closed(CloseReason::Asked) } else { Step::Rest };
                }
            };
            scratch.clear();
            if let Phase::Closing { left } | Phase::Lingering { left, .. } = &mut self.phase {
                *left = left.saturating_sub(count);
                if *left == 0 {
                    return Step::Rest;
                }
            }
        }
    }

    /// A read that gets less than it has room for has emptied the socket (epoll(7): what comes later is a new edge), so that
    /// nobody has to ask again for `WouldBlock`: one system call less for every message. An end that was told already makes
    /// no edge any more and must be read.
    fn note_read(&mut self, count: usize, room: usize) {
        if count < room && !self.hung_up && self.transport.short_read_empties() {
            self.readable = false;
        }
    }

    /// Reads once into the empty scratch buffer. `Ok(false)`: nothing there, or the turn's share is used up.
    fn fill(&mut self, scratch: &mut Scratch) -> Result<bool, CloseReason> {
        scratch.clear();
        while self.readable && scratch.budget > 0 {
            let most = scratch.bytes.len().min(scratch.budget);
            match self.transport.read(&mut scratch.bytes[..most]) {
                Ok(0) => return Err(CloseReason::Remote),
                Ok(count) => {
                    self.note_read(count, most);
                    scratch.end = count;
                    scratch.budget -= count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(CloseReason::Failed),
            }
        }
        Ok(false)
    }

    // ---- writing -------------------------------------------------------------------------------------------------

    /// To be called when something was queued on an empty queue: the stall is counted from here.
    pub(super) fn note_queued(&mut self, now: Time) {
        if self.send.is_empty() {
            self.write_since = now;
        }
    }

    /// Writes what it may, `budget` bytes of files at most. `Some` if the connection is over.
    pub(super) fn flush(
        &mut self,
        budget: usize,
        buffers: &mut Buffers,
        now: Time,
        sent: impl FnMut(u32),
    ) -> Option<CloseReason> {
        if !self.writable {
            return None;
        }
        let choked = self.is_choked();
        let (end, progress) = self.send.flush(&mut self.transport, budget, buffers, sent);
        if progress {
            self.write_since = now;
        }
        if choked && !self.is_choked() {
            self.frame_since = now;
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
                Some(if closing { CloseReason::Asked } else { CloseReason::Failed })
            }
        }
    }

    fn on_all_written(&mut self, now: Time) -> Option<CloseReason> {
        let Phase::Closing { left } = self.phase else {
            return None;
        };
        if self.eof || self.transport.shutdown_write().is_err() {
            return Some(CloseReason::Asked);
        }
        self.phase = Phase::Lingering { left, until: now + LINGER_MAX };
        None
    }

    /// The machine is done with it: from here on it only writes what is queued. Tells the phase that this ends.
    pub(super) fn begin_closing(&mut self) -> Phase {
        self.held = Vec::new();
        self.held_whole = false;
        std::mem::replace(&mut self.phase, Phase::Closing { left: LINGER_BYTES_MAX })
    }

    // ---- time ----------------------------------------------------------------------------------------------------

    /// When it must be looked at again, if it does nothing until then.
    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Connecting(dialing) => Some(dialing.attempt_until),
            Phase::Lingering { until, .. } => Some(*until),
            Phase::Dead => None,
            Phase::Open | Phase::ChunkAnnounced | Phase::Receiving(_) | Phase::Deaf | Phase::Closing { .. } => {
                let write = (!self.send.is_empty()).then(|| self.write_since + WRITE_STALL_MAX);
                [write, self.frame_deadline()].into_iter().flatten().min()
            }
        }
    }

    fn frame_deadline(&self) -> Option<Time> {
        let begun = matches!(self.phase, Phase::Open) && !self.held.is_empty() && !self.held_whole;
        if !begun || self.is_choked() {
            return None;
        }
        let length = frame::length(&self.held, usize::MAX).ok().flatten().unwrap_or(0) as u64;
        let extra = Duration::from_micros(length * 1_000_000 / FRAME_BYTES_PER_SECOND);
        Some(self.frame_since + FRAME_PROGRESS_MAX + extra)
    }

    /// Why the deadline that has passed ends it.
    pub(super) fn overdue(&self) -> CloseReason {
        match self.phase {
            Phase::Lingering { .. } => CloseReason::Asked,
            Phase::Connecting(_)
            | Phase::Open
            | Phase::ChunkAnnounced
            | Phase::Receiving(_)
            | Phase::Deaf
            | Phase::Closing { .. }
            | Phase::Dead => match self.frame_deadline() {
                Some(frame) if self.send.is_empty() || frame <= self.write_since + WRITE_STALL_MAX => {
                    CloseReason::SlowFrame
                }
                _ => CloseReason::SlowConsumer,
            },
        }
    }
}

/// The first byte tells who speaks: a frame of ours begins with 0, for no frame is 16 MiB long.
fn sniff(first: u8) -> Option<WireError> {
    let who = match first {
        0 => return None,
        0x16 => "this looks like TLS, which is not spoken on this port",
        b'A'..=b'Z' => "this looks like HTTP, which is not spoken on this port",
        _ => "a frame begins with a zero byte",
    };
    Some(WireError::Malformed(who.into()))
}
