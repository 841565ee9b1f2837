//! The small things that everything else is made of: `cargo bench --bench micro [FILTER]`. No figure is asserted anywhere.
//!
//! A figure of a whole daemon is `sprat bench`'s; this tells which part of it changed.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sprat::config::FRAME_BYTES_OPEN;
use sprat::proto::super_peer::digest::Sample;
use sprat::proto::super_peer::index::Index;
use sprat::proto::super_peer::search::{Scan, Step};
use sprat::proto::weak_peer::download::picker::Picker;
use sprat::wire::link::{self, LinkHit, Packer};
use sprat::wire::message::{Hit, Query, Register, SourceRecord};
use sprat::wire::{FileRecord, HostPort, LinkMessage, Message, QueryId, QueryKind, Root, Search, SharePath, frame};

/// Records of the index that is looked into.
const RECORDS: u64 = 100_000;

/// A name of 43 bytes, as those of `sprat bench`.
fn record(n: u64) -> FileRecord {
    let word =
        |step: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(u32::try_from(step * 11).unwrap_or(0)) % 2000;
    let path = format!("w{:04} w{:04} w{:04} w{:04} w{:04} {n:08}.flac", word(0), word(1), word(2), word(3), word(4));
    let mut root = [0; Root::LEN];
    root[..8].copy_from_slice(&n.to_be_bytes());
    FileRecord { path: SharePath::new(&path).expect("43 bytes"), size: n, root: Root(root) }
}

fn addr() -> HostPort {
    HostPort::new("192.0.2.1", 4778).expect("literal")
}

fn search(kind: QueryKind, pattern: &str) -> Search {
    Search { pattern: pattern.to_owned(), kind, min: None, max: None, limit: None }
}

fn messages() -> [(&'static str, Message); 3] {
    let FileRecord { path, size, root } = record(7);
    let find = search(QueryKind::Exact, path.as_str());
    let hits = vec![SourceRecord { path, size, root, addr: addr() }];
    let files = (0..500).map(record).collect();
    [
        ("QUERY", Message::Query(Query { req: 7, find, ttl: None, budget: None, policy: None })),
        ("HIT of 1", Message::Hit(Hit { req: 7, hits })),
        ("REGISTER of 500", Message::Register(Register { seq: 1, port: 4778, host: None, files, more: false })),
    ]
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    for (name, message) in messages() {
        let mut bytes = Vec::new();
        frame::encode(&message, &mut bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut out = Vec::with_capacity(bytes.len());
        group.bench_function(format!("encode {name}"), |b| {
            b.iter(|| {
                out.clear();
                frame::encode(black_box(&message), &mut out);
            });
        });
        group.bench_function(format!("decode {name}"), |b| {
            b.iter(|| frame::decode(black_box(&bytes), FRAME_BYTES_OPEN).expect("it is ours"));
        });
    }
    group.finish();
}

fn datagrams(c: &mut Criterion) {
    let hit = |n: u32| LinkMessage::Hit(LinkHit { id: QueryId([7; 16]), ttl: 3, n, file: record(7), addr: addr() });
    let pack = || {
        let mut packer = Packer::new(7);
        (0..).find_map(|n| packer.push(&hit(n))).expect("it is full some time")
    };
    let full = pack();
    let mut group = c.benchmark_group("datagram");
    group.throughput(Throughput::Bytes(full.len() as u64));
    group.bench_function("pack HITs until it is full", |b| b.iter(pack));
    group.bench_function("decode it", |b| b.iter(|| link::decode(black_box(&full)).expect("it is ours")));
    group.finish();
}

fn index(c: &mut Criterion) {
    let mut index = Index::with_seed(1);
    let holder = index.add_holder(addr());
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
    let mut group = c.benchmark_group("index of 100000");
    for (name, search) in [
        ("a name that is there", search(QueryKind::Exact, name.as_str())),
        ("a name that is not", search(QueryKind::Exact, "nobody has this.flac")),
        ("two words", search(QueryKind::Words, &format!("{word} 00000777"))),
        ("a root", search(QueryKind::Root, &root)),
        ("a glob over all", search(QueryKind::Glob, "*0777.flac")),
        ("a hostile glob over all", search(QueryKind::Glob, &format!("*{}x", "*[!A-Z]0".repeat(30)))),
        ("two common words", search(QueryKind::Words, "w0001 w0002")),
        ("a range that is empty", search(QueryKind::Range, "ff-ffff")),
        ("a thousand hits", search(QueryKind::Glob, "*")),
    ] {
        group.bench_function(name, |b| b.iter(|| find(black_box(&search))));
    }
    group.finish();
    c.bench_function("index: 1000 records in and out", |b| {
        let records: Vec<_> = (RECORDS..RECORDS + 1000).map(record).collect();
        b.iter_batched(
            || records.clone(),
            |records| {
                let holder = index.add_holder(addr());
                records.into_iter().for_each(|record| index.insert(holder, record));
                index.remove_holder(holder);
                while index.tidy(1024) {}
            },
            BatchSize::LargeInput,
        );
    });
}

fn digest(c: &mut Criterion) {
    // Ten bits a key, as between neighbours.
    let mut digest = Sample::new(25);
    (0..RECORDS).map(record).for_each(|file| digest.add(file.path.name(), &file.root));
    let there = record(777);
    let mut group = c.benchmark_group("digest of 100000");
    for (name, search) in [
        ("a name that is there", search(QueryKind::Exact, there.path.as_str())),
        ("a name that is not", search(QueryKind::Exact, "nobody has this.flac")),
        ("two words that are not", search(QueryKind::Words, "nobody this")),
        ("a glob of a long literal", search(QueryKind::Glob, "*0000777.flac")),
        ("a root that is there", search(QueryKind::Root, &there.root.to_string())),
    ] {
        group.bench_function(name, |b| b.iter(|| digest.may_have(black_box(&search))));
    }
    group.bench_function("a file is added", |b| b.iter(|| digest.add(there.path.name(), black_box(&there.root))));
    group.finish();
}

fn picker(c: &mut Criterion) {
    c.bench_function("picker: 1024 pieces from four sources", |b| {
        b.iter(|| {
            let mut picker = Picker::new(1 << 30);
            let mut source = 0_u8;
            while let Some(piece) = picker.take(source % 4) {
                black_box(picker.verified(piece));
                source = source.wrapping_add(1);
            }
            picker.have()
        });
    });
}

criterion_group! {
    name = micro;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = frames, datagrams, index, digest, picker
}
criterion_main!(micro);
