//! Messages and records as scripted peers send them. The unit tests, the simulated tests and the
//! fuzz targets share them.

use crate::config::{CHUNK_PORT, PING_INTERVAL};
use crate::proto::Command;
use crate::proto::command::Get;
use crate::wire::message::{
    self, Ack, Bye, Cancel, Chunk, Classes, Cvs, Done, Enroll, Enrolled, Error, ErrorCode, Files, Hello, Hit, Info,
    List, ListedFile, Login, Manifest, Ping, Query, Reach, Ready, Register, Revoked, RevokedKey, Status, Subscribe,
    Update, Welcome,
};
use crate::wire::swarm::{Follow, Has, Join, Leave, Peers, Turn, Want};
use crate::wire::{Cut, FileRecord, HostPort, KeyBytes, Message, NodeId, QueryKind, Root, Search, SharePath};

/// A file whose root and size follow from its path.
///
/// # Panics
/// If the path is invalid.
#[must_use]
pub fn file(path: &str) -> FileRecord {
    let root = Root(*blake3::hash(path.as_bytes()).as_bytes());
    FileRecord { path: SharePath::new(path).expect("a valid path"), size: path.len() as u64, root, collection: false }
}

/// A search of the kind that the pattern suggests, without limits.
#[must_use]
pub fn search(pattern: &str) -> Search {
    Search::new(pattern, QueryKind::of(pattern))
}

/// A command to download what this names into the share, with both digests checked.
#[must_use]
pub fn get(what: &str) -> Command {
    Command::Get(get_of(what))
}

/// The download of [`get`], so that a test can change it.
#[must_use]
pub fn get_of(what: &str) -> Get {
    Get::of(what.to_owned())
}

/// One message of each kind on TCP. Where there is a `req`, it is 7.
///
/// # Panics
/// Never: the texts are valid.
#[must_use]
pub fn one_of_each() -> Vec<Message> {
    let (req, root, seq) = (7, Root([7; 32]), 1);
    let addr = HostPort::new("192.0.2.50", 50_000).expect("a host and a port");
    let path = SharePath::new("a").expect("a valid path");
    let key = KeyBytes([7; 32]);
    let done = Done { req, hits: 0, reached: 1, pruned: 0, complete: true, cut: Cut::NONE, ms: 1 };
    let listed = ListedFile { path, size: 1, root, collection: false, holders: 1, partial: 0 };
    vec![
        hello(),
        Message::Welcome(welcome(addr.clone())),
        login(),
        Message::Ready(Ready { operators: vec![key], credential: None }),
        Message::Enroll(Enroll { user: "ann".into(), token: vec![7; 20] }),
        Message::Enrolled(Enrolled { credential: vec![1; 100] }),
        Message::Revoked(Revoked { list: vec![RevokedKey { key, at: 1 }] }),
        Message::Classes(Classes { list: Vec::new() }),
        register(seq, Vec::new()),
        update(seq, &["a"], &[]),
        Message::Ack(Ack { seq, files: 0 }),
        Message::Query(Query { req, find: search("a"), ttl: None, budget: None, policy: None }),
        Message::Subscribe(Subscribe { req, find: search("a") }),
        Message::Hit(Hit { req, hits: Vec::new() }),
        Message::Done(done),
        Message::List(List { req, after: None, partial: false }),
        Message::Files(Files { req, files: vec![listed], next: None }),
        Message::Status(Status { req }),
        Message::Info(Info { req, ..Info::default() }),
        Message::Ping(Ping { n: req }),
        Message::Pong(Ping { n: req }),
        Message::Reach(Reach { ok: true, addr, why: None }),
        Message::Bye(Bye { why: "done".into() }),
        Message::Error(Error::new(ErrorCode::NOT_FOUND, "not here", Some(req))),
        Message::Get(message::Get { req, root, offset: 0, length: 1, bare: true }),
        Message::Chunk(Chunk { req, offset: 0, length: 1, md5: None }),
        Message::Manifest(Manifest { req, root, first: 0 }),
        Message::Cvs(Cvs { req, size: 1, ..Cvs::default() }),
        Message::Cancel(Cancel { req }),
        Message::Join(Join { req, root, size: 1, path: None, full: false, zone: None, short: false }),
        Message::Peers(Peers { req, peers: Vec::new(), n: 1, full: 0, gateway: None }),
        Message::Leave(Leave { req }),
        Message::Follow(Follow { req, root, zone: None }),
        Message::Has(Has { req, ..Has::default() }),
        Message::Want(Want { req, n: 0, need: false }),
        Message::Turn(Turn { req, next: Vec::new() }),
        Message::Unknown("NEW".into()),
    ]
}

/// The HELLO of a weak peer.
#[must_use]
pub fn hello() -> Message {
    Message::Hello(Hello::new(NodeId([9; 16]), 1, "test".into()))
}

/// The LOGIN of open mode.
#[must_use]
pub fn login() -> Message {
    Message::Login(Login::open())
}

/// A complete REGISTER of these files.
#[must_use]
pub fn register(seq: u64, files: Vec<FileRecord>) -> Message {
    Message::Register(Register { seq, port: CHUNK_PORT, host: None, more_addr: None, http: false, files, more: false })
}

/// An UPDATE that adds and removes these paths.
///
/// # Panics
/// If a path is invalid.
#[must_use]
pub fn update(seq: u64, add: &[&str], del: &[&str]) -> Message {
    let del = del.iter().map(|path| SharePath::new(path).expect("a valid path")).collect();
    Message::Update(Update { seq, add: add.iter().map(|path| file(path)).collect(), del })
}

/// The WELCOME of a super peer or a source that sees its peer at this address.
#[must_use]
pub fn welcome(addr: HostPort) -> Welcome {
    Welcome::new(NodeId([2; 16]), 1, PING_INTERVAL, addr)
}
