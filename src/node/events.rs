//! The numbered events of the machine, for the viewers of the page and the clients of the control
//! socket. Each event gets one number for all of them. The oldest events are dropped. A client that
//! comes back later gets the numbers of the dropped events that it has not seen.

use std::collections::{BTreeSet, VecDeque};
use std::time::SystemTime;

use crate::config::{CONTROL_FOLLOWERS_MAX, EVENTS_KEPT};
use crate::proto::{ClientId, Event, Happening};

/// The latest events.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The number of the last event. The first event has the number 1.
    pub(super) last: u64,
    kept: VecDeque<Numbered>,
    /// Commands of the control socket that get each new event.
    followers: BTreeSet<ClientId>,
}

/// An event with its number and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) seq: u64,
    pub(super) time: SystemTime,
    pub(super) what: Happening,
}

/// The events for a client that has seen all events up to a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Since {
    /// The first and the last number of the events that were dropped.
    pub(super) gap: Option<(u64, u64)>,
    /// The events that are still kept.
    pub(super) events: Vec<Numbered>,
}

impl Events {
    /// Numbers and keeps an event. Returns `false` if viewers and clients do not get this event.
    pub(super) fn note(&mut self, event: &Event) -> bool {
        let Some(what) = Happening::of(event) else { return false };
        self.last += 1;
        if self.kept.len() == EVENTS_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Numbered { seq: self.last, time: SystemTime::now(), what });
        true
    }

    /// All events with a higher number than this. A number above the last one is from before a
    /// restart of the node; then all events are returned.
    pub(super) fn since(&self, seen: u64) -> Since {
        let restarted = seen > self.last;
        let seen = if restarted { 0 } else { seen };
        let first = self.kept.front().map_or(self.last + 1, |first| first.seq);
        let gap = (seen + 1 < first && (seen > 0 || restarted)).then_some((seen + 1, first - 1));
        Since { gap, events: self.kept.iter().filter(|event| event.seq > seen).cloned().collect() }
    }

    /// The last event.
    pub(super) fn latest(&self) -> Option<&Numbered> {
        self.kept.back()
    }

    // ---- followers ------------------------------------------------------------------------------

    /// Whether one more command may follow the events.
    pub(super) fn has_room(&self) -> bool {
        self.followers.len() < CONTROL_FOLLOWERS_MAX
    }

    /// From now on this command gets each new event.
    pub(super) fn follow(&mut self, client: ClientId) {
        self.followers.insert(client);
    }

    /// This command gets no more events. Returns `false` if it did not get them before.
    pub(super) fn unfollow(&mut self, client: ClientId) -> bool {
        self.followers.remove(&client)
    }

    pub(super) fn followers(&self) -> impl Iterator<Item = ClientId> + '_ {
        self.followers.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(count: usize) -> Events {
        let mut events = Events::default();
        for _ in 0..count {
            assert!(events.note(&Event::MorePeers { came: 1, left: 0 }));
        }
        events
    }

    #[test]
    fn one_gets_what_it_has_not_seen() {
        let events = noted(3);
        let Since { gap, events: rest } = events.since(1);
        assert_eq!((gap, rest.iter().map(|event| event.seq).collect::<Vec<_>>()), (None, vec![2, 3]));
        assert_eq!(rest[0].what, Happening::MorePeers { came: 1, left: 0 });
        assert_eq!(events.since(3), Since { gap: None, events: Vec::new() });
    }

    #[test]
    fn what_is_forgotten_is_named() {
        let events = noted(EVENTS_KEPT + 5);
        let last = EVENTS_KEPT as u64 + 5;
        assert_eq!(events.since(2).gap, Some((3, 5)));
        assert_eq!(events.since(5).gap, None);
        assert_eq!(events.since(0).gap, None, "a new one has missed nothing");
        assert_eq!(events.since(last + 7).gap, Some((1, 5)), "the node was restarted");
        assert_eq!(events.since(last + 7).events.len(), EVENTS_KEPT);
    }

    #[test]
    fn what_is_for_others_has_no_number() {
        let mut events = Events::default();
        assert!(!events.note(&Event::Sharing { peers: 1 }));
        assert!(!events.note(&Event::Log { level: log::Level::Debug, text: "x".into() }));
        assert_eq!(events.last, 0);
    }
}
