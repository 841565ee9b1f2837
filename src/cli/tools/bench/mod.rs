//! `sprat bench`: starts the daemons that are measured, runs the machine of the load in the loop of
//! this process, and prints the figures.

mod compare;
mod curves;
mod get;
mod limits;
mod logins;
mod owner;
mod report;
mod rig;
mod swarm;

use std::net::SocketAddr;

use limits::Limits;
use logins::Logins;
use report::{Env, Report, Watched};
use rig::{Rig, say};

use super::children::Subnet;
use super::figures::Form;
use crate::bench::{self, Load, Mode, Phase, Plan};
use crate::cli::args::{Bench, BenchTask};
use crate::cli::oneshot::{INTERRUPTED, signal_code};
use crate::cli::random::OsEntropy;
use crate::cli::settings::{self, AGENT};
use crate::error::{Exit, Failure};
use crate::node::{DiskOptions, Flow, Host, Node, Options};
use crate::proto::{ClientEvent, Entropy, Event};
use crate::wire::HostPort;

/// Runs one mode, or compares two results.
pub(crate) fn run(args: &Bench) -> Result<u8, Failure> {
    let form = Form::of(args.json, args.csv, args.md)?;
    match args.mode {
        BenchTask::Compare => compare::run(args, form),
        BenchTask::Load(_) | BenchTask::Swarm if !args.results.is_empty() => {
            Err(Failure::usage("only bench compare takes files"))
        }
        BenchTask::Load(mode) => load(args, mode, form),
        BenchTask::Swarm => swarm::run(args, form),
    }
}

fn load(args: &Bench, mode: Mode, form: Form) -> Result<u8, Failure> {
    let limits = Limits::of(args, mode)?;
    let nofile = limits::descriptors();
    limits::check_room(mode, &limits, nofile)?;
    let unused = limits::unused(args, mode);
    if !unused.is_empty() && !args.quiet {
        say(&format!("{} has no use for {}", mode.word(), unused.join(", ")));
    }
    let talks = form == Form::Text && !args.quiet;
    if mode == Mode::Get {
        return get::run(args, &limits, nofile, Rig::new(true, talks)?, form);
    }
    let mut rig = Rig::new(false, talks)?;
    // The super peer must know the address of its neighbor when it starts.
    let subnet = Subnet::draw(OsEntropy.next_u64());
    let flood = mode == Mode::Flood;
    let target = if args.own { None } else { Some(settings::resolve("--super", limits::first_super(args)?)?) };
    let listen = match &args.listen {
        Some(listen) if flood && !args.own => Some(settings::resolve("--listen", listen)?),
        _ => flood.then(|| SocketAddr::new(subnet.host(2), 0)),
    };
    let churn = mode == Mode::Churn;
    let loopback = target.is_none_or(|target| target.ip().is_loopback() && target.is_ipv4());
    let sources = if loopback { limits::source_addresses(mode, limits.sessions) } else { Vec::new() };
    let disk = churn.then_some(DiskOptions::default());
    let mut plan = Plan {
        mode,
        target: HostPort::from(SocketAddr::new(subnet.host(1), 0)),
        link: None,
        sessions: limits.sessions,
        depth: limits.depth,
        rate: limits.rate,
        length: limits.length,
        files: limits.files,
        fill: args.own || args.files.is_some(),
        agent: AGENT.into(),
        logins: Vec::new(),
    };
    let logs_in = args.login && limits::may_log_in(mode);
    let logins = logs_in.then(|| Logins::new(plan.sessions_all())).transpose()?;
    let (operator, tls) = logins.as_ref().map(|logins| (logins.operator, logins.tls.clone())).unzip();
    plan.logins = logins.map_or_else(Vec::new, |logins| logins.identities);
    let node = Node::open(Options { listen, datagrams: flood, disk, sources, tls, ..Options::default() })?;
    let target = match target {
        Some(target) => target,
        None => rig.start_super(subnet, node.listen_addr(), operator)?,
    };
    (plan.target, plan.link) = (HostPort::from(target), flood.then_some(target));
    if churn && args.own {
        rig.start_sources(subnet, limits.sources, limits.size, "visit.bin")?;
    }
    let open = plan.rate.is_some();
    let mut load = Load::new(plan, &mut OsEntropy);
    let server = rig.server_pid.or(args.pid).or_else(|| owner::listening_at(target)).map(Watched::new);
    let mut watch =
        Watch { client: Watched::new(std::process::id()), server, talks: rig.talks, failure: None, done: false };
    let handle = node.handle();
    node.run(&mut load, &mut watch)?;
    if let Some(failure) = watch.failure {
        return Err(failure);
    }
    if !watch.done {
        return Ok(signal_code(&handle).unwrap_or(INTERRUPTED));
    }
    let servers: Vec<Watched> = watch.server.into_iter().collect();
    let report = Report::new(mode, load.tally(), open, &watch.client, &servers, Env::here(nofile));
    report.publish(args, form)
}

/// Takes samples of `/proc` at the beginning of each phase.
struct Watch {
    client: Watched,
    server: Option<Watched>,
    talks: bool,
    failure: Option<Failure>,
    done: bool,
}

impl Watch {
    fn end(&mut self) {
        self.client.end();
        self.server.iter_mut().for_each(Watched::end);
    }
}

impl Host for Watch {
    fn on_event(&mut self, event: Event) -> Flow {
        let Event::Client { client: bench::CLIENT, event } = event else {
            return Flow::Continue;
        };
        if let ClientEvent::Note { message } = event {
            if message == Phase::Measuring.word() {
                self.client.begin();
                self.server.iter_mut().for_each(Watched::begin);
            } else if message == Phase::Draining.word() {
                self.end();
            }
            if self.talks {
                say(&message);
            }
        } else if let ClientEvent::Done(outcome) = event {
            self.end();
            self.done = true;
            if !outcome.ok {
                let exit = if outcome.exit == Exit::TimedOut.code() { Exit::TimedOut } else { Exit::Unreachable };
                self.failure = Some(Failure::new(exit, outcome.error.unwrap_or_default()));
            }
            return Flow::Stop(Exit::Ok);
        }
        Flow::Continue
    }
}
