//! The states of a session, and which messages its super peer may send in each (PROTOCOL.md, 4.2).

use crate::proto::{ConnId, DialId};
use crate::wire::Message;
use crate::wire::message::{sent_by_sources, sent_to_sources, sent_to_super_peers};

/// The state of a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// The session has not begun, waits for the next round, or has ended.
    Idle,
    Dialing(DialId),
    /// HELLO is sent, and WELCOME has not come.
    Greeting(ConnId),
    /// WELCOME has come, and the super peer has proved the key that it had to prove. READY has not
    /// come.
    LoggingIn(ConnId),
    Up(ConnId),
}

/// The messages that follow HELLO on a connection. If the super peer has proved the expected key,
/// they are sent before WELCOME comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Introduction {
    Nothing,
    /// ENROLL; ENROLLED has not come.
    Enroll,
    /// LOGIN, and the first pages of the file list.
    Login,
}

impl State {
    pub(super) fn is_up(self) -> bool {
        matches!(self, State::Up(_))
    }

    /// The connection of the session, if it has one.
    pub(super) fn conn(self) -> Option<ConnId> {
        match self {
            State::Greeting(conn) | State::LoggingIn(conn) | State::Up(conn) => Some(conn),
            State::Idle | State::Dialing(_) => None,
        }
    }

    /// Whether the super peer may send this message now; `introduction` was sent to it after HELLO.
    pub(super) fn is_in_order(self, introduction: Introduction, message: &Message) -> bool {
        let logs_in = |sent| matches!(self, State::LoggingIn(_)) && introduction == sent;
        match message {
            Message::Welcome(_) => matches!(self, State::Greeting(_)),
            Message::Enrolled(_) => logs_in(Introduction::Enroll),
            Message::Ready(_) => logs_in(Introduction::Login),
            Message::Bye(_) | Message::Error(_) | Message::Unknown(_) => true,
            Message::Ack(_)
            | Message::Pong(_)
            | Message::Ping(_)
            | Message::Hit(_)
            | Message::Done(_)
            | Message::Files(_)
            | Message::Info(_)
            | Message::Peers(_)
            | Message::Reach(_)
            | Message::Revoked(_)
            | Message::Classes(_) => self.is_up(),
            Message::Hello(_)
            | Message::Login(_)
            | Message::Cancel(_)
            | sent_to_super_peers!()
            | sent_to_sources!()
            | sent_by_sources!() => false,
        }
    }
}
