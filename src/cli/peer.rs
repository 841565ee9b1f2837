//! `sprat peer`.

use std::sync::mpsc::Sender;
use std::time::Duration;

use signal_hook::consts::SIGINT;

use super::args::{Command, Peer};
use super::identity::Identity;
use super::member::{Keys, Part};
use super::origin::Setting;
use super::prompt::{self, News};
use super::random::{self, Fetched};
use super::ready::{Ready, ReadyFile, dialable};
use super::units::Span;
use super::{discovery, member, paths, queue, reload, report, service, settings};
use crate::config::{CHUNK_PORT, DOWNLOAD_TIMEOUT, PARALLEL, SHARE_RESCAN};
use crate::error::{Exit, Failure};
use crate::node::{DiskOptions, Flow, Host, HttpOptions, Node, Options, Reload, ShareFolder, Shares, Token};
use crate::proto::weak_peer::{Offer, QueueConfig, SwarmConfig, WeakPeer, WeakPeerConfig};
use crate::proto::{Event, Settings, WeakSettings};
use crate::trust::Pin;
use crate::wire::HostPort;

/// Runs the peer until a signal or EXIT ends it.
pub(crate) fn run(args: Peer, settings: Vec<Setting>) -> Result<u8, Failure> {
    let env = |key: &str| std::env::var_os(key);
    let sessions = checked(&args)?;
    let shares = paths::shares(args.shares, args.downloads.is_some())?;
    let downloads = args.downloads.as_deref().map(|path| paths::absolute("--downloads", path)).transpose()?;
    let name = paths::checked_name(args.name.as_deref().unwrap_or(settings::PEER_NAME))?;
    let connect_timeout = settings::connect_timeout(args.connect_timeout)?;
    let listen = settings::listen(args.listen.as_ref(), CHUNK_PORT)?;
    let control = paths::control_socket(name, args.control.as_deref(), args.state.as_deref(), &env)?;
    let state = paths::State::open(paths::state_folder(name, args.state.as_deref(), &env)?, name)?;
    if let (None, Some(folder)) = (&args.control, control.parent()) {
        paths::make_private_folder(folder)?;
    }
    let ready_file = ReadyFile::prepare(args.ready_file.as_deref())?;
    let key = Identity::open(state.folder())?.public();
    let mut part = member::part(Some(state.folder()), args.supers, args.open)?;
    if part.supers.is_empty() {
        log::info!("looking for a super peer on the local network");
        let found = discovery::find(connect_timeout)?;
        log::info!("found {}", found.iter().map(HostPort::to_string).collect::<Vec<_>>().join(", "));
        part.supers = found.into_iter().map(Pin::from).collect();
    }
    let Part { supers, login, tls, node: _ } = part;
    let keys = login.as_ref().map(|_| Keys::new(state.folder()));
    let sessions = sessions.min(supers.len());
    let (cache, collections) = (Some(state.file("digests")), Some(state.file("collections")));
    let queue_file = state.file("downloads.jsonl");
    let saved = queue::load(&queue_file)?;
    let rescan = rescan(args.rescan);
    let kept = (shares.clone(), rescan);
    let disk = DiskOptions { shares, downloads, cache, collections, rescan, queue: Some(queue_file) };
    let id = key.node();
    let login_mode = tls.is_some();
    let files = args.http_files || args.http_gateway;
    let (page, names) = settings::page(args.http.as_ref(), login_mode)?;
    let needs_token = page.is_some() || (files && login_mode);
    let token = if needs_token { state.http_token(random::node_id()) } else { String::new() };
    let gateway = args.http_gateway.then(|| state.empty_folder("gateway")).transpose()?;
    let http = HttpOptions {
        files,
        listen: page,
        role: "peer",
        node: Some(id),
        names,
        token: Token(token),
        login: login_mode,
        gateway,
    };
    let node = Node::open(Options {
        http,
        listen: Some(listen),
        datagrams: false,
        control: Some(control.clone()),
        disk: Some(disk),
        tls,
        watchdog: service::watchdog(),
        ..Options::default()
    })?;
    let _socket_name = state.name_socket(name, &control);
    let bound = node.listen_addr().unwrap_or(listen);
    let config = WeakPeerConfig {
        node: id,
        boot: random::boot_id(),
        supers,
        login,
        // In login mode HTTP is not offered to others, because they have no token.
        offer: Some(Offer {
            port: bound.port(),
            host: args.advertise,
            listens: bound.into(),
            http: files && !login_mode,
        }),
        connect_timeout,
        download_timeout: args.timeout.map_or(DOWNLOAD_TIMEOUT, |Span(timeout)| timeout),
        agent: settings::AGENT.into(),
    };
    let swarms = SwarmConfig { uploads: args.uploads, zone: args.zone, ..SwarmConfig::default() };
    let queue = QueueConfig { parallel: args.parallel.unwrap_or(PARALLEL), kept: true, saved };
    let limits = settings::limits(args.upload_limit, args.download_limit);
    let role = WeakPeer::with_sessions(config, sessions, Box::new(Fetched::default()));
    let role = role.with_queue(queue).with_swarms(swarms).with_limits(limits);
    log::info!("listening on {bound}, for peers that want pieces (TCP)");
    if files {
        log::info!("the share is at http://{}/files/", dialable(bound));
    }
    let page = node.page_addr().map(dialable);
    if let Some(page) = &page {
        log::info!("the page about this peer is http://{page}/");
    }
    let mut ready = Ready::new("peer", bound);
    ready.http = page;
    ready.control = Some(control);
    let prompted = args.prompt || prompt::owns_terminal();
    let prompt = prompted.then(|| prompt::start(node.handle(), state.file("history"), args.quiet));
    let news = prompt.as_ref().map(prompt::Prompt::news);
    let takes_interrupts = prompt.as_ref().is_some_and(prompt::Prompt::takes_interrupts);
    let name = name.to_owned();
    let is_ready = false;
    let options = reload::Options::new("peer", settings);
    let mut host = PeerHost {
        name,
        keys,
        ready,
        ready_file,
        is_ready,
        news,
        takes_interrupts,
        failure: None,
        options,
        shares: kept,
        read: None,
    };
    let ended = node.run(role, &mut host);
    let failure = host.failure.take();
    drop(host);
    if let Some(prompt) = prompt {
        prompt.end();
    }
    match (failure, ended) {
        (Some(failure), _) => Err(failure),
        (None, ended) => ended.map(Exit::code),
    }
}

/// The value of `--rescan`; 0 means none.
fn rescan(given: Option<Span>) -> Option<Duration> {
    let rescan = given.map_or(SHARE_RESCAN, |Span(rescan)| rescan);
    (!rescan.is_zero()).then_some(rescan)
}

/// Checks the options about super peers. Returns the number of sessions.
///
/// # Errors
/// Exit 2 if one of them is wrong.
pub(crate) fn checked(args: &Peer) -> Result<usize, Failure> {
    settings::dialed("--super", args.supers.iter().map(|pin| &pin.at))?;
    let sessions = args.sessions.unwrap_or(1);
    if args.supers.len() < sessions && !args.supers.is_empty() {
        let why = format!("--sessions {sessions} needs as many super peers; name each with --super HOST:PORT");
        return Err(Failure::usage(why));
    }
    Ok(sessions)
}

struct PeerHost {
    name: String,
    /// In login mode: where the keys of super peers are remembered.
    keys: Option<Keys>,
    ready: Ready,
    ready_file: ReadyFile,
    /// Whether the ready file was written before.
    is_ready: bool,
    /// The channel to the prompt, if there is one.
    news: Option<Sender<News>>,
    /// Whether the prompt handles Ctrl-C.
    takes_interrupts: bool,
    failure: Option<Failure>,
    options: reload::Options,
    /// The shared folders, and how often they are scanned.
    shares: (Vec<ShareFolder>, Option<Duration>),
    /// The options that were read, until the node uses them.
    read: Option<(Vec<ShareFolder>, Option<Duration>)>,
}

impl PeerHost {
    fn status(&self) -> String {
        match &self.ready.super_peer {
            Some(super_peer) => format!("connected to {super_peer}"),
            None => "not connected to a super peer".to_owned(),
        }
    }

    fn new_shares(&self, args: Peer) -> Result<Option<Shares>, Failure> {
        let take_downloads = args.downloads.is_none();
        let (folders, rescan) = (paths::shares(args.shares, args.downloads.is_some())?, rescan(args.rescan));
        if (&folders, &rescan) == (&self.shares.0, &self.shares.1) {
            return Ok(None);
        }
        if folders.is_empty() != self.shares.0.is_empty() {
            return Err(Failure::usage("--share: a peer begins or ends to share only with a restart"));
        }
        Ok(Some(Shares { folders, rescan, take_downloads }))
    }
}

impl Host for PeerHost {
    fn on_event(&mut self, event: Event) -> Flow {
        report::event(&event);
        member::on_event(self.keys.as_ref(), &event);
        match event {
            Event::Client { client, event } => {
                if let Some(news) = &self.news {
                    // A prompt that has ended receives no more events.
                    let _ = news.send(News::Event { client, event: Box::new(event) });
                }
            }
            Event::Welcomed { super_peer, .. } => {
                // With two super peers, the file names the one that sent WELCOME first.
                self.ready.super_peer.get_or_insert(super_peer.clone());
                match self.ready_file.write(&self.ready) {
                    Ok(()) => {
                        self.is_ready = true;
                        service::ready(&self.status());
                    }
                    // A script waits only for the first write. A later write only names another
                    // super peer.
                    Err(failure) if !self.is_ready => {
                        let exit = failure.exit;
                        self.failure = Some(failure);
                        return Flow::Stop(exit);
                    }
                    Err(failure) => log::warn!("{failure}"),
                }
                if let Some(news) = &self.news {
                    let _ = news.send(News::Welcomed { super_peer });
                }
            }
            Event::SessionLost { super_peer, why } => {
                self.ready.super_peer.take_if(|named| *named == super_peer);
                service::status(&self.status());
                if let Some(news) = &self.news {
                    let _ = news.send(News::Lost { super_peer, why });
                }
            }
            Event::Link { .. }
            | Event::Sharing { .. }
            | Event::Lingers(_)
            | Event::Enrolled { .. }
            | Event::SuperKey { .. }
            | Event::Peer(_)
            | Event::MorePeers { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::Share { .. }
            | Event::Download(_)
            | Event::Source { .. }
            | Event::Fatal(_)
            | Event::Log { .. } => {}
        }
        Flow::Continue
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn on_gauges(&mut self, gauges: &[(&'static str, u64)]) {
        let of = |name: &str| gauges.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value);
        if let Some(news) = &self.news {
            let files = of("hashing_files_total").saturating_sub(of("hashing_files"));
            let _ = news.send(News::Hashing { files, bytes: of("hashing_bytes"), size: of("hashing_bytes_total") });
        }
    }

    fn reloads(&self) -> bool {
        true
    }

    fn reload(&mut self) -> Result<Reload, Failure> {
        let Command::Peer(args) = self.options.read()? else {
            return Err(Failure::usage("the options are not those of a peer"));
        };
        checked(&args).map_err(|failure| self.options.failed(failure))?;
        let settings = Settings::Weak(WeakSettings {
            download_timeout: args.timeout.map_or(DOWNLOAD_TIMEOUT, |Span(timeout)| timeout),
            parallel: args.parallel.unwrap_or(PARALLEL),
            uploads: args.uploads,
        });
        let shares = self.new_shares(args).map_err(|failure| self.options.failed(failure))?;
        self.read = shares.as_ref().map(|shares| (shares.folders.clone(), shares.rescan));
        Ok(Reload { settings, memory: None, shares, neighbors: Vec::new(), notes: self.options.notes() })
    }

    fn on_reloaded(&mut self, taken: bool) {
        if let Some(read) = self.read.take().filter(|_| taken) {
            self.shares = read;
        }
        let status = self.status();
        self.options.end(taken, &status);
    }

    fn on_alive(&mut self) {
        service::alive();
    }

    fn on_ending(&mut self) {
        service::stopping();
    }

    fn on_signal(&mut self, signal: i32) -> bool {
        let news = self.news.as_ref().filter(|_| self.takes_interrupts && signal == SIGINT);
        news.is_some_and(|news| news.send(News::Interrupted).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_file_that_cannot_be_written_again_does_not_end_a_peer_that_serves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        let listen = "127.0.0.1:7".parse().unwrap();
        let ready_file = ReadyFile::prepare(Some(&path)).unwrap();
        let ready = Ready::new("peer", listen);
        let (name, is_ready, takes_interrupts) = ("p".to_owned(), false, false);
        let (keys, news, failure) = (None, None, None);
        let (options, shares, read) = (reload::Options::new("peer", Vec::new()), (Vec::new(), None), None);
        let mut host = PeerHost {
            name,
            keys,
            ready,
            ready_file,
            is_ready,
            news,
            takes_interrupts,
            failure,
            options,
            shares,
            read,
        };
        let welcomed = || Event::Welcomed { super_peer: listen.into(), node: None };
        std::fs::remove_dir(folder.path()).unwrap();
        assert!(matches!(host.on_event(welcomed()), Flow::Stop(Exit::Disk)), "a script waits for it");
        std::fs::create_dir(folder.path()).unwrap();
        assert!(matches!(host.on_event(welcomed()), Flow::Continue));
        std::fs::remove_dir_all(folder.path()).unwrap();
        assert!(matches!(host.on_event(welcomed()), Flow::Continue));
    }
}
