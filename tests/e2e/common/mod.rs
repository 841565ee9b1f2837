//! A small world of real `sprat` processes. It has its own folder and its own loopback address, and
//! it ends all its processes when it is dropped.
//!
//! Nothing here sleeps for a guessed time. [`eventually`] and the ready files are polled, with a
//! deadline that only guards against a failure. Everything else waits on a pipe or a socket.

pub(crate) mod pane;
pub(crate) mod schema;
pub(crate) mod session;
pub(crate) mod source;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before the test fails. It is long, because the machine may be busy
/// with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is checked.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `look` finds what it looks for.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        std::thread::sleep(LOOK);
    }
}

/// `length` bytes that look random and depend on `seed` only.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let key = blake3::hash(&seed.to_le_bytes());
    blake3::Hasher::new_keyed(key.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The root of a content, as `--json` writes it.
pub(crate) fn root_of(content: &[u8]) -> String {
    blake3::hash(content).to_string()
}

/// A folder, an address, and the processes that use them.
pub(crate) struct World {
    dir: TempDir,
    ip: Ipv4Addr,
    count: AtomicU32,
    /// A shell command that runs before each process, such as `ulimit -n 100`.
    limit: Option<String>,
}

impl World {
    pub(crate) fn new() -> World {
        let mut random = [0; 3];
        getrandom::fill(&mut random).expect("randomness");
        let ip = Ipv4Addr::new(127, random[0] | 1, random[1], random[2].clamp(1, 250));
        World { dir: TempDir::with_prefix("sprat-e2e-").expect("a folder"), ip, count: AtomicU32::new(0), limit: None }
    }

    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Processes that start from now on can open this many descriptors.
    pub(crate) fn limit_descriptors(&mut self, descriptors: u32) {
        self.limit(&format!("ulimit -n {descriptors}"));
    }

    /// Sets the shell command that runs before each process from now on; none if it is empty.
    pub(crate) fn limit(&mut self, limit: &str) {
        self.limit = (!limit.is_empty()).then(|| limit.to_owned());
    }

    /// A new folder.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    }

    /// A port that nobody uses at the moment, for TCP and UDP.
    pub(crate) fn free_port(&self) -> u16 {
        eventually("a free port", || {
            let tcp = TcpListener::bind((self.ip, 0)).ok()?;
            let port = tcp.local_addr().ok()?.port();
            UdpSocket::bind((self.ip, port)).is_ok().then_some(port)
        })
    }

    /// `sprat` with this world's folders, without those of the user.
    pub(crate) fn sprat<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sprat"));
        if let Some(limit) = &self.limit {
            command = Command::new("sh");
            command.args(["-c", &format!("{limit} && exec \"$@\""), "sh", env!("CARGO_BIN_EXE_sprat")]);
        }
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("SPRAT_") {
                command.env_remove(key);
            }
        }
        command.env_remove("STATE_DIRECTORY").env_remove("RUNTIME_DIRECTORY");
        command.env("HOME", self.dir.path()).env("XDG_STATE_HOME", self.path("state"));
        command.env("XDG_RUNTIME_DIR", self.folder("run")).env("XDG_CACHE_HOME", self.path("cache"));
        command.env("SPRAT_CONFIG", "/dev/null");
        command.current_dir(self.dir.path()).args(args).stdin(Stdio::null());
        command
    }

    fn number(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a daemon with these arguments. The daemon is ready when this returns.
    pub(crate) fn daemon(&self, name: &str, args: &[String], stdin: Stdio) -> Daemon {
        let number = self.number();
        let ready_file = self.path(format!("{name}.{number}.ready"));
        let log = self.path(format!("{name}.{number}.log"));
        let mut command = self.sprat(args);
        command.arg("--name").arg(name).arg("--ready-file").arg(&ready_file).stdin(stdin);
        command.stdout(Stdio::piped()).stderr(File::create(&log).expect("a log"));
        let child = command.spawn().expect("sprat starts");
        let mut daemon = Daemon { name: name.to_owned(), child, ready: Value::Null, ready_file, log, ended: None };
        daemon.ready = eventually(&format!("{name} is ready"), || {
            if let Some(status) = daemon.child.try_wait().expect("wait") {
                panic!("{name} ended before it was ready: {status}\n{}", daemon.log());
            }
            serde_json::from_slice(&std::fs::read(&daemon.ready_file).ok()?).ok()
        });
        daemon
    }

    /// A super peer without neighbors on any port.
    pub(crate) fn super_peer(&self, name: &str) -> Daemon {
        self.super_peer_at(name, 0, &[], &[])
    }

    /// A super peer on this port, with neighbors on the other ports.
    pub(crate) fn super_peer_at(&self, name: &str, port: u16, neighbors: &[u16], more: &[&str]) -> Daemon {
        let mut args = vec!["super".to_owned(), "--listen".to_owned(), format!("{}:{port}", self.ip)];
        for neighbor in neighbors {
            args.extend(["--neighbor".to_owned(), format!("{}:{neighbor}", self.ip)]);
        }
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        self.daemon(name, &args, Stdio::null())
    }

    /// Starts `count` super peers s0, s1, …, with these links. Every link is up when this returns.
    pub(crate) fn super_peers(&self, count: usize, links: &[(usize, usize)]) -> Vec<Daemon> {
        let ports: Vec<u16> = (0..count).map(|_| self.free_port()).collect();
        let neighbors_of = |n: usize| -> Vec<u16> {
            let other = |&(a, b): &(usize, usize)| if a == n { Some(b) } else { (b == n).then_some(a) };
            links.iter().filter_map(other).map(|m| ports[m]).collect()
        };
        let start = |n: usize| self.super_peer_at(&format!("s{n}"), ports[n], &neighbors_of(n), &[]);
        let daemons: Vec<Daemon> = (0..count).map(start).collect();
        // A query that nobody can answer is complete only if no link of the complete network is
        // down.
        for daemon in &daemons {
            eventually("all links are up", || {
                let done = self.run(["query", "nobody-has-this", "--json", "--super", daemon.addr()]).done();
                (done["complete"] == true && done["reached"] == count).then_some(())
            });
        }
        daemons
    }

    /// A weak peer that shares a folder with the peer's name, through the first of these super
    /// peers that answers.
    pub(crate) fn peer(&self, name: &str, supers: &[&Daemon]) -> Daemon {
        self.peer_with(name, supers, &[], Stdio::null())
    }

    pub(crate) fn peer_with(&self, name: &str, supers: &[&Daemon], more: &[&str], stdin: Stdio) -> Daemon {
        let share = self.folder(name).display().to_string();
        let more: Vec<&str> = ["--share", &share].into_iter().chain(more.iter().copied()).collect();
        self.daemon(name, &self.peer_args(supers, &more), stdin)
    }

    /// A weak peer that shares only what these options say.
    pub(crate) fn peer_of(&self, name: &str, supers: &[&Daemon], more: &[&str]) -> Daemon {
        self.daemon(name, &self.peer_args(supers, more), Stdio::null())
    }

    fn peer_args(&self, supers: &[&Daemon], more: &[&str]) -> Vec<String> {
        let mut args = vec!["peer".to_owned(), "--listen".to_owned(), format!("{}:0", self.ip)];
        for daemon in supers {
            args.extend(["--super".to_owned(), daemon.addr().to_owned()]);
        }
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args
    }

    /// Puts a file into the share of the peer with this name. The file appears with its complete
    /// content.
    pub(crate) fn share(&self, peer: &str, path: impl AsRef<Path>, content: &[u8]) {
        let path = self.folder(peer).join(path);
        std::fs::create_dir_all(path.parent().expect("below the share")).expect("a folder");
        std::fs::write(path, content).expect("a shared file");
    }

    /// Runs a command to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.start(args).finish()
    }

    /// Starts a command whose lines can be read while it runs.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        let log = self.path(format!("command.{}.log", self.number()));
        let mut command = self.sprat(args);
        command.stdout(Stdio::piped()).stderr(File::create(&log).expect("a log"));
        let has_schema = !command.get_args().any(|arg| arg == "bench" || arg == "sim");
        let mut child = command.spawn().expect("sprat starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let pid = Pid::from_child(&child);
        let (watched, ended) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if ended.recv_timeout(2 * PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                kill_process(pid, Signal::KILL).ok();
            }
        });
        Running { child, stdout, lines: Vec::new(), log, has_schema, _watched: watched }
    }

    /// A figure of a peer, by its name in `status`.
    pub(crate) fn peer_count(&self, peer: &Daemon, name: &str) -> u64 {
        let status = self.run(["status", "--json", "--control", peer.control()]).events("status");
        status[0]["peer"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {status:?}"))
    }

    /// A counter of a super peer. `status` does not name counters that are 0.
    pub(crate) fn super_count(&self, daemon: &Daemon, name: &str) -> u64 {
        let status = self.run(["status", "--json", "--super", daemon.addr()]).events("status");
        status[0]["super_counts"][name].as_u64().unwrap_or(0)
    }

    /// Waits until a query at this super peer finds this many hits. Returns the hits.
    pub(crate) fn hits(&self, daemon: &Daemon, pattern: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} hits for {pattern}"), || {
            let ran = self.run(["query", pattern, "--json", "--super", daemon.addr()]);
            (ran.events("hit").len() == count).then(|| ran.events("hit"))
        })
    }
}

/// A super peer or weak peer that serves.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    /// What the daemon wrote into its ready file.
    pub(crate) ready: Value,
    pub(crate) ready_file: PathBuf,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// The address at which the daemon listens, as `--super` accepts it.
    pub(crate) fn addr(&self) -> &str {
        self.ready["listen"].as_str().expect("a ready file names `listen`")
    }

    /// The control socket of a peer.
    pub(crate) fn control(&self) -> &str {
        self.ready["control"].as_str().expect("a peer's ready file names `control`")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the daemon has written to stderr.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the child lives");
    }

    pub(crate) fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("piped")
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("piped")
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the child can be killed");
        self.ended = Some(self.child.wait().expect("wait"));
    }

    /// Waits until the daemon ends. Returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let status = eventually(&format!("{} ends", self.name), || self.child.try_wait().expect("wait"));
        self.ended = Some(status);
        status.code()
    }

    /// Resident memory, in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
        kib * 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        let log = self.log();
        let panicked = log.contains("panicked at");
        if std::thread::panicking() || panicked {
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            let text = format!("---- {} ----\n{}\n", self.name, tail.join("\n"));
            std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).ok();
        }
        assert!(std::thread::panicking() || !panicked, "{} panicked", self.name);
    }
}

/// A running command.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    lines: Vec<Value>,
    log: PathBuf,
    /// Whether a schema exists for the output with `--json`.
    has_schema: bool,
    /// The command is killed if it hangs while this value lives. Then the test fails and does not
    /// hang too.
    _watched: mpsc::Sender<()>,
}

impl Running {
    /// The next line, as JSON; `None` at the end of its output.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line).expect("stdout is UTF-8") == 0 {
            return None;
        }
        let value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: no JSON: {line:?}"));
        if self.has_schema {
            schema::assert_answer(&value);
        }
        self.lines.push(value);
        self.lines.last().cloned()
    }

    /// Reads up to the `count`-th event of this kind from here.
    pub(crate) fn until(&mut self, event: &str, count: usize) {
        let mut seen = 0;
        while seen < count {
            let line = self.next().unwrap_or_else(|| panic!("ended after {seen} of {count} {event}s"));
            seen += usize::from(line["event"] == event);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the child lives");
    }

    /// Sends SIGKILL. Returns the lines that were read so far and those that are still in the pipe.
    pub(crate) fn kill(mut self) -> Ran {
        self.child.kill().expect("the child can be killed");
        self.finish()
    }

    pub(crate) fn finish(mut self) -> Ran {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("stdout is UTF-8");
        let status = self.child.wait().expect("wait");
        let stderr = std::fs::read_to_string(&self.log).unwrap_or_default();
        let ran = Ran { exit: status.code(), lines: self.lines, text: rest, stderr };
        if self.has_schema {
            ran.json().iter().for_each(schema::assert_answer);
        }
        ran
    }
}

/// A command that has ended.
pub(crate) struct Ran {
    /// The exit code, unless a signal ended it.
    pub(crate) exit: Option<i32>,
    lines: Vec<Value>,
    /// Its stdout, without lines that were read before.
    pub(crate) text: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// All lines of a `--json` run. A last line that a kill cut short is left out.
    pub(crate) fn json(&self) -> Vec<Value> {
        let rest = self.text.lines().filter_map(|line| serde_json::from_str(line).ok());
        self.lines.iter().cloned().chain(rest).collect()
    }

    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        self.json().into_iter().filter(|line| line["event"] == event).collect()
    }

    /// The only `done`. It is the last event and has the exit code.
    pub(crate) fn done(&self) -> Value {
        let lines = self.json();
        let last = lines.last().unwrap_or_else(|| panic!("no output; exit {:?}: {}", self.exit, self.stderr));
        assert_eq!(last["event"], "done", "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line["event"] == "done").count(), 1, "{lines:?}");
        assert_eq!(last["exit"].as_i64(), self.exit.map(i64::from), "{last}");
        assert!(lines.iter().all(|line| line["v"] == 1), "{lines:?}");
        last.clone()
    }
}
