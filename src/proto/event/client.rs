//! What a client of the control socket, or of `--json`, gets for a command, one line for each
//! event.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::download::{DownloadReport, ItemReport, SourceReport, SwarmReport};
use super::status::PeerStatus;
use crate::error::Failure;
use crate::proto::command::RateLimits;
use crate::trust::PublicKey;
use crate::trust::accounts::User;
use crate::wire::message::{LinkRow, Mode};
use crate::wire::{Cut, HostPort, NodeId, Root};

/// One line for a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ClientEvent {
    /// A file that matches, at one source.
    Hit {
        /// Last component of the path.
        name: String,
        /// Path in the source's share.
        path: String,
        /// Bytes.
        size: u64,
        /// Identity.
        root: Root,
        /// Whether the content is a collection, the list of the files of a folder.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        collection: bool,
        /// Where the source serves chunks.
        source: HostPort,
        /// The address of the other IP version at which the source serves too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        other: Option<HostPort>,
        /// The node id of the source, which has it at all its addresses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// Whether its super peer could not reach it at this address.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unreached: bool,
        /// Whether it also serves its share over HTTP there.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        http: bool,
        /// Whether it has only a part of the content, which it is fetching.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
    },
    /// All hits of one content: `query --json` prints one for each content after the last hit.
    Result {
        /// Place among the results, from 1: exact names first, then by number of sources.
        rank: usize,
        /// Last component of the path.
        name: String,
        /// One of its paths.
        path: String,
        /// Bytes.
        size: u64,
        /// Identity.
        root: Root,
        /// Where its sources serve chunks.
        sources: Vec<HostPort>,
        /// Where the peers that have only a part of it serve chunks; empty if the command did not
        /// ask for them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        partial: Vec<HostPort>,
    },
    /// A file that is registered at the super peer.
    File {
        /// Last component of the path.
        name: String,
        /// Path in its holders' shares.
        path: String,
        /// Bytes.
        size: u64,
        /// Identity.
        root: Root,
        /// Whether the content is a collection, the list of the files of a folder.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        collection: bool,
        /// How many peers hold it.
        holders: u32,
        /// How many peers have only a part of it; 0 if the command did not ask for them.
        #[serde(default, skip_serializing_if = "crate::wire::record::is_zero")]
        partial: u32,
    },
    /// A content of the network: `list --network`.
    Content {
        /// Identity.
        root: Root,
        /// Bytes.
        size: u64,
        /// How many peers hold it, by their addresses.
        sources: u32,
        /// Its names, the most frequent one first; at most [`crate::config::LIST_NAMES_MAX`].
        names: Vec<String>,
    },
    /// The URI of a content.
    Uri {
        /// The URI.
        uri: String,
        /// Name of the file or folder.
        name: String,
        /// Bytes of the content.
        size: u64,
        /// Identity.
        root: Root,
        /// For a collection: how many files it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<u64>,
        /// The sum of the sizes of these files, or the size of the file.
        bytes: u64,
        /// Files below the folder that cannot be read and were left out.
        left_out: u64,
    },
    /// A download has begun.
    Start {
        /// Sanitised name.
        name: String,
        /// Bytes.
        size: u64,
        /// Identity.
        root: Root,
        /// Sources known so far.
        sources: usize,
        /// Bytes that an earlier run fetched and that are correct.
        resumed: u64,
        /// Where the file will be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// A piece was received and verified.
    Piece {
        /// Its number, from 0.
        index: u32,
        /// The source that sent it.
        source: HostPort,
        /// Bytes.
        bytes: u32,
        /// The size of the content, which is proven now.
        size: u64,
        /// Milliseconds since the download began.
        elapsed_ms: u64,
    },
    /// The progress of a download, at most twice a second.
    Progress {
        /// Bytes verified.
        bytes: u64,
        /// Bytes of the content.
        size: u64,
        /// Bytes per second, over the last 4 seconds.
        rate: u64,
        /// All sources that are or were in use.
        sources: Vec<SourceReport>,
        /// If no usable source is left: milliseconds until the download gives up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gives_up_ms: Option<u64>,
        /// Which other peers have or fetch the content; none if this peer fetches it alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        swarm: Option<SwarmReport>,
    },
    /// A command of many files begins to download.
    Files {
        /// How many there are.
        files: u64,
        /// The sum of the sizes, as hits claim them.
        size: u64,
    },
    /// One file of a command of many files: it is there, or has failed.
    Item(ItemReport),
    /// A source changed its state.
    Source(SourceReport),
    /// A download of the queue. Either it is one that `downloads` lists. Or it is the download of
    /// this command, once it is in the queue, and whenever it begins to wait, is paused or is
    /// resumed.
    Download(DownloadReport),
    /// The counters of the peer and of its super peer.
    Status {
        /// The super peer, if a session is up.
        #[serde(rename = "super", default, skip_serializing_if = "Option::is_none")]
        super_peer: Option<HostPort>,
        /// The counters of this peer; empty for a one-shot command.
        peer: BTreeMap<String, u64>,
        /// The counters of the super peer.
        super_counts: BTreeMap<String, u64>,
        /// What a running peer reports about itself; none from a one-shot command or a super peer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Box<PeerStatus>>,
        /// Program and version of the super peer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        super_agent: Option<String>,
        /// The links of the super peer. Links that are not up come first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        links: Vec<LinkRow>,
        /// The mode of the node that answers.
        #[serde(default)]
        mode: Mode,
    },
    /// The limits of a running peer.
    Limits(RateLimits),
    /// A user of a super peer.
    User(UserRow),
    /// A notice for people.
    Note {
        /// Its text.
        message: String,
    },
    /// The end of the command. It comes last and exactly once.
    Done(Outcome),
}

impl ClientEvent {
    /// In a status, the counters of the node that answers, so that its driver can add its own
    /// counters. None for a one-shot command.
    pub fn own_counts(&mut self) -> Option<&mut BTreeMap<String, u64>> {
        let ClientEvent::Status { super_peer, peer, super_counts, .. } = self else { return None };
        let own = if peer.is_empty() && super_peer.is_none() { super_counts } else { peer };
        (!own.is_empty()).then_some(own)
    }

    /// In a status, what a running peer reports about itself.
    pub fn own_status(&mut self) -> Option<&mut PeerStatus> {
        if let ClientEvent::Status { status: Some(status), .. } = self { Some(status) } else { None }
    }
}

/// An account of a super peer. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRow {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// When it was added.
    pub added: u64,
    /// Until when its invitation is valid, if it has an invitation that was not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited_until: Option<u64>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
    /// The keys of its nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<PublicKey>,
    /// When the last of its credentials expires, if that credential does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u64>,
    /// The number of its open sessions.
    pub sessions: u64,
}

impl UserRow {
    /// The row of a user with this many sessions.
    #[must_use]
    pub fn of(name: &str, user: &User, sessions: u64) -> UserRow {
        UserRow {
            name: name.to_owned(),
            class: user.class.clone(),
            added: user.added,
            invited_until: user.invitation.as_ref().filter(|open| open.used_by.is_none()).map(|open| open.until),
            revoked: user.revoked,
            keys: user.nodes.iter().map(|node| node.key).collect(),
            not_after: user.nodes.iter().filter_map(|node| node.not_after).max(),
            sessions,
        }
    }
}

/// How a command ended. The command decides which fields are present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether `exit` is 0.
    pub ok: bool,
    /// The exit code.
    pub exit: u8,
    /// The error, for people, if not ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Query, list of the network: number of hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hits: Option<u32>,
    /// Query: number of super peers that searched their index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<u32>,
    /// Query: number of super peers that were not asked, because their digests rule out a hit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<u32>,
    /// Query: whether nothing was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// Query: what was cut, by reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// List: number of files. List of the network: number of contents. Get of many files: number of
    /// files that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Get: the final path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Get: the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Get: bytes of the content. For a failed download: bytes verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Get: bytes that an earlier run had fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<u64>,
    /// Milliseconds since the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// Get: all sources that were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<SourceReport>>,
    /// Get: which other peers had or fetched the content, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<SwarmReport>,
    /// Get of many files: whether each missing file needs the user, who must choose between
    /// contents or another destination, or make room on the disk. If so, it is useless to try
    /// again.
    #[serde(skip)]
    pub needs_user: bool,
}

impl Outcome {
    /// A failure. Only its exit code and its error are present.
    #[must_use]
    pub fn failed(failure: &Failure) -> Outcome {
        Outcome { ok: false, exit: failure.exit.code(), error: Some(failure.message.clone()), ..Outcome::default() }
    }
}
