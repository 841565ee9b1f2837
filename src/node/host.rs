//! Who runs a node and takes its events.

use std::collections::BTreeMap;

use crate::error::Exit;
use crate::proto::Event;
use crate::trust::{Accounts, PublicKey};

/// Whether the loop continues after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It continues.
    Continue,
    /// The work is done: send BYE everywhere and end with this code.
    Stop(Exit),
}

/// Takes the events of a node that are not for the control socket.
pub trait Host {
    /// Something happened. Called on the loop's thread: it must not block.
    fn on_event(&mut self, event: Event) -> Flow;

    /// The name of the node, for `status`.
    fn name(&self) -> &str {
        ""
    }

    /// Gauges of the share changed: how much of it is hashed, and what is left out.
    fn on_gauges(&mut self, _gauges: &[(&'static str, u64)]) {}

    /// The greatest counters of the handshakes of neighbors, after one of them rose: to be kept, so
    /// that a later run takes none of them again.
    fn on_counters(&mut self, _counters: &BTreeMap<PublicKey, u64>) {}

    /// Saves the accounts of a super peer so that they survive a failure of the host.
    ///
    /// # Errors
    /// The reason, for people.
    fn save_accounts(&mut self, _accounts: &Accounts) -> Result<(), String> {
        Err("this node keeps no accounts".to_owned())
    }

    /// A signal arrived. Returns whether the host takes it for itself; if not, it ends the node.
    fn on_signal(&mut self, _signal: i32) -> bool {
        false
    }
}
