//! What will happen in a [`super::World`]: the entries of its queue.

use std::net::SocketAddr;

use super::content::Extent;
use super::tcp::Segment;
use crate::proto::{ClientId, CloseReason, Command, ConnId, DialCause, DialId, Digests, DiskDone, DiskWork, ResolveId};
use crate::time::Time;
use crate::trust::PublicKey;
use crate::wire::{HostPort, SharePath};

/// What will happen. `life` is the run of the node for which it was scheduled, `serial` the
/// connection of that link.
#[derive(Debug)]
pub(super) enum Happening {
    // A node wakes up, or resumes after a pause.
    Wake { node: usize },
    Resume { node: usize },
    Datagram { to: usize, from: SocketAddr, bytes: Vec<u8> },
    // A dial, the answer for a host name, an attempt that timed out, a connection at its dialer.
    Dial { node: usize, life: u64, dial: DialId, to: HostPort },
    Resolve { node: usize, life: u64, id: ResolveId, name: HostPort },
    DialFailed { node: usize, life: u64, dial: DialId, why: &'static str, cause: DialCause },
    Accepted { dialer: usize, life: u64, dial: DialId, link: usize, serial: u64 },
    // An end of a connection: something arrives, more may be ready to read, a payload that could
    // not be sent timed out.
    Segment { link: usize, serial: u64, end: usize, segment: Segment },
    Pump { link: usize, serial: u64, end: usize },
    Stuck { link: usize, serial: u64, end: usize },
    // The other end does not read: its send queue is a backlog, or full or too old; the time for a
    // frame that began then is over.
    Unread { link: usize, serial: u64, end: usize, full: bool },
    SlowFrame { link: usize, serial: u64, end: usize, since: Time },
    Sent { node: usize, life: u64, conn: ConnId, req: u32 },
    Closed { node: usize, life: u64, conn: ConnId, why: CloseReason },
    // A connection and a command that reached a node that was busy.
    Came { node: usize, life: u64, conn: ConnId, from: SocketAddr, key: Option<PublicKey> },
    Command { node: usize, life: u64, client: ClientId, command: Command },
    // The watcher of a share reports a file that changed; the disk starts on a piece of work, has
    // hashed a payload, answers.
    Looked { node: usize, life: u64, path: SharePath },
    Work { node: usize, life: u64, work: DiskWork },
    Hashed { node: usize, life: u64, conn: ConnId, req: u32, extent: Extent, digests: Digests },
    Disk { node: usize, life: u64, done: DiskDone },
}
