//! The limit of one thread for datagrams, with one system call for each.
//!
//! ```text
//! limit_udp receive [BYTES]               prints its address, counts until a second is silent
//! limit_udp send ADDR SECONDS [BYTES]     sends as fast as it can
//! ```
//!
//! Both print datagrams per second.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const BYTES: usize = 1200;
const SOCKET_BUFFER_BYTES: usize = 8 << 20;

fn receive() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    println!("{}", socket.local_addr()?);
    let mut buffer = [0; 2048];
    socket.recv(&mut buffer)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let begun = Instant::now();
    let (mut count, mut last) = (1_u64, begun);
    while socket.recv(&mut buffer).is_ok() {
        count += 1;
        if count.is_multiple_of(1024) {
            last = Instant::now();
        }
    }
    println!("received {:.0} count {count}", count as f64 / (last - begun).as_secs_f64().max(1e-6));
    Ok(())
}

fn send(addr: &str, seconds: f64, bytes: usize) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(addr)?;
    let datagram = vec![7; bytes];
    let begun = Instant::now();
    let mut count = 0_u64;
    while !count.is_multiple_of(1024) || begun.elapsed().as_secs_f64() < seconds {
        // A slow receiver loses datagrams; the sender ignores that.
        let _ = socket.send(&datagram);
        count += 1;
    }
    println!("sent {:.0} count {count}", count as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let bytes = |at: usize| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(BYTES);
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["receive", ..] => receive(),
        ["send", addr, seconds, ..] => send(addr, seconds.parse().map_err(io::Error::other)?, bytes(3)),
        _ => Err(io::Error::other("usage: limit_udp receive [BYTES] | limit_udp send ADDR SECONDS [BYTES]")),
    }
}
