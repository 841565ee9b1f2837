//! One command and its answer. The command is given by a short-lived peer to a super peer, or
//! through the control socket to a running peer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::args::{AskedOptions, SearchOptions};
use super::member::{self, Keys, Part};
use super::present::Presenter;
use super::random::{self, Fetched};
use super::units::Span;
use super::{discovery, paths, report, settings};
use crate::config::{DISCOVERY_MAX, DOWNLOAD_TIMEOUT, QUERY_BUDGET_MAX};
use crate::control;
use crate::error::{Exit, Failure};
use crate::net::ending_signals;
use crate::node::{DiskOptions, Flow, Handle, Host, Node, Options};
use crate::proto::weak_peer::{Offer, SwarmConfig, WeakPeer, WeakPeerConfig};
use crate::proto::{ClientEvent, ClientId, Command, Event, RateLimits, Scope};
use crate::trust::Pin;

/// Longest silence of the peer at a control socket, in addition to the time that the command may
/// take.
const CONTROL_PATIENCE: Duration = Duration::from_secs(15);
/// How long a command waits before it is sent again, if the peer has closed the connection without
/// reading it. A peer with many clients closes idle connections to make room.
const CONTROL_RETRIES: [Duration; 4] =
    [Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(300)];
/// The code of a command that a signal ended (128 + SIGINT).
pub(crate) const INTERRUPTED: u8 = 130;

/// The peer that does the work.
#[derive(Debug)]
pub(crate) enum Target {
    /// A short-lived peer, at the first of these super peers that answers.
    Supers { part: Part, connect_timeout: Duration, keys: Option<Keys> },
    /// The running peer with this socket.
    Control { path: PathBuf, name: String, named: bool },
}

impl Target {
    /// The peer that the options choose.
    pub(crate) fn new(asked: AskedOptions) -> Result<Target, Failure> {
        let AskedOptions { supers, open, state, control, name, connect_timeout } = asked;
        settings::dialed("--super", supers.iter().map(|pin| &pin.at))?;
        let env = |key: &str| std::env::var_os(key);
        let asked_name = paths::checked_name(name.as_deref().unwrap_or(settings::PEER_NAME))?.to_owned();
        if !supers.is_empty() {
            if control.is_some() {
                return Err(Failure::usage("--super and --control exclude each other; give one of them"));
            }
            // If there is no place for a state folder, there is no credential. An open network
            // needs none.
            let folder = paths::state_folder(&asked_name, state.as_deref(), &env).ok();
            return Target::supers(folder, supers, open, connect_timeout);
        }
        let path = match &control {
            Some(given) => paths::control_socket(&asked_name, Some(given), None, &env)?,
            None => paths::running_socket(&asked_name, &env)?,
        };
        Ok(Target::Control { path, name: asked_name, named: control.is_some() })
    }

    /// A short-lived peer at these super peers or, if none are given, at those of the network that
    /// was joined.
    pub(crate) fn supers(
        folder: Option<PathBuf>,
        supers: Vec<Pin>,
        open: bool,
        connect_timeout: Option<Span>,
    ) -> Result<Target, Failure> {
        let connect_timeout = settings::connect_timeout(connect_timeout)?;
        let part = member::part(folder.as_deref(), supers, open)?;
        let keys = part.login.as_ref().and(folder.as_deref()).map(Keys::new);
        Ok(Target::Supers { part, connect_timeout, keys })
    }

    /// The peer that the options choose. If that is a peer by name and does not run here, a
    /// short-lived peer. Its super peers are those of the network that was joined. If none was
    /// joined and no name is given, they are those that announce themselves on the local network.
    pub(crate) fn here_or_near(asked: AskedOptions) -> Result<Target, Failure> {
        let is_named = asked.name.is_some();
        let (open, state, connect_timeout) = (asked.open, asked.state.clone(), asked.connect_timeout);
        settings::connect_timeout(connect_timeout)?;
        let target = Target::new(asked)?;
        let Target::Control { path, name, named: false } = &target else { return Ok(target) };
        if path.exists() {
            return Ok(target);
        }
        let folder = paths::state_folder(name, state.as_deref(), &|key| std::env::var_os(key)).ok();
        let joined = folder.as_deref().filter(|_| !open).map(member::joined).transpose()?.flatten();
        if joined.is_some() {
            return Target::supers(folder, Vec::new(), open, connect_timeout);
        }
        if is_named {
            return Ok(target);
        }
        match discovery::find(DISCOVERY_MAX) {
            Ok(found) => Target::supers(folder, found.into_iter().map(Pin::from).collect(), open, connect_timeout),
            Err(_) => Ok(target),
        }
    }

    /// Whether a short-lived peer does the work.
    pub(crate) fn is_super(&self) -> bool {
        matches!(self, Target::Supers { .. })
    }
}

/// If the options name no daemon and only a super peer runs on this host, changes them so that they
/// name it. Otherwise returns them unchanged.
pub(crate) fn node_here(mut asked: AskedOptions) -> Result<AskedOptions, Failure> {
    let runs = |name: &str| paths::running_socket(name, &|key| std::env::var_os(key)).map(|path| path.exists());
    let is_open = asked.supers.is_empty() && asked.control.is_none() && asked.name.is_none();
    if is_open && !runs(settings::PEER_NAME)? && runs(settings::SUPER_NAME)? {
        asked.name = Some(settings::SUPER_NAME.to_owned());
    }
    Ok(asked)
}

/// The scope of a search, checked.
pub(crate) fn scope(SearchOptions { ttl, budget, policy }: SearchOptions) -> Result<Scope, Failure> {
    let budget = budget.map(settings::budget).transpose()?;
    let budget = budget.map(|budget| u32::try_from(budget.as_millis()).unwrap_or(u32::MAX));
    Ok(Scope { ttl, budget, policy })
}

/// Runs the command and prints its events. Returns the exit code.
pub(crate) fn run(target: Target, command: Command, presenter: &mut Presenter) -> Result<u8, Failure> {
    run_with(target, command, Transfers::default(), presenter)
}

/// How a short-lived peer receives and sends pieces.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    pub(crate) swarms: SwarmConfig,
    pub(crate) limits: RateLimits,
}

/// As [`run`]. `transfers` says how a short-lived peer receives and sends pieces.
pub(crate) fn run_with(
    target: Target,
    command: Command,
    transfers: Transfers,
    presenter: &mut Presenter,
) -> Result<u8, Failure> {
    let ended = match target {
        Target::Supers { part, connect_timeout, keys } => {
            as_peer(part, connect_timeout, keys, command, transfers, presenter)
        }
        Target::Control { path, name, named } => over_control(&path, &name, named, &command, presenter),
    };
    match (ended, presenter.code()) {
        (_, Some(code)) => Ok(code),
        (Err(failure), None) if presenter.is_unwritable() => Err(failure),
        (Ok(code), None) => {
            presenter.interrupted(code)?;
            Ok(code)
        }
        (Err(failure), None) => {
            presenter.fail(&failure)?;
            Ok(failure.exit.code())
        }
    }
}

/// The exit code of a process that a signal ends: 128 + the number of the signal. None without a
/// signal.
pub(crate) fn signal_code(handle: &Handle) -> Option<u8> {
    handle.signal().and_then(|signal| u8::try_from(128 + signal).ok())
}

/// The only client of a short-lived peer.
const ONLY: ClientId = ClientId(1);

struct Asker<'a> {
    handle: Handle,
    /// The command, which is sent to the machine once the session is up.
    command: Option<Command>,
    /// Where the keys of super peers are remembered.
    keys: Option<Keys>,
    presenter: &'a mut Presenter,
    /// Whether other peers still fetch what was downloaded.
    lingers: bool,
    failure: Option<Failure>,
}

impl Host for Asker<'_> {
    /// Writes to standard output on the thread of the loop. This loop serves only one command, so a
    /// slow reader may delay it.
    fn on_event(&mut self, event: Event) -> Flow {
        // The command has failed. Events that come while the peer ends are not its result.
        if self.failure.is_some() {
            return Flow::Stop(Exit::Internal);
        }
        match event {
            Event::Client { event, .. } => {
                let shown = match signal_code(&self.handle) {
                    // A shell expects the exit code of the signal.
                    Some(code) if matches!(event, ClientEvent::Done(_)) => self.presenter.interrupted(code),
                    Some(_) | None => self.presenter.show(&event),
                };
                if let Err(failure) = shown {
                    self.failure = Some(failure);
                    return Flow::Stop(Exit::Internal);
                }
                if self.presenter.code().is_some() && !self.lingers {
                    return Flow::Stop(Exit::Ok);
                }
            }
            Event::Lingers(lingers) => {
                self.lingers = lingers;
                if self.presenter.code().is_some() && !lingers {
                    return Flow::Stop(Exit::Ok);
                }
            }
            Event::Welcomed { super_peer, .. } => {
                log::debug!("welcomed by {super_peer}");
                if let Some(command) = self.command.take() {
                    self.handle.command(ONLY, command);
                }
            }
            Event::SessionLost { super_peer, why } => log::warn!("lost {super_peer}: {why}"),
            Event::SuperKey { .. } => {
                report::event(&event);
                member::on_event(self.keys.as_ref(), &event);
            }
            Event::Link { .. }
            | Event::Sharing { .. }
            | Event::Enrolled { .. }
            | Event::Peer(_)
            | Event::MorePeers { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::Share { .. }
            | Event::Download(_)
            | Event::Source { .. } => {}
            Event::Fatal(failure) => {
                self.failure = Some(failure);
                return Flow::Stop(Exit::Internal);
            }
            Event::Log { level, text } => log::log!(level, "{text}"),
        }
        Flow::Continue
    }
}

fn as_peer(
    part: Part,
    connect_timeout: Duration,
    keys: Option<Keys>,
    command: Command,
    Transfers { swarms, limits }: Transfers,
    presenter: &mut Presenter,
) -> Result<u8, Failure> {
    let disk = match &command {
        Command::Get(get) | Command::Queue(get) | Command::Fetch(get) => {
            let downloads = if get.out.is_none() { Some(paths::absolute("-o", Path::new("."))?) } else { None };
            Some(DiskOptions { downloads, ..DiskOptions::default() })
        }
        Command::Query { .. }
        | Command::Aim { .. }
        | Command::Subscribe { .. }
        | Command::Uri { .. }
        | Command::List { .. }
        | Command::Network { .. }
        | Command::Status
        | Command::User(_)
        | Command::Downloads
        | Command::Clean
        | Command::Reload
        | Command::Cancel { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Limit { .. } => None,
    };
    // Others can fetch from this peer what it downloads, so it listens.
    let listen = match &disk {
        Some(_) if !swarms.linger.is_zero() => Some(settings::listen(None, 0)?),
        Some(_) | None => None,
    };
    let Part { supers, login, tls, node: id } = part;
    let node = Node::open(Options { disk, tls, listen, ..Options::default() })?;
    let offer =
        node.listen_addr().map(|bound| Offer { port: bound.port(), host: None, listens: bound.into(), http: false });
    let config = WeakPeerConfig {
        // With another node id, the running peer with this state is a source like any other.
        node: id.unwrap_or_else(random::node_id),
        boot: random::boot_id(),
        supers,
        login,
        offer,
        connect_timeout,
        download_timeout: DOWNLOAD_TIMEOUT,
        agent: settings::AGENT.into(),
    };
    let role = WeakPeer::new(config, Box::new(Fetched::default()));
    let role = role.with_swarms(swarms).with_limits(limits).as_one_shot();
    let (handle, command) = (node.handle(), Some(command));
    let mut asker = Asker { handle, command, keys, presenter, lingers: false, failure: None };
    let ended = node.run(role, &mut asker);
    match (asker.failure, ended) {
        (Some(failure), _) | (None, Err(failure)) => Err(failure),
        // A signal ended the command before its `done`.
        (None, Ok(_)) => Ok(signal_code(&asker.handle).unwrap_or(INTERRUPTED)),
    }
}

fn over_control(
    path: &Path,
    name: &str,
    named: bool,
    command: &Command,
    presenter: &mut Presenter,
) -> Result<u8, Failure> {
    let mut signal = None;
    while_unread(path, || {
        let stream = UnixStream::connect(path).map_err(|e| no_peer(path, name, named, &e))?;
        let signals = match matches!(command, Command::Get(_)) {
            true => Some(Signals::end(&stream).map_err(|e| lost(path, &e))?),
            false => None,
        };
        let ended = converse(&stream, path, command, &mut |event| {
            presenter.show(&event)?;
            Ok(presenter.code().is_some())
        });
        signal = signals.filter(|_| presenter.code().is_none()).and_then(|signals| signals.code());
        if signal.is_some() { Ok(None) } else { ended }
    })?;
    Ok(signal.unwrap_or(Exit::Ok.code()))
}

/// Sends a command to the daemon at this control socket. `absent` is the failure if no daemon
/// serves it. `show` gets each event, and returns whether it was the last one.
pub(crate) fn ask(
    path: &Path,
    command: &Command,
    absent: &dyn Fn(&io::Error) -> Failure,
    show: Show<'_>,
) -> Result<(), Failure> {
    while_unread(path, || {
        let stream = UnixStream::connect(path).map_err(|e| absent(&e))?;
        converse(&stream, path, command, show)
    })
}

/// Handles an event. Returns whether it was the last one.
type Show<'a> = &'a mut dyn FnMut(ClientEvent) -> Result<bool, Failure>;

/// Repeats a conversation, after a wait, if the peer has not read the command.
fn while_unread(path: &Path, mut talk: impl FnMut() -> Result<Option<io::Error>, Failure>) -> Result<(), Failure> {
    let mut waits = CONTROL_RETRIES.into_iter();
    while let Some(error) = talk()? {
        match waits.next() {
            Some(wait) => thread::sleep(wait),
            None => return Err(lost(path, &error)),
        }
    }
    Ok(())
}

/// While this exists, the first signal ends only the conversation, so that the process can still
/// print a message. A second signal ends the process.
struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// From now on a signal shuts the stream down.
    fn end(stream: &UnixStream) -> io::Result<Signals> {
        let (caught, again) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (mut woken, wake) = UnixStream::pair()?;
        for signal in ending_signals() {
            signal_hook::flag::register_conditional_default(*signal, Arc::clone(&again))?;
            signal_hook::flag::register_usize(*signal, Arc::clone(&caught), usize::try_from(*signal).unwrap_or(0))?;
            signal_hook::low_level::pipe::register(*signal, wake.try_clone()?)?;
        }
        let stream = stream.try_clone()?;
        thread::spawn(move || {
            if woken.read_exact(&mut [0]).is_ok() {
                again.store(true, Ordering::SeqCst);
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        Ok(Signals(caught))
    }

    /// The exit code for the signal that came: 128 + its number.
    fn code(&self) -> Option<u8> {
        let signal = Some(self.0.load(Ordering::SeqCst)).filter(|signal| *signal != 0)?;
        u8::try_from(128 + signal).ok()
    }
}

/// Sends the command and shows its events. Returns the error if the peer has closed the connection
/// without reading the command.
fn converse(stream: &UnixStream, path: &Path, command: &Command, show: Show<'_>) -> Result<Option<io::Error>, Failure> {
    let is_unread = |e: &io::Error| matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
    stream.set_read_timeout(patience(command)).map_err(|e| lost(path, &e))?;
    let line = control::command_line(command);
    let mut writer = stream;
    if let Err(error) = writer.write_all(format!("{line}\n").as_bytes()) {
        return if is_unread(&error) { Ok(Some(error)) } else { Err(lost(path, &error)) };
    }
    for (n, line) in BufReader::new(stream).lines().enumerate() {
        let line = match line {
            Ok(line) => line,
            Err(error) if n == 0 && is_unread(&error) => return Ok(Some(error)),
            Err(error) => return Err(lost(path, &error)),
        };
        let event = control::parse_event(&line).map_err(|why| {
            Failure::new(
                Exit::Version,
                format!("the peer at {} sent a line that is not an event: {why}", path.display()),
            )
        })?;
        if show(event)? {
            return Ok(None);
        }
    }
    // A `get` is in the queue, which is on the disk of the peer.
    let is_queued = matches!(command, Command::Get(_) | Command::Queue(_));
    let goes_on = if is_queued { "; at its next start it goes on with the downloads of its queue" } else { "" };
    Err(Failure::new(Exit::TimedOut, format!("the peer at {} ended before it answered{goes_on}", path.display())))
}

/// The failure if the connection to the peer breaks.
pub(crate) fn lost(path: &Path, error: &io::Error) -> Failure {
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        Failure::new(Exit::TimedOut, format!("the peer at {} does not answer", path.display()))
    } else {
        Failure::new(Exit::Unreachable, format!("lost the peer at {}: {error}", path.display()))
    }
}

/// Longest silence of the peer. None for a command without a limit, such as a download that waits
/// until it may start.
fn patience(command: &Command) -> Option<Duration> {
    match command {
        Command::Query { scope, .. } => {
            let budget = scope.budget.map_or(QUERY_BUDGET_MAX, |ms| Duration::from_millis(u64::from(ms)));
            Some(budget + CONTROL_PATIENCE)
        }
        Command::List { .. }
        | Command::Aim { .. }
        | Command::Status
        | Command::User(_)
        | Command::Downloads
        | Command::Clean
        | Command::Reload
        | Command::Cancel { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Limit { .. } => Some(CONTROL_PATIENCE),
        // Many pages may be read without an event, or many files may be hashed.
        Command::Network { .. }
        | Command::Subscribe { .. }
        | Command::Get(_)
        | Command::Queue(_)
        | Command::Fetch(_)
        | Command::Uri { .. } => None,
    }
}

/// Why a control socket cannot be used.
pub(crate) fn no_peer(path: &Path, name: &str, named: bool, error: &io::Error) -> Failure {
    let path = path.display();
    let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    let message = if absent && named {
        format!("no peer serves the control socket {path}")
    } else if absent {
        format!(
            "no peer named {name:?} runs here (nothing serves {path}); start one with `sprat peer`, or ask a super peer \
             with --super HOST:PORT"
        )
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        format!("this user may not use the control socket {path}; run the command as the user who started the peer")
    } else {
        format!("cannot reach the peer at {path}: {error}")
    };
    Failure::new(Exit::Unreachable, message)
}
