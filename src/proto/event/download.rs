//! What is reported of one download: its state, its sources, its swarm and its files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::wire::{HostPort, Root};

/// One source of one download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Where it serves chunks.
    pub source: HostPort,
    /// Bytes received from it, including discarded ones.
    pub bytes: u64,
    /// Pieces from it that were right and came first.
    pub pieces: u32,
    /// Pieces from it that were wrong.
    pub bad: u32,
    /// Bytes per second that it has sent lately, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// It has only a part of the content, as far as it has said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Its state.
    pub state: SourceState,
    /// The reason for the state, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The swarm of a download, and what this peer has given to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmReport {
    /// Members, this peer included, as its super peer counts them.
    pub members: u32,
    /// Those of them that have the complete content.
    pub complete: u32,
    /// Bytes of the content that this peer has sent to others during the download.
    pub sent: u64,
    /// Bytes per second that it sends.
    pub up: u64,
    /// Bytes that it has received. `sent` over this is the share ratio.
    pub received: u64,
}

/// How one of many files ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemReport {
    /// Its path below the destination, as it was named.
    pub name: String,
    /// The final path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Bytes of the content; of a failed file, bytes verified.
    pub size: u64,
    /// Identity.
    pub root: Root,
    /// The exit code that a command for this file alone would have.
    pub exit: u8,
    /// The error, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// States of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Known, not dialed yet.
    Idle,
    /// Being dialed, or greeted.
    Connecting,
    /// Sends pieces, or waits for a request.
    Active,
    /// Owes bytes and has sent nothing for 2 seconds.
    Stalled,
    /// Could not be dialed, or closed the connection; may be dialed again.
    Lost,
    /// Sent wrong bytes or does not have the content; is not dialed again.
    Dropped,
}

impl SourceState {
    /// Whether it sends nothing now, and not because nothing was asked of it.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        match self {
            SourceState::Idle | SourceState::Connecting | SourceState::Active => false,
            SourceState::Stalled | SourceState::Lost | SourceState::Dropped => true,
        }
    }
}

/// An entry of the queue of downloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadReport {
    /// Its number.
    pub id: u64,
    /// Its state.
    pub state: DownloadState,
    /// What the command named.
    pub what: String,
    /// The name of the file, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The content, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// The destination, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Bytes of the content, once they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes verified when it last ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Running: bytes per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Waiting: milliseconds until it asks again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
    /// Waiting, failed, or paused until the user decides: the reason, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The exit code of the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// The sources that it uses, or used when it last ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceReport>,
    /// Running: who else has or fetches the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<SwarmReport>,
}

/// States of a download in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownloadState {
    /// Runs when its turn comes.
    Queued,
    /// Searches, fetches or publishes.
    Running,
    /// No source could be used; it asks again later.
    Waiting,
    /// Stopped by a command, or because only the user can say how it goes on.
    Paused,
    /// The file is there.
    Done,
    /// It cannot go on by itself.
    Failed,
}
