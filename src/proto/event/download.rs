//! What is reported about one download: its state, its sources, its swarm and its files.

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
    /// Correct pieces that it sent first.
    pub pieces: u32,
    /// Wrong pieces that it sent.
    pub bad: u32,
    /// Its rate lately in bytes per second, once this is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Whether it has only a part of the content, as far as it has said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Its state.
    pub state: SourceState,
    /// The reason for the state, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The swarm of a download, and what this peer has sent to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmReport {
    /// Members, including this peer, as its super peer counts them.
    pub members: u32,
    /// Members that have the complete content.
    pub complete: u32,
    /// Bytes of the content that this peer has sent to others during the download.
    pub sent: u64,
    /// The rate at which it sends, in bytes per second.
    pub up: u64,
    /// Bytes that it has received. `sent` divided by this is the share ratio.
    pub received: u64,
}

/// How one of many files ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemReport {
    /// Its path below the destination, as the command or a source named it.
    pub name: String,
    /// The final path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Bytes of the content. For a failed file: bytes verified.
    pub size: u64,
    /// Identity.
    pub root: Root,
    /// The exit code of a command for this file alone.
    pub exit: u8,
    /// The error, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The sentence about a file that failed, without the path of this file at its start. Files that
/// failed for the same reason have the same cause.
pub fn cause_of<'e>(name: &str, error: &'e str) -> &'e str {
    let after_name = |at: usize| error.get(at + name.len()..)?.strip_prefix(": ");
    error.match_indices(name).find_map(|(at, _)| after_name(at)).unwrap_or(error)
}

/// States of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Known, not dialed yet.
    Idle,
    /// It is being dialed, or the greeting is not complete.
    Connecting,
    /// It sends pieces, or waits for a request.
    Active,
    /// It owes bytes and has sent nothing for 2 seconds.
    Stalled,
    /// It could not be dialed, or has closed the connection. It may be dialed again.
    Lost,
    /// It has sent wrong bytes, or does not have the content. It is not dialed again.
    Dropped,
}

impl SourceState {
    /// Whether it sends nothing now although something was or could be requested.
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
    /// Waiting: milliseconds until it searches again.
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
    /// Running: which other peers have or fetch the content.
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
    /// No source could be used. It searches again later.
    Waiting,
    /// A command has stopped it, or only the user can decide how it continues.
    Paused,
    /// The file is there.
    Done,
    /// It cannot continue by itself.
    Failed,
    /// A command has removed it from the queue before its end.
    Canceled,
}
