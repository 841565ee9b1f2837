//! The processes that the demo and the bench start: `sprat` processes with their own folders and
//! environment. They end when the tool ends, for any reason.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cli::random::OsEntropy;
use crate::error::{Exit, Failure};
use crate::net::ending_signals;
use crate::proto::Entropy;

/// The interval at which processes are polled.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The longest wait for a daemon to be ready, or for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

/// A daemon.
pub(super) struct Daemon {
    pub(super) name: &'static str,
    pub(super) listen: SocketAddr,
    pub(super) pid: u32,
    /// The address of its page.
    pub(super) page: Option<String>,
}

/// All processes of one run, and their folder.
pub(super) struct Children {
    program: PathBuf,
    folder: PathBuf,
    interrupted: Arc<AtomicBool>,
    running: Vec<(&'static str, Child)>,
    alive: Alive,
}

/// The pids of all running children. With them, a panic can end the children.
#[derive(Clone, Default)]
struct Alive(Arc<Mutex<Vec<u32>>>);

impl Alive {
    fn add(&self, child: &Child) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(child.id());
    }

    fn remove(&self, child: &Child) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|pid| *pid != child.id());
    }

    /// In a release build, a panic aborts without unwinding. So the hook ends the children and
    /// removes the folder.
    fn end_on_panic(&self, folder: &Path) {
        let (alive, folder, report) = (self.clone(), folder.to_owned(), panic::take_hook());
        panic::set_hook(Box::new(move |what| {
            report(what);
            for pid in alive.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                signal(pid, Signal::KILL);
            }
            let _ = fs::remove_dir_all(&folder);
        }));
    }
}

/// Sends a signal to a process, unless it has ended.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// The answer of a one-shot command.
pub(super) struct Answer {
    pub(super) code: i32,
    pub(super) events: Vec<Value>,
}

impl Answer {
    /// The events of one kind.
    pub(super) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["event"] == kind)
    }

    /// The last event.
    pub(super) fn done(&self) -> &Value {
        self.events.last().unwrap_or(&Value::Null)
    }
}

impl Children {
    pub(super) fn new(folder: &Path, interrupted: Arc<AtomicBool>) -> Result<Children, Failure> {
        let program = std::env::current_exe().map_err(|e| failed("find this program", &e))?;
        let alive = Alive::default();
        alive.end_on_panic(folder);
        Ok(Children { program, folder: folder.to_owned(), interrupted, running: Vec::new(), alive })
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // The child gets no settings of the user. It is in a process group of its own, because
        // Ctrl-C is meant for the tool, which ends the children.
        command
            .env_clear()
            .env("SPRAT_CONFIG", "/dev/null")
            .env("HOME", &self.folder)
            .env("XDG_STATE_HOME", self.folder.join("state"));
        command.process_group(0).stdin(Stdio::null());
        command
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn ready_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.ready"))
    }

    /// The socket of a peer.
    pub(super) fn socket(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.sock"))
    }

    /// Starts a daemon. [`Children::ready`] waits until it serves.
    pub(super) fn start(&mut self, name: &'static str, args: &[String]) -> Result<(), Failure> {
        let ready = self.ready_path(name);
        let log = File::create(self.log_path(name)).map_err(|e| failed("make a log", &e))?;
        let mut command = self.command();
        command.args(args).arg("--name").arg(name).arg("--ready-file").arg(ready).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(|e| failed("start a process", &e))?;
        self.alive.add(&child);
        self.running.push((name, child));
        Ok(())
    }

    /// Waits until a daemon serves.
    ///
    /// # Errors
    /// If the daemon has ended, its own exit code.
    pub(super) fn ready(&mut self, name: &'static str) -> Result<Daemon, Failure> {
        let path = self.ready_path(name);
        let begun = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(&path)
                && let Ok(ready) = serde_json::from_str::<Value>(&text)
            {
                let listen = ready["listen"].as_str().and_then(|listen| listen.parse().ok());
                let pid = ready["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
                if let (Some(listen), Some(pid)) = (listen, pid) {
                    let page = ready["http"].as_str().map(str::to_owned);
                    return Ok(Daemon { name, listen, pid, page });
                }
            }
            if let Some(status) = self.ended(name) {
                return Err(self.ended_early(name, status));
            }
            if begun.elapsed() > PATIENCE {
                let tail = self.tail(name);
                return Err(Failure::new(
                    Exit::TimedOut,
                    format!("{name} is not ready in time; its log ends with: {tail}"),
                ));
            }
            self.pause()?;
        }
    }

    fn ended_early(&self, name: &str, status: ExitStatus) -> Failure {
        let exit =
            if status.code() == Some(i32::from(Exit::Unreachable.code())) { Exit::Unreachable } else { Exit::Internal };
        Failure::new(exit, format!("{name} ended with {status}; its log ends with: {}", self.tail(name)))
    }

    /// The last line of a daemon's log.
    fn tail(&self, name: &str) -> String {
        let log = fs::read_to_string(self.log_path(name)).unwrap_or_default();
        log.lines().last().unwrap_or("nothing").to_owned()
    }

    fn ended(&mut self, name: &str) -> Option<ExitStatus> {
        let (_, child) = self.running.iter_mut().find(|(running, _)| *running == name)?;
        child.try_wait().ok().flatten()
    }

    /// A short wait. Ctrl-C ends it.
    pub(super) fn pause(&self) -> Result<(), Failure> {
        thread::sleep(LOOK_AGAIN);
        self.check_interrupt()
    }

    pub(super) fn check_interrupt(&self) -> Result<(), Failure> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Internal, "interrupted"));
        }
        Ok(())
    }

    /// Runs a one-shot command with `--json`, and passes each event to `on` when it comes.
    pub(super) fn ask_live(&self, args: &[&str], mut on: impl FnMut(&Value)) -> Result<Answer, Failure> {
        let mut command = self.command();
        command.args(args).arg("--json").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Ended(command.spawn().map_err(|e| failed("start a process", &e))?, self.alive.clone());
        child.1.add(&child.0);
        let Some(stdout) = child.0.stdout.take() else {
            return Err(Failure::new(Exit::Internal, "a process without standard output"));
        };
        let (lines, taken) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let mut events = Vec::new();
        loop {
            match taken.recv_timeout(LOOK_AGAIN) {
                Ok(line) => {
                    let event = serde_json::from_str(&line).map_err(|e| {
                        Failure::new(
                            Exit::Internal,
                            format!("{} printed a line that is not JSON ({e}): {line}", args[0]),
                        )
                    })?;
                    on(&event);
                    events.push(event);
                }
                Err(RecvTimeoutError::Timeout) => self.check_interrupt()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = child.0.wait().map_err(|e| failed("wait for a process", &e))?;
        Ok(Answer { code: status.code().unwrap_or(-1), events })
    }

    /// Runs a one-shot command with `--json`.
    pub(super) fn ask(&self, args: &[&str]) -> Result<Answer, Failure> {
        self.ask_live(args, |_| {})
    }

    /// Kills a daemon with SIGKILL.
    pub(super) fn kill(&mut self, name: &str) {
        if let Some((_, child)) = self.running.iter_mut().find(|(running, _)| *running == name) {
            let _ = child.kill();
            let _ = child.wait();
            self.alive.remove(child);
        }
    }

    /// Ends all daemons: first with SIGTERM, so that they remove their sockets, then with SIGKILL.
    pub(super) fn end(&mut self) {
        for (_, child) in &self.running {
            signal(child.id(), Signal::TERM);
        }
        let begun = Instant::now();
        for (_, child) in &mut self.running {
            while begun.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
                thread::sleep(LOOK_AGAIN);
            }
            let _ = child.kill();
            let _ = child.wait();
            self.alive.remove(child);
        }
        self.running.clear();
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.end();
    }
}

/// A one-shot child that ends when this is dropped.
struct Ended(Child, Alive);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        self.1.remove(&self.0);
    }
}

/// An internal failure of a tool: `cannot WHAT: ERROR`.
pub(super) fn failed(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("cannot {what}: {error}"))
}

/// Loopback addresses that are probably free: a random /24 network for each run, and one host of it
/// for each node.
#[derive(Clone, Copy)]
pub(super) struct Subnet(u8, u8);

impl Subnet {
    pub(super) fn draw(random: u64) -> Subnet {
        let [a, b, ..] = random.to_le_bytes();
        Subnet(a.clamp(1, 254), b)
    }

    pub(super) fn host(self, host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.0, self.1, host))
    }

    /// Ports that have just been free, for TCP and UDP. Neighbors must know each other's ports
    /// before they start, so the kernel cannot choose the ports. If a daemon finds its port in use,
    /// it ends with exit 5, and the demo draws other ports.
    pub(super) fn free_ports(self, hosts: &[u8]) -> io::Result<Vec<SocketAddr>> {
        let mut held = Vec::new();
        for host in hosts {
            let tcp = TcpListener::bind((self.host(*host), 0))?;
            let addr = tcp.local_addr()?;
            let udp = UdpSocket::bind(addr)?;
            held.push((addr, tcp, udp));
        }
        Ok(held.into_iter().map(|(addr, _, _)| addr).collect())
    }
}

/// A flag that SIGINT, SIGTERM and SIGHUP set.
pub(super) fn interrupt_flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in ending_signals() {
        signal_hook::flag::register(*signal, Arc::clone(&flag)).map_err(|e| failed("catch signals", &e))?;
    }
    Ok(flag)
}

/// Writes a file of random bytes, which neither compression nor deduplication can make shorter.
pub(super) fn write_random(path: &Path, size: u64) -> io::Result<()> {
    let mut random = blake3::Hasher::new().update(&OsEntropy.next_u64().to_le_bytes()).finalize_xof();
    let mut file = File::create(path)?;
    let mut block = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        random.fill(&mut block[..take]);
        file.write_all(&block[..take])?;
        left -= take as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_panic_leaves_no_process_and_no_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let alive = Alive::default();
        let mut child = Command::new("sleep").arg("3600").stdin(Stdio::null()).spawn().expect("a process");
        alive.add(&child);
        alive.end_on_panic(folder.path());
        let panicked = thread::spawn(|| panic!("of a test")).join();
        let _ = panic::take_hook();
        assert!(panicked.is_err());
        assert_eq!(child.wait().expect("it has ended").signal(), Some(9));
        assert!(!folder.path().exists());
    }
}
