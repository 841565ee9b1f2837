//! Reading one connection: frames, chunks, and bytes to discard, through the loop's one scratch
//! buffer.

use std::io;

use super::{Connection, Incoming, Phase};
use crate::config::{READ_SCRATCH_BYTES, TURN_BYTES_PER_CONNECTION};
use crate::net::buffers::Buffers;
use crate::proto::CloseReason;
use crate::time::Time;
use crate::wire::{Message, WireError, frame};

/// The loop's one read buffer, and the connection's budget for this turn.
#[derive(Debug)]
pub(in crate::net) struct Scratch {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes that the connection may still read in this turn.
    budget: usize,
}

impl Scratch {
    pub(in crate::net) fn new() -> Scratch {
        Scratch { bytes: vec![0; READ_SCRATCH_BYTES], start: 0, end: 0, budget: 0 }
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
    /// A message; there may be more.
    Message(Message),
    /// Bytes that are not a message.
    Malformed(WireError),
    /// Some bytes of a chunk, for the last time in this turn.
    Progress { req: u32, received: usize },
    /// A complete chunk; there may be more.
    Chunk(Box<Incoming>),
    /// Nothing more in this turn.
    Rest,
    /// The connection is over.
    Closed(CloseReason),
}

impl Connection {
    /// Begins this connection's share of the turn.
    pub(in crate::net) fn begin_reading(&mut self, scratch: &mut Scratch) {
        scratch.clear();
        scratch.budget = TURN_BYTES_PER_CONNECTION;
        if self.held_complete && matches!(self.phase, Phase::Open | Phase::Receiving(_)) {
            scratch.bytes[..self.held.len()].copy_from_slice(&self.held);
            scratch.end = self.held.len();
            self.held = Vec::new();
            self.held_complete = false;
        }
    }

    /// Takes the next thing out of the bytes that arrived. Must be called until it rests or closes.
    pub(in crate::net) fn read_step(&mut self, scratch: &mut Scratch, buffers: &mut Buffers, now: Time) -> Step {
        match self.phase {
            Phase::Open if self.is_choked() => self.put_off(scratch),
            Phase::Open => self.read_frame(scratch, buffers, now),
            Phase::ChunkAnnounced => self.put_off(scratch),
            Phase::Receiving(ref incoming) if incoming.bytes.is_none() => self.put_off(scratch),
            Phase::Receiving(_) => self.read_chunk(scratch),
            Phase::Closing { .. } | Phase::Lingering { .. } => self.read_away(scratch),
            Phase::Connecting { .. } | Phase::Deaf | Phase::Dead => {
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

    /// Adds to the frame in `held` the bytes that belong to it, and decodes it once it is complete.
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

    /// Keeps all bytes that were read until reading continues.
    fn put_off(&mut self, scratch: &mut Scratch) -> Step {
        if !scratch.unread().is_empty() {
            assert!(self.held.is_empty(), "while a frame is held, only its own bytes are taken");
            self.held = scratch.unread().to_vec();
            self.held_complete = true;
            scratch.clear();
        }
        Step::Rest
    }

    /// Stops between two steps, before the bytes that were read are used up.
    pub(in crate::net) fn pause(&mut self, scratch: &mut Scratch) {
        match self.phase {
            Phase::Open | Phase::ChunkAnnounced | Phase::Receiving(_) => drop(self.put_off(scratch)),
            Phase::Connecting { .. } | Phase::Closing { .. } | Phase::Lingering { .. } | Phase::Deaf | Phase::Dead => {
                scratch.clear()
            }
        }
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

    /// Reads and discards, within bounds.
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

    /// A read that returns fewer bytes than it has room for has emptied the socket, and what
    /// arrives later is a new edge (epoll(7)). So no second read is needed to see `WouldBlock`: one
    /// system call less for every message. But an end that was latched already makes no further
    /// edge, and must be read.
    fn note_read(&mut self, count: usize, room: usize) {
        if count < room && !self.hung_up && self.transport.short_read_empties() {
            self.readable = false;
        }
    }

    /// Reads once into the empty scratch buffer. `Ok(false)`: there is nothing, or the budget of
    /// this turn is used up.
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
}

/// The first byte of a connection shows its protocol. A frame begins with 0, because none is 16 MiB
/// long.
fn sniff(first: u8) -> Option<WireError> {
    let who = match first {
        0 => return None,
        0x16 => "this looks like TLS, which this port does not serve",
        b'A'..=b'Z' => "this looks like HTTP, which this port does not serve",
        _ => "a frame begins with a zero byte",
    };
    Some(WireError::Malformed(who.into()))
}
