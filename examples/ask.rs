//! Sends queries to a super peer as fast as it answers. It shares only the wire with `sprat bench`,
//! so that it checks its figures independently.
//!
//! ```text
//! cargo run --release --features measure --example ask -- SUPER SESSIONS DEPTH SECONDS
//! ```
//!
//! Each session has a thread with a blocking socket. It keeps DEPTH queries in flight, searches for
//! names that LIST returned, and counts the answers. Prints one JSON object: `count`, `hits`,
//! `rate_per_s`, `p50_us`, `p99_us`, and the growth of the super peer's own count of queries during
//! the run.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sprat::config::{FRAME_BYTES_OPEN, PROTOCOL_VERSION};
use sprat::wire::message::{Hello, List, Login, Query, Register, Status};
use sprat::wire::{Message, NodeId, QueryKind, Search, frame};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [addr, sessions, depth, seconds] = &args[..] else {
        return Err("usage: ask SUPER SESSIONS DEPTH SECONDS".into());
    };
    let (addr, depth): (SocketAddr, usize) = (addr.parse()?, depth.parse()?);
    let length = Duration::from_secs_f64(seconds.parse()?);
    let mut talk = Session::open(addr, 0)?;
    let names = talk.names()?;
    if names.is_empty() {
        return Err("no file is registered there".into());
    }
    let before = talk.queries()?;
    let threads: Vec<_> = (1..=sessions.parse::<u64>()?)
        .map(|n| {
            let names = names.clone();
            std::thread::spawn(move || Session::open(addr, n)?.ask(&names, n, depth, length))
        })
        .collect();
    let mut all = Answers::default();
    for thread in threads {
        let answers = thread.join().map_err(|_| "a session broke")??;
        all.hits += answers.hits;
        all.micros.extend(answers.micros);
    }
    all.micros.sort_unstable();
    let counted = talk.queries()? - before;
    let at = |share: usize| all.micros[(all.micros.len() - 1) * share / 100];
    let rate = all.micros.len() as f64 / length.as_secs_f64();
    println!(
        "{{\"count\":{},\"hits\":{},\"rate_per_s\":{rate:.1},\"p50_us\":{},\"p99_us\":{},\"super_counted\":{counted}}}",
        all.micros.len(),
        all.hits,
        at(50),
        at(99)
    );
    Ok(())
}

#[derive(Default)]
struct Answers {
    hits: u64,
    micros: Vec<u64>,
}

struct Session {
    stream: TcpStream,
    read: Vec<u8>,
    taken: usize,
}

impl Session {
    /// Sends HELLO, LOGIN and an empty REGISTER, and reads the answers.
    fn open(addr: SocketAddr, n: u64) -> io::Result<Session> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        let mut session = Session { stream, read: Vec::new(), taken: 0 };
        let mut node = [7; NodeId::LEN];
        node[..8].copy_from_slice(&n.to_be_bytes());
        let hello =
            Hello { version: PROTOCOL_VERSION, node: NodeId(node), boot: 1, features: vec![], agent: "ask".into() };
        session.say(&[
            Message::Hello(hello),
            Message::Login(Login::open()),
            Message::Register(Register {
                seq: 1,
                port: 0,
                host: None,
                more_addr: None,
                http: false,
                files: vec![],
                more: false,
            }),
        ])?;
        while !matches!(session.hear()?, Message::Ack(_)) {}
        Ok(session)
    }

    fn say(&mut self, messages: &[Message]) -> io::Result<()> {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| frame::encode(message, &mut bytes));
        self.stream.write_all(&bytes)
    }

    fn hear(&mut self) -> io::Result<Message> {
        loop {
            let decoded = frame::decode(&self.read[self.taken..], FRAME_BYTES_OPEN).map_err(io::Error::other)?;
            if let Some((message, used)) = decoded {
                self.taken += used;
                return Ok(message);
            }
            self.read.drain(..self.taken);
            self.taken = 0;
            let mut more = [0; 16 * 1024];
            match self.stream.read(&mut more)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.read.extend_from_slice(&more[..count]),
            }
        }
    }

    /// The first page of the registered files.
    fn names(&mut self) -> io::Result<Vec<String>> {
        self.say(&[Message::List(List { req: 1, after: None, partial: false })])?;
        loop {
            if let Message::Files(files) = self.hear()? {
                return Ok(files.files.iter().map(|file| file.path.name().to_owned()).collect());
            }
        }
    }

    /// How many queries the super peer has received so far.
    fn queries(&mut self) -> io::Result<u64> {
        self.say(&[Message::Status(Status { req: 2 })])?;
        loop {
            if let Message::Info(info) = self.hear()? {
                return Ok(info.counts.get("queries").copied().unwrap_or(0));
            }
        }
    }

    /// Keeps `depth` queries in flight until the time is up, then waits for the last answers and
    /// counts them too.
    fn ask(&mut self, names: &[String], n: u64, depth: usize, length: Duration) -> io::Result<Answers> {
        let mut answers = Answers::default();
        let mut out: VecDeque<(u32, Instant)> = VecDeque::new();
        let (begun, mut state, mut req) = (Instant::now(), n, 0);
        loop {
            let mut questions = Vec::new();
            while out.len() < depth && begun.elapsed() < length {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let pattern = names[(state >> 33) as usize % names.len()].clone();
                let find = Search::new(pattern, QueryKind::Exact);
                req += 1;
                out.push_back((req, Instant::now()));
                questions.push(Message::Query(Query { req, find, ttl: None, budget: None, policy: None }));
            }
            if out.is_empty() {
                return Ok(answers);
            }
            if !questions.is_empty() {
                self.say(&questions)?;
            }
            // Answers that arrive together are counted together, and so are the next queries sent.
            loop {
                if let Message::Done(done) = self.hear()? {
                    let at = out.iter().position(|(req, _)| *req == done.req).ok_or(io::ErrorKind::InvalidData)?;
                    let (_, asked) = out.remove(at).ok_or(io::ErrorKind::InvalidData)?;
                    answers.hits += u64::from(done.hits);
                    answers.micros.push(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
                }
                if self.taken == self.read.len() {
                    break;
                }
            }
        }
    }
}
