//! `sprat super`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::args::{Command, Super};
use super::discovery::Announced;
use super::identity::Identity;
use super::links::Handshakes;
use super::modes::Mode;
use super::origin::Setting;
use super::random::{self, Fetched};
use super::ready::{Ready, ReadyFile, dialable};
use super::units::OnOff;
use super::{accounts, links, memory, modes, paths, reload, report, service, settings};
use crate::config::{LINKS_MAX, OPERATORS_MAX, QUERY_BUDGET, QUERY_HITS_MAX, SUPER_PORT, TTL_DEFAULT};
use crate::error::{Exit, Failure};
use crate::net::TlsIdentity;
use crate::node::{Flow, Host, HttpOptions, Node, Options, Reload, Token};
use crate::proto::super_peer::{LoginConfig, SuperPeer, SuperPeerConfig};
use crate::proto::{Event, Settings, SuperSettings};
use crate::trust::{Accounts, Pin, PublicKey};

/// Runs the super peer until a signal ends it.
pub(crate) fn run(args: &Super, settings: Vec<Setting>) -> Result<u8, Failure> {
    let name = paths::checked_name(args.name.as_deref().unwrap_or(settings::SUPER_NAME))?;
    let Limits { listen, neighbors, memory, budget, ping } = limits(args)?;
    let env = |key: &str| std::env::var_os(key);
    let folder = paths::state_folder(name, args.state.as_deref(), &env)?;
    let control = paths::control_socket(name, args.control.as_deref(), args.state.as_deref(), &env)?;
    let state = paths::State::open(folder, name)?;
    let (identity, accounts) = (Identity::open(state.folder())?, accounts::load(state.folder())?);
    // If the user gives the keys of the neighbors, this super peer must prove a key too.
    let names_keys = neighbors.iter().any(|pin| pin.key.is_some());
    let knows = names_keys || !accounts.is_empty() || !args.operator.is_empty();
    let key = identity.public();
    let mode = modes::of_super_peer(args.open, knows, listen)?;
    let sealed = links::sealed(mode, state.folder(), &identity.secret, &neighbors)?;
    let (login, tls) = match mode {
        Mode::Open => (None, None),
        Mode::Login => {
            let tls = TlsIdentity::new(&identity.secret)?;
            let Identity { secret, rotation } = identity;
            let (operators, unix) = (args.operator.clone(), accounts::unix());
            (Some(Arc::new(LoginConfig { secret, rotation, operators, accounts, unix })), Some(tls))
        }
    };
    if let (None, Some(folder)) = (&args.control, control.parent()) {
        paths::make_private_folder(folder)?;
    }
    let ready = ReadyFile::prepare(args.ready_file.as_deref())?;
    let (page, names) = settings::page(args.http.as_ref(), tls.is_some())?;
    let node = Some(key.node());
    let needs_token = page.is_some() && tls.is_some();
    let token = if needs_token { state.http_token(random::node_id()) } else { String::new() };
    let http = HttpOptions {
        listen: page,
        role: "super",
        node,
        names,
        token: Token(token),
        login: tls.is_some(),
        ..HttpOptions::default()
    };
    let mut node = Node::open(Options {
        http,
        listen: Some(listen),
        datagrams: true,
        control: Some(control.clone()),
        memory: Some(memory),
        tls,
        exempt_loopback: args.exempt_loopback,
        watchdog: service::watchdog(),
        ..Options::default()
    })?;
    if args.exempt_loopback {
        log::warn!("hosts at loopback addresses may begin handshakes without a limit (--exempt-loopback)");
    }
    let _socket_name = state.name_socket(name, &control);
    let bound = node.listen_addr().unwrap_or(listen);
    let page = node.page_addr();
    let handshakes = sealed.map(|(envelopes, handshakes)| {
        node.set_envelopes(envelopes);
        handshakes
    });
    state.keep_listen(bound);
    let _announced = args.announce.then(|| Announced::new(key.node(), bound)).transpose()?;
    let config = SuperPeerConfig {
        node: key.node(),
        boot: random::boot_id(),
        neighbors,
        ttl: args.ttl.unwrap_or(TTL_DEFAULT),
        budget,
        ping,
        here: Some(bound.ip().to_canonical()).filter(|ip| !ip.is_unspecified()),
        dial_back: args.dial_back.unwrap_or(OnOff::ON).0,
        digests: true,
        hits_max: QUERY_HITS_MAX,
        memory,
        expected: state.sharing(),
        agent: settings::AGENT.into(),
        reports_queries: page.is_some() || log::log_enabled!(log::Level::Debug),
        login,
    };
    let login = config.login.clone();
    let role = SuperPeer::new(config, Box::new(Fetched::default()));
    log::info!("listening on {bound}, for weak peers (TCP) and neighbors (UDP)");
    // From now on the kernel queues connections, so the super peer counts as ready.
    if let Some(page) = page {
        log::info!("the page about this super peer is http://{}/", dialable(page));
    }
    let http = page.map(dialable);
    ready.write(&Ready { control: Some(control), http, ..Ready::new("super", bound) })?;
    let options = reload::Options::new("super", settings);
    let name = name.to_owned();
    let mut journal = Journal { name, state, handshakes, options, mode, listen: bound, login, links: 0, sharing: 0 };
    service::ready(&journal.status());
    node.run(role, &mut journal).map(Exit::code)
}

/// The settings that follow from the options alone, without the state.
#[derive(Debug)]
pub(crate) struct Limits {
    listen: SocketAddr,
    neighbors: Vec<Pin>,
    memory: usize,
    budget: Duration,
    ping: Duration,
}

/// Checks the options.
///
/// # Errors
/// Exit 2 if one of them is wrong, 5 if the address to listen on cannot be resolved.
pub(crate) fn limits(args: &Super) -> Result<Limits, Failure> {
    let ping = settings::ping(args.ping)?;
    let budget = args.budget.map(settings::budget).transpose()?.unwrap_or(QUERY_BUDGET);
    if args.neighbor.len() > LINKS_MAX {
        return Err(Failure::usage(format!("a super peer has at most {LINKS_MAX} neighbors")));
    }
    if args.operator.len() > OPERATORS_MAX {
        return Err(Failure::usage(format!(
            "a super peer accepts the credentials of at most {OPERATORS_MAX} operators"
        )));
    }
    let listen = settings::listen(args.listen.as_ref(), SUPER_PORT)?;
    let neighbors = settings::neighbors(&args.neighbor, listen)?;
    let memory = memory::budget(args.memory)?;
    Ok(Limits { listen, neighbors, memory, budget, ping })
}

/// The host of a super peer. It writes the log, and stores the accounts and the number of peers
/// that share in the state folder.
struct Journal {
    name: String,
    state: paths::State,
    /// In login mode.
    handshakes: Option<Handshakes>,
    options: reload::Options,
    mode: Mode,
    listen: SocketAddr,
    /// In login mode.
    login: Option<Arc<LoginConfig>>,
    /// Links that are up, and peers that share, for the status that the service manager gets.
    links: usize,
    sharing: usize,
}

impl Journal {
    fn status(&self) -> String {
        format!("{} peers share, {} links are up", self.sharing, self.links)
    }
}

impl Host for Journal {
    fn name(&self) -> &str {
        &self.name
    }

    fn on_counters(&mut self, counters: &BTreeMap<PublicKey, u64>) {
        if let Some(handshakes) = &mut self.handshakes {
            handshakes.keep(counters);
        }
    }

    fn on_event(&mut self, event: Event) -> Flow {
        if let Event::Sharing { peers } = event {
            self.state.keep_sharing(peers);
            self.sharing = peers;
            service::status(&self.status());
        }
        if let Event::Link { up, .. } = event {
            self.links = if up { self.links + 1 } else { self.links.saturating_sub(1) };
            service::status(&self.status());
        }
        report::event(&event);
        Flow::Continue
    }

    fn reloads(&self) -> bool {
        true
    }

    fn reload(&mut self) -> Result<Reload, Failure> {
        let Command::Super(args) = self.options.read()? else {
            return Err(Failure::usage("the options are not those of a super peer"));
        };
        let Limits { neighbors, memory, budget, ping, .. } = limits(&args).map_err(|e| self.options.failed(e))?;
        let neighbors = settings::neighbors(&neighbors, self.listen).map_err(|e| self.options.failed(e))?;
        links::checked(self.mode, &neighbors).map_err(|e| self.options.failed(e))?;
        let again = |login: &Arc<LoginConfig>| {
            let LoginConfig { secret, rotation, .. } = &**login;
            let accounts = accounts::load(self.state.folder())?;
            let (secret, rotation, operators) = (secret.duplicate(), rotation.clone(), args.operator.clone());
            Ok::<_, Failure>(Arc::new(LoginConfig { secret, rotation, operators, accounts, unix: accounts::unix() }))
        };
        let login = self.login.as_ref().map(again).transpose()?;
        let keys = neighbors.iter().filter_map(|pin| pin.key).collect();
        let (ttl, reports_queries) = (args.ttl.unwrap_or(TTL_DEFAULT), self.options.level() >= log::Level::Debug);
        let settings = SuperSettings { neighbors, ttl, budget, ping, memory, reports_queries, login };
        let settings = Settings::Super(Box::new(settings));
        Ok(Reload { settings, memory: Some(memory), shares: None, neighbors: keys, notes: self.options.notes() })
    }

    fn on_reloaded(&mut self, taken: bool) {
        let status = self.status();
        self.options.end(taken, &status);
    }

    fn on_alive(&mut self) {
        service::alive();
    }

    fn on_ending(&mut self) {
        service::stopping();
    }

    fn save_accounts(&mut self, accounts: &Accounts) -> Result<(), String> {
        accounts::save(self.state.folder(), accounts).map_err(|failure| failure.message)
    }
}
