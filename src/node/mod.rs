//! A running node: sockets, disk and one protocol machine on one thread. The only room that knows all three.
//!
//! [`Node::run`] is the loop: it feeds one input to the machine, drains its outputs, and performs each with one small
//! `on_<output>`. What it keeps itself is only what has no other owner: received chunks by their [`PayloadId`], opened files
//! between ChunkReady and SendPayload, and which client of the control socket asked what.
//!
//! [`PayloadId`]: crate::proto::PayloadId

mod clients;
mod clock;
mod driver;
mod turns;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use crate::disk::{Disk, Report};
use crate::error::{Exit, Failure};
use crate::net::{Alarm, Net, NetOptions};
use crate::proto::{ClientId, Command, Event, Role};

pub use crate::disk::DiskOptions;

/// Whether the loop goes on after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// The work is done: say BYE everywhere and end with this.
    Stop(Exit),
}

/// Who runs a node and hears what it has to say.
pub trait Host {
    /// Something happened. Called on the loop's thread: it must not block.
    fn on_event(&mut self, event: Event) -> Flow;
}

/// Which sockets and folders a node has.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// TCP listener; port 0 for any.
    pub listen: Option<SocketAddr>,
    /// UDP on the same port number as the listener.
    pub datagrams: bool,
    /// Unix socket for clients on this machine; its folder is there.
    pub control: Option<PathBuf>,
    /// What the disk looks after; none for a super peer.
    pub disk: Option<DiskOptions>,
    /// Addresses of this host that dials come from, one after the other; the system chooses if there is none.
    pub sources: Vec<IpAddr>,
}

/// What other threads, and the host, tell the loop. Unbounded, for its only writers are the one prompt and the host itself.
#[derive(Debug)]
enum Request {
    Command { client: ClientId, command: Command },
    ClientGone { client: ClientId },
    Shutdown,
}

/// The way into a running loop from elsewhere.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: Sender<Request>,
    alarm: Alarm,
    signal: Arc<AtomicI32>,
}

impl Handle {
    /// Asks for something; the answers are events with this client.
    pub fn command(&self, client: ClientId, command: Command) {
        self.request(Request::Command { client, command });
    }

    /// What this client asked for is not wanted any more.
    pub fn client_gone(&self, client: ClientId) {
        self.request(Request::ClientGone { client });
    }

    /// Ends the loop as a signal would.
    pub fn shutdown(&self) {
        self.request(Request::Shutdown);
    }

    /// The signal that ended the loop or is about to: for a command that was interrupted, whose exit is not 0.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }

    fn request(&self, request: Request) {
        // A loop that has ended wants nothing any more.
        if self.requests.send(request).is_ok() {
            self.alarm.ring();
        }
    }
}

/// A node whose sockets are bound and whose worker runs, before its loop.
#[derive(Debug)]
pub struct Node {
    net: Net,
    disk: Option<(Disk, Receiver<Report>)>,
    requests: Receiver<Request>,
    handle: Handle,
}

impl Node {
    /// Binds the sockets, arms the watcher and starts the worker.
    ///
    /// # Errors
    /// Exit 5 if an address or the control socket is taken, 9 if the share is missing or cannot be read.
    pub fn open(options: Options) -> Result<Node, Failure> {
        let Options { listen, datagrams, control, disk, sources } = options;
        let net = Net::open(&NetOptions { listen, datagrams, control, sources })?;
        let alarm = net.alarm();
        let disk = disk
            .map(|options| {
                let alarm = alarm.clone();
                Disk::start(options, Box::new(move || alarm.ring()))
            })
            .transpose()?;
        let (sender, requests) = mpsc::channel();
        let handle = Handle { requests: sender, alarm, signal: Arc::default() };
        Ok(Node { net, disk, requests, handle })
    }

    /// The address that is listened on, with its real port.
    #[must_use]
    pub fn listen_addr(&self) -> Option<SocketAddr> {
        self.net.listen_addr()
    }

    /// A way into the loop.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until the host stops it, the machine cannot go on, or SIGTERM or SIGINT comes (a second one ends it at once).
    ///
    /// # Errors
    /// What the machine cannot go on for, or a poll that fails.
    pub fn run(self, role: impl Role, host: &mut dyn Host) -> Result<Exit, Failure> {
        driver::Driver::new(self, role, host).run()
    }
}
