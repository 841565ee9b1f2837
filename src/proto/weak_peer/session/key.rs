//! The key that the super peer of a session has proved: whether it is the expected key, whether a
//! rotation leads from the expected key to it, and when it is pinned.
//!
//! It reads and changes the pins of the membership. It sends nothing and ends no session. In open
//! mode no key is proved, and nothing is pinned.

use crate::proto::Event;
use crate::proto::weak_peer::context::Context;
use crate::proto::weak_peer::membership::{Membership, Proof, is_node};
use crate::trust::{Pin, PublicKey};
use crate::wire::{HostPort, NodeId};

/// The key that was proved on the present connection.
#[derive(Debug, Default)]
pub(super) struct SuperKey {
    /// The key that was proved, and whether it is the expected key; none in open mode.
    proved: Option<(PublicKey, Proof)>,
}

impl SuperKey {
    /// The super peer at this address was dialed, and has proved this key.
    pub(super) fn on_dialed(&mut self, cx: &Context, at: &HostPort, key: Option<PublicKey>) {
        let membership = cx.membership.as_ref();
        self.proved = membership.zip(key).map(|(membership, key)| (key, membership.proof(at, key)));
    }

    /// Whether a key was proved.
    pub(super) fn is_proved(&self) -> bool {
        self.proved.is_some()
    }

    /// Whether another key than the expected one was proved. Then no credential is shown to the
    /// super peer before [`SuperKey::follow`].
    pub(super) fn is_other(&self) -> bool {
        matches!(self.proved, Some((_, Proof::Other(_))))
    }

    /// Whether the super peer may have this node id.
    pub(super) fn is_of(&self, node: NodeId) -> bool {
        is_node(self.proved.map(|(key, _)| key), node)
    }

    /// WELCOME has come. If the super peer has proved another key than the expected one, the
    /// rotation in WELCOME must lead to the proved key. Then the proved key is pinned.
    ///
    /// # Errors
    /// The reason why the session must end, for people.
    pub(super) fn follow(&mut self, cx: &mut Context, at: &HostPort, rotation: Option<&[u8]>) -> Result<(), String> {
        let Some((key, Proof::Other(expected))) = self.proved else { return Ok(()) };
        if !Membership::follows(rotation, expected, key) {
            return Err(format!(
                "its key has changed: it proves {key}, and {expected} was expected; another node may be in its place. \
                 If its operator confirms the new key, type: sprat id accept {key}@{at}"
            ));
        }
        pin(cx, at, key, Some(expected));
        self.proved = Some((key, Proof::Right));
        Ok(())
    }

    /// The super peer has accepted the login. If its key was not known before, it is pinned.
    pub(super) fn on_ready(&self, cx: &mut Context, at: &HostPort) {
        if let Some((key, Proof::First)) = self.proved {
            pin(cx, at, key, None);
        }
    }

    /// The super peer at this address, with the key that it has proved; none in open mode.
    pub(super) fn pinned(&self, at: &HostPort) -> Option<Pin> {
        self.proved.map(|(key, _)| Pin { key: Some(key), at: at.clone() })
    }
}

/// From now on the super peer at this address must prove this key. `before` is the key that it had
/// to prove until now, if there was one.
fn pin(cx: &mut Context, at: &HostPort, key: PublicKey, before: Option<PublicKey>) {
    if let Some(membership) = &mut cx.membership {
        membership.pin(at, key);
    }
    cx.event(Event::SuperKey { super_peer: Pin { key: Some(key), at: at.clone() }, before });
}
