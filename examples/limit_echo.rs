//! The limit of one thread with epoll: sends back what it receives, on any number of connections.
//!
//! ```text
//! cargo run --release --features measure --example limit_echo [ADDR]
//! ```
//!
//! Prints the address that it listens on. A server that parses and answers a request can only be
//! slower. The comparison scripts print this limit beside every rival.

#![allow(clippy::print_stdout, reason = "a program that prints where it listens")]

use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX - 1);
const EVENTS: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;

/// Sends back what has arrived; false once the other side has closed.
fn echo(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    loop {
        match stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).is_err() {
                    return false;
                }
                // A read that does not fill the buffer has emptied the socket (epoll(7)).
                if count < buffer.len() {
                    return true;
                }
            }
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let mut listener = TcpListener::bind(addr.parse().map_err(io::Error::other)?)?;
    println!("{}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS);
    let mut streams = slab::Slab::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != LISTENER {
                let at = event.token().0;
                if streams.get_mut(at).is_some_and(|stream| !echo(stream, &mut buffer)) {
                    streams.remove(at);
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                stream.set_nodelay(true)?;
                let entry = streams.vacant_entry();
                poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE)?;
                entry.insert(stream);
            }
        }
    }
}
