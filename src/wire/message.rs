//! The messages on TCP: sessions between a weak peer and its super peer, and chunk connections
//! between peers.
//!
//! Each is a map with one entry, `{KIND: {fields}}`. `req` numbers a request: the asker chooses it,
//! and it is unique on its connection while the request runs. PROTOCOL.md has the tables, and
//! vectors of bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::addr::HostPort;
use super::ids::{KeyBytes, Md5, NodeId, Root};
use super::lists::list;
use super::record::{Cut, FileRecord, Policy, Search, some_policy};
use super::swarm::{Follow, Has, Join, Leave, Peers, Turn, Want};
use crate::config::{FRAME_BYTES_OPEN, PROTOCOL_VERSION};

/// Every message that may travel on TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Message {
    /// First on every connection, from the dialer.
    Hello(Hello),
    /// The answer to HELLO.
    Welcome(Welcome),
    /// Session, and in login mode a chunk connection too: who the peer is.
    Login(Login),
    /// The login was accepted.
    Ready(Ready),
    /// Session: asks for a credential with the token of an invitation.
    Enroll(Enroll),
    /// Session: that credential.
    Enrolled(Enrolled),
    /// Session: accounts that are no longer valid.
    Revoked(Revoked),
    /// Session: a page of the whole file list, and where chunks are served.
    Register(Register),
    /// Session: files that were added and removed.
    Update(Update),
    /// Session: the files of a REGISTER or UPDATE are in the index.
    Ack(Ack),
    /// Session: a search begins.
    Query(Query),
    /// Session: some of its hits.
    Hit(Hit),
    /// Session: the search is over.
    Done(Done),
    /// Session: asks for a page of the files that are registered here.
    List(List),
    /// Session: that page.
    Files(Files),
    /// Session: asks for the counters of the super peer.
    Status(Status),
    /// Session: these counters.
    Info(Info),
    /// Session: asks whether the other side is alive.
    Ping(Ping),
    /// Session: the answer to PING.
    Pong(Ping),
    /// Session: whether the super peer could dial the peer.
    Reach(Reach),
    /// The sender is about to close the connection.
    Bye(Bye),
    /// Something failed: the request `req`, or without it the connection.
    Error(Error),
    /// Chunk connection: asks for bytes of a content.
    Get(Get),
    /// Chunk connection: exactly `length` raw bytes follow this frame.
    Chunk(Chunk),
    /// Chunk connection: asks for a page of chaining values.
    Manifest(Manifest),
    /// Chunk connection: that page.
    Cvs(Cvs),
    /// The asker no longer needs the request.
    Cancel(Cancel),
    /// Session: the peer wants or has a content, and asks who else does.
    Join(Join),
    /// Session: some of these.
    Peers(Peers),
    /// Session: ends a JOIN.
    Leave(Leave),
    /// Chunk connection: asks which pieces of a content the source has, from now on.
    Follow(Follow),
    /// Chunk connection: these pieces.
    Has(Has),
    /// Chunk connection: how many pieces the asker could ask for now.
    Want(Want),
    /// Chunk connection: it may ask for one.
    Turn(Turn),
    /// A kind that this version does not know; never sent, made by the decoder.
    #[serde(skip)]
    Unknown(String),
}

/// HELLO: `{v, node, boot, feat, agent}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Protocol version, major and minor.
    #[serde(rename = "v")]
    pub version: [u8; 2],
    /// The sender's name.
    pub node: NodeId,
    /// Drawn at random when the sender started.
    pub boot: u64,
    /// Names of optional features; unknown ones are ignored.
    #[serde(rename = "feat", default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub features: Vec<String>,
    /// Program and version, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent: String,
}

/// WELCOME: `{v, node, boot, feat, ping, frame, addr, mode, rot}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Protocol version, major and minor.
    #[serde(rename = "v")]
    pub version: [u8; 2],
    /// The sender's name.
    pub node: NodeId,
    /// Drawn at random when the sender started.
    pub boot: u64,
    /// Names of optional features; unknown ones are ignored.
    #[serde(rename = "feat", default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub features: Vec<String>,
    /// The receiver must send something at least this often, in milliseconds.
    pub ping: u32,
    /// Longest frame body taken after login, in bytes.
    pub frame: u32,
    /// The address of the receiver as the sender sees it.
    pub addr: HostPort,
    /// Whether the sender takes a login.
    #[serde(default, skip_serializing_if = "Mode::is_open")]
    pub mode: Mode,
    /// How the key of the sender follows from earlier ones; not decoded here.
    #[serde(rename = "rot", default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub rotation: Option<Vec<u8>>,
}

impl Hello {
    /// The HELLO of this version of the protocol.
    #[must_use]
    pub fn new(node: NodeId, boot: u64, agent: String) -> Hello {
        Hello { version: PROTOCOL_VERSION, node, boot, features: Vec::new(), agent }
    }
}

impl Welcome {
    /// The WELCOME of this version of the protocol, to a peer at this address that must send
    /// something in each interval of `ping`.
    #[must_use]
    pub fn new(node: NodeId, boot: u64, ping: Duration, addr: HostPort) -> Welcome {
        let ping = u32::try_from(ping.as_millis()).unwrap_or(u32::MAX);
        let frame = u32::try_from(FRAME_BYTES_OPEN).unwrap_or(u32::MAX);
        let features = Vec::new();
        let (mode, rotation) = (Mode::Open, None);
        Welcome { version: PROTOCOL_VERSION, node, boot, features, ping, frame, addr, mode, rotation }
    }
}

/// Whether a network takes a login: the mode of WELCOME and LOGIN. A node is in one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Anyone may connect, and a node's name is a claim.
    #[default]
    Open,
    /// TLS, and a credential for the key of each peer.
    Login,
    /// A mode that this version does not know; never sent, made by the decoder.
    #[serde(other)]
    Unknown,
}

impl Mode {
    /// As it is written on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Open => "open",
            Mode::Login => "login",
            Mode::Unknown => "unknown",
        }
    }

    fn is_open(&self) -> bool {
        *self == Mode::Open
    }
}

/// LOGIN: `{mode, cred}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The mode of the sender.
    pub mode: Mode,
    /// In the mode `login`: the credential for the sender's key; not decoded here.
    #[serde(rename = "cred", default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub credential: Option<Vec<u8>>,
}

impl Login {
    /// The LOGIN of the mode `open`.
    #[must_use]
    pub fn open() -> Login {
        Login { mode: Mode::Open, credential: None }
    }

    /// The LOGIN of the mode `login`, with this credential.
    #[must_use]
    pub fn with_credential(credential: Vec<u8>) -> Login {
        Login { mode: Mode::Login, credential: Some(credential) }
    }
}

/// READY: `{ops, cred}`; without fields in the mode `open`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The keys whose signature makes a credential valid in this network.
    #[serde(rename = "ops", default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub operators: Vec<KeyBytes>,
    /// On a chunk connection in the mode `login`: the credential of the sender; not decoded here.
    #[serde(rename = "cred", default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub credential: Option<Vec<u8>>,
}

/// ENROLL: `{user, token}`, instead of LOGIN. The connection stays in its state.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enroll {
    /// The name of the account.
    pub user: String,
    /// The secret of the invitation.
    #[serde(with = "serde_bytes")]
    pub token: Vec<u8>,
}

/// The token is a secret, and is left out.
impl fmt::Debug for Enroll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enroll").field("user", &self.user).finish_non_exhaustive()
    }
}

/// ENROLLED: `{cred}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The credential for the key with which the asker has connected; not decoded here.
    #[serde(rename = "cred", with = "serde_bytes")]
    pub credential: Vec<u8>,
}

/// REVOKED: `{list}`. To each session when it opens, and when accounts are revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Whose credentials are no longer valid.
    #[serde(deserialize_with = "list")]
    pub list: Vec<RevokedKey>,
}

/// A key whose credentials are no longer valid: `{k, at}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RevokedKey {
    /// The key of the node.
    #[serde(rename = "k")]
    pub key: KeyBytes,
    /// Those that were issued at this time or before, in seconds since 1970.
    pub at: u64,
}

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

/// HIT: `{req, hits}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The query.
    pub req: u32,
    /// At least one.
    #[serde(deserialize_with = "list")]
    pub hits: Vec<SourceRecord>,
}

/// A file record and who serves it: `{p, s, r, c, n, a, b, u, http}`.
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

/// LIST: `{req, after}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The asker's number for it.
    pub req: u32,
    /// The `next` of the page before; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
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

/// A file and how many peers hold it: `{p, s, r, c, h}`.
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
    /// Named counters and gauges; the names may grow, none changes its meaning.
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
    /// The neighbor is heard, and does not hear this super peer.
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

/// PING and PONG: `{n}`; the answer repeats the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Any number.
    pub n: u32,
}

/// BYE: `{why}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// For people.
    pub why: String,
}

/// ERROR: `{code, message, req, retry}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// The request that failed; absent if it is about the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<u32>,
    /// With [`ErrorCode::BUSY`]: the least time in milliseconds before the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<u32>,
}

impl Error {
    /// An ERROR about the request of this number, or about the connection.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>, req: Option<u32>) -> Error {
        Error { code, message: message.into(), req, retry: None }
    }
}

/// The code of an ERROR: a number on the wire, whose unknown values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// A fault of the sender itself.
    pub const INTERNAL: ErrorCode = ErrorCode(1);
    /// The frame is no message: no MessagePack, wrong fields, trailing bytes, too deep.
    pub const MALFORMED: ErrorCode = ErrorCode(2);
    /// The content or request is not known here.
    pub const NOT_FOUND: ErrorCode = ErrorCode(3);
    /// Login or progress took too long.
    pub const DEADLINE: ErrorCode = ErrorCode(4);
    /// No room now; try again later or elsewhere.
    pub const BUSY: ErrorCode = ErrorCode(5);
    /// The file changed or cannot be read any more.
    pub const CHANGED: ErrorCode = ErrorCode(6);
    /// The login was rejected: no credential, or one that is not valid here.
    pub const LOGIN: ErrorCode = ErrorCode(7);
    /// The message is known but not allowed in this state.
    pub const ORDER: ErrorCode = ErrorCode(8);
    /// The frame is longer than the state allows.
    pub const TOO_LONG: ErrorCode = ErrorCode(9);
    /// Another major version.
    pub const VERSION: ErrorCode = ErrorCode(10);
    /// The kind is not known; the session goes on.
    pub const UNKNOWN_KIND: ErrorCode = ErrorCode(11);
    /// A cap of the receiver was reached.
    pub const LIMIT: ErrorCode = ErrorCode(12);
    /// The pattern or range of a request makes no sense.
    pub const BAD_REQUEST: ErrorCode = ErrorCode(13);
    /// The other mode is spoken here.
    pub const MODE: ErrorCode = ErrorCode(14);
    /// The account was revoked.
    pub const REVOKED: ErrorCode = ErrorCode(15);
    /// The credential is not valid any more.
    pub const EXPIRED: ErrorCode = ErrorCode(16);
    /// The invitation is unknown, used or expired.
    pub const INVITATION: ErrorCode = ErrorCode(17);

    /// Whether it rejects a login for good: another attempt needs another mode, key, credential or
    /// invitation.
    #[must_use]
    pub fn is_login(self) -> bool {
        let codes = [ErrorCode::LOGIN, ErrorCode::MODE, ErrorCode::REVOKED, ErrorCode::EXPIRED, ErrorCode::INVITATION];
        codes.contains(&self)
    }
}

/// GET: `{req, root, off, len, bare}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The asker's number for it.
    pub req: u32,
    /// The content.
    pub root: Root,
    /// First byte.
    #[serde(rename = "off")]
    pub offset: u64,
    /// Bytes, 1 to 1 MiB, all within the content.
    #[serde(rename = "len")]
    pub length: u32,
    /// The asker does not need the MD5: the CHUNK may leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
}

/// CHUNK: `{req, off, len, md5}`, then `len` raw bytes outside any frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The GET.
    pub req: u32,
    /// First byte, as asked.
    #[serde(rename = "off")]
    pub offset: u64,
    /// Bytes that follow, as asked.
    #[serde(rename = "len")]
    pub length: u32,
    /// MD5 of those bytes; left out only if the GET was bare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Md5>,
}

/// MANIFEST: `{req, root, first}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The asker's number for it.
    pub req: u32,
    /// The content.
    pub root: Root,
    /// First piece of the page, counted from 0.
    pub first: u32,
}

/// CVS: `{req, size, first, cvs, tail, left}`: up to 1024 chaining values of 32 bytes, one after
/// the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cvs {
    /// The MANIFEST.
    pub req: u32,
    /// Length of the whole content in bytes.
    pub size: u64,
    /// First piece of the page, as asked.
    pub first: u32,
    /// The values; empty for a content of one piece or none, whose root needs no manifest.
    #[serde(with = "serde_bytes")]
    pub cvs: Vec<u8>,
    /// On the last page: the last 1 to 1024 bytes of the content, its last leaf. Empty if the
    /// source does not prove the size this way.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub tail: Vec<u8>,
    /// The chaining values to the left of that leaf within the last piece, the nearest first, 32
    /// bytes each.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_bytes")]
    pub left: Vec<u8>,
}

/// CANCEL: `{req}`. A request whose answer has begun still ends; a CANCEL is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The request.
    pub req: u32,
}

/// Patterns for the kinds by sender and receiver. A machine names the kinds that it never receives
/// in one word, and a new kind still has to be handled by every match. HELLO, WELCOME, LOGIN,
/// READY, PING, BYE, ERROR, CANCEL and unknown kinds have several directions.
macro_rules! sent_to_super_peers {
    () => {
        $crate::wire::Message::Enroll(_)
            | $crate::wire::Message::Register(_)
            | $crate::wire::Message::Update(_)
            | $crate::wire::Message::Query(_)
            | $crate::wire::Message::List(_)
            | $crate::wire::Message::Status(_)
            | $crate::wire::Message::Join(_)
            | $crate::wire::Message::Leave(_)
    };
}
macro_rules! sent_by_super_peers {
    () => {
        $crate::wire::Message::Enrolled(_)
            | $crate::wire::Message::Revoked(_)
            | $crate::wire::Message::Ack(_)
            | $crate::wire::Message::Hit(_)
            | $crate::wire::Message::Done(_)
            | $crate::wire::Message::Files(_)
            | $crate::wire::Message::Info(_)
            | $crate::wire::Message::Pong(_)
            | $crate::wire::Message::Reach(_)
            | $crate::wire::Message::Peers(_)
    };
}
macro_rules! sent_to_sources {
    () => {
        $crate::wire::Message::Get(_)
            | $crate::wire::Message::Manifest(_)
            | $crate::wire::Message::Follow(_)
            | $crate::wire::Message::Want(_)
    };
}
macro_rules! sent_by_sources {
    () => {
        $crate::wire::Message::Chunk(_)
            | $crate::wire::Message::Cvs(_)
            | $crate::wire::Message::Has(_)
            | $crate::wire::Message::Turn(_)
    };
}
pub(crate) use {sent_by_sources, sent_by_super_peers, sent_to_sources, sent_to_super_peers};

impl Message {
    /// The kind as it is written on the wire, for logs and counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Hello(_) => "HELLO",
            Message::Welcome(_) => "WELCOME",
            Message::Login(_) => "LOGIN",
            Message::Ready(_) => "READY",
            Message::Enroll(_) => "ENROLL",
            Message::Enrolled(_) => "ENROLLED",
            Message::Revoked(_) => "REVOKED",
            Message::Register(_) => "REGISTER",
            Message::Update(_) => "UPDATE",
            Message::Ack(_) => "ACK",
            Message::Query(_) => "QUERY",
            Message::Hit(_) => "HIT",
            Message::Done(_) => "DONE",
            Message::List(_) => "LIST",
            Message::Files(_) => "FILES",
            Message::Status(_) => "STATUS",
            Message::Info(_) => "INFO",
            Message::Ping(_) => "PING",
            Message::Pong(_) => "PONG",
            Message::Reach(_) => "REACH",
            Message::Bye(_) => "BYE",
            Message::Error(_) => "ERROR",
            Message::Get(_) => "GET",
            Message::Chunk(_) => "CHUNK",
            Message::Manifest(_) => "MANIFEST",
            Message::Cvs(_) => "CVS",
            Message::Cancel(_) => "CANCEL",
            Message::Join(_) => "JOIN",
            Message::Peers(_) => "PEERS",
            Message::Leave(_) => "LEAVE",
            Message::Follow(_) => "FOLLOW",
            Message::Has(_) => "HAS",
            Message::Want(_) => "WANT",
            Message::Turn(_) => "TURN",
            Message::Unknown(_) => "unknown",
        }
    }
}
