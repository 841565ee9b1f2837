//! The options of the tools: `demo`, `bench` and `sim`.

use std::path::PathBuf;
use std::str::FromStr;

use argh::{ArgsInfo, FromArgs};

use super::common::command;
use super::values::{super_addr, verify};
use crate::bench::Mode;
use crate::cli::units::{Rate, Size, Span};
use crate::proto::Verify;
use crate::wire::{HostPort, Policy};

/// Run the program on this machine: four super peers in a ring, peers that share a file, a search
/// across two hops, and a download from four sources, one of which is killed and one of which sends
/// wrong bytes. The demo uses only loopback and free ports, and needs no root privileges.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "demo", help_triggers("-h", "--help"), example = "{command_name} --stay")]
pub(crate) struct Demo {
    /// share a copy of this file [default: 128 MiB of random bytes]
    #[argh(option, arg_name = "PATH")]
    pub(crate) file: Option<PathBuf>,

    /// keep the network up until Ctrl-C, and print commands to try on it [default: off]
    #[argh(switch)]
    pub(crate) stay: bool,
}

command! {
    /// Put load on a super peer and measure connection set-ups, registrations, queries, floods or
    /// downloads. MODE is idle, connect, register, query, churn, get, flood or swarm; or compare,
    /// with two files of results.
    #[argh(name = "bench", example = "{command_name} query --self --depth 16")]
    Bench {
        /// idle: silent sessions; connect: connection set-ups; register: files; query: queries over
        /// sessions; churn: sessions that log in, share, search, download and leave; get:
        /// downloads; flood: queries from a neighboring super peer; swarm: peers that fetch one
        /// file at the same time; compare: two files with the output of --json
        #[argh(positional, arg_name = "MODE", from_str_fn(task))]
        pub(crate) mode: BenchTask,

        /// compare: the two files, each with one line for each run
        #[argh(positional, arg_name = "FILE")]
        pub(crate) results: Vec<PathBuf>,

        /// put load on this super peer [default: none; without this option --self is required]
        #[argh(option, long = "super", arg_name = "HOST[:PORT]", from_str_fn(super_addr))]
        pub(crate) supers: Vec<HostPort>,

        /// start a super peer, and peers if the mode uses peers, and put load on them [default:
        /// off]
        #[argh(switch, long = "self")]
        pub(crate) own: bool,

        /// with --self: use login mode with TLS; each session has a key and a credential of its own
        /// [default: off]
        #[argh(switch)]
        pub(crate) login: bool,

        /// number of sessions [default: idle 1000, connect 2000, register 10, query 50, churn 20]
        #[argh(option, arg_name = "N")]
        pub(crate) sessions: Option<usize>,

        /// query: requests in flight in each session; flood: requests in flight on the link; get:
        /// simultaneous downloads [default: query 1, flood 64, get 1]
        #[argh(option, arg_name = "N")]
        pub(crate) depth: Option<usize>,

        /// query and flood: send this many queries a second, whether or not answers come; each
        /// latency is then measured from the time at which its query was due [default: send the
        /// next query after each answer]
        #[argh(option, arg_name = "PER_SECOND")]
        pub(crate) rate: Option<u32>,

        /// duration of the measurement; the modes connect and register end when they are done
        /// [default: 2]
        #[argh(option, arg_name = "SECONDS")]
        pub(crate) seconds: Option<f64>,

        /// number of files to register: per session in idle, connect and churn, in total in the
        /// other modes. query and flood register files only if the index is empty or this option is
        /// given [default: idle 0, connect and churn 1, register 200000, query and flood 10000]
        #[argh(option, arg_name = "N")]
        pub(crate) files: Option<u64>,

        /// get and churn with --self: peers that serve the file, at most 16 [default: 1]
        #[argh(option, arg_name = "K")]
        pub(crate) sources: Option<usize>,

        /// get, churn and swarm with --self: size of the file; get with --super: download the
        /// largest file of at most this size [default: get and swarm 64M, churn 64K]
        #[argh(option, arg_name = "SIZE")]
        pub(crate) size: Option<Size>,

        /// swarm: peers that fetch the file, at most 64 [default: 8]
        #[argh(option, arg_name = "N")]
        pub(crate) peers: Option<usize>,

        /// get: digests to check for each piece: both, blake3 or md5 [default: both]
        #[argh(option, arg_name = "DIGESTS", from_str_fn(verify))]
        pub(crate) verify: Option<Verify>,

        /// flood with --super: address for datagrams; the super peer must name it as --neighbor
        /// [default: none]
        #[argh(option, arg_name = "HOST[:PORT]", from_str_fn(super_addr))]
        pub(crate) listen: Option<HostPort>,

        /// process of the super peer given by --super, to report its memory and CPU time [default:
        /// the process of this machine that listens at the address of --super]
        #[argh(option, arg_name = "PID")]
        pub(crate) pid: Option<u32>,

        /// also draw the latencies, and the rate over time, into this SVG file [default: none]
        #[argh(option, arg_name = "FILE")]
        pub(crate) svg: Option<PathBuf>,
    } with figures, log(" [default: warn]", Warn)
}

command! {
    /// Run searches in a simulated network of any size and shape: the real state machines and
    /// messages, in virtual time, with loss and churn. Print what was found, in how many messages
    /// and in what time. With --swarm, simulate a download by many peers at once instead, and print
    /// the time of the download as a multiple of the least possible time. The same seed gives the
    /// same figures.
    #[argh(
        name = "sim",
        example = "{command_name} --supers 1000 --degree 6 --policy tree --ttl 20",
        example = "{command_name} --sweep loss=0,5,10,20,30 --sweep policy=flood,tree --csv --svg loss.svg",
        example = "{command_name} --swarm 100 --pieces 256 --up 100Mbit --down 100Mbit",
        note = "A file for --topology has one link per line: the numbers of two super peers, such as `0 1`, counted from 0. \
                `#` begins a comment.",
        note = "Weak peers that send queries are complete state machines. The others are scripts that send the same \
                messages. A message takes 0.1 to 0.6 ms from node to node. Recall is the fraction of the expected hits \
                that the asker received. One hit is expected from each holder that was registered from the start of \
                the query to its end. The measurement begins when sessions and links are up, after 12 s of virtual \
                time.",
        note = "In a swarm, all peers and the seed are complete state machines. The connection of a peer, of the seed or of \
                a zone to the others has a rate in each direction. If n pieces pass over a connection at the same \
                time, each gets an n-th of the rate. A piece moves at the lowest rate that the connections on its way \
                give it. These rates are computed again whenever a piece starts or ends on one of the connections. The \
                result is not max-min fair. Messages are counted, but do not use any rate. The least possible time is \
                the longest of four lower bounds: the time in which the seed sends the file once and the last piece \
                then spreads to all peers; the time in which a peer receives the file; the time in which the seed and all \
                peers together send all copies; and the time in which a zone receives the file."
    )]
    Sim {
        /// number of super peers [default: 100; with a file for --topology, all super peers in the
        /// file]
        #[argh(option, arg_name = "N")]
        pub(crate) supers: Option<usize>,

        /// number of neighbors: of each super peer in random-regular, of each inner super peer in
        /// tree, and of a super peer on average in scale-free [default: 4, or all other super peers
        /// if these are fewer]
        #[argh(option, arg_name = "D")]
        pub(crate) degree: Option<usize>,

        /// shape of the network: ring, line, tree, random-regular, scale-free, or a file with its
        /// links [default: random-regular]
        #[argh(option, arg_name = "SHAPE|FILE")]
        pub(crate) topology: Option<String>,

        /// number of weak peers, spread evenly over the super peers [default: 10 for each super
        /// peer]
        #[argh(option, arg_name = "M")]
        pub(crate) peers: Option<usize>,

        /// number of different files in the network [default: 1000]
        #[argh(option, arg_name = "F")]
        pub(crate) files: Option<usize>,

        /// number of files that each weak peer shares, drawn by the popularity of the files
        /// [default: 1]
        #[argh(option, arg_name = "K")]
        pub(crate) files_per_peer: Option<usize>,

        /// exponent S of the popularity of files: the file of rank r is shared and requested in
        /// proportion to r^-S [default: 0.8]
        #[argh(option, arg_name = "S")]
        pub(crate) zipf: Option<f64>,

        /// number of queries, each from a weak peer drawn at random [default: 100]
        #[argh(option, arg_name = "Q")]
        pub(crate) queries: Option<usize>,

        /// virtual time between two queries [default: 100ms]
        #[argh(option, arg_name = "TIME")]
        pub(crate) interval: Option<Span>,

        /// largest number of hops of a query, at most 64 [default: 7]
        #[argh(option, arg_name = "T")]
        pub(crate) ttl: Option<u8>,

        /// how queries spread: flood, digest, ring or tree [default: digest]
        #[argh(option, arg_name = "POLICY")]
        pub(crate) policy: Option<Policy>,

        /// percentage of datagrams that are lost [default: 0]
        #[argh(option, arg_name = "PERCENT")]
        pub(crate) loss: Option<f64>,

        /// percentage of nodes that fail in a minute: super peers with all their sessions, and weak
        /// peers that send no queries; a failed node returns after 10 s on average [default: 0]
        #[argh(option, arg_name = "PERCENT")]
        pub(crate) churn: Option<f64>,

        /// seed of the random numbers [default: 1]
        #[argh(option, arg_name = "S")]
        pub(crate) seed: Option<u64>,

        /// virtual time that a query may take, at most 60s [default: 10s]
        #[argh(option, arg_name = "TIME")]
        pub(crate) budget: Option<Span>,

        /// largest number of hits to return for a query [default: all]
        #[argh(option, arg_name = "N")]
        pub(crate) limit: Option<u32>,

        /// run once for each of these values of a setting, such as loss=0,10,30 or
        /// policy=flood,tree. If this option is repeated, run once for each combination of values
        /// [default: none]
        #[argh(option, arg_name = "NAME=V,…")]
        pub(crate) sweep: Vec<Sweep>,

        /// number of threads; the figures do not depend on this number [default: one for each core]
        #[argh(option, arg_name = "N")]
        pub(crate) threads: Option<usize>,

        /// number of peers, all at one super peer, that fetch one file from each other and from one
        /// seed, a peer that has the file [default: no swarm, but searches]
        #[argh(option, arg_name = "N")]
        pub(crate) swarm: Option<usize>,

        /// swarm: pieces of the file, of 1 MiB each [default: 256]
        #[argh(option, arg_name = "K")]
        pub(crate) pieces: Option<u32>,

        /// swarm: rate at which a peer can send, in bytes per second such as 12M, or in bits per
        /// second such as 100Mbit [default: 100Mbit]
        #[argh(option, arg_name = "RATE")]
        pub(crate) up: Option<Rate>,

        /// swarm: rate at which a peer can receive [default: as --up]
        #[argh(option, arg_name = "RATE")]
        pub(crate) down: Option<Rate>,

        /// swarm: rate at which the seed can send [default: as --up]
        #[argh(option, arg_name = "RATE")]
        pub(crate) seed_up: Option<Rate>,

        /// swarm: number of zones over which the peers are spread; the seed is in the first zone
        /// [default: 1]
        #[argh(option, arg_name = "Z")]
        pub(crate) zones: Option<usize>,

        /// swarm: rate at which a zone can send to all other zones, and can receive from them
        /// [default: no limit]
        #[argh(option, arg_name = "RATE")]
        pub(crate) cross: Option<Rate>,

        /// swarm: time between the starts of two peers. The time of each peer then counts from its
        /// own start [default: all peers start within 100 ms]
        #[argh(option, arg_name = "TIME")]
        pub(crate) arrive: Option<Span>,

        /// swarm: which peers leave. done: each peer when it has the file. seed: the seed, when the
        /// peers together have all pieces. A percentage such as 25%: this part of the peers, each
        /// when it has half of the file [default: none]
        #[argh(option, arg_name = "WHO")]
        pub(crate) leave: Option<String>,

        /// draw into this SVG file. With --sweep: curves of the results. With --swarm and without
        /// --sweep: the times at which the peers finish. Without both: the network [default: none]
        #[argh(option, arg_name = "FILE")]
        pub(crate) svg: Option<PathBuf>,
    } with figures, log(" [default: warn]", Warn)
}

/// A setting that is swept, and its values as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Sweep, String> {
        let wrong = || format!("{text:?} is not a sweep; write NAME=VALUE,VALUE,… such as loss=0,10,30");
        let (name, values) = text.split_once('=').ok_or_else(wrong)?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if values.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Sweep { name: name.trim().trim_start_matches('-').to_owned(), values })
    }
}

/// What `bench` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BenchTask {
    /// Run one mode.
    Load(Mode),
    /// Many peers fetch one file.
    Swarm,
    /// Compare two results.
    Compare,
}

fn task(text: &str) -> Result<BenchTask, String> {
    match text {
        "compare" => return Ok(BenchTask::Compare),
        "swarm" => return Ok(BenchTask::Swarm),
        _ => {}
    }
    let known = Mode::ALL.into_iter().find(|mode| mode.word() == text);
    let unknown = || {
        format!(
            "{text:?} is not a mode; the modes are idle, connect, register, query, churn, get, flood and swarm, and compare"
        )
    };
    known.map(BenchTask::Load).ok_or_else(unknown)
}
