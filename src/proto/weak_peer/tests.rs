//! A weak peer among scripted super peers, sources and disk, in virtual time.

mod commands;
mod downloads;
mod harness;
mod session;
mod uploads;
