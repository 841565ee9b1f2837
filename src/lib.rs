//! sprat: a two-tier peer-to-peer file-sharing network in one small binary. The crate behind it, for its own tests and examples.
//!
//! Start with [`proto`]: two pure machines, [`SuperPeer`](proto::super_peer::SuperPeer) and [`WeakPeer`](proto::weak_peer::WeakPeer), that are told the
//! time and what arrived ([`proto::Input`]) and answer with what to do ([`proto::Output`]). They speak the messages of [`wire`],
//! which is PROTOCOL.md in types. [`node`] is the loop that performs their outputs with [`net`] (the only room with mio) and
//! [`disk`] (the only one with files, on one worker thread); [`sim`] performs the same outputs in virtual time, with faults.
//! [`control`] is the JSON form of commands and events, [`bench`](mod@bench) one more machine that plays many peers, [`cli`] one file per
//! command. Every limit stands in [`config`], every exit code in [`error`].
//!
//! Imports run one way: `time, config, error → wire → proto → {net, disk, sim, control, bench} → node → cli`; a test checks it.

pub mod bench;
pub mod cli;
pub mod config;
pub mod control;
pub mod disk;
pub mod error;
pub mod net;
pub mod node;
pub mod proto;
pub mod sim;
pub mod time;
pub mod wire;
