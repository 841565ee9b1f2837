//! Writes the events of a daemon as lines of its log, with fields for `--log-format json`. It
//! formats the lines and decides their level. It keeps nothing.

use super::format::{self, count, cut_words};
use super::logging;
use super::units::{Size, Span};
use crate::proto::Event;
use crate::proto::event::{DownloadReport, DownloadState, PeerReport, SourceReport, SourceState};
use crate::wire::Search;
use std::time::Duration;

/// Logs an event, for both daemons.
pub(crate) fn event(event: &Event) {
    match event {
        // A prompt itself shows the downloads, and the files that they add to the share.
        Event::Share { .. } | Event::Download(_) | Event::Source { .. } if logging::is_diverted() => {}
        // Clients get the first kind, and the state stores the number of peers. A fatal failure
        // ends the process, and is reported at its end.
        Event::Client { .. } | Event::Sharing { .. } | Event::Fatal(_) => {}
        Event::Welcomed { super_peer, .. } => {
            log::info!(super_peer:% = super_peer; "welcomed by super peer {super_peer}");
        }
        Event::Lingers(true) => log::debug!("others still fetch what was downloaded"),
        Event::Lingers(false) => log::debug!("no peer needs what was downloaded"),
        Event::Enrolled { super_peer, credential } => {
            let (user, at) = (&credential.name, &super_peer.at);
            log::info!(super_peer:% = at, user; "this node has joined the super peer {at} as {user}");
        }
        Event::SuperKey { super_peer, before: None } => {
            log::warn!(super_peer:%; "the key of this super peer is remembered from now on: {super_peer}");
        }
        Event::SuperKey { super_peer, before: Some(before) } => {
            log::warn!(super_peer:%, before:%; "the super peer has changed its key, and signed it: {super_peer}");
        }
        Event::SessionLost { super_peer, why } => {
            log::warn!(super_peer:%, why:%; "lost super peer {super_peer}: {why}");
        }
        Event::Link { neighbor, at, up } => {
            // If the neighbor is a host name, the address in use is shown too.
            let at = at.filter(|at| neighbor.literal() != Some(*at)).map(|at| format!(" ({at})")).unwrap_or_default();
            if *up {
                log::info!(neighbor:%; "link to {neighbor}{at} is up");
            } else {
                log::warn!(neighbor:%; "link to {neighbor}{at} is down");
            }
        }
        Event::Peer(report) => peer(report),
        Event::MorePeers { came, left } => more_peers(*came, *left),
        Event::Asked { session, req, search } => {
            let Search { pattern, kind, .. } = search;
            let session = session.index;
            log::debug!(session, req, pattern:%; "session {session} asks, query {req}: {kind:?} {pattern:?}");
        }
        Event::Answered { session, req, hits, reached, cut, ms } => {
            let (session, complete) = (session.index, cut.is_none());
            let cut = if complete { "complete".to_owned() } else { format!("cut: {}", cut_words(cut)) };
            log::debug!(
                session, req, hits, reached, complete, ms;
                "session {session} has its answer, query {req}: {hits} hits, {reached} searched, {cut}, {ms} ms"
            );
        }
        Event::Share { files, bytes, added, removed } => {
            let (all, size) = (count(*files, "file"), Size(*bytes));
            log::info!(
                files, bytes, added, removed;
                "the share has {all}, {size}: {added} added or changed, {removed} removed"
            );
        }
        Event::Download(report) => download(report),
        Event::Source { download, report } => source(*download, report),
        Event::Log { level, text } => log::log!(*level, "{text}"),
    }
}

fn peer(PeerReport { addr, node, files, left }: &PeerReport) {
    let having = files.map(|files| format!(" with {}", count(files, "file"))).unwrap_or_default();
    match left {
        None => log::info!(peer:% = addr, node:%, files; "peer {addr} came{having}"),
        Some(why) => log::info!(peer:% = addr, node:%, files, why:%; "peer {addr} left{having}: {why}"),
    }
}

fn more_peers(came: u64, left: u64) {
    let words = [(came, "came"), (left, "left")];
    let words: Vec<_> = words.into_iter().filter(|(n, _)| *n > 0).collect();
    let words: Vec<_> = words.into_iter().map(|(n, did)| format!("{} {did}", count(n, "more peer"))).collect();
    log::info!(came, left; "{} in the last second", words.join(" and "));
}

fn download(report: &DownloadReport) {
    let DownloadReport { id, state, what, name, path, size, bytes, retry_ms, error, .. } = report;
    let shown = name.as_ref().unwrap_or(what);
    let why = error.as_deref().unwrap_or("failed");
    let bytes = bytes.unwrap_or(0);
    match state {
        DownloadState::Running => {
            let of = size.map(|size| format!(", {}", Size(size))).unwrap_or_default();
            log::info!(download = id, name:% = shown, size, bytes; "download {id} begins: {shown}{of}");
        }
        DownloadState::Done => {
            let path = path.as_ref().unwrap_or(shown);
            log::info!(download = id, name:% = shown, path:%, size; "download {id} is done: {path}");
        }
        DownloadState::Waiting => {
            let wait = Span(Duration::from_secs(retry_ms.unwrap_or(0).div_ceil(1000)));
            log::warn!(
                download = id, name:% = shown, bytes, retry_ms, why:%;
                "download {id} waits: {shown}: {why}; it asks again in {wait}"
            );
        }
        DownloadState::Failed => {
            log::warn!(download = id, name:% = shown, bytes, why:%; "download {id} has failed: {shown}: {why}");
        }
        DownloadState::Queued | DownloadState::Paused | DownloadState::Canceled => {}
    }
}

/// Logs a source that was lost or dropped, or has stalled. The level is low: a slow or lost source
/// is usual, and if a source has sent wrong bytes, the download logs a warning.
fn source(download: u64, SourceReport { source, bytes, pieces, bad, state, why, .. }: &SourceReport) {
    let level = match state {
        SourceState::Lost => log::Level::Debug,
        SourceState::Dropped if *bad > 0 => log::Level::Debug,
        SourceState::Dropped | SourceState::Stalled => log::Level::Info,
        SourceState::Idle | SourceState::Connecting | SourceState::Active => return,
    };
    let (word, why) = (format::state_word(*state), why.as_deref().unwrap_or("no reason is known"));
    log::log!(
        level, download, source:%, bytes, pieces, bad, state = word, why:%;
        "download {download}: source {source} {word}: {why}"
    );
}
