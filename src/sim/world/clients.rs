//! Commands of clients, and their answers.

use std::time::Duration;

use super::{Asked, World};
use crate::proto::{ClientId, Command, Input};
use crate::sim::happening::Happening;

impl World {
    /// Gives a command to a node, as a new client.
    pub fn ask(&mut self, node: usize, command: Command) -> ClientId {
        let client = ClientId(self.clients.len() as u64 + 1);
        self.clients.insert(client, Asked { node, at: self.now, events: Vec::new() });
        if self.is_stalled(node) {
            let life = self.nodes[node].life;
            self.nodes[node].waiting.push_back(Happening::Command { node, life, client, command });
        } else {
            self.turn(node, Input::Command { client, command });
        }
        client
    }

    /// A client leaves, and its command ends.
    pub(in crate::sim) fn leave(&mut self, client: ClientId) {
        self.turn(self.clients[&client].node, Input::ClientGone { client });
    }

    /// The clients whose commands have ended since the last call.
    pub fn take_finished(&mut self) -> Vec<ClientId> {
        std::mem::take(&mut self.finished)
    }

    /// Whether [`World::take_finished`] has a client to return.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// The acknowledgements since the last call: the super peer and the weak peer of each.
    pub(in crate::sim) fn take_acknowledged(&mut self) -> Vec<(usize, usize)> {
        std::mem::take(&mut self.acknowledged)
    }

    /// Whether [`World::take_acknowledged`] has one to return.
    pub(in crate::sim) fn has_acknowledged(&self) -> bool {
        !self.acknowledged.is_empty()
    }

    /// The command of a client, and its answers so far.
    #[must_use]
    pub fn asked(&self, client: ClientId) -> &Asked {
        &self.clients[&client]
    }

    /// Runs until the command ends, but at most for this time. Returns whether it has ended.
    pub fn finish(&mut self, client: ClientId, within: Duration) -> bool {
        self.run_until(within, |world| world.asked(client).outcome().is_some())
    }
}
