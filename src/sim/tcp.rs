//! Virtual connections: bytes that keep their order, are split anywhere, and may stop coming;
//! frames are cut from them by the production decoder, with the cap that the receiving machine set.

use std::collections::VecDeque;

use super::content::Extent;
use crate::config::FRAME_BYTES_HELLO;
use crate::proto::{ConnId, HashPlan, Verify};
use crate::time::Time;
use crate::wire::{Message, WireError, frame};

/// What travels on a connection.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    Bytes(Vec<u8>),
    /// The raw bytes after a CHUNK.
    Payload(Extent),
    /// This many raw bytes after a CHUNK, of which never all come.
    Part(u32),
    /// The sender has closed.
    End,
    /// The sender is gone.
    Reset,
}

/// What the receiver expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Frames,
    /// A CHUNK was handed up; the machine has not said ReceivePayload.
    Chunk,
    Payload {
        req: u32,
        length: u32,
        plan: HashPlan,
        verify: Verify,
    },
    /// A frame was malformed: nothing more is read.
    Nothing,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) node: usize,
    pub(super) conn: ConnId,
    /// Whether the machine has received no Closed and has not asked for one.
    pub(super) open: bool,
    /// Whether the machine knows of the connection: a dialer learns of it later than an acceptor.
    pub(super) known: bool,
    pub(super) cap: usize,
    pub(super) reading: Reading,
    /// When the last segment sent to this end arrives: none may overtake it.
    pub(super) arrival: Time,
    /// Of an acceptor in login mode: it has answered a login with READY.
    pub(super) let_in: bool,
    /// The machine reads nothing, and its socket buffer fills up.
    pub(super) deaf: bool,
    /// Bytes that were sent to this end since it is deaf.
    pub(super) unread: usize,
    /// When a frame began that is not complete, as soon as that is watched.
    pub(super) frame_since: Option<Time>,
    /// Bytes of the payload that have come.
    got: u32,
    bytes: Vec<u8>,
    waiting: VecDeque<Segment>,
}

/// A segment that waits at its sender because the path is cut.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) segment: Segment,
    /// Of a payload: the request, whose sender receives PayloadSent once it is on its way.
    pub(super) req: Option<u32>,
}

/// The end of a connection that was dialed.
pub(super) const ACCEPTOR: usize = 1;

/// A connection: the dialer's end and the acceptor's.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ends: [End; 2],
    /// By the end for which it is meant; and since when.
    pub(super) held: [VecDeque<Held>; 2],
    pub(super) held_since: Time,
    /// Half-open: everything that is sent is lost, and neither end is informed.
    pub(super) silent: bool,
    /// Tells this link from others that had the slot before.
    pub(super) serial: u64,
}

/// What an end has for its machine.
#[derive(Debug)]
pub(super) enum Arrived {
    Message(Message),
    Malformed(WireError),
    Payload {
        req: u32,
        extent: Extent,
        plan: HashPlan,
        verify: Verify,
    },
    /// This many bytes of a payload have come.
    Progress {
        req: u32,
        received: u32,
    },
    End,
    Reset,
}

impl End {
    pub(super) fn new(node: usize, conn: ConnId) -> End {
        End {
            node,
            conn,
            open: true,
            known: true,
            cap: FRAME_BYTES_HELLO,
            reading: Reading::Frames,
            arrival: Time::ZERO,
            let_in: false,
            deaf: false,
            unread: 0,
            frame_since: None,
            got: 0,
            bytes: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn receive(&mut self, segment: Segment) {
        self.waiting.push_back(segment);
    }

    /// Bytes of a frame that has begun and is not complete, if there are any, and how long it is as
    /// far as that is known.
    pub(super) fn half_frame(&self) -> Option<usize> {
        let begun = self.open && self.known && self.reading == Reading::Frames && !self.bytes.is_empty();
        begun.then(|| self.bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize))
    }

    /// The bytes that came last come one by one.
    pub(super) fn trickle(&mut self) {
        if let Some(Segment::Bytes(bytes)) = self.waiting.pop_back() {
            self.waiting.extend(bytes.into_iter().map(|byte| Segment::Bytes(vec![byte])));
        }
    }

    /// The next item for the machine, if it is complete and the machine reads.
    pub(super) fn next(&mut self) -> Option<Arrived> {
        loop {
            if !self.open || !self.known {
                return None;
            }
            if self.deaf {
                // It notices the end alone.
                return match self.waiting.pop_front()? {
                    Segment::Bytes(_) | Segment::Payload(_) | Segment::Part(_) => continue,
                    Segment::End => Some(Arrived::End),
                    Segment::Reset => Some(Arrived::Reset),
                };
            }
            match self.reading {
                Reading::Frames => {
                    if let Some(arrived) = self.frame() {
                        return Some(arrived);
                    }
                }
                Reading::Payload { req, length, plan, verify } => {
                    if let Some(Segment::Payload(extent)) = self.waiting.front().cloned() {
                        self.waiting.pop_front();
                        assert_eq!(extent.length, length, "a payload is as long as its CHUNK says");
                        (self.reading, self.got) = (Reading::Frames, 0);
                        return Some(Arrived::Payload { req, extent, plan, verify });
                    }
                    if let Some(Segment::Part(bytes)) = self.waiting.front() {
                        self.got = self.got.saturating_add(*bytes).min(length - 1);
                        self.waiting.pop_front();
                        return Some(Arrived::Progress { req, received: self.got });
                    }
                }
                Reading::Chunk | Reading::Nothing => {}
            }
            match (self.waiting.front(), self.reading) {
                (Some(Segment::End), _) => return Some(Arrived::End),
                (Some(Segment::Reset), _) => return Some(Arrived::Reset),
                (Some(Segment::Bytes(_)), Reading::Frames) => {
                    let Some(Segment::Bytes(bytes)) = self.waiting.pop_front() else { return None };
                    self.bytes.extend_from_slice(&bytes);
                }
                (Some(Segment::Payload(_) | Segment::Part(_)), Reading::Frames) => {
                    // A payload that the machine does not receive: its bytes would not decode as a
                    // frame.
                    self.reading = Reading::Nothing;
                    return Some(Arrived::Malformed(WireError::Malformed("raw bytes in place of a frame".into())));
                }
                (Some(Segment::Bytes(_) | Segment::Payload(_) | Segment::Part(_)), _) | (None, _) => return None,
            }
        }
    }

    fn frame(&mut self) -> Option<Arrived> {
        match frame::decode(&self.bytes, self.cap) {
            Ok(None) => None,
            Ok(Some((message, used))) => {
                self.bytes.drain(..used);
                self.frame_since = None;
                if matches!(message, Message::Chunk(_)) {
                    self.reading = Reading::Chunk;
                }
                Some(Arrived::Message(message))
            }
            Err(error) => {
                self.reading = Reading::Nothing;
                Some(Arrived::Malformed(error))
            }
        }
    }
}
