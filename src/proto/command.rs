//! What a client may ask of a weak peer: the prompt, a one-shot command, or a line on the control socket.
//!
//! The serde form is the control socket's: one JSON object a line, `{"cmd": "query", …}`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::wire::{HostPort, Policy, Search};

/// One request of one client. The prompt and the control socket draw a new id for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Which digests of a chunk must fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// BLAKE3 against the root, MD5 against the announcement.
    #[default]
    Both,
    /// BLAKE3 against the root only.
    Blake3,
    /// MD5 against the announcement only: proves no identity.
    Md5,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "lowercase")]
pub enum Command {
    /// Search: `hit` events, then `done`.
    Query {
        /// What is looked for.
        search: Search,
        /// How far it goes.
        #[serde(flatten)]
        scope: Scope,
    },
    /// Search and download: `source`, `piece` and `progress` events, then `done`.
    Get(Get),
    /// All files that are registered at the super peer: `file` events, then `done`.
    List,
    /// All files of the network, page by page: `content` events, then `done`.
    #[serde(rename = "list-network")]
    Network {
        /// How far the search of each page goes.
        #[serde(flatten)]
        scope: Scope,
    },
    /// How the peer and its super peer are: a `status` event, then `done`.
    Status,
}

/// What is to be downloaded, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// A name of 1 to 256 bytes, or a root in 64 hex digits. Of a name's hits those count whose name is exactly this, or all if
    /// none is.
    #[serde(deserialize_with = "crate::wire::record::pattern")]
    pub what: String,
    /// Only this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<HostPort>,
    /// The destination: a file, or a folder that exists. The share, under the sanitised name, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Which digests must fit.
    #[serde(default)]
    pub verify: Verify,
    /// How far the search goes.
    #[serde(flatten)]
    pub scope: Scope,
}

/// How far, how long and in which way a search goes; what is absent is as the super peer has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Hops allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Milliseconds allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// How it spreads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}
