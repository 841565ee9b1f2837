//! A source of one content that answers each chunk as the test wants: honestly, falsely, or not at
//! all.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use blake3::hazmat::HasherExt;
use md5::{Digest, Md5 as Hasher};
use sprat::config::{FRAME_BYTES_OPEN, MANIFEST_PAGE_CVS, PIECE_BYTES};
use sprat::wire::message::{Chunk, Cvs, Get, Mode, Welcome};
use sprat::wire::{FileRecord, HostPort, Md5, Message, NodeId, Root, SharePath};

use super::session::Speaker;

/// How one GET is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The right bytes.
    Honest,
    /// The bytes with one bit changed, and the MD5 of the changed bytes.
    Flipped,
    /// The right bytes under a wrong MD5.
    WrongMd5,
    /// No answer, ever. Later requests on this connection wait too.
    Silence,
}

type Behavior = dyn Fn(usize, &Get) -> Answer + Send + Sync;

struct Shared {
    content: Vec<u8>,
    root: Root,
    behavior: Box<Behavior>,
    asked: Mutex<Vec<u64>>,
}

/// A registered source, until it is dropped. Its threads end with the connections that they serve.
pub(crate) struct Source {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _session: Speaker,
}

impl Source {
    /// Registers the content under this name at the super peer. `behavior` gets the number of the
    /// GET (from 0) and the GET.
    pub(crate) fn start(
        ip: Ipv4Addr,
        super_peer: &str,
        name: &str,
        content: Vec<u8>,
        behavior: impl Fn(usize, &Get) -> Answer + Send + Sync + 'static,
    ) -> Source {
        let listener = TcpListener::bind((ip, 0)).expect("a port");
        let addr = listener.local_addr().expect("an address");
        let root = Root(*blake3::hash(&content).as_bytes());
        let record = FileRecord {
            path: SharePath::new(name).expect("a name"),
            size: content.len() as u64,
            root,
            collection: false,
        };
        let shared = Arc::new(Shared { content, root, behavior: Box::new(behavior), asked: Mutex::new(Vec::new()) });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        let mut session = Speaker::session(super_peer);
        session.register(addr, vec![record]);
        Source { addr, shared, _session: session }
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// The offsets of the GETs so far, in order.
    pub(crate) fn asked(&self) -> Vec<u64> {
        self.shared.asked.lock().expect("not poisoned").clone()
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> Option<()> {
    let from = HostPort::from(stream.peer_addr().ok()?);
    let mut raw = stream.try_clone().ok()?;
    let mut speaker = Speaker::over(stream);
    let Some(Message::Hello(hello)) = speaker.receive() else { return None };
    speaker.send(&Message::Welcome(Welcome {
        version: hello.version,
        node: NodeId([9; 16]),
        boot: 9,
        features: Vec::new(),
        ping: 30_000,
        frame: u32::try_from(FRAME_BYTES_OPEN).ok()?,
        addr: from,
        mode: Mode::Open,
        rotation: None,
    }));
    while let Some(message) = speaker.receive() {
        if let Message::Get(get) = message {
            assert_eq!(get.root, shared.root, "asked for another content");
            answer(&mut speaker, &mut raw, shared, &get)?;
        } else if let Message::Manifest(manifest) = message {
            speaker.send(&Message::Cvs(Cvs {
                req: manifest.req,
                size: shared.content.len() as u64,
                first: manifest.first,
                cvs: page(&shared.content, manifest.first),
                ..Cvs::default()
            }));
        }
    }
    Some(())
}

fn answer(speaker: &mut Speaker, raw: &mut TcpStream, shared: &Shared, get: &Get) -> Option<()> {
    let number = {
        let mut asked = shared.asked.lock().expect("not poisoned");
        asked.push(get.offset);
        asked.len() - 1
    };
    let start = usize::try_from(get.offset).ok()?;
    let mut bytes = shared.content[start..start + get.length as usize].to_vec();
    let behavior = (shared.behavior)(number, get);
    match behavior {
        Answer::Honest | Answer::WrongMd5 => {}
        Answer::Flipped => bytes[get.length as usize / 2] ^= 1,
        Answer::Silence => {
            // Blocks until the asker closes.
            while speaker.receive().is_some() {}
            return None;
        }
    }
    let mut md5: [u8; 16] = Hasher::digest(&bytes).into();
    md5[0] ^= u8::from(behavior == Answer::WrongMd5);
    speaker.send(&Message::Chunk(Chunk { req: get.req, offset: get.offset, length: get.length, md5: Some(Md5(md5)) }));
    raw.write_all(&bytes).ok()
}

/// A page of chaining values, computed here and not by the tested code.
fn page(content: &[u8], first: u32) -> Vec<u8> {
    let piece_bytes = usize::try_from(PIECE_BYTES).expect("fits");
    if content.len() <= piece_bytes {
        return Vec::new();
    }
    let pieces = content.chunks(piece_bytes).enumerate().skip(first as usize).take(MANIFEST_PAGE_CVS);
    pieces
        .flat_map(|(index, piece)| {
            let mut hasher = blake3::Hasher::new();
            hasher.set_input_offset(index as u64 * PIECE_BYTES).update(piece);
            hasher.finalize_non_root()
        })
        .collect()
}
