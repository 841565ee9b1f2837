//! The built program as its users run it: real processes, real sockets on loopback, real files.
//! Each test checks one behavior.

mod bad_input;
mod bench;
mod clients;
mod common;
mod control;
mod crowd;
mod daemon;
mod documented;
mod failover;
mod http;
mod limits;
mod links;
mod log;
mod login;
mod many;
mod memory;
mod mounts;
mod names;
mod node;
mod places;
mod python_client;
mod queue;
mod sealed;
mod search;
mod share;
mod status;
mod terminal;
mod transfer;
mod uri;
mod window;
