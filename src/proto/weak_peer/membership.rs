//! Login mode at a weak peer: its credential, the keys of its super peers, and the network whose
//! credentials it accepts on chunk connections. It only decides; it sends nothing.

use std::collections::BTreeMap;

use crate::config::{CLASSES_MAX, DENIED_KNOWN_MAX, OPERATORS_KNOWN_MAX, RATE_LIMIT_MIN};
use crate::proto::glance::by_name;
use crate::time::Time;
use crate::trust::accounts::CLASS_DEFAULT;
use crate::trust::{Account, Credential, Network, Pin, PublicKey, Refusal, Rotation, Token};
use crate::wire::message::{ClassRate, Enroll, ErrorCode, Login, RevokedKey};
use crate::wire::{HostPort, KeyBytes, Message, NodeId};

/// What a weak peer in login mode is started with.
#[derive(Debug)]
pub struct PeerLogin {
    /// The key of this peer. The driver proves it on each connection.
    pub key: PublicKey,
    /// Its credential, if it has joined.
    pub credential: Option<Credential>,
    /// If it has not joined: the account and the token of an invitation.
    pub invitation: Option<(String, Token)>,
}

/// The result of comparing the key that a super peer has proved with the known key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is the known key.
    Right,
    /// No key of this super peer was known.
    First,
    /// It differs from the known key, which is this one.
    Other(PublicKey),
}

/// The login of a weak peer.
#[derive(Debug)]
pub(super) struct Membership {
    credential: Option<Credential>,
    invitation: Option<(String, Token)>,
    key: PublicKey,
    /// The operators whose credentials are accepted here, and the keys that are denied.
    network: Network,
    /// The limits on what is sent to an account of each class, in bytes per second.
    classes: BTreeMap<String, u64>,
    /// The known keys of super peers.
    pins: BTreeMap<HostPort, PublicKey>,
    /// A time of the monotonic clock and the wall clock at that time, once they are known.
    wall: (Time, u64),
}

impl Membership {
    pub(super) fn new(login: &PeerLogin, supers: &[Pin]) -> Membership {
        let PeerLogin { key, credential, invitation } = login;
        let pins = supers.iter().filter_map(|pin| Some((pin.at.clone(), pin.key?))).collect();
        Membership {
            network: Network::new(credential.iter().map(|credential| credential.operator)),
            classes: BTreeMap::new(),
            credential: credential.clone(),
            invitation: invitation.clone(),
            key: *key,
            pins,
            wall: (Time::ZERO, 0),
        }
    }

    /// The driver reports the wall clock.
    pub(super) fn set_clock(&mut self, now: Time, unix: u64) {
        self.wall = (now, unix);
    }

    pub(super) fn unix(&self, now: Time) -> u64 {
        let (at, unix) = self.wall;
        unix.saturating_add(now.since(at).as_secs())
    }

    // ---- super peers ----------------------------------------------------------------------------

    pub(super) fn proof(&self, at: &HostPort, key: PublicKey) -> Proof {
        match self.pins.get(at) {
            None => Proof::First,
            Some(pinned) if *pinned == key => Proof::Right,
            Some(pinned) => Proof::Other(*pinned),
        }
    }

    /// The key that a super peer must prove, if it is known.
    pub(super) fn key_of(&self, at: &HostPort) -> Option<PublicKey> {
        self.pins.get(at).copied()
    }

    /// A super peer is expected to prove this key from now on.
    pub(super) fn pin(&mut self, at: &HostPort, key: PublicKey) {
        self.pins.insert(at.clone(), key);
    }

    /// Whether the field `rot` of a WELCOME proves that the key `to` has replaced the key `from`.
    pub(super) fn follows(rotation: Option<&[u8]>, from: PublicKey, to: PublicKey) -> bool {
        rotation.and_then(|bytes| Rotation::decode(bytes).ok()).is_some_and(|rotation| rotation.follow(from) == to)
    }

    /// The message that is sent to a super peer after HELLO; none if this peer has neither a
    /// credential nor an invitation.
    pub(super) fn introduction(&self) -> Option<Message> {
        match (&self.credential, &self.invitation) {
            (Some(credential), _) => Some(Message::Login(Login::with_credential(credential.encode()))),
            (None, Some((user, token))) => {
                Some(Message::Enroll(Enroll { user: user.clone(), token: token.as_bytes().to_vec() }))
            }
            (None, None) => None,
        }
    }

    /// Whether it has a credential.
    pub(super) fn has_joined(&self) -> bool {
        self.credential.is_some()
    }

    /// A super peer has sent a credential. Keeps and returns the credential if it is for the key of
    /// this peer.
    pub(super) fn enrolled(&mut self, bytes: &[u8]) -> Option<&Credential> {
        let credential = Credential::decode(bytes).ok().filter(|it| it.key == self.key && it.is_signed())?;
        self.network.admit(credential.operator);
        Some(self.credential.insert(credential))
    }

    /// A super peer names the operators of its network.
    pub(super) fn on_ready(&mut self, operators: &[KeyBytes]) {
        for operator in operators.iter().filter_map(|key| PublicKey::from_bytes(key.0).ok()) {
            if self.network.operators().count() < OPERATORS_KNOWN_MAX {
                self.network.admit(operator);
            }
        }
    }

    /// A super peer has revoked these credentials.
    pub(super) fn on_revoked(&mut self, list: &[RevokedKey]) {
        for RevokedKey { key, at } in list {
            let Ok(key) = PublicKey::from_bytes(key.0) else { continue };
            if self.network.is_denied(&key) || self.network.denied().count() < DENIED_KNOWN_MAX {
                self.network.deny(key, *at);
            }
        }
    }

    /// A super peer names its classes. The last list counts, from any super peer.
    pub(super) fn on_classes(&mut self, list: Vec<ClassRate>) {
        self.classes = by_name(&mut list.into_iter().take(CLASSES_MAX).map(|one| (one.class, one.upload)));
    }

    /// The limit on what is sent to an account, in bytes per second; 0 means no limit. A class
    /// without an entry has the limit of the default class.
    pub(super) fn upload_limit(&self, account: &Account) -> u64 {
        let limit = self.classes.get(&account.class).or_else(|| self.classes.get(CLASS_DEFAULT));
        limit.map_or(0, |limit| if *limit == 0 { 0 } else { RATE_LIMIT_MIN.max(*limit) })
    }

    // ---- chunk connections ----------------------------------------------------------------------

    /// The credential that both sides of a chunk connection show.
    pub(super) fn credential(&self) -> Option<Vec<u8>> {
        self.credential.as_ref().map(Credential::encode)
    }

    /// Checks the credential that the other side of a chunk connection shows.
    pub(super) fn check(&self, credential: Option<&[u8]>, key: PublicKey, now: Time) -> Result<Account, Refusal> {
        self.network.check(credential.unwrap_or_default(), key, self.unix(now))
    }

    /// Whether the credential of an account is now revoked.
    pub(super) fn denies(&self, account: &Account) -> bool {
        self.network.denies(&account.key, account.issued)
    }
}

/// The code of the ERROR with which a login is refused.
pub(super) fn code_of(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::Malformed
        | Refusal::UnknownOperator
        | Refusal::Signature
        | Refusal::OtherKey
        | Refusal::NotYetValid => ErrorCode::LOGIN,
        Refusal::Revoked => ErrorCode::REVOKED,
        Refusal::Expired => ErrorCode::EXPIRED,
    }
}

/// Whether a peer may have this node id: its key fits the node id, or there is no login.
pub(super) fn is_node(key: Option<PublicKey>, node: NodeId) -> bool {
    key.is_none_or(|key| key.node() == node)
}
