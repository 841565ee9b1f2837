//! The sweep: hundreds of small networks, ten virtual minutes each, under faults; see `sprat::sim::sweep`.

mod sim_common;

use sprat::sim::sweep;

#[test]
fn every_seed_keeps_its_promises() {
    let seed = std::env::var("SPRAT_SIM_SEED").map(|s| s.parse().unwrap());
    let range = match seed {
        Ok(s) => s..s + 1,
        Err(_) => 0..std::env::var("SPRAT_SIM_SEEDS").map_or(20, |s| s.parse().unwrap()),
    };
    let mut all = sweep::Tally::default();
    let start = std::time::Instant::now();
    let mut bad = Vec::new();
    for seed in range {
        match sweep::run(seed, sim_common::replaying()) {
            Ok(t) => all.add(&t),
            Err(f) => {
                f.lines.iter().for_each(|l| eprintln!("{l}"));
                eprintln!("seed {seed}: at {:?}: {}", f.at, f.what);
                bad.push(seed)
            }
        }
    }
    eprintln!("{all:?} idle {:?} bad {bad:?} in {:?}", all.idle_faults(), start.elapsed());
    assert!(bad.is_empty());
}
