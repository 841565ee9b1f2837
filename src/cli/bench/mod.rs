//! `sprat bench`: starts what is to be loaded, runs the load's machine in this process's own loop, and tells the figures.

mod compare;
mod curves;
mod get;
mod process;
mod report;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use report::{Env, Report, Watched};
use signal_hook::consts::{SIGINT, SIGTERM};
use tempfile::TempDir;

use super::args::{Bench, BenchTask};
use super::demo::children::{Children, Daemon, Subnet};
use super::oneshot::INTERRUPTED;
use super::random::OsEntropy;
use super::units::Size;
use super::{AGENT, present, settings};
use crate::bench::{self, FILES_PER_HOLDER, Load, Mode, Phase, Plan};
use crate::config::{DESCRIPTORS_RESERVED, SESSION_FILES_MAX, SESSION_QUERIES_MAX};
use crate::error::{Exit, Failure};
use crate::node::{DiskOptions, Flow, Host, Node, Options};
use crate::proto::{ClientEvent, Entropy, Event};
use crate::wire::HostPort;

/// Sessions from one address of this host: the kernel has 28,000 ports for each, some of them in use or not free yet.
const SESSIONS_PER_SOURCE: usize = 10_000;
/// Addresses for visits, whose ports stay taken for a minute each.
const CHURN_SOURCES: usize = 200;
/// Sources that a run may have.
const SOURCES: [&str; 16] = [
    "peer1", "peer2", "peer3", "peer4", "peer5", "peer6", "peer7", "peer8", "peer9", "peer10", "peer11", "peer12",
    "peer13", "peer14", "peer15", "peer16",
];
/// Longest run.
const SECONDS_MAX: f64 = 7.0 * 24.0 * 3600.0;
/// Requests that the link of the flood has out at once.
const FLOOD_DEPTH_MAX: usize = 10_000;

/// Runs one mode, or sets two results side by side.
pub(crate) fn run(args: &Bench) -> Result<u8, Failure> {
    match args.task {
        BenchTask::Compare => compare::run(args),
        BenchTask::Load(_) if !args.results.is_empty() => {
            Err(Failure::new(Exit::Usage, "only bench compare takes files"))
        }
        BenchTask::Load(mode) => load(args, mode),
    }
}

fn load(args: &Bench, mode: Mode) -> Result<u8, Failure> {
    let limits = Limits::of(args, mode)?;
    let nofile = descriptors();
    check_room(mode, &limits, nofile)?;
    if mode == Mode::Get {
        return get::run(args, &limits, nofile);
    }
    let mut rig = Rig::new(args, mode)?;
    // The neighbour's address must be known before the super peer starts.
    let subnet = Subnet::draw(OsEntropy.next_u64());
    let flood = mode == Mode::Flood;
    let target = if args.own { None } else { Some(settings::resolve("--super", first_super(args)?)?) };
    let listen = flood.then(|| SocketAddr::new(if args.own { subnet.host(2) } else { local_for(target) }, 0));
    let churn = mode == Mode::Churn;
    let loopback = target.is_none_or(|target| target.ip().is_loopback() && target.is_ipv4());
    let sources = if loopback { source_addresses(mode, limits.sessions) } else { Vec::new() };
    let disk = churn.then_some(DiskOptions { share: None, cache: None });
    let node = Node::open(Options { listen, datagrams: flood, control: None, disk, sources })?;
    let target = match target {
        Some(target) => target,
        None => rig.start_super(subnet, node.listen_addr())?,
    };
    if churn && args.own {
        rig.start_sources(subnet, limits.sources, limits.size, "visit.bin")?;
    }
    let plan = Plan {
        mode,
        target: HostPort::from(target),
        link: flood.then_some(target),
        sessions: limits.sessions,
        depth: limits.depth,
        rate: limits.rate,
        length: limits.length,
        files: limits.files,
        fill: args.own || args.files.is_some(),
        agent: AGENT.into(),
    };
    let open = plan.rate.is_some();
    let mut load = Load::new(plan, &mut OsEntropy);
    let server = rig.server_pid.or(args.pid).map(Watched::new);
    let mut watch =
        Watch { client: Watched::new(std::process::id()), server, tells: rig.tells, failure: None, done: false };
    let handle = node.handle();
    node.run(&mut load, &mut watch)?;
    if let Some(failure) = watch.failure {
        return Err(failure);
    }
    if !watch.done {
        return Ok(handle.signal().and_then(|signal| u8::try_from(128 + signal).ok()).unwrap_or(INTERRUPTED));
    }
    let servers: Vec<Watched> = watch.server.into_iter().collect();
    let report = Report::new(mode, load.tally(), open, &watch.client, &servers, Env::here(nofile));
    tell(args, report)
}

/// Hears of the phases, and looks at `/proc` where they begin.
struct Watch {
    client: Watched,
    server: Option<Watched>,
    tells: bool,
    failure: Option<Failure>,
    done: bool,
}

impl Watch {
    fn end(&mut self) {
        self.client.end();
        if let Some(server) = &mut self.server {
            server.end();
        }
    }
}

impl Host for Watch {
    fn on_event(&mut self, event: Event) -> Flow {
        let Event::Client { client: bench::CLIENT, event } = event else {
            return Flow::Continue;
        };
        match event {
            ClientEvent::Note { message } => {
                if message == Phase::Measuring.word() {
                    self.client.begin();
                    if let Some(server) = &mut self.server {
                        server.begin();
                    }
                } else if message == Phase::Draining.word() {
                    self.end();
                }
                if self.tells {
                    say(&message);
                }
                Flow::Continue
            }
            ClientEvent::Done(outcome) => {
                self.end();
                self.done = true;
                if !outcome.ok {
                    let exit = if outcome.exit == Exit::TimedOut.code() { Exit::TimedOut } else { Exit::Unreachable };
                    self.failure = Some(Failure::new(exit, outcome.error.unwrap_or_default()));
                }
                Flow::Stop(Exit::Ok)
            }
            ClientEvent::Hit { .. }
            | ClientEvent::File { .. }
            | ClientEvent::Content { .. }
            | ClientEvent::Result { .. }
            | ClientEvent::Start { .. }
            | ClientEvent::Piece { .. }
            | ClientEvent::Progress { .. }
            | ClientEvent::Source(_)
            | ClientEvent::Status { .. } => Flow::Continue,
        }
    }
}

fn say(text: &str) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(io::stderr(), "bench: {text}");
}

/// Prints the figures in the form that was asked for; the exit code.
fn tell(args: &Bench, mut report: Report) -> Result<u8, Failure> {
    if report.count == 0 {
        (report.ok, report.exit) = (false, Exit::TimedOut.code());
    }
    let text = if args.json {
        report.json()
    } else if args.csv {
        report.csv()
    } else if args.md {
        report.markdown()
    } else {
        report.text()
    };
    print(&text)?;
    if let Some(path) = &args.svg {
        let failed = |error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display()));
        std::fs::write(path, report.svg()).map_err(failed)?;
    }
    Ok(report.exit)
}

fn print(text: &str) -> Result<(), Failure> {
    match present::print_line(text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Internal, format!("cannot print the figures: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

// ---- what the options mean ---------------------------------------------------------------------------------------

/// The options with their defaults, checked.
#[derive(Debug)]
struct Limits {
    sessions: usize,
    depth: usize,
    rate: Option<u32>,
    length: Duration,
    files: u64,
    sources: usize,
    size: u64,
}

impl Limits {
    fn of(args: &Bench, mode: Mode) -> Result<Limits, Failure> {
        let usage = |why: String| Err(Failure::new(Exit::Usage, why));
        let (sessions, depth, files) = match mode {
            Mode::Idle => (1000, 1, 0),
            Mode::Connect => (2000, 1, 1),
            Mode::Register => (10, 1, 200_000),
            Mode::Query => (50, 1, 10_000),
            Mode::Churn => (20, 1, 1),
            Mode::Get => (0, 1, 0),
            Mode::Flood => (0, 64, 10_000),
        };
        let sessions = if matches!(mode, Mode::Flood | Mode::Get) { 0 } else { args.sessions.unwrap_or(sessions) };
        let depth = args.depth.unwrap_or(depth);
        let deepest = if mode == Mode::Flood { FLOOD_DEPTH_MAX } else { SESSION_QUERIES_MAX };
        let seconds = args.seconds.unwrap_or(2.0);
        let sources = args.sources.unwrap_or(1);
        let Size(size) = args.size.unwrap_or(Size(if mode == Mode::Churn { 64 << 10 } else { 64 << 20 }));
        let files = args.files.unwrap_or(files);
        let whole = matches!(mode, Mode::Query | Mode::Flood | Mode::Register);
        let per_session = if whole { files.min(FILES_PER_HOLDER) } else { files };
        if args.own != args.supers.is_empty() {
            return usage("tell what is to be loaded: either --super HOST:PORT or --self".into());
        }
        if sessions == 0 && !matches!(mode, Mode::Flood | Mode::Get) {
            return usage("--sessions is a number above 0".into());
        }
        if depth == 0 || depth > deepest {
            return usage(format!("--depth is a number from 1 to {deepest}"));
        }
        if args.rate == Some(0) || (args.rate.is_some() && !matches!(mode, Mode::Query | Mode::Flood)) {
            return usage("--rate is a number above 0, for query and flood".into());
        }
        if !(seconds > 0.0 && seconds <= SECONDS_MAX) {
            return usage(format!("--seconds is a number above 0, at most {SECONDS_MAX}"));
        }
        if sources == 0 || sources > SOURCES.len() {
            return usage(format!("--sources is a number from 1 to {}", SOURCES.len()));
        }
        if per_session > SESSION_FILES_MAX as u64 || files > u64::from(u32::MAX) {
            return usage(format!("--files is at most {SESSION_FILES_MAX} for each session"));
        }
        if size == 0 {
            return usage("--size is a size above 0".into());
        }
        let length = Duration::from_secs_f64(seconds);
        Ok(Limits { sessions, depth, rate: args.rate, length, files, sources, size })
    }
}

fn first_super(args: &Bench) -> Result<&HostPort, Failure> {
    args.supers.first().ok_or_else(|| Failure::new(Exit::Usage, "--super HOST:PORT is missing"))
}

/// The most descriptors that this system gives a process.
fn descriptors() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Whether the sessions fit this process, and with --self the super peer's, which has the same limit.
fn check_room(mode: Mode, limits: &Limits, nofile: u64) -> Result<(), Failure> {
    let each = if mode == Mode::Churn { 2 } else { 1 };
    let holders = limits.files.div_ceil(FILES_PER_HOLDER).max(1);
    let room = nofile.saturating_sub(DESCRIPTORS_RESERVED as u64 + holders) / each;
    if limits.sessions as u64 <= room {
        return Ok(());
    }
    let message = format!(
        "{} sessions do not fit: a process may have {nofile} descriptors here, which are enough for {room}; ask for fewer \
         or raise the hard limit (ulimit -Hn)",
        limits.sessions
    );
    Err(Failure::new(Exit::Usage, message))
}

/// As many addresses of loopback as the sessions need, each session's the next one.
fn source_addresses(mode: Mode, sessions: usize) -> Vec<IpAddr> {
    let count = if mode == Mode::Churn { CHURN_SOURCES } else { sessions.div_ceil(SESSIONS_PER_SOURCE) };
    // A second run at once may well have other addresses; the same ones do no harm.
    let [a, ..] = OsEntropy.next_u64().to_le_bytes();
    let host = |n: usize| {
        let [b, c] = u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(127, a.clamp(1, 254), b, c))
    };
    (1..=count.min(usize::from(u16::MAX))).map(host).collect()
}

/// An address to take datagrams on that the super peer can send to.
fn local_for(target: Option<SocketAddr>) -> IpAddr {
    let probe = target.and_then(|target| {
        let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = std::net::UdpSocket::bind(any).ok()?;
        socket.connect(target).ok()?;
        socket.local_addr().ok()
    });
    probe.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |addr| addr.ip())
}

// ---- the processes of --self -------------------------------------------------------------------------------------

/// What is started for a run, and where it lives; all of it is gone when this is dropped.
struct Rig {
    children: Children,
    folder: TempDir,
    tells: bool,
    super_peer: Option<Daemon>,
    server_pid: Option<u32>,
    source_pids: Vec<u32>,
}

impl Rig {
    fn new(args: &Bench, mode: Mode) -> Result<Rig, Failure> {
        let folder = tempfile::Builder::new().prefix("sprat-bench-").tempdir();
        let folder =
            folder.map_err(|error| Failure::new(Exit::Disk, format!("cannot make a folder in {}: {error}", temp())))?;
        let interrupted = Arc::new(AtomicBool::new(false));
        if mode == Mode::Get {
            for signal in [SIGINT, SIGTERM] {
                signal_hook::flag::register(signal, Arc::clone(&interrupted))
                    .map_err(|error| Failure::new(Exit::Internal, format!("cannot catch signals: {error}")))?;
            }
        }
        let children = Children::new(folder.path(), interrupted)?;
        let tells = !(args.quiet || args.json || args.csv || args.md);
        Ok(Rig { children, folder, tells, super_peer: None, server_pid: None, source_pids: Vec::new() })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a super peer, with us as its neighbour if we have an address.
    fn start_super(&mut self, subnet: Subnet, neighbor: Option<SocketAddr>) -> Result<SocketAddr, Failure> {
        let listen = SocketAddr::new(subnet.host(1), 0).to_string();
        let mut args: Vec<String> = ["super", "--quiet", "--listen", &listen].map(str::to_owned).into();
        if let Some(neighbor) = neighbor {
            args.extend(["--neighbor".to_owned(), neighbor.to_string()]);
        }
        self.children.start("super", &args)?;
        let daemon = self.children.ready("super")?;
        let listen = daemon.listen;
        self.server_pid = Some(daemon.pid);
        self.super_peer = Some(daemon);
        Ok(listen)
    }

    /// Starts peers that share one file, and waits until the super peer knows all of them.
    fn start_sources(&mut self, subnet: Subnet, count: usize, size: u64, name: &str) -> Result<(), Failure> {
        let disk = |error: io::Error| Failure::new(Exit::Disk, format!("cannot write the file to share: {error}"));
        let home = self.super_peer.as_ref().map(|daemon| daemon.listen.to_string()).unwrap_or_default();
        let first = self.path().join(SOURCES[0]);
        for (host, peer) in (10_u8..).zip(&SOURCES[..count]) {
            let share = self.path().join(peer);
            std::fs::create_dir(&share).map_err(disk)?;
            if *peer == SOURCES[0] {
                write_noise(&share.join(name), size).map_err(disk)?;
            } else {
                std::fs::hard_link(first.join(name), share.join(name)).map_err(disk)?;
            }
            let listen = SocketAddr::new(subnet.host(host), 0).to_string();
            let share = share.display().to_string();
            let control = self.children.socket(peer).display().to_string();
            let args =
                ["peer", "--quiet", "--super", &home, "--share", &share, "--listen", &listen, "--control", &control];
            self.children.start(peer, &args.map(str::to_owned))?;
        }
        for peer in &SOURCES[..count] {
            let daemon = self.children.ready(peer)?;
            self.source_pids.push(daemon.pid);
        }
        loop {
            let answer = self.children.ask(&["query", name, "--exact", "--super", &home])?;
            if answer.done()["hits"].as_u64() == Some(count as u64) {
                return Ok(());
            }
            self.children.pause()?;
        }
    }
}

fn temp() -> String {
    std::env::temp_dir().display().to_string()
}

/// A file that no compression and no deduplication makes shorter.
fn write_noise(path: &Path, size: u64) -> io::Result<()> {
    let mut file = io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&OsEntropy.next_u64().to_le_bytes());
    let mut noise = blake3::Hasher::new_keyed(&seed).finalize_xof();
    let mut block = vec![0; 1 << 16];
    let mut left = size;
    while left > 0 {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        noise.fill(&mut block[..take]);
        file.write_all(&block[..take])?;
        left -= take as u64;
    }
    file.flush()
}
