//! The commands and their options, as argh reads them. Declarations only: what argh cannot do is in `shim`.
//!
//! Every option that has a default is an `Option` (or a list) here, so that whoever resolves it knows whether it was given;
//! the default stands in the help text and `tests/help.rs` compares that text with the constant.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::sim::Sweep;
use super::units::{Size, Span};
use crate::bench::Mode;
use crate::config::{HOMES_MAX, TTL_MAX};
use crate::proto::Verify;
use crate::wire::{HostPort, Policy};

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

/// Run a super peer: index the files of weak peers, answer their queries, pass queries on to neighbours.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "super",
    help_triggers("-h", "--help"),
    example = "{command_name} --listen 192.0.2.1:4777 --neighbor 192.0.2.2:4777"
)]
pub(crate) struct Super {
    /// address of the TCP listener and of the UDP socket, port 0 for any; [::]:4777 also takes IPv6
    /// [default: 0.0.0.0:4777]
    #[argh(option, arg_name = "HOST:PORT")]
    pub(crate) listen: Option<HostPort>,

    /// another super peer to pass queries on to; it must name this one as well; may be repeated [default: none]
    #[argh(option, arg_name = "HOST:PORT")]
    pub(crate) neighbor: Vec<HostPort>,

    /// hops a query may go unless it says otherwise, at most 64 [default: 7]
    #[argh(option, arg_name = "N", from_str_fn(hops))]
    pub(crate) ttl: Option<u8>,

    /// time a query may take unless it says otherwise, at most 60s [default: 2s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) budget: Option<Span>,

    /// how often a silent weak peer has to say that it is alive [default: 30s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) ping: Option<Span>,

    /// name of this daemon: its state folder and its lock [default: super]
    #[argh(option, arg_name = "NAME")]
    pub(crate) name: Option<String>,

    /// folder for its state [default: $STATE_DIRECTORY/NAME, else $XDG_STATE_HOME/sprat/NAME, else
    /// ~/.local/state/sprat/NAME]
    #[argh(option, arg_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// write one JSON object here as soon as it serves; removed when it ends [default: none]
    #[argh(option, arg_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,

    /// log more: once debug, twice trace [default: info]
    #[argh(switch, short = 'v')]
    pub(crate) verbose: u8,

    /// log errors only [default: info]
    #[argh(switch, short = 'q')]
    pub(crate) quiet: bool,

    /// log level: error, warn, info, debug or trace [default: info]
    #[argh(option, arg_name = "LEVEL")]
    pub(crate) log_level: Option<log::LevelFilter>,
}

/// Run a weak peer: share a folder, serve its files in verified pieces, search and download.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "peer",
    help_triggers("-h", "--help"),
    example = "{command_name} --super 192.0.2.1:4777 --share ~/music"
)]
pub(crate) struct Peer {
    /// a super peer; may be repeated: the first that answers is used, the others are for when it fails, or for --homes
    /// [required]
    #[argh(option, long = "super", arg_name = "HOST:PORT")]
    pub(crate) supers: Vec<HostPort>,

    /// how many super peers to be with at once, 1 or 2: its files are registered at each, its searches ask each, and one that is
    /// lost is replaced by the next of the list [default: 1]
    #[argh(option, arg_name = "N", from_str_fn(homes))]
    pub(crate) homes: Option<usize>,

    /// folder whose files are shared, and where downloads land [required]
    #[argh(option, arg_name = "DIR")]
    pub(crate) share: Option<PathBuf>,

    /// address on which it serves pieces, port 0 for any; [::]:4778 also takes IPv6 [default: 0.0.0.0:4778]
    #[argh(option, arg_name = "HOST:PORT")]
    pub(crate) listen: Option<HostPort>,

    /// host under which others dial it [default: the address of --listen, or, if that is 0.0.0.0 or [::], the
    /// address that the super peer sees]
    #[argh(option, arg_name = "HOST")]
    pub(crate) advertise: Option<String>,

    /// name of this daemon: its state folder, lock and socket [default: peer]
    #[argh(option, arg_name = "NAME")]
    pub(crate) name: Option<String>,

    /// give up with exit 5 if no super peer answers within this time at the start [default: 10s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) connect_timeout: Option<Span>,

    /// read commands from standard input even if it is no terminal [default: only on a terminal]
    #[argh(switch)]
    pub(crate) prompt: bool,

    /// path of the Unix socket for one-shot commands [default: $RUNTIME_DIRECTORY/NAME.sock, else
    /// $XDG_RUNTIME_DIR/sprat/NAME.sock, else NAME.sock in the state folder]
    #[argh(option, arg_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    /// folder for its state: node id, digests of unchanged files, history [default: $STATE_DIRECTORY/NAME, else
    /// $XDG_STATE_HOME/sprat/NAME, else ~/.local/state/sprat/NAME]
    #[argh(option, arg_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// write one JSON object here as soon as it serves; removed when it ends [default: none]
    #[argh(option, arg_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,

    /// log more: once debug, twice trace [default: info]
    #[argh(switch, short = 'v')]
    pub(crate) verbose: u8,

    /// log errors only, show no progress [default: info]
    #[argh(switch, short = 'q')]
    pub(crate) quiet: bool,

    /// log level: error, warn, info, debug or trace [default: info]
    #[argh(option, arg_name = "LEVEL")]
    pub(crate) log_level: Option<log::LevelFilter>,
}

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

/// Show all of it on this machine: four super peers in a ring, peers that share a file, a search across two hops, and a
/// download from four sources of which one is killed and one lies. Needs no network, no root and no fixed ports.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "demo", help_triggers("-h", "--help"), example = "{command_name} --stay")]
pub(crate) struct Demo {
    /// share a copy of this file instead of one made at random [default: 128 MiB at random]
    #[argh(option, arg_name = "PATH")]
    pub(crate) file: Option<PathBuf>,

    /// keep the network up until Ctrl-C, and print commands to try on it [default: off]
    #[argh(switch)]
    pub(crate) stay: bool,
}

/// Load a super peer and measure it: set-ups, registrations, queries, floods, downloads. MODE is idle, connect, register,
/// query, churn, get or flood; or compare, with two files of results.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "bench", help_triggers("-h", "--help"), example = "{command_name} query --self --depth 16")]
pub(crate) struct Bench {
    /// idle: sessions that say nothing; connect: set-ups; register: files; query: queries of sessions; churn: sessions that
    /// come, share, ask, download and leave; get: downloads; flood: queries of a neighbouring super peer; compare: two
    /// files of what --json printed
    #[argh(positional, arg_name = "MODE", from_str_fn(task))]
    pub(crate) mode: BenchTask,

    /// compare: the files, each with one line or, for several runs of the same, one line for each
    #[argh(positional, arg_name = "FILE")]
    pub(crate) results: Vec<PathBuf>,

    /// load this super peer [default: none, --self is needed]
    #[argh(option, long = "super", arg_name = "HOST:PORT")]
    pub(crate) supers: Vec<HostPort>,

    /// load a super peer, and peers where the mode needs them, that are started for it [default: off]
    #[argh(switch, long = "self")]
    pub(crate) own: bool,

    /// sessions that make the load [default: idle 1000, connect 2000, register 10, query 50, churn 20]
    #[argh(option, arg_name = "N")]
    pub(crate) sessions: Option<usize>,

    /// requests that are out at once: query, for each session; flood, for its link; get, downloads at once
    /// [default: query 1, flood 64, get 1]
    #[argh(option, arg_name = "N")]
    pub(crate) depth: Option<usize>,

    /// query and flood: send so many a second, whatever the answers do; latencies then begin when a query was meant to
    /// be sent [default: the next one when an answer comes]
    #[argh(option, arg_name = "PER_SECOND")]
    pub(crate) rate: Option<u32>,

    /// how long is measured; connect and register end when they are done [default: 2]
    #[argh(option, arg_name = "SECONDS")]
    pub(crate) seconds: Option<f64>,

    /// files to register: in all, or for each session in idle, connect and churn; query and flood do so only if the
    /// index is empty or this is given [default: idle 0, connect and churn 1, register 200000, query and flood 10000]
    #[argh(option, arg_name = "N")]
    pub(crate) files: Option<u64>,

    /// get and churn with --self: peers that serve the file, at most 16 [default: 1]
    #[argh(option, arg_name = "K")]
    pub(crate) sources: Option<usize>,

    /// get and churn with --self: length of the file; get with --super: the longest file that is taken
    /// [default: get 64M, churn 64K]
    #[argh(option, arg_name = "SIZE")]
    pub(crate) size: Option<Size>,

    /// get: which digests of a piece must fit: both, blake3 or md5 [default: both]
    #[argh(option, arg_name = "DIGESTS", from_str_fn(verify))]
    pub(crate) verify: Option<Verify>,

    /// flood with --super: where datagrams are taken, an address that the super peer names as --neighbor [default: none]
    #[argh(option, arg_name = "HOST:PORT")]
    pub(crate) listen: Option<HostPort>,

    /// process of the super peer behind --super, if it runs here, to tell its memory and CPU time [default: none]
    #[argh(option, arg_name = "PID")]
    pub(crate) pid: Option<u32>,

    /// print one JSON object: the line `done` [default: off]
    #[argh(switch)]
    pub(crate) json: bool,

    /// print comma-separated values, a line of names and one of figures [default: off]
    #[argh(switch)]
    pub(crate) csv: bool,

    /// print a Markdown table [default: off]
    #[argh(switch)]
    pub(crate) md: bool,

    /// also draw the latencies, and the rate over time, into this file [default: none]
    #[argh(option, arg_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// log more: once debug, twice trace [default: warn]
    #[argh(switch, short = 'v')]
    pub(crate) verbose: u8,

    /// log errors only, do not tell what is being done [default: warn]
    #[argh(switch, short = 'q')]
    pub(crate) quiet: bool,

    /// log level: error, warn, info, debug or trace [default: warn]
    #[argh(option, arg_name = "LEVEL")]
    pub(crate) log_level: Option<log::LevelFilter>,
}

/// Try searches in a simulated network of any size and shape: the real machines and the real wire, in virtual time, with loss and
/// churn. Tells what was found, in how many messages and how long it took. The same seed gives the same figures.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "sim",
    help_triggers("-h", "--help"),
    example = "{command_name} --supers 1000 --degree 6 --policy tree --ttl 20",
    example = "{command_name} --sweep loss=0,5,10,20,30 --sweep policy=flood,tree --csv --svg loss.svg",
    note = "A file for --topology has two numbers on a line for two neighbours, such as 0 1; super peers are numbered from 0, and \
            the rest of a line from # on is a comment.",
    note = "Weak peers that ask are whole ones, the others are scripts that speak the same wire. Anything takes 0.1 to 0.6 ms from \
            one node to another. Recall is the share of the pairs of a query and a holder who was registered all the while that the \
            asker was told. Figures begin when sessions and links are up, after 12 s of virtual time."
)]
pub(crate) struct Sim {
    /// super peers [default: 100, or as many as the file for --topology names]
    #[argh(option, arg_name = "N")]
    pub(crate) supers: Option<usize>,

    /// neighbours of a super peer: of each in random-regular, of an inner one in a tree, on average in scale-free
    /// [default: 4, or all others in a smaller network]
    #[argh(option, arg_name = "D")]
    pub(crate) degree: Option<usize>,

    /// shape of the network: ring, line, tree, random-regular, scale-free, or a file with its links [default: random-regular]
    #[argh(option, arg_name = "SHAPE|FILE")]
    pub(crate) topology: Option<String>,

    /// weak peers, spread evenly over the super peers [default: 10 for each super peer]
    #[argh(option, arg_name = "M")]
    pub(crate) peers: Option<usize>,

    /// different files in the whole network [default: 1000]
    #[argh(option, arg_name = "F")]
    pub(crate) files: Option<usize>,

    /// files that each weak peer shares, drawn by their popularity [default: 1]
    #[argh(option, arg_name = "K")]
    pub(crate) files_per_peer: Option<usize>,

    /// popularity of the files, with those who hold and those who ask: that of rank r is r to the power of -S [default: 0.8]
    #[argh(option, arg_name = "S")]
    pub(crate) zipf: Option<f64>,

    /// queries, each asked by a weak peer at random [default: 100]
    #[argh(option, arg_name = "Q")]
    pub(crate) queries: Option<usize>,

    /// virtual time from one query to the next [default: 100ms]
    #[argh(option, arg_name = "TIME")]
    pub(crate) interval: Option<Span>,

    /// hops allowed, at most 64 [default: 7]
    #[argh(option, arg_name = "T")]
    pub(crate) ttl: Option<u8>,

    /// how queries spread: flood, digest, ring or tree [default: digest]
    #[argh(option, arg_name = "POLICY")]
    pub(crate) policy: Option<Policy>,

    /// datagrams that are lost, in percent [default: 0]
    #[argh(option, arg_name = "PERCENT")]
    pub(crate) loss: Option<f64>,

    /// nodes that fail in a minute, in percent: super peers with all who are at home there, and weak peers; they are back after 10s
    /// on average. Those that ask do not fail [default: 0]
    #[argh(option, arg_name = "PERCENT")]
    pub(crate) churn: Option<f64>,

    /// where all randomness comes from [default: 1]
    #[argh(option, arg_name = "S")]
    pub(crate) seed: Option<u64>,

    /// virtual time allowed for a query, at most 60s [default: 10s]
    #[argh(option, arg_name = "TIME")]
    pub(crate) budget: Option<Span>,

    /// most hits wanted of a query [default: all]
    #[argh(option, arg_name = "N")]
    pub(crate) limit: Option<u32>,

    /// run once for each of these values of a setting, such as loss=0,10,30 or policy=flood,tree; repeated, for each combination
    /// [default: none]
    #[argh(option, arg_name = "NAME=V,…")]
    pub(crate) sweep: Vec<Sweep>,

    /// threads; the figures do not depend on it [default: one for each core]
    #[argh(option, arg_name = "N")]
    pub(crate) threads: Option<usize>,

    /// print one JSON object for each run and the line `done` [default: off]
    #[argh(switch)]
    pub(crate) json: bool,

    /// print comma-separated values, a line of names and one for each run [default: off]
    #[argh(switch)]
    pub(crate) csv: bool,

    /// print a Markdown table [default: off]
    #[argh(switch)]
    pub(crate) md: bool,

    /// draw what was swept as curves into this file, or the network if nothing was [default: none]
    #[argh(option, arg_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

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

/// What a bench is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BenchTask {
    /// Run one mode.
    Load(Mode),
    /// Set two runs side by side.
    Compare,
}

fn task(text: &str) -> Result<BenchTask, String> {
    if text == "compare" {
        return Ok(BenchTask::Compare);
    }
    let known = Mode::ALL.into_iter().find(|mode| mode.word() == text);
    let unknown =
        || format!("{text:?} is no mode; there are idle, connect, register, query, churn, get and flood, and compare");
    known.map(BenchTask::Load).ok_or_else(unknown)
}

fn hops(text: &str) -> Result<u8, String> {
    let hops = text.parse().ok().filter(|hops| *hops <= TTL_MAX);
    hops.ok_or_else(|| format!("{text:?} is no number of hops; write one from 0 to {TTL_MAX}"))
}

fn homes(text: &str) -> Result<usize, String> {
    let homes = text.parse().ok().filter(|homes| (1..=HOMES_MAX).contains(homes));
    homes.ok_or_else(|| format!("{text:?} is no number of super peers to be with; write one from 1 to {HOMES_MAX}"))
}

fn verify(text: &str) -> Result<Verify, String> {
    match text {
        "both" => Ok(Verify::Both),
        "blake3" => Ok(Verify::Blake3),
        "md5" => Ok(Verify::Md5),
        _ => Err("write both, blake3 or md5".into()),
    }
}
