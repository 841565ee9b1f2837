//! What a machine reports to clients and to the log. The serde form of [`ClientEvent`] is that of
//! `--json` and of the control socket: `{"event": "hit", …}`; the writer adds `"v": 1` and the
//! time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConnId;
use super::command::{ClientId, RateLimits};
use crate::error::Failure;
use crate::trust::accounts::User;
use crate::trust::{Credential, Pin, PublicKey};
use crate::wire::message::{LinkRow, Mode};
use crate::wire::{Cut, HostPort, NodeId, Root, Search};

/// A report of a machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// For one client.
    Client {
        /// The client that asked.
        client: ClientId,
        /// What it gets.
        event: ClientEvent,
    },
    /// A session is up, and the file list is being sent.
    Welcomed {
        /// The super peer, as it was given.
        super_peer: HostPort,
        /// Its node.
        node: Option<NodeId>,
    },
    /// A session is lost; the next super peer is tried.
    SessionLost {
        /// The super peer, as it was given.
        super_peer: HostPort,
        /// The reason, for people.
        why: String,
    },
    /// At a weak peer: whether it stays in the swarm of a content that it has completed. It comes
    /// before the end of the command.
    Lingers(bool),
    /// At a weak peer: a super peer gave this node a credential, which is to be kept.
    Enrolled {
        /// The super peer.
        super_peer: Pin,
        /// The credential.
        credential: Credential,
    },
    /// At a weak peer: from now on a super peer is expected to prove this key, which is to be kept.
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
        /// The address at which it is, or was.
        at: Option<std::net::SocketAddr>,
        /// Whether it is up now.
        up: bool,
    },
    /// At a super peer: how many peers have files registered, for its state. It comes some seconds
    /// after a change.
    Sharing {
        /// The number.
        peers: usize,
    },
    /// At a super peer: a peer that serves files came or left. At most
    /// [`crate::config::PEERS_REPORTED_PER_SECOND`] come in a second.
    Peer(PeerReport),
    /// At a super peer: in the last second more came and left than were reported one by one.
    MorePeers {
        /// How many more came.
        came: u64,
        /// How many more left.
        left: u64,
    },
    /// At a super peer that reports queries: a session asks.
    Asked {
        /// The session.
        session: ConnId,
        /// The number of the query in its session.
        req: u32,
        /// What it looks for.
        search: Search,
    },
    /// At a super peer that reports queries: the query of a session has its answer.
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
    /// At a weak peer: files came to its share, changed or left it. Changes that follow soon after
    /// are reported together.
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
    /// The machine cannot go on: end the process with this.
    Fatal(Failure),
    /// A line for the log.
    Log {
        /// How important it is.
        level: log::Level,
        /// The line, for people.
        text: String,
    },
}

/// A peer that serves files, at its super peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// Where it serves them.
    pub addr: HostPort,
    /// Its node id.
    pub node: NodeId,
    /// How many are registered; none while its list is not complete.
    pub files: Option<u64>,
    /// Why it left; none if it came.
    pub left: Option<String>,
}

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
