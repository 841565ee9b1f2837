//! What a machine tells clients and the log. The serde form of [`ClientEvent`] is that of `--json` and of the control socket:
//! `{"event": "hit", …}`, to which the writer adds `"v": 1` and the time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ClientId;
use crate::error::Failure;
use crate::wire::{Cut, HostPort, Root};

/// News.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// For one client.
    Client {
        /// Who asked.
        client: ClientId,
        /// What there is to tell.
        event: ClientEvent,
    },
    /// The session with this super peer is welcomed and the file list is on its way.
    Welcomed {
        /// The super peer, as it was given.
        super_peer: HostPort,
    },
    /// The session is gone; the next super peer is tried.
    SessionLost {
        /// The super peer, as it was given.
        super_peer: HostPort,
        /// For people.
        why: String,
    },
    /// A link to a neighbour came up or went down.
    Link {
        /// The neighbour.
        neighbor: std::net::SocketAddr,
        /// Whether it is up now.
        up: bool,
    },
    /// The machine cannot go on: end the process with this.
    Fatal(Failure),
    /// A line for the log.
    Log {
        /// How important.
        level: log::Level,
        /// For people.
        text: String,
    },
}

/// One line for a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ClientEvent {
    /// A file that fits, and one source of it.
    Hit {
        /// Last component of the path.
        name: String,
        /// Path in the source's share.
        path: String,
        /// Bytes.
        size: u64,
        /// Identity.
        root: Root,
        /// Where the source serves chunks.
        source: HostPort,
    },
    /// The hits of one content together, ranked: what `query --json` says behind the last hit.
    Result {
        /// Place among the results, from 1: exact names first, then by the number of sources.
        rank: usize,
        /// A name of it.
        name: String,
        /// Bytes.
        size: u64,
        /// Identity.
        root: Root,
        /// Who serves it.
        sources: Vec<HostPort>,
    },
    /// A registered file.
    File {
        /// Last component of the path.
        name: String,
        /// Path in its holders' shares.
        path: String,
        /// Bytes.
        size: u64,
        /// Identity.
        root: Root,
        /// How many peers hold it.
        holders: u32,
    },
    /// A content of the network: `list --network`.
    Content {
        /// Identity.
        root: Root,
        /// Bytes.
        size: u64,
        /// How many peers hold it, by their addresses.
        sources: u32,
        /// What they call it, the most frequent first; at most [`crate::config::LIST_NAMES_MAX`].
        names: Vec<String>,
    },
    /// A download has begun: its content is chosen.
    Start {
        /// Sanitised name.
        name: String,
        /// Bytes.
        size: u64,
        /// Identity.
        root: Root,
        /// Sources known so far.
        sources: usize,
        /// Bytes that an earlier run had fetched and that are right.
        resumed: u64,
    },
    /// A piece was received and verified.
    Piece {
        /// Which, counted from 0.
        index: u32,
        /// From whom.
        source: HostPort,
        /// Bytes.
        bytes: u32,
        /// Milliseconds since the download began.
        elapsed_ms: u64,
    },
    /// How far a download is; at most two a second.
    Progress {
        /// Bytes verified.
        bytes: u64,
        /// Bytes in all.
        size: u64,
        /// Bytes a second over the last few seconds.
        rate: u64,
        /// Every source that is or was in use.
        sources: Vec<SourceReport>,
    },
    /// A source changed its state.
    Source(SourceReport),
    /// How the peer and its super peer are.
    Status {
        /// Which super peer, if the session is up.
        #[serde(rename = "super", default, skip_serializing_if = "Option::is_none")]
        super_peer: Option<HostPort>,
        /// Names and counts of this peer; empty for a one-shot command.
        peer: BTreeMap<String, u64>,
        /// Names and counts of the super peer.
        super_counts: BTreeMap<String, u64>,
    },
    /// Something a person should know.
    Note {
        /// What.
        message: String,
    },
    /// Always last, exactly once.
    Done(Outcome),
}

impl ClientEvent {
    /// In a status, the counts of the node that answers, to which its driver adds what it counts itself. A one-shot command
    /// has none.
    pub fn own_counts(&mut self) -> Option<&mut BTreeMap<String, u64>> {
        let ClientEvent::Status { super_peer, peer, super_counts } = self else { return None };
        let own = if peer.is_empty() && super_peer.is_none() { super_counts } else { peer };
        (!own.is_empty()).then_some(own)
    }
}

/// One source of one download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Where it serves chunks.
    pub source: HostPort,
    /// Bytes received from it, wasted ones included.
    pub bytes: u64,
    /// Pieces of it that were right and first.
    pub pieces: u32,
    /// Pieces of it that were wrong.
    pub bad: u32,
    /// What it is doing.
    pub state: SourceState,
    /// Why, where the state has a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// States of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Known, not tried.
    Idle,
    /// Being dialled.
    Connecting,
    /// Sending pieces, or waiting for us to ask.
    Active,
    /// Sent nothing for a while.
    Stalled,
    /// Could not be reached, or closed; may be tried again.
    Lost,
    /// Sent wrong bytes or has not got the content: not tried again.
    Dropped,
}

/// How a command ended. Which fields are there depends on the command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether `exit` is 0.
    pub ok: bool,
    /// The exit code.
    pub exit: u8,
    /// For people, if not ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Query, list of a network: hits told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hits: Option<u32>,
    /// Query: super peers that searched their index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<u32>,
    /// Query: super peers that need not be asked, by their digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<u32>,
    /// Query: whether nothing was cut for any reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// Query: what was cut, by reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// List: files told; of a network, contents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Get: the final path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Get: the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Get: its length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Get: bytes that did not have to be fetched again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<u64>,
    /// Milliseconds from the command to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// Get: every source that was in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<SourceReport>>,
}

impl Outcome {
    /// An outcome with nothing but its code and sentence.
    #[must_use]
    pub fn failed(failure: &Failure) -> Outcome {
        Outcome { ok: false, exit: failure.exit.code(), error: Some(failure.message.clone()), ..Outcome::default() }
    }
}
