//! Small laboratories: what a search must find in them. The result must depend only on the seed.

use super::*;
use crate::sim::topology::Edge;
use crate::wire::Policy;

fn plan(supers: usize, edges: Vec<Edge>) -> Plan {
    Plan {
        seed: 1,
        supers,
        edges,
        peers: supers * 5,
        files: 40,
        files_each: 3,
        zipf: 0.8,
        queries: 20,
        gap: Duration::from_millis(50),
        ttl: 20,
        policy: Policy::Flood,
        budget: Duration::from_secs(10),
        limit: None,
        loss: 0,
        churn: 0.0,
        latency: (Duration::from_micros(100), Duration::from_micros(600)),
    }
}

fn run(plan: Plan, shards: usize) -> Figures {
    Lab::new(plan, shards).experiment(|lab, until, _, _| lab.run_until(until)).expect("the network comes about")
}

fn regular(n: usize, degree: usize) -> Vec<Edge> {
    topology::random_regular(n, degree, &mut Random::new(3)).expect("there is one")
}

#[test]
fn without_faults_every_registered_match_is_found() {
    for policy in [Policy::Flood, Policy::Digest, Policy::Ring, Policy::Tree] {
        let figures = run(Plan { policy, ..plan(20, regular(20, 4)) }, 1);
        assert_eq!((figures.answered, figures.complete_wrong, figures.strange), (20, 0, 0), "{policy:?}: {figures:?}");
        assert!(figures.pairs > 100 && figures.found == figures.pairs, "{policy:?}: {figures:?}");
        assert!(figures.complete_share > 0.999, "{policy:?}: {figures:?}");
    }
}

#[test]
fn a_flood_sends_what_arithmetic_says() {
    let (n, degree) = (20, 4);
    // If all paths have the same latency, the first copy is the one with the highest ttl, and no
    // copy extends another.
    let latency = (Duration::from_micros(300), Duration::from_micros(300));
    let figures = run(Plan { latency, ..plan(n, regular(n, degree)) }, 1);
    // Every node except the asker's own sends the query to all of its neighbors but one.
    let queries = (n * degree - (n - 1)) as u64 * 20;
    assert_eq!(figures.messages[0], queries);
    assert_eq!(figures.messages[2], queries, "every QUERY has its DONE");
    assert_eq!(figures.duplicates, queries - 19 * 20);
    assert_eq!(figures.hops.iter().sum::<u64>(), 19 * 20, "every other node searches once");
    assert!((figures.reach - 1.0).abs() < 1e-9);
}

#[test]
fn a_ttl_cuts_and_says_so() {
    let figures = run(Plan { ttl: 1, ..plan(30, topology::line(30)) }, 1);
    assert!(figures.reach < 0.11 && figures.recall() < 0.5 && figures.complete_share < 0.01, "{figures:?}");
    assert!(figures.cut.ttl > 0 && figures.complete_wrong == 0);
}

#[test]
fn loss_is_repaired_within_the_budget() {
    let figures = run(Plan { loss: 100, ..plan(20, regular(20, 4)) }, 1);
    assert!(figures.lost > 100 && figures.repeats > 10, "{figures:?}");
    assert!(figures.recall() > 0.99 && figures.complete_wrong == 0 && figures.answered == 20, "{figures:?}");
}

#[test]
fn churn_is_survived_and_never_called_complete_wrongly() {
    let figures =
        run(Plan { churn: 100.0, queries: 200, gap: Duration::from_millis(100), ..plan(20, regular(20, 4)) }, 1);
    assert!(figures.complete_wrong == 0 && figures.strange == 0, "{figures:?}");
    assert!(figures.cut.down + figures.cut.budget + figures.cut.loss > 0, "super peers failed: {figures:?}");
    assert!(figures.answered > 100 && figures.recall() > 0.5, "{figures:?}");
}

#[test]
fn nothing_but_the_seed_matters() {
    let plan = || Plan { loss: 50, churn: 60.0, ..plan(21, regular(21, 4)) };
    let one = run(plan(), 1);
    assert_eq!(run(plan(), 1), one, "the same seed, the same figures");
    assert_eq!(run(plan(), 3), one, "however many shards");
    assert_ne!(run(Plan { seed: 2, ..plan() }, 1), one);
}
