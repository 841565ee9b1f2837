//! Which client of the control socket asked which command: ids with the top bit set are theirs.

use std::collections::BTreeMap;

use crate::net::ControlId;
use crate::proto::ClientId;

/// Set in the ids of commands that came over the control socket.
const CONTROL_BIT: u64 = 1 << 63;

/// The commands of the control socket that run. Bounded by the caps on its clients and their commands.
#[derive(Debug, Default)]
pub(super) struct Clients {
    minted: u64,
    running: BTreeMap<ClientId, ControlId>,
}

impl Clients {
    /// An id for a command of this client.
    pub(super) fn enter(&mut self, control: ControlId) -> ClientId {
        self.minted += 1;
        let client = ClientId(CONTROL_BIT | self.minted);
        self.running.insert(client, control);
        client
    }

    /// Whether the id belongs to the control socket, and not to the host.
    pub(super) fn is_control(client: ClientId) -> bool {
        client.0 & CONTROL_BIT != 0
    }

    /// Who is to hear of this command; nobody if he is gone.
    pub(super) fn control_of(&self, client: ClientId) -> Option<ControlId> {
        self.running.get(&client).copied()
    }

    /// The command has ended.
    pub(super) fn leave(&mut self, client: ClientId) {
        self.running.remove(&client);
    }

    /// Every command that runs.
    pub(super) fn all(&self) -> Vec<(ClientId, ControlId)> {
        self.running.iter().map(|(client, control)| (*client, *control)).collect()
    }

    /// The client is gone: the commands of his that were running.
    pub(super) fn drop_all_of(&mut self, control: ControlId) -> Vec<ClientId> {
        let gone: Vec<ClientId> =
            self.running.iter().filter(|(_, of)| **of == control).map(|(client, _)| *client).collect();
        for client in &gone {
            self.running.remove(client);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_control_socket_have_the_top_bit() {
        assert!(Clients::is_control(ClientId(CONTROL_BIT | 1)));
        assert!(!Clients::is_control(ClientId(1)));
    }
}
