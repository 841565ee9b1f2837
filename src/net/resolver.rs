//! Resolves host names on a thread of its own, which starts with the first name. The loop never
//! waits for it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};

use super::alarm::Alarm;
use crate::config::{DIAL_ADDRESSES_MAX, RESOLVES_WAITING_MAX};
use crate::proto::DialId;
use crate::wire::HostPort;

/// The result for a name: its addresses, in the order in which to try them, or why there are none.
pub(super) type Resolved = (DialId, Result<Vec<SocketAddr>, String>);

/// The channels to the thread and back.
#[derive(Debug)]
pub(super) struct Resolver {
    names: Option<SyncSender<(DialId, HostPort)>>,
    answers: Receiver<Resolved>,
    answer: Sender<Resolved>,
    alarm: Alarm,
}

impl Resolver {
    pub(super) fn new(alarm: Alarm) -> Resolver {
        let (answer, answers) = mpsc::channel();
        Resolver { names: None, answers, answer, alarm }
    }

    /// Asks for the addresses of a name.
    ///
    /// # Errors
    /// If too many names wait already, or no thread can be started.
    pub(super) fn ask(&mut self, dial: DialId, name: HostPort) -> Result<(), String> {
        let names = match self.names.take() {
            Some(names) => names,
            None => self.start()?,
        };
        let result = names.try_send((dial, name)).map_err(|error| match error {
            TrySendError::Full(_) => format!("{RESOLVES_WAITING_MAX} host names wait for the resolver already"),
            TrySendError::Disconnected(_) => "the resolver is gone".to_owned(),
        });
        self.names = Some(names);
        result
    }

    /// The next answer, if there is one.
    pub(super) fn answer(&self) -> Option<Resolved> {
        self.answers.try_recv().ok()
    }

    fn start(&self) -> Result<SyncSender<(DialId, HostPort)>, String> {
        let (names, waiting) = mpsc::sync_channel::<(DialId, HostPort)>(RESOLVES_WAITING_MAX);
        let answer = self.answer.clone();
        let alarm = self.alarm.clone();
        std::thread::Builder::new()
            .name("resolver".into())
            .spawn(move || {
                for (dial, name) in waiting {
                    if answer.send((dial, resolve(&name))).is_err() {
                        return;
                    }
                    alarm.ring();
                }
            })
            .map_err(|error| format!("no thread for the resolver: {error}"))?;
        Ok(names)
    }
}

fn resolve(name: &HostPort) -> Result<Vec<SocketAddr>, String> {
    let found = (name.host(), name.port()).to_socket_addrs().map_err(|error| match name.scope() {
        Some(scope) => format!("this machine has no interface {scope:?}"),
        None => error.to_string(),
    })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) && addresses.len() < DIAL_ADDRESSES_MAX {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("the name has no address".into()) } else { Ok(addresses) }
}
