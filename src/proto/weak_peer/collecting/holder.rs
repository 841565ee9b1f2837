//! One peer that serves the small files of a collection: its connection, and what it was asked for.
//! It decides nothing.

use std::collections::BTreeMap;

use crate::proto::disk::Missing;
use crate::proto::{ConnId, DialId};
use crate::time::Time;
use crate::wire::HostPort;
use crate::wire::ids::Md5;

/// A file that was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) file: Missing,
    /// From the header of its chunk, once that has come.
    pub(super) begun: Option<Option<Md5>>,
}

/// A peer that serves files.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) addr: HostPort,
    pub(super) dial: Option<DialId>,
    pub(super) conn: Option<ConnId>,
    /// It has sent WELCOME on this connection.
    pub(super) welcomed: bool,
    /// It has sent WELCOME on any: it is a peer for certain.
    pub(super) is_peer: bool,
    /// It counts among the dials of its host.
    pub(super) counted: bool,
    pub(super) asked: BTreeMap<u32, Asked>,
    /// When bytes last came, or a request was made while none was open.
    pub(super) heard_at: Time,
    /// When a file was last complete, or was asked for while none was.
    pub(super) served_at: Time,
    pub(super) losses: u32,
    pub(super) retry_at: Time,
    /// It is not dialed again.
    pub(super) over: bool,
    pub(super) files: u32,
    pub(super) bytes: u64,
}

impl Holder {
    pub(super) fn new(addr: HostPort) -> Holder {
        Holder {
            addr,
            dial: None,
            conn: None,
            welcomed: false,
            is_peer: false,
            counted: false,
            asked: BTreeMap::new(),
            heard_at: Time::ZERO,
            served_at: Time::ZERO,
            losses: 0,
            retry_at: Time::ZERO,
            over: false,
            files: 0,
            bytes: 0,
        }
    }

    /// Whether it is dialed or connected.
    pub(super) fn is_used(&self) -> bool {
        self.dial.is_some() || self.conn.is_some()
    }
}
