//! Messages and records as scripted peers send them: one set for the unit tests, the simulated
//! tests and the fuzz targets.

use crate::config::{CHUNK_PORT, PING_INTERVAL};
use crate::proto::Command;
use crate::proto::command::Get;
use crate::wire::message::{Hello, Login, Register, Update, Welcome};
use crate::wire::{FileRecord, HostPort, Message, NodeId, QueryKind, Root, Search, SharePath};

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

/// A download of what this names, into the share, with both digests.
#[must_use]
pub fn get(what: &str) -> Command {
    Command::Get(get_of(what))
}

/// The same, to be changed.
#[must_use]
pub fn get_of(what: &str) -> Get {
    Get::of(what.to_owned())
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

/// The WELCOME of a super peer or a source, which saw its peer at this address.
#[must_use]
pub fn welcome(addr: HostPort) -> Welcome {
    Welcome::new(NodeId([2; 16]), 1, PING_INTERVAL, addr)
}
