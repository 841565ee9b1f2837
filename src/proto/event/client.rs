//! What a client of the control socket, or of `--json`, gets for a command, line by line.

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
        /// The content is a collection: a folder.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        collection: bool,
        /// Where the source serves chunks.
        source: HostPort,
        /// The same in the other family, if it serves there too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        other: Option<HostPort>,
        /// The source, whatever its addresses are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// Its super peer has not reached it there.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unreached: bool,
        /// It serves its share over HTTP there too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        http: bool,
        /// It has only a part of the content, which it fetches itself.
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
        /// The same of those that have only a part of it; empty if the command did not ask.
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
        /// The content is a collection: a folder.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        collection: bool,
        /// How many peers hold it.
        holders: u32,
        /// How many peers have only a part of it; 0 if the command did not ask.
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
        /// The line to paste.
        uri: String,
        /// Name of the file or folder.
        name: String,
        /// Bytes of the content.
        size: u64,
        /// Identity.
        root: Root,
        /// Of a collection: how many files it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<u64>,
        /// Bytes of these files, or of the file.
        bytes: u64,
        /// Files below the folder that cannot be read, and are left out.
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
        /// Bytes that an earlier run fetched and that are right.
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
        /// Bytes of the content, which are proven now.
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
        /// No source is left that could be used: milliseconds until the download gives up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gives_up_ms: Option<u64>,
        /// Who else has or fetches the content; none if it is fetched alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        swarm: Option<SwarmReport>,
    },
    /// A command of many files begins to download.
    Files {
        /// How many there are.
        files: u64,
        /// Bytes of all, as hits claim them.
        size: u64,
    },
    /// A command of many files: one of them is there, or has failed.
    Item(ItemReport),
    /// A source changed its state.
    Source(SourceReport),
    /// A download of the queue: one of `downloads`; or that of this command, once it is in the
    /// queue and whenever it begins to wait, is paused or resumed.
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
        /// What a running peer reports of itself; none from a one-shot command or a super peer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Box<PeerStatus>>,
        /// Program and version of the super peer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        super_agent: Option<String>,
        /// The links of the super peer, those that are not up first.
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
    /// The end of the command: always last, exactly once.
    Done(Outcome),
}

impl ClientEvent {
    /// In a status, the counters of the node that answers; its driver adds its own ones. None for a
    /// one-shot command.
    pub fn own_counts(&mut self) -> Option<&mut BTreeMap<String, u64>> {
        let ClientEvent::Status { super_peer, peer, super_counts, .. } = self else { return None };
        let own = if peer.is_empty() && super_peer.is_none() { super_counts } else { peer };
        (!own.is_empty()).then_some(own)
    }

    /// In a status, what a running peer reports of itself.
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
    /// Until when its invitation is good, if it has one that is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited_until: Option<u64>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
    /// The keys of its nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<PublicKey>,
    /// When the last of its credentials ends, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u64>,
    /// Its sessions that are open.
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
    /// Query: super peers that searched their index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<u32>,
    /// Query: super peers that were not asked, because their digests exclude a hit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<u32>,
    /// Query: whether nothing was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// Query: what was cut, by reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// List: number of files; list of the network: number of contents; get of many files: those
    /// that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Get: the final path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Get: the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Get: bytes of the content; of a failed download, bytes verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Get: bytes that an earlier run had fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<u64>,
    /// Milliseconds since the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// Get: all sources that were in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<SourceReport>>,
    /// Get: who else had or fetched the content, if anybody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<SwarmReport>,
    /// Get of many files: each of those that are not there needs something of the user: a choice
    /// between contents, another place, room on the disk. To ask again is of no use.
    #[serde(skip)]
    pub needs_user: bool,
}

impl Outcome {
    /// A failure, with no field but its exit code and its error.
    #[must_use]
    pub fn failed(failure: &Failure) -> Outcome {
        Outcome { ok: false, exit: failure.exit.code(), error: Some(failure.message.clone()), ..Outcome::default() }
    }
}
