//! What will happen in a [`super::World`]: the entries of its queue.

use std::net::SocketAddr;

use super::content::Extent;
use super::tcp::Segment;
use crate::proto::{ClientId, CloseReason, Command, ConnId, DialId, Digests, DiskDone, DiskWork};
use crate::wire::{HostPort, SharePath};

/// What will happen.
#[derive(Debug)]
pub(super) enum Happening {
    Wake {
        node: usize,
    },
    Datagram {
        to: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Dial {
        node: usize,
        life: u64,
        dial: DialId,
        to: HostPort,
    },
    /// A connection attempt timed out.
    DialFailed {
        node: usize,
        life: u64,
        dial: DialId,
        why: &'static str,
    },
    Accepted {
        dialer: usize,
        life: u64,
        dial: DialId,
        link: usize,
        serial: u64,
    },
    Segment {
        link: usize,
        serial: u64,
        end: usize,
        segment: Segment,
    },
    /// More may be ready to read.
    Pump {
        link: usize,
        serial: u64,
        end: usize,
    },
    Sent {
        node: usize,
        life: u64,
        conn: ConnId,
        req: u32,
    },
    Closed {
        node: usize,
        life: u64,
        conn: ConnId,
        why: CloseReason,
    },
    /// A connection reached a node that was busy.
    Came {
        node: usize,
        life: u64,
        conn: ConnId,
        from: SocketAddr,
    },
    /// A command reached a node that was busy.
    Command {
        node: usize,
        life: u64,
        client: ClientId,
        command: Command,
    },
    /// A payload that could not be sent timed out.
    Stuck {
        link: usize,
        serial: u64,
        end: usize,
    },
    /// A node that was paused resumes.
    Resume {
        node: usize,
    },
    /// The watcher of a share reports a file that changed.
    Looked {
        node: usize,
        life: u64,
        path: SharePath,
    },
    /// The disk starts on a piece of work.
    Work {
        node: usize,
        life: u64,
        work: DiskWork,
    },
    Hashed {
        node: usize,
        life: u64,
        conn: ConnId,
        req: u32,
        extent: Extent,
        digests: Digests,
    },
    Disk {
        node: usize,
        life: u64,
        done: DiskDone,
    },
}
