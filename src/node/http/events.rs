//! The events of the machine, numbered once, for the viewers of the page. The oldest are forgotten;
//! a viewer that comes back later gets the numbers of those that it has missed.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::config::HTTP_EVENTS_KEPT;
use crate::control::{self, rfc3339};
use crate::proto::Event;
use crate::proto::event::PeerReport;

/// The latest events.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The number of the last one; the first is 1.
    pub(super) last: u64,
    kept: VecDeque<(u64, String)>,
}

/// What a viewer that has seen events up to a number gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Since {
    /// The first and the last number of those that are forgotten.
    pub(super) gap: Option<(u64, u64)>,
    /// The others, each with its number.
    pub(super) events: Vec<(u64, String)>,
}

impl Events {
    /// Numbers and keeps an event, if it is one for viewers.
    pub(super) fn note(&mut self, event: &Event) {
        let Some(value) = shown(event) else { return };
        self.last += 1;
        let time = rfc3339(SystemTime::now());
        let line = control::json(&json!({ "seq": self.last, "time": time, "event": value })).unwrap_or_default();
        if self.kept.len() == HTTP_EVENTS_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((self.last, line));
    }

    /// All after this number. A number that is not known yet, from before a restart, means all.
    pub(super) fn since(&self, seen: u64) -> Since {
        let restarted = seen > self.last;
        let seen = if restarted { 0 } else { seen };
        let first = self.kept.front().map_or(self.last + 1, |(first, _)| *first);
        let gap = (seen + 1 < first && (seen > 0 || restarted)).then_some((seen + 1, first - 1));
        Since { gap, events: self.kept.iter().filter(|(number, _)| *number > seen).cloned().collect() }
    }
}

/// An event as viewers see it; none if it is not for them.
fn shown(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Welcomed { super_peer } => json!({ "kind": "welcomed", "super": super_peer }),
        Event::SessionLost { super_peer, why } => json!({ "kind": "session_lost", "super": super_peer, "why": why }),
        Event::Link { neighbor, at, up } => json!({ "kind": "link", "neighbor": neighbor, "at": at, "up": up }),
        Event::Peer(PeerReport { addr, node, files, left }) => {
            json!({ "kind": "peer", "peer": addr, "node": node, "files": files, "left": left })
        }
        Event::MorePeers { came, left } => json!({ "kind": "more_peers", "came": came, "left": left }),
        Event::Share { files, bytes, added, removed } => {
            json!({ "kind": "share", "files": files, "bytes": bytes, "added": added, "removed": removed })
        }
        Event::Download(report) => json!({
            "kind": "download", "id": report.id, "state": report.state, "name": report.name, "what": report.what,
            "size": report.size, "bytes": report.bytes, "error": report.error,
        }),
        Event::Source { download, report } => json!({
            "kind": "source", "download": download, "source": report.source, "state": report.state, "bad": report.bad,
            "why": report.why,
        }),
        Event::Log { level, text } if *level <= log::Level::Info => {
            json!({ "kind": "log", "level": level.as_str().to_ascii_lowercase(), "text": text })
        }
        Event::Client { .. }
        | Event::Enrolled { .. }
        | Event::SuperKey { .. }
        | Event::Sharing { .. }
        | Event::Asked { .. }
        | Event::Answered { .. }
        | Event::Fatal(_)
        | Event::Lingers(_)
        | Event::Log { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(count: usize) -> Events {
        let mut events = Events::default();
        for _ in 0..count {
            events.note(&Event::MorePeers { came: 1, left: 0 });
        }
        events
    }

    #[test]
    fn a_viewer_gets_what_it_has_not_seen() {
        let events = noted(3);
        let Since { gap, events: rest } = events.since(1);
        assert_eq!((gap, rest.iter().map(|(number, _)| *number).collect::<Vec<_>>()), (None, vec![2, 3]));
        assert!(rest[0].1.contains(r#""seq":2"#) && rest[0].1.contains(r#""kind":"more_peers""#));
        assert_eq!(events.since(3), Since { gap: None, events: Vec::new() });
    }

    #[test]
    fn what_is_forgotten_is_named() {
        let events = noted(HTTP_EVENTS_KEPT + 5);
        let last = HTTP_EVENTS_KEPT as u64 + 5;
        assert_eq!(events.since(2).gap, Some((3, 5)));
        assert_eq!(events.since(5).gap, None);
        assert_eq!(events.since(0).gap, None, "a new viewer has missed nothing");
        assert_eq!(events.since(last + 7).gap, Some((1, 5)), "the node was restarted");
        assert_eq!(events.since(last + 7).events.len(), HTTP_EVENTS_KEPT);
    }

    #[test]
    fn what_is_for_others_has_no_number() {
        let mut events = Events::default();
        events.note(&Event::Sharing { peers: 1 });
        events.note(&Event::Log { level: log::Level::Debug, text: "x".into() });
        assert_eq!(events.last, 0);
    }
}
