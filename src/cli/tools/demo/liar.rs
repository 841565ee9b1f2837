//! The liar of the demo. It is a peer that registers a file with its true root. In each piece that
//! it serves, one bit is wrong, and the MD5 is that of the wrong bytes. It has blocking sockets,
//! with a thread for each. The program itself has no code for such faults.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use blake3::hazmat::HasherExt;
use md5::{Digest, Md5 as Md5Hasher};

use crate::cli::random;
use crate::config::{FRAME_BYTES_OPEN, MANIFEST_PAGE_CVS, PIECE_BYTES};
use crate::wire::message::{Chunk, Cvs, Hello, Login, Ping, Register, Welcome};
use crate::wire::{FileRecord, HostPort, Md5, Message, Root, SharePath, frame};

/// The interval of its PINGs.
const PING: Duration = Duration::from_secs(5);
/// How long its WELCOME allows a connection to be idle.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// A running liar. Its threads end with the process.
pub(super) struct Liar {
    /// The address on which it serves.
    pub(super) addr: HostPort,
    /// Number of wrong pieces that it has sent.
    pub(super) lies: Arc<AtomicU64>,
}

/// The file that it registers.
struct Loot {
    file: File,
    size: u64,
    cvs: Vec<u8>,
    lies: Arc<AtomicU64>,
}

impl Liar {
    /// Registers `path` as `name` at a super peer. Serves it with wrong bytes on `ip`.
    pub(super) fn start(super_peer: SocketAddr, ip: IpAddr, path: &Path, name: &str, root: Root) -> io::Result<Liar> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let lies = Arc::new(AtomicU64::new(0));
        let loot = Arc::new(Loot { cvs: manifest(&file, size)?, file, size, lies: Arc::clone(&lies) });
        let listener = TcpListener::bind((ip, 0))?;
        let addr = listener.local_addr()?;
        let path = SharePath::new(name).ok_or(io::ErrorKind::InvalidInput)?;
        let session = enrol(super_peer, addr, FileRecord { path, size, root, collection: false })?;
        thread::spawn(move || keep(session));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let loot = Arc::clone(&loot);
                // Errors are expected here, because the other side closes the connection.
                thread::spawn(move || serve(stream, &loot));
            }
        });
        Ok(Liar { addr: HostPort::from(addr), lies })
    }
}

fn manifest(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let mut cvs = Vec::new();
    let mut piece = Vec::new();
    for offset in (0..size).step_by(usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX)) {
        piece.resize(usize::try_from((size - offset).min(PIECE_BYTES)).unwrap_or(0), 0);
        file.read_exact_at(&mut piece, offset)?;
        cvs.extend(blake3::Hasher::new().set_input_offset(offset).update(&piece).finalize_non_root());
    }
    Ok(cvs)
}

/// Frames on a blocking stream.
struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes);
        self.stream.write_all(&bytes)
    }

    fn receive(&mut self) -> io::Result<Message> {
        loop {
            let decoded = frame::decode(&self.buffer, FRAME_BYTES_OPEN);
            if let Some((message, used)) = decoded.map_err(|e| io::Error::other(e.to_string()))? {
                self.buffer.drain(..used);
                return Ok(message);
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.buffer.extend_from_slice(&more[..n]),
                // The kernel does not resume a call on a socket with a timeout after a signal
                // (signal(7)).
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads until the message `wanted` comes. If ERROR or BYE comes before it, this is a failure.
    fn expect(&mut self, wanted: &str) -> io::Result<()> {
        loop {
            let message = self.receive()?;
            if message.kind() == wanted {
                return Ok(());
            }
            if let Message::Error(crate::wire::message::Error { message: why, .. })
            | Message::Bye(crate::wire::message::Bye { why }) = message
            {
                return Err(io::Error::other(why));
            }
        }
    }
}

fn enrol(super_peer: SocketAddr, serving: SocketAddr, record: FileRecord) -> io::Result<Wire> {
    let stream = TcpStream::connect(super_peer)?;
    stream.set_read_timeout(Some(PING))?;
    let mut wire = Wire { stream, buffer: Vec::new() };
    wire.send(&Message::Hello(Hello::new(random::node_id(), random::boot_id(), "liar".into())))?;
    wire.expect("WELCOME")?;
    wire.send(&Message::Login(Login::open()))?;
    wire.expect("READY")?;
    wire.send(&Message::Register(Register {
        seq: 1,
        port: serving.port(),
        host: Some(serving.ip().to_string()),
        more_addr: None,
        http: false,
        files: vec![record],
        more: false,
    }))?;
    wire.expect("ACK")?;
    Ok(wire)
}

/// Keeps the session until it breaks.
fn keep(mut session: Wire) {
    for n in 0.. {
        match session.receive() {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if session.send(&Message::Ping(Ping { n })).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a liar answers what it must and ignores the rest")]
fn serve(stream: TcpStream, loot: &Loot) -> io::Result<()> {
    let mut wire = Wire { stream, buffer: Vec::new() };
    loop {
        match wire.receive()? {
            Message::Hello(_) => {
                let addr = HostPort::from(wire.stream.peer_addr()?);
                let welcome = Welcome::new(random::node_id(), random::boot_id(), IDLE_MAX, addr);
                wire.send(&Message::Welcome(welcome))?;
            }
            Message::Get(get) => {
                let mut bytes = vec![0; get.length as usize];
                loot.file.read_exact_at(&mut bytes, get.offset)?;
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                let md5 = Md5(Md5Hasher::digest(&bytes).into());
                wire.send(&Message::Chunk(Chunk {
                    req: get.req,
                    offset: get.offset,
                    length: get.length,
                    md5: Some(md5),
                }))?;
                loot.lies.fetch_add(1, Ordering::Relaxed);
                wire.stream.write_all(&bytes)?;
            }
            Message::Manifest(manifest) => {
                // The manifest is true, because a wrong one would be noticed before the first
                // piece.
                let first = manifest.first as usize * 32;
                let page = loot.cvs.get(first..).unwrap_or_default();
                let cvs = page[..page.len().min(MANIFEST_PAGE_CVS * 32)].to_vec();
                wire.send(&Message::Cvs(Cvs {
                    req: manifest.req,
                    size: loot.size,
                    first: manifest.first,
                    cvs,
                    ..Cvs::default()
                }))?;
            }
            Message::Ping(ping) => wire.send(&Message::Pong(ping))?,
            _ => {}
        }
    }
}
