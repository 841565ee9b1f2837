//! Output for people: tables and summaries. Pure text; every name from the network passes through
//! `printable`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::units::{Size, Span};
use crate::proto::ClientEvent;
use crate::proto::event::{Outcome, SourceReport, SourceState};
use crate::wire::name::printable;
use crate::wire::{Cut, HostPort, Root};

/// Sources named in a row of a table of results; the others are counted.
const SOURCES_IN_ROW: usize = 4;
/// Widest name in a table, in characters.
const NAME_CHARS_MAX: usize = 60;

/// One content that was found, and its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    /// The size that most sources claim; of several such the smallest.
    pub(crate) size: u64,
    pub(crate) root: Root,
    pub(crate) sources: Vec<HostPort>,
}

/// Hits grouped by content, which is their root, numbered from 1 once they are arranged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    groups: Vec<Found>,
    /// How many sources of each content claim each size.
    claims: BTreeMap<Root, BTreeMap<u64, usize>>,
}

impl Results {
    /// Adds one hit.
    pub(crate) fn add(&mut self, name: &str, size: u64, root: Root, source: &HostPort) {
        let known = self.groups.iter().position(|group| group.root == root);
        let at = known.unwrap_or_else(|| {
            self.groups.push(Found { name: name.to_owned(), size, root, sources: Vec::new() });
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        if group.sources.contains(source) {
            return;
        }
        group.sources.push(source.clone());
        let claims = self.claims.entry(root).or_default();
        *claims.entry(size).or_default() += 1;
        let most = claims.iter().min_by_key(|(_, sources)| std::cmp::Reverse(**sources));
        group.size = most.map_or(size, |(size, _)| *size);
    }

    /// Sorts: the name that equals the pattern first, then by number of sources. The same hits get
    /// the same numbers.
    pub(crate) fn arrange(&mut self, pattern: &str) {
        for group in &mut self.groups {
            group.sources.sort();
        }
        self.groups.sort_by(|a, b| {
            (b.name == pattern)
                .cmp(&(a.name == pattern))
                .then(b.sources.len().cmp(&a.sources.len()))
                .then_with(|| (&a.name, a.root).cmp(&(&b.name, b.root)))
        });
    }

    /// Result number `n`, counted from 1.
    pub(crate) fn number(&self, n: usize) -> Option<&Found> {
        self.groups.get(n.checked_sub(1)?)
    }

    /// All of them in the order of their numbers.
    pub(crate) fn all(&self) -> &[Found] {
        &self.groups
    }

    /// One row for each content.
    pub(crate) fn table(&self) -> String {
        let rows = self.groups.iter().enumerate().map(|(i, found)| {
            vec![
                (i + 1).to_string(),
                short_name(&found.name),
                Size(found.size).to_string(),
                format!("{:.8}", found.root.to_string()),
                sources(&found.sources),
            ]
        });
        table(&["#", "name", "size", "root", "sources"], &[true, false, true, false, false], rows)
    }
}

fn sources(sources: &[HostPort]) -> String {
    let mut text = sources.len().to_string();
    for (i, source) in sources.iter().take(SOURCES_IN_ROW).enumerate() {
        let _ = write!(text, "{}{source}", if i == 0 { ": " } else { ", " });
    }
    if sources.len() > SOURCES_IN_ROW {
        text.push_str(", …");
    }
    text
}

/// A name that breaks neither the terminal nor the table.
pub(crate) fn short_name(name: &str) -> String {
    let name = printable(name);
    if name.chars().count() <= NAME_CHARS_MAX {
        return name;
    }
    name.chars().take(NAME_CHARS_MAX - 1).chain(['…']).collect()
}

/// Columns padded to their widest cell; `right` names the columns of numbers.
pub(crate) fn table(head: &[&str], right: &[bool], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut all: Vec<Vec<String>> = vec![head.iter().map(|cell| (*cell).to_owned()).collect()];
    all.extend(rows);
    let widths: Vec<usize> = (0..head.len())
        .map(|column| all.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for ((cell, width), right) in row.iter().zip(&widths).zip(right) {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if *right { (&*padding, "") } else { ("", &*padding) };
            let _ = write!(line, "{before}{cell}{after}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One row for each source of a download, in the order of the reports.
pub(crate) fn source_table(sources: &[SourceReport]) -> String {
    let rows = sources.iter().map(|report| {
        vec![
            report.source.to_string(),
            Size(report.bytes).to_string(),
            report.pieces.to_string(),
            report.bad.to_string(),
            state_word(report.state).to_owned(),
            report.why.as_deref().map(printable).unwrap_or_default(),
        ]
    });
    let head = ["source", "received", "pieces", "bad", "state", "why"];
    table(&head, &[false, true, true, true, false, false], rows)
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

/// The heading and the row of a listed file or content. Rows are printed as they come, so the
/// widths are fixed.
pub(crate) fn listed(event: &ClientEvent) -> Option<(&'static str, String)> {
    if let ClientEvent::File { path, size, root, holders, .. } = event {
        let row = list_row(*size, *holders, *root, &printable(path));
        Some(("      size  holders  root      path", row))
    } else if let ClientEvent::Content { root, size, sources, names } = event {
        let others = match names.len() {
            0 | 1 => String::new(),
            n => format!(" (also {})", count(n as u64 - 1, "other name")),
        };
        let name = names.first().map(|name| printable(name)).unwrap_or_default();
        let row = list_row(*size, *sources, *root, &format!("{name}{others}"));
        Some(("      size  sources  root      name", row))
    } else {
        None
    }
}

fn list_row(size: u64, peers: u32, root: Root, name: &str) -> String {
    format!("{:>10}  {peers:>7}  {:.8}  {name}", Size(size).to_string(), root.to_string())
}

/// The lines of STATUS.
pub(crate) fn status(
    super_peer: Option<&HostPort>,
    peer: &BTreeMap<String, u64>,
    super_counts: &BTreeMap<String, u64>,
) -> Vec<String> {
    let session = super_peer.map_or("none".to_owned(), ToString::to_string);
    let line =
        |side: &'static str| move |(name, value): (&String, &u64)| format!("{side}.{}  {value}", printable(name));
    let head = std::iter::once(format!("super peer  {session}"));
    head.chain(peer.iter().map(line("peer"))).chain(super_counts.iter().map(line("super"))).collect()
}

/// The note about a source that was dropped; none in every other state.
pub(crate) fn dropped(report: &SourceReport) -> Option<String> {
    let why = report.why.as_deref().unwrap_or("sent wrong bytes");
    (report.state == SourceState::Dropped).then(|| format!("{} dropped: {}", report.source, printable(why)))
}

/// The result of a search in one line; `noun` names the groups of hits.
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

fn cut_words(cut: &Cut) -> String {
    let Cut { ttl, loss, budget, down, cap, shed, stale } = *cut;
    let reasons = [
        (ttl, "beyond the ttl"),
        (loss, "answered in part"),
        (budget, "gave no answer in time"),
        (down, "down"),
        (cap, "over a cap"),
        (shed, "refused for load"),
        (stale, "with a stale tree"),
    ];
    let words: Vec<String> = reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    words.join(", ")
}

/// The result of a successful download in one line.
pub(crate) fn get_summary(done: &Outcome) -> String {
    let mut text = match &done.path {
        Some(path) => printable(&path.to_string_lossy()),
        None => "done".to_owned(),
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
    text
}

/// `1 hit`, `2 hits`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> HostPort {
        HostPort::new("127.0.0.1", port).unwrap()
    }

    #[test]
    fn hits_are_grouped_by_content_and_always_numbered_the_same() {
        let (a, b) = (Root([1; 32]), Root([2; 32]));
        let hits = [("x", 5, a, 1), ("x", 5, b, 1), ("y", 5, b, 2), ("x", 5, b, 2)];
        let arranged = |order: &[usize]| {
            let mut results = Results::default();
            for i in order {
                let (name, size, root, port) = hits[*i];
                results.add(name, size, root, &at(port));
            }
            results.arrange("x");
            results.all().iter().map(|found| (found.root, found.sources.clone())).collect::<Vec<_>>()
        };
        assert_eq!(arranged(&[0, 1, 2, 3]), [(b, vec![at(1), at(2)]), (a, vec![at(1)])]);
        assert_eq!(arranged(&[0, 1, 2, 3]), arranged(&[0, 3, 1, 2]));
    }

    #[test]
    fn one_content_under_several_sizes_is_one_result() {
        let mut results = Results::default();
        for (size, port) in [(1 << 60, 1), (7, 2), (7, 3), (7, 3), (8, 3)] {
            results.add("x", size, Root([1; 32]), &at(port));
        }
        assert_eq!((results.all().len(), results.all()[0].size, results.all()[0].sources.len()), (1, 7, 3));
    }

    #[test]
    fn a_hostile_name_stays_in_its_cell() {
        let mut results = Results::default();
        results.add("a\x1b[2J\nb", 1, Root([1; 32]), &at(1));
        let table = results.table();
        assert!(!table.contains('\x1b') && table.lines().count() == 2, "{table}");
        assert!(short_name(&"x".repeat(300)).chars().count() <= NAME_CHARS_MAX);
    }

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
