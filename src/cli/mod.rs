//! The commands, one file each, and what they share. This is the only module that prints. The tools
//! (demo, bench, sim) are in `tools`.
//!
//! `shim` and `args` convert the command line and the environment to an `args::Command`. The file
//! of the command runs it, and returns an exit code or a [`Failure`]. This module dispatches, and
//! reports failures as text or as JSON.

mod accounts;
mod args;
mod columns;
mod completions;
mod configuration;
mod discovery;
mod events;
mod failures;
mod format;
mod get;
mod hash;
mod hints;
mod id;
mod identity;
mod join;
mod layers;
mod links;
mod list;
mod logging;
mod manual;
mod map;
mod member;
mod memory;
mod modes;
mod nearest;
mod oneshot;
mod operator;
mod origin;
mod output;
mod pasted;
mod paths;
mod peer;
mod present;
mod private;
mod progress;
mod prompt;
mod query;
mod queue;
mod random;
mod ready;
mod reload;
mod report;
mod results;
mod screen;
mod service;
mod settings;
mod settings_file;
mod shim;
mod sink;
mod status;
mod subscribe;
mod super_peer;
mod table;
mod talk;
mod tools;
mod units;
mod uri;
mod user;
mod verify;
mod wait;
mod watch;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, io};

use args::Command;
use shim::{Parsed, Run, UsageError};
use signal_hook::consts::SIGXFSZ;

use crate::control;
use crate::error::{Exit, Failure};
use crate::proto::ClientEvent;
use crate::proto::event::Outcome;

/// The program: reads the arguments and the environment of the process, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    survive_file_size_limit();
    let lookup = |name: &str| env::var_os(name);
    let code = match shim::parse(env::args_os().skip(1).collect(), &lookup, &paths::read_config) {
        Parsed::Run(command) => run(*command),
        Parsed::Print(text) => print(&text),
        Parsed::Usage(error) => wrong_usage(&error),
    };
    ExitCode::from(code)
}

/// Without a handler, a write beyond the limit on file sizes (`ulimit -f`) ends the process. With a
/// handler, only that write fails, and with it one download.
fn survive_file_size_limit() {
    if let Err(error) = signal_hook::flag::register(SIGXFSZ, Arc::default()) {
        output::note(&format!("sprat: a write beyond ulimit -f will end this process: {error}"));
    }
}

fn run(Run { command, name, settings, json }: Run) -> u8 {
    let format = command.log_format();
    logging::start(command.log_level(), format);
    let ended = match command {
        Command::Demo(args) => tools::demo::run(&args),
        Command::Bench(args) => tools::bench::run(&args),
        Command::Sim(args) => tools::sim::run(&args),
        Command::Super(args) => super_peer::run(&args, settings.clone()),
        Command::Peer(args) => peer::run(args, settings.clone()),
        Command::Query(args) => query::run(args),
        Command::Get(args) => get::run(args),
        Command::Uri(args) => uri::run(args),
        Command::Downloads(args) => queue::downloads(&args),
        Command::Cancel(args) => queue::cancel(&args),
        Command::Pause(args) => queue::pause(&args),
        Command::Resume(args) => queue::resume(&args),
        Command::Limit(args) => queue::limit(&args),
        Command::List(args) => list::run(args),
        Command::Status(args) => status::run(args),
        Command::Events(args) => events::run(&args),
        Command::Wait(args) => wait::run(&args),
        Command::Subscribe(args) => subscribe::run(&args),
        Command::Map(args) => map::run(&args),
        Command::Hash(args) => hash::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Id(args) => id::run(&args),
        Command::Join(args) => join::run(&args),
        Command::User(args) => user::run(&args),
        Command::Operator(args) => operator::run(&args),
        Command::Config(args) => configuration::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => manual::run(&args),
    };
    match ended {
        Ok(code) => code,
        // Nobody reads standard output any more.
        Err(failure) if failure.exit == Exit::Ok => failure.exit.code(),
        Err(failure) if failure.exit == Exit::Usage => {
            let sentence = origin::with_origin(failure.message, &settings);
            wrong_usage(&UsageError { sentence, usage: shim::usage(&name), json })
        }
        // This is the last line of a daemon's log.
        Err(failure) if format.is_some() && logging::is_for_programs() => {
            if json {
                print_done(&failure);
            }
            log::error!(exit = failure.exit.code(); "{failure}");
            failure.exit.code()
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

fn print(text: &str) -> u8 {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Ok.code(),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Ok.code(),
        Err(_) => Exit::Internal.code(),
    }
}

fn wrong_usage(error: &UsageError) -> u8 {
    let failure = Failure::usage(error.sentence.clone());
    if error.json {
        print_done(&failure);
    }
    output::error(&failure.message);
    output::note(error.usage.trim_end());
    failure.exit.code()
}

fn print_done(failure: &Failure) {
    let done = ClientEvent::Done(Outcome::failed(failure));
    // If standard output is closed, the exit code still reports the result.
    let _ = output::line(&control::event_line(&done, std::time::SystemTime::now()));
}
