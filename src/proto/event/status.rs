//! What a running peer reports about itself in a status.

use serde::{Deserialize, Serialize};

use super::download::DownloadReport;
use crate::proto::command::RateLimits;
use crate::wire::{HostPort, Root};

/// What a running peer reports about itself in a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The name in its option `--name`, which its driver knows.
    #[serde(default)]
    pub name: String,
    /// Program and version.
    pub agent: String,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// The addresses under which its super peers offer it to others, without repetition.
    pub addresses: Vec<HostPort>,
    /// Its super peers: first those of its sessions, then the others of its list.
    pub supers: Vec<SuperStatus>,
    /// Its limits on what it sends and receives.
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
    /// Its address, as it was given.
    pub addr: HostPort,
    /// The state of the session with it.
    pub state: SuperState,
    /// Milliseconds since the session came up, or since it was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Waiting: milliseconds until it is dialed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
    /// Not up: why the last try failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Up: the address of this peer that the super peer dialed and could not reach, with the
    /// reason, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreached: Option<String>,
}

/// States of a super peer, as a weak peer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuperState {
    /// A session is up.
    Up,
    /// It is being dialed, or the greeting is not complete.
    Connecting,
    /// It will be dialed after a wait.
    Waiting,
    /// Another super peer is used. This one will be dialed if that one is lost.
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
    /// The address that it comes from.
    pub peer: HostPort,
    /// Bytes of all contents that it has taken.
    pub bytes: u64,
    /// Bytes per second.
    pub rate: u64,
}
