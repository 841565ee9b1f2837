//! The trace: a hash of all events and, on request, the last events as text.

use std::net::IpAddr;

use super::World;
use crate::sim::happening::Happening;
use crate::sim::tcp::Segment;

/// How many lines of the trace are kept for a failure.
const TRACE_LINES_MAX: usize = 10_000;

impl World {
    /// Adds a line to the trace, if it is kept.
    pub(in crate::sim) fn remark(&mut self, line: impl FnOnce() -> String) {
        let now = self.now.as_micros();
        if let Some(lines) = &mut self.lines {
            if lines.len() == TRACE_LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{now:>12} --- {}", line()));
        }
    }

    /// Adds an event to the trace: its time, node and kind. Text is made only if the last lines are
    /// kept.
    pub(super) fn note(&mut self, sequence: u64, what: &Happening) {
        let mut mixer = Mixer(self.trace ^ sequence.rotate_left(17));
        mixer.add(self.now.as_micros());
        what.mix(&mut mixer);
        self.trace = mixer.0;
        if let Some(lines) = &mut self.lines {
            if lines.len() == TRACE_LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{:>12} {:.300}", self.now.as_micros(), format!("{what:?}")));
        }
    }
}

/// A running hash of a trace.
struct Mixer(u64);

impl Mixer {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.add(u64::from_le_bytes(word));
        }
    }
}

impl Happening {
    /// Adds what identifies the event. Bytes are added in full, because they are the first to
    /// differ.
    fn mix(&self, mixer: &mut Mixer) {
        let (kind, who, which) = match self {
            Happening::Wake { node } => (1, *node, 0),
            Happening::Datagram { to, from, bytes } => {
                mixer.add_bytes(bytes);
                let from = match from.ip() {
                    IpAddr::V4(ip) => u64::from(ip.to_bits()),
                    IpAddr::V6(_) => 0,
                };
                (2, *to, from)
            }
            Happening::Dial { node, life, dial, .. } => (3, *node, life << 32 ^ dial.0),
            Happening::Resolve { node, life, id, .. } => (22, *node, life << 32 ^ id.0),
            Happening::DialFailed { node, life, dial, .. } => (4, *node, life << 32 ^ dial.0),
            Happening::Accepted { dialer, life, dial, .. } => (5, *dialer, life << 32 ^ dial.0),
            Happening::Segment { link, serial, end, segment } => {
                match segment {
                    Segment::Bytes(bytes) => mixer.add_bytes(bytes),
                    Segment::Payload(extent) => mixer.add(extent.offset ^ u64::from(extent.length) << 40),
                    Segment::Part(bytes) => mixer.add(3 ^ u64::from(*bytes) << 8),
                    Segment::End => mixer.add(1),
                    Segment::Reset => mixer.add(2),
                }
                (6, *link, serial << 1 ^ *end as u64)
            }
            Happening::Pump { link, serial, end } => (7, *link, serial << 1 ^ *end as u64),
            Happening::Sent { node, life, req, .. } => (8, *node, life << 32 ^ u64::from(*req)),
            Happening::Closed { node, life, conn, .. } => (9, *node, life << 32 ^ u64::from(conn.index)),
            Happening::Hashed { node, life, req, .. } => (10, *node, life << 32 ^ u64::from(*req)),
            Happening::Disk { node, life, .. } => (11, *node, *life),
            Happening::Came { node, life, conn, .. } => (12, *node, life << 32 ^ u64::from(conn.index)),
            Happening::Command { node, life, client, .. } => (13, *node, life << 32 ^ client.0),
            Happening::Stuck { link, serial, end } => (14, *link, serial << 1 ^ *end as u64),
            Happening::Unread { link, serial, end, .. } => (19, *link, serial << 1 ^ *end as u64),
            Happening::SlowFrame { link, serial, end, .. } => (18, *link, serial << 1 ^ *end as u64),
            Happening::Resume { node } => (15, *node, 0),
            Happening::Work { node, life, .. } => (16, *node, *life),
            Happening::Looked { node, life, .. } => (17, *node, *life),
        };
        mixer.add(kind << 56 ^ (who as u64) << 32);
        mixer.add(which);
    }
}
