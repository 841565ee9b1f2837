//! The commands of the prompt. It receives the typed lines and sends commands to the machine;
//! `events` prints the answers. It owns the running commands and what was last shown. It has a
//! thread of its own, so that printing never delays the loop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use super::bars::{self, Supers};
use super::choice::Shown;
use super::grammar::{self, Line};
use super::news::{News, Reply};
use super::output::Output;
use crate::cli::failures::Failures;
use crate::cli::format;
use crate::cli::paths;
use crate::cli::progress::{Bar, Pace};
use crate::cli::results::Results;
use crate::error::Failure;
use crate::node::Handle;
use crate::proto::{ClientId, Command, Scope, command};
use crate::wire::name::printable;
use crate::wire::record::name_of;
use crate::wire::{Root, Search};

/// The text before each line.
const PROMPT: &str = "sprat> ";
/// The text before the answer to Ctrl-C.
const EXIT_QUESTION: &str = "exit? [y/N] ";

/// Sends commands: the handle of the node, or a recorder in tests.
pub(super) trait Commands: Send {
    fn command(&mut self, client: ClientId, command: Command);
    fn shutdown(&mut self);
}

impl Commands for Handle {
    fn command(&mut self, client: ClientId, command: Command) {
        Handle::command(self, client, command);
    }

    fn shutdown(&mut self) {
        Handle::shutdown(self);
    }
}

/// A running command.
pub(super) enum Job {
    Query {
        search: Search,
        results: Results,
    },
    List {
        rows: u64,
        roots: Vec<(Root, String)>,
    },
    Status,
    Uri,
    Get {
        what: String,
        name: String,
        hits: Results,
        bar: Box<Bar>,
        /// The pace of progress lines, for an output without bars.
        pace: Pace,
        /// Why the download does not run, if it is paused or waits for a source.
        waits: Option<String>,
        /// Its number in the queue, once it is known.
        order: Option<u64>,
        /// Whether the user has canceled it here.
        canceled: bool,
    },
    Downloads {
        rows: u64,
    },
    /// A change of the queue of downloads.
    Order,
}

/// The console: jobs by client, and what numbers and digits stand for.
pub(super) struct Console {
    commands: Box<dyn Commands>,
    pub(super) output: Box<dyn Output>,
    replies: Sender<Reply>,
    pub(super) shown: Shown,
    pub(super) jobs: BTreeMap<u64, Job>,
    /// The files that have failed since a command last ended.
    pub(super) failures: Failures,
    clients: u64,
    supers: Supers,
    /// The progress of the hashing of the share, while it runs.
    hashing: Option<String>,
    /// The job that must end before the next line is read.
    pub(super) foreground: Option<u64>,
    /// Whether no download may run before the next line is read.
    waiting: bool,
    /// Whether the next line is the answer to the question about exit.
    asking: bool,
    /// Whether the first session is up. Only then are lines read.
    open: bool,
    pub(super) quiet: bool,
}

impl Console {
    pub(super) fn new(
        commands: Box<dyn Commands>,
        output: Box<dyn Output>,
        replies: Sender<Reply>,
        quiet: bool,
    ) -> Console {
        Console {
            commands,
            output,
            replies,
            shown: Shown::default(),
            jobs: BTreeMap::new(),
            failures: Failures::default(),
            clients: 0,
            supers: Supers::default(),
            hashing: None,
            foreground: None,
            waiting: false,
            asking: false,
            open: false,
            quiet,
        }
    }

    /// Runs until the prompt or the node ends.
    pub(super) fn run(mut self, news: &Receiver<News>) {
        while let Ok(news) = news.recv() {
            if self.take(news) {
                return;
            }
        }
    }

    /// Handles one input. Returns whether it was the last one.
    pub(super) fn take(&mut self, news: News) -> bool {
        match news {
            News::Welcomed { super_peer } => {
                self.supers.welcomed(super_peer);
                self.draw();
                if !self.open {
                    self.open = true;
                    self.next_line();
                }
            }
            News::Lost { super_peer, why } => {
                self.supers.lost(super_peer, why);
                self.draw();
            }
            News::Hashing { files, bytes, size } => {
                let hashing = bars::hashing(files, bytes, size);
                if hashing != self.hashing {
                    self.hashing = hashing;
                    self.draw();
                }
            }
            News::Line(line) => {
                self.output.to_console();
                return self.on_typed(line);
            }
            News::Dropped { was_empty } => {
                self.output.to_console();
                return self.on_dropped(was_empty);
            }
            News::Interrupted => return self.on_interrupt(),
            News::Closed => {
                self.output.to_console();
                return self.exit();
            }
            News::Event { client, event } => self.on_event(client, *event),
            News::Log(line) => self.output.note(&line),
            News::End => return true,
        }
        false
    }

    // ---- lines ----------------------------------------------------------------------------------

    pub(super) fn next_line(&mut self) {
        let prompt = if self.asking { EXIT_QUESTION } else { PROMPT };
        let reply = Reply { names: self.shown.names(), prompt, is_command: !self.asking, exit: false };
        self.output.to_reader();
        // If the line reader has ended, the node will end too.
        let _ = self.replies.send(reply);
    }

    fn on_typed(&mut self, line: Result<String, String>) -> bool {
        let line = match line {
            Ok(answer) if std::mem::take(&mut self.asking) => {
                if ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes)) {
                    return self.exit();
                }
                Ok(Line::Empty)
            }
            Ok(line) => {
                grammar::doubt(&line).iter().for_each(|doubt| self.output.note(&printable(doubt)));
                grammar::parse(&line)
            }
            Err(sentence) => Err(sentence),
        };
        match line {
            Ok(line) => self.on_line(line),
            Err(sentence) => {
                self.output.note(&format!("error: {}", printable(&sentence)));
                self.next_line();
                false
            }
        }
    }

    /// Ctrl-C clears the line. If the line is empty, the prompt asks whether to exit. A second
    /// Ctrl-C then means yes.
    fn on_dropped(&mut self, was_empty: bool) -> bool {
        if self.asking {
            return self.exit();
        }
        self.asking = was_empty;
        self.next_line();
        false
    }

    /// Ctrl-C ends the command that must end before the next line is read.
    fn on_interrupt(&mut self) -> bool {
        if !self.open {
            return self.exit();
        }
        if let Some(client) = self.foreground.take() {
            // Later events of this command are not printed.
            self.jobs.remove(&client);
            self.output.note("the answer is not waited for");
            self.next_line();
        } else if std::mem::take(&mut self.waiting) {
            self.output.note("the downloads go on");
            self.next_line();
        }
        false
    }

    fn exit(&mut self) -> bool {
        let running = self.downloads();
        if running > 0 {
            let (count, them) = (format::count(running, "download"), if running == 1 { "it" } else { "them" });
            self.output.note(&format!("{count} not finished; the next start goes on with {them}"));
        }
        self.commands.shutdown();
        let _ = self.replies.send(Reply { names: Arc::default(), prompt: PROMPT, is_command: false, exit: true });
        true
    }

    /// Executes a line. Returns whether it was the last one.
    pub(super) fn on_line(&mut self, line: Line) -> bool {
        match line {
            Line::Empty => self.next_line(),
            Line::Query(search) => {
                let job = Job::Query { search: search.clone(), results: Results::default() };
                self.ask_network(job, Command::Query { search, scope: Scope::default() });
            }
            Line::List => self.ask_network(Job::List { rows: 0, roots: Vec::new() }, Command::List { partial: false }),
            Line::Network => {
                let job = Job::List { rows: 0, roots: Vec::new() };
                self.ask_network(job, Command::Network { scope: Scope::default() });
            }
            Line::Status => self.ask(Job::Status, Command::Status),
            Line::GetResult { number, from, to } => {
                let got = self.shown.chosen(number, from).and_then(|(found, from)| {
                    let name = found.name().to_owned();
                    self.get(command::Get { from, ..wanted(found.root.to_string(), to)? }, name);
                    Ok(())
                });
                self.next_line_after(got);
            }
            Line::GetResults { numbers, to } => {
                let got = self.shown.chosen_all(&numbers).and_then(|known| {
                    let name = format::count(known.len() as u64, "file");
                    self.get(command::Get { known, ..wanted(name.clone(), to)? }, name);
                    Ok(())
                });
                self.next_line_after(got);
            }
            Line::GetWhat { what, also, to } => {
                let got = self.shown.meant(&what).and_then(|(what, name)| {
                    let also = also.iter().map(|other| self.shown.meant(other).map(|(other, _)| other));
                    let also = also.collect::<Result<_, _>>()?;
                    self.get(command::Get { also, ..wanted(what, to)? }, name);
                    Ok(())
                });
                self.next_line_after(got);
            }
            Line::GetRoots { digits, to, name } => {
                let got = self.shown.roots(&digits, to.is_some()).and_then(|roots| {
                    let roots = match roots {
                        Some(roots) => roots,
                        None => vec![(grammar::named(&name)?, name)],
                    };
                    let mut roots = roots.into_iter();
                    let Some((what, name)) = roots.next() else { return Ok(()) };
                    let also = roots.map(|(root, _)| root).collect();
                    self.get(command::Get { also, ..wanted(what, to)? }, name);
                    Ok(())
                });
                self.next_line_after(got);
            }
            Line::Uri { what } => match self.shown.uri_of(&what) {
                Ok(command @ Command::Uri { path: None, .. }) => self.ask_network(Job::Uri, command),
                Ok(command) => self.ask(Job::Uri, command),
                Err(sentence) => self.next_line_after(Err(sentence)),
            },
            Line::Downloads => self.ask(Job::Downloads { rows: 0 }, Command::Downloads),
            Line::Cancel { id } => {
                for job in self.jobs.values_mut() {
                    if let Job::Get { order, canceled, .. } = job {
                        *canceled |= *order == Some(id);
                    }
                }
                self.ask(Job::Order, Command::Cancel { id });
            }
            Line::Pause { id } => self.ask(Job::Order, Command::Pause { id }),
            Line::Resume { id } => self.ask(Job::Order, Command::Resume { id }),
            Line::Limit { upload, download } => self.ask(Job::Order, Command::Limit { upload, download }),
            Line::Wait => {
                self.waiting = true;
                self.wake_waiter();
            }
            Line::Help => {
                self.output.print(grammar::HELP);
                self.next_line();
            }
            Line::Exit => return self.exit(),
        }
        false
    }

    // ---- commands -------------------------------------------------------------------------------

    /// Begins a command for a super peer. If no super peer is connected, prints that at once.
    fn ask_network(&mut self, job: Job, command: Command) {
        match self.supers.absence() {
            Some(absence) => self.next_line_after(Err(absence)),
            None => self.ask(job, command),
        }
    }

    /// Begins a command. The next line is read when it has ended.
    fn ask(&mut self, job: Job, command: Command) {
        self.foreground = Some(self.begin(job, command));
    }

    fn begin(&mut self, job: Job, command: Command) -> u64 {
        self.clients += 1;
        self.jobs.insert(self.clients, job);
        self.commands.command(ClientId(self.clients), command);
        self.clients
    }

    fn next_line_after(&mut self, done: Result<(), String>) {
        if let Err(sentence) = done {
            self.output.note(&format!("error: {sentence}"));
        }
        self.next_line();
    }

    fn get(&mut self, get: command::Get, name: String) {
        let job = Job::Get {
            what: name.clone(),
            name: name.clone(),
            hits: Results::default(),
            bar: Box::new(Bar::new(&name)),
            pace: Pace::new(),
            waits: None,
            order: None,
            canceled: false,
        };
        // If a content is chosen by its root, it gets the name that was shown.
        let named = (Root::from_hex(&get.what).is_some() && name != get.what).then(|| name_of(&name).to_owned());
        let get = command::Get { name: named, ..get };
        self.begin(job, Command::Queue(get));
    }

    // ---- downloads ------------------------------------------------------------------------------

    fn downloads(&self) -> u64 {
        self.jobs.values().filter(|job| matches!(job, Job::Get { .. })).count() as u64
    }

    /// Whether a download has neither ended nor waits for something.
    fn busy(&self) -> bool {
        self.jobs.values().any(|job| matches!(job, Job::Get { waits: None, .. }))
    }

    pub(super) fn wake_waiter(&mut self) {
        if self.waiting && !self.busy() {
            self.waiting = false;
            self.next_line();
        }
    }

    /// Shows the bars. Returns false if the output has none.
    pub(super) fn draw(&mut self) -> bool {
        let of = |job: &Job| if let Job::Get { bar, .. } = job { Some(Bar::clone(bar)) } else { None };
        let bars = if self.quiet { Vec::new() } else { self.jobs.values().filter_map(of).collect() };
        self.output.show(bars::lines(&self.supers, self.hashing.clone(), bars))
    }
}

/// A GET to this path, which is relative to the current folder.
fn wanted(what: String, to: Option<String>) -> Result<command::Get, String> {
    let out = to.map(|to| destination(&to)).transpose().map_err(|failure| failure.message)?;
    Ok(command::Get { out, ..command::Get::of(what) })
}

/// The path that the user typed: `~/` is the home folder, and a relative path begins at the folder
/// in which the peer was started.
fn destination(typed: &str) -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match (typed.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => paths::absolute("TO", &PathBuf::from(home).join(rest)),
        _ => paths::absolute("TO", Path::new(typed)),
    }
}
