//! Fair shares between links and sessions, and the work of one turn.

use std::time::Duration;

use crate::config::{LINK_QUERIES_WAITING_MAX, ORDER_KEPT, SCAN_WORK_PER_STEP, WORK_PER_TURN};
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::testnet::{Net, addr_of, file, register, search};
use crate::proto::{Input, Output, Role};
use crate::wire::link::{LinkQuery, Packer};
use crate::wire::message::{Register, Update};
use crate::wire::{Cut, LinkMessage, Message, QueryId, QueryKind, Search};

/// A super peer with 4,000 files, and links to 1 and 2. Each query of these takes four steps.
fn busy_middle() -> (Net, crate::proto::ConnId) {
    let mut net = Net::new(3, &[(0, 1), (0, 2)]);
    let conn = net.login(0);
    for page in 0..4 {
        let files = (0..1000).map(|n| file(&format!("{page} of {n}"))).collect();
        let register =
            Register { seq: page + 1, port: 4778, host: None, more_addr: None, http: false, files, more: page < 3 };
        net.say(0, conn, Message::Register(register));
    }
    net.run_for(Duration::from_secs(2));
    net.forget_traffic();
    (net, conn)
}

/// Sends this many queries of one neighbor, in one datagram each. It does not wait for answers.
fn pour(net: &mut Net, from: usize, queries: u64) {
    let boot = net.machine(0).neighbors.links.boot();
    for n in 0..queries {
        let mut id = [from as u8; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let query = LinkQuery {
            id: QueryId(id),
            ttl: 0,
            hops: 1,
            budget: 60_000,
            find: search("*nowhere*"),
            have: None,
            flood: true,
            tree: None,
            again: false,
        };
        let mut packer = Packer::new(boot);
        assert!(packer.push(&LinkMessage::Query(query)).is_none());
        let bytes = packer.finish().unwrap();
        let now = net.now();
        net.machine_mut(0)
            .handle_input(now, Input::Datagram { from: addr_of(from), to: None, key: None, bytes: &bytes });
    }
}

#[test]
fn a_link_that_floods_takes_nothing_from_sessions_and_other_links() {
    let (mut net, conn) = busy_middle();
    pour(&mut net, 1, 1000);
    pour(&mut net, 2, 100);
    let req = net.query(0, conn, search("*nowhere*"), 0, 2000);
    let (mut turns, mut done_at, mut order) = (0, None, Vec::new());
    while net.machine(0).counts()["queries_running"] > 0 && turns < 100_000 && order.len() < 1100 {
        let now = net.now();
        net.machine_mut(0).handle_timeout(now);
        turns += 1;
        while let Some(output) = net.machine_mut(0).poll_output() {
            if let Output::Send { message: Message::Done(done), .. } = output {
                assert_eq!((done.req, done.reached), (req, 1));
                done_at = Some(turns);
            } else if let Output::SendTo { to, message, .. } = output
                && let LinkMessage::Done(done) = *message
            {
                assert_eq!(done.cut, Cut { ttl: 1, ..Cut::NONE }, "the machine keeps up, so nothing is shed");
                order.push(usize::from(to == addr_of(2)));
            }
        }
    }
    // Comparing a name counts as 12, and half of each turn belongs to the session.
    let alone = (4000 * 12_usize).div_ceil(WORK_PER_TURN / 2);
    assert!(done_at.is_some_and(|turn| turn <= alone + 1), "{done_at:?} of {turns} turns");
    assert_eq!(order.len(), 1100, "every query is answered");
    let last = order.iter().rposition(|whose| *whose == 1).unwrap();
    // The queries of a link take turns with their steps. So the 100 queries of the other link end
    // long before the flood.
    assert!(last <= 110, "the other link has its half: its 100 are through with {last}");
    assert_eq!(net.count(0, Count::FloodShed), 0);
}

#[test]
fn queries_beyond_a_full_queue_are_refused_and_reported() {
    let (mut net, _) = busy_middle();
    pour(&mut net, 1, LINK_QUERIES_WAITING_MAX as u64 + 100);
    pour(&mut net, 2, 1);
    let mut shed = 0_u64;
    while let Some(output) = net.machine_mut(0).poll_output() {
        if let Output::SendTo { to, message, .. } = output
            && let LinkMessage::Done(done) = *message
        {
            assert_eq!((to, done.cut), (addr_of(1), Cut { shed: 1, ..Cut::NONE }));
            shed += 1;
        }
    }
    assert_eq!((shed, net.count(0, Count::FloodShed)), (100, 100), "every refusal is reported");
}

/// Many searches at once, of every kind that looks at many entries. Each of them takes several
/// turns.
#[test]
fn no_turn_does_more_work_than_its_budget_and_a_step() {
    for links in [0, 1] {
        let mut net = Net::line(1 + links);
        let conn = net.login(0);
        let files = |from: u32| (from..from + 400).map(|n| file(&format!("a b{} c{n}", n % 2))).collect();
        net.say(0, conn, register(1, files(0)));
        for (seq, from) in (2..).zip((400..6000).step_by(400)) {
            let add = files(from);
            net.say(0, conn, Message::Update(Update { seq, add, del: Vec::new() }));
        }
        let hostile = format!("*{}!", "*[!A-Z]".repeat(20));
        let searches = [
            (QueryKind::Range, "-8"),
            (QueryKind::Range, "7-7001"),
            (QueryKind::Glob, "*nothing*"),
            (QueryKind::Glob, &hostile),
            (QueryKind::Words, "a b1"),
            (QueryKind::Words, "b0 b1"),
        ];
        let asked = searches.map(|(kind, pattern)| {
            let find = Search { pattern: pattern.to_owned(), kind, ..search("") };
            net.query(0, conn, find, 7, 5000)
        });
        let pages = asked.map(|req| net.finish(0, req));
        let capped = pages.map(|done| done.cut.cap > 0);
        assert_eq!(capped, [true, false, false, false, true, false], "the limit of hits alone cuts");
        let most = net.machine(0).counts()["turn_work_max"];
        let bound = WORK_PER_TURN + SCAN_WORK_PER_STEP + WORK_PER_TURN / 8;
        assert!((WORK_PER_TURN as u64..bound as u64).contains(&most), "{most} of {WORK_PER_TURN} with {links} links");
        assert!(net.machine(0).index().has_order());
        net.run_for(ORDER_KEPT);
        assert!(!net.machine(0).index().has_order(), "no client lists any more");
    }
}
