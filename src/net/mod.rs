//! The sockets of a loop. mio is used in this module only.
//!
//! [`Net`] owns the poll, the listener, the UDP socket, every connection, the control socket and
//! the signals. It reports what they do as [`Arrival`]s, one at a time and on demand, and performs
//! the outputs of a machine. It never interprets a message, never opens a file and never reads the
//! clock: the loop gives it the time once per turn.
//!
//! A turn, as `node` drives it: [`Net::poll`], [`Net::begin_turn`], [`Net::next`] until it returns
//! `None` (outputs are performed in between), [`Net::expire`], [`Net::flush`], [`Net::end_turn`].
//!
//! - mio is edge-triggered. Readiness is latched per socket and cleared on `WouldBlock`. On Linux a
//!   read that empties the socket also clears it, which saves one more read. Every connection has a
//!   budget of bytes per turn. A connection that has used up its budget goes to the back of the run
//!   queue. While this queue is not empty, the poll does not wait.
//! - Ids carry a generation, and slots are freed only at the end of a turn. An event or an output
//!   for a connection that was closed earlier in this turn finds a dead slot. If the connection was
//!   closed in an earlier turn, it finds no slot. Both cases are counted and have no effect.
//! - Every queue has a cap in `config` and one reaction: a connection with a full send queue is
//!   closed. If a connection does not read its answers, its requests stay unread. Datagrams that
//!   the kernel does not accept are dropped.
//!
//! Limits on bytes per second apply to sent bytes of files and to received bytes of chunks. A
//! connection that must wait is neither read nor written until it may continue.
//!
//! Parts with their own state: `Connections` (table, run queue, budgets), `Acceptor`, `Dialer`,
//! `ControlSocket`, `Datagrams`. They share the `Context`. Each further listener is a struct like
//! `Acceptor`. A `Transport` is plain TCP or TLS. HTTP is a phase of a connection. On the listener
//! for frames, the first byte of a connection shows whether it is HTTP. The page has a listener of
//! its own.
//!
//! In login mode every connection begins with a handshake. The machine gets the connection once the
//! handshake is complete, with the key that the other side has proved. An accepted connection whose
//! handshake fails is never reported to the machine.

mod acceptor;
mod admission;
mod alarm;
mod arrival;
mod buffers;
mod connection;
mod connections;
mod context;
mod control;
mod counters;
mod deadlines;
mod dialer;
mod half_open;
mod interfaces;
mod lanes;
mod outputs;
mod own_addrs;
mod reactor;
mod resolver;
mod send_queue;
mod sendfile;
mod signals;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod throttle;
mod tls;
mod token;
mod transport;
mod udp;

pub use alarm::Alarm;
pub use arrival::{Arrival, ControlId};
pub use counters::Counters;
pub use reactor::{Net, NetOptions};
pub use signals::{ending_signals, hangup_reloads};
pub use tls::TlsIdentity;
