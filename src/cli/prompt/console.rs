//! The prompt's side of the commands: takes the typed lines and the events of the machine, and
//! prints the answers. It owns the running commands and what was shown last. It has a thread of its
//! own, so that printing never holds the loop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender};

use super::choice::{Shown, keep_listed};
use super::grammar::{self, Line};
use crate::cli::format;
use crate::cli::hints;
use crate::cli::output;
use crate::cli::paths;
use crate::cli::progress::{self, Pace};
use crate::cli::results::{Results, Roots};
use crate::cli::screen;
use crate::cli::units::Size;
use crate::error::{Exit, Failure};
use crate::node::Handle;
use crate::proto::event::{DownloadReport, DownloadState, ItemReport, Outcome};
use crate::proto::{ClientEvent, ClientId, Command, Scope, command};
use crate::wire::name::printable;
use crate::wire::record::name_of;
use crate::wire::{Root, Search};

/// Input of the console.
pub(crate) enum News {
    /// The session is up: lines may be read.
    Welcomed,
    /// A line that was read, or why it is wrong.
    Line(Result<Line, String>),
    /// An event of the machine.
    Event { client: ClientId, event: ClientEvent },
    /// A line of the log, to be printed above the line that is being typed.
    Log(String),
    /// The node has ended.
    End,
}

/// Answer to the line reader: read the next line.
pub(crate) struct Reply {
    /// Names of the last result, for completion.
    pub(super) names: Vec<String>,
    /// There is no next line.
    pub(super) exit: bool,
}

/// Where the console prints.
pub(super) trait Output: Send {
    /// Answers.
    fn print(&mut self, text: &str);
    /// Progress, notes, errors, log.
    fn note(&mut self, text: &str);
}

/// Takes the commands: the handle of the node, or a recorder in tests.
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
enum Job {
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
        pace: Pace,
        /// It is paused or waits for a source, and why.
        waits: Option<String>,
    },
    Downloads {
        rows: u64,
    },
    /// A change of the queue of downloads.
    Order,
}

/// A GET to this place, which is relative to the current folder.
fn wanted(what: String, to: Option<String>) -> Result<command::Get, String> {
    let out = to.map(|to| destination(&to)).transpose().map_err(|failure| failure.message)?;
    Ok(command::Get { out, ..command::Get::of(what) })
}

/// The console: jobs by client, and what numbers and digits refer to.
pub(super) struct Console {
    commands: Box<dyn Commands>,
    output: Box<dyn Output>,
    replies: Sender<Reply>,
    shown: Shown,
    jobs: BTreeMap<u64, Job>,
    clients: u64,
    /// The next line is read when this job ends.
    foreground: Option<u64>,
    /// The next line is read when no download runs.
    waiting: bool,
    /// The first welcome came: lines are read.
    open: bool,
    quiet: bool,
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
            clients: 0,
            foreground: None,
            waiting: false,
            open: false,
            quiet,
        }
    }

    /// Runs until the prompt or the node ends.
    pub(super) fn run(mut self, news: &Receiver<News>) {
        while let Ok(news) = news.recv() {
            match news {
                News::Welcomed => {
                    if !self.open {
                        self.open = true;
                        self.next_line();
                    }
                }
                News::Line(Ok(line)) => {
                    if self.on_line(line) {
                        return;
                    }
                }
                News::Line(Err(sentence)) => {
                    self.output.note(&format!("error: {}", printable(&sentence)));
                    self.next_line();
                }
                News::Event { client, event } => self.on_event(client, event),
                News::Log(line) => self.output.note(&line),
                News::End => return,
            }
        }
    }

    fn next_line(&mut self) {
        let names = self.shown.names();
        // If the line reader has ended, the node is about to end too.
        let _ = self.replies.send(Reply { names, exit: false });
    }

    /// Executes a line; returns whether it was the last.
    fn on_line(&mut self, line: Line) -> bool {
        match line {
            Line::Empty => self.next_line(),
            Line::Query(search) => {
                let job = Job::Query { search: search.clone(), results: Results::default() };
                self.ask(job, Command::Query { search, scope: Scope::default() });
            }
            Line::List => self.ask(Job::List { rows: 0, roots: Vec::new() }, Command::List),
            Line::Network => {
                self.ask(Job::List { rows: 0, roots: Vec::new() }, Command::Network { scope: Scope::default() });
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
                    self.get(command::Get { also, ..wanted(what, to)? }, name);
                    Ok(())
                });
                self.next_line_after(got);
            }
            Line::Uri { what } => match self.shown.uri_of(&what) {
                Ok(command) => self.ask(Job::Uri, command),
                Err(sentence) => {
                    self.output.note(&format!("error: {sentence}"));
                    self.next_line();
                }
            },
            Line::Downloads => self.ask(Job::Downloads { rows: 0 }, Command::Downloads),
            Line::Cancel { id } => self.ask(Job::Order, Command::Cancel { id }),
            Line::Pause { id } => self.ask(Job::Order, Command::Pause { id }),
            Line::Resume { id } => self.ask(Job::Order, Command::Resume { id }),
            Line::Wait => {
                self.waiting = true;
                self.wake_waiter();
            }
            Line::Help => {
                self.output.print(grammar::HELP);
                self.next_line();
            }
            Line::Exit => {
                let running = self.downloads();
                if running > 0 {
                    let count = format::count(running, "download");
                    self.output.note(&format!("{count} not finished; the next start goes on with it"));
                }
                self.commands.shutdown();
                let _ = self.replies.send(Reply { names: Vec::new(), exit: true });
                return true;
            }
        }
        false
    }

    /// Begins a command that holds the next line until it ends.
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
            pace: Pace::new(),
            waits: None,
        };
        // A content that is named by its root keeps the name that was shown.
        let named = (Root::from_hex(&get.what).is_some() && name != get.what).then(|| name_of(&name).to_owned());
        let get = command::Get { name: named, ..get };
        self.begin(job, Command::Queue(get));
    }

    fn downloads(&self) -> u64 {
        self.jobs.values().filter(|job| matches!(job, Job::Get { .. })).count() as u64
    }

    /// Downloads that neither have ended nor wait for something.
    fn busy(&self) -> bool {
        self.jobs.values().any(|job| matches!(job, Job::Get { waits: None, .. }))
    }

    fn wake_waiter(&mut self) {
        if self.waiting && !self.busy() {
            self.waiting = false;
            self.next_line();
        }
    }

    fn on_event(&mut self, client: ClientId, event: ClientEvent) {
        let quiet = self.quiet;
        let Some(job) = self.jobs.get_mut(&client.0) else {
            return;
        };
        match event {
            ClientEvent::Hit { path, size, root, collection, source, .. } => match job {
                Job::Query { results: hits, .. } | Job::Get { hits, .. } => {
                    hits.add(&path, size, root, &source);
                    hits.note(root, collection);
                }
                Job::List { .. } | Job::Status | Job::Uri | Job::Downloads { .. } | Job::Order => {}
            },
            ClientEvent::Download(report) if matches!(job, Job::Get { .. }) => self.on_download(client, &report),
            ClientEvent::Download(_) => {
                if let (Job::Downloads { rows }, Some((heading, row))) = (job, format::listed(&event, output::width()))
                {
                    if *rows == 0 {
                        self.output.print(heading);
                    }
                    *rows += 1;
                    self.output.print(&row);
                }
            }
            ClientEvent::File { .. } | ClientEvent::Content { .. } => {
                if let (Job::List { rows, roots }, Some((heading, row))) =
                    (job, format::listed(&event, output::width()))
                {
                    keep_listed(roots, &event);
                    if *rows == 0 {
                        self.output.print(heading);
                    }
                    *rows += 1;
                    self.output.print(&row);
                }
            }
            ClientEvent::Uri { ref uri, .. } => {
                self.output.print(uri);
                format::uri_notes(&event).iter().for_each(|line| self.output.note(line));
            }
            ClientEvent::Files { files, size } => {
                if let Job::Get { name, .. } = job {
                    *name = format::count(files, "file");
                    self.output.note(&format!("{name}: {}", Size(size)));
                }
            }
            ClientEvent::Item(ItemReport { path: Some(path), exit: 0, .. }) => {
                self.output.print(&format!("got {}", printable(&path.to_string_lossy())));
            }
            ClientEvent::Item(item) => self.output.note(&format!("error: {}", format::failed_item(&item))),
            ClientEvent::Start { name: chosen, size, sources, .. } => {
                if let Job::Get { name, waits, .. } = job {
                    *waits = None;
                    let count = format::count(sources as u64, "source");
                    self.output.note(&format!("{}: {} from {count}", format::short_name(&chosen), Size(size)));
                    *name = chosen;
                }
            }
            ClientEvent::Piece { .. } | ClientEvent::Result { .. } => {}
            ClientEvent::Progress { bytes, size, rate, sources, .. } => {
                if let Job::Get { name, pace, .. } = job
                    && !quiet
                    && pace.is_due(bytes, size)
                {
                    self.output.note(&progress::line(name, bytes, size, rate, sources.len()));
                }
            }
            ClientEvent::Source(report) => {
                if let Some(line) = format::dropped(&report) {
                    self.output.note(&line);
                }
            }
            event @ ClientEvent::Status { .. } => {
                screen::screen(&event).iter().for_each(|line| self.output.print(line))
            }
            ClientEvent::Note { message } => self.output.note(&printable(&message)),
            ClientEvent::Done(outcome) => self.on_done(client, &outcome),
        }
    }

    /// The state of a download that was ordered here. A reason is printed once.
    fn on_download(&mut self, client: ClientId, report: &DownloadReport) {
        let Some(Job::Get { waits, .. }) = self.jobs.get_mut(&client.0) else { return };
        let before = waits.take();
        *waits = match report.state {
            DownloadState::Waiting => Some(report.error.clone().unwrap_or_default()),
            DownloadState::Paused => Some(String::new()),
            DownloadState::Queued | DownloadState::Running | DownloadState::Done | DownloadState::Failed => None,
        };
        if waits.is_none() || *waits != before {
            self.output.note(&format::download_note(report, "CANCEL"));
        }
        self.wake_waiter();
    }

    fn on_done(&mut self, client: ClientId, outcome: &Outcome) {
        let error = outcome.error.as_deref().unwrap_or("failed");
        match self.jobs.remove(&client.0) {
            Some(Job::Query { search, mut results }) => {
                results.arrange(&search.pattern);
                if !results.all().is_empty() {
                    self.output.print(results.table(Roots::Short, output::width()).trim_end());
                }
                if outcome.reached.is_some() {
                    self.output.print(&format::search_summary(results.all().len() as u64, "result", outcome));
                } else {
                    self.output.note(&format!("error: {}", printable(error)));
                }
                if outcome.exit == Exit::NotFound.code() {
                    let found = hints::nothing_found(&search, outcome, hints::Place::Prompt);
                    found.iter().for_each(|hint| self.output.note(hint));
                }
                self.shown = Shown::default();
                self.shown.set_results(results);
            }
            Some(Job::Get { what, name, mut hits, .. }) => {
                if outcome.ok {
                    self.output.print(&format!("got {}", format::get_summary(outcome)));
                } else {
                    self.output.note(&format!("error: {}: {}", format::short_name(&name), printable(error)));
                    if !hits.all().is_empty() {
                        hits.arrange(&what);
                        self.output.print(hits.table(Roots::Whole, output::width()).trim_end());
                        self.shown.set_results(hits);
                    }
                }
                if let Some(sources) = outcome.sources.as_ref().filter(|sources| !sources.is_empty()) {
                    self.output.note(format::source_table(sources, output::width()).trim_end());
                }
            }
            Some(Job::List { rows, roots }) if outcome.ok && outcome.reached.is_some() => {
                self.shown.set_listed(roots);
                self.output.print(&format::search_summary(rows, "content", outcome));
            }
            Some(Job::List { rows, roots }) if outcome.ok => {
                self.shown.set_listed(roots);
                self.output.print(&format::count(rows, "file"));
            }
            Some(Job::Downloads { rows: 0 }) if outcome.ok => self.output.note("the queue is empty"),
            Some(Job::List { .. } | Job::Status | Job::Uri | Job::Downloads { .. } | Job::Order) if !outcome.ok => {
                self.output.note(&format!("error: {}", printable(error)));
            }
            Some(Job::List { .. } | Job::Status | Job::Uri | Job::Downloads { .. } | Job::Order) | None => {}
        }
        if self.foreground == Some(client.0) {
            self.foreground = None;
            self.next_line();
        }
        self.wake_waiter();
    }
}

/// A path that was typed: `~/` is the home folder, and a relative path begins at the folder in
/// which the peer was started.
fn destination(typed: &str) -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match (typed.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => paths::absolute("TO", &PathBuf::from(home).join(rest)),
        _ => paths::absolute("TO", Path::new(typed)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::wire::HostPort;

    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<String>>>);

    impl Recorder {
        fn record(&self, text: String) {
            self.0.lock().unwrap().push(text);
        }
        fn has(&self, part: &str) -> bool {
            self.0.lock().unwrap().iter().any(|line| line.contains(part))
        }
    }

    impl Output for Recorder {
        fn print(&mut self, text: &str) {
            self.record(format!("print {text}"));
        }
        fn note(&mut self, text: &str) {
            self.record(format!("note {text}"));
        }
    }

    impl Commands for Recorder {
        fn command(&mut self, client: ClientId, command: Command) {
            self.record(format!("command {} {command:?}", client.0));
        }
        fn shutdown(&mut self) {
            self.record("shutdown".into());
        }
    }

    fn console() -> (Console, Recorder, Receiver<Reply>) {
        let (replies, taken) = mpsc::channel();
        let recorder = Recorder::default();
        (Console::new(Box::new(recorder.clone()), Box::new(recorder.clone()), replies, false), recorder, taken)
    }

    fn type_in(console: &mut Console, line: &str) -> bool {
        console.on_line(grammar::parse(line).unwrap())
    }

    fn hit(name: &str, root: u8, port: u16) -> ClientEvent {
        let source = HostPort::new("h", port).unwrap();
        let (name, path, root) = (name.into(), name.into(), Root([root; 32]));
        let (collection, unreached) = (false, false);
        ClientEvent::Hit { name, path, size: 1, root, collection, source, other: None, node: None, unreached }
    }

    fn done() -> ClientEvent {
        ClientEvent::Done(Outcome { ok: true, reached: Some(1), ..Outcome::default() })
    }

    #[test]
    fn a_query_holds_the_next_line_until_its_done() {
        let (mut console, recorder, taken) = console();
        type_in(&mut console, "QUERY x");
        console.on_event(ClientId(1), hit("x", 1, 1));
        assert!(taken.try_recv().is_err());
        console.on_event(ClientId(1), done());
        assert_eq!(taken.try_recv().unwrap().names, ["x"]);
        assert!(recorder.has("1 result in"));
    }

    #[test]
    fn a_download_runs_in_the_background_and_wait_waits_for_it() {
        let (mut console, recorder, taken) = console();
        type_in(&mut console, "QUERY x");
        for event in [hit("x", 1, 1), hit("x", 1, 2), done()] {
            console.on_event(ClientId(1), event);
        }
        assert!(taken.try_recv().is_ok());
        type_in(&mut console, "GET 1 FROM 2");
        assert!(taken.try_recv().is_ok());
        assert!(recorder.has(&format!("what: \"{}\"", Root([1; 32]))) && recorder.has("port: 2"));
        type_in(&mut console, "WAIT");
        assert!(taken.try_recv().is_err());
        console.on_event(ClientId(2), done());
        assert!(taken.try_recv().is_ok());
        assert!(recorder.has("print got"));
    }

    #[test]
    fn a_wrong_number_is_answered_with_the_right_ones() {
        let (mut console, recorder, taken) = console();
        type_in(&mut console, "GET 1");
        assert!(recorder.has("no results yet"));
        type_in(&mut console, "QUERY x");
        console.on_event(ClientId(1), hit("x", 1, 1));
        console.on_event(ClientId(1), done());
        type_in(&mut console, "GET 2");
        assert!(recorder.has("no result 2"));
        type_in(&mut console, "GET 1 FROM 9");
        assert!(recorder.has("no source 9"));
        assert_eq!(taken.try_iter().count(), 4);
    }

    #[test]
    fn a_name_with_several_contents_becomes_the_list_of_results() {
        let (mut console, recorder, _taken) = console();
        type_in(&mut console, "GET x");
        console.on_event(ClientId(1), hit("x", 1, 1));
        console.on_event(ClientId(1), hit("x", 2, 1));
        let outcome = Outcome { exit: 2, error: Some("several".into()), ..Outcome::default() };
        console.on_event(ClientId(1), ClientEvent::Done(outcome));
        assert!(recorder.has("several"));
        type_in(&mut console, "GET 2");
        assert!(recorder.has(&format!("command 2 Queue(Get {{ what: \"{}\"", Root([2; 32]))));
    }

    #[test]
    fn the_first_digits_of_a_root_that_was_listed_last_are_enough() {
        let (mut console, recorder, _taken) = console();
        let digits = "0101010101";
        type_in(&mut console, &format!("GET {digits}"));
        assert!(recorder.has(&format!("what: \"{digits}\"")), "nothing was listed: it is a name");
        type_in(&mut console, "LIST");
        let file = |name: &str, root| ClientEvent::File {
            name: name.into(),
            path: name.into(),
            size: 1,
            root: Root(root),
            collection: false,
            holders: 1,
        };
        let mut near = [1; 32];
        near[31] = 2;
        for event in [file("x", [1; 32]), file("y", [2; 32]), file("z", near), done()] {
            console.on_event(ClientId(2), event);
        }
        type_in(&mut console, "GET 02020202");
        assert!(recorder.has(&format!("what: \"{}\", name: Some(\"y\")", Root([2; 32]))));
        type_in(&mut console, "GET 01010101");
        assert!(recorder.has("2 roots begin with 01010101"));
        type_in(&mut console, "GET \"0202020\"");
        assert!(recorder.has("what: \"0202020\""), "seven digits are a name");
        type_in(&mut console, &format!("GET {},name=a%20b", format_args!("sprat:{}", Root([9; 32]))));
        assert!(recorder.has(&format!("what: \"{}\", name: Some(\"a b\")", Root([9; 32]))));
        type_in(&mut console, "URI some name");
        assert!(recorder.has("Uri { what: \"some name\", path: None"));
    }

    #[test]
    fn exit_reports_running_downloads_and_ends() {
        let (mut console, recorder, taken) = console();
        type_in(&mut console, "GET x");
        assert!(type_in(&mut console, "EXIT"));
        assert!(recorder.has("1 download not finished") && recorder.has("shutdown"));
        assert!(taken.try_iter().last().unwrap().exit);
    }
}
