//! The events of the machine at the prompt: what is printed for each of them, and what is kept.

use super::choice::{Shown, keep_listed};
use super::console::{Console, Job};
use crate::cli::failures::Failures;
use crate::cli::progress;
use crate::cli::results::{Results, Roots};
use crate::cli::units::Size;
use crate::cli::{format, hints, output, screen};
use crate::error::Exit;
use crate::proto::event::{DownloadReport, DownloadState, ItemReport, Outcome};
use crate::proto::{ClientEvent, ClientId};
use crate::wire::name::printable;

impl Console {
    pub(super) fn on_event(&mut self, client: ClientId, event: ClientEvent) {
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
            ClientEvent::Download(_) | ClientEvent::File { .. } | ClientEvent::Content { .. } => {
                self.on_row(client, &event);
            }
            ClientEvent::Uri { ref uri, .. } => {
                self.output.print(uri);
                format::uri_notes(&event).iter().for_each(|line| self.output.note(line));
            }
            ClientEvent::Files { .. }
            | ClientEvent::Start { .. }
            | ClientEvent::Progress { .. }
            | ClientEvent::Source(_) => self.on_progress(client, event),
            ClientEvent::Item(ItemReport { path: Some(path), exit: 0, .. }) => {
                self.output.print(&format!("got {}", printable(&path.to_string_lossy())));
            }
            ClientEvent::Item(item) => {
                if let Some(line) = self.failures.line(&item) {
                    self.output.note(&format!("error: {line}"));
                }
            }
            ClientEvent::Piece { .. } | ClientEvent::Result { .. } | ClientEvent::User(_) => {}
            event @ ClientEvent::Status { .. } => {
                screen::screen(&event).iter().for_each(|line| self.output.print(line));
            }
            ClientEvent::Limits(limits) => self.output.print(&format::limits(limits)),
            ClientEvent::Note { message } => self.output.note(&printable(&message)),
            ClientEvent::Done(outcome) => {
                self.failures = Failures::default();
                self.on_done(client, &outcome);
            }
        }
    }

    /// A row of a list.
    fn on_row(&mut self, client: ClientId, event: &ClientEvent) {
        let Some((heading, row)) = format::listed(event, output::width()) else { return };
        let rows = match self.jobs.get_mut(&client.0) {
            Some(Job::List { rows, roots }) => {
                keep_listed(roots, event);
                rows
            }
            Some(Job::Downloads { rows }) => rows,
            Some(Job::Query { .. } | Job::Status | Job::Uri | Job::Get { .. } | Job::Order) | None => return,
        };
        *rows += 1;
        let is_first = *rows == 1;
        self.output.print(&if is_first { format!("{heading}\n{row}") } else { row });
    }

    /// A download makes progress.
    fn on_progress(&mut self, client: ClientId, event: ClientEvent) {
        let Some(Job::Get { name, bar, pace, waits, .. }) = self.jobs.get_mut(&client.0) else { return };
        let mut line = None;
        if let ClientEvent::Files { files, size } = event {
            *name = format::count(files, "file");
            bar.start(name, size, 0);
            line = Some(format!("{name}: {}", Size(size)));
        } else if let ClientEvent::Start { name: chosen, size, sources, resumed, .. } = event {
            *waits = None;
            bar.start(&chosen, size, resumed);
            let sources = format::count(sources as u64, "source");
            line = Some(format!("{}: {} from {sources}", format::short_name(&chosen), Size(size)));
            *name = chosen;
        } else if let ClientEvent::Progress { bytes, size, rate, sources, gives_up_ms, swarm } = event {
            bar.advance(bytes, size, rate, gives_up_ms);
            bar.swarm(swarm);
            sources.iter().for_each(|report| bar.source(report));
            let is_due = !self.quiet && pace.is_due(bytes, size);
            let plain = is_due.then(|| progress::line(name, bytes, size, rate, (sources.len(), swarm.as_ref())));
            if !self.draw()
                && let Some(plain) = plain
            {
                self.output.note(&plain);
            }
            return;
        } else if let ClientEvent::Source(report) = event {
            bar.source(&report);
            line = format::dropped(&report);
        }
        self.draw();
        if let Some(line) = line {
            self.output.note(&line);
        }
    }

    /// The state of a download that was ordered here. Each reason is printed only once.
    fn on_download(&mut self, client: ClientId, report: &DownloadReport) {
        let Some(Job::Get { waits, bar, name, order, .. }) = self.jobs.get_mut(&client.0) else { return };
        *order = Some(report.id);
        let before = waits.take();
        *waits = match report.state {
            DownloadState::Waiting => Some(report.error.clone().unwrap_or_default()),
            DownloadState::Paused => Some(String::new()),
            DownloadState::Queued
            | DownloadState::Running
            | DownloadState::Done
            | DownloadState::Failed
            | DownloadState::Canceled => None,
        };
        let state = match report.state {
            DownloadState::Waiting => Some("waits for a source"),
            DownloadState::Paused => Some("paused"),
            DownloadState::Queued => Some("queued"),
            DownloadState::Running | DownloadState::Done | DownloadState::Failed | DownloadState::Canceled => None,
        };
        bar.wait(state);
        let is_news = waits.is_none() || *waits != before;
        let named = DownloadReport { name: report.name.clone().or_else(|| Some(name.clone())), ..report.clone() };
        self.draw();
        if is_news {
            self.output.note(&format::download_note(&named, "CANCEL"));
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
            Some(Job::Get { canceled: true, name, .. }) if !outcome.ok => {
                self.draw();
                self.output.note(&format!("{}: {}", format::short_name(&name), printable(error)));
            }
            Some(Job::Get { what, name, hits, .. }) => {
                self.draw();
                self.on_got(&what, &name, hits, outcome);
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

    /// A download has ended.
    fn on_got(&mut self, what: &str, name: &str, mut hits: Results, outcome: &Outcome) {
        if outcome.ok {
            self.output.print(&format!("got {}", format::get_summary(outcome)));
        } else {
            let error = outcome.error.as_deref().unwrap_or("failed");
            self.output.note(&format!("error: {}: {}", format::short_name(name), printable(error)));
            if !hits.all().is_empty() {
                hits.arrange(what);
                self.output.print(hits.table(Roots::Complete, output::width()).trim_end());
                self.shown.set_results(hits);
            }
        }
        if let Some(sources) = outcome.sources.as_ref().filter(|sources| !sources.is_empty()) {
            self.output.note(format::source_table(sources, output::width()).trim_end());
        }
    }
}
