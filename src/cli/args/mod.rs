//! The commands and their options, as argh reads them. Declarations only: what argh cannot do is in `shim`.
//!
//! Every option that has a default is an `Option` (or a list) here, so that whoever resolves it knows whether it was given;
//! the default stands in the help text and `tests/cli/help.rs` compares that text with the constant.

mod daemons;
mod oneshot;
mod tools;
mod values;

use argh::{ArgsInfo, FromArgs};
pub(crate) use daemons::{Peer, Super};
pub(crate) use oneshot::{Get, List, Query, Status};
pub(crate) use tools::{Bench, BenchTask, Demo, Sim, Sweep};

/// A peer-to-peer file-sharing network in one binary. A weak peer shares a folder; a super peer indexes the files of its
/// weak peers and passes queries on to its neighbours; whoever asks gets verified pieces from several holders at once.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    note = "`sprat COMMAND --help` tells the options of a command, `sprat --version` the version.",
    note = "Every option may come from the environment: --max-size is SPRAT_MAX_SIZE. A flag wins; commas separate the \
            values of a repeated one; a switch is on with 1 or true.",
    error_code(0, "done"),
    error_code(1, "internal or I/O error; another instance runs under that name"),
    error_code(2, "usage: wrong flag, address or pattern; a name that fits several contents"),
    error_code(3, "nothing found"),
    error_code(4, "no answer in time"),
    error_code(5, "cannot reach or was refused; an address to listen on is taken"),
    error_code(6, "integrity: no source gave valid data"),
    error_code(7, "login rejected"),
    error_code(8, "partial: some of many"),
    error_code(9, "local disk or permission"),
    error_code(10, "the other side speaks another major version of the protocol"),
    error_code(130, "interrupted")
)]
pub(crate) struct Top {
    /// print the version and end
    #[argh(switch, short = 'V')]
    #[expect(dead_code, reason = "answered by the shim before argh; here for the help text")]
    pub(crate) version: bool,

    #[argh(subcommand)]
    pub(crate) command: Command,
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
    List(List),
    Status(Status),
}
