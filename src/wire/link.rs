//! The datagrams between neighbouring super peers.
//!
//! A datagram is one version byte (0x01), the receiver's boot id (8 bytes, big-endian, 0 while it is not known) and then
//! messages one after the other, each a one-entry MessagePack map `{KIND: {fields}}`, 1200 bytes in all at most. The boot id
//! makes a datagram that was meant for an earlier life of the receiver, or that was forged by somebody who never saw the
//! receiver's HELLO, fall off without a decode.

use serde::{Deserialize, Serialize};

use super::WireError;
use super::addr::HostPort;
use super::ids::{NodeId, QueryId};
use super::message::some_list;
use super::record::{Cut, FileRecord, Search, is_zero};
use crate::config::DATAGRAM_BYTES_MAX;

/// First byte of every datagram: the protocol's major version.
pub const VERSION_BYTE: u8 = 1;
/// Bytes before the first message.
pub const HEADER_BYTES: usize = 9;

/// Every message between super peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LinkMessage {
    /// Opens a link, and keeps it open.
    Hello(LinkHello),
    /// A search passes on, or is repeated.
    Query(LinkQuery),
    /// One hit on its way back.
    Hit(LinkHit),
    /// A branch is closed.
    Done(LinkDone),
    /// A QUERY was received and its DONE will come later.
    Pending(LinkRef),
    /// A search is not wanted any more.
    Cancel(LinkRef),
    /// A kind that this version does not know; never sent, made by the decoder, dropped and counted.
    #[serde(skip)]
    Unknown(String),
}

/// HELLO: `{node, boot, echo, t, et}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkHello {
    /// The sender's name.
    pub node: NodeId,
    /// Drawn at random when the sender started; never 0.
    pub boot: u64,
    /// The receiver's boot id as the sender knows it; 0 if it does not.
    pub echo: u64,
    /// The sender's clock, any unit; comes back in `et`.
    pub t: u64,
    /// In an answer: the `t` of the HELLO that it answers. A HELLO with `et` is not answered, one without is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub et: Option<u64>,
}

/// A spanning tree: never two of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TreeName {
    /// The super peer at its root.
    pub root: NodeId,
    /// That super peer's boot id towards its neighbours, so that a later life of it repeats no name.
    pub boot: u64,
    /// Which of the trees that it grew in that life.
    pub epoch: u64,
}

/// QUERY: `{id, ttl, hops, budget, find, have, flood, tree, again}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkQuery {
    /// The query.
    pub id: QueryId,
    /// Hops still allowed beyond the receiver. With `id` and the link it names the instance in every answer.
    pub ttl: u8,
    /// Hops so far, this one included.
    pub hops: u8,
    /// Milliseconds that the receiver has for its DONE.
    pub budget: u32,
    /// What is looked for.
    pub find: Search,
    /// In a repetition: the numbers of the HITs that the asker holds, as ranges `[first, end)`; empty if none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_list")]
    pub have: Option<Vec<(u32, u32)>>,
    /// A plain flood: no neighbour may be left out because of its digest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flood: bool,
    /// The query rides this tree; absent, it goes over every link. See the module of the flood for `again` and the ttl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeName>,
    /// Who has searched for it while it rode a tree searches again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// HIT: `{id, ttl, n, f, a}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkHit {
    /// The query.
    pub id: QueryId,
    /// The instance: the ttl of the QUERY that this answers.
    pub ttl: u8,
    /// Numbers the hits of this instance on this link: 0, 1, 2, …
    pub n: u32,
    /// The file.
    #[serde(rename = "f")]
    pub file: FileRecord,
    /// Where the source serves chunks.
    #[serde(rename = "a")]
    pub addr: HostPort,
}

/// DONE: `{id, ttl, hits, reached, cut, dup, more, uncut}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDone {
    /// The query.
    pub id: QueryId,
    /// The instance.
    pub ttl: u8,
    /// How many HITs this instance sent on this link: the receiver must hold the numbers 0 to `hits` − 1.
    pub hits: u32,
    /// Super peers of this branch that searched their index for this instance.
    pub reached: u32,
    /// What was cut in this branch.
    #[serde(default, skip_serializing_if = "Cut::is_none")]
    pub cut: Cut,
    /// The receiver had the query already by another way; the rest is zero.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dup: bool,
    /// Some copy in this branch was sent back as a duplicate. Whoever has it by the other way may be cut by its ttl there, so a
    /// later copy with a higher ttl has to go this way again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// How many of the ttl cuts that earlier DONEs told this extension has made good: it went on where they had stopped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uncut: u32,
}

/// PENDING and CANCEL: `{id, ttl}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRef {
    /// The query.
    pub id: QueryId,
    /// The instance.
    pub ttl: u8,
}

impl LinkMessage {
    /// The kind as it is written on the wire, for logs and counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            LinkMessage::Hello(_) => "HELLO",
            LinkMessage::Query(_) => "QUERY",
            LinkMessage::Hit(_) => "HIT",
            LinkMessage::Done(_) => "DONE",
            LinkMessage::Pending(_) => "PENDING",
            LinkMessage::Cancel(_) => "CANCEL",
            LinkMessage::Unknown(_) => "unknown",
        }
    }
}

/// Reads one datagram: the receiver's boot id that it names, then its messages.
///
/// # Errors
/// The first thing that is wrong; what stood before it must be dropped too.
pub fn decode(datagram: &[u8]) -> Result<(u64, Vec<LinkMessage>), WireError> {
    if datagram.len() > DATAGRAM_BYTES_MAX {
        return Err(WireError::TooLong { announced: datagram.len(), cap: DATAGRAM_BYTES_MAX });
    }
    let (header, mut rest) = datagram.split_at_checked(HEADER_BYTES).ok_or(WireError::Truncated)?;
    if header[0] != VERSION_BYTE {
        return Err(WireError::Version);
    }
    let boot = header[1..].iter().fold(0, |boot, byte| boot << 8 | u64::from(*byte));
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (message, used) = super::decode_one(rest, LinkMessage::Unknown)?;
        messages.push(message);
        rest = &rest[used..];
    }
    Ok((boot, messages))
}

/// Packs messages for one link into as few datagrams as they need, in order.
#[derive(Debug, Default)]
pub struct Packer {
    boot: u64,
    bytes: Vec<u8>,
}

impl Packer {
    /// Packs for a receiver with this boot id (0: not known).
    #[must_use]
    pub fn new(boot: u64) -> Packer {
        Packer { boot, bytes: Vec::new() }
    }

    /// The boot id that the datagrams of this packer name.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Adds a message. Returns a datagram that is full and must be sent before the rest, if this one did not fit in.
    pub fn push(&mut self, message: &LinkMessage) -> Option<Vec<u8>> {
        let mark = self.bytes.len();
        if mark == 0 {
            self.open();
        }
        let start = self.bytes.len();
        super::encode_into(&mut self.bytes, message);
        debug_assert!(self.bytes.len() - start + HEADER_BYTES <= DATAGRAM_BYTES_MAX, "every message fits a datagram");
        if self.bytes.len() <= DATAGRAM_BYTES_MAX || mark == 0 {
            return None;
        }
        let tail = self.bytes.split_off(start);
        let full = std::mem::take(&mut self.bytes);
        self.open();
        self.bytes.extend_from_slice(&tail);
        Some(full)
    }

    /// Bytes of the datagram that is being packed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is being packed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes what is left, if anything is.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        (!self.bytes.is_empty()).then(|| std::mem::take(&mut self.bytes))
    }

    fn open(&mut self) {
        self.bytes.push(VERSION_BYTE);
        self.bytes.extend_from_slice(&self.boot.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(n: u32) -> LinkMessage {
        LinkMessage::Done(LinkDone {
            id: QueryId([7; 16]),
            ttl: 3,
            hits: n,
            reached: 1,
            cut: Cut::NONE,
            dup: false,
            more: false,
            uncut: 0,
        })
    }

    #[test]
    fn messages_are_packed_in_order_and_none_is_lost() {
        let mut packer = Packer::new(9);
        let mut datagrams: Vec<Vec<u8>> = (0..100).filter_map(|n| packer.push(&done(n))).collect();
        datagrams.extend(packer.finish());
        assert!(datagrams.len() > 1);
        let mut read = Vec::new();
        for datagram in &datagrams {
            assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
            let (boot, messages) = decode(datagram).unwrap();
            assert_eq!(boot, 9);
            read.extend(messages);
        }
        assert_eq!(read, (0..100).map(done).collect::<Vec<_>>());
    }

    #[test]
    fn garbage_is_refused_for_its_reason() {
        assert_eq!(decode(&[]), Err(WireError::Truncated));
        assert_eq!(decode(&[2; 20]), Err(WireError::Version));
        assert!(matches!(decode(&[1; 20]), Err(WireError::Malformed(_))));
        assert!(matches!(decode(&[1; 1201]), Err(WireError::TooLong { .. })));
    }

    #[test]
    fn the_longest_record_fits_a_datagram() {
        let hit = LinkMessage::Hit(LinkHit {
            id: QueryId([255; 16]),
            ttl: 255,
            n: u32::MAX,
            file: FileRecord {
                path: super::super::record::SharePath::new(&"x".repeat(crate::config::PATH_BYTES_MAX)).unwrap(),
                size: u64::MAX,
                root: super::super::ids::Root([255; 32]),
            },
            addr: HostPort::new(&"h".repeat(crate::config::HOST_BYTES_MAX), 65535).unwrap(),
        });
        let mut packer = Packer::new(u64::MAX);
        assert_eq!(packer.push(&hit), None);
        assert!(packer.finish().unwrap().len() <= DATAGRAM_BYTES_MAX);
    }
}
