//! sprat
pub mod cli;
pub mod config;
pub mod error;
pub mod proto;
pub mod time;
pub mod wire;
