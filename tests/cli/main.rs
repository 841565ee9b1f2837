//! The program on its command line: usage and exit codes, help, `sprat sim`, and the commands
//! together.

mod commands;
mod config;
mod hash;
mod help;
mod sim;
mod usage;
