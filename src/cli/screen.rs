//! `status` for people: one screen of at most 80 columns, and usually of at most 24 lines. It only
//! makes text. Every name from the network passes through `printable`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::columns::{columns, cut, cut_middle};
use super::format::{self, count, done_words, download_word, percent, source_words, swarm_words};
use super::units::{Size, Span};
use crate::proto::event::{
    DownloadReport, DownloadState, PeerStatus, SourceReport, SourceState, SuperState, SuperStatus, UploadReport,
};
use crate::proto::{ClientEvent, RateLimits};
use crate::wire::HostPort;
use crate::wire::message::{LinkRow, LinkState, Mode};
use crate::wire::name::printable;

const COLUMNS: usize = 80;
/// How many downloads, uploads and neighbors have rows of their own.
const ROWS_MAX: usize = 6;
/// How many sources of one download have rows.
const SOURCES_MAX: usize = 3;
/// How many lost neighbors of a peer's super peer have rows.
const LOST_MAX: usize = 3;
/// How many peers the row of an upload names.
const PEERS_MAX: usize = 2;
/// The most lines of one reason.
const REASON_LINES_MAX: usize = 3;
/// Columns of the name of a download.
const NAME: usize = 31;
/// Width of the first column.
const LABEL: usize = 13;

type Counts = BTreeMap<String, u64>;

/// The lines of a status.
pub(crate) fn screen(event: &ClientEvent) -> Vec<String> {
    let ClientEvent::Status { super_peer, peer, super_counts, status, super_agent, links, mode } = event else {
        return Vec::new();
    };
    let mut lines = Lines(Vec::new());
    match status {
        Some(status) => {
            lines.peer(status, *mode, super_peer.as_ref(), super_counts);
            // Links because of which searches are not complete.
            let lost: Vec<&LinkRow> = links.iter().filter(|link| link.state.is_trouble()).collect();
            lines.rows(&lost, LOST_MAX, LABEL, |lines, link| {
                lines.labeled("", &format!("its neighbor {} {}", printable(&link.name), link_words(link)));
            });
            lines.share(peer);
            lines.limits(status.limits);
            lines.downloads(&status.downloads);
            lines.uploads(&status.uploads);
        }
        None => {
            lines.super_peer(*mode, super_peer.as_ref(), super_agent.as_deref(), super_counts);
            lines.links(links);
        }
    }
    lines.0
}

/// All counters, each with its unit.
pub(crate) fn counters(event: &ClientEvent) -> Vec<String> {
    let ClientEvent::Status { super_peer, peer, super_counts, .. } = event else { return Vec::new() };
    let session = super_peer.as_ref().map_or("none".to_owned(), ToString::to_string);
    let line = |side: &'static str| {
        move |(name, value): (&String, &u64)| format!("{side}.{}  {value}{}", printable(name), unit(name))
    };
    let head = std::iter::once(format!("super peer  {session}"));
    head.chain(peer.iter().map(line("peer"))).chain(super_counts.iter().map(line("super"))).collect()
}

/// The unit of a counter, from its name.
fn unit(name: &str) -> &'static str {
    let bytes = name.starts_with("memory_") || name.split('_').any(|word| word == "bytes");
    match name {
        _ if bytes => " bytes",
        _ if name.split('_').any(|word| word == "us") => " us",
        _ if name.ends_with("_s") => " s",
        _ => "",
    }
}

struct Lines(Vec<String>);

impl Lines {
    /// Adds a line, which is cut at the end of the screen.
    fn add(&mut self, line: &str) {
        let line = printable(line);
        self.0.push(cut(&line, COLUMNS).trim_end().to_owned());
    }

    /// Adds a line with a label in the first column.
    fn labeled(&mut self, label: &str, text: &str) {
        self.add(&format!("{label:<LABEL$}{text}"));
    }

    /// Adds what is wrong with the line above, in a few lines at most.
    fn reason(&mut self, text: &str) {
        let lines = wrapped(&printable(text), COLUMNS - 6);
        lines.iter().take(REASON_LINES_MAX).for_each(|line| self.add(&format!("      {line}")));
    }

    /// Adds rows, and how many more there are.
    fn rows<T>(&mut self, all: &[T], most: usize, indent: usize, mut row: impl FnMut(&mut Lines, &T)) {
        all.iter().take(most).for_each(|each| row(self, each));
        if all.len() > most {
            self.add(&format!("{:indent$}and {} more", "", all.len() - most));
        }
    }

    // ---- a peer ---------------------------------------------------------------------------------

    fn peer(&mut self, status: &PeerStatus, mode: Mode, with: Option<&HostPort>, super_counts: &Counts) {
        let PeerStatus { name, agent, uptime_ms, addresses, supers, .. } = status;
        self.add(&format!("peer {name:?}, {agent}, up for {}", age(*uptime_ms)));
        self.labeled("mode", mode.name());
        match &addresses[..] {
            [] => self.labeled("address", "none: no super peer offers this peer to others now"),
            addresses => {
                let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                self.labeled("address", &all.join(" and "));
            }
        }
        let mut label = "super peer";
        self.rows(supers, ROWS_MAX, LABEL, |lines, each| {
            let of = super_counts.get("links").filter(|links| with == Some(&each.addr) && **links > 0);
            let up = super_counts.get("links_up").unwrap_or(&0);
            let neighbors = of.map(|links| format!("; {up} of its {} up", count(*links, "neighbor")));
            lines.labeled(std::mem::take(&mut label), &(super_words(each) + &neighbors.unwrap_or_default()));
            each.why.iter().for_each(|why| lines.reason(why));
            each.unreached.iter().for_each(|why| lines.reason(&format!("it cannot reach this peer at {why}")));
        });
    }

    fn share(&mut self, counts: &Counts) {
        let of = |name: &str| counts.get(name).copied().unwrap_or(0);
        self.labeled("share", &format!("{}, {}", count(of("files"), "file"), Size(of("share_bytes"))));
        let (done, all) = (of("hashing_bytes"), of("hashing_bytes_total"));
        match (of("files_waiting"), all) {
            (0, _) => {}
            (waiting, 0) => self.labeled("", &format!("{} being written, or not hashed yet", count(waiting, "file"))),
            (waiting, all) => {
                let files = count(waiting, "file");
                let (share, done, all) = (percent(done, all), Size(done), Size(all));
                self.labeled("", &format!("{files} not hashed yet: {share} % hashed, {done} of {all}"));
            }
        }
        let left_out: Vec<String> = counts
            .iter()
            .filter_map(|(name, n)| Some((name.strip_prefix("left_out_")?, *n)))
            .filter(|(_, n)| *n > 0)
            .map(|(reason, n)| format!("{n} {}", left_out_words(reason)))
            .collect();
        if !left_out.is_empty() {
            let lines = wrapped(&format!("not shared: {}", left_out.join(", ")), COLUMNS - LABEL);
            lines.iter().for_each(|line| self.labeled("", line));
        }
    }

    fn limits(&mut self, limits: RateLimits) {
        if limits != RateLimits::default() {
            self.labeled("limits", &format::limits(limits));
        }
    }

    fn downloads(&mut self, downloads: &[DownloadReport]) {
        if downloads.is_empty() {
            return self.labeled("downloads", "none");
        }
        let states = [DownloadState::Running, DownloadState::Waiting, DownloadState::Paused, DownloadState::Queued];
        let of = |state: DownloadState| downloads.iter().filter(move |download| download.state == state);
        let words = states.iter().map(|state| (of(*state).count(), download_word(*state)));
        let words: Vec<String> = words.filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        self.labeled("downloads", &words.join(", "));
        let rows: Vec<&DownloadReport> = states[..3].iter().flat_map(|state| of(*state)).collect();
        self.rows(&rows, ROWS_MAX, 2, |lines, download| lines.download(download));
    }

    fn download(&mut self, download: &DownloadReport) {
        let DownloadReport { id, state, what, name, size, rate, retry_ms, error, sources, swarm, .. } = download;
        let done = done_words(download);
        let size = size.map_or("-".to_owned(), |size| Size(size).to_string());
        let rate = rate.map_or("-".to_owned(), |rate| format!("{}/s", Size(rate)));
        let (word, name) = (download_word(*state), cut_middle(&printable(name.as_ref().unwrap_or(what)), NAME));
        self.add(&format!("{id:>4}  {word:<7}  {done:>5}  {size:>10}  {rate:>12}  {name}"));
        if let Some(error) = error {
            let again = retry_ms.map(|ms| format!("asks again in {}: ", age(ms))).unwrap_or_default();
            self.reason(&format!("{again}{error}"));
        }
        if let Some(swarm) = swarm {
            self.reason(&swarm_words(swarm));
        }
        let mut sources: Vec<&SourceReport> = sources.iter().collect();
        // Sources with problems come first.
        sources.sort_by_key(|source| (!source.state.is_trouble() && source.bad == 0, source.source.to_string()));
        self.rows(&sources, SOURCES_MAX, 6, |lines, source| lines.source(source));
    }

    fn source(&mut self, report: &SourceReport) {
        let SourceReport { source, bytes, bad, rate, state, why, .. } = report;
        let sends = matches!(state, SourceState::Active | SourceState::Stalled);
        let rate = rate.filter(|_| sends).map(|rate| format!(", {}/s", Size(rate))).unwrap_or_default();
        let bad = if *bad > 0 { format!(", {}", count(u64::from(*bad), "wrong piece")) } else { String::new() };
        let why = why.as_ref().map(|why| why.strip_prefix("cannot be reached: ").unwrap_or(why));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        self.reason(&format!("{source} {}, {}{rate}{bad}{why}", source_words(report), Size(*bytes)));
    }

    fn uploads(&mut self, uploads: &[UploadReport]) {
        if uploads.is_empty() {
            return self.labeled("uploads", "none");
        }
        let rate: u64 = uploads.iter().map(|upload| upload.rate).sum();
        let peers = uploads.iter().map(|upload| upload.peers.len() as u64).sum();
        let (files, peers) = (count(uploads.len() as u64, "file"), count(peers, "peer"));
        self.labeled("uploads", &format!("{files} to {peers}, {}/s", Size(rate)));
        let mut uploads: Vec<&UploadReport> = uploads.iter().collect();
        uploads.sort_by_key(|upload| (std::cmp::Reverse(upload.rate), upload.root));
        self.rows(&uploads, ROWS_MAX, 2, |lines, upload| {
            let name = upload.path.as_deref().map_or_else(|| format!("{:.8}…", upload.root.to_string()), str::to_owned);
            let name = name.rsplit('/').next().unwrap_or(&name).to_owned();
            let mut peers: Vec<String> =
                upload.peers.iter().take(PEERS_MAX).map(|it| format!("{} {}", it.peer, Size(it.bytes))).collect();
            if upload.peers.len() > PEERS_MAX {
                peers.push(format!("{} more", upload.peers.len() - PEERS_MAX));
            }
            let rate = format!("{}/s", Size(upload.rate));
            lines.add(&format!("{rate:>14}  {name} to {}", peers.join(", ")));
        });
    }

    // ---- a super peer ---------------------------------------------------------------------------

    fn super_peer(&mut self, mode: Mode, addr: Option<&HostPort>, agent: Option<&str>, counts: &Counts) {
        let of = |name: &str| counts.get(name).copied().unwrap_or(0);
        let addr = addr.map(|addr| format!(" {addr}")).unwrap_or_default();
        let agent = agent.map(|agent| format!(", {agent}")).unwrap_or_default();
        self.add(&format!("super peer{addr}{agent}, up for {}", age(of("uptime_s") * 1000)));
        self.labeled("mode", mode.name());
        let (sharing, files) = (count(of("holders"), "peer"), count(of("records"), "file"));
        self.labeled("sessions", &format!("{}; {files} of {sharing}", of("sessions")));
        let tenths = of("queries_last_10s");
        let (complete, cut) = (of("queries_complete"), of("queries_cut"));
        let share = if complete + cut == 0 {
            String::new()
        } else {
            format!("; {} % of {} complete", percent(complete, complete + cut), count(complete + cut, "answer"))
        };
        let running = of("queries_running");
        self.labeled("queries", &format!("{}.{} a second, {running} running{share}", tenths / 10, tenths % 10));
        let budget = counts.get("memory_budget").map(|budget| format!(" of {}", Size(*budget))).unwrap_or_default();
        self.labeled("memory", &format!("{}{budget}", Size(of("memory_held"))));
        match of("links") {
            0 => self.labeled("neighbors", "none"),
            all => self.labeled("neighbors", &format!("{} of {all} up", of("links_up"))),
        }
    }

    /// Adds a row for each neighbor, and a reason below if the link is not up.
    fn links(&mut self, links: &[LinkRow]) {
        self.rows(links, ROWS_MAX, 2, |lines, link| {
            let known = link.at.first().filter(|at| **at != link.name).map(|at| format!(" ({})", printable(at)));
            lines.add(&format!("  {}{} {}", printable(&link.name), known.unwrap_or_default(), link_words(link)));
            link.why.iter().for_each(|why| lines.reason(why));
        });
    }
}

/// The words of a text in lines of at most this many columns. Only a word that is longer can exceed
/// the width.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= width => *line += &format!(" {word}"),
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

fn link_words(link: &LinkRow) -> String {
    let state = match link.state {
        LinkState::Up => "up",
        LinkState::Down => "down",
        LinkState::HalfOpen => "half open",
        LinkState::Itself => "ignored",
        LinkState::Twin => "same as another",
        LinkState::Unknown => "in an unknown state",
    };
    let trip = link.rtt.map(|us| format!(", round trip {}.{} ms", us / 1000, us / 100 % 10)).unwrap_or_default();
    format!("{state} for {}{}", age(link.since), if link.state == LinkState::Up { trip } else { String::new() })
}

/// The words about a super peer of a peer.
fn super_words(status: &SuperStatus) -> String {
    let SuperStatus { addr, state, since_ms, retry_ms, .. } = status;
    let since = since_ms.map(|ms| format!(" for {}", age(ms))).unwrap_or_default();
    match state {
        SuperState::Up => format!("{addr} up{since}"),
        SuperState::Spare => format!("{addr} spare, not used"),
        SuperState::Connecting | SuperState::Waiting => {
            let next = retry_ms.map(|ms| format!(", tried again in {}", age(ms))).unwrap_or(", being tried".into());
            format!("{addr} down{since}{next}")
        }
    }
}

/// The words for a counter `left_out_…`.
fn left_out_words(reason: &str) -> String {
    let known = match reason {
        "parts" => "parts of downloads",
        "ignored" => "by .spratignore",
        "symlinks" => "symbolic links",
        "special" => "FIFOs, sockets and devices",
        "too_large" => "larger than 1 TiB",
        "long_paths" => "with too long paths",
        "not_utf8" => "not UTF-8",
        "covered" => "covered by another share",
        other => return other.replace('_', " "),
    };
    known.to_owned()
}

/// A time for people, in at most two units.
fn age(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => Span(Duration::from_millis(ms)).to_string(),
        1..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event::UploadPeer;
    use crate::wire::Root;

    fn counts(all: &[(&str, u64)]) -> Counts {
        all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    }

    fn source(addr: &str, state: SourceState, why: Option<&str>) -> SourceReport {
        let (source, why) = (addr.parse().unwrap(), why.map(str::to_owned));
        let bad = u32::from(state == SourceState::Dropped);
        SourceReport { source, bytes: 1 << 20, pieces: 1, bad, rate: Some(5000), partial: false, state, why }
    }

    fn download(id: u64, state: DownloadState, sources: Vec<SourceReport>) -> DownloadReport {
        let error = (state == DownloadState::Waiting).then(|| "no peer has \"x\"".to_owned());
        DownloadReport {
            id,
            state,
            what: "what".into(),
            name: Some("blue train.flac".into()),
            root: None,
            path: None,
            size: Some(100 << 20),
            bytes: Some(45 << 20),
            rate: (state == DownloadState::Running).then_some(3 << 20),
            retry_ms: error.as_ref().map(|_| 12_000),
            error,
            exit: None,
            sources,
            swarm: None,
        }
    }

    fn busy() -> ClientEvent {
        let up: HostPort = "192.0.2.1:4777".parse().unwrap();
        let spare = "192.0.2.9:4777".parse().unwrap();
        let row = |addr: HostPort, state, why: Option<&str>| SuperStatus {
            addr,
            state,
            since_ms: Some(7_384_000),
            retry_ms: (state == SuperState::Waiting).then_some(3000),
            why: why.map(str::to_owned),
            unreached: (state == SuperState::Up).then(|| "192.0.2.7:4778: no answer".into()),
        };
        let peers = (1..=4).map(|n| UploadPeer { peer: format!("192.0.2.{n}:5").parse().unwrap(), bytes: 1, rate: 7 });
        let upload = UploadReport {
            root: Root([0xab; 32]),
            path: Some("jazz/my song.ogg".into()),
            size: Some(1),
            rate: 1 << 20,
            peers: peers.collect(),
        };
        let status = PeerStatus {
            name: "peer".into(),
            agent: "sprat/0.1.0".into(),
            uptime_ms: 270_000_000,
            addresses: vec!["192.0.2.7:4778".parse().unwrap()],
            limits: RateLimits { upload: 1 << 20, download: 0 },
            supers: vec![row(up.clone(), SuperState::Up, None), row(spare, SuperState::Waiting, Some("refused"))],
            downloads: vec![
                download(
                    12,
                    DownloadState::Running,
                    vec![
                        source("192.0.2.5:4778", SourceState::Active, None),
                        source("192.0.2.6:4778", SourceState::Stalled, Some("sends less than 16 KiB/s")),
                        source("192.0.2.8:4778", SourceState::Dropped, Some("sent wrong bytes")),
                    ],
                ),
                download(13, DownloadState::Waiting, Vec::new()),
                download(14, DownloadState::Queued, Vec::new()),
            ],
            uploads: vec![upload],
        };
        ClientEvent::Status {
            super_peer: Some(up),
            peer: counts(&[
                ("files", 1234),
                ("share_bytes", 5 << 30),
                ("files_waiting", 12),
                ("hashing_bytes", 1 << 30),
                ("hashing_bytes_total", 4 << 30),
                ("left_out_hidden", 3),
                ("left_out_symlinks", 1),
                ("left_out_special", 0),
            ]),
            super_counts: counts(&[("links", 3), ("links_up", 2)]),
            status: Some(Box::new(status)),
            super_agent: Some("sprat/0.1.0".into()),
            links: vec![LinkRow {
                name: "192.0.2.2:4777".into(),
                at: Vec::new(),
                node: None,
                state: LinkState::Down,
                since: 8000,
                rtt: None,
                key: None,
                why: Some("no answer".into()),
            }],
            mode: Mode::Open,
        }
    }

    #[test]
    fn a_busy_peer_fits_one_screen() {
        let right = "\
peer \"peer\", sprat/0.1.0, up for 3 d 3 h
mode         open
address      192.0.2.7:4778
super peer   192.0.2.1:4777 up for 2 h 3 min; 2 of its 3 neighbors up
      it cannot reach this peer at 192.0.2.7:4778: no answer
             192.0.2.9:4777 down for 2 h 3 min, tried again in 3 s
      refused
             its neighbor 192.0.2.2:4777 down for 8 s
share        1234 files, 5.0 GiB
             12 files not hashed yet: 25 % hashed, 1.0 GiB of 4.0 GiB
             not shared: 3 hidden, 1 symbolic links
limits       sends at most 1.0 MiB/s, receives without a limit
downloads    1 running, 1 waiting, 1 queued
  12  running   45 %   100.0 MiB     3.0 MiB/s  blue train.flac
      192.0.2.6:4778 stalled, 1.0 MiB, 4.8 KiB/s: sends less than 16 KiB/s
      192.0.2.8:4778 dropped, 1.0 MiB, 1 wrong piece: sent wrong bytes
      192.0.2.5:4778 active, 1.0 MiB, 4.8 KiB/s
  13  waiting   45 %   100.0 MiB             -  blue train.flac
      asks again in 12 s: no peer has \"x\"
uploads      1 file to 4 peers, 1.0 MiB/s
     1.0 MiB/s  my song.ogg to 192.0.2.1:5 1 B, 192.0.2.2:5 1 B, 2 more";
        let lines = screen(&busy());
        assert_eq!(lines.join("\n"), right);
        assert!(lines.len() <= 24 && lines.iter().all(|line| columns(line) <= COLUMNS));
    }

    #[test]
    fn every_reason_for_what_is_not_shared_is_shown() {
        let mut event = busy();
        let reasons = ["hidden", "parts", "ignored", "symlinks", "special", "unreadable", "too_large", "not_utf8"];
        if let ClientEvent::Status { peer, .. } = &mut event {
            peer.extend(reasons.map(|reason| (format!("left_out_{reason}"), 123_456)));
        }
        let lines = screen(&event);
        assert_eq!(lines.join("\n").matches("123456").count(), reasons.len(), "{lines:?}");
        assert!(lines.iter().all(|line| columns(line) <= COLUMNS));
    }

    #[test]
    fn a_download_without_known_progress_has_no_percentage() {
        let mut event = busy();
        if let ClientEvent::Status { status: Some(status), .. } = &mut event {
            status.downloads.iter_mut().for_each(|download| download.bytes = None);
        }
        let lines = screen(&event);
        assert!(lines.iter().any(|line| line.starts_with("  12  running    0 % ")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("  13  waiting      - ")), "{lines:?}");
    }

    #[test]
    fn names_of_strangers_neither_command_the_terminal_nor_widen_the_screen() {
        let mut event = busy();
        if let ClientEvent::Status { status: Some(status), .. } = &mut event {
            status.downloads[0].name = Some("\u{1b}[2J\n".repeat(50));
            status.uploads[0].path = Some("x\u{202e}".repeat(300));
        }
        for line in screen(&event) {
            assert!(columns(&line) <= COLUMNS && !line.contains(crate::wire::name::is_invisible), "{line:?}");
        }
    }

    #[test]
    fn a_super_peer_has_a_screen_of_its_own() {
        let event = ClientEvent::Status {
            super_peer: Some("192.0.2.1:4777".parse().unwrap()),
            peer: Counts::new(),
            super_counts: counts(&[
                ("uptime_s", 59),
                ("sessions", 12),
                ("holders", 1),
                ("records", 4567),
                ("queries_last_10s", 123),
                ("queries_complete", 99),
                ("queries_cut", 1),
                ("memory_held", 3 << 20),
                ("memory_budget", 1 << 30),
                ("links", 2),
                ("links_up", 1),
            ]),
            status: None,
            super_agent: Some("sprat/0.1.0".into()),
            links: vec![
                LinkRow {
                    name: "far.example:4777".into(),
                    at: vec!["192.0.2.9:4777".into()],
                    node: None,
                    state: LinkState::HalfOpen,
                    since: 8000,
                    rtt: None,
                    key: None,
                    why: Some(format!("{} and the end", "a firewall ".repeat(7))),
                },
                LinkRow {
                    name: "192.0.2.2:4777".into(),
                    at: vec!["192.0.2.2:4777".into()],
                    node: None,
                    state: LinkState::Up,
                    since: 90_000,
                    rtt: Some(412),
                    key: None,
                    why: None,
                },
            ],
            mode: Mode::Open,
        };
        let right = "\
super peer 192.0.2.1:4777, sprat/0.1.0, up for 59 s
mode         open
sessions     12; 4567 files of 1 peer
queries      12.3 a second, 0 running; 99 % of 100 answers complete
memory       3.0 MiB of 1.0 GiB
neighbors    1 of 2 up
  far.example:4777 (192.0.2.9:4777) half open for 8 s
      a firewall a firewall a firewall a firewall a firewall a firewall a
      firewall and the end
  192.0.2.2:4777 up for 1 min 30 s, round trip 0.4 ms";
        assert_eq!(screen(&event).join("\n"), right);
    }

    #[test]
    fn counters_have_their_units() {
        let event = ClientEvent::Status {
            super_peer: None,
            peer: counts(&[
                ("bytes_sent", 1),
                ("turn_us_p99", 2),
                ("uptime_s", 3),
                ("memory_index", 4),
                ("uploads", 5),
            ]),
            super_counts: Counts::new(),
            status: None,
            super_agent: None,
            links: Vec::new(),
            mode: Mode::Open,
        };
        let right = [
            "super peer  none",
            "peer.bytes_sent  1 bytes",
            "peer.memory_index  4 bytes",
            "peer.turn_us_p99  2 us",
            "peer.uploads  5",
            "peer.uptime_s  3 s",
        ];
        assert_eq!(counters(&event), right);
    }
}
