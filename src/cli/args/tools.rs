//! The options of those that show and measure: `demo`, `bench` and `sim`.

use std::path::PathBuf;
use std::str::FromStr;

use argh::{ArgsInfo, FromArgs};

use super::values::verify;
use crate::bench::Mode;
use crate::cli::units::{Size, Span};
use crate::proto::Verify;
use crate::wire::{HostPort, Policy};

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

    /// process of the super peer behind --super, to tell its memory and CPU time [default: the one of this machine that
    /// listens there]
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

    /// nodes that fail in a minute, in percent: super peers with all of their weak peers, and weak peers; they are back after 10s
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

/// A setting that is swept, with its values as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Sweep, String> {
        let wrong = || format!("{text:?} is no sweep; write NAME=VALUE,VALUE,… such as loss=0,10,30");
        let (name, values) = text.split_once('=').ok_or_else(wrong)?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if values.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Sweep { name: name.trim().trim_start_matches('-').to_owned(), values })
    }
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
