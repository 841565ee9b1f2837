//! A load for any server whose answers have a known length, so that one client measures sprat and
//! its rivals.
//!
//! ```text
//! limit_load ADDR SESSIONS DEPTH SECONDS GREETING ANSWER [REQUEST ANSWER]
//! ```
//!
//! It sets up SESSIONS connections, 128 at a time: it connects, sends GREETING and waits for the
//! ANSWER to it. With a REQUEST it then keeps DEPTH of them in flight on each connection for
//! SECONDS; without one it only holds the connections for that time. It prints set-ups per second,
//! then requests per second and the p50 and p99 latency in microseconds.
//!
//! GREETING and REQUEST are bytes, with `\r`, `\n` and `\xNN`, or one of these:
//!
//! - `sprat`: HELLO and LOGIN. `sprat+file`: also a REGISTER of one file.
//! - `sprat:NAME`, as a request: a QUERY for the file of this name.
//! - `adc:FILE`: a login to an ADC hub with one line of FILE per session, in which `%SID` is the id
//!   from the hub.
//!
//! ANSWER is a number of bytes; a number of sprat frames, as in `2f`; or `echo`, which is the ADC
//! line itself.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};
use sprat::wire::message::{Hello, Login, Query, Register};
use sprat::wire::{FileRecord, Message, NodeId, QueryKind, Root, Search, SharePath, frame};

const SETUPS_MAX: usize = 128;
/// Connections from one local address. They are few, so that the kernel finds a free port at once.
const PER_SOURCE: usize = 2_000;
const EVENTS: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;

struct Load {
    addr: SocketAddr,
    depth: usize,
    greeting: Vec<u8>,
    /// The line of each session of an ADC hub.
    logins: Vec<String>,
    greeted: Answer,
    request: Vec<u8>,
    answered: Answer,
}

/// What makes an answer complete.
#[derive(Clone, Copy)]
enum Answer {
    Bytes(usize),
    Frames(usize),
    /// The line of the ADC session comes back.
    Echo,
}

impl Answer {
    fn of(text: Option<&String>) -> Answer {
        let text = text.map_or("0", String::as_str);
        if text == "echo" {
            return Answer::Echo;
        }
        match text.strip_suffix('f') {
            Some(frames) => Answer::Frames(frames.parse().unwrap_or(1)),
            None => Answer::Bytes(text.parse().unwrap_or(0)),
        }
    }
}

/// Counts frames in the received bytes, wherever they are cut.
#[derive(Default)]
struct Frames {
    head: [u8; 4],
    held: usize,
    /// Bytes of a body that have not arrived.
    left: usize,
}

impl Frames {
    fn take(&mut self, mut bytes: &[u8]) -> usize {
        let mut whole = 0;
        while !bytes.is_empty() {
            if self.left == 0 {
                self.head[self.held] = bytes[0];
                self.held += 1;
                bytes = &bytes[1..];
                if self.held == self.head.len() {
                    self.held = 0;
                    self.left = u32::from_be_bytes(self.head) as usize;
                }
                continue;
            }
            let count = self.left.min(bytes.len());
            self.left -= count;
            whole += usize::from(self.left == 0);
            bytes = &bytes[count..];
        }
        whole
    }
}

/// A login to an ADC hub. The hub sends an id, and the session sends its line. The session is
/// logged in when the hub sends this line back, after the lines of all other sessions.
#[derive(Default)]
struct Adc {
    login: String,
    /// The start of its own line.
    own: String,
    /// A line that has not arrived completely.
    held: Vec<u8>,
}

impl Adc {
    /// Takes received bytes. Returns whether the session is logged in, and what it sends now.
    fn take(&mut self, bytes: &[u8]) -> io::Result<(bool, String)> {
        let (mut within, mut say) = (false, String::new());
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.held.extend_from_slice(part);
            if !part.ends_with(b"\n") {
                break;
            }
            let line = String::from_utf8_lossy(&self.held);
            if line.starts_with("ISTA 2") {
                return Err(io::Error::other(line.trim().to_owned()));
            }
            if let Some(id) = line.strip_prefix("ISID ") {
                say = self.login.replace("%SID", id.trim()) + "\n";
                self.own = format!("BINF {} ", id.trim());
            }
            within |= !self.own.is_empty() && line.starts_with(&self.own);
            self.held.clear();
        }
        Ok((within, say))
    }
}

fn logins(text: &str) -> io::Result<Vec<String>> {
    match text.strip_prefix("adc:") {
        Some(path) => Ok(std::fs::read_to_string(path)?.lines().map(str::to_owned).collect()),
        None => Ok(Vec::new()),
    }
}

fn greeting(text: &str) -> Vec<u8> {
    let files = match text {
        adc if adc.starts_with("adc:") => return b"HSUP ADBASE ADTIGR\n".to_vec(),
        "sprat" => None,
        "sprat+file" => Some(1),
        other => return unescaped(other),
    };
    let mut bytes = Vec::new();
    let (node, agent) = (NodeId([7; 16]), "limit_load".to_owned());
    frame::encode(&Message::Hello(Hello { version: [1, 0], node, boot: 1, features: Vec::new(), agent }), &mut bytes);
    frame::encode(&Message::Login(Login::open()), &mut bytes);
    if files.is_some() {
        let path = SharePath::new("w1299 w0327 w0587 w0783 w0483 00000007.flac").expect("43 bytes");
        let files = vec![FileRecord { path, size: 7, root: Root([7; 32]), collection: false }];
        frame::encode(
            &Message::Register(Register {
                seq: 1,
                port: 9,
                host: None,
                more_addr: None,
                http: false,
                files,
                more: false,
            }),
            &mut bytes,
        );
    }
    bytes
}

fn request(text: &str) -> Vec<u8> {
    let Some(name) = text.strip_prefix("sprat:") else { return unescaped(text) };
    let find = Search::new(name, QueryKind::Exact);
    let mut bytes = Vec::new();
    frame::encode(&Message::Query(Query { req: 1, find, ttl: None, budget: None, policy: None }), &mut bytes);
    bytes
}

struct Session {
    stream: TcpStream,
    up: bool,
    /// Bytes or frames of the current answer that have arrived.
    got: usize,
    frames: Frames,
    adc: Adc,
    asked: VecDeque<Instant>,
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, c == '\\') {
            (_, true) => match rest.next() {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('x') => {
                    let digits: String = rest.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(0));
                }
                other => bytes.extend(other.map(|c| c as u8)),
            },
            (c, false) => bytes.extend(c.to_string().bytes()),
        }
    }
    bytes
}

fn dial(load: &Load, number: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(load.addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if load.addr.ip().is_loopback() {
        // The socket is closed with a reset: ports in TIME_WAIT would slow down the next
        // measurement.
        socket.set_linger(Some(Duration::ZERO))?;
        let host = u8::try_from(number / PER_SOURCE + 1).unwrap_or(255);
        socket.bind(&SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 9, 9, host)), 0).into())?;
    }
    match socket.connect(&load.addr.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    let stream = TcpStream::from_std(socket.into());
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Session {
    fn ask(&mut self, load: &Load, count: usize, now: Instant) -> io::Result<()> {
        let bytes = load.request.repeat(count);
        self.asked.extend(std::iter::repeat_n(now, count));
        self.stream.write_all(&bytes)
    }

    /// Reads what has arrived and returns how many answers it completes.
    fn read(&mut self, answer: Answer, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.got += match answer {
                        Answer::Bytes(_) => count,
                        Answer::Frames(_) => self.frames.take(&buffer[..count]),
                        // The hub also sends the lines of sessions that log in later.
                        Answer::Echo if self.up => 0,
                        Answer::Echo => {
                            let (within, say) = self.adc.take(&buffer[..count])?;
                            self.stream.write_all(say.as_bytes())?;
                            usize::from(within)
                        }
                    };
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let size = match answer {
            Answer::Bytes(size) | Answer::Frames(size) => size,
            Answer::Echo => 1,
        };
        let whole = self.got / size.max(1);
        self.got -= whole * size;
        Ok(whole)
    }
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|arg| arg.parse::<f64>().ok()).unwrap_or(0.0);
    let load = Load {
        addr: args.first().and_then(|addr| addr.parse().ok()).ok_or_else(|| io::Error::other("ADDR is missing"))?,
        depth: number(2) as usize,
        greeting: greeting(args.get(4).map_or("", String::as_str)),
        logins: logins(args.get(4).map_or("", String::as_str))?,
        greeted: Answer::of(args.get(5)),
        request: request(args.get(6).map_or("", String::as_str)),
        answered: Answer::of(args.get(7)),
    };
    let (wanted, length) = (number(1) as usize, Duration::from_secs_f64(number(3)));
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum }
    });
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS);
    let mut sessions: Vec<Session> = Vec::with_capacity(wanted);
    let mut buffer = vec![0; BUFFER_BYTES];
    let begun = Instant::now();
    let mut up = 0;
    while up < wanted {
        while sessions.len() < wanted && sessions.len() - up < SETUPS_MAX {
            let mut stream = dial(&load, sessions.len())?;
            let token = Token(sessions.len());
            poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let adc = Adc { login: load.logins.get(sessions.len()).cloned().unwrap_or_default(), ..Adc::default() };
            sessions.push(Session {
                stream,
                up: false,
                got: 0,
                frames: Frames::default(),
                adc,
                asked: VecDeque::new(),
            });
        }
        poll.poll(&mut events, None)?;
        for event in &events {
            let session = &mut sessions[event.token().0];
            if session.up {
                if matches!(load.greeted, Answer::Echo) {
                    session.read(load.greeted, &mut buffer)?;
                }
                continue;
            }
            if event.is_writable() && session.asked.is_empty() {
                session.asked.push_back(begun);
                session.stream.write_all(&load.greeting)?;
            }
            let silent = matches!(load.greeted, Answer::Bytes(0)) && event.is_writable();
            if silent || session.read(load.greeted, &mut buffer)? > 0 {
                session.up = true;
                session.asked.clear();
                up += 1;
            }
        }
    }
    let setup = begun.elapsed().as_secs_f64();
    println!("up {:.0}", wanted as f64 / setup);
    if load.request.is_empty() {
        std::thread::sleep(length);
        return Ok(());
    }
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).map_err(io::Error::other)?;
    let begun = Instant::now();
    for session in &mut sessions {
        session.ask(&load, load.depth, begun)?;
    }
    let mut count = 0_u64;
    let mut now = begun;
    while now - begun < length {
        poll.poll(&mut events, Some(Duration::from_millis(100)))?;
        now = Instant::now();
        for event in events.iter().filter(|event| event.is_readable()) {
            let session = &mut sessions[event.token().0];
            let whole = session.read(load.answered, &mut buffer)?;
            if whole > session.asked.len() {
                return Err(io::Error::other(
                    "more bytes arrived than were requested; ANSWER does not fit this server",
                ));
            }
            for asked in session.asked.drain(..whole) {
                latencies.saturating_record(u64::try_from((now - asked).as_micros()).unwrap_or(u64::MAX));
            }
            count += whole as u64;
            if whole > 0 {
                session.ask(&load, whole, now)?;
            }
        }
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let (p50, p99) = (latencies.value_at_quantile(0.5), latencies.value_at_quantile(0.99));
    println!("requests {rate:.0} p50 {p50} p99 {p99} count {count}");
    // The script reads the CPU time of the server now, before the closing of all connections adds
    // to it.
    std::thread::sleep(Duration::from_millis(100));
    Ok(())
}
