//! The cost of a record in the index of a super peer.
//!
//! ```text
//! cargo run --release --features measure --example index_memory \
//!     [RECORDS [WORDS [SEARCH]]] [folders FILES]
//! ```
//!
//! Registers RECORDS files (1,000,000 by default) in sessions of 10,000. A name has 43 bytes: words
//! from a vocabulary of WORDS (2,000 by default) and a number. With `folders FILES`, every FILES
//! files are in a folder of their own, `ARTIST/ALBUM/NAME` of 12, 20 and 43 bytes; ten folders
//! share an artist. Prints bytes per record (growth of the resident set in /proc/self/status),
//! records per second, and the time to remove a session and to answer searches. SEARCH selects one
//! of the searches, counted from 1; 0 runs none.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use sprat::config::SCAN_ENTRIES_PER_TURN;
use sprat::proto::super_peer::index::{HolderId, Index};
use sprat::proto::super_peer::search::{Scan, Step};
use sprat::wire::{FileRecord, HostPort, NodeId, QueryKind, Root, Search, SharePath};

const FILES_PER_SESSION: u64 = 10_000;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ n >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ n
}

/// `w0123-w0456-w0789-w1011-w1213-000012345.flac`, cut to 43 bytes.
fn name(n: u64, words: u64) -> String {
    let mut name = String::new();
    for word in 0..5 {
        let _ = write!(name, "w{:04} ", mix(n * 5 + word) % words);
    }
    let _ = write!(name, "{n:08}.flac");
    name
}

/// `w0123 w0456a/w0789 w1011 00001234/`: 12 and 20 bytes, and two separators.
fn folder(n: u64, words: u64) -> String {
    let word = |n: u64| mix(n) % words;
    let artist = n / 10;
    let (first, second) = (word(artist * 2 + 1), word(artist * 2 + 2));
    format!("w{first:04} w{second:04}a/w{:04} w{:04} {n:08}/", word(n * 3 + 5), word(n * 3 + 7))
}

fn record(n: u64, words: u64, per_folder: Option<u64>) -> FileRecord {
    let mut root = [0; 32];
    for (at, part) in root.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&mix(n * 4 + at as u64).to_be_bytes());
    }
    let folder = per_folder.map(|files| folder(n / files, words)).unwrap_or_default();
    let path = SharePath::new(&(folder + &name(n, words))).expect("43 to 77 bytes");
    FileRecord { path, size: n, root: Root(root), collection: false }
}

fn ask(index: &Index, kind: QueryKind, pattern: String, rounds: u32) {
    let search = Search::new(pattern, kind);
    let mut longest = 0;
    let start = Instant::now();
    let (mut hits, mut steps) = (Vec::new(), 0_u32);
    for _ in 0..rounds {
        hits.clear();
        let mut scan = Scan::new(index, &search).expect("a good pattern");
        loop {
            let before = Instant::now();
            let step = scan.step(index, SCAN_ENTRIES_PER_TURN, &mut hits);
            longest = longest.max(before.elapsed().as_micros());
            steps += 1;
            if step != Step::More {
                break;
            }
        }
    }
    println!(
        "{:?} {:?}: {} hits, {:.1} us a search, {} steps, longest {} us",
        search.kind,
        search.pattern,
        hits.len(),
        start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds),
        steps / rounds,
        longest
    );
}

fn main() {
    let (args, folders): (Vec<String>, Vec<String>) = {
        let all: Vec<String> = std::env::args().skip(1).collect();
        let at = all.iter().position(|arg| arg == "folders").unwrap_or(all.len());
        (all[..at].to_vec(), all[at..].to_vec())
    };
    let per_folder = folders.get(1).and_then(|files| files.parse::<u64>().ok()).filter(|files| *files > 0);
    let mut args = args.iter().filter_map(|arg| arg.parse::<u64>().ok());
    let records = args.next().unwrap_or(1_000_000);
    let words = args.next().unwrap_or(2_000);
    let alone = args.next();
    let addr = HostPort::new("192.0.2.1", 4778).expect("an address");
    let sample = record(7, words, per_folder);
    println!("{records} records, paths of {} bytes such as {:?}", sample.path.as_str().len(), sample.path.as_str());

    let before = resident_bytes();
    let mut index = Index::with_seed(7);
    let mut holder = HolderId(0);
    let mut inserting = 0.0;
    let mut longest = 0;
    for n in 0..records {
        if n % FILES_PER_SESSION == 0 {
            holder = index.add_holder(addr.clone(), NodeId([1; 16]));
        }
        let record = black_box(record(n, words, per_folder));
        let start = Instant::now();
        index.insert(holder, record);
        let took = start.elapsed();
        inserting += took.as_secs_f64();
        longest = longest.max(took.as_micros());
    }
    let bytes = resident_bytes() - before;
    #[expect(clippy::cast_precision_loss, reason = "a printed ratio")]
    let (per_record, rate) = (bytes as f64 / records as f64, records as f64 / inserting);
    println!("{per_record:.1} bytes a record, {rate:.0} inserts a second, longest insert {longest} us");

    let middle = name(records / 2, words);
    let searches = [
        (QueryKind::Exact, middle.clone(), 10_000),
        (QueryKind::Words, middle.clone(), 10_000),
        (QueryKind::Words, middle[..12].to_owned(), 100),
        (QueryKind::Words, "flac".into(), 10),
        (QueryKind::Glob, "*5.mp3".into(), 1),
        (QueryKind::Words, folder(records / 20, words).replace('/', " "), 10_000),
        (QueryKind::Below, folder(records / 20, words), 10_000),
    ];
    for (at, (kind, pattern, rounds)) in (1..).zip(searches) {
        if alone.is_none_or(|alone| alone == at) {
            ask(&index, kind, pattern, rounds);
        }
    }

    let start = Instant::now();
    index.remove_holder(holder);
    println!("removed a session of {FILES_PER_SESSION} files in {} us", start.elapsed().as_micros());
    let start = Instant::now();
    let mut turns = 0_u32;
    while index.tidy(256) {
        turns += 1;
    }
    println!("tidied up after it in {} us, {turns} turns of 256", start.elapsed().as_micros());
}
