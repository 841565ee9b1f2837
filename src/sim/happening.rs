//! The events of a [`super::World`], which wait in its queue.

use std::net::SocketAddr;

use super::content::Extent;
use super::tcp::Segment;
use crate::proto::{ClientId, CloseReason, Command, ConnId, DialCause, DialId, Digests, DiskDone, DiskWork, ResolveId};
use crate::time::Time;
use crate::trust::PublicKey;
use crate::wire::{HostPort, SharePath};

/// An event. `life` is the run of the node for which it was scheduled. `serial` is the connection
/// that used the link then.
#[derive(Debug)]
pub(super) enum Happening {
    // A node wakes up, or continues after a pause.
    Wake { node: usize },
    Resume { node: usize },
    Datagram { to: usize, from: SocketAddr, bytes: Vec<u8> },
    // Of a dial: its start, the answer for a host name, an attempt that timed out, and the
    // connection at its dialer.
    Dial { node: usize, life: u64, dial: DialId, to: HostPort },
    Resolve { node: usize, life: u64, id: ResolveId, name: HostPort },
    DialFailed { node: usize, life: u64, dial: DialId, why: &'static str, cause: DialCause },
    Accepted { dialer: usize, life: u64, dial: DialId, link: usize, serial: u64 },
    // At an end of a connection: a segment arrives, more may be ready to read, or a payload that
    // could not be sent times out.
    Segment { link: usize, serial: u64, end: usize, segment: Segment },
    Pump { link: usize, serial: u64, end: usize },
    Stuck { link: usize, serial: u64, end: usize },
    // The other end does not read, so the send queue is a backlog, is full or is too old. Or the
    // time for a frame that began then is over.
    Unread { link: usize, serial: u64, end: usize, full: bool },
    SlowFrame { link: usize, serial: u64, end: usize, since: Time },
    Sent { node: usize, life: u64, conn: ConnId, req: u32 },
    Closed { node: usize, life: u64, conn: ConnId, why: CloseReason },
    // A connection or a command has reached a node that was busy.
    Came { node: usize, life: u64, conn: ConnId, from: SocketAddr, key: Option<PublicKey> },
    Command { node: usize, life: u64, client: ClientId, command: Command },
    // The watcher of a share reports a changed file. Or the disk begins a piece of work, has hashed
    // a payload, or answers.
    Looked { node: usize, life: u64, path: SharePath },
    Work { node: usize, life: u64, work: DiskWork },
    Hashed { node: usize, life: u64, conn: ConnId, req: u32, extent: Extent, digests: Digests },
    Disk { node: usize, life: u64, done: DiskDone },
}
