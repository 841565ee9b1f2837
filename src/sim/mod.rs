//! The simulated network: the production machines in virtual time, on virtual sockets and disks, with faults from a seed.
//!
//! Whatever a machine says goes through the production wire: encode, fault, decode. Nothing here is a model of a machine, and
//! nothing reads a clock, draws a number of its own or prints: a run is its seed, and the same seed is the same run
//! ([`World::trace`] proves it).
//!
//! - [`World`]: virtual time, one heap of what is to happen ordered by (time, sequence), the nodes, what they ask for;
//! - [`Random`]: one stream of numbers for each consumer;
//! - [`fault`]: decorators that lose, double, hold back, damage or sever datagrams;
//! - [`Contents`]: what the files of the run hold;
//! - [`oracle`]: what must hold, whatever happened;
//! - [`topology`]: who is whose neighbour;
//! - [`lab`]: very many nodes and the figures of their searches, for `sprat sim`.
//!
//! - [`sweep`]: hundreds of small networks under faults that their seeds draw, and what must hold in all of them.
//!
//! What it does not do: windows and backlogs of connections; short reads and writes of files.

pub mod content;
mod disk;
pub mod fault;
pub mod lab;
pub mod node;
pub mod oracle;
mod queue;
mod random;
mod roads;
mod shadow;
pub mod sweep;
mod tcp;
pub mod topology;
mod world;

pub use content::{ContentId, Contents};
pub use disk::Trouble;
pub use node::Machine;
pub use random::Random;
pub use world::{Asked, Counts, World};
