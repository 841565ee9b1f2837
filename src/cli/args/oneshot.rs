//! The options of those that ask something and end: `query`, `get`, `list` and `status`.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::values::{hops, verify};
use crate::cli::units::{Size, Span};
use crate::proto::Verify;
use crate::wire::{HostPort, Policy};

/// Search the network: by words, by a pattern with `*?[`, or by a root in 64 hex digits.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "query",
    help_triggers("-h", "--help"),
    example = "{command_name} '*.flac' --min-size 10M --super 192.0.2.1:4777"
)]
pub(crate) struct Query {
    /// what to look for; a pattern that begins with a dash goes behind `--`
    #[argh(positional, arg_name = "PATTERN")]
    pub(crate) pattern: String,

    /// only files whose name is exactly PATTERN [default: off]
    #[argh(switch)]
    pub(crate) exact: bool,

    /// hops allowed, 0 to 64 [default: the super peer's own setting, 7]
    #[argh(option, arg_name = "N", from_str_fn(hops))]
    pub(crate) ttl: Option<u8>,

    /// time allowed, at most 60s [default: the super peer's own setting, 2s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) budget: Option<Span>,

    /// how the search spreads: flood, digest, ring (in growing circles, until --limit hits are there) or tree (over a
    /// spanning tree: the fewest messages to reach everybody) [default: the super peer's own setting, digest]
    #[argh(option, arg_name = "POLICY")]
    pub(crate) policy: Option<Policy>,

    /// most hits wanted, at most 1000 [default: 1000]
    #[argh(option, arg_name = "N")]
    pub(crate) limit: Option<u32>,

    /// smallest size that counts, such as 10M, 4GiB or 500kB [default: none]
    #[argh(option, arg_name = "SIZE")]
    pub(crate) min_size: Option<Size>,

    /// largest size that counts [default: none]
    #[argh(option, arg_name = "SIZE")]
    pub(crate) max_size: Option<Size>,

    /// ask this super peer as a short-lived peer; may be repeated [default: the peer behind --control is asked]
    #[argh(option, long = "super", arg_name = "HOST:PORT")]
    pub(crate) supers: Vec<HostPort>,

    /// ask the peer that serves this Unix socket [default: the socket of the peer called --name]
    #[argh(option, arg_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    /// name of the local peer to ask [default: peer]
    #[argh(option, arg_name = "NAME")]
    pub(crate) name: Option<String>,

    /// give up with exit 5 if no --super answers within this time [default: 10s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) connect_timeout: Option<Span>,

    /// print one JSON object a line, the last one `done` [default: off]
    #[argh(switch)]
    pub(crate) json: bool,

    /// log more: once debug, twice trace [default: warn]
    #[argh(switch, short = 'v')]
    pub(crate) verbose: u8,

    /// log errors only [default: warn]
    #[argh(switch, short = 'q')]
    pub(crate) quiet: bool,

    /// log level: error, warn, info, debug or trace [default: warn]
    #[argh(option, arg_name = "LEVEL")]
    pub(crate) log_level: Option<log::LevelFilter>,
}

/// Download a file from all who hold it, each piece verified. The same command again resumes what was begun.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "get",
    help_triggers("-h", "--help"),
    example = "{command_name} blue-train.flac -o ~/music/ --super 192.0.2.1:4777"
)]
pub(crate) struct Get {
    /// a name, or a root in 64 hex digits
    #[argh(positional, arg_name = "NAME|ROOT")]
    pub(crate) what: String,

    /// where to put it: a new file, or a folder that exists [default: the share of the peer that is asked; the current
    /// folder with --super]
    #[argh(option, short = 'o', arg_name = "PATH")]
    pub(crate) out: Option<PathBuf>,

    /// only from this peer [default: from all]
    #[argh(option, arg_name = "HOST:PORT")]
    pub(crate) from: Option<HostPort>,

    /// which digests of a piece must fit: both, blake3 or md5; md5 alone proves no identity [default: both]
    #[argh(option, arg_name = "DIGESTS", from_str_fn(verify))]
    pub(crate) verify: Option<Verify>,

    /// hops allowed for the search, 0 to 64 [default: the super peer's own setting, 7]
    #[argh(option, arg_name = "N", from_str_fn(hops))]
    pub(crate) ttl: Option<u8>,

    /// time allowed for the search, at most 60s [default: the super peer's own setting, 2s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) budget: Option<Span>,

    /// how the search spreads: flood, digest, ring or tree [default: the super peer's own setting, digest]
    #[argh(option, arg_name = "POLICY")]
    pub(crate) policy: Option<Policy>,

    /// ask this super peer as a short-lived peer; may be repeated [default: the peer behind --control is asked]
    #[argh(option, long = "super", arg_name = "HOST:PORT")]
    pub(crate) supers: Vec<HostPort>,

    /// have the peer that serves this Unix socket download [default: the socket of the peer called --name]
    #[argh(option, arg_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    /// name of the local peer to ask [default: peer]
    #[argh(option, arg_name = "NAME")]
    pub(crate) name: Option<String>,

    /// give up with exit 5 if no --super answers within this time [default: 10s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) connect_timeout: Option<Span>,

    /// print one JSON object a line, the last one `done` [default: off]
    #[argh(switch)]
    pub(crate) json: bool,

    /// log more: once debug, twice trace [default: warn]
    #[argh(switch, short = 'v')]
    pub(crate) verbose: u8,

    /// log errors only, show no progress [default: warn]
    #[argh(switch, short = 'q')]
    pub(crate) quiet: bool,

    /// log level: error, warn, info, debug or trace [default: warn]
    #[argh(option, arg_name = "LEVEL")]
    pub(crate) log_level: Option<log::LevelFilter>,
}

/// List all files that are registered at the super peer, with their sizes and how many peers hold them; or, with --network,
/// all that the whole network holds, each content once.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "list",
    help_triggers("-h", "--help"),
    example = "{command_name} --super 192.0.2.1:4777 --json"
)]
pub(crate) struct List {
    /// list the whole network instead, page by page, in the order of roots [default: off]
    #[argh(switch)]
    pub(crate) network: bool,

    /// with --network, hops allowed, 0 to 64 [default: the super peer's own setting, 7]
    #[argh(option, arg_name = "N", from_str_fn(hops))]
    pub(crate) ttl: Option<u8>,

    /// with --network, time allowed for each page, at most 60s [default: the super peer's own setting, 2s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) budget: Option<Span>,

    /// with --network, how each search spreads: flood, digest, ring or tree [default: the super peer's own setting, digest]
    #[argh(option, arg_name = "POLICY")]
    pub(crate) policy: Option<Policy>,

    /// ask this super peer as a short-lived peer; may be repeated [default: the peer behind --control is asked]
    #[argh(option, long = "super", arg_name = "HOST:PORT")]
    pub(crate) supers: Vec<HostPort>,

    /// ask the peer that serves this Unix socket [default: the socket of the peer called --name]
    #[argh(option, arg_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    /// name of the local peer to ask [default: peer]
    #[argh(option, arg_name = "NAME")]
    pub(crate) name: Option<String>,

    /// give up with exit 5 if no --super answers within this time [default: 10s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) connect_timeout: Option<Span>,

    /// print one JSON object a line, the last one `done` [default: off]
    #[argh(switch)]
    pub(crate) json: bool,

    /// log more: once debug, twice trace [default: warn]
    #[argh(switch, short = 'v')]
    pub(crate) verbose: u8,

    /// log errors only [default: warn]
    #[argh(switch, short = 'q')]
    pub(crate) quiet: bool,

    /// log level: error, warn, info, debug or trace [default: warn]
    #[argh(option, arg_name = "LEVEL")]
    pub(crate) log_level: Option<log::LevelFilter>,
}

/// Tell how a peer and its super peer are: sessions, files, queries, what was dropped and why.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help"), example = "{command_name} --super 192.0.2.1:4777")]
pub(crate) struct Status {
    /// ask this super peer as a short-lived peer; may be repeated [default: the peer behind --control is asked]
    #[argh(option, long = "super", arg_name = "HOST:PORT")]
    pub(crate) supers: Vec<HostPort>,

    /// ask the peer that serves this Unix socket [default: the socket of the peer called --name]
    #[argh(option, arg_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    /// name of the local peer to ask [default: peer]
    #[argh(option, arg_name = "NAME")]
    pub(crate) name: Option<String>,

    /// give up with exit 5 if no --super answers within this time [default: 10s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) connect_timeout: Option<Span>,

    /// print one JSON object a line, the last one `done` [default: off]
    #[argh(switch)]
    pub(crate) json: bool,

    /// log more: once debug, twice trace [default: warn]
    #[argh(switch, short = 'v')]
    pub(crate) verbose: u8,

    /// log errors only [default: warn]
    #[argh(switch, short = 'q')]
    pub(crate) quiet: bool,

    /// log level: error, warn, info, debug or trace [default: warn]
    #[argh(option, arg_name = "LEVEL")]
    pub(crate) log_level: Option<log::LevelFilter>,
}
