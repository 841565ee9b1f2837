//! The speed of MD5 for one message after the other, and for several messages at once:
//! `cargo run --release --features measure --example md5_lanes`.
//!
//! Hashes 16 pieces of 1 MiB in several rounds and prints the median, in MB/s of one core.

#![allow(clippy::print_stdout, reason = "a program that prints a figure")]

use std::time::Instant;

use md5::Digest as _;
use sprat::disk::md5_lanes::{Source, md5_each};

const ROUNDS: usize = 21;
/// The number of messages that the widest processors hash at once.
const PIECES: usize = 16;
const PIECE_BYTES: usize = 1 << 20;

fn main() {
    let pieces: Vec<Vec<u8>> = (0..PIECES).map(|n| (0..PIECE_BYTES).map(|i| (i * 31 + n) as u8).collect()).collect();
    let sources: Vec<Source<'_>> = pieces.iter().map(|piece| Source::Bytes(piece)).collect();
    let singly = rate(|| pieces.iter().map(|piece| md5::Md5::digest(piece)[0]).fold(0, u8::wrapping_add));
    let at_once = rate(|| md5_each(&sources, &mut Vec::new()).len() as u8);
    let blake3 = rate(|| pieces.iter().map(|piece| blake3::hash(piece).as_bytes()[0]).fold(0, u8::wrapping_add));
    println!("md5 one by one {singly:.0} MB/s");
    println!("md5 at once {at_once:.0} MB/s");
    println!("blake3 {blake3:.0} MB/s");
}

/// Median rate of hashing all pieces once.
fn rate(hash: impl Fn() -> u8) -> f64 {
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(hash());
            (PIECES * PIECE_BYTES) as f64 / 1e6 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[ROUNDS / 2]
}
