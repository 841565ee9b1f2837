//! Reads the options of a daemon again while it runs, and finds out what changes and what cannot.
//! Also `sprat reload`, the command for it.

use std::{env, io};

use log::LevelFilter;
use serde::Serialize;

use super::args::{self, Command as Parsed, RELOADED, Reload};
use super::origin::{Setting, key, with_origin};
use super::{logging, oneshot, output, paths, service, settings, shim};
use crate::error::{Exit, Failure};
use crate::proto::event::Outcome;
use crate::proto::{ClientEvent, Command};

/// The options with which a daemon runs.
#[derive(Debug)]
pub(crate) struct Options {
    daemon: &'static str,
    settings: Vec<Setting>,
    /// The options that were read, until the node uses them.
    read: Option<(Vec<Setting>, LevelFilter)>,
}

impl Options {
    pub(crate) fn new(daemon: &'static str, settings: Vec<Setting>) -> Options {
        Options { daemon, settings, read: None }
    }

    /// Reads the command line, the environment and the file again.
    ///
    /// # Errors
    /// Exit 2 if one of them is wrong.
    pub(crate) fn read(&mut self) -> Result<Parsed, Failure> {
        service::reloading();
        let lookup = |name: &str| env::var_os(name);
        match shim::parse(env::args_os().skip(1).collect(), &lookup, &paths::read_config) {
            shim::Parsed::Run(run) => {
                self.read = Some((run.settings, run.command.log_level()));
                Ok(run.command)
            }
            shim::Parsed::Usage(error) => Err(Failure::usage(error.sentence)),
            shim::Parsed::Print(_) => Err(Failure::usage("the options ask for the help")),
        }
    }

    /// The log level in the options that were read.
    pub(crate) fn level(&self) -> LevelFilter {
        self.read.as_ref().map_or_else(log::max_level, |(_, level)| *level)
    }

    /// The failure of an option that was read, with the origin of its value.
    pub(crate) fn failed(&self, Failure { exit, message }: Failure) -> Failure {
        let settings = self.read.as_ref().map_or(&[][..], |(settings, _)| settings);
        Failure::new(exit, with_origin(message, settings))
    }

    /// A sentence for each option whose value has changed.
    pub(crate) fn notes(&self) -> Vec<String> {
        let read = self.read.as_ref().map_or(&self.settings[..], |(settings, _)| settings);
        let flags = args::info(self.daemon).map_or(&[][..], |info| info.flags);
        flags
            .iter()
            .filter_map(|flag| note(flag.long, &values(&self.settings, flag.long), &values(read, flag.long)))
            .collect()
    }

    /// The node uses the options that were read, or has refused them because one of them is wrong.
    pub(crate) fn end(&mut self, taken: bool, status: &str) {
        if let Some((settings, level)) = self.read.take().filter(|_| taken) {
            // If an option needs a restart, each reload lists it until then.
            self.settings.retain(|one| !RELOADED.contains(&one.flag));
            self.settings.extend(settings.into_iter().filter(|one| RELOADED.contains(&one.flag)));
            logging::set_level(level);
        }
        service::ready(status);
    }
}

fn values<'a>(settings: &'a [Setting], flag: &str) -> Vec<&'a str> {
    settings.iter().filter(|one| one.flag == flag).map(|one| one.value.as_str()).collect()
}

fn note(flag: &str, before: &[&str], now: &[&str]) -> Option<String> {
    let key = key(flag);
    match (before == now, RELOADED.contains(&flag), now) {
        (true, ..) => None,
        (false, false, _) => Some(format!("{key} cannot change while the daemon runs; restart it")),
        (false, true, []) => Some(format!("{key} has its default now")),
        (false, true, now) => Some(format!("{key} is {} now", now.join(", "))),
    }
}

/// Runs the command.
pub(crate) fn run(args: &Reload) -> Result<u8, Failure> {
    let env = |key: &str| env::var_os(key);
    let socket = |name: &str| paths::running_socket(paths::checked_name(name)?, &env);
    let path = match (&args.control, &args.name) {
        (Some(path), _) => paths::absolute("--control", path)?,
        (None, Some(name)) => socket(name)?,
        (None, None) => {
            let (peer, super_peer) = (socket(settings::PEER_NAME)?, socket(settings::SUPER_NAME)?);
            if !peer.exists() && super_peer.exists() { super_peer } else { peer }
        }
    };
    #[derive(Serialize)]
    struct Note<'a> {
        message: &'a str,
    }
    let (mut ended, mut changed) = (Ok(()), false);
    let name = args.name.as_deref().unwrap_or(settings::PEER_NAME);
    let absent = |error: &io::Error| oneshot::no_peer(&path, name, args.control.is_some(), error);
    oneshot::ask(&path, &Command::Reload, &absent, &mut |event| {
        if let ClientEvent::Note { message } = &event {
            changed = true;
            output::result(args.json, "note", &Note { message }, message)?;
        } else if let ClientEvent::Done(Outcome { ok, exit, error, .. }) = event {
            let exit = [Exit::Usage, Exit::Disk, Exit::Unreachable].into_iter().find(|known| known.code() == exit);
            let refused = || Failure::new(exit.unwrap_or(Exit::Internal), error.unwrap_or_default());
            ended = if ok { Ok(()) } else { Err(refused()) };
            return Ok(true);
        }
        Ok(false)
    })?;
    // This is not an error of the command line of `reload`, so no usage is printed.
    match ended {
        Ok(()) => {
            if !changed {
                output::note("nothing has changed");
            }
            output::done(args.json)
        }
        Err(failure) => {
            let done = ClientEvent::Done(Outcome::failed(&failure));
            if args.json {
                // If standard output is closed, the exit code still reports the result.
                let _ = output::line(&crate::control::event_line(&done, std::time::SystemTime::now()));
            }
            output::error(&format!("the old settings stay: {}", failure.message));
            Ok(failure.exit.code())
        }
    }
}
