//! The simplest client that speaks frames: blocking, one message at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use sprat::config;
use sprat::wire::message::{Ack, Hello, List, ListedFile, Login, Register};
use sprat::wire::{FileRecord, Message, NodeId, frame};

use super::PATIENCE;

/// A connection on which HELLO was answered.
pub(crate) struct Speaker {
    stream: TcpStream,
}

impl Speaker {
    pub(crate) fn over(stream: TcpStream) -> Speaker {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Speaker { stream }
    }

    /// Connects and says HELLO.
    pub(crate) fn dial(addr: &str) -> Speaker {
        let mut speaker = Speaker::over(TcpStream::connect(addr).expect("the address answers"));
        speaker.send(&hello());
        let Message::Welcome(_) = speaker.receive().expect("a WELCOME") else { panic!("no WELCOME") };
        speaker
    }

    /// Connects and logs in.
    pub(crate) fn session(addr: &str) -> Speaker {
        let mut speaker = Speaker::dial(addr);
        speaker.send(&Message::Login(Login::open()));
        let Message::Ready(_) = speaker.receive().expect("a READY") else { panic!("no READY") };
        speaker
    }

    pub(crate) fn send(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes);
        self.send_raw(&bytes);
    }

    /// The other side may have closed already. The test checks what the other side sent before.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).ok();
    }

    /// The next message, or `None` if the other side closed.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        let mut bytes = vec![0; frame::LENGTH_BYTES];
        self.stream.read_exact(&mut bytes).ok()?;
        let length = frame::length(&bytes, config::FRAME_BYTES_OPEN).expect("a frame within the cap").expect("4 bytes");
        bytes.resize(frame::LENGTH_BYTES + length, 0);
        self.stream.read_exact(&mut bytes[frame::LENGTH_BYTES..]).ok()?;
        let (message, _) = frame::decode(&bytes, config::FRAME_BYTES_OPEN).expect("a message").expect("whole");
        Some(message)
    }

    /// Registers these files as served at this address. The address is advertised, because the
    /// super peer sees this process under another loopback address than the one on which it
    /// listens.
    pub(crate) fn register(&mut self, addr: SocketAddr, files: Vec<FileRecord>) {
        let count = files.len() as u64;
        let host = Some(addr.ip().to_string());
        self.send(&Message::Register(Register {
            seq: 1,
            port: addr.port(),
            host,
            more_addr: None,
            http: false,
            files,
            more: false,
        }));
        assert_eq!(self.receive(), Some(Message::Ack(Ack { seq: 1, files: count })));
    }

    /// All registered files, page by page.
    pub(crate) fn list(&mut self) -> Vec<ListedFile> {
        let mut files = Vec::new();
        let mut after = None;
        for req in 1.. {
            self.send(&Message::List(List { req, after, partial: false }));
            let Some(Message::Files(page)) = self.receive() else { panic!("no FILES") };
            files.extend(page.files);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        files
    }
}

pub(crate) fn hello() -> Message {
    Message::Hello(Hello {
        version: config::PROTOCOL_VERSION,
        node: NodeId([7; 16]),
        boot: 7,
        features: Vec::new(),
        agent: "e2e".into(),
    })
}
