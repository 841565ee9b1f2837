//! The commands and their options, as argh reads them. Declarations only: what argh cannot do is in `shim`.
//!
//! Every option that has a default is an `Option` (or a list) here, so that whoever resolves it knows whether it was given;
//! the default stands in the help text and `tests/help.rs` compares that text with the constant.

mod daemons;
mod oneshot;
mod trials;

use argh::{ArgsInfo, FromArgs};
pub(crate) use daemons::{Peer, Super};
pub(crate) use oneshot::{Get, List, Query, Status};
pub(crate) use trials::{Bench, BenchTask, Demo, Sim};

use crate::config::{SUPER_SESSIONS_MAX, TTL_MAX};
use crate::proto::Verify;

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

fn hops(text: &str) -> Result<u8, String> {
    let hops = text.parse().ok().filter(|hops| *hops <= TTL_MAX);
    hops.ok_or_else(|| format!("{text:?} is no number of hops; write one from 0 to {TTL_MAX}"))
}

fn sessions(text: &str) -> Result<usize, String> {
    let sessions = text.parse().ok().filter(|sessions| (1..=SUPER_SESSIONS_MAX).contains(sessions));
    sessions.ok_or_else(|| format!("{text:?} is no number of sessions; write one from 1 to {SUPER_SESSIONS_MAX}"))
}

fn verify(text: &str) -> Result<Verify, String> {
    match text {
        "both" => Ok(Verify::Both),
        "blake3" => Ok(Verify::Blake3),
        "md5" => Ok(Verify::Md5),
        _ => Err("write both, blake3 or md5".into()),
    }
}
