//! A running node: sockets, disk and one protocol machine on one thread. The only module that knows
//! all three.
//!
//! [`Node::run`] is the loop. It feeds one input to the machine, drains its outputs, and performs
//! each with a call of the net or with one small function `on_<output>`. The loop keeps only what
//! has no other owner: received chunks by their [`PayloadId`], files that are open between
//! ChunkReady and SendPayload, and which client of the control socket sent which command.
//!
//! [`PayloadId`]: crate::proto::PayloadId

mod chunks;
mod clock;
mod driver;
mod events;
mod handle;
mod host;
mod http;
mod lines;
mod memory;
mod outputs;
mod pace;
mod reload;
mod requests;
mod resources;
#[cfg(test)]
mod tests;
mod turns;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use self::driver::Driver;
use self::handle::Request;
use self::memory::Memory;
use crate::disk::{Disk, Report};
use crate::error::{Exit, Failure};
use crate::net::{Net, NetOptions, TlsIdentity};
use crate::proto::Role;
use crate::proto::envelope::Envelopes;

pub use self::handle::Handle;
pub use self::host::{Flow, Host, Reload, Shares};
pub use self::http::{HttpOptions, Token};
pub(crate) use crate::disk::is_share_name;
pub use crate::disk::{DiskOptions, FolderContent, ShareFolder, collection_of};

/// Which sockets and folders a node has.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Address of the TCP listener; port 0 for any.
    pub listen: Option<SocketAddr>,
    /// Whether to open UDP on the same port number as the listener.
    pub datagrams: bool,
    /// Path of the Unix socket for clients on this machine; its folder exists.
    pub control: Option<PathBuf>,
    /// The share and downloads; none for a super peer.
    pub disk: Option<DiskOptions>,
    /// Addresses of this host that dials use in turn as their source; the system chooses if there
    /// is none.
    pub sources: Vec<IpAddr>,
    /// What the node shows in login mode; none in open mode.
    pub tls: Option<TlsIdentity>,
    /// Whether hosts at loopback addresses may begin handshakes without a limit, for tests.
    pub exempt_loopback: bool,
    /// Bytes of memory that it may use for all that it holds; none for no bound.
    pub memory: Option<usize>,
    /// What it serves over HTTP.
    pub http: HttpOptions,
    /// How often the host is called to show that the loop runs.
    pub watchdog: Option<Duration>,
}

/// A node whose sockets are bound and whose worker runs, before its loop.
#[derive(Debug)]
pub struct Node {
    net: Net,
    disk: Option<(Disk, Receiver<Report>)>,
    requests: Receiver<Request>,
    handle: Handle,
    memory: Memory,
    http: HttpOptions,
    watchdog: Option<Duration>,
}

impl Node {
    /// Binds the sockets, starts the watcher and the worker.
    ///
    /// # Errors
    /// Exit 5 if an address or the control socket is in use, 9 if the share is missing or cannot be
    /// read.
    pub fn open(options: Options) -> Result<Node, Failure> {
        let Options { listen, datagrams, control, disk, sources, tls, exempt_loopback, memory, http, watchdog } =
            options;
        let (http_files, page) = (http.files, http.listen);
        let net = Net::open(&NetOptions {
            listen,
            datagrams,
            control,
            sources,
            tls,
            exempt_loopback,
            http_files,
            http: page,
        })?;
        let alarm = net.alarm();
        let disk = disk
            .map(|options| {
                let alarm = alarm.clone();
                Disk::start(options, Box::new(move || alarm.ring()))
            })
            .transpose()?;
        let (sender, requests) = mpsc::channel();
        let handle = Handle { requests: sender, alarm, signal: Arc::default() };
        Ok(Node { net, disk, requests, handle, memory: Memory::new(memory), http, watchdog })
    }

    /// The address that is listened on, with its real port.
    #[must_use]
    pub fn listen_addr(&self) -> Option<SocketAddr> {
        self.net.listen_addr()
    }

    /// The address of the page, with its real port.
    #[must_use]
    pub fn page_addr(&self) -> Option<SocketAddr> {
        self.net.page_addr()
    }

    /// Puts every datagram into one of these envelopes; without a call, into those of open mode.
    pub fn set_envelopes(&mut self, envelopes: Envelopes) {
        self.net.set_envelopes(envelopes);
    }

    /// The way into the loop from other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until the host stops it, the machine cannot go on, or SIGTERM, SIGINT or SIGHUP comes.
    /// A second signal ends it at once. If the host can read its options again and the process has
    /// no terminal that could have closed, SIGHUP makes it do that instead.
    ///
    /// # Errors
    /// The machine's fatal failure, or a poll that fails.
    pub fn run(self, mut role: impl Role, host: &mut dyn Host) -> Result<Exit, Failure> {
        let Node { net, disk, requests, handle, memory, http, watchdog } = self;
        Driver::new(net, disk, requests, handle.signal, &mut role, host, (memory, http, watchdog)).run()
    }
}
