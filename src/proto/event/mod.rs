//! What a machine reports to clients and to the log. The serde form of [`ClientEvent`] is what
//! `--json` and the control socket write: `{"event": "hit", …}`. The writer adds `"v": 1` and the
//! time.

mod client;
mod download;
mod status;

use super::ConnId;
use super::command::ClientId;
use crate::error::Failure;
use crate::trust::{Credential, Pin, PublicKey};
use crate::wire::{Cut, HostPort, NodeId, Search};
pub use client::{ClientEvent, Outcome, UserRow};
pub use download::{DownloadReport, DownloadState, ItemReport, SourceReport, SourceState, SwarmReport, cause_of};
pub use status::{PeerStatus, SuperState, SuperStatus, UploadPeer, UploadReport};

/// A report of a machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// For one client.
    Client {
        /// The client that asked.
        client: ClientId,
        /// The event.
        event: ClientEvent,
    },
    /// A session is up, and the file list is being sent.
    Welcomed {
        /// The super peer, as it was given.
        super_peer: HostPort,
        /// Its node.
        node: Option<NodeId>,
    },
    /// A session is lost. The next super peer is tried.
    SessionLost {
        /// The super peer, as it was given.
        super_peer: HostPort,
        /// The reason, for people.
        why: String,
    },
    /// At a weak peer: whether it stays in the swarm of a content that it has completed. This event
    /// comes before the end of the command.
    Lingers(bool),
    /// At a weak peer: a super peer has given a credential to this node. It must be stored.
    Enrolled {
        /// The super peer.
        super_peer: Pin,
        /// The credential.
        credential: Credential,
    },
    /// At a weak peer: from now on a super peer must prove this key. The key must be stored.
    SuperKey {
        /// The super peer, with the key.
        super_peer: Pin,
        /// The key that it had to prove before, if one was known.
        before: Option<PublicKey>,
    },
    /// A link to a neighbor came up or went down.
    Link {
        /// The neighbor, as it is configured.
        neighbor: HostPort,
        /// The address of the neighbor, or its last address.
        at: Option<std::net::SocketAddr>,
        /// Whether the link is up now.
        up: bool,
    },
    /// At a super peer: how many peers have registered files. The number is stored in the state.
    /// This event comes some seconds after a change.
    Sharing {
        /// The number.
        peers: usize,
    },
    /// At a super peer: a peer that serves files came or left. There are at most
    /// [`crate::config::PEERS_REPORTED_PER_SECOND`] of these events in a second.
    Peer(PeerReport),
    /// At a super peer: in the last second, more peers came or left than were reported one by one.
    MorePeers {
        /// How many more came.
        came: u64,
        /// How many more left.
        left: u64,
    },
    /// At a super peer that reports queries: a session has sent a query.
    Asked {
        /// The session.
        session: ConnId,
        /// The number of the query in its session.
        req: u32,
        /// What it looks for.
        search: Search,
    },
    /// At a super peer that reports queries: the query of a session is answered.
    Answered {
        /// The session.
        session: ConnId,
        /// The number of the query in its session.
        req: u32,
        /// Hits that were sent.
        hits: u32,
        /// Super peers that searched.
        reached: u32,
        /// What was cut.
        cut: Cut,
        /// How long it took, in milliseconds.
        ms: u32,
    },
    /// At a weak peer: files were added to its share, changed in it, or removed from it. Changes
    /// that come soon after each other are reported together.
    Share {
        /// Files on offer now.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// Files that are new or changed.
        added: u64,
        /// Files that are gone.
        removed: u64,
    },
    /// A download of the queue begins to fetch, ends, or waits for a source.
    Download(DownloadReport),
    /// A source of a download of the queue is lost, has stalled or is dropped.
    Source {
        /// The number of the download.
        download: u64,
        /// The source.
        report: SourceReport,
    },
    /// The machine cannot continue: the process must end with this failure.
    Fatal(Failure),
    /// A line for the log.
    Log {
        /// How important it is.
        level: log::Level,
        /// The line, for people.
        text: String,
    },
}

/// A peer that serves files, as its super peer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// Where it serves them.
    pub addr: HostPort,
    /// Its node id.
    pub node: NodeId,
    /// How many files it has registered; none while its list is not complete.
    pub files: Option<u64>,
    /// Why it left; none if it came.
    pub left: Option<String>,
}
