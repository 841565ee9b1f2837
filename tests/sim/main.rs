//! The production machines in the simulated network: single behaviors, and the sweep over many
//! seeds.

#![allow(clippy::print_stderr, reason = "a failing seed prints the command that replays it")]

mod clients;
mod common;
mod download;
mod links;
mod logins;
mod queue;
mod search;
mod sweep;
