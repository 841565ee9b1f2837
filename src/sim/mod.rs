//! The simulated network: the real machines in virtual time, on virtual sockets and disks, with
//! faults that are drawn from a seed.
//!
//! Every message uses the real wire format: it is encoded, passes the faults, and is decoded. There
//! is no model of a machine. Nothing reads a clock, draws a random number outside of [`Random`], or
//! prints. So the same seed always gives the same run ([`World::trace`] proves it).
//!
//! - [`World`]: virtual time, one queue of events ordered by (time, sequence), and the nodes;
//! - [`Random`]: one stream of numbers for each consumer;
//! - [`fault`]: decorators that lose, repeat, hold back, damage or sever datagrams;
//! - [`Contents`]: the contents of the files of a run;
//! - [`builders`]: messages of scripted peers, for tests;
//! - `adversary`: strangers that do harm;
//! - [`oracle`]: what must be true for every query under any fault;
//! - [`topology`]: graphs of neighbors;
//! - [`sweep`]: hundreds of small networks under faults drawn from seeds;
//! - [`lab`]: very many nodes, for the figures of `sprat sim`;
//! - [`swarm`]: many peers that fetch one file, for the figures of `sprat sim --swarm`.
//!
//! It does not simulate windows and backlogs of connections, or short reads and writes of files.

mod adversary;
mod alarm;
pub mod builders;
pub mod content;
mod dials;
mod disk;
pub mod fault;
mod folding;
mod happening;
pub mod lab;
mod matches;
pub mod node;
pub mod oracle;
mod queue;
mod random;
mod roads;
mod shadow;
pub mod swarm;
pub mod sweep;
mod tcp;
pub mod topology;
mod world;

pub use content::{ContentId, Contents};
pub use disk::Trouble;
pub use matches::Match;
pub use node::Machine;
pub use random::Random;
pub use world::{Asked, Counts, Tap, World};
