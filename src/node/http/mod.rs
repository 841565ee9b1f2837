//! Answers requests of HTTP: it asks the disk and the machine, and passes bytes and files to the
//! net. `crate::http` decides what an answer contains. This module holds what waits for an answer.
//!
//! `files` serves the share on the port of chunks. `gateway` fetches contents that the share lacks.
//! `page` is the page about the node, and `answering` handles the inputs of all three. Only one
//! request of a connection is answered at a time, so the net's cap on connections bounds everything
//! here.

mod answering;
mod fetches;
mod files;
mod gateway;
mod kept;
mod page;
mod searches;
mod sources;
mod state;

pub(super) use self::state::Http;
pub use self::state::{HttpOptions, Token};
