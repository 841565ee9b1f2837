//! Checks the options of a bench: defaults for each mode, bounds, and whether this machine has
//! enough descriptors.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::rig::SOURCES;
use crate::bench::{FILES_PER_HOLDER, Mode};
use crate::cli::args::Bench;
use crate::cli::random::OsEntropy;
use crate::cli::tools::process::Sample;
use crate::cli::units::Size;
use crate::config::{SESSION_FILES_MAX, SESSION_QUERIES_MAX, descriptors_reserved};
use crate::error::Failure;
use crate::proto::Entropy;
use crate::wire::HostPort;

/// The most sessions from one address of this host. The kernel has 28,000 ports for each address,
/// and some of them are not free.
const SESSIONS_PER_SOURCE: usize = 10_000;
/// How many addresses visits use. They need several, because a port stays in use for a minute.
const CHURN_SOURCES: usize = 200;
/// Longest run.
const SECONDS_MAX: f64 = 7.0 * 24.0 * 3600.0;
/// The most unanswered requests of flood.
const FLOOD_DEPTH_MAX: usize = 10_000;

/// The options with their defaults, after the check.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) sessions: usize,
    pub(super) depth: usize,
    pub(super) rate: Option<u32>,
    pub(super) length: Duration,
    pub(super) files: u64,
    pub(super) sources: usize,
    pub(super) size: u64,
}

impl Limits {
    pub(super) fn of(args: &Bench, mode: Mode) -> Result<Limits, Failure> {
        let alone = matches!(mode, Mode::Flood | Mode::Get);
        let (sessions, depth, files) = match mode {
            Mode::Idle => (1000, 1, 0),
            Mode::Connect => (2000, 1, 1),
            Mode::Register => (10, 1, 200_000),
            Mode::Query => (50, 1, 10_000),
            Mode::Churn => (20, 1, 1),
            Mode::Get => (0, 1, 0),
            Mode::Flood => (0, 64, 10_000),
        };
        let sessions = if alone { 0 } else { args.sessions.unwrap_or(sessions) };
        let depth = args.depth.unwrap_or(depth);
        let deepest = if mode == Mode::Flood { FLOOD_DEPTH_MAX } else { SESSION_QUERIES_MAX };
        let pid_is_here = args.pid.is_none_or(|pid| Sample::of(pid).is_some());
        let seconds = args.seconds.unwrap_or(2.0);
        let sources = args.sources.unwrap_or(1);
        let Size(size) = args.size.unwrap_or(Size(if mode == Mode::Churn { 64 << 10 } else { 64 << 20 }));
        let files = args.files.unwrap_or(files);
        let whole = matches!(mode, Mode::Query | Mode::Flood | Mode::Register);
        let per_session = if whole { files.min(FILES_PER_HOLDER) } else { files };
        let pid = args.pid.unwrap_or_default();
        let wrongs = [
            (args.own != args.supers.is_empty(), "give either --super HOST:PORT or --self".to_owned()),
            (args.login && !args.own, "--login needs --self".to_owned()),
            (sessions == 0 && !alone, "--sessions is a number above 0".to_owned()),
            (depth == 0 || depth > deepest, format!("--depth is a number from 1 to {deepest}")),
            (args.rate == Some(0), "--rate is a number above 0".to_owned()),
            (
                !(seconds > 0.0 && seconds <= SECONDS_MAX),
                format!("--seconds is a number above 0, at most {SECONDS_MAX}"),
            ),
            (!(1..=SOURCES.len()).contains(&sources), format!("--sources is a number from 1 to {}", SOURCES.len())),
            (
                per_session > SESSION_FILES_MAX as u64 || files > u64::from(u32::MAX),
                format!("--files is at most {SESSION_FILES_MAX} for each session"),
            ),
            (size == 0, "--size is a size above 0".to_owned()),
            (
                mode == Mode::Flood && !args.own && args.listen.is_none(),
                "bench flood --super needs --listen HOST:PORT: an address of this machine that the super peer names as \
                 --neighbor"
                    .to_owned(),
            ),
            (
                !pid_is_here,
                format!("--pid {pid} is no process of this machine; leave it out if the super peer is elsewhere"),
            ),
        ];
        if let Some((_, why)) = wrongs.into_iter().find(|(wrong, _)| *wrong) {
            return Err(Failure::usage(why));
        }
        let length = Duration::from_secs_f64(seconds);
        Ok(Limits { sessions, depth, rate: args.rate, length, files, sources, size })
    }
}

/// Options that have no effect in this mode. Every mode accepts all options, so that a script can
/// use one line for all modes. Unused options are reported.
pub(super) fn unused(args: &Bench, mode: Mode) -> Vec<&'static str> {
    let asks = matches!(mode, Mode::Query | Mode::Flood);
    let downloads = matches!(mode, Mode::Get | Mode::Churn);
    let alone = matches!(mode, Mode::Get | Mode::Flood);
    let timed = !matches!(mode, Mode::Connect | Mode::Register);
    [
        ("--sessions", args.sessions.is_some() && alone),
        ("--depth", args.depth.is_some() && !(asks || mode == Mode::Get)),
        ("--rate", args.rate.is_some() && !asks),
        ("--seconds", args.seconds.is_some() && !timed),
        ("--files", args.files.is_some() && mode == Mode::Get),
        ("--sources", args.sources.is_some() && !(downloads && args.own)),
        ("--size", args.size.is_some() && !(downloads && (args.own || mode == Mode::Get))),
        ("--verify", args.verify.is_some() && mode != Mode::Get),
        ("--listen", args.listen.is_some() && (args.own || mode != Mode::Flood)),
        ("--peers", args.peers.is_some()),
        ("--pid", args.pid.is_some() && args.own),
        ("--login", args.login && !may_log_in(mode)),
    ]
    .into_iter()
    .filter_map(|(option, unused)| unused.then_some(option))
    .collect()
}

/// Whether the sessions of this mode can log in.
pub(super) fn may_log_in(mode: Mode) -> bool {
    matches!(mode, Mode::Idle | Mode::Connect | Mode::Register | Mode::Query)
}

pub(super) fn first_super(args: &Bench) -> Result<&HostPort, Failure> {
    args.supers.first().ok_or_else(|| Failure::usage("--super HOST:PORT is missing"))
}

/// The hard limit on the descriptors of a process.
pub(super) fn descriptors() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Checks that this process may have enough descriptors and, with --self, that the super peer may
/// too.
pub(super) fn check_room(mode: Mode, limits: &Limits, nofile: u64) -> Result<(), Failure> {
    let each = if mode == Mode::Churn { 2 } else { 1 };
    let holders = limits.files.div_ceil(FILES_PER_HOLDER).max(1);
    let reserved = descriptors_reserved(usize::try_from(nofile).unwrap_or(usize::MAX)) as u64;
    let room = nofile.saturating_sub(reserved + holders) / each;
    if limits.sessions as u64 <= room {
        return Ok(());
    }
    let message = format!(
        "{} sessions do not fit: a process may have {nofile} descriptors here, enough for {room}; ask for fewer or raise \
         the hard limit (ulimit -Hn)",
        limits.sessions
    );
    Err(Failure::usage(message))
}

/// Loopback addresses for the sessions, which use them in turn.
pub(super) fn source_addresses(mode: Mode, sessions: usize) -> Vec<IpAddr> {
    let count = if mode == Mode::Churn { CHURN_SOURCES } else { sessions.div_ceil(SESSIONS_PER_SOURCE) };
    // The address is random, so that two runs at the same time probably differ.
    let [a, ..] = OsEntropy.next_u64().to_le_bytes();
    let host = |n: usize| {
        let [b, c] = u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(127, a.clamp(1, 254), b, c))
    };
    (1..=count.min(usize::from(u16::MAX))).map(host).collect()
}
