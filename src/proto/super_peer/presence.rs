//! Which peers that serve files came and left, for the log. In each second some of them are
//! reported one by one, up to a bound, and then the number of the others.
//!
//! It keeps only counts. A deadline is needed only while some peers are not reported.

use std::time::Duration;

use crate::config::PEERS_REPORTED_PER_SECOND;
use crate::proto::Event;
use crate::time::Time;

/// The time over which reports are bounded.
const SECOND: Duration = Duration::from_secs(1);

/// What was reported in the present second.
#[derive(Debug, Default)]
pub(super) struct Presence {
    since: Time,
    /// Peers that were reported one by one.
    reported: usize,
    /// Peers that came and are not reported yet.
    more_came: u64,
    more_left: u64,
}

impl Presence {
    /// Whether some are not reported yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.more_came + self.more_left > 0
    }

    /// A peer came or left.
    ///
    /// # Errors If it may not be reported by itself: the time at which [`Presence::rest`] is due.
    pub(super) fn note(&mut self, came: bool, now: Time) -> Result<(), Time> {
        if now.since(self.since) >= SECOND && !self.is_waiting() {
            (self.since, self.reported) = (now, 0);
        }
        if self.reported < PEERS_REPORTED_PER_SECOND {
            self.reported += 1;
            return Ok(());
        }
        *(if came { &mut self.more_came } else { &mut self.more_left }) += 1;
        Err(self.since + SECOND)
    }

    /// The second is over: returns the report of how many more there were.
    pub(super) fn rest(&mut self, now: Time) -> Event {
        let Presence { more_came: came, more_left: left, .. } = *self;
        *self = Presence { since: now, ..Presence::default() };
        Event::MorePeers { came, left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Input;
    use crate::proto::event::PeerReport;
    use crate::proto::super_peer::testnet::Net;
    use crate::wire::Message;
    use crate::wire::message::Bye;

    fn reports(net: &mut Net) -> Vec<Event> {
        let events = std::mem::take(&mut net.nodes[0].events);
        events.into_iter().filter(|event| matches!(event, Event::Peer(_) | Event::MorePeers { .. })).collect()
    }

    #[test]
    fn a_peer_that_comes_and_leaves_is_reported_with_its_files_and_the_reason() {
        let mut net = Net::cold(1, &[]);
        let conn = net.peer(0, &["a song", "a hymn"]);
        let [Event::Peer(PeerReport { addr, files: Some(2), left: None, .. })] = &reports(&mut net)[..] else {
            panic!("it came")
        };
        let addr = addr.clone();
        net.say(0, conn, Message::Bye(Bye { why: "x".repeat(1000) }));
        let [Event::Peer(PeerReport { addr: same, files: Some(2), left: Some(why), .. })] = &reports(&mut net)[..]
        else {
            panic!("it left")
        };
        assert_eq!(*same, addr);
        assert!(why.starts_with("it said goodbye: xx") && why.len() < 200, "{why}");
    }

    #[test]
    fn a_session_that_only_asks_is_not_reported() {
        let mut net = Net::cold(1, &[]);
        let conn = net.login(0);
        net.close(0, conn);
        assert_eq!(reports(&mut net), []);
    }

    #[test]
    fn a_crowd_is_reported_in_one_line_a_second() {
        let mut net = Net::cold(1, &[]);
        let crowd: Vec<_> = (0..PEERS_REPORTED_PER_SECOND + 7).map(|n| net.peer(0, &[&format!("song {n}")])).collect();
        assert_eq!(reports(&mut net).len(), PEERS_REPORTED_PER_SECOND);
        for conn in crowd.iter().take(3) {
            net.close(0, *conn);
        }
        net.run_for(SECOND);
        assert_eq!(reports(&mut net), [Event::MorePeers { came: 7, left: 3 }]);
        net.close(0, crowd[4]);
        assert_eq!(reports(&mut net).len(), 1, "the next second has its own");
        net.run_for(2 * SECOND);
        net.input(0, Input::Shutdown);
        net.run_for(2 * SECOND);
        assert_eq!(reports(&mut net), [], "a super peer that ends reports no one");
    }
}
