//! Whether the super peer of a session could dial this peer back, as the super peer reports with
//! REACH. It logs changes and decides nothing.

use crate::proto::weak_peer::context::{Context, quoted};
use crate::wire::message::Reach;

/// The last report of the super peer.
#[derive(Debug, Default)]
pub(super) struct DialBack {
    /// The address that could not be dialed, and the reason. None if the last dial succeeded, or if
    /// no dial was reported.
    failed: Option<String>,
}

impl DialBack {
    /// The address at which the super peer could not reach this peer, and the reason.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The super peer has dialed this peer, or tried to.
    pub(super) fn on_reach(&mut self, cx: &mut Context, reach: Reach) {
        let Reach { ok, addr, why } = reach;
        if self.failed.is_some() != ok {
            return;
        }
        if ok {
            self.failed = None;
            return cx.info(format!("the super peer has reached this peer at {addr}"));
        }
        let (port, why) = (addr.port(), quoted(why.as_deref().unwrap_or("no reason is given")));
        self.failed = Some(format!("{addr}: {why}"));
        cx.warn_host(format!(
            "others may not reach this peer: the super peer dialed {addr} and failed ({why}); open TCP port {port} in \
             the firewall, or start the peer with --advertise HOST, at which others reach it"
        ));
    }
}
