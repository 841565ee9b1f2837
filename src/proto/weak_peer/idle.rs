//! Chunk connections that one small file no longer needs and that the next one may use. On each of
//! them HELLO and WELCOME were exchanged, and no request is open. It owns no file and dials
//! nothing.

use std::collections::BTreeMap;

use super::contact::Contact;
use crate::config::IDLE_CONNS_MAX;
use crate::proto::ConnId;
use crate::wire::HostPort;

/// All connections that are kept, with their addresses.
#[derive(Debug, Default)]
pub(super) struct IdleConns(BTreeMap<ConnId, HostPort>);

impl IdleConns {
    /// Whether a connection to this source is kept.
    pub(super) fn has(&self, at: &Contact) -> bool {
        self.0.values().any(|kept| *kept == at.addr || Some(kept) == at.other.as_ref())
    }

    /// Keeps a connection. Returns false if there is no room for it.
    pub(super) fn put(&mut self, addr: &HostPort, conn: ConnId) -> bool {
        let room = self.0.len() < IDLE_CONNS_MAX;
        if room {
            self.0.insert(conn, addr.clone());
        }
        room
    }

    /// Takes out a connection to this address.
    pub(super) fn take(&mut self, addr: &HostPort) -> Option<ConnId> {
        let conn = self.0.iter().find(|(_, kept)| *kept == addr).map(|(conn, _)| *conn)?;
        self.0.remove(&conn);
        Some(conn)
    }

    /// A connection is closed.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.0.remove(&conn);
    }

    /// Takes out all connections.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = ConnId> {
        std::mem::take(&mut self.0).into_keys()
    }
}
