//! A weak peer among scripted super peers, sources and disk, in virtual time.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for the one thing that it is about")]

mod addresses;
mod chaos;
mod commands;
mod course;
mod downloads;
mod faults;
mod harness;
mod hostile;
mod order;
mod queue;
mod session;
mod small;
mod swarms;
mod uploads;
