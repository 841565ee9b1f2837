//! Resolves host names on its own threads, which are started when names come. The loop never waits
//! for them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};

use super::alarm::Alarm;
use super::socket::canonical;
use crate::config::{DIAL_ADDRESSES_MAX, RESOLVER_THREADS, RESOLVES_WAITING_MAX};
use crate::proto::{DialId, ResolveId};
use crate::wire::HostPort;

/// What a name is resolved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A dial, which then tries the addresses.
    Dial(DialId),
    /// The machine, which gets the addresses.
    Machine(ResolveId),
}

/// The result for a name: its addresses, in the order in which to try them, or the reason why there
/// are none.
pub(super) type Resolved = (Purpose, Result<Vec<SocketAddr>, String>);

/// A name and its purpose, as the threads take them.
type Names = Arc<Mutex<Receiver<(Purpose, HostPort)>>>;

/// The channels to and from the threads.
#[derive(Debug)]
pub(super) struct Resolver {
    names: SyncSender<(Purpose, HostPort)>,
    waiting: Names,
    /// Names whose answers were not taken yet. While there are at least as many threads, no name
    /// waits for another one.
    asked: usize,
    threads: usize,
    answers: Receiver<Resolved>,
    answer: Sender<Resolved>,
    alarm: Alarm,
}

impl Resolver {
    pub(super) fn new(alarm: Alarm) -> Resolver {
        let (answer, answers) = mpsc::channel();
        let (names, waiting) = mpsc::sync_channel(RESOLVES_WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        Resolver { names, waiting, asked: 0, threads: 0, answers, answer, alarm }
    }

    /// Requests the addresses of a name.
    ///
    /// # Errors
    /// If too many names wait already, or if no thread can be started.
    pub(super) fn ask(&mut self, purpose: Purpose, name: HostPort) -> Result<(), String> {
        // A name that takes long must not delay other names.
        if self.asked >= self.threads && self.threads < RESOLVER_THREADS {
            match self.start() {
                Ok(()) => self.threads += 1,
                Err(why) if self.threads == 0 => return Err(why),
                Err(why) => log::debug!("{why}"),
            }
        }
        self.names.try_send((purpose, name)).map_err(|error| match error {
            TrySendError::Full(_) => format!("{RESOLVES_WAITING_MAX} host names wait for the resolver already"),
            TrySendError::Disconnected(_) => "the resolver is gone".to_owned(),
        })?;
        self.asked += 1;
        Ok(())
    }

    /// The next answer, if there is one.
    pub(super) fn answer(&mut self) -> Option<Resolved> {
        let answer = self.answers.try_recv().ok()?;
        self.asked = self.asked.saturating_sub(1);
        Some(answer)
    }

    fn start(&self) -> Result<(), String> {
        let (waiting, answer, alarm) = (Arc::clone(&self.waiting), self.answer.clone(), self.alarm.clone());
        std::thread::Builder::new()
            .name("resolver".into())
            .spawn(move || {
                while let Some((purpose, name)) = next(&waiting) {
                    if answer.send((purpose, resolve(&name))).is_err() {
                        return;
                    }
                    alarm.ring();
                }
            })
            .map_err(|error| format!("no thread for the resolver: {error}"))?;
        Ok(())
    }
}

/// The next name; none once the loop is gone.
fn next(waiting: &Mutex<Receiver<(Purpose, HostPort)>>) -> Option<(Purpose, HostPort)> {
    waiting.lock().ok()?.recv().ok()
}

fn resolve(name: &HostPort) -> Result<Vec<SocketAddr>, String> {
    let found = (name.host(), name.port()).to_socket_addrs().map_err(|error| match name.scope() {
        Some(scope) => format!("this machine has no interface {scope:?}"),
        None => error.to_string(),
    })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.map(canonical) {
        if !addresses.contains(&address) && addresses.len() < DIAL_ADDRESSES_MAX {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("the name has no address".into()) } else { Ok(addresses) }
}
