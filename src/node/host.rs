//! The program that runs a node and handles its events.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::disk::ShareFolder;
use crate::error::{Exit, Failure};
use crate::proto::{Event, Settings};
use crate::trust::{Accounts, PublicKey};

/// Whether the loop continues after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The loop continues.
    Continue,
    /// The work is done: send BYE everywhere and end with this code.
    Stop(Exit),
}

/// New options of a running node.
#[derive(Debug)]
pub struct Reload {
    /// The settings for the machine.
    pub settings: Settings,
    /// The budget for memory.
    pub memory: Option<usize>,
    /// The shares, if they change.
    pub shares: Option<Shares>,
    /// The keys of neighbors, in login mode.
    pub neighbors: Vec<PublicKey>,
    /// What changes and what does not, one sentence for each option, for the log and for the
    /// client.
    pub notes: Vec<String>,
}

/// Shares of a running node.
#[derive(Clone, Debug)]
pub struct Shares {
    /// The folders, at least one.
    pub folders: Vec<ShareFolder>,
    /// As in [`super::DiskOptions`].
    pub rescan: Option<Duration>,
    /// Whether downloads without a destination go to the first folder.
    pub take_downloads: bool,
}

/// Handles the events of a node that are not for the control socket.
pub trait Host {
    /// An event of the machine. It is called on the thread of the loop and must not block.
    fn on_event(&mut self, event: Event) -> Flow;

    /// The name of the node, for `status`.
    fn name(&self) -> &str {
        ""
    }

    /// The gauges of the share have changed: how much of it is hashed, and how much is left out.
    fn on_gauges(&mut self, _gauges: &[(&'static str, u64)]) {}

    /// The greatest counters in the handshakes of neighbors, after one of them has risen. The host
    /// stores them, so that a later run accepts no handshake a second time.
    fn on_counters(&mut self, _counters: &BTreeMap<PublicKey, u64>) {}

    /// Saves the accounts of a super peer so that they survive a failure of the host.
    ///
    /// # Errors
    /// The reason, for people.
    fn save_accounts(&mut self, _accounts: &Accounts) -> Result<(), String> {
        Err("this node keeps no accounts".to_owned())
    }

    /// Whether it can read its options again.
    fn reloads(&self) -> bool {
        false
    }

    /// Reads and checks the options again; nothing changes yet.
    ///
    /// # Errors
    /// What is wrong with them.
    fn reload(&mut self) -> Result<Reload, Failure> {
        Err(Failure::usage("this node has no options to read again"))
    }

    /// The options that were read last are used from now on. Or they are dropped, because a part of
    /// them is wrong.
    fn on_reloaded(&mut self, _taken: bool) {}

    /// The loop is alive. Called at the interval of the watchdog.
    fn on_alive(&mut self) {}

    /// The node begins to end.
    fn on_ending(&mut self) {}

    /// A signal arrived. Returns whether the host handles it. If not, the signal ends the node.
    fn on_signal(&mut self, _signal: i32) -> bool {
        false
    }
}
