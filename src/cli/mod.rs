//! The commands: one file each, and what they share. The only room that prints.
//!
//! `shim` and `args` make an `args::Command` of the command line and the environment; each command's file runs it and
//! answers with an exit code or a [`Failure`]; the end of the process, with its sentence or its JSON, is here.

mod args;
mod format;
mod get;
mod list;
mod logging;
mod oneshot;
mod output;
mod paths;
mod peer;
mod present;
mod progress;
mod prompt;
mod query;
mod random;
mod ready;
mod settings;
mod shim;
mod status;
mod super_peer;
mod tools;
mod units;

use std::io::Write;
use std::process::ExitCode;
use std::{env, io};

use args::Command;
use log::LevelFilter;
use shim::{Parsed, UsageError};

use crate::control;
use crate::error::{Exit, Failure};
use crate::proto::ClientEvent;
use crate::proto::event::Outcome;

/// The program: the process's arguments and environment in, its exit code out.
#[must_use]
pub fn main() -> ExitCode {
    let lookup = |name: &str| env::var_os(name);
    let code = match shim::parse(env::args_os().skip(1).collect(), &lookup) {
        Parsed::Run(command) => run(*command),
        Parsed::Print(text) => print(&text),
        Parsed::Usage(error) => wrong_usage(&error),
    };
    ExitCode::from(code)
}

fn run(command: Command) -> u8 {
    start_logging(&command);
    let (name, json) = match &command {
        Command::Demo(_) => ("demo", false),
        Command::Bench(args) => ("bench", args.json),
        Command::Sim(args) => ("sim", args.json),
        Command::Super(_) => ("super", false),
        Command::Peer(_) => ("peer", false),
        Command::Query(args) => ("query", args.json),
        Command::Get(args) => ("get", args.json),
        Command::List(args) => ("list", args.json),
        Command::Status(args) => ("status", args.json),
    };
    let ended = match command {
        Command::Demo(args) => tools::demo::run(&args),
        Command::Bench(args) => tools::bench::run(&args),
        Command::Sim(args) => tools::sim::run(&args),
        Command::Super(args) => super_peer::run(&args),
        Command::Peer(args) => peer::run(args),
        Command::Query(args) => query::run(args),
        Command::Get(args) => get::run(args),
        Command::List(args) => list::run(args),
        Command::Status(args) => status::run(args),
    };
    match ended {
        Ok(code) => code,
        Err(failure) if failure.exit == Exit::Usage => {
            wrong_usage(&UsageError { sentence: failure.message, usage: shim::usage(name), json })
        }
        Err(failure) => {
            if json {
                print_done(&failure);
            }
            output::error(&failure.message);
            failure.exit.code()
        }
    }
}

fn start_logging(command: &Command) {
    let (level, quiet, verbose, default) = match command {
        Command::Demo(_) => (None, false, 0, LevelFilter::Warn),
        Command::Sim(args) => (args.log_level, args.quiet, args.verbose, LevelFilter::Warn),
        Command::Bench(args) => (args.log_level, args.quiet, args.verbose, LevelFilter::Warn),
        Command::Super(args) => (args.log_level, args.quiet, args.verbose, LevelFilter::Info),
        Command::Peer(args) => (args.log_level, args.quiet, args.verbose, LevelFilter::Info),
        Command::Query(args) => (args.log_level, args.quiet, args.verbose, LevelFilter::Warn),
        Command::Get(args) => (args.log_level, args.quiet, args.verbose, LevelFilter::Warn),
        Command::List(args) => (args.log_level, args.quiet, args.verbose, LevelFilter::Warn),
        Command::Status(args) => (args.log_level, args.quiet, args.verbose, LevelFilter::Warn),
    };
    logging::start(logging::level(level, quiet, verbose, default));
}

fn print(text: &str) -> u8 {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Ok.code(),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Ok.code(),
        Err(_) => Exit::Internal.code(),
    }
}

fn wrong_usage(error: &UsageError) -> u8 {
    let failure = Failure::new(Exit::Usage, error.sentence.clone());
    if error.json {
        print_done(&failure);
    }
    output::error(&failure.message);
    output::note(error.usage.trim_end());
    failure.exit.code()
}

fn print_done(failure: &Failure) {
    let done = ClientEvent::Done(Outcome::failed(failure));
    // If standard output is closed, the exit code is the answer.
    let _ = output::line(&control::event_line(&done, std::time::SystemTime::now()));
}
