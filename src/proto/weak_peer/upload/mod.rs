//! Serves chunks and manifests to other peers: the accepted chunk connections, their requests in
//! order, the answers that the disk prepares in advance, and the deadlines. It opens no file and
//! sees no content: the disk prepares the bytes, and the driver sends them.

mod answers;
mod connection;
mod following;
mod request;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::context::{Context, Owner, Reason};
use super::membership::{code_of, is_node};
use super::swarm::turns::Turns;
use crate::config::{
    CHUNK_BYTES_MAX, CHUNK_IDLE_MAX, FRAME_BYTES_LOGIN, LOGIN_DEADLINE, PIECE_BYTES, PROTOCOL_VERSION, RATE_WINDOW,
    UPLOAD_AHEAD, UPLOAD_AHEAD_BYTES, UPLOAD_AHEAD_LOW, UPLOAD_REQUESTS_MAX, UPLOADS_MAX,
};
use crate::proto::crowd::Plan;
use crate::proto::event::{UploadPeer, UploadReport};
use crate::proto::marks::mark;
use crate::proto::meter::Meter;
use crate::proto::{ConnId, DiskWork, Limit, Output};
use crate::time::Time;
use crate::trust::{Account, PublicKey, Refusal};
use crate::wire::message::{ErrorCode, Get, Hello, Login, Mode, Ready, Welcome};
use crate::wire::message::{sent_by_sources, sent_by_super_peers, sent_to_super_peers};
use crate::wire::swarm::FEATURE_SWARM;
use crate::wire::{HostPort, Message, Root, WireError};
use answers::{Answered, cancel_request, send_ready};
use connection::{Greeting, Upload, open};
pub(super) use request::Answer;
use request::{Request, Stage, Wanted};

/// All accepted chunk connections.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    conns: BTreeMap<ConnId, Upload>,
    pub(super) chunks_sent: u64,
    pub(super) bytes_sent: u64,
    /// Followers whose place another one got.
    pub(super) followers_displaced: u64,
    /// Connections that we closed, by reason.
    closed: BTreeMap<&'static str, u64>,
    /// Which connections are closed next while all places are taken.
    plan: Plan,
    /// The turns of followers.
    turns: Turns,
    /// Followers that wait for their first HAS.
    unanswered: Vec<ConnId>,
    /// Followers that wait for turns. After many kinds of input a turn might be given. Then only
    /// these few connections are looked at.
    waiting: BTreeSet<ConnId>,
}

impl Uploads {
    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    /// The number of connections that we closed, by reason as in STATUS.
    pub(super) fn closed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.closed.iter().map(|(reason, n)| (*reason, *n))
    }

    /// For STATUS: each content that is requested, or was lately, with the connections that get it.
    /// The paths are not known here.
    pub(super) fn reports(&self, now: Time) -> Vec<UploadReport> {
        let mut all: BTreeMap<Root, UploadReport> = BTreeMap::new();
        for upload in self.conns.values() {
            let busy = !upload.requests.is_empty() || now.since(upload.active_at) < RATE_WINDOW;
            let Some(root) = upload.root.filter(|_| busy) else { continue };
            let (peer, bytes, rate) = (upload.from.into(), upload.taken, upload.rate.per_second(now));
            let none = UploadReport { root, path: None, size: None, rate: 0, peers: Vec::new() };
            let report = all.entry(root).or_insert(none);
            report.rate += rate;
            report.peers.push(UploadPeer { peer, bytes, rate });
        }
        all.into_values().collect()
    }

    pub(super) fn on_accepted(
        &mut self,
        cx: &mut Context,
        (conn, since): (ConnId, Time),
        from: SocketAddr,
        key: Option<PublicKey>,
    ) {
        if self.conns.len() >= UPLOADS_MAX && !self.make_room(cx) {
            *self.closed.entry("closed_crowded").or_default() += 1;
            cx.error(conn, ErrorCode::BUSY, "all upload slots are taken; try again later", None);
            cx.close(conn);
            return;
        }
        cx.own(conn, Owner::Upload);
        let open_by = since + LOGIN_DEADLINE;
        cx.timers.set(Reason::Upload(conn), open_by.max(cx.now));
        let upload = Upload {
            from,
            greeting: Greeting::Hello,
            key,
            account: None,
            open_by,
            requests: VecDeque::new(),
            active_at: cx.now,
            idle_since: cx.now,
            taken: 0,
            rate: Meter::new(RATE_WINDOW),
            root: None,
            node: None,
            swarms: false,
            follower: None,
            asked: 0,
        };
        self.conns.insert(conn, upload);
    }

    /// Descriptors are short: closes this many connections, if that many may be closed.
    pub(super) fn on_crowded(&mut self, cx: &mut Context, excess: usize) {
        for _ in 0..excess.min(self.conns.len()) {
            if !self.make_room(cx) {
                return;
            }
        }
    }

    /// Closes the connection that `plan` chooses, one of the host that has the most connections.
    /// Returns `false` if all connections take bytes at a sufficient rate.
    fn make_room(&mut self, cx: &mut Context) -> bool {
        let Uploads { conns, plan, .. } = self;
        let now = cx.now;
        let all = || conns.iter().filter_map(|(conn, upload)| upload.occupant(*conn, now)).collect();
        let idlest = plan.next(now, |conn| conns.get(&conn)?.occupant(conn, now), all);
        let Some(conn) = idlest else { return false };
        *self.closed.entry("closed_evicted").or_default() += 1;
        cx.error(conn, ErrorCode::BUSY, "all upload slots are taken, and this one was idle longest", None);
        self.end(cx, conn);
        true
    }

    pub(super) fn on_message(&mut self, cx: &mut Context, conn: ConnId, message: Message) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        match message {
            Message::Hello(hello) if upload.greeting == Greeting::Hello => self.on_hello(cx, conn, &hello),
            Message::Login(login) if upload.greeting == Greeting::Login => self.on_login(cx, conn, &login),
            Message::Bye(_) => self.end(cx, conn),
            Message::Error(_) => {}
            Message::Unknown(kind) => cx.unknown_kind(conn, &kind),
            _ if upload.greeting == Greeting::Hello => self.fail(cx, conn, ErrorCode::ORDER, "HELLO comes first"),
            _ if upload.greeting == Greeting::Login => self.fail(cx, conn, ErrorCode::ORDER, "LOGIN comes first"),
            Message::Get(get) if (1..=CHUNK_BYTES_MAX).contains(&get.length) => {
                let wanted = Wanted::Chunk { root: get.root, offset: get.offset, length: get.length, bare: get.bare };
                if self.queue(cx, conn, get.req, wanted) {
                    self.on_get(cx, conn, &get);
                    self.pump(cx, conn);
                }
            }
            Message::Get(get) => {
                let why = format!("a chunk has 1 to {CHUNK_BYTES_MAX} bytes");
                cx.error(conn, ErrorCode::BAD_REQUEST, why, Some(get.req));
            }
            Message::Manifest(page) => {
                if self.queue(cx, conn, page.req, Wanted::Page { root: page.root, first: page.first }) {
                    self.pump(cx, conn);
                }
            }
            Message::Cancel(cancel) if upload.follower.as_ref().is_some_and(|follower| follower.req == cancel.req) => {
                self.end_follow(conn);
                self.give_turns(cx);
            }
            Message::Cancel(cancel) => {
                if cancel_request(cx, conn, upload, cancel.req) {
                    self.end_turn(cx, conn, cancel.req, false);
                }
                self.pump(cx, conn);
            }
            Message::Follow(follow) => self.on_follow(cx, conn, follow),
            Message::Want(want) => self.on_want(cx, conn, want),
            Message::Hello(_)
            | Message::Welcome(_)
            | Message::Login(_)
            | Message::Ready(_)
            | Message::Ping(_)
            | sent_to_super_peers!()
            | sent_by_super_peers!()
            | sent_by_sources!() => {
                let why = format!("{} does not belong on a chunk connection", message.kind());
                self.fail(cx, conn, ErrorCode::ORDER, &why);
            }
        }
    }

    fn on_hello(&mut self, cx: &mut Context, conn: ConnId, hello: &Hello) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        if hello.version[0] != PROTOCOL_VERSION[0] {
            let why = format!("this peer speaks version {}", PROTOCOL_VERSION[0]);
            return self.fail(cx, conn, ErrorCode::VERSION, &why);
        }
        if !is_node(upload.key, hello.node) {
            return self.fail(cx, conn, ErrorCode::LOGIN, "the node of the HELLO is not that of the key");
        }
        upload.node = Some(hello.node);
        upload.swarms = hello.features.iter().any(|feature| feature == FEATURE_SWARM);
        let (mode, welcome) = (cx.mode(), HostPort::from(upload.from));
        let mut welcome = Welcome { mode, ..Welcome::new(cx.node, cx.boot, CHUNK_IDLE_MAX, welcome) };
        welcome.features.push(FEATURE_SWARM.to_owned());
        cx.send(conn, Message::Welcome(welcome));
        if mode == Mode::Login {
            upload.greeting = Greeting::Login;
            cx.push(Output::FrameCap { conn, bytes: FRAME_BYTES_LOGIN });
        } else {
            open(cx, conn, upload);
        }
    }

    /// In login mode: nothing is served before LOGIN.
    fn on_login(&mut self, cx: &mut Context, conn: ConnId, login: &Login) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        if login.mode != Mode::Login {
            return self.fail(cx, conn, ErrorCode::MODE, "this peer takes a login; join with sprat join");
        }
        let Some((membership, key)) = cx.membership.as_ref().zip(upload.key) else { return };
        match membership.check(login.credential.as_deref(), key, cx.now) {
            Ok(account) => {
                let ready = Ready { operators: Vec::new(), credential: membership.credential() };
                let limit = membership.upload_limit(&account);
                if limit > 0 {
                    let account = number_of(&account);
                    cx.push(Output::Limit(Limit::Account { conn, account, upload: limit }));
                }
                upload.account = Some(account);
                cx.send(conn, Message::Ready(ready));
                open(cx, conn, upload);
            }
            Err(refusal) => self.fail(cx, conn, code_of(refusal), &refusal.to_string()),
        }
    }

    /// Credentials were revoked: ends the connections that used them.
    pub(super) fn on_revoked(&mut self, cx: &mut Context) {
        let Some(membership) = &cx.membership else { return };
        let denied = |upload: &Upload| upload.account.as_ref().is_some_and(|account| membership.denies(account));
        let ended: Vec<ConnId> =
            self.conns.iter().filter(|(_, upload)| denied(upload)).map(|(conn, _)| *conn).collect();
        for conn in ended {
            let is_sending =
                |upload: &Upload| upload.requests.iter().any(|request| matches!(request.stage, Stage::Sending));
            if self.conns.get(&conn).is_some_and(is_sending) {
                self.cut_off(cx, conn, ErrorCode::REVOKED);
            } else {
                self.fail(cx, conn, ErrorCode::REVOKED, &Refusal::Revoked.to_string());
            }
        }
    }

    /// The limits of accounts have changed.
    pub(super) fn on_classes(&mut self, cx: &mut Context) {
        let Some(membership) = &cx.membership else { return };
        let of = |(conn, upload): (&ConnId, &Upload)| {
            let account = upload.account.as_ref()?;
            let (account, upload) = (number_of(account), membership.upload_limit(account));
            Some(Output::Limit(Limit::Account { conn: *conn, account, upload }))
        };
        let limits: Vec<Output> = self.conns.iter().filter_map(of).collect();
        limits.into_iter().for_each(|limit| cx.push(limit));
    }

    /// A chunk is requested: it uses the turn of the connection, if it has one.
    fn on_get(&mut self, cx: &mut Context, conn: ConnId, get: &Get) {
        let piece = u32::try_from(get.offset / PIECE_BYTES).ok();
        self.turns.take(cx.now, (conn, get.req), get.root, piece);
    }

    /// Puts a request in the queue of its connection. Returns `false` if that is not allowed.
    fn queue(&mut self, cx: &mut Context, conn: ConnId, req: u32, wanted: Wanted) -> bool {
        let Some(upload) = self.conns.get_mut(&conn) else { return false };
        if upload.find(req).is_some() {
            self.fail(cx, conn, ErrorCode::BAD_REQUEST, "this request number is in use");
            return false;
        }
        if upload.requests.len() >= UPLOAD_REQUESTS_MAX {
            let why = format!("more than {UPLOAD_REQUESTS_MAX} requests at once");
            cx.error(conn, ErrorCode::LIMIT, why, Some(req));
            return false;
        }
        upload.active_at = cx.now;
        upload.root = Some(wanted.root());
        let request = Request { req, wanted, stage: Stage::Queued };
        upload.asked += request.bytes();
        upload.requests.push_back(request);
        true
    }

    /// Sends the answers that are ready and in order, and requests the next ones from the disk.
    fn pump(&mut self, cx: &mut Context, conn: ConnId) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        let mut answered = Answered::default();
        self.chunks_sent += send_ready(cx, conn, upload, &mut self.bytes_sent, &mut answered);
        upload.asked = upload.requests.iter().map(Request::bytes).sum();
        self.on_answered(cx, conn, answered);
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        // Several are requested at once, because the disk computes their MD5s together.
        let begun = upload.requests.iter().filter(|request| !matches!(request.stage, Stage::Queued));
        let (begun, mut ahead) = begun.fold((0, 0), |(n, sum), request| (n + 1, sum + request.weight()));
        if begun > UPLOAD_AHEAD_LOW && ahead >= UPLOAD_AHEAD_BYTES {
            return;
        }
        let mut room = upload.room();
        for (place, request) in upload.requests.iter_mut().enumerate() {
            let bytes = request.bytes();
            if !matches!(request.stage, Stage::Queued) {
                room = room.saturating_sub(bytes);
                continue;
            }
            ahead += request.weight();
            if bytes > room || place > UPLOAD_AHEAD && ahead > UPLOAD_AHEAD_BYTES {
                return;
            }
            room -= bytes;
            request.stage = Stage::Preparing;
            let (req, from) = (request.req, upload.from.ip());
            cx.disk(match request.wanted {
                Wanted::Chunk { root, offset, length, bare } => {
                    DiskWork::PrepareChunk { conn, from, req, root, offset, length, bare }
                }
                Wanted::Page { root, first } => DiskWork::ReadManifest { conn, from, req, root, first },
                Wanted::Follow { root } => DiskWork::ReadManifest { conn, from, req, root, first: 0 },
            });
        }
    }

    fn on_answered(&mut self, cx: &mut Context, conn: ConnId, answered: Answered) {
        answered.failed.into_iter().for_each(|req| self.end_turn(cx, conn, req, false));
        for (req, size) in answered.followed {
            self.on_followed(cx, conn, req, size);
        }
    }

    pub(super) fn on_ready(&mut self, cx: &mut Context, conn: ConnId, req: u32, answer: Answer) {
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        let Some(request) = upload.find(req) else { return };
        match request.stage {
            Stage::Preparing => request.stage = Stage::Ready(answer),
            Stage::Canceled => {
                upload.requests.retain(|request| request.req != req);
                cx.push(Output::DropChunk { conn, req });
                self.end_turn(cx, conn, req, false);
            }
            Stage::Queued | Stage::Ready(_) | Stage::Sending => return,
        }
        self.pump(cx, conn);
    }

    pub(super) fn on_payload_sent(&mut self, cx: &mut Context, conn: ConnId, req: u32) {
        let rate_min = cx.upload_rate_min(self.conns.len());
        let Some(upload) = self.conns.get_mut(&conn) else { return };
        upload.active_at = cx.now;
        let length = match upload.find(req) {
            Some(Request { wanted: Wanted::Chunk { length, .. }, stage: Stage::Sending, .. }) => u64::from(*length),
            Some(_) | None => 0,
        };
        upload.on_taken(cx.now, length, rate_min);
        upload.requests.retain(|request| request.req != req || !matches!(request.stage, Stage::Sending));
        self.end_turn(cx, conn, req, true);
        self.pump(cx, conn);
    }

    pub(super) fn on_malformed(&mut self, cx: &mut Context, conn: ConnId, error: &WireError) {
        self.fail(cx, conn, error.code(), &error.to_string());
    }

    pub(super) fn on_timer(&mut self, cx: &mut Context, conn: ConnId) {
        let Some(upload) = self.conns.get(&conn) else { return };
        if upload.greeting != Greeting::Open {
            debug_assert!(upload.open_by <= cx.now, "the timer is that of the login");
            return self.fail(cx, conn, ErrorCode::DEADLINE, "no HELLO or LOGIN in time");
        }
        if upload.is_expired(cx) {
            return self.fail(cx, conn, ErrorCode::EXPIRED, &Refusal::Expired.to_string());
        }
        let waits = upload.follower.as_ref().is_some_and(|follower| follower.wants > 0);
        let idle_at = if upload.requests.is_empty() && !waits { upload.active_at } else { cx.now };
        if idle_at + CHUNK_IDLE_MAX <= cx.now {
            mark!(UploadIdle);
            return self.fail(cx, conn, ErrorCode::DEADLINE, "no request for too long");
        }
        cx.timers.set(Reason::Upload(conn), upload.look_at(cx, idle_at));
    }

    fn fail(&mut self, cx: &mut Context, conn: ConnId, code: ErrorCode, why: &str) {
        *self.closed.entry(counter(code)).or_default() += 1;
        cx.error(conn, code, why, None);
        self.end(cx, conn);
    }

    /// Ends a connection in the middle of a chunk, after which no ERROR can be sent: the rest of
    /// the chunk could take long, because of a limit or because the other side reads slowly.
    fn cut_off(&mut self, cx: &mut Context, conn: ConnId, code: ErrorCode) {
        *self.closed.entry(counter(code)).or_default() += 1;
        cx.abort(conn);
        self.on_closed(cx, conn);
    }

    fn end(&mut self, cx: &mut Context, conn: ConnId) {
        cx.close(conn);
        self.on_closed(cx, conn);
    }

    pub(super) fn on_closed(&mut self, cx: &mut Context, conn: ConnId) {
        self.leave_turns(cx, conn);
        self.end_follow(conn);
        if let Some(upload) = self.conns.remove(&conn) {
            self.turns.forget(conn);
            self.give_turns(cx);
            cx.timers.stop(Reason::Upload(conn));
            // Before HELLO, the disk got no request. So it is not woken for a client of HTTP.
            if upload.greeting != Greeting::Hello {
                cx.disk(DiskWork::ForgetConn { conn });
            }
        }
    }

    pub(super) fn shut_down(&mut self, cx: &mut Context) {
        while let Some((&conn, _)) = self.conns.first_key_value() {
            cx.bye(conn, "the peer ends");
            self.on_closed(cx, conn);
        }
    }
}

/// A number by which a driver knows an account.
fn number_of(account: &Account) -> u64 {
    let mut first = [0; 8];
    blake3::Hasher::new().update(account.name.as_bytes()).finalize_xof().fill(&mut first);
    u64::from_le_bytes(first).max(1)
}

/// The counter of connections that are closed with this code.
fn counter(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::MALFORMED => "closed_malformed",
        ErrorCode::TOO_LONG => "closed_too_long",
        ErrorCode::ORDER => "closed_order",
        ErrorCode::VERSION => "closed_version",
        ErrorCode::DEADLINE => "closed_silent",
        code if code.is_login() => "closed_login",
        _ => "closed_bad_request",
    }
}
