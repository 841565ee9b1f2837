//! What the parts of a net share: the poll, the deadlines, the arrivals, the counters and the time
//! of the turn.

use std::collections::VecDeque;
use std::io;

use mio::event::Source;
use mio::{Interest, Poll, Token};

use super::arrival::Arrival;
use super::counters::Counters;
use super::deadlines::Deadlines;
use super::tls::TlsIdentity;
use crate::error::{Exit, Failure};
use crate::proto::Input;
use crate::time::Time;

/// The one context of a net. Each part gets it with every call and keeps no reference to it.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) poll: Poll,
    pub(super) deadlines: Deadlines,
    /// Everything that has happened, oldest first, without what the reading of a connection
    /// returns. The number is bounded by what one turn can cause.
    pub(super) arrivals: VecDeque<Arrival>,
    pub(super) counters: Counters,
    /// The time of this turn.
    pub(super) now: Time,
    /// What this node shows in a handshake; none in open mode.
    pub(super) tls: Option<TlsIdentity>,
    /// The wall clock, in seconds since the start of 1970.
    pub(super) unix: u64,
}

impl Context {
    pub(super) fn new(tls: Option<TlsIdentity>) -> Result<Context, Failure> {
        Ok(Context {
            poll: Poll::new().map_err(|error| internal("the poll", &error))?,
            deadlines: Deadlines::default(),
            arrivals: VecDeque::new(),
            counters: Counters::default(),
            now: Time::ZERO,
            unix: 0,
            tls,
        })
    }

    /// Watches a socket for reading and writing.
    pub(super) fn watch(&self, source: &mut (impl Source + ?Sized), token: Token) -> io::Result<()> {
        self.poll.registry().register(source, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Watches a socket that accepts or receives. `what` names the socket in the error.
    pub(super) fn watch_reads(&self, source: &mut impl Source, token: Token, what: &str) -> Result<(), Failure> {
        let watched = self.poll.registry().register(source, token, Interest::READABLE);
        watched.map_err(|error| internal(what, &error))
    }

    pub(super) fn push(&mut self, input: Input<'static>) {
        self.arrivals.push_back(Arrival::Input(input));
    }
}

/// The failure if the system does not provide what it always should.
pub(super) fn internal(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("{what} failed: {error}"))
}
