//! The state machines of both roles. A driver passes the time and inputs to them ([`Input`]), and
//! performs the outputs that they return ([`Output`]).
//!
//! Nothing here opens a socket or a file, reads a clock, draws a random number of its own or
//! iterates over a hash map. `node` performs the outputs with mio and the disk; `sim` performs them
//! in virtual time. Payload bytes never enter a machine: it handles extents and digests.
//!
//! A driver is a loop: pass an input, take all outputs, perform each of them. The driver below lets
//! a weak peer list the files of a super peer, in memory and in virtual time:
//!
//! ```
//! use std::collections::VecDeque;
//! use std::time::Duration;
//!
//! use sprat::proto::super_peer::{SuperPeer, SuperPeerConfig};
//! use sprat::proto::weak_peer::{WeakPeer, WeakPeerConfig};
//! use sprat::proto::{ClientEvent, ClientId, Command, ConnId, Entropy, Event, Input, Output};
//! use sprat::proto::{OwnAddrs, Role};
//! use sprat::time::Time;
//! use sprat::wire::NodeId;
//!
//! struct Counter(u64);
//! impl Entropy for Counter {
//!     fn next_u64(&mut self) -> u64 {
//!         self.0 += 1;
//!         self.0
//!     }
//! }
//!
//! let (node, supers) = (NodeId([1; 16]), vec!["192.0.2.1:4777".parse().unwrap()]);
//! let login = None;
//! let connect_timeout = Duration::from_secs(10);
//! let agent = "example".to_owned();
//! let download_timeout = Duration::from_secs(300);
//! let (boot, offer) = (1, None);
//! let config = WeakPeerConfig {
//!     node, boot, supers, login, offer, connect_timeout, download_timeout, agent,
//! };
//! let weak_peer = WeakPeer::new(config, Box::new(Counter(1)));
//! let super_peer = SuperPeer::new(SuperPeerConfig::new(NodeId([2; 16]), 2), Box::new(Counter(2)));
//!
//! let mut machines: [Box<dyn Role>; 2] = [Box::new(weak_peer), Box::new(super_peer)];
//! // Inputs that are not delivered yet, each with the number of its machine.
//! let list = Input::Command { client: ClientId(1), command: Command::List { partial: false } };
//! let mut inputs = VecDeque::from([(0, list)]);
//! let conn = ConnId { index: 0, generation: 0 };
//! let mut now = Time::ZERO;
//! let done = 'turns: loop {
//!     now = now + Duration::from_millis(1);
//!     for (me, machine) in machines.iter_mut().enumerate() {
//!         match inputs.pop_front_if(|(to, _)| *to == me) {
//!             Some((_, input)) => machine.handle_input(now, input),
//!             None => machine.handle_timeout(now),
//!         }
//!         while let Some(output) = machine.poll_output() {
//!             match output {
//!                 Output::Dial { dial, .. } => {
//!                     let from = "192.0.2.2:50000".parse().unwrap();
//!                     let to = "192.0.2.1".parse().unwrap();
//!                     let own = OwnAddrs::default();
//!                     let (since, key, unix) = (now, None, 0);
//!                     let accepted = Input::Accepted { conn, from, to, since, key, unix };
//!                     inputs.push_back((1 - me, accepted));
//!                     inputs.push_back((me, Input::Dialed { dial, conn, own, key, unix }));
//!                 }
//!                 Output::Send { conn, message } => {
//!                     inputs.push_back((1 - me, Input::Message { conn, message }));
//!                 }
//!                 Output::Event(event) => {
//!                     if let Event::Client { event: ClientEvent::Done(done), .. } = *event {
//!                         break 'turns done;
//!                     }
//!                 }
//!                 Output::FrameCap { .. } => {}
//!                 other => unreachable!("neither links nor files are used here: {other:?}"),
//!             }
//!         }
//!     }
//! };
//! assert_eq!((done.ok, done.files), (true, Some(0)));
//! ```

pub mod command;
pub(crate) mod crowd;
pub mod disk;
pub mod envelope;
pub mod event;
pub mod glance;
pub mod happening;
pub mod ids;
pub mod input;
pub mod marks;
mod meter;
pub mod output;
mod rate;
pub mod role;
pub mod settings;
pub mod super_peer;
pub mod timers;
pub mod weak_peer;

use crate::wire::ids::Root;

pub use command::{ClientId, Command, PieceOrder, RateLimits, Scope, Verify};
pub use disk::{DiskDone, DiskWork, DownloadId};
pub use event::{ClientEvent, Event};
pub use glance::Glance;
pub use happening::Happening;
pub use ids::{ConnId, DialId, PayloadId, ResolveId};
pub use input::{CloseReason, DialCause, Digests, Input, OwnAddrs, Unanswered, Undelivered};
pub use output::{HashPlan, Limit, Output};
pub use role::{Entropy, Role};
pub use settings::{Settings, SuperSettings, WeakSettings};

/// The number of pieces of a content: none if it is empty.
#[must_use]
pub const fn pieces_of(size: u64) -> u64 {
    size.div_ceil(crate::config::PIECE_BYTES)
}

/// The root of the empty content.
pub const EMPTY_ROOT: Root = Root([
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49, 0x9b, 0xcb, 0x25,
    0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_root_is_blake3_of_nothing() {
        assert_eq!(EMPTY_ROOT.0, *blake3::hash(b"").as_bytes());
    }
}
