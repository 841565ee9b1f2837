//! Answers requests of HTTP: it asks the disk and the machine, and hands bytes and files to the
//! net. What is right is decided in `crate::http`; here is only what waits for an answer.
//!
//! `files` is the share on the port of chunks, `page` the page about the node, `answering` takes
//! the inputs of both. One request of a connection is answered at a time, so the net's cap on
//! connections bounds everything here.

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
