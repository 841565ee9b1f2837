//! The commands and their options, as argh reads them. There are only declarations here: `shim`
//! does what argh cannot do.
//!
//! An option with a default is an `Option` (or a list), so that the command knows whether it was
//! given. The help text names the default, and `tests/cli/help.rs` compares it with the constant.

mod about;
mod checks;
mod common;
mod control;
mod daemons;
#[cfg(test)]
mod documented;
mod oneshot;
mod queue;
mod tools;
mod trust;
mod values;

pub(crate) use about::{Completions, Config, Man, Reload};
use argh::{ArgsInfo, CommandInfoWithArgs, FromArgs};
pub(crate) use checks::{Hash, Verify};
pub(crate) use common::{AskedOptions, SearchOptions};
pub(crate) use control::{Events, Map, Subscribe, Wait};
pub(crate) use daemons::{Peer, RELOADED, Super};
use log::LevelFilter;
pub(crate) use oneshot::{Get, List, Query, Status, Uri};
pub(crate) use queue::{Cancel, Downloads, Limit, Pause, Resume};
pub(crate) use tools::{Bench, BenchTask, Demo, Sim, Sweep};
pub(crate) use trust::{Id, Join, Operator, User};

use crate::cli::logging::LogFormat;

/// A peer-to-peer file-sharing network in one binary. A weak peer shares folders. A super peer
/// indexes the files of its weak peers and forwards queries to its neighbors. A download takes
/// verified pieces from several sources at once.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    note = "`sprat COMMAND --help` prints the options of a command, and `sprat --version` prints the version.",
    note = "Each option can be set in the environment: --max-size is SPRAT_MAX_SIZE. A flag overrides the environment. \
            In a variable, commas separate the values of a repeated option, and 1 or true turns a switch on.",
    note = "Options of `sprat super` and `sprat peer` can also be set in a file (see --config): --http-files is \
            http_files = true. The environment overrides the file.",
    error_code(0, "done"),
    error_code(1, "internal error, other I/O error, or a daemon with the same name is running"),
    error_code(2, "the usage is wrong, or the name matches files with different contents"),
    error_code(3, "nothing found"),
    error_code(4, "no answer in time"),
    error_code(5, "a node cannot be reached or refuses the request, or a port is in use"),
    error_code(6, "no source sent valid data, or a file does not have the expected content"),
    error_code(7, "a login was rejected"),
    error_code(8, "some of several items were done, but not all"),
    error_code(9, "an error of the local disk, or a missing permission"),
    error_code(10, "the other side speaks another major version of the protocol"),
    error_code(129, "a one-shot command was ended by SIGHUP"),
    error_code(130, "a one-shot command was ended by SIGINT (Ctrl-C)"),
    error_code(143, "a one-shot command was ended by SIGTERM")
)]
pub(crate) struct Top {
    /// print the version and exit
    #[argh(switch, short = 'V')]
    #[expect(dead_code, reason = "the shim answers it before argh; it is here for the help text")]
    pub(crate) version: bool,

    #[argh(subcommand)]
    pub(crate) command: Command,
}

/// The commands that read a configuration file.
pub(crate) const DAEMONS: [&str; 2] = ["super", "peer"];

/// All commands with their options, as they are declared.
pub(crate) fn program() -> CommandInfoWithArgs {
    Top::get_args_info()
}

/// The options of a command, as they are declared.
pub(crate) fn info(command: &str) -> Option<CommandInfoWithArgs> {
    program().commands.into_iter().find(|sub| sub.name == command).map(|sub| sub.command)
}

/// The first sentence of a description.
pub(crate) fn brief(description: &str) -> &str {
    description.find(". ").map_or(description, |end| &description[..=end])
}

/// One of the commands.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub(crate) enum Command {
    Demo(Demo),
    Bench(Bench),
    Sim(Sim),
    Super(Super),
    Peer(Peer),
    Query(Query),
    Get(Get),
    Uri(Uri),
    Downloads(Downloads),
    Cancel(Cancel),
    Pause(Pause),
    Resume(Resume),
    Limit(Limit),
    List(List),
    Status(Status),
    Events(Events),
    Wait(Wait),
    Subscribe(Subscribe),
    Map(Map),
    Hash(Hash),
    Verify(Verify),
    Id(Id),
    Join(Join),
    User(User),
    Operator(Operator),
    Config(Config),
    Reload(Reload),
    Completions(Completions),
    Man(Man),
}

impl Command {
    /// The log level that the options set.
    pub(crate) fn log_level(&self) -> LevelFilter {
        match self {
            Command::Demo(_) => LevelFilter::Warn,
            Command::Bench(args) => args.log_level(),
            Command::Sim(args) => args.log_level(),
            Command::Super(args) => args.log_level(),
            Command::Peer(args) => args.log_level(),
            Command::Query(args) => args.log_level(),
            Command::Get(args) => args.log_level(),
            Command::Uri(args) => args.log_level(),
            Command::Downloads(args) => args.log_level(),
            Command::Cancel(args) => args.log_level(),
            Command::Pause(args) => args.log_level(),
            Command::Resume(args) => args.log_level(),
            Command::Limit(args) => args.log_level(),
            Command::List(args) => args.log_level(),
            Command::Status(args) => args.log_level(),
            Command::Events(args) => args.log_level(),
            Command::Wait(args) => args.log_level(),
            Command::Subscribe(args) => args.log_level(),
            Command::Map(args) => args.log_level(),
            Command::Hash(args) => args.log_level(),
            Command::Verify(args) => args.log_level(),
            Command::Id(args) => args.log_level(),
            Command::Join(args) => args.log_level(),
            Command::User(args) => args.log_level(),
            Command::Operator(args) => args.log_level(),
            Command::Config(args) => args.log_level(),
            Command::Reload(args) => args.log_level(),
            Command::Completions(args) => args.log_level(),
            Command::Man(args) => args.log_level(),
        }
    }

    /// The format of the log of a daemon; none for a command that people wait for.
    pub(crate) fn log_format(&self) -> Option<LogFormat> {
        match self {
            Command::Super(args) => Some(args.log_format.unwrap_or_default()),
            Command::Peer(args) => Some(args.log_format.unwrap_or_default()),
            Command::Demo(_)
            | Command::Bench(_)
            | Command::Sim(_)
            | Command::Query(_)
            | Command::Get(_)
            | Command::Uri(_)
            | Command::Downloads(_)
            | Command::Cancel(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Limit(_)
            | Command::List(_)
            | Command::Status(_)
            | Command::Events(_)
            | Command::Wait(_)
            | Command::Subscribe(_)
            | Command::Map(_)
            | Command::Hash(_)
            | Command::Verify(_)
            | Command::Id(_)
            | Command::Join(_)
            | Command::User(_)
            | Command::Operator(_)
            | Command::Config(_)
            | Command::Reload(_)
            | Command::Completions(_)
            | Command::Man(_) => None,
        }
    }
}
