//! A connection that an adversary opens again and again, each time to the next honest node.

use std::time::Duration;

use super::hands::Hands;
use crate::proto::{ConnId, DialId, Input, Output};
use crate::time::Time;
use crate::wire::HostPort;

/// What has happened to the connection.
#[derive(Debug)]
pub(super) enum Call {
    Open(ConnId),
    Gone,
    /// A message, or an input about another connection.
    Other,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Caller {
    targets: Vec<HostPort>,
    /// How long to wait before the connection is opened again.
    pause: Duration,
    /// Distinguishes its dials from those of other callers of the same node: the number of callers,
    /// and the number of this one.
    share: (u64, u64),
    dials: u64,
    busy: bool,
    conn: Option<ConnId>,
    dial_at: Time,
}

impl Caller {
    pub(super) fn new(targets: Vec<HostPort>, pause: Duration, share: (u64, u64)) -> Caller {
        Caller { targets, pause, share, dials: 0, busy: false, conn: None, dial_at: Time::ZERO }
    }

    pub(super) fn conn(&self) -> Option<ConnId> {
        self.conn
    }

    /// The number of the node to which the connection is.
    pub(super) fn target(&self) -> usize {
        usize::try_from(self.dials).unwrap_or(0) % self.targets.len()
    }

    fn dial(&self) -> DialId {
        let (callers, this) = self.share;
        DialId(self.dials * callers + this)
    }

    pub(super) fn on_input(&mut self, input: &Input<'_>, hands: &Hands<'_>) -> Call {
        match input {
            Input::Dialed { dial, conn, .. } if self.busy && *dial == self.dial() => {
                self.conn = Some(*conn);
                Call::Open(*conn)
            }
            Input::DialFailed { dial, .. } if self.busy && *dial == self.dial() => self.gone(hands),
            Input::Closed { conn, .. } if self.conn == Some(*conn) => self.gone(hands),
            _ => Call::Other,
        }
    }

    fn gone(&mut self, hands: &Hands<'_>) -> Call {
        (self.busy, self.conn) = (false, None);
        self.dial_at = hands.now + self.pause;
        Call::Gone
    }

    /// Closes the connection if it is open. It is opened again after the pause.
    pub(super) fn hang_up(&mut self, hands: &mut Hands<'_>) {
        if let Some(conn) = self.conn {
            hands.close(conn);
            self.gone(hands);
        }
    }

    pub(super) fn on_time(&mut self, hands: &mut Hands<'_>) {
        if !self.busy && hands.now >= self.dial_at {
            self.dials += 1;
            self.busy = true;
            let to = self.targets[self.target()].clone();
            hands.act(Output::Dial { dial: self.dial(), to, key: None });
        }
    }

    pub(super) fn wake_at(&self) -> Option<Time> {
        (!self.busy).then_some(self.dial_at)
    }
}
