//! Bytes and their meaning: messages, datagrams, frames, and the names in them. It does no I/O and
//! keeps no state.
//!
//! Bytes become types here, at the edge, so that the machines have nothing left to validate.
//! PROTOCOL.md describes the same formats for people.

pub mod addr;
mod chunks;
mod codec;
pub mod collection;
pub mod envelope;
mod error;
pub mod frame;
pub mod ids;
pub mod link;
mod lists;
mod login;
pub mod message;
pub mod name;
mod pack;
pub mod position;
pub mod record;
mod session;
pub mod swarm;
mod unpack;
pub mod uri;

pub use addr::HostPort;
pub use error::WireError;
pub use ids::{Cv, KeyBytes, Md5, NodeId, QueryId, Root};
pub use link::{LinkMessage, TreeName};
pub use message::Message;
pub use record::{Cut, FileRecord, Policy, QueryKind, Search, SharePath};
pub use uri::Uri;
