//! The time after a restart in which the peers come back (PROTOCOL.md "Starting"). The index lacks
//! some of their files until as many sessions have registered files as before the restart. So no
//! answer is complete until then.
//!
//! It owns the number of sessions that share, which the state of the node keeps. It never decides
//! what a query finds.

use super::context::{Context, Reason};
use crate::config::{SHARING_REPORT_EVERY, STARTING_MAX};
use crate::proto::Event;

/// How many sessions share, before the restart and now.
#[derive(Debug)]
pub(super) struct Starting {
    /// How many shared when the super peer last ran.
    expected: usize,
    /// The number in the last report.
    reported: usize,
    /// Whether no turn has begun yet.
    new: bool,
    /// Whether a deadline for a report is set.
    waiting: bool,
    /// Whether the super peer ends. The sessions that close then do not change the number.
    stopped: bool,
}

impl Starting {
    pub(super) fn new(expected: usize) -> Starting {
        Starting { expected, reported: expected, new: true, waiting: false, stopped: false }
    }

    /// Whether a deadline is set.
    pub(super) fn is_waiting(&self, cx: &Context) -> bool {
        self.waiting || cx.starting
    }

    /// Must be called at the start of each turn. The first call begins the wait.
    #[inline(always)]
    pub(super) fn begin_turn(&mut self, cx: &mut Context) {
        if std::mem::take(&mut self.new) && self.expected > 0 {
            cx.starting = true;
            cx.timers.set(Reason::Starting, cx.now + STARTING_MAX);
        }
    }

    /// Must be called after each input: the number of sessions that share may have changed.
    pub(super) fn look(&mut self, cx: &mut Context) {
        if cx.starting && cx.sharing >= self.expected {
            self.end(cx);
        }
        // If the super peer ends while it starts, the next run must find the earlier number.
        if !cx.starting && !self.waiting && !self.stopped && cx.sharing != self.reported {
            self.waiting = true;
            cx.timers.set(Reason::Sharing, cx.now + SHARING_REPORT_EVERY);
        }
    }

    /// The wait is over. Some peers may be missing.
    pub(super) fn end(&self, cx: &mut Context) {
        cx.starting = false;
        cx.timers.stop(Reason::Starting);
    }

    /// Reports the number of sessions that share, so that the state can keep it.
    pub(super) fn on_report_due(&mut self, cx: &mut Context) {
        self.waiting = false;
        if cx.sharing != self.reported {
            self.reported = cx.sharing;
            cx.report(Event::Sharing { peers: cx.sharing });
        }
    }

    /// The super peer ends.
    pub(super) fn stop(&mut self, cx: &mut Context) {
        self.end(cx);
        (self.waiting, self.stopped) = (false, true);
        cx.timers.stop(Reason::Sharing);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::super_peer::testnet::{Net, file, register};
    use crate::proto::{ConnId, Input};
    use crate::wire::link::LinkHello;
    use crate::wire::message::Register;
    use crate::wire::{Cut, LinkMessage, Message, Policy};

    const STARTING: Cut = Cut { starting: 1, ..Cut::NONE };

    /// A line of super peers. The last one was restarted and had two peers before.
    fn restarted(n: usize) -> Net {
        let edges: Vec<_> = (1..n).map(|node| (node - 1, node)).collect();
        let mut net = match n {
            1 => Net::cold_with(1, &edges, |_, config| config.expected = 2),
            2 => Net::cold_with(2, &edges, |node, config| config.expected = 2 * node),
            _ => unreachable!("no test needs more"),
        };
        net.run_for(Duration::from_millis(100));
        net
    }

    fn cut(net: &mut Net, node: usize) -> Cut {
        let (_, done) = net.ask(node, "song", 2);
        assert_eq!(done.complete, done.cut.is_none());
        done.cut
    }

    /// The numbers that the node reported for its state.
    fn reported(net: &Net, node: usize) -> Vec<usize> {
        let events = net.nodes[node].events.iter();
        events.filter_map(|event| if let Event::Sharing { peers } = event { Some(*peers) } else { None }).collect()
    }

    #[test]
    fn an_answer_is_complete_again_once_as_many_peers_share_as_before() {
        for n in [1, 2] {
            let mut net = restarted(n);
            assert_eq!(cut(&mut net, 0), STARTING);
            net.peer(n - 1, &["a song"]);
            assert_eq!(cut(&mut net, 0), STARTING, "one of two is back");
            net.peer(n - 1, &["another song"]);
            assert_eq!(cut(&mut net, 0), Cut::NONE);
        }
    }

    #[test]
    fn peers_that_do_not_come_back_are_awaited_for_a_bounded_time() {
        let mut net = restarted(2);
        net.run_for(STARTING_MAX - Duration::from_secs(1));
        assert_eq!(cut(&mut net, 0), STARTING);
        net.run_for(Duration::from_secs(1));
        assert_eq!(cut(&mut net, 0), Cut::NONE);
    }

    #[test]
    fn a_session_without_files_is_not_a_peer_that_is_back() {
        let mut net = restarted(1);
        net.login(0);
        net.peer(0, &[]);
        let conn = net.login(0);
        let Message::Register(page) = register(1, vec![file("a song")]) else { unreachable!() };
        net.say(0, conn, Message::Register(Register { more: true, ..page }));
        net.peer(0, &["another song"]);
        assert_eq!(cut(&mut net, 0), STARTING, "the list of one peer is not complete yet");
        net.say(0, conn, register(2, vec![file("more songs")]));
        assert_eq!(cut(&mut net, 0), Cut::NONE);
    }

    #[test]
    fn a_neighbor_uses_no_digest_of_a_super_peer_that_starts() {
        let mut net = restarted(2);
        net.policy = Policy::Digest;
        net.run_for(Duration::from_secs(8));
        let leases =
            |net: &Net| net.sent(|message| matches!(message, LinkMessage::Hello(LinkHello { de: Some(_), .. })));
        net.forget_traffic();
        net.run_for(Duration::from_secs(8));
        let only_of_the_other = leases(&net);
        assert_eq!(cut(&mut net, 0), STARTING, "the neighbor is asked");
        net.peer(1, &["a hymn"]);
        net.peer(1, &["another hymn"]);
        net.forget_traffic();
        net.run_for(Duration::from_secs(8));
        assert!(leases(&net) > only_of_the_other);
        let (_, done) = net.ask(0, "song", 2);
        assert_eq!((done.complete, done.reached, done.pruned), (true, 2, 0), "the last hop is the next one");
        let (_, done) = net.ask(0, "song", 1);
        assert_eq!((done.complete, done.reached, done.pruned), (true, 1, 1));
    }

    #[test]
    fn the_number_is_reported_some_time_after_it_changed_and_never_while_starting() {
        let mut net = restarted(1);
        let first = net.peer(0, &["a song"]);
        net.run_for(SHARING_REPORT_EVERY);
        assert!(reported(&net, 0).is_empty(), "a restart now has to wait for two peers again");
        net.run_for(STARTING_MAX + SHARING_REPORT_EVERY);
        assert_eq!(reported(&net, 0), [1]);
        net.peer(0, &["another song"]);
        net.close(0, first);
        net.run_for(SHARING_REPORT_EVERY);
        assert_eq!(reported(&net, 0), [1], "it is the same number");
        let peers: Vec<ConnId> = (0..3).map(|n| net.peer(0, &[&format!("song {n}")])).collect();
        net.run_for(SHARING_REPORT_EVERY);
        assert_eq!(reported(&net, 0), [1, 4]);
        net.input(0, Input::Shutdown);
        peers.into_iter().for_each(|conn| net.close(0, conn));
        net.run_for(SHARING_REPORT_EVERY);
        assert_eq!(reported(&net, 0), [1, 4], "the peers are there for the next run");
    }
}
