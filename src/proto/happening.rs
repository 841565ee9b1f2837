//! The numbered events of a node, which its page and its control socket report. Their serde form is
//! what both write: `{"kind": "link", …}`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::event::{DownloadState, Event, PeerReport, SourceState};
use crate::wire::{HostPort, NodeId};

/// An event of a node, as the page and the control socket report it. A field without a value is
/// absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happening {
    /// At a weak peer: a session is up.
    Welcomed {
        /// The super peer, as it was given.
        #[serde(rename = "super")]
        super_peer: HostPort,
    },
    /// At a weak peer: a session is lost.
    SessionLost {
        /// The super peer, as it was given.
        #[serde(rename = "super")]
        super_peer: HostPort,
        /// The reason, for people.
        why: String,
    },
    /// At a super peer: a link came up or went down.
    Link {
        /// The neighbor, as it is configured.
        neighbor: HostPort,
        /// The address of the neighbor, or its last address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<SocketAddr>,
        /// Whether the link is up now.
        up: bool,
    },
    /// At a super peer: a peer that serves files came or left.
    Peer {
        /// Where it serves them.
        peer: HostPort,
        /// Its node.
        node: NodeId,
        /// How many files it has registered, once its list is complete.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<u64>,
        /// Why it left; absent if it came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<String>,
    },
    /// At a super peer: the peers that came and left in the last second and were not reported one
    /// by one.
    MorePeers {
        /// How many more came.
        came: u64,
        /// How many more left.
        left: u64,
    },
    /// At a weak peer: its share has changed.
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
    /// At a weak peer: a download of the queue has changed its state.
    Download {
        /// Its number.
        id: u64,
        /// Its state.
        state: DownloadState,
        /// The name or root that the command gave.
        what: String,
        /// The name of the file, once it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Bytes of the content, once they are known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// Bytes verified.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        /// Waiting or failed: the reason, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// At a weak peer: a source of a download is lost, has stalled or is dropped.
    Source {
        /// The number of the download.
        download: u64,
        /// Where it serves chunks.
        source: HostPort,
        /// Its state.
        state: SourceState,
        /// Wrong pieces that it sent.
        bad: u32,
        /// The reason, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A line of the log, of level `info` or above.
    Log {
        /// `error`, `warn` or `info`.
        level: String,
        /// The line, for people.
        text: String,
    },
}

impl Happening {
    /// The event as the page and the control socket report it; none if they do not report it.
    #[must_use]
    pub fn of(event: &Event) -> Option<Happening> {
        Some(match event.clone() {
            Event::Welcomed { super_peer, .. } => Happening::Welcomed { super_peer },
            Event::SessionLost { super_peer, why } => Happening::SessionLost { super_peer, why },
            Event::Link { neighbor, at, up } => Happening::Link { neighbor, at, up },
            Event::Peer(PeerReport { addr, node, files, left }) => Happening::Peer { peer: addr, node, files, left },
            Event::MorePeers { came, left } => Happening::MorePeers { came, left },
            Event::Share { files, bytes, added, removed } => Happening::Share { files, bytes, added, removed },
            Event::Download(report) => Happening::Download {
                id: report.id,
                state: report.state,
                what: report.what,
                name: report.name,
                size: report.size,
                bytes: report.bytes,
                error: report.error,
            },
            Event::Source { download, report } => Happening::Source {
                download,
                source: report.source,
                state: report.state,
                bad: report.bad,
                why: report.why,
            },
            Event::Log { level, text } if level <= log::Level::Info => {
                Happening::Log { level: level.as_str().to_ascii_lowercase(), text }
            }
            Event::Client { .. }
            | Event::Enrolled { .. }
            | Event::SuperKey { .. }
            | Event::Sharing { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::Fatal(_)
            | Event::Lingers(_)
            | Event::Log { .. } => return None,
        })
    }
}
