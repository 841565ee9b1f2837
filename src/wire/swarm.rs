//! The messages of the swarm. With JOIN, PEERS and LEAVE, peers that need or have the same content
//! find each other at a super peer. With FOLLOW, HAS, WANT and TURN, they announce pieces and give
//! turns on a chunk connection. PROTOCOL.md, "Swarms", has the tables and test vectors.
//!
//! One of these messages may be sent on a connection only if both sides have named
//! [`FEATURE_SWARM`] in HELLO and WELCOME.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::addr::HostPort;
use super::ids::{NodeId, Root};
use super::lists::list;
use super::record::SharePath;
use crate::config::ZONE_BYTES_MAX;

/// The feature in a HELLO or WELCOME whose sender takes part in swarms.
pub const FEATURE_SWARM: &str = "swarm";

/// JOIN: `{req, r, s, p, full, zone, short}`. It is in force until LEAVE or the end of the session.
/// A second JOIN with the same `req` and root replaces the first one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The number that the asker gave to it.
    pub req: u32,
    /// The content.
    #[serde(rename = "r")]
    pub root: Root,
    /// Its size in bytes, as far as the sender knows.
    #[serde(rename = "s")]
    pub size: u64,
    /// A path of the content, for people.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub path: Option<SharePath>,
    /// Whether the sender has the complete content.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// The zone of the sender.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_zone")]
    pub zone: Option<String>,
    /// Whether the sender follows too few members and asks for others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub short: bool,
}

/// PEERS: `{req, p, n, f, gateway}`. It answers JOIN at once, and is sent again when other members
/// can be named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// The number of the JOIN.
    pub req: u32,
    /// Members to follow that were not named before. The list can be empty.
    #[serde(rename = "p", deserialize_with = "list")]
    pub peers: Vec<Member>,
    /// The number of members of the swarm, including the receiver.
    pub n: u32,
    /// The number of members that have the complete content.
    #[serde(rename = "f")]
    pub full: u32,
    /// Set if the receiver is a gateway of its zone: it fetches pieces from outside for all members
    /// of the zone.
    #[serde(rename = "gateway", default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
}

/// A gateway of a zone: `[number, of]`. It fetches the pieces whose number, divided by `of`, leaves
/// the remainder `number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u8, u8)", into = "(u8, u8)")]
pub struct Gateway {
    /// Its number, counted from 0.
    pub number: u8,
    /// How many gateways the zone has.
    pub of: u8,
}

impl From<Gateway> for (u8, u8) {
    fn from(gateway: Gateway) -> (u8, u8) {
        (gateway.number, gateway.of)
    }
}

impl TryFrom<(u8, u8)> for Gateway {
    type Error = &'static str;

    fn try_from((number, of): (u8, u8)) -> Result<Gateway, &'static str> {
        if number < of { Ok(Gateway { number, of }) } else { Err("a gateway has a number below that of the gateways") }
    }
}

/// A member of a swarm, as PEERS names it: `{n, a, b, full, out, u}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The node id of the member, which it has at all its addresses, if it is known.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The address at which it serves chunks.
    #[serde(rename = "a")]
    pub addr: HostPort,
    /// The address of the other IP version at which it serves too.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub other: Option<HostPort>,
    /// Whether it has the complete content.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// Whether it is in another zone than the receiver.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out: bool,
    /// Whether its super peer could not dial it there.
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    pub unreached: bool,
}

/// What a hit says about a source that was found by its JOIN: `{part, zone}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Whether it has only a part of the content.
    #[serde(rename = "part", default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Its zone, as in its JOIN.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_zone")]
    pub zone: Option<String>,
}

/// LEAVE: `{req}`. It ends a JOIN and is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// The number of the JOIN.
    pub req: u32,
}

/// FOLLOW: `{req, root, zone}`. Asks a source to announce which pieces it has, until CANCEL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// The number that the asker gave to it.
    pub req: u32,
    /// The content.
    pub root: Root,
    /// The zone of the sender.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_zone")]
    pub zone: Option<String>,
}

/// HAS: `{req, full, from, bits, add, gone, mf, zone}`. It announces pieces that the sender serves,
/// in addition to those of earlier HAS messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Has {
    /// The number of the FOLLOW.
    pub req: u32,
    /// Whether the sender serves all pieces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// The piece of the first bit of `bits`; a multiple of 8.
    #[serde(default, skip_serializing_if = "super::record::is_zero")]
    pub from: u32,
    /// One bit for each piece: piece `from` + p is bit p mod 8, from the lowest, of byte p div 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub bits: Vec<u8>,
    /// Pieces that it serves from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub add: Vec<u32>,
    /// Pieces that it no longer serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub gone: Vec<u32>,
    /// Whether it serves the manifest with its proof.
    #[serde(rename = "mf", default, skip_serializing_if = "std::ops::Not::not")]
    pub manifest: bool,
    /// The zone of the sender, in the first HAS for a FOLLOW.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_zone")]
    pub zone: Option<String>,
}

/// WANT: `{req, n, need}`. How many pieces the sender could request now. It replaces the previous
/// WANT. An `n` of 0 gives back turns that were not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The number of the FOLLOW.
    pub req: u32,
    /// How many turns the sender waits for.
    pub n: u8,
    /// Whether the sender lacks a piece that no other followed source has, or gets nothing from the
    /// other sources.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub need: bool,
}

/// TURN: `{req, next}`. The receiver may send one GET now. It is answered at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The number of the FOLLOW.
    pub req: u32,
    /// Pieces that the source advises the receiver to request, the best one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub next: Vec<u32>,
}

/// Whether a text is a valid name of a zone.
#[must_use]
pub fn is_zone(text: &str) -> bool {
    (1..=ZONE_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
}

fn some_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_zone(&text) {
        Ok(Some(text))
    } else {
        Err(de::Error::custom(format!("the name of a zone has 1 to {ZONE_BYTES_MAX} bytes and no control characters")))
    }
}
