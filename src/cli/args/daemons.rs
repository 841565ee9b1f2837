//! The options of those that stay: `super` and `peer`.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::values::{hops, sessions};
use crate::cli::units::Span;
use crate::wire::HostPort;

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
    /// a super peer; may be repeated: the first that answers is used, the others are for when it fails, or for --sessions
    /// [required]
    #[argh(option, long = "super", arg_name = "HOST:PORT")]
    pub(crate) supers: Vec<HostPort>,

    /// how many super peers to have a session with at once, 1 or 2: its files are registered at each, its searches ask each, and one that is
    /// lost is replaced by the next of the list [default: 1]
    #[argh(option, arg_name = "N", from_str_fn(sessions))]
    pub(crate) sessions: Option<usize>,

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
