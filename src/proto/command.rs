//! The commands that a client gives to a weak peer: at the prompt, as a one-shot command, or over
//! the control socket.
//!
//! Their serde form is what the control socket reads: one JSON object per line, `{"cmd": "query",
//! …}`.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::config::{GET_BYTES_MAX, GET_NAMES_MAX};
use crate::trust::{Limits, PublicKey, TokenHash};
use crate::wire::{HostPort, Policy, Root, Search};

/// One command of one client. The prompt and the control socket use a new id for each command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Which digests of a chunk are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// BLAKE3 against the root, and MD5 against the CHUNK header.
    #[default]
    Both,
    /// BLAKE3 against the root only.
    Blake3,
    /// MD5 against the CHUNK header only. This does not prove that the content is the requested
    /// one.
    Md5,
}

/// In which order the pieces of a download are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PieceOrder {
    /// In the order that is fastest for all peers.
    #[default]
    Any,
    /// From the beginning to the end, for programs that read the file during the download.
    Sequential,
}

impl PieceOrder {
    fn is_any(&self) -> bool {
        *self == PieceOrder::Any
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "lowercase")]
pub enum Command {
    /// Search: `hit` events, then `done`.
    Query {
        /// What to search for.
        search: Search,
        /// How far the search goes.
        #[serde(flatten)]
        scope: Scope,
    },
    /// A subscription: a `hit` event for each new content that matches, once for each content,
    /// until the client closes its connection. A `note` marks the end of the first search. Contents
    /// that this search finds are reported only with `existing`.
    Subscribe {
        /// What to search for.
        search: Search,
        /// How far each search goes: the first one, and the one of each minute.
        #[serde(flatten)]
        scope: Scope,
        /// Whether contents that the first search finds are reported too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        existing: bool,
    },
    /// Search and download: `source`, `piece` and `progress` events, then `done`. A peer with a
    /// queue adds the download to the queue first, and sends a `download` event once the queue is
    /// on the disk. While its client is there, the download fails as soon as no source is left.
    Get(Get),
    /// Make the URI of a content: a `uri` event, then `done`.
    Uri {
        /// A name or a root, as for a `get`.
        #[serde(deserialize_with = "text_of_uri")]
        what: String,
        /// If present, it replaces the name: a file or folder on the disk, which the peer shares.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<PathBuf>,
        /// How far the search goes.
        #[serde(flatten)]
        scope: Scope,
    },
    /// As `Get`, but if there is no source, the download waits in the queue, and searches again
    /// until it is canceled.
    Queue(Get),
    /// As `Get`, but never in the queue: the download ends with its client.
    Fetch(Get),
    /// A running download of this content first fetches the pieces from this byte on: `done`.
    /// Nothing happens if no download of the content runs.
    Aim {
        /// The content.
        root: Root,
        /// The first byte.
        offset: u64,
    },
    /// List the queue: a `download` event for each entry, then `done`.
    Downloads,
    /// Remove the part files that no download of the queue uses: `done`.
    Clean,
    /// Take a download out of the queue: `done`. Its part file stays.
    Cancel {
        /// Its number.
        id: u64,
    },
    /// Stop a download and keep it in the queue: `done`.
    Pause {
        /// Its number.
        id: u64,
    },
    /// Continue a download that is paused, waits or has failed: `done`.
    Resume {
        /// Its number.
        id: u64,
    },
    /// List the files that are registered at the super peer: `file` events, then `done`.
    List {
        /// Also count the peers that have only a part of a file.
        #[serde(default, rename = "part", skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
    },
    /// List the contents of the network, page by page: `content` events, then `done`.
    #[serde(rename = "list-network")]
    Network {
        /// How far the search of each page goes.
        #[serde(flatten)]
        scope: Scope,
    },
    /// Report the counters of the peer and its super peer: a `status` event, then `done`.
    Status,
    /// Read the options of the daemon again: a `note` for each option that changes, and for each
    /// that cannot change while the daemon runs; then `done`. The driver handles this command
    /// itself.
    Reload,
    /// Set the limits of a running peer, until it ends: a `limits` event with both limits, then
    /// `done`. An absent limit does not change.
    Limit {
        /// The limit on bytes of files that are sent, in bytes per second; 0: no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upload: Option<u64>,
        /// The limit on bytes of files that are received, in bytes per second; 0: no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        download: Option<u64>,
    },
    /// At a super peer in login mode: show or change its accounts. `done` comes once a change is
    /// saved.
    User(UserCommand),
}

/// Limits on the bytes of files, in bytes per second; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimits {
    /// The limit on what is sent to all others together.
    pub upload: u64,
    /// The limit on what is received from all others together.
    pub download: u64,
}

/// A command of the operator of a super peer. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum UserCommand {
    /// Invite a user. The user is added if the name is new.
    Add {
        /// The name of the account.
        name: String,
        /// The class. If absent, the class of the user, or the default class for a new user.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        /// The hash of the token of the invitation.
        token: TokenHash,
        /// The time after which the invitation is not accepted.
        until: u64,
        /// Seconds for which the credential is valid; if absent, it never expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        valid_s: Option<u64>,
        /// The present time.
        unix: u64,
    },
    /// List the users: a `user` event for each, then `done`.
    List,
    /// Revoke the credentials and the invitation of a user.
    Revoke {
        /// The user.
        name: String,
        /// The present time.
        unix: u64,
    },
    /// Deny the credentials of a key, from any operator.
    Deny {
        /// The key.
        key: PublicKey,
        /// Only credentials that were issued at this time or before are denied.
        until: u64,
    },
    /// Give a user another class.
    Class {
        /// The user.
        name: String,
        /// The class.
        class: String,
    },
    /// Set limits of a class.
    Limits {
        /// The class.
        class: String,
        /// The limits that are present are set.
        #[serde(flatten)]
        limits: Limits,
    },
}

/// A download: its content and its destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// What to download, 1 to [`GET_BYTES_MAX`] bytes: a name or a path, a root in 64 hex digits, a
    /// pattern, or a folder with a slash at its end. See [`can_name`].
    #[serde(deserialize_with = "name")]
    pub what: String,
    /// The name of the result. If absent, a name that a source uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// More values for `what`. Each file of each of them is downloaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "names")]
    pub also: Vec<String>,
    /// Contents that an earlier search found. If there are any, they are downloaded without a
    /// search, and `what` only names the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<KnownContent>,
    /// The only source to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<HostPort>,
    /// The destination: a file, or a folder, which exists or has a slash at its end. If absent, the
    /// file goes into the share, with the sanitized name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Which digests are checked.
    #[serde(default)]
    pub verify: Verify,
    /// How long the download may take without a verified piece and at a low rate, in milliseconds;
    /// 0: forever. If absent, the setting of the peer counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// In which order its pieces are fetched.
    #[serde(default, skip_serializing_if = "PieceOrder::is_any")]
    pub order: PieceOrder,
    /// How far the search goes.
    #[serde(flatten)]
    pub scope: Scope,
}

impl Get {
    /// A download of `what` with default values.
    #[must_use]
    pub fn of(what: String) -> Get {
        let (verify, order, scope) = (Verify::default(), PieceOrder::default(), Scope::default());
        Get {
            what,
            also: Vec::new(),
            known: Vec::new(),
            name: None,
            from: None,
            out: None,
            verify,
            timeout: None,
            order,
            scope,
        }
    }
}

/// A content that a search has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownContent {
    /// The name under which it is saved.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Identity.
    pub root: Root,
    /// Whether the content is a collection, whose files are downloaded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub collection: bool,
    /// The addresses at which its sources serve chunks.
    pub sources: Vec<HostPort>,
}

/// Whether the text can name something: it has 1 to [`GET_BYTES_MAX`] bytes, and a character other
/// than the slash.
#[must_use]
pub fn can_name(what: &str) -> bool {
    what.len() <= GET_BYTES_MAX && what.contains(|c| c != '/')
}

/// Reads what a `uri` names, or what it shows of a path.
fn text_of_uri<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if (1..=GET_BYTES_MAX).contains(&text.len()) {
        Ok(text)
    } else {
        Err(de::Error::invalid_length(text.len(), &"a name of 1 to 701 bytes"))
    }
}

/// Reads what a `get` names.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if can_name(&name) {
        Ok(name)
    } else {
        let expected = "a name of 1 to 701 bytes, with a character other than /";
        Err(de::Error::invalid_value(de::Unexpected::Str(&name), &expected))
    }
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    if names.len() < GET_NAMES_MAX && names.iter().all(|name| can_name(name)) {
        Ok(names)
    } else {
        Err(de::Error::invalid_length(names.len(), &"fewer names, each as `what`"))
    }
}

/// How far a search goes, how long it may take, and how it spreads. For an absent field the super
/// peer uses its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// TTL: how many hops it may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Budget: how many milliseconds it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// The policy by which it spreads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}
