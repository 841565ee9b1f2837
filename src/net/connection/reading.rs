//! Reads one connection through the one scratch buffer of the loop: frames, chunks, requests of
//! HTTP, and bytes that are discarded.

use std::io;

use super::http::Http;
use super::{Connection, Incoming, Phase};
use crate::config::READ_SCRATCH_BYTES;
use crate::http::{Refusal, Request, Surface, may_begin};
use crate::net::buffers::Buffers;
use crate::net::transport::Taken;
use crate::proto::CloseReason;
use crate::time::Time;
use crate::wire::{Message, WireError, frame};

/// The one read buffer of the loop, and the budget of the connection for this turn.
#[derive(Debug)]
pub(in crate::net) struct Scratch {
    pub(super) bytes: Vec<u8>,
    /// The buffer in which TLS records are opened; empty until there are some.
    pub(super) sealed: Vec<u8>,
    start: usize,
    end: usize,
    now: Time,
    /// Bytes that the connection may still read in this turn.
    budget: usize,
    /// Bytes that one read takes.
    most: usize,
    /// Bytes of chunks that were received and not counted yet.
    payload: usize,
}

impl Scratch {
    pub(in crate::net) fn new() -> Scratch {
        let (bytes, sealed) = (vec![0; READ_SCRATCH_BYTES], Vec::new());
        Scratch { bytes, sealed, start: 0, end: 0, now: Time::ZERO, budget: 0, most: 0, payload: 0 }
    }

    /// Limits how many bytes the connection that is being read may still read in this turn.
    pub(in crate::net) fn cap(&mut self, room: usize) {
        self.budget = self.budget.min(room);
    }

    /// Bytes of chunks that were received since the last call.
    pub(in crate::net) fn take_payload(&mut self) -> usize {
        std::mem::take(&mut self.payload)
    }

    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

/// The result of one step of reading.
#[derive(Debug)]
pub(in crate::net) enum Step {
    /// A message. More may follow.
    Message(Message),
    /// Bytes that are not a message.
    Malformed(WireError),
    /// Some bytes of a chunk, for the last time in this turn.
    Progress { req: u32, received: usize },
    /// A complete chunk. More may follow.
    Chunk(Box<Incoming>),
    /// The other side speaks HTTP. Its request is read next.
    Http,
    /// A request of HTTP. More may follow once it is answered.
    Request(Box<Request>),
    /// The client waits for the status 100 before it sends the body of its request.
    Continue,
    /// Bytes that are not a valid request, with the reason.
    Refused(Refusal),
    /// Nothing more is read in this turn.
    Rest,
    /// The connection is over.
    Closed(CloseReason),
}

impl Connection {
    /// Begins this connection's share of the turn: it may read `budget` bytes, at most `most` of
    /// them at once.
    pub(in crate::net) fn begin_reading(&mut self, scratch: &mut Scratch, now: Time, (budget, most): (usize, usize)) {
        scratch.clear();
        scratch.now = now;
        (scratch.budget, scratch.most) = (budget, most);
        if self.held_complete && matches!(self.phase, Phase::Open | Phase::Receiving(_)) {
            scratch.bytes[..self.held.len()].copy_from_slice(&self.held);
            scratch.end = self.held.len();
            self.held = Vec::new();
            self.held_complete = false;
        }
    }

    /// The next step for the bytes that arrived. Must be called until it returns `Rest` or
    /// `Closed`.
    pub(in crate::net) fn read_step(&mut self, scratch: &mut Scratch, buffers: &mut Buffers, now: Time) -> Step {
        match self.phase {
            Phase::Open if self.is_choked() => self.put_off(scratch),
            Phase::Open => self.read_frame(scratch, buffers, now),
            Phase::ChunkAnnounced => self.put_off(scratch),
            Phase::Receiving(ref incoming) if incoming.bytes.is_none() => self.put_off(scratch),
            Phase::Receiving(_) => self.read_chunk(scratch),
            Phase::Http(_) => self.read_request(scratch, now),
            Phase::Closing { .. } | Phase::Lingering { .. } => self.read_away(scratch),
            Phase::Connecting { .. } | Phase::Handshaking(_) | Phase::Deaf | Phase::Dead => {
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
                if self.speaks_http && may_begin(scratch.unread()[0]) {
                    self.phase = Phase::Http(Box::new(Http::new(Surface::Files, now)));
                    return Step::Http;
                }
                self.other_mode = scratch.unread()[0] == TLS;
                if let Some(error) = sniff(scratch.unread()[0]) {
                    return self.go_deaf(scratch, error);
                }
            }
            if self.held.is_empty() {
                match frame::body(scratch.unread(), cap) {
                    Ok(Some(body)) => {
                        let (decoded, used) = (frame::message(body), frame::LENGTH_BYTES + body.len());
                        scratch.start += used;
                        return self.deliver(scratch, decoded);
                    }
                    Ok(None) => self.hold_rest(scratch, buffers, now),
                    Err(error) => return self.go_deaf(scratch, error),
                }
            } else {
                match self.complete_held(scratch, buffers, cap) {
                    Ok(Some(message)) => return self.deliver(scratch, Ok(message)),
                    Ok(None) => self.hold_rest(scratch, buffers, now),
                    Err(error) => return self.go_deaf(scratch, error),
                }
            }
            match self.fill(scratch) {
                Ok(true) => {}
                Ok(false) => return Step::Rest,
                Err(why) => return Step::Closed(why),
            }
        }
    }

    /// What comes of a complete frame. Always inline: a message is large.
    #[inline(always)]
    fn deliver(&mut self, scratch: &mut Scratch, decoded: Result<Message, WireError>) -> Step {
        match decoded {
            Ok(message) => {
                if matches!(message, Message::Chunk(_)) {
                    self.phase = Phase::ChunkAnnounced;
                }
                Step::Message(message)
            }
            Err(error) => self.go_deaf(scratch, error),
        }
    }

    /// Adds the missing bytes to the frame in `held`. Decodes the frame once it is complete.
    fn complete_held(
        &mut self,
        scratch: &mut Scratch,
        buffers: &mut Buffers,
        cap: usize,
    ) -> Result<Option<Message>, WireError> {
        loop {
            let length = frame::length(&self.held, cap)?.map_or(frame::LENGTH_BYTES, |body| frame::LENGTH_BYTES + body);
            let missing = length - self.held.len();
            if missing == 0 {
                let decoded = frame::decode(&self.held, cap)?.map(|(message, _)| message);
                buffers.put_frame(std::mem::take(&mut self.held));
                // A record of the next frame may have begun.
                self.frame_since = scratch.now;
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

    /// Keeps all bytes that were read, and stops until reading continues.
    fn put_off(&mut self, scratch: &mut Scratch) -> Step {
        if !scratch.unread().is_empty() {
            assert!(self.held.is_empty(), "while a frame is held, only its own bytes are taken");
            self.held = scratch.unread().to_vec();
            self.held_complete = true;
            scratch.clear();
        }
        Step::Rest
    }

    /// Stops between two steps. Some of the bytes that were read may not be used yet.
    pub(in crate::net) fn pause(&mut self, scratch: &mut Scratch) {
        match self.phase {
            Phase::Open | Phase::ChunkAnnounced | Phase::Receiving(_) => drop(self.put_off(scratch)),
            Phase::Http(ref mut http) => {
                http.hold(scratch.unread());
                scratch.clear();
            }
            Phase::Connecting { .. }
            | Phase::Handshaking(_)
            | Phase::Closing { .. }
            | Phase::Lingering { .. }
            | Phase::Deaf
            | Phase::Dead => scratch.clear(),
        }
    }

    fn go_deaf(&mut self, scratch: &mut Scratch, error: WireError) -> Step {
        self.phase = Phase::Deaf;
        self.held = Vec::new();
        scratch.clear();
        Step::Malformed(error)
    }

    fn read_chunk(&mut self, scratch: &mut Scratch) -> Step {
        let Phase::Receiving(mut incoming) = std::mem::replace(&mut self.phase, Phase::Open) else {
            unreachable!("called in this phase only");
        };
        let before = incoming.filled;
        let filled = self.fill_chunk(&mut incoming, scratch);
        scratch.payload += incoming.filled - before;
        if let Err(why) = filled {
            self.phase = Phase::Receiving(incoming);
            return Step::Closed(why);
        }
        if incoming.filled == incoming.length {
            self.frame_since = scratch.now;
            return Step::Chunk(incoming);
        }
        let (req, received) = (incoming.req, incoming.filled);
        self.phase = Phase::Receiving(incoming);
        if received == before { Step::Rest } else { Step::Progress { req, received } }
    }

    /// Reads into the buffer of a chunk. It reads directly, or through the scratch buffer if a read
    /// may also return bytes after the chunk.
    fn fill_chunk(&mut self, incoming: &mut Incoming, scratch: &mut Scratch) -> Result<(), CloseReason> {
        let Incoming { length, ref mut filled, ref mut bytes, .. } = *incoming;
        let bytes = bytes.as_mut().expect("looked at by the caller");
        loop {
            let count = scratch.unread().len().min(length - *filled);
            bytes[*filled..*filled + count].copy_from_slice(&scratch.unread()[..count]);
            *filled += count;
            scratch.start += count;
            if *filled == length {
                return Ok(());
            }
            let straight = self.transport.tls().is_none() || length - *filled >= READ_SCRATCH_BYTES;
            if !straight {
                if !self.fill(scratch)? {
                    return Ok(());
                }
                continue;
            }
            if !self.readable || scratch.budget == 0 {
                return Ok(());
            }
            match self.read_some(&mut bytes[*filled..], scratch.budget, &mut scratch.sealed)? {
                Some((count, taken)) => {
                    *filled += count;
                    scratch.budget -= taken.min(scratch.budget);
                }
                None => return Ok(()),
            }
        }
    }

    /// Reads and discards bytes, within bounds.
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
            if let Phase::Closing { left, .. } | Phase::Lingering { left, .. } = &mut self.phase {
                *left = left.saturating_sub(count);
                if *left == 0 {
                    return Step::Rest;
                }
            }
        }
    }

    /// The next request in the bytes that arrived.
    fn read_request(&mut self, scratch: &mut Scratch, now: Time) -> Step {
        let choked = self.is_choked();
        loop {
            let Phase::Http(http) = &mut self.phase else {
                unreachable!("called in this phase only");
            };
            http.take(scratch.unread(), now);
            scratch.clear();
            if choked {
                return Step::Rest;
            }
            match http.next(now) {
                Ok(Some(request)) => return Step::Request(Box::new(request)),
                Ok(None) if http.is_answering() && !http.is_stream() => return Step::Rest,
                Ok(None) if http.take_wait() => return Step::Continue,
                Ok(None) => {}
                Err(refusal) => return Step::Refused(refusal),
            }
            match self.fill(scratch) {
                Ok(true) => {}
                Ok(false) => return Step::Rest,
                Err(why) => return Step::Closed(why),
            }
        }
    }

    /// Reads once into the empty scratch buffer. `Ok(false)` means that there are no bytes, or that
    /// the budget of this turn is used up.
    fn fill(&mut self, scratch: &mut Scratch) -> Result<bool, CloseReason> {
        scratch.clear();
        while self.readable && scratch.budget > 0 && self.early_left > 0 {
            let most = scratch.budget.min(self.early_left as usize).min(scratch.most);
            let was_within = self.transport.is_within_record();
            let Some((count, taken)) = self.read_some(&mut scratch.bytes, most, &mut scratch.sealed)? else {
                return Ok(false);
            };
            scratch.end = count;
            scratch.budget -= taken.min(scratch.budget);
            // More bytes of one record do not extend the deadline.
            if self.held.is_empty() && (count > 0 || !was_within) {
                self.frame_since = scratch.now;
            }
            if count > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads once. Returns how many bytes there are, and how many of them came from the socket;
    /// none if there are no bytes.
    ///
    /// A plain read that returns fewer bytes than it has room for has emptied the socket. Bytes
    /// that arrive later are a new edge (epoll(7)). So no second read is needed to see
    /// `WouldBlock`, which saves one system call for every message.
    fn read_some(
        &mut self,
        into: &mut [u8],
        most: usize,
        sealed: &mut Vec<u8>,
    ) -> Result<Option<(usize, usize)>, CloseReason> {
        loop {
            match self.transport.read(into, most, sealed) {
                Ok(Taken::End) => return Err(CloseReason::Remote),
                Ok(Taken::Some { count, taken, emptied, .. }) => {
                    self.note_taken(taken, emptied);
                    return Ok(Some((count, taken)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::debug!("a connection failed while it was read: {error}");
                    return Err(CloseReason::Failed);
                }
            }
        }
    }
}

/// The first byte of TLS (RFC 8446 §5.1).
const TLS: u8 = 0x16;

/// The error for a connection whose first byte is that of another protocol. A frame begins with 0,
/// because no frame is 16 MiB long.
fn sniff(first: u8) -> Option<WireError> {
    let who = match first {
        0 => return None,
        TLS => "this node is in open mode and speaks no TLS; name it without a key",
        b'A'..=b'Z' => "this looks like HTTP, which this port does not serve; a peer does with --http-files",
        _ => "a frame begins with a zero byte",
    };
    Some(WireError::Malformed(who.into()))
}
