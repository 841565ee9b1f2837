//! The messages of the swarm: how peers that need or have one content find each other at a super
//! peer (JOIN, PEERS, LEAVE), and how pieces are announced and turns are given on a chunk
//! connection (FOLLOW, HAS, WANT, TURN). PROTOCOL.md, "Swarms", has the tables and vectors of
//! bytes.
//!
//! Both sides of a connection must have named [`FEATURE_SWARM`] in HELLO and WELCOME before one of
//! these messages is sent on it.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::addr::HostPort;
use super::ids::{NodeId, Root};
use super::lists::list;
use super::record::SharePath;
use crate::config::ZONE_BYTES_MAX;

/// The feature of a HELLO or WELCOME whose sender takes part in swarms.
pub const FEATURE_SWARM: &str = "swarm";

/// JOIN: `{req, r, s, p, full, zone, short}`. It stands until LEAVE, or the end of the session. A
/// second JOIN with the same `req` and root replaces the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The asker's number for it.
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
    /// The sender has all of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// The place of the sender.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_zone")]
    pub zone: Option<String>,
    /// The sender follows too few members and asks for others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub short: bool,
}

/// PEERS: `{req, p, n, f, gateway}`. The answer to JOIN: sent at once, and again when there are
/// other members to name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// The JOIN.
    pub req: u32,
    /// Members to follow, none of which was named before; can be empty.
    #[serde(rename = "p", deserialize_with = "list")]
    pub peers: Vec<Member>,
    /// How many members the swarm has, the receiver included.
    pub n: u32,
    /// How many of them have the complete content.
    #[serde(rename = "f")]
    pub full: u32,
    /// The receiver is this gateway of its zone: it fetches pieces from outside for all of them.
    #[serde(rename = "gateway", default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
}

/// A gateway of a zone: `[number, of]`. It fetches the pieces whose number leaves this remainder
/// when it is divided by the number of gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u8, u8)", into = "(u8, u8)")]
pub struct Gateway {
    /// Its number, from 0 on.
    pub number: u8,
    /// How many there are.
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
    /// Its node, if that is known: one source, whatever its address is.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Where it serves chunks.
    #[serde(rename = "a")]
    pub addr: HostPort,
    /// The same in the other IP version, if it serves there too.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub other: Option<HostPort>,
    /// It has the complete content.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// It is in another zone than the receiver.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out: bool,
    /// Its super peer has not reached it there.
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    pub unreached: bool,
}

/// What a hit says of a source that was found by its JOIN: `{part, zone}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// It has only a part of the content.
    #[serde(rename = "part", default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Its place, as in its JOIN.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_zone")]
    pub zone: Option<String>,
}

/// LEAVE: `{req}`. Ends a JOIN; it is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// The JOIN.
    pub req: u32,
}

/// FOLLOW: `{req, root, zone}`. Asks a source to announce which pieces it has, until CANCEL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// The asker's number for it.
    pub req: u32,
    /// The content.
    pub root: Root,
    /// The place of the sender.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_zone")]
    pub zone: Option<String>,
}

/// HAS: `{req, full, from, bits, add, gone, mf, zone}`. Which pieces the sender serves, in addition
/// to those of earlier HAS messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Has {
    /// The FOLLOW.
    pub req: u32,
    /// All pieces.
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
    /// Pieces that it does not serve any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub gone: Vec<u32>,
    /// It serves the manifest, with its proof.
    #[serde(rename = "mf", default, skip_serializing_if = "std::ops::Not::not")]
    pub manifest: bool,
    /// The place of the sender. The first HAS of a FOLLOW has it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_zone")]
    pub zone: Option<String>,
}

/// WANT: `{req, n, need}`. How many pieces the sender could request now. It replaces the previous
/// WANT; an `n` of 0 gives back the turns that were not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The FOLLOW.
    pub req: u32,
    /// Turns that it waits for.
    pub n: u8,
    /// The sender lacks a piece that no other source that it follows has, or gets nothing from the
    /// others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub need: bool,
}

/// TURN: `{req, next}`. The receiver may send one GET now; its bytes are sent at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The FOLLOW.
    pub req: u32,
    /// Pieces that the source advises to ask for, the best one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub next: Vec<u32>,
}

/// Whether a text can be the name of a zone.
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
