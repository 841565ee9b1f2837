//! The actions of an adversary, and short forms for them.

use std::net::SocketAddr;

use crate::config::MANIFEST_PAGE_CVS;
use crate::proto::{ConnId, Input, Output};
use crate::sim::content::{ContentId, Contents, Extent};
use crate::time::Time;
use crate::wire::ids::Md5;
use crate::wire::message::{Chunk, Cvs, Error, ErrorCode, Get, Manifest};
use crate::wire::{Message, frame};

/// One adversary.
pub(in crate::sim) trait Adversary {
    /// Something happened at its sockets.
    fn on_input(&mut self, input: Input<'_>, hands: &mut Hands<'_>);
    /// The time of [`Adversary::wake_at`] has come.
    fn on_time(&mut self, hands: &mut Hands<'_>);
    /// When it wants to act next.
    fn wake_at(&self) -> Option<Time>;
}

/// One thing that an adversary does.
#[derive(Debug)]
pub(in crate::sim) enum Move {
    /// An output that machines use too.
    Act(Output),
    /// Bytes on a connection. They may be a frame or not.
    Bytes { conn: ConnId, bytes: Vec<u8> },
    /// The payload of a CHUNK.
    Payload { conn: ConnId, extent: Extent },
    /// This many bytes of a payload. The rest will never come.
    Part { conn: ConnId, bytes: u32 },
    /// Reads nothing more on this connection.
    Deaf { conn: ConnId },
    /// A datagram, from any address.
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    /// Its harm has reached an honest node, and is counted under this name.
    Struck(&'static str),
}

/// What an adversary can use in one of its turns.
pub(in crate::sim) struct Hands<'a> {
    pub(in crate::sim) now: Time,
    pub(in crate::sim) contents: &'a mut Contents,
    pub(in crate::sim) moves: Vec<Move>,
}

impl<'a> Hands<'a> {
    pub(in crate::sim) fn new(now: Time, contents: &'a mut Contents) -> Hands<'a> {
        Hands { now, contents, moves: Vec::new() }
    }

    pub(super) fn act(&mut self, output: Output) {
        self.moves.push(Move::Act(output));
    }

    pub(super) fn send(&mut self, conn: ConnId, message: Message) {
        self.act(Output::Send { conn, message });
    }

    pub(super) fn bytes(&mut self, conn: ConnId, bytes: Vec<u8>) {
        self.moves.push(Move::Bytes { conn, bytes });
    }

    pub(super) fn close(&mut self, conn: ConnId) {
        self.act(Output::Close { conn });
    }

    pub(super) fn struck(&mut self, name: &'static str) {
        self.moves.push(Move::Struck(name));
    }

    /// The bytes of this content that a GET requests; none if the content has fewer.
    pub(super) fn extent(&self, get: &Get, content: ContentId) -> Option<Extent> {
        let end = get.offset.checked_add(u64::from(get.length))?;
        let fits = get.length > 0 && end <= self.contents.size(content);
        fits.then_some(Extent { content, offset: get.offset, length: get.length })
    }

    /// The CHUNK that announces these bytes, as an honest source sends it.
    pub(super) fn header(&self, get: &Get, md5: Md5) -> Message {
        Message::Chunk(Chunk { req: get.req, offset: get.offset, length: get.length, md5: Some(md5) })
    }

    /// Answers a GET with bytes of this content. The MD5 is this one, or the correct one if none is
    /// given.
    pub(super) fn chunk(&mut self, conn: ConnId, get: &Get, content: ContentId, md5: Option<Md5>) {
        let Some(extent) = self.extent(get, content) else { return self.refuse(conn, get.req) };
        let md5 = md5.unwrap_or_else(|| self.contents.md5(extent));
        let header = self.header(get, md5);
        self.send(conn, header);
        self.moves.push(Move::Payload { conn, extent });
    }

    /// The correct page of a manifest.
    pub(super) fn page(&mut self, ask: &Manifest, content: ContentId) -> Cvs {
        let cvs = self.contents.manifest(content);
        let page = cvs.iter().skip(ask.first as usize).take(MANIFEST_PAGE_CVS);
        let size = self.contents.size(content);
        Cvs { req: ask.req, size, first: ask.first, cvs: page.flat_map(|cv| cv.0).collect(), ..Cvs::default() }
    }

    pub(super) fn refuse(&mut self, conn: ConnId, req: u32) {
        let (code, message) = (ErrorCode::BAD_REQUEST, "not within the content".to_owned());
        self.send(conn, Message::Error(Error::new(code, message, Some(req))));
    }
}

/// The bytes of a message on a connection.
pub(super) fn framed(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes);
    bytes
}
