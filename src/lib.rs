//! sprat
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
