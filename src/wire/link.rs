//! The datagrams between neighboring super peers.
//!
//! A datagram is its envelope and a body. The body is the receiver's boot id (8 bytes, big-endian,
//! 0 while it is not known) and then messages one after the other, each a one-entry MessagePack map
//! `{KIND: {fields}}`. A datagram with another boot id is dropped before it is decoded: it was sent
//! to an earlier run of the receiver, or forged by a host that never received its HELLO.
//!
//! The machines see datagrams in the form of open mode: 0x01 and a number before the body. In login
//! mode the driver puts the body into another envelope.

use serde::{Deserialize, Serialize};

use super::addr::HostPort;
use super::codec::{decode_one, encode_into};
use super::envelope::{self, BODY_BYTES_MAX, OPEN_BYTES};
use super::error::WireError;
use super::ids::{NodeId, QueryId};
use super::lists::some_list;
use super::pack;
use super::record::{Cut, FileRecord, Search, is_zero};
use super::swarm::Membership;
use crate::config::DATAGRAM_BYTES_MAX;

/// On the wire, this is added to the ttl of the QUERY of a tree query and of every answer to it. It
/// distinguishes the QUERY from a flood that may follow over the same link.
pub const TREE_QUERY_TTL: u8 = 128;
/// Bytes before the first message: the envelope and the boot id.
pub const HEADER_BYTES: usize = OPEN_BYTES + 8;
/// Longest datagram that is sent in open mode, in bytes. Its body fits the envelope of login mode
/// too.
pub const PACKED_BYTES_MAX: usize = OPEN_BYTES + BODY_BYTES_MAX;

/// Every message between super peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LinkMessage {
    /// Opens a link, and keeps it open.
    Hello(LinkHello),
    /// Forwards a search, or repeats it.
    Query(LinkQuery),
    /// One hit, on the way back to the asker.
    Hit(LinkHit),
    /// The search of a branch is complete.
    Done(LinkDone),
    /// The QUERY was received, and its DONE will come later.
    Pending(LinkRef),
    /// The asker no longer needs the search.
    Cancel(LinkRef),
    /// A step in the growth, use or end of a spanning tree.
    Tree(LinkTree),
    /// A step of the digest of the sender's own index.
    Digest(LinkDigest),
    /// Acknowledges steps of a digest.
    Digested(LinkDigested),
    /// A kind that this version does not know. It is never sent: the decoder makes it, and the
    /// receiver drops and counts it.
    #[serde(skip)]
    Unknown(String),
}

/// HELLO: `{node, boot, echo, t, et, tree, whole, dg, de, fold}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkHello {
    /// The sender's node id.
    pub node: NodeId,
    /// Drawn at random when the sender started; never 0.
    pub boot: u64,
    /// The receiver's boot id as the sender knows it; 0 if the sender does not know it.
    pub echo: u64,
    /// The sender's clock, in any unit. It comes back in `et`.
    pub t: u64,
    /// In an answer: the `t` of the HELLO that it answers. A HELLO without `et` is answered; a
    /// HELLO with `et` is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub et: Option<u64>,
    /// The spanning tree that the sender holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeName>,
    /// Whether there was a moment at which all of the sender's links were up and all its neighbors
    /// held that tree.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// The largest digest that the sender accepts, as the logarithm to base 2 of its bits. If
    /// absent, the sender accepts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dg: Option<u8>,
    /// In an answer: the epoch of the sender's digest that the receiver may use for a while, if it
    /// holds that epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub de: Option<u64>,
    /// The fold with which the sender compares names and computes its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<u8>,
}

/// The name of a spanning tree. No two trees have the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TreeName {
    /// The super peer at its root.
    pub root: NodeId,
    /// Its boot id on links, so that a later run does not repeat a name.
    pub boot: u64,
    /// The number of the tree in that run.
    pub epoch: u64,
}

/// QUERY: `{id, ttl, hops, budget, find, have, flood, tree, again}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkQuery {
    /// The query.
    pub id: QueryId,
    /// Hops that are still allowed beyond the receiver. In every answer, this field, `id` and the
    /// link name the instance.
    pub ttl: u8,
    /// Hops so far, including this one.
    pub hops: u8,
    /// Milliseconds that the receiver has for its DONE.
    pub budget: u32,
    /// What is looked for.
    pub find: Search,
    /// In a repetition: the numbers of the HITs that the asker holds, as ranges `[first, end)`.
    /// Empty if it holds none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_list")]
    pub have: Option<Vec<(u32, u32)>>,
    /// Policy `flood`: no neighbor may be left out because of its digest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flood: bool,
    /// Of a tree query: its tree. If absent, the query goes over every link. The module of the
    /// flood explains `again` and the ttl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeName>,
    /// Whether super peers that have searched for the tree query with this id must search again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// HIT: `{id, ttl, n, f, node, a, b, u, http, m}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkHit {
    /// The query.
    pub id: QueryId,
    /// The instance: the ttl of the QUERY that this HIT answers.
    pub ttl: u8,
    /// Numbers the hits of this instance on this link: 0, 1, 2, …
    pub n: u32,
    /// The file.
    #[serde(rename = "f")]
    pub file: FileRecord,
    /// The source's node; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The address at which the source serves chunks.
    #[serde(rename = "a")]
    pub addr: HostPort,
    /// The address of the other IP version at which the source serves too.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub other: Option<HostPort>,
    /// Whether its super peer could not dial the source there.
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    pub unreached: bool,
    /// Whether the source also serves its share over HTTP there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http: bool,
    /// The source was found as a member of a swarm.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Box<Membership>>,
}

/// DONE: `{id, ttl, hits, reached, pruned, cut, dup, more, uncut, cut_tag, uncut_tag}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDone {
    /// The query.
    pub id: QueryId,
    /// The instance: the ttl of the QUERY that this DONE answers.
    pub ttl: u8,
    /// How many HITs this instance has sent on this link. The receiver must hold the numbers 0 to
    /// `hits` − 1.
    pub hits: u32,
    /// Super peers of this branch that searched their index for this instance.
    pub reached: u32,
    /// Links of this branch that were not asked because the neighbor's digest rules out a hit.
    #[serde(default, skip_serializing_if = "super::record::is_zero")]
    pub pruned: u32,
    /// What was cut in this branch.
    #[serde(default, skip_serializing_if = "Cut::is_none")]
    pub cut: Cut,
    /// Whether the sender of this DONE already had the query from another link. Then all other
    /// counts are zero.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dup: bool,
    /// Whether a copy in this branch was answered as a duplicate. The ttl may have cut the other
    /// copy there. So a later copy with a higher ttl must be sent into this branch again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// How many of the ttl cuts in earlier DONEs this extension has undone, because it continued
    /// there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uncut: u32,
    /// The sum of the tags of the ttl cuts in `cut`, modulo 2⁶⁴.
    #[serde(default, skip_serializing_if = "is_zero_tag")]
    pub cut_tag: u64,
    /// The sum of the tags of the ttl cuts in `uncut`, modulo 2⁶⁴.
    #[serde(default, skip_serializing_if = "is_zero_tag")]
    pub uncut_tag: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero_tag(tag: &u64) -> bool {
    *tag == 0
}

impl LinkDone {
    /// A DONE in which all counts are 0.
    #[must_use]
    pub fn empty(id: QueryId, ttl: u8) -> LinkDone {
        LinkDone {
            id,
            ttl,
            hits: 0,
            reached: 0,
            pruned: 0,
            cut: Cut::NONE,
            dup: false,
            more: false,
            uncut: 0,
            cut_tag: 0,
            uncut_tag: 0,
        }
    }
}

/// PENDING and CANCEL: `{id, ttl}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRef {
    /// The query.
    pub id: QueryId,
    /// The instance: the ttl of the QUERY.
    pub ttl: u8,
}

/// TREE: `{tree, s, n}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTree {
    /// Which tree.
    pub tree: TreeName,
    /// The step.
    #[serde(rename = "s")]
    pub step: TreeStep,
    /// With `mine`: the number of super peers in the sender's branch, including itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n: u32,
}

/// What a TREE message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TreeStep {
    /// The tree grows. The receiver is asked to be a child of the sender.
    Grow,
    /// The sender is a child of the receiver, and asks its other neighbors.
    Wait,
    /// The sender is a child of the receiver, and all its other neighbors have answered.
    Mine,
    /// The sender is in the tree with another link to its parent.
    Other,
    /// The tree is complete, the sender holds it, and the receiver is its child.
    Keep,
    /// The sender holds it.
    Held,
    /// The sender and all its neighbors hold it, and none of its links is down.
    Whole,
    /// The tree is no longer valid.
    Void,
    /// A step that this version does not know. It is never sent: the decoder makes it, and the
    /// receiver ignores it.
    #[serde(other)]
    Unknown,
}

/// DIGEST: `{e, n, size, links, at, bits, keys, ok}`. If a field is absent, its value does not
/// change. Only `ok` is then false.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDigest {
    /// Epoch: names one sequence of steps from this sender to this receiver.
    #[serde(rename = "e")]
    pub epoch: u64,
    /// Numbers the steps of an epoch: 1, 2, 3, … They are applied in order.
    #[serde(rename = "n")]
    pub step: u64,
    /// Begin again with this number of bits, all 0; the number is a logarithm to base 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u8>,
    /// Links of the sender besides this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<u16>,
    /// Offset of `bits`, in bytes.
    #[serde(default, skip_serializing_if = "super::record::is_zero")]
    pub at: u32,
    /// Bits that replace the ones at that offset.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub bits: Vec<u8>,
    /// Hashes of keys to be added, 8 bytes each, big-endian.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub keys: Vec<u8>,
    /// Whether the digest may be used after this step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ok: bool,
}

/// DIGESTED: `{e, n}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDigested {
    /// The epoch of the steps.
    #[serde(rename = "e")]
    pub epoch: u64,
    /// The last step of the epoch that was applied; 0 if none is known.
    #[serde(rename = "n")]
    pub step: u64,
}

impl LinkMessage {
    /// The name of the kind on the wire, for logs and counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            LinkMessage::Hello(_) => "HELLO",
            LinkMessage::Query(_) => "QUERY",
            LinkMessage::Hit(_) => "HIT",
            LinkMessage::Done(_) => "DONE",
            LinkMessage::Pending(_) => "PENDING",
            LinkMessage::Cancel(_) => "CANCEL",
            LinkMessage::Tree(_) => "TREE",
            LinkMessage::Digest(_) => "DIGEST",
            LinkMessage::Digested(_) => "DIGESTED",
            LinkMessage::Unknown(_) => "unknown",
        }
    }
}

/// Whether the first message of a datagram is a HELLO, as its first bytes show.
#[must_use]
pub fn begins_with_hello(datagram: &[u8]) -> bool {
    datagram.len() <= DATAGRAM_BYTES_MAX
        && datagram.first() == Some(&envelope::OPEN)
        && datagram.get(HEADER_BYTES..).is_some_and(|rest| rest.starts_with(b"\x81\xa5HELLO"))
}

/// The receiver's boot id that a datagram names; none if it is too short.
#[must_use]
pub fn boot_of(datagram: &[u8]) -> Option<u64> {
    let boot = datagram.get(OPEN_BYTES..HEADER_BYTES)?;
    Some(boot.iter().fold(0, |boot, byte| boot << 8 | u64::from(*byte)))
}

/// Reads one datagram: the receiver's boot id that it names, then its messages.
///
/// # Errors
/// The first error. The messages before it must be dropped too.
pub fn decode(datagram: &[u8]) -> Result<(u64, Vec<LinkMessage>), WireError> {
    if datagram.len() > DATAGRAM_BYTES_MAX {
        return Err(WireError::TooLong { announced: datagram.len(), cap: DATAGRAM_BYTES_MAX });
    }
    let boot = boot_of(datagram).ok_or(WireError::Truncated)?;
    if datagram[0] != envelope::OPEN {
        return Err(WireError::Version);
    }
    let mut rest = &datagram[HEADER_BYTES..];
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (message, used) = decode_one(rest, LinkMessage::Unknown)?;
        messages.push(message);
        rest = &rest[used..];
    }
    Ok((boot, messages))
}

/// Packs messages for one link into as few datagrams as possible, in order. The number of each
/// datagram is 0; [`envelope::set_number`] sets it.
#[derive(Debug, Default)]
pub struct Packer {
    boot: u64,
    bytes: Vec<u8>,
}

impl Packer {
    /// Packs messages for a receiver with this boot id, which is 0 if it is not known.
    #[must_use]
    pub fn new(boot: u64) -> Packer {
        Packer { boot, bytes: Vec::new() }
    }

    /// The boot id that the datagrams of this packer name.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Adds a message. If it does not fit in, returns the full datagram, which must be sent first.
    pub fn push(&mut self, message: &LinkMessage) -> Option<Vec<u8>> {
        let mark = self.bytes.len();
        if mark == 0 {
            self.open();
        }
        let start = self.bytes.len();
        if let LinkMessage::Hit(LinkHit { id, ttl, n, file, node, addr, other, unreached, http, member }) = message {
            let addrs = (addr, other.as_ref(), *unreached, *http);
            pack::pack_link_hit((id, *ttl, *n), file, node.as_ref(), addrs, member.as_deref(), &mut self.bytes);
        } else {
            encode_into(&mut self.bytes, message);
        }
        debug_assert!(self.bytes.len() - start + HEADER_BYTES <= PACKED_BYTES_MAX, "every message fits a datagram");
        if self.bytes.len() <= PACKED_BYTES_MAX || mark == 0 {
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

    /// The last datagram, if there are messages left.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        (!self.bytes.is_empty()).then(|| std::mem::take(&mut self.bytes))
    }

    fn open(&mut self) {
        self.bytes.reserve_exact(DATAGRAM_BYTES_MAX);
        self.bytes.extend_from_slice(&envelope::open_head(0));
        self.bytes.extend_from_slice(&self.boot.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(n: u32) -> LinkMessage {
        LinkMessage::Done(LinkDone { hits: n, reached: 1, ..LinkDone::empty(QueryId([7; 16]), 3) })
    }

    #[test]
    fn messages_are_packed_in_order_and_none_is_lost() {
        let mut packer = Packer::new(9);
        let mut datagrams: Vec<Vec<u8>> = (0..100).filter_map(|n| packer.push(&done(n))).collect();
        datagrams.extend(packer.finish());
        assert!(datagrams.len() > 1);
        let mut read = Vec::new();
        for datagram in &datagrams {
            assert!(datagram.len() <= PACKED_BYTES_MAX);
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
                collection: true,
            },
            node: Some(NodeId([255; 16])),
            addr: HostPort::new(&"h".repeat(crate::config::HOST_BYTES_MAX), 65535).unwrap(),
            // No neighbor checks that this is a literal address.
            other: Some(HostPort::new(&"h".repeat(crate::config::HOST_BYTES_MAX), 65535).unwrap()),
            unreached: true,
            http: true,
            member: Some(Box::new(Membership { partial: true, zone: Some("z".repeat(crate::config::ZONE_BYTES_MAX)) })),
        });
        let mut packer = Packer::new(u64::MAX);
        assert_eq!(packer.push(&hit), None);
        assert!(packer.finish().unwrap().len() <= PACKED_BYTES_MAX);
    }
}
