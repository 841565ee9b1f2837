//! sprat
pub mod config;
pub mod error;
pub mod time;
pub mod wire;
