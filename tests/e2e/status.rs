//! `sprat status`: what goes on and what is wrong, on one screen.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;

use crate::common::source::{Answer, Source};
use crate::common::{Daemon, World, eventually, noise};
use crate::http;

/// The screen of a running peer.
fn screen(world: &World, peer: &Daemon) -> String {
    let ran = world.run(["status", "--control", peer.control()]);
    assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
    assert!(ran.text.lines().all(|line| line.chars().count() <= 80), "{}", ran.text);
    ran.text
}

#[test]
fn a_slow_download_has_the_reason_of_each_source() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(1, 3 << 20);
    let silent = Source::start(world.ip(), daemon.addr(), "tune.bin", content.clone(), |_, _| Answer::Silence);
    let liar = Source::start(world.ip(), daemon.addr(), "tune.bin", content, |_, _| Answer::Flipped);
    world.hits(&daemon, "tune.bin", 2);
    let peer = world.peer("p", &[&daemon]);
    let get = world.start(["get", "tune.bin", "--json", "--control", peer.control()]);
    let (stalled, dropped) = (format!("{} stalled", silent.addr()), format!("{} dropped", liar.addr()));
    let text = eventually("both sources have their reasons", || {
        let text = screen(&world, &peer);
        (text.contains(&stalled) && text.contains(&dropped)).then_some(text)
    });
    let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {text}"));
    assert!(line("downloads   ").contains("1 running"), "{text}");
    assert!(line("tune.bin").contains("   1  running    0 %     3.0 MiB"), "{text}");
    assert!(line(&stalled).contains("sends less than 16 KiB/s"), "{text}");
    assert!(line(&dropped).contains("1 wrong piece"), "{text}");
    let status = world.run(["status", "--json", "--control", peer.control()]).events("status")[0].clone();
    let sources = status["status"]["downloads"][0]["sources"].as_array().cloned().expect("sources");
    assert!(sources.iter().any(|source| source["state"] == "stalled" && source["rate"] == 0), "{status}");
    let said = [format!("{} is dropped as a source", liar.addr()), format!("source {stalled}: sends less")];
    assert!(said.iter().all(|said| peer.log().contains(said)), "{}", peer.log());
    get.kill();
}

#[test]
fn the_screen_names_the_peer_its_address_and_its_share() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "a.txt", b"12345");
    world.share("p", ".hidden", b"x");
    let peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "a.txt", 1);
    let text = eventually("the share is counted", || {
        let text = screen(&world, &peer);
        text.contains("1 file, 5 B").then_some(text)
    });
    for part in ["peer \"p\", sprat/", peer.addr(), daemon.addr(), " up for ", "not shared: 1 hidden"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let other = world.run(["status", "--super", daemon.addr()]);
    for part in [daemon.addr(), "neighbors    none", "1 file of 1 peer", " a second"] {
        assert!(other.text.contains(part), "{part}: {}", other.text);
    }
    let counters = world.run(["status", "--counters", "--control", peer.control()]).text;
    assert!(counters.contains("peer.share_bytes  5 bytes") && counters.contains("super.uptime_s  "), "{counters}");
}

#[test]
fn a_peer_whose_super_peer_is_gone_says_so_at_once() {
    let world = World::new();
    let mut daemon = world.super_peer("s");
    let peer = world.peer("p", &[&daemon]);
    let addr = daemon.addr().to_owned();
    daemon.kill();
    eventually("the loss is shown", || {
        let text = screen(&world, &peer);
        let parts = [&format!("{addr} down for "), "connection refused", "address      none"];
        parts.iter().all(|part| text.contains(*part)).then_some(())
    });
    assert!(peer.log().contains(&format!("lost super peer {addr}")), "{}", peer.log());
}

const OPERATING: &str = include_str!("../../docs/operating.md");

/// The figures in the tables of docs/operating.md; `left_out_…` and its like end in an ellipsis.
fn documented() -> BTreeSet<&'static str> {
    let (_, section) = OPERATING.split_once("\n### Super peer: sessions\n").expect("it");
    let rows = section.split("\n## ").next().unwrap_or_default().lines().filter(|line| line.starts_with("| `"));
    let names = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names
        .filter(|name| name.chars().all(|c| c == '_' || c == '…' || c.is_ascii_lowercase() || c.is_ascii_digit()))
        .collect()
}

#[test]
fn every_figure_is_documented_and_on_the_page_and_each_documented_one_exists() {
    let world = World::new();
    let operator = world.run(["operator", "init", "--name", "operator"]);
    let more = ["--http", "127.0.0.1:0", "--operator", operator.text.trim()];
    let login = world.super_peer_at("login", 0, &[], &more);
    let open = world.super_peer("open");
    let peer = world.peer_with("p", &[&open], &["--http", "127.0.0.1:0"], Stdio::null());
    world.hits(&open, "nothing", 0);
    let mut known: BTreeSet<String> = BTreeSet::new();
    for daemon in [&login, &peer] {
        let status = world.run(["status", "--json", "--control", daemon.control()]).events("status")[0].clone();
        let side = if status["status"].is_null() { "super_counts" } else { "peer" };
        let counts: BTreeSet<String> = status[side].as_object().expect("counts").keys().cloned().collect();
        let shot = http::get(&http::page(daemon), "/api/snapshot", &[]).body;
        let shot: Value = serde_json::from_slice(&shot).expect("JSON");
        let shown = ["counters", "levels"].map(|kind| shot[kind].as_object().expect("figures").clone());
        let lacks =
            |name: &&String| name.as_str() != "uptime_s" && !shown.iter().any(|figures| figures.contains_key(*name));
        let missing: Vec<&String> = counts.iter().filter(lacks).collect();
        assert!(missing.is_empty() && counts.len() > 60, "the page of {side} lacks {missing:?}");
        known.extend(counts.into_iter().chain(shown.iter().flat_map(serde_json::Map::keys).cloned()));
    }
    let documented = documented();
    let is_documented = |name: &str| {
        OPERATING.contains(&format!("`{name}`"))
            || documented.iter().filter_map(|each| each.strip_suffix('…')).any(|prefix| name.starts_with(prefix))
    };
    let missing: Vec<&String> = known.iter().filter(|name| !is_documented(name)).collect();
    assert!(missing.is_empty(), "docs/operating.md lacks {missing:#?}");
    let gone: Vec<&&str> = documented.iter().filter(|name| !name.ends_with('…') && !known.contains(**name)).collect();
    assert!(gone.is_empty(), "docs/operating.md names {gone:#?}, which no node reports");
}
