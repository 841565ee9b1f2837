//! One peer that serves small files: its connection, and the files that were requested from it. It
//! decides nothing.

use std::collections::BTreeMap;

use crate::proto::disk::Missing;
use crate::proto::weak_peer::contact::Contact;
use crate::proto::{ConnId, DialId};
use crate::time::Time;
use crate::wire::ids::Md5;
use crate::wire::{HostPort, NodeId};

/// A file that was requested.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) file: Missing,
    /// The MD5 in the header of its chunk, once the header has come.
    pub(super) begun: Option<Option<Md5>>,
}

/// A peer that serves files.
#[derive(Debug)]
pub(super) struct Holder {
    /// The address at which it is dialed now.
    pub(super) addr: HostPort,
    /// Its other address, which is dialed in turn, and its node, both as hits say.
    pub(super) other: Option<HostPort>,
    pub(super) node: Option<NodeId>,
    pub(super) dial: Option<DialId>,
    pub(super) conn: Option<ConnId>,
    /// Whether it has sent WELCOME on this connection.
    pub(super) welcomed: bool,
    /// Whether it has sent WELCOME on any connection. If so, it is certainly a peer.
    pub(super) is_peer: bool,
    /// Whether it is counted among the dials of its host.
    pub(super) counted: bool,
    pub(super) asked: BTreeMap<u32, Asked>,
    /// When bytes last came, or when a request was made while no request was open.
    pub(super) heard_at: Time,
    /// When a file was last complete, or when one was requested while no request was open.
    pub(super) served_at: Time,
    pub(super) losses: u32,
    pub(super) retry_at: Time,
    /// Whether it must not be dialed again.
    pub(super) over: bool,
    pub(super) files: u32,
    pub(super) bytes: u64,
}

impl Holder {
    pub(super) fn new(at: Contact) -> Holder {
        Holder {
            addr: at.addr,
            other: at.other,
            node: at.node,
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

    /// Adds what another hit with the same address says about it.
    pub(super) fn merge(&mut self, hit: Contact) {
        if self.node != hit.node {
            self.node = None;
        }
        self.other = self.other.take().or(hit.other);
    }

    /// Its addresses, for a download.
    pub(super) fn contact(&self) -> Contact {
        Contact { addr: self.addr.clone(), other: self.other.clone(), node: self.node, unreached: false }
    }

    /// Switches to its other address. Returns whether it has one.
    pub(super) fn turn(&mut self) -> bool {
        let Some(other) = &mut self.other else { return false };
        std::mem::swap(&mut self.addr, other);
        true
    }

    /// Whether it is dialed or connected.
    pub(super) fn is_used(&self) -> bool {
        self.dial.is_some() || self.conn.is_some()
    }
}
