//! What a running peer reports of itself in a status.

use serde::{Deserialize, Serialize};

use super::download::DownloadReport;
use crate::proto::command::RateLimits;
use crate::wire::{HostPort, Root};

/// What a running peer reports of itself in a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its `--name`; its driver knows it.
    #[serde(default)]
    pub name: String,
    /// Program and version.
    pub agent: String,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// The addresses under which its super peers offer it to others, each once.
    pub addresses: Vec<HostPort>,
    /// Its super peers: those of its sessions, then the others of its list.
    pub supers: Vec<SuperStatus>,
    /// How much it sends and receives at most.
    #[serde(default)]
    pub limits: RateLimits,
    /// The downloads of the queue that have not ended.
    pub downloads: Vec<DownloadReport>,
    /// What it sends to others.
    pub uploads: Vec<UploadReport>,
}

/// A super peer of a weak peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuperStatus {
    /// As it was given.
    pub addr: HostPort,
    /// How far the session with it is.
    pub state: SuperState,
    /// Milliseconds since the session came up, or since there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Waiting: milliseconds until it is dialed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
    /// Not up: why the last try failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Up: the address of this peer that it dialed and could not reach, and why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreached: Option<String>,
}

/// States of a super peer, from the view of a weak peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuperState {
    /// A session is up.
    Up,
    /// It is dialed, or greeted.
    Connecting,
    /// It is dialed after a wait.
    Waiting,
    /// Another one is used; it is dialed if that one is lost.
    Spare,
}

/// A content that is sent to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadReport {
    /// The content.
    pub root: Root,
    /// One of its paths in the share, if one was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Bytes of the content, if a path was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes per second, to all peers.
    pub rate: u64,
    /// The peers that fetch it.
    pub peers: Vec<UploadPeer>,
}

/// A connection that fetches a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadPeer {
    /// Where it comes from.
    pub peer: HostPort,
    /// Bytes that it has taken, of all contents.
    pub bytes: u64,
    /// Bytes per second.
    pub rate: u64,
}
