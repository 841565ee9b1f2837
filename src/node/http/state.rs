//! The requests that wait, and what was found for earlier requests. It answers none of them.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::fetches::{Gateway, Streaming};
use super::kept::Kept;
use super::searches::Searches;
use super::sources::Sources;
use crate::config::{HTTP_CHUNKS_AHEAD, HTTP_CHUNKS_AHEAD_MAX, HTTP_CHUNKS_AHEAD_WITHIN};
use crate::disk::{AtPath, Small};
use crate::http::listing::Hit;
use crate::http::metalink::Digests;
use crate::http::{Content, FileTarget, Method, Request};
use crate::proto::{ClientId, Command, ConnId, Event};
use crate::time::Time;
use crate::wire::ids::Md5;
use crate::wire::{NodeId, Root};

/// Set in the ids of commands that came over HTTP. The upper bit is also set in the ids of the
/// control socket, so that a machine handles these commands like those. The lower bit is set in no
/// id of the control socket.
const HTTP_BITS: u64 = 1 << 63 | 1 << 62;

/// What a node serves over HTTP.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// Whether the share is served on the port of chunks.
    pub files: bool,
    /// Address of the page; none if there is no page.
    pub listen: Option<std::net::SocketAddr>,
    /// `super` or `peer`.
    pub role: &'static str,
    /// The node id, if it has one.
    pub node: Option<NodeId>,
    /// Host names that a request for the page may use, in addition to `localhost` and addresses.
    pub names: Vec<String>,
    /// What a request that changes something must carry.
    pub token: Token,
    /// Login mode: every request from another host must carry the token.
    pub login: bool,
    /// The folder to which contents of the network are fetched for clients; none if only the share
    /// is served.
    pub gateway: Option<PathBuf>,
}

/// A secret that the page needs for changes.
#[derive(Clone, Default)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// All requests that wait, and what was found for earlier ones.
#[derive(Debug)]
pub(in crate::node) struct Http {
    pub(super) options: HttpOptions,
    pub(super) exchanges: BTreeMap<ConnId, Exchange>,
    /// Commands that run for requests.
    pub(super) commands: BTreeMap<ClientId, Purpose>,
    minted: u64,
    pub(super) sources: Sources,
    pub(super) gateway: Gateway,
    /// Commands for the machine, oldest first. The machine gets them once its outputs are
    /// performed.
    orders: VecDeque<ToMachine>,
    pub(super) searches: Searches,
    pub(super) snapshot: Kept,
    pub(super) metrics: Kept,
    /// When the viewers get the next snapshot; none while there are no viewers.
    pub(super) tick: Option<Time>,
    /// A time before which no request stops waiting for sources; none if no request waits. Not all
    /// requests are looked at in each turn, because there may be hundreds.
    pub(super) sources_due: Option<Time>,
}

/// A command for the machine, or the end of one.
#[derive(Debug, PartialEq)]
pub(super) enum ToMachine {
    Command(ClientId, Command),
    Gone(ClientId),
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) enum Exchange {
    /// The disk looks for the file or content that the request names.
    Looking { request: Box<Request>, target: FileTarget, from: IpAddr },
    /// A file whose answer waits until its sources are known.
    Sources { request: Box<Request>, found: Box<Found>, until: Time },
    /// A Metalink that waits for MD5s, and for sources until the time `until`. Without this time,
    /// it does not wait for sources.
    Meta { request: Box<Request>, found: Box<Found>, digests: Option<Option<Arc<Digests>>>, until: Option<Time> },
    /// The bytes of the answer are sent.
    Sending(Box<Sending>),
    /// The network is searched for the content.
    Seeking { request: Box<Request>, target: FileTarget, client: ClientId, hits: Vec<Hit> },
    /// The content is fetched, and its size is not proven yet.
    Waiting { request: Box<Request>, root: Root },
    /// The bytes of the content are sent while they are fetched.
    Streaming(Box<Streaming>),
    /// A command of the page runs.
    Asking { keep_alive: bool, client: ClientId, lines: Vec<serde_json::Value> },
    /// A viewer of the page, and the number of the last event that was sent to it.
    Viewing { seen: u64 },
}

impl Exchange {
    /// Until when the request waits for sources, if it does.
    pub(super) fn awaits_sources(&self) -> Option<(Root, Time)> {
        match self {
            Exchange::Sources { found, until, .. } | Exchange::Meta { found, until: Some(until), .. } => {
                Some((found.content.root, *until))
            }
            Exchange::Meta { until: None, .. }
            | Exchange::Looking { .. }
            | Exchange::Sending(_)
            | Exchange::Seeking { .. }
            | Exchange::Waiting { .. }
            | Exchange::Streaming(_)
            | Exchange::Asking { .. }
            | Exchange::Viewing { .. } => None,
        }
    }

    /// Whether the request waits for the MD5s of this content.
    pub(super) fn awaits(&self, root: Root) -> bool {
        matches!(self, Exchange::Meta { found, digests: None, .. } if found.content.root == root)
    }

    /// The content that the request gets from the gateway.
    pub(super) fn reads(&self) -> Option<Root> {
        match self {
            Exchange::Waiting { root, .. } => Some(*root),
            Exchange::Streaming(streaming) => Some(streaming.root),
            Exchange::Looking { .. }
            | Exchange::Sources { .. }
            | Exchange::Meta { .. }
            | Exchange::Sending(_)
            | Exchange::Seeking { .. }
            | Exchange::Asking { .. }
            | Exchange::Viewing { .. } => None,
        }
    }
}

/// A content that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) content: Content,
    pub(super) name: String,
    pub(super) md5: Option<Md5>,
    /// Where its bytes are. None if the request has waited, because the file may have changed.
    pub(super) body: Option<Source>,
    /// The address that the request came from.
    pub(super) from: IpAddr,
}

/// Where the bytes of a content are.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// In an open file.
    File(Arc<File>),
    /// In memory.
    Small(Arc<Small>),
}

/// Why a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To find the sources of a content.
    Sources(Root),
    /// To answer a request of the page.
    Page(ConnId),
    /// To find what a client of the gateway requests.
    Seek(ConnId),
    /// To fetch a content for clients of the gateway.
    Fetch(Root),
    /// To fetch a certain part of a content first.
    Aim,
}

impl Http {
    pub(in crate::node) fn new(options: HttpOptions) -> Http {
        Http {
            options,
            exchanges: BTreeMap::new(),
            commands: BTreeMap::new(),
            minted: 0,
            sources: Sources::default(),
            gateway: Gateway::default(),
            orders: VecDeque::new(),
            searches: Searches::default(),
            snapshot: Kept::default(),
            metrics: Kept::default(),
            tick: None,
            sources_due: None,
        }
    }

    /// Whether the answers to this command are for HTTP.
    pub(in crate::node) fn owns(client: ClientId) -> bool {
        client.0 & HTTP_BITS == HTTP_BITS
    }

    /// When [`Driver::fire_http`] has something to do.
    pub(in crate::node) fn timeout(&self) -> Option<Time> {
        [self.sources_due, self.tick, self.gateway.timeout()].into_iter().flatten().min()
    }

    /// Adds a command for the machine. Returns its new id.
    pub(super) fn order(&mut self, purpose: Purpose, command: Command) -> ClientId {
        self.minted += 1;
        let client = ClientId(HTTP_BITS | self.minted);
        self.commands.insert(client, purpose);
        self.orders.push_back(ToMachine::Command(client, command));
        client
    }

    /// Gives up a command whose answer is no longer needed. The machine drops it.
    pub(super) fn give_up(&mut self, client: ClientId) {
        self.commands.remove(&client);
        self.orders.push_back(ToMachine::Gone(client));
    }

    /// The next command for the machine. The order is kept, because a command may need the place
    /// that an earlier one frees.
    pub(super) fn next_order(&mut self) -> Option<ToMachine> {
        self.orders.pop_front()
    }

    /// Notes an event for the viewers of the page.
    pub(in crate::node) fn note(&mut self, event: &Event) {
        if self.options.listen.is_some() {
            self.searches.note(event);
        }
    }
}

/// Whether the answer to the request has a body.
pub(super) fn has_body(request: &Request) -> bool {
    request.method != Method::Head
}

/// Converts the answer of the disk to the form that this module uses.
pub(super) fn found_of(what: AtPath, from: IpAddr) -> Result<Found, AtPath> {
    match what {
        AtPath::File { content, name, md5, file } => {
            Ok(Found { content, name, md5, body: Some(Source::File(file)), from })
        }
        AtPath::Small(small) => {
            let (content, name, md5) = (small.content, small.name.clone(), small.md5);
            Ok(Found { content, name, md5, body: Some(Source::Small(small)), from })
        }
        other @ (AtPath::Nothing | AtPath::Unhashed | AtPath::Folder { .. }) => Err(other),
    }
}

/// A body that is being sent.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) request_keeps: bool,
    pub(super) root: Root,
    pub(super) from: IpAddr,
    /// The next byte to request from the disk, and the end of the range.
    pub(super) next: u64,
    pub(super) end: u64,
    /// The number of the next chunk to request from the disk, and of the next chunk to queue.
    pub(super) asked: u32,
    pub(super) queued: u32,
    /// The number of chunks that the kernel has accepted.
    pub(super) sent: u32,
    /// How many chunks may be requested and not sent, and when some were last requested.
    pub(super) ahead: u32,
    pub(super) asked_at: Time,
    /// The ranges of the chunks that were requested and are not queued yet, oldest first.
    pub(super) waiting: VecDeque<(u64, u32, Option<Arc<File>>)>,
}

impl Sending {
    /// An answer with these bytes of a content, of which none was requested yet.
    pub(super) fn new(request_keeps: bool, root: Root, from: IpAddr, range: Range<u64>) -> Sending {
        Sending {
            request_keeps,
            root,
            from,
            next: range.start,
            end: range.end,
            asked: 0,
            queued: 0,
            sent: 0,
            ahead: 0,
            asked_at: Time::ZERO,
            waiting: VecDeque::new(),
        }
    }

    /// Whether the disk has been asked for chunks that are not ready.
    pub(super) fn awaits_disk(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Must be called before chunks are requested: there are more of them for a client that reads
    /// fast.
    pub(super) fn look_ahead(&mut self, now: Time) {
        let is_fast = self.ahead > 0 && now.since(self.asked_at) < HTTP_CHUNKS_AHEAD_WITHIN;
        self.ahead = if is_fast { HTTP_CHUNKS_AHEAD_MAX.min(self.ahead * 2) } else { HTTP_CHUNKS_AHEAD };
        self.asked_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_requested_further_ahead_while_a_client_reads_fast() {
        let mut sending = Sending::new(true, Root([1; 32]), IpAddr::from([127, 0, 0, 1]), 0..1 << 30);
        let mut after = |ms: u64| {
            sending.look_ahead(Time::from_micros(ms * 1000));
            sending.ahead
        };
        assert_eq!([0, 10, 20, 30].map(&mut after), [8, 16, 32, 32]);
        assert_eq!([60, 70].map(&mut after), [8, 16]);
    }

    #[test]
    fn the_machine_gets_orders_in_the_order_in_which_they_were_given() {
        let mut http = Http::new(HttpOptions::default());
        let first = http.order(Purpose::Aim, Command::Downloads);
        assert_eq!(http.next_order(), Some(ToMachine::Command(first, Command::Downloads)));
        // If one fetch is given up, another one may start.
        http.give_up(first);
        let second = http.order(Purpose::Aim, Command::Status);
        let orders: Vec<ToMachine> = std::iter::from_fn(|| http.next_order()).collect();
        assert_eq!(orders, [ToMachine::Gone(first), ToMachine::Command(second, Command::Status)]);
        assert!(!http.commands.contains_key(&first));
    }
}
