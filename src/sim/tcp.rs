//! Virtual connections. Their bytes keep their order, are split at any place, and may stop coming.
//! The real decoder cuts frames from them, with the cap that the receiving machine has set.

use std::collections::VecDeque;

use super::content::Extent;
use crate::config::FRAME_BYTES_HELLO;
use crate::proto::{ConnId, HashPlan, Verify};
use crate::time::Time;
use crate::wire::{Message, WireError, frame};

/// An item that is sent on a connection.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    Bytes(Vec<u8>),
    /// The raw bytes after a CHUNK.
    Payload(Extent),
    /// A part of the raw bytes after a CHUNK. The rest never comes.
    Part(u32),
    /// The sender has closed the connection.
    End,
    /// The sender is gone.
    Reset,
}

/// What the receiver expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Frames,
    /// A CHUNK was given to the machine, which has not answered with ReceivePayload yet.
    Chunk,
    Payload {
        req: u32,
        length: u32,
        plan: HashPlan,
        verify: Verify,
    },
    /// A frame was malformed, so nothing more is read.
    Nothing,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) node: usize,
    pub(super) conn: ConnId,
    /// Whether the machine has neither received Closed nor ordered a close.
    pub(super) open: bool,
    /// Whether the machine knows the connection. A dialer learns of it later than an acceptor.
    pub(super) known: bool,
    pub(super) cap: usize,
    pub(super) reading: Reading,
    /// When the last segment for this end arrives. Later segments must not overtake it.
    pub(super) arrival: Time,
    /// For an acceptor in login mode: whether it has answered a login with READY.
    pub(super) let_in: bool,
    /// Whether the machine reads nothing, so that its socket buffer fills up.
    pub(super) deaf: bool,
    /// Bytes that were sent to this end since it stopped reading.
    pub(super) unread: usize,
    /// When the present incomplete frame began, once this is watched.
    pub(super) frame_since: Option<Time>,
    /// Bytes of the payload that have arrived.
    got: u32,
    bytes: Vec<u8>,
    waiting: VecDeque<Segment>,
}

/// A segment that waits at its sender because the path is cut.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) segment: Segment,
    /// For a payload: the request. Its sender gets PayloadSent once the payload is on its way.
    pub(super) req: Option<u32>,
}

/// The index of the end that was dialed.
pub(super) const ACCEPTOR: usize = 1;

/// A connection, with the dialer's end and the acceptor's end.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ends: [End; 2],
    /// Segments that wait, by the end for which they are, and the time since when they wait.
    pub(super) held: [VecDeque<Held>; 2],
    pub(super) held_since: Time,
    /// Whether the connection is half-open: everything that is sent is lost, and neither end gets
    /// an error.
    pub(super) silent: bool,
    /// Distinguishes this link from other links that used the slot before.
    pub(super) serial: u64,
}

/// What an end has received for its machine.
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
    /// This many bytes of a payload have arrived.
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

    /// If an incomplete frame has begun: how many bytes of it have come, and its length as far as
    /// that is known.
    pub(super) fn half_frame(&self) -> Option<usize> {
        let begun = self.open && self.known && self.reading == Reading::Frames && !self.bytes.is_empty();
        begun.then(|| self.bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize))
    }

    /// The bytes that came last arrive one by one.
    pub(super) fn trickle(&mut self) {
        if let Some(Segment::Bytes(bytes)) = self.waiting.pop_back() {
            self.waiting.extend(bytes.into_iter().map(|byte| Segment::Bytes(vec![byte])));
        }
    }

    /// The next item for the machine, if the item is complete and the machine reads.
    pub(super) fn next(&mut self) -> Option<Arrived> {
        loop {
            if !self.open || !self.known {
                return None;
            }
            if self.deaf {
                // The machine gets only the end of the connection.
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
                    // The machine does not receive the payload. The bytes of the payload would not
                    // decode as a frame.
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
