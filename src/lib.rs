//! sprat
pub mod config;
pub mod error;
pub mod proto;
pub mod sim;
pub mod time;
pub mod wire;
