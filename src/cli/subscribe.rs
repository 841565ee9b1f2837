//! `sprat subscribe`: orders a download of each new content that matches, and runs a program for
//! each complete file. The running peer keeps the subscription.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};

use serde::Deserialize;

use super::args::Subscribe;
use super::talk::Talk;
use super::{format, oneshot, output, paths, query};
use crate::config::{SUBSCRIBER_DOWNLOADS_MAX, SUBSCRIBER_RUNS_WAITING_MAX, SUBSCRIBER_WAITING_MAX};
use crate::control;
use crate::error::Failure;
use crate::proto::command::{Get, KnownContent};
use crate::proto::event::{ItemReport, Outcome};
use crate::proto::{ClientEvent, Command};
use crate::wire::message::Mode;
use crate::wire::name::printable;
use crate::wire::{QueryKind, Root, Search};

/// The number of the request for the subscription. The requests for downloads have higher numbers.
const STANDING: u64 = 0;

/// The number of the request that a line answers.
#[derive(Deserialize)]
struct Numbered {
    req: u64,
}

/// Runs the command. It ends when the peer ends.
pub(crate) fn run(args: &Subscribe) -> Result<u8, Failure> {
    let scope = oneshot::scope(args.search())?;
    let pattern = query::checked_pattern(args.pattern.join(" "))?;
    let kind = if args.exact { QueryKind::Exact } else { QueryKind::of(&pattern) };
    let user = args.user.clone();
    if args.exec.is_some() && user.is_none() {
        let why = "--exec needs --user NAME: only files that this account shares are given to the program";
        return Err(Failure::usage(why));
    }
    args.exec.as_deref().map(checked_program).transpose()?;
    let out = args.out.as_deref().map(|out| paths::absolute("-o", out)).transpose()?;
    let mut talk = Talk::open(args.asked())?;
    if user.is_some() {
        assert_login(&mut talk)?;
    }
    let search = Search { user: user.clone().map(Into::into), ..Search::new(pattern, kind) };
    let command = Command::Subscribe { search, scope, existing: args.existing };
    send(&mut talk, STANDING, &command)?;
    let runner = args.exec.as_deref().map(|program| Runner::start(program.to_owned(), user.unwrap_or_default()));
    let mut follower = Follower { out, next: STANDING + 1, running: BTreeMap::new(), waiting: VecDeque::new(), runner };
    loop {
        let Some(line) = talk.next(None)? else { continue };
        let Numbered { req } = serde_json::from_str(&line).map_err(|error| talk.garbled(&error))?;
        let event = control::parse_event(&line).map_err(|why| talk.garbled(&why))?;
        if args.json {
            output::line(&line).map_err(output::unwritable)?;
        }
        if let (STANDING, ClientEvent::Done(outcome)) = (req, &event) {
            outcome.error.iter().for_each(|error| output::error(error));
            return Ok(outcome.exit);
        }
        follower.on_event(req, event, args.json)?;
        follower.order(&mut talk)?;
    }
}

/// Checks that the program exists and may be executed. Without a slash in its name it is in one of
/// the folders of PATH, as for a shell.
fn checked_program(program: &Path) -> Result<(), Failure> {
    let is_executable = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    let found = if program.components().count() > 1 || program.is_absolute() {
        is_executable(program)
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).any(|folder| is_executable(&folder.join(program)))
    };
    let why = || format!("--exec {}: there is no program that this user may execute", program.display());
    found.then_some(()).ok_or_else(|| Failure::usage(why()))
}

/// Checks that the peer is in login mode, because accounts exist only there.
fn assert_login(talk: &mut Talk) -> Result<(), Failure> {
    send(talk, STANDING, &Command::Status)?;
    let mut mode = Mode::Open;
    loop {
        let Some(line) = talk.next(None)? else { continue };
        let event = control::parse_event(&line).map_err(|why| talk.garbled(&why))?;
        if let ClientEvent::Status { mode: own, .. } = event {
            mode = own;
        } else if let ClientEvent::Done(_) = event {
            let why =
                "--user needs a network with a login, in which each file has an owner; this peer is in an open one";
            return if mode == Mode::Login { Ok(()) } else { Err(Failure::usage(why)) };
        }
    }
}

fn send(talk: &mut Talk, req: u64, command: &Command) -> Result<(), Failure> {
    let line = control::command_line(command);
    // A command is a JSON object; its number is added at the front.
    let rest = line.strip_prefix('{').unwrap_or(&line);
    talk.send(&format!("{{\"req\":{req},{rest}"))
}

/// The downloads that were ordered, and those that wait until they can be.
struct Follower {
    out: Option<PathBuf>,
    next: u64,
    running: BTreeMap<u64, Root>,
    waiting: VecDeque<KnownContent>,
    runner: Option<Runner>,
}

impl Follower {
    fn on_event(&mut self, req: u64, event: ClientEvent, json: bool) -> Result<(), Failure> {
        if let (STANDING, ClientEvent::Hit { name, size, root, collection, source, other, .. }) = (req, &event) {
            if self.waiting.len() >= SUBSCRIBER_WAITING_MAX {
                output::error(&format!("{name}: {SUBSCRIBER_WAITING_MAX} downloads wait; it is not fetched"));
                return Ok(());
            }
            let sources = std::iter::once(source).chain(other).cloned().collect();
            let (name, size, root, collection) = (name.clone(), *size, *root, *collection);
            self.waiting.push_back(KnownContent { name, size, root, collection, sources });
        } else if let ClientEvent::Item(ItemReport { path: Some(path), exit: 0, root, .. }) = event {
            if let Some(runner) = &self.runner {
                runner.run(path.clone(), root);
            }
            if !json {
                output::path(&path).map_err(output::unwritable)?;
            }
        } else if let ClientEvent::Item(item) = event {
            output::note(&format::failed_item(&item));
        } else if let (STANDING, ClientEvent::Note { message }) = (req, &event) {
            output::note(&printable(message));
        } else if let ClientEvent::Done(Outcome { error, .. }) = event {
            self.running.remove(&req);
            error.iter().for_each(|error| output::error(error));
        }
        Ok(())
    }

    /// Orders waiting downloads, while there is room.
    fn order(&mut self, talk: &mut Talk) -> Result<(), Failure> {
        while self.running.len() < SUBSCRIBER_DOWNLOADS_MAX
            && let Some(known) = self.waiting.pop_front()
        {
            let (req, root) = (self.next, known.root);
            let get = Get { known: vec![known], out: self.out.clone(), ..Get::of(root.to_string()) };
            send(talk, req, &Command::Queue(get))?;
            self.running.insert(req, root);
            self.next += 1;
        }
        Ok(())
    }
}

/// Runs a program for one file after the other, on a thread of its own. In the meantime, the
/// command continues to read the events of the peer.
struct Runner {
    files: Option<SyncSender<(PathBuf, Root)>>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    fn start(program: PathBuf, user: String) -> Runner {
        let (files, next) = mpsc::sync_channel::<(PathBuf, Root)>(SUBSCRIBER_RUNS_WAITING_MAX);
        let thread = thread::spawn(move || {
            while let Ok((path, root)) = next.recv() {
                execute(&program, &path, root, &user);
            }
        });
        Runner { files: Some(files), thread: Some(thread) }
    }

    fn run(&self, path: PathBuf, root: Root) {
        let Some(files) = &self.files else { return };
        if let Err(TrySendError::Full((path, _))) = files.try_send((path, root)) {
            output::error(&format!("{}: too many files wait for the program; it is not run", path.display()));
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.files = None;
        let ended = self.thread.take().map(JoinHandle::join);
        debug_assert!(ended.is_none_or(|ended| ended.is_ok()));
    }
}

/// Runs the program, without a shell and without arguments. Its output goes to standard error,
/// because standard output has the paths or JSON.
fn execute(program: &Path, path: &Path, root: Root, user: &str) {
    let mut command = Program::new(program);
    command.env("SPRAT_FILE_PATH", path).env("SPRAT_FILE_ROOT", root.to_string()).env("SPRAT_FILE_USER", user);
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => output::error(&format!("{} ended with {status} for {}", program.display(), path.display())),
        Err(error) => output::error(&format!("cannot run {}: {error}", program.display())),
    }
}
