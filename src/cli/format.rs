//! Output for people: tables and summaries. It only makes text. Every name from the network passes
//! through `printable`.

use std::fmt::Write as _;
use std::time::Duration;

use super::columns::{columns, cut, cut_middle};
use super::table::{Cells, fitted};
use super::units::{Size, Span};
use crate::proto::event::{DownloadReport, DownloadState, ItemReport, Outcome, SourceReport, SourceState, SwarmReport};
use crate::proto::{ClientEvent, RateLimits};
use crate::wire::name::printable;
use crate::wire::{Cut, Root};

/// Widest name in a table or a line, in columns, even if the window is wider.
pub(super) const NAME_COLUMNS_MAX: usize = 60;

/// A name without invisible characters, cut to the width of the table.
pub(crate) fn short_name(name: &str) -> String {
    cut(&printable(name), NAME_COLUMNS_MAX)
}

/// One row for each source of a download, in the order of the reports. It fits in the window.
pub(crate) fn source_table(sources: &[SourceReport], window: Option<usize>) -> String {
    let rows = sources.iter().map(|report| {
        vec![
            report.source.to_string(),
            Size(report.bytes).to_string(),
            report.pieces.to_string(),
            report.bad.to_string(),
            source_words(report).to_owned(),
            report.why.as_deref().map(printable).unwrap_or_default(),
        ]
    });
    let head = [
        ("source", Cells::Words),
        ("received", Cells::Numbers),
        ("pieces", Cells::Numbers),
        ("bad", Cells::Numbers),
        ("state", Cells::Words),
        ("why", Cells::Texts),
    ];
    fitted(&head, rows, window)
}

/// The state of a source. For a source that sends, also whether it has the complete content.
pub(crate) fn source_words(report: &SourceReport) -> &'static str {
    if report.partial && report.state == SourceState::Active { "partial" } else { state_word(report.state) }
}

/// The state of a source in one word.
pub(crate) fn state_word(state: SourceState) -> &'static str {
    match state {
        SourceState::Idle => "idle",
        SourceState::Connecting => "connecting",
        SourceState::Active => "active",
        SourceState::Stalled => "stalled",
        SourceState::Lost => "lost",
        SourceState::Dropped => "dropped",
    }
}

/// If the other columns of a list leave fewer columns than this for a name, the name goes to a line
/// of its own.
const LISTED_NAME_LEAST: usize = 24;

/// The heading and the row of a listed file or content. Rows are printed as they come, so the
/// widths are fixed. In a window, long names are cut.
pub(crate) fn listed(event: &ClientEvent, window: Option<usize>) -> Option<(&'static str, String)> {
    if let ClientEvent::File { path, size, root, collection, holders, partial, .. } = event {
        let mut mark = if *collection { " (collection)".to_owned() } else { String::new() };
        if *partial > 0 {
            mark.push_str(&format!(" (and {partial} with a part)"));
        }
        let row = list_row(*size, *holders, *root, &printable(path), &mark, window);
        Some(("      size  holders  root      path", row))
    } else if let ClientEvent::Content { root, size, sources, names } = event {
        let others = match names.len() {
            0 | 1 => String::new(),
            n => format!(" (also {})", count(n as u64 - 1, "other name")),
        };
        let name = names.first().map(|name| printable(name)).unwrap_or_default();
        let row = list_row(*size, *sources, *root, &name, &others, window);
        Some(("      size  sources  root      name", row))
    } else if let ClientEvent::Download(report) = event {
        Some((" number  state     done        size  name", download_row(report, window)))
    } else {
        None
    }
}

fn list_row(size: u64, peers: u32, root: Root, name: &str, after: &str, window: Option<usize>) -> String {
    let figures = format!("{:>10}  {peers:>7}  {:.8}  ", Size(size).to_string(), root.to_string());
    named_row(&figures, name, after, window)
}

/// A row of figures and a name. In a window, the name is cut or goes to a line of its own.
fn named_row(figures: &str, name: &str, after: &str, window: Option<usize>) -> String {
    let Some(window) = window else { return format!("{figures}{name}{after}") };
    let room = window.saturating_sub(columns(figures) + columns(after));
    if columns(name) <= room || room >= LISTED_NAME_LEAST {
        return format!("{figures}{}{after}", cut_middle(name, room));
    }
    let name = cut_middle(name, window.saturating_sub(4 + columns(after)));
    format!("{}\n{}", cut(figures.trim_end(), window), cut(&format!("    {name}{after}"), window))
}

fn download_row(report: &DownloadReport, window: Option<usize>) -> String {
    let DownloadReport { id, state, what, name, path, size, rate, retry_ms, error, .. } = report;
    let done = done_words(report);
    let size = size.map_or_else(|| "-".to_owned(), |size| Size(size).to_string());
    let name = path.as_ref().or(name.as_ref()).unwrap_or(what);
    let figures = format!("{id:>7}  {:<8} {done:>5}  {size:>10}  ", download_word(*state));
    let rate = rate.filter(|rate| *rate > 0).map_or(String::new(), |rate| format!(", {}/s", Size(rate)));
    let mut row = named_row(&figures, &printable(name), &rate, window);
    let mut state = error.as_ref().map(|error| printable(error)).unwrap_or_default();
    if let Some(ms) = retry_ms {
        let _ = write!(state, "; asks again in {}", Span(Duration::from_secs(ms.div_ceil(1000))));
    }
    match window {
        _ if state.is_empty() => {}
        None if error.is_none() => row.push_str(&state),
        None => row.push_str(&format!(": {state}")),
        // A longer sentence continues in the next row of the terminal.
        Some(_) => row.push_str(&format!("\n    {}", state.trim_start_matches("; "))),
    }
    row
}

/// The end of `downloads --clean`.
pub(crate) fn cleaned(outcome: &Outcome) -> String {
    let (files, bytes) = (outcome.files.unwrap_or(0), outcome.bytes.unwrap_or(0));
    format!("{} removed, {}", count(files, "part file"), Size(bytes))
}

/// How much of a download is done, if that is known. After a restart it is known once the download
/// runs, because its part file is looked at then.
pub(crate) fn done_words(report: &DownloadReport) -> String {
    let DownloadReport { state, bytes, size, .. } = report;
    let bytes = bytes.or((*state == DownloadState::Running).then_some(0));
    match (state, bytes, size) {
        (DownloadState::Done, ..) => "100 %".to_owned(),
        (_, Some(bytes), Some(size)) => format!("{} %", percent(bytes, *size)),
        (_, None, _) | (_, _, None) => "-".to_owned(),
    }
}

/// The state of a download in one word.
pub(crate) fn download_word(state: DownloadState) -> &'static str {
    match state {
        DownloadState::Queued => "queued",
        DownloadState::Running => "running",
        DownloadState::Waiting => "waiting",
        DownloadState::Paused => "paused",
        DownloadState::Done => "done",
        DownloadState::Failed => "failed",
        DownloadState::Canceled => "canceled",
    }
}

/// The state of a download that a client has ordered. `cancel` is how the command that ends the
/// download is typed.
pub(crate) fn download_note(report: &DownloadReport, cancel: &str) -> String {
    let DownloadReport { id, state, what, name, error, .. } = report;
    let name = short_name(name.as_ref().unwrap_or(what));
    let end = format!("{cancel} {id} ends it");
    match state {
        DownloadState::Queued | DownloadState::Running => format!("{name}: download {id}; {end}"),
        DownloadState::Waiting => {
            let why = error.as_ref().map(|error| printable(error)).unwrap_or_default();
            format!("error: {name}: {why}; it is asked for again; {end}")
        }
        DownloadState::Paused => format!("{name}: download {id} is paused; {end}"),
        DownloadState::Done | DownloadState::Failed | DownloadState::Canceled => {
            format!("{name}: download {id} is {}", download_word(*state))
        }
    }
}

/// A note about a source that was dropped; none for any other state.
pub(crate) fn dropped(report: &SourceReport) -> Option<String> {
    let why = report.why.as_deref().unwrap_or("sent wrong bytes");
    (report.state == SourceState::Dropped).then(|| format!("{} dropped: {}", report.source, printable(why)))
}

/// The result of a search in one line. `noun` is the name of the groups of hits.
pub(crate) fn search_summary(results: u64, noun: &str, done: &Outcome) -> String {
    let hits = done.hits.unwrap_or(0);
    let reached = done.reached.unwrap_or(0);
    let mut text = match results {
        0 => "nothing found".to_owned(),
        _ => format!("{} in {}", count(results, noun), count(u64::from(hits), "hit")),
    };
    let _ = write!(text, "; {} searched", count(u64::from(reached), "super peer"));
    match (done.complete, done.cut) {
        (Some(true), _) => text.push_str(", complete"),
        (Some(false), Some(cut)) if !cut.is_none() => {
            let _ = write!(text, ", not complete ({})", cut_words(&cut));
        }
        (Some(false), _) => text.push_str(", not complete"),
        (None, _) => {}
    }
    if let Some(ms) = done.elapsed_ms {
        let _ = write!(text, ", {}", Span(Duration::from_millis(ms)));
    }
    text
}

/// Where the search was cut, and why.
pub(crate) fn cut_words(cut: &Cut) -> String {
    let Cut { ttl, loss, budget, down, cap, shed, stale, starting } = *cut;
    let reasons = [
        (ttl, "beyond the ttl"),
        (loss, "answered in part"),
        (budget, "gave no answer in time"),
        (down, "down"),
        (cap, "over a cap"),
        (shed, "refused for load"),
        (stale, "with a stale tree"),
        (starting, "just restarted, waiting for its peers"),
    ];
    let words: Vec<String> = reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    words.join(", ")
}

/// The result of a successful download in one line.
pub(crate) fn get_summary(done: &Outcome) -> String {
    let mut text = match (&done.path, done.files) {
        (Some(path), Some(files)) => format!("{}: {}", printable(&path.to_string_lossy()), count(files, "file")),
        (Some(path), None) => printable(&path.to_string_lossy()),
        (None, Some(files)) => count(files, "file"),
        (None, None) => "done".to_owned(),
    };
    if let Some(bytes) = done.bytes {
        let _ = write!(text, ": {}", Size(bytes));
    }
    if let Some(resumed) = done.resumed.filter(|resumed| *resumed > 0) {
        let _ = write!(text, " ({} resumed)", Size(resumed));
    }
    if let Some(ms) = done.elapsed_ms {
        let _ = write!(text, " in {}", Span(Duration::from_millis(ms)));
    }
    if let Some(swarm) = &done.swarm {
        let _ = write!(text, "; {}", swarm_words(swarm));
    }
    text
}

/// The swarm of a download, and how much was sent to it.
pub(crate) fn swarm_words(swarm: &SwarmReport) -> String {
    let SwarmReport { members, complete, sent, up, received } = swarm;
    let hundredths = u128::from(*sent) * 100 / u128::from((*received).max(1));
    let ratio = format!("ratio {}.{:02}", hundredths / 100, hundredths % 100);
    let up = if *up > 0 { format!(" at {}/s", Size(*up)) } else { String::new() };
    format!("swarm of {members}, {complete} complete; sent {}{up}, {ratio}", Size(*sent))
}

/// Notes about a URI: what it names, and which files it leaves out.
pub(crate) fn uri_notes(event: &ClientEvent) -> Vec<String> {
    let ClientEvent::Uri { name, files, bytes, left_out, .. } = event else { return Vec::new() };
    let mut notes = Vec::new();
    if let Some(files) = files {
        let files = count(*files, "file");
        notes.push(format!("{}: {files}, {}; changes of the folder need a new URI", short_name(name), Size(*bytes)));
    }
    if *left_out > 0 {
        notes.push(format!("{} cannot be read, and are left out", count(*left_out, "file")));
    }
    notes
}

/// A line about one of several files that could not be downloaded.
pub(crate) fn failed_item(item: &ItemReport) -> String {
    format!("{}: {}", short_name(&item.name), printable(item.error.as_deref().unwrap_or("failed")))
}

/// Progress in percent; an empty file is complete.
pub(crate) fn percent(bytes: u64, size: u64) -> u64 {
    if size == 0 { 100 } else { u64::try_from(u128::from(bytes) * 100 / u128::from(size)).unwrap_or(100) }
}

/// `1 hit`, `2 hits`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The limits of a peer, in one line.
pub(crate) fn limits(limits: RateLimits) -> String {
    let rate = |rate: u64| if rate == 0 { "without a limit".to_owned() } else { format!("at most {}/s", Size(rate)) };
    format!("sends {}, receives {}", rate(limits.upload), rate(limits.download))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_reports_why_it_is_not_complete() {
        let cut = Cut { ttl: 2, down: 1, ..Cut::NONE };
        let done = Outcome { reached: Some(1), complete: Some(false), cut: Some(cut), ..Outcome::default() };
        assert_eq!(
            search_summary(0, "result", &done),
            "nothing found; 1 super peer searched, not complete (2 beyond the ttl, 1 down)"
        );
    }
}
