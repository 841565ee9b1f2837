//! What a session may send in which state, and what each message does.
//!
//! This part runs no search and reads only the state of the session. It decides whether the search
//! of a QUERY may begin. A message that needs other parts is returned to the dispatcher as a
//! [`Request`].

use std::net::{IpAddr, SocketAddr};

use super::page::Page;
use super::table::{Abandoned, Fault, MEMORY_IS_SHORT, Sessions, State, refuse};
use crate::config::{FRAME_BYTES_LOGIN, FRAME_BYTES_OPEN, PROTOCOL_VERSION, REVOKED_PAGE_KEYS, SESSION_QUERIES_MAX};
use crate::proto::super_peer::accounts::LoggedIn;
use crate::proto::super_peer::context::{Context, Reason};
use crate::proto::super_peer::counters::Count;
use crate::proto::super_peer::index::Serves;
use crate::proto::{ConnId, Event, Output};
use crate::wire::message::{
    ErrorCode, FEATURE_REACH, Hello, List, Login, Register, Revoked, Subscribe, Update, Welcome, sent_by_sources,
    sent_by_super_peers, sent_to_sources, sent_to_super_peers,
};
use crate::wire::swarm::{FEATURE_SWARM, Join};
use crate::wire::{HostPort, Message};

/// A request that needs more than its session.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    /// Nothing is left to do for the message.
    None,
    /// A CANCEL of this query. It is handled at once, because its number may be used again at once.
    Cancel(Abandoned),
    /// The session downloads or has a content, and asks which other peers have or download this
    /// content.
    Join(Join),
    /// The end of that JOIN.
    Leave { req: u32 },
    /// A page of the files that are registered here.
    List(List),
    /// The session asks for files that will be registered.
    Subscribe(Subscribe),
    /// A CANCEL of a number that no query has: the end of the SUBSCRIBE with this number, if there
    /// is one.
    Unsubscribe { req: u32 },
    /// The counters.
    Status { req: u32 },
}

impl Sessions {
    pub(super) fn on_half_open(
        &mut self,
        conn: ConnId,
        state: State,
        message: Message,
        cx: &mut Context,
    ) -> Result<(), Fault> {
        match (state, message) {
            (State::Hello, Message::Hello(hello)) => self.on_hello(conn, &hello, cx),
            (State::Login, Message::Login(login)) => self.on_login(conn, &login, cx),
            (State::Login, Message::Enroll(enroll)) => {
                if let Some(enrolled) = cx.logins.on_enroll(conn, &enroll, cx.now)? {
                    cx.count(Count::Enrolled);
                    cx.send(conn, Message::Enrolled(enrolled));
                }
                Ok(())
            }
            (_, message) => self.on_anytime(conn, message, cx),
        }
    }

    pub(super) fn on_open(
        &mut self,
        conn: ConnId,
        state: State,
        message: Message,
        cx: &mut Context,
    ) -> Result<Request, Fault> {
        if matches!(message, sent_to_super_peers!()) {
            self.session_mut(conn).expect("the session is open").note_active(cx.now);
        }
        match (state, message) {
            (_, Message::Register(register)) => {
                self.change_files(conn, cx, |sessions, cx| sessions.on_register(conn, register, cx))?;
            }
            (State::Open, Message::Update(update)) => {
                self.change_files(conn, cx, |sessions, cx| sessions.on_update(conn, update, cx))?;
            }
            (_, Message::List(list)) => return Ok(Request::List(list)),
            (_, Message::Ping(ping)) => cx.send(conn, Message::Pong(ping)),
            (_, Message::Subscribe(subscribe)) => return Ok(Request::Subscribe(subscribe)),
            (_, Message::Join(join)) => return Ok(Request::Join(join)),
            (_, Message::Leave(leave)) => return Ok(Request::Leave { req: leave.req }),
            (_, Message::Status(status)) => return Ok(Request::Status { req: status.req }),
            (_, Message::Cancel(cancel)) => {
                let session = self.session_mut(conn).expect("the session is open");
                if let Some(key) = session.take_query(cancel.req) {
                    return Ok(Request::Cancel(Abandoned { key, conn, req: cancel.req }));
                }
                return Ok(Request::Unsubscribe { req: cancel.req });
            }
            (_, message) => self.on_anytime(conn, message, cx)?,
        }
        Ok(Request::None)
    }

    /// What is allowed in every state. Everything else is out of order.
    fn on_anytime(&mut self, conn: ConnId, message: Message, cx: &mut Context) -> Result<(), Fault> {
        match message {
            Message::Bye(bye) => {
                cx.count(Count::ClosedBye);
                cx.out.push(Output::Close { conn });
                self.release(conn, Some(&format!("it said goodbye: {}", bye.why)), cx);
                Ok(())
            }
            Message::Unknown(kind) => {
                cx.count(Count::UnknownKind);
                let [major, minor] = PROTOCOL_VERSION;
                let why = format!("{kind:?} is no kind of message of version {major}.{minor}");
                refuse(conn, ErrorCode::UNKNOWN_KIND, why, None, cx);
                Ok(())
            }
            // The peer reports what went wrong on its side; it closes the session if that matters.
            Message::Error(_) => Ok(()),
            other @ (Message::Hello(_)
            | Message::Welcome(_)
            | Message::Login(_)
            | Message::Ready(_)
            | Message::Ping(_)
            | Message::Cancel(_)
            | sent_to_super_peers!()
            | sent_by_super_peers!()
            | sent_to_sources!()
            | sent_by_sources!()) => Err(Fault::order(other.kind())),
        }
    }

    fn on_hello(&mut self, conn: ConnId, hello: &Hello, cx: &mut Context) -> Result<(), Fault> {
        if hello.version[0] != PROTOCOL_VERSION[0] {
            let why = format!("this super peer speaks version {}", PROTOCOL_VERSION[0]);
            return Err(Fault(ErrorCode::VERSION, why, Count::ClosedVersion));
        }
        if cx.memory_short {
            return Err(Fault::memory());
        }
        cx.logins.on_hello(conn, hello.node)?;
        let session = self.session_mut(conn).expect("the session is half open");
        session.state = State::Login;
        (session.node, session.boot) = (hello.node, hello.boot);
        session.takes_reach = hello.features.iter().any(|feature| feature == FEATURE_REACH);
        let addr = SocketAddr::new(session.ip, session.port).into();
        let mut welcome = Welcome::new(cx.config.node, cx.config.boot, cx.config.ping, addr);
        if hello.features.iter().any(|feature| feature == FEATURE_SWARM) {
            welcome.features.push(FEATURE_SWARM.to_owned());
        }
        let welcome = Welcome { mode: cx.logins.mode(), rotation: cx.logins.rotation(), ..welcome };
        cx.out.push(Output::FrameCap { conn, bytes: FRAME_BYTES_LOGIN });
        cx.send(conn, Message::Welcome(welcome));
        Ok(())
    }

    fn on_login(&mut self, conn: ConnId, login: &Login, cx: &mut Context) -> Result<(), Fault> {
        let LoggedIn { ready, warning } = cx.logins.on_login(conn, login, cx.now)?;
        if let Some(text) = warning {
            cx.report(Event::Log { level: log::Level::Warn, text });
        }
        cx.count(Count::Welcomed);
        self.storm.on_login(cx.now);
        self.session_mut(conn).expect("the session is half open").state = State::Open;
        self.leave_half_open(cx);
        cx.out.push(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
        cx.send(conn, Message::Ready(ready));
        let denied = cx.logins.denied();
        for list in denied.chunks(REVOKED_PAGE_KEYS) {
            cx.send(conn, Message::Revoked(Revoked { list: list.to_vec() }));
        }
        if let Some(classes) = cx.logins.classes() {
            cx.send(conn, Message::Classes(classes));
        }
        let next = cx.logins.next_end();
        cx.arm(Reason::Expiry, next);
        Ok(())
    }

    /// A page of the list of all files. The first page replaces the previous list, address and
    /// port.
    fn on_register(&mut self, conn: ConnId, register: Register, cx: &mut Context) -> Result<(), Fault> {
        let Register { seq, port, host, more_addr, http, files, more } = register;
        let session = self.session_mut(conn).expect("the session is open");
        session.advance(seq)?;
        if port == 0 && !files.is_empty() {
            return Err(Fault::request("files are registered, but no port to fetch them from"));
        }
        if !files.is_empty() && cx.is_index_full() {
            session.state = if more { State::Registering } else { State::Open };
            self.ack = Some((conn, self.refuse_files(conn, cx)?));
            return Ok(());
        }
        let mut served = false;
        if session.state == State::Open {
            cx.logins.forget_files(conn);
            let serves = serves((session.ip, port), host.as_deref(), more_addr.as_deref(), http)?;
            served = session.serve(serves, (!more).then_some(files.len()), cx);
            if let (Some(holder), Some(user)) = (session.holder.get(), cx.logins.user(conn)) {
                cx.index.set_user(holder, user);
            }
        }
        cx.count(Count::Registers);
        session.state = State::Registering;
        self.served = served.then_some(conn);
        self.take_page(Page::of_list(conn, files, !more), cx)
    }

    fn on_update(&mut self, conn: ConnId, update: Update, cx: &mut Context) -> Result<(), Fault> {
        let Update { seq, add, del } = update;
        let session = self.session_mut(conn).expect("the session is open");
        if session.seq == 0 {
            return Err(Fault::order("UPDATE"));
        }
        session.advance(seq)?;
        cx.count(Count::Updates);
        self.take_page(Page::of_changes(conn, del, add), cx)
    }

    /// A QUERY with this number came. Returns whether its search may begin.
    #[inline(always)]
    pub(crate) fn on_query(&mut self, conn: ConnId, req: u32, cx: &mut Context) -> bool {
        let Some(session) = self.session_mut(conn) else {
            cx.count(Count::StaleConnection);
            return false;
        };
        session.heard = cx.now;
        match session.state {
            State::Closing => return false,
            State::Hello | State::Login => {
                self.close(conn, Fault::order("QUERY"), cx);
                return false;
            }
            State::Open | State::Registering => session.note_active(cx.now),
        }
        let running = session.queries.as_ref().map_or(&[][..], |queries| queries.as_slice());
        let (code, why) = if running.iter().any(|(other, _)| *other == req) {
            (ErrorCode::BAD_REQUEST, "a query of this number is running".to_owned())
        } else if running.len() >= SESSION_QUERIES_MAX {
            (ErrorCode::LIMIT, format!("{SESSION_QUERIES_MAX} queries are running; wait for one to end"))
        } else if cx.memory_short {
            cx.count(Count::QueriesRefusedMemory);
            (ErrorCode::LIMIT, MEMORY_IS_SHORT.to_owned())
        } else if let Err(why) = cx.logins.take_query(conn, cx.now) {
            cx.count(Count::AccountQueries);
            (ErrorCode::LIMIT, why)
        } else {
            return true;
        };
        cx.count(Count::QueriesRefused);
        refuse(conn, code, why, Some(req), cx);
        false
    }
}

/// Where the peer serves chunks; nowhere if its port is 0.
fn serves(
    (ip, port): (IpAddr, u16),
    host: Option<&str>,
    more: Option<&str>,
    http: bool,
) -> Result<Option<Serves>, Fault> {
    let addr = match host {
        None => SocketAddr::new(ip, port).into(),
        Some(host) => HostPort::new(host, port).map_err(|error| Fault::request(error.to_string()))?,
    };
    let more = more.map(|more| more.parse::<IpAddr>()).transpose();
    let more = more.map_err(|_| Fault::request("more_addr is not an IPv4 or an IPv6 address without brackets"))?;
    let other = more.map(|ip| HostPort::from(SocketAddr::new(ip, port))).filter(|other| is_other(&addr, other));
    Ok((port > 0).then_some(Serves::new(addr, other, host.is_none(), http)))
}

/// Whether a second address is of use: it can be dialed, and is not of the family of the first.
fn is_other(addr: &HostPort, other: &HostPort) -> bool {
    let is_ipv4 = |addr: &HostPort| addr.literal().map(|literal| literal.is_ipv4());
    other.is_dialable() && is_ipv4(addr) != is_ipv4(other)
}
