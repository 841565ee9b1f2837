//! sprat
pub mod config;
pub mod disk;
pub mod error;
pub mod proto;
pub mod time;
pub mod wire;
