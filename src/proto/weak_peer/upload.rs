//! Serving chunks and manifests to other peers: the chunk connections that were accepted, their requests in order, what is
//! read ahead for them, and their deadlines. Owns no file and no byte: the disk prepares, the driver sends.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::context::{Desk, Owner, Reason};
use crate::config::{
    CHUNK_BYTES_MAX, CHUNK_IDLE_MAX, FRAME_BYTES_OPEN, LOGIN_DEADLINE, PROTOCOL_VERSION, UPLOAD_AHEAD,
    UPLOAD_AHEAD_LOW, UPLOAD_REQUESTS_MAX, UPLOAD_SENDING_MAX, UPLOADS_MAX,
};
use crate::proto::disk::ServeFailure;
use crate::proto::marks::mark;
use crate::proto::{ConnId, DiskWork, Output};
use crate::time::Time;
use crate::wire::ids::{Md5, Root};
use crate::wire::message::{Chunk, Cvs, ErrorCode, Hello, Welcome};
use crate::wire::message::{told_by_sources, told_by_super_peers, told_to_super_peers};
use crate::wire::{HostPort, Message, WireError};

#[derive(Debug)]
enum Wanted {
    Chunk { root: Root, offset: u64, length: u32, bare: bool },
    Page { root: Root, first: u32 },
}

#[derive(Debug)]
enum Stage {
    Queued,
    /// The disk is at it.
    Preparing,
    /// To be sent once it is first in line.
    Ready(Answer),
    /// The bytes are on their way.
    Sending,
    /// Not wanted any more; what the disk says about it is thrown away.
    Cancelled,
}

#[derive(Debug)]
enum Answer {
    Chunk(Option<Md5>),
    Page(u64, Vec<u8>),
    Failed(ServeFailure),
}

#[derive(Debug)]
struct Request {
    req: u32,
    wanted: Wanted,
    stage: Stage,
}

/// One chunk connection.
#[derive(Debug)]
struct Upload {
    from: SocketAddr,
    greeted: bool,
    /// In the order in which they came and are answered.
    requests: VecDeque<Request>,
    /// When the last request came or ended.
    active_at: Time,
}

impl Upload {
    fn find(&mut self, req: u32) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.req == req)
    }
}

/// See the module's words.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    conns: BTreeMap<ConnId, Upload>,
    pub(super) chunks_sent: u64,
    pub(super) bytes_sent: u64,
    /// Connections that we ended, by the reason for it.
    closed: BTreeMap<&'static str, u64>,
}

impl Uploads {
    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    /// How many connections were ended for their fault, by reason.
    pub(super) fn closed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.closed.iter().map(|(reason, n)| (*reason, *n))
    }

    pub(super) fn on_accepted(&mut self, desk: &mut Desk, conn: ConnId, from: SocketAddr) {
        if self.conns.len() >= UPLOADS_MAX {
            *self.closed.entry("closed_crowded").or_default() += 1;
            desk.error(conn, ErrorCode::BUSY, "all upload slots are taken; try again later", None);
            desk.close(conn);
            return;
        }
        desk.own(conn, Owner::Upload);
        desk.timers.set(Reason::Upload(conn), desk.now + LOGIN_DEADLINE);
        let upload = Upload { from, greeted: false, requests: VecDeque::new(), active_at: desk.now };
        self.conns.insert(conn, upload);
    }

    pub(super) fn on_message(&mut self, desk: &mut Desk, conn: ConnId, message: Message) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        if !upload.greeted {
            let Message::Hello(hello) = message else {
                return self.fail(desk, conn, ErrorCode::ORDER, "HELLO comes first");
            };
            return self.on_hello(desk, conn, &hello);
        }
        match message {
            Message::Get(get) if (1..=CHUNK_BYTES_MAX).contains(&get.length) => {
                let wanted = Wanted::Chunk { root: get.root, offset: get.offset, length: get.length, bare: get.bare };
                self.queue(desk, conn, get.req, wanted);
            }
            Message::Get(get) => {
                let why = format!("a chunk has 1 to {CHUNK_BYTES_MAX} bytes");
                desk.error(conn, ErrorCode::BAD_REQUEST, why, Some(get.req));
            }
            Message::Manifest(page) => {
                self.queue(desk, conn, page.req, Wanted::Page { root: page.root, first: page.first });
            }
            Message::Cancel(cancel) => {
                cancel_request(desk, conn, upload, cancel.req);
                self.pump(desk, conn);
            }
            Message::Bye(_) => self.end(desk, conn),
            Message::Error(_) => {}
            Message::Unknown(kind) => {
                desk.error(conn, ErrorCode::UNKNOWN_KIND, format!("{kind} is not known"), None);
            }
            Message::Hello(_)
            | Message::Welcome(_)
            | Message::Ping(_)
            | told_to_super_peers!()
            | told_by_super_peers!()
            | told_by_sources!() => {
                let why = format!("{} has no place on a chunk connection", message.kind());
                self.fail(desk, conn, ErrorCode::ORDER, &why);
            }
        }
    }

    fn on_hello(&mut self, desk: &mut Desk, conn: ConnId, hello: &Hello) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        if hello.version[0] != PROTOCOL_VERSION[0] {
            let why = format!("this peer speaks version {}", PROTOCOL_VERSION[0]);
            return self.fail(desk, conn, ErrorCode::VERSION, &why);
        }
        upload.greeted = true;
        upload.active_at = desk.now;
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            node: desk.node,
            boot: desk.boot,
            features: Vec::new(),
            ping: u32::try_from(CHUNK_IDLE_MAX.as_millis()).unwrap_or(u32::MAX),
            frame: u32::try_from(FRAME_BYTES_OPEN).unwrap_or(u32::MAX),
            addr: HostPort::from(upload.from),
        };
        desk.push(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        desk.send(conn, Message::Welcome(welcome));
        desk.timers.set(Reason::Upload(conn), desk.now + CHUNK_IDLE_MAX);
    }

    fn queue(&mut self, desk: &mut Desk, conn: ConnId, req: u32, wanted: Wanted) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        if upload.find(req).is_some() {
            return self.fail(desk, conn, ErrorCode::BAD_REQUEST, "this request number is in use");
        }
        if upload.requests.len() >= UPLOAD_REQUESTS_MAX {
            let why = format!("more than {UPLOAD_REQUESTS_MAX} requests at once");
            desk.error(conn, ErrorCode::LIMIT, why, Some(req));
            return;
        }
        upload.active_at = desk.now;
        upload.requests.push_back(Request { req, wanted, stage: Stage::Queued });
        self.pump(desk, conn);
    }

    /// Has the disk prepare what comes next, and sends what is ready and first in line.
    fn pump(&mut self, desk: &mut Desk, conn: ConnId) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        self.chunks_sent += send_ready(desk, conn, upload, &mut self.bytes_sent);
        // Several at once, for their MD5s are computed together.
        let begun = |request: &&Request| !matches!(request.stage, Stage::Queued);
        if upload.requests.iter().filter(begun).count() > UPLOAD_AHEAD_LOW {
            return;
        }
        for request in upload.requests.iter_mut().take(1 + UPLOAD_AHEAD) {
            if !matches!(request.stage, Stage::Queued) {
                continue;
            }
            request.stage = Stage::Preparing;
            let req = request.req;
            desk.disk(match request.wanted {
                Wanted::Chunk { root, offset, length, bare } => {
                    DiskWork::PrepareChunk { conn, req, root, offset, length, bare }
                }
                Wanted::Page { root, first } => DiskWork::ReadManifest { conn, req, root, first },
            });
        }
    }

    pub(super) fn on_chunk_ready(
        &mut self,
        desk: &mut Desk,
        conn: ConnId,
        req: u32,
        result: Result<Option<Md5>, ServeFailure>,
    ) {
        self.ready(desk, conn, req, result.map_or_else(Answer::Failed, Answer::Chunk));
    }

    pub(super) fn on_manifest_ready(
        &mut self,
        desk: &mut Desk,
        conn: ConnId,
        req: u32,
        result: Result<(u64, Vec<u8>), ServeFailure>,
    ) {
        self.ready(desk, conn, req, result.map_or_else(Answer::Failed, |(size, cvs)| Answer::Page(size, cvs)));
    }

    fn ready(&mut self, desk: &mut Desk, conn: ConnId, req: u32, answer: Answer) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        let Some(request) = upload.find(req) else { return };
        match request.stage {
            Stage::Preparing => request.stage = Stage::Ready(answer),
            Stage::Cancelled => {
                upload.requests.retain(|request| request.req != req);
                desk.push(Output::DropChunk { conn, req });
            }
            Stage::Queued | Stage::Ready(_) | Stage::Sending => return,
        }
        self.pump(desk, conn);
    }

    pub(super) fn on_payload_sent(&mut self, desk: &mut Desk, conn: ConnId, req: u32) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        upload.active_at = desk.now;
        upload.requests.retain(|request| request.req != req || !matches!(request.stage, Stage::Sending));
        self.pump(desk, conn);
    }

    pub(super) fn on_malformed(&mut self, desk: &mut Desk, conn: ConnId, error: &WireError) {
        self.fail(desk, conn, error.code(), &error.to_string());
    }

    pub(super) fn on_timer(&mut self, desk: &mut Desk, conn: ConnId) {
        let Some(upload) = self.conns.get(&conn) else { return };
        if !upload.greeted {
            return self.fail(desk, conn, ErrorCode::DEADLINE, "no HELLO in time");
        }
        let idle_at = if upload.requests.is_empty() { upload.active_at } else { desk.now };
        if idle_at + CHUNK_IDLE_MAX <= desk.now {
            mark!(UploadIdle);
            return self.fail(desk, conn, ErrorCode::DEADLINE, "no request for too long");
        }
        desk.timers.set(Reason::Upload(conn), idle_at + CHUNK_IDLE_MAX);
    }

    fn fail(&mut self, desk: &mut Desk, conn: ConnId, code: ErrorCode, why: &str) {
        *self.closed.entry(counter(code)).or_default() += 1;
        desk.error(conn, code, why, None);
        self.end(desk, conn);
    }

    fn end(&mut self, desk: &mut Desk, conn: ConnId) {
        desk.close(conn);
        self.on_closed(desk, conn);
    }

    pub(super) fn on_closed(&mut self, desk: &mut Desk, conn: ConnId) {
        if self.conns.remove(&conn).is_some() {
            desk.timers.stop(Reason::Upload(conn));
            desk.disk(DiskWork::ForgetConn { conn });
        }
    }

    pub(super) fn shut_down(&mut self, desk: &mut Desk) {
        while let Some((&conn, _)) = self.conns.first_key_value() {
            desk.bye(conn, "the peer ends");
            self.on_closed(desk, conn);
        }
    }
}

/// Forgets a request, unless its bytes are on their way.
fn cancel_request(desk: &mut Desk, conn: ConnId, upload: &mut Upload, req: u32) {
    let Some(request) = upload.find(req) else { return };
    mark!(UploadCancelled);
    match request.stage {
        Stage::Queued => {}
        Stage::Preparing => {
            // The number stays in use until the disk has answered, so that its answer is not taken for another's.
            request.stage = Stage::Cancelled;
            return;
        }
        Stage::Ready(_) => desk.push(Output::DropChunk { conn, req }),
        Stage::Sending | Stage::Cancelled => return,
    }
    upload.requests.retain(|request| request.req != req);
}

/// Answers requests from the front as far as they are ready. Counts the chunks.
fn send_ready(desk: &mut Desk, conn: ConnId, upload: &mut Upload, bytes_sent: &mut u64) -> u64 {
    let mut chunks = 0;
    let mut sending = 0;
    let mut at = 0;
    while let Some(request) = upload.requests.get_mut(at) {
        let req = request.req;
        match (&mut request.stage, &request.wanted) {
            (Stage::Sending, _) => {
                sending += 1;
                at += 1;
                continue;
            }
            (Stage::Cancelled, _) => {
                at += 1;
                continue;
            }
            (Stage::Ready(_), _) if sending >= UPLOAD_SENDING_MAX => break,
            (Stage::Queued | Stage::Preparing, _) => break,
            (Stage::Ready(Answer::Chunk(md5)), &Wanted::Chunk { offset, length, .. }) => {
                desk.send(conn, Message::Chunk(Chunk { req, offset, length, md5: *md5 }));
                desk.push(Output::SendPayload { conn, req, offset, length });
                request.stage = Stage::Sending;
                sending += 1;
                chunks += 1;
                *bytes_sent += u64::from(length);
                at += 1;
                continue;
            }
            (Stage::Ready(Answer::Page(size, cvs)), &Wanted::Page { first, .. }) => {
                let cvs = std::mem::take(cvs);
                desk.send(conn, Message::Cvs(Cvs { req, size: *size, first, cvs }));
            }
            (Stage::Ready(Answer::Failed(failure)), _) => {
                let (code, why) = refusal(*failure);
                desk.error(conn, code, why, Some(req));
            }
            (Stage::Ready(Answer::Chunk(_)), Wanted::Page { .. })
            | (Stage::Ready(Answer::Page(..)), Wanted::Chunk { .. }) => {
                debug_assert!(false, "the disk answered something else than was asked");
            }
        }
        upload.active_at = desk.now;
        upload.requests.remove(at);
    }
    chunks
}

/// The counter of connections that are ended with this code.
fn counter(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::MALFORMED => "closed_malformed",
        ErrorCode::TOO_LONG => "closed_too_long",
        ErrorCode::ORDER => "closed_order",
        ErrorCode::VERSION => "closed_version",
        ErrorCode::DEADLINE => "closed_silent",
        _ => "closed_bad_request",
    }
}

fn refusal(failure: ServeFailure) -> (ErrorCode, &'static str) {
    match failure {
        ServeFailure::NotFound => (ErrorCode::NOT_FOUND, "no shared file has this content"),
        ServeFailure::OutOfRange => (ErrorCode::BAD_REQUEST, "the range does not lie within the content"),
        ServeFailure::Changed => (ErrorCode::CHANGED, "the file changed or cannot be read any more"),
    }
}
