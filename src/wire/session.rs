//! The messages of a session after its login: files, searches, lists and the state of the super
//! peer. PROTOCOL.md 4 has the tables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::addr::HostPort;
use super::ids::{NodeId, Root};
use super::lists::list;
use super::record::{Cut, FileRecord, Policy, Search, some_policy};
use super::swarm::Membership;

/// REGISTER: `{seq, port, host, more_addr, http, files, more}`. The first page clears what the
/// session had registered before; port and addresses are taken from it. A page with `more` is
/// followed by another REGISTER, with the next `seq`, before any UPDATE. Port 0 means that the
/// peer serves nothing, and goes with an empty list only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Numbers the REGISTERs and UPDATEs of a session: 1, 2, 3, …
    pub seq: u64,
    /// The port on which the peer serves chunks.
    pub port: u16,
    /// The host to report to others, if they cannot dial the address that the super peer sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// One more address at which it serves chunks on the same port: a literal one of the other
    /// family, without brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_addr: Option<String>,
    /// Whether it also serves its share over HTTP on that port.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http: bool,
    /// A page of the whole list.
    #[serde(deserialize_with = "list")]
    pub files: Vec<FileRecord>,
    /// Whether another page follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// UPDATE: `{seq, add, del}`. Removals are applied first; adding a path that is registered replaces
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// One more than the last REGISTER's or UPDATE's.
    pub seq: u64,
    /// Files that are new or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub add: Vec<FileRecord>,
    /// Paths of files that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub del: Vec<super::record::SharePath>,
}

/// ACK: `{seq, files}`. Every UPDATE and every page of a REGISTER is acknowledged on its own, in
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Which REGISTER or UPDATE.
    pub seq: u64,
    /// Files of this session that are in the index now.
    pub files: u64,
}

/// QUERY: `{req, find: {q, k, min, max, limit}, ttl, budget, policy}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The asker's number for it.
    pub req: u32,
    /// What is looked for.
    pub find: Search,
    /// Hops allowed; the super peer's own setting if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Milliseconds allowed; the super peer's own setting if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// How it spreads; `digest` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_policy")]
    pub policy: Option<Policy>,
}

/// SUBSCRIBE: `{req, find}`. From then on, until CANCEL or the end of the session, the super peer
/// sends a HIT for each file that is registered at it and matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The asker's number for it.
    pub req: u32,
    /// What is looked for.
    pub find: Search,
}

/// HIT: `{req, hits}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The query.
    pub req: u32,
    /// At least one.
    #[serde(deserialize_with = "list")]
    pub hits: Vec<SourceRecord>,
}

/// A file record and who serves it: `{p, s, r, c, n, a, b, u, http, m}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Where the file lies below the source's share.
    #[serde(rename = "p")]
    pub path: super::record::SharePath,
    /// Length in bytes.
    #[serde(rename = "s")]
    pub size: u64,
    /// BLAKE3-256 of the content.
    #[serde(rename = "r")]
    pub root: Root,
    /// The content is a collection.
    #[serde(rename = "c", default, skip_serializing_if = "std::ops::Not::not")]
    pub collection: bool,
    /// The source's node: one source, whatever its address is. Absent if it is not known.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Where the source serves chunks.
    #[serde(rename = "a")]
    pub addr: HostPort,
    /// The same in the other family, if it serves there too.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub other: Option<HostPort>,
    /// Its super peer has not reached the source there.
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    pub unreached: bool,
    /// The source also serves its share over HTTP there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http: bool,
    /// It was found as a member of a swarm.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Box<Membership>>,
}

impl SourceRecord {
    /// Whether the source has only a part of the content.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.partial)
    }
}

/// REACH: `{ok, addr, why}`. Only to a peer whose HELLO has the feature [`FEATURE_REACH`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Whether the super peer has reached the peer at that address.
    pub ok: bool,
    /// The address that hits name.
    pub addr: HostPort,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The feature of a HELLO whose sender takes REACH.
pub const FEATURE_REACH: &str = "reach";

/// DONE: `{req, hits, reached, pruned, complete, cut, ms}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The query.
    pub req: u32,
    /// Hits delivered.
    pub hits: u32,
    /// Super peers that searched their index, the asker's own included.
    pub reached: u32,
    /// Links that were not asked because the neighbor's digest rules out a hit.
    #[serde(default, skip_serializing_if = "super::record::is_zero")]
    pub pruned: u32,
    /// Whether nothing was cut for any reason.
    pub complete: bool,
    /// What was cut.
    #[serde(default)]
    pub cut: Cut,
    /// Milliseconds from QUERY to DONE at the super peer.
    pub ms: u32,
}

/// LIST: `{req, after, part}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The asker's number for it.
    pub req: u32,
    /// The `next` of the page before; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Peers that have only a part of a content are counted too.
    #[serde(rename = "part", default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// FILES: `{req, files, next}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The LIST.
    pub req: u32,
    /// A page: one entry per path and content, in no promised order.
    #[serde(deserialize_with = "list")]
    pub files: Vec<ListedFile>,
    /// The `after` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A file and how many peers hold it: `{p, s, r, c, h, m}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// The path in the share of its holders.
    #[serde(rename = "p")]
    pub path: super::record::SharePath,
    /// Length in bytes.
    #[serde(rename = "s")]
    pub size: u64,
    /// BLAKE3-256 of the content.
    #[serde(rename = "r")]
    pub root: Root,
    /// The content is a collection.
    #[serde(rename = "c", default, skip_serializing_if = "std::ops::Not::not")]
    pub collection: bool,
    /// Peers that registered this path with this content here.
    #[serde(rename = "h")]
    pub holders: u32,
    /// Peers that have joined the swarm of this content here and have only a part of it; 0 if
    /// LIST did not ask.
    #[serde(rename = "m", default, skip_serializing_if = "super::record::is_zero")]
    pub partial: u32,
}

/// STATUS: `{req}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The asker's number for it.
    pub req: u32,
}

/// INFO: `{req, agent, counts, links}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The STATUS.
    pub req: u32,
    /// Program and version.
    pub agent: String,
    /// Named counters and gauges. Later versions may add names; no name changes its meaning.
    pub counts: BTreeMap<String, u64>,
    /// The links of the super peer, those that are not up first; at most
    /// [`crate::config::INFO_LINKS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub links: Vec<LinkRow>,
}

/// A link in INFO: `{name, at, node, state, since, rtt, why}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRow {
    /// The neighbor, as it is configured: `HOST:PORT`.
    pub name: String,
    /// Its addresses, as far as they are known; of a link that is up, the one in use comes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub at: Vec<String>,
    /// The neighbor's node, if it was ever heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The state.
    pub state: LinkState,
    /// Milliseconds in this state.
    pub since: u64,
    /// The round trip in microseconds, once it is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<u64>,
    /// In login mode, for an operator: the neighbor's key, as people write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Why it is not up, as far as that is known, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// States of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Nothing is heard from the neighbor.
    Down,
    /// HELLOs of the neighbor arrive, but it has not proved that it receives those of this super
    /// peer.
    HalfOpen,
    /// Both ends hear each other.
    Up,
    /// The neighbor is this super peer itself; the link is not used.
    Itself,
    /// The neighbor is the same node as another one; the link of that one is used for both.
    Twin,
    /// A state that this version does not know; never sent, made by the decoder.
    #[serde(other)]
    Unknown,
}

impl LinkState {
    /// Whether searches are not complete because of it.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        match self {
            LinkState::Down | LinkState::HalfOpen => true,
            LinkState::Up | LinkState::Itself | LinkState::Twin | LinkState::Unknown => false,
        }
    }
}
