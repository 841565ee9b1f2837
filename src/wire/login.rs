//! The messages at the beginning of a connection: HELLO and WELCOME, the login, and the messages
//! about accounts. PROTOCOL.md 3.5, 4.3 and 15 have the tables.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::addr::HostPort;
use super::ids::{KeyBytes, NodeId};
use super::lists::list;
use crate::config::{FRAME_BYTES_OPEN, PROTOCOL_VERSION};

/// HELLO: `{v, node, boot, feat, agent}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Protocol version, major and minor.
    #[serde(rename = "v")]
    pub version: [u8; 2],
    /// The sender's node id.
    pub node: NodeId,
    /// Drawn at random when the sender started.
    pub boot: u64,
    /// Names of optional features. Unknown ones are ignored.
    #[serde(rename = "feat", default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub features: Vec<String>,
    /// Program and version, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent: String,
}

/// WELCOME: `{v, node, boot, feat, ping, frame, addr, mode, rot}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Protocol version, major and minor.
    #[serde(rename = "v")]
    pub version: [u8; 2],
    /// The sender's node id.
    pub node: NodeId,
    /// Drawn at random when the sender started.
    pub boot: u64,
    /// Names of optional features. Unknown ones are ignored.
    #[serde(rename = "feat", default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub features: Vec<String>,
    /// The receiver must send something at least this often, in milliseconds.
    pub ping: u32,
    /// Longest frame body that the sender accepts after login, in bytes.
    pub frame: u32,
    /// The address of the receiver as the sender sees it.
    pub addr: HostPort,
    /// Whether the sender requires a login.
    #[serde(default, skip_serializing_if = "Mode::is_open")]
    pub mode: Mode,
    /// The rotations that lead from earlier keys of the sender to its present key. They are not
    /// decoded here.
    #[serde(rename = "rot", default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub rotation: Option<Vec<u8>>,
}

impl Hello {
    /// The HELLO of this version of the protocol.
    #[must_use]
    pub fn new(node: NodeId, boot: u64, agent: String) -> Hello {
        Hello { version: PROTOCOL_VERSION, node, boot, features: Vec::new(), agent }
    }
}

impl Welcome {
    /// The WELCOME of this version of the protocol, to a peer at this address, which must send
    /// something in each interval of `ping`.
    #[must_use]
    pub fn new(node: NodeId, boot: u64, ping: Duration, addr: HostPort) -> Welcome {
        let ping = u32::try_from(ping.as_millis()).unwrap_or(u32::MAX);
        let frame = u32::try_from(FRAME_BYTES_OPEN).unwrap_or(u32::MAX);
        let features = Vec::new();
        let (mode, rotation) = (Mode::Open, None);
        Welcome { version: PROTOCOL_VERSION, node, boot, features, ping, frame, addr, mode, rotation }
    }
}

/// Whether a network requires a login; this is the mode in WELCOME and LOGIN. A node has one of
/// these modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Anyone may connect, and a node id is only a claim.
    #[default]
    Open,
    /// TLS is used, and each peer needs a credential for its key.
    Login,
    /// A mode that this version does not know. It is never sent: the decoder makes it.
    #[serde(other)]
    Unknown,
}

impl Mode {
    /// The name of the mode on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Open => "open",
            Mode::Login => "login",
            Mode::Unknown => "unknown",
        }
    }

    fn is_open(&self) -> bool {
        *self == Mode::Open
    }
}

/// LOGIN: `{mode, cred}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The mode of the sender.
    pub mode: Mode,
    /// In the mode `login`: the credential for the sender's key. It is not decoded here.
    #[serde(rename = "cred", default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub credential: Option<Vec<u8>>,
}

impl Login {
    /// The LOGIN of the mode `open`.
    #[must_use]
    pub fn open() -> Login {
        Login { mode: Mode::Open, credential: None }
    }

    /// The LOGIN of the mode `login`, with this credential.
    #[must_use]
    pub fn with_credential(credential: Vec<u8>) -> Login {
        Login { mode: Mode::Login, credential: Some(credential) }
    }
}

/// READY: `{ops, cred}`; without fields in the mode `open`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The keys whose signature makes a credential valid in this network.
    #[serde(rename = "ops", default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub operators: Vec<KeyBytes>,
    /// On a chunk connection in the mode `login`: the credential of the sender. It is not decoded
    /// here.
    #[serde(rename = "cred", default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub credential: Option<Vec<u8>>,
}

/// ENROLL: `{user, token}`, in place of LOGIN. The connection stays in its state.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enroll {
    /// The name of the account.
    pub user: String,
    /// The secret of the invitation.
    #[serde(with = "serde_bytes")]
    pub token: Vec<u8>,
}

/// The token is a secret, and is left out.
impl fmt::Debug for Enroll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enroll").field("user", &self.user).finish_non_exhaustive()
    }
}

/// ENROLLED: `{cred}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The credential for the key with which the asker has connected. It is not decoded here.
    #[serde(rename = "cred", with = "serde_bytes")]
    pub credential: Vec<u8>,
}

/// REVOKED: `{list}`. Sent on each session when it opens, and when accounts are revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The keys whose credentials are no longer valid.
    #[serde(deserialize_with = "list")]
    pub list: Vec<RevokedKey>,
}

/// A key whose credentials are no longer valid: `{k, at}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RevokedKey {
    /// The key of the node.
    #[serde(rename = "k")]
    pub key: KeyBytes,
    /// Credentials of the key that were issued at this time or before are denied; in seconds since
    /// 1970.
    pub at: u64,
}

/// CLASSES: `{list}`. Sent on each session when it opens, and when the limits of a class change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classes {
    /// All classes of the super peer.
    #[serde(deserialize_with = "list")]
    pub list: Vec<ClassRate>,
}

/// How much a peer may send to an account of a class: `{c, up}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRate {
    /// The class.
    #[serde(rename = "c")]
    pub class: String,
    /// Bytes of files per second; 0 means no limit.
    #[serde(rename = "up")]
    pub upload: u64,
}
