//! The cost of single parts: `cargo run --release --features measure --example micro [FILTER]`. It
//! asserts no figure.
//!
//! `sprat bench` measures a complete daemon. This example shows which part of the daemon has
//! changed.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use sprat::config::FRAME_BYTES_OPEN;
use sprat::proto::super_peer::digest::Sample;
use sprat::proto::super_peer::index::Index;
use sprat::proto::super_peer::search::{Scan, Step};
use sprat::proto::weak_peer::download::picker::Picker;
use sprat::wire::link::{self, LinkHit, Packer};
use sprat::wire::message::{Hit, Query, Register, SourceRecord};
use sprat::wire::{
    FileRecord, HostPort, LinkMessage, Message, NodeId, QueryId, QueryKind, Root, Search, SharePath, frame,
};

/// Records of the index that is searched.
const RECORDS: u64 = 100_000;
/// Samples of each part; the median and the quartiles are printed.
const SAMPLES: usize = 50;
/// How long one sample lasts at least.
const SAMPLE_TIME: Duration = Duration::from_millis(40);

/// Runs the parts whose name contains the filter.
struct Bench {
    filter: String,
}

impl Bench {
    /// Prints how long one call takes: nanoseconds, the median of the samples and their quartiles.
    fn time<T>(&self, group: &str, name: &str, mut call: impl FnMut() -> T) {
        let name = format!("{group}: {name}");
        if !name.contains(&self.filter) {
            return;
        }
        let mut sample = |calls: u32| {
            let begun = Instant::now();
            (0..calls).for_each(|_| drop(black_box(call())));
            begun.elapsed()
        };
        let mut calls = 1;
        while sample(calls) < SAMPLE_TIME {
            calls *= 2;
        }
        let mut nanoseconds: Vec<f64> =
            (0..SAMPLES).map(|_| sample(calls).as_secs_f64() * 1e9 / f64::from(calls)).collect();
        nanoseconds.sort_by(f64::total_cmp);
        let [low, median, high] = [1, 2, 3].map(|quarter| nanoseconds[SAMPLES * quarter / 4]);
        println!("{name:60} {median:12.1} ns  ({low:.1} to {high:.1})");
    }
}

/// A name of 43 bytes, like those of `sprat bench`.
fn record(n: u64) -> FileRecord {
    let word =
        |step: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(u32::try_from(step * 11).unwrap_or(0)) % 2000;
    let path = format!("w{:04} w{:04} w{:04} w{:04} w{:04} {n:08}.flac", word(0), word(1), word(2), word(3), word(4));
    let mut root = [0; Root::LEN];
    root[..8].copy_from_slice(&n.to_be_bytes());
    FileRecord { path: SharePath::new(&path).expect("43 bytes"), size: n, root: Root(root), collection: false }
}

fn addr() -> HostPort {
    HostPort::new("192.0.2.1", 4778).expect("literal")
}

fn search(kind: QueryKind, pattern: &str) -> Search {
    Search::new(pattern, kind)
}

fn messages() -> [(&'static str, Message); 3] {
    let FileRecord { path, size, root, .. } = record(7);
    let find = search(QueryKind::Exact, path.as_str());
    let hits = vec![SourceRecord {
        path,
        size,
        root,
        addr: addr(),
        collection: false,
        node: None,
        other: None,
        unreached: false,
        http: false,
        member: None,
    }];
    let files = (0..500).map(record).collect();
    [
        ("QUERY", Message::Query(Query { req: 7, find, ttl: None, budget: None, policy: None })),
        ("HIT of 1", Message::Hit(Hit { req: 7, hits })),
        (
            "REGISTER of 500",
            Message::Register(Register {
                seq: 1,
                port: 4778,
                host: None,
                more_addr: None,
                http: false,
                files,
                more: false,
            }),
        ),
    ]
}

fn frames(bench: &Bench) {
    let group = "frame";
    for (name, message) in messages() {
        let mut bytes = Vec::new();
        frame::encode(&message, &mut bytes);
        let mut out = Vec::with_capacity(bytes.len());
        bench.time(group, &format!("encode {name}"), || {
            out.clear();
            frame::encode(black_box(&message), &mut out);
        });
        bench.time(group, &format!("decode {name}"), || {
            frame::decode(black_box(&bytes), FRAME_BYTES_OPEN).expect("valid")
        });
    }
}

fn datagrams(bench: &Bench) {
    let hit = |n: u32| {
        LinkMessage::Hit(LinkHit {
            id: QueryId([7; 16]),
            ttl: 3,
            n,
            file: record(7),
            node: None,
            addr: addr(),
            other: None,
            unreached: false,
            http: false,
            member: None,
        })
    };
    let pack = || {
        let mut packer = Packer::new(7);
        (0..).find_map(|n| packer.push(&hit(n))).expect("it fills up")
    };
    let full = pack();
    let group = "datagram";
    bench.time(group, "pack HITs until it is full", pack);
    bench.time(group, "decode it", || link::decode(black_box(&full)).expect("valid"));
}

fn index(bench: &Bench) {
    let mut index = Index::with_seed(1);
    let holder = index.add_holder(addr(), NodeId([1; 16]));
    for n in 0..RECORDS {
        index.insert(holder, record(n));
    }
    let mut hits = Vec::new();
    let mut find = |search: &Search| {
        hits.clear();
        let mut scan = Scan::new(&index, search).expect("a good pattern");
        while scan.step(&index, 1024, &mut hits) == Step::More {}
        hits.len()
    };
    let name = record(777).path;
    let (word, _) = name.as_str().split_once(' ').expect("words");
    let root = record(777).root.to_string();
    let group = "index of 100000";
    for (name, search) in [
        ("a name that is there", search(QueryKind::Exact, name.as_str())),
        ("a name that is not", search(QueryKind::Exact, "no such file.flac")),
        ("two words", search(QueryKind::Words, &format!("{word} 00000777"))),
        ("a root", search(QueryKind::Root, &root)),
        ("a glob over all", search(QueryKind::Glob, "*0777.flac")),
        ("a hostile glob over all", search(QueryKind::Glob, &format!("*{}x", "*[!A-Z]0".repeat(30)))),
        ("two common words", search(QueryKind::Words, "w0001 w0002")),
        ("a range that is empty", search(QueryKind::Range, "ff-ffff")),
        ("a thousand hits", search(QueryKind::Glob, "*")),
    ] {
        bench.time(group, name, || find(black_box(&search)));
    }
    let records: Vec<_> = (RECORDS..RECORDS + 1000).map(record).collect();
    bench.time(group, "1000 records in and out, with their copies", || {
        let holder = index.add_holder(addr(), NodeId([1; 16]));
        records.iter().cloned().for_each(|record| index.insert(holder, record));
        index.remove_holder(holder);
        while index.tidy(1024) {}
    });
}

fn digest(bench: &Bench) {
    // Ten bits per key, as between neighbors.
    let mut digest = Sample::new(25);
    (0..RECORDS).map(record).for_each(|file| digest.add(file.path.name(), &file.root));
    let there = record(777);
    let group = "digest of 100000";
    for (name, search) in [
        ("a name that is there", search(QueryKind::Exact, there.path.as_str())),
        ("a name that is not", search(QueryKind::Exact, "no such file.flac")),
        ("two words that are not", search(QueryKind::Words, "such missing")),
        ("a glob of a long literal", search(QueryKind::Glob, "*0000777.flac")),
        ("a root that is there", search(QueryKind::Root, &there.root.to_string())),
    ] {
        bench.time(group, name, || digest.may_have(black_box(&search)));
    }
    bench.time(group, "a file is added", || digest.add(there.path.name(), black_box(&there.root)));
}

fn picker(bench: &Bench) {
    bench.time("picker", "1024 pieces from four sources", || {
        let mut picker = Picker::new(1 << 30);
        let mut source = 0_u8;
        while let Some(piece) = picker.take(source % 4) {
            black_box(picker.verified(piece));
            source = source.wrapping_add(1);
        }
        picker.have()
    });
}

fn main() {
    let bench = Bench { filter: std::env::args().nth(1).unwrap_or_default() };
    [frames, datagrams, index, digest, picker].iter().for_each(|part| part(&bench));
}
