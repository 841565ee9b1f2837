//! sprat: a two-tier peer-to-peer file-sharing network in one small binary. This is its library,
//! for the binary, the tests and the examples.
//!
//! Start with [`proto`]. Its two pure machines are [`SuperPeer`](proto::super_peer::SuperPeer) and
//! [`WeakPeer`](proto::weak_peer::WeakPeer). They take the time and inputs ([`proto::Input`]), and
//! answer with outputs ([`proto::Output`]). They exchange the messages of PROTOCOL.md, which
//! [`wire`] defines as types. [`node`] is the loop that performs their outputs with [`net`] (the
//! only module that uses mio) and [`disk`] (the only module that opens shared files, on a worker
//! thread). [`sim`] performs the same outputs in virtual time, with faults.
//!
//! [`control`] is the JSON form of commands and events. [`bench`](mod@bench) is a machine that acts
//! as many peers. [`cli`] has one file per command. Every limit is in [`config`], every exit code
//! in [`error`].
//!
//! [`trust`] has keys, credentials and invitations: who a node is, and who may take part. [`http`]
//! has the rules of HTTP: heads, ranges, conditions, pages.
//!
//! [`fold`] is the form in which names are compared. [`memory`] counts what the binary has
//! allocated.
//!
//! The modules form layers. A module imports only modules of earlier layers; a test checks this:
//!
//! 1. `time`, `config`, `error`, `memory`, `fold`
//! 2. `wire`, then `http`
//! 3. `trust`
//! 4. `proto`
//! 5. `net`, `disk`, `sim`, `control`, `bench`
//! 6. `node`
//! 7. `cli`

pub mod bench;
pub mod cli;
pub mod config;
pub mod control;
pub mod disk;
pub mod error;
pub mod fold;
pub mod http;
pub mod memory;
pub mod net;
pub mod node;
pub mod proto;
pub mod sim;
pub mod time;
pub mod trust;
pub mod wire;
