//! The messages of a session after its login: files, searches, lists and the state of the super
//! peer. PROTOCOL.md 4 has the tables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::addr::HostPort;
use super::ids::{NodeId, Root};
use super::lists::list;
use super::record::{Cut, FileRecord, Policy, Search, some_policy};
use super::swarm::Membership;

/// REGISTER: `{seq, port, host, more_addr, http, files, more}`. The first page removes everything
/// that the session has registered before; the port and the addresses are read from this page.
/// After a page with `more`, another REGISTER with the next `seq` must come before any UPDATE. Port
/// 0 means that the peer serves nothing; then the list must be empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The number of this REGISTER among the REGISTERs and UPDATEs of the session: 1, 2, 3, …
    pub seq: u64,
    /// The port on which the peer serves chunks.
    pub port: u16,
    /// The host that is named to others, if they cannot dial the address that the super peer sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Another address at which the peer serves chunks on the same port: a literal address of the
    /// other IP version, without brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_addr: Option<String>,
    /// Whether the peer also serves its share over HTTP on that port.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http: bool,
    /// A page of the complete list.
    #[serde(deserialize_with = "list")]
    pub files: Vec<FileRecord>,
    /// Whether another page follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// UPDATE: `{seq, add, del}`. Removals are applied first. If an added path is registered already,
/// the new record replaces the old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The number after that of the last REGISTER or UPDATE.
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
    /// The number of the REGISTER or UPDATE.
    pub seq: u64,
    /// Files of this session that are in the index now.
    pub files: u64,
}

/// QUERY: `{req, find: {q, k, min, max, limit}, ttl, budget, policy}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The number that the asker gave to it.
    pub req: u32,
    /// What is looked for.
    pub find: Search,
    /// Hops that are allowed; if absent, the setting of the super peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Milliseconds that are allowed; if absent, the setting of the super peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// How the query spreads; if absent, `digest`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_policy")]
    pub policy: Option<Policy>,
}

/// SUBSCRIBE: `{req, find}`. From now on, until CANCEL or the end of the session, the super peer
/// sends a HIT for each matching file that is registered at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The number that the asker gave to it.
    pub req: u32,
    /// What is looked for.
    pub find: Search,
}

/// HIT: `{req, hits}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The number of the QUERY or SUBSCRIBE.
    pub req: u32,
    /// At least one hit.
    #[serde(deserialize_with = "list")]
    pub hits: Vec<SourceRecord>,
}

/// A file record and its source: `{p, s, r, c, n, a, b, u, http, m}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The path of the file below the source's share.
    #[serde(rename = "p")]
    pub path: super::record::SharePath,
    /// Length in bytes.
    #[serde(rename = "s")]
    pub size: u64,
    /// BLAKE3-256 of the content.
    #[serde(rename = "r")]
    pub root: Root,
    /// Whether the content is a collection.
    #[serde(rename = "c", default, skip_serializing_if = "std::ops::Not::not")]
    pub collection: bool,
    /// The node id of the source, which it has at all its addresses. Absent if it is not known.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
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
    /// Set if the source was found as a member of a swarm.
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

/// REACH: `{ok, addr, why}`. It is sent only to a peer whose HELLO has the feature
/// [`FEATURE_REACH`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Whether the super peer could dial the peer at that address.
    pub ok: bool,
    /// The address that hits name.
    pub addr: HostPort,
    /// If it could not: the reason, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The feature in a HELLO whose sender accepts REACH.
pub const FEATURE_REACH: &str = "reach";

/// DONE: `{req, hits, reached, pruned, complete, cut, ms}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The number of the QUERY.
    pub req: u32,
    /// Hits that were sent.
    pub hits: u32,
    /// Super peers that searched their index, including the one of the asker.
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
    /// The number that the asker gave to it.
    pub req: u32,
    /// The `next` of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Whether peers that have only a part of a content are counted too.
    #[serde(rename = "part", default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// FILES: `{req, files, next}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The number of the LIST.
    pub req: u32,
    /// A page with one entry for each path and content. The order is not defined.
    #[serde(deserialize_with = "list")]
    pub files: Vec<ListedFile>,
    /// The `after` of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A file, and how many peers hold it: `{p, s, r, c, h, m}`.
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
    /// Whether the content is a collection.
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
    /// The number that the asker gave to it.
    pub req: u32,
}

/// INFO: `{req, agent, counts, links}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The number of the STATUS.
    pub req: u32,
    /// Program and version.
    pub agent: String,
    /// Named counters and gauges. Later versions may add names; no name changes its meaning.
    pub counts: BTreeMap<String, u64>,
    /// The links of the super peer, at most [`crate::config::INFO_LINKS_MAX`]. Links that are not
    /// up come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub links: Vec<LinkRow>,
}

/// A link in INFO: `{name, at, node, state, since, rtt, why}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRow {
    /// The neighbor, as it is configured: `HOST:PORT`.
    pub name: String,
    /// Its known addresses. If the link is up, the address in use comes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub at: Vec<String>,
    /// The neighbor's node id, if a HELLO of it has ever come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The state.
    pub state: LinkState,
    /// Milliseconds in this state.
    pub since: u64,
    /// The round-trip time in microseconds, once it is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<u64>,
    /// In login mode, for an operator: the neighbor's key, in the form in which people write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Why the link is not up, for people, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// States of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Nothing is heard from the neighbor.
    Down,
    /// HELLOs of the neighbor arrive, but the neighbor has not proved that it receives those of
    /// this super peer.
    HalfOpen,
    /// Both ends receive each other's HELLOs.
    Up,
    /// The neighbor is this super peer itself. The link is not used.
    Itself,
    /// The neighbor is the same node as that of another link, which is used for both.
    Twin,
    /// A state that this version does not know. It is never sent: the decoder makes it.
    #[serde(other)]
    Unknown,
}

impl LinkState {
    /// Whether searches are incomplete because of it.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        match self {
            LinkState::Down | LinkState::HalfOpen => true,
            LinkState::Up | LinkState::Itself | LinkState::Twin | LinkState::Unknown => false,
        }
    }
}
