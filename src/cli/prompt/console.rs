//! The prompt's side of the commands: takes the typed lines and the events of the machine, and
//! prints the answers. Owns the numbered results and the running downloads. It has a thread of its
//! own, so that printing never holds the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender};

use super::grammar::{self, From, Line};
use crate::cli::format;
use crate::cli::hints;
use crate::cli::paths;
use crate::cli::progress::{self, Pace};
use crate::cli::results::{Found, Results, Roots};
use crate::cli::units::Size;
use crate::error::{Exit, Failure};
use crate::node::Handle;
use crate::proto::command::KnownContent;
use crate::proto::event::{DownloadReport, DownloadState, ItemReport, Outcome};
use crate::proto::{ClientEvent, ClientId, Command, Scope, command};
use crate::wire::name::printable;
use crate::wire::record::name_of;
use crate::wire::uri::UriError;
use crate::wire::{HostPort, Root, Search, Uri};

/// Most roots of a list that are kept for `GET` by their first digits.
const LISTED_KEPT_MAX: usize = 100_000;
/// Roots that are shown of those that begin with the same digits.
const ROOTS_SHOWN: usize = 4;

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

/// The console: jobs by client, and the results that numbers refer to.
pub(super) struct Console {
    commands: Box<dyn Commands>,
    output: Box<dyn Output>,
    replies: Sender<Reply>,
    results: Results,
    /// Roots that were listed last, by the digits of which people may get them, and a name of each.
    listed: Vec<(Root, String)>,
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
            results: Results::default(),
            listed: Vec::new(),
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
        let names = self.results.all().iter().map(|found| found.name().to_owned()).collect();
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
                let got = self.chosen(number, from).and_then(|(found, from)| {
                    let name = found.name().to_owned();
                    self.get(command::Get { from, ..wanted(found.root.to_string(), to)? }, name);
                    Ok(())
                });
                self.next_line_after(got);
            }
            Line::GetResults { numbers, to } => {
                let got = self.chosen_all(&numbers).and_then(|known| {
                    let name = format::count(known.len() as u64, "file");
                    self.get(command::Get { known, ..wanted(name.clone(), to)? }, name);
                    Ok(())
                });
                self.next_line_after(got);
            }
            Line::GetWhat { what, also, to } => {
                let got = self.meant(&what).and_then(|(what, name)| {
                    self.get(command::Get { also, ..wanted(what, to)? }, name);
                    Ok(())
                });
                self.next_line_after(got);
            }
            Line::Uri { what } => match self.uri_of(&what) {
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

    fn chosen(&self, number: usize, from: Option<From>) -> Result<(Found, Option<HostPort>), String> {
        let found = self.results.number(number).cloned().ok_or_else(|| match self.results.all().len() {
            0 => "there are no results yet; write QUERY name first, or GET name".to_owned(),
            most => format!("there is no result {number}; write GET 1 to GET {most}"),
        })?;
        let from = match from {
            None => None,
            Some(From::Address(address)) => Some(address),
            Some(From::Number(k)) => {
                let source = k.checked_sub(1).and_then(|k| found.sources.get(k)).cloned();
                let most = found.sources.len();
                let sentence = format!("result {number} has no source {k}; write GET {number} FROM 1 to FROM {most}");
                Some(source.ok_or(sentence)?)
            }
        };
        Ok((found, from))
    }

    /// What a name means, and the name to show: a URI, the first digits of a root that was listed
    /// last, or itself.
    fn meant(&self, what: &str) -> Result<(String, String), String> {
        if Uri::is_meant(what) {
            let uri: Uri = what.parse().map_err(|why: UriError| why.to_string())?;
            let root = uri.root.to_string();
            return Ok((root.clone(), uri.name.unwrap_or(root)));
        }
        let digits = what.to_ascii_lowercase();
        let partly = (grammar::ROOT_DIGITS_MIN..2 * Root::LEN).contains(&digits.len());
        if !partly || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok((what.to_owned(), what.to_owned()));
        }
        let found = self.results.all().iter().map(|found| (found.root, found.name()));
        let listed = self.listed.iter().map(|(root, name)| (*root, name.as_str()));
        let mut fit: BTreeMap<Root, &str> = found.chain(listed).collect();
        fit.retain(|root, _| root.to_string().starts_with(&digits));
        if fit.len() > 1 {
            let roots: Vec<String> = fit.keys().take(ROOTS_SHOWN).map(ToString::to_string).collect();
            return Err(format!("{} roots begin with {digits}; name one of them: {}", fit.len(), roots.join(", ")));
        }
        let only = fit.pop_first().map(|(root, name)| (root.to_string(), name.to_owned()));
        Ok(only.unwrap_or_else(|| (what.to_owned(), what.to_owned())))
    }

    /// The command for `URI n|name|path`.
    fn uri_of(&self, what: &str) -> Result<Command, String> {
        let scope = Scope::default();
        if let Some(number) = what.parse().ok().filter(|_| !self.results.all().is_empty()) {
            let (found, _) = self.chosen(number, None)?;
            return Ok(Command::Uri { what: found.root.to_string(), path: None, scope });
        }
        if std::fs::metadata(what).is_ok() {
            let path = std::path::absolute(what).map_err(|error| format!("{what:?} is not a path: {error}"))?;
            return Ok(Command::Uri { what: "/".to_owned(), path: Some(path), scope });
        }
        let (what, _) = self.meant(what)?;
        Ok(Command::Uri { what, path: None, scope })
    }

    /// The results with these numbers, each once.
    fn chosen_all(&self, numbers: &[(usize, usize)]) -> Result<Vec<KnownContent>, String> {
        let all = self.results.all();
        let mut chosen = BTreeSet::new();
        for &(first, last) in numbers {
            // ALL has no last number of its own.
            let last = if last == usize::MAX { all.len() } else { last };
            self.chosen(first, None)?;
            self.chosen(last, None)?;
            chosen.extend(first..=last);
        }
        let found = chosen.into_iter().filter_map(|number| self.results.number(number));
        let known = |found: &Found| KnownContent {
            name: found.name().to_owned(),
            size: found.size,
            root: found.root,
            sources: found.sources.clone(),
        };
        Ok(found.map(known).collect())
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
            ClientEvent::Hit { path, size, root, source, .. } => match job {
                Job::Query { results: hits, .. } | Job::Get { hits, .. } => hits.add(&path, size, root, &source),
                Job::List { .. } | Job::Status | Job::Uri | Job::Downloads { .. } | Job::Order => {}
            },
            ClientEvent::Download(report) if matches!(job, Job::Get { .. }) => self.on_download(client, &report),
            ClientEvent::Download(_) => {
                if let (Job::Downloads { rows }, Some((heading, row))) = (job, format::listed(&event)) {
                    if *rows == 0 {
                        self.output.print(heading);
                    }
                    *rows += 1;
                    self.output.print(&row);
                }
            }
            ClientEvent::File { .. } | ClientEvent::Content { .. } => {
                if let (Job::List { rows, roots }, Some((heading, row))) = (job, format::listed(&event)) {
                    roots.extend(listed_root(&event).filter(|_| roots.len() < LISTED_KEPT_MAX));
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
            ClientEvent::Progress { bytes, size, rate, sources } => {
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
            ClientEvent::Status { super_peer, peer, super_counts } => {
                for line in format::status(super_peer.as_ref(), &peer, &super_counts) {
                    self.output.print(&line);
                }
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
                    self.output.print(results.table(Roots::Short).trim_end());
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
                self.results = results;
                self.listed = Vec::new();
            }
            Some(Job::Get { what, name, mut hits, .. }) => {
                if outcome.ok {
                    self.output.print(&format!("got {}", format::get_summary(outcome)));
                } else {
                    self.output.note(&format!("error: {}: {}", format::short_name(&name), printable(error)));
                    if !hits.all().is_empty() {
                        hits.arrange(&what);
                        self.output.print(hits.table(Roots::Whole).trim_end());
                        self.results = hits;
                    }
                }
                if let Some(sources) = outcome.sources.as_ref().filter(|sources| !sources.is_empty()) {
                    self.output.note(format::source_table(sources).trim_end());
                }
            }
            Some(Job::List { rows, roots }) if outcome.ok && outcome.reached.is_some() => {
                self.listed = roots;
                self.output.print(&format::search_summary(rows, "content", outcome));
            }
            Some(Job::List { rows, roots }) if outcome.ok => {
                self.listed = roots;
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

/// The root of a listed file, and a name of it.
fn listed_root(event: &ClientEvent) -> Option<(Root, String)> {
    if let ClientEvent::File { root, name, .. } = event {
        Some((*root, name.clone()))
    } else if let ClientEvent::Content { root, names, .. } = event {
        Some((*root, names.first().cloned().unwrap_or_default()))
    } else {
        None
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
        ClientEvent::Hit { name: name.into(), path: name.into(), size: 1, root: Root([root; 32]), source }
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
