//! Opening every socket of a net, with sentences that help where one cannot be had.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use mio::{Events, Interest, Poll, Token, Waker};

use super::buffers::Buffers;
use super::connection::Scratch;
use super::control::ControlListener;
use super::deadlines::Deadlines;
use super::listener::{Listener, bind_tcp, cannot_listen};
use super::reactor::Net;
use super::resolver::Resolver;
use super::signals::Caught;
use super::table::Table;
use super::udp::Datagrams;
use super::{Alarm, Counters, NetOptions, token};
use crate::config::{DESCRIPTORS_RESERVED, EVENTS_PER_TURN, PORT_PAIR_TRIES, READ_SCRATCH_BYTES, TURN_BYTES_WRITTEN};
use crate::error::{Exit, Failure};
use crate::time::Time;

impl Net {
    /// Opens every socket that the options name.
    ///
    /// # Errors
    /// Exit 5 if an address or the control socket is taken, 1 if the system lacks something.
    pub fn open(options: &NetOptions) -> Result<Net, Failure> {
        let descriptors = raise_descriptors();
        let poll = Poll::new().map_err(|error| internal("the poll", &error))?;
        let waker = Waker::new(poll.registry(), token::WAKER).map_err(|error| internal("the poll's waker", &error))?;
        let alarm = Alarm(Arc::new(waker));
        let mut signals = Caught::open().map_err(|error| internal("the signals", &error))?;
        register(&poll, &mut signals.0, token::SIGNALS, "the signals")?;
        let (listener, datagrams) = bind(options)?;
        let control = options.control.as_deref().map(ControlListener::bind).transpose()?;
        let mut net = Net {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            resolver: Resolver::new(alarm.clone()),
            alarm,
            signals,
            listen_addr: listener.as_ref().and_then(|listener| listener.socket.local_addr().ok()),
            listener,
            datagrams,
            control,
            clients: Table::new(),
            client_run: VecDeque::new(),
            client_dirty: Vec::new(),
            client_graves: Vec::new(),
            conns: Table::new(),
            conns_max: (descriptors - DESCRIPTORS_RESERVED.min(descriptors / 2)).clamp(1, token::SLOTS_MAX),
            resolving: BTreeMap::new(),
            sources: options.sources.clone(),
            sources_used: 0,
            deadlines: Deadlines::default(),
            arrivals: VecDeque::new(),
            run: VecDeque::new(),
            run_left: 0,
            current: None,
            scratch: Scratch::new(READ_SCRATCH_BYTES),
            buffers: Buffers::default(),
            chunks_out: 0,
            starved: VecDeque::new(),
            dirty: Vec::new(),
            write_budget: TURN_BYTES_WRITTEN,
            graves: Vec::new(),
            accepts_left: 0,
            lines_left: 0,
            batch_full: false,
            now: Time::ZERO,
            counters: Counters::default(),
        };
        net.register_listeners()?;
        Ok(net)
    }

    fn register_listeners(&mut self) -> Result<(), Failure> {
        if let Some(listener) = &mut self.listener {
            register(&self.poll, &mut listener.socket, token::LISTENER, "the listener")?;
        }
        if let Some(datagrams) = &mut self.datagrams {
            register(&self.poll, &mut datagrams.socket, token::DATAGRAMS, "the UDP socket")?;
        }
        if let Some(control) = &mut self.control {
            register(&self.poll, &mut control.socket, token::CONTROL_LISTENER, "the control socket")?;
        }
        Ok(())
    }
}

/// Takes as many descriptors as the system gives, and tells how many.
fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(error) => {
            log::debug!("the limit of descriptors stays as it is: {error}");
            limit.current
        }
    };
    current.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// The listener, and the UDP socket with the same port number.
fn bind(options: &NetOptions) -> Result<(Option<Listener>, Option<Datagrams>), Failure> {
    let Some(wanted) = options.listen else {
        return Ok((None, None));
    };
    let mut tries = 0;
    loop {
        let listener = Listener::new(bind_tcp(wanted)?);
        if !options.datagrams {
            return Ok((Some(listener), None));
        }
        let addr = listener.socket.local_addr().map_err(|error| internal("the listener's address", &error))?;
        tries += 1;
        match Datagrams::bind(addr) {
            Ok(datagrams) => return Ok((Some(listener), Some(datagrams))),
            // Any port would do, so another is tried.
            Err(error) if wanted.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && tries < PORT_PAIR_TRIES => {
            }
            Err(error) => return Err(cannot_listen(addr, " (UDP)", &error)),
        }
    }
}

fn register(poll: &Poll, source: &mut impl mio::event::Source, token: Token, what: &str) -> Result<(), Failure> {
    poll.registry().register(source, token, Interest::READABLE).map_err(|error| internal(what, &error))
}

/// The failure of what the system should always give.
pub(super) fn internal(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("{what} failed: {error}"))
}
