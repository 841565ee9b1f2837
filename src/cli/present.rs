//! Prints the events of a one-shot command: JSON lines on standard output, or text for people
//! (results on standard output, progress and summaries on standard error). It knows when the
//! command has ended, and its exit code.

use std::io;
use std::time::SystemTime;

use super::failures::Failures;
use super::output;
use super::progress::Progress;
use super::results::{Found, Results, Roots};
use super::sink::Sink;
use super::{format, hints, screen};
use crate::control;
use crate::error::{Exit, Failure};
use crate::proto::ClientEvent;
use crate::proto::event::{ItemReport, Outcome};
use crate::wire::Search;
use crate::wire::name::printable;

/// The kind of the command.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Query {
        search: Search,
    },
    Get {
        what: String,
    },
    Uri,
    List,
    Network,
    Status {
        /// Whether all counters are printed, in place of the screen.
        counters: bool,
    },
    Downloads,
    /// A change of the queue of downloads.
    Order,
    /// The removal of part files.
    Clean,
}

/// The form of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Human,
    Json,
}

/// Prints the events of one command as they come.
#[derive(Debug)]
pub(crate) struct Presenter {
    kind: Kind,
    style: Style,
    results: Results,
    rows: u64,
    progress: Progress,
    failures: Failures,
    /// Receives the content of a download, if it goes to standard output.
    sink: Option<Sink>,
    /// The number of the download in the queue of a running peer.
    queued: Option<u64>,
    /// Whether standard output still accepts writes.
    output: Output,
    /// The code of the `done` that was printed.
    code: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Open,
    /// The reader of standard output has closed it.
    Closed,
    /// A write failed: the output is not complete.
    Failed,
}

impl Presenter {
    /// A presenter for one command. With `quiet` it shows no progress.
    pub(crate) fn new(kind: Kind, json: bool, quiet: bool) -> Presenter {
        let style = if json { Style::Json } else { Style::Human };
        let progress = match (&kind, style) {
            (Kind::Get { .. }, Style::Human) => Progress::new(quiet),
            (Kind::Get { .. } | Kind::Query { .. } | Kind::List | Kind::Network, _)
            | (Kind::Uri | Kind::Status { .. } | Kind::Downloads | Kind::Order | Kind::Clean, _) => Progress::Off,
        };
        Presenter {
            kind,
            style,
            results: Results::default(),
            rows: 0,
            progress,
            failures: Failures::default(),
            sink: None,
            queued: None,
            output: Output::Open,
            code: None,
        }
    }

    /// Sends the content of the download to standard output.
    pub(crate) fn set_sink(&mut self, sink: Option<Sink>) {
        self.sink = sink;
    }

    /// The exit code, once `done` was printed or the reader has closed standard output.
    pub(crate) fn code(&self) -> Option<u8> {
        self.code
    }

    /// Prints one event. After the last one, [`Presenter::code`] has a value.
    pub(crate) fn show(&mut self, event: &ClientEvent) -> Result<(), Failure> {
        if self.code.is_some() || self.output == Output::Failed {
            return Ok(());
        }
        if let (Kind::Get { .. }, ClientEvent::Download(report)) = (&self.kind, event) {
            self.queued = Some(report.id);
        }
        if let (Some(_), Some(files)) = (&self.sink, several(event)) {
            let files = format::count(files, "file");
            let why =
                format!("-o - writes one content to standard output, and this is {files}; name a folder with -o DIR/");
            return Err(Failure::usage(why));
        }
        let shown = match self.style {
            Style::Json => {
                if let ClientEvent::Done(Outcome { ok: false, error: Some(error), .. }) = event {
                    output::error(error);
                }
                match self.output {
                    Output::Open => self.show_to_programs(event),
                    Output::Closed | Output::Failed => Ok(()),
                }
            }
            Style::Human => self.show_to_people(event),
        };
        let code = if let ClientEvent::Done(outcome) = event { Some(outcome.exit) } else { None };
        match shown {
            Ok(()) => self.code = code,
            // If a reader such as `| head` has read enough, this is not a failure. A download
            // continues, because its result is the file.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.output = Output::Closed;
                self.code = match self.kind {
                    Kind::Get { .. } if self.sink.is_none() => code,
                    Kind::Get { .. }
                    | Kind::Query { .. }
                    | Kind::List
                    | Kind::Network
                    | Kind::Status { .. }
                    | Kind::Uri
                    | Kind::Downloads
                    | Kind::Order
                    | Kind::Clean => Some(Exit::Ok.code()),
                };
            }
            Err(e) => {
                self.output = Output::Failed;
                return Err(Failure::new(Exit::Internal, format!("cannot write to standard output: {e}")));
            }
        }
        Ok(())
    }

    /// Whether a write to standard output failed, so that no `done` can be printed.
    pub(crate) fn is_unwritable(&self) -> bool {
        self.output == Output::Failed
    }

    /// Ends a command that failed before its `done`.
    pub(crate) fn fail(&mut self, failure: &Failure) -> Result<(), Failure> {
        self.progress.end();
        self.show(&ClientEvent::Done(Outcome::failed(failure)))
    }

    /// Ends a command that a signal has interrupted, with the exit code that shells expect.
    pub(crate) fn interrupted(&mut self, code: u8) -> Result<(), Failure> {
        self.progress.end();
        let error = match self.queued {
            Some(id) => {
                let ends = format!("`sprat cancel {id}` ends it");
                format!("interrupted; the peer continues the download: the same command follows it, {ends}")
            }
            None if matches!(self.kind, Kind::Get { .. }) && self.sink.is_none() => {
                "interrupted; the same command resumes the download".to_owned()
            }
            None => "interrupted".to_owned(),
        };
        self.show(&ClientEvent::Done(Outcome { exit: code, error: Some(error), ..Outcome::default() }))
    }

    /// Prints hits as they come. Before the last line, prints the results, which group the hits.
    fn show_to_programs(&mut self, event: &ClientEvent) -> io::Result<()> {
        let line = |event: &ClientEvent| output::line(&control::event_line(event, SystemTime::now()));
        if let (Kind::Query { .. }, ClientEvent::Hit { path, size, root, source, partial, .. }) = (&self.kind, event) {
            self.results.add_source((path, *size, *root), source, *partial);
        }
        if let (Kind::Query { search }, ClientEvent::Done(_)) = (&self.kind, event) {
            self.results.arrange(&search.pattern);
            for (rank, found) in (1..).zip(self.results.all()) {
                let name = found.name().to_owned();
                let Found { path, size, root, sources, partial } = found.clone();
                line(&ClientEvent::Result { rank, name, path, size, root, sources, partial })?;
            }
        }
        line(event)
    }

    fn show_to_people(&mut self, event: &ClientEvent) -> io::Result<()> {
        match event {
            ClientEvent::Hit { path, size, root, source, partial, .. } => {
                self.results.add_source((path, *size, *root), source, *partial);
            }
            // This presenter makes these events from hits.
            ClientEvent::Result { .. } => {}
            ClientEvent::Download(report) if !matches!(self.kind, Kind::Downloads) => {
                self.progress.note(&format::download_note(report, "sprat cancel"));
            }
            ClientEvent::File { .. } | ClientEvent::Content { .. } | ClientEvent::Download(_) => {
                if let Some((heading, row)) = format::listed(event, output::width()) {
                    if self.rows == 0 {
                        output::line(heading)?;
                    }
                    self.rows += 1;
                    output::line(&row)?;
                }
            }
            ClientEvent::Uri { uri, .. } => {
                output::line(uri)?;
                format::uri_notes(event).iter().for_each(|line| output::note(line));
            }
            ClientEvent::Files { files, size } => self.progress.start(&format::count(*files, "file"), *size, 0),
            ClientEvent::Item(ItemReport { path: Some(path), exit: 0, .. }) => {
                self.progress.aside(|| output::path(path))?;
            }
            ClientEvent::Item(item) => {
                if let Some(line) = self.failures.line(item) {
                    self.progress.note(&line);
                }
            }
            ClientEvent::Start { name, size, resumed, .. } => self.progress.start(name, *size, *resumed),
            ClientEvent::Piece { index, bytes, .. } => {
                if let Some(sink) = &mut self.sink {
                    sink.piece(*index, *bytes)?;
                }
            }
            ClientEvent::Progress { bytes, size, rate, sources, gives_up_ms, swarm } => {
                self.progress.update((*bytes, *size), *rate, sources, *gives_up_ms, *swarm);
            }
            ClientEvent::Source(report) => {
                self.progress.source(report);
                if let Some(line) = format::dropped(report) {
                    self.progress.note(&line);
                }
            }
            ClientEvent::Status { .. } => {
                let counters = matches!(self.kind, Kind::Status { counters: true });
                let lines = if counters { screen::counters(event) } else { screen::screen(event) };
                output::block(&(lines.join("\n") + "\n"))?;
            }
            ClientEvent::User(_) => {}
            ClientEvent::Limits(limits) => output::line(&format::limits(*limits))?,
            ClientEvent::Note { message } => self.progress.note(&printable(message)),
            ClientEvent::Done(outcome) => return self.end(outcome),
        }
        Ok(())
    }

    fn end(&mut self, outcome: &Outcome) -> io::Result<()> {
        self.progress.end();
        let pattern = match &self.kind {
            Kind::Query { search } => search.pattern.as_str(),
            Kind::Get { what } => what.as_str(),
            Kind::List
            | Kind::Network
            | Kind::Uri
            | Kind::Status { .. }
            | Kind::Downloads
            | Kind::Order
            | Kind::Clean => "",
        };
        self.results.arrange(pattern);
        if !self.results.all().is_empty() && (outcome.exit != 0 || matches!(self.kind, Kind::Query { .. })) {
            // If the name was ambiguous, the user must give a root. So complete roots are shown.
            let roots = if outcome.exit == 0 { Roots::Short } else { Roots::Complete };
            match &self.sink {
                Some(_) => output::note(self.results.table(roots, output::note_width()).trim_end()),
                None => output::block(&self.results.table(roots, output::width()))?,
            }
        }
        match &self.kind {
            Kind::Query { .. } if outcome.reached.is_some() => {
                output::note(&format::search_summary(self.results.all().len() as u64, "result", outcome));
            }
            Kind::Get { .. } => {
                if let Some(sources) = outcome.sources.as_ref().filter(|sources| !sources.is_empty()) {
                    output::note(format::source_table(sources, output::note_width()).trim_end());
                }
                if outcome.ok {
                    if let Some(sink) = &mut self.sink {
                        sink.finish(outcome.bytes.unwrap_or(0))?;
                    }
                    let path = outcome.path.as_ref().filter(|_| self.sink.is_none());
                    output::note(&format::get_summary(&Outcome { path: path.cloned(), ..outcome.clone() }));
                    if let Some(path) = path {
                        output::path(path)?;
                    }
                }
            }
            Kind::List if outcome.ok => output::note(&format::count(self.rows, "file")),
            Kind::Network if outcome.reached.is_some() => {
                output::note(&format::search_summary(self.rows, "content", outcome))
            }
            Kind::Clean if outcome.ok => output::note(&format::cleaned(outcome)),
            Kind::Downloads if outcome.ok && self.rows == 0 => output::note("the queue is empty"),
            Kind::Query { .. }
            | Kind::List
            | Kind::Network
            | Kind::Uri
            | Kind::Status { .. }
            | Kind::Downloads
            | Kind::Order
            | Kind::Clean => {}
        }
        let said = matches!(self.kind, Kind::Query { .. }) && outcome.reached.is_some();
        if let Some(error) = outcome.error.as_ref().filter(|_| !outcome.ok && !said) {
            output::error(error);
        }
        if let (Kind::Query { search }, true) = (&self.kind, outcome.exit == Exit::NotFound.code()) {
            hints::nothing_found(search, outcome, hints::Place::Shell).iter().for_each(|hint| output::note(hint));
        }
        Ok(())
    }
}

/// The number of files of a download of several files. For a pattern, it is known before the files
/// are fetched; for a collection, when the download has ended.
fn several(event: &ClientEvent) -> Option<u64> {
    if let ClientEvent::Files { files, .. } = event {
        Some(*files)
    } else if let ClientEvent::Done(Outcome { ok: true, files, .. }) = event {
        *files
    } else {
        None
    }
}
