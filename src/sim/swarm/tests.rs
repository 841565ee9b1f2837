use super::*;
use crate::config::PIECE_BYTES;

fn plan(peers: usize, pieces: u32) -> Plan {
    let (up, latency) = (12_500_000, (Duration::from_micros(100), Duration::from_micros(600)));
    let (arrive, leave) = (Duration::ZERO, Leave::Never);
    Plan { seed: 1, peers, pieces, up, down: up, seed_up: up, zones: 1, cross: None, arrive, leave, latency }
}

fn run(plan: Plan) -> Figures {
    Swarm::new(plan).run(Duration::from_secs(3600), |_| {})
}

#[test]
fn one_peer_fetches_a_file_at_the_rate_of_its_line() {
    let figures = run(plan(1, 16));
    assert!(figures.is_right(), "{figures:?}");
    let over = figures.over_bound(1.0).unwrap();
    assert!((1.0..1.2).contains(&over), "{over} of the bound");
    assert_eq!((figures.seed_egress, figures.duplicates), (1.0, 0.0));
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let plan = Plan { leave: Leave::Half(25), ..plan(8, 8) };
    let figures = run(plan.clone());
    assert_eq!(run(plan.clone()), figures);
    assert_ne!(run(Plan { seed: 2, ..plan }).finished, figures.finished);
}

#[test]
fn every_peer_gets_the_file() {
    for (peers, pieces) in [(5, 1), (7, 2), (12, 9)] {
        let figures = run(plan(peers, pieces));
        assert!(figures.is_right() && figures.finished.len() == peers, "{figures:?}");
        assert!(figures.over_bound(0.0).unwrap() > 0.9, "{figures:?}");
    }
}

#[test]
fn peers_that_come_and_go_do_not_stop_the_others() {
    let later = Plan { arrive: Duration::from_millis(300), leave: Leave::Done, ..plan(6, 8) };
    let halves = Plan { leave: Leave::Half(50), ..plan(12, 8) };
    for plan in [later, halves] {
        let peers = plan.peers;
        let figures = run(plan);
        assert!(figures.is_right(), "{figures:?}");
        assert_eq!(figures.finished.len() + figures.left, peers);
    }
}

#[test]
fn a_zone_receives_over_its_line() {
    let plan = Plan { zones: 2, cross: Some(PIECE_BYTES), ..plan(4, 8) };
    let bound = plan.bound();
    let figures = run(plan);
    assert_eq!(bound, Duration::from_secs(8));
    assert!(figures.is_right() && figures.cross_zone >= 1.0, "{figures:?}");
}

#[test]
fn a_piece_comes_into_a_zone_about_once() {
    let figures = run(Plan { zones: 2, ..plan(16, 64) });
    assert!(figures.is_right() && (1.0..2.0).contains(&figures.cross_zone), "{figures:?}");
}

#[test]
fn a_seed_that_leaves_after_one_copy_stops_nobody() {
    let figures = run(Plan { leave: Leave::Seed, ..plan(8, 16) });
    assert!(figures.is_right() && figures.finished.len() == 8, "{figures:?}");
}

#[test]
fn sources_that_have_nothing_for_a_moment_cause_no_search() {
    // The last piece spreads later than a download may search again.
    let figures = run(Plan { up: 2_000_000, down: 2_000_000, seed_up: 2_000_000, ..plan(16, 12) });
    let queries = figures.kinds.iter().find(|(name, _)| *name == "QUERY").map(|(_, kind)| kind.messages);
    assert!(figures.is_right() && figures.finished[0] > crate::config::REQUERY_INTERVAL, "{figures:?}");
    assert_eq!(queries, Some(16), "each peer searches once");
}
