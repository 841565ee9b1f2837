//! The limit of the machine for a transfer: a file through sendfile, loopback, read, hash and
//! pwrite, and nothing else. One thread on each side, blocking calls, warm buffers.
//! `scripts/compare/transfer` measures `sprat get` against it.
//!
//! ```text
//! limit_transfer serve FILE               prints its address, sends the file to each client
//! limit_transfer fetch ADDRESS FILE HASH  HASH is none, blake3, md5lanes or both
//! ```
//!
//! `fetch` prints one JSON line. It computes the digests and compares them with nothing.

#![allow(clippy::print_stdout, reason = "a program that prints a figure")]

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use sprat::disk::md5_lanes::{Source, md5_each};

const PIECE_BYTES: usize = 1 << 20;
/// The number of pieces that the widest processors hash at once.
const PIECES_AT_ONCE: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", file] => serve(&File::open(file)?),
        ["fetch", address, file, hash] => fetch(address, &File::create(file)?, hash),
        _ => Err("usage: limit_transfer serve FILE | fetch ADDRESS FILE none|blake3|md5lanes|both".into()),
    }
}

fn serve(file: &File) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        let (mut offset, end) = (0, file.metadata()?.len());
        while offset < end {
            let most = usize::try_from(end - offset)?.min(PIECE_BYTES);
            // The client has closed the connection.
            if rustix::fs::sendfile(&stream, file, Some(&mut offset), most).is_err() {
                break;
            }
        }
    }
    Ok(())
}

fn fetch(address: &str, file: &File, hash: &str) -> Result<(), Box<dyn Error>> {
    let (blake3, md5) = match hash {
        "none" => (false, false),
        "blake3" => (true, false),
        "md5lanes" => (false, true),
        "both" => (true, true),
        _ => return Err("HASH is none, blake3, md5lanes or both".into()),
    };
    let mut pieces = vec![vec![0; PIECE_BYTES]; if md5 { PIECES_AT_ONCE } else { 1 }];
    let mut stream = TcpStream::connect(address)?;
    let started = Instant::now();
    let mut offset = 0;
    let mut sum = 0;
    loop {
        let mut filled = Vec::new();
        for piece in &mut pieces {
            match read_piece(&mut stream, piece)? {
                0 => break,
                length => filled.push(&piece[..length]),
            }
            if let (true, Some(piece)) = (blake3, filled.last()) {
                sum ^= blake3::hash(piece).as_bytes()[0];
            }
        }
        if md5 {
            let sources: Vec<Source<'_>> = filled.iter().map(|piece| Source::Bytes(piece)).collect();
            for md5 in md5_each(&sources, &mut Vec::new()) {
                sum ^= md5?.0[0];
            }
        }
        for piece in &filled {
            file.write_all_at(piece, offset)?;
            offset += piece.len() as u64;
        }
        if filled.len() < pieces.len() {
            break;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{{\"bytes\": {offset}, \"mb_per_s\": {:.0}, \"sum\": {sum}}}", offset as f64 / 1e6 / seconds);
    Ok(())
}

/// Fills the piece and returns its length. Only the last piece may be shorter.
fn read_piece(stream: &mut TcpStream, piece: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match stream.read(&mut piece[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
