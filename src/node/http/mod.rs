//! Answers requests of HTTP: it asks the disk and the machine, and hands bytes and files to the
//! net. `crate::http` decides what an answer says; here is only what waits for one.
//!
//! `files` is the share on the port of chunks, `gateway` fetches what the share lacks, `page` is
//! the page about the node, and `answering` takes the inputs of all. One request of a connection is
//! answered at a time, so the net's cap on connections bounds everything here.

mod answering;
mod fetches;
mod files;
mod gateway;
mod page;
mod searches;
mod sources;
mod state;

pub(super) use self::state::Http;
pub use self::state::{HttpOptions, Token};
