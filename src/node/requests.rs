//! Which client of the control socket has sent which command. In the ids of these commands the top
//! bit is set.

use std::collections::BTreeMap;

use crate::net::ControlId;
use crate::proto::ClientId;

/// Set in the ids of commands that came over the control socket.
const CONTROL_BIT: u64 = 1 << 63;

/// The client that gets the answers to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) control: ControlId,
    /// The number that the client gave to the command, if it gave one. Each answer repeats it.
    pub(super) req: Option<u64>,
}

/// The commands of the control socket that run. The caps on its clients and on their commands bound
/// their number.
#[derive(Debug, Default)]
pub(super) struct Requests {
    minted: u64,
    running: BTreeMap<ClientId, Asked>,
}

impl Requests {
    /// A new id for a command.
    pub(super) fn enter(&mut self, asked: Asked) -> ClientId {
        self.minted += 1;
        let client = ClientId(CONTROL_BIT | self.minted);
        self.running.insert(client, asked);
        client
    }

    /// Whether the id belongs to the control socket, and not to the host.
    pub(super) fn is_control(client: ClientId) -> bool {
        client.0 & CONTROL_BIT != 0
    }

    /// The client that gets the answers to this command; none if it is gone.
    pub(super) fn asked(&self, client: ClientId) -> Option<Asked> {
        self.running.get(&client).copied()
    }

    /// The command has ended.
    pub(super) fn leave(&mut self, client: ClientId) {
        self.running.remove(&client);
    }

    /// Ends all commands. Returns the client of each.
    pub(super) fn leave_all(&mut self) -> impl Iterator<Item = Asked> + use<> {
        std::mem::take(&mut self.running).into_values()
    }

    /// The client is gone. Returns those of its commands that were running.
    pub(super) fn drop_all_of(&mut self, control: ControlId) -> Vec<ClientId> {
        self.running.extract_if(.., |_, of| of.control == control).map(|(client, _)| client).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_control_socket_have_the_top_bit() {
        assert!(Requests::is_control(ClientId(CONTROL_BIT | 1)));
        assert!(!Requests::is_control(ClientId(1)));
    }
}
