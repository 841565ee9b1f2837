//! Who asks something of a node, and what came of it.

use std::time::Duration;

use super::{Happening, World};
use crate::proto::event::Outcome;
use crate::proto::{ClientEvent, ClientId, Command, Input};
use crate::time::Time;

/// A command of a client and what came of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// At which node.
    pub node: usize,
    /// When it was asked.
    pub at: Time,
    /// Everything that was answered, with the time.
    pub events: Vec<(Time, ClientEvent)>,
}

impl Asked {
    /// How it ended, if it did.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match self.events.last() {
            Some((_, ClientEvent::Done(outcome))) => Some(outcome),
            Some(_) | None => None,
        }
    }

    /// How long it took, if it is over.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.outcome().and(self.events.last()).map(|(at, _)| at.since(self.at))
    }
}

impl World {
    /// A client of a node asks for something.
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

    /// The clients that were told the end since the last call.
    pub fn take_finished(&mut self) -> Vec<ClientId> {
        std::mem::take(&mut self.finished)
    }

    /// Whether [`World::take_finished`] has any.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// What super peers acknowledged since the last call, at the moment at which they said so: who, and to which weak peer.
    pub(in crate::sim) fn take_acknowledged(&mut self) -> Vec<(usize, usize)> {
        std::mem::take(&mut self.acknowledged)
    }

    /// Whether [`World::take_acknowledged`] has any.
    pub(in crate::sim) fn has_acknowledged(&self) -> bool {
        !self.acknowledged.is_empty()
    }

    /// What came of it.
    #[must_use]
    pub fn asked(&self, client: ClientId) -> &Asked {
        &self.clients[&client]
    }

    /// Runs until the command is over, for at most this long; says whether it is.
    pub fn finish(&mut self, client: ClientId, within: Duration) -> bool {
        self.run_until(within, |world| world.asked(client).outcome().is_some())
    }
}
