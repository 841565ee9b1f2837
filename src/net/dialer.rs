//! Dials. A literal address is dialed at once, a host name after it is resolved. The addresses of a
//! name are tried one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use rustix::io::Errno;
use socket2::{Protocol, Type};

use super::alarm::Alarm;
use super::connection::Phase;
use super::connection::handshake::Greeted;
use super::connections::Connections;
use super::context::Context;
use super::deadlines::Due;
use super::interfaces::Interfaces;
use super::resolver::{Purpose, Resolver};
use super::socket::open;
use crate::config::{CROWD_BATCH, DIAL_TIMEOUT};
use crate::proto::{ConnId, DialCause, DialId, Input, OwnAddrs, ResolveId};
use crate::time::Time;
use crate::trust::PublicKey;
use crate::wire::HostPort;

/// The dials that run. The machine bounds their number.
#[derive(Debug)]
pub(super) struct Dialer {
    resolver: Resolver,
    /// Dials whose host name is being resolved.
    resolving: BTreeMap<DialId, Resolving>,
    /// Dials that are connecting, by their slot.
    connecting: BTreeMap<ConnId, Dialing>,
    /// Local addresses that dials use in turn. If there is none, the system chooses.
    sources: Vec<IpAddr>,
    sources_used: usize,
    interfaces: Interfaces,
}

/// A dial whose host name is being resolved.
#[derive(Debug)]
struct Resolving {
    to: HostPort,
    expected: Option<PublicKey>,
    /// The time at which the dial counts as failed.
    until: Time,
}

/// A dial, the address that is being tried, and the addresses that are left.
#[derive(Debug)]
struct Dialing {
    dial: DialId,
    to: HostPort,
    /// The key that the other side must prove; none accepts any key.
    expected: Option<PublicKey>,
    /// Why an address that connected was refused. If all addresses fail, this reason is reported,
    /// because it is more useful than that an address does not connect.
    refused: Option<(String, DialCause)>,
    rest: VecDeque<SocketAddr>,
    /// The time at which the dial counts as failed.
    until: Time,
}

impl Dialer {
    pub(super) fn new(alarm: Alarm, sources: Vec<IpAddr>) -> Dialer {
        Dialer {
            resolver: Resolver::new(alarm),
            resolving: BTreeMap::new(),
            connecting: BTreeMap::new(),
            sources,
            sources_used: 0,
            interfaces: Interfaces::default(),
        }
    }

    /// Whether the name of this dial is being resolved.
    pub(super) fn is_resolving(&self, dial: DialId) -> bool {
        self.resolving.contains_key(&dial)
    }

    /// Begins a dial. `Dialed` or `DialFailed` arrives later.
    pub(super) fn dial(
        &mut self,
        dial: DialId,
        to: HostPort,
        expected: Option<PublicKey>,
        conns: &mut Connections,
        ctx: &mut Context,
    ) {
        let until = ctx.now + DIAL_TIMEOUT;
        if let Some(address) = to.literal() {
            let rest = match address.ip() {
                IpAddr::V6(ip) if to.lacks_scope() => self.interfaces.on_each(ctx.now, ip, to.port()).into(),
                IpAddr::V4(_) | IpAddr::V6(_) => VecDeque::from([address]),
            };
            self.connect(Dialing { dial, to, expected, refused: None, rest, until }, conns, ctx);
            return;
        }
        match self.resolver.ask(Purpose::Dial(dial), to.clone()) {
            Ok(()) => {
                self.resolving.insert(dial, Resolving { to, expected, until });
                ctx.deadlines.push(until, Due::Resolve(dial));
            }
            Err(why) => fail(dial, &to, &why, DialCause::NoRoom, ctx),
        }
    }

    /// Resolves a name for the machine. `Resolved` arrives later.
    pub(super) fn resolve(&mut self, id: ResolveId, name: HostPort, ctx: &mut Context) {
        if let Err(why) = self.resolver.ask(Purpose::Machine(id), name) {
            ctx.push(Input::Resolved { id, result: Err(why) });
        }
    }

    /// Continues the dials whose names are now resolved.
    pub(super) fn begin_turn(&mut self, conns: &mut Connections, ctx: &mut Context) {
        while let Some((purpose, result)) = self.resolver.answer() {
            let dial = match purpose {
                Purpose::Dial(dial) => dial,
                Purpose::Machine(id) => {
                    ctx.push(Input::Resolved { id, result });
                    continue;
                }
            };
            let Some(Resolving { to, expected, until }) = self.resolving.remove(&dial) else {
                continue;
            };
            match result {
                Ok(addresses) => {
                    let rest = addresses.into();
                    self.connect(Dialing { dial, to, expected, refused: None, rest, until }, conns, ctx);
                }
                Err(why) => fail(dial, &to, &why, DialCause::Unreachable, ctx),
            }
        }
    }

    /// The time to resolve a name is over.
    pub(super) fn on_resolve_overdue(&mut self, dial: DialId, ctx: &mut Context) {
        if let Some(Resolving { to, .. }) = self.resolving.remove(&dial) {
            fail(dial, &to, "its name was not resolved in time", DialCause::Unreachable, ctx);
        }
    }

    /// An event came for a connection of a dial.
    pub(super) fn on_event(&mut self, id: ConnId, conns: &mut Connections, ctx: &mut Context) {
        match conns.is_connected(id) {
            Ok(false) => {}
            Ok(true) if ctx.tls.is_some() => self.begin_handshake(id, conns, ctx),
            Ok(true) => {
                if let Some(dialing) = self.connecting.remove(&id) {
                    self.on_done(id, &dialing, None, conns, ctx);
                    conns.open(id, ctx.now);
                }
            }
            Err(error) => self.on_address_failed(id, words(&error), conns, ctx),
        }
    }

    fn on_done(
        &mut self,
        id: ConnId,
        dialing: &Dialing,
        key: Option<PublicKey>,
        conns: &Connections,
        ctx: &mut Context,
    ) {
        ctx.counters.dialed += 1;
        let here = conns.local_addr(id).map(|addr| addr.ip());
        let own = here.map_or(OwnAddrs::default(), |here| self.interfaces.of(ctx.now, here));
        ctx.push(Input::Dialed { dial: dialing.dial, conn: id, own, key, unix: ctx.unix });
    }

    /// The address that was tried does not connect: tries the next one, in the same slot.
    fn on_address_failed(&mut self, id: ConnId, why: String, conns: &mut Connections, ctx: &mut Context) {
        if let Some(dialing) = self.connecting.remove(&id) {
            log::debug!("dialing {}: {why}", dialing.to);
            self.try_addresses(dialing, Some(id), why, conns, ctx);
        }
    }

    /// The time for the address that was tried is over.
    pub(super) fn on_overdue(&mut self, id: ConnId, conns: &mut Connections, ctx: &mut Context) {
        self.on_address_failed(id, words(&io::ErrorKind::TimedOut.into()), conns, ctx);
    }

    // ---- the handshake --------------------------------------------------------------------------

    fn begin_handshake(&mut self, id: ConnId, conns: &mut Connections, ctx: &mut Context) {
        let (Some(dialing), Some(tls)) = (self.connecting.get(&id), &ctx.tls) else { return };
        match tls.dial(dialing.dial.0, dialing.expected) {
            Ok(tls) => {
                let until = share_of(ctx.now, dialing.until, dialing.rest.len());
                conns.begin_handshake(id, tls, until, ctx);
            }
            Err(error) => self.on_address_failed(id, error.to_string(), conns, ctx),
        }
    }

    /// The handshake of a dial has made a step.
    pub(super) fn on_greeted(&mut self, id: ConnId, greeted: Greeted, conns: &mut Connections, ctx: &mut Context) {
        let (why, cause) = match greeted {
            Greeted::Waiting => return conns.go_on(id),
            Greeted::Done(key) => {
                ctx.counters.handshakes += 1;
                if let Some(dialing) = self.connecting.remove(&id) {
                    self.on_done(id, &dialing, Some(key), conns, ctx);
                    conns.end_handshake(id, ctx);
                }
                return;
            }
            Greeted::WrongKey(wrong) => {
                let cause = DialCause::WrongKey { expected: wrong.expected, found: wrong.found };
                (wrong.to_string(), cause)
            }
            Greeted::Foreign(_) => {
                ("it does not speak TLS, so it is in open mode, or no node of sprat".to_owned(), DialCause::OtherMode)
            }
            Greeted::Gone => ("it closed the connection during the handshake".to_owned(), DialCause::Handshake),
            Greeted::Failed(why) => (format!("the handshake failed: {why}"), DialCause::Handshake),
            Greeted::Tls => unreachable!("a dial has its TLS state from the start"),
        };
        ctx.counters.handshakes_failed += 1;
        if let Some(dialing) = self.connecting.get_mut(&id)
            && dialing.refused.as_ref().is_none_or(|(_, earlier)| *earlier == DialCause::Handshake)
        {
            dialing.refused = Some((why.clone(), cause));
        }
        self.on_address_failed(id, why, conns, ctx);
    }

    fn connect(&mut self, dialing: Dialing, conns: &mut Connections, ctx: &mut Context) {
        if conns.is_full() {
            conns.make_room(CROWD_BATCH, ctx);
            fail(dialing.dial, &dialing.to, "no descriptor is left for it", DialCause::NoRoom, ctx);
        } else {
            self.try_addresses(dialing, None, "there is no address to try".into(), conns, ctx);
        }
    }

    /// Connects to the first of the remaining addresses that can be tried. If there is none, the
    /// dial fails because of `why`.
    fn try_addresses(
        &mut self,
        mut dialing: Dialing,
        slot: Option<ConnId>,
        mut why: String,
        conns: &mut Connections,
        ctx: &mut Context,
    ) {
        while let Some(address) = dialing.rest.pop_front() {
            let until = share_of(ctx.now, dialing.until, dialing.rest.len());
            let tried = self.stream_to(address).and_then(|stream| match slot {
                Some(id) => conns.replace(id, stream, until, ctx),
                None => conns.enter(stream, Phase::Connecting { until }, ctx),
            });
            match tried {
                Ok(id) => {
                    self.connecting.insert(id, dialing);
                    return;
                }
                Err(error) => why = words(&error),
            }
        }
        // The machine does not know of this connection, so its end is not reported.
        if let Some(id) = slot {
            conns.bury(id);
        }
        let (why, cause) = dialing.refused.unwrap_or((why, DialCause::Unreachable));
        fail(dialing.dial, &dialing.to, &why, cause, ctx);
    }

    /// A stream that connects to the address. It starts from the next of our own addresses, if that
    /// has the same IP version.
    fn stream_to(&mut self, address: SocketAddr) -> io::Result<TcpStream> {
        if self.sources.is_empty() {
            return TcpStream::connect(address);
        }
        let source = self.sources[self.sources_used % self.sources.len()];
        self.sources_used = self.sources_used.wrapping_add(1);
        if source.is_ipv4() != address.is_ipv4() {
            return TcpStream::connect(address);
        }
        let socket = open(address, Type::STREAM, Protocol::TCP)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
            Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
        }
    }
}

fn fail(dial: DialId, to: &HostPort, why: &str, cause: DialCause, ctx: &mut Context) {
    ctx.counters.dials_failed += 1;
    ctx.push(Input::DialFailed { dial, why: format!("cannot reach {to}: {why}"), cause });
}

/// The end of the time for one address. Each address gets an equal share of the remaining time,
/// because an address that drops packets must leave time for the others.
fn share_of(now: Time, until: Time, others: usize) -> Time {
    now + until.since(now) / (u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1))
}

fn words(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        "nothing listens there (connection refused)".into()
    } else if error.kind() == io::ErrorKind::TimedOut {
        "no answer in time".into()
    } else {
        error.to_string()
    }
}
