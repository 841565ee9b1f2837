//! Strangers whose sources and hits try to stop a download, to keep a content from others, or to
//! have others dialed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::harness::{Manner, World, addr, report};
use crate::config::{
    DOWNLOAD_TIMEOUT, HOST_DIAL_INTERVAL, HOST_DIALS_BURST, NO_SOURCE_MAX, PIECE_BYTES, SOURCE_RATE_MIN,
    SOURCES_KNOWN_MAX, SOURCES_MAX,
};
use crate::proto::command::Get;
use crate::proto::event::SourceState;
use crate::proto::{ClientEvent, Command, Verify};
use crate::sim::builders;
use crate::time::Time;
use crate::wire::message::SourceRecord;
use crate::wire::{HostPort, SharePath};

const MIB: u64 = PIECE_BYTES;
const RATE: u64 = MIB;
const CRAWL: u64 = SOURCE_RATE_MIN + 1024;
const SEC: Duration = Duration::from_secs(1);

fn assert_right(world: &mut World) {
    assert!(world.published.as_ref() == Some(&world.content.bytes), "the published bytes differ");
    assert_eq!(world.sized, [world.content.size()], "the part file had another size");
    world.assert_no_leak();
}

/// How long a download takes from these sources, and its world.
fn run(seed: u64, size: u64, sources: &[(Manner, u64)]) -> (Duration, World) {
    let mut world = World::seeded(1, size, seed);
    for (manner, rate) in sources {
        world.source(*manner, *rate);
    }
    let start = world.now;
    let outcome = world.get().outcome();
    assert!(outcome.ok, "seed {seed}, {sources:?}: {outcome:?}");
    let took = world.now.since(start);
    for (index, (manner, _)) in (0..).zip(sources) {
        let Some(report) = outcome.sources.iter().flatten().find(|report| report.source == addr(100 + index)) else {
            continue;
        };
        assert!(report.bad <= 2, "seed {seed}, {manner:?}: {report:?}");
        assert!(*manner != Manner::Honest || report.state != SourceState::Dropped, "seed {seed}: {report:?}");
        if report.pieces == 0 {
            assert!(report.bytes <= 2 * MIB + RATE / 2, "seed {seed}, {manner:?}: {report:?}");
        }
    }
    assert_right(&mut world);
    (took, world)
}

const BAD: [Manner; 19] = [
    Manner::Lies,
    Manner::Damaged(99),
    Manner::WrongMd5,
    Manner::WrongManifest,
    Manner::NoManifest,
    Manner::StallsAfter(0),
    Manner::StallsAfter(1),
    Manner::StopsHalfway,
    Manner::StopsAtTheEnd,
    Manner::NotFound,
    Manner::OtherRange,
    Manner::Busy,
    Manner::Drips,
    Manner::ClosesAfterHeader,
    Manner::PageForChunk,
    Manner::Fails,
    Manner::Silent,
    Manner::Nowhere,
    Manner::Longer,
];

#[test]
fn every_kind_of_bad_source_beside_two_honest_ones_costs_less_than_the_time_again() {
    let honest = [(Manner::Honest, RATE), (Manner::Honest, RATE)];
    let (alone, _) = run(1, 8 * MIB, &honest);
    for bad in BAD {
        for seed in 1..3 {
            let (took, _) = run(seed, 8 * MIB, &[(bad, RATE), honest[0], honest[1]]);
            assert!(took <= alone * 2, "seed {seed}: {took:?} with {bad:?}, {alone:?} without");
        }
    }
}

#[test]
fn a_bad_source_that_is_asked_first_delays_by_five_seconds_at_most() {
    for size in [5, 2 * MIB + 5] {
        let (alone, _) = run(1, size, &[(Manner::Honest, RATE)]);
        for (bad, rate) in BAD.map(|bad| (bad, RATE)).into_iter().chain([(Manner::Honest, CRAWL)]) {
            let runs = (1..20).map(|seed| run(seed, size, &[(bad, rate), (Manner::Honest, RATE)]));
            let never = matches!(bad, Manner::Silent | Manner::Nowhere | Manner::Busy);
            let first = runs.filter(|(_, world)| never || world.asked_first == Some(0));
            let worst = first.take(2).map(|(took, _)| took).max().expect("the bad source is asked first");
            assert!(worst <= alone + 5 * SEC, "{worst:?} with {bad:?} at {rate}, {alone:?} without, {size} bytes");
        }
    }
    // From three pieces on, a shorter list of inner nodes exists.
    for seed in 1..6 {
        run(seed, 4 * MIB, &[(Manner::Shorter, RATE), (Manner::Honest, RATE)]);
    }
}

#[test]
fn manifests_that_take_half_an_hour_give_way_to_a_source_that_waits() {
    for honest in [RATE, CRAWL] {
        let mut world = World::new(1, 3 * MIB);
        world.source(Manner::Endless, RATE).source(Manner::Endless, RATE).source(Manner::Honest, honest);
        world.sources[2].1.alive = false;
        world.get().run_until(|world| world.sources[..2].iter().all(|(_, source)| source.manifests > 0));
        world.sources[2].1.alive = true;
        world.run_until(|world| world.sources[2].1.manifests > 0);
        assert!(world.now < Time::ZERO + 15 * SEC, "{:?}", world.now);
        assert!(world.outcome().ok);
        assert_right(&mut world);
    }
}

/// A slow manifest of many pages from all other sources delays by five seconds at most, in each
/// order of dials. Manifests of the greatest size are not asked for completely.
#[test]
fn slow_manifests_of_many_pages_from_all_other_sources_delay_by_five_seconds_at_most() {
    let (alone, _) = run(1, 2 * MIB, &[(Manner::Honest, RATE)]);
    for (liars, size) in [(7, 1 << 32), (SOURCES_MAX - 1, 1 << 32), (7, 1 << 40), (7, 2 * MIB)] {
        for seed in 1..10 {
            let mut sources = vec![(Manner::Pages(size), CRAWL); liars];
            sources.push((Manner::Honest, RATE));
            let (took, _) = run(seed, 2 * MIB, &sources);
            assert!(took <= alone + 5 * SEC, "seed {seed}: {took:?} with {liars} of {size}, {alone:?} alone");
        }
    }
}

#[test]
fn seven_slow_sources_of_a_single_piece_delay_by_five_seconds_at_most() {
    let (alone, _) = run(1, MIB, &[(Manner::Honest, RATE)]);
    for seed in 1..20 {
        let mut sources = vec![(Manner::Honest, CRAWL); 7];
        sources.push((Manner::Honest, RATE));
        let (took, _) = run(seed, MIB, &sources);
        assert!(took <= alone + 5 * SEC, "seed {seed}: {took:?}, {alone:?} alone");
    }
}

#[test]
fn seven_of_eight_sources_that_drip_cost_less_than_twice_the_time_again() {
    let (alone, _) = run(1, 12 * MIB, &[(Manner::Honest, RATE)]);
    for bad in
        [(Manner::Drips, RATE), (Manner::NoManifest, RATE), (Manner::StopsHalfway, RATE), (Manner::Honest, CRAWL)]
    {
        for seed in 1..3 {
            let sources: Vec<_> = [bad; 7].into_iter().chain([(Manner::Honest, RATE)]).collect();
            let (took, _) = run(seed, 12 * MIB, &sources);
            assert!(took <= alone * 3, "seed {seed}: {took:?} with {bad:?}, {alone:?} alone");
        }
    }
}

#[test]
fn more_slow_sources_than_are_used_at_once_do_not_keep_an_honest_one_out() {
    let (alone, _) = run(1, 12 * MIB, &[(Manner::Honest, RATE)]);
    for seed in 1..3 {
        let sources: Vec<_> = [(Manner::Drips, RATE); 40].into_iter().chain([(Manner::Honest, RATE)]).collect();
        let (took, _) = run(seed, 12 * MIB, &sources);
        assert!(took <= alone + 60 * SEC, "seed {seed}: {took:?}, {alone:?} alone");
    }
}

#[test]
fn a_slow_source_is_used_to_the_end_if_there_is_no_other() {
    let (took, world) = run(1, 2 * MIB + 5, &[(Manner::Honest, SOURCE_RATE_MIN / 2)]);
    assert!(took < 260 * SEC, "{took:?}: no byte comes twice");
    assert_eq!(world.sources[0].1.dials, 1);
}

// ---- sizes --------------------------------------------------------------------------------------

fn record(world: &World, size: u64, addr: HostPort) -> SourceRecord {
    let path = SharePath::new("dir/file.bin").unwrap();
    SourceRecord {
        path,
        size,
        root: world.content.root,
        addr,
        collection: false,
        node: None,
        other: None,
        unreached: false,
        http: false,
        member: None,
    }
}

#[test]
fn false_sizes_deny_no_content() {
    for size in [5, 3 * MIB] {
        let manners = [Manner::Nowhere, Manner::Silent, Manner::Lies, Manner::Drips];
        let lies = [size + 1, size - 1, size + MIB, 1, MIB, 2 * MIB, 1 << 40, 1 << 60, u64::MAX, 0];
        for (seed, lie) in (1..).zip(lies) {
            for manner in [manners[seed as usize % 4], manners[(seed as usize + 1) % 4]] {
                let mut world = World::seeded(1, size, seed);
                // 20 sources claim this before the honest one is named. One of them names the
                // honest one.
                world.source(Manner::Honest, RATE);
                world.supers[0].1.hits.clear();
                for _ in 0..20 {
                    world.source(manner, RATE);
                }
                for hit in &mut world.supers[0].1.hits {
                    hit.size = lie;
                }
                let [false_of_honest, honest] = [lie, size].map(|size| record(&world, size, addr(100)));
                world.supers[0].1.hits.insert(0, false_of_honest);
                world.supers[0].1.hits.push(honest);
                let what = if seed % 2 == 0 { "file.bin".to_owned() } else { world.content.root.to_string() };
                let start = world.now;
                let outcome = world.get_named(&what).outcome();
                assert!(outcome.ok, "{size}, claimed {lie}, {manner:?}: {outcome:?}");
                let took = world.now.since(start);
                assert!(took <= 40 * SEC, "{size}, claimed {lie}, {manner:?}: {took:?}");
                assert_eq!(outcome.bytes, Some(size));
                assert_ne!(report(&outcome, 0).state, SourceState::Dropped, "{outcome:?}");
                assert_right(&mut world);
            }
        }
    }
}

#[test]
fn a_false_size_of_an_honest_source_costs_one_question() {
    for (size, lie) in [(5, 4), (5, 6), (5, 3 * MIB), (3 * MIB, 5), (3 * MIB, 3 * MIB + 1), (3 * MIB, 2 * MIB)] {
        let mut world = World::new(1, size);
        world.source(Manner::Honest, RATE);
        world.supers[0].1.hits[0].size = lie;
        let outcome = world.get().outcome();
        assert!(outcome.ok, "{size}, claimed {lie}: {outcome:?}");
        let source = report(&outcome, 0);
        assert_eq!((source.bad, source.state), (0, SourceState::Active), "{size}, claimed {lie}");
        assert_right(&mut world);
    }
}

#[test]
fn impossible_sizes_and_addresses_are_ignored_and_counted() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, RATE);
    for size in [1 << 60, 0, (1 << 40) + 1] {
        let record = record(&world, size, addr(200));
        world.hit(record);
    }
    for host in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "::ffff:0.0.0.0"] {
        let record = record(&world, 3 * MIB, HostPort::new(host, 9).unwrap());
        world.hit(record);
    }
    let record = record(&world, 3 * MIB, HostPort::new("192.0.2.77", 0).unwrap());
    world.hit(record);
    assert!(world.get().outcome().ok);
    world.command(Command::Status).run_for(SEC);
    let counts = world.client_events().into_iter().find_map(|event| match event {
        ClientEvent::Status { peer, .. } => Some(peer),
        _ => None,
    });
    let counts = counts.unwrap();
    assert_eq!((counts["hits_impossible_size"], counts["hits_undialable"]), (3, 6));
    assert_eq!(world.dialed.keys().filter(|to| to.port() >= 100).count(), 1, "{:?}", world.dialed);
}

#[test]
fn no_source_is_blamed_for_a_size_that_no_hit_claims() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, RATE);
    let other = record(&world, 3 * MIB + 1, addr(100));
    world.hit(other);
    assert!(world.get().outcome().ok);
    let notes = world.client_events().into_iter().filter(|event| matches!(event, ClientEvent::Note { .. }));
    assert_eq!(notes.collect::<Vec<_>>(), []);
}

// ---- dials --------------------------------------------------------------------------------------

/// How often each address was dialed within this time.
fn dials(world: &mut World, time: Duration) -> BTreeMap<HostPort, u32> {
    world.run_for(time);
    let supers = world.supers.iter().map(|(addr, _)| addr.clone()).collect::<Vec<_>>();
    world.dialed.iter().filter(|(to, _)| !supers.contains(to)).map(|(to, times)| (to.clone(), *times)).collect()
}

#[test]
fn hits_that_name_the_ports_of_one_machine_scan_it_slowly() {
    let mut world = World::new(1, 3 * MIB);
    for port in 1000..2000 {
        let record = record(&world, 3 * MIB, HostPort::new("198.51.100.7", port).unwrap());
        world.hit(record);
    }
    let what = world.content.root.to_string();
    let dialed = dials(world.get_named(&what), 30 * SEC);
    let all: u32 = dialed.values().sum();
    let bound = HOST_DIALS_BURST + 30_000 / u32::try_from(HOST_DIAL_INTERVAL.as_millis()).unwrap();
    assert!(all <= bound && all > bound / 2, "{all}");
    assert!(world.outcomes() == 0, "addresses are left that were not tried");
    let dialed = dials(&mut world, 10 * 60 * SEC);
    assert!(dialed.values().all(|times| *times <= 2), "{:?}", dialed.values().max());
    assert!(dialed.len() > 2 * SOURCES_KNOWN_MAX, "{}: the sample is refilled", dialed.len());
}

#[test]
fn all_spellings_of_an_address_are_one_source() {
    let mut world = World::new(1, 3 * MIB);
    let hosts = ["198.51.100.7", "::ffff:198.51.100.7", "::ffff:c633:6407", "198.51.25607", "0xc6336407", "3325256711"];
    for host in hosts {
        let record = record(&world, 3 * MIB, HostPort::new(host, 9).unwrap());
        world.hit(record);
    }
    let what = world.content.root.to_string();
    let dialed = dials(world.get_named(&what), 60 * SEC);
    assert_eq!(dialed.into_iter().collect::<Vec<_>>(), [(HostPort::new("198.51.100.7", 9).unwrap(), 2)]);
}

#[test]
fn an_honest_source_after_hundreds_of_useless_ones_is_found() {
    let busy = (5..9).map(|seed| (seed, Manner::Busy, 300, 40));
    for (seed, manner, hosts, within) in [
        (1, Manner::Silent, 300, 40),
        (2, Manner::Nowhere, 300, 40),
        (3, Manner::Silent, 1, 120),
        (4, Manner::Nowhere, 1, 120),
    ]
    .into_iter()
    .chain(busy)
    {
        let mut world = World::seeded(1, 3 * MIB, seed);
        for n in 0..300_u16 {
            world.source(manner, RATE);
            let host = format!("198.51.{}.{}", 100 + n % hosts / 200, 1 + n % hosts % 200);
            let to = HostPort::new(&host, 100 + n).unwrap();
            world.sources[usize::from(n)].0 = to.clone();
            world.supers[0].1.hits.last_mut().unwrap().addr = to;
        }
        world.source(Manner::Honest, RATE);
        let last = HostPort::new("198.51.100.1", 999).unwrap();
        world.sources[300].0 = last.clone();
        world.supers[0].1.hits[300].addr = last;
        let start = world.now;
        let outcome = world.get().outcome();
        assert!(outcome.ok, "{manner:?} on {hosts}: {outcome:?}");
        let took = world.now.since(start);
        assert!(took <= within * SEC, "{manner:?} on {hosts}: {took:?}");
        assert_right(&mut world);
    }
}

#[test]
fn a_busy_peer_is_dialed_again_while_addresses_are_left_that_were_not_tried() {
    let mut world = World::new(1, 3 * MIB);
    for n in 0..200_u16 {
        world.source(Manner::Silent, RATE);
        let to = HostPort::new(&format!("198.51.100.{n}"), 9).unwrap();
        world.sources[usize::from(n)].0 = to.clone();
        world.supers[0].1.hits[usize::from(n)].addr = to;
    }
    world.source(Manner::Busy, RATE);
    world.get().run_until(|world| world.sources[200].1.dials == 1);
    let refused = world.now;
    world.run_until(|world| world.sources[200].1.dials == 2);
    assert!(world.now.since(refused) <= 3 * SEC, "{:?}", world.now.since(refused));
}

#[test]
fn a_source_that_welcomes_late_is_not_given_up_for_others_that_may_not_be_dialed() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Late, RATE);
    for port in 1000..1200 {
        let record = record(&world, 3 * MIB, HostPort::new("198.51.100.7", port).unwrap());
        world.hit(record);
    }
    assert!(world.get().outcome().ok);
    assert_eq!(world.sources[0].1.dials, 1);
}

#[test]
fn busy_sources_are_tried_until_the_timeout() {
    for welcomes in [false, true] {
        let mut world = World::new(1, 8 * MIB);
        world.source(if welcomes { Manner::Honest } else { Manner::Busy }, RATE);
        world.get().run_for(3 * SEC);
        world.kill_source(0);
        world.sources[0].1.manner = Manner::Busy;
        world.sources[0].1.alive = true;
        world.run_for(3 * NO_SOURCE_MAX);
        assert_eq!(world.outcomes(), 0);
        world.sources[0].1.manner = Manner::Honest;
        assert!(world.outcome().ok);
    }
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Busy, RATE);
    let start = world.now;
    let outcome = world.get().outcome();
    assert_eq!(outcome.exit, 4, "{outcome:?}");
    assert!(world.now.since(start) >= DOWNLOAD_TIMEOUT);
}

#[test]
fn an_address_that_refuses_for_another_reason_is_dialed_twice_at_most() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Refuses, RATE);
    let outcome = world.get().outcome();
    assert_eq!(outcome.exit, 5, "{outcome:?}");
    assert_eq!(world.sources[0].1.dials, 2);
}

#[test]
fn the_order_of_dials_is_drawn() {
    let first = |seed| {
        let mut world = World::seeded(1, 3 * MIB, seed);
        for _ in 0..100 {
            world.source(Manner::Silent, RATE);
        }
        world.get().run_for(Duration::from_millis(100));
        world.dialed.keys().filter(|to| to.port() >= 100).cloned().collect::<Vec<_>>()
    };
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}

// ---- the timeout --------------------------------------------------------------------------------

fn get_within(world: &mut World, timeout: Option<Duration>) {
    let timeout = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap());
    let what = world.content.root.to_string();
    world.command(Command::Get(Get { timeout, ..builders::get_of(&what) }));
}

#[test]
fn a_download_that_only_drips_times_out_and_says_how_to_resume() {
    for (timeout, expected) in [(None, DOWNLOAD_TIMEOUT), (Some(7 * SEC), 7 * SEC)] {
        let mut world = World::new(1, 3 * MIB);
        world.source(Manner::Drips, RATE).source(Manner::Drips, RATE);
        let start = world.now;
        get_within(&mut world, timeout);
        let outcome = world.outcome();
        assert_eq!(outcome.exit, 4, "{outcome:?}");
        assert!(outcome.error.unwrap().contains("resume"));
        let took = world.now.since(start);
        assert!(took >= expected && took <= expected + 5 * SEC, "{took:?}");
        assert_eq!(world.abandoned, 1);
        world.assert_no_leak();
    }
}

#[test]
fn a_timeout_of_zero_never_ends_a_download() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Drips, RATE);
    get_within(&mut world, Some(Duration::ZERO));
    world.run_for(700 * SEC);
    assert_eq!(world.outcomes(), 0);
}

#[test]
fn a_timeout_ends_no_download_that_goes_on() {
    let mut world = World::new(1, 3 * MIB);
    world.source(Manner::Honest, 2 * SOURCE_RATE_MIN);
    get_within(&mut world, Some(3 * SEC));
    assert!(world.outcome().ok, "a piece takes 32 s, and bytes come all the time");
}

/// Even with MD5 alone, the size is proven.
#[test]
fn a_false_size_is_found_out_whatever_is_verified() {
    for verify in [Verify::Both, Verify::Blake3, Verify::Md5] {
        let mut world = World::new(1, 3 * MIB);
        world.source(Manner::Honest, RATE);
        world.supers[0].1.hits[0].size = 3 * MIB - 1;
        assert!(world.get_with(verify, None).outcome().ok, "{verify:?}");
        assert_right(&mut world);
    }
}
