//! The messages on TCP: sessions between a weak peer and its super peer, and chunk connections
//! between peers.
//!
//! Each message is a map with one entry, `{KIND: {fields}}`. `req` numbers a request: the asker
//! chooses the number, which must be unique on its connection while the request runs. PROTOCOL.md
//! has the tables, and test vectors.

use serde::{Deserialize, Serialize};

pub use super::chunks::{Chunk, Cvs, Get, Manifest};
pub use super::login::{ClassRate, Classes, Enroll, Enrolled, Hello, Login, Mode, Ready, Revoked, RevokedKey, Welcome};
pub use super::session::{
    Ack, Done, FEATURE_REACH, Files, Hit, Info, LinkRow, LinkState, List, ListedFile, Query, Reach, Register,
    SourceRecord, Status, Subscribe, Update,
};
use super::swarm::{Follow, Has, Join, Leave, Peers, Turn, Want};

/// Every message that may travel on TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Message {
    /// The first message on every connection, from the dialer.
    Hello(Hello),
    /// The answer to HELLO.
    Welcome(Welcome),
    /// Session, and in login mode also chunk connection: the mode, and in login mode the credential
    /// of the peer.
    Login(Login),
    /// The login was accepted.
    Ready(Ready),
    /// Session: asks for a credential with the token of an invitation.
    Enroll(Enroll),
    /// Session: the requested credential.
    Enrolled(Enrolled),
    /// Session: keys whose credentials are no longer valid.
    Revoked(Revoked),
    /// Session: the classes of accounts, and what a peer may send to each.
    Classes(Classes),
    /// Session: a page of the complete file list, and where chunks are served.
    Register(Register),
    /// Session: files that were added and removed.
    Update(Update),
    /// Session: the files of a REGISTER or UPDATE are in the index.
    Ack(Ack),
    /// Session: a search begins.
    Query(Query),
    /// Session: a standing search, for files that are registered from now on.
    Subscribe(Subscribe),
    /// Session: some hits of a search.
    Hit(Hit),
    /// Session: the search is over.
    Done(Done),
    /// Session: asks for a page of the files that are registered here.
    List(List),
    /// Session: a page of these files.
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
    /// Chunk connection: a page of chaining values.
    Cvs(Cvs),
    /// The asker no longer needs the request.
    Cancel(Cancel),
    /// Session: the peer needs or has a content, and asks which other peers do.
    Join(Join),
    /// Session: some of these peers.
    Peers(Peers),
    /// Session: ends a JOIN.
    Leave(Leave),
    /// Chunk connection: asks which pieces of a content the source has, now and later.
    Follow(Follow),
    /// Chunk connection: pieces that the source has.
    Has(Has),
    /// Chunk connection: how many pieces the asker could request now.
    Want(Want),
    /// Chunk connection: the receiver may request one piece.
    Turn(Turn),
    /// A kind that this version does not know. It is never sent: the decoder makes it.
    #[serde(skip)]
    Unknown(String),
}

/// PING and PONG: `{n}`. The answer repeats the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Any number.
    pub n: u32,
}

/// BYE: `{why}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// The reason, for people.
    pub why: String,
}

/// ERROR: `{code, message, req, retry}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// The code, for programs.
    pub code: ErrorCode,
    /// The text, for people.
    pub message: String,
    /// The request that failed; absent if the ERROR is about the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<u32>,
    /// With [`ErrorCode::BUSY`]: the least time in milliseconds before the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<u32>,
}

impl Error {
    /// An ERROR about the request with this number, or about the connection.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>, req: Option<u32>) -> Error {
        Error { code, message: message.into(), req, retry: None }
    }
}

/// The code of an ERROR, which is a number on the wire. Unknown values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// A fault of the sender itself.
    pub const INTERNAL: ErrorCode = ErrorCode(1);
    /// The frame is not a message: it is not MessagePack, has wrong fields, has bytes after the
    /// message, or is nested too deep.
    pub const MALFORMED: ErrorCode = ErrorCode(2);
    /// The content or request is not known here.
    pub const NOT_FOUND: ErrorCode = ErrorCode(3);
    /// No HELLO or LOGIN came in time, or nothing came for too long.
    pub const DEADLINE: ErrorCode = ErrorCode(4);
    /// There is no room now. Try again later or elsewhere.
    pub const BUSY: ErrorCode = ErrorCode(5);
    /// The file has changed or can no longer be read.
    pub const CHANGED: ErrorCode = ErrorCode(6);
    /// The login was rejected: there is no credential, it is not valid here, or the node id is not
    /// that of the key.
    pub const LOGIN: ErrorCode = ErrorCode(7);
    /// The message is known but not allowed in this state.
    pub const ORDER: ErrorCode = ErrorCode(8);
    /// The frame is longer than the state allows.
    pub const TOO_LONG: ErrorCode = ErrorCode(9);
    /// The other side has another major version.
    pub const VERSION: ErrorCode = ErrorCode(10);
    /// The kind is not known. The connection stays open.
    pub const UNKNOWN_KIND: ErrorCode = ErrorCode(11);
    /// A cap of the receiver was reached.
    pub const LIMIT: ErrorCode = ErrorCode(12);
    /// The receiver cannot use the pattern, range, number or kind of search of a request.
    pub const BAD_REQUEST: ErrorCode = ErrorCode(13);
    /// The receiver is in the other mode.
    pub const MODE: ErrorCode = ErrorCode(14);
    /// The account was revoked.
    pub const REVOKED: ErrorCode = ErrorCode(15);
    /// The credential is no longer valid.
    pub const EXPIRED: ErrorCode = ErrorCode(16);
    /// The invitation is unknown, used or expired.
    pub const INVITATION: ErrorCode = ErrorCode(17);

    /// Whether this code rejects a login for good. Another attempt needs another mode, key,
    /// credential or invitation.
    #[must_use]
    pub fn is_login(self) -> bool {
        let codes = [ErrorCode::LOGIN, ErrorCode::MODE, ErrorCode::REVOKED, ErrorCode::EXPIRED, ErrorCode::INVITATION];
        codes.contains(&self)
    }
}

/// CANCEL: `{req}`. It has no answer. It ends a QUERY, SUBSCRIBE or FOLLOW at once. If the answer
/// to a GET or MANIFEST has begun, the source completes this answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The request.
    pub req: u32,
}

/// Patterns for the kinds, by sender and receiver. With them, a match need not name each kind that
/// its machine never receives, and the compiler still requires every match to handle a new kind.
/// HELLO, WELCOME, LOGIN, READY, PING, BYE, ERROR, CANCEL and unknown kinds go in several
/// directions, and are in no pattern. PONG counts as sent by super peers only: a weak peer sends it
/// only if a super peer sends PING, and sprat's super peers do not.
macro_rules! sent_to_super_peers {
    () => {
        $crate::wire::Message::Enroll(_)
            | $crate::wire::Message::Register(_)
            | $crate::wire::Message::Update(_)
            | $crate::wire::Message::Query(_)
            | $crate::wire::Message::Subscribe(_)
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
            | $crate::wire::Message::Classes(_)
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
    /// The name of the kind on the wire, for logs and counters.
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
            Message::Classes(_) => "CLASSES",
            Message::Register(_) => "REGISTER",
            Message::Update(_) => "UPDATE",
            Message::Ack(_) => "ACK",
            Message::Query(_) => "QUERY",
            Message::Subscribe(_) => "SUBSCRIBE",
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
